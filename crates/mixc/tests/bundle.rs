//! Cases for other machines, judged as a runner judges them, on kernels that the simulator executes.

use mixc::gpu::bundle::{BundleOptions, Forms, add_cases};
use mixc::{Choices, Mixer, gpu};
use mixc_ir::DType;
use mixc_launch::{Bundle, Case, Role};
use mixc_tensor::Tensor;
use std::collections::BTreeMap;

fn options(shapes: &[&[(&str, i64)]], dtypes: &[DType]) -> BundleOptions {
    let sizes = |s: &&[(&str, i64)]| s.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect();
    BundleOptions {
        targets: vec!["sm_80".parse().unwrap()],
        dtypes: dtypes.to_vec(),
        shapes: shapes.iter().map(sizes).collect(),
        draws: None,
        forms: Forms::Best,
        sets: BTreeMap::new(),
        choices: Choices::default(),
        seed: 7,
    }
}

fn made(mixer: &str, options: &BundleOptions) -> Bundle {
    let mut bundle = Bundle::default();
    let mixer = Mixer::load(mixer).unwrap();
    let notes = add_cases(&mut bundle, &mixer, options, &mut |_| {});
    notes.unwrap_or_else(|e| panic!("{e}"));
    bundle
}

/// What the kernels of a case write, from the inputs that a runner would make.
fn outputs(case: &Case) -> BTreeMap<usize, Vec<u8>> {
    let input = |(n, bytes): (usize, Vec<u8>)| {
        let spec = &case.plan.buffers[n];
        let shape: Vec<usize> = spec.shape.iter().map(|n| *n as usize).collect();
        (n, Tensor::from_bytes(spec.dtype, &shape, &bytes).unwrap())
    };
    let contents = case.input_bytes().into_iter().map(input).collect();
    let simulated = gpu::simulate(&case.plan, &contents).unwrap();
    assert_eq!(simulated.mistakes(), None);
    simulated.buffers
}

#[test]
fn small_cases_come_back_from_a_file_and_hold() {
    let shape: &[(&str, i64)] = &[("B", 1), ("H", 2), ("T", 37), ("K", 16), ("V", 16)];
    let bundle = made("retention", &options(&[shape], &[DType::F32, DType::Bf16]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.mixb");
    bundle.write(&path).unwrap();
    let read = Bundle::read(&path).unwrap();
    assert_eq!(read, bundle);
    assert_eq!(read.cases.len(), 2);
    for case in &read.cases {
        let mut buffers = outputs(case);
        let checks = case.check(&buffers);
        assert!(
            !checks.is_empty() && checks.iter().all(|c| c.ok),
            "{checks:?}"
        );
        assert!(case.counts.flops > 0 && case.counts.bytes > 0);
        // Seven elements that were never written are found.
        let out = case.plan.buffers.iter().position(|b| b.role == Role::Out);
        let memory = buffers.get_mut(&out.unwrap()).unwrap();
        let size = 7 * case.plan.buffers[out.unwrap()].dtype.size_bytes();
        memory[..size].fill(0);
        assert!(case.check(&buffers).iter().any(|c| !c.ok));
    }
}

#[test]
fn a_large_case_is_verified_by_its_own_kernels_on_a_small_problem() {
    let large = |t| {
        [
            ("B", 4),
            ("H", 8),
            ("G", 2),
            ("I", t),
            ("J", t),
            ("D", 16),
            ("E", 16),
        ]
    };
    let (first, second) = (large(8192), large(16384));
    let bundle = made(
        "attention_causal",
        &options(&[&first, &second], &[DType::Bf16]),
    );
    let [small, long, longer] = &bundle.cases[..] else {
        panic!("{} cases", bundle.cases.len());
    };
    assert_eq!((long.verified_by, longer.verified_by), (Some(0), Some(0)));
    assert!(long.expected.is_empty() && !small.expected.is_empty());
    // Whatever is verified is what is timed.
    assert_eq!(small.plan.modules, long.plan.modules);
    let launched = |case: &Case| -> Vec<(String, [u32; 3], u32)> {
        let launches = case.plan.launches.iter();
        launches
            .map(|l| (l.entry.clone(), l.block, l.shared_bytes))
            .collect()
    };
    assert_eq!(launched(small), launched(long));
    let size = |case: &Case, name: &str| case.label.shape[name];
    assert_eq!((size(long, "I"), size(small, "D")), (8192, 16));
    assert!(size(small, "I") < 256 && size(small, "I") % 64 != 0);
    assert!(size(small, "H") > size(small, "G"));
    assert!(longer.counts.flops > 3 * long.counts.flops);
    assert!(
        bundle
            .cases
            .iter()
            .enumerate()
            .all(|(at, c)| c.validate(at).is_ok())
    );
}

#[test]
fn the_small_case_of_a_large_one_holds() {
    let large: &[(&str, i64)] = &[("B", 1), ("D", 512), ("T", 100_000), ("W", 4)];
    let bundle = made("causal_conv1d", &options(&[large], &[DType::F32]));
    assert_eq!(bundle.cases.len(), 2);
    let checks = bundle.cases[0].check(&outputs(&bundle.cases[0]));
    assert!(
        !checks.is_empty() && checks.iter().all(|c| c.ok),
        "{checks:?}"
    );
}

#[test]
fn sizes_that_are_missing_or_unknown_are_named() {
    let mixer = Mixer::load("retention").unwrap();
    let message = |shape: &[(&str, i64)], dtype| {
        let options = options(&[shape], &[dtype]);
        let added = add_cases(&mut Bundle::default(), &mixer, &options, &mut |_| {});
        let error = added.unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    };
    let some: &[(&str, i64)] = &[("B", 1), ("H", 1), ("K", 8), ("V", 8)];
    assert!(message(some, DType::F32).contains("the size T of retention is missing"));
    let more = [some, &[("T", 5), ("X", 3)]].concat();
    assert!(message(&more, DType::F32).contains("no size 'X'"));
    assert!(message(some, DType::F64).contains("f64 cannot be bundled"));
}
