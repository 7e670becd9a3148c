//! Terms: scalar expressions over named axes. No binders: every axis name is unique in a program,
//! a term denotes a tensor over its free axes, and operators carry the axes that they consume and
//! produce.

use crate::{Func, Ix, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A shared term.
pub type T = Arc<Term>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReduceOp {
    /// Maximum; -inf over nothing.
    Max,
    /// Minimum; +inf over nothing.
    Min,
    /// Product; 1 over nothing.
    Prod,
    /// log of the sum of exp; -inf over nothing.
    Lse,
}

/// One term. In the formulas below `L[i,j](a) = [j <= i] * prod of a[m] over j < m <= i`
/// is the 1-semiseparable mask of a decay `a` (Dao & Gu 2024, arXiv 2405.21060).
///
/// A *mask* child is a predicate: positions where it is 0 take no part.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    Const(f64),
    /// A real scalar parameter.
    Scalar(Name),
    /// An integer expression as a real number (index arithmetic, sizes).
    Index(Ix),
    /// An element of an input, of a let-bound tensor or of a carried state; 0 outside the bounds.
    Read {
        tensor: Name,
        index: Vec<Ix>,
    },
    /// An elementwise function.
    Map {
        f: Func,
        args: Vec<T>,
    },
    /// A sum of terms.
    Add(Vec<T>),
    /// Sum over `axes` of the product of the factors; a plain product if `axes` is empty.
    Sum {
        axes: Vec<Name>,
        factors: Vec<T>,
    },
    /// Another reduction over `axes`, of the unmasked positions.
    Reduce {
        op: ReduceOp,
        axes: Vec<Name>,
        mask: T,
        body: T,
    },
    /// exp(score) / sum over `axes` of exp(score), of the unmasked positions; 0 where masked.
    /// A tensor over `axes` too.
    Softmax {
        axes: Vec<Name>,
        score: T,
        mask: T,
    },
    /// sum over `axes` of mask * exp(score - max score) * value, in one pass with rescaling
    /// (Milakov & Gimelshein 2018, arXiv 1805.02867).
    Online {
        axes: Vec<Name>,
        score: T,
        mask: T,
        value: T,
    },
    /// L[i,j](decay), the decay a term over `j`; with `strict`: [j < i] * prod over j < m < i.
    Ss {
        j: Name,
        i: Name,
        strict: bool,
        decay: T,
    },
    /// S_i = decay_i * S_{i-1} + input_i from S_{-1} = init; decay and input are terms over `j`,
    /// the result is one over `i`. With `strict`: the state before step i.
    Scan {
        j: Name,
        i: Name,
        strict: bool,
        decay: T,
        input: T,
        init: T,
    },
    /// The state of the same recurrence after the last step.
    Last {
        j: Name,
        decay: T,
        input: T,
        init: T,
    },
    /// prod of body over positions up to and with `axis` (without, if `exclusive`).
    CumProd {
        axis: Name,
        exclusive: bool,
        body: T,
    },
    /// prod of body over positions strictly after `axis`.
    SufProd {
        axis: Name,
        body: T,
    },
    /// Sum of body over positions up to and with `axis`.
    CumSum {
        axis: Name,
        body: T,
    },
    /// Undoes the splitting of `axis` into `outer` and `inner` (see [`crate::Split`]).
    Merge {
        axis: Name,
        outer: Name,
        inner: Name,
        body: T,
    },
}

impl Term {
    pub fn constant(value: f64) -> T {
        Arc::new(Term::Const(value))
    }

    pub fn one() -> T {
        Term::constant(1.0)
    }

    pub fn zero() -> T {
        Term::constant(0.0)
    }

    pub fn read(tensor: &str, index: Vec<Ix>) -> T {
        Arc::new(Term::Read {
            tensor: tensor.into(),
            index,
        })
    }

    pub fn map(f: Func, args: Vec<T>) -> T {
        Arc::new(Term::Map { f, args })
    }

    pub fn sum(axes: Vec<Name>, factors: Vec<T>) -> T {
        Arc::new(Term::Sum { axes, factors })
    }

    pub fn product(factors: Vec<T>) -> T {
        Term::sum(vec![], factors)
    }

    pub fn is_const(&self, value: f64) -> bool {
        matches!(self, Term::Const(v) if *v == value)
    }

    /// Whether a value of 0 makes a product 0 whatever the other factors are.
    pub fn is_guard(&self) -> bool {
        match self {
            Term::Map { f, .. } => f.is_predicate(),
            Term::Ss { .. } => true,
            _ => false,
        }
    }

    pub fn children(&self) -> Vec<&T> {
        match self {
            Term::Const(_) | Term::Scalar(_) | Term::Index(_) | Term::Read { .. } => vec![],
            Term::Map { args, .. } | Term::Add(args) => args.iter().collect(),
            Term::Sum { factors, .. } => factors.iter().collect(),
            Term::Reduce { mask, body, .. } => vec![mask, body],
            Term::Softmax { score, mask, .. } => vec![score, mask],
            Term::Online {
                score, mask, value, ..
            } => vec![score, mask, value],
            Term::Ss { decay, .. } => vec![decay],
            Term::Scan {
                decay, input, init, ..
            }
            | Term::Last {
                decay, input, init, ..
            } => {
                vec![decay, input, init]
            }
            Term::CumProd { body, .. }
            | Term::SufProd { body, .. }
            | Term::CumSum { body, .. }
            | Term::Merge { body, .. } => vec![body],
        }
    }

    /// The same node over other children, which must be as many as [`Term::children`] gives.
    pub fn with_children(&self, children: Vec<T>) -> Term {
        let mut new = self.clone();
        let mut children = children.into_iter();
        let mut set = |slot: &mut T| {
            if let Some(child) = children.next() {
                *slot = child;
            }
        };
        match &mut new {
            Term::Const(_) | Term::Scalar(_) | Term::Index(_) | Term::Read { .. } => {}
            Term::Map { args, .. } | Term::Add(args) => args.iter_mut().for_each(set),
            Term::Sum { factors, .. } => factors.iter_mut().for_each(set),
            Term::Reduce { mask, body, .. } => [mask, body].into_iter().for_each(set),
            Term::Softmax { score, mask, .. } => [score, mask].into_iter().for_each(set),
            Term::Online {
                score, mask, value, ..
            } => [score, mask, value].into_iter().for_each(set),
            Term::Ss { decay, .. } => set(decay),
            Term::Scan {
                decay, input, init, ..
            }
            | Term::Last {
                decay, input, init, ..
            } => [decay, input, init].into_iter().for_each(set),
            Term::CumProd { body, .. }
            | Term::SufProd { body, .. }
            | Term::CumSum { body, .. }
            | Term::Merge { body, .. } => set(body),
        }
        new
    }

    /// Axes that the term is a function of.
    pub fn free_axes(&self) -> BTreeSet<Name> {
        let mut axes: BTreeSet<Name> = self.children().iter().flat_map(|c| c.free_axes()).collect();
        match self {
            Term::Index(ix) => axes.extend(ix.axes()),
            Term::Read { index, .. } => axes.extend(index.iter().flat_map(Ix::axes)),
            Term::Sum { axes: bound, .. }
            | Term::Reduce { axes: bound, .. }
            | Term::Online { axes: bound, .. } => {
                bound.iter().for_each(|a| {
                    axes.remove(a);
                });
            }
            Term::Softmax { axes: own, .. } => axes.extend(own.iter().cloned()),
            Term::Ss { j, i, .. } => axes.extend([j.clone(), i.clone()]),
            Term::Scan { j, i, init, .. } => {
                axes.remove(j);
                axes.extend(init.free_axes());
                axes.insert(i.clone());
            }
            Term::Last { j, init, .. } => {
                axes.remove(j);
                axes.extend(init.free_axes());
            }
            Term::CumProd { axis, .. } | Term::SufProd { axis, .. } | Term::CumSum { axis, .. } => {
                axes.insert(axis.clone());
            }
            Term::Merge {
                axis, outer, inner, ..
            } => {
                axes.remove(outer);
                axes.remove(inner);
                axes.insert(axis.clone());
            }
            Term::Const(_) | Term::Scalar(_) | Term::Map { .. } | Term::Add(_) => {}
        }
        axes
    }

    /// Axes that the node itself binds (they are not free in its value because of it).
    pub fn bound_axes(&self) -> Vec<Name> {
        match self {
            Term::Sum { axes, .. } | Term::Reduce { axes, .. } | Term::Online { axes, .. } => {
                axes.clone()
            }
            Term::Scan { j, .. } | Term::Last { j, .. } => vec![j.clone()],
            Term::Merge { outer, inner, .. } => vec![outer.clone(), inner.clone()],
            _ => vec![],
        }
    }

    /// Calls `f` on this term and everything below it, parents first.
    pub fn visit<'a>(self: &'a T, f: &mut dyn FnMut(&'a T)) {
        f(self);
        for child in self.children() {
            child.visit(f);
        }
    }

    /// Rebuilds bottom-up; `f` may replace a rebuilt node.
    pub fn rebuild(self: &T, f: &mut dyn FnMut(T) -> T) -> T {
        let children: Vec<T> = self.children().into_iter().map(|c| c.rebuild(f)).collect();
        f(Arc::new(self.with_children(children)))
    }

    /// Replaces free axes in index expressions. Axes that an operator produces (`i` of a scan, the
    /// axes of a softmax, ...) can only be renamed: their image must be another axis.
    ///
    /// # Panics
    /// "bug:" if a produced axis is mapped to anything but an axis, or a bound axis is mapped.
    pub fn substitute(self: &T, map: &BTreeMap<Name, Ix>) -> T {
        let rename = |name: &mut Name| match map.get(name) {
            None => {}
            Some(Ix::Axis(new)) => *name = new.clone(),
            Some(other) => panic!("bug: produced axis {name} cannot become {other}"),
        };
        // Axes that the node binds are shadowed inside it.
        let bound = self.bound_axes();
        let inner: BTreeMap<Name, Ix> = map
            .iter()
            .filter(|(n, _)| !bound.contains(n))
            .map(|(n, ix)| (n.clone(), ix.clone()))
            .collect();
        let children = self
            .children()
            .into_iter()
            .map(|c| c.substitute(&inner))
            .collect();
        let mut new = self.with_children(children);
        match &mut new {
            Term::Index(ix) => *ix = ix.substitute(map),
            Term::Read { index, .. } => index.iter_mut().for_each(|ix| *ix = ix.substitute(map)),
            Term::Softmax { axes, .. } => axes.iter_mut().for_each(rename),
            Term::Ss { j, i, .. } => [j, i].into_iter().for_each(rename),
            Term::Scan { i, .. } => rename(i),
            Term::CumProd { axis, .. }
            | Term::SufProd { axis, .. }
            | Term::CumSum { axis, .. }
            | Term::Merge { axis, .. } => rename(axis),
            _ => {}
        }
        Arc::new(new)
    }
}
