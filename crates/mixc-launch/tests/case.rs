//! Inputs and the judgement of outputs.

mod common;

use common::{add_case, bundle, generator};
use mixc_launch::{DType, Expected, Generator, Pattern, ValueKind, Values};
use std::collections::BTreeMap;

#[test]
fn generated_inputs_depend_on_seed_name_and_pattern_only() {
    let values = |g: &Generator| g.tensor(DType::F64, &[1000]).to_f64();
    let x = generator("x", Pattern::Normal);
    assert_eq!(values(&x), values(&x.clone()));
    assert_ne!(
        values(&x),
        values(&Generator {
            seed: 4,
            ..x.clone()
        })
    );
    assert_ne!(values(&x), values(&generator("y", Pattern::Normal)));
    let other_shape = x.tensor(DType::F64, &[10, 100]).to_f64();
    assert_eq!(values(&x), other_shape);
    // The same random numbers, rounded.
    let narrow = x.tensor(DType::Bf16, &[1000]).to_f64();
    assert!(
        values(&x)
            .iter()
            .zip(&narrow)
            .all(|(a, b)| (a - b).abs() <= a.abs() / 256.0)
    );
}

#[test]
fn bounds_hold_and_edges_reach_them() {
    let bounded = |pattern, min, max| {
        let g = Generator {
            min,
            max,
            ..generator("g", pattern)
        };
        g.tensor(DType::F64, &[2000]).to_f64()
    };
    let uniform = bounded(Pattern::Normal, Some(-1.0), Some(3.0));
    assert!(uniform.iter().all(|x| (-1.0..=3.0).contains(x)));
    let mean = uniform.iter().sum::<f64>() / 2000.0;
    assert!((mean - 1.0).abs() < 0.12, "{mean}");
    let edges = bounded(Pattern::Edges, Some(0.0), Some(1.0));
    assert!(edges.contains(&0.0) && edges.contains(&1.0));
    let decay = bounded(Pattern::Edges, None, Some(0.0));
    assert!(decay.contains(&f64::NEG_INFINITY) && decay.iter().all(|&x| x <= 0.0));
}

#[test]
fn integers_and_booleans_take_their_values_only() {
    let lengths = Generator {
        kind: ValueKind::Int,
        int_limit: 9,
        ..generator("n", Pattern::Normal)
    };
    let lengths = lengths.tensor(DType::I32, &[500]).to_f64();
    assert!(lengths.iter().all(|x| (0.0..=9.0).contains(x)) && lengths.contains(&9.0));
    let flags = Generator {
        kind: ValueKind::Bool,
        ..generator("b", Pattern::Normal)
    };
    assert!(
        flags
            .tensor(DType::Bool, &[50])
            .to_f64()
            .iter()
            .all(|&x| x == 0.0 || x == 1.0)
    );
}

#[test]
fn input_bytes_fill_strided_buffers() {
    let case = add_case(4, vec![], None);
    let bytes = case.input_bytes();
    assert_eq!(bytes[&0].len(), 8);
    // Stride 2: elements at bytes 0, 8, 16 and 24.
    assert_eq!(bytes[&1].len(), 28);
    assert_eq!(&bytes[&1][..12], &[0, 1, 2, 3, 0, 0, 0, 0, 4, 5, 6, 7]);
    assert_eq!(bytes, case.input_bytes());
}

fn output(values: &[f32]) -> BTreeMap<usize, Vec<u8>> {
    [(2, values.iter().flat_map(|v| v.to_le_bytes()).collect())].into()
}

#[test]
fn outputs_are_judged_by_both_tolerances() {
    let case = |rel_tol, abs_tol| {
        let values = Values::F64(vec![3.0, 4.0, 0.0, 0.0]);
        add_case(
            4,
            vec![Expected {
                buffer: 2,
                values,
                positions: None,
                rel_tol,
                abs_tol,
            }],
            None,
        )
    };
    let out = output(&[3.0, 4.0, 0.0, 0.5]);
    let check = &case(0.11, None).check(&out)[0];
    assert_eq!(
        (check.rel_err, check.max_abs_err, check.worst, check.ok),
        (0.1, 0.5, Some(3), true)
    );
    assert!(!case(0.09, None).check(&out)[0].ok);
    assert!(!case(0.11, Some(0.4)).check(&out)[0].ok);
    assert!(case(0.11, Some(0.5)).check(&out)[0].ok);
    let nan = case(1e9, None).check(&output(&[3.0, 4.0, 0.0, f32::NAN]));
    assert!(!nan[0].ok && nan[0].rel_err.is_infinite());
}

#[test]
fn missing_and_short_outputs_are_wrong() {
    let case = &bundle().cases[0];
    assert!(!case.check(&BTreeMap::new())[0].ok);
    assert!(!case.check(&output(&[1.0]))[0].ok);
}

#[test]
fn sampled_outputs_are_compared_at_their_positions() {
    let case = &bundle().cases[1];
    let mut values = vec![f32::NAN; 100];
    (values[99], values[3]) = (0.1, 7.0);
    assert!(case.check(&output(&values))[0].ok);
    values[3] = 8.0;
    let check = &case.check(&output(&values))[0];
    assert_eq!((check.ok, check.worst), (false, Some(3)));
}
