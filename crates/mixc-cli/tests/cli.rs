//! The commands as a user or a script sees them: output, exit codes, files.

use mixc_ir::DType;
use mixc_tensor::{Bundle, Tensor};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn mixc(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mixc"))
        .args(args)
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn golden(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/goldens")
        .join(name);
    path.to_str().unwrap().to_owned()
}

/// A mixer that is not in the repository: y[t] = gain * sum over s <= t of x[s].
const RUNNING_SUM: &str = "\
/// Running sum (Example 2020).
mixer running_sum(x: [B, T], gain: f32 = 1) -> y: [B, T] {
    y[t] = gain * sum[s](x[s] if s <= t else 0)
}
";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn mixer(&self, text: &str) -> String {
        std::fs::write(self.path("my.mix"), text).unwrap();
        self.file("my.mix")
    }

    /// A file with `x` of shape [T, B] = [3, 2] and the expected `y`.
    fn tensors(&self) -> String {
        let mut bundle = Bundle::default();
        let tensor = |values: &[f64]| Tensor::from_f64(DType::F32, &[3, 2], values).unwrap();
        bundle
            .tensors
            .insert("in.x".into(), tensor(&[1.0, 10.0, 2.0, 20.0, 3.0, 30.0]));
        bundle.tensors.insert(
            "out.sums".into(),
            tensor(&[2.0, 20.0, 6.0, 60.0, 12.0, 120.0]),
        );
        bundle.write(&self.path("x.safetensors")).unwrap();
        self.file("x.safetensors")
    }
}

#[test]
fn a_mixer_from_a_file_runs_and_compares() {
    let folder = Folder::new();
    let (mixer, tensors) = (folder.mixer(RUNNING_SUM), folder.tensors());
    let written = folder.file("out.safetensors");
    let arguments = [
        "run",
        &mixer,
        "--inputs",
        &tensors,
        "--compare",
        &tensors,
        "--target",
        "interp",
        "--format",
        "json",
        "--layout",
        "x=T,B,y=T,B",
        "--set",
        "gain=2",
        "--rename",
        "sums=y",
        "--output",
        &written,
    ];
    let output = mixc(&arguments);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let report = json(&output);
    assert_eq!(report["ok"], true);
    assert_eq!(report["target"], "interp");
    assert_eq!(report["outputs"][0]["name"], "y");
    assert_eq!(report["outputs"][0]["rel_err"], 0.0);
    assert!(report["time_ms"].is_number() && report["form"].is_string());
    let result = &Bundle::read(Path::new(&written)).unwrap().tensors["y"];
    assert_eq!(
        (result.shape(), result.to_f64()),
        (&[3, 2][..], vec![2.0, 20.0, 6.0, 60.0, 12.0, 120.0])
    );
}

#[test]
fn a_wrong_result_fails_with_code_1() {
    let folder = Folder::new();
    let (mixer, tensors) = (folder.mixer(RUNNING_SUM), folder.tensors());
    let arguments = [
        "run",
        &mixer,
        "--inputs",
        &tensors,
        "--compare",
        &tensors,
        "--target",
        "interp",
        "--format",
        "json",
        "--layout",
        "x=T,B,y=T,B",
        "--rename",
        "sums=y",
    ];
    let output = mixc(&arguments);
    assert_eq!(code(&output), 1);
    assert_eq!(json(&output)["outputs"][0]["rel_err"], 0.5);
}

#[test]
fn bad_input_ends_with_code_2_and_says_what_is_wrong() {
    let folder = Folder::new();
    let (mixer, tensors) = (folder.mixer(RUNNING_SUM), folder.tensors());
    let cases: [(&[&str], &str); 6] = [
        (
            &["run", "no_such_mixer", "--inputs", &tensors],
            "no_such_mixer",
        ),
        (
            &["run", &mixer, "--inputs", "/no/such.safetensors"],
            "/no/such.safetensors",
        ),
        (
            &["run", &mixer, "--inputs", &tensors, "--set", "gaim=2"],
            "did you mean 'gain'",
        ),
        (
            &["run", &mixer, "--inputs", &tensors, "--layout", "x=T,B,H"],
            "layout of 'x'",
        ),
        (
            &[
                "run",
                &mixer,
                "--inputs",
                &tensors,
                "--compare",
                &tensors,
                "--target",
                "interp",
            ],
            "none of the outputs",
        ),
        (
            &[
                "run", &mixer, "--inputs", &tensors, "--form", "fast", "--target", "interp",
            ],
            "no form 'fast'",
        ),
    ];
    for (arguments, expected) in cases {
        let output = mixc(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(
            stderr(&output).contains(expected),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_mistake_in_a_definition_points_at_its_place() {
    let folder = Folder::new();
    let mixer = folder.mixer(&RUNNING_SUM.replace("x[s]", "z[s]"));
    let output = mixc(&["check", &mixer]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("my.mix:3:"), "{}", stderr(&output));
    let output = mixc(&["run", &mixer, "--inputs", &folder.tensors()]);
    assert_eq!(code(&output), 2);
    let output = mixc(&["check", &folder.mixer(RUNNING_SUM), "--format", "json"]);
    assert_eq!(
        (code(&output), &json(&output)[0]["ok"]),
        (0, &Value::Bool(true))
    );
}

#[test]
fn what_is_not_there_yet_ends_with_code_3() {
    let folder = Folder::new();
    let mixer = folder.mixer(RUNNING_SUM);
    let commands: [&[&str]; 4] = [
        &["tune", &mixer, "--shape", "B=1,T=8", "--budget", "1s"],
        &["db", "show"],
        &["build", &mixer, "--target", "cpu", "-o", "out"],
        &[
            "run",
            &mixer,
            "--inputs",
            &folder.tensors(),
            "--direction",
            "backward",
        ],
    ];
    for arguments in commands {
        let output = mixc(arguments);
        assert_eq!(code(&output), 3, "{arguments:?}: {}", stderr(&output));
        assert!(
            stderr(&output).contains("this version"),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn list_names_every_shipped_mixer_and_check_accepts_it() {
    let listed = json(&mixc(&["list", "--format", "json"]));
    let names: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["name"].as_str().unwrap())
        .collect();
    assert!(!names.is_empty());
    for mixer in listed.as_array().unwrap() {
        assert!(
            mixer["family"].is_string()
                && mixer["directions"].is_array()
                && mixer["targets"].is_array()
        );
    }
    let output = mixc(&[&["check"], names.as_slice()].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
}

#[test]
fn verify_checks_the_interpreter_against_itself() {
    let folder = Folder::new();
    let output = mixc(&[
        "verify",
        &folder.mixer(RUNNING_SUM),
        "--target",
        "interp",
        "--format",
        "json",
    ]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let report = json(&output);
    let cases = report["cases"].as_array().unwrap();
    assert!(cases.len() >= 10);
    let sizes: Vec<i64> = cases
        .iter()
        .map(|c| c["shape"]["T"].as_i64().unwrap())
        .collect();
    assert!(sizes.contains(&0) && sizes.contains(&1) && sizes.iter().any(|t| *t > 16));
    for key in [
        "target", "form", "params", "shape", "dtype", "rel_err", "ok",
    ] {
        assert!(cases.iter().all(|c| !c[key].is_null()), "{key}");
    }
}

#[test]
fn a_mixer_that_is_not_in_the_repository_is_compiled_and_verified() {
    let folder = Folder::new();
    let mixer = folder.mixer(RUNNING_SUM);
    let output = mixc(&["verify", &mixer, "--format", "json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let cases = json(&output);
    assert!(
        cases["cases"]
            .as_array()
            .unwrap()
            .iter()
            .all(|c| c["target"] == "cpu" && c["ok"] == true)
    );
    let tensors = folder.tensors();
    let arguments = [
        "run",
        &mixer,
        "--inputs",
        &tensors,
        "--compare",
        &tensors,
        "--layout",
        "x=T,B,y=T,B",
        "--set",
        "gain=2",
        "--rename",
        "sums=y",
        "--format",
        "json",
    ];
    assert_eq!(code(&mixc(&arguments)), 0);
}

#[test]
fn explain_and_bench_give_the_promised_fields() {
    let folder = Folder::new();
    let mixer = folder.mixer(RUNNING_SUM);
    let report = json(&mixc(&[
        "explain",
        &mixer,
        "--shape",
        "B=2,T=300",
        "--format",
        "json",
    ]));
    for form in report["forms"].as_array().unwrap() {
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
    }
    assert_eq!(
        report["forms"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|f| f["chosen"] == true)
            .count(),
        1
    );
    assert!(report["kernels"][0]["template"].is_string() && report["roofline_ms"].is_number());
    let (plot, rows) = (folder.file("plot.svg"), folder.file("rows.jsonl"));
    let arguments = [
        "bench",
        &mixer,
        "--shape",
        "B=2,T=64",
        "--sweep",
        "T=64..256",
        "--samples",
        "3",
        "--threads",
        "1",
        "--plot",
        &plot,
        "--append",
        &rows,
        "--format",
        "json",
    ];
    let output = mixc(&arguments);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let report = json(&output);
    for row in report["rows"].as_array().unwrap() {
        for key in [
            "form",
            "shape",
            "target",
            "dtype",
            "median_ms",
            "gflops",
            "gbps",
            "peak_share",
        ] {
            assert!(!row[key].is_null(), "{key}");
        }
    }
    assert!(std::fs::read_to_string(plot).unwrap().starts_with("<svg"));
    let lines = std::fs::read_to_string(rows).unwrap();
    assert_eq!(
        lines.lines().count(),
        report["rows"].as_array().unwrap().len()
    );
    let line: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert!(
        line["machine"].is_string() && line["date"].is_string() && line["mixer"] == "running_sum"
    );
}

#[test]
fn every_stage_can_be_printed() {
    let folder = Folder::new();
    let mixer = folder.mixer(RUNNING_SUM);
    let emit = |stage: &str| {
        let output = mixc(&["explain", &mixer, "--shape", "B=1,T=100", "--emit", stage]);
        (
            code(&output),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    for (stage, expected) in [
        ("core", "program running_sum"),
        ("forms", "program running_sum"),
        ("tile", "kernel running_sum"),
        ("clif", "function"),
        ("asm", "running_sum"),
    ] {
        let (code, text) = emit(stage);
        assert!(code == 0 && text.contains(expected), "{stage}: {text}");
    }
    assert_eq!(emit("ptx").0, 2, "needs a GPU target");
}

#[test]
fn real_attention_inputs_agree_with_their_reference() {
    let file = golden("real_minilm_l0.safetensors");
    let arguments = [
        "run",
        "softmax_attention",
        "--inputs",
        &file,
        "--compare",
        &file,
        "--target",
        "interp",
        "--set",
        "causal=0",
        "--tol",
        "1e-10",
        "--format",
        "json",
    ];
    let output = mixc(&arguments);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(
        json(&output)["outputs"][0]["shape"],
        serde_json::json!([3, 4, 301, 32])
    );
}

#[test]
fn completions_are_scripts() {
    let output = mixc(&["completions", "bash"]);
    assert_eq!(code(&output), 0);
    assert!(String::from_utf8_lossy(&output.stdout).contains("complete"));
}
