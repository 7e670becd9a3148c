//! Bundle files: what is written comes back, and what is damaged is refused.

mod common;

use common::bundle;
use mixc_launch::{Bundle, BundleError, BundleReader, CaseError, Role, Source, Values};
use proptest::prelude::*;
use std::io::{Read, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;

fn written(bundle: &Bundle) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.mixb");
    bundle.write(&path).unwrap();
    (folder, path)
}

#[test]
fn a_bundle_comes_back_and_is_the_same_file_each_time() {
    let (_folder, path) = written(&bundle());
    assert_eq!(Bundle::read(&path).unwrap(), bundle());
    let (_other_folder, other) = written(&bundle());
    assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(other).unwrap());
    assert_eq!(
        std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
        1
    );
}

#[test]
fn cases_are_read_one_by_one_and_share_modules() {
    let (_folder, path) = written(&bundle());
    let mut reader = BundleReader::open(&path).unwrap();
    assert_eq!(reader.len(), 3);
    let labels: Vec<String> = reader.labels().map(|l| l.to_string()).collect();
    assert_eq!(labels[1], "sum/plain/sm_80/f32/N=100/rows=64");
    assert_eq!(reader.case(1).unwrap(), bundle().cases[1]);
    assert_eq!(reader.verified_by(2), Some(0));
    assert!(matches!(
        reader.case(3),
        Err(BundleError::NoCase { case: 3, count: 3 })
    ));
    let mut zip = zip::ZipArchive::new(std::fs::File::open(&path).unwrap()).unwrap();
    let names: Vec<String> = zip.file_names().map(|n| n.unwrap().into_owned()).collect();
    assert_eq!(
        names.iter().filter(|n| n.ends_with(".ptx")).count(),
        1,
        "{names:?}"
    );
    let mut ptx = String::new();
    zip.by_name("module/0.ptx")
        .unwrap()
        .read_to_string(&mut ptx)
        .unwrap();
    assert_eq!(ptx, bundle().cases[0].plan.modules[0].ptx);
}

/// Copies an archive with one entry changed.
fn with_entry(path: &Path, name: &str, change: impl Fn(Vec<u8>) -> Vec<u8>) {
    let mut from = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
    let mut to = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
    for at in 0..from.len() {
        let mut entry = from.by_index(at).unwrap();
        let entry_name = entry.name().unwrap().into_owned();
        let mut bytes = vec![];
        entry.read_to_end(&mut bytes).unwrap();
        to.start_file(entry_name.as_str(), SimpleFileOptions::default())
            .unwrap();
        let bytes = if entry_name == name {
            change(bytes)
        } else {
            bytes
        };
        to.write_all(&bytes).unwrap();
    }
    std::fs::write(path, to.finish().unwrap().into_inner()).unwrap();
}

fn replaced(path: &Path, old: &str, new: &str) {
    with_entry(path, "bundle.json", |bytes| {
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains(old), "{text}");
        text.replacen(old, new, 1).into_bytes()
    });
}

#[test]
fn other_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.mixb");
    assert!(matches!(Bundle::read(&path), Err(BundleError::Read { .. })));
    assert!(matches!(
        Bundle::read(folder.path()),
        Err(BundleError::Read { .. })
    ));
    for text in ["", "hello", "{\"format\": \"mixc-bundle\"}"] {
        std::fs::write(&path, text).unwrap();
        assert!(matches!(
            Bundle::read(&path),
            Err(BundleError::NotABundle { .. })
        ));
    }
    let (_folder, path) = written(&bundle());
    replaced(&path, "\"mixc-bundle\"", "\"mixd-bundle\"");
    assert!(matches!(
        Bundle::read(&path),
        Err(BundleError::NotABundle { .. })
    ));
}

#[test]
fn a_newer_version_is_refused_even_if_the_rest_changed() {
    let (_folder, path) = written(&bundle());
    with_entry(&path, "bundle.json", |_| {
        br#"{"format": "mixc-bundle", "version": 7, "blocks": []}"#.to_vec()
    });
    let error = Bundle::read(&path).unwrap_err();
    assert!(matches!(error, BundleError::Newer { found: 7, .. }));
    assert!(error.to_string().contains("version 7"), "{error}");
}

#[test]
fn damage_inside_is_named() {
    let check = |name: &str, change: fn(Vec<u8>) -> Vec<u8>, words: &str| {
        let (_folder, path) = written(&bundle());
        with_entry(&path, name, change);
        let error = Bundle::read(&path).unwrap_err();
        assert!(matches!(error, BundleError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    check("bundle.json", |b| b[..b.len() / 2].to_vec(), "bundle.json");
    check(
        "data/0.bin",
        |b| b[1..].to_vec(),
        "data/0.bin: not the expected 16 bytes",
    );
    check(
        "data/1.bin",
        |mut b| {
            b.push(0);
            b
        },
        "data/1.bin: not the expected 32 bytes",
    );
    check("module/0.ptx", |_| vec![0xff, 0xfe], "module 0");
    let (_folder, path) = written(&bundle());
    replaced(
        &path,
        "\"modules\": [\n        0\n      ]",
        "\"modules\": [5]",
    );
    let error = Bundle::read(&path).unwrap_err().to_string();
    assert!(error.contains("there is no module 5"), "{error}");
}

#[test]
fn a_plan_that_breaks_the_rules_is_refused_with_its_case() {
    let (_folder, path) = written(&bundle());
    replaced(
        &path,
        "\"grid\": [\n            1,",
        "\"grid\": [\n            4294967295,",
    );
    let error = Bundle::read(&path).unwrap_err();
    assert!(
        matches!(error, BundleError::Case { case: 0, .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("sum/plain/sm_80/f32/N=4"),
        "{error}"
    );
}

#[test]
fn cases_that_do_not_fit_their_plan_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.mixb");
    let refused = |change: fn(&mut Bundle)| {
        let mut bundle = bundle();
        change(&mut bundle);
        match bundle.write(&path).unwrap_err() {
            BundleError::Case { source, .. } => *source,
            other => panic!("{other}"),
        }
    };
    use CaseError as E;
    assert!(matches!(
        refused(|b| b.cases[0].plan.launches[0].block = [0; 3]),
        E::Plan(_)
    ));
    assert!(matches!(
        refused(|b| b.cases[0].inputs[0].buffer = 2),
        E::Role { buffer: 2, .. }
    ));
    assert!(matches!(
        refused(|b| b.cases[0].expected[0].buffer = 0),
        E::Role { role: "output", .. }
    ));
    assert!(matches!(
        refused(|b| drop(b.cases[0].inputs.pop())),
        E::Inputs { times: 0, .. }
    ));
    assert!(matches!(
        refused(|b| b.cases[0].inputs[1].buffer = 0),
        E::Length { what: "bytes", .. }
    ));
    assert!(matches!(
        refused(|b| b.cases[0].expected[0].values = Values::F32(vec![])),
        E::Length { .. }
    ));
    assert!(matches!(
        refused(|b| b.cases[1].expected[0].positions = Some(vec![0, 100])),
        E::Position { .. }
    ));
    assert!(matches!(
        refused(|b| b.cases[0].expected[0].rel_tol = f64::NAN),
        E::Tolerance { .. }
    ));
    assert!(matches!(
        refused(|b| b.cases[2].verified_by = Some(2)),
        E::VerifiedBy { by: 2 }
    ));
    let upside_down = refused(|b| {
        if let Source::Random(g) = &mut b.cases[0].inputs[0].source {
            (g.min, g.max) = (Some(1.0), Some(0.0));
        }
    });
    assert!(matches!(upside_down, E::Range { .. }));
    assert!(!path.exists());
    assert_eq!(bundle().cases[0].plan.buffers[2].role, Role::Out);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A changed byte is an error or changes nothing that counts; it is never a panic or a different case.
    #[test]
    fn a_changed_byte_changes_nothing_unnoticed(at in any::<prop::sample::Index>(), bits in 1u8..) {
        let (_folder, path) = written(&bundle());
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= bits;
        std::fs::write(&path, bytes).unwrap();
        if let Ok(read) = Bundle::read(&path) {
            prop_assert_eq!(read, bundle());
        }
    }

    #[test]
    fn a_cut_file_is_refused(at in any::<prop::sample::Index>()) {
        let (_folder, path) = written(&bundle());
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..at.index(bytes.len())]).unwrap();
        prop_assert!(Bundle::read(&path).is_err());
    }
}
