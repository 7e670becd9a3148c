//! One block: its warps in turns until all threads have left, nothing can move, or the limit is hit.

use super::Launch;
use super::barrier::NamedBarrier;
use super::copy::WarpCopies;
use super::mbarrier::Mbarrier;
use super::step::Flow;
use super::warp::{State, Warp};
use super::warpgroup::{RegisterPool, Warpgroup};
use crate::check::blocks::{Footprint, Touch};
use crate::check::clock::Clocks;
use crate::check::finding::{FindingKind, Findings};
use crate::check::shadow::Shadow;
use crate::counts::Tally;
use crate::program::*;
use std::collections::HashMap;

/// Who executes what: a lane of a warp at an instruction.
#[derive(Clone, Copy, Debug)]
pub struct At {
    pub warp: usize,
    pub lane: usize,
    pub pc: Pc,
}

impl At {
    pub fn new(warp: usize, lane: usize, pc: Pc) -> At {
        At { warp, lane, pc }
    }

    pub fn thread(self) -> usize {
        self.warp * 32 + self.lane
    }
}

/// What a worker keeps from block to block.
pub struct Scratch {
    /// By instruction, over all blocks that this worker has run.
    pub tallies: Vec<Tally>,
    pub footprint: Footprint,
}

/// What is left of a block that has run.
pub struct BlockEnd {
    pub findings: Findings,
    /// The whole launch should stop.
    pub aborted: bool,
    pub touches: Vec<(Touch, bool)>,
}

pub fn thread_id(launch: &Launch, thread: usize) -> [u32; 3] {
    let [bx, by, _] = launch.block;
    let t = thread as u32;
    [t % bx, t / bx % by, t / bx / by]
}

/// Instructions that a group runs before others get their turn.
const TURN: u32 = 2000;

pub struct BlockRun<'a> {
    pub l: &'a Launch<'a>,
    pub id: [u32; 3],
    pub warps: Vec<Warp>,
    pub shared: Vec<u8>,
    pub shared_init: Vec<bool>,
    pub shadow: Shadow,
    pub clocks: Clocks,
    pub bars: Vec<NamedBarrier>,
    pub mbars: HashMap<u32, Mbarrier>,
    /// By warp.
    pub copies: Vec<WarpCopies>,
    pub bulk_groups: super::bulk::BulkGroups,
    pub warpgroups: Vec<Warpgroup>,
    pub pool: RegisterPool,
    pub local: Vec<u8>,
    pub local_init: Vec<bool>,
    pub findings: Findings,
    pub scratch: Scratch,
    pub executed: u64,
    /// Counts what other threads may wait for: stores, arrivals, exits.
    pub events: u64,
    pub aborted: bool,
}

impl<'a> BlockRun<'a> {
    pub fn new(l: &'a Launch<'a>, id: [u32; 3], scratch: Scratch) -> BlockRun<'a> {
        let threads = l.threads();
        let warps: Vec<Warp> = (0..threads.div_ceil(32))
            .map(|w| {
                let lanes = (threads - w * 32).min(32) as u32;
                Warp::new(
                    w,
                    if lanes == 32 {
                        u32::MAX
                    } else {
                        (1 << lanes) - 1
                    },
                    l.program,
                )
            })
            .collect();
        let count = warps.len();
        let shared = l.shared_bytes as usize;
        let local = l.program.local_bytes as usize * threads;
        let mut run = BlockRun {
            l,
            id,
            warps,
            shared: vec![0; shared],
            shared_init: vec![false; shared],
            shadow: Shadow::new(if l.options.races { shared } else { 0 }, l.program.granule),
            clocks: Clocks::new(
                count,
                l.program.async_proxy || l.program.has(|op| matches!(op, Op::CpAsyncArrive { .. })),
            ),
            bars: (0..16).map(|_| NamedBarrier::default()).collect(),
            mbars: HashMap::new(),
            copies: (0..count).map(|_| WarpCopies::default()).collect(),
            bulk_groups: HashMap::new(),
            warpgroups: (0..count.div_ceil(4))
                .map(|_| Warpgroup::default())
                .collect(),
            pool: RegisterPool::default(),
            local: vec![0; local],
            local_init: vec![false; local],
            findings: Findings::default(),
            scratch,
            executed: 0,
            events: 0,
            aborted: false,
        };
        run.set_specials();
        run
    }

    fn set_specials(&mut self) {
        let [bx, by, _] = self.l.block;
        for warp in &mut self.warps {
            for &(slot, special) in &self.l.program.specials {
                let mut values = [0u64; 32];
                for (lane, value) in values.iter_mut().enumerate() {
                    let t = (warp.index * 32 + lane) as u32;
                    let bit = 1u32 << lane;
                    *value = u64::from(match special {
                        Special::Tid(0) => t % bx,
                        Special::Tid(1) => t / bx % by,
                        Special::Tid(_) => t / bx / by,
                        Special::Ntid(axis) => self.l.block[usize::from(axis)],
                        Special::Ctaid(axis) => self.id[usize::from(axis)],
                        Special::Nctaid(axis) => self.l.grid[usize::from(axis)],
                        Special::LaneId => lane as u32,
                        Special::WarpId => warp.index as u32,
                        Special::NWarpId => 64,
                        Special::SmId | Special::GridId | Special::ClusterCtaRank => 0,
                        Special::NSmId | Special::ClusterNctaRank => 1,
                        Special::LaneMask(LaneMask::Eq) => bit,
                        Special::LaneMask(LaneMask::Lt) => bit - 1,
                        Special::LaneMask(LaneMask::Le) => bit | (bit - 1),
                        Special::LaneMask(LaneMask::Gt) => !(bit | (bit - 1)),
                        Special::LaneMask(LaneMask::Ge) => !(bit - 1),
                        Special::DynamicShared => self.l.dynamic_shared as u32,
                        Special::TotalShared => self.l.shared_bytes as u32,
                    });
                }
                warp.regs[slot as usize] = values;
                warp.valid[slot as usize] = u32::MAX;
            }
        }
    }

    pub fn run(mut self) -> (BlockEnd, Scratch) {
        let mut idle_rounds = 0;
        loop {
            let before = self.events;
            let mut ran = false;
            for w in 0..self.warps.len() {
                ran |= self.run_warp(w);
            }
            if self.aborted || self.warps.iter().all(|w| w.alive() == 0) {
                break;
            }
            idle_rounds = if ran && self.events != before {
                0
            } else {
                idle_rounds + 1
            };
            // Groups that only spin wait for something that never happens.
            if idle_rounds > if ran { 50 } else { 0 } {
                if self.warps.iter_mut().any(Warp::break_joins) {
                    idle_rounds = 0;
                    continue;
                }
                self.report_deadlock();
                return self.end();
            }
        }
        if !self.aborted {
            self.check_warpgroups();
        }
        self.end()
    }

    fn end(mut self) -> (BlockEnd, Scratch) {
        let end = BlockEnd {
            findings: self.findings,
            aborted: self.aborted,
            touches: self.scratch.footprint.take(),
        };
        (end, self.scratch)
    }

    /// Gives each group of the warp that can run one turn.
    fn run_warp(&mut self, w: usize) -> bool {
        let mut warp = std::mem::take(&mut self.warps[w]);
        let mut ran = false;
        // Groups may come and go during a turn; each present at the start gets at most one.
        let mut turns = warp.groups.len();
        let mut g = 0;
        while turns > 0 && g < warp.groups.len() {
            turns -= 1;
            if !self.can_run(&mut warp, g) {
                g += 1;
                continue;
            }
            ran = true;
            if self.run_group(&mut warp, g) {
                g += 1;
            }
            if self.aborted {
                break;
            }
        }
        self.warps[w] = warp;
        ran
    }

    fn can_run(&mut self, warp: &mut Warp, g: usize) -> bool {
        match warp.groups[g].state {
            State::Running => true,
            State::AtWarpSync => false,
            State::AtBarrier { id, generation } => {
                if self.bars[usize::from(id)].generation == generation {
                    return false;
                }
                self.leave_barrier(warp, g, id);
                true
            }
        }
    }

    /// One turn of a group. False if the group is gone or its place in the list was taken.
    fn run_group(&mut self, warp: &mut Warp, g: usize) -> bool {
        for _ in 0..TURN {
            let group = &warp.groups[g];
            if group.pc == group.meet {
                warp.arrive(g);
                return false;
            }
            match self.step(warp, g) {
                Flow::Next => warp.groups[g].pc += 1,
                Flow::Moved => {}
                Flow::Blocked | Flow::Stall => return true,
                Flow::Yield => {
                    warp.groups[g].pc += 1;
                    return true;
                }
                Flow::Gone => return false,
            }
            if self.executed > self.l.options.instruction_limit {
                let pc = warp.groups[g].pc;
                let lane = warp.groups[g].mask.trailing_zeros() as usize;
                let limit = self.l.options.instruction_limit;
                let what =
                    format!("the block executed more than {limit} instructions; it may not end");
                self.report(
                    FindingKind::InstructionLimit,
                    At::new(warp.index, lane, pc),
                    None,
                    what,
                );
                self.aborted = true;
                return false;
            }
        }
        // A whole turn of work is progress, unlike a failed wait.
        self.events += 1;
        true
    }
}
