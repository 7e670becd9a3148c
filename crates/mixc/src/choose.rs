//! Which form to use where nothing is measured: the one whose kernels are predicted to be fastest.

use crate::execute::{Executable, schedule_form};
use crate::gpu::{self, model};
use crate::{Choices, Error, Form, Job, Target};
use mixc_rewrite::{Cost, CostModel};
use mixc_schedule::Schedule;

/// A form with its kernels and what they will cost.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    pub form: &'a Form,
    pub schedule: Schedule,
    pub cost: Cost,
    /// By kernel, where the target is a GPU: its MLIR, and what its predicted time is made of.
    pub gpu: Vec<(gpu::Lowered, model::KernelTime)>,
}

impl Candidate<'_> {
    /// Compiles the kernels, for a GPU each with the word to `ptxas` with which it spills least.
    pub fn settled(self, target: &Target) -> Result<Executable, Error> {
        match target {
            Target::Gpu(_) => Executable::from_fitted(self.form, self.fitted().settled()),
            _ => self.executable(target),
        }
    }

    fn fitted(self) -> gpu::Fitted {
        gpu::Fitted {
            schedule: self.schedule,
            kernels: self.gpu.into_iter().map(|(lowered, _)| lowered).collect(),
        }
    }

    /// Compiles the kernels.
    pub fn executable(self, target: &Target) -> Result<Executable, Error> {
        match target {
            Target::Gpu(_) => Executable::from_fitted(self.form, self.fitted()),
            _ => Executable::from_schedule(self.form, target, self.schedule),
        }
    }
}

/// Every form that has kernels for the target, fastest first; the reasons for the others go to `notes`.
pub fn candidates<'a>(
    forms: impl IntoIterator<Item = &'a Form>,
    target: &Target,
    job: &Job,
    choices: &Choices,
    notes: &mut Vec<String>,
) -> Vec<Candidate<'a>> {
    let mut found: Vec<Candidate> = vec![];
    for form in forms {
        match candidate(form, target, job, choices) {
            Ok(candidate) => found.push(candidate),
            Err(e) => notes.push(format!("form '{}' is passed over: {e}", form.name)),
        }
    }
    found.sort_by(|a, b| a.cost.seconds.total_cmp(&b.cost.seconds));
    found
}

fn candidate<'a>(
    form: &'a Form,
    target: &Target,
    job: &Job,
    choices: &Choices,
) -> Result<Candidate<'a>, Error> {
    let Target::Gpu(gpu) = target else {
        let schedule = schedule_form(form, job, &choices.knobs, false)?;
        return Ok(Candidate {
            form,
            cost: cost(&schedule, job),
            schedule,
            gpu: vec![],
        });
    };
    let best = predicted(form, *gpu, job, choices)?;
    Ok(spread(best, *gpu, job, choices))
}

fn predicted<'a>(
    form: &'a Form,
    gpu: mixc_ptx::Target,
    job: &Job,
    choices: &Choices,
) -> Result<Candidate<'a>, Error> {
    let fitted = gpu::fit(form, job, gpu, choices)?;
    let mut total = Cost::default();
    let mut kernels = vec![];
    for (kernel, lowered) in fitted.schedule.kernels.iter().zip(fitted.kernels) {
        let (cost, time) = model::predict(kernel, &lowered, job, choices);
        total.add(&cost);
        kernels.push((lowered, time));
    }
    Ok(Candidate {
        form,
        schedule: fitted.schedule,
        cost: total,
        gpu: kernels,
    })
}

/// A length that makes the grid, shorter values to try for it, and how the predicted time must compare.
struct GridSide {
    knob: &'static str,
    lengths: &'static [i64],
    accept: f64,
}

/// Smaller tiles have costs that are not predicted, so the prediction must be clearly better. Shorter parts have few,
/// and the prediction does not see that idle multiprocessors ask memory for less: it must only be about as good.
const GRID_SIDES: [GridSide; 3] = [
    GridSide {
        knob: "cols",
        lengths: &[64, 32, 16],
        accept: 0.95,
    },
    GridSide {
        knob: "S",
        lengths: &[512, 256],
        accept: 1.02,
    },
    GridSide {
        knob: "rows",
        lengths: &[64, 32, 16, 8],
        accept: 0.95,
    },
];
/// A grid that leaves more multiprocessors idle than this is worth another look.
const BUSY: f64 = 0.7;

impl Candidate<'_> {
    /// Whether the kernel that takes longest leaves multiprocessors idle.
    fn idles(&self) -> bool {
        let times = self.gpu.iter().map(|(_, time)| time);
        let longest = times.max_by(|a, b| a.total_ms.total_cmp(&b.total_ms));
        longest.is_some_and(|time| time.busy < BUSY)
    }
}

/// Smaller tiles and parts where the grid is too small for the card and the prediction says that more blocks are
/// no slower. What was asked for stays.
fn spread<'a>(
    mut best: Candidate<'a>,
    gpu: mixc_ptx::Target,
    job: &Job,
    choices: &Choices,
) -> Candidate<'a> {
    let mut taken = choices.clone();
    for side in GRID_SIDES {
        if choices.knobs.contains_key(side.knob) {
            continue;
        }
        let now = best.schedule.knobs.get(side.knob).copied().unwrap_or(0);
        let mut chosen = None;
        for length in side.lengths.iter().copied().filter(|n| *n < now) {
            if !best.idles() {
                break;
            }
            let mut other = taken.clone();
            other.knobs.insert(side.knob.to_owned(), length);
            if let Ok(candidate) = predicted(best.form, gpu, job, &other)
                && candidate.cost.seconds < side.accept * best.cost.seconds
            {
                chosen = Some(length);
                best = candidate;
            }
        }
        taken
            .knobs
            .extend(chosen.map(|n| (side.knob.to_owned(), n)));
    }
    best
}

/// The work of a schedule, counted in its kernels, and the time that this machine should take for it.
pub fn cost(schedule: &Schedule, job: &Job) -> Cost {
    let device = this_machine();
    let mut cost = Cost::default();
    for kernel in &schedule.kernels {
        // A bound that has no value leaves the work unknown, and unknown work is never chosen.
        let Ok(counts) = mixc_tile::counts::counts(kernel, &job.sizes) else {
            return Cost {
                seconds: f64::INFINITY,
                ..cost
            };
        };
        cost.add(&work(&counts).timed(&device));
    }
    cost
}

/// What a kernel does, without a time.
pub(crate) fn work(counts: &mixc_tile::counts::Counts) -> Cost {
    let points = counts.grid_points as f64;
    Cost {
        matmul_flops: 2.0 * counts.contract_fmas as f64,
        vector_flops: counts.simple_ops as f64,
        special_ops: counts.special_ops as f64,
        bytes: (counts.loaded_bytes + counts.stored_bytes) as f64,
        // Statements that one grid point executes one after the other.
        depth: counts.statements as f64 / points.max(1.0),
        launches: 1.0,
        parallel: points,
        seconds: 0.0,
    }
}

/// The rates that the search over forms goes by.
pub(crate) fn device(target: &Target) -> CostModel {
    match target {
        Target::Gpu(gpu) => model::card(*gpu).cost_model(),
        _ => this_machine(),
    }
}

/// Rates of this machine: figures of one thread of a processor of about 2023, for 128-bit vectors.
/// They order forms; `bench` measures.
pub(crate) fn this_machine() -> CostModel {
    let threads = crate::threads() as f64;
    CostModel {
        matmul_flops: 4.5e10 * threads,
        vector_flops: 4e10 * threads,
        special_rate: 2e9 * threads,
        bandwidth: 2e10,
        parallel_units: threads,
        ..CostModel::cpu()
    }
}

/// The executable that `run` uses: the named form, else the fastest candidate that compiles.
pub(crate) fn choose<'a>(
    forms: &'a [Form],
    name: Option<&str>,
    target: &Target,
    job: &Job,
    choices: &Choices,
    notes: &mut Vec<String>,
) -> Result<(&'a Form, Executable), Error> {
    choices.check(forms, target)?;
    if let Some(name) = name {
        let form = find_form(forms, name)?;
        let executable = match target {
            Target::Gpu(_) => candidate(form, target, job, choices)?.executable(target)?,
            _ => Executable::new(form, target, job, choices)?,
        };
        return Ok((form, executable));
    }
    // The interpreter defines what is right; it takes the program as written.
    if *target == Target::Interp {
        let form = forms
            .first()
            .ok_or_else(|| Error::Execution("bug: a mixer without forms".to_owned()))?;
        return Ok((form, Executable::new(form, target, job, choices)?));
    }
    for candidate in candidates(forms, target, job, choices, notes) {
        let form = candidate.form;
        match candidate.executable(target) {
            Ok(executable) => return Ok((form, executable)),
            // What is missing for one form is missing for all.
            Err(e @ Error::Unavailable(_)) => return Err(e),
            Err(e) => notes.push(format!("form '{}' is passed over: {e}", form.name)),
        }
    }
    Err(Error::Unavailable(format!(
        "no form can be executed on target {target}:\n{}",
        notes.join("\n")
    )))
}

pub(crate) fn find_form<'a>(forms: &'a [Form], name: &str) -> Result<&'a Form, Error> {
    forms.iter().find(|f| f.name == name).ok_or_else(|| {
        let names: Vec<&str> = forms.iter().map(|f| &*f.name).collect();
        let message = format!("this mixer has no form '{name}', only {}", names.join(", "));
        Error::Usage(crate::error::with_suggestion(message, name, names))
    })
}
