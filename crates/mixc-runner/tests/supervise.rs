//! Child processes that end as kernels make them end, played by shell scripts.
#![cfg(unix)]

use mixc_launch::{Label, Row, Status};
use mixc_runner::{Event, Job, MeasureOptions, Request, Supervisor};
use std::cell::Cell;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn row(case: usize, status: Status) -> String {
    let mut row = Row::failed(&Label::default(), status, "");
    row.ok = status == Status::Ok;
    say(&Event::Row {
        case,
        row: Box::new(row),
        bad_input: false,
    })
}

fn start(case: usize) -> String {
    say(&Event::Start { case })
}

fn stage(case: usize, stage: &str) -> String {
    say(&Event::Stage {
        case,
        stage: stage.into(),
    })
}

/// A line of a script that sends an event.
fn say(event: &Event) -> String {
    format!("echo '{}'\n", serde_json::to_string(event).unwrap())
}

struct Outcome {
    ended: Result<(), String>,
    rows: Vec<usize>,
    lost: Vec<(usize, String)>,
    /// What each child was asked for.
    requests: Vec<Request>,
}

/// Runs three jobs; the n-th child is the n-th script.
fn supervise(scripts: &[String], patience: Duration) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let children = Cell::new(0);
    let file = |n: usize| folder.path().join(n.to_string());
    let command = || {
        let n = children.replace(children.get() + 1);
        let script = scripts.get(n).cloned().unwrap_or_else(|| "exit 99".into());
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!("cat > {}\n{script}", file(n).display()));
        command
    };
    let request = Request {
        bundle: "x.mixb".into(),
        device: 0,
        options: MeasureOptions {
            verify: true,
            samples: 5,
            max_seconds: 1.0,
        },
        jobs: (0..3).map(|case| Job { case, timed: true }).collect(),
        right: [].into(),
    };
    let (mut rows, mut lost) = (vec![], vec![]);
    let ended = Supervisor {
        command: &command,
        patience,
    }
    .run(
        request,
        &mut |event| {
            if let Event::Row { case, .. } = event {
                rows.push(case);
            }
        },
        &mut |case, reason| lost.push((case, reason)),
    );
    let read = |path: &Path| serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let requests = (0..children.get()).map(|n| read(&file(n))).collect();
    Outcome {
        ended,
        rows,
        lost,
        requests,
    }
}

const LONG: Duration = Duration::from_secs(30);

fn cases(request: &Request) -> Vec<usize> {
    request.jobs.iter().map(|j| j.case).collect()
}

#[test]
fn one_child_does_all_if_nothing_goes_wrong() {
    let script = (0..3).map(|c| start(c) + &row(c, Status::Ok)).collect();
    let out = supervise(&[script], LONG);
    assert_eq!(
        (out.ended, out.rows, out.lost),
        (Ok(()), vec![0, 1, 2], vec![])
    );
    assert_eq!(out.requests.len(), 1);
}

#[test]
fn a_crash_costs_its_case_only() {
    let first = start(0) + &row(0, Status::Ok) + &start(1) + &stage(1, "running") + "kill -SEGV $$";
    let second = start(2) + &row(2, Status::Ok);
    let out = supervise(&[first, second], LONG);
    assert_eq!((out.ended, out.rows), (Ok(()), vec![0, 2]));
    let [(1, reason)] = &out.lost[..] else {
        panic!("{:?}", out.lost);
    };
    assert!(
        reason.contains("while running") && reason.contains("signal: 11"),
        "{reason}"
    );
    assert_eq!(cases(&out.requests[1]), [2]);
    assert_eq!(out.requests[1].right, [0].into());
}

#[test]
fn a_broken_context_brings_a_new_child_for_the_rest() {
    let first = start(0) + &row(0, Status::Failed) + "exit 0";
    let second = start(1) + &row(1, Status::Ok) + &start(2) + &row(2, Status::Wrong);
    let out = supervise(&[first, second], LONG);
    assert_eq!(
        (out.ended, out.rows, out.lost),
        (Ok(()), vec![0, 1, 2], vec![])
    );
    assert_eq!(cases(&out.requests[1]), [1, 2]);
    assert!(
        out.requests[1].right.is_empty(),
        "a failed case is not right"
    );
}

#[test]
fn a_hanging_case_is_killed() {
    let first = start(0) + &stage(0, "measuring") + "exec sleep 60";
    let second = start(1) + &row(1, Status::Ok) + &start(2) + &row(2, Status::Ok);
    let out = supervise(&[first, second], Duration::from_millis(500));
    assert_eq!((out.ended, out.rows), (Ok(()), vec![1, 2]));
    assert!(
        out.lost[0].1.contains("while measuring") && out.lost[0].1.contains("killed"),
        "{:?}",
        out.lost
    );
}

#[test]
fn signs_of_life_keep_a_slow_case_alive() {
    let slow: String = (0..6)
        .map(|_| stage(0, "running") + "sleep 0.2\n")
        .collect();
    let script = start(0)
        + &slow
        + &row(0, Status::Ok)
        + &start(1)
        + &row(1, Status::Ok)
        + &start(2)
        + &row(2, Status::Ok);
    let out = supervise(&[script], Duration::from_millis(1000));
    assert_eq!((out.rows, out.lost.len()), (vec![0, 1, 2], 0));
}

#[test]
fn what_is_not_an_event_is_passed_over() {
    let script = "echo some library says hello\n".to_owned()
        + &(0..3)
            .map(|c| start(c) + "echo '{}'\n" + &row(c, Status::Ok))
            .collect::<String>();
    assert_eq!(supervise(&[script], LONG).rows, [0, 1, 2]);
}

#[test]
fn a_machine_that_refuses_ends_the_run() {
    let refused = say(&Event::Refused {
        reason: "no driver".into(),
    });
    let out = supervise(&[refused], LONG);
    assert_eq!(
        (out.ended, out.requests.len()),
        (Err("no driver".into()), 1)
    );
}

#[test]
fn children_that_do_nothing_are_not_started_for_ever() {
    let out = supervise(&["exit 7".into()], LONG);
    assert!(out.ended.unwrap_err().contains("exit status: 7"));
    assert_eq!(out.requests.len(), 1);
}
