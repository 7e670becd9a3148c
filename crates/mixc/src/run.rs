//! `mixc run`: one mixer on the tensors of a file.

use crate::compare::{OutputReport, compare_outputs, default_tolerance};
use crate::pipeline::{Form, Mixer, prepare};
use crate::{Binding, Direction, Error, Job, Outputs, Target};
use mixc_ir::{DType, Name};
use mixc_tensor::{Bundle, Tensor};
use std::collections::BTreeMap;

/// What to run, and how.
#[derive(Clone, Debug)]
pub struct RunOptions {
    pub target: Target,
    /// A form by name; the cheapest one that the target can run, if None.
    pub form: Option<String>,
    pub dtype: Option<DType>,
    pub direction: Direction,
    pub binding: Binding,
}

/// A finished run.
#[derive(Clone, Debug)]
pub struct RunResult {
    pub outputs: Outputs,
    pub form: String,
    /// Element type that results are judged by.
    pub dtype: DType,
    pub notes: Vec<String>,
}

/// Runs a mixer on the inputs in `file`.
pub fn run(mixer: &Mixer, file: &Bundle, options: &RunOptions) -> Result<RunResult, Error> {
    mixer.check_direction(options.direction)?;
    let bound = options.binding.inputs(&mixer.program, file)?;
    let mut notes = bound.notes.clone();
    let job = Job::new(&mixer.program, bound, options.dtype)?;
    let forms = mixer.forms(&job.sizes);
    let (form, executable) = match &options.form {
        Some(name) => {
            let form = find_form(&forms, name)?;
            (
                form,
                prepare(form, &options.target, &job, &BTreeMap::new())?,
            )
        }
        None => first_that_prepares(
            &mixer.by_cost(&forms, &job.sizes),
            &options.target,
            &job,
            &mut notes,
        )?,
    };
    let outputs = executable.run(&job)?;
    Ok(RunResult {
        outputs,
        form: form.name.clone(),
        dtype: job.dtype,
        notes,
    })
}

/// Compares a run with the reference outputs in `file`.
///
/// # Errors
/// If the file has none of the outputs: a comparison of nothing is a mistake, not a success.
pub fn compare_run(
    mixer: &Mixer,
    result: &RunResult,
    file: &Bundle,
    binding: &Binding,
    tolerance: Option<f64>,
) -> Result<Vec<OutputReport>, Error> {
    let mut references: BTreeMap<Name, Tensor> = BTreeMap::new();
    for output in &mixer.program.outputs {
        if let Some(reference) = binding.reference(&mixer.program, file, &output.name)? {
            references.insert(output.name.clone(), reference);
        }
    }
    if references.is_empty() {
        let names: Vec<&str> = mixer.program.outputs.iter().map(|o| &*o.name).collect();
        return Err(Error::usage(format!(
            "the file has none of the outputs {} to compare with (use --rename FILE_NAME=OUTPUT)",
            names.join(", ")
        )));
    }
    let tolerance = tolerance.unwrap_or_else(|| default_tolerance(result.dtype));
    Ok(compare_outputs(&result.outputs, &references, tolerance))
}

pub(crate) fn find_form<'a>(forms: &'a [Form], name: &str) -> Result<&'a Form, Error> {
    forms.iter().find(|f| f.name == name).ok_or_else(|| {
        let names: Vec<&str> = forms.iter().map(|f| &*f.name).collect();
        let message = format!("this mixer has no form '{name}', only {}", names.join(", "));
        Error::Usage(crate::error::with_suggestion(message, name, names))
    })
}

/// The first form, cheapest first, that the target can execute. Forms without a schedule are noted.
pub(crate) fn first_that_prepares<'a>(
    forms: &[&'a Form],
    target: &Target,
    job: &Job,
    notes: &mut Vec<String>,
) -> Result<(&'a Form, crate::execute::Executable), Error> {
    let mut last = None;
    for form in forms {
        match prepare(form, target, job, &BTreeMap::new()) {
            Ok(executable) => return Ok((form, executable)),
            Err(e @ Error::Schedule(_)) => {
                notes.push(format!("form '{}' is passed over: {e}", form.name));
                last = Some(e);
            }
            Err(e) => return Err(e),
        }
    }
    Err(last.unwrap_or_else(|| Error::Execution("bug: a mixer without forms".to_owned())))
}
