//! x^y: the logarithm and its product with y in f64, the exponential in f32.

use super::trigonometry::{f64c, halves, joined};
use super::{MAGIC, clamp, polynomial, split};
use crate::emit::Emit;
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::types::{F64X2, I32};
use cranelift_codegen::ir::{InstBuilder, Value};

pub(super) fn pow(e: &mut Emit, x: Value, y: Value) -> Value {
    let size = e.b.ins().fabs(x);
    let (m, n) = split(e, size);
    let ((m0, m1), (n0, n1), (y0, y1)) = (halves(e, m), halves(e, n), halves(e, y));
    let (t0, t1) = (exponent(e, m0, n0, y0), exponent(e, m1, n1, y1));
    let (k0, f0) = parts(e, t0);
    let (k1, f1) = parts(e, t1);
    let (k, f) = (joined(e, k0, k1), joined(e, f0, f1));
    let p = polynomial(
        e,
        f,
        &[
            1.0,
            std::f32::consts::LN_2,
            0.240_226_43,
            0.055_503_59,
            0.009_619_002,
            0.001_339_130_5,
            1.519_669_3e-4,
        ],
    );
    // 2^k in two factors, each a normal number.
    let half = e.f32c(0.5);
    let first = e.b.ins().fmul(k, half);
    let first = e.b.ins().floor(first);
    let second = e.b.ins().fsub(k, first);
    let (a, b) = (scale(e, first), scale(e, second));
    let v = e.b.ins().fmul(p, a);
    let v = e.b.ins().fmul(v, b);
    limits(e, x, y, v)
}

/// y log2(x) for x = m 2^n, by log2(m) = 2 atanh((m - 1) / (m + 1)) / ln 2.
fn exponent(e: &mut Emit, m: Value, n: Value, y: Value) -> Value {
    let one = f64c(e, 1.0);
    let (above, below) = (e.b.ins().fsub(m, one), e.b.ins().fadd(m, one));
    let s = e.b.ins().fdiv(above, below);
    let square = e.b.ins().fmul(s, s);
    let scale = 2.0 / std::f64::consts::LN_2;
    let mut p = f64c(e, scale / 13.0);
    for k in [11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        let c = f64c(e, scale / k);
        p = e.b.ins().fmul(p, square);
        p = e.b.ins().fadd(p, c);
    }
    let l = e.b.ins().fmul(p, s);
    let l = e.b.ins().fadd(l, n);
    let t = e.b.ins().fmul(l, y);
    let (lo, hi) = (f64c(e, -250.0), f64c(e, 250.0));
    // NaN stays: it is the second operand.
    let c = e.b.ins().fcmp(FloatCC::LessThan, t, lo);
    let c = e.cast(F64X2, c);
    let t = e.b.ins().bitselect(c, lo, t);
    let c = e.b.ins().fcmp(FloatCC::LessThan, hi, t);
    let c = e.cast(F64X2, c);
    e.b.ins().bitselect(c, hi, t)
}

/// The nearest integer and what is left.
fn parts(e: &mut Emit, t: Value) -> (Value, Value) {
    let k = e.b.ins().nearest(t);
    (k, e.b.ins().fsub(t, k))
}

/// 2^k for an integer -126 <= k <= 127.
fn scale(e: &mut Emit, k: Value) -> Value {
    let k = clamp(e, k, -126.0, 127.0);
    let magic = e.f32c(MAGIC + 127.0);
    let t = e.b.ins().fadd(k, magic);
    let bits = e.as_i32(t);
    let by = e.b.ins().iconst(I32, 23);
    let bits = e.b.ins().ishl(bits, by);
    e.as_f32(bits)
}

/// The cases in which `v` = |x|^y from the formula is not the answer.
fn limits(e: &mut Emit, x: Value, y: Value, v: Value) -> Value {
    let (zero, one, infinity) = (e.f32c(0.0), e.f32c(1.0), e.f32c(f32::INFINITY));
    let size = e.b.ins().fabs(x);
    let y_positive = e.fcmp(FloatCC::GreaterThan, y, zero);
    let (at_zero, at_infinity) = (
        e.choose(y_positive, zero, infinity),
        e.choose(y_positive, infinity, zero),
    );
    let is_zero = e.fcmp(FloatCC::Equal, x, zero);
    let v = e.choose(is_zero, at_zero, v);
    let is_infinite = e.fcmp(FloatCC::Equal, size, infinity);
    let v = e.choose(is_infinite, at_infinity, v);
    let is_one = e.fcmp(FloatCC::Equal, size, one);
    let v = e.choose(is_one, one, v);
    // A negative base: integers keep a value, odd ones change its sign, others have none.
    let whole = e.b.ins().floor(y);
    let is_whole = e.fcmp(FloatCC::Equal, whole, y);
    let half = e.f32c(0.5);
    let h = e.b.ins().fmul(y, half);
    let hw = e.b.ins().floor(h);
    let odd = e.fcmp(FloatCC::NotEqual, h, hw);
    let odd = e.b.ins().band(odd, is_whole);
    let bit = e.i32c(i32::MIN);
    let bits = e.as_i32(x);
    let sign = e.b.ins().band(bits, bit);
    let sign = e.b.ins().band(sign, odd);
    let bits = e.as_i32(v);
    let bits = e.b.ins().bxor(bits, sign);
    let v = e.as_f32(bits);
    let nan = e.f32c(f32::NAN);
    let low = e.f32c(f32::NEG_INFINITY);
    let negative = e.fcmp(FloatCC::LessThan, x, zero);
    let finite = e.fcmp(FloatCC::GreaterThan, x, low);
    let negative = e.b.ins().band(negative, finite);
    let broken = e.b.ins().bnot(is_whole);
    let no_value = e.b.ins().band(negative, broken);
    let v = e.choose(no_value, nan, v);
    let unordered = e.fcmp(FloatCC::Unordered, x, y);
    let v = e.choose(unordered, nan, v);
    let y_zero = e.fcmp(FloatCC::Equal, y, zero);
    let is_plus_one = e.fcmp(FloatCC::Equal, x, one);
    let unit = e.b.ins().bor(y_zero, is_plus_one);
    e.choose(unit, one, v)
}
