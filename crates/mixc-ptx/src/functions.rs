//! Elementwise functions in f32.
//!
//! Everything becomes PTX instructions: LLVM has no library of functions for this target.
//!
//! # Error bounds
//! In units in the last place of the f32 result (512 of them are 2^-15 to 2^-14 of a value). They hold where
//! every approximation of the hardware is off by as much as documented (PTX ISA, "Floating-Point
//! Instructions": `ex2` 2 units, `rcp` 1 unit, `sqrt` 2^-23 and `rsqrt` 2^-22.9 of the value,
//! `lg2` 2^-22 of the larger of the value and 1, `sin` 2^-20.5), in any direction. The tests measure that over
//! dense samples in the simulator, which by itself rounds the exact values of these instructions, by adding
//! such errors to the PTX text. No hardware was measured.
//!
//! | function | full | measured | fast | measured | where |
//! |---|---|---|---|---|---|
//! | `recip`, `recip0` | 2 | 1.5 | 2 | 1.5 | fast: below 2^-126: 0 |
//! | `div` | 1 | 0 | 1 | 0 | |
//! | `sqrt` | 1 | 0 | 3 | 2.5 | |
//! | `rsqrt` | 3 | 2.5 | 3 | 2.5 | |
//! | `exp2` | 5 | 4.5 | 5 | 4.5 | below 2^-126: 0 |
//! | `exp` | 5 | 4.5 | 64 | 60 | below 2^-126: 0; fast within \[-1, 1\]: 5 |
//! | `expm1`, `elu` | 2 | 1.3 | 64 | 62 | |
//! | `log` | 2 | 0.8 | 6 | 5.4 | fast: of the larger of the value and 1/2 |
//! | `log2` | 2 | 1.4 | 6 | 4.5 | fast: of the larger of the value and 1 |
//! | `log1p` | 4 | 2.5 | 192 | 174 | |
//! | `sin`, `cos` | 2 | 1.4 | 768 | 725 | up to 2^20 in size; beyond, digits are lost |
//! | `tanh` | 4 | 2.8 | 64 | 36 | |
//! | `sigmoid` | 8 | 7.7 | 64 | 63 | below 2^-126: 0 |
//! | `silu` | 8 | 6.8 | 64 | 63 | below 2^-119: 0 |
//! | `softplus`, `logsigmoid` | 5 | 4.8 | 192 | 168 | below 2^-126: 0 |
//! | `erf` | 4 | 3.3 | 24 | 19 | |
//! | `gelu` | 1.25e-7 | 1.06e-7 | 6e-7 | 5.1e-7 | of the argument, absolute |
//! | `pow` | 5 | 4.5 | 2^-21 of max(1, \|log2 x\|) \|y\| + 1 | | below 2^-126: 0; fast: relative |
//! | `mod` | 2^-24 | | 2^-24 | | of the divisor, absolute; or off by a whole divisor where the quotient rounds to an integer |
//!
//! The others are exact or correctly rounded. NaN propagates and infinities give the limits. Fast functions may take subnormal
//! arguments for 0.

mod erf;
mod exponential;
mod logarithm;
mod power;
#[cfg(test)]
mod tests;
mod trigonometry;

use crate::emit::{Cmp, Emit, Ty, Val};
use mixc_ir::Func;

/// How exact elementwise functions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accuracy {
    /// A few units in the last place of f32.
    Full,
    /// The hardware's approximations, where their error is below what 16-bit inputs carry.
    Fast,
}

/// A number from a number, a condition (1 or 0) or an integer.
pub(crate) fn number(e: &mut Emit, v: Val) -> Val {
    match v.ty {
        Ty::F32 => v,
        Ty::I1 => e.bool_to_float(v),
        Ty::I32 | Ty::I64 => e.int_to_float(v),
        _ => panic!("bug: {:?} is not the type of a number", v.ty),
    }
}

/// A condition from a condition or a number: whether it is not 0. NaN is not 0.
pub(crate) fn condition(e: &mut Emit, v: Val) -> Val {
    match v.ty {
        Ty::I1 => v,
        Ty::F32 => {
            let zero = e.f32(0.0);
            e.fcmp("une", v, zero)
        }
        Ty::I32 | Ty::I64 => {
            let zero = if v.ty == Ty::I32 { e.i32(0) } else { e.i64(0) };
            e.icmp(Cmp::Ne, v, zero)
        }
        _ => panic!("bug: {:?} is not the type of a condition", v.ty),
    }
}

/// The value of a function: I1 for predicates, else F32. `args` are of type F32, I1 or I32, as many as
/// the arity; two I32 are compared as integers.
pub(crate) fn call(e: &mut Emit, accuracy: Accuracy, f: Func, args: &[Val]) -> Val {
    match f {
        Func::And => {
            let (a, b) = (condition(e, args[0]), condition(e, args[1]));
            return e.and(a, b);
        }
        Func::Or => {
            let (a, b) = (condition(e, args[0]), condition(e, args[1]));
            return e.or(a, b);
        }
        Func::Not => {
            let a = condition(e, args[0]);
            return e.not(a);
        }
        Func::Select => {
            let c = condition(e, args[0]);
            let (a, b) = (number(e, args[1]), number(e, args[2]));
            return e.select(c, a, b);
        }
        Func::Lt => return compare(e, Cmp::Lt, "olt", args),
        Func::Le => return compare(e, Cmp::Le, "ole", args),
        Func::Eq => return compare(e, Cmp::Eq, "oeq", args),
        Func::Ne => return compare(e, Cmp::Ne, "une", args),
        _ => {}
    }
    let args: Vec<Val> = args.iter().map(|a| number(e, *a)).collect();
    let x = args[0];
    match f {
        Func::Sub => e.fsub(x, args[1]),
        // Correctly rounded in both accuracies: positions are divided too, and where a quotient is an
        // integer its floor must not be the integer below.
        Func::Div => e.fdiv(x, args[1]),
        Func::Pow => power::pow(e, accuracy, x, args[1]),
        Func::Max => e.fmax_nan(x, args[1]),
        Func::Min => e.fmin_nan(x, args[1]),
        Func::Mod => {
            let q = e.fdiv(x, args[1]);
            let q = floor(e, q);
            let q = e.fneg(q);
            e.fma(args[1], q, x)
        }
        _ => unary(e, accuracy, f, x),
    }
}

fn unary(e: &mut Emit, accuracy: Accuracy, f: Func, x: Val) -> Val {
    match f {
        Func::Neg => e.fneg(x),
        Func::Recip => recip(e, accuracy, x),
        Func::RecipOrZero => recip_or_zero(e, accuracy, x),
        Func::Abs => e.fabs(x),
        Func::Sign => sign(e, x),
        Func::Floor => floor(e, x),
        Func::Ceil => e.call("llvm.ceil", &[x], Ty::F32),
        Func::Round => e.call("llvm.roundeven", &[x], Ty::F32),
        Func::Sqrt => match accuracy {
            Accuracy::Full => e.call("llvm.nvvm.sqrt.rn.f", &[x], Ty::F32),
            Accuracy::Fast => e.call("llvm.nvvm.sqrt.approx.ftz.f", &[x], Ty::F32),
        },
        Func::Rsqrt => match accuracy {
            Accuracy::Full => e.call("llvm.nvvm.rsqrt.approx.f", &[x], Ty::F32),
            Accuracy::Fast => e.call("llvm.nvvm.rsqrt.approx.ftz.f", &[x], Ty::F32),
        },
        Func::Exp => exponential::exp(e, accuracy, x),
        Func::Exp2 => ex2(e, x),
        Func::Expm1 => exponential::expm1(e, accuracy, x),
        Func::Elu => {
            let below = exponential::expm1(e, accuracy, x);
            let zero = e.f32(0.0);
            let is_below = e.fcmp("ole", x, zero);
            e.select(is_below, below, x)
        }
        Func::Tanh => exponential::tanh(e, accuracy, x),
        Func::Sigmoid => exponential::sigmoid(e, accuracy, x),
        Func::Silu => {
            let gate = exponential::sigmoid(e, accuracy, x);
            e.fmul(x, gate)
        }
        Func::Log => logarithm::log(e, accuracy, x),
        Func::Log2 => logarithm::log2(e, accuracy, x),
        Func::Log1p => logarithm::log1p(e, accuracy, x),
        Func::LogSigmoid => {
            let soft = logarithm::log1p_exp_neg_abs(e, accuracy, x);
            let zero = e.f32(0.0);
            let low = e.fmin_nan(x, zero);
            e.fsub(low, soft)
        }
        Func::Softplus => {
            let soft = logarithm::log1p_exp_neg_abs(e, accuracy, x);
            let zero = e.f32(0.0);
            let high = e.fmax_nan(x, zero);
            e.fadd(high, soft)
        }
        Func::Relu => {
            let zero = e.f32(0.0);
            e.fmax_nan(x, zero)
        }
        Func::Sin => trigonometry::sin(e, accuracy, x),
        Func::Cos => trigonometry::cos(e, accuracy, x),
        Func::Erf => erf::erf(e, accuracy, x),
        Func::Gelu => erf::gelu(e, accuracy, x),
        _ => panic!("bug: {} takes more than one argument", f.name()),
    }
}

/// Of two integers as integers, else as numbers.
fn compare(e: &mut Emit, integers: Cmp, numbers: &str, args: &[Val]) -> Val {
    let (a, b) = (args[0], args[1]);
    if a.ty == Ty::I32 && b.ty == Ty::I32 {
        return e.icmp(integers, a, b);
    }
    let (a, b) = (number(e, a), number(e, b));
    e.fcmp(numbers, a, b)
}

fn floor(e: &mut Emit, x: Val) -> Val {
    e.call("llvm.floor", &[x], Ty::F32)
}

fn sign(e: &mut Emit, x: Val) -> Val {
    let (zero, one, minus) = (e.f32(0.0), e.f32(1.0), e.f32(-1.0));
    let above = e.fcmp("ogt", x, zero);
    let below = e.fcmp("olt", x, zero);
    let v = e.select(below, minus, x);
    e.select(above, one, v)
}

fn recip(e: &mut Emit, accuracy: Accuracy, x: Val) -> Val {
    match accuracy {
        // LLVM has no intrinsic for the one that knows subnormal numbers.
        Accuracy::Full => e.asm("rcp.approx.f32 $0, $1;", "=f,f", &[x], &[Ty::F32], false)[0],
        Accuracy::Fast => rcp(e, x),
    }
}

fn recip_or_zero(e: &mut Emit, accuracy: Accuracy, x: Val) -> Val {
    let r = recip(e, accuracy, x);
    let zero = e.f32(0.0);
    let is_zero = match accuracy {
        Accuracy::Full => e.fcmp("oeq", x, zero),
        // The approximation takes subnormal numbers for 0, so they have to be 0 here too.
        Accuracy::Fast => {
            let (size, smallest) = (e.fabs(x), e.f32(f32::MIN_POSITIVE));
            e.fcmp("olt", size, smallest)
        }
    };
    e.select(is_zero, zero, r)
}

// The hardware's approximations. Subnormal numbers count as 0.

/// 1/x.
fn rcp(e: &mut Emit, x: Val) -> Val {
    e.call("llvm.nvvm.rcp.approx.ftz.f", &[x], Ty::F32)
}

/// 2^x.
fn ex2(e: &mut Emit, x: Val) -> Val {
    e.call("llvm.nvvm.ex2.approx.ftz.f", &[x], Ty::F32)
}

/// log2(x).
fn lg2(e: &mut Emit, x: Val) -> Val {
    e.call("llvm.nvvm.lg2.approx.ftz.f", &[x], Ty::F32)
}

/// `c[0] + c[1] x + c[2] x^2 + ...` by Horner's rule.
fn polynomial(e: &mut Emit, x: Val, c: &[f32]) -> Val {
    let (last, rest) = (c[c.len() - 1], &c[..c.len() - 1]);
    let mut p = e.f32(last);
    for c in rest.iter().rev() {
        let c = e.f32(*c);
        p = e.fma(p, x, c);
    }
    p
}

/// The magnitude of `v` with the sign of `x`.
fn with_sign(e: &mut Emit, v: Val, x: Val) -> Val {
    e.call("llvm.copysign", &[v, x], Ty::F32)
}

/// 1.5 * 2^23: adding it rounds to an integer, which is then in the low bits.
const MAGIC: f32 = 12_582_912.0;
/// log2(e) in two parts.
const LOG2_E: f32 = std::f32::consts::LOG2_E;
const LOG2_E_LOW: f32 = 1.925_963e-8;
