//! Lowering of one kernel: the grid loop, statements, index expressions.

use crate::emit::{Emit, I};
use crate::error::{CompileError, Lowered};
use crate::layout::Layout;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{BlockArg, InstBuilder, Value, types::F32, types::I64};
use mixc_ir::{DType, Ix, Name};
use mixc_tile::{Axis, Compare, Cond, Kernel, Stmt, TensorArg};

/// Where each argument lies in the argument block, in slots of 8 bytes.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    dims: usize,
    scalars: usize,
    tensors: Vec<usize>,
    grid: usize,
    pub len: usize,
}

impl Slots {
    pub fn of(kernel: &Kernel) -> Slots {
        let scalars = kernel.dims.len();
        let mut at = scalars + kernel.scalars.len();
        let mut tensors = Vec::new();
        for t in &kernel.tensors {
            tensors.push(at);
            at += 1 + 2 * t.shape.len();
        }
        Slots {
            dims: 0,
            scalars,
            tensors,
            grid: at,
            len: at + kernel.grid.len(),
        }
    }
}

pub(crate) struct Lower<'f, 'k> {
    pub e: Emit<'f>,
    pub k: &'k Kernel,
    pub layouts: &'k [Layout],
    pub slots: &'k Slots,
    /// Grid coordinates and loop variables, innermost last.
    pub env: Vec<(Name, I)>,
}

/// A tensor argument and where it is.
#[derive(Clone, Copy)]
pub(crate) struct TensorRef<'k> {
    pub arg: &'k TensorArg,
    slot: usize,
}

impl<'k> Lower<'_, 'k> {
    /// The whole function: every grid point of `lo..hi` in turn.
    pub fn kernel(&mut self, lo: Value, hi: Value) -> Result<(), CompileError> {
        let range = self.e.begin_range(I::V(lo), I::V(hi), false);
        let mut rest = I::V(range.var);
        let k = self.k;
        for (i, axis) in k.grid.iter().enumerate().rev() {
            let extent = I::V(self.e.arg(self.slots.grid + i));
            let (q, r) = if i == 0 {
                (I::C(0), rest)
            } else {
                let q = self.e.div(rest, extent);
                let back = self.e.mul(q, extent);
                (q, self.e.sub(rest, back))
            };
            self.env.push((axis.name.clone(), r));
            rest = q;
        }
        self.body(&k.body)?;
        self.env.clear();
        self.e.end_range(range);
        self.e.b.ins().return_(&[]);
        Ok(())
    }

    fn body(&mut self, body: &'k [Stmt]) -> Result<(), CompileError> {
        for group in self.group(body) {
            self.statement(&group)?;
        }
        Ok(())
    }

    /// Lowers a statement, or several that share a nest.
    fn statement(&mut self, group: &[&'k Stmt]) -> Result<(), CompileError> {
        let stmt = group[0];
        let kernel = self.k;
        let named = |what: String| CompileError::Statement {
            kernel: kernel.name.clone(),
            statement: describe(stmt, kernel),
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
                let bounds = self.ix(lo).and_then(|lo| Ok((lo, self.ix(hi)?)));
                let (lo, hi) = bounds.map_err(named)?;
                let range = self.e.begin_range(lo, hi, *reverse);
                self.env.push((var.clone(), I::V(range.var)));
                self.body(body)?;
                self.env.pop();
                self.e.end_range(range);
                return Ok(());
            }
            Stmt::If {
                cond,
                then,
                otherwise,
            } => {
                let c = self.cond(cond).map_err(named)?;
                let branches = self.e.begin_if(c);
                self.body(then)?;
                self.e.otherwise(&branches);
                self.body(otherwise)?;
                self.e.end_if(branches);
                return Ok(());
            }
            _ => {}
        }
        let done = match stmt {
            Stmt::Load {
                axes,
                dst,
                tensor,
                index,
            } => self.load_tile(axes, dst, tensor, index),
            Stmt::Store {
                axes,
                tensor,
                index,
                src,
            } => self.store_tile(axes, tensor, index, src),
            Stmt::Contract {
                axes,
                accumulate,
                dst,
                a,
                b,
            } if !self.is_thin(axes, dst, a, b) => self.contract(axes, *accumulate, dst, a, b),
            Stmt::Map { .. } | Stmt::Reduce { .. } | Stmt::Contract { .. } => {
                self.elementwise(group)
            }
            Stmt::Scan {
                axes,
                along,
                kind,
                every,
                exclusive,
                reverse,
                dst,
                expr,
            } => self.scan(axes, along, *kind, *every, *exclusive, *reverse, dst, expr),
            Stmt::For { .. } | Stmt::If { .. } => Ok(()),
        };
        done.map_err(named)
    }

    fn cond(&mut self, cond: &Cond) -> Lowered<Value> {
        let (l, r) = (self.ix(&cond.left)?, self.ix(&cond.right)?);
        let cc = match cond.compare {
            Compare::Lt => IntCC::SignedLessThan,
            Compare::Le => IntCC::SignedLessThanOrEqual,
            Compare::Eq => IntCC::Equal,
        };
        Ok(self.e.compare(cc, l, r))
    }

    // ---- arguments ----

    pub fn scalar(&mut self, name: &str) -> Lowered<Value> {
        let i = self
            .k
            .scalars
            .iter()
            .position(|n| &**n == name)
            .ok_or(format!("unknown scalar `{name}`"))?;
        let slot = self.slots.scalars + i;
        let p = self.e.ptr(self.e.args).plus(8 * slot as i64);
        Ok(self.e.load(F32, p))
    }

    pub fn tensor(&self, name: &str) -> Lowered<TensorRef<'k>> {
        let i = self
            .k
            .tensors
            .iter()
            .position(|t| &*t.name == name)
            .ok_or(format!("unknown tensor `{name}`"))?;
        Ok(TensorRef {
            arg: &self.k.tensors[i],
            slot: self.slots.tensors[i],
        })
    }

    pub fn tensor_ptr(&mut self, t: TensorRef) -> Value {
        self.e.arg(t.slot)
    }

    pub fn tensor_size(&mut self, t: TensorRef, d: usize) -> I {
        match &t.arg.shape[d] {
            Ix::Const(c) => I::C(*c),
            _ => I::V(self.e.arg(t.slot + 1 + d)),
        }
    }

    /// Stride of a dimension in elements.
    pub fn tensor_stride(&mut self, t: TensorRef, d: usize) -> I {
        let rank = t.arg.shape.len();
        if t.arg.unit_inner && d + 1 == rank {
            return I::C(1);
        }
        I::V(self.e.arg(t.slot + 1 + rank + d))
    }

    // ---- index expressions ----

    pub fn ix(&mut self, ix: &Ix) -> Lowered<I> {
        Ok(match ix {
            Ix::Const(c) => I::C(*c),
            Ix::Axis(name) => {
                self.env
                    .iter()
                    .rev()
                    .find(|(n, _)| n == name)
                    .ok_or(format!("unknown index variable `{name}`"))?
                    .1
            }
            Ix::Dim(name) => {
                let i = self
                    .k
                    .dims
                    .iter()
                    .position(|n| n == name)
                    .ok_or(format!("unknown size `{name}`"))?;
                I::V(self.e.arg(self.slots.dims + i))
            }
            Ix::Elem(tensor, index) => self.integer_element(tensor, index)?,
            Ix::Add(a, b) => {
                let (a, b) = (self.ix(a)?, self.ix(b)?);
                self.e.add(a, b)
            }
            Ix::Sub(a, b) => {
                let (a, b) = (self.ix(a)?, self.ix(b)?);
                self.e.sub(a, b)
            }
            Ix::Mul(a, b) => {
                let (a, b) = (self.ix(a)?, self.ix(b)?);
                self.e.mul(a, b)
            }
            Ix::Div(a, b) => {
                let (a, b) = (self.ix(a)?, self.ix(b)?);
                self.e.div(a, b)
            }
            Ix::Mod(a, b) => {
                let (a, b) = (self.ix(a)?, self.ix(b)?);
                self.e.rem(a, b)
            }
            Ix::Min(a, b) => {
                let (a, b) = (self.ix(a)?, self.ix(b)?);
                self.e.min(a, b)
            }
            Ix::Max(a, b) => {
                let (a, b) = (self.ix(a)?, self.ix(b)?);
                self.e.max(a, b)
            }
        })
    }

    /// An element of an integer tensor, 0 outside its bounds.
    fn integer_element(&mut self, tensor: &str, index: &[Ix]) -> Lowered<I> {
        let t = self.tensor(tensor)?;
        if index.len() != t.arg.shape.len() {
            return Err(format!(
                "`{tensor}` has {} dimensions, not {}",
                t.arg.shape.len(),
                index.len()
            ));
        }
        let (mut inside, mut at) = (None, I::C(0));
        for (d, ix) in index.iter().enumerate() {
            let i = self.ix(ix)?;
            let ok = self.in_bounds(t, d, i, i);
            inside = self.both(inside, ok);
            let stride = self.tensor_stride(t, d);
            let offset = self.e.mul(i, stride);
            at = self.e.add(at, offset);
        }
        let (yes, end) = (self.e.block(), self.e.block());
        let result = self.e.b.append_block_param(end, I64);
        let zero = self.e.b.ins().iconst(I64, 0);
        match inside {
            Some(c) => {
                self.e
                    .b
                    .ins()
                    .brif(c, yes, &[], end, &[BlockArg::from(zero)]);
            }
            None => self.e.goto(yes, &[]),
        }
        self.e.enter(yes);
        let base = self.tensor_ptr(t);
        let p = self.e.ptr(base);
        let p = self.e.step(p, at, t.arg.dtype.size_bytes() as i64);
        use cranelift_codegen::ir::types::{I8, I32};
        let value = match t.arg.dtype {
            DType::I64 => self.e.load(I64, p),
            DType::I32 => {
                let v = self.e.load(I32, p);
                self.e.b.ins().sextend(I64, v)
            }
            DType::Bool => {
                let v = self.e.load(I8, p);
                self.e.b.ins().uextend(I64, v)
            }
            other => return Err(format!("`{tensor}` of {} cannot be an index", other.name())),
        };
        self.e.goto(end, &[value]);
        self.e.enter(end);
        Ok(I::V(result))
    }

    /// Whether `0 <= lo` and `hi < size` of dimension `d`.
    pub fn in_bounds(&mut self, t: TensorRef, d: usize, lo: I, hi: I) -> Option<Value> {
        let size = self.tensor_size(t, d);
        let low = match lo {
            I::C(c) if c >= 0 => None,
            _ => Some(self.e.compare(IntCC::SignedGreaterThanOrEqual, lo, I::C(0))),
        };
        let high = match (hi, size) {
            (I::C(h), I::C(s)) if h < s => None,
            _ => Some(self.e.compare(IntCC::SignedLessThan, hi, size)),
        };
        match (low, high) {
            (Some(a), Some(b)) => Some(self.e.b.ins().band(a, b)),
            (a, b) => a.or(b),
        }
    }

    /// The conjunction of conditions, None standing for true.
    pub fn both(&mut self, a: Option<Value>, b: Option<Value>) -> Option<Value> {
        match (a, b) {
            (Some(a), Some(b)) => Some(self.e.b.ins().band(a, b)),
            (a, b) => a.or(b),
        }
    }
}

/// One line that identifies a statement in an error message.
pub(crate) fn describe(stmt: &Stmt, k: &Kernel) -> String {
    let buf = |a: &mixc_tile::Access| {
        k.bufs
            .get(a.buf.0 as usize)
            .map_or("?".into(), |b| b.name.to_string())
    };
    let over = |axes: &[Axis]| {
        axes.iter()
            .map(|a| format!("{}:{}", a.name, a.extent))
            .collect::<Vec<_>>()
            .join(", ")
    };
    match stmt {
        Stmt::For { var, lo, hi, .. } => format!("`for {var} in {lo}..{hi}`"),
        Stmt::If { cond, .. } => format!("`if {} ? {}`", cond.left, cond.right),
        Stmt::Load {
            axes, dst, tensor, ..
        } => format!("`load {} <- {tensor}` over [{}]", buf(dst), over(axes)),
        Stmt::Store { axes, tensor, .. } => format!("`store {tensor}` over [{}]", over(axes)),
        Stmt::Map { axes, dst, .. } => format!("`map {}` over [{}]", buf(dst), over(axes)),
        Stmt::Reduce { axes, dst, .. } => format!("`reduce {}` over [{}]", buf(dst), over(axes)),
        Stmt::Contract {
            axes, dst, a, b, ..
        } => {
            format!(
                "`contract {} from {}, {}` over [{}]",
                buf(dst),
                buf(a),
                buf(b),
                over(axes)
            )
        }
        Stmt::Scan {
            axes, dst, along, ..
        } => format!("`scan {} along {along}` over [{}]", buf(dst), over(axes)),
    }
}
