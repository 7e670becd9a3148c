//! `mixc simulate` as a user sees it: hand-written kernels, right and wrong.

use mixc_ir::DType;
use mixc_tensor::{Bundle, Tensor};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// y[n] = 2 * x[n] for the threads of one block; `STORE` is where y goes.
const DOUBLE: &str = "\
.version 7.8
.target sm_80
.address_size 64
.visible .entry twice(.param .u64 x, .param .u64 y, .param .u32 n) {
    .reg .pred %p<2>;
    .reg .b32 %r<4>;
    .reg .f32 %f<3>;
    .reg .b64 %rd<6>;
    ld.param.u64 %rd1, [x];
    ld.param.u64 %rd2, [y];
    ld.param.u32 %r2, [n];
    mov.u32 %r1, %tid.x;
    setp.ge.u32 %p1, %r1, %r2;
    @%p1 bra END;
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd4, %rd1, %rd3;
    add.s64 %rd5, %rd2, %rd3;
    ld.global.f32 %f1, [%rd4];
    add.f32 %f2, %f1, %f1;
    st.global.f32 [%rd5], %f2;
END:
    ret;
}
";

struct Case(tempfile::TempDir);

impl Case {
    fn new(ptx: &str) -> Case {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("k.ptx"), ptx).unwrap();
        Case(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mixc"));
        command.args(["simulate", &self.path("k.ptx")]).args(args);
        command.output().unwrap()
    }

    /// The report; the command must end with `code`.
    fn json(&self, code: i32, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--format", "json"]].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn error(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        stderr
    }
}

const ARGS: [&str; 8] = [
    "--block",
    "64",
    "--arg",
    "tensor:x",
    "--arg",
    "y=buf:f32:out:40",
    "--arg",
    "u32:40",
];

fn inputs(case: &Case) -> String {
    let values: Vec<f64> = (0..40).map(f64::from).collect();
    let x = Tensor::from_f64(DType::F32, &[40], &values).unwrap();
    let mut bundle = Bundle::default();
    bundle.tensors.insert("x".into(), x);
    bundle
        .write(Path::new(&case.path("in.safetensors")))
        .unwrap();
    case.path("in.safetensors")
}

#[test]
fn a_clean_kernel_writes_its_outputs_and_is_counted() {
    let case = Case::new(DOUBLE);
    let (inputs, written) = (inputs(&case), case.path("out.safetensors"));
    let files = ["--inputs", &inputs, "--output", &written];
    let report = case.json(0, &[ARGS.as_slice(), &files].concat());
    assert_eq!(report["findings"], Value::Array(vec![]));
    assert_eq!(report["ok"], true);
    assert_eq!(report["counts"]["classes"]["load-global"]["threads"], 40);
    // 128 bytes and 32 bytes: five sectors each way.
    assert_eq!(report["counts"]["global_sectors"], 10);
    assert_eq!(report["outputs"][0]["name"], "y");
    let y = &Bundle::read(Path::new(&written)).unwrap().tensors["y"];
    let expected: Vec<f64> = (0..40).map(|n| f64::from(2 * n)).collect();
    assert_eq!((y.shape(), y.to_f64()), (&[40][..], expected));
}

#[test]
fn a_finding_has_the_line_and_the_text_of_the_instruction() {
    let case = Case::new(DOUBLE);
    // The buffer is one element too short.
    let args = [
        "--block",
        "64",
        "--arg",
        "x=buf:f32:random:40",
        "--arg",
        "y=buf:f32:out:39",
        "--arg",
        "u32:40",
    ];
    let report = case.json(1, &args);
    let finding = &report["findings"][0];
    assert_eq!(finding["kind"], "out-of-bounds");
    assert_eq!(finding["line"], 20);
    assert_eq!(finding["text"], "st.global.f32 [%rd5], %f2;");
    assert_eq!(finding["thread"], serde_json::json!([39, 0, 0]));
    assert!(
        finding["object"].as_str().unwrap().contains("`y`"),
        "{finding}"
    );
    // Reading what nobody wrote is another kind.
    let unwritten = [
        "--block",
        "64",
        "--arg",
        "x=buf:f32:out:40",
        "--arg",
        "y=buf:f32:out:40",
        "--arg",
        "u32:40",
    ];
    let report = case.json(1, &unwritten);
    assert_eq!(report["findings"][0]["kind"], "uninit-global");
}

#[test]
fn memory_before_an_argument_is_reached_through_at() {
    // The number of threads comes from the kernel itself.
    let required = DOUBLE.replace("n) {", "n) .reqntid 16 {");
    let case = Case::new(&required);
    let args = [
        "--arg",
        "x=buf:f32:zero:32",
        "--arg",
        "at:x:64",
        "--arg",
        "u32:16",
    ];
    assert_eq!(case.json(0, &args)["ok"], true);
}

#[test]
fn an_unknown_instruction_ends_with_code_3_if_it_is_reached() {
    let unknown = DOUBLE.replace("add.f32 %f2, %f1, %f1", "frobnicate.f32 %f2, %f1");
    let case = Case::new(&unknown);
    let args = |n| {
        [
            "--block",
            "32",
            "--arg",
            "buf:f32:zero:40",
            "--arg",
            "buf:f32:out:40",
            "--arg",
            n,
        ]
    };
    let error = case.error(3, &args("u32:40"));
    assert!(
        error.contains("line 19") && error.contains("frobnicate.f32"),
        "{error}"
    );
    let report = case.json(0, &args("u32:0"));
    assert_eq!(report["unsupported"][0]["line"], 19);
}

#[test]
fn bad_usage_ends_with_code_2() {
    let case = Case::new(DOUBLE);
    let two = format!(
        "{DOUBLE}{}",
        DOUBLE
            .split_once(".visible")
            .map(|(_, k)| format!(".visible{}", k.replace("twice", "again")))
            .unwrap()
    );
    let several = Case::new(&two);
    let broken = Case::new(&DOUBLE.replace("%r1, %tid.x", "%r1 %tid.x"));
    for (case, args, expected) in [
        (&case, vec![], "how many threads"),
        (
            &case,
            vec!["--block", "64", "--entry", "thrice"],
            "no kernel 'thrice', only twice",
        ),
        (
            &case,
            vec!["--block", "64"],
            "takes 3 arguments, 0 were given; its parameters are x (8 bytes), y (8 bytes), n (4 bytes)",
        ),
        (
            &case,
            vec![
                "--block", "2048", "--arg", "i64:0", "--arg", "i64:0", "--arg", "u32:1",
            ],
            "1024",
        ),
        (
            &case,
            vec!["--block", "64", "--arg", "buf:f32:4"],
            "buf:DTYPE:FILL:SHAPE",
        ),
        (
            &case,
            vec!["--block", "64", "--arg", "tensor:x"],
            "needs --inputs",
        ),
        (
            &case,
            vec!["--block", "64", "--arg", "at:x:0"],
            "no argument before it",
        ),
        (
            &several,
            vec!["--block", "64"],
            "choose one of the kernels twice, again",
        ),
        (&broken, vec!["--block", "64"], "k.ptx:12"),
    ] {
        let error = case.error(2, &args);
        assert!(error.contains(expected), "{args:?}: {error}");
    }
}
