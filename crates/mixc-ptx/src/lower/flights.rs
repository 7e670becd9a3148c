//! Products of warpgroups that are under way: what may happen meanwhile, and the waits.
//!
//! Groups of `wgmma` complete in the order in which they were started (PTX ISA, "wgmma.wait_group"), so a wait for one
//! is a wait for all before it. Softmax of one tile runs while the matrix unit works on another.

use super::Lower;
use crate::LowerError;
use crate::emit::{Ty, Val};
use crate::place::Home;
use crate::visit::{self, Key};
use mixc_tile::Stmt;

/// A product that was started.
pub(super) struct Flight<'k> {
    pub stmt: &'k Stmt,
    /// Whether the result is added to what the destination holds then.
    pub add: bool,
    /// Its accumulators.
    pub sums: Vec<Val>,
    /// Buffers that it reads as they are.
    pub reads: Vec<usize>,
    /// Tiles that are handed back when it has read them.
    pub releases: Vec<Release>,
}

/// A stage of a feed to hand back, under a condition if there is one.
#[derive(Clone, Copy)]
pub(super) struct Release {
    pub feed: usize,
    pub stage: Val,
    pub only_if: Option<Val>,
}

impl<'k> Lower<'k> {
    /// Lets a product go on while other statements are lowered, if its result goes to registers.
    pub(super) fn take_off(&mut self, flight: Flight<'k>) -> Result<(), LowerError> {
        let product = &self.placement.products[&(flight.stmt as Key)];
        let in_registers =
            self.placement.homes[visit::index(product.dst.buf)] != Home::Shared && !flight.add;
        self.flights.push(flight);
        if in_registers {
            return Ok(());
        }
        self.land_all()
    }

    pub(super) fn land_all(&mut self) -> Result<(), LowerError> {
        self.land(self.flights.len())
    }

    /// Waits for the oldest `count` products.
    pub(super) fn land(&mut self, count: usize) -> Result<(), LowerError> {
        if count == 0 {
            return Ok(());
        }
        let rest = self.flights.split_off(count);
        let landing = std::mem::replace(&mut self.flights, rest);
        let sums: Vec<Val> = landing.iter().flat_map(|f| f.sums.clone()).collect();
        let done = self.wait_for_products(self.flights.len(), &sums);
        let mut done = done.into_iter();
        for flight in landing {
            let own: Vec<Val> = done.by_ref().take(flight.sums.len()).collect();
            self.deliver_product(flight.stmt, &own, flight.add)?;
            for release in flight.releases {
                self.release(release);
            }
        }
        Ok(())
    }

    /// `sums` once no more than `left` groups are under way.
    fn wait_for_products(&mut self, left: usize, sums: &[Val]) -> Vec<Val> {
        let outputs = vec!["=f"; sums.len()].join(",");
        let tied: Vec<String> = (0..sums.len()).map(|n| n.to_string()).collect();
        self.e.asm(
            &format!("wgmma.wait_group.sync.aligned {left};"),
            &format!("{outputs},{}", tied.join(",")),
            sums,
            &vec![Ty::F32; sums.len()],
            true,
        )
    }

    /// Waits for the products whose result a statement touches, or whose factors it overwrites; for all of them before
    /// loops and branches.
    pub(super) fn land_for(&mut self, stmt: &Stmt) -> Result<(), LowerError> {
        if self.flights.is_empty() {
            return Ok(());
        }
        let count = match stmt {
            Stmt::For { .. } | Stmt::If { .. } => self.flights.len(),
            _ => {
                let last = self.flights.iter().rposition(|f| self.in_the_way(f, stmt));
                last.map_or(0, |n| n + 1)
            }
        };
        self.land(count)
    }

    fn in_the_way(&self, flight: &Flight, stmt: &Stmt) -> bool {
        let product = &self.placement.products[&(flight.stmt as Key)];
        let result = visit::index(product.dst.buf);
        let written = visit::written(stmt).map(|d| visit::index(d.buf));
        let reads = visit::reads(stmt);
        let touched =
            reads.iter().any(|a| visit::index(a.buf) == result) || written == Some(result);
        touched || written.is_some_and(|w| flight.reads.contains(&w) || self.shares(flight, w))
    }

    /// Whether a buffer lies in shared memory where a factor of a product does.
    fn shares(&self, flight: &Flight, buf: usize) -> bool {
        let range = |buf: usize| {
            let slot = self.placement.storage[buf].as_ref().map(|s| s.slot)?;
            let slot = &self.placement.slots[slot];
            Some((slot.offset, slot.offset + slot.bytes * slot.stages))
        };
        let Some((lo, hi)) = range(buf) else {
            return false;
        };
        let mut ranges = flight.reads.iter().filter_map(|buf| range(*buf));
        ranges.any(|(a, b)| a < hi && lo < b)
    }

    /// Waits before a barrier for the products that read what other threads may write behind it.
    pub(super) fn land_for_barrier(&mut self) {
        let fed = |buf: &usize| self.producer().is_some_and(|p| p.of_buf.contains_key(buf));
        let shared = |buf: &usize| self.placement.storage[*buf].is_some() && !fed(buf);
        let last = self
            .flights
            .iter()
            .rposition(|f| f.reads.iter().any(shared));
        // Where results go was checked when the products were started.
        self.land(last.map_or(0, |n| n + 1))
            .unwrap_or_else(|e| panic!("bug: {e}"));
    }
}
