//! mbarriers (PTX ISA, "Parallel Synchronization and Communication Instructions: mbarrier").
//!
//! A phase completes when no arrival is pending and no transaction byte is expected; the next phase
//! starts at once with the same number of arrivals.

use super::address::{Memory, Spot};
use super::block::{At, BlockRun};
use super::step::Flow;
use super::warp::Warp;
use crate::check::clock::{Acquire, Actor, Release, bits};
use crate::check::finding::FindingKind;
use crate::check::shadow::Kind;
use crate::program::*;
use crate::syntax::ast::Space;
use std::collections::HashMap;

pub struct Mbarrier {
    expected: u32,
    pending: i64,
    tx: i64,
    phase: u64,
    release: Release,
    done: Option<Acquire>,
    /// By warp: the phase whose completion a `try_wait` of the warp has asked for already.
    asked: HashMap<usize, u64>,
    /// The copy engine whose transfers this barrier counts.
    pub agent: Actor,
}

/// Agents for mbarriers; the others serve bulk stores and wgmma.
const MBARRIER_AGENTS: usize = 48;

impl BlockRun<'_> {
    pub fn mbarrier(&mut self, warp: &mut Warp, mask: u32, pc: Pc) -> Flow {
        let program = self.l.program;
        let Op::Mbarrier { op, bar, space } = &program.code[pc as usize].op else {
            return Flow::Next;
        };
        let mut failed = false;
        let first_try = self.first_tries(warp, mask, bar, *space);
        for lane in bits(mask) {
            let address = warp.get(bar.base, lane).wrapping_add(bar.offset as u64);
            let (spot, who) = (Spot::of(*space, address), At::new(warp.index, lane, pc));
            if !self.check_spot(spot, 8, 8, who, "an mbarrier") || spot.memory != Memory::Shared {
                continue;
            }
            let at = spot.at as u32;
            match op {
                MbarOp::Init { count } => {
                    let count = warp.get(*count, lane) as u32;
                    self.mbarrier_init(at, count, who);
                }
                MbarOp::Inval => {
                    self.mbars.remove(&at);
                }
                MbarOp::ExpectTx { bytes } => {
                    if self.known_mbarrier(at, who) {
                        self.mbarrier_tx(at, warp.get(*bytes, lane) as i64);
                    }
                }
                MbarOp::CompleteTx { bytes } => {
                    if self.known_mbarrier(at, who) {
                        self.mbarrier_tx(at, -(warp.get(*bytes, lane) as i64));
                    }
                }
                MbarOp::Arrive {
                    state,
                    count,
                    expect,
                    drop,
                } => {
                    let count = count.map_or(1, |c| warp.get(c, lane) as u32);
                    let expect = expect.map_or(0, |e| warp.get(e, lane) as i64);
                    let phase = self.mbars.get(&at).map_or(0, |b| b.phase);
                    if *drop && let Some(b) = self.mbars.get_mut(&at) {
                        b.expected = b.expected.saturating_sub(1);
                    }
                    self.mbarrier_arrive(at, count, expect, who);
                    if let Some(state) = state {
                        warp.set(*state, lane, phase);
                    }
                }
                MbarOp::Wait {
                    done,
                    token,
                    parity,
                    may_fail,
                } => {
                    let known = self.known_mbarrier(at, who);
                    let phase = self.mbars.get(&at).map_or(0, |b| b.phase);
                    let token = warp.get(*token, lane);
                    let complete = if *parity {
                        phase & 1 != token & 1
                    } else {
                        phase > token
                    };
                    let complete = !known || (complete && !(*may_fail && first_try[lane]));
                    failed |= !complete;
                    warp.set(*done, lane, u64::from(complete));
                    if complete
                        && let Some(acquire) = self.mbars.get(&at).and_then(|b| b.done.clone())
                    {
                        self.clocks.acquire(warp.index, 1 << lane, &acquire, false);
                    }
                }
            }
        }
        // A failed wait gives others their turn.
        if failed { Flow::Yield } else { Flow::Next }
    }

    /// Lanes whose warp asks for the first time in this phase. `try_wait` may give up at any time, so
    /// such a try fails: a kernel that does not loop shows.
    fn first_tries(&mut self, warp: &Warp, mask: u32, bar: &Addr, space: Space) -> [bool; 32] {
        let mut first = [false; 32];
        let mut asked = vec![];
        for lane in bits(mask) {
            let address = warp.get(bar.base, lane).wrapping_add(bar.offset as u64);
            let spot = Spot::of(space, address);
            let known = self.mbars.get(&(spot.at as u32));
            let Some(b) = known.filter(|_| spot.memory == Memory::Shared) else {
                continue;
            };
            first[lane] = b.asked.get(&warp.index) != Some(&b.phase);
            asked.push((spot.at as u32, b.phase));
        }
        for (at, phase) in asked {
            if let Some(b) = self.mbars.get_mut(&at) {
                b.asked.insert(warp.index, phase);
            }
        }
        first
    }

    fn mbarrier_init(&mut self, at: u32, count: u32, who: At) {
        if count == 0 || count >= 1 << 20 {
            let what = format!("an mbarrier counts 1 to 2^20 - 1 arrivals, not {count}");
            let address = Some(Spot::shared(at).generic());
            self.report(FindingKind::InvalidOperand, who, address, what);
        }
        self.check_shared_write(u64::from(at), 8, who, Kind::Plain);
        self.shared_init[at as usize..at as usize + 8].fill(true);
        let agent = self.clocks.agent(self.mbars.len().min(MBARRIER_AGENTS - 1));
        let bar = Mbarrier {
            expected: count,
            pending: i64::from(count),
            tx: 0,
            phase: 0,
            release: Release::default(),
            done: None,
            asked: HashMap::new(),
            agent,
        };
        self.mbars.insert(at, bar);
        self.events += 1;
    }

    /// Whether there is an mbarrier at `at` whose initialisation is ordered before this thread.
    pub fn known_mbarrier(&mut self, at: u32, who: At) -> bool {
        if !self.mbars.contains_key(&at) {
            let what = "no mbarrier has been initialised at this address".to_string();
            let address = Some(Spot::shared(at).generic());
            self.report(FindingKind::InvalidOperand, who, address, what);
            return false;
        }
        self.check_shared_read(u64::from(at), 8, who, true);
        true
    }

    pub fn mbarrier_arrive(&mut self, at: u32, count: u32, expect: i64, who: At) {
        if !self.known_mbarrier(at, who) {
            return;
        }
        let Some(bar) = self.mbars.get_mut(&at) else {
            return;
        };
        bar.tx += expect;
        bar.pending -= i64::from(count);
        let too_many = bar.pending < 0;
        self.clocks
            .release(who.warp, 1 << who.lane, &mut bar.release);
        self.events += 1;
        if too_many {
            let what = "more threads arrive at the mbarrier than it counts in a phase".to_string();
            let address = Some(Spot::shared(at).generic());
            self.report(FindingKind::InvalidOperand, who, address, what);
        }
        self.mbarrier_settle(at);
    }

    fn mbarrier_tx(&mut self, at: u32, bytes: i64) {
        if let Some(bar) = self.mbars.get_mut(&at) {
            bar.tx += bytes;
        }
        self.mbarrier_settle(at);
    }

    /// A bulk copy that counts on the mbarrier at `at` has delivered `bytes`.
    pub fn mbarrier_delivered(&mut self, at: u32, bytes: i64) {
        if let Some(bar) = self.mbars.get_mut(&at) {
            let agent = bar.agent;
            self.clocks.release_agent(agent, &mut bar.release);
            self.clocks.agent_tick(agent);
        }
        self.events += 1;
        self.mbarrier_tx(at, -bytes);
    }

    fn mbarrier_settle(&mut self, at: u32) {
        let Some(bar) = self.mbars.get_mut(&at) else {
            return;
        };
        if bar.pending > 0 || bar.tx != 0 {
            return;
        }
        bar.done = Some(self.clocks.complete(&bar.release));
        bar.phase += 1;
        bar.pending = i64::from(bar.expected);
        self.events += 1;
    }
}
