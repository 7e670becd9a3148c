//! `mixc explain`: the forms of a mixer, what led to each, what each would cost, and the kernels of
//! the one that would be chosen.

use crate::devices::Peaks;
use crate::pipeline::{Mixer, prepare};
use crate::problem::{Sizes, awkward_sizes, random_job};
use crate::run::{find_form, first_that_prepares};
use crate::{Error, Job, Target};
use mixc_ir::{DType, Name};
use mixc_tensor::Pattern;
use std::collections::BTreeMap;

#[derive(Clone, Debug, serde::Serialize)]
pub struct ExplainReport {
    pub forms: Vec<FormLine>,
    pub kernels: Vec<KernelLine>,
    /// The least time that the inputs, the outputs and the arithmetic of the cheapest form need at
    /// the measured peaks.
    pub roofline_ms: Option<f64>,
    /// Reasons why forms were passed over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, serde::Serialize)]
pub struct FormLine {
    pub name: String,
    pub rules: Vec<String>,
    pub flops: f64,
    pub bytes: f64,
    pub depth: f64,
    pub predicted_ms: f64,
    pub chosen: bool,
}

#[derive(Clone, Debug, serde::Serialize)]
pub struct KernelLine {
    pub template: String,
    pub params: BTreeMap<String, i64>,
    pub target: String,
    /// The tile program.
    #[serde(skip)]
    pub text: String,
}

/// Explains a mixer for sizes (missing ones are made up), a target and an element type. With `form`,
/// that form counts as the chosen one.
pub fn explain(
    mixer: &Mixer,
    sizes: &BTreeMap<String, i64>,
    sets: &BTreeMap<String, f64>,
    target: &Target,
    dtype: DType,
    form: Option<&str>,
    peaks: Option<Peaks>,
) -> Result<ExplainReport, Error> {
    let job = example_job(mixer, sizes, sets, dtype)?;
    let forms = mixer.forms(&job.sizes);
    let mut notes = vec![];
    let candidates = match form {
        Some(name) => vec![find_form(&forms, name)?],
        None => mixer.by_cost(&forms, &job.sizes),
    };
    let chosen = match target {
        Target::Gpu(_) => None,
        _ => first_that_prepares(&candidates, target, &job, &mut notes)
            .map_err(|e| notes.push(e.to_string()))
            .ok(),
    };
    let line = |f: &crate::Form| {
        let work = f.work(&job.sizes);
        FormLine {
            name: f.name.clone(),
            rules: f.rules.clone(),
            flops: work.flops,
            bytes: work.bytes,
            depth: work.depth,
            predicted_ms: work.seconds * 1e3,
            chosen: chosen.as_ref().is_some_and(|(c, _)| c.name == f.name),
        }
    };
    let lines: Vec<FormLine> = forms.iter().map(line).collect();
    let schedule = chosen
        .as_ref()
        .and_then(|(_, executable)| executable.schedule());
    let kernels = schedule.map_or_else(Vec::new, |s| {
        let line = |k: &mixc_tile::Kernel| KernelLine {
            template: s.template.clone(),
            params: s.knobs.clone(),
            target: target.to_string(),
            text: k.to_string(),
        };
        s.kernels.iter().map(line).collect()
    });
    let flops = lines.iter().map(|l| l.flops).fold(f64::INFINITY, f64::min);
    let roofline_ms = peaks.map(|p| {
        let arithmetic = flops / (p.f32_gflops * 1e9);
        let traffic = traffic(mixer, &job, dtype) / (p.read_gbps * 1e9);
        arithmetic.max(traffic) * 1e3
    });
    Ok(ExplainReport {
        forms: lines,
        kernels,
        roofline_ms,
        notes,
    })
}

/// A job with the given sizes; the others take values that fit.
pub fn example_job(
    mixer: &Mixer,
    sizes: &BTreeMap<String, i64>,
    sets: &BTreeMap<String, f64>,
    dtype: DType,
) -> Result<Job, Error> {
    let program = &mixer.program;
    let mut fixed: Sizes = sizes
        .iter()
        .map(|(name, n)| (Name::from(name.as_str()), *n))
        .collect();
    if let Some(name) = fixed
        .keys()
        .find(|n| !program.dims.contains(*n) && program.scalar(n).is_none())
    {
        let dims: Vec<&str> = program.dims.iter().map(|d| &**d).collect();
        return Err(Error::usage(format!(
            "--shape: this mixer has no size '{name}', only {}",
            dims.join(", ")
        )));
    }
    if program.dims.iter().any(|d| !fixed.contains_key(d)) {
        let found = awkward_sizes(program, &fixed, 1, 1)
            .into_iter()
            .find(|s| s.values().all(|n| *n > 0));
        fixed = found
            .ok_or_else(|| Error::usage("--shape: no sizes fit the constraints of this mixer"))?;
    }
    random_job(program, &fixed, sets, Pattern::Normal, dtype, 1)
}

/// Bytes of all inputs and outputs.
fn traffic(mixer: &Mixer, job: &Job, dtype: DType) -> f64 {
    let inputs: usize = job
        .tensors
        .values()
        .map(|t| t.len() * t.dtype().size_bytes())
        .sum();
    let extent = |axis: &Name| {
        mixer
            .program
            .axes
            .get(axis)
            .and_then(|ix| ix.eval_sizes(&job.sizes))
            .unwrap_or(1) as f64
    };
    let outputs: f64 = mixer
        .program
        .outputs
        .iter()
        .map(|o| o.axes.iter().map(extent).product::<f64>())
        .sum();
    inputs as f64 + outputs * dtype.size_bytes() as f64
}

/// The tile programs of a form, printed.
pub fn tile_text(
    mixer: &Mixer,
    sizes: &BTreeMap<String, i64>,
    sets: &BTreeMap<String, f64>,
    dtype: DType,
    form: Option<&str>,
) -> Result<String, Error> {
    let job = example_job(mixer, sizes, sets, dtype)?;
    let forms = mixer.forms(&job.sizes);
    let executable = match form {
        Some(name) => prepare(
            find_form(&forms, name)?,
            &Target::Tile,
            &job,
            &BTreeMap::new(),
        )?,
        None => {
            first_that_prepares(
                &mixer.by_cost(&forms, &job.sizes),
                &Target::Tile,
                &job,
                &mut vec![],
            )?
            .1
        }
    };
    let kernels = executable
        .schedule()
        .map(|s| s.kernels.as_slice())
        .unwrap_or_default();
    Ok(kernels
        .iter()
        .map(|k| k.to_string())
        .collect::<Vec<_>>()
        .join("\n"))
}
