//! The e-graph: its facts about each class, and the ways between it and `mixc_ir::Term`.

use crate::axes::{Axes, AxisSet, Image};
use crate::node::{Leaf, LeafId, Leaves, Node, Op};
use crate::range::{self, Range};
use egg::{Analysis, DidMerge, EGraph, Id, Language as _, RecExpr};
use mixc_ir::{Func, Ix, Name, ReduceOp, T, Term};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

pub type Graph = EGraph<Node, Facts>;

/// What laws need to know beside the e-graph itself.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub axes: Axes,
    pub leaves: Leaves,
    /// Declared ranges of tensors and scalars.
    pub ranges: HashMap<Name, Range>,
    /// Sizes of the axes that have no number yet.
    pub sizes: HashMap<Name, Ix>,
    /// Sizes that sequences have; axes of these sizes are positions in time.
    pub sequence_sizes: BTreeSet<Ix>,
    pub(crate) substituted: HashMap<(Id, crate::axes::Ax, Image), Id>,
}

/// Facts about a class.
#[derive(Clone, Debug)]
pub struct Data {
    pub free: AxisSet,
    /// Bounds that hold whatever surrounds the term.
    pub range: Range,
    /// The smallest node, by [`weight`]; its children are smaller, so terms read off it are finite.
    pub best: Node,
    pub cost: f64,
}

/// Size of a node in the choice of a class's representative. Less is more normal: flat sums,
/// masks as one semiseparable factor, maxima shared inside one-pass reductions, nothing split.
fn weight(op: Op) -> f64 {
    match op {
        Op::Leaf(_) => 1.0,
        Op::Map(f) if f.is_predicate() => 1.5,
        Op::Online(_) => 0.5,
        Op::Map(_) => 2.0,
        Op::Add | Op::Roots => 1.2,
        Op::Sum(axes) => 1.0 + 0.3 * axes.len() as f64,
        Op::Ss { .. } => 1.0,
        Op::CumProd { .. } | Op::SufProd { .. } => 2.0,
        Op::Reduce(..) | Op::Scan { .. } | Op::Last { .. } | Op::CumSum { .. } => 3.0,
        Op::Softmax(_) => 4.0,
        Op::Merge { .. } => 8.0,
    }
}

fn free_axes(g: &Graph, node: &Node) -> AxisSet {
    let kid = |n: usize| g[node.kids[n]].data.free;
    let all = node
        .kids
        .iter()
        .fold(AxisSet::EMPTY, |set, k| set.union(g[*k].data.free));
    match node.op {
        Op::Leaf(leaf) => g.analysis.leaves.free(leaf),
        // The initial state is outside the binding of `j`.
        Op::Scan { j, i, .. } => kid(0).union(kid(1)).without(j).union(kid(2)).with(i),
        Op::Last { j } => kid(0).union(kid(1)).without(j).union(kid(2)),
        op => all.minus(op.bound()).union(op.produced()),
    }
    .union(parts_cut_short(g, node.op))
}

/// Outer parts on which a reduction over an inner part depends, because the last part is shorter.
fn parts_cut_short(g: &Graph, op: Op) -> AxisSet {
    let over = match op {
        Op::Sum(_) | Op::Reduce(..) | Op::Online(_) | Op::Last { .. } => op.bound(),
        Op::SufProd { axis } => AxisSet::of(&[axis]),
        _ => AxisSet::EMPTY,
    };
    let outers = over.iter().filter_map(|a| g.analysis.axes.outer_of(a));
    outers.fold(AxisSet::EMPTY, AxisSet::with).minus(over)
}

fn value_range(g: &Graph, node: &Node) -> Range {
    let kid = |n: usize| g[node.kids[n]].data.range;
    let kids: Vec<Range> = node.kids.iter().map(|k| g[*k].data.range).collect();
    match node.op {
        Op::Leaf(leaf) => match g.analysis.leaves.get(leaf) {
            Leaf::Const(bits) => (f64::from_bits(*bits), f64::from_bits(*bits)),
            Leaf::Scalar(name) => g.analysis.ranges.get(name).copied().unwrap_or(range::ANY),
            // Outside the bounds a tensor reads as 0.
            Leaf::Read(name, _) => range::hull(
                (0.0, 0.0),
                g.analysis.ranges.get(name).copied().unwrap_or(range::ANY),
            ),
            Leaf::Index(Ix::Axis(_) | Ix::Dim(_)) => (0.0, f64::INFINITY),
            Leaf::Index(_) => range::ANY,
        },
        Op::Map(f) => range::map(f, &kids),
        Op::Add => kids.into_iter().fold((0.0, 0.0), range::add),
        Op::Sum(axes) => {
            let product = kids.into_iter().fold((1.0, 1.0), range::mul);
            if axes.is_empty() {
                product
            } else {
                range::many(product)
            }
        }
        Op::Reduce(ReduceOp::Max, _) => (f64::NEG_INFINITY, kid(1).1),
        Op::Reduce(ReduceOp::Min, _) => (kid(1).0, f64::INFINITY),
        Op::Reduce(ReduceOp::Prod, _) => range::power(kid(1)),
        Op::Reduce(ReduceOp::Lse, _) | Op::Roots => range::ANY,
        Op::Softmax(_) => range::UNIT,
        Op::Online(_) => range::many(kid(2)),
        // A mask is 0 somewhere, whatever the decay is.
        Op::Ss { .. } => range::hull((0.0, 0.0), range::power(kid(0))),
        Op::CumProd { .. } | Op::SufProd { .. } => range::power(kid(0)),
        Op::Scan { .. } | Op::Last { .. } => {
            let nonnegative = (0..3).all(|n| kid(n).0 >= 0.0);
            if nonnegative {
                (0.0, f64::INFINITY)
            } else {
                range::ANY
            }
        }
        Op::CumSum { .. } => range::many(kid(0)),
        Op::Merge { .. } => kid(0),
    }
}

impl Analysis<Node> for Facts {
    type Data = Data;

    fn make(g: &mut Graph, node: &Node, _: Id) -> Data {
        let cost = weight(node.op) + node.kids.iter().map(|k| g[*k].data.cost).sum::<f64>();
        Data {
            free: free_axes(g, node),
            range: value_range(g, node),
            best: node.clone(),
            cost,
        }
    }

    fn merge(&mut self, a: &mut Data, b: Data) -> DidMerge {
        let free = a.free.intersection(b.free);
        let range = range::meet(a.range, b.range);
        let mut did = DidMerge(
            free != a.free || range != a.range,
            free != b.free || range != b.range || b.cost > a.cost,
        );
        a.free = free;
        a.range = range;
        if b.cost < a.cost {
            a.best = b.best;
            a.cost = b.cost;
            did.0 = true;
        }
        did
    }
}

/// Adds a node and gives the id of exactly this node, so that explanations stay exact.
pub fn add(g: &mut Graph, op: Op, kids: Vec<Id>) -> Id {
    g.add_uncanonical(Node { op, kids })
}

pub fn constant(g: &mut Graph, value: f64) -> Id {
    let leaf = g
        .analysis
        .leaves
        .intern(Leaf::Const(value.to_bits()), AxisSet::EMPTY);
    add(g, Op::Leaf(leaf), vec![])
}

/// An n-ary sum-product in normal order, without factors 1; a single factor stands for itself.
pub fn sum(g: &mut Graph, axes: AxisSet, mut factors: Vec<Id>) -> Id {
    factors.retain(|f| !is_const(g, *f, 1.0));
    if axes.is_empty() && factors.len() == 1 {
        return factors[0];
    }
    if axes.is_empty() && factors.is_empty() {
        return constant(g, 1.0);
    }
    factors.sort_by_key(|f| g.find(*f));
    add(g, Op::Sum(axes), factors)
}

pub fn plus(g: &mut Graph, mut terms: Vec<Id>) -> Id {
    if terms.len() == 1 {
        return terms[0];
    }
    terms.sort_by_key(|t| g.find(*t));
    add(g, Op::Add, terms)
}

pub fn map(g: &mut Graph, f: Func, args: Vec<Id>) -> Id {
    add(g, Op::Map(f), args)
}

pub fn is_const(g: &Graph, id: Id, value: f64) -> bool {
    g[id].data.range == (value, value)
}

pub fn free(g: &Graph, id: Id) -> AxisSet {
    g[id].data.free
}

/// The nodes of a class for which `wanted` gives something.
pub fn find_in<R>(g: &Graph, id: Id, wanted: impl Fn(&Node) -> Option<R>) -> Vec<R> {
    g[id].nodes.iter().filter_map(wanted).collect()
}

/// Adds a term; None if it has too many axes.
pub fn from_term(g: &mut Graph, term: &T) -> Option<Id> {
    from_term_memo(g, term, &mut HashMap::new())
}

fn from_term_memo(g: &mut Graph, term: &T, memo: &mut HashMap<*const Term, Id>) -> Option<Id> {
    if let Some(id) = memo.get(&Arc::as_ptr(term)) {
        return Some(*id);
    }
    let leaf = match &**term {
        Term::Const(value) => Some(Leaf::Const(value.to_bits())),
        Term::Scalar(name) => Some(Leaf::Scalar(name.clone())),
        Term::Index(ix) => Some(Leaf::Index(ix.clone())),
        Term::Read { tensor, index } => Some(Leaf::Read(tensor.clone(), index.clone())),
        _ => None,
    };
    let id = if let Some(leaf) = leaf {
        let free = axis_set(g, term.free_axes().iter())?;
        let leaf = g.analysis.leaves.intern(leaf, free);
        add(g, Op::Leaf(leaf), vec![])
    } else {
        let mut kids = vec![];
        for child in term.children() {
            kids.push(from_term_memo(g, child, memo)?);
        }
        let axis = |g: &mut Graph, name: &Name| intern_axis(g, name);
        match &**term {
            Term::Sum { axes, .. } => {
                let axes = axis_set(g, axes.iter())?;
                sum(g, axes, kids)
            }
            Term::Add(_) => plus(g, kids),
            other => {
                let op = match other {
                    Term::Map { f, .. } => Op::Map(*f),
                    Term::Reduce { op, axes, .. } => Op::Reduce(*op, axis_set(g, axes.iter())?),
                    Term::Softmax { axes, .. } => Op::Softmax(axis_set(g, axes.iter())?),
                    Term::Online { axes, .. } => Op::Online(axis_set(g, axes.iter())?),
                    Term::Ss { j, i, strict, .. } => Op::Ss {
                        j: axis(g, j)?,
                        i: axis(g, i)?,
                        strict: *strict,
                    },
                    Term::Scan { j, i, strict, .. } => Op::Scan {
                        j: axis(g, j)?,
                        i: axis(g, i)?,
                        strict: *strict,
                    },
                    Term::Last { j, .. } => Op::Last { j: axis(g, j)? },
                    Term::CumProd {
                        axis: a, exclusive, ..
                    } => Op::CumProd {
                        axis: axis(g, a)?,
                        exclusive: *exclusive,
                    },
                    Term::SufProd { axis: a, .. } => Op::SufProd { axis: axis(g, a)? },
                    Term::CumSum { axis: a, .. } => Op::CumSum { axis: axis(g, a)? },
                    Term::Merge {
                        axis: a,
                        outer,
                        inner,
                        ..
                    } => Op::Merge {
                        axis: axis(g, a)?,
                        outer: axis(g, outer)?,
                        inner: axis(g, inner)?,
                    },
                    _ => unreachable!("bug: leaves, sums and additions are handled above"),
                };
                add(g, op, kids)
            }
        }
    };
    memo.insert(Arc::as_ptr(term), id);
    Some(id)
}

fn intern_axis(g: &mut Graph, name: &Name) -> Option<crate::axes::Ax> {
    let facts = &mut g.analysis;
    if let Some(a) = facts.axes.get(name) {
        return Some(a);
    }
    let size = facts
        .sizes
        .get(name)
        .cloned()
        .unwrap_or_else(|| Ix::Dim(name.clone()));
    let sequence = facts.sequence_sizes.contains(&size);
    facts.axes.intern(name, &size, sequence)
}

fn axis_set<'a>(g: &mut Graph, names: impl Iterator<Item = &'a Name>) -> Option<AxisSet> {
    let mut set = AxisSet::EMPTY;
    for name in names {
        set = set.with(intern_axis(g, name)?);
    }
    Some(set)
}

/// One term of the `mixc_ir` language for every node of an expression; equal subterms are shared.
pub fn to_terms(facts: &Facts, expr: &RecExpr<Node>) -> Vec<Option<T>> {
    let mut terms: Vec<Option<T>> = vec![];
    for node in expr {
        let term = (node.op != Op::Roots).then(|| {
            let kids = node.kids.iter().map(|k| {
                terms[usize::from(*k)]
                    .clone()
                    .expect("bug: roots below a node")
            });
            Arc::new(to_term(facts, node.op, kids.collect()))
        });
        terms.push(term);
    }
    terms
}

fn to_term(facts: &Facts, op: Op, kids: Vec<T>) -> Term {
    let name = |a| facts.axes.name(a).clone();
    let names = |set| facts.axes.names(set);
    let kid = |n: usize| kids[n].clone();
    match op {
        Op::Leaf(leaf) => leaf_term(facts, leaf),
        Op::Map(f) => Term::Map { f, args: kids },
        Op::Add => Term::Add(kids),
        Op::Sum(axes) => Term::Sum {
            axes: names(axes),
            factors: kids,
        },
        Op::Reduce(op, axes) => Term::Reduce {
            op,
            axes: names(axes),
            mask: kid(0),
            body: kid(1),
        },
        Op::Softmax(axes) => Term::Softmax {
            axes: names(axes),
            score: kid(0),
            mask: kid(1),
        },
        Op::Online(axes) => Term::Online {
            axes: names(axes),
            score: kid(0),
            mask: kid(1),
            value: kid(2),
        },
        Op::Ss { j, i, strict } => Term::Ss {
            j: name(j),
            i: name(i),
            strict,
            decay: kid(0),
        },
        Op::Scan { j, i, strict } => Term::Scan {
            j: name(j),
            i: name(i),
            strict,
            decay: kid(0),
            input: kid(1),
            init: kid(2),
        },
        Op::Last { j } => Term::Last {
            j: name(j),
            decay: kid(0),
            input: kid(1),
            init: kid(2),
        },
        Op::CumProd { axis, exclusive } => Term::CumProd {
            axis: name(axis),
            exclusive,
            body: kid(0),
        },
        Op::SufProd { axis } => Term::SufProd {
            axis: name(axis),
            body: kid(0),
        },
        Op::CumSum { axis } => Term::CumSum {
            axis: name(axis),
            body: kid(0),
        },
        Op::Merge { axis, outer, inner } => Term::Merge {
            axis: name(axis),
            outer: name(outer),
            inner: name(inner),
            body: kid(0),
        },
        Op::Roots => unreachable!("bug: roots are not a term"),
    }
}

fn leaf_term(facts: &Facts, leaf: LeafId) -> Term {
    match facts.leaves.get(leaf).clone() {
        Leaf::Const(bits) => Term::Const(f64::from_bits(bits)),
        Leaf::Scalar(name) => Term::Scalar(name),
        Leaf::Index(ix) => Term::Index(ix),
        Leaf::Read(tensor, index) => Term::Read { tensor, index },
    }
}

/// The representative of a class as an expression.
pub fn representative(g: &Graph, id: Id) -> RecExpr<Node> {
    g[id]
        .data
        .best
        .build_recexpr(|kid| g[kid].data.best.clone())
}
