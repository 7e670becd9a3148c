//! The worker through its client: what is lowered, what is refused, and what an LLVM abort leaves.

use mixc_nvtools::{TranslateError, Translator};
use std::sync::Arc;

fn translator() -> Translator {
    Translator::at(env!("CARGO_BIN_EXE_mixc-mlir"))
}

/// A module with one kernel `scale`, which gets a pointer and a bound, and reads `%x` from memory.
/// `body` makes `%y`, an f32, of it.
fn module(body: &str) -> String {
    format!(
        r#"module attributes {{gpu.container_module}} {{ gpu.module @kernels {{
llvm.mlir.global external @smem() {{addr_space = 3 : i32, alignment = 1024 : i64}} : !llvm.array<0 x i8>
llvm.func @scale(%p: !llvm.ptr<1>, %n: i32) attributes {{gpu.kernel, nvvm.kernel, nvvm.reqntid = array<i32: 128, 1, 1>}} {{
  %smem = llvm.mlir.addressof @smem : !llvm.ptr<3>
  %tid = nvvm.read.ptx.sreg.tid.x : i32
  %in = arith.cmpi ult, %tid, %n : i32
  scf.if %in {{
    %at = llvm.getelementptr %p[%tid] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
    %x = llvm.load %at : !llvm.ptr<1> -> f32
{body}
    %keep = llvm.getelementptr %smem[%tid] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
    llvm.store %y, %keep : f32, !llvm.ptr<3>
    nvvm.barrier0
    %back = llvm.load %keep : !llvm.ptr<3> -> f32
    llvm.store %back, %at : f32, !llvm.ptr<1>
  }}
  llvm.return
}} }} }}
"#
    )
}

fn good() -> String {
    module(r#"%y = llvm.call_intrinsic "llvm.nvvm.ex2.approx.ftz.f"(%x) : (f32) -> f32"#)
}

/// Two ways in which LLVM ends the process: an exponential function that this target has no library
/// for, and an instruction of sm_90a on an older chip.
fn fatal() -> [String; 2] {
    [
        module("%y = llvm.intr.exp(%x) : (f32) -> f32"),
        module("nvvm.setmaxregister increase 232\n%y = arith.addf %x, %x : f32"),
    ]
}

#[test]
fn a_kernel_becomes_ptx_of_its_chip() {
    let translator = translator();
    for (chip, version) in [
        ("sm_80", "7.8"),
        ("sm_89", "7.8"),
        ("sm_90a", "8.3"),
        ("sm_100a", "8.6"),
    ] {
        let ptx = translator.ptx(chip, &good()).unwrap();
        let has = |text: &str| assert!(ptx.contains(text), "{chip}: no '{text}' in\n{ptx}");
        has(&format!(".version {version}"));
        has(&format!(".target {chip}"));
        has(".visible .entry scale(");
        has(".reqntid 128");
        has("ex2.approx.ftz.f32");
        has(".extern .shared .align 1024 .b8 smem[]");
        has("bar.sync");
    }
    let ptx = translator.ptx_version("sm_90a", "86", &good()).unwrap();
    assert!(ptx.contains(".version 8.6"), "{ptx}");
}

#[test]
fn loops_of_scf_become_branches() {
    let body = r#"
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %y = scf.for %i = %c0 to %n step %c1 iter_args(%sum = %x) -> (f32) : i32 {
      %next = arith.addf %sum, %x : f32
      scf.yield %next : f32
    }"#;
    let ptx = translator().ptx("sm_80", &module(body)).unwrap();
    assert!(ptx.contains("bra"), "{ptx}");
    assert!(ptx.contains("add.rn.f32"), "{ptx}");
}

fn refusal(mlir: &str) -> String {
    match translator().ptx("sm_80", mlir) {
        Err(TranslateError::Refused(text)) => text,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn a_syntax_error_comes_back_with_its_place() {
    let text = refusal("module {\n  llvm.func @f( {\n}\n");
    assert!(
        text.starts_with("2:") && text.contains(": error: "),
        "{text}"
    );
    assert!(text.contains("llvm.func @f( {"), "{text}");
}

#[test]
fn a_type_error_comes_back_with_its_place() {
    let mlir = module("%y = arith.addf %x, %tid : f32");
    let line = 1 + mlir.lines().position(|l| l.contains("addf")).unwrap();
    let text = refusal(&mlir);
    assert!(text.starts_with(&format!("{line}:")), "{text}");
    assert!(text.contains("%tid"), "{text}");
}

#[test]
fn an_operation_outside_the_pipelines_dialects_is_refused() {
    let text = refusal(&module("%y = math.exp2 %x : f32"));
    assert!(text.contains("math.exp2"), "{text}");
}

#[test]
fn a_module_without_kernels_is_refused() {
    let text = refusal("module attributes {gpu.container_module} {}");
    assert!(text.contains("expected one gpu.module"), "{text}");
}

#[test]
fn chips_and_versions_are_checked_before_llvm_sees_them() {
    let translator = translator();
    for (chip, version, expected) in [
        ("sm_12", "", "unknown chip 'sm_12'"),
        ("sm_80", "99", "unknown PTX version '99'"),
        ("sm_100a", "80", "PTX version 80 does not have sm_100a"),
    ] {
        match translator.ptx_version(chip, version, &good()) {
            Err(TranslateError::Refused(text)) => assert!(text.contains(expected), "{text}"),
            other => panic!("expected a refusal, got {other:?}"),
        }
    }
}

#[test]
fn an_llvm_abort_is_an_error_and_the_next_request_works() {
    let translator = translator().with_processes(1);
    translator.ptx("sm_80", &good()).unwrap();
    for (mlir, expected) in fatal()
        .iter()
        .zip(["no libcall", "LLVM ERROR: Cannot select"])
    {
        match translator.ptx("sm_80", mlir) {
            Err(TranslateError::Died { status, stderr }) => {
                assert!(!status.success());
                assert!(stderr.contains(expected), "{stderr}");
            }
            other => panic!("expected the worker to die, got {other:?}"),
        }
        translator.ptx("sm_80", &good()).unwrap();
    }
}

#[test]
fn callers_on_many_threads_get_their_own_answers() {
    let translator = Arc::new(translator().with_processes(2));
    let callers: Vec<_> = (0..4)
        .map(|i| {
            let translator = translator.clone();
            std::thread::spawn(move || {
                for round in 0..3 {
                    let name = format!("kernel_{i}_{round}");
                    let mlir = good().replace("@scale", &format!("@{name}"));
                    let ptx = translator.ptx("sm_80", &mlir).unwrap();
                    assert!(ptx.contains(&format!(".entry {name}(")), "{ptx}");
                }
            })
        })
        .collect();
    for caller in callers {
        caller.join().unwrap();
    }
}

#[test]
fn the_command_line_prints_ptx_and_llvm_ir() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("good.mlir");
    std::fs::write(&file, good()).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mixc-mlir"));
        let output = command.args(arguments).arg(&file).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.success(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (ok, ptx, _) = run(&["--chip", "sm_90a", "--ptx", "83"]);
    assert!(ok && ptx.contains(".target sm_90a"), "{ptx}");
    let (ok, ir, _) = run(&["--llvm"]);
    assert!(ok && ir.contains("define ptx_kernel void @scale"), "{ir}");
    std::fs::write(&file, "module {").unwrap();
    let (ok, out, errors) = run(&[]);
    assert!(
        !ok && out.is_empty() && errors.contains("error: "),
        "{errors}"
    );
}
