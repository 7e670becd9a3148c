//! Elementwise functions on four f32 at a time.
//!
//! # Error bounds
//! In units in the last place of the f32 result, measured by `tests/functions.rs` over dense samples:
//!
//! | function | bound | outside the bound |
//! |---|---|---|
//! | `exp`, `exp2` | 3 | results below 2^-125 are flushed to 0 |
//! | `expm1` | 3 | |
//! | `log`, `log2` | 3 | `log1p` 4 |
//! | `sin`, `cos` | 2 | relative to the larger of the value and 2^-12; arguments beyond 2^20 lose digits |
//! | `tanh` | 4 | |
//! | `sigmoid`, `silu` | 4 | results below 2^-125 are flushed to 0 |
//! | `softplus`, `logsigmoid` | 4 | as `sigmoid` |
//! | `erf` | 4 | |
//! | `gelu` | absolute 3e-7 of the argument | |
//! | `pow` | 3 | results below 2^-149 are 0 |
//! | `rsqrt`, `recip`, `div`, `sqrt` | 1 | |
//! | `elu` | 3 | |
//! | `mod` | that of its formula in f32 | |
//!
//! NaN propagates through every function; infinities give the limits.

mod power;
mod trigonometry;

use crate::emit::Emit;
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::types::{F32X4, I32X4};
use cranelift_codegen::ir::{InstBuilder, Value};
use mixc_ir::Func;

/// 1.5 * 2^23: adding it rounds to an integer, which is then in the low bits.
const MAGIC: f32 = 12_582_912.0;
const LN2_HI: f32 = 0.693_359_4;
const LN2_LO: f32 = -2.121_944_4e-4;

/// Whether the function takes more than a few instructions.
pub(crate) fn is_heavy(f: Func) -> bool {
    use Func::*;
    matches!(
        f,
        Exp | Exp2
            | Expm1
            | Log
            | Log2
            | Log1p
            | Sin
            | Cos
            | Tanh
            | Sigmoid
            | LogSigmoid
            | Softplus
            | Silu
            | Erf
            | Gelu
            | Elu
            | Pow
            | Div
            | Recip
            | RecipOrZero
            | Rsqrt
            | Sqrt
            | Mod
    )
}

/// Numbers from numbers or from a mask.
pub(crate) fn number(e: &mut Emit, v: Value) -> Value {
    if e.b.func.dfg.value_type(v) == F32X4 {
        return v;
    }
    let one = e.i32c(1f32.to_bits() as i32);
    let bits = e.b.ins().band(v, one);
    e.as_f32(bits)
}

/// A mask from a mask or from numbers (set where not 0).
pub(crate) fn mask(e: &mut Emit, v: Value) -> Value {
    if e.b.func.dfg.value_type(v) == I32X4 {
        return v;
    }
    let zero = e.f32c(0.0);
    e.fcmp(FloatCC::NotEqual, v, zero)
}

/// The value of a function; predicates give masks. `args` are numbers or masks, as many as the arity.
pub(crate) fn call(e: &mut Emit, f: Func, args: &[Value]) -> Value {
    match f {
        Func::And => {
            let (a, b) = (mask(e, args[0]), mask(e, args[1]));
            return e.b.ins().band(a, b);
        }
        Func::Or => {
            let (a, b) = (mask(e, args[0]), mask(e, args[1]));
            return e.b.ins().bor(a, b);
        }
        Func::Not => {
            let a = mask(e, args[0]);
            return e.b.ins().bnot(a);
        }
        _ => {}
    }
    let args: Vec<Value> = args.iter().map(|a| number(e, *a)).collect();
    let x = args[0];
    match f {
        Func::Neg => e.b.ins().fneg(x),
        Func::Sub => e.b.ins().fsub(x, args[1]),
        Func::Div => e.b.ins().fdiv(x, args[1]),
        Func::Recip => recip(e, x),
        Func::RecipOrZero => {
            let r = recip(e, x);
            let zero = e.f32c(0.0);
            let is_zero = e.fcmp(FloatCC::Equal, x, zero);
            e.choose(is_zero, zero, r)
        }
        Func::Abs => e.b.ins().fabs(x),
        Func::Sign => sign(e, x),
        Func::Floor => e.b.ins().floor(x),
        Func::Ceil => e.b.ins().ceil(x),
        Func::Round => e.b.ins().nearest(x),
        Func::Sqrt => e.b.ins().sqrt(x),
        Func::Rsqrt => {
            let root = e.b.ins().sqrt(x);
            recip(e, root)
        }
        Func::Exp => exp(e, x),
        Func::Exp2 => exp2(e, x),
        Func::Expm1 => expm1(e, x),
        Func::Log => log(e, x),
        Func::Log2 => log2(e, x),
        Func::Log1p => log1p(e, x),
        Func::Sin => trigonometry::sin(e, x),
        Func::Cos => trigonometry::cos(e, x),
        Func::Tanh => tanh(e, x),
        Func::Sigmoid => {
            let below = one_plus_exp_neg(e, x);
            recip(e, below)
        }
        Func::Silu => {
            let below = one_plus_exp_neg(e, x);
            e.b.ins().fdiv(x, below)
        }
        Func::LogSigmoid => {
            let soft = log1p_exp_neg_abs(e, x);
            let zero = e.f32c(0.0);
            let low = e.min_or_second(zero, x);
            e.b.ins().fsub(low, soft)
        }
        Func::Softplus => {
            let soft = log1p_exp_neg_abs(e, x);
            let zero = e.f32c(0.0);
            let high = e.max_or_second(zero, x);
            e.b.ins().fadd(high, soft)
        }
        Func::Relu => {
            let zero = e.f32c(0.0);
            e.max_or_second(zero, x)
        }
        Func::Erf => erf(e, x),
        Func::Gelu => {
            let root = e.f32c(std::f32::consts::FRAC_1_SQRT_2);
            let scaled = e.b.ins().fmul(x, root);
            let erf = erf(e, scaled);
            let half = e.f32c(0.5);
            let half = e.b.ins().fmul(x, half);
            e.fma(half, erf, half)
        }
        Func::Elu => {
            let below = expm1(e, x);
            let zero = e.f32c(0.0);
            let is_below = e.fcmp(FloatCC::LessThanOrEqual, x, zero);
            e.choose(is_below, below, x)
        }
        Func::Pow => power::pow(e, x, args[1]),
        Func::Max => {
            let v = e.max_or_second(x, args[1]);
            or_nan(e, v, x, args[1])
        }
        Func::Min => {
            let v = e.min_or_second(x, args[1]);
            or_nan(e, v, x, args[1])
        }
        Func::Mod => {
            let q = e.b.ins().fdiv(x, args[1]);
            let q = e.b.ins().floor(q);
            let q = e.b.ins().fneg(q);
            e.fma(args[1], q, x)
        }
        Func::Lt => e.fcmp(FloatCC::LessThan, x, args[1]),
        Func::Le => e.fcmp(FloatCC::LessThanOrEqual, x, args[1]),
        Func::Eq => e.fcmp(FloatCC::Equal, x, args[1]),
        Func::Ne => e.fcmp(FloatCC::NotEqual, x, args[1]),
        Func::Select => {
            let c = mask(e, args[0]);
            e.choose(c, args[1], args[2])
        }
        Func::And | Func::Or | Func::Not => mask(e, x),
    }
}

/// `v`, and NaN where `a` or `b` is.
fn or_nan(e: &mut Emit, v: Value, a: Value, b: Value) -> Value {
    let nan = e.fcmp(FloatCC::Unordered, a, b);
    let bits = e.as_i32(v);
    let bits = e.b.ins().bor(bits, nan);
    e.as_f32(bits)
}

fn recip(e: &mut Emit, x: Value) -> Value {
    let one = e.f32c(1.0);
    e.b.ins().fdiv(one, x)
}

fn sign(e: &mut Emit, x: Value) -> Value {
    let zero = e.f32c(0.0);
    let above = e.fcmp(FloatCC::GreaterThan, x, zero);
    let below = e.fcmp(FloatCC::LessThan, x, zero);
    let (one, minus) = (e.f32c(1.0), e.f32c(-1.0));
    let v = e.choose(below, minus, x);
    e.choose(above, one, v)
}

/// `c[0] + c[1] x + c[2] x^2 + ...` by Horner's rule.
pub(super) fn polynomial(e: &mut Emit, x: Value, c: &[f32]) -> Value {
    let (last, rest) = (c[c.len() - 1], &c[..c.len() - 1]);
    let mut p = e.f32c(last);
    for c in rest.iter().rev() {
        let c = e.f32c(*c);
        p = e.fma(p, x, c);
    }
    p
}

/// `lo` to `hi`; NaN stays.
fn clamp(e: &mut Emit, x: Value, lo: f32, hi: f32) -> Value {
    let lo = e.f32c(lo);
    let x = e.max_or_second(lo, x);
    let hi = e.f32c(hi);
    e.min_or_second(hi, x)
}

/// 2^(n - 1) as a number, from an integer n in the low bits of `n + MAGIC + 126`, -126 <= n <= 128.
/// One power less, so that n = 128 is in range; -126 gives 0.
fn half_scale(e: &mut Emit, biased: Value) -> Value {
    let bits = e.as_i32(biased);
    let by = e.b.ins().iconst(cranelift_codegen::ir::types::I32, 23);
    let bits = e.b.ins().ishl(bits, by);
    e.as_f32(bits)
}

/// 2^x. x = n + f with |f| <= 1/2; a polynomial gives 2 * 2^f, the shifted n gives 2^(n - 1). The last
/// step is a product, not an addition to the exponent, so that NaN stays NaN whatever its payload.
fn exp2(e: &mut Emit, x: Value) -> Value {
    let x = clamp(e, x, -126.0, 128.0);
    let magic = e.f32c(MAGIC + 126.0);
    let t = e.b.ins().fadd(x, magic);
    let magic = e.f32c(MAGIC + 126.0);
    let n = e.b.ins().fsub(t, magic);
    let f = e.b.ins().fsub(x, n);
    let p = polynomial(
        e,
        f,
        &[
            2.0,
            1.386_294,
            0.480_444_84,
            0.111_014_016,
            0.019_342_994,
            0.002_654_813_6,
        ],
    );
    let s = half_scale(e, t);
    e.b.ins().fmul(p, s)
}

/// (f, 2^(n-1)) with x = n ln 2 + f, |f| <= ln 2 / 2. Arguments are clamped to where the result is
/// 0 or infinity.
fn reduce_exp(e: &mut Emit, x: Value) -> (Value, Value) {
    let x = clamp(e, x, -87.336_54, 88.8);
    let magic = e.f32c(MAGIC + 126.0);
    let log2e = e.f32c(std::f32::consts::LOG2_E);
    let t = e.fma(x, log2e, magic);
    let magic = e.f32c(MAGIC + 126.0);
    let n = e.b.ins().fsub(t, magic);
    let hi = e.f32c(-LN2_HI);
    let f = e.fma(n, hi, x);
    let lo = e.f32c(-LN2_LO);
    let f = e.fma(n, lo, f);
    (f, half_scale(e, t))
}

fn exp(e: &mut Emit, x: Value) -> Value {
    let (f, s) = reduce_exp(e, x);
    let p = polynomial(
        e,
        f,
        &[
            2.0,
            2.0,
            0.999_984,
            0.333_342_64,
            0.083_789_09,
            0.016_624_316,
        ],
    );
    e.b.ins().fmul(p, s)
}

/// 2 * (2^(n-1) (exp(f) - 1) + (2^(n-1) - 1/2)).
fn expm1(e: &mut Emit, x: Value) -> Value {
    let (f, s) = reduce_exp(e, x);
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
    let square = e.b.ins().fmul(f, f);
    let p = e.fma(p, square, f);
    let half = e.f32c(-0.5);
    let rest = e.b.ins().fadd(s, half);
    let v = e.fma(p, s, rest);
    let v = e.b.ins().fadd(v, v);
    // -0 and the smallest arguments are their own results.
    let zero = e.f32c(0.0);
    let is_zero = e.fcmp(FloatCC::Equal, x, zero);
    e.choose(is_zero, x, v)
}

/// (m, n) with x = m 2^n and sqrt(1/2) <= m < sqrt(2), for positive finite x.
pub(super) fn split(e: &mut Emit, x: Value) -> (Value, Value) {
    let i32t = cranelift_codegen::ir::types::I32;
    let smallest = e.f32c(f32::MIN_POSITIVE);
    let small = e.fcmp(FloatCC::LessThan, x, smallest);
    let up = e.f32c(8_388_608.0);
    let scaled = e.b.ins().fmul(x, up);
    let x = e.choose(small, scaled, x);
    let bits = e.as_i32(x);
    let root = e.i32c(0x3f35_04f3);
    let above = e.b.ins().isub(bits, root);
    let by = e.b.ins().iconst(i32t, 23);
    let n = e.b.ins().sshr(above, by);
    let shift = e.b.ins().ishl(n, by);
    let m = e.b.ins().isub(bits, shift);
    let n = e.b.ins().fcvt_from_sint(F32X4, n);
    let down = e.f32c(23.0);
    let (small, down) = (e.as_i32(small), e.as_i32(down));
    let down = e.b.ins().band(small, down);
    let down = e.as_f32(down);
    let n = e.b.ins().fsub(n, down);
    (e.as_f32(m), n)
}

/// (f, r) with log(1 + f) = f + r, for f = m - 1.
fn log_near_one(e: &mut Emit, m: Value) -> (Value, Value) {
    let one = e.f32c(1.0);
    let f = e.b.ins().fsub(m, one);
    let p = polynomial(
        e,
        f,
        &[
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
    let half = e.f32c(-0.5);
    let p = e.fma(p, f, half);
    let square = e.b.ins().fmul(f, f);
    let r = e.b.ins().fmul(p, square);
    (f, r)
}

/// The logarithm's values at 0, below it, at infinity and NaN; `v` elsewhere.
fn log_limits(e: &mut Emit, x: Value, v: Value) -> Value {
    let zero = e.f32c(0.0);
    let (below, is_zero) = (
        e.fcmp(FloatCC::LessThan, x, zero),
        e.fcmp(FloatCC::Equal, x, zero),
    );
    let infinity = e.f32c(f32::INFINITY);
    let finite = e.fcmp(FloatCC::LessThan, x, infinity);
    let v = e.choose(finite, v, x);
    let nan = e.f32c(f32::NAN);
    let v = e.choose(below, nan, v);
    let low = e.f32c(f32::NEG_INFINITY);
    e.choose(is_zero, low, v)
}

fn log(e: &mut Emit, x: Value) -> Value {
    let (m, n) = split(e, x);
    let (f, r) = log_near_one(e, m);
    let lo = e.f32c(LN2_LO);
    let v = e.fma(n, lo, r);
    let v = e.b.ins().fadd(v, f);
    let hi = e.f32c(LN2_HI);
    let v = e.fma(n, hi, v);
    log_limits(e, x, v)
}

fn log2(e: &mut Emit, x: Value) -> Value {
    let (m, n) = split(e, x);
    let (f, r) = log_near_one(e, m);
    let v = e.b.ins().fadd(f, r);
    let log2e = e.f32c(std::f32::consts::LOG2_E);
    let v = e.fma(v, log2e, n);
    log_limits(e, x, v)
}

/// log(u) + (x - (u - 1)) / u with u = 1 + x: the second term undoes the rounding of u.
fn log1p(e: &mut Emit, x: Value) -> Value {
    let one = e.f32c(1.0);
    let u = e.b.ins().fadd(x, one);
    let one = e.f32c(1.0);
    let back = e.b.ins().fsub(u, one);
    let lost = e.b.ins().fsub(x, back);
    let c = e.b.ins().fdiv(lost, u);
    // No correction at the ends, where it has no value.
    let (zero, most) = (e.f32c(0.0), e.f32c(f32::MAX));
    let (above, below) = (
        e.fcmp(FloatCC::GreaterThan, u, zero),
        e.fcmp(FloatCC::LessThanOrEqual, u, most),
    );
    let inside = e.b.ins().band(above, below);
    let c = e.as_i32(c);
    let c = e.b.ins().band(c, inside);
    let c = e.as_f32(c);
    let v = log(e, u);
    let v = e.b.ins().fadd(v, c);
    let zero = e.f32c(0.0);
    let is_zero = e.fcmp(FloatCC::Equal, x, zero);
    e.choose(is_zero, x, v)
}

fn one_plus_exp_neg(e: &mut Emit, x: Value) -> Value {
    let minus = e.b.ins().fneg(x);
    let power = exp(e, minus);
    let one = e.f32c(1.0);
    e.b.ins().fadd(power, one)
}

fn log1p_exp_neg_abs(e: &mut Emit, x: Value) -> Value {
    let size = e.b.ins().fabs(x);
    let minus = e.b.ins().fneg(size);
    let power = exp(e, minus);
    log1p(e, power)
}

/// An odd polynomial near 0, 1 - 2 / (exp(2|x|) + 1) further out.
fn tanh(e: &mut Emit, x: Value) -> Value {
    let size = e.b.ins().fabs(x);
    let twice = e.b.ins().fadd(size, size);
    let power = exp(e, twice);
    let one = e.f32c(1.0);
    let below = e.b.ins().fadd(power, one);
    let two = e.f32c(-2.0);
    let far = e.b.ins().fdiv(two, below);
    let one = e.f32c(1.0);
    let far = e.b.ins().fadd(far, one);
    let far = with_sign(e, far, x);
    let square = e.b.ins().fmul(x, x);
    let p = polynomial(
        e,
        square,
        &[
            -0.333_332_6,
            0.133_308_29,
            -0.053_687_92,
            0.020_469_1,
            -0.005_514_837,
        ],
    );
    let p = e.b.ins().fmul(p, square);
    let near = e.fma(p, x, x);
    let limit = e.f32c(0.65);
    let is_near = e.fcmp(FloatCC::LessThan, size, limit);
    e.choose(is_near, near, far)
}

/// The magnitude of `v` (not negative) with the sign of `x`.
fn with_sign(e: &mut Emit, v: Value, x: Value) -> Value {
    let bit = e.i32c(i32::MIN);
    let x = e.as_i32(x);
    let sign = e.b.ins().band(x, bit);
    let v = e.as_i32(v);
    let v = e.b.ins().bor(v, sign);
    e.as_f32(v)
}

/// An odd polynomial up to 1, 1 - exp(-p(|x|)) further out, where p approximates -log(erfc).
fn erf(e: &mut Emit, x: Value) -> Value {
    let size = e.b.ins().fabs(x);
    let far = clamp(e, size, 0.0, 4.0);
    let p = polynomial(
        e,
        far,
        &[
            -1.781_241_7e-4,
            1.129_527_3,
            0.633_332_97,
            0.108_278_29,
            -0.025_101_602,
            0.004_153_711,
            -4.264_950_7e-4,
            1.926_353_6e-5,
            1.694_364_8e-7,
        ],
    );
    let minus = e.b.ins().fneg(p);
    let power = exp(e, minus);
    let one = e.f32c(1.0);
    let far = e.b.ins().fsub(one, power);
    let far = with_sign(e, far, x);
    let square = e.b.ins().fmul(x, x);
    let p = polynomial(
        e,
        square,
        &[
            std::f32::consts::FRAC_2_SQRT_PI,
            -0.376_124_65,
            0.112_823_27,
            -0.026_811_404,
            0.005_118_593_6,
            -7.458_386e-4,
            6.171_297e-5,
        ],
    );
    let near = e.b.ins().fmul(p, x);
    let one = e.f32c(1.0);
    let is_near = e.fcmp(FloatCC::LessThan, size, one);
    e.choose(is_near, near, far)
}
