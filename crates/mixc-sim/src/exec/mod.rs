//! Runs a grid: blocks in parallel, each block's warps in turns.
//!
//! In: a [`Program`], its arguments, and global memory. Out: changed memory, findings, counts.

mod access;
mod address;
mod atomic;
mod barrier;
mod block;
pub(crate) mod bulk;
mod copy;
mod descriptor;
mod divergence;
mod grid;
mod lanes;
mod matrix;
mod mbarrier;
mod product;
mod report;
mod step;
mod store;
pub(crate) mod tensor_map;
mod warp;
mod warpgroup;
mod wgmma;

use crate::check::finding::{Finding, FindingKind};
use crate::counts::Counts;
use crate::memory::{Buffer, BufferId, Memory};
use crate::profile::Profile;
use crate::program::Program;
pub(crate) use grid::run;
use tensor_map::TensorMap;

/// One kernel argument.
#[derive(Clone, Debug)]
pub enum Arg {
    /// A pointer to the buffer's first byte.
    Buffer(BufferId),
    /// A pointer into the buffer, in bytes.
    BufferAt(BufferId, i64),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    /// A `.b8` array by value.
    Bytes(Vec<u8>),
    /// A tensor map by value (128 bytes that only the bulk tensor instructions read).
    TensorMap(TensorMap),
}

#[derive(Clone, Debug)]
pub struct Options {
    /// Warp instructions that one block may execute; more is reported and stops the block.
    pub instruction_limit: u64,
    /// Check shared-memory accesses for races (the most expensive check).
    pub races: bool,
    /// Check global-memory accesses for races between blocks.
    pub block_races: bool,
    /// Blocks run in parallel. Off: one after the other in order, for results that do not depend on
    /// the order of atomics.
    pub parallel: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            instruction_limit: 50_000_000,
            races: true,
            block_races: true,
            parallel: true,
        }
    }
}

/// What a launch did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Sorted by line; empty for a clean run.
    pub findings: Vec<Finding>,
    pub counts: Counts,
    /// The same by line and by loop.
    pub profile: Profile,
}

impl Report {
    pub fn of(&self, kind: FindingKind) -> Option<&Finding> {
        self.findings.iter().find(|f| f.kind == kind)
    }
}

/// A launch that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    #[error("the module has no kernel `{name}`; it has {known}")]
    NoEntry { name: String, known: String },
    #[error("kernel `{entry}` takes {expected} arguments, {found} were given")]
    ArgumentCount {
        entry: String,
        expected: usize,
        found: usize,
    },
    #[error("parameter `{param}` has {expected} bytes, the argument has {found}")]
    ArgumentSize {
        param: String,
        expected: usize,
        found: usize,
    },
    #[error("{0}")]
    Geometry(String),
}

/// Everything that the blocks of one launch share.
pub(crate) struct Launch<'a> {
    pub program: &'a Program,
    pub text: &'a str,
    pub memory: &'a Memory,
    pub module_vars: &'a Memory,
    pub params: Vec<u8>,
    /// Tensor maps with their place among the parameters.
    pub maps: Vec<(usize, TensorMap)>,
    /// Name for reports, by buffer.
    pub buffer_names: Vec<String>,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared_bytes: u64,
    pub dynamic_shared: u64,
    pub options: &'a Options,
}

/// Addresses of module-scope variables start here.
pub(crate) const MODULE_BASE: u64 = 1 << 55;

impl Launch<'_> {
    pub fn threads(&self) -> usize {
        self.block.iter().product::<u32>() as usize
    }

    /// The buffer that a global address means, with its name.
    pub fn find(&self, address: u64) -> Option<(&Buffer, i64, String)> {
        let (index, buffer, offset) = self.find_buffer(address)?;
        let name = if address >= MODULE_BASE {
            format!("variable `{}`", buffer.name)
        } else {
            self.buffer_names[index].clone()
        };
        Some((buffer, offset, name))
    }

    #[inline]
    pub fn find_buffer(&self, address: u64) -> Option<(usize, &Buffer, i64)> {
        if address >= MODULE_BASE {
            self.module_vars.find(address - MODULE_BASE)
        } else {
            self.memory.find(address)
        }
    }

    /// All buffers: those of the caller, then the module's variables, by the numbers that
    /// [`Launch::find_numbered`] gives.
    pub fn buffers(&self) -> impl Iterator<Item = &Buffer> {
        self.memory.buffers.iter().chain(&self.module_vars.buffers)
    }

    #[inline]
    pub fn find_numbered(&self, address: u64) -> Option<(usize, i64)> {
        let (index, _, offset) = self.find_buffer(address)?;
        let own = if address >= MODULE_BASE {
            self.memory.buffers.len()
        } else {
            0
        };
        Some((own + index, offset))
    }

    /// The address of a byte of a numbered buffer.
    pub fn numbered_address(&self, buffer: usize, offset: u64) -> u64 {
        let own = self.memory.buffers.len();
        let first = match buffer.checked_sub(own) {
            Some(index) => MODULE_BASE + self.module_vars.address(BufferId(index)),
            None => self.memory.address(BufferId(buffer)),
        };
        first + offset
    }

    pub fn line_text(&self, pc: u32) -> (u32, String) {
        let place = self.program.code[pc as usize].place;
        let text = self
            .text
            .get(place.span.start..place.span.end)
            .unwrap_or("");
        (
            place.line,
            text.split_whitespace().collect::<Vec<_>>().join(" "),
        )
    }
}

/// Lays out the arguments as the kernel's parameters.
pub(crate) fn bind<'a>(
    program: &'a Program,
    text: &'a str,
    module_vars: &'a Memory,
    memory: &'a Memory,
    geometry: ([u32; 3], [u32; 3], u32),
    args: &[Arg],
    options: &'a Options,
) -> Result<Launch<'a>, SimError> {
    let (grid, block, dynamic) = geometry;
    check_geometry(program, grid, block, dynamic)?;
    if args.len() != program.params.len() {
        let (expected, found) = (program.params.len(), args.len());
        return Err(SimError::ArgumentCount {
            entry: program.name.clone(),
            expected,
            found,
        });
    }
    let mut buffer_names: Vec<String> = memory
        .buffers
        .iter()
        .map(|b| format!("buffer `{}`", b.name))
        .collect();
    let (mut params, mut maps) = (vec![0; program.param_bytes], vec![]);
    for (arg, param) in args.iter().zip(&program.params) {
        let name = |id: BufferId| {
            format!(
                "parameter `{}` (buffer `{}`)",
                param.name, memory.buffers[id.0].name
            )
        };
        let bytes = match arg {
            Arg::Buffer(id) => {
                buffer_names[id.0] = name(*id);
                memory.address(*id).to_le_bytes().to_vec()
            }
            Arg::BufferAt(id, offset) => {
                buffer_names[id.0] = name(*id);
                memory
                    .address(*id)
                    .wrapping_add(*offset as u64)
                    .to_le_bytes()
                    .to_vec()
            }
            Arg::U32(v) => v.to_le_bytes().to_vec(),
            Arg::I32(v) => v.to_le_bytes().to_vec(),
            Arg::U64(v) => v.to_le_bytes().to_vec(),
            Arg::I64(v) => v.to_le_bytes().to_vec(),
            Arg::F32(v) => v.to_le_bytes().to_vec(),
            Arg::F64(v) => v.to_le_bytes().to_vec(),
            Arg::Bytes(b) => b.clone(),
            Arg::TensorMap(map) => {
                buffer_names[map.buffer.0] = name(map.buffer);
                maps.push((param.offset, map.clone()));
                vec![0; 128]
            }
        };
        if bytes.len() != param.bytes {
            let (expected, found) = (param.bytes, bytes.len());
            return Err(SimError::ArgumentSize {
                param: param.name.clone(),
                expected,
                found,
            });
        }
        params[param.offset..param.offset + param.bytes].copy_from_slice(&bytes);
    }
    for (_, map) in &maps {
        map.check().map_err(SimError::Geometry)?;
    }
    Ok(Launch {
        program,
        text,
        memory,
        module_vars,
        params,
        maps,
        buffer_names,
        grid,
        block,
        shared_bytes: total_shared(program, dynamic),
        dynamic_shared: u64::from(dynamic),
        options,
    })
}

fn total_shared(program: &Program, dynamic: u32) -> u64 {
    if dynamic == 0 {
        program.shared_bytes
    } else {
        program.dynamic_base + u64::from(dynamic)
    }
}

fn check_geometry(
    program: &Program,
    grid: [u32; 3],
    block: [u32; 3],
    dynamic: u32,
) -> Result<(), SimError> {
    let threads: u64 = block.iter().map(|&n| u64::from(n)).product();
    let wrong = |what: String| {
        Err(SimError::Geometry(format!(
            "kernel `{}`: {what}",
            program.name
        )))
    };
    if threads == 0 || threads > 1024 {
        return wrong(format!(
            "a block has 1 to 1024 threads, {block:?} asks for {threads}"
        ));
    }
    if let Some(required) = program.required_threads.filter(|r| *r != block) {
        return wrong(format!(
            "`.reqntid` asks for blocks of {required:?}, the launch has {block:?}"
        ));
    }
    if let Some(max) = program.max_threads {
        let most: u64 = max.iter().map(|&n| u64::from(n)).product();
        if threads > most {
            return wrong(format!(
                "`.maxntid` allows {most} threads, the launch has {threads}"
            ));
        }
    }
    if grid.contains(&0) {
        return wrong(format!("the grid {grid:?} has no blocks"));
    }
    // The most that any architecture gives to one block (sm_90: 227 KiB).
    let shared = total_shared(program, dynamic);
    if shared > 227 * 1024 {
        return wrong(format!(
            "{shared} bytes of shared memory are more than 227 KiB"
        ));
    }
    Ok(())
}
