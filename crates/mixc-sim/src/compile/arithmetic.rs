//! The table of arithmetic instructions: name, type and modifiers to the formula of one lane.

use crate::numeric::half_precision::{self as hp, IsBf16, IsF16};
use crate::numeric::round::*;
use crate::numeric::{LaneFn, float, integer, lanes};
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

/// One formula for every integer width, `|a, b| e` with `a, b` of the width's unsigned or signed type.
macro_rules! by_width {
    ($ty:expr, |$($x:ident),+| $e:expr) => {
        match $ty {
            Ty::U16 | Ty::B16 => lanes!(|$($x: u16),+| $e),
            Ty::S16 => lanes!(|$($x: i16),+| $e),
            Ty::U32 | Ty::B32 => lanes!(|$($x: u32),+| $e),
            Ty::S32 => lanes!(|$($x: i32),+| $e),
            Ty::U64 | Ty::B64 => lanes!(|$($x: u64),+| $e),
            Ty::S64 => lanes!(|$($x: i64),+| $e),
            _ => return None,
        }
    };
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
        Ty::F32 => Class::Float32,
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

fn int_formula(i: &Instr, ty: Ty) -> Option<LaneFn> {
    let signed = ty.signed();
    if i.has("sat") && !(matches!(i.name.as_str(), "add" | "sub") && ty == Ty::S32) {
        return None;
    }
    Some(match i.name.as_str() {
        "add" if i.has("sat") && ty == Ty::S32 => lanes!(|a: i32, b: i32| a.saturating_add(b)),
        "sub" if i.has("sat") && ty == Ty::S32 => lanes!(|a: i32, b: i32| a.saturating_sub(b)),
        "add" => by_width!(ty, |a, b| a.wrapping_add(b)),
        "sub" => by_width!(ty, |a, b| a.wrapping_sub(b)),
        "mul" if i.has("lo") => by_width!(ty, |a, b| a.wrapping_mul(b)),
        "mul" if i.has("hi") => mul_hi(ty)?,
        "mul" if i.has("wide") => mul_wide(ty)?,
        "mad" if i.has("lo") => by_width!(ty, |a, b, c| a.wrapping_mul(b).wrapping_add(c)),
        "mad" if i.has("hi") => mad_hi(ty)?,
        "mad" if i.has("wide") => mad_wide(ty)?,
        "mul24" | "mad24" => product24(i, ty)?,
        "sad" => match ty {
            Ty::U16 => lanes!(|a: u16, b: u16, c: u16| a.abs_diff(b).wrapping_add(c)),
            Ty::S16 => lanes!(|a: i16, b: i16, c: u16| a.abs_diff(b).wrapping_add(c)),
            Ty::U32 => lanes!(|a: u32, b: u32, c: u32| a.abs_diff(b).wrapping_add(c)),
            Ty::S32 => lanes!(|a: i32, b: i32, c: u32| a.abs_diff(b).wrapping_add(c)),
            Ty::U64 => lanes!(|a: u64, b: u64, c: u64| a.abs_diff(b).wrapping_add(c)),
            Ty::S64 => lanes!(|a: i64, b: i64, c: u64| a.abs_diff(b).wrapping_add(c)),
            _ => return None,
        },
        "bmsk" if i.has("clamp") => lanes!(|a: u32, b: u32| integer::bit_mask(a, b, true)),
        "bmsk" => lanes!(|a: u32, b: u32| integer::bit_mask(a, b, false)),
        "szext" => match (i.has("clamp"), signed) {
            (true, true) => lanes!(|a: u32, b: u32| integer::extend(a, b, true, true)),
            (true, false) => lanes!(|a: u32, b: u32| integer::extend(a, b, true, false)),
            (false, true) => lanes!(|a: u32, b: u32| integer::extend(a, b, false, true)),
            (false, false) => lanes!(|a: u32, b: u32| integer::extend(a, b, false, false)),
        },
        // Division by zero gives an unspecified value in PTX; all ones is what hardware gives.
        "div" if signed => match ty {
            Ty::S16 => lanes!(|a: i16, b: i16| if b == 0 { -1 } else { a.wrapping_div(b) }),
            Ty::S32 => lanes!(|a: i32, b: i32| if b == 0 { -1 } else { a.wrapping_div(b) }),
            _ => lanes!(|a: i64, b: i64| if b == 0 { -1 } else { a.wrapping_div(b) }),
        },
        "div" => match ty {
            Ty::U16 => lanes!(|a: u16, b: u16| a.checked_div(b).unwrap_or(u16::MAX)),
            Ty::U32 => lanes!(|a: u32, b: u32| a.checked_div(b).unwrap_or(u32::MAX)),
            Ty::U64 => lanes!(|a: u64, b: u64| a.checked_div(b).unwrap_or(u64::MAX)),
            _ => return None,
        },
        "rem" => by_width!(ty, |a, b| if b == 0 { a } else { a.wrapping_rem(b) }),
        "abs" => match ty {
            Ty::S16 => lanes!(|a: i16| a.wrapping_abs()),
            Ty::S32 => lanes!(|a: i32| a.wrapping_abs()),
            Ty::S64 => lanes!(|a: i64| a.wrapping_abs()),
            _ => return None,
        },
        "neg" => match ty {
            Ty::S16 => lanes!(|a: i16| a.wrapping_neg()),
            Ty::S32 => lanes!(|a: i32| a.wrapping_neg()),
            Ty::S64 => lanes!(|a: i64| a.wrapping_neg()),
            _ => return None,
        },
        "min" if i.has("relu") => lanes!(|a: i32, b: i32| a.min(b).max(0)),
        "max" if i.has("relu") => lanes!(|a: i32, b: i32| a.max(b).max(0)),
        "min" => by_width!(ty, |a, b| a.min(b)),
        "max" => by_width!(ty, |a, b| a.max(b)),
        "and" => by_width!(ty, |a, b| a & b),
        "or" => by_width!(ty, |a, b| a | b),
        "xor" => by_width!(ty, |a, b| a ^ b),
        "not" => by_width!(ty, |a| !a),
        "cnot" => match ty.bits() {
            16 => lanes!(|a: u16| u16::from(a == 0)),
            32 => lanes!(|a: u32| u32::from(a == 0)),
            _ => lanes!(|a: u64| u64::from(a == 0)),
        },
        "shl" => match ty.bits() {
            16 => lanes!(|a: u16, b: u32| integer::shift_left(u64::from(a), b, 16) as u16),
            32 => lanes!(|a: u32, b: u32| integer::shift_left(u64::from(a), b, 32) as u32),
            _ => lanes!(|a: u64, b: u32| integer::shift_left(a, b, 64)),
        },
        "shr" => match ty {
            Ty::S16 => lanes!(|a: i16, b: u32| a >> b.min(15)),
            Ty::S32 => lanes!(|a: i32, b: u32| a >> b.min(31)),
            Ty::S64 => lanes!(|a: i64, b: u32| a >> b.min(63)),
            Ty::U16 | Ty::B16 => {
                lanes!(|a: u16, b: u32| integer::shift_right(u64::from(a), b, 16) as u16)
            }
            Ty::U32 | Ty::B32 => {
                lanes!(|a: u32, b: u32| integer::shift_right(u64::from(a), b, 32) as u32)
            }
            _ => lanes!(|a: u64, b: u32| integer::shift_right(a, b, 64)),
        },
        "shf" => match (i.has("l"), i.has("wrap")) {
            (true, true) => lanes!(|a: u32, b: u32, c: u32| integer::funnel_left(a, b, c, true)),
            (true, false) => lanes!(|a: u32, b: u32, c: u32| integer::funnel_left(a, b, c, false)),
            (false, true) => lanes!(|a: u32, b: u32, c: u32| integer::funnel_right(a, b, c, true)),
            (false, false) => {
                lanes!(|a: u32, b: u32, c: u32| integer::funnel_right(a, b, c, false))
            }
        },
        "popc" if ty == Ty::B32 => lanes!(|a: u32| a.count_ones()),
        "popc" => lanes!(|a: u64| a.count_ones()),
        "clz" if ty == Ty::B32 => lanes!(|a: u32| a.leading_zeros()),
        "clz" => lanes!(|a: u64| a.leading_zeros()),
        "brev" if ty == Ty::B32 => lanes!(|a: u32| a.reverse_bits()),
        "brev" => lanes!(|a: u64| a.reverse_bits()),
        "bfind" => match (ty, i.has("shiftamt")) {
            (Ty::U32, false) => lanes!(|a: u64| integer::find_top_bit(a, 32, false, false)),
            (Ty::U32, true) => lanes!(|a: u64| integer::find_top_bit(a, 32, false, true)),
            (Ty::S32, false) => lanes!(|a: u64| integer::find_top_bit(a, 32, true, false)),
            (Ty::S32, true) => lanes!(|a: u64| integer::find_top_bit(a, 32, true, true)),
            (Ty::U64, false) => lanes!(|a: u64| integer::find_top_bit(a, 64, false, false)),
            (Ty::U64, true) => lanes!(|a: u64| integer::find_top_bit(a, 64, false, true)),
            (Ty::S64, false) => lanes!(|a: u64| integer::find_top_bit(a, 64, true, false)),
            _ => lanes!(|a: u64| integer::find_top_bit(a, 64, true, true)),
        },
        "bfe" => match ty {
            Ty::U32 => {
                lanes!(|a: u64, b: u64, c: u64| integer::bit_field_extract(a, b, c, 32, false))
            }
            Ty::S32 => {
                lanes!(|a: u64, b: u64, c: u64| integer::bit_field_extract(a, b, c, 32, true))
            }
            Ty::U64 => {
                lanes!(|a: u64, b: u64, c: u64| integer::bit_field_extract(a, b, c, 64, false))
            }
            Ty::S64 => {
                lanes!(|a: u64, b: u64, c: u64| integer::bit_field_extract(a, b, c, 64, true))
            }
            _ => return None,
        },
        "bfi" if ty == Ty::B32 => {
            lanes!(|a: u64, b: u64, c: u64, e: u64| integer::bit_field_insert(a, b, c, e, 32))
        }
        "bfi" => lanes!(|a: u64, b: u64, c: u64, e: u64| integer::bit_field_insert(a, b, c, e, 64)),
        "prmt" => permutation(i)?,
        "lop3" => lanes!(|a: u32, b: u32, c: u32, t: u32| integer::logic3(a, b, c, t)),
        "dp4a" | "dp2a" => dot(i)?,
        _ => return None,
    })
}

/// The lower or upper half of a product.
pub fn product(ty: Ty, high: bool) -> Option<LaneFn> {
    if high {
        return mul_hi(ty);
    }
    Some(by_width!(ty, |a, b| a.wrapping_mul(b)))
}

fn permutation(i: &Instr) -> Option<LaneFn> {
    macro_rules! mode {
        ($n:literal) => {
            lanes!(|a: u32, b: u32, c: u32| {
                let selectors = integer::PERMUTE_MODES[$n].1;
                integer::permute_bytes(a, b, selectors[(c & 3) as usize])
            })
        };
    }
    let Some(name) = i.mods.get(1) else {
        return Some(lanes!(|a: u32, b: u32, c: u32| integer::permute_bytes(
            a, b, c
        )));
    };
    let place = integer::PERMUTE_MODES.iter().position(|m| m.0 == name);
    Some(match place? {
        0 => mode!(0),
        1 => mode!(1),
        2 => mode!(2),
        3 => mode!(3),
        4 => mode!(4),
        _ => mode!(5),
    })
}

/// `mul24`, `mad24`: `.lo` takes bits 0 to 31 of the 48-bit product, `.hi` bits 16 to 47.
fn product24(i: &Instr, ty: Ty) -> Option<LaneFn> {
    macro_rules! product {
        ($signed:literal, $shift:literal) => {
            if i.name == "mul24" {
                lanes!(|a: u32, b: u32| {
                    let product = integer::factor24(a, $signed) * integer::factor24(b, $signed);
                    (product >> $shift) as u32
                })
            } else {
                lanes!(|a: u32, b: u32, c: u32| {
                    let product = integer::factor24(a, $signed) * integer::factor24(b, $signed);
                    ((product >> $shift) as u32).wrapping_add(c)
                })
            }
        };
    }
    Some(match (ty, i.has("hi"), i.has("lo")) {
        (Ty::U32, false, true) => product!(false, 0),
        (Ty::U32, true, false) => product!(false, 16),
        (Ty::S32, false, true) => product!(true, 0),
        (Ty::S32, true, false) => product!(true, 16),
        _ => return None,
    })
}

/// `dp4a`, `dp2a`: sums of products of narrow numbers.
fn dot(i: &Instr) -> Option<LaneFn> {
    let types = i.types();
    let signed = (types.first()?.signed(), types.get(1)?.signed());
    macro_rules! signs {
        (|$a:ident, $b:ident, $c:ident, $s:ident, $t:ident| $e:expr) => {
            match signed {
                (false, false) => signs!(@ $a $b $c $s $t false false $e),
                (false, true) => signs!(@ $a $b $c $s $t false true $e),
                (true, false) => signs!(@ $a $b $c $s $t true false $e),
                (true, true) => signs!(@ $a $b $c $s $t true true $e),
            }
        };
        (@ $a:ident $b:ident $c:ident $s:ident $t:ident $x:literal $y:literal $e:expr) => {
            lanes!(|$a: u32, $b: u32, $c: u32| {
                let ($s, $t) = ($x, $y);
                $e
            })
        };
    }
    Some(match (i.name.as_str(), i.has("hi")) {
        ("dp4a", _) => signs!(|a, b, c, s, t| integer::dot4(a, b, c, s, t)),
        (_, false) => signs!(|a, b, c, s, t| integer::dot2(a, b, c, s, t, false)),
        (_, true) => signs!(|a, b, c, s, t| integer::dot2(a, b, c, s, t, true)),
    })
}

fn mul_hi(ty: Ty) -> Option<LaneFn> {
    Some(match ty {
        Ty::U16 => lanes!(|a: u16, b: u16| ((u32::from(a) * u32::from(b)) >> 16) as u16),
        Ty::S16 => lanes!(|a: i16, b: i16| ((i32::from(a) * i32::from(b)) >> 16) as i16),
        Ty::U32 => lanes!(|a: u32, b: u32| ((u64::from(a) * u64::from(b)) >> 32) as u32),
        Ty::S32 => lanes!(|a: i32, b: i32| ((i64::from(a) * i64::from(b)) >> 32) as i32),
        Ty::U64 => lanes!(|a: u64, b: u64| ((u128::from(a) * u128::from(b)) >> 64) as u64),
        Ty::S64 => lanes!(|a: i64, b: i64| ((i128::from(a) * i128::from(b)) >> 64) as i64),
        _ => return None,
    })
}

fn mad_hi(ty: Ty) -> Option<LaneFn> {
    Some(match ty {
        Ty::U16 => lanes!(|a: u16, b: u16, c: u16| {
            (((u32::from(a) * u32::from(b)) >> 16) as u16).wrapping_add(c)
        }),
        Ty::S16 => lanes!(|a: i16, b: i16, c: i16| {
            (((i32::from(a) * i32::from(b)) >> 16) as i16).wrapping_add(c)
        }),
        Ty::U32 => lanes!(
            |a: u32, b: u32, c: u32| (((u64::from(a) * u64::from(b)) >> 32) as u32).wrapping_add(c)
        ),
        Ty::S32 => lanes!(
            |a: i32, b: i32, c: i32| (((i64::from(a) * i64::from(b)) >> 32) as i32).wrapping_add(c)
        ),
        Ty::U64 => lanes!(
            |a: u64, b: u64, c: u64| (((u128::from(a) * u128::from(b)) >> 64) as u64)
                .wrapping_add(c)
        ),
        Ty::S64 => lanes!(
            |a: i64, b: i64, c: i64| (((i128::from(a) * i128::from(b)) >> 64) as i64)
                .wrapping_add(c)
        ),
        _ => return None,
    })
}

fn mul_wide(ty: Ty) -> Option<LaneFn> {
    Some(match ty {
        Ty::U16 => lanes!(|a: u16, b: u16| u32::from(a) * u32::from(b)),
        Ty::S16 => lanes!(|a: i16, b: i16| i32::from(a) * i32::from(b)),
        Ty::U32 => lanes!(|a: u32, b: u32| u64::from(a) * u64::from(b)),
        Ty::S32 => lanes!(|a: i32, b: i32| i64::from(a) * i64::from(b)),
        _ => return None,
    })
}

fn mad_wide(ty: Ty) -> Option<LaneFn> {
    Some(match ty {
        Ty::U16 => lanes!(|a: u16, b: u16, c: u32| (u32::from(a) * u32::from(b)).wrapping_add(c)),
        Ty::S16 => lanes!(|a: i16, b: i16, c: i32| (i32::from(a) * i32::from(b)).wrapping_add(c)),
        Ty::U32 => lanes!(|a: u32, b: u32, c: u64| (u64::from(a) * u64::from(b)).wrapping_add(c)),
        Ty::S32 => lanes!(|a: i32, b: i32, c: i64| (i64::from(a) * i64::from(b)).wrapping_add(c)),
        _ => return None,
    })
}

/// Comparison operators of `setp` and `set` (PTX ISA, "Comparison and Selection Instructions");
/// `.lo .ls .hi .hs` are the unsigned names, the `u` forms are true on NaN.
pub fn comparison(name: &str, ty: Ty) -> Option<LaneFn> {
    macro_rules! ordered {
        ($($x:tt)+) => {
            match ty {
                Ty::F32 => lanes!(|a: f32, b: f32| $($x)+(a, b)),
                Ty::F64 => lanes!(|a: f64, b: f64| $($x)+(a, b)),
                Ty::F16 => lanes!(|a: u16, b: u16| $($x)+(hp::value::<IsF16>(a), hp::value::<IsF16>(b))),
                Ty::Bf16 => lanes!(|a: u16, b: u16| $($x)+(hp::value::<IsBf16>(a), hp::value::<IsBf16>(b))),
                _ => by_width!(ty, |a, b| $($x)+(a, b)),
            }
        };
    }
    macro_rules! unordered {
        (|$a:ident, $b:ident| $e:expr) => {
            match ty {
                Ty::F32 => lanes!(|$a: f32, $b: f32| $e),
                Ty::F64 => lanes!(|$a: f64, $b: f64| $e),
                Ty::F16 => lanes!(|p: u16, q: u16| {
                    let ($a, $b) = (hp::value::<IsF16>(p), hp::value::<IsF16>(q));
                    $e
                }),
                Ty::Bf16 => lanes!(|p: u16, q: u16| {
                    let ($a, $b) = (hp::value::<IsBf16>(p), hp::value::<IsBf16>(q));
                    $e
                }),
                _ => return None,
            }
        };
    }
    fn eq<T: PartialEq>(a: T, b: T) -> bool {
        a == b
    }
    fn lt<T: PartialOrd>(a: T, b: T) -> bool {
        a < b
    }
    fn le<T: PartialOrd>(a: T, b: T) -> bool {
        a <= b
    }
    fn gt<T: PartialOrd>(a: T, b: T) -> bool {
        a > b
    }
    fn ge<T: PartialOrd>(a: T, b: T) -> bool {
        a >= b
    }
    /// Of floats: both numbers and different. Of integers: different.
    // `!=` would be true on NaN.
    #[allow(clippy::double_comparisons)]
    fn ne<T: PartialOrd>(a: T, b: T) -> bool {
        a < b || a > b
    }
    Some(match name {
        "eq" => ordered!(eq),
        "ne" => ordered!(ne),
        "lt" | "lo" => ordered!(lt),
        "le" | "ls" => ordered!(le),
        "gt" | "hi" => ordered!(gt),
        "ge" | "hs" => ordered!(ge),
        "equ" => unordered!(|a, b| a == b || a.is_nan() || b.is_nan()),
        "neu" => unordered!(|a, b| a != b || a.is_nan() || b.is_nan()),
        "ltu" => unordered!(|a, b| a < b || a.is_nan() || b.is_nan()),
        "leu" => unordered!(|a, b| a <= b || a.is_nan() || b.is_nan()),
        "gtu" => unordered!(|a, b| a > b || a.is_nan() || b.is_nan()),
        "geu" => unordered!(|a, b| a >= b || a.is_nan() || b.is_nan()),
        "num" => unordered!(|a, b| !a.is_nan() && !b.is_nan()),
        "nan" => unordered!(|a, b| a.is_nan() || b.is_nan()),
        _ => return None,
    })
}
