//! Every shipped mixer, every form that has kernels, on random and adversarial inputs and awkward
//! sizes, against the f64 interpreter.

use mixc::{Choices, Direction, Mixer, Target, VerifyOptions, catalogue, verify};
use mixc_ir::DType;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn options(dtypes: &[DType], draws: usize) -> VerifyOptions {
    VerifyOptions {
        target: Target::Cpu,
        sizes: BTreeMap::new(),
        form: None,
        dtypes: dtypes.to_vec(),
        sets: BTreeMap::new(),
        seed: 1,
        draws,
        direction: Direction::Forward,
        choices: Choices::default(),
    }
}

/// The first failure of each form.
fn failures(name: &str, options: &VerifyOptions) -> Vec<String> {
    let mixer = Mixer::load(name).unwrap();
    let report = match verify(&mixer, options, &mut |_, _| {}) {
        Ok(report) => report,
        Err(e) => return vec![format!("{name}: {e}")],
    };
    println!(
        "{name}: {} cases, {} undefined, not checked: {:?}",
        report.cases.len(),
        report.undefined,
        report.skipped
    );
    let mut seen = BTreeSet::new();
    let failed = report
        .cases
        .iter()
        .filter(|c| !c.ok && seen.insert(c.form.clone()));
    failed
        .map(|c| {
            let error = c.error.as_deref().unwrap_or_default();
            format!(
                "{name}, {} {} {:?} {} {:?}: {error}",
                c.form, c.dtype, c.shape, c.inputs, c.params
            )
        })
        .collect()
}

fn assert_all(dtypes: &[DType], draws: usize) {
    let names: Vec<&str> = catalogue().map(|e| e.name).collect();
    let failures: Vec<String> = names
        .par_iter()
        .flat_map_iter(|name| failures(name, &options(dtypes, draws)))
        .collect();
    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn every_form_agrees_with_the_interpreter_in_f32() {
    assert_all(&[DType::F32], 6);
}

#[test]
fn every_form_is_as_good_as_naive_arithmetic_in_bf16_and_f16() {
    assert_all(&[DType::Bf16, DType::F16], 2);
}
