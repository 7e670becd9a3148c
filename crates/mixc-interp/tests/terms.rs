//! Every operator on cases small enough to work out by hand, and the edges that `mixc_ir` fixes.

use mixc_interp::{Array, Env, EvalError, eval_term};
use mixc_ir::{Func, Ix, Name, Split, Term, parse_term};
use mixc_text::Source;
use std::sync::Arc;

const INF: f64 = f64::INFINITY;

/// `i`, `j`, `m` of size 3, `d` of size 2, `z` of size 0, and `t` of size 5 split by 2.
fn env() -> Env {
    let mut env = Env::default();
    let axes = [
        ("i", 3),
        ("j", 3),
        ("m", 3),
        ("d", 2),
        ("z", 0),
        ("w", 0),
        ("t", 5),
        ("u", 5),
    ];
    env.axes.extend(axes.map(|(n, s)| (n.into(), s)));
    env.axes.extend(
        [("t0", 3), ("t1", 2), ("u0", 3), ("u1", 2), ("v1", 2)].map(|(n, s)| (n.into(), s)),
    );
    for (axis, outer, inner) in [("t", "t0", "t1"), ("u", "u0", "u1"), ("t", "t0", "v1")] {
        let size = Ix::dim("C");
        env.splits.push(Split {
            axis: axis.into(),
            outer: outer.into(),
            inner: inner.into(),
            size,
        });
    }
    env.sizes.extend([("C".into(), 2), ("T".into(), 3)]);
    env.scalars.insert("scale".into(), 0.5);
    let tensors: [(&str, &[usize], &[f64]); 7] = [
        ("x", &[3], &[2.0, 3.0, 5.0]),
        ("a", &[3], &[0.5, 0.25, 2.0]),
        ("n", &[3], &[2.0, 0.0, 7.0]),
        ("bad", &[3], &[INF, f64::NAN, 1.0]),
        ("y", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        ("p", &[5], &[2.0, 3.0, 5.0, 7.0, 11.0]),
        ("none", &[0], &[]),
    ];
    for (name, shape, data) in tensors {
        env.tensors
            .insert(name.into(), Array::new(shape.to_vec(), data.to_vec()));
    }
    env
}

fn try_value(text: &str, axes: &[&str]) -> Result<Array, EvalError> {
    let source = Source::new("term", text);
    let term = parse_term(&source).unwrap_or_else(|errors| panic!("{}", source.render(&errors)));
    let axes: Vec<Name> = axes.iter().map(|a| Name::from(*a)).collect();
    eval_term(&term, &axes, &env())
}

#[track_caller]
fn check(text: &str, axes: &[&str], expected: &[f64]) {
    let found = try_value(text, axes)
        .unwrap_or_else(|error| panic!("{text}: {error}"))
        .data;
    let same =
        |a: &f64, b: &f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-14 * b.abs();
    let all = found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| same(a, b));
    assert!(all, "{text}\n found    {found:?}\n expected {expected:?}");
}

#[test]
fn leaves() {
    check("2.5", &[], &[2.5]);
    check("scale", &[], &[0.5]);
    check("#(2 * i - $T)", &["i"], &[-3.0, -1.0, 1.0]);
    check("#((i - 2) / 2)", &["i"], &[-1.0, -1.0, 0.0]);
    check("#((i - 2) % 2)", &["i"], &[0.0, 1.0, 0.0]);
    check("#(min(i, 1) + max(i, 1))", &["i"], &[1.0, 2.0, 3.0]);
    check("y[i, d]", &["d", "i"], &[1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
    check("x[i]", &["i", "d"], &[2.0, 2.0, 3.0, 3.0, 5.0, 5.0]);
}

#[test]
fn reads_outside_the_bounds_are_0() {
    check("x[i - 1]", &["i"], &[0.0, 2.0, 3.0]);
    check("x[2 * i]", &["i"], &[2.0, 5.0, 0.0]);
    check("y[i, d + 1]", &["i", "d"], &[2.0, 0.0, 4.0, 0.0, 6.0, 0.0]);
    check("none[0]", &[], &[0.0]);
    // 2^62 + 2^62 has no value, nor has a division by zero.
    check(
        "x[(i + 4611686018427387904) + 4611686018427387904]",
        &["i"],
        &[0.0; 3],
    );
    check("x[1 / i]", &["i"], &[0.0, 3.0, 2.0]);
    check("#(1 / i)", &["i"], &[f64::NAN, 1.0, 0.0]);
}

#[test]
fn gathers_read_through_an_integer_tensor() {
    check("x[n[i]]", &["i"], &[5.0, 2.0, 0.0]);
    check("x[n[n[i]]]", &["i"], &[0.0, 5.0, 2.0]);
    check("#(n[i] + 1)", &["i"], &[3.0, 1.0, 8.0]);
    check("#bad[i]", &["i"], &[i64::MAX as f64, 0.0, 1.0]);
}

#[test]
fn elementwise_functions() {
    check("x[i] - x[0]", &["i"], &[0.0, 1.0, 3.0]);
    check("mod(-x[i], 3)", &["i"], &[1.0, 0.0, 1.0]);
    check("recip0(x[i] - 2)", &["i"], &[0.0, 1.0, 1.0 / 3.0]);
    check("max(bad[i], 0)", &["i"], &[INF, f64::NAN, 1.0]);
    check("x[i] < 3 or x[i] == 5", &["i"], &[1.0, 0.0, 1.0]);
    check("add() + add(3)", &[], &[3.0]);
    check("mul() * mul(3)", &[], &[3.0]);
    for f in Func::ALL {
        let args = ["0.5", "0.25", "0.125"][..f.arity()].join(", ");
        let values: Vec<f64> = [0.5, 0.25, 0.125][..f.arity()].to_vec();
        check(&format!("{}({args})", f.name()), &[], &[f.eval(&values)]);
    }
}

#[test]
fn a_guard_of_0_decides_a_product() {
    check("bad[i] * (#i == 2)", &["i"], &[0.0, 0.0, 1.0]);
    check("(#i == 2) * bad[i]", &["i"], &[0.0, 0.0, 1.0]);
    check("sum[i](bad[i] * (#i == 2))", &[], &[1.0]);
    check(
        "sum[j](ss[j < i](1) * bad[j])",
        &["i"],
        &[0.0, INF, f64::NAN],
    );
    // Any other factor of 0 does not: IEEE 754.
    check("bad[i] * x[i - 3]", &["i"], &[f64::NAN, f64::NAN, 0.0]);
    check(
        "bad[i] * (1 * (#i == 2))",
        &["i"],
        &[f64::NAN, f64::NAN, 1.0],
    );
}

#[test]
fn select_looks_at_the_taken_branch_alone() {
    check("select(#i == 2, bad[i], -1)", &["i"], &[-1.0, -1.0, 1.0]);
    check("select(bad[1], 1, 2)", &[], &[1.0]);
}

#[test]
fn sums_and_reductions() {
    check("sum[i](x[i] * y[i, d])", &["d"], &[36.0, 46.0]);
    check("sum[i, d](y[i, d])", &[], &[21.0]);
    check("sum[i](2)", &[], &[6.0]);
    check("max[i](x[i] if #i < 2)", &[], &[3.0]);
    check("min[i](x[i] if 0 < #i)", &[], &[3.0]);
    check("prod[i](x[i])", &[], &[30.0]);
    check("lse[i](log(x[i]))", &[], &[10f64.ln()]);
    check("lse[i](1000)", &[], &[1000.0 + 3f64.ln()]);
    check("max[i](bad[i])", &[], &[f64::NAN]);
    check("lse[i](bad[i] if #i != 1)", &[], &[INF]);
}

#[test]
fn reductions_of_nothing() {
    for (axis, mask) in [("z", ""), ("i", " if 0")] {
        check(&format!("max[{axis}](bad[1]{mask})"), &[], &[-INF]);
        check(&format!("min[{axis}](bad[1]{mask})"), &[], &[INF]);
        check(&format!("prod[{axis}](bad[1]{mask})"), &[], &[1.0]);
        check(&format!("lse[{axis}](bad[1]{mask})"), &[], &[-INF]);
        check(
            &format!("online[{axis}](bad[1], bad[1]{mask})"),
            &[],
            &[0.0],
        );
    }
    check("sum[z](bad[1])", &[], &[0.0]);
    check("last[z](bad[1], bad[1], 4)", &[], &[4.0]);
    check("x[i]", &["i", "z"], &[]);
    check("softmax[z](1)", &["z"], &[]);
    check("scan[w <= z](1, 1, 0) + cumsum[z](1)", &["z"], &[]);
    check("ss[w <= z](1)", &["w", "z"], &[]);
}

#[test]
fn softmax_over_the_keys_that_take_part() {
    check("softmax[i](log(x[i]))", &["i"], &[0.2, 0.3, 0.5]);
    check(
        "softmax[i](log(x[i]) if #i != 1)",
        &["i"],
        &[2.0 / 7.0, 0.0, 5.0 / 7.0],
    );
    check("softmax[i](1000 * x[i])", &["i"], &[0.0, 0.0, 1.0]);
    check("softmax[i](bad[i] if #i == 2)", &["i"], &[0.0, 0.0, 1.0]);
    check(
        "softmax[j](1 if #j < #i)",
        &["i", "j"],
        &[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.5, 0.5, 0.0],
    );
    check("softmax[i](-inf)", &["i"], &[0.0; 3]);
    check(
        "softmax[i, d](log(y[i, d]))",
        &["d", "i"],
        &[1.0, 3.0, 5.0, 2.0, 4.0, 6.0].map(|v| v / 21.0),
    );
}

#[test]
fn online_is_a_weighted_sum_relative_to_the_maximum() {
    // exp(log x - log 5) = x / 5.
    check(
        "online[i](log(x[i]), y[i, d])",
        &["d"],
        &[36.0 / 5.0, 46.0 / 5.0],
    );
    check("online[i](log(x[i]), 1 if #i < 2)", &[], &[5.0 / 3.0]);
    check("online[i](1000, bad[i] if #i == 2)", &[], &[1.0]);
    check("online[i](-inf, 1)", &[], &[0.0]);
}

#[test]
fn semiseparable_masks() {
    // prod of a over j < m <= i.
    check(
        "ss[j <= i](a[j])",
        &["i", "j"],
        &[1.0, 0.0, 0.0, 0.25, 1.0, 0.0, 0.5, 2.0, 1.0],
    );
    // prod of a over j < m < i.
    check(
        "ss[j < i](a[j])",
        &["i", "j"],
        &[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.25, 1.0, 0.0],
    );
    check(
        "ss[j <= i](0)",
        &["i", "j"],
        &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
    );
}

#[test]
fn scans() {
    // S = a S + x from 4: 0.5 * 4 + 2 = 4, 0.25 * 4 + 3 = 4, 2 * 4 + 5 = 13.
    check("scan[j <= i](a[j], x[j], 4)", &["i"], &[4.0, 4.0, 13.0]);
    check("scan[j < i](a[j], x[j], 4)", &["i"], &[4.0, 4.0, 4.0]);
    check("last[j](a[j], x[j], 4)", &[], &[13.0]);
    check(
        "scan[j <= i](1, y[j, d], #d)",
        &["d", "i"],
        &[1.0, 4.0, 9.0, 3.0, 7.0, 13.0],
    );
    // A guard forgets; a number that is 0 keeps NaN.
    check(
        "scan[j <= i](#j != 2, bad[j], 0)",
        &["i"],
        &[INF, f64::NAN, 1.0],
    );
    check("last[j](0, bad[j], 0)", &[], &[f64::NAN]);
}

#[test]
fn cumulative_products_and_sums() {
    check("cumprod[i](x[i])", &["i"], &[2.0, 6.0, 30.0]);
    check("cumprod_before[i](x[i])", &["i"], &[1.0, 2.0, 6.0]);
    check("cumprod_after[i](x[i])", &["i"], &[15.0, 5.0, 1.0]);
    check("cumsum[i](x[i])", &["i"], &[2.0, 5.0, 10.0]);
    check("cumprod_after[i](x[i] - 2)", &["i"], &[3.0, 3.0, 1.0]);
}

// `p` has 5 elements in chunks of 2: (2, 3), (5, 7), (11, nothing).

#[test]
fn merge_undoes_a_split() {
    check(
        "merge[t = t0, t1](p[2 * t0 + t1])",
        &["t"],
        &[2.0, 3.0, 5.0, 7.0, 11.0],
    );
    check(
        "merge[t = t0, t1](#(10 * t0 + t1))",
        &["t"],
        &[0.0, 1.0, 10.0, 11.0, 20.0],
    );
    check(
        "merge[t = t0, t1](sum[v1](p[2 * t0 + v1]))",
        &["t"],
        &[5.0, 5.0, 12.0, 12.0, 11.0],
    );
}

#[test]
fn positions_past_the_end_of_a_split_axis_do_not_exist() {
    let chunks = &["t0"];
    check("sum[t0, t1](1)", &[], &[5.0]);
    check("sum[t1](1)", chunks, &[2.0, 2.0, 1.0]);
    check("sum[t0](1)", &["t1"], &[3.0, 2.0]);
    check("sum[t0](sum[t1](1))", &[], &[5.0]);
    check("prod[t1](p[2 * t0 + t1])", chunks, &[6.0, 35.0, 11.0]);
    check("min[t1](p[2 * t0 + t1])", chunks, &[2.0, 5.0, 11.0]);
    check("lse[t0, t1](0)", &[], &[5f64.ln()]);
    check("online[t1](0, 1)", chunks, &[2.0, 2.0, 1.0]);
    check("last[t1](2, 1, 0)", chunks, &[3.0, 3.0, 1.0]);
    check(
        "softmax[t1](0)",
        &["t0", "t1"],
        &[0.5, 0.5, 0.5, 0.5, 1.0, 0.0],
    );
    check(
        "cumprod_after[t1](p[2 * t0 + t1])",
        &["t0", "t1"],
        &[3.0, 1.0, 7.0, 1.0, 1.0, 0.0],
    );
    check(
        "cumprod[t1](p[2 * t0 + t1])",
        &["t0", "t1"],
        &[2.0, 6.0, 5.0, 35.0, 11.0, 0.0],
    );
    check(
        "sum[v1](ss[v1 <= t1](2))",
        &["t0", "t1"],
        &[1.0, 3.0, 1.0, 3.0, 1.0, 0.0],
    );
    check(
        "scan[v1 <= t1](2, 1, 0)",
        &["t0", "t1"],
        &[1.0, 3.0, 1.0, 3.0, 1.0, 0.0],
    );
    // Without the outer part in scope there is only an axis of 2.
    check("sum[t1](1)", &[], &[2.0]);
    check("7", &["t0", "t1"], &[7.0, 7.0, 7.0, 7.0, 7.0, 0.0]);
}

#[test]
fn operators_nest() {
    check(
        "sum[i](x[i] * sum[j](ss[j <= i](1) * x[j]))",
        &[],
        &[2.0 * 2.0 + 3.0 * 5.0 + 5.0 * 10.0],
    );
    check("cumsum[i](cumsum[i](x[i]))", &["i"], &[2.0, 7.0, 17.0]);
    check(
        "max[i](scan[j <= i](1, sum[m](x[m] * (#m == #j)), 0))",
        &[],
        &[10.0],
    );
}

#[test]
fn a_shared_subterm_means_what_its_place_says() {
    // Positions in a chunk: all of them with the chunk in scope, 2 without.
    let shared = parse_term(&Source::new("term", "sum[t1](1)")).unwrap();
    let sum = Term::sum(vec!["t0".into(), "d".into()], vec![shared.clone()]);
    let both = Arc::new(Term::Add(vec![shared.clone(), sum, shared]));
    assert_eq!(
        eval_term(&both, &["i".into()], &env()).unwrap().data,
        [2.0 + 10.0 + 2.0; 3]
    );
}

#[test]
fn what_is_not_a_term_of_the_environment_is_an_error() {
    for (text, axes) in [
        ("nothing[i]", vec!["i"]),
        ("x[i, i]", vec!["i"]),
        ("x[i]", vec![]),
        ("#q", vec!["q"]),
        ("#$Q", vec![]),
        ("missing", vec![]),
        ("scan[d <= i](1, 1, 0)", vec!["i"]),
        ("scan[j <= i](x[i], 1, 0)", vec!["i"]),
        ("merge[t = i, j](1)", vec!["t"]),
    ] {
        assert!(
            matches!(try_value(text, &axes), Err(EvalError::Malformed { .. })),
            "{text}"
        );
    }
}
