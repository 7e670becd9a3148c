//! Operands: values at the edges of a type, and random ones.

use super::cases::FloatFormat;
use crate::numeric::half_precision::{IsBf16, IsF16, value};
use crate::syntax::ast::Ty;

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
pub struct Random(u64);

impl Random {
    /// A stream of its own for each name.
    pub fn new(seed: u64, name: &str) -> Random {
        let mix = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3);
        Random(name.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, mix))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// A multiple of 1/4 in [-2, 2), so that sums of products are exact.
    pub fn quarter(&mut self) -> f32 {
        (self.below(16) as f32 - 8.0) / 4.0
    }
}

/// Which values an operand takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Domain {
    /// All kinds of bits of the type.
    Any,
    /// Not zero.
    NonZero,
    /// Integers below the number.
    Below(u64),
    /// Floats in a range.
    Within(f64, f64),
}

/// `n` operands of a type in a domain. Every pair of the type's edge values occurs among the first ones of
/// two operands with different `place`.
pub fn operands(random: &mut Random, ty: Ty, domain: Domain, place: usize, n: usize) -> Vec<u64> {
    let edges = edges(ty);
    (0..n)
        .map(|i| match domain {
            Domain::Below(limit) => random.below(limit),
            Domain::Within(low, high) => {
                let unit = random.next() as f64 / u64::MAX as f64;
                from_f64(ty, low + unit * (high - low))
            }
            Domain::NonZero => any(random, ty, &edges, place, i).max(1),
            Domain::Any => any(random, ty, &edges, place, i),
        })
        .collect()
}

fn any(random: &mut Random, ty: Ty, edges: &[u64], place: usize, i: usize) -> u64 {
    if i < edges.len() * edges.len() && i % 4 != 3 {
        let digit = if place.is_multiple_of(2) {
            i
        } else {
            i / edges.len()
        };
        return edges[digit % edges.len()];
    }
    let bits = random.next() & mask(ty.bits());
    if ty.float() && i.is_multiple_of(2) {
        // Magnitudes near 1, where rounding shows; random bits are mostly far apart.
        return near_one(random, ty);
    }
    bits
}

fn near_one(random: &mut Random, ty: Ty) -> u64 {
    let mut one = |fields: (u32, u32)| {
        let (exponent, mantissa) = fields;
        let bias = (1u64 << (exponent - 1)) - 1;
        let field = bias - 4 + random.below(9);
        let fraction = random.below(1 << mantissa);
        random.below(2) << (exponent + mantissa) | field << mantissa | fraction
    };
    match ty {
        Ty::F16 => one((5, 10)),
        Ty::Bf16 => one((8, 7)),
        Ty::F16x2 => one((5, 10)) | one((5, 10)) << 16,
        Ty::Bf16x2 => one((8, 7)) | one((8, 7)) << 16,
        Ty::F64 => one((11, 52)),
        _ => one((8, 23)),
    }
}

/// Zeros, ones, infinities, NaN, the ends of the normal range, subnormals; for integers the ends of the
/// signed and unsigned ranges.
fn edges(ty: Ty) -> Vec<u64> {
    let float = |e: u32, m: u32| -> Vec<u64> {
        let (one, inf, sign) = (
            ((1u64 << (e - 1)) - 1) << m,
            ((1u64 << e) - 1) << m,
            1u64 << (e + m),
        );
        let positive = [
            0,
            1,
            (1 << m) - 1,
            1 << m,
            one,
            one + 1,
            inf - 1,
            inf,
            inf + 1,
        ];
        positive
            .iter()
            .flat_map(|v| [*v, *v | sign])
            .take(17)
            .collect()
    };
    let pairs = |halves: Vec<u64>| -> Vec<u64> {
        let n = halves.len();
        (0..n)
            .map(|i| halves[i] | halves[(i * 5 + 3) % n] << 16)
            .collect()
    };
    match ty {
        Ty::F16 => float(5, 10),
        Ty::Bf16 => float(8, 7),
        Ty::F16x2 => pairs(float(5, 10)),
        Ty::Bf16x2 => pairs(float(8, 7)),
        Ty::F32 | Ty::Tf32 => float(8, 23),
        Ty::F64 => float(11, 52),
        Ty::Pred => vec![0, 1],
        _ => {
            let (top, all) = (1u64 << (ty.bits() - 1), mask(ty.bits()));
            vec![0, 1, 2, 31, 33, 0x5a, top - 1, top, top + 1, all - 1, all]
        }
    }
}

fn from_f64(ty: Ty, v: f64) -> u64 {
    use crate::numeric::half_precision::{bf16_of, f16_of};
    let (h, b) = (u64::from(f16_of(v as f32)), u64::from(bf16_of(v as f32)));
    match ty {
        Ty::F64 => v.to_bits(),
        Ty::F16 => h,
        Ty::Bf16 => b,
        Ty::F16x2 => h | h << 16,
        Ty::Bf16x2 => b | b << 16,
        _ => u64::from((v as f32).to_bits()),
    }
}

pub fn mask(bits: u32) -> u64 {
    crate::numeric::convert::mask(bits)
}

/// `bits` bits at a byte offset.
pub fn bits_of(bytes: &[u8], at: usize, bits: u32) -> u64 {
    let n = (bits as usize).div_ceil(8);
    let mut word = [0; 8];
    if let Some(from) = bytes.get(at..at + n) {
        word[..n].copy_from_slice(from);
    }
    u64::from_le_bytes(word) & mask(bits)
}

impl FloatFormat {
    pub fn of(ty: Ty) -> Option<FloatFormat> {
        Some(match ty {
            Ty::F16 => FloatFormat::F16,
            Ty::Bf16 => FloatFormat::Bf16,
            Ty::F16x2 => FloatFormat::F16x2,
            Ty::Bf16x2 => FloatFormat::Bf16x2,
            Ty::F32 | Ty::Tf32 => FloatFormat::F32,
            Ty::F64 => FloatFormat::F64,
            _ => return None,
        })
    }

    /// The format of one half of a packed pair.
    pub fn half(self) -> Option<FloatFormat> {
        match self {
            FloatFormat::F16x2 => Some(FloatFormat::F16),
            FloatFormat::Bf16x2 => Some(FloatFormat::Bf16),
            _ => None,
        }
    }

    pub fn value(self, bits: u64) -> f64 {
        match self {
            FloatFormat::F16 | FloatFormat::F16x2 => value::<IsF16>(bits as u16),
            FloatFormat::Bf16 | FloatFormat::Bf16x2 => value::<IsBf16>(bits as u16),
            FloatFormat::F32 => f64::from(f32::from_bits(bits as u32)),
            FloatFormat::F64 => f64::from_bits(bits),
        }
    }
}

/// A unit in the last place of a value of the format.
pub fn ulp(format: FloatFormat, v: f64) -> f64 {
    let (mantissa, least) = match format {
        FloatFormat::F16 | FloatFormat::F16x2 => (10, -14),
        FloatFormat::Bf16 | FloatFormat::Bf16x2 => (7, -126),
        FloatFormat::F32 => (23, -126),
        FloatFormat::F64 => (52, -1022),
    };
    if !v.is_finite() {
        return 0.0;
    }
    let exponent = if v == 0.0 {
        least
    } else {
        (v.abs().log2().floor() as i32).max(least)
    };
    2f64.powi(exponent - mantissa)
}
