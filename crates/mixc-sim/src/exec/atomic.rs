//! Atomics (PTX ISA, "Parallel Synchronization and Communication Instructions: atom, red").

use super::address::{Memory, Reach, Spot, reaches};
use super::block::{At, BlockRun};
use super::warp::Warp;
use crate::check::blocks::Mode;
use crate::check::clock::bits;
use crate::check::finding::FindingKind;
use crate::check::shadow::Kind;
use crate::numeric::convert::{integer, mask as width_mask};
use crate::numeric::float::flush;
use crate::numeric::{Bits, half_precision as hp};
use crate::program::*;
use crate::syntax::ast::Ty;

impl BlockRun<'_> {
    /// Lanes of one instruction take their turns from the lowest on.
    pub fn atomic(&mut self, warp: &mut Warp, mask: u32, pc: Pc) {
        let program = self.l.program;
        let Op::Atomic {
            space,
            op,
            ty,
            d,
            addr,
            b,
            c,
            release,
        } = &program.code[pc as usize].op
        else {
            return;
        };
        let bytes = ty.bytes();
        self.events += 1;
        for reach in reaches(warp, *addr, *space, mask) {
            self.count_access(&reach, bytes, pc);
            let ok = self.check_reach(&reach, bytes, warp.index, pc, "an atomic");
            if reach.memory == Memory::Global {
                let (memory, at) = (reach.memory, reach.at);
                let reads = Reach {
                    memory,
                    mask: ok,
                    at,
                };
                self.note(&reads, bytes, Mode::Atomic, warp.index, pc);
                self.scratch.footprint.release(*release);
                if d.is_some() {
                    self.scratch.footprint.acquire();
                }
            }
            for lane in bits(reach.mask) {
                let (vb, vc) = (warp.get(*b, lane), c.map_or(0, |c| warp.get(c, lane)));
                let new = |old| match reach.memory {
                    Memory::Global => combine_in_global(*op, *ty, old, vb, vc),
                    _ => combine(*op, *ty, old, vb, vc),
                };
                let runs = ok >> lane & 1 == 1 && reach.at[lane].is_multiple_of(u64::from(bytes));
                let old = match runs {
                    true => self.update(
                        reach.spot(lane),
                        bytes,
                        *op,
                        new,
                        At::new(warp.index, lane, pc),
                    ),
                    false => 0,
                };
                if let Some(d) = d {
                    warp.set(*d, lane, old);
                }
            }
        }
    }

    /// Replaces a value in one step; the old value.
    fn update(
        &mut self,
        spot: Spot,
        bytes: u32,
        op: AtomOp,
        new: impl Fn(u64) -> u64,
        at: At,
    ) -> u64 {
        match spot.memory {
            Memory::Global => {
                let Some((_, buffer, offset)) = self.l.find_buffer(spot.at) else {
                    return 0;
                };
                if op != AtomOp::Exch && !buffer.is_init(offset as u64, bytes) {
                    let what = "global memory is read that nobody has written".to_string();
                    self.report(FindingKind::UninitGlobal, at, Some(spot.at), what);
                }
                buffer.update(offset as u64, bytes, new)
            }
            Memory::Shared => {
                if op != AtomOp::Exch {
                    self.check_shared_read(spot.at, bytes, at, true);
                }
                self.check_shared_write(spot.at, bytes, at, Kind::Strong);
                let old = self.peek_shared(spot.at, bytes);
                self.poke_shared(spot.at, bytes, new(old));
                old
            }
            _ => {
                let what = "atomics work on global and shared memory only".to_string();
                self.report(FindingKind::InvalidOperand, at, Some(spot.generic()), what);
                0
            }
        }
    }
}

/// In global memory `add.f32` takes subnormal inputs and results for zeros of their sign (PTX ISA, "atom").
pub fn combine_in_global(op: AtomOp, ty: Ty, old: u64, b: u64, c: u64) -> u64 {
    if (op, ty) == (AtomOp::Add, Ty::F32) {
        let sum = flush(f32::of(old)) + flush(f32::of(b));
        return flush(sum).bits();
    }
    combine(op, ty, old, b, c)
}

/// The new value of an atomic: `old op b`, or `c` where `old == b` for `cas`.
pub fn combine(op: AtomOp, ty: Ty, old: u64, b: u64, c: u64) -> u64 {
    let mask = width_mask(ty.bits());
    let (old, b, c) = (old & mask, b & mask, c & mask);
    let (x, y) = (integer(old, ty), integer(b, ty));
    mask & match (op, ty) {
        (AtomOp::Add, Ty::F32) => (f32::of(old) + f32::of(b)).bits(),
        (AtomOp::Add, Ty::F64) => (f64::of(old) + f64::of(b)).bits(),
        (AtomOp::Add, Ty::F16) => u64::from(hp::add::<hp::IsF16>(old as u16, b as u16)),
        (AtomOp::Add, Ty::Bf16) => u64::from(hp::add::<hp::IsBf16>(old as u16, b as u16)),
        (AtomOp::Add, Ty::F16x2) => {
            u64::from(hp::pair2(old as u32, b as u32, hp::add::<hp::IsF16>))
        }
        (AtomOp::Add, Ty::Bf16x2) => {
            u64::from(hp::pair2(old as u32, b as u32, hp::add::<hp::IsBf16>))
        }
        (AtomOp::Min, Ty::F16) => u64::from(hp::min::<hp::IsF16>(old as u16, b as u16, false)),
        (AtomOp::Max, Ty::F16) => u64::from(hp::max::<hp::IsF16>(old as u16, b as u16, false)),
        (AtomOp::Min, Ty::Bf16) => u64::from(hp::min::<hp::IsBf16>(old as u16, b as u16, false)),
        (AtomOp::Max, Ty::Bf16) => u64::from(hp::max::<hp::IsBf16>(old as u16, b as u16, false)),
        (AtomOp::Min, Ty::F16x2) => u64::from(hp::pair2(old as u32, b as u32, |p, q| {
            hp::min::<hp::IsF16>(p, q, false)
        })),
        (AtomOp::Max, Ty::F16x2) => u64::from(hp::pair2(old as u32, b as u32, |p, q| {
            hp::max::<hp::IsF16>(p, q, false)
        })),
        (AtomOp::Min, Ty::Bf16x2) => u64::from(hp::pair2(old as u32, b as u32, |p, q| {
            hp::min::<hp::IsBf16>(p, q, false)
        })),
        (AtomOp::Max, Ty::Bf16x2) => u64::from(hp::pair2(old as u32, b as u32, |p, q| {
            hp::max::<hp::IsBf16>(p, q, false)
        })),
        (AtomOp::Add, _) => old.wrapping_add(b),
        (AtomOp::Min, _) => x.min(y) as u64,
        (AtomOp::Max, _) => x.max(y) as u64,
        (AtomOp::And, _) => old & b,
        (AtomOp::Or, _) => old | b,
        (AtomOp::Xor, _) => old ^ b,
        (AtomOp::Exch, _) => b,
        (AtomOp::Cas, _) => {
            if old == b {
                c
            } else {
                old
            }
        }
        // PTX ISA, "atom": `inc` wraps to 0 at `b`, `dec` wraps to `b` at 0 or above `b`.
        (AtomOp::Inc, _) => {
            if old >= b {
                0
            } else {
                old + 1
            }
        }
        (AtomOp::Dec, _) => {
            if old == 0 || old > b {
                b
            } else {
                old - 1
            }
        }
    }
}
