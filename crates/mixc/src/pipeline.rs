//! From text to something that runs, top to bottom.
//!
//! ```text
//! source -> mixc_lang::compile -> Program -> mixc_rewrite::derive -> Form
//!        -> mixc_schedule::schedule -> Kernels -> mixc_cpu::compile -> machine code
//!                                              \-> mixc_ptx::lower -> MLIR -> mixc_nvtools -> PTX
//! ```

use crate::catalogue::{find_mixer, load_source};
use crate::choose::device;
use crate::{Direction, Error, Target};
use mixc_ir::{Name, Program};
use mixc_rewrite::{Derivation, Form};
use mixc_text::Source;
use std::collections::BTreeMap;

/// A definition that parsed and type-checked.
#[derive(Clone, Debug)]
pub struct Mixer {
    pub program: Program,
    pub source: Source,
}

impl Mixer {
    /// Loads a `MIXER` argument: a path, a shipped name, or `PATH#NAME` for a file with several mixers.
    pub fn load(mixer: &str) -> Result<Mixer, Error> {
        let (place, wanted) = match mixer.rsplit_once('#') {
            Some((place, name)) => (place, Some(name)),
            None => (mixer, None),
        };
        let (source, shipped) = match wanted {
            None => find_mixer(place)?,
            Some(_) => (load_source(place)?, None),
        };
        let programs = compile(&source)?;
        let wanted = wanted.or(shipped.as_deref());
        let program = select(programs, wanted, &source.name)?;
        Ok(Mixer { program, source })
    }

    /// # Errors
    /// If this version has no such function of the mixer.
    pub fn check_direction(&self, direction: Direction) -> Result<(), Error> {
        match direction {
            Direction::Forward => Ok(()),
            other => Err(Error::Unavailable(format!(
                "direction {other} is not available in this version"
            ))),
        }
    }

    /// The forms found for these sizes; the first is the program as written, the others follow from
    /// the cheapest to the dearest on the target.
    pub fn forms(&self, sizes: &BTreeMap<Name, i64>, target: &Target) -> Vec<Form> {
        self.derive(sizes, target).forms
    }

    /// The forms, and what the search for them did.
    pub fn derive(&self, sizes: &BTreeMap<Name, i64>, target: &Target) -> Derivation {
        let options = mixc_rewrite::Options {
            sizes: sizes.clone(),
            // The scheduler has no loop over chunks within a chunk yet.
            chunks_of_chunks: false,
            device: device(target),
            ..mixc_rewrite::Options::default()
        };
        let derivation = mixc_rewrite::derive(&self.program, &options);
        let report = &derivation.report;
        tracing::info!(
            mixer = self.program.name,
            forms = derivation.forms.len(),
            nodes = report.nodes,
            micros = report.micros,
            stop = report.stop_reason,
            notes = ?report.notes,
            "derived"
        );
        derivation
    }
}

/// Parses and type-checks every mixer of a source.
///
/// # Errors
/// Every mistake, rendered with its place.
pub fn compile(source: &Source) -> Result<Vec<Program>, Error> {
    mixc_lang::compile(source).map_err(|found| Error::Definition(source.render(&found)))
}

/// The mixer called `wanted`, or the only one of the file.
fn select(programs: Vec<Program>, wanted: Option<&str>, file: &str) -> Result<Program, Error> {
    let names: Vec<String> = programs.iter().map(|p| p.name.clone()).collect();
    let found = match wanted {
        Some(name) => programs.into_iter().find(|p| p.name == name),
        None if programs.len() == 1 => programs.into_iter().next(),
        None => None,
    };
    found.ok_or_else(|| match (wanted, names.is_empty()) {
        (_, true) => Error::usage(format!("{file} defines no mixer")),
        (Some(name), _) => Error::usage(format!(
            "{file} has no mixer '{name}', only {}",
            names.join(", ")
        )),
        (None, _) => Error::usage(format!(
            "{file} has several mixers; choose with {file}#{}",
            names.join(" or #")
        )),
    })
}
