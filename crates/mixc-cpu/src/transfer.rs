//! Load and Store: tiles between tensors and buffers.
//!
//! Three ways, chosen at run time where they cannot be chosen now. *Whole*: every element is inside the
//! tensor and its innermost stride is 1, so addresses advance by constant steps and nothing is checked
//! (a tile whose buffer lies the other way round is transposed in 4 x 4 blocks). *Rows*: each row along
//! the tensor's innermost dimension is checked once. *Elements*: what is left.

use crate::convert;
use crate::emit::{I, Ptr};
use crate::error::Lowered;
use crate::lower::{Lower, TensorRef};
use crate::scope::{Node, Scope};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    BlockArg, InstBuilder, Value,
    types::{F32, F32X4, I64},
};
use mixc_ir::Ix;
use mixc_tile::{Access, Axis, Expr, LoadIx};

/// The buffer side of a transfer.
#[derive(Clone, Copy)]
enum Side {
    /// The access that a load fills.
    Fill(usize),
    /// The value that a store writes.
    Drain(Node),
}

struct Transfer<'k> {
    tensor: TensorRef<'k>,
    index: Vec<LoadIx>,
    gathers: Vec<Option<usize>>,
    side: Side,
    /// The axis along the tensor's innermost dimension.
    row: Option<usize>,
    /// The axis along which the buffer side is contiguous, if it is another one.
    across: Option<usize>,
}

/// Addresses of a whole tile: where it starts, and elements per step of each axis.
struct Whole {
    start: I,
    steps: Vec<I>,
    inside: Option<Value>,
}

impl<'k> Lower<'_, 'k> {
    pub fn load_tile(
        &mut self,
        axes: &[Axis],
        dst: &Access,
        tensor: &str,
        index: &[LoadIx],
    ) -> Lowered<()> {
        let mut scope = Scope::new(axes)?;
        let acc = scope.access(self, dst)?;
        for (a, axis) in axes.iter().enumerate() {
            if scope.accs[acc].strides[a] == 0 && axis.extent > 1 {
                return Err(format!(
                    "the destination does not vary with axis `{}`",
                    axis.name
                ));
            }
        }
        let across = (0..axes.len()).find(|a| scope.accs[acc].strides[*a] == 4);
        self.transfer(&mut scope, tensor, index.to_vec(), Side::Fill(acc), across)
    }

    pub fn store_tile(
        &mut self,
        axes: &[Axis],
        tensor: &str,
        index: &[Ix],
        src: &Expr,
    ) -> Lowered<()> {
        let mut scope = Scope::new(axes)?;
        let value = scope.expr(self, src)?;
        let contiguous = |a: &usize| scope.accs.iter().filter(|x| x.strides[*a] == 4).count();
        let across = (0..axes.len())
            .filter(|a| contiguous(a) > 0)
            .max_by_key(contiguous);
        let index = index.iter().cloned().map(LoadIx::Ix).collect();
        self.transfer(&mut scope, tensor, index, Side::Drain(value), across)
    }

    fn transfer(
        &mut self,
        scope: &mut Scope,
        tensor: &str,
        index: Vec<LoadIx>,
        side: Side,
        across: Option<usize>,
    ) -> Lowered<()> {
        let tensor = self.tensor(tensor)?;
        let rank = tensor.arg.shape.len();
        if index.len() != rank {
            return Err(format!(
                "`{}` has {rank} dimensions, not {}",
                tensor.arg.name,
                index.len()
            ));
        }
        let mut gathers = Vec::new();
        for ix in &index {
            gathers.push(match ix {
                LoadIx::Gather(access) => Some(scope.access(self, access)?),
                LoadIx::Ix(_) => None,
            });
        }
        let row = row_axis(scope, &index, &gathers);
        let across = across.filter(|a| Some(*a) != row);
        let t = Transfer {
            tensor,
            index,
            gathers,
            side,
            row,
            across,
        };
        let Some(whole) = self.whole(scope, &t)? else {
            return self.by_rows(scope, &t);
        };
        let Some(inside) = whole.inside else {
            return self.whole_tile(scope, &t, &whole);
        };
        let branches = self.e.begin_if(inside);
        let saved = scope.save();
        self.whole_tile(scope, &t, &whole)?;
        scope.restore(saved);
        self.e.otherwise(&branches);
        self.by_rows(scope, &t)?;
        self.e.end_if(branches);
        Ok(())
    }

    /// The addresses of the tile as a whole, if all indices are linear and it has rows.
    fn whole(&mut self, scope: &Scope, t: &Transfer) -> Lowered<Option<Whole>> {
        if t.row.is_none() {
            return Ok(None);
        }
        let mut linear = Vec::new();
        for ix in &t.index {
            let LoadIx::Ix(ix) = ix else { return Ok(None) };
            let Some(affine) = local_affine(ix, &scope.axes) else {
                return Ok(None);
            };
            linear.push(affine);
        }
        let (mut start, mut steps, mut inside) = (I::C(0), vec![I::C(0); scope.axes.len()], None);
        for (d, (coefficients, rest)) in linear.iter().enumerate() {
            let rest = self.ix(rest)?;
            let stride = self.tensor_stride(t.tensor, d);
            let at = self.e.mul(rest, stride);
            start = self.e.add(start, at);
            let (mut lo, mut hi) = (0, 0);
            for (a, c) in coefficients.iter().enumerate() {
                let far = c * (scope.axes[a].extent as i64 - 1);
                lo += far.min(0);
                hi += far.max(0);
                let step = self.e.mul(stride, I::C(*c));
                steps[a] = self.e.add(steps[a], step);
            }
            let (lo, hi) = (self.e.add(rest, I::C(lo)), self.e.add(rest, I::C(hi)));
            let ok = self.in_bounds(t.tensor, d, lo, hi);
            inside = self.both(inside, ok);
        }
        let last = t.index.len() - 1;
        let unit = self.is_unit(t, last);
        let inside = self.both(inside, unit);
        if let Some(row) = t.row {
            steps[row] = I::C(1);
        }
        Ok(Some(Whole {
            start,
            steps,
            inside,
        }))
    }

    /// Whether the innermost stride is 1; None if it is known to be.
    fn is_unit(&mut self, t: &Transfer, last: usize) -> Option<Value> {
        match self.tensor_stride(t.tensor, last) {
            I::C(1) => None,
            stride => Some(self.e.compare(IntCC::Equal, stride, I::C(1))),
        }
    }

    // ---- whole tiles ----

    fn whole_tile(&mut self, scope: &mut Scope, t: &Transfer, whole: &Whole) -> Lowered<()> {
        let base = self.tensor_ptr(t.tensor);
        let base = self.e.ptr(base);
        let size = t.tensor.arg.dtype.size_bytes() as i64;
        let at = self.e.step(base, whole.start, size);
        let steps: Vec<I> = whole
            .steps
            .iter()
            .map(|s| self.e.mul(*s, I::C(size)))
            .collect();
        let row = t.row.ok_or("bug: a whole tile has rows")?;
        let turned = t
            .across
            .filter(|a| scope.axes[*a].extent >= 4 && scope.axes[row].extent >= 4);
        let mut outer: Vec<usize> = (0..scope.axes.len())
            .filter(|a| *a != row && Some(*a) != turned)
            .collect();
        if let Side::Fill(acc) = t.side {
            outer.sort_by_key(|a| std::cmp::Reverse(scope.accs[acc].strides[*a]));
        }
        self.whole_outer(scope, t, &outer, &steps, at, (row, turned))
    }

    fn whole_outer(
        &mut self,
        scope: &mut Scope,
        t: &Transfer,
        outer: &[usize],
        steps: &[I],
        at: Ptr,
        inner: (usize, Option<usize>),
    ) -> Lowered<()> {
        if let Some((axis, rest)) = outer.split_first() {
            let saved = scope.save();
            let counted = self
                .e
                .begin_counted(scope.axes[*axis].extent as i64, 1, &[]);
            scope.bind(self, *axis, counted.var);
            let at = self.moved(at, counted.var, steps[*axis]);
            self.whole_outer(scope, t, rest, steps, at, inner)?;
            self.e.end_counted(counted, vec![]);
            scope.restore(saved);
            return Ok(());
        }
        match inner {
            (row, None) => self.row(scope, t, row, at),
            (row, Some(across)) => self.turned(scope, t, row, across, steps[across], at),
        }
    }

    fn moved(&mut self, p: Ptr, var: I, step: I) -> Ptr {
        let by = self.e.mul(var, step);
        self.e.step(p, by, 1)
    }

    /// One row, all of it inside and contiguous.
    fn row(&mut self, scope: &mut Scope, t: &Transfer, row: usize, at: Ptr) -> Lowered<()> {
        scope.lane = Some(row);
        let dtype = t.tensor.arg.dtype;
        let size = dtype.size_bytes() as i64;
        let nv = scope.axes[row].extent.div_ceil(4).min(4);
        self.lane_loop(scope, nv, vec![], &mut |l, scope, _| {
            let position = scope.position(row);
            let at = l.e.step(at, position.0, size).plus(position.1 * size);
            for u in 0..scope.nv {
                let lanes = scope.lanes(u);
                let p = at.plus(4 * size * u as i64);
                match t.side {
                    Side::Fill(acc) => {
                        let v = l.load_lanes(t, lanes, p);
                        scope.write(l, acc, u, v);
                    }
                    Side::Drain(node) => {
                        let v = scope.number(l, node, u)?;
                        convert::store_vector(&mut l.e, dtype, v, lanes, p);
                    }
                }
            }
            Ok(vec![])
        })?;
        Ok(())
    }

    /// Up to four neighbouring elements, none behind them.
    fn load_lanes(&mut self, t: &Transfer, lanes: usize, p: Ptr) -> Value {
        let dtype = t.tensor.arg.dtype;
        if lanes == 4 {
            return convert::load_vector(&mut self.e, dtype, p);
        }
        let size = dtype.size_bytes() as i64;
        let each: Vec<Value> = (0..lanes)
            .map(|i| {
                let v = convert::load_splat(&mut self.e, dtype, p.plus(i as i64 * size));
                self.e.lane(v, 0)
            })
            .collect();
        self.e.gather(&each)
    }

    /// Blocks of four rows by four columns, transposed; the buffer side is contiguous along `across`.
    fn turned(
        &mut self,
        scope: &mut Scope,
        t: &Transfer,
        row: usize,
        across: usize,
        step: I,
        at: Ptr,
    ) -> Lowered<()> {
        let (rows, columns) = (
            scope.axes[across].extent as i64,
            scope.axes[row].extent as i64,
        );
        let (rows4, columns4) = (rows / 4 * 4, columns / 4 * 4);
        let size = t.tensor.arg.dtype.size_bytes() as i64;
        scope.lane = Some(across);
        let saved = scope.save();
        let down = self.e.begin_counted(rows4, 4, &[]);
        scope.bind(self, across, down.var);
        (scope.nv, scope.tail) = (1, 4);
        let at_row = self.moved(at, down.var, step);
        let mut starts = vec![at_row];
        for _ in 1..4 {
            let next = self.moved(starts[starts.len() - 1], I::C(1), step);
            starts.push(next);
        }
        let kept = scope.save();
        let along = self.e.begin_counted(columns4, 4, &[]);
        scope.bind(self, row, along.var);
        let starts: Vec<Ptr> = starts
            .iter()
            .map(|p| self.e.step(*p, along.var, size))
            .collect();
        self.block_4x4(scope, t, row, &starts)?;
        self.e.end_counted(along, vec![]);
        scope.restore(kept);
        self.e.end_counted(down, vec![]);
        scope.restore(saved);
        // What four does not divide: the last columns of all whole rows, then the last rows.
        scope.lane = None;
        self.rectangle(
            scope,
            t,
            (across, 0, rows4, step),
            (row, columns4, columns),
            at,
        )?;
        self.rectangle(scope, t, (across, rows4, rows, step), (row, 0, columns), at)
    }

    fn block_4x4(
        &mut self,
        scope: &mut Scope,
        t: &Transfer,
        row: usize,
        starts: &[Ptr],
    ) -> Lowered<()> {
        let dtype = t.tensor.arg.dtype;
        match t.side {
            Side::Fill(acc) => {
                let mut v = [starts[0].base; 4];
                for (v, p) in v.iter_mut().zip(starts) {
                    *v = convert::load_vector(&mut self.e, dtype, *p);
                }
                let v = self.e.transpose(v);
                for (i, v) in v.into_iter().enumerate() {
                    if i > 0 {
                        scope.shift(row, 1);
                    }
                    scope.write(self, acc, 0, v);
                }
            }
            Side::Drain(node) => {
                let mut v = [starts[0].base; 4];
                for (i, v) in v.iter_mut().enumerate() {
                    if i > 0 {
                        scope.shift(row, 1);
                    }
                    *v = scope.number(self, node, 0)?;
                }
                let v = self.e.transpose(v);
                for (v, p) in v.into_iter().zip(starts) {
                    convert::store_vector(&mut self.e, dtype, v, 4, *p);
                }
            }
        }
        Ok(())
    }

    /// Element by element, without checks.
    fn rectangle(
        &mut self,
        scope: &mut Scope,
        t: &Transfer,
        (across, r0, r1, step): (usize, i64, i64, I),
        (row, c0, c1): (usize, i64, i64),
        at: Ptr,
    ) -> Lowered<()> {
        if r0 >= r1 || c0 >= c1 {
            return Ok(());
        }
        let size = t.tensor.arg.dtype.size_bytes() as i64;
        let saved = scope.save();
        let down = self.e.begin_counted(r1 - r0, 1, &[]);
        let r = self.e.add(down.var, I::C(r0));
        scope.bind(self, across, r);
        let at = self.moved(at, r, step);
        let kept = scope.save();
        let along = self.e.begin_counted(c1 - c0, 1, &[]);
        let c = self.e.add(along.var, I::C(c0));
        scope.bind(self, row, c);
        let p = self.e.step(at, c, size);
        self.element(scope, t, p)?;
        self.e.end_counted(along, vec![]);
        scope.restore(kept);
        self.e.end_counted(down, vec![]);
        scope.restore(saved);
        Ok(())
    }

    /// One element that is inside; no lane axis.
    fn element(&mut self, scope: &mut Scope, t: &Transfer, p: Ptr) -> Lowered<()> {
        let dtype = t.tensor.arg.dtype;
        match t.side {
            Side::Fill(acc) => {
                let v = convert::load_splat(&mut self.e, dtype, p);
                scope.write(self, acc, 0, v);
            }
            Side::Drain(node) => {
                let v = scope.number(self, node, 0)?;
                convert::store_lane(&mut self.e, dtype, v, 0, p);
            }
        }
        Ok(())
    }

    // ---- checked rows and elements ----

    fn by_rows(&mut self, scope: &mut Scope, t: &Transfer) -> Lowered<()> {
        let outer: Vec<usize> = (0..scope.axes.len())
            .filter(|a| Some(*a) != t.row)
            .collect();
        scope.lane = None;
        (scope.nv, scope.tail) = (1, 4);
        let saved = scope.save();
        self.rows_outer(scope, t, &outer)?;
        scope.restore(saved);
        Ok(())
    }

    fn rows_outer(&mut self, scope: &mut Scope, t: &Transfer, outer: &[usize]) -> Lowered<()> {
        if let Some((axis, rest)) = outer.split_first() {
            let saved = scope.save();
            let counted = self
                .e
                .begin_counted(scope.axes[*axis].extent as i64, 1, &[]);
            scope.bind(self, *axis, counted.var);
            self.rows_outer(scope, t, rest)?;
            self.e.end_counted(counted, vec![]);
            scope.restore(saved);
            return Ok(());
        }
        self.checked_row(scope, t)
    }

    /// The index of one dimension at the current position.
    fn index_value(&mut self, scope: &Scope, t: &Transfer, d: usize) -> Lowered<I> {
        match (&t.index[d], t.gathers[d]) {
            (LoadIx::Ix(ix), _) => scope.integer(self, ix, 0),
            (LoadIx::Gather(_), Some(acc)) => {
                let x = self.e.load(F32, scope.accs[acc].at);
                let x = self.e.b.ins().nearest(x);
                Ok(I::V(self.e.b.ins().fcvt_to_sint_sat(I64, x)))
            }
            (LoadIx::Gather(_), None) => Err("bug: a gather without its access".into()),
        }
    }

    fn checked_row(&mut self, scope: &mut Scope, t: &Transfer) -> Lowered<()> {
        let size = t.tensor.arg.dtype.size_bytes() as i64;
        let rank = t.index.len();
        let saved = scope.save();
        if let Some(row) = t.row {
            scope.bind(self, row, I::C(0));
        }
        let (mut others, mut at) = (None, I::C(0));
        let mut last = (I::C(0), I::C(0));
        for d in 0..rank {
            let i = self.index_value(scope, t, d)?;
            let stride = self.tensor_stride(t.tensor, d);
            let by = self.e.mul(i, stride);
            at = self.e.add(at, by);
            if t.row.is_some() && d + 1 == rank {
                last = (i, stride);
            } else {
                let ok = self.in_bounds(t.tensor, d, i, i);
                others = self.both(others, ok);
            }
        }
        let base = self.tensor_ptr(t.tensor);
        let base = self.e.ptr(base);
        let start = self.e.step(base, at, size);
        let Some(row) = t.row else {
            self.checked_element(scope, t, others, start)?;
            scope.restore(saved);
            return Ok(());
        };
        scope.restore(saved);
        let extent = scope.axes[row].extent as i64;
        let end = self.e.add(last.0, I::C(extent - 1));
        let along = self.in_bounds(t.tensor, rank - 1, last.0, end);
        let unit = self.is_unit(t, rank - 1);
        let inside = self.both(others, along);
        let inside = self.both(inside, unit);
        let branches = inside.map(|c| self.e.begin_if(c));
        let saved = scope.save();
        self.row(scope, t, row, start)?;
        scope.restore(saved);
        let Some(branches) = branches else {
            return Ok(());
        };
        self.e.otherwise(&branches);
        scope.lane = None;
        (scope.nv, scope.tail) = (1, 4);
        let saved = scope.save();
        let counted = self.e.begin_counted(extent, 1, &[]);
        scope.bind(self, row, counted.var);
        let i = self.e.add(last.0, counted.var);
        let ok = self.in_bounds(t.tensor, rank - 1, i, i);
        let ok = self.both(others, ok);
        let by = self.e.mul(counted.var, last.1);
        let p = self.e.step(start, by, size);
        self.checked_element(scope, t, ok, p)?;
        self.e.end_counted(counted, vec![]);
        scope.restore(saved);
        self.e.end_if(branches);
        Ok(())
    }

    fn checked_element(
        &mut self,
        scope: &mut Scope,
        t: &Transfer,
        ok: Option<Value>,
        p: Ptr,
    ) -> Lowered<()> {
        let Some(ok) = ok else {
            return self.element(scope, t, p);
        };
        let (yes, end) = (self.e.block(), self.e.block());
        match t.side {
            Side::Drain(_) => {
                self.e.branch(ok, yes, end);
                self.e.enter(yes);
                let saved = scope.save();
                self.element(scope, t, p)?;
                scope.restore(saved);
                self.e.goto(end, &[]);
                self.e.enter(end);
            }
            Side::Fill(acc) => {
                let result = self.e.b.append_block_param(end, F32X4);
                let zero = self.e.f32c(0.0);
                self.e
                    .b
                    .ins()
                    .brif(ok, yes, &[], end, &[BlockArg::from(zero)]);
                self.e.enter(yes);
                let v = convert::load_splat(&mut self.e, t.tensor.arg.dtype, p);
                self.e.goto(end, &[v]);
                self.e.enter(end);
                scope.write(self, acc, 0, result);
            }
        }
        Ok(())
    }
}

/// The axis that steps through the tensor's innermost dimension one element at a time and appears in
/// no other index.
fn row_axis(scope: &Scope, index: &[LoadIx], gathers: &[Option<usize>]) -> Option<usize> {
    let LoadIx::Ix(last) = index.last()? else {
        return None;
    };
    let (coefficients, _) = local_affine(last, &scope.axes)?;
    let alone = |a: usize| {
        let name = &scope.axes[a].name;
        index[..index.len() - 1]
            .iter()
            .zip(gathers)
            .all(|(ix, gather)| match (ix, gather) {
                (LoadIx::Ix(ix), _) => !ix.axes().contains(name),
                (LoadIx::Gather(_), Some(acc)) => scope.accs[*acc].strides[a] == 0,
                (LoadIx::Gather(_), None) => false,
            })
    };
    (0..scope.axes.len())
        .filter(|a| coefficients[*a] == 1 && alone(*a))
        .max_by_key(|a| scope.axes[*a].extent)
}

/// Constant coefficients of the local axes, and the rest without them.
pub(crate) fn local_affine(ix: &Ix, axes: &[Axis]) -> Option<(Vec<i64>, Ix)> {
    let mut coefficients = vec![0; axes.len()];
    let rest = collect(ix, 1, axes, &mut coefficients)?;
    Some((coefficients, rest))
}

fn collect(ix: &Ix, sign: i64, axes: &[Axis], into: &mut [i64]) -> Option<Ix> {
    let find = |name: &str| axes.iter().position(|a| &*a.name == name);
    match ix {
        Ix::Axis(name) => match find(name) {
            Some(a) => {
                into[a] += sign;
                Some(Ix::Const(0))
            }
            None => Some(ix.clone()),
        },
        _ if !ix.axes().iter().any(|n| find(n).is_some()) => Some(ix.clone()),
        Ix::Add(a, b) => Some(collect(a, sign, axes, into)? + collect(b, sign, axes, into)?),
        Ix::Sub(a, b) => Some(collect(a, sign, axes, into)? - collect(b, -sign, axes, into)?),
        Ix::Mul(a, b) => match (&**a, &**b) {
            (x, Ix::Const(c)) | (Ix::Const(c), x) => {
                Some(collect(x, sign.checked_mul(*c)?, axes, into)? * *c)
            }
            _ => None,
        },
        _ => None,
    }
}
