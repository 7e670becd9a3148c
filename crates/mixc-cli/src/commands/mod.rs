//! One file for each command.

pub mod bench;
pub mod bundle;
pub mod check;
pub mod completions;
pub mod devices;
pub mod explain;
pub mod list;
pub mod run;
pub mod simulate;
pub mod verify;

use crate::args::ChoiceArgs;
use crate::sizes::{Knob, Setting};
use mixc::Choices;
use std::collections::BTreeMap;

/// `--set` options as a map; the last one of a name wins.
fn settings(sets: &[Setting]) -> BTreeMap<String, f64> {
    sets.iter()
        .map(|Setting(name, value)| (name.clone(), *value))
        .collect()
}

/// `--knob`, `--warps`, `--stages` and `--precision` together; the last knob of a name wins.
fn choices(args: &ChoiceArgs) -> Choices {
    let mut knobs: BTreeMap<String, i64> = args
        .knobs
        .iter()
        .map(|Knob(name, value)| (name.clone(), *value))
        .collect();
    let own = [("warps", args.warps), ("stages", args.stages)];
    knobs.extend(
        own.into_iter()
            .filter_map(|(n, v)| Some((n.to_owned(), v?))),
    );
    Choices {
        knobs,
        precision: args.precision,
    }
}

/// Remarks for people, on standard error.
fn print_notes(notes: &[String]) {
    for note in notes {
        eprintln!("note: {note}");
    }
}
