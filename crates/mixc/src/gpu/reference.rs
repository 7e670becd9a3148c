//! What a bundled case must compute, and how much work that is.

use crate::verify::Limits;
use crate::{Error, Job, Outputs};
use mixc_ir::Name;
use mixc_launch::{Counts, Expected, Plan, Role, Values};
use mixc_schedule::Schedule;

/// What the interpreter computed, and how far each output may be from it.
#[derive(Clone)]
pub(super) struct Reference {
    pub outputs: Outputs,
    pub limits: Limits,
}

/// What the outputs of a plan must be.
pub(super) fn expected(plan: &Plan, reference: &Reference) -> Result<Vec<Expected>, Error> {
    let one = |(name, exact): (&Name, &mixc_tensor::Tensor)| {
        let place = |b: &mixc_launch::BufferSpec| b.name == **name && b.role == Role::Out;
        let values: Vec<f32> = exact.to_f64().iter().map(|x| *x as f32).collect();
        let limit = reference.limits.get(name).copied().unwrap_or(0.0);
        if values.iter().any(|x| x.is_nan()) || !limit.is_finite() {
            return Err(Error::Execution(format!(
                "the reference for '{name}' is not a number, so nothing can be verified"
            )));
        }
        let missing = || Error::Execution(format!("no kernel writes the output '{name}'"));
        Ok(Expected {
            buffer: plan.buffers.iter().position(place).ok_or_else(missing)?,
            values: Values::F32(values),
            positions: None,
            rel_tol: limit,
            abs_tol: None,
        })
    };
    reference.outputs.tensors.iter().map(one).collect()
}

/// The arithmetic of the kernels, and inputs read and outputs written once.
pub(super) fn counts(schedule: &Schedule, plan: &Plan, job: &Job) -> Result<Counts, Error> {
    let mut flops = 0u64;
    for kernel in &schedule.kernels {
        let counted = mixc_tile::counts::counts(kernel, &job.sizes);
        let counted = counted.map_err(|e| Error::Execution(format!("bug: {e}")))?;
        flops = flops.saturating_add(counted.flops());
    }
    let outside = plan.buffers.iter().filter(|b| b.role != Role::Work);
    let bytes = outside.map(|b| b.elements().unwrap_or(0) * b.dtype.size_bytes() as u64);
    Ok(Counts {
        flops,
        bytes: bytes.sum(),
    })
}

/// The same for the same text on every machine (FNV-1a, 64 bits).
pub(super) fn fingerprint(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}
