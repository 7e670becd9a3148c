//! Atomics (PTX ISA, "Parallel Synchronization and Communication Instructions: atom, red").

use super::access::Spot;
use super::block::BlockRun;
use super::warp::Warp;
use crate::check::clock::bits;
use crate::check::finding::FindingKind;
use crate::check::shadow::Kind;
use crate::numeric::convert::{integer, mask as width_mask};
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
        } = &program.code[pc as usize].op
        else {
            return;
        };
        let bytes = ty.bytes();
        self.count_access(warp, *addr, *space, bytes, mask);
        self.events += 1;
        for lane in bits(mask) {
            let address = warp.get(addr.base, lane).wrapping_add(addr.offset as u64);
            let spot = Spot::of(*space, address);
            if !self.check_spot(spot, bytes, bytes, warp.index, lane, pc, "an atomic")
                || !address.is_multiple_of(u64::from(bytes))
            {
                if let Some(d) = d {
                    warp.set(*d, lane, 0);
                }
                continue;
            }
            let (vb, vc) = (warp.get(*b, lane), c.map_or(0, |c| warp.get(c, lane)));
            let old = match spot {
                Spot::Global(a) => {
                    let l = self.l;
                    let Some((_, buffer, offset)) = l.find_buffer(a) else {
                        continue;
                    };
                    if *op != AtomOp::Exch && !buffer.is_init(offset as u64, bytes) {
                        let what = "global memory is read that nobody has written".to_string();
                        self.report(
                            FindingKind::UninitGlobal,
                            warp.index,
                            lane,
                            pc,
                            Some(a),
                            what,
                        );
                    }
                    buffer.update(offset as u64, bytes, |old| combine(*op, *ty, old, vb, vc))
                }
                Spot::Shared(at) => {
                    if *op != AtomOp::Exch {
                        self.check_shared_read(at, bytes, warp.index, lane, pc, true);
                    }
                    self.check_shared_write(at, bytes, warp.index, lane, pc, Kind::Strong, false);
                    let old = self.peek_shared(at, bytes);
                    self.poke_shared(at, bytes, combine(*op, *ty, old, vb, vc));
                    old
                }
                _ => {
                    let what = "atomics work on global and shared memory only".to_string();
                    self.report(
                        FindingKind::InvalidOperand,
                        warp.index,
                        lane,
                        pc,
                        Some(spot.generic()),
                        what,
                    );
                    0
                }
            };
            if let Some(d) = d {
                warp.set(*d, lane, old);
            }
        }
    }
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
