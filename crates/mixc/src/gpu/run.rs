//! Execution for GPU targets: on a card that can, else in the simulator.

use super::plan::SIMULATED_MULTIPROCESSORS;
use super::{GpuKernel, device, plan, simulate};
use crate::{Error, Job, Outputs};
use mixc_ir::Program;
use mixc_launch::{Plan, Role};
use mixc_schedule::Schedule;
use mixc_tensor::Tensor;
use std::collections::BTreeMap;

/// Runs the kernels in order. Anything that the simulator finds wrong is an error.
pub(crate) fn run(
    program: &Program,
    schedule: &Schedule,
    kernels: &[GpuKernel],
    job: &Job,
) -> Result<Outputs, Error> {
    let card = kernels
        .first()
        .and_then(|k| device::card_for(k.lowered.target));
    let multiprocessors = card.map_or(SIMULATED_MULTIPROCESSORS, |c| c.sms);
    let (plan, contents) = plan(schedule, kernels, job, multiprocessors)?;
    let (buffers, time) = match card {
        Some(card) => {
            let ran = device::execute(card, &plan, &contents)?;
            (ran.buffers, Some(ran.time))
        }
        None => {
            let simulated = simulate(&plan, &contents)?;
            if let Some(mistakes) = simulated.mistakes() {
                return Err(Error::Execution(mistakes));
            }
            (simulated.buffers, None)
        }
    };
    let mut tensors = BTreeMap::new();
    for output in &program.outputs {
        let tensor = output_tensor(&output.name, schedule, &plan, &buffers)?;
        tensors.insert(output.name.clone(), tensor);
    }
    Ok(Outputs { tensors, time })
}

fn output_tensor(
    name: &str,
    schedule: &Schedule,
    plan: &Plan,
    buffers: &BTreeMap<usize, Vec<u8>>,
) -> Result<Tensor, Error> {
    // An input may have the same name.
    let place = plan
        .buffers
        .iter()
        .position(|b| b.name == name && b.role != Role::In);
    let mut tensors = schedule.kernels.iter().flat_map(|k| &k.tensors);
    let declared = tensors.find(|t| &*t.name == name);
    let (Some(n), Some(declared)) = (place, declared) else {
        return Err(Error::Execution(format!(
            "no kernel wrote the output '{name}'"
        )));
    };
    let shape: Vec<usize> = plan.buffers[n].shape.iter().map(|n| *n as usize).collect();
    let bytes = buffers.get(&n).map(Vec::as_slice).unwrap_or_default();
    Tensor::from_bytes(declared.dtype, &shape, bytes).map_err(|e| Error::Execution(e.to_string()))
}
