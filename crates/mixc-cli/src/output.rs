//! Printing: tables for people, JSON for programs.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

/// One JSON document on standard output.
pub fn print_json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => println!("{text}"),
        Err(e) => panic!("bug: a report does not serialise: {e}"),
    }
}

/// A plain table: a header, columns apart by spaces. Columns listed in `right` are right-aligned.
pub fn print_table(header: &[&str], right: &[usize], rows: Vec<Vec<String>>) {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.to_vec());
    table.add_rows(rows);
    for &column in right {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for line in table.to_string().lines() {
        println!("{}", line.strip_prefix(' ').unwrap_or(line).trim_end());
    }
}

/// `1.23e-7`, or a dash.
pub fn error_text(value: Option<f64>) -> String {
    value.map_or_else(
        || "-".to_owned(),
        |v| {
            if v == 0.0 {
                "0".to_owned()
            } else {
                format!("{v:.2e}")
            }
        },
    )
}

/// Milliseconds with three significant digits.
pub fn ms_text(ms: f64) -> String {
    let digits = if ms >= 100.0 {
        0
    } else if ms >= 10.0 {
        1
    } else if ms >= 1.0 {
        2
    } else {
        4
    };
    format!("{ms:.digits$}")
}

/// `2x41x2x16`, or `scalar`.
pub fn shape_text(shape: &[usize]) -> String {
    if shape.is_empty() {
        return "scalar".to_owned();
    }
    shape
        .iter()
        .map(usize::to_string)
        .collect::<Vec<_>>()
        .join("x")
}

/// `ok` or `FAIL`.
pub fn ok_text(ok: bool) -> String {
    if ok { "ok" } else { "FAIL" }.to_owned()
}
