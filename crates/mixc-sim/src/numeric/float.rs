//! `.f32` and `.f64` arithmetic (PTX ISA, "Floating Point Instructions").

use super::approximate;
use super::round::{Exact, F32, Mode, RN, RZ, round_f64};

const NAN32: f32 = f32::from_bits(0x7fff_ffff);

/// `.ftz`: a subnormal becomes a zero of its sign.
#[inline(always)]
pub fn flush(x: f32) -> f32 {
    if x.is_subnormal() {
        f32::from_bits(x.to_bits() & 0x8000_0000)
    } else {
        x
    }
}

/// `.ftz` and `.sat` on a result, and the canonical NaN. `.sat` turns NaN into +0.
#[inline(always)]
fn finish<const FTZ: bool, const SAT: bool>(r: f32) -> f32 {
    let r = if FTZ { flush(r) } else { r };
    if SAT {
        // `max` first, so that NaN becomes zero.
        return if r > 0.0 { r.min(1.0) } else { 0.0 };
    }
    if r.is_nan() { NAN32 } else { r }
}

#[inline(always)]
fn input<const FTZ: bool>(x: f32) -> f32 {
    if FTZ { flush(x) } else { x }
}

fn round32(x: Exact, mode: Mode) -> f32 {
    f32::from_bits(F32.round(x, mode) as u32)
}

/// An exact zero sum of unlike signs is -0 only when rounding down (IEEE 754, 6.3).
fn zero_sign(a: f64, b: f64, sum: f64, mode: Mode) -> f64 {
    let cancels = sum == 0.0 && (a != 0.0 || a.is_sign_negative() != b.is_sign_negative());
    if cancels && mode == super::round::RM {
        -0.0
    } else {
        sum
    }
}

/// A formula on both halves of 64-bit words.
#[inline(always)]
pub fn pairwise<const N: usize>(words: [u64; N], f: impl Fn([f32; N]) -> f32) -> u64 {
    let half = |shift: u32| f(words.map(|w| f32::from_bits((w >> shift) as u32)));
    u64::from(half(0).to_bits()) | u64::from(half(32).to_bits()) << 32
}

#[inline(always)]
pub fn add<const R: Mode, const FTZ: bool, const SAT: bool>(a: f32, b: f32) -> f32 {
    let (a, b) = (input::<FTZ>(a), input::<FTZ>(b));
    let r = if R == RN {
        a + b
    } else {
        let (a, b) = (f64::from(a), f64::from(b));
        let mut sum = Exact::sum(a, b);
        sum.hi = zero_sign(a, b, sum.hi, R);
        round32(sum, R)
    };
    finish::<FTZ, SAT>(r)
}

#[inline(always)]
pub fn sub<const R: Mode, const FTZ: bool, const SAT: bool>(a: f32, b: f32) -> f32 {
    add::<R, FTZ, SAT>(a, -b)
}

#[inline(always)]
pub fn mul<const R: Mode, const FTZ: bool, const SAT: bool>(a: f32, b: f32) -> f32 {
    let (a, b) = (input::<FTZ>(a), input::<FTZ>(b));
    // The product of two 24-bit numbers is exact in a double.
    let r = if R == RN {
        a * b
    } else {
        round32(Exact::of(f64::from(a) * f64::from(b)), R)
    };
    finish::<FTZ, SAT>(r)
}

#[inline(always)]
pub fn fma<const R: Mode, const FTZ: bool, const SAT: bool>(a: f32, b: f32, c: f32) -> f32 {
    let (a, b, c) = (input::<FTZ>(a), input::<FTZ>(b), input::<FTZ>(c));
    let r = if R == RN {
        a.mul_add(b, c)
    } else {
        let (p, c) = (f64::from(a) * f64::from(b), f64::from(c));
        let mut sum = Exact::sum(p, c);
        sum.hi = zero_sign(p, c, sum.hi, R);
        round32(sum, R)
    };
    finish::<FTZ, SAT>(r)
}

/// Division: the quotient in double with the sign of its remainder decides every direction.
pub fn div<const R: Mode, const FTZ: bool, const SAT: bool>(a: f32, b: f32) -> f32 {
    let (a, b) = (input::<FTZ>(a), input::<FTZ>(b));
    let r = if R == RN {
        a / b
    } else {
        let (a, b) = (f64::from(a), f64::from(b));
        let q = a / b;
        let remainder = (-q).mul_add(b, a);
        let lo = if q.is_finite() && remainder != 0.0 {
            remainder.signum() * b.signum() * f64::MIN_POSITIVE
        } else {
            0.0
        };
        round32(Exact { hi: q, lo }, R)
    };
    finish::<FTZ, SAT>(r)
}

pub fn rcp<const R: Mode, const FTZ: bool, const SAT: bool>(a: f32) -> f32 {
    div::<R, FTZ, SAT>(1.0, a)
}

pub fn sqrt<const R: Mode, const FTZ: bool, const SAT: bool>(a: f32) -> f32 {
    let a = input::<FTZ>(a);
    let r = if R == RN {
        a.sqrt()
    } else {
        let x = f64::from(a);
        let s = x.sqrt();
        let remainder = (-s).mul_add(s, x);
        let lo = if s.is_finite() && remainder != 0.0 {
            remainder.signum() * f64::MIN_POSITIVE
        } else {
            0.0
        };
        round32(Exact { hi: s, lo }, R)
    };
    finish::<FTZ, SAT>(r)
}

/// Functions that PTX only approximates are computed in double and rounded once.
#[inline(always)]
fn approximate<const FTZ: bool>(a: f32, f: impl Fn(f64) -> f64) -> f32 {
    finish::<FTZ, false>(f(f64::from(input::<FTZ>(a))) as f32)
}

#[inline(always)]
pub fn ex2<const FTZ: bool>(a: f32) -> f32 {
    approximate::<FTZ>(a, approximate::exp2)
}

#[inline(always)]
pub fn lg2<const FTZ: bool>(a: f32) -> f32 {
    approximate::<FTZ>(a, approximate::log2)
}

#[inline(always)]
pub fn rsqrt<const FTZ: bool>(a: f32) -> f32 {
    approximate::<FTZ>(a, |x| 1.0 / x.sqrt())
}

#[inline(always)]
pub fn sin<const FTZ: bool>(a: f32) -> f32 {
    approximate::<FTZ>(a, f64::sin)
}

#[inline(always)]
pub fn cos<const FTZ: bool>(a: f32) -> f32 {
    approximate::<FTZ>(a, f64::cos)
}

#[inline(always)]
pub fn tanh(a: f32) -> f32 {
    approximate::<false>(a, approximate::tanh)
}

/// `min` / `max`: a NaN operand loses unless `.NaN`; -0 is less than +0.
#[inline(always)]
pub fn min<const FTZ: bool, const NAN: bool>(a: f32, b: f32) -> f32 {
    let (a, b) = (input::<FTZ>(a), input::<FTZ>(b));
    if a.is_nan() || b.is_nan() {
        return if NAN || (a.is_nan() && b.is_nan()) {
            NAN32
        } else if a.is_nan() {
            b
        } else {
            a
        };
    }
    if a < b || (a == b && a.is_sign_negative()) {
        a
    } else {
        b
    }
}

#[inline(always)]
pub fn max<const FTZ: bool, const NAN: bool>(a: f32, b: f32) -> f32 {
    let (a, b) = (input::<FTZ>(a), input::<FTZ>(b));
    if a.is_nan() || b.is_nan() {
        return if NAN || (a.is_nan() && b.is_nan()) {
            NAN32
        } else if a.is_nan() {
            b
        } else {
            a
        };
    }
    if a > b || (a == b && b.is_sign_negative()) {
        a
    } else {
        b
    }
}

pub fn add64<const R: Mode>(a: f64, b: f64) -> f64 {
    if R == RN {
        return a + b;
    }
    let mut sum = Exact::sum(a, b);
    sum.hi = zero_sign(a, b, sum.hi, R);
    round_f64(overflow(sum, R), R)
}

pub fn sub64<const R: Mode>(a: f64, b: f64) -> f64 {
    add64::<R>(a, -b)
}

pub fn mul64<const R: Mode>(a: f64, b: f64) -> f64 {
    let hi = a * b;
    if R == RN || !hi.is_finite() {
        return hi;
    }
    round_f64(
        overflow(
            Exact {
                hi,
                lo: a.mul_add(b, -hi),
            },
            R,
        ),
        R,
    )
}

/// A finite sum that overflowed to infinity stays finite when rounding towards zero.
fn overflow(x: Exact, mode: Mode) -> Exact {
    if x.hi.is_infinite() && mode == RZ {
        Exact::of(f64::MAX.copysign(x.hi))
    } else {
        x
    }
}

pub fn min64(a: f64, b: f64) -> f64 {
    if a.is_nan() {
        b
    } else if b.is_nan() || a < b || (a == b && a.is_sign_negative()) {
        a
    } else {
        b
    }
}

pub fn max64(a: f64, b: f64) -> f64 {
    if a.is_nan() {
        b
    } else if b.is_nan() || a > b || (a == b && b.is_sign_negative()) {
        a
    } else {
        b
    }
}

/// `rcp.approx.ftz.f64`: of the upper 32 bits only, whose lower half of the result is zero; subnormals
/// count and come out as zeros (PTX ISA, "rcp.approx.ftz.f64").
pub fn gross_rcp64(bits: u64) -> u64 {
    gross64(bits, |x| 1.0 / x)
}

pub fn gross_rsqrt64(bits: u64) -> u64 {
    gross64(bits, |x| 1.0 / x.sqrt())
}

fn gross64(bits: u64, f: impl Fn(f64) -> f64) -> u64 {
    const UPPER: u64 = 0xffff_ffff_0000_0000;
    let flush = |x: f64| {
        if x.is_subnormal() {
            0f64.copysign(x)
        } else {
            x
        }
    };
    let result = flush(f(flush(f64::from_bits(bits & UPPER))));
    if result.is_nan() {
        0x7fff_ffff_0000_0000
    } else {
        result.to_bits() & UPPER
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::round::{RM, RP};

    #[test]
    fn directed_sums_and_products_bracket_the_nearest() {
        let pairs = [
            (1.0f32, 1e-9f32),
            (0.1, 0.2),
            (1e30, -1e-30),
            (-3.3, 1.7e-8),
            (1.5e-39, 2.0),
        ];
        for (a, b) in pairs {
            let exact = f64::from(a) + f64::from(b);
            let (down, up) = (add::<RM, false, false>(a, b), add::<RP, false, false>(a, b));
            assert!(
                f64::from(down) <= exact && exact <= f64::from(up),
                "{a} + {b}"
            );
            assert!(down == up || down.next_up() == up);
            let (down, up) = (mul::<RM, false, false>(a, b), mul::<RP, false, false>(a, b));
            let exact = f64::from(a) * f64::from(b);
            assert!(
                f64::from(down) <= exact && exact <= f64::from(up),
                "{a} * {b}"
            );
        }
    }

    #[test]
    fn division_in_every_direction() {
        let (down, up) = (
            div::<RM, false, false>(1.0, 3.0),
            div::<RP, false, false>(1.0, 3.0),
        );
        assert_eq!(down.next_up(), up);
        assert!(f64::from(down) < 1.0 / 3.0);
        assert_eq!(div::<RP, false, false>(6.0, 3.0), 2.0);
        assert_eq!(div::<RZ, false, false>(-1.0, 3.0), -down);
    }

    #[test]
    fn zero_of_a_cancelled_sum_is_negative_only_when_rounding_down() {
        assert!(add::<RM, false, false>(1.0, -1.0).is_sign_negative());
        assert!(add::<RP, false, false>(1.0, -1.0).is_sign_positive());
        assert!(add::<RN, false, false>(1.0, -1.0).is_sign_positive());
        assert!(add::<RP, false, false>(-0.0, -0.0).is_sign_negative());
    }

    #[test]
    fn flushing_and_saturation() {
        let tiny = f32::from_bits(1);
        assert_eq!(add::<RN, true, false>(tiny, 0.0), 0.0);
        assert!(mul::<RN, true, false>(-1e-30, 1e-12).is_sign_negative());
        assert_eq!(add::<RN, false, true>(3.0, 1.0), 1.0);
        assert_eq!(add::<RN, false, true>(f32::NAN, 1.0).to_bits(), 0);
    }

    #[test]
    fn nan_loses_in_min_unless_asked_for() {
        assert_eq!(min::<false, false>(f32::NAN, 2.0), 2.0);
        assert_eq!(min::<false, true>(f32::NAN, 2.0).to_bits(), 0x7fff_ffff);
        assert!(min::<false, false>(0.0, -0.0).is_sign_negative());
        assert!(max::<false, false>(-0.0, 0.0).is_sign_positive());
    }
}
