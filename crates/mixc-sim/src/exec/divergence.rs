//! Instructions that split a group of lanes or bring groups together.

use super::block::{At, BlockRun};
use super::step::Flow;
use super::warp::{State, Warp};
use crate::check::clock::{Release, bits};
use crate::check::finding::FindingKind;
use crate::program::*;

impl<'a> BlockRun<'a> {
    pub fn exit(&mut self, warp: &mut Warp, g: usize, mask: u32) -> Flow {
        let all = warp.groups[g].mask == mask;
        if !all {
            warp.groups[g].pc += 1;
        }
        warp.exit(g, mask);
        self.events += 1;
        // Warp-wide instructions no longer wait for lanes that have left.
        for group in warp
            .groups
            .iter_mut()
            .filter(|g| g.state == State::AtWarpSync)
        {
            group.state = State::Running;
        }
        self.barriers_after_exit(warp);
        if all { Flow::Gone } else { Flow::Moved }
    }

    pub fn branch_table(
        &mut self,
        warp: &mut Warp,
        g: usize,
        inst: &Inst,
        mask: u32,
        index: Slot,
        targets: &[Pc],
    ) -> Flow {
        let mut parts: Vec<(u32, Pc)> = vec![];
        let mut add = |lane_mask: u32, pc: Pc| match parts.iter_mut().find(|p| p.1 == pc) {
            Some(part) => part.0 |= lane_mask,
            None => parts.push((lane_mask, pc)),
        };
        let pc = warp.groups[g].pc;
        let mut outside = None;
        for lane in bits(mask) {
            let n = warp.get(index, lane) as usize;
            match targets.get(n) {
                Some(&to) => add(1 << lane, to),
                None => {
                    outside = Some((lane, n));
                    add(1 << lane, targets[0]);
                }
            }
        }
        let rest = warp.groups[g].mask & !mask;
        if rest != 0 {
            add(rest, pc + 1);
        }
        if let Some((lane, n)) = outside {
            let what = format!(
                "branch index {n} is outside the table of {} targets",
                targets.len()
            );
            self.report(
                FindingKind::InvalidOperand,
                At::new(warp.index, lane, pc),
                None,
                what,
            );
        }
        if let [(_, to)] = parts[..] {
            warp.groups[g].pc = to;
        } else {
            warp.diverge(g, &parts, inst.meet);
        }
        Flow::Moved
    }

    /// Instructions with a member mask wait until all members execute them.
    pub fn warp_wide(
        &mut self,
        warp: &mut Warp,
        g: usize,
        inst: &'a Inst,
        members: Slot,
        mask: u32,
        pc: Pc,
    ) -> Flow {
        let first = mask.trailing_zeros() as usize;
        let wanted = warp.get(members, first) as u32;
        let same = bits(mask)
            .filter(|&lane| warp.get(members, lane) as u32 == wanted)
            .fold(0u32, |m, lane| m | 1 << lane);
        if same != mask {
            return self.warp_wide_parts(warp, inst, members, mask, pc);
        }
        if mask & !wanted != 0 {
            let lane = (mask & !wanted).trailing_zeros() as usize;
            let what = format!(
                "a lane executes this instruction but is not in its member mask {wanted:#010x}"
            );
            self.report(
                FindingKind::InvalidOperand,
                At::new(warp.index, lane, pc),
                None,
                what,
            );
        }
        let needed = wanted & warp.alive();
        let (others, parked) = warp.parked(pc, wanted);
        let together = mask | parked;
        if needed & !together != 0 {
            warp.split_for_wait(g, mask);
            warp.groups[g].state = State::AtWarpSync;
            return Flow::Blocked;
        }
        for other in others {
            warp.groups[other].state = State::Running;
            warp.groups[other].pc += 1;
        }
        self.warp_wide_now(warp, inst, together, pc);
        Flow::Next
    }

    /// Lanes of one group with different member masks: each set of members is served by itself.
    fn warp_wide_parts(
        &mut self,
        warp: &mut Warp,
        inst: &'a Inst,
        members: Slot,
        mask: u32,
        pc: Pc,
    ) -> Flow {
        let mut rest = mask;
        while rest != 0 {
            let first = rest.trailing_zeros() as usize;
            let wanted = warp.get(members, first) as u32;
            let part = bits(rest)
                .filter(|&lane| warp.get(members, lane) as u32 == wanted)
                .fold(0u32, |m, lane| m | 1 << lane);
            if part != wanted & warp.alive() {
                let what =
                    format!("the lanes that name the member mask {wanted:#010x} are {part:#010x}");
                self.report(
                    FindingKind::InvalidOperand,
                    At::new(warp.index, first, pc),
                    None,
                    what,
                );
            }
            self.warp_wide_now(warp, inst, part, pc);
            rest &= !part;
        }
        Flow::Next
    }

    fn warp_wide_now(&mut self, warp: &mut Warp, inst: &'a Inst, mask: u32, pc: Pc) {
        self.events += 1;
        match &inst.op {
            Op::WarpSync { .. } => {
                let mut release = Release::default();
                self.clocks.release(warp.index, mask, &mut release);
                let acquire = self.clocks.complete(&release);
                self.clocks.acquire(warp.index, mask, &acquire, true);
            }
            _ => self.exchange(warp, &inst.op, mask, pc),
        }
    }
}

pub fn branch(warp: &mut Warp, g: usize, taken: u32, to: Pc, meet: Pc) -> Flow {
    let group = &mut warp.groups[g];
    let rest = group.mask & !taken;
    if rest == 0 {
        group.pc = to;
    } else {
        let next = group.pc + 1;
        warp.diverge(g, &[(taken, to), (rest, next)], meet);
    }
    Flow::Moved
}
