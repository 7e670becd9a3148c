//! Barriers: which threads' accesses to shared memory and to scratch tensors are still in flight.

use super::Lower;
use super::producer::CONSUMER_BARRIER;
use crate::place::Slot;
use mixc_ir::Name;
use std::collections::BTreeSet;

/// Accesses since the last barrier.
#[derive(Clone, Default)]
pub(crate) struct Hazards {
    /// Byte ranges of the slots.
    ranges: Vec<(usize, usize)>,
    reads: BTreeSet<usize>,
    writes: BTreeSet<usize>,
    tensor_reads: BTreeSet<Name>,
    tensor_writes: BTreeSet<Name>,
    /// Asynchronous copies are on their way.
    copies: bool,
}

impl Hazards {
    pub fn new(slots: &[Slot]) -> Hazards {
        let range = |s: &Slot| (s.offset, s.offset + s.bytes * s.stages);
        Hazards {
            ranges: slots.iter().map(range).collect(),
            ..Hazards::default()
        }
    }

    fn overlaps(&self, set: &BTreeSet<usize>, slot: usize) -> bool {
        let (lo, hi) = self.ranges[slot];
        set.iter().any(|other| {
            let (a, b) = self.ranges[*other];
            a < hi && lo < b
        })
    }

    pub fn join(&mut self, other: &Hazards) {
        self.reads.extend(&other.reads);
        self.writes.extend(&other.writes);
        self.tensor_reads.extend(other.tensor_reads.iter().cloned());
        self.tensor_writes
            .extend(other.tensor_writes.iter().cloned());
        self.copies |= other.copies;
    }

    fn clear(&mut self) {
        self.reads.clear();
        self.writes.clear();
        self.tensor_reads.clear();
        self.tensor_writes.clear();
        self.copies = false;
    }
}

impl Lower<'_> {
    /// All threads of the block wait here, and see what the others wrote before.
    pub(super) fn barrier(&mut self) {
        if self.hazards.copies {
            self.e.run("llvm.nvvm.cp.async.wait.all", &[]);
        }
        self.bare_barrier();
    }

    /// A barrier where asynchronous copies were waited for already.
    pub(super) fn bare_barrier(&mut self) {
        self.land_for_barrier();
        if self.uses_warpgroups {
            // What threads wrote is visible to `wgmma` only behind this (PTX ISA, "Async proxy").
            self.e
                .asm("fence.proxy.async.shared::cta;", "", &[], &[], true);
        }
        if self.placement.producer.is_some() {
            let barrier = self.e.i32(CONSUMER_BARRIER);
            let threads = self.e.i32(32 << self.placement.warp_bits);
            self.e.run(
                "llvm.nvvm.barrier.cta.sync.aligned.count",
                &[barrier, threads],
            );
        } else {
            let zero = self.e.i32(0);
            self.e
                .run("llvm.nvvm.barrier.cta.sync.aligned.all", &[zero]);
        }
        self.hazards.clear();
    }

    /// Declares what the next statement touches in shared memory and in scratch tensors, and waits for the other
    /// threads where it must. Elements that it both reads and writes belong to one thread each.
    pub(super) fn touch(&mut self, reads: &[usize], writes: &[usize], tensors: Tensors) {
        let h = &self.hazards;
        let scratch = |name: &Option<&Name>| name.filter(|n| self.is_scratch(n)).cloned();
        let (read, written) = (scratch(&tensors.read), scratch(&tensors.written));
        let waits = reads.iter().any(|s| h.overlaps(&h.writes, *s))
            || writes
                .iter()
                .any(|s| h.overlaps(&h.writes, *s) || h.overlaps(&h.reads, *s))
            || read.as_ref().is_some_and(|t| h.tensor_writes.contains(t))
            || written
                .as_ref()
                .is_some_and(|t| h.tensor_writes.contains(t) || h.tensor_reads.contains(t));
        if waits {
            self.barrier();
        }
        self.hazards.reads.extend(reads);
        self.hazards.writes.extend(writes);
        self.hazards.tensor_reads.extend(read);
        self.hazards.tensor_writes.extend(written);
    }

    pub(super) fn copying(&mut self) {
        self.hazards.copies = true;
    }
}

/// The tensors that a statement reads and writes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tensors<'a> {
    pub read: Option<&'a Name>,
    pub written: Option<&'a Name>,
}
