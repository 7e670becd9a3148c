//! How much work a kernel does at given sizes, from its text alone.
//!
//! Loops and conditions are followed with the values of their bounds, at every grid point and iteration
//! that they depend on; what does not depend on a loop variable or grid axis is multiplied.

use crate::maxima::uniform;
use crate::{Access, Axis, Compare, Expr, Kernel, LoadIx, Place, Space, Stmt};
use mixc_ir::{Func, Ix, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

/// Work of one launch. Masked elements of a tile count as work, since they are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub grid_points: u64,
    /// Statements over tiles, as executed.
    pub statements: u64,
    /// Multiply-adds of matrix products.
    pub contract_fmas: u64,
    /// Elementwise additions, multiplications, comparisons, selections, and steps of reductions and scans.
    pub simple_ops: u64,
    /// Elementwise divisions, roots, exponentials and other functions (see [`is_special`]).
    pub special_ops: u64,
    /// Global memory, in bytes: at most so many, where a tile hangs over the end of a longer axis.
    pub loaded_bytes: u64,
    pub stored_bytes: u64,
    /// Size of the buffers of one grid point, in bytes.
    pub shared_bytes: u64,
    pub register_bytes: u64,
}

impl Counts {
    /// Floating-point operations: two for each multiply-add, one for any other.
    pub fn flops(&self) -> u64 {
        self.contract_fmas
            .saturating_mul(2)
            .saturating_add(self.simple_ops)
            .saturating_add(self.special_ops)
    }

    /// Flow quantities times n; sizes stay.
    fn times(mut self, n: u64) -> Counts {
        for field in self.flows() {
            *field = field.saturating_mul(n);
        }
        self
    }

    fn flows(&mut self) -> [&mut u64; 7] {
        let Counts {
            grid_points,
            statements,
            contract_fmas,
            simple_ops,
            special_ops,
            ..
        } = self;
        let (loaded, stored) = (&mut self.loaded_bytes, &mut self.stored_bytes);
        [
            grid_points,
            statements,
            contract_fmas,
            simple_ops,
            special_ops,
            loaded,
            stored,
        ]
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, mut other: Counts) {
        for (a, b) in self.flows().into_iter().zip(other.flows()) {
            *a = a.saturating_add(*b);
        }
    }
}

/// Whether a function takes more than a multiplication on common hardware.
pub fn is_special(func: Func) -> bool {
    !matches!(
        func,
        Func::Neg
            | Func::Sub
            | Func::Abs
            | Func::Sign
            | Func::Floor
            | Func::Ceil
            | Func::Round
            | Func::Relu
            | Func::Max
            | Func::Min
            | Func::Select
    ) && !func.is_predicate()
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{index}` has no value at these sizes, in `{statement}`")]
pub struct CountError {
    pub index: String,
    pub statement: String,
}

/// Counts the work of one launch.
///
/// Elements of tensors in bounds count as the largest size.
///
/// # Errors
/// If a loop bound, condition, grid extent or shape has no value.
pub fn counts(kernel: &Kernel, dims: &BTreeMap<Name, i64>) -> Result<Counts, CountError> {
    let mut walk = Walk {
        kernel,
        dims,
        vars: BTreeMap::new(),
    };
    let steering = steering(&kernel.body);
    let mut total = walk.grid(
        &kernel
            .grid
            .iter()
            .map(|g| (&g.name, &g.extent))
            .collect::<Vec<_>>(),
        &steering,
    )?;
    for buf in &kernel.bufs {
        let bytes = buf
            .shape
            .iter()
            .fold(4u64, |n, extent| n.saturating_mul(*extent as u64));
        match buf.space {
            Space::Shared => total.shared_bytes += bytes,
            Space::Register => total.register_bytes += bytes,
        }
    }
    Ok(total)
}

struct Walk<'k> {
    kernel: &'k Kernel,
    dims: &'k BTreeMap<Name, i64>,
    /// Values of the loop variables and grid axes on which something depends.
    vars: BTreeMap<Name, i64>,
}

impl Walk<'_> {
    fn grid(
        &mut self,
        axes: &[(&Name, &Ix)],
        steering: &BTreeSet<Name>,
    ) -> Result<Counts, CountError> {
        let Some(((name, extent), rest)) = axes.split_first() else {
            let mut counts = self.block(&self.kernel.body)?;
            counts.grid_points = 1;
            return Ok(counts);
        };
        let extent = self
            .value(extent, || format!("grid {name} < {extent}"))?
            .max(0);
        self.repeat(name, 0, extent, steering.contains(*name), &mut |w| {
            w.grid(rest, steering)
        })
    }

    /// The sum over `lo <= var < hi`, or one value multiplied if the work does not depend on `var`.
    fn repeat(
        &mut self,
        var: &Name,
        lo: i64,
        hi: i64,
        depends: bool,
        work: &mut dyn FnMut(&mut Self) -> Result<Counts, CountError>,
    ) -> Result<Counts, CountError> {
        let mut total = Counts::default();
        if lo >= hi {
            return Ok(total);
        }
        let outer = self.vars.remove(var);
        if depends {
            for value in lo..hi {
                self.vars.insert(var.clone(), value);
                total += work(self)?;
            }
        } else {
            total = work(self)?.times(hi.abs_diff(lo));
        }
        self.vars.remove(var);
        self.vars.extend(outer.map(|value| (var.clone(), value)));
        Ok(total)
    }

    fn block(&mut self, body: &[Stmt]) -> Result<Counts, CountError> {
        let mut total = Counts::default();
        for stmt in body {
            total += self.stmt(stmt)?;
        }
        Ok(total)
    }

    fn stmt(&mut self, stmt: &Stmt) -> Result<Counts, CountError> {
        let kernel = self.kernel;
        let place = || kernel.headline(stmt);
        let mut work = Counts {
            statements: 1,
            ..Counts::default()
        };
        match stmt {
            Stmt::For {
                var, lo, hi, body, ..
            } => {
                let (lo, hi) = (self.value(lo, place)?, self.value(hi, place)?);
                return self.repeat(var, lo, hi, steering(body).contains(var), &mut |w| {
                    w.block(body)
                });
            }
            Stmt::If {
                cond,
                then,
                otherwise,
            } => {
                let (left, right) = (
                    self.value(&cond.left, place)?,
                    self.value(&cond.right, place)?,
                );
                let holds = match cond.compare {
                    Compare::Lt => left < right,
                    Compare::Le => left <= right,
                    Compare::Eq => left == right,
                };
                return self.block(if holds { then } else { otherwise });
            }
            Stmt::Load {
                axes,
                tensor,
                index,
                ..
            } => {
                let axes_of_index = index.iter().map(|ix| match ix {
                    LoadIx::Ix(ix) => ix.axes(),
                    LoadIx::Gather(access) => axes_of(access),
                });
                work.loaded_bytes = self.bytes(axes, tensor, axes_of_index, place)?;
            }
            Stmt::Store {
                axes,
                tensor,
                index,
                src,
            } => {
                work.stored_bytes = self.bytes(axes, tensor, index.iter().map(Ix::axes), place)?;
                work += ops(src).times(elements(axes));
            }
            Stmt::Map { axes, expr, .. } => work += ops(expr).times(elements(axes)),
            Stmt::Reduce { axes, expr, .. } | Stmt::Scan { axes, expr, .. } => {
                let mut each = ops(expr);
                each.simple_ops += 1;
                work += each.times(elements(axes));
            }
            Stmt::Contract { axes, .. } => work.contract_fmas = elements(axes),
        }
        Ok(work)
    }

    /// Bytes of the elements that a load or store touches: in each dimension as many as the local axes
    /// that first occur there take values, and no more than the tensor has.
    fn bytes(
        &self,
        axes: &[Axis],
        tensor: &Name,
        index: impl Iterator<Item = BTreeSet<Name>>,
        place: impl Fn() -> String + Copy,
    ) -> Result<u64, CountError> {
        let unknown = || CountError {
            index: tensor.to_string(),
            statement: place(),
        };
        let tensor = self
            .kernel
            .tensors
            .iter()
            .find(|t| t.name == *tensor)
            .ok_or_else(unknown)?;
        let mut bytes = tensor.dtype.size_bytes() as u64;
        let mut seen = BTreeSet::new();
        for (size, used) in tensor.shape.iter().zip(index) {
            let size = u64::try_from(self.value(size, place)?).unwrap_or(0);
            let new = axes
                .iter()
                .filter(|a| used.contains(&a.name) && seen.insert(a.name.clone()));
            let values = new.fold(1u64, |n, a| n.saturating_mul(a.extent as u64));
            bytes = bytes.saturating_mul(values.min(size));
        }
        Ok(bytes)
    }

    fn value(&self, ix: &Ix, place: impl Fn() -> String) -> Result<i64, CountError> {
        let value = ix.eval(&mut |leaf| match leaf {
            Ix::Dim(name) => self.dims.get(name).copied(),
            Ix::Axis(name) => self.vars.get(name).copied(),
            // What a tensor holds is not known: sequences of full length.
            Ix::Elem(..) => self.dims.values().max().copied(),
            _ => None,
        });
        value.ok_or_else(|| CountError {
            index: ix.to_string(),
            statement: place(),
        })
    }
}

/// Index variables in the bounds and conditions of the statements: the number of executed statements
/// depends on these only.
fn steering(body: &[Stmt]) -> BTreeSet<Name> {
    let mut names = BTreeSet::new();
    for stmt in body {
        match stmt {
            Stmt::For { lo, hi, body, .. } => {
                names.extend([lo.axes(), hi.axes(), steering(body)].into_iter().flatten());
            }
            Stmt::If {
                cond,
                then,
                otherwise,
            } => {
                let sides = [
                    cond.left.axes(),
                    cond.right.axes(),
                    steering(then),
                    steering(otherwise),
                ];
                names.extend(sides.into_iter().flatten());
            }
            _ => {}
        }
    }
    names
}

fn elements(axes: &[Axis]) -> u64 {
    axes.iter()
        .fold(1, |n, a| n.saturating_mul(a.extent as u64))
}

fn axes_of(access: &Access) -> BTreeSet<Name> {
    let axis = |p: &Place| {
        if let Place::Axis(name) = p {
            Some(name.clone())
        } else {
            None
        }
    };
    access.places.iter().filter_map(axis).collect()
}

/// Operations on one element. What is the same for all elements is computed once.
fn ops(expr: &Expr) -> Counts {
    let mut work = Counts::default();
    if uniform(expr) {
        return work;
    }
    let children: Vec<&Expr> = match expr {
        Expr::Const(_) | Expr::Scalar(_) | Expr::Elem(_) | Expr::Index(_) => vec![],
        Expr::Add(a, b) | Expr::Mul(a, b) => {
            work.simple_ops += 1;
            vec![a, b]
        }
        Expr::Call(func, args) => {
            *(if is_special(*func) {
                &mut work.special_ops
            } else {
                &mut work.simple_ops
            }) += 1;
            args.iter().collect()
        }
    };
    children.into_iter().for_each(|c| work += ops(c));
    work
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_kernel;
    use mixc_text::Source;

    fn count(text: &str, dims: &[(&str, i64)]) -> Result<Counts, CountError> {
        let kernel = parse_kernel(&Source::new("test", text)).unwrap();
        counts(
            &kernel,
            &dims.iter().map(|(n, v)| ((*n).into(), *v)).collect(),
        )
    }

    const CAUSAL: &str = "kernel k(dims: B, T) {
        in q: bf16 [$B, $T, 8] unit
        in k: bf16 [$B, $T, 8] unit
        out o: f32 [$B, $T]
        shared tq: [4, 8]  shared tk: [4, 8]  shared s: [4, 4]  register m: [4]
        grid b < $B, i0 < ceil_div($T, 4)
        load [i < 4, d < 8] tq[i, d] <- q[b, i0 * 4 + i, d]
        map [i < 4] m[i] = -inf
        for j0 in 0 .. i0 + 1 {
          load [i < 4, d < 8] tk[i, d] <- k[b, j0 * 4 + i, d]
          contract [i < 4, j < 4, d < 8] s[i, j] = tq[i, d] * tk[j, d]
          if j0 == i0 {
            map [i < 4, j < 4] s[i, j] = select(int(j) <= int(i), s[i, j], -inf)
          }
          reduce max [i < 4, j < 4] m[i] (+)= exp(s[i, j])
        }
        store [i < 4] o[b, i0 * 4 + i] <- m[i]
    }";

    #[test]
    fn loops_with_bounds_from_the_grid_are_followed() {
        // 3 x 5 grid points; 1 + 2 + 3 + 4 + 5 = 15 key tiles for each batch.
        let c = count(CAUSAL, &[("B", 3), ("T", 20)]).unwrap();
        assert_eq!((c.grid_points, c.contract_fmas), (15, 3 * 15 * 128));
        assert_eq!(c.special_ops, 3 * 15 * 16);
        assert_eq!(c.simple_ops, 3 * (15 * 16 + 5 * 16 * 2));
        assert_eq!(c.loaded_bytes, 3 * (5 + 15) * 32 * 2);
        assert_eq!(c.stored_bytes, 3 * 20 * 4);
        assert_eq!(c.statements, 3 * (5 * 3 + 15 * 3 + 5));
        assert_eq!((c.shared_bytes, c.register_bytes), ((32 + 32 + 16) * 4, 16));
    }

    #[test]
    fn a_tile_reads_no_more_than_the_tensor_has() {
        let c = count(CAUSAL, &[("B", 1), ("T", 1)]).unwrap();
        assert_eq!((c.loaded_bytes, c.stored_bytes), (2 * 8 * 2, 4));
        assert_eq!(count(CAUSAL, &[("B", 0), ("T", 9)]).unwrap().flops(), 0);
    }

    #[test]
    fn large_grids_are_not_walked() {
        let c = count(CAUSAL, &[("B", 1 << 40), ("T", 4)]).unwrap();
        assert_eq!(c.contract_fmas, 128 << 40);
    }

    #[test]
    fn a_missing_size_is_an_error() {
        let error = count(CAUSAL, &[("B", 1)]).unwrap_err().to_string();
        assert_eq!(
            error,
            "`($T + 4 - 1) / 4` has no value at these sizes, in `grid i0 < ($T + 4 - 1) / 4`"
        );
    }
}
