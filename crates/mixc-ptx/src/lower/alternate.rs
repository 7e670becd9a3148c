//! Two warpgroups that take turns at the matrix unit.
//!
//! In a loop like that of attention each warpgroup has time with products and time without. Left alone they may do both
//! at the same time, and the matrix unit waits while both compute exponentials. So a warpgroup starts its products only
//! when the other one has started its own and goes on to the rest (Shah et al. 2024, arXiv 2407.08608, section 3.1).

use super::Lower;
use super::producer::CONSUMER_BARRIER;
use crate::emit::{Cmp, Val};
use mixc_tile::Stmt;

/// The barriers at which the warpgroups wait for their turns.
const FIRST_TURN: i32 = CONSUMER_BARRIER + 1;
/// The threads of both: those that wait and those that let them.
const THREADS: i32 = 256;

impl Lower<'_> {
    /// Whether the warpgroups take turns in the loops that have a deferred product. Where they meet at barriers within a
    /// turn as well, one would wait there for the other, which waits for its turn.
    fn alternates(&self) -> bool {
        let meets = |stmt: &Stmt| match stmt {
            Stmt::For { body, .. } => self.touches_shared(body),
            _ => false,
        };
        self.options.alternate
            && self.producer().is_some()
            && self.placement.warp_bits == 3
            && !self.kernel.body.iter().any(meets)
    }

    /// The first turn is that of the first warpgroup.
    pub(super) fn begin_turns(&mut self) {
        if !self.alternates() {
            return;
        }
        let three = self.e.i32(3);
        let second = self.e.icmp(Cmp::Lt, three, self.warp);
        self.e.open_if(second);
        let first = self.e.i32(FIRST_TURN);
        self.meet("arrive", first);
        self.e.close();
    }

    /// Waits until the other warpgroup has started its products.
    pub(super) fn await_turn(&mut self) {
        if self.alternates() {
            let own = self.turn_of(false);
            self.meet("sync", own);
        }
    }

    /// Lets the other warpgroup start its products.
    pub(super) fn pass_turn(&mut self) {
        if self.alternates() {
            let other = self.turn_of(true);
            self.meet("arrive", other);
        }
    }

    fn turn_of(&mut self, other: bool) -> Val {
        let group = self.e.shr(self.warp, 2);
        let first = self.e.i32(if other { FIRST_TURN + 1 } else { FIRST_TURN });
        match other {
            false => self.e.add(first, group),
            true => self.e.sub(first, group),
        }
    }

    fn meet(&mut self, how: &str, barrier: Val) {
        let text = format!("bar.{how} $0, {THREADS};");
        self.e.asm(&text, "r", &[barrier], &[], true);
    }
}
