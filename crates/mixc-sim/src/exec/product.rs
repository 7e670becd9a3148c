//! Products of the small matrices that a warp's registers hold.
//!
//! Elements are taken as doubles, products are summed in double from the lowest `k` on, and the caller
//! rounds once. Products of all element types here are exact in double, so the fused and the separate
//! multiply-add give the same bits.

use crate::numeric::half_precision::f16_value;
use crate::numeric::{Lanes, simd};
use crate::program::Elem;

/// The largest depth of a warp's product.
pub const DEPTH: usize = 32;
/// 16 rows of A.
pub type Rows = [[f64; DEPTH]; 16];
/// Rows along K of an operand with 8 columns.
pub type Columns = [[f64; 8]; DEPTH];
/// 16 x 8 sums. In row-major order, accumulator `i` of lane `l` is element `64 (i / 2) + 2 l + i % 2`.
pub type Sums = [[f64; 8]; 16];

/// Elements of a type in one 32-bit register.
pub fn per_register(e: Elem) -> usize {
    match e {
        Elem::F16 | Elem::Bf16 => 2,
        Elem::S8 | Elem::U8 => 4,
        _ => 1,
    }
}

/// The value of element `i` of a 32-bit register.
#[inline(always)]
pub fn element(e: Elem, register: u64, i: usize) -> f64 {
    let word = register as u32;
    match e {
        Elem::F16 => f64::from(f16_value((word >> (16 * i)) as u16)),
        Elem::Bf16 => f64::from(f32::from_bits(word >> (16 * i) << 16)),
        // tf32 ignores the low 13 bits of its container.
        Elem::Tf32 => f64::from(f32::from_bits(word & 0xffff_e000)),
        Elem::S8 => f64::from((word >> (8 * i)) as i8),
        Elem::U8 => f64::from((word >> (8 * i)) as u8),
        Elem::S32 => f64::from(word as i32),
        _ => f64::from(f32::from_bits(word)),
    }
}

/// All elements of a register, lane by lane: element `i` of lane `l` at `l * per_register + i`.
#[inline(always)]
fn expand(e: Elem, register: &Lanes, out: &mut [f64; 128]) {
    macro_rules! each {
        ($e:expr, $n:literal) => {
            for (lane, v) in register.iter().enumerate() {
                for i in 0..$n {
                    out[lane * $n + i] = element($e, *v, i);
                }
            }
        };
    }
    match e {
        Elem::F16 => each!(Elem::F16, 2),
        Elem::Bf16 => each!(Elem::Bf16, 2),
        Elem::Tf32 => each!(Elem::Tf32, 1),
        Elem::S8 => each!(Elem::S8, 4),
        Elem::U8 => each!(Elem::U8, 4),
        Elem::S32 => each!(Elem::S32, 1),
        _ => each!(Elem::F32, 1),
    }
}

/// The A operand from its registers (PTX ISA, "Matrix Fragments for mma.m16n8k8" and the sections of the
/// other m16n8 shapes): lane `l` holds parts of row `l / 4` in even registers and of row `l / 4 + 8` in odd
/// ones; the four lanes of a row hold neighbouring elements, and two registers on come the next columns.
#[inline(always)]
fn gather_rows(e: Elem, registers: &[&Lanes]) -> Rows {
    let width = 4 * per_register(e);
    let (mut rows, mut flat) = ([[0.0; DEPTH]; 16], [0.0; 128]);
    for (r, register) in registers.iter().enumerate() {
        expand(e, register, &mut flat);
        let at = width * (r / 2);
        for (group, part) in flat.chunks_exact(width).take(8).enumerate() {
            rows[group + 8 * (r % 2)][at..at + width].copy_from_slice(part);
        }
    }
    rows
}

/// The B operand from its registers: lane `l` holds parts of column `l / 4`.
#[inline(always)]
fn gather_columns(e: Elem, registers: &[&Lanes]) -> Columns {
    let width = 4 * per_register(e);
    let (mut columns, mut flat) = ([[0.0; 8]; DEPTH], [0.0; 128]);
    for (r, register) in registers.iter().enumerate() {
        expand(e, register, &mut flat);
        for (n, part) in flat.chunks_exact(width).take(8).enumerate() {
            for (k, v) in part.iter().enumerate() {
                columns[width * r + k][n] = *v;
            }
        }
    }
    columns
}

/// `sums += A * B` over the first `depth` columns of A.
#[inline(always)]
fn accumulate<const FUSED: bool>(a: &Rows, b: &Columns, depth: usize, sums: &mut Sums) {
    for (rows, sums) in a.chunks_exact(4).zip(sums.chunks_exact_mut(4)) {
        let mut s = [[0.0; 8]; 4];
        for k in 0..depth.min(DEPTH) {
            for row in 0..4 {
                for n in 0..8 {
                    let (x, y) = (rows[row][k], b[k][n]);
                    s[row][n] = if FUSED {
                        x.mul_add(y, s[row][n])
                    } else {
                        x * y + s[row][n]
                    };
                }
            }
        }
        for row in 0..4 {
            for n in 0..8 {
                sums[row][n] += s[row][n];
            }
        }
    }
}

#[inline(always)]
fn of_registers_in<const FUSED: bool>(
    e: (Elem, Elem),
    depth: usize,
    a: &[&Lanes],
    b: &[&Lanes],
) -> Sums {
    let mut sums = [[0.0; 8]; 16];
    let (a, b) = (gather_rows(e.0, a), gather_columns(e.1, b));
    accumulate::<FUSED>(&a, &b, depth, &mut sums);
    sums
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn of_registers_wide(e: (Elem, Elem), depth: usize, a: &[&Lanes], b: &[&Lanes]) -> Sums {
    of_registers_in::<true>(e, depth, a, b)
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn accumulate_wide(a: &Rows, b: &Columns, depth: usize, sums: &mut Sums) {
    accumulate::<true>(a, b, depth, sums);
}

/// The product of operands in registers of element types `e`, over `depth` columns of A.
pub fn of_registers(e: (Elem, Elem), depth: usize, a: &[&Lanes], b: &[&Lanes]) -> Sums {
    if simd::wide() {
        // SAFETY: `wide` has found the processor's features.
        unsafe { of_registers_wide(e, depth, a, b) }
    } else {
        of_registers_in::<false>(e, depth, a, b)
    }
}

/// The product of operands that the caller has gathered, over `depth` columns of A.
pub fn of_matrices(a: &Rows, b: &Columns, depth: usize) -> Sums {
    let mut sums = [[0.0; 8]; 16];
    if simd::wide() {
        // SAFETY: `wide` has found the processor's features.
        unsafe { accumulate_wide(a, b, depth, &mut sums) }
    } else {
        accumulate::<false>(a, b, depth, &mut sums);
    }
    sums
}

/// The A operand of element type `e` in registers, as rows.
pub fn rows_of_registers(e: Elem, registers: &[&Lanes]) -> Rows {
    gather_rows(e, registers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Registers whose elements are numbered `100 r + 3 lane + i`, in a type that holds the numbers.
    fn numbered(e: Elem, count: usize) -> Vec<Lanes> {
        let number = |r: usize, lane: usize, i: usize| (100 * r + 3 * lane + i) as f32;
        let register = |r: usize| {
            std::array::from_fn(|lane| match e {
                Elem::F16 => {
                    let bits = |i| u64::from(half::f16::from_f32(number(r, lane, i)).to_bits());
                    bits(0) | bits(1) << 16
                }
                _ => u64::from(number(r, lane, 0).to_bits()),
            })
        };
        (0..count).map(register).collect()
    }

    /// The tables of the PTX ISA, section "Matrix Fragments for mma.m16n8k16 with floating point type":
    /// row = group for a0 a1 a4 a5, group + 8 otherwise; column = 2 * place + (i & 1), + 8 from a4 on.
    #[test]
    fn fragments_of_m16n8k16_follow_the_documented_rule() {
        let registers = numbered(Elem::F16, 4);
        let rows = gather_rows(Elem::F16, &registers.iter().collect::<Vec<_>>());
        let columns = gather_columns(Elem::F16, &registers[..2].iter().collect::<Vec<_>>());
        for lane in 0..32 {
            let (group, place) = (lane >> 2, lane % 4);
            for i in 0..8 {
                let value = (100 * (i / 2) + 3 * lane + i % 2) as f64;
                let row = if i < 2 || (4..6).contains(&i) {
                    group
                } else {
                    group + 8
                };
                let col = place * 2 + (i & 1) + if i >= 4 { 8 } else { 0 };
                assert_eq!(rows[row][col], value);
                if i < 4 {
                    let row = place * 2 + (i & 1) + if i >= 2 { 8 } else { 0 };
                    assert_eq!(columns[row][group], value);
                }
            }
        }
    }

    /// Section "Matrix Fragments for mma.m16n8k8", `.tf32`: a0 a2 in row `group`, a1 a3 in `group + 8`;
    /// a0 a1 in column `place`, a2 a3 in `place + 4`. The f16 fragments: a0 a1, then a2 a3 below.
    #[test]
    fn fragments_of_m16n8k8_follow_the_documented_rule() {
        let tf32 = numbered(Elem::Tf32, 4);
        let f16 = numbered(Elem::F16, 2);
        let rows = gather_rows(Elem::Tf32, &tf32.iter().collect::<Vec<_>>());
        let columns = gather_columns(Elem::Tf32, &tf32[..2].iter().collect::<Vec<_>>());
        let halves = gather_rows(Elem::F16, &f16.iter().collect::<Vec<_>>());
        for lane in 0..32 {
            let (group, place) = (lane >> 2, lane % 4);
            let table = [
                (group, place),
                (group + 8, place),
                (group, place + 4),
                (group + 8, place + 4),
            ];
            for (r, (row, col)) in table.into_iter().enumerate() {
                assert_eq!(rows[row][col], (100 * r + 3 * lane) as f64);
            }
            assert_eq!(columns[place + 4][group], (100 + 3 * lane) as f64);
            for i in 0..4 {
                let row = if i < 2 { group } else { group + 8 };
                let value = (100 * (i / 2) + 3 * lane + i % 2) as f64;
                assert_eq!(halves[row][place * 2 + (i & 1)], value);
            }
        }
    }

    #[test]
    fn both_versions_give_the_same_bits() {
        let registers: Vec<Lanes> = (0..6u64)
            .map(|r| {
                std::array::from_fn(|l| (r * 32 + l as u64).wrapping_mul(0x9e37_79b9) & 0xffff_ffff)
            })
            .collect();
        let all: Vec<&Lanes> = registers.iter().collect();
        for e in [Elem::Tf32, Elem::S8] {
            let depth = 8 * per_register(e);
            let narrow = of_registers_in::<false>((e, e), depth, &all[..4], &all[4..]);
            let best = of_registers((e, e), depth, &all[..4], &all[4..]);
            assert_eq!(
                narrow.map(|r| r.map(f64::to_bits)),
                best.map(|r| r.map(f64::to_bits))
            );
        }
    }
}
