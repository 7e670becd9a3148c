//! Schedules to PTX.

use crate::{Error, Job};
use mixc_nvtools::{TranslateError, Translator};
use mixc_ptx::{LowerError, Options, Precision, PtxKernel, Target};
use mixc_schedule::Schedule;
use mixc_tile::{Kernel, TensorArg, Usage};
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// Choices for code on GPUs that a schedule leaves open.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuOptions {
    pub precision: Precision,
    /// Warps of a block; None picks by the size of the tiles.
    pub warps: Option<u32>,
    /// Tiles in flight.
    pub stages: u32,
}

impl Default for GpuOptions {
    fn default() -> GpuOptions {
        GpuOptions {
            precision: Precision::default(),
            warps: None,
            stages: 2,
        }
    }
}

/// A kernel with its PTX.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuKernel {
    pub lowered: PtxKernel,
    pub ptx: String,
}

/// PTX for every kernel of a schedule that fits `job`'s layouts.
///
/// # Errors
/// [`Error::Unavailable`] if MLIR is not installed; [`Error::Lower`] or [`Error::Translate`] if a kernel has no PTX.
pub fn compile(
    schedule: &Schedule,
    job: &Job,
    target: Target,
    options: &GpuOptions,
) -> Result<Vec<GpuKernel>, Error> {
    schedule
        .kernels
        .iter()
        .map(|kernel| {
            let lowered = lower(kernel, job, target, options)?;
            let ptx = translator()?
                .ptx(target.chip(), &lowered.mlir)
                .map_err(|e: TranslateError| Error::Translate {
                    kernel: kernel.name.clone(),
                    reason: e.to_string(),
                })?;
            Ok(GpuKernel { lowered, ptx })
        })
        .collect()
}

/// MLIR of a kernel; with fewer tiles in flight where shared memory does not hold more.
pub fn lower(
    kernel: &Kernel,
    job: &Job,
    target: Target,
    options: &GpuOptions,
) -> Result<PtxKernel, LowerError> {
    let aligned: BTreeSet<_> = kernel
        .tensors
        .iter()
        .filter(|t| is_aligned(t, job))
        .map(|t| t.name.clone())
        .collect();
    let mut stages = options.stages.max(1);
    loop {
        let options = Options {
            target,
            precision: options.precision,
            warps: options.warps.unwrap_or(4),
            stages,
            aligned: aligned.clone(),
        };
        match mixc_ptx::lower(kernel, &options) {
            Err(LowerError::SharedMemory { .. }) if stages > 1 => stages -= 1,
            other => return other,
        }
    }
}

/// Whether rows of a tensor begin at multiples of 16 bytes, given that the tensor does.
fn is_aligned(tensor: &TensorArg, job: &Job) -> bool {
    if !tensor.unit_inner {
        return false;
    }
    let strides: Vec<i64> = match (tensor.usage, job.tensors.get(&tensor.name)) {
        (Usage::In, Some(given)) => given.strides().iter().map(|s| *s as i64).collect(),
        _ => {
            let extents: Option<Vec<i64>> = tensor
                .shape
                .iter()
                .map(|ix| ix.eval_sizes(&job.sizes))
                .collect();
            let Some(extents) = extents else { return false };
            (0..extents.len())
                .map(|d| extents[d + 1..].iter().product())
                .collect()
        }
    };
    let size = tensor.dtype.size_bytes() as i64;
    let outer = &strides[..strides.len().saturating_sub(1)];
    outer.iter().all(|s| s * size % 16 == 0)
}

fn translator() -> Result<&'static Translator, Error> {
    static FOUND: OnceLock<Result<Translator, String>> = OnceLock::new();
    FOUND
        .get_or_init(|| Translator::find().map_err(|e| e.to_string()))
        .as_ref()
        .map_err(|e| Error::Unavailable(e.clone()))
}
