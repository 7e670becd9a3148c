//! Rules on scalar expressions. Each keeps the value to the bit, NaN and -0 included.

use crate::Expr;
use crate::ranges::{Interval, compare};
use mixc_ir::{Func, Ix};

/// Simplifies bottom-up; `range` gives the values of index expressions.
pub(super) fn simplify(expr: Expr, range: &dyn Fn(&Ix) -> Interval) -> Expr {
    match expr {
        Expr::Const(_) | Expr::Scalar(_) | Expr::Elem(_) => expr,
        Expr::Index(ix) => match range(&ix).constant() {
            Some(value) => Expr::Const(value as f32),
            None => Expr::Index(ix),
        },
        Expr::Add(a, b) => sum(simplify(*a, range), simplify(*b, range)),
        Expr::Mul(a, b) => product(simplify(*a, range), simplify(*b, range)),
        Expr::Call(func, args) => {
            let args: Vec<Expr> = args.into_iter().map(|a| simplify(a, range)).collect();
            call(func, args, range)
        }
    }
}

fn sum(a: Expr, b: Expr) -> Expr {
    match (&a, &b) {
        (Expr::Const(x), Expr::Const(y)) => Expr::Const(x + y),
        (_, Expr::Const(y)) if is_neutral(*y, &a) => a,
        (Expr::Const(x), _) if is_neutral(*x, &b) => b,
        _ => Expr::Add(Box::new(a), Box::new(b)),
    }
}

/// Whether `other + zero` is `other`: -0 is neutral, and 0 is except for -0.
fn is_neutral(zero: f32, other: &Expr) -> bool {
    zero == 0.0 && (zero.is_sign_negative() || never_negative_zero(other))
}

fn product(a: Expr, b: Expr) -> Expr {
    match (&a, &b) {
        (Expr::Const(x), Expr::Const(y)) => Expr::Const(x * y),
        (_, Expr::Const(1.0)) => a,
        (Expr::Const(1.0), _) => b,
        (_, Expr::Const(y)) if is_zero(*y) && is_predicate(&a) => b,
        (Expr::Const(x), _) if is_zero(*x) && is_predicate(&b) => a,
        _ => Expr::Mul(Box::new(a), Box::new(b)),
    }
}

fn is_zero(value: f32) -> bool {
    value.to_bits() == 0
}

fn call(func: Func, mut args: Vec<Expr>, range: &dyn Fn(&Ix) -> Interval) -> Expr {
    if args.len() != func.arity() {
        return Expr::Call(func, args);
    }
    if let Some(value) = folded(func, &args) {
        return Expr::Const(value);
    }
    if let Some(value) = decided(func, &args, range) {
        return Expr::Const(f32::from(value));
    }
    let first = constant(&args[0]);
    let second = args.get(1).and_then(constant);
    match func {
        Func::Select => match first {
            Some(c) => args.swap_remove(if c != 0.0 { 1 } else { 2 }),
            None if args[1] == args[2] => args.swap_remove(1),
            None => Expr::Call(func, args),
        },
        Func::Sub if second.is_some_and(is_zero) => args.swap_remove(0),
        Func::Div if second == Some(1.0) => args.swap_remove(0),
        Func::And | Func::Or => {
            // The constant that decides, and the one that leaves it to the other argument.
            let decides = func == Func::Or;
            let known = [first, second].map(|c| c.map(|v| v != 0.0));
            match known {
                [Some(v), _] | [_, Some(v)] if v == decides => Expr::Const(f32::from(v)),
                [Some(_), None] if is_predicate(&args[1]) => args.swap_remove(1),
                [None, Some(_)] if is_predicate(&args[0]) => args.swap_remove(0),
                _ => Expr::Call(func, args),
            }
        }
        Func::Not => match &mut args[0] {
            Expr::Call(Func::Not, inner) if inner.len() == 1 && is_predicate(&inner[0]) => {
                inner.swap_remove(0)
            }
            _ => Expr::Call(func, args),
        },
        _ => Expr::Call(func, args),
    }
}

/// The value of a function of constants, by way of f64 as in the interpreter.
pub fn folded(func: Func, args: &[Expr]) -> Option<f32> {
    let value = |arg: &Expr| match arg {
        Expr::Const(v) => Some(f64::from(*v)),
        Expr::Index(Ix::Const(n)) => Some(*n as f64),
        _ => None,
    };
    let values: Option<Vec<f64>> = args.iter().map(value).collect();
    Some(func.eval(&values?) as f32)
}

fn constant(expr: &Expr) -> Option<f32> {
    if let Expr::Const(v) = expr {
        Some(*v)
    } else {
        None
    }
}

/// A comparison of index expressions whose values decide it.
fn decided(func: Func, args: &[Expr], range: &dyn Fn(&Ix) -> Interval) -> Option<bool> {
    use crate::Compare;
    let (how, negate) = match func {
        Func::Lt => (Compare::Lt, false),
        Func::Le => (Compare::Le, false),
        Func::Eq => (Compare::Eq, false),
        Func::Ne => (Compare::Eq, true),
        _ => return None,
    };
    let [a, b] = args else { return None };
    let interval = |e: &Expr| match e {
        Expr::Index(ix) => Some(range(ix)),
        Expr::Const(v) if v.fract() == 0.0 && v.abs() <= EXACT as f32 => {
            Some(Interval::point(*v as i64))
        }
        _ => None,
    };
    let (a_range, b_range) = (interval(a)?, interval(b)?);
    // Beyond 2^24 different integers can be the same f32.
    let exact = |i: Interval| -EXACT <= i.lo && i.hi <= EXACT;
    if exact(a_range) && exact(b_range) {
        return Some(compare(a_range, how, b_range)? != negate);
    }
    None
}

const EXACT: i64 = 1 << 24;

fn is_predicate(expr: &Expr) -> bool {
    match expr {
        Expr::Const(v) => is_zero(*v) || *v == 1.0,
        Expr::Call(func, _) => func.is_predicate(),
        _ => false,
    }
}

fn never_negative_zero(expr: &Expr) -> bool {
    match expr {
        Expr::Const(v) => v.to_bits() != (-0.0f32).to_bits(),
        Expr::Index(_) => true,
        // A sum is -0 only if both are.
        Expr::Add(a, b) => never_negative_zero(a) || never_negative_zero(b),
        Expr::Call(func, _) if func.is_predicate() => true,
        Expr::Call(Func::Exp | Func::Exp2 | Func::Sigmoid | Func::Softplus | Func::Abs, _) => true,
        _ => false,
    }
}
