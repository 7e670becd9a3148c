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

#[test]
fn devices_say_what_is_missing_and_what_is_simulated() {
    let find = |devices: &Value, target: &str| {
        let all = devices.as_array().unwrap();
        all.iter().find(|d| d["target"] == target).unwrap().clone()
    };
    let devices = json(&["devices"]);
    for target in ["sm_80", "sm_89", "sm_90a"] {
        let device = find(&devices, target);
        assert_eq!(
            (&device["compiles"], &device["simulates"]),
            (&true.into(), &true.into())
        );
        assert_eq!(device["runs"], false);
        assert!(device["notes"].is_array(), "{device}");
    }
    assert_eq!(find(&devices, "cpu")["runs"], true);
    let mut command = Command::new(env!("CARGO_BIN_EXE_mixc"));
    let missing = command.args(["devices", "--format", "json"]);
    let missing = missing
        .env("MIXC_MLIR", "/nowhere/mixc-mlir")
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(0));
    let device = find(&serde_json::from_slice(&missing.stdout).unwrap(), "sm_80");
    assert_eq!(device["compiles"], false);
    assert!(
        device["notes"]
            .to_string()
            .contains("cargo build -p mixc-mlir")
    );
}

#[test]
fn explain_shows_what_is_known_of_a_kernel_without_a_gpu() {
    let shape = "B=1,H=4,G=4,I=512,J=512,D=64,E=64";
    let explain = [
        "explain",
        "attention_causal",
        "--shape",
        shape,
        "--target",
        "sm_80",
    ];
    let report = json(&explain);
    for kernel in report["kernels"].as_array().unwrap() {
        for key in [
            "template",
            "params",
            "target",
            "threads",
            "warps",
            "stages",
            "shared_bytes",
        ] {
            assert!(!kernel[key].is_null(), "{key}");
        }
        assert!(kernel["predicted"]["total_ms"].as_f64().unwrap() > 0.0);
        assert!(kernel["predicted"]["bound"].is_string() && kernel["predicted"]["blocks"].is_u64());
        let simulated = &kernel["simulated"];
        assert!(
            simulated["counts"]["classes"]["matrix"]["warps"]
                .as_u64()
                .unwrap()
                > 0
        );
        assert!(
            simulated["coalescing"].as_f64().unwrap() > 0.9,
            "{simulated}"
        );
        assert!(simulated["mistakes"].is_null());
        assert!(
            kernel["ptxas"]["registers"].as_u64().unwrap() > 16,
            "needs ptxas: `make setup`"
        );
    }
    let form = &report["forms"][0];
    for key in [
        "name",
        "rules",
        "flops",
        "bytes",
        "depth",
        "predicted_ms",
        "chosen",
    ] {
        assert!(!form[key].is_null(), "{key}");
    }
    assert!(report["roofline_ms"].is_number() && report["card"].is_string());
    let (text, _) = printed(0, &explain);
    for part in ["bound by", "registers", "nothing was measured", "matrix"] {
        assert!(text.contains(part), "no '{part}' in {text}");
    }
}

#[test]
fn stages_of_the_gpu_path_can_be_printed() {
    let emit = |stage| {
        let explain = [
            "explain",
            "retention",
            "--target",
            "sm_90a",
            "--emit",
            stage,
        ];
        printed(0, &explain).0
    };
    assert!(emit("tile").contains("kernel retention_0("));
    assert!(emit("mlir").contains("llvm.func"));
    assert!(emit("ptx").contains(".target sm_90a"));
}
