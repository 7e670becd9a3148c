//! Lowers MLIR text to PTX, with MLIR and LLVM in this process.
//!
//! In: a module of the `llvm`, `nvvm`, `scf`, `arith` and `cf` dialects with one `gpu.module`. Out:
//! PTX text, or diagnostics with places. LLVM ends the process on an operation that it cannot
//! select; so this runs in a worker of its own, and `mixc-nvtools` is its client. It does not know
//! what the kernels compute.

mod diagnostics;
mod llvm;
mod lower;
mod target;

pub use lower::{llvm_ir, ptx};
pub use target::{Target, TargetError};
