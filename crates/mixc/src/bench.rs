//! `mixc bench`: every form's time on one problem, behind a check that the results are right.

use crate::choose::{cost, find_form};
use crate::execute::Executable;
use crate::pipeline::Mixer;
use crate::problem::{Sizes, awkward_sizes, random_job, scaled_down};
use crate::{Choices, Direction, Error, Form, Job, Outputs, Target, interpret};
use mixc_ir::{DType, Name};
use mixc_tensor::{Pattern, compare};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[derive(Clone, Debug)]
pub struct BenchOptions {
    pub target: Target,
    pub sizes: BTreeMap<String, i64>,
    pub dtype: DType,
    pub form: Option<String>,
    pub sets: BTreeMap<String, f64>,
    pub samples: usize,
    pub direction: Direction,
    pub choices: Choices,
    /// The f32 multiply-add peak of the threads in use, in GFLOP/s, if it is known.
    pub peak_gflops: Option<f64>,
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct BenchRow {
    pub form: String,
    pub shape: BTreeMap<String, i64>,
    pub target: String,
    pub dtype: String,
    pub median_ms: f64,
    /// Half the distance between the quartiles (on a GPU the median distance from the median), in
    /// milliseconds.
    pub spread_ms: f64,
    pub samples: usize,
    /// Arithmetic in the form's kernels, counted, over the median time.
    pub gflops: f64,
    /// Inputs read and outputs written once, over the median time.
    pub gbps: f64,
    pub peak_share: Option<f64>,
    pub params: BTreeMap<String, i64>,
}

/// Measurements, and the forms that were not measured with the reason.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct BenchReport {
    pub rows: Vec<BenchRow>,
    /// Forms that the target cannot execute, with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
    /// Forms whose results are wrong: a fast wrong kernel has no speed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wrong: Vec<String>,
}

/// Measuring stops after this time for one form, at least three samples given; after five times as
/// long, whatever there is.
const TIME_FOR_FORM: Duration = Duration::from_secs(2);
/// Results of two forms on the same inputs may differ by this much before neither is believed.
const AGREEMENT: f64 = 1e-3;

/// Measures every form that the target can execute. `progress` is called with each form's name.
///
/// # Errors
/// Sizes that do not fit, or nothing to measure.
pub fn bench(
    mixer: &Mixer,
    options: &BenchOptions,
    progress: &mut dyn FnMut(&str),
) -> Result<BenchReport, Error> {
    mixer.check_direction(options.direction)?;
    check_device(&options.target)?;
    let program = &mixer.program;
    let sizes: Sizes = options
        .sizes
        .iter()
        .map(|(name, n)| (Name::from(name.as_str()), *n))
        .collect();
    if let Some(missing) = program.dims.iter().find(|d| !sizes.contains_key(*d)) {
        return Err(Error::usage(format!(
            "--shape: the size {missing} is missing"
        )));
    }
    let job = random_job(
        program,
        &sizes,
        &options.sets,
        Pattern::Normal,
        options.dtype,
        1,
    )?;
    let forms = mixer.forms(&job.sizes, &options.target);
    options.choices.check(&forms, &options.target)?;
    let chosen: Vec<&Form> = match &options.form {
        Some(name) => vec![find_form(&forms, name)?],
        None => forms.iter().collect(),
    };
    let mut report = BenchReport::default();
    let mut first: Option<(String, Outputs)> = None;
    for form in chosen {
        progress(&form.name);
        let executable = match Executable::new(form, &options.target, &job, &options.choices) {
            Ok(executable) => executable,
            Err(e @ (Error::Schedule(_) | Error::Compile(_) | Error::Unavailable(_))) => {
                report.skipped.push(format!("{}: {e}", form.name));
                continue;
            }
            Err(e) => return Err(e),
        };
        if let Err(e) = check_small(mixer, form, options, &sizes) {
            report.wrong.push(format!("{}: {e}", form.name));
            continue;
        }
        let (outputs, times) = measure(&executable, &job, options.samples)?;
        if let Err(e) = check_agreement(&form.name, &outputs, &mut first) {
            report.wrong.push(format!("{}: {e}", form.name));
            continue;
        }
        report
            .rows
            .push(row(form, options, &job, &executable, &outputs, times));
    }
    if report.rows.is_empty() && report.wrong.is_empty() {
        return Err(Error::Unavailable(format!(
            "no form can be measured:\n{}",
            report.skipped.join("\n")
        )));
    }
    Ok(report)
}

/// # Errors
/// A target that can only be simulated has no speed.
fn check_device(target: &Target) -> Result<(), Error> {
    match target {
        Target::Gpu(gpu) if crate::gpu::card_for(*gpu).is_none() => {
            let why = crate::gpu::no_card().unwrap_or_else(|| "no card here runs it".to_owned());
            Err(Error::Unavailable(format!(
                "there is no GPU here to measure {target} on ({why}), and the simulator says nothing about speed; \
                 `mixc explain --target {target}` shows predicted times and what limits them"
            )))
        }
        _ => Ok(()),
    }
}

/// Compares a form with the interpreter on the same problem with its long sizes cut down, because
/// the interpreter would take hours on the whole.
fn check_small(
    mixer: &Mixer,
    form: &Form,
    options: &BenchOptions,
    sizes: &Sizes,
) -> Result<(), Error> {
    let program = &mixer.program;
    let small = scaled_down(program, sizes, 1e6);
    // Halving may break a constraint that the whole problem satisfies; then any sizes will do.
    let problem = |sizes: &Sizes| {
        random_job(
            program,
            sizes,
            &options.sets,
            Pattern::Normal,
            options.dtype,
            2,
        )
    };
    let job = match problem(&small) {
        Ok(job) => job,
        Err(_) => match awkward_sizes(program, &Sizes::new(), 4, 1).last() {
            Some(sizes) => problem(sizes)?,
            None => return Ok(()),
        },
    };
    let executable = Executable::new(form, &options.target, &job, &options.choices)?;
    let (outputs, exact) = (
        executable.run(&job)?,
        interpret(program, &job, &BTreeMap::new())?,
    );
    let limit = crate::compare::default_tolerance(options.dtype, options.choices.precision);
    for (name, exact) in &exact.tensors {
        let error = outputs
            .tensors
            .get(name)
            .and_then(|out| compare(out, exact))
            .map_or(f64::INFINITY, |c| c.rel_err);
        if error > limit {
            return Err(Error::Execution(format!(
                "'{name}' is off by {error:.2e} with sizes {:?}",
                job.sizes
            )));
        }
    }
    Ok(())
}

fn check_agreement(
    form: &str,
    outputs: &Outputs,
    first: &mut Option<(String, Outputs)>,
) -> Result<(), Error> {
    let Some((other, expected)) = first else {
        *first = Some((form.to_owned(), outputs.clone()));
        return Ok(());
    };
    for (name, tensor) in &expected.tensors {
        let error = outputs
            .tensors
            .get(name)
            .and_then(|out| compare(out, tensor))
            .map_or(f64::INFINITY, |c| c.rel_err);
        if error > AGREEMENT {
            return Err(Error::Execution(format!(
                "forms '{other}' and '{form}' differ by {error:.2e} in '{name}'"
            )));
        }
    }
    Ok(())
}

/// Times in seconds.
struct Sampled {
    median: f64,
    spread: f64,
    samples: usize,
}

/// The results, and the times of the samples after a warm-up.
fn measure(
    executable: &Executable,
    job: &Job,
    samples: usize,
) -> Result<(Outputs, Sampled), Error> {
    let start = Instant::now();
    let outputs = executable.run(job)?;
    if let Some(timing) = executable.measure_on_card(job, samples)? {
        let sampled = Sampled {
            median: timing.median_us / 1e6,
            spread: timing.mad_us / 1e6,
            samples: timing.samples,
        };
        return Ok((outputs, sampled));
    }
    let mut times = vec![];
    while times.len() < samples.max(1)
        && (times.len() < 3 || start.elapsed() < TIME_FOR_FORM)
        && (times.is_empty() || start.elapsed() < 5 * TIME_FOR_FORM)
    {
        let time = executable.run(job)?.time;
        times.push(time.ok_or_else(|| Error::Unavailable("a simulator has no speed".to_owned()))?);
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_secs_f64();
    let sampled = Sampled {
        median: at(0.5),
        spread: (at(0.75) - at(0.25)) / 2.0,
        samples: times.len(),
    };
    Ok((outputs, sampled))
}

fn row(
    form: &Form,
    options: &BenchOptions,
    job: &Job,
    executable: &Executable,
    outputs: &Outputs,
    times: Sampled,
) -> BenchRow {
    let median = times.median.max(1e-9);
    let tensors = job.tensors.values().chain(outputs.tensors.values());
    let bytes: usize = tensors.map(|t| t.len() * t.dtype().size_bytes()).sum();
    let flops = executable.schedule().map_or(0.0, |s| flops(&cost(s, job)));
    let gflops = flops / median / 1e9;
    BenchRow {
        form: form.name.clone(),
        shape: job
            .sizes
            .iter()
            .map(|(name, n)| (name.to_string(), *n))
            .collect(),
        target: options.target.to_string(),
        dtype: options.dtype.name().to_owned(),
        median_ms: median * 1e3,
        spread_ms: times.spread * 1e3,
        samples: times.samples,
        gflops,
        gbps: bytes as f64 / median / 1e9,
        peak_share: options
            .peak_gflops
            .filter(|_| options.target == Target::Cpu)
            .map(|peak| gflops / peak),
        params: executable.params(),
    }
}

/// Every arithmetic operation that a form's kernels do.
pub(crate) fn flops(cost: &mixc_rewrite::Cost) -> f64 {
    cost.matmul_flops + cost.vector_flops + cost.special_ops
}

/// Runs `f` with `threads` threads for the kernels.
pub fn with_threads<R: Send>(
    threads: usize,
    f: impl FnOnce() -> Result<R, Error> + Send,
) -> Result<R, Error> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|e| Error::Unavailable(format!("cannot start {threads} threads: {e}")))?
        .install(f)
}
