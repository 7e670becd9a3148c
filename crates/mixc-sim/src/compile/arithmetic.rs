//! The table of arithmetic instructions: name, type and modifiers to the formula of one lane.

use super::integers::int_formula;
use crate::numeric::half_precision::{self as hp, IsBf16, IsF16};
use crate::numeric::round::*;
use crate::numeric::{LaneFn, float, lanes};
use crate::program::Class;
use crate::syntax::ast::{Instr, Ty};

/// The rounding, flushing and clamping modifiers of a floating-point instruction.
#[derive(Clone, Copy)]
pub struct FloatMods {
    pub mode: Mode,
    pub ftz: bool,
    pub sat: bool,
    pub nan: bool,
    pub relu: bool,
}

impl FloatMods {
    pub fn of(i: &Instr) -> FloatMods {
        let mode = match () {
            _ if i.has("rz") || i.has("rzi") => RZ,
            _ if i.has("rm") || i.has("rmi") => RM,
            _ if i.has("rp") || i.has("rpi") => RP,
            _ if i.has("rna") => RNA,
            _ => RN,
        };
        FloatMods {
            mode,
            ftz: i.has("ftz"),
            sat: i.has("sat"),
            nan: i.has("NaN"),
            relu: i.has("relu"),
        }
    }
}

/// `f::<MODE, FTZ, SAT>` for the modifiers at hand, as a lane loop.
macro_rules! f32_modes {
    ($m:expr, |$($x:ident),+| $($f:ident)::+) => {
        f32_modes!(@mode $m, ($($x),+), ($($f)::+), RN RZ RM RP)
    };
    (@mode $m:expr, $x:tt, $f:tt, $($mode:ident)+) => {
        match ($m.mode, $m.ftz, $m.sat) {
            $(
                ($mode, false, false) => f32_modes!(@lane $x, $f, $mode, false, false),
                ($mode, true, false) => f32_modes!(@lane $x, $f, $mode, true, false),
                ($mode, false, true) => f32_modes!(@lane $x, $f, $mode, false, true),
                ($mode, true, true) => f32_modes!(@lane $x, $f, $mode, true, true),
            )+
            _ => return None,
        }
    };
    (@lane ($($x:ident),+), ($($f:ident)::+), $mode:ident, $ftz:literal, $sat:literal) => {
        lanes!(|$($x: f32),+| $($f)::+::<$mode, $ftz, $sat>($($x),+))
    };
}

macro_rules! f64_modes {
    ($m:expr, |$a:ident, $b:ident| $($f:ident)::+) => {
        match $m.mode {
            RN => lanes!(|$a: f64, $b: f64| $($f)::+::<RN>($a, $b)),
            RZ => lanes!(|$a: f64, $b: f64| $($f)::+::<RZ>($a, $b)),
            RM => lanes!(|$a: f64, $b: f64| $($f)::+::<RM>($a, $b)),
            RP => lanes!(|$a: f64, $b: f64| $($f)::+::<RP>($a, $b)),
            _ => return None,
        }
    };
}

/// The same for pairs of f32 in 64 bits, each half for itself (PTX ISA, "add" to "fma" of `.f32x2`, from sm_100 on).
macro_rules! f32x2_modes {
    ($m:expr, |$($x:ident),+| $($f:ident)::+) => {
        f32x2_modes!(@mode $m, ($($x),+), ($($f)::+), RN RZ RM RP)
    };
    (@mode $m:expr, $x:tt, $f:tt, $($mode:ident)+) => {
        match ($m.mode, $m.ftz) {
            $(
                ($mode, false) => f32x2_modes!(@lane $x, $f, $mode, false),
                ($mode, true) => f32x2_modes!(@lane $x, $f, $mode, true),
            )+
            _ => return None,
        }
    };
    (@lane ($($x:ident),+), ($($f:ident)::+), $mode:ident, $ftz:literal) => {
        lanes!(|$($x: u64),+| float::pairwise([$($x),+], |[$($x),+]| $($f)::+::<$mode, $ftz, false>($($x),+)))
    };
}

/// `f::<FTZ>` with its one argument.
macro_rules! f32_ftz {
    ($m:expr, $($f:ident)::+) => {
        if $m.ftz { lanes!(|a: f32| $($f)::+::<true>(a)) } else { lanes!(|a: f32| $($f)::+::<false>(a)) }
    };
}

/// A 16-bit formula `|x, ..| e` generic over the format `H`, for single and packed types, with
/// `.ftz`, `.sat` and `.relu` applied around it.
macro_rules! half_op {
    ($ty:expr, $m:expr, |$($x:ident),+| $f:ident $(, $extra:expr)?) => {
        match ($ty, $m.ftz, $m.sat, $m.relu) {
            (Ty::F16, false, false, false) => lanes!(|$($x: u16),+| hp::$f::<IsF16>($($x),+ $(, $extra)?)),
            (Ty::Bf16, false, false, false) => lanes!(|$($x: u16),+| hp::$f::<IsBf16>($($x),+ $(, $extra)?)),
            (Ty::F16, true, false, false) => lanes!(|$($x: u16),+| hp::flush::<IsF16>(hp::$f::<IsF16>($(hp::flush::<IsF16>($x)),+ $(, $extra)?))),
            (Ty::F16, false, true, false) => lanes!(|$($x: u16),+| hp::saturate::<IsF16>(hp::$f::<IsF16>($($x),+ $(, $extra)?))),
            (Ty::F16, false, false, true) => lanes!(|$($x: u16),+| hp::relu::<IsF16>(hp::$f::<IsF16>($($x),+ $(, $extra)?))),
            (Ty::Bf16, false, false, true) => lanes!(|$($x: u16),+| hp::relu::<IsBf16>(hp::$f::<IsBf16>($($x),+ $(, $extra)?))),
            (Ty::F16x2, ftz, sat, relu) => half_op!(@pair IsF16, ftz, sat, relu, |$($x),+| $f $(, $extra)?),
            (Ty::Bf16x2, ftz, sat, relu) => half_op!(@pair IsBf16, ftz, sat, relu, |$($x),+| $f $(, $extra)?),
            _ => return None,
        }
    };
    (@pair $h:ident, $ftz:expr, $sat:expr, $relu:expr, |$($x:ident),+| $f:ident $(, $extra:expr)?) => {
        match ($ftz, $sat, $relu) {
            (false, false, false) => half_op!(@lanes |$($x),+| hp::$f::<$h>($($x),+ $(, $extra)?)),
            (true, false, false) => half_op!(@lanes |$($x),+| hp::flush::<$h>(hp::$f::<$h>($(hp::flush::<$h>($x)),+ $(, $extra)?))),
            (false, true, false) => half_op!(@lanes |$($x),+| hp::saturate::<$h>(hp::$f::<$h>($($x),+ $(, $extra)?))),
            (false, false, true) => half_op!(@lanes |$($x),+| hp::relu::<$h>(hp::$f::<$h>($($x),+ $(, $extra)?))),
            _ => return None,
        }
    };
    (@lanes |$x:ident| $e:expr) => { lanes!(|v: u32| hp::pair1(v, |$x| $e)) };
    (@lanes |$x:ident, $y:ident| $e:expr) => { lanes!(|v: u32, w: u32| hp::pair2(v, w, |$x, $y| $e)) };
    (@lanes |$x:ident, $y:ident, $z:ident| $e:expr) => {
        lanes!(|v: u32, w: u32, u: u32| hp::pair3(v, w, u, |$x, $y, $z| $e))
    };
}

/// The formula of `i` on type `ty` with the class it is counted in, or `None` if it has none.
pub fn formula(i: &Instr, ty: Ty) -> Option<(LaneFn, Class)> {
    let f = match ty {
        Ty::F32 => f32_formula(i, FloatMods::of(i))?,
        Ty::F32x2 => f32x2_formula(i, FloatMods::of(i))?,
        Ty::F64 => f64_formula(i, FloatMods::of(i))?,
        Ty::F16 | Ty::Bf16 | Ty::F16x2 | Ty::Bf16x2 => half_formula(i, ty, FloatMods::of(i))?,
        Ty::Pred => pred_formula(i)?,
        _ => int_formula(i, ty)?,
    };
    let special = matches!(
        i.name.as_str(),
        "ex2" | "lg2" | "rcp" | "rsqrt" | "sqrt" | "sin" | "cos" | "tanh"
    );
    let class = match ty {
        _ if special => Class::SpecialFunction,
        Ty::F32 | Ty::F32x2 => Class::Float32,
        Ty::F64 => Class::Float64,
        Ty::F16 | Ty::Bf16 | Ty::F16x2 | Ty::Bf16x2 => Class::Half,
        _ => Class::Integer,
    };
    Some((f, class))
}

fn f32_formula(i: &Instr, m: FloatMods) -> Option<LaneFn> {
    Some(match i.name.as_str() {
        "add" => f32_modes!(m, |a, b| float::add),
        "sub" => f32_modes!(m, |a, b| float::sub),
        "mul" => f32_modes!(m, |a, b| float::mul),
        // `mad.f32` is fused on every target that PTX 8 has.
        "fma" | "mad" => f32_modes!(m, |a, b, c| float::fma),
        "div" => f32_modes!(m, |a, b| float::div),
        "rcp" => f32_modes!(m, |a| float::rcp),
        "sqrt" => f32_modes!(m, |a| float::sqrt),
        "neg" if m.ftz => lanes!(|a: f32| -float::flush(a)),
        "neg" => lanes!(|a: f32| -a),
        "abs" if m.ftz => lanes!(|a: f32| float::flush(a).abs()),
        "abs" => lanes!(|a: f32| a.abs()),
        "min" => match (m.ftz, m.nan) {
            (false, false) => lanes!(|a: f32, b: f32| float::min::<false, false>(a, b)),
            (false, true) => lanes!(|a: f32, b: f32| float::min::<false, true>(a, b)),
            (true, false) => lanes!(|a: f32, b: f32| float::min::<true, false>(a, b)),
            (true, true) => lanes!(|a: f32, b: f32| float::min::<true, true>(a, b)),
        },
        "max" => match (m.ftz, m.nan) {
            (false, false) => lanes!(|a: f32, b: f32| float::max::<false, false>(a, b)),
            (false, true) => lanes!(|a: f32, b: f32| float::max::<false, true>(a, b)),
            (true, false) => lanes!(|a: f32, b: f32| float::max::<true, false>(a, b)),
            (true, true) => lanes!(|a: f32, b: f32| float::max::<true, true>(a, b)),
        },
        "ex2" => f32_ftz!(m, float::ex2),
        "lg2" => f32_ftz!(m, float::lg2),
        "rsqrt" => f32_ftz!(m, float::rsqrt),
        "sin" => f32_ftz!(m, float::sin),
        "cos" => f32_ftz!(m, float::cos),
        "tanh" => lanes!(|a: f32| float::tanh(a)),
        "copysign" => lanes!(|a: f32, b: f32| b.copysign(a)),
        _ => return None,
    })
}

fn f32x2_formula(i: &Instr, m: FloatMods) -> Option<LaneFn> {
    if m.sat {
        return None;
    }
    Some(match i.name.as_str() {
        "add" => f32x2_modes!(m, |a, b| float::add),
        "sub" => f32x2_modes!(m, |a, b| float::sub),
        "mul" => f32x2_modes!(m, |a, b| float::mul),
        "fma" => f32x2_modes!(m, |a, b, c| float::fma),
        _ => return None,
    })
}

fn f64_formula(i: &Instr, m: FloatMods) -> Option<LaneFn> {
    let nearest = m.mode == RN;
    Some(match i.name.as_str() {
        "add" => f64_modes!(m, |a, b| float::add64),
        "sub" => f64_modes!(m, |a, b| float::sub64),
        "mul" => f64_modes!(m, |a, b| float::mul64),
        "fma" | "mad" if nearest => lanes!(|a: f64, b: f64, c: f64| a.mul_add(b, c)),
        "div" if nearest => lanes!(|a: f64, b: f64| a / b),
        "rcp" if i.has("approx") => lanes!(|a: u64| float::gross_rcp64(a)),
        "rsqrt" if i.has("ftz") => lanes!(|a: u64| float::gross_rsqrt64(a)),
        "rcp" if nearest => lanes!(|a: f64| 1.0 / a),
        "sqrt" if nearest => lanes!(|a: f64| a.sqrt()),
        "rsqrt" => lanes!(|a: f64| 1.0 / a.sqrt()),
        "neg" => lanes!(|a: f64| -a),
        "abs" => lanes!(|a: f64| a.abs()),
        "min" => lanes!(|a: f64, b: f64| float::min64(a, b)),
        "max" => lanes!(|a: f64, b: f64| float::max64(a, b)),
        "copysign" => lanes!(|a: f64, b: f64| b.copysign(a)),
        _ => return None,
    })
}

fn half_formula(i: &Instr, ty: Ty, m: FloatMods) -> Option<LaneFn> {
    if m.mode != RN {
        return None;
    }
    // `ex2.approx.ftz.bf16` flushes by its own definition; the bf16 forms below take no `.ftz`.
    let m = if matches!(ty, Ty::Bf16 | Ty::Bf16x2) {
        FloatMods { ftz: false, ..m }
    } else {
        m
    };
    Some(match i.name.as_str() {
        "add" => half_op!(ty, m, |a, b| add),
        "sub" => half_op!(ty, m, |a, b| sub),
        "mul" => half_op!(ty, m, |a, b| mul),
        "fma" => half_op!(ty, m, |a, b, c| fma),
        "neg" => half_op!(ty, m, |a| neg),
        "abs" => half_op!(ty, m, |a| abs),
        "min" if m.nan => half_op!(ty, m, |a, b| min, true),
        "min" => half_op!(ty, m, |a, b| min, false),
        "max" if m.nan => half_op!(ty, m, |a, b| max, true),
        "max" => half_op!(ty, m, |a, b| max, false),
        "ex2" => half_op!(ty, m, |a| ex2),
        "tanh" => half_op!(ty, m, |a| tanh),
        _ => return None,
    })
}

fn pred_formula(i: &Instr) -> Option<LaneFn> {
    Some(match i.name.as_str() {
        "and" => lanes!(|a: bool, b: bool| a & b),
        "or" => lanes!(|a: bool, b: bool| a | b),
        "xor" => lanes!(|a: bool, b: bool| a ^ b),
        "not" => lanes!(|a: bool| !a),
        _ => return None,
    })
}
