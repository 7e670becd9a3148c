//! Equality of terms up to the names of axes.

use mixc_ir::{Ix, Name, T, Term};
use std::collections::BTreeMap;

/// A one-to-one renaming that turns the axes of the first term into those of the second, if the terms
/// are equal but for it.
pub type Renaming = BTreeMap<Name, Name>;

/// Extends the renaming so that `a` becomes `b`; false if there is none.
pub fn unify(a: &T, b: &T, map: &mut Renaming) -> bool {
    let names = |x: &[Name], y: &[Name], map: &mut Renaming| {
        x.len() == y.len() && x.iter().zip(y).all(|(x, y)| unify_name(x, y, map))
    };
    let head = match (&**a, &**b) {
        (Term::Const(x), Term::Const(y)) => x == y,
        (Term::Scalar(x), Term::Scalar(y)) => x == y,
        (Term::Index(x), Term::Index(y)) => unify_ix(x, y, map),
        (
            Term::Read {
                tensor: s,
                index: x,
            },
            Term::Read {
                tensor: t,
                index: y,
            },
        ) => s == t && x.len() == y.len() && x.iter().zip(y).all(|(x, y)| unify_ix(x, y, map)),
        (Term::Map { f, .. }, Term::Map { f: g, .. }) => f == g,
        (Term::Add(_), Term::Add(_)) => true,
        (Term::Sum { axes: x, .. }, Term::Sum { axes: y, .. })
        | (Term::Softmax { axes: x, .. }, Term::Softmax { axes: y, .. })
        | (Term::Online { axes: x, .. }, Term::Online { axes: y, .. }) => names(x, y, map),
        (Term::Reduce { op: o, axes: x, .. }, Term::Reduce { op: p, axes: y, .. }) => {
            o == p && names(x, y, map)
        }
        (
            Term::Ss { j, i, strict, .. },
            Term::Ss {
                j: j2,
                i: i2,
                strict: s2,
                ..
            },
        ) => strict == s2 && unify_name(j, j2, map) && unify_name(i, i2, map),
        (
            Term::Scan { j, i, strict, .. },
            Term::Scan {
                j: j2,
                i: i2,
                strict: s2,
                ..
            },
        ) => strict == s2 && unify_name(j, j2, map) && unify_name(i, i2, map),
        (Term::Last { j, .. }, Term::Last { j: j2, .. }) => unify_name(j, j2, map),
        (
            Term::CumProd {
                axis, exclusive, ..
            },
            Term::CumProd {
                axis: y,
                exclusive: e,
                ..
            },
        ) => exclusive == e && unify_name(axis, y, map),
        (Term::SufProd { axis, .. }, Term::SufProd { axis: y, .. })
        | (Term::CumSum { axis, .. }, Term::CumSum { axis: y, .. }) => unify_name(axis, y, map),
        (
            Term::Merge {
                axis, outer, inner, ..
            },
            Term::Merge {
                axis: a2,
                outer: o2,
                inner: i2,
                ..
            },
        ) => unify_name(axis, a2, map) && unify_name(outer, o2, map) && unify_name(inner, i2, map),
        _ => false,
    };
    let (x, y) = (a.children(), b.children());
    head && x.len() == y.len() && x.into_iter().zip(y).all(|(x, y)| unify(x, y, map))
}

fn unify_name(a: &Name, b: &Name, map: &mut Renaming) -> bool {
    if let Some(known) = map.get(a) {
        return known == b;
    }
    if map.values().any(|v| v == b) {
        return false;
    }
    map.insert(a.clone(), b.clone());
    true
}

fn unify_ix(a: &Ix, b: &Ix, map: &mut Renaming) -> bool {
    match (a, b) {
        (Ix::Const(x), Ix::Const(y)) => x == y,
        (Ix::Axis(x), Ix::Axis(y)) => unify_name(x, y, map),
        (Ix::Dim(x), Ix::Dim(y)) => x == y,
        (Ix::Elem(s, x), Ix::Elem(t, y)) => {
            s == t && x.len() == y.len() && x.iter().zip(y).all(|(x, y)| unify_ix(x, y, map))
        }
        _ => {
            let same = std::mem::discriminant(a) == std::mem::discriminant(b);
            match (a.operands(), b.operands()) {
                (Some((a1, a2)), Some((b1, b2))) if same => {
                    unify_ix(a1, b1, map) && unify_ix(a2, b2, map)
                }
                _ => false,
            }
        }
    }
}
