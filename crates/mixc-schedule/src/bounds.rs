//! Masks as bounds: which streamed positions a tile needs at all, and which it needs unmasked.
//!
//! A mask is a conjunction of predicates. A predicate that is linear in the streamed axis gives a
//! bound that depends on the other axes; interval arithmetic over the tile turns it into two: the
//! loosest over the tile (outside it nothing is needed) and the tightest (inside it the predicate
//! holds everywhere and need not be evaluated).

use mixc_ir::{Func, Ix, Kind, Name, Program, T, Term};

/// Bounds that one predicate puts on the streamed axis, half-open: `lo <= j < hi`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bounds {
    pub lo: Option<Bound>,
    pub hi: Option<Bound>,
}

/// One side: past `need` nothing is wanted, up to `full` everything is.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    pub need: Ix,
    pub full: Ix,
}

impl Bound {
    fn min(self, other: Bound) -> Bound {
        Bound {
            need: self.need.min(other.need),
            full: self.full.min(other.full),
        }
    }

    fn max(self, other: Bound) -> Bound {
        Bound {
            need: self.need.max(other.need),
            full: self.full.max(other.full),
        }
    }
}

/// Splits a mask into predicates that must all hold.
pub fn conjuncts(mask: &T) -> Vec<T> {
    match &**mask {
        Term::Const(v) if *v == 1.0 => vec![],
        Term::Sum { axes, factors }
            if axes.is_empty() && factors.iter().all(|f| f.is_guard() || is_product(f)) =>
        {
            factors.iter().flat_map(conjuncts).collect()
        }
        Term::Map { f: Func::And, args } => args.iter().flat_map(conjuncts).collect(),
        _ => vec![mask.clone()],
    }
}

fn is_product(term: &T) -> bool {
    matches!(&**term, Term::Sum { axes, .. } if axes.is_empty()) || term.is_const(1.0)
}

/// The bounds of one predicate on axis `j`, or None if it gives none. `range` gives the first and
/// last value of every other axis over the tile.
pub fn bounds_of(
    predicate: &T,
    j: &Name,
    size: &Ix,
    program: &Program,
    range: &dyn Fn(&Name) -> Option<(Ix, Ix)>,
) -> Option<Bounds> {
    let Term::Map { f, args } = &**predicate else {
        return None;
    };
    match f {
        Func::Le => at_most_zero(
            &(integer(&args[0], program)? - integer(&args[1], program)?),
            j,
            range,
        ),
        Func::Lt => at_most_zero(
            &(integer(&args[0], program)? - integer(&args[1], program)? + 1),
            j,
            range,
        ),
        Func::Eq => {
            let (a, b) = (integer(&args[0], program)?, integer(&args[1], program)?);
            let below = at_most_zero(&(a.clone() - b.clone()), j, range)?;
            let above = at_most_zero(&(b - a), j, range)?;
            Some(Bounds {
                lo: below.lo.or(above.lo),
                hi: below.hi.or(above.hi),
            })
        }
        Func::Not => {
            let Term::Map { f, args } = &*args[0] else {
                return None;
            };
            let flipped = match f {
                Func::Le => Func::Lt,
                Func::Lt => Func::Le,
                _ => return None,
            };
            let flipped = Term::map(flipped, vec![args[1].clone(), args[0].clone()]);
            bounds_of(&flipped, j, size, program, range)
        }
        Func::Or => unless(&args[0], &args[1], j, size, program, range)
            .or_else(|| unless(&args[1], &args[0], j, size, program, range))
            .or_else(|| {
                let of = |predicate| bounds_of(predicate, j, size, program, range);
                either(of(&args[0])?, of(&args[1])?)
            }),
        _ => None,
    }
}

/// Bounds of a disjunction whose predicates bound the same side.
fn either(a: Bounds, b: Bounds) -> Option<Bounds> {
    match (a.lo, a.hi, b.lo, b.hi) {
        (None, Some(a), None, Some(b)) => Some(Bounds {
            lo: None,
            hi: Some(a.max(b)),
        }),
        (Some(a), None, Some(b), None) => Some(Bounds {
            lo: Some(a.min(b)),
            hi: None,
        }),
        _ => None,
    }
}

/// Positions of a disjunction that lie in two ranges: those before `head`, and those from `after` on, up to `hi` if that
/// range has an end. The first keys of a sequence and a window, for example.
#[derive(Clone, Debug, PartialEq)]
pub struct Union {
    pub head: Ix,
    pub after: Bound,
    pub hi: Option<Bound>,
    /// Where both end, if both do.
    pub end: Option<Ix>,
}

/// The two ranges of a disjunction, where one part of it has no bound from below and the other has one.
pub fn union_of(
    predicate: &T,
    j: &Name,
    size: &Ix,
    program: &Program,
    range: &dyn Fn(&Name) -> Option<(Ix, Ix)>,
) -> Option<Union> {
    let Term::Map { f: Func::Or, args } = &**predicate else {
        return None;
    };
    let [a, b] = args.as_slice() else {
        return None;
    };
    let all = |part| all_of(&conjuncts(part), j, size, program, range);
    let (a, b) = (all(a)?, all(b)?);
    let (head, after, hi) = match (a.lo, b.lo) {
        (None, Some(after)) => (a.hi?.need, after, b.hi),
        (Some(after), None) => (b.hi?.need, after, a.hi),
        _ => return None,
    };
    let end = hi.as_ref().map(|hi| hi.need.clone().max(head.clone()));
    Some(Union {
        head,
        after,
        hi,
        end,
    })
}

/// The bounds that several predicates put together; none if one of them has none.
fn all_of(
    predicates: &[T],
    j: &Name,
    size: &Ix,
    program: &Program,
    range: &dyn Fn(&Name) -> Option<(Ix, Ix)>,
) -> Option<Bounds> {
    let mut all = Bounds::default();
    for predicate in predicates {
        let own = bounds_of(predicate, j, size, program, range)?;
        all.lo = all.lo.into_iter().chain(own.lo).reduce(Bound::max);
        all.hi = all.hi.into_iter().chain(own.hi).reduce(Bound::min);
    }
    Some(all)
}

/// Bounds of `condition or predicate` where the condition is the same for the whole tile: those of
/// the predicate where the condition is false, none where it is true.
fn unless(
    condition: &T,
    predicate: &T,
    j: &Name,
    size: &Ix,
    program: &Program,
    range: &dyn Fn(&Name) -> Option<(Ix, Ix)>,
) -> Option<Bounds> {
    let holds = indicator(condition, program)?;
    let bounds = bounds_of(predicate, j, size, program, range)?;
    let mix = |bound: Ix, open: Ix| bound.clone() + holds.clone() * (open - bound);
    let both = |b: Bound, open: Ix| Bound {
        need: mix(b.need, open.clone()),
        full: mix(b.full, open),
    };
    Some(Bounds {
        lo: bounds.lo.map(|b| both(b, Ix::Const(0))),
        hi: bounds.hi.map(|b| both(b, size.clone())),
    })
}

/// A comparison free of axes as an integer that is 1 where it holds, else 0.
fn indicator(condition: &T, program: &Program) -> Option<Ix> {
    let Term::Map { f, args } = &**condition else {
        return None;
    };
    let (a, b) = (
        integer(args.first()?, program)?,
        integer(args.get(1)?, program)?,
    );
    let positive = match f {
        Func::Lt => b - a,
        Func::Le => b - a + 1,
        _ => return None,
    };
    positive
        .axes()
        .is_empty()
        .then(|| positive.min(Ix::Const(1)).max(Ix::Const(0)))
}

/// Bounds on j from `ix <= 0`.
fn at_most_zero(ix: &Ix, j: &Name, range: &dyn Fn(&Name) -> Option<(Ix, Ix)>) -> Option<Bounds> {
    if let Some((coefficient, rest)) = linear_in(ix, j) {
        let (low, high) = interval(&rest, range)?;
        // c j + rest <= 0
        return match coefficient {
            c if c > 0 => {
                // j <= floor(-rest / c)
                let last = |rest: Ix| (Ix::Const(0) - rest) / c + 1;
                Some(Bounds {
                    lo: None,
                    hi: Some(Bound {
                        need: last(low),
                        full: last(high),
                    }),
                })
            }
            c if c < 0 => {
                // j >= ceil(rest / -c)
                let first = |rest: Ix| (rest + (-c - 1)) / -c;
                Some(Bounds {
                    lo: Some(Bound {
                        need: first(low),
                        full: first(high),
                    }),
                    hi: None,
                })
            }
            _ => None,
        };
    }
    // (j / w) on one side: j / w <= x is j <= x w + w - 1; x <= j / w is j >= x w.
    let (quotient, rest, sign) = quotient_in(ix, j)?;
    let (Ix::Div(numerator, width), (low, high)) = (quotient, interval(&rest, range)?) else {
        return None;
    };
    if **numerator != Ix::Axis(j.clone()) || !width.axes().is_empty() {
        return None;
    }
    let width = (**width).clone();
    if sign > 0 {
        let last = |rest: Ix| (Ix::Const(0) - rest + 1) * width.clone();
        Some(Bounds {
            lo: None,
            hi: Some(Bound {
                need: last(low),
                full: last(high),
            }),
        })
    } else {
        let first = |rest: Ix| rest * width.clone();
        Some(Bounds {
            lo: Some(Bound {
                need: first(low),
                full: first(high),
            }),
            hi: None,
        })
    }
}

/// `ix` as `sign * quotient + rest` where only the quotient, a division, holds j.
fn quotient_in<'a>(ix: &'a Ix, j: &Name) -> Option<(&'a Ix, Ix, i64)> {
    let holds = |ix: &Ix| ix.axes().contains(j);
    match ix {
        Ix::Div(..) => Some((ix, Ix::Const(0), 1)),
        Ix::Add(a, b) if !holds(b) => quotient_in(a, j).map(|(q, r, s)| (q, r + (**b).clone(), s)),
        Ix::Add(a, b) if !holds(a) => quotient_in(b, j).map(|(q, r, s)| (q, r + (**a).clone(), s)),
        Ix::Sub(a, b) if !holds(b) => quotient_in(a, j).map(|(q, r, s)| (q, r - (**b).clone(), s)),
        Ix::Sub(a, b) if !holds(a) => quotient_in(b, j).map(|(q, r, s)| (q, (**a).clone() - r, -s)),
        _ => None,
    }
}

/// `ix` as `coefficient * j + rest` with a constant coefficient; other axes may occur in any way.
fn linear_in(ix: &Ix, j: &Name) -> Option<(i64, Ix)> {
    if !ix.axes().contains(j) {
        return Some((0, ix.clone()));
    }
    match ix {
        Ix::Axis(_) => Some((1, Ix::Const(0))),
        Ix::Add(a, b) => {
            let ((ca, ra), (cb, rb)) = (linear_in(a, j)?, linear_in(b, j)?);
            Some((ca + cb, ra + rb))
        }
        Ix::Sub(a, b) => {
            let ((ca, ra), (cb, rb)) = (linear_in(a, j)?, linear_in(b, j)?);
            Some((ca - cb, ra - rb))
        }
        Ix::Mul(a, b) => match (&**a, &**b) {
            (Ix::Const(c), other) | (other, Ix::Const(c)) => {
                linear_in(other, j).map(|(k, rest)| (k * c, rest * *c))
            }
            _ => None,
        },
        _ => None,
    }
}

/// The smallest and largest value of `ix` over the axes' ranges, as expressions.
pub fn interval(ix: &Ix, range: &dyn Fn(&Name) -> Option<(Ix, Ix)>) -> Option<(Ix, Ix)> {
    if let Ix::Axis(name) = ix {
        return range(name);
    }
    if let Ix::Elem(tensor, index) = ix {
        // An element at one place is an integer of the tile, whatever it is.
        let at = |ix: &Ix| {
            let (low, high) = interval(ix, range)?;
            (low == high).then_some(low)
        };
        let index: Option<Vec<Ix>> = index.iter().map(at).collect();
        let element = Ix::Elem(tensor.clone(), index?);
        return Some((element.clone(), element));
    }
    if ix.axes().is_empty() {
        return Some((ix.clone(), ix.clone()));
    }
    let (a, b) = ix.operands()?;
    let ((alo, ahi), (blo, bhi)) = (interval(a, range)?, interval(b, range)?);
    let fixed = b.axes().is_empty();
    Some(match ix {
        Ix::Add(..) => (alo + blo, ahi + bhi),
        Ix::Sub(..) => (alo - bhi, ahi - blo),
        Ix::Min(..) => (alo.min(blo), ahi.min(bhi)),
        Ix::Max(..) => (alo.max(blo), ahi.max(bhi)),
        Ix::Mul(..) => match (alo == ahi, &blo, &alo) {
            (_, Ix::Const(c), _) if fixed && *c >= 0 => (alo * *c, ahi * *c),
            (_, Ix::Const(c), _) if fixed => (ahi * *c, alo * *c),
            (true, _, Ix::Const(c)) if *c >= 0 => (blo * *c, bhi * *c),
            (true, _, Ix::Const(c)) => (bhi * *c, blo * *c),
            // Sizes are never negative.
            _ if fixed && matches!(b, Ix::Dim(_)) => (alo * blo, ahi * bhi),
            _ if alo == ahi && matches!(a, Ix::Dim(_)) => (alo * blo, ahi * bhi),
            _ => return None,
        },
        Ix::Div(..) if fixed && positive(b) => (alo / blo, ahi / bhi),
        Ix::Mod(..) if fixed && positive(b) => (Ix::Const(0), bhi - 1),
        _ => return None,
    })
}

/// Constants above 0, sizes, and products and quotients of them: a division by an empty size never runs, for the
/// axis is empty.
fn positive(ix: &Ix) -> bool {
    match ix {
        Ix::Const(c) => *c > 0,
        Ix::Dim(_) => true,
        Ix::Mul(a, b) | Ix::Div(a, b) => positive(a) && positive(b),
        _ => false,
    }
}

/// A real term that is an integer expression.
pub fn integer(term: &T, program: &Program) -> Option<Ix> {
    Some(match &**term {
        Term::Index(ix) => ix.clone(),
        Term::Const(v) if v.fract() == 0.0 && v.abs() < 1e15 => Ix::Const(*v as i64),
        Term::Read { tensor, index }
            if program.tensor(tensor).is_some_and(|t| t.kind == Kind::Int) =>
        {
            Ix::Elem(tensor.clone(), index.clone())
        }
        Term::Map { f: Func::Neg, args } => Ix::Const(0) - integer(&args[0], program)?,
        Term::Map { f: Func::Sub, args } => {
            integer(&args[0], program)? - integer(&args[1], program)?
        }
        Term::Map { f: Func::Min, args } => {
            integer(&args[0], program)?.min(integer(&args[1], program)?)
        }
        Term::Map { f: Func::Max, args } => {
            integer(&args[0], program)?.max(integer(&args[1], program)?)
        }
        Term::Add(args) => args
            .iter()
            .try_fold(Ix::Const(0), |sum, a| Some(sum + integer(a, program)?))?,
        Term::Sum { axes, factors } if axes.is_empty() => {
            factors.iter().try_fold(Ix::Const(1), |product, f| {
                Some(product * integer(f, program)?)
            })?
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(ix: Ix) -> T {
        std::sync::Arc::new(Term::Index(ix))
    }

    /// Rows 64..=127 of a tile, and nothing else.
    fn rows(name: &Name) -> Option<(Ix, Ix)> {
        (&**name == "i").then_some((Ix::Const(64), Ix::Const(127)))
    }

    fn bounds(predicate: T) -> Option<Bounds> {
        bounds_of(
            &predicate,
            &"j".into(),
            &Ix::dim("J"),
            &Program::default(),
            &rows,
        )
    }

    #[test]
    fn a_causal_mask_needs_keys_up_to_the_last_row_and_is_full_up_to_the_first() {
        let causal = Term::map(Func::Le, vec![index(Ix::axis("j")), index(Ix::axis("i"))]);
        let found = bounds(causal).unwrap();
        assert_eq!(found.lo, None);
        assert_eq!(
            found.hi,
            Some(Bound {
                need: Ix::Const(128),
                full: Ix::Const(65)
            })
        );
    }

    #[test]
    fn a_window_bounds_from_below() {
        let near = index(Ix::axis("i") - Ix::axis("j"));
        let window = Term::map(Func::Lt, vec![near, index(Ix::Const(32))]);
        let found = bounds(window).unwrap();
        assert_eq!(
            found.lo,
            Some(Bound {
                need: Ix::Const(33),
                full: Ix::Const(96)
            })
        );
        assert_eq!(found.hi, None);
    }

    #[test]
    fn equal_segments_bound_from_both_sides() {
        let segment = |axis: &str| index(Ix::axis(axis) / 16);
        let found = bounds(Term::map(Func::Eq, vec![segment("i"), segment("j")])).unwrap();
        assert_eq!(found.lo.unwrap().need, Ix::Const(64));
        assert_eq!(found.hi.unwrap().need, Ix::Const(128));
    }

    #[test]
    fn an_optional_window_opens_up_where_it_is_off() {
        let off = Term::map(Func::Lt, vec![index(Ix::dim("w")), index(Ix::Const(0))]);
        let near = Term::map(
            Func::Le,
            vec![index(Ix::axis("i") - Ix::axis("j")), index(Ix::dim("w"))],
        );
        let lo = bounds(Term::map(Func::Or, vec![off, near]))
            .unwrap()
            .lo
            .unwrap()
            .need;
        let at = |w: i64| lo.eval_sizes(&[("w".into(), w)].into());
        assert_eq!(at(-1), Some(0));
        assert_eq!(at(10), Some(54));
    }

    #[test]
    fn first_keys_or_a_window_are_two_ranges() {
        let compare = |f, a: Ix, b: Ix| Term::map(f, vec![index(a), index(b)]);
        let (i, j) = (Ix::axis("i"), Ix::axis("j"));
        let first = compare(Func::Lt, j.clone(), Ix::Const(4));
        let window = compare(Func::Lt, i.clone() - j.clone(), Ix::Const(32));
        let causal = compare(Func::Le, j.clone(), i);
        let near = Term::map(Func::And, vec![window.clone(), causal]);
        let union = |a: &T, b: &T| {
            let or = Term::map(Func::Or, vec![a.clone(), b.clone()]);
            assert_eq!(bounds(or.clone()), None);
            union_of(&or, &"j".into(), &Ix::dim("J"), &Program::default(), &rows)
        };
        let found = union(&first, &window).unwrap();
        assert_eq!((found.head, found.end), (Ix::Const(4), None));
        assert_eq!(found.after.need, Ix::Const(33));
        let found = union(&near, &first).unwrap();
        assert_eq!(
            (found.head, found.end),
            (Ix::Const(4), Some(Ix::Const(128)))
        );
        assert_eq!(found.hi.unwrap().full, Ix::Const(65));
        // On data, anything may be in between.
        let data = Term::map(Func::Lt, vec![Term::read("x", vec![j]), Term::zero()]);
        assert_eq!(union(&data, &window), None);
        assert_eq!(union(&window, &near), None);
    }

    #[test]
    fn a_predicate_on_data_gives_no_bound() {
        let data = Term::map(
            Func::Lt,
            vec![Term::read("x", vec![Ix::axis("j")]), Term::zero()],
        );
        assert_eq!(bounds(data), None);
    }
}
