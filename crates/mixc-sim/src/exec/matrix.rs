//! Matrix products of one warp, and matrix moves between registers and shared memory.

use super::address::{Memory, Reach, Spot};
use super::block::{At, BlockRun};
use super::product::{self, element};
use super::warp::Warp;
use crate::check::clock::bits;
use crate::check::finding::FindingKind;
use crate::check::shadow::Kind;
use crate::numeric::round::{Exact, F16, RN};
use crate::numeric::{Bits, Lanes};
use crate::program::*;
use crate::syntax::ast::Space;

impl BlockRun<'_> {
    /// `D = A * B + C` (PTX ISA, "Multiply-and-Accumulate Instruction: mma"). Products and their sum are
    /// taken in double and rounded once; PTX asks for at least single precision.
    pub fn mma(&mut self, warp: &mut Warp, m: &Mma, mask: u32, pc: Pc) {
        let sums = {
            let registers = |slots: &[Slot]| -> [&Lanes; 4] {
                std::array::from_fn(|n| &warp.regs[slots[n % slots.len()] as usize])
            };
            let (a, b) = (registers(&m.a_regs), registers(&m.b_regs));
            let (a, b) = (&a[..m.a_regs.len()], &b[..m.b_regs.len()]);
            product::of_registers((m.a, m.b), m.k as usize, a, b)
        };
        let sums = sums.as_flattened();
        self.scratch.tallies[pc as usize].matrix_fmas += u64::from(m.m * m.n * m.k);
        // All results come before the first write: D may be C in another order.
        let mut out = [[0; 32]; 4];
        for (r, out) in out.iter_mut().take(m.dst.len()).enumerate() {
            let c = &warp.regs[m.c_regs[r] as usize];
            for lane in 0..32 {
                out[lane] = match m.c {
                    Elem::F16 => {
                        let half = |j: usize| {
                            let old = element(Elem::F16, c[lane], j);
                            F16.round(Exact::of(sums[64 * r + 2 * lane + j] + old), RN)
                        };
                        half(0) | half(1) << 16
                    }
                    Elem::S32 => {
                        let sum = sums[64 * (r / 2) + 2 * lane + r % 2] as i64;
                        u64::from((sum as u32).wrapping_add(c[lane] as u32))
                    }
                    _ => {
                        let sum = sums[64 * (r / 2) + 2 * lane + r % 2];
                        ((sum + f64::from(f32::of(c[lane]))) as f32).bits()
                    }
                };
            }
        }
        for (d, out) in m.dst.iter().zip(&out) {
            warp.write(*d, mask, out);
        }
    }

    /// The row addresses of `count` matrices: matrix `j` takes those of lanes `8j .. 8j + 8` (PTX ISA,
    /// "ldmatrix"), whichever lanes run. Rows that cannot be accessed are left out of the mask.
    fn matrix_rows(
        &mut self,
        warp: &mut Warp,
        addr: Addr,
        space: Space,
        count: usize,
        pc: Pc,
    ) -> Reach {
        let lanes = u32::MAX >> (32 - 8 * count);
        self.check_uses(warp, &[addr.base], lanes, pc);
        let base = &warp.regs[addr.base as usize];
        let spots: [Spot; 32] =
            std::array::from_fn(|l| Spot::of(space, base[l].wrapping_add(addr.offset as u64)));
        let (memory, at) = (Memory::Shared, spots.map(|s| s.at));
        let mask = bits(lanes)
            .filter(|l| spots[*l].memory == memory)
            .fold(0, |m, l| m | 1 << l);
        for lane in bits(lanes & !mask) {
            let what = "a matrix row that is not in shared memory".to_string();
            let address = Some(spots[lane].generic());
            self.report(
                FindingKind::InvalidOperand,
                At::new(warp.index, lane, pc),
                address,
                what,
            );
        }
        let mut reach = Reach { memory, mask, at };
        reach.mask = self.check_reach(&reach, 16, warp.index, pc, "a matrix row");
        self.count_access(&reach, 16, pc);
        reach
    }

    pub fn ldmatrix(&mut self, warp: &mut Warp, mask: u32, pc: Pc) {
        let program = self.l.program;
        let Op::LdMatrix {
            to,
            trans,
            addr,
            space,
        } = &program.code[pc as usize].op
        else {
            return;
        };
        let rows = self.matrix_rows(warp, *addr, *space, to.len(), pc);
        self.check_shared_reads(&rows, 16, 16, warp.index, pc, false);
        for (j, d) in to.iter().enumerate() {
            let mut elements = [[0u16; 8]; 8];
            for (r, row) in elements.iter_mut().enumerate() {
                let lane = 8 * j + r;
                if rows.mask >> lane & 1 == 1 {
                    let bytes = &self.shared[rows.at[lane] as usize..][..16];
                    let pairs = bytes.as_chunks::<2>().0;
                    row.iter_mut()
                        .zip(pairs)
                        .for_each(|(e, b)| *e = u16::from_le_bytes(*b));
                }
            }
            let out = std::array::from_fn(|lane| {
                let (row, col) = (lane / 4, 2 * (lane % 4));
                let (low, high) = match *trans {
                    true => (elements[col][row], elements[col + 1][row]),
                    false => (elements[row][col], elements[row][col + 1]),
                };
                u64::from(low) | u64::from(high) << 16
            });
            warp.write(*d, mask, &out);
        }
    }

    pub fn stmatrix(&mut self, warp: &mut Warp, mask: u32, pc: Pc) {
        let program = self.l.program;
        let Op::StMatrix {
            from,
            trans,
            addr,
            space,
        } = &program.code[pc as usize].op
        else {
            return;
        };
        self.events += 1;
        let rows = self.matrix_rows(warp, *addr, *space, from.len(), pc);
        for (j, s) in from.iter().enumerate() {
            let mut elements = [[0u16; 8]; 8];
            for lane in bits(mask) {
                let v = warp.get(*s, lane);
                let (row, col) = (lane / 4, 2 * (lane % 4));
                for i in 0..2 {
                    let (r, c) = if *trans {
                        (col + i, row)
                    } else {
                        (row, col + i)
                    };
                    elements[r][c] = (v >> (16 * i)) as u16;
                }
            }
            for (r, row) in elements.iter().enumerate() {
                let lane = 8 * j + r;
                if rows.mask >> lane & 1 == 0 {
                    continue;
                }
                let address = rows.at[lane];
                self.check_shared_write(address, 16, At::new(warp.index, lane, pc), Kind::Plain);
                for (c, e) in row.iter().enumerate() {
                    self.poke_shared(address + 2 * c as u64, 2, u64::from(*e));
                }
            }
        }
    }
}

/// PTX ISA, "Warp-level matrix transpose instruction: movmatrix".
pub fn movmatrix(warp: &mut Warp, d: Slot, a: Slot, mask: u32) {
    let mut elements = [[0u64; 8]; 8];
    for lane in 0..32 {
        let v = warp.get(a, lane);
        for i in 0..2 {
            elements[lane / 4][2 * (lane % 4) + i] = v >> (16 * i) & 0xffff;
        }
    }
    for lane in bits(mask) {
        let (row, col) = (2 * (lane % 4), lane / 4);
        warp.set(d, lane, elements[row][col] | elements[row + 1][col] << 16);
    }
}
