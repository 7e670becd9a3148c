//! Loads and stores of single lanes, with every check on their addresses.

use super::MODULE_BASE;
use super::block::BlockRun;
use super::warp::Warp;
use crate::check::clock::bits;
use crate::check::finding::FindingKind;
use crate::check::shadow::Kind;
use crate::numeric::convert::{integer, mask as width_mask};
use crate::program::*;
use crate::syntax::ast::Space;

/// Generic addresses: the top bits name the space, zero is global memory.
pub const WINDOW_BITS: u32 = 60;
pub const SHARED_WINDOW: u64 = 1;
pub const LOCAL_WINDOW: u64 = 2;
pub const PARAM_WINDOW: u64 = 3;

pub fn shared_address(at: u32) -> u64 {
    SHARED_WINDOW << WINDOW_BITS | u64::from(at)
}

/// An address with its space decided.
#[derive(Clone, Copy, Debug)]
pub enum Spot {
    Global(u64),
    Shared(u64),
    Local(u64),
    Param(u64),
}

impl Spot {
    pub fn of(space: Space, address: u64) -> Spot {
        let offset = address & ((1 << WINDOW_BITS) - 1);
        match space {
            Space::Shared => Spot::Shared(address & 0xffff_ffff),
            Space::Local => Spot::Local(address),
            Space::Param => Spot::Param(address),
            Space::Generic => match address >> WINDOW_BITS {
                SHARED_WINDOW => Spot::Shared(offset),
                LOCAL_WINDOW => Spot::Local(offset),
                PARAM_WINDOW => Spot::Param(offset),
                _ => Spot::Global(address),
            },
            _ => Spot::Global(address),
        }
    }

    pub fn generic(self) -> u64 {
        match self {
            Spot::Global(a) => a,
            Spot::Shared(a) => SHARED_WINDOW << WINDOW_BITS | a,
            Spot::Local(a) => LOCAL_WINDOW << WINDOW_BITS | a,
            Spot::Param(a) => PARAM_WINDOW << WINDOW_BITS | a,
        }
    }

    fn offset(self) -> u64 {
        match self {
            Spot::Global(a) | Spot::Shared(a) | Spot::Local(a) | Spot::Param(a) => a,
        }
    }
}

impl BlockRun<'_> {
    /// Whether `bytes` at `spot` lie in its memory and are aligned; reports them if not. A misaligned
    /// access inside its memory still runs.
    pub fn check_spot(
        &mut self,
        spot: Spot,
        bytes: u32,
        align: u32,
        warp: usize,
        lane: usize,
        pc: Pc,
        what: &str,
    ) -> bool {
        let address = Some(spot.generic());
        // All widths are powers of two.
        if spot.offset() & u64::from(align - 1) != 0 {
            let message =
                format!("{what} of {bytes} bytes at an address that is not a multiple of {align}");
            self.report(FindingKind::Misaligned, warp, lane, pc, address, message);
        }
        let inside = |limit: u64, at: u64| {
            at.checked_add(u64::from(bytes))
                .is_some_and(|end| end <= limit)
        };
        let ok = match spot {
            Spot::Global(a) => self
                .l
                .find_buffer(a)
                .is_some_and(|(_, b, offset)| b.holds(offset, bytes)),
            Spot::Shared(a) => inside(self.shared.len() as u64, a),
            Spot::Local(a) => inside(self.l.program.local_bytes, a),
            Spot::Param(a) => inside(self.l.params.len() as u64, a),
        };
        if !ok {
            let place = match spot {
                Spot::Global(a) => match self.l.find(a) {
                    Some((b, offset, name)) => {
                        format!("byte {offset} of {name}, which has {} bytes", b.len)
                    }
                    None => "no buffer".to_string(),
                },
                Spot::Shared(a) => {
                    format!("byte {a} of {} bytes of shared memory", self.shared.len())
                }
                Spot::Local(a) => format!(
                    "byte {a} of {} bytes of local memory",
                    self.l.program.local_bytes
                ),
                Spot::Param(a) => {
                    format!("byte {a} of {} bytes of parameters", self.l.params.len())
                }
            };
            let message = format!("{what} of {bytes} bytes reaches {place}");
            self.report(FindingKind::OutOfBounds, warp, lane, pc, address, message);
        }
        ok
    }

    pub fn peek_shared(&self, at: u64, bytes: u32) -> u64 {
        let mut value = [0; 8];
        value[..bytes as usize].copy_from_slice(&self.shared[at as usize..][..bytes as usize]);
        u64::from_le_bytes(value)
    }

    pub fn poke_shared(&mut self, at: u64, bytes: u32, value: u64) {
        let range = at as usize..at as usize + bytes as usize;
        self.shared[range.clone()].copy_from_slice(&value.to_le_bytes()[..bytes as usize]);
        self.shared_init[range].fill(true);
    }

    /// Checks a read of shared memory by a thread: written before, and ordered behind the write.
    pub fn check_shared_read(
        &mut self,
        at: u64,
        bytes: u32,
        warp: usize,
        lane: usize,
        pc: Pc,
        strong: bool,
    ) {
        if self.l.options.races
            && let Some(c) =
                self.shadow
                    .read(&self.clocks, warp * 32 + lane, at as u32, bytes, pc, strong)
        {
            self.report_conflict(c, warp, lane, pc, at as u32);
            return;
        }
        if !self.shared_init[at as usize..at as usize + bytes as usize]
            .iter()
            .all(|&b| b)
        {
            let what = "shared memory is read that nobody has written".to_string();
            self.report(
                FindingKind::UninitShared,
                warp,
                lane,
                pc,
                Some(shared_address(at as u32)),
                what,
            );
        }
    }

    pub fn check_shared_write(
        &mut self,
        at: u64,
        bytes: u32,
        warp: usize,
        lane: usize,
        pc: Pc,
        kind: Kind,
        same: bool,
    ) {
        if self.l.options.races
            && let Some(c) = self.shadow.write(
                &self.clocks,
                warp * 32 + lane,
                at as u32,
                bytes,
                pc,
                kind,
                same,
            )
        {
            self.report_conflict(c, warp, lane, pc, at as u32);
        }
    }

    pub fn count_access(&mut self, warp: &Warp, addr: Addr, space: Space, bytes: u32, mask: u32) {
        let (mut shared, mut global) = ([0u32; 32], [0u64; 32]);
        let (mut s, mut g) = (0, 0);
        for lane in bits(mask) {
            match Spot::of(
                space,
                warp.get(addr.base, lane).wrapping_add(addr.offset as u64),
            ) {
                Spot::Shared(a) => {
                    shared[s] = a as u32;
                    s += 1;
                }
                Spot::Global(a) => {
                    global[g] = a;
                    g += 1;
                }
                _ => {}
            }
        }
        self.counts.shared_access(&shared[..s], bytes);
        self.counts.global_access(&global[..g], bytes);
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
        if !matches!(space, Space::Param | Space::Local) {
            self.count_access(warp, *addr, *space, total, mask);
        }
        for lane in bits(mask) {
            let address = warp.get(addr.base, lane).wrapping_add(addr.offset as u64);
            let spot = Spot::of(*space, address);
            if !self.check_spot(spot, total, total, warp.index, lane, pc, "a load") {
                for d in to.iter().flatten() {
                    warp.set(*d, lane, 0);
                }
                continue;
            }
            match spot {
                Spot::Shared(at) => {
                    self.check_shared_read(at, total, warp.index, lane, pc, *strong)
                }
                Spot::Local(at) => {
                    let base = self.local_base(warp.index, lane) + at as usize;
                    if !self.local_init[base..base + total as usize]
                        .iter()
                        .all(|&b| b)
                    {
                        let what =
                            "local memory is read that the thread has not written".to_string();
                        self.report(
                            FindingKind::UninitLocal,
                            warp.index,
                            lane,
                            pc,
                            Some(spot.generic()),
                            what,
                        );
                    }
                }
                Spot::Global(a) => {
                    let l = self.l;
                    if let Some((_, buffer, offset)) = l.find_buffer(a)
                        && !(0..to.len() as u64)
                            .all(|n| buffer.is_init(offset as u64 + n * u64::from(each), each))
                    {
                        let what = "global memory is read that nobody has written".to_string();
                        self.report(
                            FindingKind::UninitGlobal,
                            warp.index,
                            lane,
                            pc,
                            Some(a),
                            what,
                        );
                    }
                }
                Spot::Param(_) => {}
            }
            for (n, d) in to.iter().enumerate() {
                if let Some(d) = d {
                    let raw =
                        self.read_spot(spot, n as u64 * u64::from(each), each, warp.index, lane);
                    let value = if ty.signed() {
                        integer(raw, *ty) as u64 & width_mask(*width)
                    } else {
                        raw
                    };
                    warp.set(*d, lane, value);
                }
            }
        }
    }

    fn local_base(&self, warp: usize, lane: usize) -> usize {
        (warp * 32 + lane) * self.l.program.local_bytes as usize
    }

    /// Reads without checks; the spot is known to be inside its memory.
    fn read_spot(&self, spot: Spot, plus: u64, bytes: u32, warp: usize, lane: usize) -> u64 {
        let from = |memory: &[u8], at: usize| {
            let mut value = [0; 8];
            value[..bytes as usize].copy_from_slice(&memory[at..at + bytes as usize]);
            u64::from_le_bytes(value)
        };
        match spot {
            Spot::Global(a) => match self.l.find_buffer(a) {
                Some((_, buffer, offset)) => buffer.load(offset as u64 + plus, bytes),
                None => 0,
            },
            Spot::Shared(at) => self.peek_shared(at + plus, bytes),
            Spot::Local(at) => from(
                &self.local,
                self.local_base(warp, lane) + (at + plus) as usize,
            ),
            Spot::Param(at) => from(&self.l.params, (at + plus) as usize),
        }
    }

    pub fn store(&mut self, warp: &mut Warp, mask: u32, pc: Pc) {
        let program = self.l.program;
        let Op::Store {
            space,
            ty,
            from,
            addr,
            strong,
        } = &program.code[pc as usize].op
        else {
            return;
        };
        let each = ty.bytes();
        let total = each * from.len() as u32;
        if !matches!(space, Space::Param | Space::Local) {
            self.count_access(warp, *addr, *space, total, mask);
        }
        self.events += 1;
        for lane in bits(mask) {
            let address = warp.get(addr.base, lane).wrapping_add(addr.offset as u64);
            let spot = Spot::of(*space, address);
            if !self.check_spot(spot, total, total, warp.index, lane, pc, "a store") {
                continue;
            }
            if let Spot::Shared(at) = spot {
                let same = from.iter().enumerate().all(|(n, s)| {
                    self.peek_shared(at + n as u64 * u64::from(each), each)
                        == warp.get(*s, lane) & width_mask(ty.bits())
                });
                let kind = if *strong { Kind::Strong } else { Kind::Plain };
                self.check_shared_write(at, total, warp.index, lane, pc, kind, same);
            }
            if let Spot::Param(_) = spot {
                let what = "parameters cannot be written".to_string();
                self.report(
                    FindingKind::InvalidOperand,
                    warp.index,
                    lane,
                    pc,
                    Some(spot.generic()),
                    what,
                );
                continue;
            }
            if let Spot::Global(a) = spot {
                let l = self.l;
                // Each element is noted, so `fold` and not `any`.
                if let Some((_, buffer, offset)) = l.find_buffer(a)
                    && (0..from.len() as u64).fold(false, |twice, n| {
                        buffer.stored_before(offset as u64 + n * u64::from(each), each) | twice
                    })
                {
                    let what = "an element of an output is written a second time".to_string();
                    self.report(
                        FindingKind::DoubleWrite,
                        warp.index,
                        lane,
                        pc,
                        Some(a),
                        what,
                    );
                }
            }
            for (n, s) in from.iter().enumerate() {
                let value = warp.get(*s, lane) & width_mask(ty.bits());
                self.write_spot(
                    spot,
                    n as u64 * u64::from(each),
                    each,
                    value,
                    warp.index,
                    lane,
                );
            }
        }
    }

    fn write_spot(
        &mut self,
        spot: Spot,
        plus: u64,
        bytes: u32,
        value: u64,
        warp: usize,
        lane: usize,
    ) {
        match spot {
            Spot::Global(a) => {
                if let Some((_, buffer, offset)) = self.l.find_buffer(a) {
                    buffer.store(offset as u64 + plus, bytes, value);
                }
            }
            Spot::Shared(at) => self.poke_shared(at + plus, bytes, value),
            Spot::Local(at) => {
                let at = self.local_base(warp, lane) + (at + plus) as usize;
                let range = at..at + bytes as usize;
                self.local[range.clone()].copy_from_slice(&value.to_le_bytes()[..bytes as usize]);
                self.local_init[range].fill(true);
            }
            Spot::Param(_) => {}
        }
    }

    pub fn convert_address(&mut self, warp: &mut Warp, mask: u32, pc: Pc) {
        let program = self.l.program;
        match &program.code[pc as usize].op {
            Op::ToGeneric { space, d, a } => {
                for lane in bits(mask) {
                    let v = Spot::of(*space, warp.get(*a, lane)).generic();
                    warp.set(*d, lane, v);
                }
            }
            Op::FromGeneric { space, d, a } => {
                for lane in bits(mask) {
                    let address = warp.get(*a, lane);
                    let spot = Spot::of(Space::Generic, address);
                    let fits = matches!(
                        (space, spot),
                        (Space::Shared, Spot::Shared(_))
                            | (Space::Local, Spot::Local(_))
                            | (Space::Param, Spot::Param(_))
                            | (Space::Global | Space::Const, Spot::Global(_))
                    );
                    // Address 0 stays 0, so that null pointers survive.
                    if !fits && address != 0 {
                        let what = "the address does not lie in the space that it is converted to"
                            .to_string();
                        self.report(
                            FindingKind::InvalidOperand,
                            warp.index,
                            lane,
                            pc,
                            Some(address),
                            what,
                        );
                    }
                    warp.set(*d, lane, spot.offset());
                }
            }
            Op::IsSpace { space, d, a } => {
                for lane in bits(mask) {
                    let spot = Spot::of(Space::Generic, warp.get(*a, lane));
                    let is = match (space, spot) {
                        (Space::Shared, Spot::Shared(_))
                        | (Space::Local, Spot::Local(_))
                        | (Space::Param, Spot::Param(_)) => true,
                        (Space::Global, Spot::Global(_)) => true,
                        (Space::Const, Spot::Global(a)) => a >= MODULE_BASE,
                        _ => false,
                    };
                    warp.set(*d, lane, u64::from(is));
                }
            }
            _ => {}
        }
    }
}
