//! `mixc bundle`. It needs the worker `mixc-mlir`: `cargo build -p mixc-mlir`.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn bundle(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mixc"));
    command.arg("bundle").args(args);
    command
}

fn printed(code: i32, command: &mut Command) -> (String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&stdout), text(&stderr));
    assert_eq!(status.code(), Some(code), "{stdout}{stderr}");
    (stdout, stderr)
}

const CONV: [&str; 5] = [
    "causal_conv1d",
    "--target",
    "sm_80",
    "--shape",
    "B=1,D=32,T=70,W=4",
];

#[test]
fn a_bundle_grows_and_says_how_to_run_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.mixb");
    let path = path.to_str().unwrap();
    let write = [&CONV[..], &["-o", path]].concat();
    let (stdout, _) = printed(0, &mut bundle(&write));
    let command = format!("mixc-runner {path} --out results.json");
    assert!(
        stdout.contains(&command) && stdout.contains("1 cases"),
        "{stdout}"
    );
    let more = ["--append", "--dtype", "f32", "--format", "json"];
    let (stdout, _) = printed(0, &mut bundle(&[&write[..], &more].concat()));
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let cases = report["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 2);
    assert!(cases.iter().all(|c| c["expected"] == true));
    assert_eq!(report["bytes"], std::fs::metadata(path).unwrap().len());
    let label = cases[1]["label"].as_str().unwrap();
    assert!(label.contains("/sm_80/f32/B=1,D=32,T=70,W=4/"), "{label}");
}

#[test]
fn drawn_sizes_keep_what_is_given_and_bring_their_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.mixb");
    let drawn = ["causal_conv1d", "--target", "sm_80", "--shape", "D=5,W=4"];
    let more = [
        "--draws",
        "2",
        "--format",
        "json",
        "-o",
        path.to_str().unwrap(),
    ];
    let (stdout, _) = printed(0, &mut bundle(&[&drawn[..], &more].concat()));
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let cases = report["cases"].as_array().unwrap();
    assert!(cases.len() >= 3, "{stdout}");
    for case in cases {
        assert_eq!(case["expected"], true);
        let label = case["label"].as_str().unwrap();
        assert!(label.contains("D=5") && label.contains("W=4"), "{label}");
    }
}

#[test]
fn without_the_compiler_there_is_no_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.mixb");
    let mut command = bundle(&[&CONV[..], &["-o", path.to_str().unwrap()]].concat());
    let (stdout, stderr) = printed(3, command.env("MIXC_MLIR", "/nowhere/mixc-mlir"));
    assert!(
        stdout.is_empty() && stderr.contains("mixc-mlir"),
        "{stderr}"
    );
    assert!(!path.exists());
}

#[test]
fn an_unknown_form_or_target_is_refused() {
    let form = [&CONV[..], &["--form", "nonsense", "-o", "/nowhere/x.mixb"]].concat();
    assert!(
        printed(2, &mut bundle(&form))
            .1
            .contains("no form 'nonsense'")
    );
    let cpu = [
        "causal_conv1d",
        "--target",
        "cpu",
        "--shape",
        "B=1",
        "-o",
        "x",
    ];
    assert!(printed(2, &mut bundle(&cpu)).1.contains("--target"));
    assert!(
        printed(2, &mut bundle(&["causal_conv1d"]))
            .1
            .contains("--shape")
    );
}

/// A run of two cases, one of them wrong. The numbers are made up.
const RESULTS: &str = r#"{
    "version": 1, "date": "2026-01-02T03:04:05Z",
    "device": {"name": "a made up card", "cc": "9.0", "memory_bytes": 1},
    "rows": [
        {"label": {"mixer": "m", "form": "f", "target": "sm_80", "dtype": "bf16", "shape": {"T": 64}},
         "ok": true, "status": "ok", "rel_err": 0.0012, "median_us": 12.345, "p10_us": 12.0, "p90_us": 13.0,
         "mad_us": 0.25, "samples": 50, "runs_per_sample": 1, "tflops": 7.89, "gbps": 321.0},
        {"label": {"mixer": "m", "form": "g", "target": "sm_80", "dtype": "bf16", "shape": {"T": 64}},
         "ok": false, "status": "wrong", "rel_err": 0.5, "error": "output 'o' is off"}
    ]
}"#;

fn shown(code: i32, path: &Path, more: &[&str]) -> (String, String) {
    let args = [&["--results", path.to_str().unwrap()], more].concat();
    printed(code, &mut bundle(&args))
}

#[test]
fn results_are_shown_and_a_wrong_case_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.json");
    std::fs::write(&path, RESULTS).unwrap();
    let (stdout, _) = shown(1, &path, &[]);
    for part in [
        "a made up card",
        "12.35",
        "0.25",
        "7.9",
        "321",
        "1.20e-3",
        "ok",
        "WRONG",
        "output 'o' is off",
    ] {
        assert!(stdout.contains(part), "no '{part}' in {stdout}");
    }
    let (stdout, _) = shown(1, &path, &["--format", "json"]);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["rows"][0]["median_us"], 12.345);
}

#[test]
fn damaged_results_are_an_error_with_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.json");
    let damaged = [
        &RESULTS[..RESULTS.len() / 2],
        "not json",
        r#"{"version": 1, "date": "x"}"#,
    ];
    for text in damaged {
        std::fs::write(&path, text).unwrap();
        let (stdout, stderr) = shown(2, &path, &[]);
        assert!(stdout.is_empty() && stderr.contains("r.json"), "{stderr}");
    }
    std::fs::write(&path, RESULTS.replace("\"version\": 1", "\"version\": 99")).unwrap();
    assert!(shown(2, &path, &[]).1.contains("version 99"));
    let missing = folder.path().join("missing.json");
    assert!(shown(2, &missing, &[]).1.contains("missing.json"));
}
