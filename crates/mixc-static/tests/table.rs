//! Every kernel of every form of every shipped mixer becomes machine code for every architecture, and the machine code is
//! what was meant.
//!
//! Assembling all of them takes half an hour, too long for a test. All are lowered; those whose text is in the committed
//! table are taken from there. Of the others a share is translated and assembled now, and so is a share of the known
//! ones, whose figures must come out as the table has them. How many were left out is printed.

use mixc_ptx::Target;
use mixc_static::{
    MatrixUnit, Plan, Problems, Row, Table, Tools, spilling, sweep, to_lines, unneeded,
    unreached_spills, without_code,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const REMEDY: &str =
    "bring the table up to date: cargo run --release -p mixc-static -- --out benches/results";

/// Forms that are assembled now though the table knows them, and of those that it does not know.
const KNOWN: usize = 6;
const UNKNOWN: usize = 12;

fn benches() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches")
}

fn problems() -> Problems {
    Problems::read(&benches().join("static.toml")).unwrap()
}

/// A form of a mixer on an architecture.
type Part = (String, String, String);

fn part(row: &Row) -> Part {
    (row.mixer.clone(), row.form.clone(), row.target.clone())
}

/// All kernels as they are lowered now, with machine code where the table or this test has it.
struct Now {
    rows: Vec<Row>,
    /// Rows of the table for the same texts as rows that were assembled now.
    compared: Vec<(Row, Row)>,
    left_out: usize,
}

fn now() -> &'static Now {
    static NOW: OnceLock<Now> = OnceLock::new();
    NOW.get_or_init(|| {
        let tools = Tools::find().unwrap_or_else(|e| panic!("{e}"));
        let table = Table::read(&benches().join("results/static.jsonl")).unwrap();
        let recorded: BTreeMap<String, Row> =
            table.rows().map(|r| (r.hash.clone(), r.clone())).collect();
        // Other versions of the tools give other figures, but take the same texts.
        let here = tools.versions();
        let same_tools = table.rows().all(|r| r.tools.is_empty() || r.tools == here);
        if !same_tools {
            println!("the table was made with other tools than {here}: figures are not compared");
        }
        let lowering = Plan {
            only_lowering: true,
            ..Plan::default()
        };
        let run = |plan: &Plan, known: &Table| {
            sweep(&tools, &problems(), plan, known, &|_| ()).unwrap().0
        };
        let mut rows = run(&lowering, &table.made_with(&here));
        let is_open = |r: &&Row| r.machine.is_none() && r.error.is_none();
        let unknown: BTreeSet<Part> = rows.iter().filter(is_open).map(part).collect();
        let known: BTreeSet<Part> = rows
            .iter()
            .map(part)
            .filter(|p| !unknown.contains(p))
            .collect();
        let chosen = spread(&unknown, UNKNOWN).chain(spread(&known, KNOWN));
        let mut compared = vec![];
        for (mixer, form, target) in chosen {
            let plan = Plan {
                mixers: [mixer.clone()].into(),
                forms: [form.clone()].into(),
                targets: Target::ALL
                    .into_iter()
                    .filter(|t| t.chip() == target)
                    .collect(),
                ..Plan::default()
            };
            for made in run(&plan, &Table::default()) {
                let of_table = recorded
                    .get(&made.hash)
                    .filter(|_| same_tools && !made.hash.is_empty());
                compared.extend(of_table.map(|r| (r.clone(), made.clone())));
                rows.retain(|r| r.key() != made.key());
                rows.push(made);
            }
        }
        let left_out = rows.iter().filter(is_open).count();
        println!(
            "{} kernels, {left_out} of them neither in the table nor assembled now",
            rows.len()
        );
        Now {
            rows,
            compared,
            left_out,
        }
    })
}

/// About `count` of the parts, evenly.
fn spread(parts: &BTreeSet<Part>, count: usize) -> impl Iterator<Item = &Part> {
    parts.iter().step_by(parts.len().div_ceil(count).max(1))
}

/// Rows as text, one a line.
fn lines<'r>(rows: impl IntoIterator<Item = &'r Row>) -> String {
    to_lines(rows)
}

#[test]
fn every_kernel_assembles_for_every_architecture() {
    let accepted = problems().without_code;
    let looked_at = now()
        .rows
        .iter()
        .filter(|r| r.machine.is_some() || r.error.is_some());
    let failed = without_code(looked_at, &accepted);
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
        let machine = r.machine.as_ref();
        machine.is_some_and(|m| !m.externs.is_empty() || !m.findings.is_empty())
    };
    let with_remarks: Vec<&Row> = now().rows.iter().filter(remarks).collect();
    assert!(
        with_remarks.is_empty(),
        "ptxas remarks on these, or they call functions that are not there:\n{}",
        lines(with_remarks)
    );
}

/// A table that knows few of today's kernels says little about them.
#[test]
fn the_table_is_of_today() {
    let (all, open) = (now().rows.len(), now().left_out);
    assert!(
        open * 4 < all,
        "{open} of {all} kernels are not in the table; {REMEDY}"
    );
}

#[test]
fn known_kernels_come_out_as_the_table_says() {
    for (recorded, made) in &now().compared {
        let same = made.machine == recorded.machine;
        assert!(
            same,
            "the same text became another kernel; {REMEDY}, with --fresh\n{}{}",
            lines([recorded]),
            lines([made])
        );
    }
    println!("{} kernels compared", now().compared.len());
    assert!(!now().rows.is_empty());
}

/// Where no tile of any form fits in shared memory, `benches/static.toml` says so.
#[test]
fn every_mixer_has_kernels_on_every_architecture() {
    let lowered = now().rows.iter().filter(|r| r.error.is_none());
    let has: BTreeSet<(&str, &str)> = lowered.map(|r| (&*r.mixer, &*r.target)).collect();
    let listed = mixc::list().unwrap();
    let wanted = listed
        .iter()
        .flat_map(|l| Target::ALL.map(|t| (l.name.as_str(), t.chip())));
    let accepted = problems().without_code;
    let excused = |mixer: &str, target: &str| {
        let mut entries = accepted.iter();
        entries.any(|a| a.mixer.as_deref() == Some(mixer) && a.target.as_deref() == Some(target))
    };
    let missing: Vec<_> = wanted
        .filter(|part| !has.contains(part) && !excused(part.0, part.1))
        .collect();
    assert!(missing.is_empty(), "{missing:?} have no kernels");
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
    let (with, without): (Vec<_>, Vec<_>) = producers.partition(|(_, has)| *has);
    assert!(!with.is_empty());
    let without: Vec<&Row> = without.into_iter().map(|(r, _)| r).collect();
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
    let too_much = unreached_spills(&now().rows, &accepted);
    assert!(
        too_much.is_empty() || now().left_out > 0,
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
        let uses = |unit: MatrixUnit| {
            let mut own = rows.iter().filter(|r| r.target == target.chip());
            own.any(|r| r.products.contains(&unit))
        };
        assert!(
            uses(MatrixUnit::Mma),
            "no kernel for {target} uses mma.sync"
        );
        let meant = target == Target::Sm90a;
        assert_eq!(
            uses(MatrixUnit::Wgmma),
            meant,
            "products of warpgroups on {target}"
        );
    }
}
