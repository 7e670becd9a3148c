//! A form made ready for a target, and its execution on a job.

use crate::choices::knobs_of;
use crate::gpu::{self, Fitted, GpuKernel};
use crate::{Choices, Error, Form, Job, Target, cpu, tile};
use mixc_interp::eval;
use mixc_ir::{DType, Ix, Name, Program};
use mixc_schedule::{Request, Schedule, ScheduleError, schedule};
use mixc_tensor::Tensor;
use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Results in the definition's axis order.
#[derive(Clone, Debug)]
pub struct Outputs {
    pub tensors: BTreeMap<Name, Tensor>,
    /// How long the target took for the computation alone; None where a simulator stood in for it.
    pub time: Option<Duration>,
}

/// A form for a target. It fits jobs with the same sizes and element types as the one it was made for.
pub enum Executable {
    Interp {
        program: Program,
        splits: BTreeMap<Name, i64>,
    },
    Tile {
        program: Program,
        schedule: Schedule,
    },
    Cpu {
        program: Program,
        schedule: Schedule,
        kernels: Vec<mixc_cpu::Compiled>,
    },
    Gpu {
        program: Program,
        schedule: Schedule,
        kernels: Vec<GpuKernel>,
    },
}

impl Executable {
    /// Schedules and compiles. Knobs override the scheduler's choices; in the interpreter they are the
    /// sizes of the form's splits.
    ///
    /// # Errors
    /// [`Error::Schedule`] if the form has no kernels, [`Error::Compile`], [`Error::Lower`] or
    /// [`Error::Translate`] if they do not compile, [`Error::Unavailable`] if a tool is missing.
    pub fn new(
        form: &Form,
        target: &Target,
        job: &Job,
        choices: &Choices,
    ) -> Result<Executable, Error> {
        let knobs = &choices.knobs;
        match target {
            Target::Interp => {
                let split = |name: Name| {
                    (
                        name.clone(),
                        knobs.get(&*name).copied().unwrap_or(DEFAULT_SPLIT),
                    )
                };
                let program = form.program.clone();
                Ok(Executable::Interp {
                    splits: open_sizes(&program).into_iter().map(split).collect(),
                    program,
                })
            }
            Target::Tile | Target::Cpu => {
                let schedule = schedule_form(form, job, knobs, false)?;
                Executable::from_schedule(form, target, schedule)
            }
            Target::Gpu(gpu) => Executable::from_fitted(form, gpu::fit(form, job, *gpu, choices)?),
        }
    }

    /// Compiles kernels that are scheduled already, for this CPU or the tile interpreter.
    pub(crate) fn from_schedule(
        form: &Form,
        target: &Target,
        schedule: Schedule,
    ) -> Result<Executable, Error> {
        let program = form.program.clone();
        match target {
            Target::Cpu => {
                let kernels = cpu::compile(&schedule)?;
                Ok(Executable::Cpu {
                    program,
                    schedule,
                    kernels,
                })
            }
            _ => Ok(Executable::Tile { program, schedule }),
        }
    }

    /// Compiles kernels that are lowered already, for a GPU.
    pub(crate) fn from_fitted(form: &Form, fitted: Fitted) -> Result<Executable, Error> {
        Ok(Executable::Gpu {
            kernels: gpu::compile(&fitted)?,
            program: form.program.clone(),
            schedule: fitted.schedule,
        })
    }

    /// Runs on a job. The time in the result leaves preparation and conversion out.
    pub fn run(&self, job: &Job) -> Result<Outputs, Error> {
        match self {
            Executable::Interp { program, splits } => interpret(program, job, splits),
            Executable::Tile { program, schedule } => tile::run(program, schedule, job),
            Executable::Cpu {
                program,
                schedule,
                kernels,
            } => cpu::run(program, schedule, kernels, job),
            Executable::Gpu {
                program,
                schedule,
                kernels,
            } => gpu::run(program, schedule, kernels, job),
        }
    }

    /// The time on a card of this machine, measured as models see it: launches in a graph, inputs in memory. None
    /// where the target is no GPU or no card runs it.
    pub(crate) fn measure_on_card(
        &self,
        job: &Job,
        samples: usize,
    ) -> Result<Option<mixc_launch::Timing>, Error> {
        let Executable::Gpu {
            schedule, kernels, ..
        } = self
        else {
            return Ok(None);
        };
        let card = kernels
            .first()
            .and_then(|k| gpu::card_for(k.lowered.target));
        let Some(card) = card else { return Ok(None) };
        let (plan, contents) = gpu::plan(schedule, kernels, job, card.sms)?;
        gpu::measure(card, &plan, &contents, samples).map(Some)
    }

    /// The schedule, where the target has one.
    pub fn schedule(&self) -> Option<&Schedule> {
        match self {
            Executable::Interp { .. } => None,
            Executable::Tile { schedule, .. }
            | Executable::Cpu { schedule, .. }
            | Executable::Gpu { schedule, .. } => Some(schedule),
        }
    }

    /// Every decision with the value taken: the knobs of the schedule, and those of GPU kernels.
    pub fn params(&self) -> BTreeMap<String, i64> {
        let mut params = self.schedule().map(|s| s.knobs.clone()).unwrap_or_default();
        // Kernels of one form may differ in their stages; the most tells what was asked for.
        let stages = self.gpu_kernels().iter().map(|k| i64::from(k.stages));
        params.extend(stages.max().map(|n| ("stages".to_owned(), n)));
        let warps = self.gpu_kernels().iter().map(|k| i64::from(k.warps()));
        params.extend(warps.max().map(|n| ("warps".to_owned(), n)));
        params
    }

    /// Whether the simulator stands in for the target.
    pub fn is_simulated(&self) -> bool {
        let first = self.gpu_kernels().first();
        first.is_some_and(|k| gpu::card_for(k.lowered.target).is_none())
    }

    /// The kernels with their PTX, where the target is a GPU.
    pub fn gpu_kernels(&self) -> &[GpuKernel] {
        match self {
            Executable::Gpu { kernels, .. } => kernels,
            _ => &[],
        }
    }

    /// The compiled kernels, where the target has machine code.
    pub fn machine_code(&self) -> &[mixc_cpu::Compiled] {
        match self {
            Executable::Cpu { kernels, .. } => kernels,
            _ => &[],
        }
    }
}

/// Size of a split in the f64 interpreter, where nothing better is asked for.
const DEFAULT_SPLIT: i64 = 16;

/// The kernels of a form for a job.
pub(crate) fn schedule_form(
    form: &Form,
    job: &Job,
    knobs: &BTreeMap<String, i64>,
    matrix_units: bool,
) -> Result<Schedule, Error> {
    let inputs = job
        .tensors
        .iter()
        .map(|(name, t)| (name.clone(), kernel_dtype(t.dtype())));
    let outputs = form
        .program
        .outputs
        .iter()
        .map(|o| (o.name.clone(), kernel_dtype(job.dtype)));
    let strided = job
        .tensors
        .iter()
        .filter(|(_, t)| !unit_inner(t))
        .map(|(name, _)| name.clone());
    // Choices are made for all forms of a mixer; each takes those that it has.
    let names = knobs_of(form);
    let own = knobs
        .iter()
        .filter(|(name, _)| names.iter().any(|(own, _)| own == *name))
        .map(|(name, value)| (name.clone(), *value))
        .collect();
    let request = Request {
        sizes: job.sizes.clone(),
        // An input and an output may share a name; then the output's type follows the input's.
        dtypes: outputs.chain(inputs).collect(),
        absent: job.absent.clone(),
        strided: strided.collect(),
        knobs: own,
        matrix_units,
    };
    // A mistake of ours in one form must not take the other forms away from the user.
    let scheduled = catch_unwind(AssertUnwindSafe(|| schedule(&form.program, &request)));
    Ok(scheduled.unwrap_or_else(|panic| Err(internal(panic.as_ref())))?)
}

fn internal(panic: &(dyn Any + Send)) -> ScheduleError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    ScheduleError::Internal {
        what: text.trim_start_matches("bug: ").to_owned(),
    }
}

/// Kernels compute in f32; f64 tensors are converted before.
pub(crate) fn kernel_dtype(dtype: DType) -> DType {
    if dtype == DType::F64 {
        DType::F32
    } else {
        dtype
    }
}

/// Whether neighbours along the last axis lie side by side.
fn unit_inner(tensor: &Tensor) -> bool {
    tensor.shape().last().is_none_or(|n| *n <= 1) || tensor.strides().last() == Some(&1)
}

/// A shape over sizes, as numbers.
pub(crate) fn extents(shape: &[Ix], sizes: &BTreeMap<Name, i64>) -> Result<Vec<usize>, Error> {
    let extent = |ix: &Ix| ix.eval_sizes(sizes).and_then(|n| usize::try_from(n).ok());
    let shape: Option<Vec<usize>> = shape.iter().map(extent).collect();
    shape.ok_or_else(|| {
        Error::Execution("the shape of a tensor does not follow from the sizes".to_owned())
    })
}

/// Runs `program` in the f64 interpreter. `splits` gives sizes to the symbols that a form leaves open.
pub fn interpret(
    program: &Program,
    job: &Job,
    splits: &BTreeMap<Name, i64>,
) -> Result<Outputs, Error> {
    let inputs = job.interp_inputs(splits);
    let start = Instant::now();
    let arrays = eval(program, &inputs)?;
    let time = start.elapsed();
    let tensors = arrays.into_iter().map(|(name, array)| {
        let tensor = Tensor::from_f64(DType::F64, &array.shape, &array.data);
        (name, tensor.unwrap_or_else(|e| panic!("bug: {e}")))
    });
    Ok(Outputs {
        tensors: tensors.collect(),
        time: Some(time),
    })
}

/// The size symbols that a form leaves open: they occur in its splits and are neither sizes nor
/// scalars of the definition.
pub fn open_sizes(program: &Program) -> Vec<Name> {
    let mut open = vec![];
    for split in &program.splits {
        split.size.visit_leaves(&mut |leaf| {
            if let Ix::Dim(name) = leaf
                && !program.dims.contains(name)
                && program.scalar(name).is_none()
                && !open.contains(name)
            {
                open.push(name.clone());
            }
        });
    }
    open
}
