//! What to launch for one job.

use crate::execute::{extents, kernel_dtype};
use crate::gpu::GpuKernel;
use crate::{Error, Job};
use mixc_ir::{DType, Name};
use mixc_launch::{
    Arg, BufferSpec, L2Promotion, Launch, MapElem, ModuleImage, Plan, Role, Swizzle, TensorMap,
};
use mixc_ptx::{BulkMap, HardwareSwizzle, Param};
use mixc_schedule::Schedule;
use mixc_tensor::Tensor;
use mixc_tile::Usage;
use std::collections::BTreeMap;

/// Multiprocessors to plan for where a simulator stands in for a card: so few that persistent blocks go through
/// several grid points even of a small problem.
pub const SIMULATED_MULTIPROCESSORS: u32 = 2;
/// Grid points that persistent kernels count.
const MOST_POINTS: usize = 1 << 30;

/// Buffers and launches of a job on a card with this many multiprocessors, and the contents of its input buffers by
/// index.
///
/// # Errors
/// If a size or scalar that a kernel takes is not known, or a grid is too large.
pub fn plan(
    schedule: &Schedule,
    kernels: &[GpuKernel],
    job: &Job,
    multiprocessors: u32,
) -> Result<(Plan, BTreeMap<usize, Tensor>), Error> {
    let job = &job.with_small_integers()?;
    let mut plan = Plan::default();
    let mut contents = BTreeMap::new();
    let mut places: BTreeMap<Name, usize> = BTreeMap::new();
    for tensor in schedule.kernels.iter().flat_map(|k| &k.tensors) {
        if places.contains_key(&tensor.name) {
            continue;
        }
        places.insert(tensor.name.clone(), plan.buffers.len());
        let role = match tensor.usage {
            Usage::In => Role::In,
            Usage::Out => Role::Out,
            Usage::Work => Role::Work,
        };
        let given = job.tensors.get(&tensor.name).filter(|_| role == Role::In);
        let shape: Vec<i64> = match given {
            Some(given) => given.shape().iter().map(|n| *n as i64).collect(),
            None => extents(&tensor.shape, &job.sizes)?
                .iter()
                .map(|n| *n as i64)
                .collect(),
        };
        let mut spec = BufferSpec::new(&*tensor.name, dtype(tensor.dtype)?, &shape, role);
        if let Some(given) = given {
            let wanted = kernel_dtype(given.dtype());
            let given = if wanted == given.dtype() {
                given.clone()
            } else {
                given.to_dtype(wanted)
            };
            spec.strides = Some(given.strides().iter().map(|s| *s as i64).collect());
            contents.insert(plan.buffers.len(), given);
        }
        plan.buffers.push(spec);
    }
    for kernel in kernels {
        let module = plan.modules.len();
        plan.modules.push(ModuleImage {
            target: kernel.lowered.target.chip().to_owned(),
            ptx: kernel.ptx.to_string(),
            cubin: None,
        });
        let lowered = &kernel.lowered;
        let most = match lowered.persistent {
            Some(_) => MOST_POINTS,
            None => i32::MAX as usize,
        };
        let points = extents(&lowered.grid, &job.sizes)?
            .iter()
            .try_fold(1usize, |a, n| a.checked_mul(*n))
            .filter(|n| *n <= most)
            .ok_or_else(|| {
                Error::usage(format!(
                    "kernel {} needs more than {most} thread blocks for these sizes",
                    lowered.entry
                ))
            })? as u32;
        let blocks = match lowered.persistent {
            Some(each) => points.min(multiprocessors * each),
            None => points,
        };
        let args = lowered
            .params
            .iter()
            .map(|param| argument(param, job, &plan.buffers, &places))
            .collect::<Result<_, _>>()?;
        plan.launches.push(Launch {
            module,
            entry: lowered.entry.clone(),
            grid: [blocks, 1, 1],
            block: [lowered.threads, 1, 1],
            shared_bytes: lowered.shared_bytes,
            args,
        });
    }
    Ok((plan, contents))
}

/// The tensor map of a buffer as a kernel expects it.
fn tensor_map(map: &BulkMap, buffer: usize, spec: &BufferSpec) -> Result<TensorMap, Error> {
    let elem = match spec.dtype {
        mixc_launch::DType::F32 => MapElem::F32,
        mixc_launch::DType::F16 => MapElem::F16,
        mixc_launch::DType::Bf16 => MapElem::Bf16,
        other => {
            return Err(Error::Execution(format!(
                "bug: a tensor map over {other:?} for '{}'",
                map.tensor
            )));
        }
    };
    let strides = spec.strides();
    let outer = strides.iter().take(strides.len().saturating_sub(1));
    Ok(TensorMap {
        buffer,
        byte_offset: 0,
        elem,
        dims: spec.shape.iter().rev().map(|n| *n as u64).collect(),
        strides_bytes: outer.rev().map(|s| *s as u64 * elem.size_bytes()).collect(),
        box_: map.box_.clone(),
        elem_strides: vec![1; map.box_.len()],
        swizzle: match map.swizzle {
            HardwareSwizzle::None => Swizzle::None,
            HardwareSwizzle::Bytes32 => Swizzle::B32,
            HardwareSwizzle::Bytes64 => Swizzle::B64,
            HardwareSwizzle::Bytes128 => Swizzle::B128,
        },
        l2_promotion: L2Promotion::B128,
    })
}

fn argument(
    param: &Param,
    job: &Job,
    buffers: &[BufferSpec],
    places: &BTreeMap<Name, usize>,
) -> Result<Arg, Error> {
    let missing = |name: &Name| Error::Execution(format!("bug: a kernel needs '{name}'"));
    Ok(match param {
        Param::Pointer(name) => Arg::Buffer(*places.get(name).ok_or_else(|| missing(name))?),
        Param::Stride { tensor, dim } => {
            let buffer = *places.get(tensor).ok_or_else(|| missing(tensor))?;
            Arg::I64(buffers[buffer].strides()[*dim])
        }
        Param::Map(map) => {
            let buffer = *places
                .get(&map.tensor)
                .ok_or_else(|| missing(&map.tensor))?;
            Arg::TensorMap(tensor_map(map, buffer, &buffers[buffer])?)
        }
        Param::Dim(name) => {
            let value = *job.sizes.get(name).ok_or_else(|| missing(name))?;
            Arg::I32(i32::try_from(value).map_err(|_| {
                Error::usage(format!(
                    "the size {name} = {value} does not fit in 32 bits, which kernels for GPUs count in"
                ))
            })?)
        }
        Param::Scalar(name) => {
            Arg::F32(*job.scalars.get(name).ok_or_else(|| missing(name))? as f32)
        }
    })
}

fn dtype(dtype: DType) -> Result<mixc_launch::DType, Error> {
    Ok(match dtype {
        DType::F32 => mixc_launch::DType::F32,
        DType::F16 => mixc_launch::DType::F16,
        DType::Bf16 => mixc_launch::DType::Bf16,
        DType::I32 => mixc_launch::DType::I32,
        DType::Bool => mixc_launch::DType::Bool,
        other => {
            return Err(Error::usage(format!(
                "tensors of {} cannot be used on a GPU",
                other.name()
            )));
        }
    })
}
