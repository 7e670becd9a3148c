//! Every shipped mixer, and definitions that are not shipped, as PTX: every form that has kernels, on random and
//! adversarial inputs and awkward sizes, in the simulator with all its checks, against the f64 interpreter.

mod agreement;

use agreement::{Checked, assert_none, check, options};
use mixc::{Choices, GpuTarget, Mixer, Target, VerifyOptions, catalogue, knobs_of};
use mixc_ir::DType;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

const TYPES: [DType; 3] = [DType::F32, DType::Bf16, DType::F16];

/// The shipped mixers, then those of `tests/definitions`, each with its place in the order of names.
fn mixers() -> Vec<Mixer> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/definitions");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path());
    let files: BTreeSet<String> = files.map(|p| p.to_str().unwrap().to_owned()).collect();
    assert!(files.len() >= 10, "the definitions were not found");
    let shipped = catalogue().map(|e| e.name.to_owned());
    let mut names: Vec<String> = shipped.chain(files).collect();
    names.dedup();
    names
        .iter()
        .map(|name| Mixer::load(name).unwrap_or_else(|e| panic!("{e}")))
        .collect()
}

fn run(mixer: &Mixer, options: &VerifyOptions) -> Checked {
    let start = Instant::now();
    let found = check(mixer, options);
    println!(
        "{} on {} in {}: {} cases, {} undefined, {:.1?}, not checked: {:?}",
        mixer.program.name,
        options.target,
        options.dtypes[0],
        found.cases,
        found.undefined,
        start.elapsed(),
        found.skipped
    );
    found
}

#[test]
fn every_form_of_every_mixer_agrees_somewhere() {
    let mixers = mixers();
    let n: Option<usize> = std::env::var("DRAWS").ok().and_then(|t| t.parse().ok());
    let all = mixers.par_iter().enumerate().map(|(n_, mixer)| {
        let target = GpuTarget::ALL[n_ % 4];
        let dtype = TYPES[n_ / 4 % 3];
        run(
            mixer,
            &options(Target::Gpu(target), &[dtype], n.unwrap_or(1)),
        )
    });
    let all: Vec<Checked> = all.collect();
    let failures: Vec<String> = all.into_iter().flat_map(|c| c.failures).collect();
    assert_none(&failures);
}
