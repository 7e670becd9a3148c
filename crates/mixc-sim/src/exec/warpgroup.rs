//! What the four warps of a warpgroup must do together: `wgmma` and `setmaxnreg`
//! (PTX ISA, "Warpgroup", "wgmma.mma_async", "setmaxnreg").

use super::block::{At, BlockRun};
use super::step::Flow;
use super::warp::Warp;
use crate::check::finding::FindingKind;
use crate::program::Pc;
use std::collections::VecDeque;

/// Instructions that some but not all warps of the group have executed.
#[derive(Default)]
pub struct Warpgroup {
    steps: VecDeque<Step>,
    /// Steps taken away in front because all warps have executed them.
    complete: u64,
    /// By warp: steps executed.
    executed: [u64; 4],
    /// One finding is enough: after a mismatch nothing fits.
    broken: bool,
}

struct Step {
    pc: Pc,
    operands: [u64; 2],
    warps: u32,
}

/// Registers of the block's threads that no warp owns, for `setmaxnreg`.
#[derive(Default)]
pub struct RegisterPool {
    free: i64,
}

impl BlockRun<'_> {
    /// A warp executes a step of its warpgroup; all four execute the same with the same `operands`.
    pub fn together(&mut self, at: At, operands: [u64; 2]) {
        let warps = self.warps.len();
        let group = &mut self.warpgroups[at.warp / 4];
        if group.broken {
            return;
        }
        let rank = at.warp % 4;
        let index = (group.executed[rank] - group.complete) as usize;
        group.executed[rank] += 1;
        if index == group.steps.len() {
            let (pc, warps) = (at.pc, 0);
            group.steps.push_back(Step {
                pc,
                operands,
                warps,
            });
        }
        let step = &mut group.steps[index];
        step.warps |= 1 << rank;
        let (pc, same) = (step.pc, step.operands == operands);
        while group.steps.front().is_some_and(|s| s.warps == 0b1111) {
            group.steps.pop_front();
            group.complete += 1;
        }
        let members = (warps - at.warp / 4 * 4).min(4);
        let wrong = if members < 4 {
            format!(
                "all four warps of a warpgroup must execute this instruction; this one has {members}"
            )
        } else if pc != at.pc {
            let (line, text) = self.l.line_text(pc);
            format!("another warp of the warpgroup executes line {line} instead (`{text}`)")
        } else if !same {
            "the warps of a warpgroup give different descriptors".to_string()
        } else {
            return;
        };
        group.broken = true;
        let kind = if pc == at.pc && members == 4 {
            FindingKind::InvalidOperand
        } else {
            FindingKind::Divergent
        };
        self.report(kind, at, None, wrong);
    }

    /// At the end of the block: steps that some warps left out.
    pub fn check_warpgroups(&mut self) {
        for n in 0..self.warpgroups.len() {
            let group = &self.warpgroups[n];
            if let Some(step) = group.steps.front().filter(|_| !group.broken) {
                let missing = 4 - step.warps.count_ones();
                let warp = 4 * n + step.warps.trailing_zeros() as usize;
                let at = At::new(warp, 0, step.pc);
                let what = format!(
                    "{missing} of the four warps of the warpgroup never execute this instruction"
                );
                self.report(FindingKind::Divergent, at, None, what);
            }
        }
    }

    /// `setmaxnreg`: a warp gives registers to the block's pool or waits for them.
    pub fn set_registers(&mut self, warp: &mut Warp, count: u32, more: bool, at: At) -> Flow {
        let Some(now) = warp.registers else {
            let what = "the assembler ignores this: the number of registers at the start is not known without `.maxnreg`, or `.minnctapersm` with `.maxntid` or `.reqntid`";
            self.report(FindingKind::InvalidOperand, at, None, what.to_string());
            warp.registers = Some(count);
            return Flow::Next;
        };
        if (more && count < now) || (!more && count > now) {
            let (verb, direction) = if more {
                ("inc", "more")
            } else {
                ("dec", "fewer")
            };
            let what = format!(
                "`setmaxnreg.{verb}` asks for {count} registers, which are not {direction} than {now}"
            );
            self.report(FindingKind::InvalidOperand, at, None, what);
        }
        let wanted = 32 * (i64::from(count) - i64::from(now));
        if more && wanted > self.pool.free {
            return Flow::Stall;
        }
        self.together(at, [u64::from(count), 0]);
        self.pool.free -= wanted;
        self.events += 1;
        warp.registers = Some(count);
        Flow::Next
    }
}
