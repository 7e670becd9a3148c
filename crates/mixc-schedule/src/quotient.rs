//! Divisions by a number that is the same everywhere, as in `scores / sqrt(D)`, become products with its reciprocal.
//!
//! A division takes as long as ten multiplications, and what multiplies scores can be taken out of their maximum
//! (`mixc_tile::maxima`). The factors of the dividend that are the same everywhere are divided instead, once:
//! `scale * s / cap` is `(scale / cap) * s`. Whole divisors stay: what they divide can be whole too, and its floor must
//! not be the number below.
//!
//! And whether a number divides a difference of positions, as in `(i - j) % r == 0`, becomes a comparison of their
//! remainders: each is that of a row or a column, and not of every score.

use mixc_ir::{Func, Ix, Program, Stmt, T, Term};

pub fn fewer_divisions(program: &mut Program) {
    let fewer = |t: T| as_product(&t).or_else(|| as_remainders(&t)).unwrap_or(t);
    let rewrite = |value: &mut T| *value = value.rebuild(&mut |t| fewer(t));
    for stmt in &mut program.body {
        match stmt {
            Stmt::Let(l) => rewrite(&mut l.value),
            Stmt::Scan(s) => s.body.iter_mut().for_each(|l| rewrite(&mut l.value)),
        }
    }
}

fn as_product(term: &T) -> Option<T> {
    let Term::Map { f: Func::Div, args } = &**term else {
        return None;
    };
    let [x, by] = args.as_slice() else {
        return None;
    };
    if !is_number(by) || is_whole(by) || is_number(x) {
        return None;
    }
    let (numbers, others): (Vec<T>, Vec<T>) = match &**x {
        Term::Sum { axes, factors } if axes.is_empty() => {
            factors.iter().cloned().partition(is_number)
        }
        _ => (vec![], vec![x.clone()]),
    };
    let number = match numbers.as_slice() {
        [] => Term::map(Func::Recip, vec![by.clone()]),
        [one] => Term::map(Func::Div, vec![one.clone(), by.clone()]),
        _ => Term::map(Func::Div, vec![Term::product(numbers), by.clone()]),
    };
    Some(Term::product([vec![number], others].concat()))
}

fn as_remainders(term: &T) -> Option<T> {
    let Term::Map { f: Func::Eq, args } = &**term else {
        return None;
    };
    let remainder = match args.as_slice() {
        [x, zero] if is_zero(zero) => x,
        [zero, x] if is_zero(zero) => x,
        _ => return None,
    };
    let Term::Index(Ix::Mod(difference, by)) = &**remainder else {
        return None;
    };
    let Ix::Sub(a, b) = &**difference else {
        return None;
    };
    let (of_a, of_b) = (a.axes(), b.axes());
    if !is_size(by) || of_a.is_empty() || of_b.is_empty() || !of_a.is_disjoint(&of_b) {
        return None;
    }
    let side = |x: &Ix| std::sync::Arc::new(Term::Index(x.clone() % (**by).clone()));
    Some(Term::map(Func::Eq, vec![side(a), side(b)]))
}

fn is_zero(term: &T) -> bool {
    term.is_const(0.0) || matches!(&**term, Term::Index(Ix::Const(0)))
}

/// Whether a term is made of constants, parameters and sizes alone.
fn is_number(term: &T) -> bool {
    match &**term {
        Term::Const(_) | Term::Scalar(_) => true,
        Term::Index(ix) => is_size(ix),
        Term::Map { args, .. } | Term::Add(args) => args.iter().all(is_number),
        Term::Sum { axes, factors } => axes.is_empty() && factors.iter().all(is_number),
        _ => false,
    }
}

fn is_size(ix: &Ix) -> bool {
    let mut only = true;
    ix.visit_leaves(&mut |leaf| only &= matches!(leaf, Ix::Const(_) | Ix::Dim(_)));
    only
}

/// Whether a number is whole for all that is known, and its reciprocal not exact.
fn is_whole(term: &T) -> bool {
    match &**term {
        Term::Const(v) => v.fract() == 0.0 && v.abs().log2().fract() != 0.0,
        Term::Index(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mixc_ir::Name;

    fn scalar(name: &str) -> T {
        std::sync::Arc::new(Term::Scalar(name.into()))
    }

    fn element() -> T {
        Term::read(&Name::from("x"), vec![Ix::Axis("i".into())])
    }

    fn divided(x: T, by: T) -> Option<String> {
        as_product(&Term::map(Func::Div, vec![x, by])).map(|t| t.to_string())
    }

    #[test]
    fn a_parameter_divides_other_parameters() {
        let scaled = Term::product(vec![scalar("scale"), element()]);
        let found = divided(scaled, scalar("cap")).unwrap();
        assert_eq!(found, "(scale / cap) * x[i]");
        assert_eq!(
            divided(element(), scalar("cap")).unwrap(),
            "recip(cap) * x[i]"
        );
    }

    #[test]
    fn remainders_of_a_difference_are_compared() {
        let (i, j) = (Ix::Axis("i".into()), Ix::Axis("j".into()));
        let by = Ix::Dim("r".into());
        let divides = |x: Ix, by: Ix| {
            let remainder = std::sync::Arc::new(Term::Index(x % by));
            let test = Term::map(Func::Eq, vec![remainder, Term::zero()]);
            as_remainders(&test).map(|t| t.to_string())
        };
        let found = divides(i.clone() - j.clone(), by.clone()).unwrap();
        assert_eq!(found, "#(i % $r) == #(j % $r)");
        // One remainder of one position, and a divisor that changes.
        assert_eq!(divides(i.clone() - 3, by.clone()), None);
        assert_eq!(divides(i.clone() * 2 - i.clone(), by), None);
        assert_eq!(divides(i - j.clone(), j), None);
    }

    #[test]
    fn whole_divisors_and_varying_ones_stay() {
        let constant = |v: f64| std::sync::Arc::new(Term::Const(v));
        let size = std::sync::Arc::new(Term::Index(Ix::Dim("D".into())));
        assert_eq!(divided(element(), constant(49.0)), None);
        assert_eq!(divided(element(), size.clone()), None);
        assert_eq!(divided(element(), element()), None);
        assert_eq!(divided(scalar("a"), scalar("b")), None);
        assert!(divided(element(), constant(8.0)).is_some());
        assert!(divided(element(), constant(2.5)).is_some());
        assert!(divided(element(), Term::map(Func::Sqrt, vec![size])).is_some());
    }
}
