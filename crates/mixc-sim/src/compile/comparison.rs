//! The table of comparison operators.

use super::integers::by_width;
use crate::numeric::half_precision::{self as hp, IsBf16, IsF16};
use crate::numeric::{LaneFn, lanes};
use crate::syntax::ast::Ty;

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
