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
    let (plan, contents) = gpu::plan(executable.schedule().unwrap(), &kernels, &job, 1).unwrap();
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

/// What the kernels of a form of grouped attention do for one query to many keys: sectors of global memory, in bytes,
/// and flop of matrix instructions.
fn decode_counts(target: &str, form: &str, pack: i64) -> (u64, u64) {
    let mixer = Mixer::load("attention_causal").unwrap();
    let sizes = [
        ("B", 1),
        ("H", 8),
        ("G", 2),
        ("I", 1),
        ("J", 2000),
        ("D", 64),
        ("E", 64),
    ];
    let sizes: BTreeMap<String, i64> = sizes.map(|(n, v)| (n.to_owned(), v)).into();
    let choices = Choices::knobs([("pack".to_owned(), pack)].into());
    let (none, target) = (BTreeMap::new(), target.parse().unwrap());
    let found = example_executable(
        &mixer,
        &sizes,
        &none,
        &target,
        DType::Bf16,
        Some(form),
        &choices,
    );
    let executable = found.unwrap_or_else(|e| panic!("{e}"));
    let job = example_job(&mixer, &sizes, &none, DType::Bf16).unwrap();
    let (schedule, kernels) = (executable.schedule().unwrap(), executable.gpu_kernels());
    let (plan, contents) = gpu::plan(schedule, kernels, &job, 1).unwrap();
    let simulated = gpu::simulate(&plan, &contents).unwrap();
    assert_eq!(simulated.mistakes(), None);
    let sum =
        |f: &dyn Fn(&mixc_sim::Counts) -> u64| simulated.counts.iter().map(|(_, c)| f(c)).sum();
    (
        sum(&|c| 32 * c.tally.global_sectors),
        sum(&|c| c.matrix_flops()),
    )
}

#[test]
fn packed_heads_read_keys_and_values_once_and_share_matrix_instructions() {
    let keys_and_values = 2 * 2 * 2000 * 64 * 2;
    for target in ["sm_80", "sm_90a"] {
        // The parts' results are written and read again.
        for (form, most) in [("online", 105), ("split-key", 115)] {
            let (bytes, flops) = decode_counts(target, form, 16);
            assert!(
                (keys_and_values..keys_and_values * most / 100).contains(&bytes),
                "{target}, {form}: {bytes} bytes, {keys_and_values} of them keys and values"
            );
            // Two products of 16 rows for each of two groups, over whole blocks of keys.
            let blocks = 2000_u64.div_ceil(64) * 64;
            assert_eq!(flops, 2 * 2 * 2 * 16 * blocks * 64, "{target}, {form}");
            let (apart, _) = decode_counts(target, form, 0);
            assert!(apart > 4 * keys_and_values, "{target}, {form}: {apart}");
        }
    }
}
