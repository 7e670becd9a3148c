//! Which rows of a let can be packed: what its reads say.

use crate::group::Out;
use crate::roles::Roles;
use mixc_ir::{Ix, Name, Program, T, Term};
use std::collections::BTreeSet;

/// What is packed.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// The axis h whose positions share what is streamed.
    pub head: Name,
    /// How many of them do: n.
    pub heads: Ix,
    /// Whether there are several quotients: else all positions of h share everything.
    pub grouped: bool,
    /// The axis of positions, where there is one.
    pub position: Option<Name>,
}

/// An index list of a read, inside or outside of another index.
type Read = Vec<Ix>;

/// What can be packed in a let: an axis on which the streamed reads depend through one quotient alone, and the axis of
/// the rows that each of its positions has.
pub fn shape(program: &Program, roles: &Roles, out: &Out) -> Option<Shape> {
    if out.is_recurrence() {
        return None;
    }
    let all = reads(&out.term);
    let inner = reduced_axes(&out.term);
    let is_long =
        |a: &Name| roles.is_stream(program, a) || program.splits.iter().any(|s| s.inner == *a);
    let long: BTreeSet<Name> = inner.iter().filter(|a| is_long(a)).cloned().collect();
    let named = named_axes(&out.term);
    let is_free = |a: &Name| program.split_of(a).is_none() && !named.contains(a);
    // The innermost head comes first: its rows are the nearest in memory.
    let heads = out
        .axes
        .iter()
        .rev()
        .filter(|a| is_free(a) && !out.tiles().contains(a));
    let positions: Vec<&Name> = out.tiles().iter().filter(|a| is_free(a)).collect();
    for head in heads {
        // The reads that tell heads apart say which axis the rows of a head run along.
        let apart: Vec<&Read> = all.iter().filter(|read| tells_apart(read, head)).collect();
        if apart.is_empty() {
            continue;
        }
        let position = positions
            .iter()
            .find(|i| apart.iter().any(|read| mentions(read, i)))
            .map(|i| (*i).clone());
        // What is streamed and has a position is a row's own; the rest is to be shared.
        let shared: Vec<&Read> = all
            .iter()
            .filter(|read| mentions_any(read, &long))
            .filter(|read| position.as_ref().is_none_or(|i| !mentions(read, i)))
            .collect();
        // A vector for all rows is read once for each of them anyway; a matrix is worth sharing.
        let is_matrix = |read: &&Read| {
            let mut axes = inner.iter().chain(out.tiles());
            axes.any(|a| !long.contains(a) && mentions(read, a))
        };
        if !shared.iter().any(is_matrix) {
            continue;
        }
        let Some(quotient) = common_quotient(&shared, head) else {
            continue;
        };
        return Some(Shape {
            head: head.clone(),
            grouped: quotient.is_some(),
            heads: quotient.unwrap_or(program.axes[head].clone()),
            position,
        });
    }
    None
}

/// n, if these reads (of which there must be some) depend on the axis as `h / n`; if they do not depend on it at all,
/// Some(None).
fn common_quotient(shared: &[&Read], head: &Name) -> Option<Option<Ix>> {
    if shared.is_empty() {
        return None;
    }
    let mut divisor: Option<Ix> = None;
    for ix in shared.iter().copied().flatten() {
        visit_nodes(ix, &mut |node| {
            if let Ix::Div(h, n) = node
                && **h == Ix::Axis(head.clone())
                && n.axes().is_empty()
            {
                divisor.get_or_insert((**n).clone());
            }
        });
    }
    let quotient = divisor.clone().map(|n| Ix::Axis(head.clone()) / n);
    let without = |ix: &Ix| {
        let replaced =
            ix.replace(&|node| (Some(node) == quotient.as_ref()).then_some(Ix::Const(0)));
        !replaced.axes().contains(head)
    };
    shared
        .iter()
        .copied()
        .flatten()
        .all(without)
        .then_some(divisor)
}

fn reduced_axes(term: &T) -> BTreeSet<Name> {
    let mut reduced = BTreeSet::new();
    term.visit(&mut |t| reduced.extend(t.bound_axes()));
    reduced
}

/// Axes that operators name: an expression cannot take their place.
fn named_axes(term: &T) -> BTreeSet<Name> {
    let mut named = BTreeSet::new();
    term.visit(&mut |t| {
        named.extend(t.bound_axes());
        match &**t {
            Term::Softmax { axes, .. } => named.extend(axes.iter().cloned()),
            Term::Ss { j, i, .. } => named.extend([j.clone(), i.clone()]),
            Term::Scan { i, .. } => {
                named.insert(i.clone());
            }
            Term::CumProd { axis, .. }
            | Term::SufProd { axis, .. }
            | Term::CumSum { axis, .. }
            | Term::Merge { axis, .. } => {
                named.insert(axis.clone());
            }
            _ => {}
        }
    });
    named
}

fn reads(term: &T) -> Vec<Read> {
    let mut found = vec![];
    term.visit(&mut |t| match &**t {
        Term::Read { index, .. } => {
            found.push(index.clone());
            index.iter().for_each(|ix| gathers(ix, &mut found));
        }
        Term::Index(ix) => gathers(ix, &mut found),
        _ => {}
    });
    found
}

fn gathers(ix: &Ix, found: &mut Vec<Read>) {
    ix.visit_leaves(&mut |leaf| {
        if let Ix::Elem(_, index) = leaf {
            found.push(index.clone());
        }
    });
}

/// Whether a read depends on the axis in another way than through a quotient.
fn tells_apart(read: &Read, head: &Name) -> bool {
    let axis = Ix::Axis(head.clone());
    let is_quotient =
        |node: &Ix| matches!(node, Ix::Div(h, n) if **h == axis && n.axes().is_empty());
    read.iter().any(|ix| {
        let rest = ix.replace(&|node| is_quotient(node).then_some(Ix::Const(0)));
        rest.axes().contains(head)
    })
}

fn mentions(read: &Read, axis: &Name) -> bool {
    read.iter().any(|ix| ix.axes().contains(axis))
}

fn mentions_any(read: &Read, axes: &BTreeSet<Name>) -> bool {
    axes.iter().any(|a| mentions(read, a))
}

fn visit_nodes(ix: &Ix, f: &mut dyn FnMut(&Ix)) {
    f(ix);
    if let Ix::Elem(_, index) = ix {
        index.iter().for_each(|ix| visit_nodes(ix, f));
    }
    if let Some((a, b)) = ix.operands() {
        visit_nodes(a, f);
        visit_nodes(b, f);
    }
}
