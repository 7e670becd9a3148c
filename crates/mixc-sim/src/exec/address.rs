//! Which memory an address means, and whether an access lies inside it.

use super::MODULE_BASE;
use super::block::{At, BlockRun};
use super::warp::Warp;
use crate::check::blocks::Mode;
use crate::check::clock::bits;
use crate::check::finding::FindingKind;
use crate::program::{Addr, Op, Pc};
use crate::syntax::ast::Space;

/// Generic addresses: the top bits name the space, zero is global memory.
const WINDOW_BITS: u32 = 60;
const OFFSET: u64 = (1 << WINDOW_BITS) - 1;

/// A memory, once the space of an address is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    Global,
    Shared,
    Local,
    Param,
}

impl Memory {
    fn window(self) -> u64 {
        match self {
            Memory::Global => 0,
            Memory::Shared => 1,
            Memory::Local => 2,
            Memory::Param => 3,
        }
    }
}

/// An address with its space decided.
#[derive(Clone, Copy, Debug)]
pub struct Spot {
    pub memory: Memory,
    pub at: u64,
}

impl Spot {
    pub fn of(space: Space, address: u64) -> Spot {
        let (memory, at) = match space {
            Space::Shared => (Memory::Shared, address & 0xffff_ffff),
            Space::Local => (Memory::Local, address),
            Space::Param => (Memory::Param, address),
            Space::Generic => match address >> WINDOW_BITS {
                1 => (Memory::Shared, address & OFFSET),
                2 => (Memory::Local, address & OFFSET),
                3 => (Memory::Param, address & OFFSET),
                _ => (Memory::Global, address),
            },
            _ => (Memory::Global, address),
        };
        Spot { memory, at }
    }

    pub fn shared(at: u32) -> Spot {
        let (memory, at) = (Memory::Shared, u64::from(at));
        Spot { memory, at }
    }

    pub fn global(at: u64) -> Spot {
        let memory = Memory::Global;
        Spot { memory, at }
    }

    pub fn generic(self) -> u64 {
        self.memory.window() << WINDOW_BITS | self.at
    }
}

/// The addresses of one instruction, by lane, for the lanes that mean the same memory.
pub struct Reach {
    pub memory: Memory,
    pub mask: u32,
    pub at: [u64; 32],
}

impl Reach {
    pub fn spot(&self, lane: usize) -> Spot {
        Spot {
            memory: self.memory,
            at: self.at[lane],
        }
    }
}

/// Where the lanes of `mask` reach; generic addresses may lie in several memories.
pub fn reaches(
    warp: &Warp,
    addr: Addr,
    space: Space,
    mask: u32,
) -> impl Iterator<Item = Reach> + use<> {
    let base = &warp.regs[addr.base as usize];
    let mut at: [u64; 32] = std::array::from_fn(|l| base[l].wrapping_add(addr.offset as u64));
    let memory = Spot::of(space, at[mask.trailing_zeros() as usize]).memory;
    let same = |a: &u64| Spot::of(space, *a).memory == memory;
    let mut others = vec![];
    if space == Space::Generic && !bits(mask).all(|l| same(&at[l])) {
        others = split(space, &at, mask);
    } else {
        at.iter_mut().for_each(|a| *a = Spot::of(space, *a).at);
    }
    let first = others.is_empty().then_some(Reach { memory, mask, at });
    first.into_iter().chain(others)
}

/// The lanes of `mask`, by the memory that their addresses mean.
fn split(space: Space, addresses: &[u64; 32], mask: u32) -> Vec<Reach> {
    let mut parts: Vec<Reach> = vec![];
    for lane in bits(mask) {
        let Spot {
            memory,
            at: address,
        } = Spot::of(space, addresses[lane]);
        let known = parts.iter().position(|p| p.memory == memory);
        let n = known.unwrap_or_else(|| {
            let (mask, at) = (0, [0; 32]);
            parts.push(Reach { memory, mask, at });
            parts.len() - 1
        });
        parts[n].mask |= 1 << lane;
        parts[n].at[lane] = address;
    }
    parts
}

impl BlockRun<'_> {
    fn limit(&self, memory: Memory) -> u64 {
        match memory {
            Memory::Global => 0,
            Memory::Shared => self.shared.len() as u64,
            Memory::Local => self.l.program.local_bytes,
            Memory::Param => self.l.params.len() as u64,
        }
    }

    /// The lanes whose `bytes` lie in the memory; what is wrong is reported. A misaligned access inside
    /// its memory still runs. Widths are powers of two.
    pub fn check_reach(
        &mut self,
        reach: &Reach,
        bytes: u32,
        warp: usize,
        pc: Pc,
        what: &str,
    ) -> u32 {
        let outside = |at: u64, limit: u64| at.saturating_add(u64::from(bytes)) > limit;
        let (mut wrong, mut low_bits) = (false, 0);
        if reach.memory == Memory::Global {
            // Mostly all lanes reach into one buffer.
            let first = reach.at[reach.mask.trailing_zeros() as usize];
            let buffer = self.l.find_buffer(first);
            let base = buffer.map_or(0, |(_, _, offset)| first.wrapping_sub(offset as u64));
            let limit = buffer.map_or(0, |(_, b, _)| b.len as u64);
            for (lane, at) in reach.at.iter().enumerate() {
                let runs = reach.mask >> lane & 1 == 1;
                wrong |= runs & outside(at.wrapping_sub(base), limit);
                low_bits |= if runs { *at } else { 0 };
            }
        } else {
            let limit = self.limit(reach.memory);
            for (lane, at) in reach.at.iter().enumerate() {
                let runs = reach.mask >> lane & 1 == 1;
                wrong |= runs & outside(*at, limit);
                low_bits |= if runs { *at } else { 0 };
            }
        }
        if !wrong && low_bits & u64::from(bytes - 1) == 0 {
            return reach.mask;
        }
        bits(reach.mask)
            .filter(|&lane| {
                let at = At::new(warp, lane, pc);
                self.check_spot(reach.spot(lane), bytes, bytes, at, what)
            })
            .fold(0, |ok, lane| ok | 1 << lane)
    }

    /// Whether `bytes` at `spot` lie in its memory and are aligned; reports them if not.
    pub fn check_spot(&mut self, spot: Spot, bytes: u32, align: u32, at: At, what: &str) -> bool {
        let address = Some(spot.generic());
        if spot.at & u64::from(align - 1) != 0 {
            let message =
                format!("{what} of {bytes} bytes at an address that is not a multiple of {align}");
            self.report(FindingKind::Misaligned, at, address, message);
        }
        let limit = self.limit(spot.memory);
        let end = spot.at.saturating_add(u64::from(bytes));
        let ok = match spot.memory {
            Memory::Global => self
                .l
                .find_buffer(spot.at)
                .is_some_and(|(_, b, offset)| b.holds(offset, bytes)),
            _ => end <= limit,
        };
        if !ok {
            let a = spot.at;
            let place = match spot.memory {
                Memory::Global => match self.l.find(a) {
                    Some((b, offset, name)) => {
                        format!("byte {offset} of {name}, which has {} bytes", b.len)
                    }
                    None => "no buffer".to_string(),
                },
                Memory::Shared => format!("byte {a} of {limit} bytes of shared memory"),
                Memory::Local => format!("byte {a} of {limit} bytes of local memory"),
                Memory::Param => format!("byte {a} of {limit} bytes of parameters"),
            };
            let message = format!("{what} of {bytes} bytes reaches {place}");
            self.report(FindingKind::OutOfBounds, at, address, message);
        }
        ok
    }

    /// The parameter or variable that a generic address belongs to.
    pub fn object(&self, address: u64) -> Option<String> {
        let Spot { memory, at } = Spot::of(Space::Generic, address);
        match memory {
            Memory::Shared => {
                let variables = &self.l.program.shared;
                let variable = variables
                    .iter()
                    .rfind(|v| v.offset <= at && (v.bytes == 0 || at < v.offset + v.bytes));
                Some(match variable {
                    Some(v) => format!("shared variable `{}`, byte {}", v.name, at - v.offset),
                    None => format!("shared memory, byte {at} of {}", self.shared.len()),
                })
            }
            Memory::Local => Some(format!("local memory, byte {at}")),
            Memory::Param => {
                let params = &self.l.program.params;
                let param = params.iter().rfind(|p| p.offset as u64 <= at)?;
                let byte = at - param.offset as u64;
                Some(format!("parameter `{}` itself, byte {byte}", param.name))
            }
            Memory::Global => {
                let (buffer, offset, name) = self.l.find(address)?;
                Some(format!("{name}, byte {offset} of {}", buffer.len))
            }
        }
    }

    /// Notes what the lanes touch of global memory, in runs of neighbouring bytes.
    pub fn note(&mut self, reach: &Reach, bytes: u32, mode: Mode, warp: usize, pc: Pc) {
        if !self.l.options.block_races {
            return;
        }
        let mut run: Option<(usize, u64, u64)> = None;
        for lane in bits(reach.mask) {
            let at = reach.at[lane];
            match &mut run {
                Some((_, _, end)) if *end == at => *end += u64::from(bytes),
                _ => {
                    let new = (warp * 32 + lane, at, at + u64::from(bytes));
                    self.note_run(run.replace(new), mode, pc);
                }
            }
        }
        self.note_run(run, mode, pc);
    }

    fn note_run(&mut self, run: Option<(usize, u64, u64)>, mode: Mode, pc: Pc) {
        if let Some((thread, from, to)) = run
            && let Some((buffer, offset)) = self.l.find_numbered(from)
        {
            let f = &mut self.scratch.footprint;
            f.note(buffer, offset as u64, to - from, mode, thread, pc);
        }
    }

    /// The same for a copy engine: `len` bytes, which lie inside a buffer.
    pub fn note_copy(&mut self, address: u64, len: u32, mode: Mode, who: At) {
        if self.l.options.block_races && len > 0 {
            let run = (who.thread(), address, address + u64::from(len));
            self.note_run(Some(run), mode, who.pc);
        }
    }

    /// Counts a warp-wide access of `bytes` by each lane.
    pub fn count_access(&mut self, reach: &Reach, bytes: u32, pc: Pc) {
        let tally = &mut self.scratch.tallies[pc as usize];
        let mut n = 0;
        match reach.memory {
            Memory::Shared => {
                let mut at = [0; 32];
                bits(reach.mask).for_each(|lane| {
                    at[n] = reach.at[lane] as u32;
                    n += 1;
                });
                tally.shared_access(&at[..n], bytes);
            }
            Memory::Global => {
                let mut at = [0; 32];
                bits(reach.mask).for_each(|lane| {
                    at[n] = reach.at[lane];
                    n += 1;
                });
                tally.global_access(&at[..n], bytes);
            }
            Memory::Local | Memory::Param => {}
        }
    }

    pub fn convert_address(&mut self, warp: &mut Warp, mask: u32, pc: Pc) {
        let program = self.l.program;
        match &program.code[pc as usize].op {
            Op::ToGeneric { space, d, a } => {
                let out = warp.regs[*a as usize].map(|v| Spot::of(*space, v).generic());
                warp.write(*d, mask, &out);
            }
            Op::FromGeneric { space, d, a } => {
                let values = warp.regs[*a as usize];
                for lane in bits(mask) {
                    // Address 0 stays 0, so that null pointers survive.
                    if values[lane] != 0 && !is_in(*space, values[lane]) {
                        let what = "the address does not lie in the space that it is converted to";
                        let (at, address) = (At::new(warp.index, lane, pc), Some(values[lane]));
                        self.report(FindingKind::InvalidOperand, at, address, what.to_string());
                    }
                }
                warp.write(*d, mask, &values.map(|v| Spot::of(Space::Generic, v).at));
            }
            Op::IsSpace { space, d, a } => {
                let is = |v| match *space {
                    Space::Const => is_in(Space::Const, v) && v >= MODULE_BASE,
                    space => is_in(space, v),
                };
                let out = warp.regs[*a as usize].map(|v| u64::from(is(v)));
                warp.write(*d, mask, &out);
            }
            _ => {}
        }
    }
}

/// Whether a generic address lies in `space`.
fn is_in(space: Space, address: u64) -> bool {
    let memory = match space {
        Space::Shared => Memory::Shared,
        Space::Local => Memory::Local,
        Space::Param => Memory::Param,
        _ => Memory::Global,
    };
    Spot::of(Space::Generic, address).memory == memory
}
