//! Every kernel of every form of every shipped mixer becomes machine code, and the machine code is what was meant.
//!
//! Assembling all of them takes over an hour, too long for a test. All are lowered; those whose text is in the committed
//! table are taken from there; of the others a share is translated and assembled now, other ones after every change,
//! and so is a sample of the known ones, whose figures must come out as the table has them. How many
//! were left out is printed; with MIXC_STATIC_ALL=1 none is.

use mixc_ptx::Target;
use mixc_static::{
    Assemble, MatrixUnit, Plan, Problems, Row, Table, Timing, Tools, spilling, sweep, to_lines,
    unneeded, unreached_spills, without_code,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const REMEDY: &str =
    "bring the table up to date: cargo run --release -p mixc-static -- --out benches/results";

/// Known kernels that are assembled again.
const SAMPLE: usize = 20;
/// Of the kernels that the table does not know, one in so many is assembled.
const SHARE: u64 = 61;

fn benches() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches")
}

fn problems() -> Problems {
    Problems::read(&benches().join("static.toml")).unwrap()
}

fn table() -> Table {
    Table::read(&benches().join("results/static.jsonl")).unwrap()
}

/// All kernels as they are lowered now.
struct Now {
    rows: Vec<Row>,
    timing: Timing,
    /// Rows of the table that were not believed.
    sample: Vec<Row>,
    /// Whether every kernel has machine code or an error.
    complete: bool,
    /// Whether the tools here are those that made the table.
    same_tools: bool,
}

fn now() -> &'static Now {
    static NOW: OnceLock<Now> = OnceLock::new();
    NOW.get_or_init(|| {
        let tools = Tools::find().unwrap_or_else(|e| panic!("{e}"));
        let table = table();
        let sample = table.sample(SAMPLE);
        let here = tools.versions();
        let same_tools = table.rows().all(|r| r.tools.is_empty() || r.tools == here);
        if !same_tools {
            println!("the table was made with other tools than {here}: figures of the sample are not compared");
        }
        // Other versions of the tools give other figures, but take the same texts.
        let mut known = table.made_with(&here);
        sample.iter().for_each(|row| known.remove(row));
        let all = std::env::var_os("MIXC_STATIC_ALL").is_some();
        let plan = Plan {
            assemble: if all { Assemble::All } else { Assemble::OneIn(SHARE) },
            ..Plan::default()
        };
        let (rows, timing) = sweep(&tools, &problems(), &plan, &known, &|_| ()).unwrap();
        let open = rows
            .iter()
            .filter(|r| r.machine.is_none() && r.error.is_none())
            .count();
        println!(
            "{} kernels, {} known, {} texts assembled, {} left out",
            rows.len(),
            timing.known,
            timing.texts,
            open
        );
        Now {
            complete: open == 0,
            rows,
            timing,
            sample,
            same_tools,
        }
    })
}

/// Rows as text, one a line.
fn lines<'r>(rows: impl IntoIterator<Item = &'r Row>) -> String {
    to_lines(rows)
}

#[test]
fn every_kernel_assembles_for_every_architecture() {
    let accepted = problems().without_code;
    let failed = without_code(&now().rows, &accepted);
    assert!(
        failed.is_empty(),
        "{} kernels have no machine code:\n{}",
        failed.len(),
        lines(failed)
    );
    let unneeded = unneeded(&now().rows, &accepted);
    assert!(
        unneeded.is_empty(),
        "these have machine code after all: {unneeded:?}"
    );
    let remarks = |r: &&Row| {
        r.machine
            .as_ref()
            .is_some_and(|m| !m.externs.is_empty() || !m.findings.is_empty())
    };
    let with_remarks: Vec<&Row> = now().rows.iter().filter(remarks).collect();
    assert!(
        with_remarks.is_empty(),
        "ptxas remarks on these, or they call functions that are not there:\n{}",
        lines(with_remarks)
    );
}

#[test]
fn known_kernels_come_out_as_the_table_says() {
    let now = now();
    assert_eq!(now.sample.len(), SAMPLE, "the table is too small; {REMEDY}");
    let mut compared = 0;
    for recorded in &now.sample {
        let Some(made) = now.rows.iter().find(|r| r.key() == recorded.key()) else {
            continue;
        };
        assert!(made.machine.is_some(), "{}", lines([made]));
        if made.hash == recorded.hash && now.same_tools {
            assert_eq!(
                made, recorded,
                "the same text became another kernel; {REMEDY}, with --fresh"
            );
            compared += 1;
        }
    }
    println!("{compared} of {} kernels compared", now.sample.len());
    assert!(now.timing.texts > 0);
}

#[test]
fn every_mixer_has_kernels_on_every_architecture_and_no_row_is_dated() {
    let rows = &now().rows;
    let lowered = rows.iter().filter(|r| r.error.is_none());
    let has: BTreeSet<(&str, &str)> = lowered.map(|r| (&*r.mixer, &*r.target)).collect();
    let listed = mixc::list().unwrap();
    let wanted = listed
        .iter()
        .flat_map(|l| Target::ALL.map(|t| (l.name.as_str(), t.chip())));
    let missing: Vec<_> = wanted.filter(|part| !has.contains(part)).collect();
    assert!(missing.is_empty(), "{missing:?} have no kernels");
    let table = table();
    let dated = table
        .rows()
        .filter(|r| r.machine.is_some() && r.hash.is_empty());
    assert_eq!(dated.count(), 0, "rows without a hash; {REMEDY}");
}

/// Bulk tensor copies are in the machine code of every kernel that has warps to make them.
#[test]
fn producers_copy_tensors() {
    let producers = now().rows.iter().filter_map(|r| {
        let machine = r.machine.as_ref()?;
        let copies = |unit: &String| unit.starts_with("UTMALDG");
        let has = machine.units.keys().any(copies);
        (r.target == "sm_90a" && machine.threads > 32 * 8).then_some((r, has))
    });
    let without: Vec<&Row> = producers.filter(|(_, has)| !has).map(|(r, _)| r).collect();
    assert!(without.is_empty(), "{}", lines(without));
}

#[test]
fn nothing_spills_but_what_is_accepted() {
    let accepted = problems().spills;
    let found = spilling(&now().rows, &accepted);
    assert!(
        found.is_empty(),
        "{} kernels spill and no entry of benches/static.toml accepts it:\n{}",
        found.len(),
        lines(found)
    );
    for entry in &accepted {
        assert_eq!(
            entry.dtype.as_deref(),
            Some("f32"),
            "spills are accepted in f32 only: {entry:?}"
        );
        assert!(!entry.reason.is_empty());
    }
    let too_much = unreached_spills(&now().rows, &accepted);
    assert!(
        too_much.is_empty() || !now().complete,
        "no kernel spills as much as these accept: {too_much:?}"
    );
}

#[test]
fn products_are_on_the_matrix_unit_that_was_meant() {
    let rows = &now().rows;
    let without: Vec<&Row> = rows
        .iter()
        .filter(|r| !r.missing_products().is_empty())
        .collect();
    assert!(
        without.is_empty(),
        "the machine code lacks matrix instructions that the MLIR asks for:\n{}",
        lines(without)
    );
    for target in Target::ALL {
        for dtype in ["f32", "bf16", "f16"] {
            let own = |r: &&Row| r.target == target.chip() && r.dtype == dtype;
            let asking = rows
                .iter()
                .filter(own)
                .filter(|r| r.products.contains(&MatrixUnit::Mma));
            assert!(
                asking.count() > 0,
                "no kernel for {target} in {dtype} uses mma.sync"
            );
            let warpgroups = rows
                .iter()
                .filter(own)
                .filter(|r| r.products.contains(&MatrixUnit::Wgmma));
            let meant = target == Target::Sm90a && dtype != "f32";
            assert_eq!(
                warpgroups.count() > 0,
                meant,
                "products of warpgroups on {target} in {dtype}"
            );
        }
    }
}
