//! GPU targets: kernels as PTX, on a GPU or in the simulator.
//!
//! [`compile`] makes PTX of a schedule, [`plan`] lays out one job's buffers and launches, and
//! [`simulate`] runs a plan on this CPU with every check on.

mod compile;
mod plan;
mod run;
mod simulate;

pub use compile::{GpuKernel, GpuOptions, compile, lower};
pub use plan::plan;
pub(crate) use run::run;
pub use simulate::{Simulated, simulate};
