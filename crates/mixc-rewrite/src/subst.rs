//! Substitution of an axis, done at once on a class's representative.

use crate::axes::{Ax, Image};
use crate::graph::{Graph, add, find_in, free, plus, sum};
use crate::node::{Leaf, Node, Op};
use egg::{Id, Language as _};
use mixc_ir::Ix;

/// `id` with `from` replaced. None where that is impossible: an operator produces the axis (the
/// result of a scan can be renamed, not re-indexed), or a binder would capture the image.
pub fn substitute(g: &mut Graph, id: Id, from: Ax, to: Image) -> Option<Id> {
    if !free(g, id).contains(from) || to == Image::Axis(from) {
        return Some(id);
    }
    let key = (g.find(id), from, to);
    if let Some(known) = g.analysis.substituted.get(&key) {
        return Some(*known);
    }
    let best = g[id].data.best.clone();
    // What fails now can succeed later, so only successes are remembered.
    let result = in_node(g, &best, from, to).or_else(|| in_merge(g, id, from, to))?;
    g.analysis.substituted.insert(key, result);
    Some(result)
}

/// `merge[i0.i1>i](X)` at `i = o.p` is X at `i0 = o`, `i1 = p`.
fn in_merge(g: &mut Graph, id: Id, from: Ax, to: Image) -> Option<Id> {
    let Image::Parts { outer, inner, .. } = to else {
        return None;
    };
    let merges = find_in(g, id, |x| match x.op {
        Op::Merge {
            axis,
            outer: o,
            inner: i,
        } if axis == from => Some((o, i, x.kids[0])),
        _ => None,
    });
    merges.into_iter().find_map(|(old_outer, old_inner, body)| {
        if g.analysis.axes.size(old_inner) != g.analysis.axes.size(inner) {
            return None;
        }
        let body = substitute(g, body, old_outer, Image::Axis(outer))?;
        substitute(g, body, old_inner, Image::Axis(inner))
    })
}

fn in_node(g: &mut Graph, node: &Node, from: Ax, to: Image) -> Option<Id> {
    // Inner parts move with their outer part.
    let moving = node
        .op
        .bound()
        .iter()
        .find(|a| g.analysis.axes.outer_of(*a) == Some(from));
    if let Some(inner) = moving
        && !node.op.bound().contains(from)
    {
        let Image::Axis(outer) = to else { return None };
        let moved = g.analysis.axes.moved(inner, outer)?;
        let node = rename_bound(g, node, inner, moved)?;
        return in_node(g, &node, from, to);
    }
    if node.op.bound().meets(to.axes()) {
        return None;
    }
    let op = match node.op {
        Op::Leaf(leaf) => return leaf_with(g, g.analysis.leaves.get(leaf).clone(), from, to),
        op if op.produced().contains(from) => renamed(op, from, to)?,
        op => op,
    };
    let binds_from = matches!(node.op, Op::Scan { j, .. } | Op::Last { j } if j == from);
    let mut kids = vec![];
    for (n, kid) in node.kids.iter().enumerate() {
        // Only the initial state of a scan is outside its binding.
        kids.push(if binds_from && n < 2 {
            *kid
        } else {
            substitute(g, *kid, from, to)?
        });
    }
    Some(match op {
        Op::Sum(axes) => sum(g, axes, kids),
        Op::Add => plus(g, kids),
        op => add(g, op, kids),
    })
}

fn leaf_with(g: &mut Graph, leaf: Leaf, from: Ax, to: Image) -> Option<Id> {
    let facts = &mut g.analysis;
    let name = facts.axes.name(from).clone();
    let image = to.index(&facts.axes);
    let index = |ix: &Ix| {
        ix.replace(&|leaf| match leaf {
            Ix::Axis(axis) if *axis == name => Some(image.clone()),
            _ => None,
        })
    };
    let leaf = match leaf {
        Leaf::Index(ix) => Leaf::Index(index(&ix)),
        Leaf::Read(tensor, ixs) => Leaf::Read(tensor, ixs.iter().map(index).collect()),
        other => other,
    };
    let mut axes = crate::axes::AxisSet::EMPTY;
    let mut collect = |ix: &Ix| {
        ix.axes()
            .iter()
            .for_each(|n| axes = axes.with(facts.axes.get(n).expect("bug: unknown axis")))
    };
    match &leaf {
        Leaf::Index(ix) => collect(ix),
        Leaf::Read(_, ixs) => ixs.iter().for_each(collect),
        _ => {}
    }
    let id = facts.leaves.intern(leaf, axes);
    Some(add(g, Op::Leaf(id), vec![]))
}

/// The operator with a produced axis renamed.
fn renamed(op: Op, from: Ax, to: Image) -> Option<Op> {
    let Image::Axis(to) = to else { return None };
    if op.produced().contains(to) {
        return None;
    }
    let new = |a: Ax| if a == from { to } else { a };
    Some(match op {
        Op::Softmax(axes) => Op::Softmax(axes.without(from).with(to)),
        Op::Ss { j, i, strict } => Op::Ss {
            j: new(j),
            i: new(i),
            strict,
        },
        Op::Scan { j, i, strict } => Op::Scan {
            j,
            i: new(i),
            strict,
        },
        Op::CumProd { axis, exclusive } => Op::CumProd {
            axis: new(axis),
            exclusive,
        },
        Op::SufProd { axis } => Op::SufProd { axis: new(axis) },
        Op::CumSum { axis } => Op::CumSum { axis: new(axis) },
        Op::Merge { axis, outer, inner } => Op::Merge {
            axis: new(axis),
            outer,
            inner,
        },
        other => other,
    })
}

/// All of `ids` substituted.
pub fn substitute_all(g: &mut Graph, ids: &[Id], from: Ax, to: Image) -> Option<Vec<Id>> {
    ids.iter().map(|id| substitute(g, *id, from, to)).collect()
}

/// A node's own bound axis renamed, in the children where it is bound.
pub fn rename_bound(g: &mut Graph, node: &Node, from: Ax, to: Ax) -> Option<Node> {
    if let Op::Scan { .. } | Op::Last { .. } = node.op {
        let op = match node.op {
            Op::Scan { i, strict, .. } => Op::Scan { j: to, i, strict },
            _ => Op::Last { j: to },
        };
        let mut kids = substitute_all(g, &node.kids[..2], from, Image::Axis(to))?;
        kids.push(node.kids[2]);
        return Some(Node { op, kids });
    }
    let op = match node.op {
        Op::Sum(a) => Op::Sum(a.without(from).with(to)),
        Op::Reduce(r, a) => Op::Reduce(r, a.without(from).with(to)),
        Op::Online(a) => Op::Online(a.without(from).with(to)),
        _ => return None,
    };
    Some(Node {
        op,
        kids: substitute_all(g, node.children(), from, Image::Axis(to))?,
    })
}
