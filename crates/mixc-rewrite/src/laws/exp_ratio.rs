//! Softmax written without a maximum: a ratio of sums of exp. The one-pass reduction computes the
//! same ratio and cannot overflow.

use super::semiseparable::masks;
use super::softmax::{guards, is_predicate};
use super::{Law, NumericClass, Phase};
use crate::axes::AxisSet;
use crate::graph::{Graph, add, find_in, free, map, sum};
use crate::node::{Node, Op};
use egg::Id;
use mixc_ir::Func;

pub const LAWS: &[Law] = &[Law {
    name: "exp-sum-ratio-is-online",
    algebra: "sum[j](m, exp(s), F) / sum[j](m, exp(s), G) = online[j](s, m, F) / online[j](s, m, G)",
    citation: "Milakov & Gimelshein 2018, arXiv 1805.02867",
    class: NumericClass::Reassociates,
    conditions: "s depends on a position besides j: features exp(k[j]) stay as they are",
    phase: Phase::Normalise,
    apply: exp_sum_ratio,
}];

/// A sum of exp taken apart: sum[axes](mask, exp(score), rest).
struct ExpSum {
    axes: AxisSet,
    score: Id,
    mask: Vec<Id>,
    rest: Vec<Id>,
}

/// Bounded: one result for each pair of sums.
fn exp_sum_ratio(g: &mut Graph, node: &Node) -> Vec<Id> {
    match node.op {
        Op::Map(Func::Div) => {
            let mut found = vec![];
            for (axes, factors) in sums(g, node.kids[0]) {
                found.extend(as_online(g, axes, &factors, node.kids[1]));
            }
            found
        }
        Op::Sum(axes) if !axes.is_empty() => {
            let mut found = vec![];
            for (n, kid) in node.kids.iter().enumerate() {
                for total in find_in(g, *kid, |x| {
                    (x.op == Op::Map(Func::Recip)).then(|| x.kids[0])
                }) {
                    let mut others = node.kids.clone();
                    others.remove(n);
                    found.extend(as_online(g, axes, &others, total));
                }
            }
            found
        }
        _ => vec![],
    }
}

fn sums(g: &Graph, id: Id) -> Vec<(AxisSet, Vec<Id>)> {
    find_in(g, id, |x| match x.op {
        Op::Sum(axes) if !axes.is_empty() => Some((axes, x.kids.clone())),
        _ => None,
    })
}

/// sum[axes](factors) / total, if both are sums of the same exp under the same conditions.
fn as_online(g: &mut Graph, axes: AxisSet, factors: &[Id], total: Id) -> Vec<Id> {
    let mut found = vec![];
    for above in exp_sums(g, axes, factors) {
        for (below_axes, below_factors) in sums(g, total) {
            for below in exp_sums(g, below_axes, &below_factors) {
                let same_mask = above
                    .mask
                    .iter()
                    .map(|m| g.find(*m))
                    .eq(below.mask.iter().map(|m| g.find(*m)));
                if above.axes == below.axes
                    && g.find(above.score) == g.find(below.score)
                    && same_mask
                {
                    let (above, below) = (online(g, axes, &above), online(g, below_axes, &below));
                    let recip = map(g, Func::Recip, vec![below]);
                    found.push(sum(g, AxisSet::EMPTY, vec![above, recip]));
                }
            }
        }
    }
    found
}

fn exp_sums(g: &mut Graph, axes: AxisSet, factors: &[Id]) -> Vec<ExpSum> {
    let mut found = vec![];
    for (n, factor) in factors.iter().enumerate() {
        for score in find_in(g, *factor, |x| {
            (x.op == Op::Map(Func::Exp)).then(|| x.kids[0])
        }) {
            let over = free(g, score).intersection(axes);
            let is_time = |a| g.analysis.axes.is_sequence(a);
            let has_row = free(g, score).minus(axes).iter().any(is_time);
            if over.is_empty() || !over.iter().all(is_time) || !has_row {
                continue;
            }
            let others = factors
                .iter()
                .enumerate()
                .filter(|(m, _)| *m != n)
                .map(|(_, k)| *k);
            let belongs = |k: &Id| {
                is_predicate(g, *k)
                    && free(g, *k).meets(over)
                    && !free(g, *k).meets(axes.minus(over))
            };
            let (mut mask, rest): (Vec<Id>, Vec<Id>) = others.partition(belongs);
            // The same sum with its conditions as predicates is another node.
            if rest.iter().any(|k| !masks(g, *k).is_empty()) {
                continue;
            }
            mask.sort_by_key(|m| g.find(*m));
            found.push(ExpSum {
                axes: over,
                score,
                mask,
                rest,
            });
        }
    }
    found
}

fn online(g: &mut Graph, axes: AxisSet, parts: &ExpSum) -> Id {
    let (inside, mut outside): (Vec<Id>, Vec<Id>) = parts
        .rest
        .iter()
        .copied()
        .partition(|k| free(g, *k).meets(axes));
    let value = sum(g, axes.minus(parts.axes), inside);
    let conditions: Vec<Id> = parts.mask.iter().flat_map(|m| guards(g, *m)).collect();
    let mask = sum(g, AxisSet::EMPTY, conditions);
    outside.push(add(
        g,
        Op::Online(parts.axes),
        vec![parts.score, mask, value],
    ));
    sum(g, AxisSet::EMPTY, outside)
}
