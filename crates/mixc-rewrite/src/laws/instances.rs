//! Random left sides, at least one generator for every law.

use super::check::Gen;
use super::check::common::{at, c, causal, cumsum, exp, f1, f2, ix, masked, reduce, select};
use crate::axes::Cut;
use crate::node::{Node, Op};
use mixc_ir::{Func, Ix, Name, ReduceOp, T, Term};
use std::sync::Arc;

pub type Generate = fn(&mut Gen) -> Node;

pub const ALL: &[(&str, Generate)] = &[
    ("ac-normalise", unsorted),
    ("sum-flatten", nested_sum),
    ("sum-flatten", nested_sum_with_the_same_axis),
    ("sum-flatten", nested_addition),
    ("sum-factor", flat_sum),
    ("distribute", sum_of_addition),
    ("merge-hoist", sum_of_merge),
    ("linear-as-product", sum_of_signs),
    ("integer-power", sum_of_power),
    ("causal-mask-is-ss", causal_sum),
    ("ss-product", two_masks),
    ("power-decay-is-ss", power_decay),
    ("exponential-decay-is-ss", exponential_decay),
    ("cumsum-decay-is-ss", cumsum_decay),
    ("scan-to-sum", scan),
    ("scan-to-sum-unbounded", scan_with_any_decay),
    ("scan-blocked", scan),
    ("scan-blocked", scan_of_scan),
    ("scan-blocked-unbounded", scan_with_any_decay),
    ("last-to-sum", last),
    ("last-to-sum-unbounded", last_with_any_decay),
    ("last-blocked", last),
    ("last-blocked-unbounded", last_with_any_decay),
    ("sum-to-scan", masked_sum),
    ("tile-causal-sum", masked_sum_in_a_chunk),
    ("unit-decay", unit_products),
    ("select-is-guard", sum_of_select),
    ("masked-addition", addition_of_masked),
    ("exp-of-masked", exp_of_masked),
    ("mask-lift", reductions_of_masked),
    ("softmax-is-shifted-exp-over-sum", softmax),
    ("lse-is-max-plus-log", lse),
    ("online-rescaled-reduction", shifted_sum),
    ("online-reduction-associative", online),
    ("max-associative", maximum),
    ("exp-sum-ratio-is-online", exp_ratio),
];

fn name(n: &str) -> Name {
    n.into()
}

fn total(axes: &str, factors: Vec<T>) -> T {
    Term::sum(super::check::common::names(axes), factors)
}

fn add(terms: Vec<T>) -> T {
    Arc::new(Term::Add(terms))
}

fn unsorted(r: &mut Gen) -> Node {
    let mut factors = vec![r.any("i d"), r.any("d"), r.any("i"), Term::one()];
    factors.extend(r.extra("i d"));
    let node = r.node(&total("d", factors));
    let one = r.node(&Term::one());
    let one = r.g.add_uncanonical(one);
    let mut kids: Vec<_> = node.kids.iter().rev().copied().collect();
    kids.insert(1, one);
    Node { op: node.op, kids }
}

fn nested_sum(r: &mut Gen) -> Node {
    let mut inner = vec![r.any("j d e"), r.any("d")];
    inner.extend(r.extra("j d e"));
    let mut outer = vec![r.any("i j"), total("d", inner)];
    outer.extend(r.extra("i j e"));
    r.node(&total("j", outer))
}

fn nested_sum_with_the_same_axis(r: &mut Gen) -> Node {
    let factor = total("d", vec![r.any("i d"), r.any("d e")]);
    let mut outer = vec![factor.clone(), factor, r.any("d")];
    outer.extend(r.extra("i d"));
    r.node(&total("d", outer))
}

fn nested_addition(r: &mut Gen) -> Node {
    let inner = add(vec![r.any("i"), r.any("i d")]);
    let term = add(vec![inner, r.any("d")]);
    r.node(&term)
}

fn flat_sum(r: &mut Gen) -> Node {
    let mut factors = vec![r.any("i d"), r.any("j d"), r.any("j e")];
    factors.extend(r.extra("i j d e"));
    r.node(&total("j d", factors))
}

fn sum_of_addition(r: &mut Gen) -> Node {
    let inner = total("j", vec![r.any("i j d"), r.any("j")]);
    let choice = add(vec![inner, r.any("i"), r.any("d")]);
    let mut factors = vec![choice, r.any("d e")];
    factors.extend(r.extra("i d"));
    r.node(&total("d", factors))
}

fn sum_of_merge(r: &mut Gen) -> Node {
    let (outer, inner) = r.split("t", Cut::Chunk);
    let at_parts = Ix::Axis(outer.clone()) * Ix::dim("C") + Ix::Axis(inner.clone());
    let body = r.input_at(
        vec![at_parts, Ix::axis("d")],
        vec![Ix::dim("T"), Ix::dim("D")],
        crate::range::ANY,
    );
    let body = Term::product(vec![body, r.any(&format!("{outer} {inner}"))]);
    let merge: T = Arc::new(Term::Merge {
        axis: name("t"),
        outer,
        inner,
        body,
    });
    match r.random.below(3) {
        0 => {
            let mut factors = vec![merge, r.any("t d e")];
            factors.extend(r.extra("t d"));
            r.node(&total("d", factors))
        }
        1 => {
            let other = r.any("t");
            r.node(&add(vec![merge, other]))
        }
        _ => {
            let other = r.any("t");
            r.node(&f2(Func::Div, merge, other))
        }
    }
}

fn sum_of_signs(r: &mut Gen) -> Node {
    let denominator = r.input("i", (0.5, 2.0));
    let quotient = f2(Func::Div, r.any("i d"), denominator);
    let term = total("d", vec![f1(Func::Neg, r.any("d")), quotient, r.any("d e")]);
    r.node(&term)
}

fn sum_of_power(r: &mut Gen) -> Node {
    let exponent = if r.flip() { 2.0 } else { 3.0 };
    let power = f2(Func::Pow, r.any("i d"), c(exponent));
    let other = r.any("d");
    if r.flip() {
        r.node(&total("d", vec![power, other]))
    } else {
        r.node(&add(vec![power, other]))
    }
}

fn causal_sum(r: &mut Gen) -> Node {
    let (j, i) = (Ix::axis("j"), Ix::axis("i"));
    let mask = match r.random.below(4) {
        0 => causal("j", "i"),
        1 => f2(Func::Lt, at("j"), at("i")),
        2 => f2(Func::Lt, ix(j - i), c(1.0)),
        _ => f2(Func::Le, c(1.0), ix(i - j)),
    };
    let mut factors = vec![mask, r.any("i j")];
    factors.extend(r.extra("i j e"));
    r.node(&total("j", factors))
}

fn ss(r: &mut Gen, decay: T) -> T {
    let strict = r.flip();
    Arc::new(Term::Ss {
        j: name("j"),
        i: name("i"),
        strict,
        decay,
    })
}

fn two_masks(r: &mut Gen) -> Node {
    let (a, b) = (r.any("j"), r.any("j d"));
    let mut factors = vec![ss(r, a), ss(r, b), r.any("j")];
    factors.extend(r.extra("i j d"));
    r.node(&total("j", factors))
}

fn with_decay(r: &mut Gen, factor: T) -> Node {
    let a = r.unit("j");
    let mut factors = vec![ss(r, a), factor, r.any("j")];
    factors.extend(r.extra("i j d"));
    r.node(&total("j", factors))
}

fn power_decay(r: &mut Gen) -> Node {
    let base = r.input("d", (0.3, 1.2));
    with_decay(r, f2(Func::Pow, base, ix(Ix::axis("i") - Ix::axis("j"))))
}

fn exponential_decay(r: &mut Gen) -> Node {
    let steps = if r.flip() {
        Ix::axis("i") - Ix::axis("j")
    } else {
        Ix::axis("j") - Ix::axis("i")
    };
    let term = Term::product(vec![r.input("d", (-0.5, 0.5)), ix(steps)]);
    let exponent = match r.random.below(3) {
        0 => term,
        1 => add(vec![term, r.any("i j")]),
        _ => f2(Func::Sub, r.any("j"), term),
    };
    with_decay(r, exp(exponent))
}

fn cumsum_decay(r: &mut Gen) -> Node {
    let at_j = r.input("j", (-0.5, 0.5));
    let Term::Read { tensor, .. } = &*at_j else {
        unreachable!("bug: an input is a read")
    };
    let at_i = Arc::new(Term::Read {
        tensor: tensor.clone(),
        index: vec![Ix::axis("i")],
    });
    let (ci, cj) = (cumsum("i", at_i), cumsum("j", at_j));
    let exponent = match r.random.below(3) {
        0 => f2(Func::Sub, ci, cj),
        1 => add(vec![r.any("j"), f1(Func::Neg, cj), ci]),
        _ => f2(Func::Sub, cj, ci),
    };
    with_decay(r, exp(exponent))
}

fn recurrence(r: &mut Gen, decay: T) -> T {
    let input = Term::product(vec![r.any("j d"), r.any("j e")]);
    let init = if r.flip() { Term::zero() } else { r.any("d e") };
    let strict = r.flip();
    Arc::new(Term::Scan {
        j: name("j"),
        i: name("i"),
        strict,
        decay,
        input,
        init,
    })
}

fn scan(r: &mut Gen) -> Node {
    let axes = ["j", "j d", "d", ""][r.random.below(4)];
    let decay = r.unit(axes);
    let term = recurrence(r, decay);
    r.node(&term)
}

fn scan_with_any_decay(r: &mut Gen) -> Node {
    let decay = r.any("j");
    let term = recurrence(r, decay);
    r.node(&term)
}

/// The input is a recurrence itself, known in its blocked form too.
fn scan_of_scan(r: &mut Gen) -> Node {
    let (a, x) = (r.unit("u"), r.any("u d"));
    let first: T = Arc::new(Term::Scan {
        j: name("u"),
        i: name("j"),
        strict: r.flip(),
        decay: a,
        input: x,
        init: r.any("d"),
    });
    let node = r.node(&first);
    let law = super::by_name("scan-blocked").expect("bug: the law is in the table");
    for right in (law.apply)(&mut r.g, &node) {
        let left = r.g.add_uncanonical(node.clone());
        r.g.union_trusted(left, right, "scan-blocked");
    }
    r.g.rebuild();
    let decay = r.unit("j");
    r.node(&Arc::new(Term::Scan {
        j: name("j"),
        i: name("i"),
        strict: false,
        decay,
        input: first,
        init: Term::zero(),
    }))
}

fn last_of(r: &mut Gen, decay: T) -> Node {
    let input = Term::product(vec![r.any("j d"), r.any("j e")]);
    let init = if r.flip() { Term::zero() } else { r.any("d e") };
    r.node(&Arc::new(Term::Last {
        j: name("j"),
        decay,
        input,
        init,
    }))
}

fn last(r: &mut Gen) -> Node {
    let axes = ["j", "j d", "d", ""][r.random.below(4)];
    let decay = r.unit(axes);
    last_of(r, decay)
}

fn last_with_any_decay(r: &mut Gen) -> Node {
    let decay = r.any("j");
    last_of(r, decay)
}

fn masked_sum(r: &mut Gen) -> Node {
    let axes = if r.flip() { "j" } else { "j d" };
    let decay = r.unit(axes);
    let mut factors = vec![ss(r, decay), r.any("i d"), r.any("j d f"), r.any("j e")];
    factors.extend(r.extra("i d e"));
    r.node(&total("j d f", factors))
}

fn masked_sum_in_a_chunk(r: &mut Gen) -> Node {
    let (outer, i) = r.split("t", Cut::Chunk);
    let j = r.copy(&i);
    let row = Ix::Axis(outer.clone()) * Ix::dim("C") + Ix::Axis(i.clone());
    let key = Ix::Axis(outer.clone()) * Ix::dim("C") + Ix::Axis(j.clone());
    let shape = vec![Ix::dim("T"), Ix::dim("D")];
    let decay = r.input_at(
        vec![key.clone(), Ix::axis("d")],
        shape.clone(),
        crate::range::UNIT,
    );
    let q = r.input_at(vec![row, Ix::axis("d")], shape.clone(), crate::range::ANY);
    let k = r.input_at(vec![key, Ix::axis("d")], shape, crate::range::ANY);
    let strict = r.flip();
    let mask = Arc::new(Term::Ss {
        j: j.clone(),
        i: i.clone(),
        strict,
        decay,
    });
    let mut factors = vec![mask, q, k];
    factors.extend(r.extra(&format!("{outer} {i} {j} d e")));
    r.node(&total(&format!("{j} d"), factors))
}

fn unit_products(r: &mut Gen) -> Node {
    let (axis, body) = (name("i"), Term::one());
    let exclusive = r.flip();
    match r.random.below(3) {
        0 => r.node(&Arc::new(Term::CumProd {
            axis,
            exclusive,
            body,
        })),
        1 => r.node(&Arc::new(Term::SufProd { axis, body })),
        _ => r.node(&reduce(ReduceOp::Prod, "i", body)),
    }
}

/// A condition of some kind on positions.
fn condition(r: &mut Gen) -> T {
    match r.random.below(4) {
        0 => causal("j", "i"),
        1 => f2(
            Func::And,
            causal("j", "i"),
            f2(Func::Lt, ix(Ix::axis("i") - Ix::axis("j")), c(3.0)),
        ),
        2 => f2(Func::Lt, r.any("i j"), c(0.5)),
        // Any number that is not 0 selects.
        _ => f2(Func::Max, r.any("j"), c(0.0)),
    }
}

fn sum_of_select(r: &mut Gen) -> Node {
    let (keep, value) = (condition(r), r.any("i j"));
    let chosen = if r.flip() {
        select(keep, value, c(0.0))
    } else {
        select(keep, c(0.0), value)
    };
    let both = f2(Func::And, causal("j", "i"), condition(r));
    let term = total("j", vec![chosen, both, r.any("j e")]);
    r.node(&term)
}

fn addition_of_masked(r: &mut Gen) -> Node {
    let keep = condition(r);
    let value = if r.flip() { c(0.0) } else { r.any("i j") };
    let score = masked(keep, value);
    let other = r.any("i j");
    if r.flip() {
        r.node(&add(vec![score, other]))
    } else {
        r.node(&f2(Func::Sub, score, other))
    }
}

fn exp_of_masked(r: &mut Gen) -> Node {
    let (keep, value) = (condition(r), r.any("i j"));
    r.node(&exp(masked(keep, value)))
}

fn mask(r: &mut Gen) -> T {
    if r.flip() { Term::one() } else { condition(r) }
}

fn reductions_of_masked(r: &mut Gen) -> Node {
    let (keep, value) = (condition(r), r.any("i j"));
    let score = masked(keep, value);
    let (axes, mask) = (vec![name("j")], mask(r));
    let term = match r.random.below(4) {
        0 => Term::Softmax { axes, score, mask },
        1 => Term::Online {
            axes,
            score,
            mask,
            value: r.any("j e"),
        },
        2 => Term::Reduce {
            op: ReduceOp::Max,
            axes,
            mask,
            body: score,
        },
        _ => Term::Reduce {
            op: ReduceOp::Lse,
            axes,
            mask,
            body: score,
        },
    };
    r.node(&Arc::new(term))
}

/// Scores, also so large that exp of them overflows.
fn score(r: &mut Gen) -> T {
    let plain = r.any("i j");
    if r.flip() {
        Term::product(vec![c(1000.0), plain])
    } else {
        plain
    }
}

fn softmax(r: &mut Gen) -> Node {
    let (score, mask) = (score(r), mask(r));
    r.node(&Arc::new(Term::Softmax {
        axes: vec![name("j")],
        score,
        mask,
    }))
}

fn lse(r: &mut Gen) -> Node {
    let (body, mask) = (score(r), mask(r));
    r.node(&Arc::new(Term::Reduce {
        op: ReduceOp::Lse,
        axes: vec![name("j")],
        mask,
        body,
    }))
}

fn shifted_sum(r: &mut Gen) -> Node {
    let score = score(r);
    let keep = causal("j", "i");
    let (mask, mut factors) = if r.flip() {
        (keep.clone(), vec![keep])
    } else {
        (Term::one(), vec![])
    };
    let mut max: T = Arc::new(Term::Reduce {
        op: ReduceOp::Max,
        axes: vec![name("j")],
        mask,
        body: score.clone(),
    });
    if r.flip() {
        max = f2(Func::Max, max, r.any("i"));
    }
    factors.push(exp(f2(Func::Sub, score, max)));
    factors.push(r.any("j e f"));
    factors.extend(r.extra("i j e"));
    r.node(&total("j f", factors))
}

fn online(r: &mut Gen) -> Node {
    let (score, mask) = (score(r), mask(r));
    let value = r.any("j e");
    r.node(&Arc::new(Term::Online {
        axes: vec![name("j")],
        score,
        mask,
        value,
    }))
}

fn maximum(r: &mut Gen) -> Node {
    let (body, mask) = (score(r), mask(r));
    let node = r.node(&Arc::new(Term::Reduce {
        op: ReduceOp::Max,
        axes: vec![name("j")],
        mask,
        body,
    }));
    assert!(matches!(node.op, Op::Reduce(..)));
    node
}

fn exp_ratio(r: &mut Gen) -> Node {
    let e = exp(r.any("i j"));
    let mut above = vec![e.clone(), r.any("j e f")];
    // A row always has a key: the ratio has no value without one.
    let mut below = vec![e];
    if r.flip() {
        above.push(causal("j", "i"));
        below.push(causal("j", "i"));
    }
    if r.flip() {
        below.push(r.input("j", (0.5, 2.0)));
    }
    above.extend(r.extra("i j e"));
    let total_below = total("j", below);
    let term = if r.flip() {
        f2(Func::Div, total("j f", above), total_below)
    } else {
        above.push(f1(Func::Recip, total_below));
        total("j f", above)
    };
    r.node(&term)
}
