//! Substitution in terms outside the e-graph: inlining of lets and of scan states.

use mixc_ir::{Func, Ix, Name, ReduceOp, T, Term};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Sizes of all axes; grows with the axes that renaming invents.
pub type AxisSizes = BTreeMap<Name, Ix>;

/// An axis like `axis` that does not exist yet.
pub fn fresh_axis(sizes: &mut AxisSizes, axis: &Name, suffix: &str) -> Name {
    let mut name = format!("{axis}_{suffix}");
    while sizes.contains_key(name.as_str()) {
        name.push('_');
    }
    let name: Name = name.into();
    let size = sizes
        .get(axis)
        .cloned()
        .unwrap_or_else(|| Ix::Dim(axis.clone()));
    sizes.insert(name.clone(), size);
    name
}

/// `term` with free axes replaced. Bound axes that would capture are renamed. None where an
/// operator produces the axis and the image is not an axis.
pub fn substitute(term: &T, map: &BTreeMap<Name, Ix>, sizes: &mut AxisSizes) -> Option<T> {
    let free = term.free_axes();
    let map: BTreeMap<Name, Ix> = map
        .iter()
        .filter(|(n, _)| free.contains(*n))
        .map(|(n, ix)| (n.clone(), ix.clone()))
        .collect();
    if map.iter().all(|(n, ix)| *ix == Ix::Axis(n.clone())) {
        return Some(term.clone());
    }
    let images: BTreeSet<Name> = map.values().flat_map(Ix::axes).collect();
    let captured: Vec<Name> = term
        .bound_axes()
        .into_iter()
        .filter(|a| images.contains(a))
        .collect();
    if !captured.is_empty() {
        let renamed = rename_bound(term, &captured, sizes)?;
        return substitute(&renamed, &map, sizes);
    }
    let mut own = (**term).clone();
    match &mut own {
        Term::Index(ix) => *ix = ix.substitute(&map),
        Term::Read { index, .. } => index.iter_mut().for_each(|ix| *ix = ix.substitute(&map)),
        Term::Softmax { axes, .. } => rename_all(axes, &map)?,
        Term::Ss { j, i, .. } => {
            rename(j, &map)?;
            rename(i, &map)?;
            if j == i {
                return None;
            }
        }
        Term::Scan { i, .. } => rename(i, &map)?,
        Term::CumProd { axis, .. }
        | Term::SufProd { axis, .. }
        | Term::CumSum { axis, .. }
        | Term::Merge { axis, .. } => rename(axis, &map)?,
        _ => {}
    }
    let bound = term.bound_axes();
    let inner: BTreeMap<Name, Ix> = map
        .into_iter()
        .filter(|(n, _)| !bound.contains(n))
        .collect();
    let mut children = vec![];
    for child in term.children() {
        children.push(substitute(child, &inner, sizes)?);
    }
    Some(Arc::new(own.with_children(children)))
}

fn rename(name: &mut Name, map: &BTreeMap<Name, Ix>) -> Option<()> {
    match map.get(name) {
        None => Some(()),
        Some(Ix::Axis(new)) => {
            *name = new.clone();
            Some(())
        }
        Some(_) => None,
    }
}

fn rename_all(names: &mut [Name], map: &BTreeMap<Name, Ix>) -> Option<()> {
    names.iter_mut().try_for_each(|n| rename(n, map))
}

/// The term with some of the axes that its top node binds renamed to fresh ones.
pub fn rename_bound(term: &T, which: &[Name], sizes: &mut AxisSizes) -> Option<T> {
    let map: BTreeMap<Name, Name> = which
        .iter()
        .map(|a| (a.clone(), fresh_axis(sizes, a, "b")))
        .collect();
    rename_bound_to(term, &map, sizes)
}

/// The same with chosen names, which must not occur free below the node.
pub fn rename_bound_to(term: &T, map: &BTreeMap<Name, Name>, sizes: &mut AxisSizes) -> Option<T> {
    let images: BTreeMap<Name, Ix> = map
        .iter()
        .map(|(a, b)| (a.clone(), Ix::Axis(b.clone())))
        .collect();
    let new = |a: &Name| map.get(a).unwrap_or(a).clone();
    let mut children = vec![];
    for (n, child) in term.children().into_iter().enumerate() {
        let outside = n == 2 && matches!(**term, Term::Scan { .. } | Term::Last { .. });
        children.push(if outside {
            child.clone()
        } else {
            substitute(child, &images, sizes)?
        });
    }
    let mut own = term.with_children(children);
    match &mut own {
        Term::Sum { axes, .. } | Term::Reduce { axes, .. } | Term::Online { axes, .. } => {
            axes.iter_mut().for_each(|a| *a = new(a));
        }
        Term::Scan { j, .. } | Term::Last { j, .. } => *j = new(j),
        Term::Merge { outer, inner, .. } => {
            *outer = new(outer);
            *inner = new(inner);
        }
        _ => {}
    }
    Some(Arc::new(own))
}

/// Axes that a term treats as positions in time: those of softmaxes, maxima, scans and prefix
/// operations, and those that predicates compare with each other.
pub fn sequence_axes(term: &T, found: &mut BTreeSet<Name>) {
    term.visit(&mut |t| match &**t {
        Term::Softmax { axes, .. } | Term::Online { axes, .. } => {
            found.extend(axes.iter().cloned())
        }
        Term::Reduce {
            op: ReduceOp::Max | ReduceOp::Lse,
            axes,
            ..
        } => found.extend(axes.iter().cloned()),
        Term::Ss { j, i, .. } | Term::Scan { j, i, .. } => found.extend([j.clone(), i.clone()]),
        Term::Last { j, .. } => {
            found.insert(j.clone());
        }
        Term::CumProd { axis, .. } | Term::SufProd { axis, .. } | Term::CumSum { axis, .. } => {
            found.insert(axis.clone());
        }
        Term::Map {
            f: Func::Le | Func::Lt,
            args,
        } => {
            let mut axes = BTreeSet::new();
            for arg in args {
                match &**arg {
                    Term::Index(ix) => positions(ix, &mut axes),
                    Term::Const(_) => {}
                    _ => return,
                }
            }
            if axes.len() > 1 {
                found.extend(axes);
            }
        }
        _ => {}
    });
}

/// Axes of an index expression, without those that only choose an element of a tensor.
fn positions(ix: &Ix, found: &mut BTreeSet<Name>) {
    match ix {
        Ix::Axis(axis) => {
            found.insert(axis.clone());
        }
        Ix::Elem(..) => {}
        _ => {
            if let Some((a, b)) = ix.operands() {
                positions(a, found);
                positions(b, found);
            }
        }
    }
}
