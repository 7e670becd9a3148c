//! Statements: scans step by step, defaults, outputs.

use mixc_interp::{Array, EvalError, Inputs, eval};
use mixc_ir::{Name, parse_program, verify};
use mixc_text::Source;
use std::collections::BTreeMap;

fn try_run(
    text: &str,
    tensors: &[(&str, &[usize], &[f64])],
) -> Result<BTreeMap<Name, Array>, EvalError> {
    let source = Source::new("test", format!("program test {{ {text} }}"));
    let program =
        parse_program(&source).unwrap_or_else(|errors| panic!("{}", source.render(&errors)));
    verify(&program).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let array = |(name, shape, data): &(&str, &[usize], &[f64])| {
        (Name::from(*name), Array::new(shape.to_vec(), data.to_vec()))
    };
    eval(
        &program,
        &Inputs {
            tensors: tensors.iter().map(array).collect(),
            ..Inputs::default()
        },
    )
}

#[track_caller]
fn run(text: &str, tensors: &[(&str, &[usize], &[f64])]) -> BTreeMap<Name, Array> {
    try_run(text, tensors).unwrap_or_else(|error| panic!("{error}"))
}

const FIBONACCI: &str = "dims T tensor x: real[T] axes t = $T
    scan t {
        carry A[] = 0 next A' last a
        carry B[] = 1 next B' last b
        let A'[] = B[]
        let B'[] = A[] + B[] + x[t]
        let seen[t] = A'[]
    }
    output seen[t] as [T] output a[] as [] output b[] as []";

#[test]
fn states_step_together() {
    let out = run(FIBONACCI, &[("x", &[6], &[0.0; 6])]);
    assert_eq!(out["seen"].data, [1.0, 1.0, 2.0, 3.0, 5.0, 8.0]);
    assert_eq!((out["a"].data[0], out["b"].data[0]), (8.0, 13.0));
}

#[test]
fn no_step_leaves_the_initial_state() {
    let out = run(FIBONACCI, &[("x", &[0], &[])]);
    assert_eq!(out["seen"], Array::new(vec![0], vec![]));
    assert_eq!((out["a"].data[0], out["b"].data[0]), (0.0, 1.0));
}

#[test]
fn a_reverse_scan_starts_at_the_end() {
    let text = "dims T tensor x: real[T] axes t = $T
        scan t reverse {
            carry S[] = 100 next S' last first
            let S'[] = 2 * S[] + x[t]
            let before[t] = S[]
        }
        output before[t] as [T] output first[] as []";
    let out = run(text, &[("x", &[3], &[1.0, 2.0, 3.0])]);
    assert_eq!(out["before"].data, [408.0, 203.0, 100.0]);
    assert_eq!(out["first"].data, [817.0]);
}

#[test]
fn a_collected_let_reads_its_earlier_steps_and_0_for_later_ones() {
    let text = "dims T axes t = $T, d = 2 tensor x: real[T]
        scan t {
            let half[d] = y[t - 1, 1 - d] / 2
            let y[t, d] = half[d] + x[t] + #d + y[t + 1, d]
        }
        output y[d, t] as [D, T]";
    let out = run(text, &[("x", &[3], &[8.0, 0.0, 0.0])]);
    // Rows over d: (8, 9), then the other half of each, plus d.
    assert_eq!(
        out["y"],
        Array::new(vec![2, 3], vec![8.0, 4.5, 2.5, 9.0, 5.0, 3.25])
    );
}

#[test]
fn operators_inside_a_scan_see_the_step() {
    // A cumulative sum and a softmax over the scanned axis itself run over all of it.
    let text = "dims T axes t = $T, j = $T tensor x: real[T]
        scan t {
            carry S[] = 0 next S' last z
            let S'[] = S[] + cumsum[t](sum[j]((#j == #t) * x[j]))
            let m[t] = max[j](x[j] if #j <= #t) + softmax[t](0) * S'[]
            let older[t] = sum[j](m[j] * (#j < #t))
        }
        output m[t] as [T] output older[t] as [T]";
    let out = run(text, &[("x", &[4], &[1.0, 3.0, 2.0, 4.0])]);
    // cumsum: 1 4 6 10, its running sum: 1 5 11 21.
    assert_eq!(out["m"].data, [1.25, 4.25, 5.75, 9.25]);
    assert_eq!(out["older"].data, [0.0, 1.25, 5.5, 11.25]);
}

#[test]
fn missing_tensors_have_their_default() {
    let text = "dims T tensor x: real[T] tensor w: real[T, A = 2] = 3 axes t = $T, a = 2
        let y[t, a] = x[t] * w[t, a]
        output y[t, a] as [T, A]";
    let out = run(text, &[("x", &[2], &[1.0, 2.0])]);
    assert_eq!(out["y"], Array::new(vec![2, 2], vec![3.0, 3.0, 6.0, 6.0]));
    let given = run(
        text,
        &[
            ("x", &[2], &[1.0, 2.0]),
            ("w", &[2, 2], &[1.0, 0.0, 0.0, 1.0]),
        ],
    );
    assert_eq!(given["y"].data, [1.0, 0.0, 0.0, 2.0]);
}

#[test]
fn an_output_may_be_called_like_the_input_it_starts_from() {
    let text = "dims T tensor x: real[T] tensor state: real[] = 0 axes t = $T
        scan t { carry S[] = state[] next S' last state let S'[] = S[] + x[t] }
        output state[] as []";
    let out = run(text, &[("x", &[2], &[1.0, 2.0]), ("state", &[], &[10.0])]);
    assert_eq!(out["state"].data, [13.0]);
}

#[test]
fn data_must_fill_its_shape() {
    let text = "dims T tensor x: real[T] axes t = $T let y[t] = x[t] output y[t] as [T]";
    let error = try_run(text, &[("x", &[3], &[1.0])]).unwrap_err();
    assert_eq!(
        error,
        EvalError::Length {
            tensor: "x".into(),
            expected: 3,
            found: 1
        }
    );
}

#[test]
fn an_axis_cannot_have_a_negative_size() {
    let text = "dims T tensor x: real[T] axes n = $T - 3 let y[n] = x[n] output y[n] as [N]";
    let error = try_run(text, &[("x", &[2], &[1.0, 2.0])]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "axis `n` has size `$T - 3`, which has no value of 0 or more with these sizes"
    );
}
