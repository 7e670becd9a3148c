//! The tile IR: one kernel as a program over tiles.
//!
//! In: kernels made by the scheduler or read from text. Out: the same kernels printed, parsed,
//! verified, analysed, simplified, and executed by an interpreter. It knows no mixer, no rewriting and no machine code.
//!
//! A kernel runs its body once for every point of its grid, in any order and in parallel. A body
//! moves tiles between tensors in global memory and buffers, whose extents are compile-time
//! constants, and computes on buffers. Every computing statement is in index notation: it declares
//! local axes with constant extents, and accesses name the axis that indexes each dimension.
//!
//! ```text
//! kernel row_sums(dims: M; scalars: scale) {
//!   in x: bf16 [$M, 64] unit
//!   out y: f32 [$M]
//!   shared tile: [16, 64]
//!   register sum: [16]
//!   grid m0 < ($M + 15) / 16
//!   load [m < 16, n < 64] tile[m, n] <- x[m0 * 16 + m, n]
//!   reduce sum [m < 16, n < 64] sum[m] = tile[m, n]
//!   store [m < 16] y[m0 * 16 + m] <- scale * sum[m]
//! }
//! ```
//!
//! | | |
//! |---|---|
//! | [`text`], `Display` | reads and writes the form above |
//! | [`verify`](mod@verify) | the invariants of legal kernels |
//! | [`interpret`] | the meaning of kernels |
//! | [`simplify`] | smaller kernels for known sizes |
//! | [`visit`], [`flow`] | walks over statements, where values end up |
//! | [`reuse`] | work and buffers that statements share |
//! | [`maxima`] | factors of scores behind their running maximum |
//! | [`ranges`], [`counts`] | values of indices, amounts of work |
//!
//! # Numerics
//! - Buffers hold f32. Loads convert from the tensor's element type, stores round to it (nearest even).
//!   Integer and boolean tensors load as the nearest f32.
//! - Expressions follow `mixc_ir::Func` in f32. `select` never looks at the untaken branch.
//! - An element outside the tensor's bounds loads as 0 and is not stored.
//! - A gather at NaN is outside every tensor.
//! - `contract` accumulates in f32, in any order. `reduce` by `max` ignores nothing: NaN propagates.

pub mod counts;
pub mod flow;
mod interp;
mod kernel;
pub mod maxima;
mod print;
pub mod ranges;
pub mod reuse;
pub mod simplify;
pub mod text;
pub mod verify;
pub mod visit;

pub use interp::{
    KernelArgs, Order, Race, RunError, RunOptions, TensorData, interpret, interpret_with,
};
pub use kernel::{
    Access, Axis, Buf, BufId, Compare, Cond, Expr, GridAxis, Kernel, LoadIx, Place, ReduceKind,
    ScanKind, Space, Stmt, TensorArg, Usage,
};
pub use print::Show;
pub use text::{parse_kernel, parse_kernels};
pub use verify::{VerifyError, verify};
