//! `mixc explain`: the forms of a mixer, what led to each, what each would cost, and the kernels of
//! the one that would be chosen.

mod kernels;

pub use kernels::{GpuLine, Resources, Simulated};

use crate::bench::flops;
use crate::choose::{candidates, choose, device, find_form};
use crate::devices::Peaks;
use crate::execute::Executable;
use crate::gpu::{Fitted, model};
use crate::pipeline::Mixer;
use crate::problem::{Sizes, awkward_sizes, random_job};
use crate::{Choices, Error, Form, Job, Target};
use mixc_ir::{DType, Name};
use mixc_tensor::Pattern;
use std::collections::BTreeMap;

#[derive(Clone, Debug, serde::Serialize)]
pub struct ExplainReport {
    pub forms: Vec<FormLine>,
    pub kernels: Vec<KernelLine>,
    pub search: Search,
    /// The least time that the inputs, the outputs and the arithmetic of the cheapest form need at
    /// the peaks: measured ones of this CPU, published ones of a card for a GPU.
    pub roofline_ms: Option<f64>,
    /// The card whose published peaks the predictions for a GPU go by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// Reasons why forms were passed over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What equality saturation did.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Search {
    pub classes: usize,
    pub nodes: usize,
    pub iterations: usize,
    pub ms: f64,
    /// Why it stopped: saturated, or which limit it met.
    pub stopped: String,
}

#[derive(Clone, Debug, serde::Serialize)]
pub struct FormLine {
    pub name: String,
    pub rules: Vec<String>,
    /// Arithmetic in the kernels.
    pub flops: f64,
    /// Memory that the kernels load and store.
    pub bytes: f64,
    /// Statements that have to be executed one after the other.
    pub depth: f64,
    pub predicted_ms: f64,
    /// Whether the scheduler can make kernels for it.
    pub kernels: bool,
    pub chosen: bool,
}

#[derive(Clone, Debug, serde::Serialize)]
pub struct KernelLine {
    pub name: String,
    pub template: String,
    pub params: BTreeMap<String, i64>,
    pub target: String,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuLine>,
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
    choices: &Choices,
    peaks: Option<Peaks>,
) -> Result<ExplainReport, Error> {
    let job = example_job(mixer, sizes, sets, dtype)?;
    let derivation = mixer.derive(&job.sizes, target);
    let (forms, found) = (derivation.forms, derivation.report);
    let mut notes = found.notes;
    let search = Search {
        classes: found.classes,
        nodes: found.nodes,
        iterations: found.iterations,
        ms: found.micros as f64 / 1e3,
        stopped: found.stop_reason,
    };
    choices.check(&forms, target)?;
    let candidates = candidates(&forms, target, &job, choices, &mut notes);
    let wanted = match form {
        Some(name) => Some(find_form(&forms, name)?.name.as_str()),
        None => candidates.first().map(|c| c.form.name.as_str()),
    };
    let line = |f: &Form| {
        // Counted in the kernels; for a form without kernels, estimated from its terms.
        let counted = candidates
            .iter()
            .find(|c| c.form.name == f.name)
            .map(|c| c.cost);
        let cost = counted.unwrap_or_else(|| f.cost(&job.sizes, &device(target)));
        FormLine {
            name: f.name.clone(),
            rules: f.rules.clone(),
            flops: flops(&cost),
            bytes: cost.bytes,
            depth: cost.depth,
            kernels: counted.is_some(),
            predicted_ms: cost.seconds * 1e3,
            chosen: wanted == Some(f.name.as_str()),
        }
    };
    let lines: Vec<FormLine> = forms.iter().map(line).collect();
    let chosen = candidates
        .iter()
        .find(|c| wanted == Some(c.form.name.as_str()));
    let kernels = chosen.map_or_else(Vec::new, |c| {
        let mut gpu = match target {
            Target::Gpu(_) => kernels::lines(mixer, c, target, &job, choices, &mut notes),
            _ => vec![],
        }
        .into_iter();
        let line = |k: &mixc_tile::Kernel| KernelLine {
            name: k.name.clone(),
            template: c.schedule.template.clone(),
            params: c.schedule.knobs.clone(),
            target: target.to_string(),
            gpu: gpu.next(),
        };
        c.schedule.kernels.iter().map(line).collect()
    });
    let least = lines.iter().map(|l| l.flops).fold(f64::INFINITY, f64::min);
    let card = match target {
        Target::Gpu(gpu) => Some(model::card(*gpu)),
        _ => None,
    };
    let rates = match card {
        Some(card) => Some((
            card.matrix_rate(dtype, choices.precision.unwrap_or_default()),
            card.bandwidth,
        )),
        None => peaks.map(|p| (p.f32_gflops * 1e9, p.read_gbps * 1e9)),
    };
    let roofline_ms = rates
        .filter(|_| least.is_finite())
        .map(|(arithmetic, bandwidth)| {
            (least / arithmetic).max(traffic(mixer, &job, dtype) / bandwidth) * 1e3
        });
    Ok(ExplainReport {
        forms: lines,
        kernels,
        search,
        roofline_ms,
        card: card.map(|c| format!("{} ({})", c.name, c.source)),
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

/// The chosen or named form of a mixer, made executable for an example.
pub fn example_executable(
    mixer: &Mixer,
    sizes: &BTreeMap<String, i64>,
    sets: &BTreeMap<String, f64>,
    target: &Target,
    dtype: DType,
    form: Option<&str>,
    choices: &Choices,
) -> Result<Executable, Error> {
    let job = example_job(mixer, sizes, sets, dtype)?;
    let forms = mixer.forms(&job.sizes, target);
    Ok(choose(&forms, form, target, &job, choices, &mut vec![])?.1)
}

/// The schedule of the chosen or named form of a mixer for an example, and its MLIR.
pub fn example_fitted(
    mixer: &Mixer,
    sizes: &BTreeMap<String, i64>,
    sets: &BTreeMap<String, f64>,
    target: mixc_ptx::Target,
    dtype: DType,
    form: Option<&str>,
    choices: &Choices,
) -> Result<Fitted, Error> {
    let job = example_job(mixer, sizes, sets, dtype)?;
    let (target, mut notes) = (Target::Gpu(target), vec![]);
    let forms = mixer.forms(&job.sizes, &target);
    choices.check(&forms, &target)?;
    let named = form.map(|name| find_form(&forms, name)).transpose()?;
    let wanted: Vec<&Form> = named.map_or_else(|| forms.iter().collect(), |f| vec![f]);
    let found = candidates(wanted, &target, &job, choices, &mut notes);
    let first = found.into_iter().next();
    let first = first.ok_or_else(|| Error::Unavailable(notes.join("\n")))?;
    Ok(Fitted {
        schedule: first.schedule,
        kernels: first.gpu.into_iter().map(|(lowered, _)| lowered).collect(),
    })
}
