//! Recognising masks and decays: everything that multiplies a causal sum by a product over the
//! positions in between becomes one semiseparable factor.

use super::semiseparable::masks;
use super::softmax::shifted_by_maximum;
use super::{Law, NumericClass, Phase};
use crate::axes::{Ax, AxisSet, Image};
use crate::graph::{Graph, add, constant, find_in, free, map, plus, sum};
use crate::node::{Leaf, Node, Op};
use crate::subst::substitute;
use egg::Id;
use mixc_ir::{Func, Ix};

const DUALITY: &str = "Dao & Gu 2024, arXiv 2405.21060";

pub const LAWS: &[Law] = &[
    Law {
        name: "causal-mask-is-ss",
        algebra: "[j <= i] = ss[j>i](1); [j < i] = ssx[j>i](1)",
        citation: DUALITY,
        class: NumericClass::Exact,
        conditions: "j summed, i not, of the same size",
        phase: Phase::Normalise,
        apply: causal_mask_is_ss,
    },
    Law {
        name: "ss-product",
        algebra: "ss(a) * ss(b) = ss(a b); ssx(a) * ss(b) = ssx(a b) * b[i]",
        citation: DUALITY,
        class: NumericClass::Reassociates,
        conditions: "same j, i",
        phase: Phase::Normalise,
        apply: ss_product,
    },
    Law {
        name: "power-decay-is-ss",
        algebra: "ss[j>i](a) * pow(x, i - j) = ss[j>i](a x)",
        citation: "Sun et al. 2023, arXiv 2307.08621",
        class: NumericClass::Reassociates,
        conditions: "x free of i and j",
        phase: Phase::Normalise,
        apply: power_decay_is_ss,
    },
    Law {
        name: "exponential-decay-is-ss",
        algebra: "ss[j>i](a) * exp(x * (i - j) + y) = ss[j>i](a exp(x)) * exp(y)",
        citation: "Sun et al. 2023, arXiv 2307.08621",
        class: NumericClass::Reassociates,
        conditions: "x free of i and j",
        phase: Phase::Normalise,
        apply: exponential_decay_is_ss,
    },
    Law {
        name: "cumsum-decay-is-ss",
        algebra: "ss[j>i](a) * exp(cumsum(x)[i] - cumsum(x)[j] + y) = ss[j>i](a exp(x)) * exp(y)",
        citation: "Dao & Gu 2024, arXiv 2405.21060, listing 1 (segsum)",
        class: NumericClass::Conditioned,
        conditions: "the safer direction: no difference of large sums is left",
        phase: Phase::Normalise,
        apply: cumsum_decay_is_ss,
    },
];

/// Replaces the factors `gone` of a sum by `new`.
fn with_factors(g: &mut Graph, node: &Node, gone: &[usize], new: Vec<Id>) -> Id {
    let kept = node
        .kids
        .iter()
        .enumerate()
        .filter(|(n, _)| !gone.contains(n))
        .map(|(_, k)| *k);
    let factors = kept.chain(new).collect();
    sum(g, node.op.bound(), factors)
}

/// The integer expression that a class is.
fn index_of(g: &Graph, id: Id) -> Option<Ix> {
    find_in(g, id, |x| match x.op {
        Op::Leaf(leaf) => match g.analysis.leaves.get(leaf) {
            Leaf::Index(ix) => Some(ix.clone()),
            Leaf::Const(bits) => {
                let value = f64::from_bits(*bits);
                (value.fract() == 0.0 && value.abs() < 1e15).then_some(Ix::Const(value as i64))
            }
            _ => None,
        },
        _ => None,
    })
    .pop()
}

/// `i`, `j` and `c` of an expression `i - j + c`.
fn difference(g: &Graph, ix: &Ix) -> Option<(Ax, Ax, i64)> {
    let affine = ix.affine()?;
    let Ix::Const(c) = affine.rest else {
        return None;
    };
    let with = |wanted: i64| {
        affine
            .terms
            .iter()
            .find(|(_, k)| **k == Ix::Const(wanted))
            .map(|(n, _)| n)
    };
    let (i, j) = (with(1)?, with(-1)?);
    (affine.terms.len() == 2).then_some(())?;
    Some((g.analysis.axes.get(i)?, g.analysis.axes.get(j)?, c))
}

fn causal_mask_is_ss(g: &mut Graph, node: &Node) -> Vec<Id> {
    let Op::Sum(axes) = node.op else {
        return vec![];
    };
    let mut found = vec![];
    for (n, kid) in node.kids.iter().enumerate() {
        let compared = find_in(g, *kid, |x| match x.op {
            Op::Map(f @ (Func::Le | Func::Lt)) => Some((f, x.kids[0], x.kids[1])),
            _ => None,
        });
        for (f, small, large) in compared {
            let (Some(small), Some(large)) = (index_of(g, small), index_of(g, large)) else {
                continue;
            };
            let Some((i, j, c)) = difference(g, &(large - small)) else {
                continue;
            };
            let strict = match (f, c) {
                (Func::Le, 0) | (Func::Lt, 1) => false,
                (Func::Lt, 0) | (Func::Le, -1) => true,
                _ => continue,
            };
            // A condition of a softmax stays a predicate, like the mask of its maximum.
            if axes.contains(j)
                && !axes.contains(i)
                && !node.kids.iter().any(|k| shifted_by_maximum(g, *k, j))
                && g.analysis.axes.size(i) == g.analysis.axes.size(j)
            {
                let one = constant(g, 1.0);
                let mask = add(g, Op::Ss { j, i, strict }, vec![one]);
                found.push(with_factors(g, node, &[n], vec![mask]));
            }
        }
    }
    found
}

/// Bounded: one mask fewer.
fn ss_product(g: &mut Graph, node: &Node) -> Vec<Id> {
    let Op::Sum(_) = node.op else { return vec![] };
    let all: Vec<(usize, (Ax, Ax, bool, Id))> = node
        .kids
        .iter()
        .enumerate()
        .flat_map(|(n, k)| masks(g, *k).into_iter().map(move |m| (n, m)))
        .collect();
    let mut found = vec![];
    for (n, (j, i, strict, a)) in &all {
        for (m, (j2, i2, strict2, b)) in &all {
            // Pairs once; of a strict and another mask, the strict one first.
            if n == m || (j, i) != (j2, i2) || (strict == strict2 && n > m) || (*strict2 && !strict)
            {
                continue;
            }
            let decay = sum(g, AxisSet::EMPTY, vec![*a, *b]);
            let mut new = vec![add(
                g,
                Op::Ss {
                    j: *j,
                    i: *i,
                    strict: *strict,
                },
                vec![decay],
            )];
            if *strict && !strict2 {
                let Some(last) = substitute(g, *b, *j, Image::Axis(*i)) else {
                    continue;
                };
                new.push(last);
            }
            found.push(with_factors(g, node, &[*n, *m], new));
        }
    }
    found
}

/// A decay over `j` that a factor is, for a mask over `j` and `i`, and the factor that is left.
type Recognise = fn(&mut Graph, Id, Ax, Ax) -> Option<(Id, Option<Id>)>;

/// Calls `recognise` for every mask of a sum and every other factor; what it gives is a decay
/// over `j` that joins the mask, and a factor that is left.
fn join_decays(g: &mut Graph, node: &Node, recognise: Recognise) -> Vec<Id> {
    let Op::Sum(axes) = node.op else {
        return vec![];
    };
    let mut found = vec![];
    for (n, kid) in node.kids.iter().enumerate() {
        for (j, i, strict, decay) in masks(g, *kid) {
            for (m, other) in node.kids.iter().enumerate() {
                if m == n || !axes.contains(j) || !free(g, *other).contains(j) {
                    continue;
                }
                let Some((more, left)) = recognise(g, *other, j, i) else {
                    continue;
                };
                let joined = sum(g, AxisSet::EMPTY, vec![decay, more]);
                let mut new = vec![add(g, Op::Ss { j, i, strict }, vec![joined])];
                new.extend(left);
                if strict {
                    // The factor decays over j < m <= i, the strict mask over j < m < i.
                    let Some(last) = substitute(g, more, j, Image::Axis(i)) else {
                        continue;
                    };
                    new.push(last);
                }
                found.push(with_factors(g, node, &[n, m], new));
            }
        }
    }
    found
}

fn power_decay_is_ss(g: &mut Graph, node: &Node) -> Vec<Id> {
    join_decays(g, node, |g, factor, j, i| {
        let powers = find_in(g, factor, |x| {
            (x.op == Op::Map(Func::Pow)).then(|| (x.kids[0], x.kids[1]))
        });
        powers.into_iter().find_map(|(base, exponent)| {
            let distance = difference(g, &index_of(g, exponent)?)?;
            let base_is_free = !free(g, base).meets(AxisSet::of(&[i, j]));
            (distance == (i, j, 0) && base_is_free).then_some((base, None))
        })
    })
}

fn exponential_decay_is_ss(g: &mut Graph, node: &Node) -> Vec<Id> {
    join_decays(g, node, |g, factor, j, i| {
        exponents(g, factor).into_iter().find_map(|exponent| {
            let terms = addends(g, exponent);
            let (at, rate) =
                (0..terms.len()).find_map(|n| Some((n, rate_per_step(g, terms[n], j, i)?)))?;
            let decay = map(g, Func::Exp, vec![rate]);
            Some((decay, exp_of_rest(g, &terms, &[at])))
        })
    })
}

fn cumsum_decay_is_ss(g: &mut Graph, node: &Node) -> Vec<Id> {
    join_decays(g, node, |g, factor, j, i| {
        exponents(g, factor).into_iter().find_map(|exponent| {
            let terms = addends(g, exponent);
            for (n, (sign, at_i)) in terms.iter().enumerate() {
                for step_i in cumulated(g, *at_i, i) {
                    let Some(step) = substitute(g, step_i, i, Image::Axis(j)) else {
                        continue;
                    };
                    let matches = |g: &Graph, (s, id): (f64, Id)| {
                        s == -sign
                            && cumulated(g, id, j)
                                .into_iter()
                                .any(|x| g.find(x) == g.find(step))
                    };
                    let Some(m) = (0..terms.len()).find(|m| matches(g, terms[*m])) else {
                        continue;
                    };
                    let step = signed(g, *sign, step);
                    let decay = map(g, Func::Exp, vec![step]);
                    return Some((decay, exp_of_rest(g, &terms, &[n, m])));
                }
            }
            None
        })
    })
}

fn exponents(g: &Graph, id: Id) -> Vec<Id> {
    find_in(g, id, |x| (x.op == Op::Map(Func::Exp)).then(|| x.kids[0]))
}

fn cumulated(g: &Graph, id: Id, over: Ax) -> Vec<Id> {
    find_in(g, id, |x| {
        (x.op == Op::CumSum { axis: over }).then(|| x.kids[0])
    })
}

fn signed(g: &mut Graph, sign: f64, id: Id) -> Id {
    if sign > 0.0 {
        return id;
    }
    let minus = constant(g, -1.0);
    sum(g, AxisSet::EMPTY, vec![minus, id])
}

fn exp_of_rest(g: &mut Graph, terms: &[(f64, Id)], gone: &[usize]) -> Option<Id> {
    let mut rest = vec![];
    for (n, (sign, id)) in terms.iter().enumerate() {
        if !gone.contains(&n) {
            rest.push(signed(g, *sign, *id));
        }
    }
    (!rest.is_empty()).then(|| {
        let exponent = plus(g, rest);
        map(g, Func::Exp, vec![exponent])
    })
}

/// Signed terms that add up to a class, read off its first additive node.
fn addends(g: &Graph, id: Id) -> Vec<(f64, Id)> {
    let additive: Vec<Vec<(f64, Id)>> = find_in(g, id, |x| match x.op {
        Op::Add => Some(x.kids.iter().map(|k| (1.0, *k)).collect()),
        Op::Map(Func::Sub) => Some(vec![(1.0, x.kids[0]), (-1.0, x.kids[1])]),
        Op::Map(Func::Neg) => Some(vec![(-1.0, x.kids[0])]),
        _ => None,
    });
    if let Some(terms) = additive.into_iter().next() {
        let nested =
            |(sign, id): (f64, Id)| addends(g, id).into_iter().map(move |(s, t)| (s * sign, t));
        return terms.into_iter().flat_map(nested).collect();
    }
    vec![(1.0, id)]
}

/// `x` if the term is `x * (i - j)` or `x * (j - i)` (then with the other sign).
fn rate_per_step(g: &mut Graph, (sign, id): (f64, Id), j: Ax, i: Ax) -> Option<Id> {
    let mut products = find_in(g, id, |x| {
        (x.op == Op::Sum(AxisSet::EMPTY)).then(|| x.kids.clone())
    });
    products.push(vec![id]);
    for factors in products {
        for (n, factor) in factors.iter().enumerate() {
            let Some(distance) = index_of(g, *factor).and_then(|ix| difference(g, &ix)) else {
                continue;
            };
            let direction = match distance {
                d if d == (i, j, 0) => sign,
                d if d == (j, i, 0) => -sign,
                _ => continue,
            };
            let rest: Vec<Id> = factors
                .iter()
                .enumerate()
                .filter(|(m, _)| *m != n)
                .map(|(_, k)| *k)
                .collect();
            if rest
                .iter()
                .all(|k| !free(g, *k).meets(AxisSet::of(&[i, j])))
            {
                let rate = sum(g, AxisSet::EMPTY, rest);
                return Some(signed(g, direction, rate));
            }
        }
    }
    None
}
