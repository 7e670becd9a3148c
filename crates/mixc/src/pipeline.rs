//! From text to something that runs, top to bottom.
//!
//! ```text
//! source -> mixc_lang::compile -> Program -> mixc_rewrite::derive -> Form
//!        -> mixc_schedule::schedule -> Kernels -> mixc_cpu::compile -> machine code
//! ```

use crate::catalogue::{find_mixer, load_source};
use crate::execute::Executable;
use crate::{Direction, Error, Job, Target};
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

/// Work of a form for given sizes, by the cost model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    pub flops: f64,
    pub bytes: f64,
    pub depth: f64,
    pub seconds: f64,
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

    /// The forms found for these sizes; the first is the program as written.
    pub fn forms(&self, sizes: &BTreeMap<Name, i64>) -> Vec<Form> {
        let _ = sizes;
        vec![Form {
            name: "plain".to_owned(),
            program: self.program.clone(),
            rules: vec![],
        }]
    }

    /// Forms by predicted time, fastest first.
    pub fn by_cost<'a>(&self, forms: &'a [Form], sizes: &BTreeMap<Name, i64>) -> Vec<&'a Form> {
        let mut sorted: Vec<(f64, &Form)> =
            forms.iter().map(|f| (f.work(sizes).seconds, f)).collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        sorted.into_iter().map(|(_, form)| form).collect()
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

impl Form {
    /// What the cost model says.
    pub fn work(&self, sizes: &BTreeMap<Name, i64>) -> Work {
        let _ = sizes;
        Work::default()
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
