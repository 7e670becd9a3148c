//! The rules of a plan.

use crate::{
    Arch, ArchError, Arg, BufferSpec, Launch, MapError, Plan, Role, TensorMap, entry_params,
};
use std::collections::BTreeSet;

/// Why a plan cannot be run, wherever it is run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("two buffers are called '{name}'")]
    DuplicateBuffer { name: String },
    #[error("buffer '{name}' has the shape {shape:?}, which is negative or too large")]
    Shape { name: String, shape: Vec<i64> },
    #[error("buffer '{name}' has the strides {strides:?} for the shape {shape:?}: {reason}")]
    Strides {
        name: String,
        shape: Vec<i64>,
        strides: Vec<i64>,
        reason: &'static str,
    },
    #[error("input '{name}' is to start as zeros, but the host fills it")]
    ZeroedInput { name: String },
    #[error("module {module}: {source}")]
    Target { module: usize, source: ArchError },
    #[error("module {module} has neither PTX nor machine code")]
    EmptyModule { module: usize },
    #[error("launch {launch} of '{entry}': there is no module {module}; the plan has {count}")]
    Module {
        launch: usize,
        entry: String,
        module: usize,
        count: usize,
    },
    #[error("launch {launch} has no kernel name")]
    NoEntry { launch: usize },
    #[error(
        "launch {launch}: module {module} has no kernel '{entry}' with parameters that can be read"
    )]
    NoKernel {
        launch: usize,
        entry: String,
        module: usize,
    },
    #[error(
        "launch {launch} of '{entry}': arguments of {found:?} bytes for parameters of {expected:?} bytes"
    )]
    Params {
        launch: usize,
        entry: String,
        found: Vec<usize>,
        expected: Vec<usize>,
    },
    #[error("launch {launch} of '{entry}': grid {grid:?} exceeds [2^31 - 1, 65535, 65535]")]
    Grid {
        launch: usize,
        entry: String,
        grid: [u32; 3],
    },
    #[error(
        "launch {launch} of '{entry}': block {block:?} must have 1 to 1024 threads, at most [1024, 1024, 64]"
    )]
    Block {
        launch: usize,
        entry: String,
        block: [u32; 3],
    },
    #[error(
        "launch {launch} of '{entry}': {bytes} bytes of shared memory, but a block of {target} has at most {limit}"
    )]
    Shared {
        launch: usize,
        entry: String,
        bytes: u32,
        limit: u32,
        target: Arch,
    },
    #[error(
        "launch {launch} of '{entry}': arguments of {bytes} bytes, but a kernel takes at most {limit}"
    )]
    ArgBytes {
        launch: usize,
        entry: String,
        bytes: usize,
        limit: usize,
    },
    #[error(
        "launch {launch} of '{entry}', argument {arg}: there is no buffer {buffer}; the plan has {count}"
    )]
    Buffer {
        launch: usize,
        entry: String,
        arg: usize,
        buffer: usize,
        count: usize,
    },
    #[error(
        "launch {launch} of '{entry}', argument {arg}: byte {offset} lies past the end of '{name}', which has {size}"
    )]
    Offset {
        launch: usize,
        entry: String,
        arg: usize,
        name: String,
        offset: u64,
        size: u64,
    },
    #[error("launch {launch} of '{entry}', argument {arg}, tensor map of '{name}': {source}")]
    Map {
        launch: usize,
        entry: String,
        arg: usize,
        name: String,
        source: MapError,
    },
    #[error(
        "launch {launch} of '{entry}', argument {arg}: {target} has no tensor maps; they need sm_90"
    )]
    NoMaps {
        launch: usize,
        entry: String,
        arg: usize,
        target: Arch,
    },
}

/// Bytes of kernel parameters (CUDA C++ Programming Guide, "Kernel parameters": from sm_70 and CUDA 12.1 on).
const MAX_ARG_BYTES: usize = 32764;

impl Plan {
    /// Checks everything that can be known without a card: indices, sizes, limits of the modules' targets, and
    /// tensor maps. What is valid may still need more memory than a card has.
    pub fn validate(&self) -> Result<(), PlanError> {
        let mut names = BTreeSet::new();
        for buffer in &self.buffers {
            if !names.insert(&buffer.name) {
                return Err(PlanError::DuplicateBuffer {
                    name: buffer.name.clone(),
                });
            }
            check_buffer(buffer)?;
        }
        let mut targets = vec![];
        for (module, image) in self.modules.iter().enumerate() {
            let target = image.target.parse::<Arch>();
            targets.push(target.map_err(|source| PlanError::Target { module, source })?);
            if image.ptx.trim().is_empty() && image.cubin.as_ref().is_none_or(Vec::is_empty) {
                return Err(PlanError::EmptyModule { module });
            }
        }
        for (at, launch) in self.launches.iter().enumerate() {
            self.check_launch(at, launch, &targets)?;
        }
        Ok(())
    }

    fn check_launch(&self, at: usize, launch: &Launch, targets: &[Arch]) -> Result<(), PlanError> {
        if launch.entry.is_empty() {
            return Err(PlanError::NoEntry { launch: at });
        }
        let entry = || launch.entry.clone();
        let Some(&target) = targets.get(launch.module) else {
            return Err(PlanError::Module {
                launch: at,
                entry: entry(),
                module: launch.module,
                count: targets.len(),
            });
        };
        self.check_params(at, launch)?;
        let [x, y, z] = launch.grid;
        if x > i32::MAX as u32 || y > 65535 || z > 65535 {
            return Err(PlanError::Grid {
                launch: at,
                entry: entry(),
                grid: launch.grid,
            });
        }
        let [x, y, z] = launch.block.map(u64::from);
        if x > 1024 || y > 1024 || z > 64 || !(1..=1024).contains(&(x * y * z)) {
            return Err(PlanError::Block {
                launch: at,
                entry: entry(),
                block: launch.block,
            });
        }
        let limit = target.max_shared_bytes();
        if launch.shared_bytes > limit {
            return Err(PlanError::Shared {
                launch: at,
                entry: entry(),
                bytes: launch.shared_bytes,
                limit,
                target,
            });
        }
        let mut bytes = 0usize;
        for (n, arg) in launch.args.iter().enumerate() {
            let (size, align) = arg.size_align();
            bytes = bytes.next_multiple_of(align) + size;
            self.check_arg(at, launch, n, arg, target)?;
        }
        if bytes > MAX_ARG_BYTES {
            return Err(PlanError::ArgBytes {
                launch: at,
                entry: entry(),
                bytes,
                limit: MAX_ARG_BYTES,
            });
        }
        Ok(())
    }

    /// Whether the arguments are what the PTX of the kernel declares. Machine code alone cannot be asked here.
    fn check_params(&self, at: usize, launch: &Launch) -> Result<(), PlanError> {
        let ptx = &self.modules[launch.module].ptx;
        if ptx.trim().is_empty() {
            return Ok(());
        }
        let expected = entry_params(ptx, &launch.entry).ok_or_else(|| PlanError::NoKernel {
            launch: at,
            entry: launch.entry.clone(),
            module: launch.module,
        })?;
        let found: Vec<usize> = launch.args.iter().map(|a| a.size_align().0).collect();
        if found == expected {
            return Ok(());
        }
        Err(PlanError::Params {
            launch: at,
            entry: launch.entry.clone(),
            found,
            expected,
        })
    }

    fn check_arg(
        &self,
        at: usize,
        launch: &Launch,
        n: usize,
        arg: &Arg,
        target: Arch,
    ) -> Result<(), PlanError> {
        let entry = || launch.entry.clone();
        let Some(index) = arg.buffer() else {
            return Ok(());
        };
        let Some(buffer) = self.buffers.get(index) else {
            return Err(PlanError::Buffer {
                launch: at,
                entry: entry(),
                arg: n,
                buffer: index,
                count: self.buffers.len(),
            });
        };
        // Buffers were checked before, so the size is known.
        let size = buffer.size_bytes().unwrap_or(0);
        match arg {
            Arg::BufferAt { byte_offset, .. } if *byte_offset > size => Err(PlanError::Offset {
                launch: at,
                entry: entry(),
                arg: n,
                name: buffer.name.clone(),
                offset: *byte_offset,
                size,
            }),
            Arg::TensorMap(_) if !target.has_tensor_maps() => Err(PlanError::NoMaps {
                launch: at,
                entry: entry(),
                arg: n,
                target,
            }),
            Arg::TensorMap(map) => check_map(map, size).map_err(|source| PlanError::Map {
                launch: at,
                entry: entry(),
                arg: n,
                name: buffer.name.clone(),
                source,
            }),
            _ => Ok(()),
        }
    }
}

fn check_map(map: &TensorMap, size: u64) -> Result<(), MapError> {
    map.check()?;
    let end = map
        .span_bytes()
        .and_then(|span| span.checked_add(map.byte_offset));
    let end = end.unwrap_or(u64::MAX);
    if !map.is_empty() && end > size {
        return Err(MapError::Outside { end, size });
    }
    Ok(())
}

fn check_buffer(buffer: &BufferSpec) -> Result<(), PlanError> {
    if buffer.elements().is_none() {
        return Err(PlanError::Shape {
            name: buffer.name.clone(),
            shape: buffer.shape.clone(),
        });
    }
    if let Some(strides) = &buffer.strides {
        let failed = |reason| PlanError::Strides {
            name: buffer.name.clone(),
            shape: buffer.shape.clone(),
            strides: strides.clone(),
            reason,
        };
        if strides.len() != buffer.shape.len() {
            return Err(failed("one stride per axis is needed"));
        }
        if strides.iter().any(|&s| s < 0) {
            return Err(failed("a stride is negative"));
        }
        if overlaps(buffer, strides) {
            return Err(failed("elements overlap"));
        }
    }
    if buffer.size_bytes().is_none() {
        return Err(PlanError::Shape {
            name: buffer.name.clone(),
            shape: buffer.shape.clone(),
        });
    }
    if buffer.zeroed && buffer.role == Role::In {
        return Err(PlanError::ZeroedInput {
            name: buffer.name.clone(),
        });
    }
    Ok(())
}

/// Whether two elements may share memory: sorted by stride, an axis must step over all inner ones.
fn overlaps(buffer: &BufferSpec, strides: &[i64]) -> bool {
    if buffer.elements() == Some(0) {
        return false;
    }
    let mut axes: Vec<(i64, i64)> = strides
        .iter()
        .copied()
        .zip(buffer.shape.iter().copied())
        .collect();
    axes.retain(|&(_, size)| size > 1);
    axes.sort_unstable();
    let mut span = 0i64;
    for (stride, size) in axes {
        if stride <= span {
            return true;
        }
        span = span.saturating_add((size - 1).saturating_mul(stride));
    }
    false
}
