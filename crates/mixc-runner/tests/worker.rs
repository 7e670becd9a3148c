//! Jobs in order, and what one case means for the next.

mod common;

use common::fake::{failure, working};
use common::{RIGHT, WRONG, case, reader};
use mixc_cuda::Session;
use mixc_launch::Status;
use mixc_runner::{Ended, Event, Job, MeasureOptions, NoCases, Request, select, work};

fn request(jobs: &[Job]) -> Request {
    Request {
        bundle: "unused".into(),
        device: 0,
        options: MeasureOptions {
            verify: true,
            samples: 5,
            max_seconds: 1.0,
        },
        jobs: jobs.to_vec(),
        right: [].into(),
    }
}

fn timed(cases: std::ops::Range<usize>) -> Vec<Job> {
    cases.map(|case| Job { case, timed: true }).collect()
}

/// Case and status of each row.
fn rows(events: &[Event]) -> Vec<(usize, Status)> {
    let row = |e: &Event| match e {
        Event::Row { case, row, .. } => Some((*case, row.status)),
        _ => None,
    };
    events.iter().filter_map(row).collect()
}

#[test]
fn a_case_that_was_wrong_verifies_nothing() {
    let cases = vec![
        case("small", RIGHT, None),
        case("large", None, Some(0)),
        case("small wrong", WRONG, None),
        case("large", None, Some(2)),
    ];
    let (_folder, mut bundle) = reader(cases);
    let mut events = vec![];
    let session = Session::new(working());
    let ended = work(&session, &mut bundle, &request(&timed(0..4)), &mut |e| {
        events.push(e)
    });
    assert_eq!(ended, Ended::Done);
    use Status::{Ok, Unverified, Wrong};
    assert_eq!(
        rows(&events),
        [(0, Ok), (1, Ok), (2, Wrong), (3, Unverified)]
    );
    assert_eq!(events[0], Event::Start { case: 0 });
}

#[test]
fn cases_that_were_right_in_an_earlier_process_count() {
    let (_folder, mut bundle) = reader(vec![
        case("small", RIGHT, None),
        case("large", None, Some(0)),
    ]);
    let mut events = vec![];
    let mut request = request(&timed(1..2));
    request.right.insert(0);
    work(&Session::new(working()), &mut bundle, &request, &mut |e| {
        events.push(e)
    });
    assert_eq!(rows(&events), [(1, Status::Ok)]);
}

#[test]
fn a_broken_context_ends_the_work_after_its_row() {
    let (_folder, mut bundle) = reader(vec![case("a", RIGHT, None), case("b", RIGHT, None)]);
    let mut events = vec![];
    let fake = working().kernel("double", |fake, _| {
        fake.fail_next("synchronize", failure(719, "launch failure"))
    });
    let ended = work(
        &Session::new(fake),
        &mut bundle,
        &request(&timed(0..2)),
        &mut |e| events.push(e),
    );
    assert_eq!(ended, Ended::Broken);
    assert_eq!(rows(&events), [(0, Status::Failed)]);
}

#[test]
fn a_case_that_cannot_be_read_is_the_bundles_fault() {
    let (_folder, mut bundle) = reader(vec![case("a", RIGHT, None)]);
    let mut events = vec![];
    work(
        &Session::new(working()),
        &mut bundle,
        &request(&timed(0..2)),
        &mut |e| events.push(e),
    );
    assert!(
        matches!(
            events.last(),
            Some(Event::Row {
                case: 1,
                bad_input: true,
                ..
            })
        ),
        "{events:?}"
    );
}

#[test]
fn selected_cases_bring_what_verifies_them() {
    let cases = vec![
        case("tiny", RIGHT, None),
        case("other", RIGHT, None),
        case("middle", None, Some(0)),
        case("large", None, Some(2)),
    ];
    let (_folder, bundle) = reader(cases);
    let jobs = |filter: &str, verify| {
        let filter = regex_lite::Regex::new(filter).unwrap();
        select(&bundle, Some(&filter), None, verify)
            .map(|jobs| jobs.iter().map(|j| (j.case, j.timed)).collect::<Vec<_>>())
    };
    assert_eq!(
        jobs("^large/", true).unwrap(),
        [(0, false), (2, false), (3, true)]
    );
    assert_eq!(jobs("^large/", false).unwrap(), [(3, true)]);
    assert_eq!(jobs("tiny|middle", true).unwrap(), [(0, true), (2, true)]);
    assert!(matches!(
        jobs("nothing", true),
        Err(NoCases::NoMatch { cases: 4, .. })
    ));
    assert_eq!(select(&bundle, None, None, true).unwrap(), timed(0..4));
    assert_eq!(select(&bundle, None, Some(1), true).unwrap(), timed(1..2));
    assert!(matches!(
        select(&bundle, None, Some(4), true),
        Err(NoCases::NoCase { case: 4, cases: 4 })
    ));
    let (_folder, empty) = reader(vec![]);
    assert_eq!(select(&empty, None, None, true), Err(NoCases::Empty));
}
