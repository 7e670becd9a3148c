//! Cases for the driver without a card.
#![allow(dead_code)]

#[path = "../../../mixc-cuda/tests/common/mod.rs"]
pub mod fake;

use mixc_launch::{Bundle, BundleReader, Case, Counts, Expected, Input, Label, Source, Values};

/// `o = 2 x` on four elements, with the given tolerance-free expectation.
pub fn case(name: &str, expected: Option<[f64; 4]>, verified_by: Option<usize>) -> Case {
    Case {
        label: Label {
            mixer: name.into(),
            target: "sm_80".into(),
            shape: [("N".to_string(), 4)].into(),
            ..Label::default()
        },
        plan: fake::plan(4),
        inputs: vec![Input {
            buffer: 0,
            source: Source::Inline(fake::bytes(&[1.0, 2.0, 3.0, 4.0])),
        }],
        expected: expected
            .into_iter()
            .map(|values| Expected {
                buffer: 2,
                values: Values::F64(values.to_vec()),
                positions: None,
                rel_tol: 1e-6,
                abs_tol: None,
            })
            .collect(),
        counts: Counts {
            flops: 8_000_000,
            bytes: 32_000,
        },
        verified_by,
    }
}

pub const RIGHT: Option<[f64; 4]> = Some([2.0, 4.0, 6.0, 8.0]);
pub const WRONG: Option<[f64; 4]> = Some([2.0, 4.0, 6.0, 9.0]);

/// The cases as a file.
pub fn file(cases: Vec<Case>) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cases.mixb");
    Bundle { cases }.write(&path).unwrap();
    (folder, path)
}

pub fn reader(cases: Vec<Case>) -> (tempfile::TempDir, BundleReader) {
    let (folder, path) = file(cases);
    let reader = BundleReader::open(&path).unwrap();
    (folder, reader)
}
