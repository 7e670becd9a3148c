//! `cp.async`: copies that arrive when their thread waits (PTX ISA, "Non-bulk copy: cp.async").
//!
//! Hardware may complete a copy at any time before the wait. Here it arrives as late as possible, and
//! the records of shared memory mark it as pending until then.

use super::address::{Memory, Reach, reaches};
use super::block::{At, BlockRun};
use super::warp::Warp;
use crate::check::blocks::Mode;
use crate::check::clock::bits;
use crate::check::finding::FindingKind;
use crate::check::shadow::{Kind, Who};
use crate::program::*;
use crate::syntax::ast::Space;

/// The copies of one instruction that have not arrived.
struct Batch {
    /// Lanes whose copy is under way, and the number of the group that each belongs to.
    mask: u32,
    group: [u32; 32],
    to: [u32; 32],
    data: [[u8; 16]; 32],
    bytes: u32,
    pc: Pc,
}

/// The copies of one warp, oldest first.
#[derive(Default)]
pub struct WarpCopies {
    batches: Vec<Batch>,
    /// Groups that each lane has committed.
    committed: [u32; 32],
}

impl BlockRun<'_> {
    pub fn cp_async(&mut self, warp: &mut Warp, mask: u32, pc: Pc) {
        let program = self.l.program;
        let Op::CpAsync {
            dst,
            src,
            bytes,
            src_bytes,
            ignore,
        } = &program.code[pc as usize].op
        else {
            return;
        };
        let bytes = *bytes;
        let skipped = ignore.map_or(0, |(p, negated)| warp.predicate(p, negated));
        let mut wanted = [bytes; 32];
        for lane in bits(mask) {
            if let Some(s) = src_bytes {
                wanted[lane] =
                    self.source_size(warp.get(*s, lane), bytes, At::new(warp.index, lane, pc));
            }
            if skipped >> lane & 1 == 1 {
                wanted[lane] = 0;
            }
        }
        let mut to = one_reach(warp, *dst, Space::Shared, mask);
        self.count_access(&to, bytes, pc);
        to.mask = self.check_reach(&to, bytes, warp.index, pc, "an asynchronous copy");
        // Lanes that fill with zeros only do not touch their source.
        let reads = bits(to.mask)
            .filter(|l| wanted[*l] > 0)
            .fold(0, |m, l| m | 1 << l);
        let mut data = [[0u8; 16]; 32];
        if reads != 0 {
            let from = one_reach(warp, *src, Space::Global, reads);
            self.count_access(&from, bytes, pc);
            let ok = self.copy_sources(warp.index, &from, &wanted, bytes, &mut data, pc);
            to.mask &= ok | !reads;
        }
        for lane in bits(to.mask) {
            let at = At::new(warp.index, lane, pc);
            self.check_shared_write(to.at[lane], bytes, at, Kind::Pending);
        }
        let copies = &mut self.copies[warp.index];
        copies.batches.push(Batch {
            mask: to.mask,
            group: copies.committed,
            to: to.at.map(|a| a as u32),
            data,
            bytes,
            pc,
        });
    }

    fn source_size(&mut self, size: u64, bytes: u32, at: At) -> u32 {
        let size = size as u32;
        if size > bytes {
            let what = format!("the source size {size} is larger than the copy of {bytes} bytes");
            self.report(FindingKind::InvalidOperand, at, None, what);
        }
        size.min(bytes)
    }

    /// Reads the sources of one instruction; the lanes whose source could be read.
    fn copy_sources(
        &mut self,
        warp: usize,
        from: &Reach,
        wanted: &[u32; 32],
        bytes: u32,
        data: &mut [[u8; 16]; 32],
        pc: Pc,
    ) -> u32 {
        let what = "the source of an asynchronous copy";
        let whole = bits(from.mask).all(|l| wanted[l] == bytes);
        let ok = if whole {
            let ok = self.check_reach(from, bytes, warp, pc, what);
            let (memory, at) = (from.memory, from.at);
            let reads = Reach {
                memory,
                mask: ok,
                at,
            };
            self.note(&reads, bytes, Mode::Read, warp, pc);
            ok
        } else {
            let mut fits = |l: &usize| {
                let at = At::new(warp, *l, pc);
                self.check_spot(from.spot(*l), wanted[*l], bytes, at, what)
            };
            let ok = bits(from.mask)
                .filter(|l| fits(l))
                .fold(0, |m, l| m | 1 << l);
            for lane in bits(ok) {
                let at = At::new(warp, lane, pc);
                self.note_copy(from.at[lane], wanted[lane], Mode::Read, at);
            }
            ok
        };
        for lane in bits(ok) {
            let out = &mut data[lane][..wanted[lane] as usize];
            self.read_global(from.at[lane], out, At::new(warp, lane, pc));
        }
        ok
    }

    /// Global bytes for a copy engine, with the check that somebody wrote them.
    pub fn read_global(&mut self, address: u64, out: &mut [u8], at: At) {
        let Some((_, buffer, offset)) = self.l.find_buffer(address) else {
            return;
        };
        if !buffer.read(offset as u64, out) {
            let what = "global memory is copied that nobody has written".to_string();
            self.report(FindingKind::UninitGlobal, at, Some(address), what);
        }
    }

    pub fn cp_async_commit(&mut self, warp: &Warp, mask: u32) {
        let copies = &mut self.copies[warp.index];
        bits(mask).for_each(|lane| copies.committed[lane] += 1);
    }

    /// Delivers all but the last `pending` groups of each lane; `None`: everything, committed or not.
    pub fn cp_async_wait(&mut self, warp: &Warp, mask: u32, pending: Option<u32>) {
        let copies = &mut self.copies[warp.index];
        let done = copies.committed.map(|n| match pending {
            Some(p) => n.saturating_sub(p),
            None => n + 1,
        });
        for b in &mut copies.batches {
            let arrives = bits(b.mask & mask).filter(|l| b.group[*l] < done[*l]);
            let arrives = arrives.fold(0, |m, l| m | 1 << l);
            let who = Who::thread(&self.clocks, warp.index * 32, b.pc);
            let bytes = b.bytes as usize;
            for lane in bits(arrives) {
                let at = b.to[lane] as usize;
                self.shared[at..at + bytes].copy_from_slice(&b.data[lane][..bytes]);
                self.shared_init[at..at + bytes].fill(true);
                if self.l.options.races {
                    self.shadow.arrived(who.lane(lane), b.to[lane], b.bytes);
                }
            }
            b.mask &= !arrives;
        }
        copies.batches.retain(|b| b.mask != 0);
    }

    /// PTX ISA, "cp.async.mbarrier.arrive": arrives once all earlier copies of the thread are done.
    /// Without `.noinc` the pending count is raised first, so that nothing changes.
    pub fn cp_async_arrive(&mut self, warp: &mut Warp, mask: u32, pc: Pc) {
        let program = self.l.program;
        let Op::CpAsyncArrive { bar, noinc } = &program.code[pc as usize].op else {
            return;
        };
        self.cp_async_wait(warp, mask, None);
        let bar = one_reach(warp, *bar, Space::Shared, mask);
        for lane in bits(mask) {
            let at = At::new(warp.index, lane, pc);
            self.mbarrier_arrive(bar.at[lane] as u32, u32::from(*noinc), 0, at);
        }
    }
}

/// Where the lanes of `mask` reach in a space that is not generic.
fn one_reach(warp: &Warp, addr: Addr, space: Space, mask: u32) -> Reach {
    let (memory, at) = (Memory::Global, [0; 32]);
    let nothing = Reach {
        memory,
        mask: 0,
        at,
    };
    reaches(warp, addr, space, mask).next().unwrap_or(nothing)
}
