//! `mixc verify`: every form at several parameter points against the f64 interpreter.

use crate::choose::find_form;
use crate::execute::{Executable, schedule_form};
use crate::pipeline::Mixer;
use crate::problem::{Sizes, awkward_sizes, random_job};
use crate::{
    Choices, Direction, Error, Form, GPU_KNOBS, Job, Outputs, Precision, Target, eval_rounded,
    interpret,
};
use mixc_interp::Array;
use mixc_ir::{DType, Kind, Name, Program};
use mixc_ptx::LowerError;
use mixc_tensor::{Pattern, Tensor, compare};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub struct VerifyOptions {
    pub target: Target,
    /// Sizes to use as they are; the others are chosen.
    pub sizes: BTreeMap<String, i64>,
    pub form: Option<String>,
    pub dtypes: Vec<DType>,
    pub sets: BTreeMap<String, f64>,
    pub seed: u64,
    /// How many combinations of sizes are drawn; each is used with several patterns of inputs.
    pub draws: usize,
    /// Patterns of inputs. Besides each, [`Pattern::Normal`] is used with the same sizes.
    pub patterns: Vec<Pattern>,
    pub direction: Direction,
    /// Knobs that stay as they are, and how GPUs multiply f32 matrices.
    pub choices: Choices,
}

/// One comparison.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Case {
    pub target: String,
    pub form: String,
    pub params: BTreeMap<String, i64>,
    pub shape: BTreeMap<String, i64>,
    pub dtype: String,
    pub inputs: &'static str,
    /// The largest over the outputs; infinite (null in JSON) if a value is not a number.
    pub rel_err: f64,
    /// What was allowed for the output that came nearest to its limit.
    pub limit: f64,
    pub ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct VerifyReport {
    pub cases: Vec<Case>,
    pub ok: bool,
    /// Problems whose reference is not a number or too large for f32: nothing can be said about them.
    pub undefined: usize,
    /// Forms and parameter points that the target cannot execute, with the reason.
    pub skipped: Vec<String>,
    /// Whether a simulator stood in for the target.
    pub simulated: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What [`VerifyOptions::draws`] is where nothing else is asked for.
pub const DEFAULT_DRAWS: usize = 10;

/// Checks a mixer. `progress` is called with (done, all).
pub fn verify(
    mixer: &Mixer,
    options: &VerifyOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<VerifyReport, Error> {
    mixer.check_direction(options.direction)?;
    let program = &mixer.program;
    let problems = problems(program, options)?;
    let mut report = VerifyReport {
        ok: true,
        simulated: matches!(options.target, Target::Gpu(gpu) if crate::gpu::card_for(gpu).is_none()),
        ..VerifyReport::default()
    };
    if report.simulated {
        report.notes.push(crate::gpu::SIMULATED.to_owned());
    }
    let mut known: BTreeMap<Sizes, Vec<Form>> = BTreeMap::new();
    for (done, (sizes, pattern, dtype)) in problems.iter().enumerate() {
        progress(done, problems.len());
        let seed = options.seed.wrapping_add(done as u64);
        let job = random_job(program, sizes, &options.sets, *pattern, *dtype, seed)?;
        let reference = interpret(program, &job, &BTreeMap::new())?;
        if !is_within_f32(&reference) {
            report.undefined += 1;
            continue;
        }
        let limits = limits(program, &job, &reference, options.choices.precision)?;
        // The same sizes come back with other inputs and element types.
        let forms = known
            .entry(job.sizes.clone())
            .or_insert_with(|| mixer.forms(&job.sizes, &options.target));
        options.choices.check(forms, &options.target)?;
        let chosen: Vec<&Form> = match &options.form {
            Some(name) => vec![find_form(forms, name)?],
            None => forms.iter().collect(),
        };
        for form in chosen {
            for point in points(form, options, &job, done) {
                let case = check(form, options, &job, &point, &reference, &limits);
                match case {
                    Ok(mut case) => {
                        case.inputs = pattern.name();
                        report.ok &= case.ok;
                        report.cases.push(case);
                    }
                    // Without its compiler nothing can be checked.
                    Err(e @ Error::Unavailable(_)) => return Err(e),
                    Err(e) => note_skip(&mut report.skipped, format!("{}: {e}", form.name)),
                }
            }
        }
    }
    progress(problems.len(), problems.len());
    if report.cases.is_empty() {
        let why = report.skipped.join("\n");
        return Err(Error::Unavailable(format!(
            "nothing could be checked on target {}\n{why}",
            options.target
        )));
    }
    Ok(report)
}

/// Whether kernels, which compute in f32, could come to these results: no NaN, and no number beyond the largest of f32,
/// as where a state grows with every step.
fn is_within_f32(reference: &Outputs) -> bool {
    let fits = |x: &f64| x.is_infinite() || x.abs() <= f64::from(f32::MAX);
    let mut outputs = reference.tensors.values();
    outputs.all(|t| t.to_f64().iter().all(fits))
}

type Problem = (Sizes, Pattern, DType);

/// Every element type with every pattern, over all the drawn sizes.
fn problems(program: &Program, options: &VerifyOptions) -> Result<Vec<Problem>, Error> {
    let known = |name: &str| {
        program.dims.iter().any(|d| &**d == name)
            || program.scalar(name).is_some_and(|s| s.kind != Kind::Real)
    };
    if let Some(name) = options.sizes.keys().find(|n| !known(n)) {
        let dims: Vec<&str> = program.dims.iter().map(|d| &**d).collect();
        return Err(Error::usage(format!(
            "--shape: this mixer has no size '{name}', only {}",
            dims.join(", ")
        )));
    }
    let fixed: Sizes = options
        .sizes
        .iter()
        .map(|(name, n)| (Name::from(name.as_str()), *n))
        .collect();
    let sizes = awkward_sizes(program, &fixed, options.draws, options.seed);
    if sizes.is_empty() {
        return Err(Error::usage(
            "no sizes satisfy the constraints of this mixer".to_owned(),
        ));
    }
    let special = options.patterns.iter().filter(|p| **p != Pattern::Normal);
    let special: Vec<Pattern> = special.copied().collect();
    let rounds = sizes.len().max(options.patterns.len());
    let mut problems = vec![];
    for dtype in &options.dtypes {
        for round in 0..rounds {
            let sizes = &sizes[round % sizes.len()];
            problems.push((sizes.clone(), Pattern::Normal, *dtype));
            // The sizes and the patterns have different periods, so they meet in many ways.
            if let Some(pattern) = special.get(round % special.len().max(1)) {
                problems.push((sizes.clone(), *pattern, *dtype));
            }
        }
    }
    Ok(problems)
}

/// Parameter points to try for a form: the defaults always, others in turn.
fn points(
    form: &Form,
    options: &VerifyOptions,
    job: &Job,
    turn: usize,
) -> Vec<BTreeMap<String, i64>> {
    if options.target == Target::Interp {
        let open = crate::open_sizes(&form.program);
        let point = |size: i64| open.iter().map(|name| (name.to_string(), size)).collect();
        return if open.is_empty() {
            vec![BTreeMap::new()]
        } else {
            [1, 3, 16].map(point).to_vec()
        };
    }
    let mut points: Vec<BTreeMap<String, i64>> = vec![BTreeMap::new()];
    if let Target::Gpu(_) = options.target {
        let all = GPU_KNOBS
            .into_iter()
            .flat_map(|(name, values)| values.iter().map(move |v| (name.to_owned(), *v)));
        points.extend(all.cycle().nth(turn).map(|point| BTreeMap::from([point])));
    }
    let Ok(schedule) = schedule_form(form, job, &BTreeMap::new(), false) else {
        return points;
    };
    let knobs: Vec<(&String, &i64)> = schedule.knobs.iter().collect();
    if let Some(&(name, &value)) = knobs.get(turn % knobs.len().max(1)) {
        points.extend(
            [value / 2, value * 2]
                .iter()
                .filter(|v| **v > 0)
                .map(|v| [(name.clone(), *v)].into()),
        );
    }
    // What the user fixed is not varied.
    points.retain(|p| {
        p.keys()
            .all(|name| !options.choices.knobs.contains_key(name))
    });
    points
}

/// How far each output may be from the reference.
pub(crate) type Limits = BTreeMap<Name, f64>;

/// The limits of a problem.
///
/// f32: the largest of 1e-5, eight times what perturbing every input in its last place does to the
/// exact result (no algorithm in f32 can be better than the problem's condition allows), and twice the
/// error of the definition evaluated with every operation rounded to f32.
/// bf16, f16: twice the error of the plain computation in that type, and the f32 limit on top. What two roundings can
/// do, one of a factor of a product and one of the output, is always allowed: of a few numbers the plain computation may
/// happen to hit.
/// f32 multiplied in tf32: the same with every operation rounded to tf32.
pub(crate) fn limits(
    program: &Program,
    job: &Job,
    reference: &Outputs,
    precision: Option<Precision>,
) -> Result<Limits, Error> {
    let perturbed = interpret(program, &perturb(program, job)?, &BTreeMap::new())?;
    let single = mixc_interp::eval_rounded(program, &job.interp_inputs(&BTreeMap::new()), |x| {
        f64::from(x as f32)
    })?;
    let naive = match job.dtype {
        DType::Bf16 | DType::F16 => Some(eval_rounded(program, job, job.dtype)?),
        _ if precision == Some(Precision::Tf32) => {
            let inputs = job.interp_inputs(&BTreeMap::new());
            Some(mixc_interp::eval_rounded(program, &inputs, round_to_tf32)?)
        }
        _ => None,
    };
    let limit = |(name, exact): (&Name, &Tensor)| {
        let error =
            |t: Option<&Tensor>| t.and_then(|t| compare(t, exact)).map_or(0.0, |c| c.rel_err);
        let condition = error(perturbed.tensors.get(name));
        let stepwise = single.get(name).map(as_tensor);
        let finite = |x: f64| if x.is_finite() { x } else { 0.0 };
        let f32_limit =
            f64::max(1e-5, 8.0 * finite(condition)).max(2.0 * finite(error(stepwise.as_ref())));
        let plain = naive.as_ref().and_then(|n| n.get(name)).map(as_tensor);
        let own = (2.0 * error(plain.as_ref())).max(2.0 * rounding(job.dtype));
        (
            name.clone(),
            if own.is_finite() {
                own + f32_limit
            } else {
                f64::INFINITY
            },
        )
    };
    Ok(reference.tensors.iter().map(limit).collect())
}

/// How far rounding to a 16-bit type may be off: half a unit in the last place, in relation to the number.
fn rounding(dtype: DType) -> f64 {
    match dtype {
        DType::Bf16 => (-8f64).exp2(),
        DType::F16 => (-11f64).exp2(),
        _ => 0.0,
    }
}

/// The nearest number with 11 significant bits, ties to even; tf32 has the exponents of f32.
fn round_to_tf32(x: f64) -> f64 {
    let bits = (x as f32).to_bits();
    let half = (1 << 12) - 1 + (bits >> 13 & 1);
    if (x as f32).is_finite() {
        f64::from(f32::from_bits((bits + half) & !((1 << 13) - 1)))
    } else {
        x
    }
}

fn as_tensor(array: &Array) -> Tensor {
    Tensor::from_f64(DType::F64, &array.shape, &array.data).unwrap_or_else(|e| panic!("bug: {e}"))
}

/// The same problem with every real input off by half a unit in the last place of f32, up or down.
fn perturb(program: &Program, job: &Job) -> Result<Job, Error> {
    let mut new = job.clone();
    for (name, tensor) in &mut new.tensors {
        if program.tensor(name).is_none_or(|t| t.kind != Kind::Real) {
            continue;
        }
        let mut values = tensor.to_f64();
        for (at, x) in values.iter_mut().enumerate() {
            // Signs that follow no pattern of the axes (Weyl sequence of the golden ratio).
            let up = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 63 == 0;
            *x *= 1.0 + (-24f64).exp2() * if up { 1.0 } else { -1.0 };
        }
        *tensor = Tensor::from_f64(DType::F64, tensor.shape(), &values)
            .map_err(|e| Error::usage(e.to_string()))?;
    }
    Ok(new)
}

/// One form at one point. Errors are reasons why the target cannot execute it.
fn check(
    form: &Form,
    options: &VerifyOptions,
    job: &Job,
    point: &BTreeMap<String, i64>,
    reference: &Outputs,
    limits: &Limits,
) -> Result<Case, Error> {
    let names = |(name, n): (&Name, &i64)| (name.to_string(), *n);
    let mut case = Case {
        target: options.target.to_string(),
        form: form.name.clone(),
        params: point.clone(),
        shape: job.sizes.iter().map(names).collect(),
        dtype: job.dtype.name().to_owned(),
        inputs: "",
        rel_err: 0.0,
        limit: 0.0,
        ok: true,
        error: None,
    };
    let executable =
        match Executable::new(form, &options.target, job, &options.choices.filled(point)) {
            Ok(executable) => executable,
            // Nothing is known to be wrong with a form that has no kernels, nor with knobs that ask for more shared
            // memory than there is; anything else is a failure.
            Err(e @ (Error::Schedule(_) | Error::Unavailable(_))) => return Err(e),
            Err(e @ Error::Lower(LowerError::SharedMemory { .. }))
                if !(point.is_empty() && options.choices.knobs.is_empty()) =>
            {
                return Err(e);
            }
            Err(e) => return Ok(case.failed(e.to_string())),
        };
    if executable.schedule().is_some() {
        case.params = executable.params();
    }
    match executable.run(job) {
        Ok(outputs) => judge(&mut case, &outputs, reference, limits),
        Err(e) => return Ok(case.failed(e.to_string())),
    }
    Ok(case)
}

impl Case {
    fn failed(self, error: String) -> Case {
        Case {
            ok: false,
            rel_err: f64::INFINITY,
            error: Some(error),
            ..self
        }
    }
}

/// Fills in the errors of a case; the output nearest to its limit (or furthest beyond) counts.
fn judge(case: &mut Case, outputs: &Outputs, reference: &Outputs, limits: &Limits) {
    let mut worst = -1.0;
    for (name, exact) in &reference.tensors {
        let limit = limits.get(name).copied().unwrap_or(0.0);
        let error = outputs
            .tensors
            .get(name)
            .and_then(|out| compare(out, exact));
        let error = error.map_or(f64::INFINITY, |c| c.rel_err);
        let share = if error == 0.0 { 0.0 } else { error / limit };
        if share > worst {
            (worst, case.rel_err, case.limit) = (share, error, limit);
        }
        if error > limit {
            case.ok = false;
            case.error.get_or_insert_with(|| {
                format!("output '{name}' is off by {error:.2e}, {limit:.2e} is allowed")
            });
        }
    }
}

fn note_skip(skipped: &mut Vec<String>, note: String) {
    if !skipped.contains(&note) {
        skipped.push(note);
    }
}
