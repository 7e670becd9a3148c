//! The script that measures other people's kernels speaks of problems and results as this crate does. What needs
//! torch is not tested here.

mod common;

use common::{RIGHT, case, file};
use mixc_launch::{Results, Timing};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/peers")
}

/// Runs Python in the script's folder, in which it finds no installed package.
fn python(args: &[&str]) -> Option<Output> {
    let output = Command::new("python3")
        .current_dir(peers())
        .arg("-IS")
        .args(args)
        .output();
    if output.is_err() {
        eprintln!("skipped: there is no python3");
    }
    output.ok()
}

const START: &str = "import sys; sys.path.insert(0, '.'); sys.dont_write_bytecode = True\n";

fn script(args: &[&str]) -> Option<Output> {
    let program = format!("{START}import torch_gpu; sys.exit(torch_gpu.main())");
    python(&[&["-c", &program], args].concat())
}

#[test]
fn without_torch_every_peer_is_listed_as_missing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("peers.json");
    let Some(output) = script(&["--out", out.to_str().unwrap()]) else {
        return;
    };
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let results = Results::read(&out).unwrap();
    assert!(results.rows.is_empty());
    for name in ["torch", "flash_attn", "fla", "mamba_ssm"] {
        let missing = results.missing.iter().find(|m| m.name == name).unwrap();
        assert!(
            missing.reason.contains("torch cannot be imported"),
            "{missing:?}"
        );
    }
}

#[test]
fn problems_of_a_bundle_are_its_cases() {
    let mut square = case("attention_causal", RIGHT, None);
    square.label.dtype = "bf16".into();
    let (_folder, path) = file(vec![square.clone(), square]);
    let Some(output) = script(&["--bundle", path.to_str().unwrap(), "--list"]) else {
        return;
    };
    // Two forms of one problem are one problem to a peer.
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(listed, "attention_causal forward bf16 N=4\n", "{output:?}");
}

#[test]
fn statistics_and_rows_are_the_same_on_both_sides() {
    let program = format!(
        "{START}
from gpu import problems, results
p = problems.attention('attention_causal', 1, 2, 1, 100, 64)
t = results.timing([5.0, 1.0, 4.0, 1.5, 9.25, 2.0, 2.0], 3)
row = results.row(p, 'a form', 'sm_90', 'ok', rel_err=float('inf'), **t, **results.rates(p, t['median_us']))
results.write(sys.argv[1], {{'name': 'a card', 'cc': '9.0', 'memory_bytes': 1}}, [row], [])"
    );
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("rows.json");
    let Some(output) = python(&["-c", &program, out.to_str().unwrap()]) else {
        return;
    };
    assert!(output.status.success(), "{output:?}");
    let row = Results::read(&out).unwrap().rows.remove(0);
    let wanted = Timing::of(&[5.0, 1.0, 4.0, 1.5, 9.25, 2.0, 2.0], 3).unwrap();
    let found = row.timing.unwrap();
    for (a, b) in [
        (found.median_us, wanted.median_us),
        (found.p10_us, wanted.p10_us),
        (found.p90_us, wanted.p90_us),
        (found.mad_us, wanted.mad_us),
    ] {
        assert!((a - b).abs() < 1e-12, "{found:?} {wanted:?}");
    }
    assert_eq!((found.samples, found.runs_per_sample), (7, 3));
    assert_eq!((row.rel_err, row.label.shape["J"]), (None, 100));
    // 100 * 101 / 2 pairs, two products of 64, 2 heads, in 2 us.
    let tflops = 2.0 * 2.0 * 5050.0 * 128.0 / 2e-6 / 1e12;
    assert!((row.tflops.unwrap() - tflops).abs() < 1e-9);
}
