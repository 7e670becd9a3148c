//! Complex arithmetic on pairs of real terms.

use super::value::{add, map1, map2, mul};
use mixc_ir::{Func, T, Term};

pub type Pair = (T, T);

pub fn times(a: &Pair, b: &Pair) -> Pair {
    let cross = |x: &T, y: &T| mul(x.clone(), y.clone());
    (
        map2(Func::Sub, cross(&a.0, &b.0), cross(&a.1, &b.1)),
        add(cross(&a.0, &b.1), cross(&a.1, &b.0)),
    )
}

/// A complex number times a real one.
pub fn scale(a: &Pair, by: &T) -> Pair {
    (mul(a.0.clone(), by.clone()), mul(a.1.clone(), by.clone()))
}

/// `a / b = a conj(b) / |b|^2`.
pub fn divide(a: &Pair, b: &Pair) -> Pair {
    let (re, im) = times(a, &conj(b));
    let norm = norm(b);
    (map2(Func::Div, re, norm.clone()), map2(Func::Div, im, norm))
}

pub fn divide_real(a: &Pair, by: &T) -> Pair {
    (
        map2(Func::Div, a.0.clone(), by.clone()),
        map2(Func::Div, a.1.clone(), by.clone()),
    )
}

pub fn conj(a: &Pair) -> Pair {
    (a.0.clone(), map1(Func::Neg, a.1.clone()))
}

/// `|a|^2`.
fn norm(a: &Pair) -> T {
    add(mul(a.0.clone(), a.0.clone()), mul(a.1.clone(), a.1.clone()))
}

pub fn abs(a: &Pair) -> T {
    map1(Func::Sqrt, norm(a))
}

/// `exp(x + iy) = exp(x) (cos y + i sin y)`.
pub fn exp(a: &Pair) -> Pair {
    scale(&expi(&a.1), &map1(Func::Exp, a.0.clone()))
}

pub fn expi(angle: &T) -> Pair {
    (
        map1(Func::Cos, angle.clone()),
        map1(Func::Sin, angle.clone()),
    )
}

pub fn real(a: T) -> Pair {
    (a, Term::zero())
}
