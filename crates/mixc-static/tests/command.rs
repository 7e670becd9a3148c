//! The command brings a table up to date: in parts, from what is known, and never half.

use clap::Parser;
use mixc_static::{Cli, Row, Table, run};
use std::collections::BTreeSet;
use std::path::Path;

/// Two small kernels of each form, so that a run takes seconds.
const SIZES: &str = "
dtypes = ['f32']
[family]
linear_attention = ['B=1,H=1,T=32,K=16,V=16']
attention = ['B=1,H=1,G=1,I=32,J=32,D=16,E=16']
";

fn run_on(folder: &Path, options: &[&str]) {
    let sizes = folder.join("sizes.toml");
    std::fs::write(&sizes, SIZES).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let mut line: Vec<String> = ["mixc-static", "--shapes"].map(str::to_owned).to_vec();
    line.extend([text(&sizes), "--out".into(), text(folder)]);
    line.extend(options.iter().map(|o| (*o).to_owned()));
    run(&Cli::try_parse_from(line).unwrap()).unwrap();
}

fn rows(folder: &Path) -> Vec<Row> {
    let table = Table::read(&folder.join("static.jsonl")).unwrap();
    table.rows().cloned().collect()
}

/// The mixers and targets that a table is about.
fn parts(rows: &[Row]) -> BTreeSet<(&str, &str)> {
    rows.iter().map(|r| (&*r.mixer, &*r.target)).collect()
}

const RETENTION: [&str; 2] = ["--mixer", "retention"];

#[test]
fn parts_are_put_together_and_known_kernels_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run_on(folder, &[RETENTION, ["--target", "sm_80"]].concat());
    let first = rows(folder);
    assert!(
        first
            .iter()
            .all(|r| r.machine.is_some() && !r.hash.is_empty())
    );
    assert!(
        std::fs::read_to_string(folder.join("static.md"))
            .unwrap()
            .contains("retention")
    );

    // A figure that no tool says, to see whether it is taken from the table or made again.
    let mut marked = Table::default();
    for mut row in first.clone() {
        row.machine.as_mut().unwrap().registers = 999;
        marked.insert(row);
    }
    marked.write(&folder.join("static.jsonl")).unwrap();
    run_on(folder, &[RETENTION, ["--target", "sm_90a"]].concat());
    let both = rows(folder);
    let expected = [("retention", "sm_80"), ("retention", "sm_90a")];
    assert_eq!(parts(&both), expected.into());
    run_on(folder, &RETENTION);
    let registers = |target: &str| {
        let rows = rows(folder).into_iter();
        let of = rows.filter(|r| r.mixer == "retention" && r.target == target);
        of.map(|r| r.machine.unwrap().registers).collect::<Vec<_>>()
    };
    assert!(
        registers("sm_80").iter().all(|n| *n == 999),
        "known kernels are assembled again"
    );
    assert!(registers("sm_90a").iter().all(|n| *n < 256));

    // Nothing is believed on demand.
    run_on(
        folder,
        &["--mixer", "retention", "--target", "sm_80", "--fresh"],
    );
    let again: Vec<Row> = rows(folder)
        .into_iter()
        .filter(|r| r.mixer == "retention" && r.target == "sm_80")
        .collect();
    assert_eq!(again, first);
}

#[test]
fn mistakes_on_the_command_line_are_named() {
    let parse = |options: &[&str]| {
        Cli::try_parse_from([&["mixc-static"], options].concat())
            .map(|_| ())
            .map_err(|e| e.to_string())
    };
    let knob = parse(&["--knob", "rows=16", "--out", "somewhere"]).unwrap_err();
    assert!(knob.contains("--knob"), "{knob}");
    assert!(parse(&["--fresh"]).unwrap_err().contains("--out"));
    let sizes = concat!(env!("CARGO_MANIFEST_DIR"), "/../../benches/static.toml");
    let cli =
        Cli::try_parse_from(["mixc-static", "--shapes", sizes, "--mixer", "retentoin"]).unwrap();
    let error = run(&cli).unwrap_err().to_string();
    assert!(error.contains("no shipped mixer 'retentoin'"), "{error}");
}
