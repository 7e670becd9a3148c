//! From text to something that runs, top to bottom.
//!
//! ```text
//! source -> mixc_lang::compile -> Program -> mixc_rewrite::derive -> Form
//!        -> mixc_schedule::schedule -> Kernels -> mixc_cpu::compile -> machine code
//! ```

use crate::execute::Executable;
use crate::{Direction, Error, Job, Target, load_source};
use mixc_ir::{Name, Program};
use mixc_text::Source;
use std::collections::BTreeMap;

/// A definition that parsed and type-checked.
#[derive(Clone, Debug)]
pub struct Mixer {
    pub program: Program,
    pub source: Source,
}

/// A way to compute a mixer.
#[derive(Clone, Debug)]
pub struct Form {
    pub name: String,
    pub program: Program,
    pub rules: Vec<String>,
}

impl Mixer {
    /// Loads a path or a shipped name.
    pub fn load(mixer: &str) -> Result<Mixer, Error> {
        Mixer::compile(load_source(mixer)?)
    }

    /// # Errors
    /// Every mistake in the definition, rendered with its place.
    pub fn compile(source: Source) -> Result<Mixer, Error> {
        let _ = source;
        Err(Error::Unavailable(
            "the language is not there yet".to_owned(),
        ))
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

    /// Forms by predicted cost, cheapest first.
    pub fn by_cost<'a>(&self, forms: &'a [Form], sizes: &BTreeMap<Name, i64>) -> Vec<&'a Form> {
        let _ = sizes;
        forms.iter().collect()
    }

    /// The forms found for these sizes; the first is the program as written.
    pub fn forms(&self, sizes: &BTreeMap<Name, i64>) -> Vec<Form> {
        let _ = sizes;
        vec![Form {
            name: "plain".to_owned(),
            program: self.program.clone(),
            rules: vec![],
        }]
    }
}

impl Form {
    /// Arithmetic operations.
    pub fn flops(&self, sizes: &BTreeMap<Name, i64>) -> f64 {
        let _ = sizes;
        0.0
    }
}

/// Makes a form executable for one problem on a target. `knobs` overrides the scheduler's choices.
pub fn prepare(
    form: &Form,
    target: &Target,
    job: &Job,
    knobs: &BTreeMap<String, i64>,
) -> Result<Executable, Error> {
    Executable::new(form, target, job, knobs)
}
