//! Which values an index expression can take.

use crate::{Compare, Cond};
use mixc_ir::Ix;

/// The integers from `lo` to `hi`, both included. `i64::MIN` and `i64::MAX` stand for no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    pub lo: i64,
    pub hi: i64,
}

impl Interval {
    pub const ALL: Interval = Interval {
        lo: i64::MIN,
        hi: i64::MAX,
    };
    pub const NATURAL: Interval = Interval {
        lo: 0,
        hi: i64::MAX,
    };

    pub fn new(lo: i64, hi: i64) -> Interval {
        Interval { lo, hi }
    }

    pub fn point(value: i64) -> Interval {
        Interval {
            lo: value,
            hi: value,
        }
    }

    /// The only value, if there is only one.
    pub fn constant(self) -> Option<i64> {
        (self.lo == self.hi).then_some(self.lo)
    }

    pub fn contains(self, value: i64) -> bool {
        self.lo <= value && value <= self.hi
    }

    pub fn intersection(self, other: Interval) -> Interval {
        Interval {
            lo: self.lo.max(other.lo),
            hi: self.hi.min(other.hi),
        }
    }

    /// The smallest interval that contains all of the values.
    fn hull(values: impl IntoIterator<Item = i64>) -> Interval {
        let empty = Interval {
            lo: i64::MAX,
            hi: i64::MIN,
        };
        values.into_iter().fold(empty, |i, v| Interval {
            lo: i.lo.min(v),
            hi: i.hi.max(v),
        })
    }
}

/// All values of the expression for which it has one, given those of its leaves (axes, sizes and
/// tensor elements). The interval may be too large, never too small.
pub fn range(ix: &Ix, leaf: &dyn Fn(&Ix) -> Interval) -> Interval {
    match ix {
        Ix::Const(value) => Interval::point(*value),
        Ix::Axis(_) | Ix::Dim(_) | Ix::Elem(..) => leaf(ix),
        Ix::Add(a, b) => add(range(a, leaf), range(b, leaf)).intersection(affine(ix, leaf)),
        Ix::Sub(a, b) => add(range(a, leaf), negate(range(b, leaf))).intersection(affine(ix, leaf)),
        Ix::Mul(a, b) => mul(range(a, leaf), range(b, leaf)),
        Ix::Div(a, b) => div(range(a, leaf), range(b, leaf)),
        Ix::Mod(a, b) => modulo(range(a, leaf), range(b, leaf)),
        Ix::Min(a, b) => {
            let (a, b) = (range(a, leaf), range(b, leaf));
            Interval::new(a.lo.min(b.lo), a.hi.min(b.hi))
        }
        Ix::Max(a, b) => {
            let (a, b) = (range(a, leaf), range(b, leaf));
            Interval::new(a.lo.max(b.lo), a.hi.max(b.hi))
        }
    }
}

/// Whether the condition always or never holds; None if it depends.
pub fn decide(cond: &Cond, leaf: &dyn Fn(&Ix) -> Interval) -> Option<bool> {
    compare(
        range(&cond.left, leaf),
        cond.compare,
        range(&cond.right, leaf),
    )
}

/// [`decide`] on the intervals of both sides.
pub fn compare(left: Interval, compare: Compare, right: Interval) -> Option<bool> {
    let (always, never) = match compare {
        Compare::Lt => (left.hi < right.lo, left.lo >= right.hi),
        Compare::Le => (left.hi <= right.lo, left.lo > right.hi),
        Compare::Eq => {
            let same = left.constant().is_some() && left == right;
            (same, left.hi < right.lo || right.hi < left.lo)
        }
    };
    // An open end is not a value that can be compared with.
    let open = |v: i64| v == i64::MIN || v == i64::MAX;
    match (always, never) {
        (true, _) if !(open(left.hi) && open(right.lo)) => Some(true),
        (_, true) if !(open(left.lo) && open(right.hi)) => Some(false),
        _ => None,
    }
}

/// The interval of an expression that is linear in its axes, where terms that cancel are gone.
fn affine(ix: &Ix, leaf: &dyn Fn(&Ix) -> Interval) -> Interval {
    let Some(affine) = ix.affine() else {
        return Interval::ALL;
    };
    // Only the coefficients and the rest are looked at again, so this ends.
    let rest = if affine.rest == *ix {
        Interval::ALL
    } else {
        range(&affine.rest, leaf)
    };
    affine.terms.iter().fold(rest, |sum, (axis, coefficient)| {
        let coefficient = if coefficient == ix {
            Interval::ALL
        } else {
            range(coefficient, leaf)
        };
        add(sum, mul(coefficient, leaf(&Ix::Axis(axis.clone()))))
    })
}

fn add(a: Interval, b: Interval) -> Interval {
    let lo = if a.lo == i64::MIN || b.lo == i64::MIN {
        i64::MIN
    } else {
        a.lo.saturating_add(b.lo)
    };
    let hi = if a.hi == i64::MAX || b.hi == i64::MAX {
        i64::MAX
    } else {
        a.hi.saturating_add(b.hi)
    };
    Interval { lo, hi }
}

/// Also exchanges the two open ends.
fn negate(a: Interval) -> Interval {
    let flip = |v: i64| match v {
        i64::MIN => i64::MAX,
        i64::MAX => i64::MIN,
        v => -v,
    };
    Interval {
        lo: flip(a.hi),
        hi: flip(a.lo),
    }
}

/// Products of the ends; an open end times 0 is 0, since every value is finite.
fn mul(a: Interval, b: Interval) -> Interval {
    let corners = [(a.lo, b.lo), (a.lo, b.hi), (a.hi, b.lo), (a.hi, b.hi)];
    Interval::hull(corners.map(|(x, y)| x.saturating_mul(y)))
}

fn div(a: Interval, b: Interval) -> Interval {
    if b.contains(0) {
        // For a divisor of 0 there is no value, for others the quotient is no larger than the dividend.
        let reach = a.lo.unsigned_abs().max(a.hi.unsigned_abs());
        let reach = i64::try_from(reach).unwrap_or(i64::MAX);
        return if reach == i64::MAX {
            Interval::ALL
        } else {
            Interval::new(-reach, reach)
        };
    }
    // The quotient is monotone in either argument while the divisor keeps its sign.
    let quotient = |x: i64, y: i64| match (x, y) {
        (i64::MIN | i64::MAX, i64::MIN | i64::MAX) => vec![
            0,
            -1,
            if (x < 0) == (y < 0) {
                i64::MAX
            } else {
                i64::MIN
            },
        ],
        (i64::MIN | i64::MAX, _) => vec![if (x < 0) == (y < 0) {
            i64::MAX
        } else {
            i64::MIN
        }],
        (_, i64::MIN | i64::MAX) => vec![if x == 0 || (x < 0) == (y < 0) { 0 } else { -1 }],
        _ => vec![floor_div(x, y)],
    };
    let corners = [(a.lo, b.lo), (a.lo, b.hi), (a.hi, b.lo), (a.hi, b.hi)];
    Interval::hull(corners.into_iter().flat_map(|(x, y)| quotient(x, y)))
}

fn floor_div(a: i64, b: i64) -> i64 {
    Ix::apply(&(Ix::Div(Ix::Const(0).into(), Ix::Const(1).into())), a, b).unwrap_or(i64::MAX)
}

fn modulo(a: Interval, b: Interval) -> Interval {
    if b.lo >= 1 {
        if a.lo >= 0 && a.hi < b.lo {
            return a;
        }
        if let Some(n) = b.constant()
            && a.lo != i64::MIN
            && a.hi != i64::MAX
            && floor_div(a.lo, n) == floor_div(a.hi, n)
        {
            return Interval::new(a.lo.rem_euclid(n), a.hi.rem_euclid(n));
        }
        return Interval::new(
            0,
            if b.hi == i64::MAX {
                a.hi_if_natural()
            } else {
                b.hi - 1
            },
        );
    }
    if b.hi <= -1 {
        return Interval::new(if b.lo == i64::MIN { i64::MIN } else { b.lo + 1 }, 0);
    }
    Interval::ALL
}

impl Interval {
    /// Upper bound of a remainder by an unbounded divisor: a natural number does not grow.
    fn hi_if_natural(self) -> i64 {
        if self.lo >= 0 { self.hi } else { i64::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn leaves(leaf: &Ix) -> Interval {
        match leaf {
            Ix::Axis(name) if &**name == "i" => Interval::new(0, 63),
            Ix::Axis(_) => Interval::new(-3, 5),
            Ix::Dim(_) => Interval::NATURAL,
            _ => Interval::ALL,
        }
    }

    #[test]
    fn ranges_of_tile_indices() {
        let (i, i0, t) = (Ix::axis("i"), Ix::axis("i0"), Ix::dim("T"));
        let of = |ix: &Ix| range(ix, &leaves);
        assert_eq!(of(&(i0.clone() * 64 + i.clone())), Interval::new(-192, 383));
        assert_eq!(of(&(i.clone() % 64)), Interval::new(0, 63));
        assert_eq!(of(&((i.clone() + 64) % 64)), Interval::new(0, 63));
        assert_eq!(of(&((i.clone() + 65) % 64)), Interval::new(0, 63));
        assert_eq!(of(&((i.clone() - 63) / 64)), Interval::new(-1, 0));
        assert_eq!(of(&t.clone().ceil_div(Ix::Const(64))), Interval::NATURAL);
        assert_eq!(of(&t.clone().min(i.clone())), Interval::new(0, 63));
        // Terms that cancel: the difference of two tiles' starts does not depend on them.
        assert_eq!(
            of(&(i0.clone() * 64 + i.clone() - i0 * 64)),
            Interval::new(0, 63)
        );
        assert_eq!(of(&(i / t)), Interval::new(-63, 63));
    }

    #[test]
    fn conditions_are_decided_only_by_values() {
        let cond = |left: Ix, compare, right: Ix| {
            decide(
                &Cond {
                    left,
                    compare,
                    right,
                },
                &leaves,
            )
        };
        let (i, t) = (Ix::axis("i"), Ix::dim("T"));
        assert_eq!(cond(i.clone(), Compare::Lt, Ix::Const(64)), Some(true));
        assert_eq!(cond(Ix::Const(63), Compare::Lt, i.clone()), Some(false));
        assert_eq!(cond(i.clone(), Compare::Le, Ix::Const(62)), None);
        assert_eq!(cond(i, Compare::Eq, Ix::Const(64)), Some(false));
        assert_eq!(cond(t.clone(), Compare::Le, Ix::dim("n")), None);
        assert_eq!(cond(Ix::Const(-1), Compare::Lt, t), Some(true));
    }

    fn ix() -> BoxedStrategy<Ix> {
        let leaf = prop_oneof![
            (-9i64..9).prop_map(Ix::Const),
            prop::sample::select(vec!["x", "y", "z"]).prop_map(Ix::axis),
        ];
        leaf.prop_recursive(4, 16, 2, |inner| {
            let build = vec![
                Ix::Add as fn(Arc<Ix>, Arc<Ix>) -> Ix,
                Ix::Sub,
                Ix::Mul,
                Ix::Div,
                Ix::Mod,
                Ix::Min,
                Ix::Max,
            ];
            (prop::sample::select(build), inner.clone(), inner)
                .prop_map(|(f, a, b)| f(Arc::new(a), Arc::new(b)))
        })
        .boxed()
    }

    fn interval() -> impl Strategy<Value = (i64, Interval)> {
        (-12i64..12, 0i64..9, 0i64..9, 0u8..8).prop_map(|(value, below, above, open)| {
            let lo = if open == 0 { i64::MIN } else { value - below };
            let hi = if open == 1 { i64::MAX } else { value + above };
            (value, Interval { lo, hi })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

        #[test]
        fn every_value_lies_in_the_range(ix in ix(), x in interval(), y in interval(), z in interval()) {
            let of = |leaf: &Ix| match leaf {
                Ix::Axis(name) if &**name == "x" => x,
                Ix::Axis(name) if &**name == "y" => y,
                _ => z,
            };
            if let Some(value) = ix.eval(&mut |leaf| Some(of(leaf).0)) {
                let interval = range(&ix, &|leaf| of(leaf).1);
                prop_assert!(interval.contains(value), "{ix} = {value} is not in {interval:?}");
            }
        }
    }
}
