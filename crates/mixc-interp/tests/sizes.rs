//! Binding of sizes and scalars, and the errors that users get.

use mixc_interp::{EvalError, bind_sizes, scalar_values};
use mixc_ir::{Name, Program, parse_program};
use mixc_text::Source;
use std::collections::BTreeMap;

fn program(text: &str) -> Program {
    let source = Source::new("test", format!("program test {{ {text} }}"));
    parse_program(&source).unwrap_or_else(|errors| panic!("{}", source.render(&errors)))
}

fn scalars(list: &[(&str, f64)]) -> BTreeMap<Name, f64> {
    list.iter().map(|(n, v)| (Name::from(*n), *v)).collect()
}

fn bind(
    text: &str,
    shapes: &[(&str, &[usize])],
    given: &[(&str, f64)],
) -> Result<BTreeMap<Name, i64>, EvalError> {
    let shapes = shapes
        .iter()
        .map(|(n, s)| (Name::from(*n), s.to_vec()))
        .collect();
    bind_sizes(&program(text), &shapes, &scalars(given))
}

#[track_caller]
fn fails(text: &str, shapes: &[(&str, &[usize])], given: &[(&str, f64)], message: &str) {
    assert_eq!(bind(text, shapes, given).unwrap_err().to_string(), message);
}

const ATTENTION: &str = "dims T, H, G
    tensor q: real[T, H] tensor k: real[T, G] tensor bias: real[H, W = 2 * $T - 1] = 0
    scalar window: int in [1, inf] = #$T
    require $G <= $H
    require $H == $H / $G * $G";

#[test]
fn sizes_follow_from_shapes() {
    let sizes = bind(ATTENTION, &[("q", &[5, 4]), ("k", &[5, 2])], &[]).unwrap();
    assert_eq!(
        sizes,
        [
            ("G".into(), 2),
            ("H".into(), 4),
            ("T".into(), 5),
            ("window".into(), 5)
        ]
        .into()
    );
    let sizes = bind(
        ATTENTION,
        &[("q", &[5, 4]), ("k", &[5, 2]), ("bias", &[4, 9])],
        &[("window", 3.0)],
    )
    .unwrap();
    assert_eq!(sizes["window"], 3);
}

#[test]
fn simple_expressions_are_solved() {
    assert_eq!(
        bind("dims T tensor b: real[W = 2 * $T - 1]", &[("b", &[9])], &[]).unwrap()["T"],
        5
    );
    assert_eq!(
        bind(
            "dims T tensor b: real[W = 1 + (7 - $T)]",
            &[("b", &[3])],
            &[]
        )
        .unwrap()["T"],
        5
    );
    let two = "dims T, U tensor b: real[W = $T * $U] tensor c: real[U]";
    assert_eq!(
        bind(two, &[("b", &[15]), ("c", &[3])], &[]).unwrap()["T"],
        5
    );
    let scaled = "dims T scalar r: int = 2 tensor b: real[W = $T * $r]";
    assert_eq!(bind(scaled, &[("b", &[6])], &[]).unwrap()["T"], 3);
    assert_eq!(bind(scaled, &[("b", &[6])], &[("r", 3.0)]).unwrap()["T"], 2);
    let equation = "dims T, U tensor b: real[T] require $U == 2 * $T";
    assert_eq!(bind(equation, &[("b", &[6])], &[]).unwrap()["U"], 12);
}

#[test]
fn a_size_without_a_source_is_named() {
    fails(
        "dims T tensor b: real[W = $T / 2]",
        &[("b", &[4])],
        &[],
        "the size `T` does not follow from the shapes that are given",
    );
    fails(
        "dims T tensor b: real[T] = 0",
        &[],
        &[],
        "the size `T` does not follow from the shapes that are given",
    );
    fails(
        "dims T tensor b: real[W = 2 * $T]",
        &[("b", &[5])],
        &[],
        "the size `T` does not follow from the shapes that are given",
    );
}

#[test]
fn wrong_shapes_name_tensor_axis_expected_and_found() {
    let q: (&str, &[usize]) = ("q", &[5, 4]);
    fails(
        ATTENTION,
        &[q, ("k", &[6, 2])],
        &[],
        "tensor `k`, axis 0 (T): expected size 5, found 6",
    );
    fails(
        ATTENTION,
        &[q, ("k", &[5, 2, 1])],
        &[],
        "tensor `k`: expected 2 axes [T, G], found 3",
    );
    fails(
        ATTENTION,
        &[q, ("k", &[5, 2]), ("bias", &[4, 8])],
        &[],
        "tensor `bias`, axis 1 (W): expected size 9 (2 * $T - 1), found 8",
    );
    fails(
        ATTENTION,
        &[q],
        &[],
        "tensor `k` is missing: expected shape [$T, $G]",
    );
    fails(
        ATTENTION,
        &[q, ("k", &[5, 2]), ("v", &[5])],
        &[],
        "there is no tensor `v`; the program takes `q`, `k`, `bias`",
    );
    fails(
        ATTENTION,
        &[q, ("k", &[5, 2])],
        &[("scale", 1.0)],
        "there is no scalar `scale`; the program takes `window`",
    );
    fails(
        "dims T tensor b: real[W = $T + 4]",
        &[("b", &[3])],
        &[],
        "tensor `b`, axis 0 (W): expected size $T + 4 with T of 0 or more, found 3",
    );
}

#[test]
fn constraints_are_checked() {
    fails(
        ATTENTION,
        &[("q", &[5, 4]), ("k", &[5, 3])],
        &[],
        "the sizes must satisfy `$H == $H / $G * $G`: found 4 and 3",
    );
    fails(
        ATTENTION,
        &[("q", &[5, 2]), ("k", &[5, 4])],
        &[],
        "the sizes must satisfy `$G <= $H`: found 4 and 2",
    );
    fails(
        ATTENTION,
        &[("q", &[5, 0]), ("k", &[5, 0])],
        &[],
        "the sizes must satisfy `$H == $H / $G * $G`: found 0 and no value",
    );
}

#[test]
fn integer_scalars_are_integers_in_their_range() {
    let shapes: &[(&str, &[usize])] = &[("q", &[5, 4]), ("k", &[5, 2])];
    fails(
        ATTENTION,
        shapes,
        &[("window", 2.5)],
        "scalar `window`: expected an integer, found 2.5",
    );
    fails(
        ATTENTION,
        shapes,
        &[("window", 0.0)],
        "scalar `window`: expected a value in [1, inf], found 0",
    );
    fails(
        ATTENTION,
        shapes,
        &[("window", f64::NAN)],
        "scalar `window`: expected an integer, found NaN",
    );
}

#[test]
fn scalars_default_over_sizes_and_earlier_scalars() {
    let program = program(
        "dims D scalar scale: real = rsqrt(#$D) scalar twice: real in [0, 10] = 2 * scale scalar must: real",
    );
    let sizes = [("D".into(), 16)].into();
    let values = scalar_values(&program, &sizes, &scalars(&[("must", 7.0)])).unwrap();
    assert_eq!(
        values,
        scalars(&[("scale", 0.25), ("twice", 0.5), ("must", 7.0)])
    );
    let values =
        scalar_values(&program, &sizes, &scalars(&[("must", 7.0), ("scale", 3.0)])).unwrap();
    assert_eq!(values["twice"], 6.0);
    let error = |given: &[(&str, f64)]| {
        scalar_values(&program, &sizes, &scalars(given))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(error(&[]), "scalar `must` is missing and has no default");
    assert_eq!(
        error(&[("must", 1.0), ("scale", 9.0)]),
        "scalar `twice`: expected a value in [0, 10], found 18"
    );
}
