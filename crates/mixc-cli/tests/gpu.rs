//! GPU targets as a machine without a GPU sees them. They need the worker `mixc-mlir`: `cargo build -p mixc-mlir`.

use serde_json::Value;
use std::process::{Command, Output};

fn mixc(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mixc"));
    // Hides the cards, if there are any.
    command.args(args).env("CUDA_VISIBLE_DEVICES", "");
    command.output().unwrap()
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// What the command printed; the command must end with `code`.
fn printed(code: i32, args: &[&str]) -> (String, String) {
    let output = mixc(args);
    let (stdout, stderr) = text(&output);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{args:?}: {stdout}{stderr}"
    );
    (stdout, stderr)
}

fn json(args: &[&str]) -> Value {
    let (stdout, _) = printed(0, &[args, &["--format", "json"]].concat());
    serde_json::from_str(&stdout).unwrap()
}

const CONV: &str = "causal_conv1d";
const SHAPE: [&str; 2] = ["--draws", "1"];

#[test]
fn a_simulated_run_has_no_time_and_says_so() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/goldens/retention_regular.safetensors"
    );
    let run = [
        "run",
        "retention",
        "--inputs",
        file,
        "--compare",
        file,
        "--target",
        "sm_80",
        "--knob",
        "rows=32",
        "--warps",
        "2",
    ];
    let report = json(&run);
    assert_eq!(
        (&report["ok"], &report["simulated"]),
        (&true.into(), &true.into())
    );
    assert_eq!(report["time_ms"], Value::Null);
    assert!(
        report["notes"]
            .to_string()
            .contains("simulated, no GPU here")
    );
    assert_eq!(report["params"]["warps"], 2);
    assert_eq!(report["params"]["rows"], 32);
    let (stdout, _) = printed(0, &run);
    assert!(
        stdout.contains("simulated") && !stdout.contains(" ms"),
        "{stdout}"
    );
}

#[test]
fn verify_varies_warps_and_stages_but_not_what_is_fixed() {
    let verify = ["verify", CONV, "--target", "sm_90a", "--stages", "1"];
    let report = json(&[verify.as_slice(), SHAPE.as_slice()].concat());
    let cases = report["cases"].as_array().unwrap();
    assert_eq!(
        (&report["ok"], &report["simulated"]),
        (&true.into(), &true.into())
    );
    let seen = |name: &str| {
        let mut values: Vec<i64> = cases
            .iter()
            .map(|c| c["params"][name].as_i64().unwrap())
            .collect();
        values.sort_unstable();
        values.dedup();
        values
    };
    assert!(seen("warps").len() > 2, "{:?}", seen("warps"));
    assert_eq!(seen("stages"), [1]);
}

#[test]
fn what_cannot_be_decided_is_refused() {
    let cases: [(&[&str], &str); 5] = [
        (&["--target", "sm_80", "--warps", "3"], "only 1, 2, 4, 8"),
        (
            &["--target", "sm_80", "--knob", "row=8"],
            "did you mean 'rows'",
        ),
        (
            &["--target", "cpu", "--stages", "2"],
            "no form has the knob 'stages' on cpu",
        ),
        (
            &["--target", "cpu", "--precision", "tf32"],
            "for GPU targets",
        ),
        (&["--precision", "bf16"], "expected fma, tf32 or tf32x3"),
    ];
    for (options, expected) in cases {
        let (stdout, stderr) = printed(2, &[&["verify", CONV], options].concat());
        assert!(
            stdout.is_empty() && stderr.contains(expected),
            "{options:?}: {stderr}"
        );
    }
}

#[test]
fn without_a_gpu_there_is_no_measurement() {
    let (stdout, stderr) = printed(
        3,
        &[
            "bench",
            "retention",
            "--shape",
            "B=1,H=1,T=64,K=16,V=16",
            "--target",
            "sm_80",
        ],
    );
    assert!(stdout.is_empty() && stderr.contains("no GPU"), "{stderr}");
    assert!(stderr.contains("mixc explain --target sm_80"), "{stderr}");
}

#[test]
fn a_missing_worker_is_named_with_its_remedy() {
    let run = ["explain", CONV, "--target", "sm_80", "--emit", "ptx"];
    let output = Command::new(env!("CARGO_BIN_EXE_mixc"))
        .args(run)
        .env("MIXC_MLIR", "/nowhere/mixc-mlir")
        .output()
        .unwrap();
    let (stdout, stderr) = text(&output);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stdout.is_empty() && stderr.contains("cargo build -p mixc-mlir"),
        "{stderr}"
    );
}
