//! Reductions: within a thread, then across lanes by shuffles, then across warps through shared memory.

use super::Lower;
use super::expr::Cache;
use super::sync::Tensors;
use crate::LowerError;
use crate::emit::{Ty, Val};
use crate::place::Home;
use crate::spread;
use crate::visit::{self, Key};
use mixc_ir::Name;
use mixc_layout::{LANE, Layout, WARP};
use mixc_tile::{Access, Expr, ReduceKind, Stmt};

impl<'k> Lower<'k> {
    pub(super) fn reduce(&mut self, stmt: &'k Stmt) -> Result<(), LowerError> {
        let Stmt::Reduce {
            kind,
            accumulate,
            dst,
            expr,
            ..
        } = stmt
        else {
            return Ok(());
        };
        self.reduction(stmt, *kind, *accumulate, dst, expr)
    }

    /// A product without rows or columns, as a sum.
    pub(super) fn sum_of_products(
        &mut self,
        stmt: &'k Stmt,
        accumulate: bool,
        dst: &Access,
        a: &Access,
        b: &Access,
    ) -> Result<(), LowerError> {
        let expr = Expr::Mul(
            Box::new(Expr::Elem(a.clone())),
            Box::new(Expr::Elem(b.clone())),
        );
        self.reduction(stmt, ReduceKind::Sum, accumulate, dst, &expr)
    }

    fn reduction(
        &mut self,
        stmt: &'k Stmt,
        kind: ReduceKind,
        accumulate: bool,
        dst: &Access,
        expr: &Expr,
    ) -> Result<(), LowerError> {
        let layout = self.placement.layouts[&(stmt as Key)].clone();
        let axes = visit::axes(stmt);
        self.ready(&visit::reads(stmt), &layout, None, Tensors::default())?;
        let kept = visit::plain_axes(dst);
        let groups = Groups::of(&layout, &kept);
        let start = identity(kind);
        let start = self.e.f32(start);
        // One sum for each group of registers that lands on the same element; in a slot, since a loop may go round.
        let slots: Vec<Val> = groups
            .heads
            .iter()
            .map(|_| {
                let slot = self.e.slot(Ty::F32);
                self.e.store(start, slot);
                slot
            })
            .collect();
        self.turns(&layout, &axes, |own, points| {
            let mut cache = Cache::new();
            for r in 0..points.registers() {
                let Some(at) = points.at(r) else { continue };
                let value = own.number(expr, points, r, &at, &mut cache)?;
                let inside = own.inside(points, &at, &|name| !kept.contains(name));
                let value = own.e.select(inside, value, start);
                let slot = slots[groups.of_register[r as usize]];
                let old = own.e.load(slot, Ty::F32);
                let new = own.combine(kind, old, value);
                own.e.store(new, slot);
            }
            Ok::<(), LowerError>(())
        })?;
        let mut sums: Vec<Val> = slots.iter().map(|s| self.e.load(*s, Ty::F32)).collect();
        self.across_lanes(&layout, &kept, kind, &mut sums);
        self.across_warps(stmt, &layout, &kept, kind, &mut sums);
        self.deliver(&layout, &axes, &groups, &kept, kind, accumulate, dst, sums)
    }

    fn across_lanes(&mut self, layout: &Layout, kept: &[Name], kind: ReduceKind, sums: &mut [Val]) {
        for bit in 0..layout.in_bits(LANE) {
            if moves_reduced(layout, LANE, bit, kept) {
                for sum in sums.iter_mut() {
                    let other = self.exchange(*sum, 1 << bit);
                    *sum = self.combine(kind, *sum, other);
                }
            }
        }
    }

    /// The value of the lane whose number differs in `mask`.
    pub(super) fn exchange(&mut self, value: Val, mask: i32) -> Val {
        let all = self.e.i32(-1);
        let mask = self.e.i32(mask);
        let clamp = self.e.i32(31);
        self.e.call(
            "llvm.nvvm.shfl.sync.bfly.f32",
            &[all, value, mask, clamp],
            Ty::F32,
        )
    }

    fn across_warps(
        &mut self,
        stmt: &'k Stmt,
        layout: &Layout,
        kept: &[Name],
        kind: ReduceKind,
        sums: &mut [Val],
    ) {
        let Some(slot) = self.placement.scratch.get(&(stmt as Key)).copied() else {
            return;
        };
        // scratch[warp][sum][lane]
        let base = self.slot_base(slot);
        let warp_bytes = self.e.i32(sums.len() as i32 * 128);
        let lane = self.e.shl(self.lane, 2);
        self.touch(&[], &[slot], Tensors::default());
        let mine = self.e.mul(self.warp, warp_bytes);
        let mine = self.e.add(mine, lane);
        let mine = self.e.offset(base, mine);
        for (n, sum) in sums.iter().enumerate() {
            let at = self.e.i32(n as i32 * 128);
            let at = self.e.offset(mine, at);
            self.e.store(*sum, at);
        }
        self.touch(&[slot], &[], Tensors::default());
        let reduced: Vec<u32> = (0..layout.in_bits(WARP))
            .filter(|bit| moves_reduced(layout, WARP, *bit, kept))
            .collect();
        let mask = reduced.iter().fold(0, |m, b| m | 1 << b);
        let others = self.e.i32(!mask);
        let own = self.e.bit_and(self.warp, others);
        for (n, sum) in sums.iter_mut().enumerate() {
            let mut total: Option<Val> = None;
            for choice in 0..1u32 << reduced.len() {
                let bits = reduced
                    .iter()
                    .enumerate()
                    .filter(|(k, _)| choice >> k & 1 == 1)
                    .fold(0, |m, (_, b)| m | 1 << b);
                let bits = self.e.i32(bits);
                let warp = self.e.bit_or(own, bits);
                let at = self.e.mul(warp, warp_bytes);
                let at = self.e.add(at, lane);
                let place = self.e.i32(n as i32 * 128);
                let at = self.e.add(at, place);
                let at = self.e.offset(base, at);
                let value = self.e.load(at, Ty::F32);
                total = Some(match total {
                    Some(t) => self.combine(kind, t, value),
                    None => value,
                });
            }
            *sum = total.unwrap_or(*sum);
        }
    }

    /// Hands the sums to the destination, combined with what was there.
    #[allow(clippy::too_many_arguments)]
    fn deliver(
        &mut self,
        layout: &Layout,
        axes: &[(Name, usize)],
        groups: &Groups,
        kept: &[Name],
        kind: ReduceKind,
        accumulate: bool,
        dst: &Access,
        mut sums: Vec<Val>,
    ) -> Result<(), LowerError> {
        // After the combination all threads that differ along reduced axes hold the same sums.
        let own = kept_layout(layout, kept, groups);
        let kept_axes: Vec<(Name, usize)> = axes
            .iter()
            .filter(|(n, _)| kept.contains(n))
            .cloned()
            .collect();
        let points = self.points(&own, &kept_axes, None);
        let shared = self.placement.homes[visit::index(dst.buf)] == Home::Shared;
        if shared {
            // Only now: the sums across warps may have had a barrier behind which the write would be forgotten.
            let slot = self.storage(dst)?.slot;
            self.touch(&[], &[slot], Tensors::default());
        }
        if accumulate {
            let writer = self.writer(&own);
            let guarded = shared && self.e.constant(writer).is_none();
            if shared {
                // Only the thread that writes an element may read it.
                if guarded {
                    self.e.open_if(writer);
                }
                self.update_shared(&points, dst, |own, r, old| {
                    own.combine(kind, old, sums[r as usize])
                })?;
                if guarded {
                    self.e.close();
                }
                return Ok(());
            }
            let mut cache = Cache::new();
            self.ready(&[dst], &own, None, Tensors::default())?;
            for r in 0..points.registers() {
                let Some(at) = points.at(r) else { continue };
                let old = self.operand(dst, &points, r, &at, &mut cache)?;
                sums[r as usize] = self.combine(kind, old, sums[r as usize]);
            }
        }
        self.write_result(&points, dst, &sums)
    }

    pub(super) fn combine(&mut self, kind: ReduceKind, a: Val, b: Val) -> Val {
        match kind {
            ReduceKind::Sum => self.e.fadd(a, b),
            ReduceKind::Prod => self.e.fmul(a, b),
            ReduceKind::Max => self.e.fmax_nan(a, b),
            ReduceKind::Min => self.e.fmin_nan(a, b),
        }
    }
}

pub(crate) fn identity(kind: ReduceKind) -> f32 {
    match kind {
        ReduceKind::Sum => 0.0,
        ReduceKind::Prod => 1.0,
        ReduceKind::Max => f32::NEG_INFINITY,
        ReduceKind::Min => f32::INFINITY,
    }
}

/// Registers of a layout that agree along the axes that are kept.
struct Groups {
    of_register: Vec<usize>,
    /// The first register of each group.
    heads: Vec<u32>,
    /// The register bits that move a kept axis.
    kept_bits: Vec<u32>,
}

impl Groups {
    fn of(layout: &Layout, kept: &[Name]) -> Groups {
        let kept_bits: Vec<u32> = (0..layout.in_bits(mixc_layout::REGISTER))
            .filter(|bit| {
                moves(layout, mixc_layout::REGISTER, *bit, &|n| {
                    kept.iter().any(|k| **k == *n)
                })
            })
            .collect();
        let count = 1usize << kept_bits.len();
        let group = |r: u32| {
            kept_bits
                .iter()
                .enumerate()
                .fold(0usize, |g, (n, b)| g | ((r >> b & 1) as usize) << n)
        };
        let of_register: Vec<usize> = (0..spread::registers(layout)).map(group).collect();
        let heads = (0..count)
            .map(|g| of_register.iter().position(|x| *x == g).unwrap_or(0) as u32)
            .collect();
        Groups {
            of_register,
            heads,
            kept_bits,
        }
    }
}

fn moves(layout: &Layout, input: &str, bit: u32, axis: &dyn Fn(&str) -> bool) -> bool {
    let basis = layout.basis(input, bit);
    layout
        .outs()
        .zip(basis)
        .any(|((name, _), v)| v != 0 && axis(name))
}

fn moves_reduced(layout: &Layout, input: &str, bit: u32, kept: &[Name]) -> bool {
    moves(layout, input, bit, &|n| !kept.iter().any(|k| **k == *n))
}

/// The layout of the sums: one register for each group, and only the kept axes.
fn kept_layout(layout: &Layout, kept: &[Name], groups: &Groups) -> Layout {
    let outs: Vec<(&str, u32)> = layout
        .outs()
        .filter(|(n, _)| kept.iter().any(|k| **k == **n))
        .collect();
    let mut result = Layout::new(&outs);
    let mut push = |input: &str, bit: u32| {
        let basis = layout.basis(input, bit);
        let vector: Vec<(&str, u32)> = layout
            .outs()
            .zip(basis)
            .filter(|((n, _), v)| *v != 0 && kept.iter().any(|k| **k == **n))
            .map(|((n, _), v)| (n, v))
            .collect();
        result = result.clone().with_bit(input, &vector);
    };
    for bit in &groups.kept_bits {
        push(mixc_layout::REGISTER, *bit);
    }
    for input in [LANE, WARP] {
        for bit in 0..layout.in_bits(input) {
            push(input, bit);
        }
    }
    result
}
