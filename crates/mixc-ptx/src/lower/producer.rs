//! Kernels with two roles: a warpgroup whose one thread starts bulk tensor copies, and warps that compute.
//!
//! Blocks are persistent: each goes on to further grid points, and the producer is ahead of the others across them. The
//! order of grid points takes those with the longest loops first, and every second round backwards, so that
//! blocks end at about the same time.

use super::feeds::Side;
use super::{Lower, unsupported};
use crate::LowerError;
use crate::emit::{Cmp, Val};
use crate::place::{Feed, ONCE, Producer};
use crate::room::{Room, held};
use crate::visit::{self, Key};
use mixc_ir::Name;
use mixc_tile::{LoadIx, Stmt};
use std::collections::HashMap;

/// Threads of the producing warpgroup.
pub(crate) const PRODUCERS: u32 = 128;
/// The barrier of the threads that compute; 0 is that of all.
pub(super) const CONSUMER_BARRIER: i32 = 1;
/// Registers of a multiprocessor, and what a thread may have (PTX ISA, "setmaxnreg": multiples of 8 from 24 to 256; code
/// of a thread has at most 255).
const REGISTERS: u32 = 65536;
/// What the producer is left with, and what it is where those who compute are short of them.
const FEW_REGISTERS: u32 = 40;
const FEWEST_REGISTERS: u32 = 24;
const MOST_REGISTERS: u32 = 240;

impl<'k> Lower<'k> {
    /// The body in two roles.
    pub(super) fn specialised(&mut self) -> Result<(), LowerError> {
        let consumers = 32u32 << self.placement.warp_bits;
        self.init_mbarriers(consumers / 32);
        let first = self.e.i32(consumers as i32);
        let computes = self.e.icmp(Cmp::Lt, self.thread, first);
        self.e.open_if(computes);
        self.registers_for_role(consumers, true);
        self.begin_turns();
        self.start_turns(0);
        self.persistent(|own| own.consume())?;
        self.e.open_else();
        self.registers_for_role(consumers, false);
        let one = self.e.icmp(Cmp::Eq, self.thread, first);
        self.e.open_if(one);
        self.start_turns(1);
        let body = &self.kernel.body;
        self.persistent(|own| own.produce(body))?;
        self.e.close();
        self.e.close();
        Ok(())
    }

    fn init_mbarriers(&mut self, consumer_warps: u32) {
        let Some(producer) = self.placement.producer.clone() else {
            return;
        };
        let zero = self.e.i32(0);
        let first = self.e.icmp(Cmp::Eq, self.thread, zero);
        self.e.open_if(first);
        for (n, feed) in producer.feeds.iter().enumerate() {
            for stage in 0..producer.rings[feed.ring].stages {
                let stage = self.e.i32(stage as i32);
                for (side, count) in [(Side::Full, 1), (Side::Empty, consumer_warps)] {
                    let at = self.mbarrier(n, side, stage);
                    let count = self.e.i32(count as i32);
                    let init = "mbarrier.init.shared::cta.b64 [$0], $1;";
                    self.e.asm(init, "r,r", &[at, count], &[], true);
                }
            }
        }
        // The copy engine must see them too.
        let fence = "fence.mbarrier_init.release.cluster;";
        self.e.asm(fence, "", &[], &[], true);
        self.e.close();
        self.e
            .run("llvm.nvvm.barrier.cta.sync.aligned.all", &[zero]);
    }

    /// Two small blocks hide each other's waits, where shared memory holds them. Recurrences over chunks need more
    /// registers than that leaves.
    pub(super) fn blocks_per_multiprocessor(&self) -> u32 {
        let limits = self.options.target.limits();
        let held = held(self.placement.shared_bytes as u32, &limits);
        let loops = self
            .kernel
            .body
            .iter()
            .any(|s| matches!(s, Stmt::For { .. }));
        let small = self.placement.warp_bits <= 2 && !loops && held >= 2;
        if small { 2 } else { 1 }
    }

    /// Moves registers from the producing warps, which need few, to those that compute.
    fn registers_for_role(&mut self, consumers: u32, computes: bool) {
        let threads = consumers + PRODUCERS;
        let even = REGISTERS / self.blocks_per_multiprocessor() / threads / 8 * 8;
        let few = match self.options.room {
            Room::LeanProducer => FEWEST_REGISTERS,
            _ => FEW_REGISTERS,
        };
        let rest = (even * threads - few * PRODUCERS) / consumers / 8 * 8;
        let most = rest.min(MOST_REGISTERS);
        // Up to 256 threads each may have all that it can use.
        if even >= most {
            return;
        }
        let text = if computes {
            format!("setmaxnreg.inc.sync.aligned.u32 {most};")
        } else {
            format!("setmaxnreg.dec.sync.aligned.u32 {few};")
        };
        self.e.asm(&text, "", &[], &[], true);
    }

    /// Calls `f` in a loop over the grid points of this block.
    fn persistent(
        &mut self,
        f: impl FnOnce(&mut Self) -> Result<(), LowerError>,
    ) -> Result<(), LowerError> {
        let (zero, one) = (self.e.i32(0), self.e.i32(1));
        let mut points = one;
        for axis in &self.kernel.grid {
            let extent = self.uniform(&axis.extent)?;
            points = self.e.mul(points, extent);
        }
        let blocks = self.e.special("nctaid.x");
        let block = self.e.special("ctaid.x");
        let most = self.e.sub(blocks, one);
        let sum = self.e.add(points, most);
        let rounds = self.e.div_natural(sum, blocks);
        let round = self.e.open_for(zero, rounds);
        let outside = self.open_body();
        let odd = self.e.bit_and(round, one);
        let odd = self.e.icmp(Cmp::Ne, odd, zero);
        let backwards = self.e.sub(most, block);
        let within = self.e.select(odd, backwards, block);
        let first = self.e.mul(round, blocks);
        let point = self.e.add(first, within);
        let exists = self.e.icmp(Cmp::Lt, point, points);
        self.e.open_if(exists);
        let outer = self.scope.clone();
        self.grid(point)?;
        self.read_elements()?;
        self.hoist_divisions()?;
        f(self)?;
        self.scope = outer;
        self.e.close();
        self.close_body(outside);
        self.e.close();
        Ok(())
    }

    fn consume(&mut self) -> Result<(), LowerError> {
        let kernel = self.kernel;
        // The last grid point may still read what this one writes.
        if self.touches_shared(&kernel.body) {
            self.barrier();
        }
        self.open_feeds(ONCE, &kernel.body);
        self.block(&kernel.body)?;
        self.close_feeds(ONCE);
        self.dirty.clear();
        Ok(())
    }

    /// Walks the statements for their loads: the same loops and branches as those that compute, and nothing else.
    fn produce(&mut self, body: &'k [Stmt]) -> Result<(), LowerError> {
        self.produce_in(body)?;
        self.next_turn(ONCE);
        Ok(())
    }

    fn produce_in(&mut self, body: &'k [Stmt]) -> Result<(), LowerError> {
        let Some(producer) = self.placement.producer.clone() else {
            return Ok(());
        };
        for stmt in body {
            if !self.feeds_anything(stmt, &producer) {
                continue;
            }
            match stmt {
                Stmt::Load { .. } => self.fill(stmt, &producer)?,
                Stmt::If {
                    cond,
                    then,
                    otherwise,
                } => {
                    let holds = self.condition(cond)?;
                    self.e.open_if(holds);
                    self.produce_in(then)?;
                    self.e.open_else();
                    self.produce_in(otherwise)?;
                    self.e.close();
                }
                Stmt::For {
                    var,
                    lo,
                    hi,
                    reverse,
                    body,
                } => {
                    let (low, high) = (self.uniform(lo)?, self.uniform(hi)?);
                    let counter = self.e.open_for(low, high);
                    self.bind_loop(var, lo, hi, low, high, counter, *reverse);
                    self.produce_in(body)?;
                    if let Some(ring) = producer.of_loop.get(&(stmt as Key)) {
                        self.next_turn(*ring);
                    }
                    self.e.close();
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn feeds_anything(&self, stmt: &Stmt, producer: &Producer) -> bool {
        let mut found = false;
        visit::each(std::slice::from_ref(stmt), &mut |s| {
            found |= producer.of_load.contains_key(&(s as Key));
        });
        found
    }

    /// Waits until the consumers have handed the stage back, and starts the copies of a load.
    fn fill(&mut self, stmt: &'k Stmt, producer: &Producer) -> Result<(), LowerError> {
        let (Stmt::Load { index, .. }, Some(n)) = (stmt, producer.of_load.get(&(stmt as Key)))
        else {
            return Ok(());
        };
        let feed = &producer.feeds[*n];
        let turn = self.turns_of_rings[feed.ring];
        let stage = self.e.load(turn.stage, crate::emit::Ty::I32);
        let parity = self.e.load(turn.parity, crate::emit::Ty::I32);
        self.wait_at(*n, Side::Empty, stage, parity);
        let full = self.mbarrier(*n, Side::Full, stage);
        let bytes = self
            .e
            .i32((feed.copy.panels * feed.copy.panel_bytes) as i32);
        let expect = "mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], $1;";
        self.e.asm(expect, "r,r", &[full, bytes], &[], true);
        let corner = self.corner(stmt, index)?;
        for panel in 0..feed.copy.panels {
            self.copy_box(feed, stage, full, &corner, panel)?;
        }
        Ok(())
    }

    /// Where a tile begins in its tensor, the innermost dimension first.
    fn corner(&mut self, stmt: &Stmt, index: &[LoadIx]) -> Result<Vec<Val>, LowerError> {
        let zero = self.e.i32(0);
        let extents: HashMap<Name, i64> = visit::axes(stmt)
            .into_iter()
            .map(|(name, extent)| (name, extent as i64))
            .collect();
        let mut corner = vec![];
        for ix in index.iter().rev() {
            let LoadIx::Ix(ix) = ix else {
                return Err(unsupported("bug: a fed load gathers".to_owned()));
            };
            let local =
                |_: &mut crate::emit::Emit, name: &Name| extents.contains_key(name).then_some(zero);
            corner.push(self.scope.value(&mut self.e, ix, &local, &extents)?);
        }
        Ok(corner)
    }

    fn copy_box(
        &mut self,
        feed: &Feed,
        stage: Val,
        full: Val,
        corner: &[Val],
        panel: usize,
    ) -> Result<(), LowerError> {
        let slot = &self.placement.slots[feed.slot];
        let first = slot.offset + panel * feed.copy.panel_bytes;
        let stage_bytes = self.e.i32(slot.bytes as i32);
        let base = self.e.address_of(self.shared);
        let first = self.e.i32(first as i32);
        let to = self.e.add(base, first);
        let by = self.e.mul(stage, stage_bytes);
        let to = self.e.add(to, by);
        let map = *self
            .maps
            .get(&feed.copy.map)
            .ok_or_else(|| unsupported("bug: a tensor map is not a parameter".to_owned()))?;
        let mut at = corner.to_vec();
        let moved = self.e.i32((panel * feed.copy.panel_elems) as i32);
        at[0] = self.e.add(at[0], moved);
        let rank = at.len();
        let places: Vec<String> = (0..rank).map(|n| format!("${}", n + 3)).collect();
        let text = format!(
            "cp.async.bulk.tensor.{rank}d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [$0], [$1, {{{}}}], [$2];",
            places.join(", ")
        );
        let constraints = format!("r,l,r{}", ",r".repeat(rank));
        let args = [&[to, map, full], at.as_slice()].concat();
        self.e.asm(&text, &constraints, &args, &[], true);
        Ok(())
    }

    /// The order in which grid axes change, the slowest first, and which of them runs backwards: grid points with long
    /// loops come first.
    pub(super) fn grid_order(&self) -> Vec<(usize, bool)> {
        let axes = &self.kernel.grid;
        let (mut lows, mut highs) = (vec![], vec![]);
        visit::each(&self.kernel.body, &mut |stmt| {
            if let Stmt::For { lo, hi, .. } = stmt {
                lows.extend(lo.axes());
                highs.extend(hi.axes());
            }
        });
        let mut order: Vec<(usize, bool)> = (0..axes.len()).map(|n| (n, false)).collect();
        if self.producer().is_some() {
            let weighs = |n: usize| highs.contains(&axes[n].name) || lows.contains(&axes[n].name);
            order.sort_by_key(|(n, _)| !weighs(*n));
            for (n, backwards) in &mut order {
                *backwards = highs.contains(&axes[*n].name);
            }
        }
        order
    }
}
