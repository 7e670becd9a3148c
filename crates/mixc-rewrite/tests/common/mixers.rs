//! Definitions to derive forms of.

use crate::common::*;
use mixc_ir::{Func, Ix, Program, ReduceOp, T, Term};
use std::sync::Arc;

fn qkv(dims: &str) -> Mixer {
    Mixer::new(dims)
        .axes("i j t u", "T")
        .axes("d a f", "K")
        .axes("e", "V")
        .tensor("q", "T K")
        .tensor("k", "T K")
        .tensor("v", "T V")
}

fn scores() -> T {
    sum("d", [read("q", "i d"), read("k", "j d")])
}

pub fn causal_softmax() -> Program {
    qkv("T K V")
        .scalar("scale", (0.1, 1.0))
        .let_(
            "s",
            "i j",
            mul([Arc::new(Term::Scalar("scale".into())), scores()]),
        )
        .let_(
            "p",
            "i j",
            softmax("j", masked(causal("j", "i"), read("s", "i j"))),
        )
        .let_("o", "i e", sum("j", [read("p", "i j"), read("v", "j e")]))
        .out("o", "i e")
        .done()
}

/// With the log-sum-exp, an additive mask, a bias linear in the distance and a window.
pub fn window_softmax_with_lse() -> Program {
    let bias = mul([c(-0.25), f2(Func::Sub, at("i"), at("j"))]);
    let near = f2(Func::Lt, ix(Ix::axis("i") - Ix::axis("j")), c(5.0));
    let keep = f2(Func::And, causal("j", "i"), near);
    qkv("T K V")
        .let_(
            "s",
            "i j",
            plus([scores(), bias, select(keep, c(0.0), c(f64::NEG_INFINITY))]),
        )
        .let_("p", "i j", softmax("j", read("s", "i j")))
        .let_("o", "i e", sum("j", [read("p", "i j"), read("v", "j e")]))
        .let_("lse", "i", reduce(ReduceOp::Lse, "u", read("s", "i u")))
        .out("o", "i e")
        .out("lse", "i")
        .done()
}

/// Softmax written out in two passes, with a sink in the denominator and capped scores.
pub fn sink_softmax() -> Program {
    let capped = mul([c(3.0), f1(Func::Tanh, mul([c(1.0 / 3.0), scores()]))]);
    qkv("T K V")
        .scalar("sink", (-1.0, 1.0))
        .let_("s", "i j", masked(causal("j", "i"), capped))
        .let_(
            "m",
            "i",
            f2(
                Func::Max,
                reduce(ReduceOp::Max, "u", read("s", "i u")),
                Arc::new(Term::Scalar("sink".into())),
            ),
        )
        .let_(
            "w",
            "i j",
            exp(f2(Func::Sub, read("s", "i j"), read("m", "i"))),
        )
        .let_(
            "z",
            "i",
            plus([
                sum("t", [read("w", "i t")]),
                exp(f2(
                    Func::Sub,
                    Arc::new(Term::Scalar("sink".into())),
                    read("m", "i"),
                )),
            ]),
        )
        .let_(
            "o",
            "i e",
            f2(
                Func::Div,
                sum("j", [read("w", "i j"), read("v", "j e")]),
                read("z", "i"),
            ),
        )
        .out("o", "i e")
        .done()
}

/// The first position has no key.
pub fn strictly_causal_softmax() -> Program {
    qkv("T K V")
        .let_(
            "p",
            "i j",
            softmax("j", masked(f2(Func::Lt, at("j"), at("i")), scores())),
        )
        .let_("o", "i e", sum("j", [read("p", "i j"), read("v", "j e")]))
        .let_(
            "lse",
            "i",
            reduce(
                ReduceOp::Lse,
                "u",
                masked(
                    f2(Func::Lt, at("u"), at("i")),
                    sum("d", [read("q", "i d"), read("k", "u d")]),
                ),
            ),
        )
        .out("o", "i e")
        .out("lse", "i")
        .done()
}

/// Softmax attention plus a gated recurrence.
pub fn hybrid() -> Program {
    qkv("T K V")
        .ranged("g", "T", (f64::NEG_INFINITY, 0.0))
        .let_("p", "i j", softmax("j", masked(causal("j", "i"), scores())))
        .scan(
            "t",
            false,
            &[("S", "a e", c(0.0), "N")],
            &[
                (
                    "N",
                    "a e",
                    plus([
                        mul([exp(read("g", "t")), read("S", "a e")]),
                        mul([read("k", "t a"), read("v", "t e")]),
                    ]),
                ),
                ("y", "t e", sum("d", [read("q", "t d"), read("N", "d e")])),
            ],
        )
        .let_(
            "o",
            "i e",
            plus([
                sum("j", [read("p", "i j"), read("v", "j e")]),
                read("y", "i e"),
            ]),
        )
        .out("o", "i e")
        .done()
}

/// Softmax attention over what a scan without a law leaves behind.
pub fn softmax_behind_a_dense_scan() -> Program {
    qkv("T K V")
        .scan(
            "t",
            false,
            &[("h", "e", c(0.0), "h1")],
            &[
                (
                    "h1",
                    "e",
                    f1(Func::Tanh, plus([read("h", "e"), read("v", "t e")])),
                ),
                ("y", "t e", read("h1", "e")),
            ],
        )
        .let_("p", "i j", softmax("j", masked(causal("j", "i"), scores())))
        .let_("o", "i e", sum("j", [read("p", "i j"), read("y", "j e")]))
        .out("o", "i e")
        .done()
}

/// Softmax written as a ratio, without a maximum.
pub fn exp_ratio_softmax() -> Program {
    qkv("T K V")
        .let_("w", "i j", select(causal("j", "i"), exp(scores()), c(0.0)))
        .let_("z", "i", sum("u", [read("w", "i u")]))
        .let_(
            "o",
            "i e",
            sum(
                "j",
                [
                    f2(Func::Div, read("w", "i j"), read("z", "i")),
                    read("v", "j e"),
                ],
            ),
        )
        .out("o", "i e")
        .done()
}

/// Softmax with a forget-gate bias (differences of a cumulated log gate).
pub fn forget_gate_softmax() -> Program {
    qkv("T K V")
        .ranged("g", "T", (f64::NEG_INFINITY, 0.0))
        .let_("c", "t", cumsum("t", read("g", "t")))
        .let_(
            "s",
            "i j",
            plus([scores(), f2(Func::Sub, read("c", "i"), read("c", "j"))]),
        )
        .let_(
            "p",
            "i j",
            softmax("j", masked(causal("j", "i"), read("s", "i j"))),
        )
        .let_("o", "i e", sum("j", [read("p", "i j"), read("v", "j e")]))
        .out("o", "i e")
        .done()
}

pub fn linear_attention() -> Program {
    qkv("T K V")
        .let_(
            "o",
            "i e",
            sum(
                "j d",
                [
                    select(causal("j", "i"), c(1.0), c(0.0)),
                    read("q", "i d"),
                    read("k", "j d"),
                    read("v", "j e"),
                ],
            ),
        )
        .out("o", "i e")
        .done()
}

pub fn strictly_causal_linear_attention() -> Program {
    qkv("T K V")
        .let_("s", "i j", scores())
        .let_(
            "o",
            "i e",
            sum(
                "j",
                [select(
                    f2(Func::Lt, at("j"), at("i")),
                    mul([read("s", "i j"), read("v", "j e")]),
                    c(0.0),
                )],
            ),
        )
        .out("o", "i e")
        .done()
}

/// elu(x) + 1 features and a normaliser.
pub fn normalised_linear_attention() -> Program {
    let phi = |x: T| plus([f1(Func::Elu, x), c(1.0)]);
    qkv("T K V")
        .let_("fq", "t a", phi(read("q", "t a")))
        .let_("fk", "t a", phi(read("k", "t a")))
        .let_(
            "s",
            "i j",
            select(
                causal("j", "i"),
                sum("d", [read("fq", "i d"), read("fk", "j d")]),
                c(0.0),
            ),
        )
        .let_("n", "i e", sum("j", [read("s", "i j"), read("v", "j e")]))
        .let_("z", "i", sum("u", [read("s", "i u")]))
        .let_(
            "o",
            "i e",
            f2(Func::Div, read("n", "i e"), plus([read("z", "i"), c(1e-6)])),
        )
        .out("o", "i e")
        .done()
}

/// gamma^(i-j) in the double sum.
pub fn retention() -> Program {
    let gamma = Arc::new(Term::Scalar("gamma".into()));
    let decay = f2(Func::Pow, gamma, ix(Ix::axis("i") - Ix::axis("j")));
    qkv("T K V")
        .scalar("gamma", (0.5, 1.0))
        .let_(
            "s",
            "i j",
            select(causal("j", "i"), mul([decay, scores()]), c(0.0)),
        )
        .let_("o", "i e", sum("j", [read("s", "i j"), read("v", "j e")]))
        .out("o", "i e")
        .done()
}

/// A decay mask from a cumulated log gate, times a power of the distance.
pub fn cumsum_decay() -> Program {
    let gates = exp(f2(Func::Sub, read("c", "i"), read("c", "j")));
    let constant = exp(mul([c(-0.1), ix(Ix::axis("i") - Ix::axis("j"))]));
    qkv("T K V")
        .ranged("g", "T", (f64::NEG_INFINITY, 0.0))
        .let_("c", "t", cumsum("t", read("g", "t")))
        .let_(
            "s",
            "i j",
            mul([causal("j", "i"), gates, constant, scores()]),
        )
        .let_("o", "i e", sum("j", [read("s", "i j"), read("v", "j e")]))
        .out("o", "i e")
        .done()
}

/// A scalar gate per step, initial and final state.
pub fn scalar_gate_scan() -> Program {
    qkv("T K V")
        .ranged("g", "T", (f64::NEG_INFINITY, 0.0))
        .tensor("s0", "K V")
        .scan(
            "t",
            false,
            &[("S", "a e", read("s0", "a e"), "N")],
            &[
                (
                    "N",
                    "a e",
                    plus([
                        mul([exp(read("g", "t")), read("S", "a e")]),
                        mul([read("k", "t a"), read("v", "t e")]),
                    ]),
                ),
                ("o", "t e", sum("d", [read("q", "t d"), read("N", "d e")])),
            ],
        )
        .out("o", "t e")
        .out("S_last", "a e")
        .done()
}

/// A decay that is the same at every step, and the final state.
pub fn constant_decay_scan() -> Program {
    qkv("T K V")
        .scalar("gamma", (0.5, 1.0))
        .scan(
            "t",
            false,
            &[("S", "a e", c(0.0), "N")],
            &[
                (
                    "N",
                    "a e",
                    plus([
                        mul([Arc::new(Term::Scalar("gamma".into())), read("S", "a e")]),
                        mul([read("k", "t a"), read("v", "t e")]),
                    ]),
                ),
                ("o", "t e", sum("d", [read("q", "t d"), read("N", "d e")])),
            ],
        )
        .out("o", "t e")
        .out("S_last", "a e")
        .done()
}

/// A gate per key channel.
pub fn gated_linear_attention() -> Program {
    qkv("T K V")
        .ranged("g", "T K", (f64::NEG_INFINITY, 0.0))
        .scan(
            "t",
            false,
            &[("S", "a e", c(0.0), "N")],
            &[
                (
                    "N",
                    "a e",
                    plus([
                        mul([exp(read("g", "t a")), read("S", "a e")]),
                        mul([read("k", "t a"), read("v", "t e")]),
                    ]),
                ),
                ("o", "t e", sum("d", [read("q", "t d"), read("N", "d e")])),
            ],
        )
        .out("o", "t e")
        .done()
}

/// Selective state space: h = exp(dt A) h + dt B x.
pub fn selective_scan() -> Program {
    Mixer::new("T G N")
        .axes("t", "T")
        .axes("c", "G")
        .axes("n m", "N")
        .tensor("x", "T G")
        .ranged("dt", "T G", (0.0, f64::INFINITY))
        .ranged("A", "G N", (f64::NEG_INFINITY, 0.0))
        .tensor("B", "T N")
        .tensor("Cm", "T N")
        .scan(
            "t",
            false,
            &[("h", "c n", c(0.0), "h1")],
            &[
                (
                    "h1",
                    "c n",
                    plus([
                        mul([
                            exp(mul([read("dt", "t c"), read("A", "c n")])),
                            read("h", "c n"),
                        ]),
                        mul([read("dt", "t c"), read("B", "t n"), read("x", "t c")]),
                    ]),
                ),
                ("y", "t c", sum("m", [read("Cm", "t m"), read("h1", "c m")])),
            ],
        )
        .out("y", "t c")
        .done()
}

/// An elementwise gate, h = f h + (1 - f) x, from the end to the start.
pub fn reverse_elementwise_gate() -> Program {
    let f = || f1(Func::Sigmoid, read("f", "t c"));
    Mixer::new("T G")
        .axes("t", "T")
        .axes("c", "G")
        .tensor("x", "T G")
        .tensor("f", "T G")
        .scan(
            "t",
            true,
            &[("h", "c", c(0.0), "h1")],
            &[
                (
                    "h1",
                    "c",
                    plus([
                        mul([f(), read("h", "c")]),
                        mul([f2(Func::Sub, c(1.0), f()), read("x", "t c")]),
                    ]),
                ),
                ("y", "t c", read("h1", "c")),
            ],
        )
        .out("y", "t c")
        .done()
}

/// Two states, the second fed by the first.
pub fn momentum() -> Program {
    Mixer::new("T G")
        .axes("t", "T")
        .axes("c", "G")
        .tensor("x", "T G")
        .ranged("a", "T G", (0.0, 1.0))
        .ranged("b", "T G", (0.0, 1.0))
        .scan(
            "t",
            false,
            &[("m", "c", c(0.0), "m1"), ("h", "c", c(0.0), "h1")],
            &[
                (
                    "m1",
                    "c",
                    plus([mul([read("a", "t c"), read("m", "c")]), read("x", "t c")]),
                ),
                (
                    "h1",
                    "c",
                    plus([mul([read("b", "t c"), read("h", "c")]), read("m1", "c")]),
                ),
                ("y", "t c", read("h1", "c")),
            ],
        )
        .out("y", "t c")
        .done()
}

/// Scores normalised by their mean and deviation over the keys.
pub fn two_statistics() -> Program {
    let centred = |j: &str| f2(Func::Sub, read("s", &format!("i {j}")), read("mu", "i"));
    let count = || Arc::new(Term::Index(Ix::dim("T")));
    qkv("T K V")
        .let_("s", "i j", scores())
        .let_(
            "mu",
            "i",
            f2(Func::Div, sum("t", [read("s", "i t")]), count()),
        )
        .let_(
            "var",
            "i",
            f2(Func::Div, sum("u", [centred("u"), centred("u")]), count()),
        )
        .let_(
            "o",
            "i e",
            sum(
                "j",
                [
                    f2(
                        Func::Div,
                        centred("j"),
                        f1(Func::Sqrt, plus([read("var", "i"), c(1e-6)])),
                    ),
                    read("v", "j e"),
                ],
            ),
        )
        .out("o", "i e")
        .done()
}

/// A dense transition: only the sequential form.
pub fn delta_rule() -> Program {
    qkv("T K V")
        .ranged("beta", "T", (0.0, 1.0))
        .scan(
            "t",
            false,
            &[("S", "a e", c(0.0), "N")],
            &[
                (
                    "u",
                    "e",
                    mul([
                        read("beta", "t"),
                        f2(
                            Func::Sub,
                            read("v", "t e"),
                            sum("d", [read("k", "t d"), read("S", "d e")]),
                        ),
                    ]),
                ),
                (
                    "N",
                    "a e",
                    plus([read("S", "a e"), mul([read("k", "t a"), read("u", "e")])]),
                ),
                ("o", "t e", sum("f", [read("q", "t f"), read("N", "f e")])),
            ],
        )
        .out("o", "t e")
        .done()
}

pub fn all() -> Vec<(&'static str, Program)> {
    vec![
        ("causal softmax", causal_softmax()),
        ("window softmax with lse", window_softmax_with_lse()),
        ("softmax with sink", sink_softmax()),
        ("strictly causal softmax", strictly_causal_softmax()),
        ("hybrid", hybrid()),
        ("softmax behind a dense scan", softmax_behind_a_dense_scan()),
        ("softmax as a ratio", exp_ratio_softmax()),
        ("forget-gate softmax", forget_gate_softmax()),
        ("linear attention", linear_attention()),
        (
            "strictly causal linear attention",
            strictly_causal_linear_attention(),
        ),
        ("normalised linear attention", normalised_linear_attention()),
        ("retention", retention()),
        ("cumsum decay", cumsum_decay()),
        ("scalar gate", scalar_gate_scan()),
        ("constant decay", constant_decay_scan()),
        ("gated linear attention", gated_linear_attention()),
        ("selective scan", selective_scan()),
        ("reverse elementwise gate", reverse_elementwise_gate()),
        ("momentum", momentum()),
        ("two statistics", two_statistics()),
        ("delta rule", delta_rule()),
    ]
}
