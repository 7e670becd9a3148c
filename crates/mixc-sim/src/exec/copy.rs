//! `cp.async`: copies that arrive when their thread waits (PTX ISA, "Non-bulk copy: cp.async").
//!
//! Hardware may complete a copy at any time before the wait. Here it arrives as late as possible, and
//! the records of shared memory mark it as pending until then.

use super::access::Spot;
use super::block::BlockRun;
use super::warp::Warp;
use crate::check::clock::bits;
use crate::check::finding::FindingKind;
use crate::check::shadow::Kind;
use crate::program::*;
use crate::syntax::ast::Space;
use std::collections::VecDeque;

struct Copy {
    at: u64,
    data: [u8; 16],
    bytes: u32,
    pc: Pc,
}

pub struct CopyState {
    /// By thread: copies not committed, and committed groups from the oldest on.
    open: Vec<Vec<Copy>>,
    groups: Vec<VecDeque<Vec<Copy>>>,
}

impl CopyState {
    pub fn new(threads: usize) -> CopyState {
        let threads = threads.next_multiple_of(32);
        CopyState {
            open: (0..threads).map(|_| vec![]).collect(),
            groups: (0..threads).map(|_| VecDeque::new()).collect(),
        }
    }
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
        let (mut sources, mut targets) = (vec![], vec![]);
        for lane in bits(mask) {
            let to = Spot::of(
                Space::Shared,
                warp.get(dst.base, lane).wrapping_add(dst.offset as u64),
            );
            let from = Spot::of(
                Space::Global,
                warp.get(src.base, lane).wrapping_add(src.offset as u64),
            );
            let mut wanted = src_bytes.map_or(bytes, |s| warp.get(s, lane) as u32);
            if wanted > bytes {
                let what =
                    format!("the source size {wanted} is larger than the copy of {bytes} bytes");
                self.report(
                    FindingKind::InvalidOperand,
                    warp.index,
                    lane,
                    pc,
                    None,
                    what,
                );
                wanted = bytes;
            }
            if ignore.is_some_and(|(p, negated)| warp.predicate(p, negated) >> lane & 1 == 1) {
                wanted = 0;
            }
            if !self.check_spot(
                to,
                bytes,
                bytes,
                warp.index,
                lane,
                pc,
                "an asynchronous copy",
            ) {
                continue;
            }
            let mut data = [0u8; 16];
            if wanted > 0 {
                let ok = self.check_spot(
                    from,
                    wanted,
                    bytes,
                    warp.index,
                    lane,
                    pc,
                    "the source of an asynchronous copy",
                );
                let (Spot::Global(a), true) = (from, ok) else {
                    continue;
                };
                self.read_global(a, &mut data[..wanted as usize], warp.index, lane, pc);
                sources.push(a);
            }
            let Spot::Shared(at) = to else { continue };
            targets.push(at as u32);
            self.check_shared_write(at, bytes, warp.index, lane, pc, Kind::Pending, false);
            self.copies.open[warp.index * 32 + lane].push(Copy {
                at,
                data,
                bytes,
                pc,
            });
        }
        self.counts.shared_access(&targets, bytes);
        self.counts.global_access(&sources, bytes);
    }

    /// Global bytes for a copy engine, with the check that somebody wrote them.
    pub fn read_global(&mut self, address: u64, out: &mut [u8], warp: usize, lane: usize, pc: Pc) {
        let l = self.l;
        let Some((_, buffer, offset)) = l.find_buffer(address) else {
            return;
        };
        let mut init = true;
        for (n, byte) in out.iter_mut().enumerate() {
            let at = offset as u64 + n as u64;
            init &= buffer.is_init(at, 1);
            *byte = buffer.load(at, 1) as u8;
        }
        if !init {
            let what = "global memory is copied that nobody has written".to_string();
            self.report(
                FindingKind::UninitGlobal,
                warp,
                lane,
                pc,
                Some(address),
                what,
            );
        }
    }

    pub fn cp_async_commit(&mut self, warp: &mut Warp, mask: u32) {
        for lane in bits(mask) {
            let t = warp.index * 32 + lane;
            let group = std::mem::take(&mut self.copies.open[t]);
            self.copies.groups[t].push_back(group);
        }
    }

    pub fn cp_async_wait(&mut self, warp: &mut Warp, mask: u32, pending: Option<u32>) {
        for lane in bits(mask) {
            let t = warp.index * 32 + lane;
            while self.copies.groups[t].len() > pending.unwrap_or(0) as usize {
                let group = self.copies.groups[t].pop_front().unwrap_or_default();
                self.deliver(t, group);
            }
            if pending.is_none() {
                let open = std::mem::take(&mut self.copies.open[t]);
                self.deliver(t, open);
            }
        }
    }

    fn deliver(&mut self, thread: usize, copies: Vec<Copy>) {
        for c in copies {
            let at = c.at as usize;
            self.shared[at..at + c.bytes as usize].copy_from_slice(&c.data[..c.bytes as usize]);
            self.shared_init[at..at + c.bytes as usize].fill(true);
            if self.l.options.races {
                self.shadow
                    .arrived(&self.clocks, thread, c.at as u32, c.bytes, c.pc);
            }
        }
    }

    /// PTX ISA, "cp.async.mbarrier.arrive": arrives once all earlier copies of the thread are done.
    /// Without `.noinc` the pending count is raised first, so that nothing changes.
    pub fn cp_async_arrive(&mut self, warp: &mut Warp, mask: u32, pc: Pc) {
        let program = self.l.program;
        let Op::CpAsyncArrive { bar, noinc } = &program.code[pc as usize].op else {
            return;
        };
        self.cp_async_wait(warp, mask, None);
        for lane in bits(mask) {
            let address = warp.get(bar.base, lane).wrapping_add(bar.offset as u64);
            let Spot::Shared(at) = Spot::of(Space::Shared, address) else {
                continue;
            };
            self.mbarrier_arrive(warp.index, lane, at as u32, u32::from(*noinc), 0, pc);
        }
    }
}
