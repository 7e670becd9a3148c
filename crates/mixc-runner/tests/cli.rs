//! The program from outside, with all cards hidden, so that it behaves the same on machines with and without one.

mod common;

use common::{RIGHT, case, file};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn runner(args: &[&str]) -> Output {
    command().args(args).output().unwrap()
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mixc-runner"));
    command.env("CUDA_VISIBLE_DEVICES", "");
    command
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn without_a_card_it_says_what_is_missing_and_leaves_no_results() {
    let (folder, path) = file(vec![case("a", RIGHT, None)]);
    let out = folder.path().join("results.json");
    for extra in [&[][..], &["--no-isolate"], &["--no-verify"]] {
        let output = runner(&[&[text(&path), "--out", text(&out)], extra].concat());
        assert_eq!(code(&output), 3, "{output:?}");
        let message = stderr(&output);
        assert!(
            message.contains("no CUDA driver") || message.contains("no CUDA card"),
            "{message}"
        );
        assert!(!message.contains("panicked") && output.stdout.is_empty());
        assert!(!out.exists());
    }
}

#[test]
fn labels_are_listed_without_a_card() {
    let (_folder, path) = file(vec![
        case("first", RIGHT, None),
        case("second", None, Some(0)),
    ]);
    let list = |filter: &[&str]| {
        let output = runner(&[&[text(&path), "--list"], filter].concat());
        assert_eq!(code(&output), 0, "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(list(&[]), "first//sm_80//N=4\nsecond//sm_80//N=4\n");
    assert_eq!(list(&["--filter", "^sec"]), "second//sm_80//N=4\n");
}

#[test]
fn inputs_are_dumped_without_a_card() {
    let (folder, path) = file(vec![
        case("first", RIGHT, None),
        case("second", None, Some(0)),
    ]);
    let into = folder.path().join("inputs");
    let output = runner(&[text(&path), "--dump-inputs", text(&into), "--case", "1"]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(
        std::fs::read(into.join("1/x.bin")).unwrap(),
        common::fake::bytes(&[1.0, 2.0, 3.0, 4.0])
    );
    assert!(!into.join("0").exists());
    let mut escaping = case("first", RIGHT, None);
    escaping.plan.buffers[0].name = "../x".into();
    let (_folder, path) = file(vec![escaping]);
    let output = runner(&[text(&path), "--dump-inputs", text(&into)]);
    assert_eq!(code(&output), 2, "{output:?}");
    assert!(
        stderr(&output).contains("'../x' cannot be a file name"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn bad_usage_and_bad_bundles_are_code_2() {
    let (folder, path) = file(vec![case("a", RIGHT, None)]);
    let broken = folder.path().join("broken.mixb");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&broken, &bytes[..bytes.len() / 2]).unwrap();
    let nowhere = folder.path().join("nowhere.mixb");
    let cases: &[(&[&str], &str)] = &[
        (&[], "BUNDLE"),
        (&[text(&nowhere)], "cannot read"),
        (&[text(&broken)], "not a bundle, or was cut off"),
        (&[text(folder.path())], "cannot read"),
        (&[text(&path), "--filter", "("], "--filter"),
        (&[text(&path), "--filter", "zzz"], "none of the 1 cases"),
        (&[text(&path), "--samples", "0"], "--samples"),
        (&[text(&path), "--max-seconds=-1"], "max-seconds"),
        (&[text(&path), "--max-seconds=nan"], "max-seconds"),
        (
            &[text(&path), "--verify-only", "--no-verify"],
            "--no-verify",
        ),
    ];
    for (args, words) in cases {
        let output = runner(args);
        assert_eq!(code(&output), 2, "{args:?}: {output:?}");
        assert!(
            stderr(&output)
                .to_lowercase()
                .contains(&words.to_lowercase()),
            "{args:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn a_worker_without_a_card_refuses_in_words() {
    let (_folder, path) = file(vec![case("a", RIGHT, None)]);
    let request = mixc_runner::Request {
        bundle: path,
        device: 0,
        options: mixc_runner::MeasureOptions {
            verify: true,
            samples: 5,
            max_seconds: 1.0,
        },
        jobs: vec![mixc_runner::Job {
            case: 0,
            timed: true,
        }],
        right: [].into(),
    };
    let mut child = command()
        .arg("--worker")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let request = serde_json::to_vec(&request).unwrap();
    child.stdin.take().unwrap().write_all(&request).unwrap();
    let output = child.wait_with_output().unwrap();
    let event: mixc_runner::Event = serde_json::from_slice(&output.stdout).unwrap();
    match event {
        mixc_runner::Event::Refused { reason } => assert!(reason.contains("no CUDA"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_worker_does_not_trust_its_input() {
    let mut child = command()
        .arg("--worker")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"hello").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 2);
}
