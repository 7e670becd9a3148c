//! Matrix products of a warpgroup (PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions").
//!
//! Each of the four warps computes its own 16 rows of the 64 x N result when it issues the
//! instruction. That the product runs asynchronously shows in the checks: accumulators may not be
//! touched before the wait, registers written since the last `wgmma.fence` may not be used, and shared
//! operands count as being read until the wait.

use super::address::Spot;
use super::block::{At, BlockRun};
use super::product::{self, element, per_register};
use super::tensor_map::Swizzle;
use super::warp::Warp;
use crate::check::clock::Actor;
use crate::check::finding::FindingKind;
use crate::numeric::round::{Exact, F16, RN};
use crate::numeric::{Bits, Lanes};
use crate::program::*;
use crate::syntax::ast::Space;

/// Agents 56 to 63 are the matrix units of the warpgroups.
const MATRIX_AGENTS: usize = 56;

#[derive(Default)]
pub struct WgmmaState {
    /// Only kernels with wgmma pay for these checks.
    on: bool,
    /// By register: in flight in a product not waited for.
    in_flight: Vec<bool>,
    /// By register: written since the last `wgmma.fence`.
    dirty: Vec<bool>,
    /// Registers of products since the last commit, and of each committed group with its clock.
    open: Vec<Slot>,
    groups: Vec<(Vec<Slot>, u32)>,
}

impl WgmmaState {
    pub fn new(program: &Program) -> WgmmaState {
        let on = program.code.iter().any(|i| matches!(i.op, Op::Wgmma(_)));
        let n = if on { program.slots } else { 0 };
        WgmmaState {
            on,
            in_flight: vec![false; n],
            dirty: vec![false; n],
            open: vec![],
            groups: vec![],
        }
    }

    #[inline]
    pub fn watching(&self) -> bool {
        self.on
    }
}

/// Where an element of a shared operand lies, by its descriptor
/// (PTX ISA, "Matrix Descriptor Format" and "Strides").
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    pub start: u64,
    pub leading: u64,
    pub stride: u64,
    pub swizzle: Swizzle,
    pub base_offset: u64,
}

impl Descriptor {
    pub fn decode(bits: u64) -> Descriptor {
        let field = |at: u32| (bits >> at & 0x3fff) << 4;
        let swizzle = match bits >> 62 {
            0 => Swizzle::None,
            1 => Swizzle::B128,
            2 => Swizzle::B64,
            _ => Swizzle::B32,
        };
        Descriptor {
            start: field(0),
            leading: field(16),
            stride: field(32),
            swizzle,
            base_offset: bits >> 49 & 7,
        }
    }

    /// The shared address of element (`mn`, `k`), of `bytes` bytes, in a K-major operand (rows along K
    /// are contiguous) or an M/N-major one. 16-byte pieces form core matrices of 8 rows; without
    /// swizzling these are 128 contiguous bytes, with it rows are as long as the swizzle's span.
    pub fn address(self, mn: u64, k: u64, bytes: u64, k_major: bool) -> u64 {
        // Elements in one 16-byte piece, pieces in one swizzled row.
        let piece = 16 / bytes;
        let span = match self.swizzle {
            Swizzle::None => 1,
            Swizzle::B32 => 2,
            Swizzle::B64 => 4,
            Swizzle::B128 => 8,
        };
        let offset = if k_major {
            let (row, group) = (mn % 8, mn / 8);
            let (within, column) = (k % piece, k / piece);
            let column_step = if span == 1 { self.leading } else { 16 };
            row * 16 * span + group * self.stride + column * column_step + within * bytes
        } else {
            let (within, column) = (mn % piece, mn / piece);
            let (row, group) = (k % 8, k / 8);
            let (mn_step, k_step) = if span == 1 {
                (self.stride, self.leading)
            } else {
                (self.leading, self.stride)
            };
            within * bytes
                + (column % span) * 16
                + (column / span) * mn_step
                + row * 16 * span
                + group * k_step
        };
        self.swizzle.apply(self.start + offset)
    }
}

impl BlockRun<'_> {
    fn matrix_agent(&self, warp: usize) -> Actor {
        self.clocks.agent(MATRIX_AGENTS + warp / 4 % 8)
    }

    /// `wgmma.mma_async`. Accumulator layout: PTX ISA, "Matrix Fragments for wgmma.mma_async.m64nNk16".
    pub fn wgmma(&mut self, warp: &mut Warp, w: &Wgmma, mask: u32, pc: Pc) {
        let lane0 = mask.trailing_zeros() as usize;
        self.wgmma_check_fence(warp, w, pc, lane0);
        let (n, k) = (w.n as usize, w.k as usize);
        let row0 = 16 * (warp.index as u64 % 4);
        let mut a = [[0f64; product::DEPTH]; 16];
        match &w.a {
            WgmmaA::Registers(regs) => {
                let regs: Vec<&Lanes> = regs.iter().map(|s| &warp.regs[*s as usize]).collect();
                a = product::rows_of_registers(w.elem, &regs);
            }
            WgmmaA::Shared(slot) => {
                let d = Descriptor::decode(warp.get(*slot, lane0));
                let at = |row, col| d.address(row0 + row, col, elem_bytes(w.elem), !w.trans_a);
                let put = |row: usize, col: usize, v| a[row][col] = v;
                self.shared_operand(warp.index, lane0, pc, w.elem, d, (16, k), at, put);
            }
        }
        let d = Descriptor::decode(warp.get(w.b, lane0));
        let mut b = vec![[[0f64; 8]; product::DEPTH]; n / 8];
        let at = |col, row| d.address(col, row, elem_bytes(w.elem), !w.trans_b);
        let put = |col: usize, row: usize, v| b[col / 8][row][col % 8] = v;
        self.shared_operand(warp.index, lane0, pc, w.elem, d, (n, k), at, put);
        let sign = if w.negate_a != w.negate_b { -1.0 } else { 1.0 };
        self.tallies[pc as usize].matrix_fmas += u64::from(16 * w.n * w.k);
        let keep = warp.predicate(w.scale_d, false);
        for (panel, b) in b.iter().enumerate() {
            let sums = product::of_matrices(&a, b, k);
            let sums = sums.as_flattened();
            let registers = if w.acc == Elem::F16 { 2 } else { 4 };
            for r in 0..registers {
                let slot = w.dst[panel * registers + r];
                let old = &warp.regs[slot as usize];
                let mut out = [0; 32];
                for lane in 0..32 {
                    let kept = if keep >> lane & 1 == 1 { old[lane] } else { 0 };
                    out[lane] = if w.acc == Elem::F16 {
                        let half = |j: usize| {
                            let sum = sign * sums[64 * r + 2 * lane + j];
                            F16.round(Exact::of(sum + element(Elem::F16, kept, j)), RN)
                        };
                        half(0) | half(1) << 16
                    } else {
                        let sum = sign * sums[64 * (r / 2) + 2 * lane + r % 2];
                        ((sum + f64::from(f32::of(kept))) as f32).bits()
                    };
                }
                warp.write(slot, mask, &out);
            }
        }
        for slot in &w.dst {
            warp.wgmma.in_flight[*slot as usize] = true;
        }
        warp.wgmma.open.extend(&w.dst);
        if let WgmmaA::Registers(regs) = &w.a {
            warp.wgmma.open.extend(regs);
        }
        if keep & mask != 0 {
            self.check_uses(warp, &w.dst, keep & mask, pc);
        }
    }

    /// Reads a shared operand of `(rows, depth)` elements into `put` and records the read.
    #[allow(clippy::too_many_arguments)]
    fn shared_operand(
        &mut self,
        warp: usize,
        lane: usize,
        pc: Pc,
        elem: Elem,
        d: Descriptor,
        (rows, depth): (usize, usize),
        address: impl Fn(u64, u64) -> u64,
        mut put: impl FnMut(usize, usize, f64),
    ) {
        if d.base_offset != 0 {
            let what = "matrix descriptors with a base offset are not supported by the simulator"
                .to_string();
            let address = Some(Spot::shared(d.start as u32).generic());
            self.report(
                FindingKind::InvalidOperand,
                At::new(warp, lane, pc),
                address,
                what,
            );
        }
        let bytes = elem_bytes(elem) as u32;
        let agent = self.matrix_agent(warp);
        let mut seen: Vec<u64> = vec![];
        for row in 0..rows {
            for col in 0..depth {
                let at = address(row as u64, col as u64);
                // Each 16-byte piece is checked once.
                let piece = at & !15;
                if seen.last() != Some(&piece) && !seen.contains(&piece) {
                    if !self.check_spot(
                        Spot::of(Space::Shared, piece),
                        16,
                        16,
                        At::new(warp, lane, pc),
                        "a matrix operand",
                    ) {
                        return;
                    }
                    self.async_read(agent, piece, 16, At::new(warp, lane, pc));
                    seen.push(piece);
                    if seen.len() > 64 {
                        seen.remove(0);
                    }
                }
                put(row, col, element(elem, self.peek_shared(at, bytes), 0));
            }
        }
    }

    fn wgmma_check_fence(&mut self, warp: &mut Warp, w: &Wgmma, pc: Pc, lane: usize) {
        let a = if let WgmmaA::Registers(regs) = &w.a {
            &regs[..]
        } else {
            &[]
        };
        if let Some(slot) = w
            .dst
            .iter()
            .chain(a)
            .find(|s| warp.wgmma.dirty[**s as usize])
        {
            let name = &self.l.program.names[*slot as usize];
            let what = format!("`{name}` was written after the last `wgmma.fence`");
            self.report(
                FindingKind::MissingProxyFence,
                At::new(warp.index, lane, pc),
                None,
                what,
            );
            warp.wgmma.dirty.fill(false);
        }
    }

    pub fn wgmma_fence(&mut self, warp: &mut Warp) {
        warp.wgmma.dirty.fill(false);
    }

    pub fn wgmma_commit(&mut self, warp: &mut Warp) {
        let agent = self.matrix_agent(warp.index);
        let clock = self.clocks.agent_now(agent);
        self.clocks.agent_tick(agent);
        let open = std::mem::take(&mut warp.wgmma.open);
        warp.wgmma.groups.push((open, clock));
    }

    pub fn wgmma_wait(&mut self, warp: &mut Warp, pending: u32) {
        let done = warp.wgmma.groups.len().saturating_sub(pending as usize);
        let agent = self.matrix_agent(warp.index);
        let finished: Vec<(Vec<Slot>, u32)> = warp.wgmma.groups.drain(..done).collect();
        for (slots, clock) in &finished {
            for s in slots {
                warp.wgmma.in_flight[*s as usize] = false;
            }
            self.clocks.learn(warp.index, u32::MAX, agent, *clock);
        }
        // Registers that a later group uses again stay in flight.
        for (slots, _) in &warp.wgmma.groups {
            for s in slots {
                warp.wgmma.in_flight[*s as usize] = true;
            }
        }
    }

    pub fn wgmma_register_write(&mut self, warp: &mut Warp, d: Slot, pc: Pc, mask: u32) {
        if warp.wgmma.in_flight[d as usize] {
            self.in_flight_use(warp, d, pc, mask);
        }
        warp.wgmma.dirty[d as usize] = true;
    }

    fn in_flight_use(&mut self, warp: &mut Warp, slot: Slot, pc: Pc, mask: u32) {
        let name = &self.l.program.names[slot as usize];
        let what = format!("`{name}` belongs to a matrix product that has not been waited for");
        let lane = mask.trailing_zeros() as usize;
        self.report(
            FindingKind::ReadBeforeWait,
            At::new(warp.index, lane, pc),
            None,
            what,
        );
        warp.wgmma.in_flight[slot as usize] = false;
    }

    /// Uses of registers in flight, and registers written, by any instruction but wgmma itself. A move
    /// hands the state on: compilers insert moves around inline assembly.
    pub fn wgmma_check_registers(&mut self, warp: &mut Warp, inst: &Inst, pc: Pc, mask: u32) {
        match &inst.op {
            Op::Wgmma(_) | Op::WgmmaFence | Op::WgmmaCommit | Op::WgmmaWait { .. } => return,
            Op::Mov { d, a } => {
                warp.wgmma.in_flight[*d as usize] = warp.wgmma.in_flight[*a as usize];
                if warp.wgmma.in_flight[*d as usize] {
                    if let Some(group) = warp.wgmma.groups.last_mut() {
                        group.0.push(*d);
                    } else {
                        warp.wgmma.open.push(*d);
                    }
                }
                warp.wgmma.dirty[*d as usize] = !warp.wgmma.in_flight[*d as usize];
                return;
            }
            _ => {}
        }
        if let Some(&slot) = inst
            .uses
            .iter()
            .find(|s| warp.wgmma.in_flight[**s as usize])
        {
            self.in_flight_use(warp, slot, pc, mask);
        }
        let mut written = vec![];
        match &inst.op {
            Op::Convert { d, .. }
            | Op::ConvertPair { d, .. }
            | Op::Select { d, .. }
            | Op::Pack { d, .. } => written.push(*d),
            Op::Unpack { parts, .. } => written.extend(parts.iter().flatten()),
            Op::Load { to, .. } => written.extend(to.iter().flatten()),
            Op::LdMatrix { to, .. } => written.extend(to.iter()),
            _ => {}
        }
        for d in written {
            self.wgmma_register_write(warp, d, pc, mask);
        }
    }
}

fn elem_bytes(e: Elem) -> u64 {
    4 / per_register(e) as u64
}
