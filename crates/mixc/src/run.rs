//! `mixc run`: one mixer on the tensors of a file.

use crate::choose::choose;
use crate::compare::{OutputReport, compare_outputs, default_tolerance};
use crate::pipeline::Mixer;
use crate::{Binding, Choices, Direction, Error, Job, Outputs, Precision, Target};
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
    pub choices: Choices,
}

/// A finished run.
#[derive(Clone, Debug)]
pub struct RunResult {
    pub outputs: Outputs,
    pub form: String,
    /// Element type that results are judged by, and how f32 matrices were multiplied.
    pub dtype: DType,
    pub precision: Option<Precision>,
    /// Every knob with the value taken.
    pub params: BTreeMap<String, i64>,
    /// Whether a simulator stood in for the target; then there is no time.
    pub simulated: bool,
    pub notes: Vec<String>,
}

/// Runs a mixer on the inputs in `file`.
pub fn run(mixer: &Mixer, file: &Bundle, options: &RunOptions) -> Result<RunResult, Error> {
    mixer.check_direction(options.direction)?;
    let bound = options.binding.inputs(&mixer.program, file)?;
    let mut notes = bound.notes.clone();
    let job = Job::new(&mixer.program, bound, options.dtype)?;
    let forms = mixer.forms(&job.sizes, &options.target);
    let (form, executable) = choose(
        &forms,
        options.form.as_deref(),
        &options.target,
        &job,
        &options.choices,
        &mut notes,
    )?;
    let outputs = executable.run(&job)?;
    Ok(RunResult {
        outputs,
        form: form.name.clone(),
        dtype: job.dtype,
        precision: options.choices.precision,
        params: executable.params(),
        simulated: executable.is_simulated(),
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
    let tolerance = tolerance.unwrap_or_else(|| default_tolerance(result.dtype, result.precision));
    Ok(compare_outputs(&result.outputs, &references, tolerance))
}
