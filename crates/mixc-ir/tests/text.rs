//! The text form: printing and parsing are inverse to each other, on any program of the types.

use mixc_ir::{
    Carry, Constraint, Func, Ix, Kind, Let, Name, Output, Program, ReduceOp, Relation, Scalar,
    Scan, Split, Stmt, T, Tensor, Term, parse_program, parse_term,
};
use mixc_text::Source;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

fn reparsed(term: &T) -> T {
    let text = term.to_string();
    let source = Source::new("term", &text);
    parse_term(&source).unwrap_or_else(|errors| panic!("{text}\n{}", source.render(&errors)))
}

fn name() -> impl Strategy<Value = Name> {
    // Words of the notation and names that are no identifiers are legal names too.
    let plain = prop_oneof![
        Just("i"),
        Just("j0"),
        Just("x'"),
        Just("T"),
        Just("state_2"),
        Just("max"),
        Just("program")
    ];
    plain.prop_map(Name::from)
}

fn tensor_name() -> impl Strategy<Value = Name> {
    let odd = prop_oneof![
        Just("sum"),
        Just("scan"),
        Just("inf"),
        Just("next"),
        Just("o.chunk"),
        Just("2nd"),
        Just("exp")
    ];
    prop_oneof![name(), odd.prop_map(Name::from)]
}

fn constant() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>().prop_filter("NaN is equal to nothing", |v| !v.is_nan()),
        (-9i32..9).prop_map(f64::from),
        Just(-0.0),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(5e-324),
        Just(1e15),
    ]
}

fn index() -> impl Strategy<Value = Ix> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Ix::Const),
        (-3i64..9).prop_map(Ix::Const),
        name().prop_map(Ix::Axis),
        name().prop_map(Ix::Dim),
        Just(Ix::dim("$C")),
    ];
    leaf.prop_recursive(4, 16, 2, |inner| {
        let pair = (inner.clone(), inner.clone()).prop_map(|(a, b)| (Arc::new(a), Arc::new(b)));
        prop_oneof![
            pair.clone().prop_map(|(a, b)| Ix::Add(a, b)),
            pair.clone().prop_map(|(a, b)| Ix::Sub(a, b)),
            pair.clone().prop_map(|(a, b)| Ix::Mul(a, b)),
            pair.clone().prop_map(|(a, b)| Ix::Div(a, b)),
            pair.clone().prop_map(|(a, b)| Ix::Mod(a, b)),
            pair.clone().prop_map(|(a, b)| Ix::Min(a, b)),
            pair.prop_map(|(a, b)| Ix::Max(a, b)),
            (name(), vec(inner, 0..3)).prop_map(|(t, ix)| Ix::Elem(t, ix)),
        ]
    })
}

fn axes() -> impl Strategy<Value = Vec<Name>> {
    vec(name(), 1..3)
}

fn term() -> impl Strategy<Value = T> {
    let leaf = prop_oneof![
        constant().prop_map(Term::Const),
        tensor_name().prop_map(Term::Scalar),
        index().prop_map(Term::Index),
        (tensor_name(), vec(index(), 0..3))
            .prop_map(|(tensor, index)| Term::Read { tensor, index }),
    ];
    leaf.prop_map(Arc::new).prop_recursive(4, 24, 3, |inner| {
        let map = (0..Func::ALL.len(), vec(inner.clone(), 3)).prop_map(|(n, mut args)| {
            args.truncate(Func::ALL[n].arity());
            Term::Map { f: Func::ALL[n], args }
        });
        let op = prop_oneof![Just(ReduceOp::Max), Just(ReduceOp::Min), Just(ReduceOp::Prod), Just(ReduceOp::Lse)];
        let three = (inner.clone(), inner.clone(), inner.clone());
        prop_oneof![
            4 => map,
            2 => vec(inner.clone(), 0..4).prop_map(Term::Add),
            3 => (prop_oneof![Just(vec![]), axes()], vec(inner.clone(), 0..4))
                .prop_map(|(axes, factors)| Term::Sum { axes, factors }),
            1 => (op, axes(), inner.clone(), inner.clone())
                .prop_map(|(op, axes, mask, body)| Term::Reduce { op, axes, mask, body }),
            1 => (axes(), inner.clone(), inner.clone()).prop_map(|(axes, score, mask)| Term::Softmax { axes, score, mask }),
            1 => (axes(), three.clone())
                .prop_map(|(axes, (score, mask, value))| Term::Online { axes, score, mask, value }),
            1 => (name(), name(), any::<bool>(), inner.clone())
                .prop_map(|(j, i, strict, decay)| Term::Ss { j, i, strict, decay }),
            1 => (name(), name(), any::<bool>(), three.clone())
                .prop_map(|(j, i, strict, (decay, input, init))| Term::Scan { j, i, strict, decay, input, init }),
            1 => (name(), three).prop_map(|(j, (decay, input, init))| Term::Last { j, decay, input, init }),
            1 => (name(), any::<bool>(), inner.clone())
                .prop_map(|(axis, exclusive, body)| Term::CumProd { axis, exclusive, body }),
            1 => (name(), inner.clone()).prop_map(|(axis, body)| Term::SufProd { axis, body }),
            1 => (name(), inner.clone()).prop_map(|(axis, body)| Term::CumSum { axis, body }),
            1 => (name(), name(), name(), inner)
                .prop_map(|(axis, outer, inner, body)| Term::Merge { axis, outer, inner, body }),
        ]
        .prop_map(Arc::new)
    })
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Real), Just(Kind::Int), Just(Kind::Bool)]
}

fn range() -> impl Strategy<Value = (f64, f64)> {
    prop_oneof![
        Just((f64::NEG_INFINITY, f64::INFINITY)),
        (constant(), constant())
    ]
}

fn tensor() -> impl Strategy<Value = Tensor> {
    let axes = vec((name(), index()), 0..3);
    (
        tensor_name(),
        kind(),
        axes,
        range(),
        proptest::option::of(constant()),
    )
        .prop_map(|(name, kind, axes, range, default)| {
            let (axis_names, shape) = axes.into_iter().unzip();
            Tensor {
                name,
                kind,
                shape,
                axis_names,
                range,
                default,
            }
        })
}

fn one_let() -> impl Strategy<Value = Let> {
    (tensor_name(), vec(name(), 0..3), term()).prop_map(|(name, axes, value)| Let {
        name,
        axes,
        value,
    })
}

fn statement() -> impl Strategy<Value = Stmt> {
    let carry = (
        tensor_name(),
        vec(name(), 0..3),
        term(),
        tensor_name(),
        tensor_name(),
    )
        .prop_map(|(name, axes, init, next, last)| Carry {
            name,
            axes,
            init,
            next,
            last,
        });
    let scan = (
        name(),
        any::<bool>(),
        vec(carry, 0..2),
        vec(one_let(), 0..3),
    )
        .prop_map(|(axis, reverse, carries, body)| Scan {
            axis,
            reverse,
            carries,
            body,
        });
    prop_oneof![one_let().prop_map(Stmt::Let), scan.prop_map(Stmt::Scan)]
}

fn program() -> impl Strategy<Value = Program> {
    let relation = prop_oneof![Just(Relation::Eq), Just(Relation::Le), Just(Relation::Lt)];
    let constraint = (index(), relation, index()).prop_map(|(left, relation, right)| Constraint {
        left,
        relation,
        right,
    });
    let scalar = (tensor_name(), kind(), proptest::option::of(term()), range()).prop_map(
        |(name, kind, default, range)| Scalar {
            name,
            kind,
            default,
            range,
        },
    );
    let split = (name(), name(), name(), index()).prop_map(|(axis, outer, inner, size)| Split {
        axis,
        outer,
        inner,
        size,
    });
    let output = (tensor_name(), vec(name(), 0..3), vec(name(), 0..3)).prop_map(
        |(name, axes, axis_names)| Output {
            name,
            axes,
            axis_names,
        },
    );
    let declarations = (
        tensor_name(),
        prop_oneof![
            Just(""),
            Just("One line."),
            Just("Two.\n\nLines, with `code`.")
        ],
        vec(name(), 0..3),
        vec(constraint, 0..2),
        vec(tensor(), 0..3),
        vec(scalar, 0..2),
    );
    let rest = (
        proptest::collection::btree_map(name(), index(), 0..3),
        vec(split, 0..2),
        vec(statement(), 0..3),
        vec(output, 0..2),
    );
    (declarations, rest).prop_map(
        |((name, doc, dims, constraints, tensors, scalars), (axes, splits, body, outputs))| {
            let (name, doc) = (name.to_string(), doc.to_string());
            Program {
                name,
                doc,
                dims,
                constraints,
                tensors,
                scalars,
                axes,
                splits,
                body,
                outputs,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_printed_index_parses_to_itself(ix in index()) {
        let term = Arc::new(Term::Index(ix));
        prop_assert_eq!(reparsed(&term), term);
    }

    #[test]
    fn a_printed_term_parses_to_itself(term in term()) {
        prop_assert_eq!(reparsed(&term), term);
    }

    #[test]
    fn a_printed_program_parses_to_itself(program in program()) {
        let source = Source::new("program", program.to_string());
        let parsed = parse_program(&source);
        prop_assert!(parsed.is_ok(), "{}\n{}", source.text, source.render(&parsed.unwrap_err()));
        let parsed = parsed.unwrap();
        prop_assert_eq!(parsed.to_string(), source.text);
        prop_assert_eq!(parsed, program);
    }

    #[test]
    fn any_text_parses_or_is_refused(text in "[a-z0-9$#+*/()\\[\\],<=. -]{0,60}") {
        let _ = parse_term(&Source::new("term", text.clone()));
        let _ = parse_program(&Source::new("program", format!("program p {{ let x[] = {text} }}")));
    }

    /// The affine form has the value of the expression at every point.
    #[test]
    fn the_affine_form_is_the_expression(ix in affine_index(), i in -9i64..9, j in -9i64..9, size in 1i64..9) {
        let value = |ix: &Ix| ix.eval(&mut |leaf| match leaf {
            Ix::Axis(name) => Some(if &**name == "i" { i } else { j }),
            _ => Some(size),
        });
        let affine = ix.affine().expect("sums and multiples of axes are affine");
        let mut sum = value(&affine.rest);
        for (axis, coefficient) in &affine.terms {
            prop_assert!(coefficient.axes().is_empty());
            let term = value(&(coefficient.clone() * Ix::Axis(axis.clone())));
            sum = sum.zip(term).map(|(a, b)| a + b);
        }
        prop_assert_eq!(sum, value(&ix));
    }
}

/// Sums, differences and multiples of `i`, `j`, a size and constants.
fn affine_index() -> impl Strategy<Value = Ix> {
    let leaf = prop_oneof![
        (-4i64..5).prop_map(Ix::Const),
        Just(Ix::axis("i")),
        Just(Ix::axis("j")),
        Just(Ix::dim("n")),
        (1i64..4).prop_map(|k| (Ix::dim("n") + 7) / k),
    ];
    leaf.prop_recursive(4, 12, 2, |inner| {
        let factor = prop_oneof![(-3i64..4).prop_map(Ix::Const), Just(Ix::dim("n"))];
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| a + b),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| a - b),
            (inner.clone(), factor.clone()).prop_map(|(a, b)| a * b),
            (factor, inner).prop_map(|(a, b)| a * b),
        ]
    })
}

#[test]
fn a_division_by_an_axis_is_not_affine() {
    for ix in [
        Ix::axis("i") % 2,
        Ix::axis("i") * Ix::axis("j"),
        Ix::axis("i").min(Ix::Const(3)),
    ] {
        assert_eq!(ix.affine(), None, "{ix}");
    }
}

#[test]
fn terms_read_like_index_notation() {
    for text in [
        "scale * sum[d](q[b, h, i, d] * k[b, h / ($H / $G), j, d]) - slope[h] * #(i - j)",
        "softmax[j](s[i, j] if #j <= #i and #(i - j) < #$W)",
        "scan[t' <= t](exp(g[t']), k[t', a] * v[t', e], state[a, e])",
        "sum[j](ss[j < i](1) * x[j]) / (1 + -y[i])",
        "merge[t = t0, t1](cumprod_before[t1](a[t0 * $C + t1]) + last[t0](0.5, 1, -inf))",
        "online[j](s[i, j], v[j, e] if mask[j] != 0)",
        "select(#($T % 2) == 0, max(x[], y[]), max[j](x[j]))",
        "\"sum\"[i] + \"inf\" + nan",
    ] {
        let source = Source::new("term", text);
        let term =
            parse_term(&source).unwrap_or_else(|errors| panic!("{}", source.render(&errors)));
        assert_eq!(term.to_string(), text);
    }
}

#[test]
fn chains_are_one_node_and_parentheses_are_another() {
    let parse = |text: &str| (*parse_term(&Source::new("term", text)).unwrap()).clone();
    let arity = |term: &Term| term.children().len();
    assert_eq!(arity(&parse("a * b * c")), 3);
    assert_eq!(arity(&parse("(a * b) * c")), 2);
    assert_eq!(arity(&parse("sum[i](a * b * c)")), 3);
    assert_eq!(arity(&parse("sum[i]((a * b * c))")), 1);
    assert_eq!(arity(&parse("sum[i](a * b + c)")), 1);
    assert_eq!(parse("-2"), Term::Const(-2.0));
    assert_eq!(
        parse("neg(2)"),
        Term::Map {
            f: Func::Neg,
            args: vec![Term::constant(2.0)]
        }
    );
}

#[test]
fn a_shared_axis_name_is_written_once() {
    let text = "tensor q: real[T, X = 2 * $T - 1] in [0, inf] = 0";
    let program = parse_program(&Source::new("p", format!("program p {{ {text} }}"))).unwrap();
    assert_eq!(program.tensors[0].shape[0], Ix::dim("T"));
    assert_eq!(program.tensors[0].to_string(), text);
    assert_eq!(program.axes, BTreeMap::new());
}

#[test]
fn every_bad_item_is_reported_at_its_place() {
    let text = "program p {\n    dims 3\n    let x[i] = foo(1)\n    let y[] = 1\n    lett z[] = 1\n    let w[] = 1 +\n}\n";
    let source = Source::new("p", text);
    let errors = parse_program(&source).unwrap_err();
    let line = |e: &mixc_text::Diagnostic| source.line_column(e.span().start).0;
    let places: Vec<(usize, &str)> = errors.iter().map(|e| (line(e), e.code)).collect();
    let expected = [
        (2, "unexpected-token"),
        (3, "unknown-function"),
        (5, "unknown-item"),
        (7, "unexpected-token"),
    ];
    assert_eq!(places, expected);
}

#[test]
fn deep_nesting_is_refused_not_a_crash() {
    let text = format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000));
    assert_eq!(
        parse_term(&Source::new("deep", text)).unwrap_err()[0].code,
        "too-deep"
    );
    let text = "-".repeat(100_000) + "x";
    assert_eq!(
        parse_term(&Source::new("deep", text)).unwrap_err()[0].code,
        "too-deep"
    );
    let text = format!("#{}1", "(".repeat(100_000));
    assert_eq!(
        parse_term(&Source::new("deep", text)).unwrap_err()[0].code,
        "too-deep"
    );
}
