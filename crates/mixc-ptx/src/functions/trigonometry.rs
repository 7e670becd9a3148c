//! Sine and cosine.

use super::{Accuracy, MAGIC, polynomial};
use crate::emit::{Emit, Ty, Val};
use std::f32::consts::{FRAC_1_PI, FRAC_2_PI};

/// -pi/2 in three parts.
const MINUS_HALF_PI: [f32; 3] = [-1.570_796_4, 4.371_139e-8, 1.715_124_5e-15];

pub(super) fn sin(e: &mut Emit, accuracy: Accuracy, x: Val) -> Val {
    match accuracy {
        Accuracy::Full => wave(e, x, 0),
        Accuracy::Fast => {
            let (inverse, magic) = (e.f32(FRAC_1_PI), e.f32(MAGIC));
            let t = e.fma(x, inverse, magic);
            let turns = e.fsub_exact(t, magic);
            let bits = e.bits(t);
            fast_wave(e, x, turns, bits)
        }
    }
}

pub(super) fn cos(e: &mut Emit, accuracy: Accuracy, x: Val) -> Val {
    match accuracy {
        Accuracy::Full => wave(e, x, 1),
        Accuracy::Fast => {
            // Half a turn between its zeros, which lie half way between integers: near them the value
            // is a small sine.
            let (inverse, magic) = (e.f32(FRAC_1_PI), e.f32(MAGIC));
            let (half, minus) = (e.f32(0.5), e.f32(-0.5));
            let t = e.fma(x, inverse, minus);
            let t = e.fadd_exact(t, magic);
            let turns = e.fsub_exact(t, magic);
            let turns = e.fadd_exact(turns, half);
            let bits = e.bits(t);
            let one = e.i32(1);
            let bits = e.add(bits, one);
            fast_wave(e, x, turns, bits)
        }
    }
}

/// sin(x + quarter * pi/2), with x reduced to x - q pi/2 for the nearest integer q.
///
/// Up to |x| = 2^20 the first product and difference is exact: both are multiples of 2^-23 and the
/// difference is less than 1. What follows rounds relative to the result.
fn wave(e: &mut Emit, x: Val, quarter: i32) -> Val {
    let (inverse, magic) = (e.f32(FRAC_2_PI), e.f32(MAGIC));
    let t = e.fma(x, inverse, magic);
    let q = e.fsub_exact(t, magic);
    let r = reduce(e, x, q, &MINUS_HALF_PI);
    // Further out the remainder means nothing, but the result shall be one of a sine.
    let (lowest, highest) = (e.f32(-1.0), e.f32(1.0));
    let r = e.fmax_nan(r, lowest);
    let r = e.fmin_nan(r, highest);
    // sin(r) = r + r^3 p(r^2), cos(r) = p(r^2) on |r| <= pi/4.
    let square = e.fmul(r, r);
    let p = polynomial(
        e,
        square,
        &[-0.166_666_67, 0.008_333_372, -1.984_983_1e-4, 2.798_967e-6],
    );
    let p = e.fmul(p, square);
    let s = e.fma(p, r, r);
    let c = polynomial(
        e,
        square,
        &[1.0, -0.5, 0.041_666_646, -0.001_388_729_9, 2.443_028_5e-5],
    );
    let bits = e.bits(t);
    let quarter = e.i32(quarter);
    let k = e.add(bits, quarter);
    let (one, zero) = (e.i32(1), e.i32(0));
    let low = e.bit_and(k, one);
    let odd = e.icmp(crate::emit::Cmp::Ne, low, zero);
    let v = e.select(odd, c, s);
    let sign = e.shr(k, 1);
    negate_if_odd(e, v, sign)
}

/// (-1)^k sin(x - turns * pi), with k in the low bit.
fn fast_wave(e: &mut Emit, x: Val, turns: Val, k: Val) -> Val {
    let pi = MINUS_HALF_PI.map(|part| 2.0 * part);
    let r = reduce(e, x, turns, &pi[..2]);
    let near = r;
    let far = e.call("llvm.nvvm.sin.approx.ftz.f", &[r], Ty::F32);
    // The hardware's error is absolute; a small argument is its own sine.
    let v = super::exponential::nearer_than(e, 1.0 / 64.0, r, near, far);
    negate_if_odd(e, v, k)
}

/// x + k (parts[0] + parts[1] + ...).
fn reduce(e: &mut Emit, x: Val, k: Val, parts: &[f32]) -> Val {
    parts.iter().fold(x, |r, part| {
        let part = e.f32(*part);
        e.fma(k, part, r)
    })
}

/// (-1)^k v, with k in the low bit.
fn negate_if_odd(e: &mut Emit, v: Val, k: Val) -> Val {
    let sign = e.shl(k, 31);
    let bits = e.bits(v);
    let bits = e.bit_xor(bits, sign);
    e.float_of(bits)
}
