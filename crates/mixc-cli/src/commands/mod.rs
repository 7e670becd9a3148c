//! One file for each command.

pub mod bench;
pub mod check;
pub mod completions;
pub mod devices;
pub mod explain;
pub mod list;
pub mod run;
pub mod verify;

use crate::sizes::Setting;
use std::collections::BTreeMap;

/// `--set` options as a map; the last one of a name wins.
fn settings(sets: &[Setting]) -> BTreeMap<String, f64> {
    sets.iter()
        .map(|Setting(name, value)| (name.clone(), *value))
        .collect()
}

/// Remarks for people, on standard error.
fn print_notes(notes: &[String]) {
    for note in notes {
        eprintln!("note: {note}");
    }
}
