//! Bulk and tensor copies through the asynchronous proxy
//! (PTX ISA, "Bulk copy: cp.async.bulk", "Tensor copy: cp.async.bulk.tensor").

use super::address::{Memory, Spot};
use super::atomic::combine_in_global;
use super::block::{At, BlockRun};
use super::tensor_map::TensorMap;
use super::warp::Warp;
use crate::check::blocks::Mode;
use crate::check::clock::{Actor, bits};
use crate::check::finding::FindingKind;
use crate::check::shadow::{Kind, Who};
use crate::program::*;
use crate::syntax::ast::{Space, Ty};
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
        for lane in bits(mask) {
            let who = At::new(warp.index, lane, pc);
            let address = |a: &Addr| warp.get(a.base, lane).wrapping_add(a.offset as u64);
            let coords = |c: &[Slot]| -> Vec<i64> {
                let signed = |s: &Slot| i64::from(warp.get(*s, lane) as u32 as i32);
                c.iter().map(signed).collect()
            };
            match &program.code[pc as usize].op {
                Op::BulkLoad {
                    dst,
                    src,
                    bytes,
                    bar,
                } => {
                    let size = warp.get(*bytes, lane) as u32;
                    self.bulk_load(address(dst), address(src), size, address(bar) as u32, who);
                }
                Op::BulkStore {
                    dst,
                    src,
                    bytes,
                    reduce,
                } => {
                    let size = warp.get(*bytes, lane) as u32;
                    self.bulk_store(address(dst), address(src), size, *reduce, who);
                }
                Op::TensorLoad {
                    dst,
                    map,
                    coords: c,
                    bar,
                } => {
                    let bar = address(bar) as u32;
                    if let Some(map) = self.tensor_map(address(map), who) {
                        self.tensor_load(address(dst), &map, &coords(c), bar, who);
                    }
                }
                Op::TensorStore {
                    src,
                    map,
                    coords: c,
                    reduce,
                } => {
                    if let Some(map) = self.tensor_map(address(map), who) {
                        self.tensor_store(address(src), &map, &coords(c), *reduce, who);
                    }
                }
                _ => {}
            }
        }
    }

    /// The places in shared and global memory of a bulk copy, if they can be accessed.
    fn bulk_places(&mut self, shared: u64, global: u64, size: u32, who: At) -> Option<(u64, u64)> {
        if !size.is_multiple_of(16) {
            let what = format!("bulk copies take a multiple of 16 bytes, not {size}");
            self.report(FindingKind::InvalidOperand, who, None, what);
        }
        let shared = Spot::of(Space::Shared, shared);
        let global = Spot::of(Space::Global, global);
        let ok = self.check_spot(shared, size, 16, who, "a bulk copy")
            & self.check_spot(global, size, 16, who, "a bulk copy");
        self.scratch.tallies[who.pc as usize].bulk_bytes += u64::from(size);
        (ok && size > 0).then_some((shared.at, global.at))
    }

    fn bulk_load(&mut self, to: u64, from: u64, size: u32, bar: u32, who: At) {
        let Some((to, from)) = self.bulk_places(to, from, size, who) else {
            return;
        };
        if !self.known_mbarrier(bar, who) {
            return;
        }
        let mut data = vec![0; size as usize];
        self.note_copy(from, size, Mode::Read, who);
        self.read_global(from, &mut data, who);
        self.async_write(to, size, bar, who);
        self.shared[to as usize..][..size as usize].copy_from_slice(&data);
        self.mbarrier_delivered(bar, i64::from(size));
    }

    /// Records a write by the copy engine of the mbarrier at `bar`.
    fn async_write(&mut self, address: u64, size: u32, bar: u32, who: At) {
        let Some(agent) = self.mbars.get(&bar).map(|b| b.agent) else {
            return;
        };
        if self.l.options.races {
            let engine = Who::agent(&self.clocks, who.thread(), agent, who.pc);
            let conflict = self
                .shadow
                .write(engine, address as u32, size, Kind::Async, || false);
            if let Some(c) = conflict {
                self.report_conflict(c, who, address as u32);
            }
        }
        self.shared_init[address as usize..address as usize + size as usize].fill(true);
    }

    /// Checks a read of shared memory by an asynchronous agent on behalf of a thread.
    pub fn async_read(&mut self, agent: Actor, address: u64, size: u32, who: At) {
        if self.l.options.races {
            let engine = Who::agent(&self.clocks, who.thread(), agent, who.pc);
            if let Some(c) = self.shadow.read(engine, address as u32, size, false) {
                self.report_conflict(c, who, address as u32);
            }
        }
        self.check_shared_init(address, size, who);
    }

    fn bulk_store(&mut self, to: u64, from: u64, size: u32, reduce: Option<(AtomOp, Ty)>, who: At) {
        let Some((from, to)) = self.bulk_places(from, to, size, who) else {
            return;
        };
        self.async_read(self.store_agent(who.warp), from, size, who);
        let bytes = reduce.map_or(8, |(_, ty)| ty.bytes());
        self.note_copy(to, size, mode_of(reduce.is_some()), who);
        for at in (0..u64::from(size)).step_by(bytes as usize) {
            let value = self.peek_shared(from + at, bytes);
            match reduce {
                None => self.store_element(to + at, bytes, value, who),
                Some((op, ty)) => self.reduce_element(to + at, op, ty, value),
            }
        }
    }

    fn reduce_element(&mut self, address: u64, op: AtomOp, ty: Ty, value: u64) {
        if let Some((_, buffer, offset)) = self.l.find_buffer(address) {
            buffer.update(offset as u64, ty.bytes(), |old| {
                combine_in_global(op, ty, old, value, 0)
            });
        }
    }

    fn store_element(&mut self, address: u64, bytes: u32, value: u64, who: At) {
        let Some((_, buffer, offset)) = self.l.find_buffer(address) else {
            return;
        };
        let twice = buffer.stored_before(offset as u64, bytes);
        buffer.store(offset as u64, bytes, value);
        if twice {
            self.report_double_write(address, who);
        }
    }

    fn tensor_map(&mut self, address: u64, who: At) -> Option<TensorMap> {
        // The operand is a generic address, or the parameter's own.
        let spot = Spot::of(Space::Generic, address);
        let inside = spot.memory == Memory::Param || spot.at < self.l.params.len() as u64;
        let found = self
            .l
            .maps
            .iter()
            .find(|(at, _)| inside && *at as u64 == spot.at);
        let found = found.map(|(_, map)| map.clone());
        if found.is_none() {
            let what = "the operand is not the address of a tensor map parameter".to_string();
            self.report(FindingKind::InvalidOperand, who, Some(address), what);
        }
        found
    }

    /// Where a box lies in shared memory, if the copy can run.
    fn box_place(&mut self, shared: u64, map: &TensorMap, coords: &[i64], who: At) -> Option<u64> {
        let (spot, size) = (Spot::of(Space::Shared, shared), map.box_bytes() as u32);
        if !self.check_spot(spot, size, 128, who, "a tensor copy") {
            return None;
        }
        let (given, rank) = (coords.len(), map.dims.len());
        if given != rank {
            let what = format!("{given} coordinates for a tensor map of {rank} dimensions");
            self.report(FindingKind::InvalidOperand, who, None, what);
            return None;
        }
        self.scratch.tallies[who.pc as usize].bulk_bytes += u64::from(size);
        Some(spot.at)
    }

    fn tensor_load(&mut self, to: u64, map: &TensorMap, coords: &[i64], bar: u32, who: At) {
        let Some(base) = self.box_place(to, map, coords, who) else {
            return;
        };
        if !self.known_mbarrier(bar, who) {
            return;
        }
        let size = map.box_bytes() as u32;
        self.async_write(base, size, bar, who);
        let bytes = map.elem.bytes();
        for (n, inside) in box_elements(map, coords) {
            let mut value = [0u8; 8];
            if let Some(address) = inside.map(|offset| self.l.memory.address(map.buffer) + offset)
                && self.check_spot(Spot::global(address), bytes, 1, who, "a tensor copy")
            {
                self.note_copy(address, bytes, Mode::Read, who);
                self.read_global(address, &mut value[..bytes as usize], who);
            }
            let at = map.swizzle.apply(base + n * u64::from(bytes)) as usize;
            match self.shared.get_mut(at..at + bytes as usize) {
                Some(place) => place.copy_from_slice(&value[..bytes as usize]),
                None => {
                    let what = "the swizzled box reaches past shared memory".to_string();
                    let address = Some(Spot::shared(at as u32).generic());
                    self.report(FindingKind::OutOfBounds, who, address, what);
                }
            }
        }
        self.mbarrier_delivered(bar, i64::from(size));
    }

    fn tensor_store(
        &mut self,
        from: u64,
        map: &TensorMap,
        coords: &[i64],
        reduce: Option<AtomOp>,
        who: At,
    ) {
        let Some(base) = self.box_place(from, map, coords, who) else {
            return;
        };
        let size = map.box_bytes() as u32;
        self.async_read(self.store_agent(who.warp), base, size, who);
        let bytes = map.elem.bytes();
        if reduce.is_some_and(|op| !reduces(op, map.elem.ty())) {
            let what =
                "this reduction has no meaning for the tensor map's element type".to_string();
            self.report(FindingKind::InvalidOperand, who, None, what);
            return;
        }
        for (n, inside) in box_elements(map, coords) {
            let at = map.swizzle.apply(base + n * u64::from(bytes));
            let Some(offset) = inside else { continue };
            let address = self.l.memory.address(map.buffer) + offset;
            let fits = at as usize + bytes as usize <= self.shared.len()
                && self.check_spot(Spot::global(address), bytes, 1, who, "a tensor copy");
            if !fits {
                continue;
            }
            let value = self.peek_shared(at, bytes);
            self.note_copy(address, bytes, mode_of(reduce.is_some()), who);
            match reduce {
                None => self.store_element(address, bytes, value, who),
                Some(op) => self.reduce_element(address, op, map.elem.ty(), value),
            }
        }
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

fn mode_of(reduction: bool) -> Mode {
    if reduction { Mode::Atomic } else { Mode::Write }
}

/// Whether a bulk reduction exists: floats add, 16-bit floats also have `min` and `max`.
pub fn reduces(op: AtomOp, ty: Ty) -> bool {
    match ty {
        Ty::F32 | Ty::F64 => op == AtomOp::Add,
        Ty::F16 | Ty::Bf16 => matches!(op, AtomOp::Add | AtomOp::Min | AtomOp::Max),
        _ => true,
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
