//! The consumers' side of what a producer loads: waiting for a tile before its first reader, handing its stage back
//! behind its last one.

use super::Lower;
use super::flights::Release;
use crate::LowerError;
use crate::emit::{Ty, Val};
use crate::place::{Producer, STAGE_BARRIERS};
use crate::visit::{self, Key};
use mixc_tile::Stmt;
use std::collections::BTreeSet;

/// Where a role is in a ring: the stage of the current turn, and the parity that its mbarriers' phases are waited for with.
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    /// Slots, I32.
    pub stage: Val,
    pub parity: Val,
    pub stages: u32,
}

/// A tile of the current turn or grid point that its readers wait for.
#[derive(Clone)]
pub(super) struct Open {
    pub feed: usize,
    /// The stage and parity of the turn.
    pub stage: Val,
    pub parity: Val,
    pub arrived: bool,
    /// The statement behind which nothing reads it any more.
    pub last: Option<Key>,
}

/// Which of the two mbarriers of a stage.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Side {
    Full = 0,
    Empty = 8,
}

impl<'k> Lower<'k> {
    pub(super) fn producer(&self) -> Option<&Producer> {
        self.placement.producer.as_ref()
    }

    /// Counters for every ring, at its first stage. A producer begins with the parity of a phase that is over:
    /// all stages are free.
    pub(super) fn start_turns(&mut self, parity: i32) {
        let rings = self.producer().map_or(vec![], |p| p.rings.clone());
        self.turns_of_rings = rings
            .iter()
            .map(|ring| {
                let turn = Turn {
                    stage: self.e.slot(Ty::I32),
                    parity: self.e.slot(Ty::I32),
                    stages: ring.stages,
                };
                let (zero, parity) = (self.e.i32(0), self.e.i32(parity));
                self.e.store(zero, turn.stage);
                self.e.store(parity, turn.parity);
                turn
            })
            .collect();
    }

    /// Goes on to the next turn of a ring.
    pub(super) fn next_turn(&mut self, ring: usize) {
        let turn = self.turns_of_rings[ring];
        let (zero, one) = (self.e.i32(0), self.e.i32(1));
        let (stage, parity) = (
            self.e.load(turn.stage, Ty::I32),
            self.e.load(turn.parity, Ty::I32),
        );
        let last = self.e.i32(turn.stages as i32 - 1);
        let wraps = self.e.icmp(crate::emit::Cmp::Eq, stage, last);
        let next = self.e.add(stage, one);
        let next = self.e.select(wraps, zero, next);
        let other = self.e.bit_xor(parity, one);
        let parity = self.e.select(wraps, other, parity);
        self.e.store(next, turn.stage);
        self.e.store(parity, turn.parity);
    }

    /// Opens the tiles of a ring's current turn for the statements of `body`.
    pub(super) fn open_feeds(&mut self, ring: usize, body: &'k [Stmt]) {
        let turn = self.turns_of_rings[ring];
        let stage = self.e.load(turn.stage, Ty::I32);
        let parity = self.e.load(turn.parity, Ty::I32);
        let Some(producer) = self.placement.producer.clone() else {
            return;
        };
        for (n, feed) in producer.feeds.iter().enumerate() {
            if feed.ring != ring {
                continue;
            }
            let bytes = self.e.i32(self.placement.slots[feed.slot].bytes as i32);
            let offset = self.e.mul(stage, bytes);
            self.stages.insert(feed.slot, offset);
            let last = body.iter().rev().find(|s| self.fed_to(s).contains(&n));
            self.open.push(Open {
                feed: n,
                stage,
                parity,
                arrived: false,
                last: last.map(|s| s as Key),
            });
        }
    }

    /// Hands back what no statement has read, and forgets the turn.
    pub(super) fn close_feeds(&mut self, ring: usize) {
        let Some(producer) = self.placement.producer.clone() else {
            return;
        };
        let of_ring: Vec<Open> = self.open.clone();
        self.open.retain(|o| producer.feeds[o.feed].ring != ring);
        for open in of_ring {
            let feed = &producer.feeds[open.feed];
            if feed.ring == ring {
                self.stages.remove(&feed.slot);
                if open.last.is_none() {
                    self.wait_at(open.feed, Side::Full, open.stage, open.parity);
                    self.release(Release {
                        feed: open.feed,
                        stage: open.stage,
                        only_if: None,
                    });
                }
            }
        }
        self.next_turn(ring);
    }

    /// The feeds that a statement reads, or something in it.
    pub(super) fn fed_to(&self, stmt: &Stmt) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        if let Some(producer) = self.producer() {
            visit::each(std::slice::from_ref(stmt), &mut |s| {
                for access in visit::reads(s) {
                    found.extend(producer.of_buf.get(&visit::index(access.buf)));
                }
            });
        }
        found
    }

    /// Waits for the tiles that a statement reads first.
    pub(super) fn await_feeds(&mut self, stmt: &'k Stmt) {
        if self.open.is_empty() {
            return;
        }
        for feed in self.fed_to(stmt) {
            let waiting = self.open.iter_mut().find(|o| o.feed == feed && !o.arrived);
            if let Some(open) = waiting {
                open.arrived = true;
                let (stage, parity) = (open.stage, open.parity);
                self.wait_at(feed, Side::Full, stage, parity);
            }
        }
    }

    /// Hands back the tiles that a statement was the last to read, when the products under way have read them too.
    pub(super) fn release_feeds(&mut self, stmt: &'k Stmt) {
        let done: Vec<Release> = self
            .open
            .iter()
            .filter(|o| o.last == Some(stmt as Key))
            .map(|o| Release {
                feed: o.feed,
                stage: o.stage,
                only_if: None,
            })
            .collect();
        for release in done {
            let fed = |buf: &usize| {
                self.producer()
                    .is_some_and(|p| p.of_buf.get(buf) == Some(&release.feed))
            };
            let reader = self.flights.iter().rposition(|f| f.reads.iter().any(fed));
            match reader {
                Some(n) => self.flights[n].releases.push(release),
                None => self.release(release),
            }
        }
    }

    /// One arrival of every warp. Its lanes have all read by then.
    pub(super) fn release(&mut self, release: Release) {
        let all = self.e.i32(-1);
        self.e.run("llvm.nvvm.bar.warp.sync", &[all]);
        let at = self.mbarrier(release.feed, Side::Empty, release.stage);
        let one = self.e.i32(1);
        let chosen = match release.only_if {
            Some(condition) => self.e.select(condition, self.lane, one),
            None => self.lane,
        };
        self.e.asm(
            "{ .reg .pred p; setp.eq.u32 p, $1, 0; @p mbarrier.arrive.shared::cta.b64 _, [$0]; }",
            "r,r",
            &[at, chosen],
            &[],
            true,
        );
    }

    /// Waits until the phase of that parity is over.
    pub(super) fn wait_at(&mut self, feed: usize, side: Side, stage: Val, parity: Val) {
        let at = self.mbarrier(feed, side, stage);
        self.e.asm(
            "{ .reg .pred p; WAIT: mbarrier.try_wait.parity.shared::cta.b64 p, [$0], $1; @p bra DONE; bra WAIT; DONE: }",
            "r,r",
            &[at, parity],
            &[],
            true,
        );
    }

    /// The address of an mbarrier in shared memory.
    pub(super) fn mbarrier(&mut self, feed: usize, side: Side, stage: Val) -> Val {
        let first = self
            .producer()
            .map_or(0, |p| p.feeds[feed].barriers + side as usize);
        let base = self.e.address_of(self.shared);
        let first = self.e.i32(first as i32);
        let base = self.e.add(base, first);
        let size = self.e.i32(STAGE_BARRIERS as i32);
        let by = self.e.mul(stage, size);
        self.e.add(base, by)
    }

    /// A loop whose tiles a producer loads.
    pub(super) fn fed_loop(&mut self, stmt: &'k Stmt, ring: usize) -> Result<(), LowerError> {
        self.counted_loop(stmt, |own, body| {
            own.open_feeds(ring, body);
            own.block(body)?;
            own.close_feeds(ring);
            Ok(())
        })
    }
}
