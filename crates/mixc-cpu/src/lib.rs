//! Machine code for tile kernels on the CPU.
//!
//! In: a [`mixc_tile::Kernel`]. Out: machine code in this process, made by Cranelift, and its launch over
//! the grid on one thread or many. It knows no mixer, no forms and no schedules; what a kernel computes
//! and in which blocks is decided before.
//!
//! Vectors are 128 bits wide (the widest that Cranelift has). Buffers live in the scratch memory of the
//! thread, laid out so that contractions find an innermost axis that one operand and the result share
//! (`layout`); contractions become register-blocked micro-kernels (`contract`), everything elementwise
//! becomes loop nests that neighbouring statements share (`elementwise`).
//!
//! # Numerics
//! As `mixc_tile`, and: `a * b + c` may round once; functions have the error bounds stated in
//! `functions`; sums are taken in any order.

mod coalesce;
mod compile;
mod contract;
mod convert;
mod elementwise;
mod emit;
mod error;
mod functions;
mod group;
mod launch;
mod layout;
mod lower;
mod machine;
mod peak;
mod scan;
mod scope;
mod transfer;

pub use compile::{Compiled, Options, compile};
pub use error::{CompileError, LaunchError};
pub use launch::{LaunchArgs, TensorPtr, Threads};
pub use machine::Features;
pub use peak::{Peak, measure_peak};
