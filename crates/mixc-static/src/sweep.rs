//! Every kernel of many forms, in parallel.

use crate::{Error, Problem, Problems, Row, Tools, empty_job, examine};
use mixc::{Choices, Mixer};
use mixc_ir::DType;
use mixc_ptx::Target;
use rayon::prelude::*;
use std::collections::BTreeSet;
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
    pub choices: Choices,
}

/// Where the time went, which is not part of the results.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    pub wall: Duration,
    pub translating: Duration,
    pub assembling: Duration,
    /// Different texts, each translated and assembled once.
    pub texts: u32,
}

/// The rows of everything in the plan, sorted.
///
/// # Errors
/// A mixer that does not compile or has no shapes. Kernels that fail are rows with an error.
pub fn sweep(tools: &Tools, problems: &Problems, plan: &Plan) -> Result<(Vec<Row>, Timing), Error> {
    let start = Instant::now();
    let mut units: Vec<(Mixer, Problem, Target)> = vec![];
    for listed in mixc::list()? {
        if !plan.mixers.is_empty() && !plan.mixers.contains(&listed.name) {
            continue;
        }
        let mixer = Mixer::load(&listed.name)?;
        let mut shapes = problems.of(&mixer.program, &listed.family)?;
        if plan.first_shape {
            shapes.truncate(1);
        }
        for problem in shapes {
            let targets = if plan.targets.is_empty() {
                Target::ALL.to_vec()
            } else {
                plan.targets.clone()
            };
            units.extend(
                targets
                    .into_iter()
                    .map(|t| (mixer.clone(), problem.clone(), t)),
            );
        }
    }
    let rows: Result<Vec<Vec<Row>>, Error> = units
        .par_iter()
        .map(|(mixer, problem, target)| unit(tools, problems, plan, mixer, problem, *target))
        .collect();
    let mut rows: Vec<Row> = rows?.into_iter().flatten().collect();
    rows.sort_by(|a, b| a.key().cmp(&b.key()));
    let (translating, assembling, texts) = tools.spent();
    let timing = Timing {
        wall: start.elapsed(),
        translating,
        assembling,
        texts,
    };
    Ok((rows, timing))
}

/// All forms of a mixer at one shape on one target, in every element type.
fn unit(
    tools: &Tools,
    problems: &Problems,
    plan: &Plan,
    mixer: &Mixer,
    problem: &Problem,
    target: Target,
) -> Result<Vec<Row>, Error> {
    let mut rows = vec![];
    let own = problems.dtypes(&problem.family);
    let dtypes = own.into_iter();
    for dtype in dtypes.filter(|d| plan.dtypes.is_empty() || plan.dtypes.contains(d)) {
        let job = empty_job(&mixer.program, problem, dtype)?;
        for form in mixer.forms(&job.sizes, &mixc::Target::Gpu(target)) {
            if plan.forms.is_empty() || plan.forms.contains(&form.name) {
                let found = examine(tools, problem, &form, &job, target, &plan.choices);
                rows.extend(found);
            }
        }
    }
    Ok(rows)
}
