//! The pool against programs that are not the worker: each failure has its own error, in time.
#![cfg(unix)]

use mixc_nvtools::{TranslateError, Translator};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Held by each test: a script cannot be run while a process that another test is just starting has
/// it open for writing.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A shell script in the worker's place.
fn script(folder: &tempfile::TempDir, text: &str) -> PathBuf {
    let file = folder.path().join("worker");
    std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    file
}

#[test]
fn a_worker_that_dies_is_an_error_with_what_it_said() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
    let folder = tempfile::tempdir().unwrap();
    let worker = script(&folder, "echo 'LLVM ERROR: out of ideas' >&2; exit 3");
    match Translator::at(worker).ptx("sm_80", "module {}") {
        Err(TranslateError::Died { status, stderr }) => {
            assert_eq!(status.code(), Some(3));
            assert_eq!(stderr, "LLVM ERROR: out of ideas");
        }
        other => panic!("expected the worker to die, got {other:?}"),
    }
}

#[test]
fn a_worker_that_hangs_is_killed_in_time_even_with_a_full_pipe() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
    let folder = tempfile::tempdir().unwrap();
    let worker = script(&folder, "exec sleep 600");
    let translator = Translator::at(worker).with_time_limit(Duration::from_millis(200));
    let start = Instant::now();
    let long = " ".repeat(1 << 20);
    for mlir in ["module {}", &long] {
        let result = translator.ptx("sm_80", mlir);
        assert!(
            matches!(result, Err(TranslateError::TimedOut(_))),
            "{result:?}"
        );
    }
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn another_program_in_the_workers_place_is_noticed() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
    let folder = tempfile::tempdir().unwrap();
    let worker = script(&folder, "echo this is no frame; exec cat");
    let result = Translator::at(worker).ptx("sm_80", "module {}");
    assert!(
        matches!(result, Err(TranslateError::Worker { .. })),
        "{result:?}"
    );
}

#[test]
fn a_program_that_is_not_there_is_an_error_with_its_name() {
    let text = match Translator::at("/nowhere/mixc-mlir").ptx("sm_80", "module {}") {
        Err(e) => e.to_string(),
        Ok(ptx) => panic!("{ptx}"),
    };
    assert!(text.contains("/nowhere/mixc-mlir"), "{text}");
}
