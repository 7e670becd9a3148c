//! Matrix products of one warp, and matrix moves between registers and shared memory.

use super::access::Spot;
use super::block::BlockRun;
use super::warp::Warp;
use crate::check::clock::bits;
use crate::check::shadow::Kind;
use crate::numeric::Bits;
use crate::numeric::half_precision::{self as hp, IsBf16, IsF16};
use crate::numeric::round::{Exact, F16, RN};
use crate::program::*;

/// Elements of a type in one 32-bit register.
pub fn per_register(e: Elem) -> u32 {
    match e {
        Elem::F16 | Elem::Bf16 => 2,
        Elem::S8 | Elem::U8 => 4,
        _ => 1,
    }
}

/// The value of element `i` of a 32-bit register.
pub fn element(e: Elem, register: u64, i: u32) -> f64 {
    match e {
        Elem::F16 => hp::value::<IsF16>((register >> (16 * i)) as u16),
        Elem::Bf16 => hp::value::<IsBf16>((register >> (16 * i)) as u16),
        // tf32 ignores the low 13 bits of its container.
        Elem::Tf32 => f64::from(f32::of(register & 0xffff_e000)),
        Elem::S8 => f64::from((register >> (8 * i)) as u8 as i8),
        Elem::U8 => f64::from((register >> (8 * i)) as u8),
        Elem::S32 => f64::from(register as u32 as i32),
        _ => f64::from(f32::of(register)),
    }
}

/// Row and column in A (16 x K) of element `i` of register `r`, for lane `l`
/// (PTX ISA, "Matrix Fragments for mma.m16n8k8" and the sections of the other m16n8 shapes: the group
/// `l / 4` selects the row, the place in the group the columns).
pub fn a_position(e: Elem, lane: u32, r: u32, i: u32) -> (u32, u32) {
    let n = per_register(e);
    (
        lane / 4 + 8 * (r & 1),
        (lane % 4) * n + 4 * n * (r >> 1) + i,
    )
}

/// Row (in K) and column (in N) in B of element `i` of register `r`.
pub fn b_position(e: Elem, lane: u32, r: u32, i: u32) -> (u32, u32) {
    let n = per_register(e);
    ((lane % 4) * n + 4 * n * r + i, lane / 4)
}

/// Row and column in C and D of accumulator `i` (one of 4 in a 16 x 8 tile).
pub fn c_position(lane: u32, i: u32) -> (u32, u32) {
    (lane / 4 + 8 * (i >> 1), (lane % 4) * 2 + (i & 1))
}

impl BlockRun<'_> {
    /// `D = A * B + C` (PTX ISA, "Multiply-and-Accumulate Instruction: mma"). Products and their sum are
    /// taken in double and rounded once; PTX asks for at least single precision.
    pub fn mma(&mut self, warp: &mut Warp, m: &Mma, mask: u32) {
        let k = m.k as usize;
        let (mut a, mut b) = ([[0f64; 32]; 16], [[0f64; 32]; 8]);
        for lane in 0..32 {
            for (r, slot) in m.a_regs.iter().enumerate() {
                let v = warp.get(*slot, lane);
                for i in 0..per_register(m.a) {
                    let (row, col) = a_position(m.a, lane as u32, r as u32, i);
                    a[row as usize][col as usize] = element(m.a, v, i);
                }
            }
            for (r, slot) in m.b_regs.iter().enumerate() {
                let v = warp.get(*slot, lane);
                for i in 0..per_register(m.b) {
                    let (row, col) = b_position(m.b, lane as u32, r as u32, i);
                    b[col as usize][row as usize] = element(m.b, v, i);
                }
            }
        }
        self.counts.matrix_fmas += u64::from(m.m * m.n * m.k);
        for lane in bits(mask) {
            let mut d = [0f64; 4];
            for (i, d) in d.iter_mut().enumerate() {
                let (row, col) = c_position(lane as u32, i as u32);
                let c = match m.c {
                    Elem::F16 => element(Elem::F16, warp.get(m.c_regs[i / 2], lane), i as u32 & 1),
                    c => element(c, warp.get(m.c_regs[i], lane), 0),
                };
                let (ra, rb) = (&a[row as usize][..k], &b[col as usize][..k]);
                *d = ra.iter().zip(rb).map(|(x, y)| x * y).sum::<f64>() + c;
            }
            match m.c {
                Elem::F16 => {
                    for r in 0..2 {
                        let half = |v: f64| F16.round(Exact::of(v), RN);
                        warp.set(m.dst[r], lane, half(d[2 * r]) | half(d[2 * r + 1]) << 16);
                    }
                }
                Elem::S32 => {
                    (0..4).for_each(|i| warp.set(m.dst[i], lane, u64::from(d[i] as i64 as u32)))
                }
                _ => (0..4).for_each(|i| warp.set(m.dst[i], lane, (d[i] as f32).bits())),
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables of the PTX ISA, section "Matrix Fragments for mma.m16n8k16 with floating point type":
    /// row = group for a0 a1 a4 a5, group + 8 otherwise; column = 2 * place + (i & 1), + 8 from a4 on.
    #[test]
    fn fragments_of_m16n8k16_follow_the_documented_rule() {
        for lane in 0..32 {
            let (group, place) = (lane >> 2, lane % 4);
            for i in 0..8u32 {
                let row = if i < 2 || (4..6).contains(&i) {
                    group
                } else {
                    group + 8
                };
                let col = place * 2 + (i & 1) + if i >= 4 { 8 } else { 0 };
                assert_eq!(a_position(Elem::Bf16, lane, i / 2, i % 2), (row, col));
            }
            for i in 0..4u32 {
                let row = place * 2 + (i & 1) + if i >= 2 { 8 } else { 0 };
                assert_eq!(b_position(Elem::F16, lane, i / 2, i % 2), (row, group));
                let row = if i < 2 { group } else { group + 8 };
                assert_eq!(c_position(lane, i), (row, place * 2 + (i & 1)));
            }
        }
    }

    /// Section "Matrix Fragments for mma.m16n8k8", `.tf32`: a0 a2 in row `group`, a1 a3 in `group + 8`;
    /// a0 a1 in column `place`, a2 a3 in `place + 4`. The f16 fragments: a0 a1, then a2 a3 below.
    #[test]
    fn fragments_of_m16n8k8_follow_the_documented_rule() {
        for lane in 0..32 {
            let (group, place) = (lane >> 2, lane % 4);
            let table = [
                (group, place),
                (group + 8, place),
                (group, place + 4),
                (group + 8, place + 4),
            ];
            for (r, want) in table.into_iter().enumerate() {
                assert_eq!(a_position(Elem::Tf32, lane, r as u32, 0), want);
            }
            assert_eq!(b_position(Elem::Tf32, lane, 1, 0), (place + 4, group));
            for i in 0..4 {
                let row = if i < 2 { group } else { group + 8 };
                assert_eq!(
                    a_position(Elem::F16, lane, i / 2, i % 2),
                    (row, place * 2 + (i & 1))
                );
            }
        }
    }
}
