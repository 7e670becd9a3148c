//! Bundles: kernels compiled here, to be verified and timed where there is a GPU and no compiler.
//!
//! A case that the interpreter can compute carries the outputs that it must give. A larger one is preceded by a
//! smaller case for the same kernels, which must be right before the larger one is timed. Inputs are seeds, so a
//! bundle stays small.

use super::reference::{Reference, counts, expected, fingerprint};
use super::shrink::shrink;
use super::{GpuKernel, fit, model, plan};
use crate::choose::{candidates, find_form};
use crate::problem::{awkward_sizes, int_limit, shaped_job};
use crate::verify::limits;
use crate::{
    Choices, Error, Executable, Form, Job, Mixer, Sizes, Target, interpret, random_job, work,
};
use mixc_ir::{DType, Kind, Name};
use mixc_launch::{Bundle, Case, Generator, Input, Label, Role, Source};
use mixc_schedule::Schedule;
use mixc_tensor::Pattern;
use std::collections::BTreeMap;

/// Which forms of a mixer go into a bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Forms {
    /// The one with the shortest predicted time.
    #[default]
    Best,
    Named(String),
    All,
}

#[derive(Clone, Debug)]
pub struct BundleOptions {
    pub targets: Vec<mixc_ptx::Target>,
    pub dtypes: Vec<DType>,
    /// Every size of the mixer, for each case to time. With `draws`, the sizes that stay as they are.
    pub shapes: Vec<BTreeMap<String, i64>>,
    /// How many combinations of awkward sizes are drawn for each shape.
    pub draws: Option<usize>,
    pub forms: Forms,
    pub sets: BTreeMap<String, f64>,
    pub choices: Choices,
    /// Of the inputs.
    pub seed: u64,
}

/// Points that the interpreter may visit for one reference.
const MOST_WORK: f64 = 2e7;
/// The same where the kernels allow no smaller problem.
const MOST_WORK_AT_ALL: f64 = 1e8;

/// Adds a mixer's cases to a bundle: every shape, element type, target and form, each after the case that verifies
/// it. The result says what was left out and why. `progress` is called with the label of each case.
///
/// # Errors
/// [`Error::Usage`] for sizes that do not fit, [`Error::Unavailable`] without MLIR or if no form has kernels.
pub fn add_cases(
    bundle: &mut Bundle,
    mixer: &Mixer,
    options: &BundleOptions,
    progress: &mut dyn FnMut(&Label),
) -> Result<Vec<String>, Error> {
    if options.dtypes.contains(&DType::F64) {
        return Err(Error::usage(
            "--dtype: kernels for GPUs compute in f32; f64 cannot be bundled",
        ));
    }
    let before = bundle.cases.len();
    let mut maker = Maker {
        mixer,
        options,
        bundle,
        progress,
        references: vec![],
        notes: vec![],
    };
    for sizes in maker.all_sizes()? {
        for dtype in &options.dtypes {
            for target in &options.targets {
                maker.shape(*target, *dtype, &sizes)?;
            }
        }
    }
    let notes = maker.notes;
    if bundle.cases.len() == before {
        return Err(Error::Unavailable(format!(
            "nothing of {} can be bundled:\n{}",
            mixer.program.name,
            notes.join("\n")
        )));
    }
    Ok(notes)
}

struct Maker<'a> {
    mixer: &'a Mixer,
    options: &'a BundleOptions,
    bundle: &'a mut Bundle,
    progress: &'a mut dyn FnMut(&Label),
    /// What the interpreter computed already.
    references: Vec<(Sizes, DType, Reference)>,
    notes: Vec<String>,
}

/// A form's kernels for a target and an element type.
struct Made<'a> {
    form: &'a Form,
    target: mixc_ptx::Target,
    dtype: DType,
    schedule: &'a Schedule,
    kernels: &'a [GpuKernel],
    params: BTreeMap<String, i64>,
}

impl Maker<'_> {
    /// The sizes of every problem.
    fn all_sizes(&self) -> Result<Vec<Sizes>, Error> {
        let program = &self.mixer.program;
        let BundleOptions {
            shapes,
            draws,
            seed,
            ..
        } = self.options;
        let given = shapes.iter().map(|shape| self.sizes(shape));
        let mut given = given.collect::<Result<Vec<Sizes>, Error>>()?;
        let Some(draws) = *draws else {
            for sizes in &given {
                self.check_complete(sizes)?;
            }
            return Ok(given);
        };
        if given.is_empty() {
            given.push(self.sizes(&BTreeMap::new())?);
        }
        let drawn = given.iter();
        Ok(drawn
            .flat_map(|fixed| awkward_sizes(program, fixed, draws, *seed))
            .collect())
    }

    fn check_complete(&self, sizes: &Sizes) -> Result<(), Error> {
        let program = &self.mixer.program;
        let Some(name) = program.dims.iter().find(|d| !sizes.contains_key(*d)) else {
            return Ok(());
        };
        Err(Error::usage(format!(
            "--shape: the size {name} of {} is missing; it has {}",
            program.name,
            self.dims()
        )))
    }

    fn dims(&self) -> String {
        let dims: Vec<&str> = self.mixer.program.dims.iter().map(|d| &**d).collect();
        dims.join(", ")
    }

    /// The sizes of a shape, with the integer scalars of `--set`.
    fn sizes(&self, shape: &BTreeMap<String, i64>) -> Result<Sizes, Error> {
        let program = &self.mixer.program;
        let named = |(name, n): (&String, &i64)| (Name::from(name.as_str()), *n);
        let mut sizes: Sizes = shape.iter().map(named).collect();
        let known = |name: &Name| program.dims.contains(name) || program.scalar(name).is_some();
        if let Some(name) = sizes.keys().find(|name| !known(name)) {
            return Err(Error::usage(format!(
                "--shape: {} has no size '{name}', only {}",
                program.name,
                self.dims()
            )));
        }
        for scalar in program.scalars.iter().filter(|s| s.kind == Kind::Int) {
            let given = self.options.sets.get(&*scalar.name);
            sizes.extend(given.map(|value| (scalar.name.clone(), *value as i64)));
        }
        Ok(sizes)
    }

    /// `--set` without what [`Maker::sizes`] took.
    fn sets(&self) -> BTreeMap<String, f64> {
        let mut sets = self.options.sets.clone();
        let program = &self.mixer.program;
        sets.retain(|name, _| program.scalar(name).is_none_or(|s| s.kind != Kind::Int));
        sets
    }

    fn shaped(&self, sizes: &Sizes, dtype: DType) -> Result<Job, Error> {
        let (program, seed) = (&self.mixer.program, self.options.seed);
        shaped_job(program, sizes, &self.sets(), dtype, seed)
    }

    fn shape(
        &mut self,
        target: mixc_ptx::Target,
        dtype: DType,
        sizes: &Sizes,
    ) -> Result<(), Error> {
        let (job, gpu) = (self.shaped(sizes, dtype)?, Target::Gpu(target));
        let forms = self.mixer.forms(&job.sizes, &gpu);
        let choices = &self.options.choices;
        choices.check(&forms, &gpu)?;
        let wanted: Vec<&Form> = match &self.options.forms {
            Forms::Named(name) => vec![find_form(&forms, name)?],
            Forms::Best | Forms::All => forms.iter().collect(),
        };
        let mut notes = vec![];
        for candidate in candidates(wanted, &gpu, &job, choices, &mut notes) {
            let form = candidate.form;
            let made = candidate.settled(&gpu);
            let done = made.and_then(|made| self.form(form, target, &made, sizes, &job));
            match done {
                Ok(()) if self.options.forms == Forms::Best => break,
                Ok(()) => {}
                // What is missing for one form is missing for all.
                Err(e @ Error::Unavailable(_)) => return Err(e),
                Err(e) => notes.push(format!("form '{}' is passed over: {e}", form.name)),
            }
        }
        let mixer = &self.mixer.program.name;
        let place = format!("{mixer} on {target} in {}", dtype.name());
        self.note(notes.iter().map(|n| format!("{place}: {n}")));
        Ok(())
    }

    fn note(&mut self, notes: impl IntoIterator<Item = String>) {
        for note in notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }

    /// The cases of one form: first a small one, unless the problem itself is small.
    fn form(
        &mut self,
        form: &Form,
        target: mixc_ptx::Target,
        executable: &Executable,
        sizes: &Sizes,
        job: &Job,
    ) -> Result<(), Error> {
        let bug = || Error::Execution("bug: a form without a schedule".to_owned());
        let made = Made {
            form,
            target,
            dtype: job.dtype,
            schedule: executable.schedule().ok_or_else(bug)?,
            kernels: executable.gpu_kernels(),
            params: executable.params(),
        };
        if work(&self.mixer.program, sizes) <= MOST_WORK {
            self.small(&made, sizes, job)?;
            return Ok(());
        }
        let verified_by = self.verifying(&made, sizes)?;
        let mut case = self.case(&made, sizes, job)?;
        case.verified_by = verified_by;
        if verified_by.is_none() {
            let label = &case.label;
            self.note([format!(
                "{label}: too large for a reference, nothing verifies it"
            )]);
        }
        if self.find(&case).is_none() {
            self.bundle.cases.push(case);
        }
        Ok(())
    }

    /// The case that verifies a form at `sizes`, made where there is none; None if no problem is small enough.
    fn verifying(&mut self, made: &Made, sizes: &Sizes) -> Result<Option<usize>, Error> {
        let program = &self.mixer.program;
        let chosen = self.options.choices.filled(&made.schedule.knobs);
        let fitted = |sizes: &Sizes| {
            let job = self.shaped(sizes, made.dtype)?;
            fit(made.form, &job, made.target, &chosen)
        };
        // Kernels are right for all problems with the same tiles and alignments. How far ahead they load, and who loads,
        // was decided for the large one.
        let same = |sizes: &Sizes| {
            let aligned = made.kernels.iter().map(|k| &k.lowered.aligned);
            fitted(sizes).is_ok_and(|f| {
                let own = f.kernels.iter().map(|l| &l.kernel.aligned);
                f.schedule.kernels == made.schedule.kernels && own.eq(aligned)
            })
        };
        let small = shrink(program, sizes, MOST_WORK, &same);
        if work(program, &small) <= MOST_WORK_AT_ALL {
            let job = self.shaped(&small, made.dtype)?;
            return self.small(made, &small, &job).map(Some);
        }
        // Kernels that are made for a length: those of the same form with the same choices for a shorter one.
        let short = |small: &Sizes| {
            let head = |(name, n): (&Name, &i64)| *n > 256 || small.get(name) == Some(n);
            sizes.iter().all(head) && fitted(small).is_ok()
        };
        let small = shrink(program, sizes, MOST_WORK, &short);
        if work(program, &small) > MOST_WORK_AT_ALL {
            return Ok(None);
        }
        let job = self.shaped(&small, made.dtype)?;
        let executable = Executable::from_fitted(made.form, fitted(&small)?)?;
        let own = Made {
            kernels: executable.gpu_kernels(),
            schedule: executable.schedule().unwrap_or(made.schedule),
            params: executable.params(),
            ..*made
        };
        let at = self.small(&own, &small, &job)?;
        let label = &self.bundle.cases[at].label;
        let note =
            format!("{label}: verifies kernels that differ, which are made for their length");
        self.note([note]);
        Ok(Some(at))
    }

    /// A case with the outputs that it must give.
    fn small(&mut self, made: &Made, sizes: &Sizes, job: &Job) -> Result<usize, Error> {
        let mut case = self.case(made, sizes, job)?;
        if let Some(at) = self.find(&case) {
            return Ok(at);
        }
        let reference = self.reference(sizes, made.dtype)?;
        case.expected = expected(&case.plan, &reference)?;
        self.bundle.cases.push(case);
        Ok(self.bundle.cases.len() - 1)
    }

    fn find(&self, case: &Case) -> Option<usize> {
        let same =
            |c: &Case| c.label == case.label && c.plan == case.plan && c.inputs == case.inputs;
        self.bundle.cases.iter().position(same)
    }

    /// Plan, inputs, label and counts.
    fn case(&mut self, made: &Made, sizes: &Sizes, job: &Job) -> Result<Case, Error> {
        let multiprocessors = model::card(made.target).multiprocessors;
        let (plan, _) = plan(made.schedule, made.kernels, job, multiprocessors)?;
        let label = self.label(made, job);
        (self.progress)(&label);
        let limit = int_limit(&self.mixer.program, sizes);
        let input = |(buffer, name): (usize, &str)| {
            let declared = self.mixer.program.tensor(&Name::from(name));
            let missing = || Error::Execution(format!("bug: '{name}' is not an input"));
            let declared = declared.ok_or_else(missing)?;
            let seed = self.options.seed;
            let source = Source::Random(Generator::of(declared, Pattern::Normal, limit, seed));
            Ok(Input { buffer, source })
        };
        let buffers = plan.buffers.iter().enumerate();
        let given = buffers.filter(|(_, b)| b.role == Role::In);
        let inputs = given.map(|(n, b)| input((n, b.name.as_str())));
        Ok(Case {
            label,
            inputs: inputs.collect::<Result<_, Error>>()?,
            expected: vec![],
            counts: counts(made.schedule, &plan, job)?,
            verified_by: None,
            plan,
        })
    }

    fn label(&self, made: &Made, job: &Job) -> Label {
        let program = &self.mixer.program;
        let mut params: BTreeMap<String, serde_json::Value> = BTreeMap::new();
        params.extend(self.sets().into_iter().map(|(n, v)| (n, v.into())));
        for scalar in program.scalars.iter().filter(|s| s.kind == Kind::Int) {
            let value = job.sizes.get(&scalar.name);
            params.extend(value.map(|v| (scalar.name.to_string(), (*v).into())));
        }
        params.extend(made.params.iter().map(|(n, v)| (n.clone(), (*v).into())));
        let precision = self.options.choices.precision.map(crate::precision_name);
        params.extend(precision.map(|p| ("precision".to_owned(), p.into())));
        let dims = job.sizes.iter().filter(|(n, _)| program.dims.contains(n));
        Label {
            mixer: program.name.clone(),
            form: made.form.name.clone(),
            target: made.target.chip().to_owned(),
            dtype: made.dtype.name().to_owned(),
            shape: dims.map(|(n, v)| (n.to_string(), *v)).collect(),
            params,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            definition: fingerprint(&program.to_string()),
        }
    }

    fn reference(&mut self, sizes: &Sizes, dtype: DType) -> Result<Reference, Error> {
        let known = self.references.iter();
        if let Some((_, _, found)) = known
            .into_iter()
            .find(|(s, d, _)| s == sizes && *d == dtype)
        {
            return Ok(found.clone());
        }
        let (program, seed) = (&self.mixer.program, self.options.seed);
        let job = random_job(program, sizes, &self.sets(), Pattern::Normal, dtype, seed)?;
        let outputs = interpret(program, &job, &BTreeMap::new())?;
        let limits = limits(program, &job, &outputs, self.options.choices.precision)?;
        let reference = Reference { outputs, limits };
        self.references
            .push((sizes.clone(), dtype, reference.clone()));
        Ok(reference)
    }
}
