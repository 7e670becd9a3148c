//! A form made ready for a target, and its execution on a job.

use crate::pipeline::Form;
use crate::{Error, Job, Target};
use mixc_interp::eval;
use mixc_ir::{DType, Ix, Name, Program};
use mixc_schedule::{Request, Schedule, schedule};
use mixc_tensor::Tensor;
use mixc_tile::{KernelArgs, TensorData, Usage, interpret as interpret_kernel};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Results in the definition's axis order, and how long the computation alone took.
#[derive(Clone, Debug)]
pub struct Outputs {
    pub tensors: BTreeMap<Name, Tensor>,
    pub time: Duration,
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
}

impl Executable {
    pub(crate) fn new(
        form: &Form,
        target: &Target,
        job: &Job,
        knobs: &BTreeMap<String, i64>,
    ) -> Result<Executable, Error> {
        let program = form.program.clone();
        match target {
            Target::Interp => {
                let split = |name: Name| {
                    (
                        name.clone(),
                        knobs.get(&*name).copied().unwrap_or(DEFAULT_SPLIT),
                    )
                };
                Ok(Executable::Interp {
                    splits: open_sizes(&program).into_iter().map(split).collect(),
                    program,
                })
            }
            Target::Tile => {
                let schedule = schedule(&program, &request(&program, job, knobs))?;
                Ok(Executable::Tile { program, schedule })
            }
            Target::Cpu => Err(Error::Unavailable(
                "the cpu target is not there yet".to_owned(),
            )),
            Target::Gpu(name) => Err(Error::Unavailable(format!(
                "target {name}: PTX is not emitted by this version"
            ))),
        }
    }

    /// Runs on a job. The time in the result leaves preparation and conversion out.
    pub fn run(&self, job: &Job) -> Result<Outputs, Error> {
        match self {
            Executable::Interp { program, splits } => interpret(program, job, splits),
            Executable::Tile { program, schedule } => run_tile(program, schedule, job),
        }
    }

    /// The schedule, where the target has one.
    pub fn schedule(&self) -> Option<&Schedule> {
        match self {
            Executable::Interp { .. } => None,
            Executable::Tile { schedule, .. } => Some(schedule),
        }
    }
}

/// Size of a split in the f64 interpreter, where nothing better is asked for.
const DEFAULT_SPLIT: i64 = 16;

fn request(program: &Program, job: &Job, knobs: &BTreeMap<String, i64>) -> Request {
    let inputs = job
        .tensors
        .iter()
        .map(|(name, t)| (name.clone(), t.dtype()));
    let outputs = program.outputs.iter().map(|o| (o.name.clone(), job.dtype));
    Request {
        sizes: job.sizes.clone(),
        // An input and an output may share a name; then the output's type follows the input's.
        dtypes: outputs.chain(inputs).collect(),
        absent: job.absent.clone(),
        knobs: knobs.clone(),
        strided: job
            .tensors
            .iter()
            .filter(|(_, t)| !unit_inner(t))
            .map(|(name, _)| name.clone())
            .collect(),
    }
}

/// Whether neighbours along the last axis lie side by side.
fn unit_inner(tensor: &Tensor) -> bool {
    tensor.shape().last().is_none_or(|n| *n <= 1) || tensor.strides().last() == Some(&1)
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
        time,
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

/// Runs the kernels in the tile interpreter. Memory that nobody wrote is NaN.
fn run_tile(program: &Program, schedule: &Schedule, job: &Job) -> Result<Outputs, Error> {
    let mut memory: BTreeMap<Name, TensorData> = BTreeMap::new();
    for (name, tensor) in &job.tensors {
        let data = tensor.to_f64().into_iter().map(|x| x as f32).collect();
        memory.insert(name.clone(), TensorData::new(tensor.shape(), data));
    }
    let scalars: BTreeMap<Name, f32> = job
        .scalars
        .iter()
        .map(|(name, x)| (name.clone(), *x as f32))
        .collect();
    let start = Instant::now();
    for kernel in &schedule.kernels {
        let mut args = KernelArgs {
            dims: job.sizes.clone(),
            scalars: scalars.clone(),
            tensors: BTreeMap::new(),
        };
        for tensor in &kernel.tensors {
            let data = match memory.remove(&tensor.name) {
                Some(data) if tensor.usage != Usage::Out => data,
                _ => TensorData::filled(&extents(&tensor.shape, &job.sizes)?, f32::NAN),
            };
            args.tensors.insert(tensor.name.clone(), data);
        }
        interpret_kernel(kernel, &mut args).map_err(|e| Error::Execution(e.to_string()))?;
        memory.append(&mut args.tensors);
    }
    let time = start.elapsed();
    let mut tensors = BTreeMap::new();
    for output in &program.outputs {
        let Some(data) = memory.get(&output.name) else {
            return Err(Error::Execution(format!(
                "no kernel wrote the output '{}'",
                output.name
            )));
        };
        let values: Vec<f64> = data.data.iter().map(|x| f64::from(*x)).collect();
        let tensor = Tensor::from_f64(job.dtype, &data.shape, &values);
        tensors.insert(
            output.name.clone(),
            tensor.map_err(|e| Error::Execution(e.to_string()))?,
        );
    }
    Ok(Outputs { tensors, time })
}

/// A shape over sizes, as numbers.
fn extents(shape: &[Ix], sizes: &BTreeMap<Name, i64>) -> Result<Vec<usize>, Error> {
    let extent = |ix: &Ix| ix.eval_sizes(sizes).and_then(|n| usize::try_from(n).ok());
    let shape: Option<Vec<usize>> = shape.iter().map(extent).collect();
    shape.ok_or_else(|| {
        Error::Execution("the shape of a tensor does not follow from the sizes".to_owned())
    })
}
