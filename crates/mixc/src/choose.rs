//! Which form to use where nothing is measured: the one whose kernels are predicted to be fastest.

use crate::execute::{Executable, schedule_form};
use crate::{Error, Form, Job, Target};
use mixc_rewrite::{Cost, CostModel};
use mixc_schedule::Schedule;
use std::collections::BTreeMap;

/// A form with its kernels and what they will cost.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    pub form: &'a Form,
    pub schedule: Schedule,
    pub cost: Cost,
}

/// Every form that the scheduler can make kernels for, fastest first; the reasons for the others go
/// to `notes`.
pub fn candidates<'a>(
    forms: impl IntoIterator<Item = &'a Form>,
    job: &Job,
    notes: &mut Vec<String>,
) -> Vec<Candidate<'a>> {
    let mut found: Vec<Candidate> = vec![];
    for form in forms {
        match schedule_form(form, job, &BTreeMap::new()) {
            Ok(schedule) => found.push(Candidate {
                form,
                cost: cost(&schedule, job),
                schedule,
            }),
            Err(e) => notes.push(format!("form '{}' is passed over: {e}", form.name)),
        }
    }
    found.sort_by(|a, b| a.cost.seconds.total_cmp(&b.cost.seconds));
    found
}

/// The work of a schedule, counted in its kernels, and the time that it should take.
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
        let points = counts.grid_points as f64;
        cost.add(
            &Cost {
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
            .timed(&device),
        );
    }
    cost
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
    notes: &mut Vec<String>,
) -> Result<(&'a Form, Executable), Error> {
    if let Some(name) = name {
        let form = find_form(forms, name)?;
        return Ok((form, Executable::new(form, target, job, &BTreeMap::new())?));
    }
    match target {
        // The interpreter defines what is right; it takes the program as written.
        Target::Interp => {
            let form = forms
                .first()
                .ok_or_else(|| Error::Execution("bug: a mixer without forms".to_owned()))?;
            Ok((form, Executable::new(form, target, job, &BTreeMap::new())?))
        }
        Target::Tile | Target::Cpu | Target::Gpu(_) => {
            for candidate in candidates(forms, job, notes) {
                match Executable::from_schedule(candidate.form, target, job, candidate.schedule) {
                    Ok(executable) => return Ok((candidate.form, executable)),
                    Err(e) => notes.push(format!(
                        "form '{}' is passed over: {e}",
                        candidate.form.name
                    )),
                }
            }
            Err(Error::Unavailable(format!(
                "no form can be executed on target {target}:\n{}",
                notes.join("\n")
            )))
        }
    }
}

pub(crate) fn find_form<'a>(forms: &'a [Form], name: &str) -> Result<&'a Form, Error> {
    forms.iter().find(|f| f.name == name).ok_or_else(|| {
        let names: Vec<&str> = forms.iter().map(|f| &*f.name).collect();
        let message = format!("this mixer has no form '{name}', only {}", names.join(", "));
        Error::Usage(crate::error::with_suggestion(message, name, names))
    })
}
