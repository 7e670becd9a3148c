//! The table of integer and bit instructions
//! (PTX ISA, "Integer Arithmetic Instructions", "Logic and Shift Instructions").

use crate::numeric::{LaneFn, integer, lanes};
use crate::syntax::ast::{Instr, Ty};

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
pub(super) use by_width;

/// The formula of an integer or bit instruction.
pub fn int_formula(i: &Instr, ty: Ty) -> Option<LaneFn> {
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
