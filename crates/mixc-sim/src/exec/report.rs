//! What a block reports, with everything that helps to find the mistake.

use super::address::Spot;
use super::block::{At, BlockRun, thread_id};
use super::warp::Warp;
use crate::check::clock::bits;
use crate::check::finding::{Finding, FindingKind, Other};
use crate::check::shadow::{Access, Conflict};
use crate::program::*;
use std::collections::BTreeMap;

impl BlockRun<'_> {
    pub fn thread_id(&self, thread: usize) -> [u32; 3] {
        thread_id(self.l, thread)
    }

    pub fn report(&mut self, kind: FindingKind, at: At, address: Option<u64>, message: String) {
        self.report_full(kind, at, address, message, None);
    }

    fn report_full(
        &mut self,
        kind: FindingKind,
        at: At,
        address: Option<u64>,
        message: String,
        other: Option<Access>,
    ) {
        let thread = self.thread_id(at.thread());
        let other = other.map(|a| {
            let (line, text) = self.l.line_text(a.pc);
            let agent = self.clocks.is_agent(a.actor);
            let thread = self.thread_id(if agent { 0 } else { a.actor as usize });
            let block = self.id;
            Other {
                line,
                text,
                block,
                thread,
            }
        });
        let object = address.and_then(|a| self.object(a));
        let (id, l) = (self.id, self.l);
        self.findings.add(kind, at.pc, || {
            let (line, text) = l.line_text(at.pc);
            Finding {
                kind,
                message,
                line,
                text,
                block: id,
                thread,
                address,
                object,
                other,
                occurrences: 1,
            }
        });
    }

    /// Turns a conflict of the access records into a finding.
    pub fn report_conflict(&mut self, conflict: Conflict, at: At, shared: u32) {
        let address = Some(Spot::shared(shared).generic());
        let (kind, message, other) = match conflict {
            Conflict::Race(other) => {
                let same_warp =
                    !self.clocks.is_agent(other.actor) && other.actor as usize / 32 == at.warp;
                let what = if self.clocks.is_agent(other.actor) {
                    "an asynchronous copy or product uses the same shared memory, and nothing waits for it"
                } else if same_warp {
                    "another lane of the warp uses the same shared memory, and no `bar.warp.sync` or barrier orders the two"
                } else {
                    "another thread uses the same shared memory, and no barrier orders the two"
                };
                (FindingKind::Race, what, other)
            }
            Conflict::Pending(other) => (
                FindingKind::ReadBeforeWait,
                "a `cp.async` to this address has not been waited for",
                other,
            ),
            Conflict::NeedsProxyFence(other) => (
                FindingKind::MissingProxyFence,
                "an asynchronous read of ordinary stores that no `fence.proxy.async` makes visible",
                other,
            ),
        };
        self.report_full(kind, at, address, message.to_string(), Some(other));
    }

    /// Nothing can move: names every place where threads wait.
    pub fn report_deadlock(&mut self) {
        let mut waiting: BTreeMap<Pc, (usize, usize, usize)> = BTreeMap::new();
        for warp in &self.warps {
            for group in &warp.groups {
                let lane = group.mask.trailing_zeros() as usize;
                let entry = waiting.entry(group.pc).or_insert((warp.index, lane, 0));
                entry.2 += group.mask.count_ones() as usize;
            }
        }
        let exited: u32 = self
            .warps
            .iter()
            .map(|w| (w.lanes & w.exited).count_ones())
            .sum();
        let places: Vec<String> = waiting
            .iter()
            .map(|(&pc, (_, _, n))| {
                let (line, text) = self.l.line_text(pc);
                format!("{n} threads at line {line} (`{text}`)")
            })
            .collect();
        let mut message = format!(
            "threads wait for each other for ever: {}",
            places.join(", ")
        );
        if exited > 0 {
            message.push_str(&format!("; {exited} threads have left"));
        }
        if let Some((&pc, &(warp, lane, _))) = waiting.iter().next() {
            self.report(
                FindingKind::Deadlock,
                At::new(warp, lane, pc),
                None,
                message,
            );
        }
    }

    /// Reports operands that were never written, once; they count as written from then on.
    pub fn check_uses(&mut self, warp: &mut Warp, uses: &[Slot], mask: u32, pc: Pc) {
        for &slot in uses {
            let missing = mask & !warp.valid[slot as usize];
            if missing != 0 {
                let lane = bits(missing).next().unwrap_or(0);
                let name = &self.l.program.names[slot as usize];
                let name = if name.is_empty() { "an operand" } else { name };
                let what = format!("`{name}` is read but was never written");
                self.report(
                    FindingKind::UninitRegister,
                    At::new(warp.index, lane, pc),
                    None,
                    what,
                );
                warp.valid[slot as usize] |= missing;
            }
        }
    }
}
