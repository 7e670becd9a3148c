//! Bulk and tensor copies through the asynchronous proxy
//! (PTX ISA, "Bulk copy: cp.async.bulk", "Tensor copy: cp.async.bulk.tensor").

use super::access::{Spot, shared_address};
use super::block::BlockRun;
use super::tensor_map::{TensorElem, TensorMap};
use super::warp::Warp;
use crate::check::clock::{Actor, bits};
use crate::check::finding::FindingKind;
use crate::numeric::Bits;
use crate::numeric::half_precision::{self as hp, IsBf16, IsF16};
use crate::program::*;
use crate::syntax::ast::Space;
use std::collections::HashMap;

/// Agents 48 to 55 store in bulk, one for eight warps in turn.
const STORE_AGENTS: usize = 48;

/// Bulk groups that threads have committed and not waited for: the store agent's clocks.
pub type BulkGroups = HashMap<usize, Vec<u32>>;

impl BlockRun<'_> {
    fn store_agent(&self, warp: usize) -> Actor {
        self.clocks.agent(STORE_AGENTS + warp % 8)
    }

    pub fn bulk(&mut self, warp: &mut Warp, mask: u32, pc: Pc) {
        let program = self.l.program;
        let at = |warp: &Warp, a: &Addr, lane: usize| {
            warp.get(a.base, lane).wrapping_add(a.offset as u64)
        };
        for lane in bits(mask) {
            match &program.code[pc as usize].op {
                Op::BulkLoad {
                    dst,
                    src,
                    bytes,
                    bar,
                } => {
                    let size = warp.get(*bytes, lane) as u32;
                    let (to, from) = (at(warp, dst, lane), at(warp, src, lane));
                    let bar = at(warp, bar, lane) as u32;
                    self.bulk_load(warp.index, lane, pc, (to, from, size, bar));
                }
                Op::BulkStore { dst, src, bytes } => {
                    let size = warp.get(*bytes, lane) as u32;
                    let (to, from) = (at(warp, dst, lane), at(warp, src, lane));
                    self.bulk_store(warp.index, lane, pc, to, from, size);
                }
                Op::TensorLoad {
                    dst,
                    map,
                    coords,
                    bar,
                } => {
                    let coords: Vec<i64> = coords
                        .iter()
                        .map(|c| i64::from(warp.get(*c, lane) as u32 as i32))
                        .collect();
                    let bar = at(warp, bar, lane) as u32;
                    let (to, map) = (at(warp, dst, lane), at(warp, map, lane));
                    if let Some(map) = self.tensor_map(warp.index, lane, pc, map) {
                        self.tensor_load(warp.index, lane, pc, to, &map, &coords, bar);
                    }
                }
                Op::TensorStore {
                    src,
                    map,
                    coords,
                    add,
                } => {
                    let coords: Vec<i64> = coords
                        .iter()
                        .map(|c| i64::from(warp.get(*c, lane) as u32 as i32))
                        .collect();
                    let (from, map) = (at(warp, src, lane), at(warp, map, lane));
                    if let Some(map) = self.tensor_map(warp.index, lane, pc, map) {
                        self.tensor_store(warp.index, lane, pc, from, &map, &coords, *add);
                    }
                }
                _ => {}
            }
        }
    }

    fn bulk_size(&mut self, warp: usize, lane: usize, pc: Pc, size: u32) {
        if !size.is_multiple_of(16) {
            let what = format!("bulk copies take a multiple of 16 bytes, not {size}");
            self.report(FindingKind::InvalidOperand, warp, lane, pc, None, what);
        }
    }

    fn bulk_load(
        &mut self,
        warp: usize,
        lane: usize,
        pc: Pc,
        (to, from, size, bar): (u64, u64, u32, u32),
    ) {
        self.bulk_size(warp, lane, pc, size);
        let to = Spot::of(Space::Shared, to);
        let from = Spot::of(Space::Global, from);
        let ok = self.check_spot(to, size, 16, warp, lane, pc, "a bulk copy")
            & self.check_spot(from, size, 16, warp, lane, pc, "the source of a bulk copy");
        let (Spot::Shared(at), Spot::Global(a), true) = (to, from, ok) else {
            return;
        };
        if !self.known_mbarrier(warp, lane, bar, pc) {
            return;
        }
        let mut data = vec![0; size as usize];
        self.read_global(a, &mut data, warp, lane, pc);
        self.async_write(warp, lane, pc, at, size, bar);
        self.shared[at as usize..][..size as usize].copy_from_slice(&data);
        self.mbarrier_delivered(bar, i64::from(size));
    }

    /// Records a write by the copy engine of the mbarrier at `bar`.
    fn async_write(&mut self, warp: usize, lane: usize, pc: Pc, at: u64, size: u32, bar: u32) {
        let Some(agent) = self.mbars.get(&bar).map(|b| b.agent) else {
            return;
        };
        if self.l.options.races
            && let Some(c) =
                self.shadow
                    .async_write(&self.clocks, warp * 32 + lane, agent, at as u32, size, pc)
        {
            self.report_conflict(c, warp, lane, pc, at as u32);
        }
        self.shared_init[at as usize..at as usize + size as usize].fill(true);
    }

    /// Checks a read of shared memory by an asynchronous agent on behalf of a thread.
    pub fn async_read(
        &mut self,
        warp: usize,
        lane: usize,
        pc: Pc,
        agent: Actor,
        at: u64,
        size: u32,
    ) {
        if self.l.options.races
            && let Some(c) =
                self.shadow
                    .async_read(&self.clocks, warp * 32 + lane, agent, at as u32, size, pc)
        {
            self.report_conflict(c, warp, lane, pc, at as u32);
        }
        if !self.shared_init[at as usize..at as usize + size as usize]
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

    fn bulk_store(&mut self, warp: usize, lane: usize, pc: Pc, to: u64, from: u64, size: u32) {
        self.bulk_size(warp, lane, pc, size);
        let (to, from) = (Spot::of(Space::Global, to), Spot::of(Space::Shared, from));
        let ok = self.check_spot(to, size, 16, warp, lane, pc, "a bulk copy")
            & self.check_spot(from, size, 16, warp, lane, pc, "the source of a bulk copy");
        let (Spot::Global(a), Spot::Shared(at), true) = (to, from, ok) else {
            return;
        };
        self.async_read(warp, lane, pc, self.store_agent(warp), at, size);
        for n in 0..u64::from(size) {
            let byte = u64::from(self.shared[(at + n) as usize]);
            self.store_global(warp, lane, pc, a + n, 1, byte);
        }
    }

    fn store_global(
        &mut self,
        warp: usize,
        lane: usize,
        pc: Pc,
        address: u64,
        bytes: u32,
        value: u64,
    ) {
        let l = self.l;
        let Some((_, buffer, offset)) = l.find_buffer(address) else {
            return;
        };
        if buffer.stored_before(offset as u64, bytes) {
            let what = "an element of an output is written a second time".to_string();
            self.report(
                FindingKind::DoubleWrite,
                warp,
                lane,
                pc,
                Some(address),
                what,
            );
        }
        buffer.store(offset as u64, bytes, value);
    }

    fn tensor_map(&mut self, warp: usize, lane: usize, pc: Pc, address: u64) -> Option<TensorMap> {
        // The operand is a generic address, or the parameter's own.
        let offset = match Spot::of(Space::Generic, address) {
            Spot::Param(a) => Some(a),
            Spot::Global(a) if a < self.l.params.len() as u64 => Some(a),
            _ => None,
        };
        let found = offset.and_then(|o| self.l.maps.iter().find(|(at, _)| *at as u64 == o));
        if found.is_none() {
            let what = "the operand is not the address of a tensor map parameter".to_string();
            self.report(
                FindingKind::InvalidOperand,
                warp,
                lane,
                pc,
                Some(address),
                what,
            );
        }
        found.map(|(_, map)| map.clone())
    }

    #[allow(clippy::too_many_arguments)]
    fn tensor_load(
        &mut self,
        warp: usize,
        lane: usize,
        pc: Pc,
        to: u64,
        map: &TensorMap,
        coords: &[i64],
        bar: u32,
    ) {
        let size = map.box_bytes() as u32;
        let to = Spot::of(Space::Shared, to);
        let ok = self.check_spot(to, size, 128, warp, lane, pc, "a tensor copy");
        let (Spot::Shared(base), true) = (to, ok) else {
            return;
        };
        if !self.rank_fits(warp, lane, pc, map, coords) || !self.known_mbarrier(warp, lane, bar, pc)
        {
            return;
        }
        let bytes = map.elem.bytes();
        self.async_write(warp, lane, pc, base, size, bar);
        for (n, inside) in box_elements(map, coords) {
            let mut value = [0u8; 8];
            if let Some(offset) = inside {
                let address = self.l.memory.address(map.buffer) + offset;
                if self.check_spot(
                    Spot::Global(address),
                    bytes,
                    1,
                    warp,
                    lane,
                    pc,
                    "a tensor copy",
                ) {
                    self.read_global(address, &mut value[..bytes as usize], warp, lane, pc);
                }
            }
            let at = map.swizzle.apply(base + n * u64::from(bytes)) as usize;
            match self.shared.get_mut(at..at + bytes as usize) {
                Some(place) => place.copy_from_slice(&value[..bytes as usize]),
                None => {
                    let what = "the swizzled box reaches past shared memory".to_string();
                    self.report(
                        FindingKind::OutOfBounds,
                        warp,
                        lane,
                        pc,
                        Some(shared_address(at as u32)),
                        what,
                    );
                }
            }
        }
        self.mbarrier_delivered(bar, i64::from(size));
    }

    #[allow(clippy::too_many_arguments)]
    fn tensor_store(
        &mut self,
        warp: usize,
        lane: usize,
        pc: Pc,
        from: u64,
        map: &TensorMap,
        coords: &[i64],
        add: bool,
    ) {
        let size = map.box_bytes() as u32;
        let from = Spot::of(Space::Shared, from);
        let ok = self.check_spot(
            from,
            size,
            128,
            warp,
            lane,
            pc,
            "the source of a tensor copy",
        );
        let (Spot::Shared(base), true) = (from, ok) else {
            return;
        };
        if !self.rank_fits(warp, lane, pc, map, coords) {
            return;
        }
        self.async_read(warp, lane, pc, self.store_agent(warp), base, size);
        let bytes = map.elem.bytes();
        for (n, inside) in box_elements(map, coords) {
            let at = map.swizzle.apply(base + n * u64::from(bytes));
            let Some(offset) = inside else { continue };
            let address = self.l.memory.address(map.buffer) + offset;
            if !self.check_spot(
                Spot::Global(address),
                bytes,
                1,
                warp,
                lane,
                pc,
                "a tensor copy",
            ) {
                continue;
            }
            let value = self.peek_shared(at, bytes);
            if add {
                let l = self.l;
                if let Some((_, buffer, offset)) = l.find_buffer(address) {
                    buffer.update(offset as u64, bytes, |old| {
                        add_elements(map.elem, old, value)
                    });
                }
            } else {
                self.store_global(warp, lane, pc, address, bytes, value);
            }
        }
    }

    fn rank_fits(
        &mut self,
        warp: usize,
        lane: usize,
        pc: Pc,
        map: &TensorMap,
        coords: &[i64],
    ) -> bool {
        if map.dims.len() == coords.len() {
            return true;
        }
        let what = format!(
            "{} coordinates for a tensor map of {} dimensions",
            coords.len(),
            map.dims.len()
        );
        self.report(FindingKind::InvalidOperand, warp, lane, pc, None, what);
        false
    }

    pub fn bulk_commit(&mut self, warp: &mut Warp, mask: u32) {
        let agent = self.store_agent(warp.index);
        let clock = self.clocks.agent_now(agent);
        self.clocks.agent_tick(agent);
        for lane in bits(mask) {
            self.bulk_groups
                .entry(warp.index * 32 + lane)
                .or_default()
                .push(clock);
        }
    }

    pub fn bulk_wait(&mut self, warp: &mut Warp, mask: u32, pending: u32) {
        let agent = self.store_agent(warp.index);
        for lane in bits(mask) {
            let groups = self.bulk_groups.entry(warp.index * 32 + lane).or_default();
            let done = groups.len().saturating_sub(pending as usize);
            if let Some(clock) = groups.drain(..done).next_back() {
                self.clocks.learn(warp.index, 1 << lane, agent, clock);
            }
        }
    }
}

/// The elements of a box from the innermost dimension on: its number, and its byte offset in the
/// buffer if it lies inside the tensor.
fn box_elements<'m>(
    map: &'m TensorMap,
    coords: &'m [i64],
) -> impl Iterator<Item = (u64, Option<u64>)> + 'm {
    let count: u64 = map.box_dims.iter().map(|&n| u64::from(n)).product();
    (0..count).map(|n| {
        let mut rest = n;
        let mut offset = map.offset;
        let mut inside = true;
        for (d, &size) in map.box_dims.iter().enumerate() {
            let c = coords[d] + (rest % u64::from(size)) as i64;
            rest /= u64::from(size);
            inside &= c >= 0 && (c as u64) < map.dims[d];
            let stride = if d == 0 {
                u64::from(map.elem.bytes())
            } else {
                map.strides[d - 1]
            };
            offset = offset.wrapping_add((c as u64).wrapping_mul(stride));
        }
        (n, inside.then_some(offset))
    })
}

fn add_elements(elem: TensorElem, a: u64, b: u64) -> u64 {
    match elem {
        TensorElem::F32 => (f32::of(a) + f32::of(b)).bits(),
        TensorElem::F64 => (f64::of(a) + f64::of(b)).bits(),
        TensorElem::F16 => u64::from(hp::add::<IsF16>(a as u16, b as u16)),
        TensorElem::Bf16 => u64::from(hp::add::<IsBf16>(a as u16, b as u16)),
        TensorElem::U32 => u64::from((a as u32).wrapping_add(b as u32)),
        TensorElem::U8 => u64::from((a as u8).wrapping_add(b as u8)),
    }
}
