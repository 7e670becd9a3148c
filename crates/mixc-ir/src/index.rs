//! Integer expressions over axes and sizes: tensor indices, axis sizes, loop bounds.

use crate::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// An integer expression. Division rounds down and `%` has the sign of the divisor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ix {
    Const(i64),
    /// The value of an index variable (a core axis; in tile programs also a loop variable).
    Axis(Name),
    /// A size (`T`) or an integer scalar parameter (`window`).
    Dim(Name),
    Add(Arc<Ix>, Arc<Ix>),
    Sub(Arc<Ix>, Arc<Ix>),
    Mul(Arc<Ix>, Arc<Ix>),
    Div(Arc<Ix>, Arc<Ix>),
    Mod(Arc<Ix>, Arc<Ix>),
    Min(Arc<Ix>, Arc<Ix>),
    Max(Arc<Ix>, Arc<Ix>),
    /// An element of an integer tensor (a gather); 0 outside its bounds.
    Elem(Name, Vec<Ix>),
}

impl From<i64> for Ix {
    fn from(value: i64) -> Ix {
        Ix::Const(value)
    }
}

macro_rules! operator {
    ($trait:ident $method:ident $variant:ident) => {
        impl std::ops::$trait for Ix {
            type Output = Ix;
            fn $method(self, other: Ix) -> Ix {
                Ix::$variant(Arc::new(self), Arc::new(other)).folded()
            }
        }
        impl std::ops::$trait<i64> for Ix {
            type Output = Ix;
            fn $method(self, other: i64) -> Ix {
                Ix::$variant(Arc::new(self), Arc::new(Ix::Const(other))).folded()
            }
        }
    };
}
operator!(Add add Add);
operator!(Sub sub Sub);
operator!(Mul mul Mul);
operator!(Div div Div);
operator!(Rem rem Mod);

impl Ix {
    pub fn axis(name: &str) -> Ix {
        Ix::Axis(name.into())
    }

    pub fn dim(name: &str) -> Ix {
        Ix::Dim(name.into())
    }

    pub fn min(self, other: Ix) -> Ix {
        Ix::Min(Arc::new(self), Arc::new(other)).folded()
    }

    pub fn max(self, other: Ix) -> Ix {
        Ix::Max(Arc::new(self), Arc::new(other)).folded()
    }

    /// The quotient rounded up. `by` must be positive.
    pub fn ceil_div(self, by: Ix) -> Ix {
        (self + by.clone() - 1) / by
    }

    /// The value of one operator on constants.
    pub fn apply(op: &Ix, a: i64, b: i64) -> Option<i64> {
        match op {
            Ix::Add(..) => a.checked_add(b),
            Ix::Sub(..) => a.checked_sub(b),
            Ix::Mul(..) => a.checked_mul(b),
            Ix::Div(..) => floor_div(a, b),
            // The remainder fits even where the product does not.
            Ix::Mod(..) => floor_div(a, b).map(|q| a.wrapping_sub(q.wrapping_mul(b))),
            Ix::Min(..) => Some(a.min(b)),
            Ix::Max(..) => Some(a.max(b)),
            Ix::Const(_) | Ix::Axis(_) | Ix::Dim(_) | Ix::Elem(..) => None,
        }
    }

    /// Both operands of a binary node.
    pub fn operands(&self) -> Option<(&Ix, &Ix)> {
        match self {
            Ix::Add(a, b)
            | Ix::Sub(a, b)
            | Ix::Mul(a, b)
            | Ix::Div(a, b)
            | Ix::Mod(a, b)
            | Ix::Min(a, b)
            | Ix::Max(a, b) => Some((a, b)),
            Ix::Const(_) | Ix::Axis(_) | Ix::Dim(_) | Ix::Elem(..) => None,
        }
    }

    /// Constant folding and neutral elements at the top node.
    fn folded(self) -> Ix {
        if let Some((Ix::Const(a), Ix::Const(b))) = self.operands()
            && let Some(value) = Ix::apply(&self, *a, *b)
        {
            return Ix::Const(value);
        }
        match &self {
            Ix::Add(a, b) if **b == Ix::Const(0) => (**a).clone(),
            Ix::Add(a, b) if **a == Ix::Const(0) => (**b).clone(),
            Ix::Sub(a, b) if **b == Ix::Const(0) => (**a).clone(),
            Ix::Sub(a, b) if a == b => Ix::Const(0),
            Ix::Mul(a, b) | Ix::Div(a, b) if **b == Ix::Const(1) => (**a).clone(),
            Ix::Mul(a, b) if **a == Ix::Const(1) => (**b).clone(),
            Ix::Mul(a, b) if **a == Ix::Const(0) || **b == Ix::Const(0) => Ix::Const(0),
            Ix::Mod(_, b) if **b == Ix::Const(1) => Ix::Const(0),
            Ix::Min(a, b) | Ix::Max(a, b) if a == b => (**a).clone(),
            Ix::Min(a, b) if a.is_least_of(b) => (**a).clone(),
            Ix::Max(a, b) if a.is_most_of(b) => (**a).clone(),
            Ix::Min(a, b) if a.is_below(b) => (**a).clone(),
            Ix::Min(a, b) if b.is_below(a) => (**b).clone(),
            _ => self,
        }
    }

    /// Whether this is a minimum that `other` is in already.
    fn is_least_of(&self, other: &Ix) -> bool {
        matches!(self, Ix::Min(a, b) if **b == *other || **a == *other || a.is_least_of(other))
    }

    fn is_most_of(&self, other: &Ix) -> bool {
        matches!(self, Ix::Max(a, b) if **b == *other || **a == *other || a.is_most_of(other))
    }

    /// Whether this is a constant that a maximum with another constant cannot fall below.
    fn is_below(&self, other: &Ix) -> bool {
        let Ix::Max(a, b) = other else { return false };
        let least = [a, b].into_iter().filter_map(|side| match **side {
            Ix::Const(c) => Some(c),
            _ => None,
        });
        matches!(self, Ix::Const(c) if least.max().is_some_and(|least| *c <= least))
    }

    /// The value, with `leaf` giving axes, sizes and tensor elements; None if a leaf is unknown or
    /// the arithmetic has no value (division by zero, overflow).
    pub fn eval(&self, leaf: &mut dyn FnMut(&Ix) -> Option<i64>) -> Option<i64> {
        match self {
            Ix::Const(value) => Some(*value),
            Ix::Axis(_) | Ix::Dim(_) | Ix::Elem(..) => leaf(self),
            _ => {
                let (a, b) = self.operands()?;
                Ix::apply(self, a.eval(leaf)?, b.eval(leaf)?)
            }
        }
    }

    /// The value of an expression over sizes alone.
    pub fn eval_sizes(&self, sizes: &BTreeMap<Name, i64>) -> Option<i64> {
        self.eval(&mut |leaf| match leaf {
            Ix::Dim(name) => sizes.get(name).copied(),
            _ => None,
        })
    }

    /// Rebuilds the expression with its leaves (axes, sizes, elements) replaced where `leaf` says so.
    pub fn replace(&self, leaf: &dyn Fn(&Ix) -> Option<Ix>) -> Ix {
        if let Some(new) = leaf(self) {
            return new;
        }
        match self {
            Ix::Const(_) | Ix::Axis(_) | Ix::Dim(_) => self.clone(),
            Ix::Elem(tensor, index) => Ix::Elem(
                tensor.clone(),
                index.iter().map(|ix| ix.replace(leaf)).collect(),
            ),
            Ix::Add(a, b) => a.replace(leaf) + b.replace(leaf),
            Ix::Sub(a, b) => a.replace(leaf) - b.replace(leaf),
            Ix::Mul(a, b) => a.replace(leaf) * b.replace(leaf),
            Ix::Div(a, b) => a.replace(leaf) / b.replace(leaf),
            Ix::Mod(a, b) => a.replace(leaf) % b.replace(leaf),
            Ix::Min(a, b) => a.replace(leaf).min(b.replace(leaf)),
            Ix::Max(a, b) => a.replace(leaf).max(b.replace(leaf)),
        }
    }

    /// Substitutes axes.
    pub fn substitute(&self, map: &BTreeMap<Name, Ix>) -> Ix {
        self.replace(&|leaf| match leaf {
            Ix::Axis(name) => map.get(name).cloned(),
            _ => None,
        })
    }

    /// Calls `f` on every leaf, those inside tensor elements included.
    pub fn visit_leaves(&self, f: &mut dyn FnMut(&Ix)) {
        match self {
            Ix::Const(_) => {}
            Ix::Axis(_) | Ix::Dim(_) => f(self),
            Ix::Elem(_, index) => {
                f(self);
                index.iter().for_each(|ix| ix.visit_leaves(f));
            }
            _ => {
                if let Some((a, b)) = self.operands() {
                    a.visit_leaves(f);
                    b.visit_leaves(f);
                }
            }
        }
    }

    /// Axes that occur.
    pub fn axes(&self) -> BTreeSet<Name> {
        let mut axes = BTreeSet::new();
        self.visit_leaves(&mut |leaf| {
            if let Ix::Axis(name) = leaf {
                axes.insert(name.clone());
            }
        });
        axes
    }

    /// The expression as `sum of coefficient * axis + rest`, if it is linear in its axes.
    pub fn affine(&self) -> Option<Affine> {
        match self {
            Ix::Axis(name) => Some(Affine {
                terms: BTreeMap::from([(name.clone(), Ix::Const(1))]),
                rest: Ix::Const(0),
            }),
            Ix::Add(a, b) => Some(a.affine()?.plus(b.affine()?, 1)),
            Ix::Sub(a, b) => Some(a.affine()?.plus(b.affine()?, -1)),
            Ix::Mul(a, b) => {
                let (a, b) = (a.affine()?, b.affine()?);
                let (linear, factor) = if b.terms.is_empty() {
                    (a, b.rest)
                } else {
                    (b, a.constant()?)
                };
                let scaled = |ix: Ix| ix * factor.clone();
                Some(Affine {
                    terms: linear
                        .terms
                        .into_iter()
                        .map(|(n, c)| (n, scaled(c)))
                        .collect(),
                    rest: scaled(linear.rest),
                })
            }
            _ if self.axes().is_empty() => Some(Affine {
                terms: BTreeMap::new(),
                rest: self.clone(),
            }),
            _ => None,
        }
    }
}

/// `sum of coefficient * axis + rest`; coefficients and rest are free of axes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affine {
    pub terms: BTreeMap<Name, Ix>,
    pub rest: Ix,
}

impl Affine {
    fn plus(mut self, other: Affine, sign: i64) -> Affine {
        for (name, c) in other.terms {
            let old = self.terms.remove(&name).unwrap_or(Ix::Const(0));
            let new = if sign > 0 { old + c } else { old - c };
            if new != Ix::Const(0) {
                self.terms.insert(name, new);
            }
        }
        self.rest = if sign > 0 {
            self.rest + other.rest
        } else {
            self.rest - other.rest
        };
        self
    }

    fn constant(self) -> Option<Ix> {
        self.terms.is_empty().then_some(self.rest)
    }

    pub fn coefficient(&self, axis: &str) -> Ix {
        self.terms.get(axis).cloned().unwrap_or(Ix::Const(0))
    }
}

fn floor_div(a: i64, b: i64) -> Option<i64> {
    let q = a.checked_div(b)?;
    Some(if a % b != 0 && (a < 0) != (b < 0) {
        q - 1
    } else {
        q
    })
}

/// `i0 * C + i1`, `h / (H / G)`, `min(T, 4)`, `block[i / 64, n]`; sizes start with `#` only where
/// an axis has the same spelling, which the builders avoid.
impl fmt::Display for Ix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn level(ix: &Ix) -> u8 {
            match ix {
                Ix::Add(..) | Ix::Sub(..) => 0,
                Ix::Mul(..) | Ix::Div(..) | Ix::Mod(..) => 1,
                _ => 2,
            }
        }
        let (symbol, a, b) = match self {
            Ix::Const(value) => return write!(f, "{value}"),
            Ix::Axis(name) => return write!(f, "{name}"),
            Ix::Dim(name) => return write!(f, "${name}"),
            Ix::Elem(tensor, index) => {
                let index: Vec<String> = index.iter().map(Ix::to_string).collect();
                return write!(f, "{tensor}[{}]", index.join(", "));
            }
            Ix::Min(a, b) => return write!(f, "min({a}, {b})"),
            Ix::Max(a, b) => return write!(f, "max({a}, {b})"),
            Ix::Add(a, b) => ("+", a, b),
            Ix::Sub(a, b) => ("-", a, b),
            Ix::Mul(a, b) => ("*", a, b),
            Ix::Div(a, b) => ("/", a, b),
            Ix::Mod(a, b) => ("%", a, b),
        };
        let own = level(self);
        if level(a) < own {
            write!(f, "({a})")?
        } else {
            write!(f, "{a}")?
        }
        write!(f, " {symbol} ")?;
        // All operators group to the left, so the right operand needs a strictly higher level.
        if level(b) <= own {
            write!(f, "({b})")
        } else {
            write!(f, "{b}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn division_rounds_down_and_mod_has_the_divisors_sign() {
        assert_eq!(Ix::Const(-7) / 2, Ix::Const(-4));
        assert_eq!(Ix::Const(-7) % 2, Ix::Const(1));
        assert_eq!(Ix::Const(i64::MIN) % 3, Ix::Const(1));
        assert_eq!(
            Ix::dim("T")
                .ceil_div(Ix::Const(64))
                .eval_sizes(&[("T".into(), 65)].into()),
            Some(2)
        );
    }

    #[test]
    fn affine_form_collects_coefficients() {
        let ix = Ix::axis("i0") * Ix::dim("C") + Ix::axis("i1") - Ix::axis("j");
        let affine = ix.affine().unwrap();
        assert_eq!(affine.coefficient("i0"), Ix::dim("C"));
        assert_eq!(affine.coefficient("j"), Ix::Const(-1));
        assert!((Ix::axis("i") / 2).affine().is_none());
    }
}
