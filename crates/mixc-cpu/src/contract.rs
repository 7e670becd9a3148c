//! Contract as register-blocked micro-kernels.
//!
//! The lane axis is the innermost of `dst` and of one operand (the *vector* operand); the other
//! operand is broadcast element by element, so it may lie in memory in any order. A micro-kernel
//! keeps `rows x vectors` accumulators in registers over all summed axes.
//!
//! Measured on one core (Zen 4): with stock Cranelift accumulators + vectors + 2 must stay within 14
//! of the 16 registers, because its multiply-add overwrites a multiplicand; more of them spill.

use crate::emit::Ptr;
use crate::error::Lowered;
use crate::layout::Layout;
use crate::lower::Lower;
use crate::scope::Scope;
use cranelift_codegen::ir::types::{F32X4, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use mixc_tile::{Access, Axis, Place};

/// Which part each axis plays.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Blocking {
    /// Whether the second operand, `b`, is the vector operand.
    vector_is_b: bool,
    lane: usize,
    /// In `dst` and the broadcast operand.
    row: usize,
    /// Other axes of `dst`.
    outer: Vec<usize>,
    /// Summed axes, the innermost last.
    summed: Vec<usize>,
}

/// Bytes per step of an axis, 0 if the access lacks it.
pub(crate) fn stride(axis: &Axis, access: &Access, layout: &Layout) -> i64 {
    access
        .places
        .iter()
        .zip(&layout.strides)
        .map(|(p, s)| {
            if matches!(p, Place::Axis(n) if *n == axis.name) {
                *s
            } else {
                0
            }
        })
        .sum()
}

/// How to block a contraction under the given layouts; None if it has no lane axis or a single row.
pub(crate) fn blocking(
    axes: &[Axis],
    dst: &Access,
    a: &Access,
    b: &Access,
    layouts: &[Layout],
) -> Option<Blocking> {
    let of = |axis: usize, access: &Access| {
        layouts
            .get(access.buf.0 as usize)
            .map_or(0, |l| stride(&axes[axis], access, l))
    };
    let all = 0..axes.len();
    let lane = all.clone().find(|x| {
        of(*x, dst) == 4 && (of(*x, a) == 4 && of(*x, b) == 0 || of(*x, b) == 4 && of(*x, a) == 0)
    })?;
    let vector_is_b = of(lane, b) == 4;
    let (vector, scalar) = if vector_is_b { (b, a) } else { (a, b) };
    let row = all
        .clone()
        .filter(|x| {
            of(*x, dst) != 0 && of(*x, scalar) != 0 && of(*x, vector) == 0 && axes[*x].extent > 1
        })
        .max_by_key(|x| axes[*x].extent)?;
    let outer = all
        .clone()
        .filter(|x| ![lane, row].contains(x) && of(*x, dst) != 0)
        .collect();
    let mut summed: Vec<usize> = all
        .filter(|x| of(*x, dst) == 0 && axes[*x].extent > 1)
        .collect();
    summed.sort_by_key(|x| axes[*x].extent);
    Some(Blocking {
        vector_is_b,
        lane,
        row,
        outer,
        summed,
    })
}

/// Rows and vectors of the micro-kernel, and the cycles of one step along the summed axes over the
/// whole block: the fewest, by a model of two multiply-adds of four cycles' latency and two loads a
/// cycle, with the losses measured on one core (Zen 5: 5 x 2 reaches 91% of the peak, 3 x 3 85%,
/// 4 x 2 and 8 x 1 84%, 2 x 4 57%).
pub(crate) fn choose_tile(rows: usize, vectors: usize) -> (usize, usize, f64) {
    let cycles = |r: usize, v: usize| {
        let multiply = 1.09 * (r * v) as f64 / 2.0;
        let load = 0.55 * (r + v) as f64;
        multiply.max(load).max(4.75) + if v == 4 { 2.0 } else { 0.0 }
    };
    let mut best = (1, 1, f64::INFINITY);
    for v in 1..=4usize {
        for r in 1..=11usize {
            if r * v + v + 2 > 14 || r > rows || v > vectors {
                continue;
            }
            let ((rn, rr), (vn, vr)) = ((rows / r, rows % r), (vectors / v, vectors % v));
            let mut cost = (rn * vn) as f64 * cycles(r, v);
            if rr > 0 {
                cost += vn as f64 * cycles(rr, v);
            }
            if vr > 0 {
                cost += rn as f64 * cycles(r, vr);
            }
            if rr > 0 && vr > 0 {
                cost += cycles(rr, vr);
            }
            if cost < best.2 {
                best = (r, v, cost);
            }
        }
    }
    best
}

impl Blocking {
    /// Cycles of the whole contraction, roughly.
    pub fn cycles(&self, axes: &[Axis]) -> f64 {
        let over = |xs: &[usize]| xs.iter().map(|x| axes[*x].extent as f64).product::<f64>();
        let (_, _, step) = choose_tile(axes[self.row].extent, axes[self.lane].extent.div_ceil(4));
        over(&self.outer) * over(&self.summed) * step
    }
}

struct Block {
    plan: Blocking,
    dst: usize,
    vector: usize,
    scalar: usize,
    rows: usize,
    vectors: usize,
    accumulate: bool,
}

impl Lower<'_, '_> {
    /// Whether a contraction has no use for registers: it is then summed like a reduction.
    pub fn is_thin(&self, axes: &[Axis], dst: &Access, a: &Access, b: &Access) -> bool {
        blocking(axes, dst, a, b, self.layouts).is_none()
    }

    pub fn contract(
        &mut self,
        axes: &[Axis],
        accumulate: bool,
        dst: &Access,
        a: &Access,
        b: &Access,
    ) -> Lowered<()> {
        let plan =
            blocking(axes, dst, a, b, self.layouts).ok_or("bug: not a blocked contraction")?;
        let mut scope = Scope::new(axes)?;
        let (dst, a, b) = (
            scope.access(self, dst)?,
            scope.access(self, a)?,
            scope.access(self, b)?,
        );
        let (vector, scalar) = if plan.vector_is_b { (b, a) } else { (a, b) };
        scope.lane = Some(plan.lane);
        let (rows, vectors, _) =
            choose_tile(axes[plan.row].extent, axes[plan.lane].extent.div_ceil(4));
        let block = Block {
            plan,
            dst,
            vector,
            scalar,
            rows,
            vectors,
            accumulate,
        };
        self.contract_outer(&mut scope, &block, 0)
    }

    fn contract_outer(&mut self, scope: &mut Scope, block: &Block, depth: usize) -> Lowered<()> {
        if let Some(axis) = block.plan.outer.get(depth) {
            let saved = scope.save();
            let counted = self
                .e
                .begin_counted(scope.axes[*axis].extent as i64, 1, &[]);
            scope.bind(self, *axis, counted.var);
            self.contract_outer(scope, block, depth + 1)?;
            self.e.end_counted(counted, vec![]);
            scope.restore(saved);
            return Ok(());
        }
        self.lane_loop(scope, block.vectors, vec![], &mut |l, scope, _| {
            l.contract_rows(scope, block)?;
            Ok(vec![])
        })?;
        Ok(())
    }

    fn contract_rows(&mut self, scope: &mut Scope, block: &Block) -> Lowered<()> {
        let row = block.plan.row;
        let extent = scope.axes[row].extent;
        let whole = extent / block.rows * block.rows;
        if whole > 0 {
            let saved = scope.save();
            let counted = self.e.begin_counted(whole as i64, block.rows as i64, &[]);
            scope.bind(self, row, counted.var);
            self.micro_kernel(scope, block, block.rows)?;
            self.e.end_counted(counted, vec![]);
            scope.restore(saved);
        }
        if whole < extent {
            let saved = scope.save();
            scope.bind(self, row, crate::emit::I::C(whole as i64));
            self.micro_kernel(scope, block, extent - whole)?;
            scope.restore(saved);
        }
        Ok(())
    }

    fn micro_kernel(&mut self, scope: &mut Scope, block: &Block, rows: usize) -> Lowered<()> {
        let saved = scope.save();
        let mut accumulators = Vec::new();
        for r in 0..rows {
            if r > 0 {
                scope.shift(block.plan.row, 1);
            }
            for u in 0..scope.nv {
                accumulators.push(if block.accumulate {
                    scope.read(self, block.dst, u)
                } else {
                    self.e.f32c(0.0)
                });
            }
        }
        scope.restore(saved);
        let sums = self.summed(scope, block, rows, 0, accumulators)?;
        let saved = scope.save();
        for r in 0..rows {
            if r > 0 {
                scope.shift(block.plan.row, 1);
            }
            for u in 0..scope.nv {
                scope.write(self, block.dst, u, sums[r * scope.nv + u]);
            }
        }
        scope.restore(saved);
        Ok(())
    }

    /// The loops over summed axes, accumulators carried.
    fn summed(
        &mut self,
        scope: &mut Scope,
        block: &Block,
        rows: usize,
        depth: usize,
        acc: Vec<Value>,
    ) -> Lowered<Vec<Value>> {
        let summed = &block.plan.summed;
        if depth + 1 < summed.len() {
            let axis = summed[depth];
            let saved = scope.save();
            let counted = self
                .e
                .begin_counted(scope.axes[axis].extent as i64, 1, &acc);
            scope.bind(self, axis, counted.var);
            let acc = self.summed(scope, block, rows, depth + 1, counted.params.clone())?;
            let acc = self.e.end_counted(counted, acc);
            scope.restore(saved);
            return Ok(acc);
        }
        let (vector, scalar) = (&scope.accs[block.vector], &scope.accs[block.scalar]);
        let row_step = scalar.strides[block.plan.row];
        let (extent, vector_step, scalar_step) = match summed.last() {
            Some(k) => (
                scope.axes[*k].extent as i64,
                vector.strides[*k],
                scalar.strides[*k],
            ),
            None => (1, 0, 0),
        };
        let steps = Steps {
            rows,
            vectors: scope.nv,
            row_step,
            vector_step,
            scalar_step,
        };
        let (v0, s0) = (vector.at, scalar.at);
        let unroll = 4.min(extent);
        let whole = extent / unroll * unroll;
        let mut acc = acc;
        if whole > unroll {
            // Both pointers advance by one addition each; everything else is a constant offset.
            let mut carry = acc;
            carry.extend([v0.base, s0.base]);
            let counted = self.e.begin_tested(whole, unroll, &carry);
            let mut inside = counted.params.clone();
            let (s, v) = (
                inside.pop().unwrap_or(s0.base),
                inside.pop().unwrap_or(v0.base),
            );
            let mut out = self.steps(
                &steps,
                Ptr {
                    base: v,
                    off: v0.off,
                },
                Ptr {
                    base: s,
                    off: s0.off,
                },
                unroll,
                inside,
            );
            for (p, step) in [(v, vector_step), (s, scalar_step)] {
                let by = self.e.b.ins().iconst(I64, step * unroll);
                out.push(self.e.b.ins().iadd(p, by));
            }
            acc = self.e.end_tested(counted, &out);
            acc.truncate(rows * scope.nv);
        } else if whole > 0 {
            acc = self.steps(&steps, v0, s0, whole, acc);
        }
        if whole < extent {
            let (v, s) = (v0.plus(whole * vector_step), s0.plus(whole * scalar_step));
            acc = self.steps(&steps, v, s, extent - whole, acc);
        }
        Ok(acc)
    }

    /// Loads and multiply-adds of some steps along the innermost summed axis, in their final order.
    ///
    /// A multiply-add overwrites a factor, so a broadcast with two uses costs a copy, and one that is
    /// loaded once for each use costs a load instead. One row of each keeps both units busy.
    fn steps(
        &mut self,
        by: &Steps,
        vector: Ptr,
        scalar: Ptr,
        count: i64,
        mut acc: Vec<Value>,
    ) -> Vec<Value> {
        for k in 0..count {
            let vectors: Vec<Value> = (0..by.vectors)
                .map(|u| {
                    self.e
                        .load(F32X4, vector.plus(k * by.vector_step + 16 * u as i64))
                })
                .collect();
            for r in 0..by.rows {
                let at = scalar.plus(k * by.scalar_step + r as i64 * by.row_step);
                let last = r + 1 == by.rows;
                let mut x = self.e.load_splat(at);
                for (u, v) in vectors.iter().enumerate() {
                    let slot = r * by.vectors + u;
                    if r == 0 && u > 0 && by.vectors == 2 {
                        x = self.e.load_splat(at);
                    }
                    // The first factor is overwritten; a vector's last use is in the last row.
                    acc[slot] = if last && u + 1 < by.vectors {
                        self.e.fma(*v, x, acc[slot])
                    } else {
                        self.e.fma(x, *v, acc[slot])
                    };
                }
            }
        }
        acc
    }
}

struct Steps {
    rows: usize,
    vectors: usize,
    row_step: i64,
    vector_step: i64,
    scalar_step: i64,
}
