//! Interval arithmetic: bounds of a term's value from the declared ranges of the inputs.

use mixc_ir::Func;

/// Lower and upper bound.
pub type Range = (f64, f64);

pub const ANY: Range = (f64::NEG_INFINITY, f64::INFINITY);
pub const UNIT: Range = (0.0, 1.0);
const POSITIVE: Range = (0.0, f64::INFINITY);

pub fn is_unit(r: Range) -> bool {
    r.0 >= 0.0 && r.1 <= 1.0
}

/// Bounds that hold whatever the number of summed terms is.
pub fn many(r: Range) -> Range {
    (
        if r.0 >= 0.0 { 0.0 } else { f64::NEG_INFINITY },
        if r.1 <= 0.0 { 0.0 } else { f64::INFINITY },
    )
}

/// Bounds of a product of values of one range, however many.
pub fn power(r: Range) -> Range {
    if r == (1.0, 1.0) {
        r
    } else if is_unit(r) {
        UNIT
    } else if r.0 >= 0.0 {
        POSITIVE
    } else {
        ANY
    }
}

pub fn add(a: Range, b: Range) -> Range {
    clean((a.0 + b.0, a.1 + b.1))
}

pub fn mul(a: Range, b: Range) -> Range {
    // 0 times infinity is 0 here: the bound is approached, not reached.
    let product = |x: f64, y: f64| if x == 0.0 || y == 0.0 { 0.0 } else { x * y };
    let all = [
        product(a.0, b.0),
        product(a.0, b.1),
        product(a.1, b.0),
        product(a.1, b.1),
    ];
    clean((
        all.iter().copied().fold(f64::INFINITY, f64::min),
        all.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    ))
}

pub fn hull(a: Range, b: Range) -> Range {
    (a.0.min(b.0), a.1.max(b.1))
}

pub fn meet(a: Range, b: Range) -> Range {
    (a.0.max(b.0), a.1.min(b.1))
}

fn clean(r: Range) -> Range {
    (
        if r.0.is_nan() { f64::NEG_INFINITY } else { r.0 },
        if r.1.is_nan() { f64::INFINITY } else { r.1 },
    )
}

pub fn map(f: Func, args: &[Range]) -> Range {
    let increasing = |r: Range| clean((f.eval(&[r.0]), f.eval(&[r.1])));
    match (f, args) {
        (Func::Neg, [a]) => (-a.1, -a.0),
        (Func::Sub, [a, b]) => add(*a, (-b.1, -b.0)),
        (
            Func::Exp
            | Func::Exp2
            | Func::Expm1
            | Func::Tanh
            | Func::Sigmoid
            | Func::LogSigmoid
            | Func::Softplus
            | Func::Relu
            | Func::Erf
            | Func::Elu
            | Func::Floor
            | Func::Ceil
            | Func::Round
            | Func::Sign,
            [a],
        ) => increasing(*a),
        (Func::Sqrt | Func::Log | Func::Log2, [a]) if a.0 >= 0.0 => increasing(*a),
        (Func::Recip, [a]) if a.0 > 0.0 => (1.0 / a.1, 1.0 / a.0),
        (Func::Recip | Func::RecipOrZero | Func::Rsqrt, [a]) if a.0 >= 0.0 => POSITIVE,
        (Func::Div, [a, b]) if a.0 >= 0.0 && b.0 >= 0.0 => POSITIVE,
        (Func::Abs, [a]) => {
            let far = a.0.abs().max(a.1.abs());
            if a.0 >= 0.0 { *a } else { (0.0, far) }
        }
        (Func::Max, [a, b]) => (a.0.max(b.0), a.1.max(b.1)),
        (Func::Min, [a, b]) => (a.0.min(b.0), a.1.min(b.1)),
        (Func::Select, [_, a, b]) => hull(*a, *b),
        (Func::Sin | Func::Cos, _) => (-1.0, 1.0),
        (Func::Pow, [a, b]) if is_unit(*a) && b.0 >= 0.0 => UNIT,
        (Func::Pow, [a, _]) if a.0 >= 0.0 => POSITIVE,
        (f, _) if f.is_predicate() => UNIT,
        _ => ANY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_stay_in_the_unit_interval() {
        assert!(is_unit(map(Func::Sigmoid, &[ANY])));
        assert!(is_unit(map(Func::Exp, &[map(Func::Neg, &[POSITIVE])])));
        assert!(is_unit(map(
            Func::Exp,
            &[mul(map(Func::Softplus, &[ANY]), (f64::NEG_INFINITY, 0.0))]
        )));
        assert!(!is_unit(map(Func::Exp, &[ANY])));
    }

    #[test]
    fn products_take_the_extreme_corners() {
        assert_eq!(mul((-2.0, 3.0), (-5.0, 1.0)), (-15.0, 10.0));
        assert_eq!(mul((0.0, 0.0), ANY), (0.0, 0.0));
    }
}
