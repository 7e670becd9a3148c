//! Every kernel of many forms, in parallel.

use crate::{Error, Examiner, Problem, Problems, Row, Table, Tools, empty_job};
use mixc::{Choices, Mixer};
use mixc_ir::DType;
use mixc_ptx::Target;
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What to examine. Empty sets mean all.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub mixers: BTreeSet<String>,
    pub forms: BTreeSet<String>,
    pub targets: Vec<Target>,
    pub dtypes: Vec<DType>,
    /// Of each mixer's shapes, only the first.
    pub first_shape: bool,
    /// Only lower: rows of kernels that are not known have neither machine code nor an error.
    pub only_lowering: bool,
    pub choices: Choices,
}

impl Plan {
    /// Whether a row is of the part that this plan examines. `shapes` are those that it met, by mixer.
    pub fn covers(&self, row: &Row, shapes: &BTreeSet<(String, String)>) -> bool {
        let wants_shape = || {
            let shape = (row.mixer.clone(), row.shape.clone());
            !self.first_shape || shapes.contains(&shape)
        };
        (self.mixers.is_empty() || self.mixers.contains(&row.mixer))
            && (self.forms.is_empty() || self.forms.contains(&row.form))
            && (self.targets.is_empty() || self.targets.iter().any(|t| t.chip() == row.target))
            && (self.dtypes.is_empty() || self.dtypes.iter().any(|d| d.name() == row.dtype))
            && wants_shape()
    }

    fn targets(&self) -> Vec<Target> {
        if self.targets.is_empty() {
            Target::ALL.to_vec()
        } else {
            self.targets.clone()
        }
    }
}

/// Where the time went, which is not part of the results.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    pub wall: Duration,
    pub translating: Duration,
    pub assembling: Duration,
    /// Different texts, each translated and assembled once.
    pub texts: u32,
    /// Kernels whose machine code was known.
    pub known: usize,
}

/// What is done so far: units of all, and the rows of the one that was just finished.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    pub done: usize,
    pub all: usize,
    pub rows: &'a [Row],
}

/// All forms of a mixer at one shape on one target in one element type.
struct Unit<'a> {
    mixer: &'a Mixer,
    problem: Problem,
    target: Target,
    dtype: DType,
}

/// The rows of everything in the plan, sorted. What `known` has is taken from there instead of being assembled.
/// `progress` is called from several threads.
///
/// # Errors
/// A mixer that does not exist, does not compile or has no shapes. Kernels that fail are rows with an error.
pub fn sweep(
    tools: &Tools,
    problems: &Problems,
    plan: &Plan,
    known: &Table,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(Vec<Row>, Timing), Error> {
    let start = Instant::now();
    let mixers = mixers(plan)?;
    let units = units(problems, plan, &mixers)?;
    let mut examiner = Examiner::new(tools, known, &plan.choices);
    if plan.only_lowering {
        examiner = examiner.only_lowering();
    }
    let done = AtomicUsize::new(0);
    let rows = |unit: &Unit| {
        let rows = unit.rows(&examiner, plan)?;
        progress(Progress {
            done: done.fetch_add(1, Ordering::Relaxed) + 1,
            all: units.len(),
            rows: &rows,
        });
        Ok(rows)
    };
    let rows: Result<Vec<Vec<Row>>, Error> = units.par_iter().map(rows).collect();
    let mut rows: Vec<Row> = rows?.into_iter().flatten().collect();
    rows.sort_by(|a, b| a.key().cmp(&b.key()));
    let (translating, assembling, texts) = tools.spent();
    let timing = Timing {
        wall: start.elapsed(),
        translating,
        assembling,
        texts,
        known: examiner.reused(),
    };
    Ok((rows, timing))
}

/// The mixers of a plan, with their families.
fn mixers(plan: &Plan) -> Result<Vec<(Mixer, String)>, Error> {
    let listed = mixc::list()?;
    let names: BTreeSet<&String> = listed.iter().map(|l| &l.name).collect();
    if let Some(unknown) = plan.mixers.iter().find(|m| !names.contains(m)) {
        return Err(Error::NoMixer(unknown.clone()));
    }
    let wanted = listed
        .iter()
        .filter(|l| plan.mixers.is_empty() || plan.mixers.contains(&l.name));
    wanted
        .map(|l| Ok((Mixer::load(&l.name)?, l.family.clone())))
        .collect()
}

fn units<'a>(
    problems: &Problems,
    plan: &Plan,
    mixers: &'a [(Mixer, String)],
) -> Result<Vec<Unit<'a>>, Error> {
    let mut units = vec![];
    for (mixer, family) in mixers {
        let shapes = problems.of(&mixer.program, family)?;
        let dtypes = problems.dtypes(family).into_iter();
        let dtypes: Vec<DType> = dtypes
            .filter(|d| plan.dtypes.is_empty() || plan.dtypes.contains(d))
            .collect();
        for target in plan.targets() {
            let first = plan.first_shape || problems.only_first_shape(target);
            let wanted = if first { 1 } else { shapes.len() };
            for problem in shapes.iter().take(wanted) {
                units.extend(dtypes.iter().map(|dtype| Unit {
                    mixer,
                    problem: problem.clone(),
                    target,
                    dtype: *dtype,
                }));
            }
        }
    }
    Ok(units)
}

impl Unit<'_> {
    fn rows(&self, examiner: &Examiner, plan: &Plan) -> Result<Vec<Row>, Error> {
        let job = empty_job(&self.mixer.program, &self.problem, self.dtype)?;
        let forms = self
            .mixer
            .forms(&job.sizes, &mixc::Target::Gpu(self.target));
        let wanted = |form: &&mixc::Form| plan.forms.is_empty() || plan.forms.contains(&form.name);
        let rows = forms
            .par_iter()
            .filter(wanted)
            .flat_map(|form| examiner.rows(&self.problem, form, &job, self.target));
        Ok(rows.collect())
    }
}
