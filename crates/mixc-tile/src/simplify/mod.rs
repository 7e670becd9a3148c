//! Smaller kernels with the same effect: constants folded, decided branches and dead code removed.
//!
//! In: a legal kernel. Out: a legal kernel that stores the same bits. It assumes that index
//! arithmetic has values (a division by zero in code that is removed is no longer reported).
//!
//! - Index expressions are folded; differences that cancel and remainders that do nothing go.
//! - A loop whose range is empty goes, one with a single iteration becomes its body.
//! - A condition decided by the ranges of grid axes and loop variables becomes its branch, and a
//!   comparison of indices in an expression (a mask) becomes 1 or 0.
//! - Arithmetic on constants is done, by way of f64 as in the interpreter. `x * 1`, `x / 1`, `x - 0`
//!   become `x`; `x + 0` does where `x` is never -0, and `x * 0` becomes 0 where `x` is 1 or 0.
//! - Writes to buffers that nothing reads go, and so do buffers that are left without use.

pub(crate) mod dead;
mod expr;
mod visit;

use crate::ranges::{Interval, decide, range};
use crate::visit::axes_of;
use crate::{Access, Cond, Expr, Kernel, Place, Stmt};
use mixc_ir::{Ix, Name};
use std::collections::BTreeMap;
use visit::for_each_index;

pub use expr::folded;

/// The kernel for given sizes: each bound `$T` is its number everywhere and no longer a parameter.
pub fn bind(kernel: &Kernel, sizes: &BTreeMap<Name, i64>) -> Kernel {
    let value = |leaf: &Ix| match leaf {
        Ix::Dim(name) => sizes.get(name).map(|v| Ix::Const(*v)),
        _ => None,
    };
    let mut bound = kernel.clone();
    bound.dims.retain(|d| !sizes.contains_key(d));
    let replace = |ix: &mut Ix| *ix = ix.replace(&value);
    bound
        .tensors
        .iter_mut()
        .flat_map(|t| &mut t.shape)
        .for_each(replace);
    bound
        .grid
        .iter_mut()
        .for_each(|g| g.extent = g.extent.replace(&value));
    for_each_index(&mut bound.body, &mut |ix| *ix = ix.replace(&value));
    bound
}

/// Applies the rules of this module until nothing changes.
pub fn simplify(kernel: &Kernel) -> Kernel {
    let mut kernel = kernel.clone();
    let mut before = kernel.to_string();
    loop {
        kernel
            .tensors
            .iter_mut()
            .flat_map(|t| &mut t.shape)
            .for_each(|ix| *ix = fold(ix));
        kernel
            .grid
            .iter_mut()
            .for_each(|g| g.extent = fold(&g.extent));
        let mut scope = Scope {
            ranges: ranges_of(&kernel),
            single: BTreeMap::new(),
        };
        kernel.body = scope.block(std::mem::take(&mut kernel.body));
        dead::remove(&mut kernel);
        // Every rule makes the kernel smaller, so this ends. Compared as text, since NaN != NaN.
        let after = kernel.to_string();
        if after == before {
            return kernel;
        }
        before = after;
    }
}

/// Rebuilds with the folding operators of [`Ix`].
fn fold(ix: &Ix) -> Ix {
    ix.replace(&|_| None)
}

/// What is known of the leaves inside the grid: there is at least one point, so extents are positive,
/// and a size that is a tensor's dimension is not negative.
fn ranges_of(kernel: &Kernel) -> BTreeMap<Ix, Interval> {
    let mut ranges = BTreeMap::new();
    for ix in kernel.tensors.iter().flat_map(|t| &t.shape) {
        if let Ix::Dim(_) = ix {
            ranges.insert(ix.clone(), Interval::NATURAL);
        }
    }
    for g in &kernel.grid {
        let extent = range(&g.extent, &|leaf| {
            ranges.get(leaf).copied().unwrap_or(Interval::ALL)
        });
        ranges.insert(
            Ix::Axis(g.name.clone()),
            Interval::new(0, extent.hi.saturating_sub(1)),
        );
    }
    ranges
}

struct Scope {
    ranges: BTreeMap<Ix, Interval>,
    /// Loop variables with one value.
    single: BTreeMap<Name, Ix>,
}

impl Scope {
    fn leaf(&self, leaf: &Ix) -> Interval {
        self.ranges.get(leaf).copied().unwrap_or(Interval::ALL)
    }

    fn range(&self, ix: &Ix) -> Interval {
        range(ix, &|leaf| self.leaf(leaf))
    }

    /// Folded, and where the values allow without remainders, quotients, minima and maxima that do nothing.
    fn index(&self, ix: &Ix) -> Ix {
        let ix = ix.substitute(&self.single);
        let folded = match &ix {
            Ix::Const(_) | Ix::Axis(_) | Ix::Dim(_) => return ix,
            Ix::Elem(tensor, index) => Ix::Elem(
                tensor.clone(),
                index.iter().map(|i| self.index(i)).collect(),
            ),
            Ix::Add(a, b) => self.index(a) + self.index(b),
            Ix::Sub(a, b) => self.index(a) - self.index(b),
            Ix::Mul(a, b) => self.index(a) * self.index(b),
            Ix::Div(a, b) => self.index(a) / self.index(b),
            Ix::Mod(a, b) => {
                let (a, b) = (self.index(a), self.index(b));
                let (of_a, of_b) = (self.range(&a), self.range(&b));
                if of_a.lo >= 0 && of_b.lo > of_a.hi {
                    a
                } else {
                    a % b
                }
            }
            Ix::Min(a, b) | Ix::Max(a, b) => {
                let (a, b) = (self.index(a), self.index(b));
                let (of_a, of_b) = (self.range(&a), self.range(&b));
                let is_min = matches!(ix, Ix::Min(..));
                if of_a.hi <= of_b.lo {
                    if is_min { a } else { b }
                } else if of_b.hi <= of_a.lo {
                    if is_min { b } else { a }
                } else if is_min {
                    a.min(b)
                } else {
                    a.max(b)
                }
            }
        };
        // Only a closed interval says that there is one value.
        match self.range(&folded).constant() {
            Some(value) if value != i64::MIN && value != i64::MAX => Ix::Const(value),
            _ => folded,
        }
    }

    fn block(&mut self, body: Vec<Stmt>) -> Vec<Stmt> {
        body.into_iter().flat_map(|s| self.stmt(s)).collect()
    }

    fn stmt(&mut self, stmt: Stmt) -> Vec<Stmt> {
        match stmt {
            Stmt::For {
                var,
                lo,
                hi,
                reverse,
                body,
            } => self.for_loop(var, lo, hi, reverse, body),
            Stmt::If {
                cond,
                then,
                otherwise,
            } => {
                let cond = Cond {
                    left: self.index(&cond.left),
                    right: self.index(&cond.right),
                    ..cond
                };
                match decide(&cond, &|leaf| self.leaf(leaf)) {
                    Some(true) => self.block(then),
                    Some(false) => self.block(otherwise),
                    None => {
                        let (then, otherwise) = (self.block(then), self.block(otherwise));
                        vec![Stmt::If {
                            cond,
                            then,
                            otherwise,
                        }]
                    }
                }
            }
            tile => vec![self.tile(tile)],
        }
    }

    fn for_loop(&mut self, var: Name, lo: Ix, hi: Ix, reverse: bool, body: Vec<Stmt>) -> Vec<Stmt> {
        let (lo, hi) = (self.index(&lo), self.index(&hi));
        let (from, to) = (self.range(&lo), self.range(&hi));
        if to.hi <= from.lo {
            return vec![];
        }
        let trips = self.range(&(hi.clone() - lo.clone()));
        if trips.constant() == Some(1) && can_inline(&lo) {
            self.single.insert(var.clone(), lo);
            let body = self.block(body);
            self.single.remove(&var);
            return body;
        }
        let key = Ix::Axis(var.clone());
        let last = if to.hi == i64::MAX {
            i64::MAX
        } else {
            to.hi - 1
        };
        self.ranges
            .insert(key.clone(), Interval::new(from.lo, last));
        let body = self.block(body);
        self.ranges.remove(&key);
        vec![Stmt::For {
            var,
            lo,
            hi,
            reverse,
            body,
        }]
    }

    fn tile(&mut self, stmt: Stmt) -> Stmt {
        let axes = axes_of(&stmt).to_vec();
        for axis in &axes {
            // An axis of extent 1 keeps its name: as a constant it would be lost from indices.
            let last = i64::try_from(axis.extent).unwrap_or(i64::MAX).max(2) - 1;
            self.ranges
                .insert(Ix::Axis(axis.name.clone()), Interval::new(0, last));
        }
        let mut simple = stmt.clone();
        for_each_index(std::slice::from_mut(&mut simple), &mut |ix| {
            *ix = self.index(ix)
        });
        if let Stmt::Store { src: expr, .. }
        | Stmt::Map { expr, .. }
        | Stmt::Reduce { expr, .. }
        | Stmt::Scan { expr, .. } = &mut simple
        {
            *expr = expr::simplify(std::mem::replace(expr, Expr::Const(0.0)), &|ix| {
                self.range(ix)
            });
        }
        for axis in &axes {
            self.ranges.remove(&Ix::Axis(axis.name.clone()));
        }
        if axes.iter().all(|a| bearing(&simple, &a.name)) {
            return simple;
        }
        // The number of elements of a reduction or store would be lost with the axis.
        let mut stmt = stmt;
        for_each_index(std::slice::from_mut(&mut stmt), &mut |ix| {
            *ix = ix.substitute(&self.single)
        });
        stmt
    }
}

/// Whether a local axis stands where the statement needs it: in what a reduction reads or keeps, in
/// the index of a store. Other statements name every axis in their destination.
fn bearing(stmt: &Stmt, axis: &Name) -> bool {
    let in_access = |a: &Access| {
        a.places
            .iter()
            .any(|p| matches!(p, Place::Axis(name) if name == axis))
    };
    match stmt {
        Stmt::Store { index, .. } => index.iter().any(|ix| ix.axes().contains(axis)),
        Stmt::Reduce { dst, expr, .. } => in_access(dst) || occurs(expr, axis, &in_access),
        _ => true,
    }
}

fn occurs(expr: &Expr, axis: &Name, in_access: &dyn Fn(&Access) -> bool) -> bool {
    match expr {
        Expr::Const(_) | Expr::Scalar(_) => false,
        Expr::Elem(access) => in_access(access),
        Expr::Index(ix) => ix.axes().contains(axis),
        Expr::Add(a, b) | Expr::Mul(a, b) => {
            occurs(a, axis, in_access) || occurs(b, axis, in_access)
        }
        Expr::Call(_, args) => args.iter().any(|a| occurs(a, axis, in_access)),
    }
}

/// A loop variable is replaced by its only value if that does not make indices much longer.
fn can_inline(value: &Ix) -> bool {
    matches!(value, Ix::Const(_) | Ix::Axis(_) | Ix::Dim(_))
}
