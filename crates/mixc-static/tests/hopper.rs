//! The kernels that the Hopper path is judged by become the machine code that was meant: warpgroup products, bulk tensor
//! copies, no spill, and no remark of ptxas (which says so where it serialises products).
//!
//! The sweep over all mixers is `mixc-static --out benches/results`; it takes over an hour.

use mixc_ptx::Target;
use mixc_static::{Plan, Problems, Row, Table, Tools, sweep};
use std::path::Path;

fn rows(mixers: &[&str], forms: &[&str]) -> Vec<Row> {
    let benches = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches");
    let problems = Problems::read(&benches.join("static.toml")).unwrap();
    let tools = Tools::find().unwrap_or_else(|e| panic!("{e}"));
    let plan = Plan {
        mixers: mixers.iter().map(|n| (*n).to_owned()).collect(),
        forms: forms.iter().map(|n| (*n).to_owned()).collect(),
        targets: vec![Target::Sm90a],
        dtypes: vec![mixc_ir::DType::Bf16],
        ..Plan::default()
    };
    let (rows, _) = sweep(&tools, &problems, &plan, &Table::default(), &|_| ()).unwrap();
    rows
}

/// Checks every kernel of head sizes 64 and 128, and returns how many have bulk tensor copies.
fn assert_as_meant(rows: &[Row]) -> usize {
    assert!(!rows.is_empty());
    let mut copying = 0;
    for row in rows {
        let what = format!("{} {} {} #{}", row.mixer, row.form, row.shape, row.index);
        let machine = row
            .machine
            .as_ref()
            .unwrap_or_else(|| panic!("{what}: {:?}", row.error));
        assert_eq!(
            (machine.spill_stores, machine.spill_loads),
            (0, 0),
            "{what}"
        );
        assert!(
            machine.findings.is_empty(),
            "{what}: {:?}",
            machine.findings
        );
        assert!(row.missing_products().is_empty(), "{what}");
        let copies = |unit: &String| unit.starts_with("UTMALDG");
        copying += usize::from(machine.units.keys().any(copies));
    }
    copying
}

#[test]
fn attention_has_warpgroup_products_and_bulk_copies() {
    let rows = rows(&["attention_causal", "attention_softcap"], &["online"]);
    assert_eq!(assert_as_meant(&rows), rows.len());
    let products = |row: &Row| {
        let units = &row.machine.as_ref().unwrap().units;
        units.keys().any(|u| u.starts_with("HGMMA.64x128x16"))
    };
    assert!(rows.iter().all(products));
}

#[test]
fn chunked_recurrences_have_warpgroup_products_and_bulk_copies() {
    let rows = rows(&["simple_gla", "retention"], &["chunkwise"]);
    assert_eq!(assert_as_meant(&rows), rows.len());
}
