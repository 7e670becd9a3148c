//! Exponentials, and what is made of them.

use super::{Accuracy, LOG2_E, LOG2_E_LOW, MAGIC, ex2, polynomial, rcp, with_sign};
use crate::emit::{Emit, Val};
use std::f32::consts::LN_2;

/// ln 2 in two parts. The first has few bits, so that its product with a small integer is exact.
pub(super) const LN2_HI: f32 = 0.693_359_4;
pub(super) const LN2_LO: f32 = -2.121_944_4e-4;

pub(super) fn exp(e: &mut Emit, accuracy: Accuracy, x: Val) -> Val {
    let log2e = e.f32(LOG2_E);
    let t = e.fmul(x, log2e);
    if accuracy == Accuracy::Fast {
        return ex2(e, t);
    }
    // What the product lost by rounding, and by rounding log2(e).
    let minus = e.fneg(t);
    let lost = e.fma(x, log2e, minus);
    let low = e.f32(LOG2_E_LOW);
    let lost = e.fma(x, low, lost);
    ex2_of_sum(e, t, lost)
}

/// 2^(high + low) for a `low` far below 1. Where `high` is infinite, `low` may be anything.
pub(super) fn ex2_of_sum(e: &mut Emit, high: Val, low: Val) -> Val {
    let (ln2, one, two) = (e.f32(LN_2), e.f32(1.0), e.f32(2.0));
    let factor = e.fma(low, ln2, one);
    // Close to 1 wherever it matters. At the ends it must only be positive and finite: this minimum
    // prefers a number to NaN.
    let factor = e.fabs(factor);
    let factor = e.fmin(factor, two);
    let power = ex2(e, high);
    e.fmul(power, factor)
}

pub(super) fn expm1(e: &mut Emit, accuracy: Accuracy, x: Val) -> Val {
    match accuracy {
        Accuracy::Full => expm1_full(e, x),
        Accuracy::Fast => expm1_fast(e, x),
    }
}

/// With x = n ln 2 + f, |f| <= ln 2 / 2: 2 (2^(n-1) (exp(f) - 1) + (2^(n-1) - 1/2)).
fn expm1_full(e: &mut Emit, x: Val) -> Val {
    // Further out the result is -1 or infinity. NaN stays.
    let (lowest, highest) = (e.f32(-87.336_54), e.f32(88.8));
    let inside = e.fmax_nan(x, lowest);
    let inside = e.fmin_nan(inside, highest);
    // n - 1 with the bias of an exponent lies in the low bits of t.
    let (log2e, magic) = (e.f32(LOG2_E), e.f32(MAGIC + 126.0));
    let t = e.fma(inside, log2e, magic);
    let n = e.fsub_exact(t, magic);
    let (hi, lo) = (e.f32(-LN2_HI), e.f32(-LN2_LO));
    let f = e.fma(n, hi, inside);
    let f = e.fma(n, lo, f);
    let bits = e.bits(t);
    let bits = e.shl(bits, 23);
    let scale = e.float_of(bits);
    let p = polynomial(
        e,
        f,
        &[
            0.499_999_94,
            0.166_665_15,
            0.041_668_23,
            0.008_369_384,
            0.001_382_544_5,
        ],
    );
    let square = e.fmul(f, f);
    let p = e.fma(p, square, f);
    let half = e.f32(-0.5);
    let rest = e.fadd_exact(scale, half);
    let v = e.fma(p, scale, rest);
    let v = e.fadd_exact(v, v);
    let zero = e.f32(0.0);
    let is_zero = e.fcmp("oeq", x, zero);
    e.select(is_zero, x, v)
}

/// A polynomial near 0, a difference further out.
fn expm1_fast(e: &mut Emit, x: Val) -> Val {
    let p = polynomial(
        e,
        x,
        &[
            0.999_999_5,
            0.499_973_15,
            0.166_678_23,
            0.042_100_35,
            0.008_333_424,
        ],
    );
    let near = e.fmul(p, x);
    let power = exp(e, Accuracy::Fast, x);
    let minus = e.f32(-1.0);
    let far = e.fadd(power, minus);
    nearer_than(e, 0.5, x, near, far)
}

/// `near` where |x| is below the limit, else `far`.
pub(super) fn nearer_than(e: &mut Emit, limit: f32, x: Val, near: Val, far: Val) -> Val {
    let size = e.fabs(x);
    let limit = e.f32(limit);
    let is_near = e.fcmp("olt", size, limit);
    e.select(is_near, near, far)
}

/// An odd polynomial near 0, 1 - 2 / (exp(2|x|) + 1) further out.
pub(super) fn tanh(e: &mut Emit, accuracy: Accuracy, x: Val) -> Val {
    let (limit, coefficients): (f32, &[f32]) = match accuracy {
        Accuracy::Full => (
            0.65,
            &[
                -0.333_332_6,
                0.133_308_29,
                -0.053_687_92,
                0.020_469_1,
                -0.005_514_837,
            ],
        ),
        Accuracy::Fast => (0.3, &[-0.333_101_48, 0.126_350_64]),
    };
    let square = e.fmul(x, x);
    let p = polynomial(e, square, coefficients);
    let p = e.fmul(p, square);
    let near = e.fma(p, x, x);
    // Rounding the exponent matters less the larger it is, for 1 takes over.
    let (scale, one, two) = (e.f32(2.0 * LOG2_E), e.f32(1.0), e.f32(-2.0));
    let size = e.fabs(x);
    let t = e.fmul(size, scale);
    let power = ex2(e, t);
    let below = e.fadd(power, one);
    let part = rcp(e, below);
    let far = e.fma(part, two, one);
    let far = with_sign(e, far, x);
    nearer_than(e, limit, x, near, far)
}

/// 1 / (1 + exp(-x)).
pub(super) fn sigmoid(e: &mut Emit, accuracy: Accuracy, x: Val) -> Val {
    let minus = e.fneg(x);
    let power = exp(e, accuracy, minus);
    let one = e.f32(1.0);
    let below = e.fadd(power, one);
    rcp(e, below)
}
