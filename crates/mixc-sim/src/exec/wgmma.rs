//! Matrix products of a warpgroup (PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions").
//!
//! Each of the four warps computes its own 16 rows of the 64 x N result when it issues the
//! instruction. That the product runs asynchronously shows in the checks ("wgmma.fence", "wgmma.wait_group"):
//! accumulators and A registers may not be accessed before the wait, registers accessed since the last
//! `wgmma.fence` may not be used except by products of the same shape, and shared operands count as being
//! read until the wait.

use super::address::Spot;
use super::block::{At, BlockRun};
use super::descriptor::Descriptor;
use super::product::{self, element, per_register};
use super::warp::Warp;
use crate::check::clock::Actor;
use crate::check::finding::FindingKind;
use crate::numeric::round::{Exact, F16, RN};
use crate::numeric::{Bits, Lanes};
use crate::program::*;

/// Agents 56 to 63 are the matrix units of the warpgroups.
const MATRIX_AGENTS: usize = 56;

/// What one warp has in flight.
#[derive(Default)]
pub struct WgmmaState {
    /// Only kernels with wgmma pay for these checks.
    on: bool,
    /// By register: the last group of products that uses it, from 1 on, and the shape of its products.
    group: Vec<u32>,
    shape: Vec<u32>,
    /// By register: accessed since the last `wgmma.fence`.
    touched: Vec<bool>,
    /// Whether there has been a `wgmma.fence`.
    fenced: bool,
    /// Groups committed, and those known to be done.
    committed: u32,
    done: u32,
    /// The matrix unit's clock at each commit that is not done.
    clocks: Vec<u32>,
}

impl WgmmaState {
    pub fn new(program: &Program) -> WgmmaState {
        let n = if program.accesses.is_empty() {
            0
        } else {
            program.slots
        };
        WgmmaState {
            on: n > 0,
            group: vec![0; n],
            shape: vec![0; n],
            touched: vec![false; n],
            ..WgmmaState::default()
        }
    }

    #[inline]
    pub fn watching(&self) -> bool {
        self.on
    }

    fn in_flight(&self, slot: Slot) -> bool {
        self.group[slot as usize] > self.done
    }
}

/// Accumulators of products of one shape need no fence between them.
fn shape(w: &Wgmma) -> u32 {
    w.n << 8 | (w.elem as u32) << 4 | w.acc as u32
}

impl BlockRun<'_> {
    fn matrix_agent(&self, warp: usize) -> Actor {
        self.clocks.agent(MATRIX_AGENTS + warp / 4 % 8)
    }

    /// `wgmma.mma_async`. Accumulator layout: PTX ISA, "Matrix Fragments for wgmma.mma_async.m64nNk16".
    pub fn wgmma(&mut self, warp: &mut Warp, w: &Wgmma, mask: u32, pc: Pc) {
        let at = At::new(warp.index, mask.trailing_zeros() as usize, pc);
        let from = |slot: &Slot| warp.get(*slot, at.lane);
        let shared_a = if let WgmmaA::Shared(slot) = &w.a {
            from(slot)
        } else {
            0
        };
        self.together(at, [shared_a, from(&w.b)]);
        self.wgmma_check_operands(warp, w, at);
        let keep = warp.predicate(w.scale_d, false);
        if keep & mask != 0 {
            self.check_uses(warp, &w.dst, keep & mask, pc);
        }
        let (n, k) = (w.n as usize, w.k as usize);
        let mut a = [[0f64; product::DEPTH]; 16];
        match &w.a {
            WgmmaA::Registers(regs) => {
                let regs: Vec<&Lanes> = regs.iter().map(|s| &warp.regs[*s as usize]).collect();
                a = product::rows_of_registers(w.elem, &regs);
            }
            WgmmaA::Shared(_) => {
                let rows = 16 * (warp.index % 4);
                let put = |row: usize, col: usize, v| a[row][col] = v;
                self.shared_operand(at, w.elem, shared_a, !w.trans_a, (rows, 16, k), put);
            }
        }
        let mut b = vec![[[0f64; 8]; product::DEPTH]; n / 8];
        let put = |col: usize, row: usize, v| b[col / 8][row][col % 8] = v;
        self.shared_operand(
            at,
            w.elem,
            warp.get(w.b, at.lane),
            !w.trans_b,
            (0, n, k),
            put,
        );
        let sign = if w.negate_a != w.negate_b { -1.0 } else { 1.0 };
        self.scratch.tallies[pc as usize].matrix_fmas += u64::from(16 * w.n * w.k);
        for (panel, b) in b.iter().enumerate() {
            let sums = product::of_matrices(&a, b, k);
            let registers = if w.acc == Elem::F16 { 2 } else { 4 };
            for r in 0..registers {
                let slot = w.dst[panel * registers + r];
                let out = accumulate(w.acc, r, &warp.regs[slot as usize], keep, sign, &sums);
                warp.write(slot, mask, &out);
            }
        }
        let group = warp.wgmma.committed + 1;
        let a = if let WgmmaA::Registers(a) = &w.a {
            &a[..]
        } else {
            &[]
        };
        for slot in w.dst.iter().chain(a) {
            warp.wgmma.group[*slot as usize] = group;
            warp.wgmma.shape[*slot as usize] = 0;
        }
        for slot in &w.dst {
            warp.wgmma.shape[*slot as usize] = shape(w);
        }
    }

    /// Reads rows `first .. first + rows` of a shared operand of `depth` columns and records the read. In
    /// every layout the elements of a 16-byte piece are neighbours along the major dimension.
    fn shared_operand(
        &mut self,
        at: At,
        elem: Elem,
        descriptor: u64,
        k_major: bool,
        (first, rows, depth): (usize, usize, usize),
        mut put: impl FnMut(usize, usize, f64),
    ) {
        let d = Descriptor::decode(descriptor);
        if d.base_offset != 0 {
            let what = "matrix descriptors with a base offset are not supported by the simulator";
            let address = Some(Spot::shared(d.start as u32).generic());
            self.report(FindingKind::Unsupported, at, address, what.to_string());
        }
        let bytes = 4 / per_register(elem);
        let piece = 16 / bytes;
        let agent = self.matrix_agent(at.warp);
        let (outer, inner) = if k_major {
            (rows, depth)
        } else {
            (depth, rows)
        };
        for o in 0..outer {
            for i in (0..inner).step_by(piece) {
                let (row, col) = if k_major { (o, i) } else { (i, o) };
                let place = d.address((first + row) as u64, col as u64, bytes as u64, k_major);
                if !self.check_spot(Spot::shared(place as u32), 16, 16, at, "a matrix operand") {
                    return;
                }
                self.async_read(agent, place, 16, at);
                for p in 0..piece {
                    let raw = self.peek_shared(place + (p * bytes) as u64, bytes as u32);
                    let (row, col) = if k_major { (o, i + p) } else { (i + p, o) };
                    put(row, col, element(elem, raw, 0));
                }
            }
        }
    }

    /// What the registers of a product may not be.
    fn wgmma_check_operands(&mut self, warp: &mut Warp, w: &Wgmma, at: At) {
        let state = &warp.wgmma;
        let name = |s: &Slot| &self.l.program.names[*s as usize];
        let a = if let WgmmaA::Registers(a) = &w.a {
            &a[..]
        } else {
            &[]
        };
        let touched = w.dst.iter().chain(a).find(|s| state.touched[**s as usize]);
        let other = |s: &&Slot| state.in_flight(**s) && state.shape[**s as usize] != shape(w);
        let product = a
            .iter()
            .find(|s| state.in_flight(**s) && state.shape[**s as usize] != 0);
        let wrong = if !state.fenced {
            let what = "there is no `wgmma.fence` before the first product".to_string();
            Some((FindingKind::MissingProxyFence, what))
        } else if let Some(s) = touched {
            let what = format!("`{}` was accessed after the last `wgmma.fence`", name(s));
            Some((FindingKind::MissingProxyFence, what))
        } else if let Some(s) = product {
            let what = format!(
                "`{}` is the result of a matrix product that has not been waited for",
                name(s)
            );
            Some((FindingKind::ReadBeforeWait, what))
        } else {
            let other = w.dst.iter().find(other);
            other.map(|s| {
                let what = format!("`{}` belongs to a matrix product of another shape that has not been waited for", name(s));
                (FindingKind::ReadBeforeWait, what)
            })
        };
        if let Some((kind, what)) = wrong {
            self.report(kind, at, None, what);
            warp.wgmma.touched.fill(false);
            warp.wgmma.fenced = true;
        }
    }

    pub fn wgmma_fence(&mut self, warp: &mut Warp, at: At) {
        self.together(at, [0; 2]);
        warp.wgmma.touched.fill(false);
        warp.wgmma.fenced = true;
    }

    pub fn wgmma_commit(&mut self, warp: &mut Warp, at: At) {
        self.together(at, [0; 2]);
        let agent = self.matrix_agent(warp.index);
        warp.wgmma.clocks.push(self.clocks.agent_now(agent));
        self.clocks.agent_tick(agent);
        warp.wgmma.committed += 1;
    }

    pub fn wgmma_wait(&mut self, warp: &mut Warp, pending: u32, at: At) {
        self.together(at, [0; 2]);
        let agent = self.matrix_agent(warp.index);
        let state = &mut warp.wgmma;
        let finished = state.clocks.len().saturating_sub(pending as usize);
        let last = state.clocks.drain(..finished).next_back();
        if let Some(clock) = last {
            state.done = state.committed - state.clocks.len() as u32;
            self.clocks.learn(warp.index, u32::MAX, agent, clock);
        }
    }

    /// Accesses of registers by any instruction but wgmma itself. A move hands on what its source is in:
    /// compilers put moves around inline assembly, which the assembler takes away.
    pub fn wgmma_check_registers(&mut self, warp: &mut Warp, inst: &Inst, at: At) {
        match &inst.op {
            Op::Wgmma(_) | Op::WgmmaFence | Op::WgmmaCommit | Op::WgmmaWait { .. } => return,
            Op::Mov { d, a } if warp.wgmma.in_flight(*a) => {
                let (d, a, state) = (*d as usize, *a as usize, &mut warp.wgmma);
                (state.group[d], state.shape[d]) = (state.group[a], state.shape[a]);
                state.touched[d] = false;
                return;
            }
            _ => {}
        }
        let access = &self.l.program.accesses[at.pc as usize];
        for slot in access.reads.iter().chain(&access.writes) {
            if warp.wgmma.in_flight(*slot) {
                let name = &self.l.program.names[*slot as usize];
                let what =
                    format!("`{name}` belongs to a matrix product that has not been waited for");
                self.report(FindingKind::ReadBeforeWait, at, None, what);
                warp.wgmma.group[*slot as usize] = 0;
            }
            warp.wgmma.touched[*slot as usize] = true;
        }
    }
}

/// Register `r` of a 16 x 8 panel of the result: the old value, where `keep` asks for it, and the sums.
fn accumulate(
    acc: Elem,
    r: usize,
    old: &Lanes,
    keep: u32,
    sign: f64,
    sums: &product::Sums,
) -> Lanes {
    let sums = sums.as_flattened();
    std::array::from_fn(|lane| {
        let kept = if keep >> lane & 1 == 1 { old[lane] } else { 0 };
        if acc == Elem::F16 {
            let half = |j: usize| {
                let sum = sign * sums[64 * r + 2 * lane + j];
                F16.round(Exact::of(sum + element(Elem::F16, kept, j)), RN)
            };
            half(0) | half(1) << 16
        } else {
            let sum = sign * sums[64 * (r / 2) + 2 * lane + r % 2];
            ((sum + f64::from(f32::of(kept))) as f32).bits()
        }
    })
}
