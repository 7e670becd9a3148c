//! Simplified kernels store the same bits, and the rules fire.

mod common;

use common::{args, nan, tensor};
use mixc_ir::{Func, Ix, Name};
use mixc_text::Source;
use mixc_tile::simplify::{bind, simplify};
use mixc_tile::{
    Access, Axis, BufId, Expr, Kernel, KernelArgs, Place, Stmt, TensorData, interpret,
    parse_kernel, verify,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn read(text: &str) -> Kernel {
    let source = Source::new("test.tile", text);
    parse_kernel(&source).unwrap_or_else(|errors| panic!("{}", source.render(&errors)))
}

fn simple(text: &str, sizes: &[(&str, i64)]) -> String {
    let sizes: BTreeMap<Name, i64> = sizes.iter().map(|(n, v)| ((*n).into(), *v)).collect();
    let kernel = simplify(&bind(&read(text), &sizes));
    assert_eq!(verify(&kernel), Ok(()), "{kernel}");
    kernel.to_string()
}

/// The body of the simplified kernel around `body`, one trimmed statement line each.
fn body(body: &str, sizes: &[(&str, i64)]) -> Vec<String> {
    let text = format!(
        "kernel k(dims: T, n; scalars: s) {{
           in x: f32 [$T, 8] unit
           out y: f32 [$T, 8] unit
           shared a: [8, 8]  register m: [8]  register never: [8]
           grid t0 < ceil_div($T, 8)
           load [i < 8, d < 8] a[i, d] <- x[t0 * 8 + i, d]
           {body}
           store [i < 8, d < 8] y[t0 * 8 + i, d] <- a[i, d]
         }}"
    );
    let text = simple(&text, sizes);
    let lines: Vec<String> = text.lines().map(|l| l.trim().to_string()).collect();
    let first = lines
        .iter()
        .position(|l| l.starts_with("load"))
        .expect("the load stays")
        + 1;
    lines[first..lines.len() - 2].to_vec()
}

#[test]
fn bound_sizes_become_constants() {
    let text = simple(
        "kernel k(dims: B, T) { in x: f32 [$B, $T]  out y: f32 [$B, $T]  shared a: [8]
           grid b < $B, t0 < ceil_div($T, 8)
           load [t < 8] a[t] <- x[b, min(t0 * 8 + t, $T - 1)]
           store [t < 8] y[b, t0 * 8 + t] <- a[t] }",
        &[("T", 24)],
    );
    let expected = "\
kernel k(dims: B) {
  in x: f32 [$B, 24]
  out y: f32 [$B, 24]
  shared a: [8]
  grid b < $B, t0 < 3
  load [t < 8] a[t] <- x[b, t0 * 8 + t]
  store [t < 8] y[b, t0 * 8 + t] <- a[t]
}
";
    assert_eq!(text, expected);
}

#[test]
fn loops_without_iterations_go_and_single_ones_are_unrolled() {
    let update = "map [i < 8, d < 8] a[i, d] = a[i, d] + int(j)";
    assert_eq!(
        body(&format!("for j in 4 .. $n {{ {update} }}"), &[("n", 4)]),
        [""; 0]
    );
    assert_eq!(
        body(&format!("for j in $n - 1 .. 4 {{ {update} }}"), &[("n", 4)]),
        ["map [i < 8, d < 8] a[i, d] = a[i, d] + 3.0"]
    );
    assert_eq!(
        body(&format!("for j in t0 .. t0 + 1 {{ {update} }}"), &[]),
        ["map [i < 8, d < 8] a[i, d] = a[i, d] + int(t0)"]
    );
    assert_eq!(
        body(&format!("for j in 0 .. $n {{ {update} }}"), &[]).len(),
        3
    );
}

#[test]
fn decided_conditions_and_masks_go() {
    let update = "map [i < 8, d < 8] a[i, d] = a[i, d] * select(int(i) <= int($n), s, 0.0)";
    let masked = |n| body(&format!("if $n < 3 {{ }} else {{ {update} }}"), &[("n", n)]);
    assert_eq!(masked(2), [""; 0]);
    assert_eq!(
        masked(6),
        ["map [i < 8, d < 8] a[i, d] = a[i, d] * select(int(i) <= 6.0, s, 0.0)"]
    );
    assert_eq!(masked(7), ["map [i < 8, d < 8] a[i, d] = a[i, d] * s"]);
    // t0 is below ceil_div(20, 8) = 3, so t0 * 8 + i is below 24.
    let bounds = |limit: i64| {
        let mask =
            format!("map [i < 8, d < 8] a[i, d] = select(int(t0 * 8 + i) < {limit}, a[i, d], 0.0)");
        body(&mask, &[("T", 20)])
    };
    assert_eq!(bounds(24), ["map [i < 8, d < 8] a[i, d] = a[i, d]"]);
    assert_eq!(bounds(23).len(), 1);
    assert!(bounds(23)[0].contains("select"));
}

#[test]
fn neutral_elements_go_where_the_bits_stay() {
    let of = |expr: &str| {
        let text = body(&format!("map [i < 8, d < 8] a[i, d] = {expr}"), &[]);
        text[0]
            .strip_prefix("map [i < 8, d < 8] a[i, d] = ")
            .expect("a map")
            .to_string()
    };
    assert_eq!(of("a[i, d] * 1.0 / 1.0 - 0.0 + -0.0"), "a[i, d]");
    // a could be -0, for which a + 0 is 0; and infinite, for which a * 0 is NaN.
    assert_eq!(of("a[i, d] + 0.0"), "a[i, d] + 0.0");
    assert_eq!(of("a[i, d] * 0.0"), "a[i, d] * 0.0");
    assert_eq!(of("exp(a[i, d]) + 0.0"), "exp(a[i, d])");
    assert_eq!(of("(a[i, d] < s) * 0.0"), "0.0");
    assert_eq!(
        of("select(and(1.0, a[i, d] < s), 2.0 * 3.0, or(s, 1.0))"),
        "select(a[i, d] < s, 6.0, 1.0)"
    );
    assert_eq!(of("not(not(a[i, d] < s))"), "a[i, d] < s");
    assert_eq!(of("nan * 2.0 + a[i, d]"), "nan + a[i, d]");
}

#[test]
fn writes_that_nothing_reads_go() {
    let dead = "map [i < 8] m[i] = 0.0
                for j in 0 .. $n { reduce sum [i < 8, d < 8] m[i] (+)= a[i, d] map [i < 8] m[i] = exp(m[i]) }
                map [i < 8] never[i] = m[i]";
    assert_eq!(body(dead, &[]), [""; 0]);
    let text = simple(
        "kernel k() { shared a: [2] shared b: [2] out y: f32 [2]
        map [i < 2] a[i] = 1.0 map [i < 2] b[i] = 2.0 store [i < 2] y[i] <- b[i] }",
        &[],
    );
    assert!(
        text.contains("shared b: [2]\n  map [i < 2] b[i] = 2.0"),
        "{text}"
    );
    assert!(!text.contains("shared a"));
}

#[test]
fn axes_that_statements_need_stay() {
    let count = "reduce sum [i < 8, j < 4] m[i] = select(int(j) < 9, 1.0, 0.0)
                 map [i < 8, d < 8] a[i, d] = m[i]";
    assert_eq!(
        body(count, &[])[0],
        "reduce sum [i < 8, j < 4] m[i] = select(int(j) < 9.0, 1.0, 0.0)"
    );
    let single = "store [i < 1, d < 8] y[t0 + i, d] <- a[i, d]";
    assert_eq!(
        body(single, &[]),
        ["store [i < 1, d < 8] y[t0 + i, d] <- a[i, d]"]
    );
}

fn bits(args: &KernelArgs) -> Vec<Vec<u32>> {
    let of = |t: &TensorData| {
        t.data
            .iter()
            .map(|v| if v.is_nan() { !0 } else { v.to_bits() })
            .collect()
    };
    args.tensors.values().map(of).collect()
}

#[test]
fn bound_and_simplified_kernels_store_the_same_bits() {
    for (i, j) in [(5, 40), (32, 32), (1, 1), (16, 48)] {
        let kernel = read(include_str!("kernels/attention.tile"));
        let sizes = [("B", 1), ("H", 2), ("I", i), ("J", j)];
        let mut given = args(
            &sizes,
            &[("scale", 0.5)],
            vec![
                ("q", tensor(1, &[1, 2, i, 32])),
                ("k", tensor(2, &[1, 2, j, 32])),
                ("v", tensor(3, &[1, 2, j, 24])),
                ("o", nan(&[1, 2, i, 24])),
                ("lse", nan(&[1, 2, i])),
            ],
        );
        let bound = simplify(&bind(&kernel, &given.dims));
        assert_eq!(verify(&bound), Ok(()), "{bound}");
        assert!(bound.dims.is_empty());
        let mut bound_args = KernelArgs {
            dims: BTreeMap::new(),
            ..given.clone()
        };
        interpret(&bound, &mut bound_args).unwrap();
        interpret(&kernel, &mut given).unwrap();
        assert_eq!(bits(&bound_args), bits(&given));
    }
}

fn expr() -> BoxedStrategy<Expr> {
    let elem = Expr::Elem(Access {
        buf: BufId(0),
        places: vec![Place::Axis("i".into())],
    });
    let index = |text: Ix| Just(Expr::Index(text));
    let leaf = prop_oneof![
        prop::sample::select(vec![0.0, -0.0, 1.0, -1.0, 2.5, f32::INFINITY, f32::NAN])
            .prop_map(Expr::Const),
        Just(elem),
        Just(Expr::Scalar("s".into())),
        index(Ix::axis("i")),
        index(Ix::dim("n") - Ix::axis("i")),
        index(Ix::axis("i") / 16),
    ];
    leaf.prop_recursive(5, 32, 3, |inner| {
        let func = prop::sample::select(Func::ALL.to_vec());
        let call = (func, prop::collection::vec(inner.clone(), 3)).prop_map(|(f, mut args)| {
            args.truncate(f.arity());
            Expr::Call(f, args)
        });
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Expr::Add(Box::new(a), Box::new(b))),
            (inner.clone(), inner).prop_map(|(a, b)| Expr::Mul(Box::new(a), Box::new(b))),
            call,
        ]
    })
    .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn simplified_expressions_keep_their_bits(expr in expr(), n in 0usize..9, s in -2i8..3) {
        let mut kernel = read("kernel k(dims: n; scalars: s) { in x: f32 [8] out y: f32 [8] shared a: [8] shared b: [8]
            load [i < 8] a[i] <- x[i]
            map [i < 8] b[i] = 0.0
            store [i < 8] y[i] <- b[i] }");
        let b = Access { buf: BufId(1), places: vec![Place::Axis("i".into())] };
        kernel.body[1] = Stmt::Map { axes: vec![Axis { name: "i".into(), extent: 8 }], dst: b, expr };
        let x = [0.0, -0.0, 1.0, -3.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.25];
        let tensors = vec![("x", TensorData::new(&[8], x.to_vec())), ("y", nan(&[8]))];
        let mut given = args(&[("n", n)], &[("s", f32::from(s))], tensors);
        let mut bound_args = given.clone();
        let bound = simplify(&bind(&kernel, &given.dims));
        prop_assert_eq!(verify(&bound), Ok(()));
        interpret(&kernel, &mut given).unwrap();
        interpret(&bound, &mut bound_args).unwrap();
        prop_assert_eq!(bits(&bound_args), bits(&given), "{}", bound);
    }
}
