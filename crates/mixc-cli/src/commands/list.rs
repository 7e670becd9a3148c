//! `mixc list`: the shipped mixers.

use crate::Outcome;
use crate::args::Format;
use crate::output::{print_json, print_table};
use mixc::{Error, Listed, list};

pub fn run(format: Format) -> Result<Outcome, Error> {
    let mixers = list()?;
    match format {
        Format::Json => print_json(&mixers),
        Format::Text => {
            let row = |m: Listed| {
                vec![
                    m.name,
                    m.family,
                    m.directions.join(","),
                    m.targets.join(","),
                    m.paper.unwrap_or_default(),
                ]
            };
            print_table(
                &["name", "family", "directions", "targets", "paper"],
                &[],
                mixers.into_iter().map(row).collect(),
            );
        }
    }
    Ok(Outcome::Done)
}
