//! Results: statistics and files.

mod common;

use mixc_launch::{
    DeviceInfo, Missing, RESULTS_VERSION, Results, ResultsError, Row, Status, Timing,
};

#[test]
fn statistics_of_known_samples() {
    // 0, 10, ..., 100 out of order: the deciles are samples.
    let samples: Vec<f64> = (0..11).map(|i| f64::from((i * 7) % 11) * 10.0).collect();
    let t = Timing::of(&samples, 3).unwrap();
    assert_eq!((t.median_us, t.p10_us, t.p90_us), (50.0, 10.0, 90.0));
    // Distances from 50: 0, 10, 10, 20, 20, 30, 30, ...; the sixth of eleven.
    assert_eq!((t.mad_us, t.samples, t.runs_per_sample), (30.0, 11, 3));
    let two = Timing::of(&[1.0, 2.0], 1).unwrap();
    assert_eq!((two.median_us, two.p10_us, two.mad_us), (1.5, 1.1, 0.5));
    let outlier = Timing::of(&[1.0, 1.0, 1.0, 1.0, 1e9], 1).unwrap();
    assert_eq!((outlier.median_us, outlier.mad_us), (1.0, 0.0));
    assert!(Timing::of(&[], 1).is_none() && Timing::of(&[1.0, f64::NAN], 1).is_none());
}

#[test]
fn rates() {
    let t = Timing::of(&[2.0], 1).unwrap();
    assert_eq!(t.rate(4_000_000, 12), Some(2.0));
    assert_eq!(t.rate(0, 12), None);
    assert_eq!(Timing::of(&[0.0], 1).unwrap().rate(1, 9), None);
}

fn results() -> Results {
    let label = common::bundle().cases[0].label.clone();
    let mut row = Row::failed(&label, Status::Ok, "");
    (row.ok, row.error, row.rel_err) = (true, None, Some(1e-7));
    row.timing = Timing::of(&[1.0, 2.5, 3.0], 8);
    row.tflops = Some(0.125);
    Results {
        version: RESULTS_VERSION,
        date: "2026-01-01T00:00:00Z".into(),
        device: DeviceInfo {
            name: "a card".into(),
            memory_bytes: 1 << 30,
            ..DeviceInfo::default()
        },
        rows: vec![row, Row::failed(&label, Status::Failed, "it stopped")],
        missing: vec![Missing {
            name: "another".into(),
            reason: "not installed".into(),
        }],
    }
}

#[test]
fn results_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.json");
    results().write(&path).unwrap();
    assert_eq!(Results::read(&path).unwrap(), results());
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(json["rows"][0]["median_us"], 2.5);
    assert_eq!(json["rows"][0]["label"]["mixer"], "sum");
    assert_eq!(json["rows"][1]["status"], "failed");
    assert!(json["rows"][1].get("median_us").is_none());
}

#[test]
fn damaged_and_newer_results_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.json");
    assert!(matches!(
        Results::read(&path),
        Err(ResultsError::Read { .. })
    ));
    for text in ["", "{}", "[1, 2]", "{\"version\": 1}"] {
        std::fs::write(&path, text).unwrap();
        assert!(
            matches!(Results::read(&path), Err(ResultsError::Read { .. })),
            "{text}"
        );
    }
    std::fs::write(&path, "{\"version\": 99}").unwrap();
    assert!(matches!(
        Results::read(&path),
        Err(ResultsError::Newer { found: 99, .. })
    ));
}
