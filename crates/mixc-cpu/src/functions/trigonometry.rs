//! Sine and cosine: the argument is reduced in f64, the polynomials are in f32.

use super::polynomial;
use crate::emit::Emit;
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::types::{F32X4, F64X2};
use cranelift_codegen::ir::{InstBuilder, Value};

pub(super) fn sin(e: &mut Emit, x: Value) -> Value {
    wave(e, x, 0.0)
}

pub(super) fn cos(e: &mut Emit, x: Value) -> Value {
    wave(e, x, 1.0)
}

/// sin(x + quarter * pi/2).
fn wave(e: &mut Emit, x: Value, quarter: f64) -> Value {
    let (low, high) = halves(e, x);
    let (r0, q0) = reduce(e, low, quarter);
    let (r1, q1) = reduce(e, high, quarter);
    let (r, q) = (joined(e, r0, r1), joined(e, q0, q1));
    let square = e.b.ins().fmul(r, r);
    // sin(r) = r + r^3 p(r^2), cos(r) = 1 - r^2/2 + r^4 p(r^2) on |r| <= pi/4.
    let p = polynomial(
        e,
        square,
        &[-0.166_666_67, 0.008_333_372, -1.984_983_1e-4, 2.798_967e-6],
    );
    let p = e.b.ins().fmul(p, square);
    let s = e.fma(p, r, r);
    let c = polynomial(
        e,
        square,
        &[1.0, -0.5, 0.041_666_646, -0.001_388_729_9, 2.443_028_5e-5],
    );
    let half = e.f32c(0.5);
    let h = e.b.ins().fmul(q, half);
    let whole = e.b.ins().floor(h);
    let odd = e.fcmp(FloatCC::NotEqual, h, whole);
    let v = e.choose(odd, c, s);
    let two = e.f32c(2.0);
    let negative = e.fcmp(FloatCC::GreaterThanOrEqual, q, two);
    let minus = e.b.ins().fneg(v);
    e.choose(negative, minus, v)
}

/// The lower and the upper two lanes as f64.
pub(super) fn halves(e: &mut Emit, x: Value) -> (Value, Value) {
    let low = e.b.ins().fvpromote_low(x);
    let upper = e.shuffle(x, x, [2, 3, 2, 3]);
    (low, e.b.ins().fvpromote_low(upper))
}

/// Two pairs of f64 as four f32.
pub(super) fn joined(e: &mut Emit, low: Value, high: Value) -> Value {
    let (low, high) = (e.b.ins().fvdemote(low), e.b.ins().fvdemote(high));
    let (low, high) = (e.cast(F32X4, low), e.cast(F32X4, high));
    e.shuffle(low, high, [0, 1, 4, 5])
}

pub(super) fn f64c(e: &mut Emit, x: f64) -> Value {
    let bits = x.to_bits();
    let (low, high) = (bits as u32, (bits >> 32) as u32);
    e.bits4(F64X2, [low, high, low, high])
}

/// (x - q pi/2, (q + quarter) mod 4) with q the nearest integer to x / (pi/2).
fn reduce(e: &mut Emit, x: Value, quarter: f64) -> (Value, Value) {
    let inverse = f64c(e, std::f64::consts::FRAC_2_PI);
    let q = e.b.ins().fmul(x, inverse);
    let q = e.b.ins().nearest(q);
    // pi/2 in two parts: the first has 33 bits, so that its product with q is exact up to 2^20.
    let high = f64c(e, 1.570_796_326_734_125_6);
    let p = e.b.ins().fmul(q, high);
    let r = e.b.ins().fsub(x, p);
    let low = f64c(e, 6.077_100_506_506_192e-11);
    let p = e.b.ins().fmul(q, low);
    let r = e.b.ins().fsub(r, p);
    let quarter = f64c(e, quarter);
    let k = e.b.ins().fadd(q, quarter);
    let fourth = f64c(e, 0.25);
    let turns = e.b.ins().fmul(k, fourth);
    let turns = e.b.ins().floor(turns);
    let four = f64c(e, 4.0);
    let back = e.b.ins().fmul(turns, four);
    (r, e.b.ins().fsub(k, back))
}
