//! Names resolved to slots, once for each call.
//!
//! Sizes and scalars become constants, axes and loop variables become slots of a vector of integers,
//! buffers and tensors become numbers. A buffer access becomes a base plus one stride per local axis.

use super::{KernelArgs, RunError, TensorData};
use crate::{Access, Axis, Compare, Expr, Kernel, LoadIx, Place, ReduceKind, ScanKind, Stmt};
use mixc_ir::{DType, Func, Ix, Name};

/// An index expression over slots.
pub enum Index {
    Const(i64),
    Slot(usize),
    /// The node says which operator it is.
    Apply(Ix, Box<Index>, Box<Index>),
}

impl Index {
    pub fn eval(&self, vars: &[i64]) -> Option<i64> {
        match self {
            Index::Const(v) => Some(*v),
            Index::Slot(n) => Some(vars[*n]),
            Index::Apply(op, a, b) => Ix::apply(op, a.eval(vars)?, b.eval(vars)?),
        }
    }
}

/// A run-time position in one dimension of a buffer.
pub struct At {
    pub index: Index,
    pub extent: usize,
    pub stride: usize,
}

/// Offset = sum of `at` positions + sum of stride * value over the statement's local axes.
pub struct Placed {
    pub buf: usize,
    pub at: Vec<At>,
    pub strides: Vec<usize>,
}

pub enum Value {
    Const(f32),
    /// Number of the access in the statement's table.
    Elem(usize),
    Index(Index),
    Add(Box<Value>, Box<Value>),
    Mul(Box<Value>, Box<Value>),
    Select(Box<[Value; 3]>),
    Call(Func, Vec<Value>),
}

pub enum Source {
    Index(Index),
    /// Number of the access in the statement's table.
    Gather(usize),
}

pub enum Kind {
    Load {
        tensor: usize,
        index: Vec<Source>,
    },
    Store {
        tensor: usize,
        dtype: DType,
        index: Vec<Index>,
        src: Value,
    },
    Map {
        expr: Value,
    },
    Reduce {
        kind: ReduceKind,
        accumulate: bool,
        expr: Value,
    },
    /// `dst`, `a`, `b` are accesses 0, 1, 2.
    Contract {
        accumulate: bool,
    },
    Scan {
        along: usize,
        kind: ScanKind,
        exclusive: bool,
        reverse: bool,
        expr: Value,
    },
}

/// A statement over local axes. Access 0 is the destination, except in a store.
pub struct Tile<'k> {
    pub stmt: &'k Stmt,
    pub kind: Kind,
    pub extents: Vec<usize>,
    /// Slots of the local axes.
    pub slots: Vec<usize>,
    pub accesses: Vec<Placed>,
}

pub enum Op<'k> {
    For {
        stmt: &'k Stmt,
        slot: usize,
        lo: Index,
        hi: Index,
        reverse: bool,
        body: Vec<Op<'k>>,
    },
    If {
        stmt: &'k Stmt,
        left: Index,
        compare: Compare,
        right: Index,
        then: Vec<Op<'k>>,
        otherwise: Vec<Op<'k>>,
    },
    Tile(Tile<'k>),
}

pub struct Plan<'k> {
    /// Extents of the grid; coordinate n is in slot n.
    pub grid: Vec<i64>,
    pub slots: usize,
    pub body: Vec<Op<'k>>,
}

impl<'k> Plan<'k> {
    /// Checks the arguments against the declarations and resolves the body.
    pub fn new(kernel: &'k Kernel, args: &KernelArgs) -> Result<Plan<'k>, RunError> {
        let mut r = Resolver {
            kernel,
            args,
            scope: vec![],
            slots: 0,
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
        let body = r.block(&kernel.body)?;
        Ok(Plan {
            grid,
            slots: r.slots,
            body,
        })
    }
}

struct Resolver<'k, 'a> {
    kernel: &'k Kernel,
    args: &'a KernelArgs,
    /// Names in scope, innermost last.
    scope: Vec<(Name, usize)>,
    slots: usize,
}

/// The first error of a statement: what is wrong with it.
type Checked<T> = Result<T, String>;

impl<'k> Resolver<'k, '_> {
    fn check_arguments(&self) -> Result<(), RunError> {
        let kernel = self.kernel;
        if let Some(buf) = kernel.bufs.iter().find(|b| buffer_len(&b.shape).is_none()) {
            return Err(RunError::IllFormed {
                statement: format!("{} {}: {:?}", buf.space.name(), buf.name, buf.shape),
                what: format!("the buffer has more than {MAX_BUFFER} elements"),
            });
        }
        let missing = |what, name: &Name| RunError::Missing {
            kernel: kernel.name.clone(),
            what,
            name: name.clone(),
        };
        if let Some(dim) = kernel
            .dims
            .iter()
            .find(|d| !self.args.dims.contains_key(*d))
        {
            return Err(missing("size", dim));
        }
        if let Some(scalar) = kernel
            .scalars
            .iter()
            .find(|s| !self.args.scalars.contains_key(*s))
        {
            return Err(missing("scalar", scalar));
        }
        for (n, t) in kernel.tensors.iter().enumerate() {
            if kernel.tensors[..n].iter().any(|other| other.name == t.name) {
                return Err(RunError::Tensor {
                    tensor: t.name.clone(),
                    what: "declared twice".to_string(),
                });
            }
            let data = self
                .args
                .tensors
                .get(&t.name)
                .ok_or_else(|| missing("tensor", &t.name))?;
            let mut shape = vec![];
            for ix in &t.shape {
                shape.push(self.size(ix, || format!("{} {}", t.usage.name(), t.name))?);
            }
            let wrong = |what: String| {
                Err(RunError::Tensor {
                    tensor: t.name.clone(),
                    what,
                })
            };
            if !shape
                .iter()
                .copied()
                .eq(data.shape.iter().map(|n| *n as i64))
            {
                return wrong(format!("expected shape {shape:?}, found {:?}", data.shape));
            }
            if data.strides.len() != shape.len() {
                return wrong(format!(
                    "{} dimensions have {} strides",
                    shape.len(),
                    data.strides.len()
                ));
            }
            if data.data.len() < data.span() {
                return wrong(format!(
                    "the view spans {} values, found {}",
                    data.span(),
                    data.data.len()
                ));
            }
            if t.unit_inner && !is_unit_inner(data) {
                return wrong(format!(
                    "the last stride must be 1, found {:?}",
                    data.strides
                ));
            }
        }
        Ok(())
    }

    /// The value of an expression over sizes.
    fn size(&self, ix: &Ix, place: impl Fn() -> String) -> Result<i64, RunError> {
        let ill_formed = |what| RunError::IllFormed {
            statement: place(),
            what,
        };
        let index = self.index(ix).map_err(ill_formed)?;
        let vars = vec![0; self.slots];
        let value = index
            .eval(&vars)
            .ok_or_else(|| ill_formed(format!("`{ix}` has no value")))?;
        if value < 0 {
            Err(ill_formed(format!(
                "`{ix}` is {value}, a size must not be negative"
            )))
        } else {
            Ok(value)
        }
    }

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
                let lo = self.index(lo).map_err(ill_formed)?;
                let hi = self.index(hi).map_err(ill_formed)?;
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
                let left = self.index(&cond.left).map_err(ill_formed)?;
                let right = self.index(&cond.right).map_err(ill_formed)?;
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

    fn index(&self, ix: &Ix) -> Checked<Index> {
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

fn is_unit_inner(data: &TensorData) -> bool {
    data.strides.last() == Some(&1) || data.shape.last().is_none_or(|n| *n <= 1)
}

/// Largest buffer that the interpreter makes, in elements: a slip in a shape shall not exhaust memory.
const MAX_BUFFER: usize = 1 << 28;

/// Number of elements, None if there are too many.
fn buffer_len(shape: &[usize]) -> Option<usize> {
    let product = shape
        .iter()
        .try_fold(1usize, |product, n| product.checked_mul(*n));
    product.filter(|n| *n <= MAX_BUFFER)
}
