//! The GPU targets: in the simulator, where no GPU is at hand.

use super::{GpuKernel, plan, simulate};
use crate::{Error, Job, Outputs};
use mixc_ir::Program;
use mixc_schedule::Schedule;
use mixc_tensor::Tensor;
use std::collections::BTreeMap;
use std::time::Instant;

/// Runs the kernels in order. Anything that the simulator finds wrong is an error.
pub(crate) fn run(
    program: &Program,
    schedule: &Schedule,
    kernels: &[GpuKernel],
    job: &Job,
) -> Result<Outputs, Error> {
    let (plan, contents) = plan(schedule, kernels, job)?;
    let start = Instant::now();
    let simulated = simulate(&plan, &contents)?;
    let time = start.elapsed();
    if !simulated.findings.is_empty() {
        let lines: Vec<String> = simulated
            .findings
            .iter()
            .take(5)
            .map(|(kernel, finding)| format!("kernel {kernel}: {finding}"))
            .collect();
        return Err(Error::Execution(format!(
            "the simulator found {} mistakes:\n{}",
            simulated.findings.len(),
            lines.join("\n")
        )));
    }
    let mut tensors = BTreeMap::new();
    for output in &program.outputs {
        let place = plan
            .buffers
            .iter()
            .position(|b| *b.name == *output.name && b.role != mixc_launch::Role::In);
        let declared = schedule
            .kernels
            .iter()
            .flat_map(|k| &k.tensors)
            .find(|t| t.name == output.name);
        let (Some(n), Some(declared)) = (place, declared) else {
            return Err(Error::Execution(format!(
                "no kernel wrote the output '{}'",
                output.name
            )));
        };
        let shape: Vec<usize> = plan.buffers[n].shape.iter().map(|n| *n as usize).collect();
        let tensor = Tensor::from_bytes(declared.dtype, &shape, &simulated.buffers[&n])
            .map_err(|e| Error::Execution(e.to_string()))?;
        tensors.insert(output.name.clone(), tensor);
    }
    Ok(Outputs { tensors, time })
}
