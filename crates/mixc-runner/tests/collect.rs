//! What a run ends with.

use mixc_launch::{DeviceInfo, Label, Results, Row, Status};
use mixc_runner::{Collector, Event};

fn run(statuses: &[Status], bad_input: bool, verify: bool) -> u8 {
    let mut collector = Collector::new(
        DeviceInfo::default(),
        vec![Label::default()],
        statuses.len(),
        None,
        verify,
    );
    for &status in statuses {
        let row = Box::new(Row::failed(&Label::default(), status, "x"));
        collector.event(Event::Row {
            case: 0,
            row,
            bad_input,
        });
    }
    collector.exit_code()
}

#[test]
fn exit_codes_follow_the_worst_row() {
    use Status::{Failed, Ok, Unsupported, Unverified, Wrong};
    assert_eq!(run(&[Ok, Ok], false, true), 0);
    assert_eq!(run(&[Ok, Wrong, Unsupported], false, true), 1);
    assert_eq!(run(&[Ok, Failed], false, true), 1);
    assert_eq!(run(&[Ok, Unsupported], false, true), 3);
    assert_eq!(run(&[Unverified], false, true), 1);
    assert_eq!(run(&[Unverified], false, false), 0);
    assert_eq!(run(&[Wrong, Failed], true, true), 2);
}

#[test]
fn results_are_on_disk_after_every_row_even_lost_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.json");
    let label = Label {
        mixer: "m".into(),
        ..Label::default()
    };
    let mut collector = Collector::new(
        DeviceInfo::default(),
        vec![label.clone()],
        2,
        Some(path.clone()),
        true,
    );
    for n in 1..=2 {
        collector.lost(0, "it crashed".into());
        let read = Results::read(&path).unwrap();
        assert_eq!(read.rows.len(), n);
        assert_eq!(
            (&read.rows[0].label, read.rows[0].status),
            (&label, Status::Failed)
        );
        assert_eq!(read.rows[0].error.as_deref(), Some("it crashed"));
    }
    assert!(collector.take_write_error().is_none());
    let nowhere = folder.path().join("no/such/folder/r.json");
    let mut collector = Collector::new(DeviceInfo::default(), vec![], 1, Some(nowhere), true);
    collector.save();
    assert!(collector.take_write_error().is_some());
}
