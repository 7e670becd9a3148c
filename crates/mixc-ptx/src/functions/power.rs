//! x^y = 2^(y log2 |x|), with the exponent in two parts.

use super::exponential::ex2_of_sum;
use super::logarithm::{or_limit, raise_subnormal, split};
use super::{Accuracy, MAGIC, ex2, floor, lg2, polynomial, rcp};
use crate::emit::{Emit, Val};

/// 2 / ln 2 in two parts.
const SCALE: [f32; 2] = [2.885_39, 3.851_926e-8];

pub(super) fn pow(e: &mut Emit, accuracy: Accuracy, x: Val, y: Val) -> Val {
    let size = e.fabs(x);
    let v = match accuracy {
        Accuracy::Fast => {
            let log = lg2(e, size);
            let t = e.fmul(y, log);
            ex2(e, t)
        }
        Accuracy::Full => {
            let (high, low) = log2_in_two_parts(e, size);
            let t = e.fmul(y, high);
            let minus = e.fneg(t);
            let lost = e.fma(y, high, minus);
            let lost = e.fma(y, low, lost);
            ex2_of_sum(e, t, lost)
        }
    };
    limits(e, x, y, v)
}

/// log2(x) for x >= 0 as the sum of a number and a much smaller one, to about 2^-31 of its value.
/// x = m 2^n; log2(m) = 2/ln 2 atanh(s) with s = (m - 1) / (m + 1), and atanh(s) = s + s^3 p(s^2).
fn log2_in_two_parts(e: &mut Emit, x: Val) -> (Val, Val) {
    let (x, offset) = raise_subnormal(e, x, MAGIC);
    let (m, n) = split(e, x, offset);
    let (one, minus) = (e.f32(1.0), e.f32(-1.0));
    let (s, s_low) = {
        let above = e.fadd_exact(m, minus);
        let below = e.fadd_exact(m, one);
        let back = e.fadd_exact(below, minus);
        let below_low = e.fsub_exact(m, back);
        let part = rcp(e, below);
        let s = e.fmul(above, part);
        // What the division lost.
        let negative = e.fneg(s);
        let rest = e.fma(negative, below, above);
        let rest = e.fma(negative, below_low, rest);
        (s, e.fmul(rest, part))
    };
    let square = e.fmul(s, s);
    let p = polynomial(
        e,
        square,
        &[0.333_333_3, 0.200_004_86, 0.142_493_93, 0.121_396_06],
    );
    let p = e.fmul(p, square);
    let [scale, scale_low] = SCALE.map(|c| e.f32(c));
    let a = e.fmul(s, scale);
    let negative = e.fneg(a);
    let low = e.fma(s, scale, negative);
    let low = e.fma(s, scale_low, low);
    let low = e.fma(s_low, scale, low);
    let low = e.fma(a, p, low);
    let (high, lost) = sum(e, n, a);
    let low = e.fadd_exact(lost, low);
    let (high, low) = sum(e, high, low);
    (or_limit(e, x, high), low)
}

/// a + b rounded, and what that lost; |a| >= |b| or a = 0.
fn sum(e: &mut Emit, a: Val, b: Val) -> (Val, Val) {
    let s = e.fadd_exact(a, b);
    let back = e.fsub_exact(s, a);
    (s, e.fsub_exact(b, back))
}

/// The cases in which `v` = 2^(y log2 |x|) is not the answer.
fn limits(e: &mut Emit, x: Val, y: Val, v: Val) -> Val {
    let (zero, half, one) = (e.f32(0.0), e.f32(0.5), e.f32(1.0));
    // 1^inf.
    let size = e.fabs(x);
    let is_one = e.fcmp("oeq", size, one);
    let ordered = e.fcmp("ord", y, y);
    let is_one = e.and(is_one, ordered);
    let v = e.select(is_one, one, v);
    // A negative base: integers keep a value, odd ones change its sign, others have none.
    let whole = floor(e, y);
    let is_whole = e.fcmp("oeq", whole, y);
    let h = e.fmul(y, half);
    let hw = floor(e, h);
    let odd = e.fcmp("une", h, hw);
    let odd = e.and(odd, is_whole);
    let signed = super::with_sign(e, v, x);
    let v = e.select(odd, signed, v);
    let low = e.f32(f32::NEG_INFINITY);
    let negative = e.fcmp("olt", x, zero);
    let finite = e.fcmp("ogt", x, low);
    let negative = e.and(negative, finite);
    let broken = e.not(is_whole);
    let no_value = e.and(negative, broken);
    let nan = e.f32(f32::NAN);
    let v = e.select(no_value, nan, v);
    // 1 whatever the other is, even NaN.
    let y_zero = e.fcmp("oeq", y, zero);
    let x_one = e.fcmp("oeq", x, one);
    let unit = e.or(y_zero, x_one);
    e.select(unit, one, v)
}
