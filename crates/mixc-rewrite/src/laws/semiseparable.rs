//! Semiseparable masks, the recurrences that they sum up, and splitting those into chunks.
//!
//! `ss[j>i](a)` unifies causal masks and decays; scalar and diagonal gates differ only in the axes
//! of `a`, so every law holds for all of them. Only products of `a` occur, never quotients: with
//! decays in [0, 1] nothing can overflow that does not overflow in the recurrence.

use super::{Law, NumericClass, Phase};
use crate::axes::{Ax, AxisSet, Cut, Image, Origin};
use crate::graph::{Graph, add, constant, find_in, free, is_const, plus, sum};
use crate::node::{Node, Op};
use crate::range::is_unit;
use crate::subst::{substitute, substitute_all};
use egg::Id;
use mixc_ir::ReduceOp;

const DUALITY: &str = "Dao & Gu 2024, arXiv 2405.21060";
const SCANS: &str = "Blelloch 1990, Prefix sums and their applications";
const BOUNDED: &str = "a in [0, 1]";
const UNBOUNDED: &str =
    "a not known to be in [0, 1]: products of a can overflow where the recurrence does not";

macro_rules! scan_law {
    ($name:literal, $unbounded:literal, $algebra:literal, $citation:expr, $apply:ident) => {
        [
            Law {
                name: $name,
                algebra: $algebra,
                citation: $citation,
                class: NumericClass::Reassociates,
                conditions: BOUNDED,
                phase: Phase::Derive,
                apply: |g, n| {
                    if decay_is_bounded(g, n) {
                        $apply(g, n)
                    } else {
                        vec![]
                    }
                },
            },
            Law {
                name: $unbounded,
                algebra: $algebra,
                citation: $citation,
                class: NumericClass::Conditioned,
                conditions: UNBOUNDED,
                phase: Phase::Derive,
                apply: |g, n| {
                    if decay_is_bounded(g, n) {
                        vec![]
                    } else {
                        $apply(g, n)
                    }
                },
            },
        ]
    };
}

const TO_SUM: [Law; 2] = scan_law!(
    "scan-to-sum",
    "scan-to-sum-unbounded",
    "scan[j>i](a, B; S) = sum[j](ss[j>i](a), B) + cumprod[i](a) * S",
    DUALITY,
    scan_to_sum
);
const BLOCKED: [Law; 2] = scan_law!(
    "scan-blocked",
    "scan-blocked-unbounded",
    "scan[j>i](a, B; S) = merge(scan[j1>i1](a, B; scanx[j0>i0](prod[j1](a), last[j1](a, B; 0); S)))",
    SCANS,
    scan_blocked
);
const LAST_TO_SUM: [Law; 2] = scan_law!(
    "last-to-sum",
    "last-to-sum-unbounded",
    "last[j](a, B; S) = sum[j](sufprod[j](a), B) + prod[j](a) * S",
    DUALITY,
    last_to_sum
);
const LAST_BLOCKED: [Law; 2] = scan_law!(
    "last-blocked",
    "last-blocked-unbounded",
    "last[j](a, B; S) = last[j0](prod[j1](a), last[j1](a, B; 0); S)",
    SCANS,
    last_blocked
);
const SCAN_LAWS: [[Law; 2]; 4] = [TO_SUM, BLOCKED, LAST_TO_SUM, LAST_BLOCKED];

pub const LAWS: &[Law] = {
    let [[a, b], [c, d], [e, f], [h, i]] = SCAN_LAWS;
    &[
        a,
        b,
        c,
        d,
        e,
        f,
        h,
        i,
        Law {
            name: "sum-to-scan",
            algebra: "sum[A,j](ss[j>i](a), P, Q) = sum[A](P, scan[j>i](a, Q; 0))",
            citation: "Katharopoulos et al. 2020, arXiv 2006.16236; Dao & Gu 2024, arXiv 2405.21060",
            class: NumericClass::Reassociates,
            conditions: "P free of j, Q free of i",
            phase: Phase::Derive,
            apply: sum_to_scan,
        },
        Law {
            name: "tile-causal-sum",
            algebra: "sum[A,j](ss[j>i](a), F) = merge(sum[A,j1](ss[j1>i1](a), F) + sum[A,j0,j1](ssx[j0>i0](prod[j1](a)), cumprod[i1](a), sufprod[j1](a), F))",
            citation: "Yang et al. 2023, arXiv 2312.06635, section 4 (secondary chunking)",
            class: NumericClass::Reassociates,
            conditions: "within a chunk, where a depends on another summed axis",
            phase: Phase::Derive,
            apply: tile_causal_sum,
        },
        Law {
            name: "unit-decay",
            algebra: "cumprod(1) = sufprod(1) = prod(1) = 1",
            citation: "definition",
            class: NumericClass::Exact,
            conditions: "",
            phase: Phase::Both,
            apply: unit_decay,
        },
    ]
};

fn decay_is_bounded(g: &Graph, node: &Node) -> bool {
    node.kids.first().is_some_and(|a| is_unit(g[*a].data.range))
}

/// Whether the axis is one of the program, or a part of a chunk of one.
fn may_expand(g: &Graph, a: Ax) -> bool {
    matches!(
        g.analysis.axes.origin(a),
        Origin::Whole | Origin::Inner(Cut::Chunk)
    )
}

fn is_whole(g: &Graph, a: Ax) -> bool {
    g.analysis.axes.origin(a) == Origin::Whole && g.analysis.axes.is_sequence(a)
}

fn zero(g: &mut Graph) -> Id {
    constant(g, 0.0)
}

/// Bounded: one sum per scan; scans over chunks stay scans.
fn scan_to_sum(g: &mut Graph, node: &Node) -> Vec<Id> {
    let Op::Scan { j, i, strict } = node.op else {
        return vec![];
    };
    let [decay, input, init] = node.kids[..] else {
        return vec![];
    };
    if !may_expand(g, j) {
        return vec![];
    }
    let mask = add(g, Op::Ss { j, i, strict }, vec![decay]);
    let mut terms = vec![sum(g, AxisSet::of(&[j]), vec![mask, input])];
    if !is_const(g, init, 0.0) {
        let Some(decay_i) = substitute(g, decay, j, Image::Axis(i)) else {
            return vec![];
        };
        let kept = add(
            g,
            Op::CumProd {
                axis: i,
                exclusive: strict,
            },
            vec![decay_i],
        );
        terms.push(sum(g, AxisSet::EMPTY, vec![kept, init]));
    }
    vec![plus(g, terms)]
}

fn last_to_sum(g: &mut Graph, node: &Node) -> Vec<Id> {
    let Op::Last { j } = node.op else {
        return vec![];
    };
    let [decay, input, init] = node.kids[..] else {
        return vec![];
    };
    if !may_expand(g, j) {
        return vec![];
    }
    let after = add(g, Op::SufProd { axis: j }, vec![decay]);
    let mut terms = vec![sum(g, AxisSet::of(&[j]), vec![after, input])];
    if !is_const(g, init, 0.0) {
        let kept = product_over(g, j, decay);
        terms.push(sum(g, AxisSet::EMPTY, vec![kept, init]));
    }
    vec![plus(g, terms)]
}

fn product_over(g: &mut Graph, a: Ax, body: Id) -> Id {
    let all = constant(g, 1.0);
    add(
        g,
        Op::Reduce(ReduceOp::Prod, AxisSet::of(&[a])),
        vec![all, body],
    )
}

/// Transition and input of whole chunks: the product of the decays, and the state that the chunk
/// alone leaves behind. Over the outer part of `j`.
fn chunk_step(g: &mut Graph, j: Ax, decay: Id, input: Id) -> Option<(Ax, Id, Id)> {
    let (outer, inner) = g.analysis.axes.split(j, Cut::Chunk)?;
    let split = Image::Parts {
        outer,
        inner,
        cut: Cut::Chunk,
    };
    let decay = substitute(g, decay, j, split)?;
    let input = substitute(g, input, j, split)?;
    let transition = product_over(g, inner, decay);
    let nothing = zero(g);
    let left = add(g, Op::Last { j: inner }, vec![decay, input, nothing]);
    Some((outer, transition, left))
}

/// Bounded: scans over whole axes only.
fn scan_blocked(g: &mut Graph, node: &Node) -> Vec<Id> {
    scan_in_chunks(g, node).into_iter().collect()
}

fn scan_in_chunks(g: &mut Graph, node: &Node) -> Option<Id> {
    let Op::Scan { j, i, strict } = node.op else {
        return None;
    };
    let [decay, input, init] = node.kids[..] else {
        return None;
    };
    if !is_whole(g, j) {
        return None;
    }
    let (i0, i1) = g.analysis.axes.split(i, Cut::Chunk)?;
    let (j0, transition, left) = chunk_step(g, j, decay, input)?;
    let before = add(
        g,
        Op::Scan {
            j: j0,
            i: i0,
            strict: true,
        },
        vec![transition, left, init],
    );
    let local = g.analysis.axes.copy(i1, 0)?;
    let here = Image::Parts {
        outer: i0,
        inner: local,
        cut: Cut::Chunk,
    };
    let decay = substitute(g, decay, j, here)?;
    let input = substitute(g, input, j, here)?;
    let within = add(
        g,
        Op::Scan {
            j: local,
            i: i1,
            strict,
        },
        vec![decay, input, before],
    );
    Some(add(
        g,
        Op::Merge {
            axis: i,
            outer: i0,
            inner: i1,
        },
        vec![within],
    ))
}

fn last_blocked(g: &mut Graph, node: &Node) -> Vec<Id> {
    let Op::Last { j } = node.op else {
        return vec![];
    };
    let [decay, input, init] = node.kids[..] else {
        return vec![];
    };
    if !is_whole(g, j) {
        return vec![];
    }
    match chunk_step(g, j, decay, input) {
        Some((outer, transition, left)) => {
            vec![add(g, Op::Last { j: outer }, vec![transition, left, init])]
        }
        None => vec![],
    }
}

/// Bounded: one scan per sum, and none over chunks.
fn sum_to_scan(g: &mut Graph, node: &Node) -> Vec<Id> {
    let Op::Sum(axes) = node.op else {
        return vec![];
    };
    let mut found = vec![];
    for (n, kid) in node.kids.iter().enumerate() {
        for (j, i, strict, decay) in masks(g, *kid) {
            if !axes.contains(j) || axes.contains(i) || !is_whole(g, j) {
                continue;
            }
            let others = node
                .kids
                .iter()
                .enumerate()
                .filter(|(m, _)| *m != n)
                .map(|(_, k)| *k);
            let (inside, outside): (Vec<Id>, Vec<Id>) =
                others.partition(|k| free(g, *k).contains(j));
            if inside.iter().any(|k| free(g, *k).contains(i)) {
                continue;
            }
            // Axes that only the input has are summed before the scan, not after it.
            let needed = outside
                .iter()
                .fold(free(g, decay), |set, k| set.union(free(g, *k)));
            let early = axes.without(j).minus(needed);
            let input = sum(g, early, inside);
            let nothing = zero(g);
            let scan = add(g, Op::Scan { j, i, strict }, vec![decay, input, nothing]);
            found.push(sum(
                g,
                axes.without(j).minus(early),
                outside.into_iter().chain([scan]).collect(),
            ));
        }
    }
    found
}

pub(super) fn masks(g: &Graph, id: Id) -> Vec<(Ax, Ax, bool, Id)> {
    find_in(g, id, |x| match x.op {
        Op::Ss { j, i, strict } => Some((j, i, strict, x.kids[0])),
        _ => None,
    })
}

/// Bounded: only within chunks, only on sums that hold the mask itself.
fn tile_causal_sum(g: &mut Graph, node: &Node) -> Vec<Id> {
    let Op::Sum(axes) = node.op else {
        return vec![];
    };
    let mut found = vec![];
    for (n, kid) in node.kids.iter().enumerate() {
        for (j, i, strict, decay) in masks(g, *kid) {
            let inner = Origin::Inner(Cut::Chunk);
            let others = axes.without(j);
            if axes.contains(j)
                && g.analysis.axes.origin(j) == inner
                && g.analysis.axes.origin(i) == inner
                && free(g, decay).meets(others)
            {
                let rest: Vec<Id> = node
                    .kids
                    .iter()
                    .enumerate()
                    .filter(|(m, _)| *m != n)
                    .map(|(_, k)| *k)
                    .collect();
                found.extend(tiled(g, (j, i, strict, decay), others, &rest));
            }
        }
    }
    found
}

fn tiled(
    g: &mut Graph,
    (j, i, strict, decay): (Ax, Ax, bool, Id),
    axes: AxisSet,
    rest: &[Id],
) -> Option<Id> {
    let (i0, i1) = g.analysis.axes.split(i, Cut::Sub)?;
    let (j0, j1) = g.analysis.axes.split(j, Cut::Sub)?;
    let local = g.analysis.axes.copy(i1, 0)?;
    let image = |outer, inner| Image::Parts {
        outer,
        inner,
        cut: Cut::Sub,
    };
    let rest = substitute_all(g, rest, i, image(i0, i1))?;

    let near_decay = substitute(g, decay, j, image(i0, local))?;
    let mut near = substitute_all(g, &rest, j, image(i0, local))?;
    near.push(add(
        g,
        Op::Ss {
            j: local,
            i: i1,
            strict,
        },
        vec![near_decay],
    ));
    let near = sum(g, axes.with(local), near);

    let decay_i = substitute(g, decay, j, image(i0, i1))?;
    let decay_j = substitute(g, decay, j, image(j0, j1))?;
    let between = product_over(g, j1, decay_j);
    let mut far = substitute_all(g, &rest, j, image(j0, j1))?;
    far.push(add(
        g,
        Op::Ss {
            j: j0,
            i: i0,
            strict: true,
        },
        vec![between],
    ));
    far.push(add(
        g,
        Op::CumProd {
            axis: i1,
            exclusive: strict,
        },
        vec![decay_i],
    ));
    far.push(add(g, Op::SufProd { axis: j1 }, vec![decay_j]));
    let far = sum(g, axes.with(j0).with(j1), far);

    let both = plus(g, vec![near, far]);
    Some(add(
        g,
        Op::Merge {
            axis: i,
            outer: i0,
            inner: i1,
        },
        vec![both],
    ))
}

fn unit_decay(g: &mut Graph, node: &Node) -> Vec<Id> {
    let body = match node.op {
        Op::CumProd { .. } | Op::SufProd { .. } => node.kids[0],
        Op::Reduce(ReduceOp::Prod, _) => node.kids[1],
        _ => return vec![],
    };
    if is_const(g, body, 1.0) {
        vec![constant(g, 1.0)]
    } else {
        vec![]
    }
}
