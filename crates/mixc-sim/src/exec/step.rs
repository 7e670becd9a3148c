//! One instruction of one group of lanes.

use super::block::{At, BlockRun};
use super::divergence::branch;
use super::warp::{Warp, whole_warp};
use crate::check::clock::bits;
use crate::check::finding::FindingKind;
use crate::numeric::LaneFn;
use crate::program::*;

/// What becomes of the group after an instruction.
pub enum Flow {
    /// On to the next instruction.
    Next,
    /// The group's place has been set.
    Moved,
    /// The group waits; it does not move.
    Blocked,
    /// On to the next instruction, after other groups had their turn.
    Yield,
    /// The same instruction again, after other groups had their turn.
    Stall,
    /// The group has ended.
    Gone,
}

impl<'a> BlockRun<'a> {
    #[inline]
    pub fn step(&mut self, warp: &mut Warp, g: usize) -> Flow {
        let pc = warp.groups[g].pc;
        let active = warp.groups[g].mask;
        let program = self.l.program;
        let inst = &program.code[pc as usize];
        let mask = match inst.guard {
            None => active,
            Some((p, negated)) => {
                if warp.valid[p as usize] & active != active {
                    self.check_uses(warp, &[p], active, pc);
                }
                warp.predicate(p, negated) & active
            }
        };
        self.executed += 1;
        let tally = &mut self.scratch.tallies[pc as usize];
        tally.issued += 1;
        tally.threads += u64::from(mask.count_ones());
        if mask == 0 {
            return Flow::Next;
        }
        if inst
            .uses
            .iter()
            .any(|&s| warp.valid[s as usize] & mask != mask)
        {
            self.check_uses(warp, &inst.uses, mask, pc);
        }
        if warp.wgmma.watching() {
            let at = At::new(warp.index, mask.trailing_zeros() as usize, pc);
            self.wgmma_check_registers(warp, inst, at);
        }
        if let Op::Alu { f, d, a } = &inst.op {
            run_alu(warp, *f, *d, a, mask);
            return Flow::Next;
        }
        if whole_warp(&inst.op) && (mask != u32::MAX || warp.lanes != u32::MAX) {
            let missing = (!mask).count_ones();
            let what =
                format!("all 32 lanes must execute this instruction together; {missing} do not");
            self.report(
                FindingKind::Divergent,
                At::new(warp.index, mask.trailing_zeros() as usize, pc),
                None,
                what,
            );
        }
        self.execute(warp, g, inst, mask, pc)
    }

    fn execute(&mut self, warp: &mut Warp, g: usize, inst: &'a Inst, mask: u32, pc: Pc) -> Flow {
        let at = At::new(warp.index, mask.trailing_zeros() as usize, pc);
        match &inst.op {
            Op::Alu { f, d, a } => run_alu(warp, *f, *d, a, mask),
            Op::Convert { c, d, a } => {
                for lane in bits(mask) {
                    let v = c.apply(warp.get(*a, lane));
                    warp.set(*d, lane, v);
                }
            }
            Op::ConvertPair { c, d, a, b } => {
                for lane in bits(mask) {
                    let v = c.apply(warp.get(*b, lane)) | c.apply(warp.get(*a, lane)) << 16;
                    warp.set(*d, lane, v);
                }
            }
            Op::Mov { d, a } => {
                let (values, valid) = (warp.regs[*a as usize], warp.valid[*a as usize]);
                copy(warp, *d, &values, valid, mask);
            }
            Op::Select { d, a, b, p } => {
                let yes = warp.predicate(*p, false) & mask;
                let (va, ia) = (warp.regs[*a as usize], warp.valid[*a as usize]);
                let (vb, ib) = (warp.regs[*b as usize], warp.valid[*b as usize]);
                copy(warp, *d, &va, ia, yes);
                copy(warp, *d, &vb, ib, mask & !yes);
            }
            Op::Pack {
                d,
                parts,
                bits: width,
            } => pack(warp, *d, parts, *width, mask),
            Op::Unpack {
                parts,
                a,
                bits: width,
            } => {
                let (values, valid) = (warp.regs[*a as usize], warp.valid[*a as usize]);
                let part_mask = crate::numeric::convert::mask(*width);
                for (n, part) in parts.iter().enumerate() {
                    if let Some(d) = part {
                        let values = values.map(|v| v >> (n as u32 * width) & part_mask);
                        copy(warp, *d, &values, valid, mask);
                    }
                }
            }
            Op::Clock { d } => warp.write(*d, mask, &[self.executed; 32]),
            Op::Branch { to } => return branch(warp, g, mask, *to, inst.meet),
            Op::BranchTable { index, targets } => {
                return self.branch_table(warp, g, inst, mask, *index, targets);
            }
            Op::Exit => return self.exit(warp, g, mask),
            Op::Trap => {
                let lane = mask.trailing_zeros() as usize;
                self.report(
                    FindingKind::Trap,
                    At::new(warp.index, lane, pc),
                    None,
                    "the kernel trapped".to_string(),
                );
                self.aborted = true;
                return Flow::Blocked;
            }
            Op::Unsupported => {
                let (_, text) = self.l.line_text(pc);
                let name = text
                    .split(' ')
                    .find(|w| !w.starts_with('@'))
                    .unwrap_or_default();
                let what = format!("`{name}` is not supported by the simulator");
                self.report(FindingKind::Unsupported, at, None, what);
                self.aborted = true;
                return Flow::Blocked;
            }
            Op::Nop => {}
            Op::Fence => self.scratch.footprint.fence(),
            Op::ProxyFence => self.clocks.proxy_fence(warp.index, mask),
            Op::Load { .. } => self.load(warp, mask, pc),
            Op::Store { .. } => self.store(warp, mask, pc),
            Op::Atomic { .. } => self.atomic(warp, mask, pc),
            Op::ToGeneric { .. } | Op::FromGeneric { .. } | Op::IsSpace { .. } => {
                self.convert_address(warp, mask, pc)
            }
            Op::Barrier { .. } => return self.barrier(warp, g, mask, pc),
            Op::WarpSync { mask: m }
            | Op::Shuffle { mask: m, .. }
            | Op::Vote { mask: m, .. }
            | Op::Match { mask: m, .. }
            | Op::Redux { mask: m, .. }
            | Op::Elect { mask: m, .. } => return self.warp_wide(warp, g, inst, *m, mask, pc),
            Op::ActiveMask { d } => warp.write(*d, mask, &[u64::from(mask); 32]),
            Op::Mma(mma) => self.mma(warp, mma, mask, pc),
            Op::LdMatrix { .. } => self.ldmatrix(warp, mask, pc),
            Op::StMatrix { .. } => self.stmatrix(warp, mask, pc),
            Op::MovMatrix { d, a } => super::matrix::movmatrix(warp, *d, *a, mask),
            Op::CpAsync { .. } => self.cp_async(warp, mask, pc),
            Op::CpAsyncCommit => self.cp_async_commit(warp, mask),
            Op::CpAsyncWait { pending } => self.cp_async_wait(warp, mask, *pending),
            Op::CpAsyncArrive { .. } => self.cp_async_arrive(warp, mask, pc),
            Op::Mbarrier { .. } => return self.mbarrier(warp, mask, pc),
            Op::BulkLoad { .. }
            | Op::BulkStore { .. }
            | Op::TensorLoad { .. }
            | Op::TensorStore { .. } => {
                self.bulk(warp, mask, pc);
            }
            Op::BulkCommit => self.bulk_commit(warp, mask),
            Op::BulkWait { pending } => self.bulk_wait(warp, mask, *pending),
            Op::Wgmma(w) => self.wgmma(warp, w, mask, pc),
            Op::WgmmaFence => self.wgmma_fence(warp, at),
            Op::WgmmaCommit => self.wgmma_commit(warp, at),
            Op::WgmmaWait { pending } => self.wgmma_wait(warp, *pending, at),
            Op::SetRegisters { count, more } => return self.set_registers(warp, *count, *more, at),
        }
        Flow::Next
    }
}

#[inline]
fn run_alu(warp: &mut Warp, f: LaneFn, d: Slot, a: &[Slot; 4], mask: u32) {
    let d = d as usize;
    if mask == u32::MAX && a.iter().all(|s| *s as usize != d) {
        // The result goes straight to its register, which is none of the sources.
        let (below, rest) = warp.regs.split_at_mut(d);
        if let Some((result, above)) = rest.split_first_mut() {
            let source = |s: Slot| match (s as usize).checked_sub(d + 1) {
                Some(n) => &above[n],
                None => &below[s as usize],
            };
            f.run(a.map(source), result);
        }
        warp.valid[d] = u32::MAX;
        return;
    }
    let mut out = [0; 32];
    f.run(a.map(|s| &warp.regs[s as usize]), &mut out);
    warp.write(d as Slot, mask, &out);
}

/// A move carries along whether the value was ever written.
fn copy(warp: &mut Warp, d: Slot, values: &crate::numeric::Lanes, valid: u32, mask: u32) {
    if mask == 0 {
        return;
    }
    warp.write(d, mask, values);
    warp.valid[d as usize] &= valid | !mask;
}

fn pack(warp: &mut Warp, d: Slot, parts: &[Slot], width: u32, mask: u32) {
    let mut out = [0u64; 32];
    let mut valid = u32::MAX;
    let part_mask = crate::numeric::convert::mask(width);
    for (n, &part) in parts.iter().enumerate() {
        valid &= warp.valid[part as usize];
        for (o, v) in out.iter_mut().zip(&warp.regs[part as usize]) {
            *o |= (v & part_mask) << (n as u32 * width);
        }
    }
    copy(warp, d, &out, valid, mask);
}
