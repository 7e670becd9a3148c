//! `mixc check`: parse and type-check definitions.

use crate::Outcome;
use crate::args::{CheckArgs, Format};
use crate::output::print_json;
use mixc::{Error, Mixer};
use serde::Serialize;

#[derive(Serialize)]
struct Checked {
    mixer: String,
    ok: bool,
    /// Rendered, with places.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<String>,
}

pub fn run(args: &CheckArgs, format: Format) -> Result<Outcome, Error> {
    let mut all = vec![];
    for mixer in &args.mixers {
        let errors = match Mixer::load(mixer) {
            Ok(_) => None,
            Err(Error::Definition(text)) => Some(text),
            Err(other) => return Err(other),
        };
        all.push(Checked {
            mixer: mixer.clone(),
            ok: errors.is_none(),
            errors,
        });
    }
    let ok = all.iter().all(|c| c.ok);
    match format {
        Format::Json => print_json(&all),
        Format::Text => {
            for checked in &all {
                match &checked.errors {
                    None => println!("{}: ok", checked.mixer),
                    Some(errors) => eprintln!("{}", errors.trim_end()),
                }
            }
        }
    }
    Ok(if ok { Outcome::Done } else { Outcome::Failed })
}
