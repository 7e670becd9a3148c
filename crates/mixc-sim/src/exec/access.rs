//! Loads of a warp, with every check on what they touch.

use super::address::{Memory, Reach, Spot, reaches};
use super::block::{At, BlockRun};
use super::warp::Warp;
use crate::check::blocks::Mode;
use crate::check::clock::bits;
use crate::check::finding::FindingKind;
use crate::check::shadow::{Conflict, Kind, Who};
use crate::numeric::Lanes;
use crate::numeric::convert::mask as width_mask;
use crate::program::*;
use crate::syntax::ast::Ty;

/// `raw` of type `ty` in a register of `width` bits.
#[inline(always)]
fn extended(raw: u64, ty: Ty, width: u32) -> u64 {
    if !ty.signed() {
        return raw;
    }
    let shift = 64 - ty.bits();
    (((raw << shift) as i64) >> shift) as u64 & width_mask(width)
}

/// `bytes` (at most 8) at `at`.
#[inline(always)]
pub fn peek(memory: &[u8], at: usize, bytes: u32) -> u64 {
    match bytes {
        4 => u64::from(u32::from_le_bytes(
            memory[at..at + 4].try_into().unwrap_or_default(),
        )),
        8 => u64::from_le_bytes(memory[at..at + 8].try_into().unwrap_or_default()),
        _ => {
            let mut value = [0; 8];
            value[..bytes as usize].copy_from_slice(&memory[at..at + bytes as usize]);
            u64::from_le_bytes(value)
        }
    }
}

#[inline(always)]
pub fn poke(memory: &mut [u8], at: usize, bytes: u32, value: u64) {
    match bytes {
        4 => memory[at..at + 4].copy_from_slice(&(value as u32).to_le_bytes()),
        8 => memory[at..at + 8].copy_from_slice(&value.to_le_bytes()),
        _ => {
            memory[at..at + bytes as usize].copy_from_slice(&value.to_le_bytes()[..bytes as usize])
        }
    }
}

/// Whether all of `flags` from `at` on are set.
#[inline(always)]
fn all_set(flags: &[bool], at: usize, bytes: u32) -> bool {
    flags[at..at + bytes as usize]
        .iter()
        .fold(true, |all, b| all & b)
}

/// Whether any of `flags` from `at` on is set.
#[inline(always)]
fn any_set(flags: &[bool], at: usize, bytes: u32) -> bool {
    flags[at..at + bytes as usize].contains(&true)
}

impl BlockRun<'_> {
    pub fn peek_shared(&self, at: u64, bytes: u32) -> u64 {
        peek(&self.shared, at as usize, bytes)
    }

    pub fn poke_shared(&mut self, at: u64, bytes: u32, value: u64) {
        poke(&mut self.shared, at as usize, bytes, value);
        self.shared_init[at as usize..at as usize + bytes as usize].fill(true);
    }

    /// Checks a read of shared memory by a thread: written before, and ordered behind the write.
    pub fn check_shared_read(&mut self, address: u64, bytes: u32, at: At, strong: bool) {
        if self.l.options.races {
            let who = Who::thread(&self.clocks, at.thread(), at.pc);
            if let Some(c) = self.shadow.read(who, address as u32, bytes, strong) {
                return self.report_conflict(c, at, address as u32);
            }
        }
        self.check_shared_init(address, bytes, at);
    }

    pub fn check_shared_init(&mut self, address: u64, bytes: u32, at: At) {
        if !all_set(&self.shared_init, address as usize, bytes) {
            let spot = Some(Spot::shared(address as u32).generic());
            let what = "shared memory is read that nobody has written".to_string();
            self.report(FindingKind::UninitShared, at, spot, what);
        }
    }

    pub fn check_shared_write(&mut self, address: u64, bytes: u32, at: At, kind: Kind) {
        if !self.l.options.races {
            return;
        }
        let who = Who::thread(&self.clocks, at.thread(), at.pc);
        if let Some(c) = self
            .shadow
            .write(who, address as u32, bytes, kind, || false)
        {
            self.report_conflict(c, at, address as u32);
        }
    }

    /// The same for a warp, whose lanes read `bytes` in elements of `each`; findings are rare, so they are collected first.
    /// Of a vector some byte must have been written, see [`BlockRun::unwritten_parts`].
    pub fn check_shared_reads(
        &mut self,
        reach: &Reach,
        bytes: u32,
        each: u32,
        warp: usize,
        pc: Pc,
        strong: bool,
    ) {
        let mut wrong: Vec<(usize, Option<Conflict>)> = vec![];
        let who = Who::thread(&self.clocks, warp * 32, pc);
        for lane in bits(reach.mask) {
            let at = reach.at[lane];
            let mut conflict = None;
            if self.l.options.races {
                conflict = self.shadow.read(who.lane(lane), at as u32, bytes, strong);
            }
            let written = if each < bytes {
                any_set(&self.shared_init, at as usize, bytes)
            } else {
                all_set(&self.shared_init, at as usize, bytes)
            };
            if conflict.is_some() || !written {
                wrong.push((lane, conflict));
            }
        }
        for (lane, conflict) in wrong {
            let (at, address) = (At::new(warp, lane, pc), reach.at[lane] as u32);
            match conflict {
                Some(c) => self.report_conflict(c, at, address),
                None => self.check_shared_init(u64::from(address), bytes, at),
            }
        }
    }

    pub fn load(&mut self, warp: &mut Warp, mask: u32, pc: Pc) {
        let program = self.l.program;
        let Op::Load {
            space,
            ty,
            to,
            width,
            addr,
            strong,
        } = &program.code[pc as usize].op
        else {
            return;
        };
        let each = ty.bytes();
        let total = each * to.len() as u32;
        for mut reach in reaches(warp, *addr, *space, mask) {
            self.count_access(&reach, total, pc);
            let ok = self.check_reach(&reach, total, warp.index, pc, "a load");
            if ok != reach.mask {
                for d in to.iter().flatten() {
                    warp.write(*d, reach.mask & !ok, &[0; 32]);
                }
                reach.mask = ok;
            }
            let unwritten = match reach.memory {
                Memory::Shared if to.len() > 1 => self.unwritten_parts(&reach, each, to.len()),
                _ => vec![],
            };
            self.check_reads(&reach, each, total, warp.index, pc, *strong);
            for (n, d) in to.iter().enumerate() {
                if let Some(d) = d {
                    let mut raw = self.read(&reach, n as u64 * u64::from(each), each, warp.index);
                    if ty.signed() {
                        raw = raw.map(|v| extended(v, *ty, *width));
                    }
                    warp.write(*d, reach.mask, &raw);
                    if let Some(lanes) = unwritten.get(n) {
                        warp.valid[*d as usize] &= !lanes;
                    }
                }
            }
        }
    }

    /// For each register of a vector load the lanes of whose element nobody has written a byte, where some other
    /// element of the vector was written. Compilers fill gaps to load a whole vector, so only the use of such a
    /// register is a mistake. A register that holds several narrow elements counts as written if one of them was.
    fn unwritten_parts(&self, reach: &Reach, each: u32, registers: usize) -> Vec<u32> {
        let mut parts = vec![0; registers];
        for lane in bits(reach.mask) {
            let at = reach.at[lane] as usize;
            let written = |n: usize| any_set(&self.shared_init, at + n * each as usize, each);
            let missing: Vec<usize> = (0..registers).filter(|n| !written(*n)).collect();
            if missing.len() < registers {
                missing.iter().for_each(|n| parts[*n] |= 1 << lane);
            }
        }
        parts
    }

    /// Whether what the lanes read was written, and is ordered behind the write.
    fn check_reads(
        &mut self,
        reach: &Reach,
        each: u32,
        total: u32,
        warp: usize,
        pc: Pc,
        strong: bool,
    ) {
        match reach.memory {
            Memory::Shared => {
                self.check_shared_reads(reach, total, each, warp, pc, strong);
            }
            Memory::Global => {
                let mode = if strong { Mode::Atomic } else { Mode::Read };
                self.note(reach, total, mode, warp, pc);
                if strong {
                    self.scratch.footprint.acquire();
                }
                let l = self.l;
                for lane in bits(reach.mask) {
                    let Some((_, buffer, offset)) = l.find_buffer(reach.at[lane]) else {
                        continue;
                    };
                    let init = |n: u32| buffer.is_init(offset as u64 + u64::from(n * each), each);
                    if !buffer.all_init() && !(0..total / each).all(init) {
                        let what = "global memory is read that nobody has written".to_string();
                        let (at, address) = (At::new(warp, lane, pc), Some(reach.at[lane]));
                        self.report(FindingKind::UninitGlobal, at, address, what);
                    }
                }
            }
            Memory::Local => {
                for lane in bits(reach.mask) {
                    let base = self.local_base(warp, lane) + reach.at[lane] as usize;
                    if !all_set(&self.local_init, base, total) {
                        let what =
                            "local memory is read that the thread has not written".to_string();
                        let address = Some(reach.spot(lane).generic());
                        self.report(
                            FindingKind::UninitLocal,
                            At::new(warp, lane, pc),
                            address,
                            what,
                        );
                    }
                }
            }
            Memory::Param => {}
        }
    }

    pub fn local_base(&self, warp: usize, lane: usize) -> usize {
        (warp * 32 + lane) * self.l.program.local_bytes as usize
    }

    /// `bytes` of each lane from `plus` bytes after its address, which are known to be inside.
    fn read(&self, reach: &Reach, plus: u64, bytes: u32, warp: usize) -> Lanes {
        let mut out = [0; 32];
        match reach.memory {
            Memory::Global => {
                for lane in bits(reach.mask) {
                    if let Some((_, buffer, offset)) = self.l.find_buffer(reach.at[lane]) {
                        out[lane] = buffer.load(offset as u64 + plus, bytes);
                    }
                }
            }
            Memory::Shared => {
                for lane in bits(reach.mask) {
                    out[lane] = peek(&self.shared, (reach.at[lane] + plus) as usize, bytes);
                }
            }
            Memory::Local => {
                for lane in bits(reach.mask) {
                    let at = self.local_base(warp, lane) + (reach.at[lane] + plus) as usize;
                    out[lane] = peek(&self.local, at, bytes);
                }
            }
            Memory::Param => {
                for lane in bits(reach.mask) {
                    out[lane] = peek(&self.l.params, (reach.at[lane] + plus) as usize, bytes);
                }
            }
        }
        out
    }
}
