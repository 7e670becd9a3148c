//! Every shipped mixer, every form that has kernels, on random and adversarial inputs
//! and awkward sizes, against the f64 interpreter.

mod agreement;

use agreement::{assert_none, check, options};
use mixc::{Mixer, Target, catalogue};
use mixc_ir::DType;
use rayon::prelude::*;

fn assert_all(dtypes: &[DType], draws: usize) {
    let names: Vec<&str> = catalogue().map(|e| e.name).collect();
    let failures = |name: &&str| {
        let mixer = Mixer::load(name).unwrap();
        let found = check(&mixer, &options(Target::Cpu, dtypes, draws));
        println!(
            "{name}: {} cases, {} undefined, not checked: {:?}",
            found.cases, found.undefined, found.skipped
        );
        found.failures
    };
    let failures: Vec<String> = names.par_iter().flat_map_iter(failures).collect();
    assert_none(&failures);
}

#[test]
fn every_form_agrees_with_the_interpreter_in_f32() {
    assert_all(&[DType::F32], 6);
}

#[test]
fn every_form_is_as_good_as_naive_arithmetic_in_bf16_and_f16() {
    assert_all(&[DType::Bf16, DType::F16], 2);
}
