//! `.f16`, `.bf16` and their packed pairs (PTX ISA, "Half Precision Floating Point Instructions").

use super::approximate;
use super::round::{BF16, Exact, F16, Format, RN};

/// One of the two 16-bit formats, as a type parameter of the scalar formulas.
pub trait Half {
    const FORMAT: Format;
}
pub struct IsF16;
pub struct IsBf16;
impl Half for IsF16 {
    const FORMAT: Format = F16;
}
impl Half for IsBf16 {
    const FORMAT: Format = BF16;
}

#[inline(always)]
pub fn value<H: Half>(bits: u16) -> f64 {
    if H::FORMAT.exponent == 8 {
        f64::from(f32::from_bits(u32::from(bits) << 16))
    } else {
        f64::from(f16_value(bits))
    }
}

/// The value of f16 bits, by a formula that vectorises: the fields are moved into place in an f32, whose
/// exponent is then too small by 112; the product is exact, also for subnormals.
#[inline(always)]
pub fn f16_value(bits: u16) -> f32 {
    let magnitude = u32::from(bits & 0x7fff);
    let scaled = f32::from_bits(magnitude << 13) * f32::from_bits((127 + 112) << 23);
    // Infinities and NaN keep their largest exponent.
    let special = if magnitude >= 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(scaled.to_bits() | special | u32::from(bits & 0x8000) << 16)
}

/// f32 to bf16 to nearest, by a formula that vectorises: half of the last kept place is added, less one bit
/// where that place is even.
#[inline(always)]
pub fn bf16_of(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    if x.is_nan() { 0x7fff } else { rounded as u16 }
}

/// f32 to f16 to nearest, likewise. Results below the normal range are rounded by adding 1/2, whose last
/// place is that of the subnormals.
#[inline(always)]
pub fn f16_of(x: f32) -> u16 {
    let magnitude = x.to_bits() & 0x7fff_ffff;
    let sign = (x.to_bits() >> 16 & 0x8000) as u16;
    let normal = magnitude
        .wrapping_add(0xfff + (magnitude >> 13 & 1))
        .wrapping_sub(112 << 23)
        >> 13;
    let small = (f32::from_bits(magnitude) + 0.5)
        .to_bits()
        .wrapping_sub(0.5f32.to_bits());
    let rounded = if magnitude < (127 - 14) << 23 {
        small
    } else {
        normal
    };
    // From 65520 on the nearest is infinity.
    let rounded = if magnitude >= 0x477f_f000 {
        0x7c00
    } else {
        rounded as u16
    };
    if x.is_nan() { 0x7fff } else { rounded | sign }
}

fn rounded<H: Half>(x: Exact) -> u16 {
    H::FORMAT.round(x, RN) as u16
}

/// `.ftz`: subnormals become zeros of their sign.
pub fn flush<H: Half>(bits: u16) -> u16 {
    let f = H::FORMAT;
    if u64::from(bits) & f.infinity() == 0 {
        bits & f.sign() as u16
    } else {
        bits
    }
}

/// `.sat`: into [0, 1], NaN to +0.
pub fn saturate<H: Half>(bits: u16) -> u16 {
    let v = value::<H>(bits);
    if v > 1.0 {
        rounded::<H>(Exact::of(1.0))
    } else if v > 0.0 {
        bits
    } else {
        0
    }
}

/// `.relu`: negative results become +0; NaN stays.
pub fn relu<H: Half>(bits: u16) -> u16 {
    if value::<H>(bits) < 0.0 || bits == H::FORMAT.sign() as u16 {
        0
    } else {
        bits
    }
}

/// Sums and products of 16-bit numbers are exact in a double (bf16 sums with a low part).
pub fn add<H: Half>(a: u16, b: u16) -> u16 {
    rounded::<H>(Exact::sum(value::<H>(a), value::<H>(b)))
}

pub fn sub<H: Half>(a: u16, b: u16) -> u16 {
    rounded::<H>(Exact::sum(value::<H>(a), -value::<H>(b)))
}

pub fn mul<H: Half>(a: u16, b: u16) -> u16 {
    rounded::<H>(Exact::of(value::<H>(a) * value::<H>(b)))
}

pub fn fma<H: Half>(a: u16, b: u16, c: u16) -> u16 {
    rounded::<H>(Exact::sum(value::<H>(a) * value::<H>(b), value::<H>(c)))
}

pub fn neg<H: Half>(a: u16) -> u16 {
    a ^ H::FORMAT.sign() as u16
}

pub fn abs<H: Half>(a: u16) -> u16 {
    a & !(H::FORMAT.sign() as u16)
}

fn pick<H: Half>(a: u16, b: u16, nan: bool, first: impl Fn(f64, f64) -> bool) -> u16 {
    let (x, y) = (value::<H>(a), value::<H>(b));
    if x.is_nan() || y.is_nan() {
        let all = nan || (x.is_nan() && y.is_nan());
        return if all {
            H::FORMAT.nan() as u16
        } else if x.is_nan() {
            b
        } else {
            a
        };
    }
    if first(x, y) { a } else { b }
}

pub fn min<H: Half>(a: u16, b: u16, nan: bool) -> u16 {
    pick::<H>(a, b, nan, |x, y| x < y || (x == y && x.is_sign_negative()))
}

pub fn max<H: Half>(a: u16, b: u16, nan: bool) -> u16 {
    pick::<H>(a, b, nan, |x, y| x > y || (x == y && y.is_sign_negative()))
}

pub fn ex2<H: Half>(a: u16) -> u16 {
    rounded::<H>(Exact::of(approximate::exp2(value::<H>(a))))
}

pub fn tanh<H: Half>(a: u16) -> u16 {
    rounded::<H>(Exact::of(approximate::tanh(value::<H>(a))))
}

/// The same formula on both halves of packed registers.
#[inline(always)]
pub fn pair1(a: u32, f: impl Fn(u16) -> u16) -> u32 {
    u32::from(f(a as u16)) | u32::from(f((a >> 16) as u16)) << 16
}

#[inline(always)]
pub fn pair2(a: u32, b: u32, f: impl Fn(u16, u16) -> u16) -> u32 {
    u32::from(f(a as u16, b as u16)) | u32::from(f((a >> 16) as u16, (b >> 16) as u16)) << 16
}

#[inline(always)]
pub fn pair3(a: u32, b: u32, c: u32, f: impl Fn(u16, u16, u16) -> u16) -> u32 {
    let lo = f(a as u16, b as u16, c as u16);
    let hi = f((a >> 16) as u16, (b >> 16) as u16, (c >> 16) as u16);
    u32::from(lo) | u32::from(hi) << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f16_fma_rounds_once() {
        // x = 1 + 3 * 2^-10: its square is 1 + 6 * 2^-10 + 9 * 2^-20. Minus 1, the last term is 2.25
        // places of f16 and leaves 2; a product rounded first would lose it.
        let (x, minus_one) = (0x3c03, 0xbc00);
        let once = value::<IsF16>(fma::<IsF16>(x, x, minus_one));
        assert_eq!(once, 6.0 * 2f64.powi(-10) + 2.0 * 2f64.powi(-18));
        let twice = value::<IsF16>(add::<IsF16>(mul::<IsF16>(x, x), minus_one));
        assert_eq!(twice, 6.0 * 2f64.powi(-10));
    }

    #[test]
    fn f16_values_are_those_of_the_format() {
        for bits in 0..=u16::MAX {
            let (got, want) = (f16_value(bits), F16.value(u64::from(bits)));
            assert!(
                f64::from(got) == want || (got.is_nan() && want.is_nan()),
                "{bits:#x}"
            );
        }
    }

    #[test]
    fn fast_roundings_are_those_of_the_format() {
        for n in 0..=u32::MAX / 1023 {
            let x = f32::from_bits(n * 1023);
            let exact = Exact::of(f64::from(x));
            assert_eq!(u64::from(bf16_of(x)), BF16.round(exact, RN), "{x:e}");
            assert_eq!(u64::from(f16_of(x)), F16.round(exact, RN), "{x:e}");
        }
    }

    #[test]
    fn bf16_sum_of_far_apart_numbers_keeps_the_sticky_part() {
        // 1 + 2^-8 is a tie of bf16 (last place 2^-7); 2^-120 more must push it up.
        let tie = fma::<IsBf16>(0x3f80, 0x3f80, 0x3b80);
        assert_eq!(tie, 0x3f80);
        let above = BF16.round(Exact::sum(1.0 + 2f64.powi(-8), 2f64.powi(-120)), RN);
        assert_eq!(above, 0x3f81);
    }
}
