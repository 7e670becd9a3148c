//! Logarithms, and what is made of them.

use super::exponential::{LN2_HI, LN2_LO, exp, nearer_than};
use super::{Accuracy, LOG2_E, MAGIC, lg2, polynomial, rcp};
use crate::emit::{Emit, Val};
use std::f32::consts::LN_2;

pub(super) fn log(e: &mut Emit, accuracy: Accuracy, x: Val) -> Val {
    if accuracy == Accuracy::Fast {
        let (v, ln2) = (lg2(e, x), e.f32(LN_2));
        return e.fmul(v, ln2);
    }
    let (x, offset) = raise_subnormal(e, x, MAGIC);
    let (m, n) = split(e, x, offset);
    let v = log_of_parts(e, m, n);
    or_limit(e, x, v)
}

pub(super) fn log2(e: &mut Emit, accuracy: Accuracy, x: Val) -> Val {
    if accuracy == Accuracy::Fast {
        return lg2(e, x);
    }
    let (x, offset) = raise_subnormal(e, x, MAGIC);
    let (m, n) = split(e, x, offset);
    let (f, r) = log_near_one(e, m);
    let v = e.fadd(f, r);
    let log2e = e.f32(LOG2_E);
    let v = e.fma(v, log2e, n);
    or_limit(e, x, v)
}

/// `v` at positive finite arguments; elsewhere what the hardware says, which is -inf, inf or NaN there.
pub(super) fn or_limit(e: &mut Emit, x: Val, v: Val) -> Val {
    let rough = lg2(e, x);
    let (zero, infinity) = (e.f32(0.0), e.f32(f32::INFINITY));
    let positive = e.fcmp("ogt", x, zero);
    let finite = e.fcmp("olt", x, infinity);
    let usual = e.and(positive, finite);
    e.select(usual, v, rough)
}

/// (x 2^24, k + 24) for what may be subnormal, else (x, k).
pub(super) fn raise_subnormal(e: &mut Emit, x: Val, k: f32) -> (Val, Val) {
    let (smallest, up) = (e.f32(f32::MIN_POSITIVE), e.f32(16_777_216.0));
    let (k, raised) = (e.f32(k), e.f32(k + 24.0));
    let small = e.fcmp("olt", x, smallest);
    let scaled = e.fmul(x, up);
    (e.select(small, scaled, x), e.select(small, raised, k))
}

/// (m, n - k) with x = m 2^n and sqrt(1/2) <= m < sqrt(2), for a normal positive x and `offset` = MAGIC + k.
pub(super) fn split(e: &mut Emit, x: Val, offset: Val) -> (Val, Val) {
    let bits = e.bits(x);
    let root = e.i32(0x3f35_04f3);
    let above = e.sub(bits, root);
    let mask = e.i32(!0x007f_ffff);
    let shifted = e.bit_and(above, mask);
    let m = e.sub(bits, shifted);
    // n as a number, by adding it to the bits of one whose last place is 1.
    let unit = e.i32(1 << 23);
    let n = e.div(above, unit);
    let base = e.i32(MAGIC.to_bits() as i32);
    let n = e.add(n, base);
    let n = e.float_of(n);
    let n = e.fsub_exact(n, offset);
    (e.float_of(m), n)
}

/// (f, r) with log(1 + f) = f + r, for f = m - 1.
fn log_near_one(e: &mut Emit, m: Val) -> (Val, Val) {
    let minus = e.f32(-1.0);
    let f = e.fadd_exact(m, minus);
    let p = polynomial(
        e,
        f,
        &[
            -0.5,
            0.333_333_13,
            -0.250_000_12,
            0.200_020_73,
            -0.166_678_55,
            0.142_202_33,
            -0.124_081_97,
            0.118_862_04,
            -0.116_606_61,
            0.067_330_11,
        ],
    );
    let square = e.fmul(f, f);
    (f, e.fmul(p, square))
}

/// log(m) + n log(2).
fn log_of_parts(e: &mut Emit, m: Val, n: Val) -> Val {
    let (f, r) = log_near_one(e, m);
    let (lo, hi) = (e.f32(LN2_LO), e.f32(LN2_HI));
    let v = e.fma(n, lo, r);
    let v = e.fadd_exact(v, f);
    e.fma(n, hi, v)
}

pub(super) fn log1p(e: &mut Emit, accuracy: Accuracy, x: Val) -> Val {
    match accuracy {
        Accuracy::Full => log1p_full(e, x),
        Accuracy::Fast => log1p_fast(e, x),
    }
}

/// log(u) + (x - (u - 1)) / u with u = 1 + x: the second term undoes the rounding of u.
fn log1p_full(e: &mut Emit, x: Val) -> Val {
    let (one, minus) = (e.f32(1.0), e.f32(-1.0));
    let u = e.fadd_exact(x, one);
    let back = e.fadd_exact(u, minus);
    let lost = e.fsub_exact(x, back);
    let part = rcp(e, u);
    let correction = e.fmul(lost, part);
    // It is far smaller than 1, or NaN at the ends, where this maximum makes it a number that changes
    // no infinity.
    let correction = e.fmax(correction, minus);
    let offset = e.f32(MAGIC);
    let (m, n) = split(e, u, offset);
    let v = log_of_parts(e, m, n);
    let v = or_limit(e, u, v);
    let v = e.fadd_exact(v, correction);
    let zero = e.f32(0.0);
    let is_zero = e.fcmp("oeq", x, zero);
    e.select(is_zero, x, v)
}

/// A polynomial near 0, the logarithm of the sum further out.
fn log1p_fast(e: &mut Emit, x: Val) -> Val {
    let p = polynomial(
        e,
        x,
        &[
            1.000_001,
            -0.499_782_47,
            0.333_022_98,
            -0.263_694,
            0.213_739_72,
        ],
    );
    let near = e.fmul(p, x);
    let one = e.f32(1.0);
    let u = e.fadd(x, one);
    let far = log(e, Accuracy::Fast, u);
    nearer_than(e, 0.25, x, near, far)
}

/// log(1 + exp(-|x|)): the exponential is between 0 and 1, where a polynomial will do.
pub(super) fn log1p_exp_neg_abs(e: &mut Emit, accuracy: Accuracy, x: Val) -> Val {
    let size = e.fabs(x);
    let minus = e.fneg(size);
    let power = exp(e, accuracy, minus);
    let coefficients: &[f32] = match accuracy {
        Accuracy::Full => &[
            1.0,
            -0.499_999_3,
            0.333_304_7,
            -0.249_581_56,
            0.196_931_93,
            -0.153_490_98,
            0.106_700_13,
            -0.057_561_528,
            0.020_150_334,
            -0.003_306_539_5,
        ],
        Accuracy::Fast => &[
            0.999_991_6,
            -0.499_361_25,
            0.325_205_65,
            -0.210_045_59,
            0.101_218_49,
            -0.023_867_536,
        ],
    };
    let p = polynomial(e, power, coefficients);
    e.fmul(p, power)
}
