//! GPU targets: kernels as PTX, on a GPU or in the simulator.
//!
//! [`fit`] makes a schedule that an architecture can hold, [`compile`] makes PTX of it, [`plan`] lays out one job's
//! buffers and launches, and a card of this machine runs it; without one, [`simulate`] runs it on this CPU with
//! every check on. [`model`] predicts times.

pub mod bundle;
mod compile;
mod device;
mod fit;
pub mod model;
mod plan;
mod reference;
mod run;
mod settle;
mod shrink;
mod simulate;

pub(crate) use compile::translator;
pub use compile::{GpuKernel, compile};
pub(crate) use device::measure;
pub use device::{card_for, cards, no_card};
pub use fit::{Fitted, Lowered, fit};
pub use plan::{SIMULATED_MULTIPROCESSORS, plan};
pub(crate) use run::run;
pub use settle::settle;
pub use simulate::{Simulated, simulate};

/// What is said wherever the simulator stands in for a GPU.
pub const SIMULATED: &str =
    "simulated, no GPU here: the PTX ran in the simulator, which checks results and not speed";
