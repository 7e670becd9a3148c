//! Tile kernels to MLIR for NVIDIA GPUs.
//!
//! In: a [`Kernel`] of the tile IR and [`Options`]. Out: [`PtxKernel`]: MLIR text in the llvm, nvvm, scf and arith
//! dialects, and what a host needs to launch it. It builds without LLVM: turning the text into PTX is the
//! business of another process. It knows no mixer, no rewriting and no driver.
//!
//! A grid point of the kernel is one thread block. Every buffer has a home ([`place`]): registers, spread over
//! the threads by a linear layout, or shared memory. Matrix products bring their accumulator's layout,
//! elementwise work and reductions take over the layout of what they read, and everything else goes through
//! shared memory in a layout that coalesces.

mod emit;
mod functions;
mod index;
mod lower;
mod place;
mod room;
mod scans;
mod spread;
mod target;
mod visit;

pub use lower::lower;
pub use place::{live_elements, suggested_warps};
pub use room::Room;
pub use target::{Limits, Target};

use mixc_ir::{Ix, Name};
pub use mixc_layout::shared::HardwareSwizzle;
use std::collections::BTreeSet;

/// How products of f32 inputs are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// Multiply-adds in f32, no matrix unit.
    Fma,
    /// Both factors rounded to tf32 (10 bits of mantissa): about 1e-3.
    Tf32,
    /// Factors split in two tf32 parts, three products: about f32
    /// (Ootomo & Yokota 2022, arXiv 2203.03341, without their correction of the accumulation).
    #[default]
    Tf32x3,
}

/// Choices that the kernel leaves open.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub target: Target,
    pub precision: Precision,
    /// Warps of a thread block: 1, 2, 4 or 8.
    pub warps: u32,
    /// Tiles in flight in a loop over loads; 1 turns prefetching off.
    pub stages: u32,
    /// Tensors whose address and strides (but the innermost) are multiples of 16 bytes, and no stride negative.
    pub aligned: BTreeSet<Name>,
    /// Where the target has bulk tensor copies and warpgroup products, four more warps copy tiles ahead of those that
    /// compute, and every block goes on to further grid points.
    pub producer: bool,
    /// Two warpgroups with a producer take turns at the matrix unit, where products of one turn of a loop run into the
    /// next.
    pub alternate: bool,
    /// What `ptxas` is told of registers.
    pub room: Room,
}

/// How bulk tensor copies see a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BulkMap {
    pub tensor: Name,
    /// Elements that one copy moves along each dimension, the innermost first.
    pub box_: Vec<u32>,
    pub swizzle: HardwareSwizzle,
}

/// What a kernel expects for one parameter, in order. Pointers are 64 bits, strides i64 in elements,
/// sizes i32, scalars f32.
#[derive(Clone, Debug, PartialEq)]
pub enum Param {
    Pointer(Name),
    Stride {
        tensor: Name,
        dim: usize,
    },
    Dim(Name),
    Scalar(Name),
    /// A tensor map by value.
    Map(BulkMap),
}

/// A kernel as MLIR, and how to launch it: a block of `threads` threads with `shared_bytes` of dynamic shared memory for
/// every point of `grid`, or any number of blocks where the kernel is `persistent`.
#[derive(Clone, Debug, PartialEq)]
pub struct PtxKernel {
    pub entry: String,
    pub target: Target,
    pub mlir: String,
    pub params: Vec<Param>,
    pub grid: Vec<Ix>,
    /// Blocks go on to further grid points until all are done; a multiprocessor holds this many at a time.
    pub persistent: Option<u32>,
    /// Those that compute; the other threads load.
    pub warps: u32,
    /// Whether some product is computed by warpgroups (`wgmma`).
    pub warpgroups: bool,
    pub threads: u32,
    pub shared_bytes: u32,
    /// Tensors that the kernel expects to be aligned to 16 bytes with all strides but the last.
    pub aligned: BTreeSet<Name>,
}

/// Why a kernel has no MLIR.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LowerError {
    #[error(
        "kernel {kernel} needs {needed} bytes of shared memory and {target} has {available} a block; use smaller tiles"
    )]
    SharedMemory {
        kernel: String,
        needed: u32,
        available: u32,
        target: Target,
    },
    #[error("kernel {kernel} cannot be lowered to PTX: {what}")]
    Unsupported { kernel: String, what: String },
}
