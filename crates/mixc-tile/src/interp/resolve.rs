//! From a kernel with names to a [`Plan`] without.

use super::plan::{At, Element, Index, Kind, Op, Placed, Plan, Source, Tile, Value};
use super::{KernelArgs, RunError};
use crate::{Access, Axis, Expr, Kernel, LoadIx, Place, Stmt};
use mixc_ir::{Func, Ix, Name};

impl<'k> Plan<'k> {
    /// Checks the arguments against the declarations and resolves the body.
    pub fn new(kernel: &'k Kernel, args: &KernelArgs) -> Result<Plan<'k>, RunError> {
        let mut r = Resolver {
            kernel,
            args,
            scope: vec![],
            slots: 0,
            elements: vec![],
        };
        r.check_arguments()?;
        let mut grid = vec![];
        for axis in &kernel.grid {
            grid.push(r.size(&axis.extent, || {
                format!("grid {} < {}", axis.name, axis.extent)
            })?);
        }
        for axis in &kernel.grid {
            r.declare(&axis.name);
        }
        if grid
            .iter()
            .try_fold(1u64, |n, extent| n.checked_mul(*extent as u64))
            .is_none()
        {
            let statement = format!("grid {grid:?}");
            let what = "the grid has too many points".to_string();
            return Err(RunError::IllFormed { statement, what });
        }
        let body = r.block(&kernel.body)?;
        Ok(Plan {
            grid,
            slots: r.slots,
            elements: r.elements.into_iter().map(|(_, element)| element).collect(),
            body,
        })
    }
}

pub(super) struct Resolver<'k, 'a> {
    pub(super) kernel: &'k Kernel,
    pub(super) args: &'a KernelArgs,
    /// Names in scope, innermost last.
    pub(super) scope: Vec<(Name, usize)>,
    pub(super) slots: usize,
    pub(super) elements: Vec<(Ix, Element)>,
}

/// The first error of a statement: what is wrong with it.
type Checked<T> = Result<T, String>;

impl<'k> Resolver<'k, '_> {
    fn declare(&mut self, name: &Name) -> usize {
        self.scope.push((name.clone(), self.slots));
        self.slots += 1;
        self.slots - 1
    }

    fn block(&mut self, body: &'k [Stmt]) -> Result<Vec<Op<'k>>, RunError> {
        body.iter().map(|s| self.stmt(s)).collect()
    }

    fn stmt(&mut self, stmt: &'k Stmt) -> Result<Op<'k>, RunError> {
        let kernel = self.kernel;
        let ill_formed = |what| RunError::IllFormed {
            statement: kernel.headline(stmt),
            what,
        };
        match stmt {
            Stmt::For {
                var,
                lo,
                hi,
                reverse,
                body,
            } => {
                let lo = self.bound(lo).map_err(ill_formed)?;
                let hi = self.bound(hi).map_err(ill_formed)?;
                let slot = self.declare(var);
                let body = self.block(body)?;
                self.scope.pop();
                Ok(Op::For {
                    stmt,
                    slot,
                    lo,
                    hi,
                    reverse: *reverse,
                    body,
                })
            }
            Stmt::If {
                cond,
                then,
                otherwise,
            } => {
                let left = self.bound(&cond.left).map_err(ill_formed)?;
                let right = self.bound(&cond.right).map_err(ill_formed)?;
                let (then, otherwise) = (self.block(then)?, self.block(otherwise)?);
                Ok(Op::If {
                    stmt,
                    left,
                    compare: cond.compare,
                    right,
                    then,
                    otherwise,
                })
            }
            Stmt::Load { axes, .. }
            | Stmt::Store { axes, .. }
            | Stmt::Map { axes, .. }
            | Stmt::Reduce { axes, .. }
            | Stmt::Contract { axes, .. }
            | Stmt::Scan { axes, .. } => {
                let outer = self.scope.len();
                let slots = axes.iter().map(|a| self.declare(&a.name)).collect();
                let mut accesses = vec![];
                let kind = self.kind(stmt, axes, &mut accesses).map_err(ill_formed)?;
                self.scope.truncate(outer);
                Ok(Op::Tile(Tile {
                    stmt,
                    kind,
                    extents: axes.iter().map(|a| a.extent).collect(),
                    slots,
                    accesses,
                }))
            }
        }
    }

    fn kind(&self, stmt: &Stmt, axes: &[Axis], table: &mut Vec<Placed>) -> Checked<Kind> {
        let access = |access: &Access, table: &mut Vec<Placed>| -> Checked<()> {
            table.push(self.access(access, axes)?);
            Ok(())
        };
        match stmt {
            Stmt::Load {
                dst, tensor, index, ..
            } => {
                access(dst, table)?;
                let tensor = self.tensor(tensor, index.len())?;
                let mut sources = vec![];
                for ix in index {
                    sources.push(match ix {
                        LoadIx::Ix(ix) => Source::Index(self.index(ix)?),
                        LoadIx::Gather(a) => {
                            access(a, table)?;
                            Source::Gather(table.len() - 1)
                        }
                    });
                }
                Ok(Kind::Load {
                    tensor,
                    index: sources,
                })
            }
            Stmt::Store {
                tensor, index, src, ..
            } => {
                let tensor = self.tensor(tensor, index.len())?;
                let index = index
                    .iter()
                    .map(|ix| self.index(ix))
                    .collect::<Checked<_>>()?;
                let dtype = self.kernel.tensors[tensor].dtype;
                Ok(Kind::Store {
                    tensor,
                    dtype,
                    index,
                    src: self.value(src, axes, table)?,
                })
            }
            Stmt::Map { dst, expr, .. } => {
                access(dst, table)?;
                Ok(Kind::Map {
                    expr: self.value(expr, axes, table)?,
                })
            }
            Stmt::Reduce {
                kind,
                accumulate,
                dst,
                expr,
                ..
            } => {
                access(dst, table)?;
                let expr = self.value(expr, axes, table)?;
                Ok(Kind::Reduce {
                    kind: *kind,
                    accumulate: *accumulate,
                    expr,
                })
            }
            Stmt::Contract {
                accumulate,
                dst,
                a,
                b,
                ..
            } => {
                [dst, a, b].into_iter().try_for_each(|x| access(x, table))?;
                Ok(Kind::Contract {
                    accumulate: *accumulate,
                })
            }
            Stmt::Scan {
                along,
                kind,
                every,
                exclusive,
                reverse,
                dst,
                expr,
                ..
            } => {
                access(dst, table)?;
                let position = axes.iter().position(|a| a.name == *along);
                let along = position.ok_or_else(|| format!("`{along}` is not a local axis"))?;
                let expr = self.value(expr, axes, table)?;
                Ok(Kind::Scan {
                    along,
                    kind: *kind,
                    every: *every,
                    exclusive: *exclusive,
                    reverse: *reverse,
                    expr,
                })
            }
            Stmt::For { .. } | Stmt::If { .. } => {
                unreachable!("bug: not a statement over local axes")
            }
        }
    }

    fn tensor(&self, name: &str, rank: usize) -> Checked<usize> {
        let position = self.kernel.tensors.iter().position(|t| &*t.name == name);
        let n = position.ok_or_else(|| format!("unknown tensor `{name}`"))?;
        let expected = self.kernel.tensors[n].shape.len();
        if rank == expected {
            Ok(n)
        } else {
            Err(format!(
                "`{name}` has {expected} dimensions, {rank} are indexed"
            ))
        }
    }

    fn access(&self, access: &Access, axes: &[Axis]) -> Checked<Placed> {
        let n = access.buf.0 as usize;
        let buf = self
            .kernel
            .bufs
            .get(n)
            .ok_or_else(|| format!("unknown buffer %{n}"))?;
        let (rank, given) = (buf.shape.len(), access.places.len());
        if rank != given {
            return Err(format!(
                "`{}` has {rank} dimensions, {given} are indexed",
                buf.name
            ));
        }
        let mut out = Placed {
            buf: n,
            at: vec![],
            strides: vec![0; axes.len()],
        };
        let mut stride = 1;
        for (place, extent) in access.places.iter().zip(&buf.shape).rev() {
            match place {
                Place::Axis(name) => {
                    let position = axes.iter().position(|a| a.name == *name);
                    let axis = position.ok_or_else(|| format!("`{name}` is not a local axis"))?;
                    if axes[axis].extent > *extent {
                        let (name, over) = (&buf.name, axes[axis].extent);
                        return Err(format!(
                            "axis of {over} over a dimension of {extent} of `{name}`"
                        ));
                    }
                    out.strides[axis] += stride;
                }
                Place::At(ix) => out.at.push(At {
                    index: self.index(ix)?,
                    extent: *extent,
                    stride,
                }),
            }
            stride *= extent;
        }
        Ok(out)
    }

    fn value(&self, expr: &Expr, axes: &[Axis], table: &mut Vec<Placed>) -> Checked<Value> {
        Ok(match expr {
            Expr::Const(v) => Value::Const(*v),
            Expr::Scalar(name) if !self.kernel.scalars.contains(name) => {
                return Err(format!("unknown scalar `{name}`"));
            }
            Expr::Scalar(name) => Value::Const(self.args.scalars[name]),
            Expr::Elem(access) => {
                table.push(self.access(access, axes)?);
                Value::Elem(table.len() - 1)
            }
            Expr::Index(ix) => Value::Index(self.index(ix)?),
            Expr::Add(a, b) => Value::Add(
                Box::new(self.value(a, axes, table)?),
                Box::new(self.value(b, axes, table)?),
            ),
            Expr::Mul(a, b) => Value::Mul(
                Box::new(self.value(a, axes, table)?),
                Box::new(self.value(b, axes, table)?),
            ),
            Expr::Call(func, args) => {
                let (expected, given) = (func.arity(), args.len());
                if expected != given {
                    return Err(format!(
                        "`{}` takes {expected} arguments, {given} are given",
                        func.name()
                    ));
                }
                let args: Vec<Value> = args
                    .iter()
                    .map(|a| self.value(a, axes, table))
                    .collect::<Checked<_>>()?;
                match (func, <[Value; 3]>::try_from(args)) {
                    (Func::Select, Ok(args)) => Value::Select(Box::new(args)),
                    (_, Ok(args)) => Value::Call(*func, args.into()),
                    (_, Err(args)) => Value::Call(*func, args),
                }
            }
        })
    }

    /// An index of a loop bound or condition, which may have elements of integer tensors.
    fn bound(&mut self, ix: &Ix) -> Checked<Index> {
        let mut found: Vec<Ix> = vec![];
        ix.visit_leaves(&mut |leaf| {
            if matches!(leaf, Ix::Elem(..)) {
                found.push(leaf.clone());
            }
        });
        for leaf in found {
            let known = self.elements.iter().any(|(known, _)| *known == leaf);
            if let (false, Ix::Elem(name, index)) = (known, &leaf) {
                let tensor = self.kernel.tensors.iter().position(|t| t.name == *name);
                let element = Element {
                    slot: self.slots,
                    tensor: tensor.ok_or_else(|| format!("unknown tensor `{name}`"))?,
                    index: index
                        .iter()
                        .map(|ix| self.index(ix))
                        .collect::<Checked<_>>()?,
                };
                self.slots += 1;
                self.elements.push((leaf, element));
            }
        }
        self.index(ix)
    }

    pub(super) fn index(&self, ix: &Ix) -> Checked<Index> {
        Ok(match ix {
            Ix::Const(v) => Index::Const(*v),
            Ix::Axis(name) => {
                let found = self.scope.iter().rev().find(|(n, _)| n == name);
                Index::Slot(
                    found
                        .ok_or_else(|| format!("unknown index variable `{name}`"))?
                        .1,
                )
            }
            Ix::Dim(name) if !self.kernel.dims.contains(name) => {
                return Err(format!("unknown size `${name}`"));
            }
            Ix::Dim(name) => Index::Const(self.args.dims[name]),
            Ix::Elem(..) if let Some((_, known)) = self.elements.iter().find(|(e, _)| e == ix) => {
                Index::Slot(known.slot)
            }
            Ix::Elem(..) => {
                return Err(format!(
                    "tensor element `{ix}` in an index (load it and gather)"
                ));
            }
            _ => {
                let (a, b) = ix
                    .operands()
                    .expect("bug: every other index node is binary");
                match (self.index(a)?, self.index(b)?) {
                    (Index::Const(x), Index::Const(y)) if Ix::apply(ix, x, y).is_some() => {
                        Index::Const(Ix::apply(ix, x, y).unwrap_or(0))
                    }
                    (a, b) => Index::Apply(ix.clone(), Box::new(a), Box::new(b)),
                }
            }
        })
    }
}
