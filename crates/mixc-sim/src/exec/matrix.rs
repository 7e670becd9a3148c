//! Matrix products of one warp, and matrix moves between registers and shared memory.

use super::access::Spot;
use super::block::BlockRun;
use super::product::{self, element};
use super::warp::Warp;
use crate::check::clock::bits;
use crate::check::shadow::Kind;
use crate::numeric::round::{Exact, F16, RN};
use crate::numeric::{Bits, Lanes};
use crate::program::*;

impl BlockRun<'_> {
    /// `D = A * B + C` (PTX ISA, "Multiply-and-Accumulate Instruction: mma"). Products and their sum are
    /// taken in double and rounded once; PTX asks for at least single precision.
    pub fn mma(&mut self, warp: &mut Warp, m: &Mma, mask: u32) {
        let sums = {
            let registers = |slots: &[Slot]| -> [&Lanes; 4] {
                std::array::from_fn(|n| &warp.regs[slots[n % slots.len()] as usize])
            };
            let (a, b) = (registers(&m.a_regs), registers(&m.b_regs));
            let (a, b) = (&a[..m.a_regs.len()], &b[..m.b_regs.len()]);
            product::of_registers((m.a, m.b), m.k as usize, a, b)
        };
        let sums = sums.as_flattened();
        self.counts.matrix_fmas += u64::from(m.m * m.n * m.k);
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

    /// The eight row addresses of each of `count` matrices: matrix `j` takes lanes `8j .. 8j + 8`
    /// (PTX ISA, "ldmatrix"). Rows that cannot be accessed are `None`.
    fn matrix_rows(
        &mut self,
        warp: &mut Warp,
        addr: Addr,
        space: crate::syntax::ast::Space,
        count: usize,
        pc: Pc,
        what: &str,
    ) -> Vec<Option<u64>> {
        let lanes = if count == 4 {
            u32::MAX
        } else {
            (1 << (8 * count)) - 1
        };
        self.check_uses(warp, &[addr.base], lanes, pc);
        let mut at = vec![];
        for lane in 0..8 * count {
            let address = warp.get(addr.base, lane).wrapping_add(addr.offset as u64);
            let spot = Spot::of(space, address);
            let ok = self.check_spot(spot, 16, 16, warp.index, lane, pc, what);
            at.push(match spot {
                Spot::Shared(a) if ok => Some(a),
                _ => None,
            });
        }
        for rows in at.chunks(8) {
            let rows: Vec<u32> = rows.iter().flatten().map(|&a| a as u32).collect();
            self.counts.shared_access(&rows, 16);
        }
        at
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
        let rows = self.matrix_rows(warp, *addr, *space, to.len(), pc, "a matrix row");
        for (j, d) in to.iter().enumerate() {
            let mut elements = [[0u16; 8]; 8];
            for r in 0..8 {
                let Some(at) = rows[8 * j + r] else { continue };
                self.check_shared_read(at, 16, warp.index, 8 * j + r, pc, false);
                for (c, e) in elements[r].iter_mut().enumerate() {
                    *e = self.peek_shared(at + 2 * c as u64, 2) as u16;
                }
            }
            for lane in bits(mask) {
                let (row, col) = (lane / 4, 2 * (lane % 4));
                let pair = if *trans {
                    [elements[col][row], elements[col + 1][row]]
                } else {
                    [elements[row][col], elements[row][col + 1]]
                };
                warp.set(*d, lane, u64::from(pair[0]) | u64::from(pair[1]) << 16);
            }
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
        let rows = self.matrix_rows(warp, *addr, *space, from.len(), pc, "a matrix row");
        for (j, s) in from.iter().enumerate() {
            let mut elements = [[0u16; 8]; 8];
            for lane in bits(mask) {
                let v = warp.get(*s, lane);
                let (row, col) = (lane / 4, 2 * (lane % 4));
                for i in 0..2 {
                    let e = (v >> (16 * i)) as u16;
                    if *trans {
                        elements[col + i][row] = e
                    } else {
                        elements[row][col + i] = e
                    }
                }
            }
            for r in 0..8 {
                let Some(at) = rows[8 * j + r] else { continue };
                self.check_shared_write(at, 16, warp.index, 8 * j + r, pc, Kind::Plain, false);
                for (c, e) in elements[r].iter().enumerate() {
                    self.poke_shared(at + 2 * c as u64, 2, u64::from(*e));
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
