//! What the simulator finds in a kernel reaches the user with its place.

use mixc::{Choices, Mixer, Target, example_executable, example_job, gpu};
use mixc_ir::DType;
use std::collections::BTreeMap;

/// What the simulator finds in a form of causal attention when its PTX is changed by `edit`.
fn mistakes(edit: impl Fn(&str) -> String) -> Option<String> {
    let mixer = Mixer::load("attention_causal").unwrap();
    let target: Target = "sm_80".parse().unwrap();
    let sizes = [("I", 100), ("J", 100), ("D", 32), ("E", 32)];
    let ones = ["B", "H", "G"].map(|n| (n, 1));
    let all = sizes.into_iter().chain(ones);
    let sizes: BTreeMap<String, i64> = all.map(|(n, v)| (n.to_owned(), v)).collect();
    let (none, choices) = (BTreeMap::new(), Choices::default());
    let form = Some("online");
    let found = example_executable(&mixer, &sizes, &none, &target, DType::F32, form, &choices);
    let executable = found.unwrap_or_else(|e| panic!("{e}"));
    let mut kernels = executable.gpu_kernels().to_vec();
    for kernel in &mut kernels {
        kernel.ptx = edit(&kernel.ptx).into();
    }
    let job = example_job(&mixer, &sizes, &none, DType::F32).unwrap();
    let (plan, contents) = gpu::plan(executable.schedule().unwrap(), &kernels, &job).unwrap();
    gpu::simulate(&plan, &contents).unwrap().mistakes()
}

#[test]
fn nothing_is_found_in_a_correct_kernel() {
    assert_eq!(mistakes(str::to_owned), None);
}

#[test]
fn a_missing_barrier_is_a_race_with_its_line_and_threads() {
    let error = mistakes(|ptx| ptx.replace("bar.sync", "// bar.sync")).unwrap();
    for part in [
        "kernel attention_causal_0",
        "race",
        "line",
        "thread",
        "against thread",
    ] {
        assert!(error.contains(part), "no '{part}' in {error}");
    }
}

#[test]
fn a_store_out_of_bounds_names_the_address_and_the_tensor() {
    // Every store goes 1 MiB too far.
    let far = |line: &str| match (line.contains("st.global"), line.find(']')) {
        (true, Some(at)) if line[..at].contains('+') => {
            format!("{}+1048576{}", &line[..at], &line[at..])
        }
        (true, Some(at)) => format!("{}+1048576{}", &line[..at], &line[at..]),
        _ => line.to_owned(),
    };
    let error = mistakes(|ptx| ptx.lines().map(|l| far(l) + "\n").collect()).unwrap();
    for part in ["out-of-bounds", "address 0x", "buffer `o`"] {
        assert!(error.contains(part), "no '{part}' in {error}");
    }
}
