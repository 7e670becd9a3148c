//! The `cpu` target: kernels as machine code in this process.

use crate::execute::{extents, kernel_dtype};
use crate::{Error, Job, Outputs};
use mixc_cpu::{Compiled, LaunchArgs, Options, TensorPtr, Threads};
use mixc_ir::{DType, Name, Program};
use mixc_schedule::Schedule;
use mixc_tensor::Tensor;
use mixc_tile::Kernel;
use std::collections::BTreeMap;
use std::time::Instant;

pub(crate) fn compile(schedule: &Schedule) -> Result<Vec<Compiled>, Error> {
    let compile =
        |kernel: &Kernel| mixc_cpu::compile(kernel, &Options::default()).map_err(Error::from);
    schedule.kernels.iter().map(compile).collect()
}

/// Runs the kernels in order on rayon's current pool. Memory that nobody wrote is NaN.
pub(crate) fn run(
    program: &Program,
    schedule: &Schedule,
    kernels: &[Compiled],
    job: &Job,
) -> Result<Outputs, Error> {
    let mut memory: BTreeMap<Name, Tensor> = BTreeMap::new();
    for (name, tensor) in &job.tensors {
        let dtype = kernel_dtype(tensor.dtype());
        memory.insert(
            name.clone(),
            if dtype == tensor.dtype() {
                tensor.clone()
            } else {
                tensor.to_dtype(dtype)
            },
        );
    }
    for tensor in schedule.kernels.iter().flat_map(|k| &k.tensors) {
        if !memory.contains_key(&tensor.name) {
            memory.insert(
                tensor.name.clone(),
                unwritten(tensor.dtype, &extents(&tensor.shape, &job.sizes)?),
            );
        }
    }
    let launches: Vec<LaunchArgs> = schedule
        .kernels
        .iter()
        .map(|kernel| arguments(kernel, job, &mut memory))
        .collect::<Result<_, _>>()?;
    let start = Instant::now();
    for (kernel, args) in kernels.iter().zip(&launches) {
        // SAFETY: `memory` owns every tensor for the whole loop, with the shapes and strides that the
        // arguments were made from, and each tensor has an allocation of its own.
        unsafe { kernel.launch(args, &Threads::All) }
            .map_err(|e| Error::Execution(e.to_string()))?;
    }
    let time = start.elapsed();
    let mut tensors = BTreeMap::new();
    for output in &program.outputs {
        let Some(tensor) = memory.remove(&output.name) else {
            return Err(Error::Execution(format!(
                "no kernel wrote the output '{}'",
                output.name
            )));
        };
        tensors.insert(output.name.clone(), tensor);
    }
    Ok(Outputs {
        tensors,
        time: Some(time),
    })
}

/// A tensor full of NaN (all bits set; integers are -1).
fn unwritten(dtype: DType, shape: &[usize]) -> Tensor {
    let mut tensor = Tensor::zeros(dtype, shape);
    tensor.bytes_mut().fill(0xff);
    tensor
}

/// The arguments of one kernel. The pointers stay valid as long as `memory` is neither written
/// through its tensors nor shrunk.
fn arguments(
    kernel: &Kernel,
    job: &Job,
    memory: &mut BTreeMap<Name, Tensor>,
) -> Result<LaunchArgs, Error> {
    let missing = |what: &str, name: &Name| {
        Error::Execution(format!("bug: kernel {} needs {what} {name}", kernel.name))
    };
    let dim = |name: &Name| {
        job.sizes
            .get(name)
            .copied()
            .ok_or_else(|| missing("the size", name))
    };
    let scalar = |name: &Name| {
        job.scalars
            .get(name)
            .map(|x| *x as f32)
            .ok_or_else(|| missing("the scalar", name))
    };
    let mut tensors = vec![];
    for declared in &kernel.tensors {
        let tensor = memory
            .get_mut(&declared.name)
            .ok_or_else(|| missing("the tensor", &declared.name))?;
        if tensor.dtype() != declared.dtype {
            return Err(Error::Execution(format!(
                "bug: kernel {} was made for '{}' in {}, not {}",
                kernel.name,
                declared.name,
                declared.dtype.name(),
                tensor.dtype().name()
            )));
        }
        // Inputs may share memory with the caller and are only read; everything else was allocated
        // here and has one owner, so that asking for it mutably moves nothing.
        let ptr = match declared.usage {
            mixc_tile::Usage::In => tensor.bytes().as_ptr().cast_mut(),
            _ => tensor.bytes_mut().as_mut_ptr(),
        };
        tensors.push(TensorPtr {
            ptr,
            shape: tensor.shape().iter().map(|n| *n as i64).collect(),
            strides: tensor.strides().iter().map(|n| *n as i64).collect(),
        });
    }
    Ok(LaunchArgs {
        dims: kernel.dims.iter().map(dim).collect::<Result<_, _>>()?,
        scalars: kernel
            .scalars
            .iter()
            .map(scalar)
            .collect::<Result<_, _>>()?,
        tensors,
    })
}
