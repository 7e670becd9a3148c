//! The `tile` target: kernels in the tile interpreter.

use crate::execute::{extents, kernel_dtype};
use crate::{Error, Job, Outputs};
use mixc_ir::{Name, Program};
use mixc_schedule::Schedule;
use mixc_tensor::Tensor;
use mixc_tile::{KernelArgs, TensorData, interpret};
use std::collections::BTreeMap;
use std::time::Instant;

/// Runs the kernels in order. Memory that nobody wrote is NaN.
pub(crate) fn run(program: &Program, schedule: &Schedule, job: &Job) -> Result<Outputs, Error> {
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
                Some(data) => data,
                None => TensorData::filled(&extents(&tensor.shape, &job.sizes)?, f32::NAN),
            };
            args.tensors.insert(tensor.name.clone(), data);
        }
        interpret(kernel, &mut args).map_err(|e| Error::Execution(e.to_string()))?;
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
        let tensor = Tensor::from_f64(kernel_dtype(job.dtype), &data.shape, &values);
        tensors.insert(
            output.name.clone(),
            tensor.map_err(|e| Error::Execution(e.to_string()))?,
        );
    }
    Ok(Outputs {
        tensors,
        time: Some(time),
    })
}
