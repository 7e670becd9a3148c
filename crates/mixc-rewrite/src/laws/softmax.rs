//! Softmax, its masks, and reductions of exp in one pass with rescaling.

use super::semiseparable::masks;
use super::{Law, NumericClass, Phase};
use crate::axes::{AxisSet, Cut, Image, Origin};
use crate::graph::{Graph, add, constant, find_in, free, is_const, map, plus, sum};
use crate::node::{Node, Op};
use crate::subst::{substitute, substitute_all};
use egg::Id;
use mixc_ir::{Func, ReduceOp};

const ONLINE: &str = "Milakov & Gimelshein 2018, arXiv 1805.02867";
const DEFINITION: &str = "definition";

pub const LAWS: &[Law] = &[
    Law {
        name: "select-is-guard",
        algebra: "sum[A](F, select(c, x, 0)) = sum[A](F, c, x); c and d = c * d",
        citation: DEFINITION,
        class: NumericClass::Exact,
        conditions: "",
        phase: Phase::Normalise,
        apply: select_is_guard,
    },
    Law {
        name: "masked-addition",
        algebra: "select(c, x, -inf) + y = select(c, x + y, -inf)",
        citation: DEFINITION,
        class: NumericClass::Exact,
        conditions: "y below +inf",
        phase: Phase::Normalise,
        apply: masked_addition,
    },
    Law {
        name: "exp-of-masked",
        algebra: "exp(select(c, x, -inf)) = c * exp(x)",
        citation: DEFINITION,
        class: NumericClass::Exact,
        conditions: "",
        phase: Phase::Normalise,
        apply: exp_of_masked,
    },
    Law {
        name: "mask-lift",
        algebra: "f(select(c, x, -inf), m) = f(x, c * m) for softmax, max, lse and online",
        citation: DEFINITION,
        class: NumericClass::Exact,
        conditions: "",
        phase: Phase::Normalise,
        apply: mask_lift,
    },
    Law {
        name: "softmax-is-shifted-exp-over-sum",
        algebra: "softmax[j](s, m) = m * e * recip0(sum[j](m, e)), e = exp(s - max[j](s, m))",
        citation: ONLINE,
        class: NumericClass::Exact,
        conditions: "",
        phase: Phase::Derive,
        apply: softmax_expanded,
    },
    Law {
        name: "lse-is-max-plus-log",
        algebra: "lse[j](s, m) = max[j](s, m) + log(online[j](s, m, 1))",
        citation: ONLINE,
        class: NumericClass::Exact,
        conditions: "",
        phase: Phase::Derive,
        apply: lse_expanded,
    },
    Law {
        name: "online-rescaled-reduction",
        algebra: "sum[j](m, exp(s - max[j](s, m)), F) = online[j](s, m, F)",
        citation: "Milakov & Gimelshein 2018, arXiv 1805.02867; Rabe & Staats 2021, arXiv 2112.05682",
        class: NumericClass::Reassociates,
        conditions: "also for a maximum with further values x: times exp(max - max(max, x))",
        phase: Phase::Both,
        apply: online_rescaled_reduction,
    },
    Law {
        name: "online-reduction-associative",
        algebra: "online[j](s, m, F) = online[j0](max[j1](s, m), 1, online[j1](s, m, F))",
        citation: "Dao et al. 2023, Flash-Decoding; Milakov & Gimelshein 2018, arXiv 1805.02867",
        class: NumericClass::Reassociates,
        conditions: "j a whole axis",
        phase: Phase::Derive,
        apply: online_associative,
    },
    Law {
        name: "max-associative",
        algebra: "max[j](s, m) = max[j0](max[j1](s, m), 1)",
        citation: DEFINITION,
        class: NumericClass::Exact,
        conditions: "j a whole axis",
        phase: Phase::Derive,
        apply: max_associative,
    },
];

/// Whether the class is a comparison or a combination of some.
pub(super) fn is_predicate(g: &Graph, id: Id) -> bool {
    g[id]
        .nodes
        .iter()
        .any(|n| matches!(n.op, Op::Map(f) if f.is_predicate()))
}

/// A condition as factors that are guards.
pub(super) fn guards(g: &mut Graph, condition: Id) -> Vec<Id> {
    let conjunctions = find_in(g, condition, |x| match x.op {
        Op::Map(Func::And) | Op::Sum(AxisSet::EMPTY) => Some(x.kids.clone()),
        _ => None,
    });
    if let Some(parts) = conjunctions.into_iter().next() {
        return parts.into_iter().flat_map(|p| guards(g, p)).collect();
    }
    if is_const(g, condition, 1.0) {
        return vec![];
    }
    let is_guard = is_predicate(g, condition) || !masks(g, condition).is_empty();
    if is_guard {
        return vec![condition];
    }
    let zero = constant(g, 0.0);
    vec![map(g, Func::Ne, vec![condition, zero])]
}

/// Condition and value of a select whose other branch is `other`.
fn selects(g: &mut Graph, id: Id, other: f64) -> Vec<(Id, Id)> {
    let all = find_in(g, id, |x| {
        (x.op == Op::Map(Func::Select)).then(|| x.kids.clone())
    });
    let mut found = vec![];
    for kids in all {
        if is_const(g, kids[2], other) {
            found.push((kids[0], kids[1]));
        } else if is_const(g, kids[1], other) {
            found.push((map(g, Func::Not, vec![kids[0]]), kids[2]));
        }
    }
    found
}

/// Bounded: one select or conjunction fewer.
fn select_is_guard(g: &mut Graph, node: &Node) -> Vec<Id> {
    let Op::Sum(axes) = node.op else {
        return vec![];
    };
    let mut found = vec![];
    for (n, kid) in node.kids.iter().enumerate() {
        let others = || {
            node.kids
                .iter()
                .enumerate()
                .filter(move |(m, _)| *m != n)
                .map(|(_, k)| *k)
        };
        for (condition, value) in selects(g, *kid, 0.0) {
            let factors = others()
                .chain(guards(g, condition))
                .chain([value])
                .collect();
            found.push(sum(g, axes, factors));
        }
        for _ in find_in(g, *kid, |x| (x.op == Op::Map(Func::And)).then_some(())) {
            let factors = others().chain(guards(g, *kid)).collect();
            found.push(sum(g, axes, factors));
        }
    }
    found
}

/// Bounded: the select moves outwards.
fn masked_addition(g: &mut Graph, node: &Node) -> Vec<Id> {
    if !matches!(node.op, Op::Add | Op::Map(Func::Sub)) {
        return vec![];
    }
    let mut found = vec![];
    for (n, kid) in node.kids.iter().enumerate() {
        if node.op != Op::Add && n > 0 {
            break;
        }
        for (condition, value) in selects(g, *kid, f64::NEG_INFINITY) {
            let mut kids = node.kids.clone();
            kids[n] = value;
            let total = if node.op == Op::Add {
                kids.retain(|k| !is_const(g, *k, 0.0));
                if kids.is_empty() {
                    constant(g, 0.0)
                } else {
                    plus(g, kids)
                }
            } else {
                add(g, node.op, kids)
            };
            let masked = constant(g, f64::NEG_INFINITY);
            found.push(map(g, Func::Select, vec![condition, total, masked]));
        }
    }
    found
}

fn exp_of_masked(g: &mut Graph, node: &Node) -> Vec<Id> {
    if node.op != Op::Map(Func::Exp) {
        return vec![];
    }
    let mut found = vec![];
    for (condition, value) in selects(g, node.kids[0], f64::NEG_INFINITY) {
        let mut factors = guards(g, condition);
        factors.push(map(g, Func::Exp, vec![value]));
        found.push(sum(g, AxisSet::EMPTY, factors));
    }
    found
}

/// Bounded: one select fewer below the reduction.
fn mask_lift(g: &mut Graph, node: &Node) -> Vec<Id> {
    let (score, mask) = match node.op {
        Op::Softmax(_) | Op::Online(_) => (0, 1),
        Op::Reduce(ReduceOp::Max | ReduceOp::Lse, _) => (1, 0),
        _ => return vec![],
    };
    let mut found = vec![];
    for (condition, value) in selects(g, node.kids[score], f64::NEG_INFINITY) {
        let mut factors = guards(g, node.kids[mask]);
        factors.extend(guards(g, condition));
        let mut kids = node.kids.clone();
        kids[score] = value;
        kids[mask] = sum(g, AxisSet::EMPTY, factors);
        found.push(add(g, node.op, kids));
    }
    found
}

fn maximum(g: &mut Graph, axes: AxisSet, score: Id, mask: Id) -> Id {
    add(g, Op::Reduce(ReduceOp::Max, axes), vec![mask, score])
}

fn softmax_expanded(g: &mut Graph, node: &Node) -> Vec<Id> {
    let Op::Softmax(axes) = node.op else {
        return vec![];
    };
    let (score, mask) = (node.kids[0], node.kids[1]);
    let max = maximum(g, axes, score, mask);
    let shifted = map(g, Func::Sub, vec![score, max]);
    let e = map(g, Func::Exp, vec![shifted]);
    let mut factors = guards(g, mask);
    factors.push(e);
    let total = sum(g, axes, factors.clone());
    factors.push(map(g, Func::RecipOrZero, vec![total]));
    vec![sum(g, AxisSet::EMPTY, factors)]
}

fn lse_expanded(g: &mut Graph, node: &Node) -> Vec<Id> {
    let Op::Reduce(ReduceOp::Lse, axes) = node.op else {
        return vec![];
    };
    let (mask, score) = (node.kids[0], node.kids[1]);
    let max = maximum(g, axes, score, mask);
    let one = constant(g, 1.0);
    let total = add(g, Op::Online(axes), vec![score, mask, one]);
    let log = map(g, Func::Log, vec![total]);
    vec![plus(g, vec![max, log])]
}

/// Exponent, subtracted maximum, and the reduction that is this maximum or an operand of it.
fn shifted_exponents(g: &Graph, factor: Id) -> Vec<(Id, Id, Id)> {
    let mut found = vec![];
    for exponent in find_in(g, factor, |x| {
        (x.op == Op::Map(Func::Exp)).then(|| x.kids[0])
    }) {
        for (score, shift) in find_in(g, exponent, |x| {
            (x.op == Op::Map(Func::Sub)).then(|| (x.kids[0], x.kids[1]))
        }) {
            found.push((score, shift, shift));
            for operands in find_in(g, shift, |x| {
                (x.op == Op::Map(Func::Max)).then(|| x.kids.clone())
            }) {
                found.extend(operands.iter().map(|max| (score, shift, *max)));
            }
        }
    }
    found
}

/// Whether the factor is exp of a score less its maximum over `j`.
pub(super) fn shifted_by_maximum(g: &Graph, factor: Id, j: crate::axes::Ax) -> bool {
    shifted_exponents(g, factor).into_iter().any(|(_, _, max)| {
        g[max]
            .nodes
            .iter()
            .any(|n| matches!(n.op, Op::Reduce(ReduceOp::Max, axes) if axes.contains(j)))
    })
}

/// Bounded: one reduction per sum and maximum.
fn online_rescaled_reduction(g: &mut Graph, node: &Node) -> Vec<Id> {
    let Op::Sum(axes) = node.op else {
        return vec![];
    };
    if axes.is_empty() {
        return vec![];
    }
    let mut found = vec![];
    for (n, kid) in node.kids.iter().enumerate() {
        for (score, shift, max) in shifted_exponents(g, *kid) {
            let reductions = find_in(g, max, |x| match x.op {
                Op::Reduce(ReduceOp::Max, over) => Some((over, x.kids[0], x.kids[1])),
                _ => None,
            });
            for (over, mask, body) in reductions {
                if over.minus(axes).is_empty() && g.find(body) == g.find(score) {
                    found.extend(as_online(g, node, n, over, (score, mask), (shift, max)));
                }
            }
        }
    }
    found
}

fn as_online(
    g: &mut Graph,
    node: &Node,
    at: usize,
    over: AxisSet,
    (score, mask): (Id, Id),
    (shift, max): (Id, Id),
) -> Option<Id> {
    let mut rest: Vec<Id> = node
        .kids
        .iter()
        .enumerate()
        .filter(|(n, _)| *n != at)
        .map(|(_, k)| *k)
        .collect();
    // Every condition of the maximum must be one of the sum; what else there is stays a factor.
    for guard in guards(g, mask) {
        let position = rest.iter().position(|k| g.find(*k) == g.find(guard))?;
        rest.remove(position);
    }
    let others = node.op.bound().minus(over);
    if free(g, score).union(free(g, mask)).meets(others) {
        return None;
    }
    let (inside, mut outside): (Vec<Id>, Vec<Id>) = rest
        .into_iter()
        .partition(|k| free(g, *k).meets(node.op.bound()));
    let value = sum(g, others, inside);
    outside.push(add(g, Op::Online(over), vec![score, mask, value]));
    if g.find(shift) != g.find(max) {
        let less = map(g, Func::Sub, vec![max, shift]);
        outside.push(map(g, Func::Exp, vec![less]));
    }
    Some(sum(g, AxisSet::EMPTY, outside))
}

/// The only axis of a reduction, if it is a whole axis in time, and its parts.
fn key_split(g: &mut Graph, axes: AxisSet) -> Option<(crate::axes::Ax, Image, AxisSet, AxisSet)> {
    let mut all = axes.iter();
    let (Some(j), None) = (all.next(), all.next()) else {
        return None;
    };
    if g.analysis.axes.origin(j) != Origin::Whole || !g.analysis.axes.is_sequence(j) {
        return None;
    }
    let (outer, inner) = g.analysis.axes.split(j, Cut::Key)?;
    Some((
        j,
        Image::Parts {
            outer,
            inner,
            cut: Cut::Key,
        },
        AxisSet::of(&[outer]),
        AxisSet::of(&[inner]),
    ))
}

/// Bounded: whole axes only.
fn online_associative(g: &mut Graph, node: &Node) -> Vec<Id> {
    let Op::Online(axes) = node.op else {
        return vec![];
    };
    let Some((j, parts, outer, inner)) = key_split(g, axes) else {
        return vec![];
    };
    let Some(kids) = substitute_all(g, &node.kids, j, parts) else {
        return vec![];
    };
    let max = maximum(g, inner, kids[0], kids[1]);
    let partial = add(g, Op::Online(inner), kids);
    let all = constant(g, 1.0);
    vec![add(g, Op::Online(outer), vec![max, all, partial])]
}

fn max_associative(g: &mut Graph, node: &Node) -> Vec<Id> {
    let Op::Reduce(ReduceOp::Max, axes) = node.op else {
        return vec![];
    };
    let Some((j, parts, outer, inner)) = key_split(g, axes) else {
        return vec![];
    };
    let (Some(mask), Some(body)) = (
        substitute(g, node.kids[0], j, parts),
        substitute(g, node.kids[1], j, parts),
    ) else {
        return vec![];
    };
    let partial = maximum(g, inner, body, mask);
    let all = constant(g, 1.0);
    vec![maximum(g, outer, partial, all)]
}
