//! From a plan's launches to kernels of loaded modules, and from arguments to values.

use crate::driver::codes;
use crate::memory::Block;
use crate::{
    Address, CudaError, Driver, Failure, FunctionId, FunctionInfo, RawLaunch, Session, Value,
};
use mixc_launch::{Arch, Arg, Launch, Plan, PlanError, TensorMap};

/// A launch of the plan that has something to do, with its kernel.
pub(crate) struct Step {
    /// Its place in the plan.
    pub launch: usize,
    pub function: FunctionId,
}

/// Loads what the plan needs. Launches without blocks are left out.
pub(crate) fn steps<D: Driver>(session: &Session<D>, plan: &Plan) -> Result<Vec<Step>, CudaError> {
    let mut modules = vec![];
    for (module, image) in plan.modules.iter().enumerate() {
        let target: Arch = image
            .target
            .parse()
            .map_err(|source| PlanError::Target { module, source })?;
        modules.push((session.module(image, target)?, target));
    }
    let mut steps = vec![];
    for (at, launch) in plan
        .launches
        .iter()
        .enumerate()
        .filter(|(_, l)| !l.is_empty())
    {
        let (module, target) = modules[launch.module];
        let kernel = session.kernel(module.id, target, &launch.entry, launch.shared_bytes)?;
        check_params(launch, &kernel, module.from_ptx)?;
        let threads = launch.block.iter().map(|&n| u64::from(n)).product();
        if threads > u64::from(kernel.max_threads) {
            return Err(CudaError::Threads {
                entry: launch.entry.clone(),
                threads,
                registers: kernel.registers,
                limit: kernel.max_threads,
            });
        }
        steps.push(Step {
            launch: at,
            function: kernel.id,
        });
    }
    Ok(steps)
}

/// The driver reads as many values as the kernel has parameters, so their number must be known to be right.
/// Plans compare arguments with the PTX; machine code alone must be asked.
fn check_params(launch: &Launch, kernel: &FunctionInfo, from_ptx: bool) -> Result<(), CudaError> {
    let found: Vec<usize> = launch.args.iter().map(|a| a.size_align().0).collect();
    match &kernel.params {
        Some(expected) if *expected == found => Ok(()),
        None if from_ptx => Ok(()),
        expected => Err(CudaError::Params {
            entry: launch.entry.clone(),
            found,
            expected: expected.clone(),
        }),
    }
}

/// Whether a launch needs memory to stand for empty tensors.
pub(crate) fn has_empty_map(plan: &Plan) -> bool {
    let empty = |arg: &Arg| matches!(arg, Arg::TensorMap(map) if map.is_empty());
    plan.launches
        .iter()
        .any(|l| !l.is_empty() && l.args.iter().any(empty))
}

/// Where the arguments of one copy of the buffers point.
pub(crate) struct Addresses<'a, D: Driver> {
    pub driver: &'a D,
    pub buffers: Vec<Address>,
    /// Zeros for maps of empty tensors.
    pub nothing: Option<&'a Block<D>>,
}

impl<D: Driver> Addresses<'_, D> {
    /// The launch of a step with these addresses.
    pub fn resolve(&self, step: &Step, launch: &Launch) -> Result<RawLaunch, CudaError> {
        let mut values = vec![];
        for (n, arg) in launch.args.iter().enumerate() {
            values.push(match arg {
                Arg::Buffer(buffer) => Value::Address(self.buffers[*buffer]),
                Arg::BufferAt {
                    buffer,
                    byte_offset,
                } => Value::Address(Address(self.buffers[*buffer].0 + byte_offset)),
                Arg::I32(x) => Value::I32(*x),
                Arg::I64(x) => Value::I64(*x),
                Arg::F32(x) => Value::F32(*x),
                Arg::TensorMap(map) => self.encode(map).map_err(|failure| CudaError::Map {
                    entry: launch.entry.clone(),
                    arg: n,
                    failure,
                })?,
            });
        }
        Ok(RawLaunch {
            function: step.function,
            grid: launch.grid,
            block: launch.block,
            shared_bytes: launch.shared_bytes,
            values,
        })
    }

    fn encode(&self, map: &TensorMap) -> Result<Value, Failure> {
        let at = Address(self.buffers[map.buffer].0 + map.byte_offset);
        let encoded = match self.nothing {
            // The driver refuses sizes of 0. One zero element is the same to every box that is read.
            Some(nothing) if map.is_empty() => {
                let one = TensorMap {
                    dims: vec![1; map.dims.len()],
                    ..map.clone()
                };
                self.driver.encode_map(&one, nothing.at())?
            }
            _ => self.driver.encode_map(map, at)?,
        };
        Ok(Value::Map(encoded))
    }
}

/// What a failed launch means.
pub(crate) fn explain(failure: Failure, launch: usize, entry: &str) -> CudaError {
    let hint = match failure.code {
        codes::OUT_OF_RESOURCES => " (too many registers or too much shared memory for its block)",
        codes::INVALID_VALUE => " (the arguments or the launch do not fit the kernel)",
        _ => "",
    };
    let entry = entry.to_owned();
    let text = format!("{}{hint}", failure.text);
    if failure.is_sticky() {
        return CudaError::Kernel {
            launch,
            entry,
            failure,
        };
    }
    CudaError::Launch {
        launch,
        entry,
        failure: Failure { text, ..failure },
    }
}
