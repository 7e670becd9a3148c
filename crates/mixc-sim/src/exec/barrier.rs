//! Block barriers (PTX ISA, "bar, barrier").

use super::block::{At, BlockRun};
use super::step::Flow;
use super::warp::{State, Warp};
use crate::check::clock::{Release, bits};
use crate::check::finding::FindingKind;
use crate::program::*;

#[derive(Default)]
pub struct NamedBarrier {
    pub generation: u64,
    arrived: u32,
    /// The number of threads that the first arrival asked for; `None`: all of the block.
    count: Option<u32>,
    release: Release,
    waiting: Vec<(usize, u32)>,
    /// Predicates of `bar.red` so far: true ones and all.
    votes: (u32, u32),
    result: (u32, u32),
}

impl BlockRun<'_> {
    fn alive_threads(&self, running: &Warp) -> u32 {
        let others: u32 = self.warps.iter().map(|w| w.alive().count_ones()).sum();
        // The warp that runs has been taken out of the list.
        others + running.alive().count_ones()
    }

    pub fn barrier(&mut self, warp: &mut Warp, g: usize, mask: u32, pc: Pc) -> Flow {
        let Op::Barrier {
            kind,
            id,
            count,
            p,
            negate,
            aligned,
            ..
        } = &self.l.program.code[pc as usize].op
        else {
            return Flow::Next;
        };
        let lane = mask.trailing_zeros() as usize;
        let number = warp.get(*id, lane);
        if number >= 16 {
            let what = format!("barrier {number} does not exist; there are 0 to 15");
            self.report(
                FindingKind::InvalidOperand,
                At::new(warp.index, lane, pc),
                None,
                what,
            );
            return Flow::Next;
        }
        let alive = warp.alive();
        if *aligned && mask != alive {
            let missing = (alive & !mask).count_ones();
            let what = format!(
                "{missing} lanes of the warp do not execute this barrier together with the others"
            );
            self.report(
                FindingKind::Divergent,
                At::new(warp.index, lane, pc),
                None,
                what,
            );
        }
        let count = count.map(|c| warp.get(c, lane) as u32);
        if let Some(n) = count.filter(|n| n % 32 != 0 || *n == 0) {
            let what = format!("the number of threads of a barrier is a multiple of 32, not {n}");
            self.report(
                FindingKind::InvalidOperand,
                At::new(warp.index, lane, pc),
                None,
                what,
            );
        }
        let number = number as usize;
        if self.bars[number].arrived > 0 && self.bars[number].count != count {
            let what = format!("threads arrive at barrier {number} with different thread counts");
            self.report(
                FindingKind::InvalidOperand,
                At::new(warp.index, lane, pc),
                None,
                what,
            );
        }
        self.events += 1;
        let votes = p.map(|p| (warp.predicate(p, *negate) & mask).count_ones());
        let bar = &mut self.bars[number];
        bar.count = count;
        // With a count, a warp counts as 32 threads however many lanes it has.
        bar.arrived += if count.is_some() && mask == alive {
            32
        } else {
            mask.count_ones()
        };
        if let Some(yes) = votes {
            bar.votes.0 += yes;
            bar.votes.1 += mask.count_ones();
        }
        self.clocks.release(warp.index, mask, &mut bar.release);
        let generation = bar.generation;
        let waits = *kind != BarKind::Arrive;
        if waits {
            bar.waiting.push((warp.index, mask));
            warp.split_for_wait(g, mask);
            let group = &mut warp.groups[g];
            group.state = State::AtBarrier {
                id: number as u8,
                generation,
            };
        }
        let alive_threads = self.alive_threads(warp);
        self.complete_if_full(number, alive_threads);
        match waits {
            false => Flow::Next,
            true => Flow::Blocked,
        }
    }

    fn complete_if_full(&mut self, number: usize, alive_threads: u32) {
        let bar = &mut self.bars[number];
        if bar.arrived == 0 || bar.arrived < bar.count.unwrap_or(alive_threads) {
            return;
        }
        let acquire = self.clocks.complete(&bar.release);
        for &(warp, mask) in &bar.waiting {
            self.clocks.acquire(warp, mask, &acquire, true);
        }
        bar.waiting.clear();
        bar.release.clear();
        bar.result = bar.votes;
        bar.votes = (0, 0);
        bar.arrived = 0;
        bar.generation += 1;
        self.events += 1;
    }

    /// Exited threads no longer count for barriers of the whole block.
    pub fn barriers_after_exit(&mut self, warp: &Warp) {
        let alive = self.alive_threads(warp);
        for number in 0..self.bars.len() {
            if self.bars[number].count.is_none() && alive > 0 {
                self.complete_if_full(number, alive);
            }
        }
    }

    /// A waiting group goes on; reductions deliver their result.
    pub fn leave_barrier(&mut self, warp: &mut Warp, g: usize, id: u8) {
        let pc = warp.groups[g].pc;
        let mask = warp.groups[g].mask;
        if let Op::Barrier {
            kind, d: Some(d), ..
        } = &self.l.program.code[pc as usize].op
        {
            let (yes, all) = self.bars[usize::from(id)].result;
            let value = match kind {
                BarKind::Popc => u64::from(yes),
                BarKind::And => u64::from(yes == all),
                _ => u64::from(yes > 0),
            };
            for lane in bits(mask) {
                warp.set(*d, lane, value);
            }
        }
        warp.groups[g].state = State::Running;
        warp.groups[g].pc += 1;
    }
}
