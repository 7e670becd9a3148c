//! Stores of a warp, with every check on what they touch.

use super::access::{peek, poke};
use super::address::{Memory, Reach, reaches};
use super::block::{At, BlockRun};
use super::warp::Warp;
use crate::check::blocks::Mode;
use crate::check::clock::bits;
use crate::check::finding::FindingKind;
use crate::check::shadow::{Kind, Who};
use crate::numeric::convert::mask as width_mask;
use crate::program::*;

impl BlockRun<'_> {
    pub fn store(&mut self, warp: &mut Warp, mask: u32, pc: Pc) {
        let program = self.l.program;
        let Op::Store {
            space,
            ty,
            from,
            addr,
            strong,
            release,
        } = &program.code[pc as usize].op
        else {
            return;
        };
        let each = ty.bytes();
        let total = each * from.len() as u32;
        self.events += 1;
        for mut reach in reaches(warp, *addr, *space, mask) {
            self.count_access(&reach, total, pc);
            reach.mask = self.check_reach(&reach, total, warp.index, pc, "a store");
            if *strong && reach.memory == Memory::Global {
                self.scratch.footprint.release(*release);
            }
            match reach.memory {
                Memory::Shared => self.store_shared(warp, &reach, from, each, *strong, pc),
                Memory::Global => self.store_global(warp, &reach, from, each, *strong, pc),
                Memory::Local => {
                    for lane in bits(reach.mask) {
                        let base = self.local_base(warp.index, lane) + reach.at[lane] as usize;
                        for (n, s) in from.iter().enumerate() {
                            let at = base + n * each as usize;
                            poke(&mut self.local, at, each, warp.get(*s, lane));
                        }
                        self.local_init[base..base + total as usize].fill(true);
                    }
                }
                Memory::Param => {
                    for lane in bits(reach.mask) {
                        let what = "parameters cannot be written".to_string();
                        let address = Some(reach.spot(lane).generic());
                        let at = At::new(warp.index, lane, pc);
                        self.report(FindingKind::InvalidOperand, at, address, what);
                    }
                }
            }
        }
    }

    /// Lanes take their turns from the lowest on; the last of several that write one place wins.
    fn store_shared(
        &mut self,
        warp: &Warp,
        reach: &Reach,
        from: &[Slot],
        each: u32,
        strong: bool,
        pc: Pc,
    ) {
        let total = each * from.len() as u32;
        let kind = if strong { Kind::Strong } else { Kind::Plain };
        let places = |lane: usize| {
            let at = reach.at[lane] as usize;
            let place = move |(n, s): (usize, &Slot)| (at + n * each as usize, *s);
            from.iter().enumerate().map(place)
        };
        let mut wrong = vec![];
        for lane in bits(reach.mask) {
            let at = reach.at[lane] as usize;
            if self.l.options.races {
                let shared = &self.shared;
                let same = || {
                    let value = |s: Slot| warp.get(s, lane) & width_mask(8 * each);
                    places(lane).all(|(at, s)| peek(shared, at, each) == value(s))
                };
                let who = Who::thread(&self.clocks, warp.index * 32 + lane, pc);
                if let Some(c) = self.shadow.write(who, at as u32, total, kind, same) {
                    wrong.push((lane, c));
                }
            }
            for (at, s) in places(lane) {
                poke(&mut self.shared, at, each, warp.get(s, lane));
            }
            self.shared_init[at..at + total as usize].fill(true);
        }
        for (lane, conflict) in wrong {
            self.report_conflict(
                conflict,
                At::new(warp.index, lane, pc),
                reach.at[lane] as u32,
            );
        }
    }

    fn store_global(
        &mut self,
        warp: &Warp,
        reach: &Reach,
        from: &[Slot],
        each: u32,
        strong: bool,
        pc: Pc,
    ) {
        let total = each * from.len() as u32;
        let mode = if strong { Mode::Atomic } else { Mode::Write };
        self.note(reach, total, mode, warp.index, pc);
        let l = self.l;
        for lane in bits(reach.mask) {
            let Some((_, buffer, offset)) = l.find_buffer(reach.at[lane]) else {
                continue;
            };
            let mut twice = false;
            for (n, s) in from.iter().enumerate() {
                let at = offset as u64 + n as u64 * u64::from(each);
                // Each element is noted, so no short cut.
                twice |= buffer.stored_before(at, each);
                buffer.store(at, each, warp.get(*s, lane) & width_mask(8 * each));
            }
            if twice {
                self.report_double_write(reach.at[lane], At::new(warp.index, lane, pc));
            }
        }
    }

    pub fn report_double_write(&mut self, address: u64, at: At) {
        let what = "an element of an output is written a second time".to_string();
        self.report(FindingKind::DoubleWrite, at, Some(address), what);
    }
}
