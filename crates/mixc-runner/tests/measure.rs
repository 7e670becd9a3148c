//! A case on a driver without a card: only what is right is timed.

mod common;

use common::fake::{Call, Fake, failure, working};
use common::{RIGHT, WRONG, case};
use mixc_cuda::{Session, Value};
use mixc_launch::{Case, Row, Status};
use mixc_runner::{LastInputs, MeasureOptions, Task, measure};
use std::cell::Cell;

const OPTIONS: MeasureOptions = MeasureOptions {
    verify: true,
    samples: 10,
    max_seconds: 1.0,
};

struct Outcome {
    row: Row,
    broken: bool,
    stages: Vec<String>,
    /// Whether the clock was used.
    timed: bool,
}

fn run(fake: Fake, case: &Case, options: MeasureOptions, prior: bool) -> Outcome {
    let session = Session::new(fake);
    let mut stages = vec![];
    let task = Task {
        options: &options,
        timed: true,
        prior,
    };
    let measured = measure(&session, case, &mut LastInputs::default(), task, &mut |s| {
        stages.push(s.to_owned())
    });
    let timed = session.driver().take_calls().contains(&Call::Record);
    Outcome {
        row: measured.row,
        broken: measured.broken,
        stages,
        timed,
    }
}

#[test]
fn a_right_case_is_timed() {
    let out = run(working(), &case("a", RIGHT, None), OPTIONS, true);
    assert_eq!(
        (out.row.status, out.row.ok, out.row.rel_err),
        (Status::Ok, true, Some(0.0)),
        "{:?}",
        out.row
    );
    // Two kernels of 10 us and the zeros of 16 bytes.
    let us = out.row.timing.unwrap().median_us;
    assert!((us - 20.016).abs() < 1e-6, "{us}");
    assert!((out.row.tflops.unwrap() - 8e6 / 20.016e-6 / 1e12).abs() < 1e-9);
    assert!((out.row.gbps.unwrap() - 32e3 / 20.016e-6 / 1e9).abs() < 1e-9);
    assert_eq!(
        out.stages,
        [
            "making inputs",
            "loading",
            "running",
            "verifying",
            "measuring",
            "verifying again"
        ]
    );
}

#[test]
fn a_wrong_case_is_not_timed() {
    let out = run(working(), &case("a", WRONG, None), OPTIONS, true);
    assert_eq!(
        (out.row.status, out.row.ok, out.timed),
        (Status::Wrong, false, false)
    );
    let error = out.row.error.unwrap();
    assert!(
        error.contains("'o' is wrong") && error.contains("element 3"),
        "{error}"
    );
    assert_eq!(out.row.max_abs_err, Some(1.0));
}

#[test]
fn what_nobody_writes_is_not_right_by_accident() {
    let mut silent = case("a", Some([0.0; 4]), None);
    silent.plan.buffers[2].zeroed = false;
    let out = run(Fake::new((8, 0)), &silent, OPTIONS, true);
    assert_eq!(out.row.status, Status::Wrong, "{:?}", out.row);
}

#[test]
fn stray_writes_make_a_case_wrong() {
    let fake = working().kernel("double", |fake, launch| {
        if let Value::Address(w) = launch.values[1] {
            fake.with(w, |m| m[16] = 0);
        }
    });
    let out = run(fake, &case("a", None, Some(0)), OPTIONS, true);
    assert_eq!((out.row.status, out.timed), (Status::Wrong, false));
    assert!(out.row.error.unwrap().contains("past the end of 'w'"));
}

#[test]
fn a_case_that_becomes_wrong_under_load_is_not_reported_as_fast() {
    let runs = Cell::new(0);
    let fake = working();
    let fake = fake.kernel("double", move |fake, launch| {
        runs.set(runs.get() + 1);
        let [Value::Address(x), Value::Address(w), ..] = launch.values[..] else {
            panic!("arguments {:?}", launch.values);
        };
        let x = fake.with(x, |m| common::fake::floats(&m[..16]));
        let factor = if runs.get() > 30 { 3.0 } else { 2.0 };
        let w_bytes = common::fake::bytes(&x.iter().map(|x| factor * x).collect::<Vec<_>>());
        fake.with(w, |m| m[..16].copy_from_slice(&w_bytes));
    });
    let out = run(fake, &case("a", RIGHT, None), OPTIONS, true);
    assert_eq!(
        (out.row.status, out.row.timing, out.row.tflops),
        (Status::Wrong, None, None)
    );
    assert!(out.timed && out.row.error.unwrap().starts_with("after many runs"));
}

#[test]
fn without_a_reference_another_case_must_have_been_right() {
    let big = case("a", None, Some(0));
    assert_eq!(run(working(), &big, OPTIONS, true).row.status, Status::Ok);
    let out = run(working(), &big, OPTIONS, false);
    assert_eq!((out.row.status, out.timed), (Status::Unverified, false));
    let out = run(working(), &case("a", None, None), OPTIONS, true);
    assert_eq!((out.row.status, out.timed), (Status::Unverified, false));
    assert!(out.row.error.unwrap().contains("--no-verify"));
}

#[test]
fn without_verification_rows_do_not_claim_to_be_right() {
    let options = MeasureOptions {
        verify: false,
        ..OPTIONS
    };
    let out = run(working(), &case("a", WRONG, None), options, true);
    assert_eq!(
        (out.row.status, out.row.ok, out.row.rel_err),
        (Status::Unverified, false, None)
    );
    assert!(out.row.timing.is_some());
}

#[test]
fn lacks_of_the_machine_and_broken_contexts_are_told_apart() {
    let out = run(Fake::new((7, 0)), &case("a", RIGHT, None), OPTIONS, true);
    assert_eq!((out.row.status, out.broken), (Status::Unsupported, false));
    let illegal = working().kernel("add", |fake, _| {
        fake.fail_next("synchronize", failure(700, "illegal address"))
    });
    let out = run(illegal, &case("a", RIGHT, None), OPTIONS, true);
    assert_eq!((out.row.status, out.broken), (Status::Failed, true));
    assert!(out.row.error.unwrap().contains("kernel 'add'"));
}

#[test]
fn empty_problems_are_right_and_have_no_time() {
    let mut empty = case("a", None, Some(0));
    empty.plan = common::fake::plan(0);
    empty.plan.launches.iter_mut().for_each(|l| l.grid = [0; 3]);
    empty.inputs[0].source = mixc_launch::Source::Inline(vec![]);
    let out = run(working(), &empty, OPTIONS, true);
    assert_eq!((out.row.status, out.row.timing), (Status::Ok, None));
}
