//! Sums of products: flattening, variable elimination, distribution. The n-ary node makes
//! associativity and commutativity free; contraction order is variable elimination.

use super::{Law, NumericClass, Phase};
use crate::axes::{AxisSet, Cut, Image, Origin};
use crate::graph::{Graph, constant, find_in, free, is_const, plus, sum};
use crate::node::{Node, Op};
use crate::subst::{rename_bound, substitute};
use egg::Id;
use mixc_ir::Func;

/// Longer products are left alone.
const MAX_FACTORS: usize = 12;
/// Sums of more terms are not multiplied out.
const MAX_TERMS: usize = 4;
const SPORES: &str = "Wang et al. 2020, arXiv 2002.07951";

pub const LAWS: &[Law] = &[
    Law {
        name: "ac-normalise",
        algebra: "sum[A](1, G, F) = sum[A](F, G)",
        citation: SPORES,
        class: NumericClass::Exact,
        conditions: "",
        phase: Phase::Both,
        apply: ac_normalise,
    },
    Law {
        name: "sum-flatten",
        algebra: "sum[A](F, sum[B](G)) = sum[A,B](F, G); X + (Y + Z) = X + Y + Z",
        citation: SPORES,
        class: NumericClass::Reassociates,
        conditions: "B disjoint from A and from the axes of F, else renamed to fresh axes",
        phase: Phase::Both,
        apply: sum_flatten,
    },
    Law {
        name: "sum-factor",
        algebra: "sum[A,x](F, G) = sum[A](F, sum[x](G))",
        citation: "Abo Khamis et al. 2016, arXiv 1504.04044",
        class: NumericClass::Reassociates,
        conditions: "F free of x",
        phase: Phase::Derive,
        apply: sum_factor,
    },
    Law {
        name: "distribute",
        algebra: "sum[A](F, X + Y) = sum[A](F, X) + sum[A](F, Y)",
        citation: SPORES,
        class: NumericClass::Reassociates,
        conditions: "A not empty; X or Y itself a reduction (splitting x + 1 or x - mean gains nothing and cancels)",
        phase: Phase::Derive,
        apply: distribute,
    },
    Law {
        name: "merge-hoist",
        algebra: "f(merge[i0.i1>i](X), Y) = merge[i0.i1>i](f(X, Y[i := i0.i1]))",
        citation: "splitting an index is a bijection",
        class: NumericClass::Exact,
        conditions: "f a sum, an addition or elementwise; Y can be re-indexed, or is merged in the same way",
        phase: Phase::Derive,
        apply: merge_hoist,
    },
    Law {
        name: "linear-as-product",
        algebra: "sum[A](F, -x) = sum[A](F, -1, x); sum[A](F, x / y) = sum[A](F, x, recip(y))",
        citation: "field axioms",
        class: NumericClass::Reassociates,
        conditions: "below a sum",
        phase: Phase::Both,
        apply: linear_as_product,
    },
    Law {
        name: "integer-power",
        algebra: "pow(x, 2) = x * x; pow(x, 3) = x * x * x",
        citation: "definition",
        class: NumericClass::Reassociates,
        conditions: "below a sum",
        phase: Phase::Both,
        apply: integer_power,
    },
];

/// Restores the normal order after unions. One result per node.
fn ac_normalise(g: &mut Graph, node: &Node) -> Vec<Id> {
    match node.op {
        Op::Sum(axes) => vec![sum(g, axes, node.kids.clone())],
        Op::Add => vec![plus(g, node.kids.clone())],
        _ => vec![],
    }
}

/// Inlines one nested sum or addition. Bounded: the nesting gets less deep.
fn sum_flatten(g: &mut Graph, node: &Node) -> Vec<Id> {
    let mut found = vec![];
    for (n, kid) in node.kids.iter().enumerate() {
        let others = || {
            node.kids
                .iter()
                .enumerate()
                .filter(move |(m, _)| *m != n)
                .map(|(_, k)| *k)
        };
        match node.op {
            Op::Add => {
                for inner in find_in(g, *kid, |x| (x.op == Op::Add).then(|| x.kids.clone())) {
                    if node.kids.len() + inner.len() <= MAX_FACTORS {
                        found.push(plus(g, others().chain(inner).collect()));
                    }
                }
            }
            Op::Sum(axes) => {
                for inner in find_in(g, *kid, |x| matches!(x.op, Op::Sum(_)).then(|| x.clone())) {
                    let outside = others().fold(axes, |set, k| set.union(free(g, k)));
                    if node.kids.len() + inner.kids.len() <= MAX_FACTORS
                        && let Some(inner) = renamed_apart(g, inner, outside)
                    {
                        found.push(sum(
                            g,
                            axes.union(inner.op.bound()),
                            others().chain(inner.kids).collect(),
                        ));
                    }
                }
            }
            _ => return vec![],
        }
    }
    found
}

/// The sum with its bound axes outside `taken`; the axes of the other factors must not be captured.
fn renamed_apart(g: &mut Graph, mut inner: Node, taken: AxisSet) -> Option<Node> {
    for a in inner.op.bound().intersection(taken).iter() {
        let inside = inner
            .kids
            .iter()
            .fold(inner.op.bound(), |set, k| set.union(free(g, *k)));
        let copy = g.analysis.axes.copy_outside(a, taken.union(inside))?;
        inner = rename_bound(g, &inner, a, copy)?;
    }
    Some(inner)
}

/// Pulls the factors that do not depend on a summed axis out of its sum. Bounded: no new factors
/// but sums over subsets of the axes.
fn sum_factor(g: &mut Graph, node: &Node) -> Vec<Id> {
    let Op::Sum(axes) = node.op else {
        return vec![];
    };
    let mut found = vec![];
    for x in axes.iter() {
        let (inside, mut outside): (Vec<Id>, Vec<Id>) = node
            .kids
            .iter()
            .copied()
            .partition(|k| free(g, *k).contains(x));
        if !outside.is_empty() && !inside.is_empty() {
            outside.push(sum(g, AxisSet::of(&[x]), inside));
            found.push(sum(g, axes.without(x), outside));
        }
    }
    found
}

/// Bounded: the addition moves outwards.
fn distribute(g: &mut Graph, node: &Node) -> Vec<Id> {
    let Op::Sum(axes) = node.op else {
        return vec![];
    };
    if axes.is_empty() {
        return vec![];
    }
    let mut found = vec![];
    for (n, kid) in node.kids.iter().enumerate() {
        for terms in find_in(g, *kid, |x| {
            (x.op == Op::Add && x.kids.len() <= MAX_TERMS).then(|| x.kids.clone())
        }) {
            if !terms.iter().any(|t| is_reduction(g, *t)) {
                continue;
            }
            let mut products = vec![];
            for term in terms {
                let mut factors = node.kids.clone();
                factors[n] = term;
                products.push(sum(g, axes, factors));
            }
            found.push(plus(g, products));
        }
    }
    found
}

/// A sum, a recurrence, or a product with one.
fn is_reduction(g: &Graph, id: Id) -> bool {
    let reduces = |op: Op| match op {
        Op::Sum(axes) => !axes.is_empty(),
        Op::Scan { .. } | Op::Last { .. } | Op::Merge { .. } => true,
        _ => false,
    };
    let has = |id: Id| g[id].nodes.iter().any(|n| reduces(n.op));
    has(id)
        || g[id]
            .nodes
            .iter()
            .any(|n| n.op == Op::Sum(AxisSet::EMPTY) && n.kids.iter().any(|k| has(*k)))
}

/// Moves the undoing of a split outwards. Bounded: only splits of whole axes, one per axis.
fn merge_hoist(g: &mut Graph, node: &Node) -> Vec<Id> {
    if !matches!(node.op, Op::Sum(_) | Op::Add | Op::Map(_)) {
        return vec![];
    }
    let merges: Vec<(Op, Id)> = node
        .kids
        .iter()
        .flat_map(|k| {
            find_in(g, *k, |x| {
                matches!(x.op, Op::Merge { .. }).then(|| (x.op, x.kids[0]))
            })
        })
        .collect();
    let mut seen = vec![];
    let mut found = vec![];
    for (op, body) in merges {
        let Op::Merge { axis, outer, inner } = op else {
            continue;
        };
        let bound = node.op.bound();
        let parts = AxisSet::of(&[outer, inner]);
        if g.analysis.axes.origin(axis) != Origin::Whole
            || bound.meets(parts.with(axis))
            || seen.contains(&body)
        {
            continue;
        }
        seen.push(body);
        let split = Image::Parts {
            outer,
            inner,
            cut: Cut::Chunk,
        };
        let mut kids = vec![];
        for kid in &node.kids {
            let merged = find_in(g, *kid, |x| (x.op == op).then(|| x.kids[0]));
            // A factor that is merged in several ways gives its first; unions of their bodies follow.
            let new = if merged.contains(&body) {
                Some(body)
            } else if let Some(first) = merged.first() {
                Some(*first)
            } else {
                substitute(g, *kid, axis, split)
            };
            match new {
                Some(new) => kids.push(new),
                None => break,
            }
        }
        if kids.len() == node.kids.len() {
            let hoisted = match node.op {
                Op::Sum(axes) => sum(g, axes, kids),
                Op::Add => plus(g, kids),
                op => crate::graph::add(g, op, kids),
            };
            found.push(crate::graph::add(g, op, vec![hoisted]));
        }
    }
    found
}

/// Gives sums and additions their signs and reciprocals as plain factors. One result per operand.
fn linear_as_product(g: &mut Graph, node: &Node) -> Vec<Id> {
    if !matches!(node.op, Op::Sum(_)) {
        return vec![];
    }
    let mut found = vec![];
    for (n, kid) in node.kids.iter().enumerate() {
        for (f, args) in find_in(g, *kid, |x| match x.op {
            Op::Map(f @ (Func::Neg | Func::Div)) => Some((f, x.kids.clone())),
            _ => None,
        }) {
            let minus = constant(g, -1.0);
            let new = match f {
                Func::Neg => vec![minus, args[0]],
                _ => vec![args[0], crate::graph::map(g, Func::Recip, vec![args[1]])],
            };
            let kids = node
                .kids
                .iter()
                .enumerate()
                .filter(|(m, _)| *m != n)
                .map(|(_, k)| *k)
                .chain(new)
                .collect();
            found.push(sum(g, node.op.bound(), kids));
        }
    }
    found
}

fn integer_power(g: &mut Graph, node: &Node) -> Vec<Id> {
    if !matches!(node.op, Op::Sum(_) | Op::Add) {
        return vec![];
    }
    let mut found = vec![];
    for (n, kid) in node.kids.iter().enumerate() {
        for (base, exponent) in find_in(g, *kid, |x| {
            (x.op == Op::Map(Func::Pow)).then(|| (x.kids[0], x.kids[1]))
        }) {
            for times in [2usize, 3] {
                if is_const(g, exponent, times as f64) {
                    let mut kids = node.kids.clone();
                    kids[n] = sum(g, AxisSet::EMPTY, vec![base; times]);
                    found.push(match node.op {
                        Op::Sum(axes) => sum(g, axes, kids),
                        _ => plus(g, kids),
                    });
                }
            }
        }
    }
    found
}
