//! Launches of GPU kernels as plain data.
//!
//! In: PTX texts, buffers, and launches with their grids and arguments. Out: a checked [`Plan`] that any runner
//! can follow: a driver, a simulator, a printer. This crate knows neither a compiler nor a driver.

mod arch;
mod plan;
mod tensor_map;
mod validate;

pub use arch::{Arch, ArchError, Scope};
pub use mixc_ir::DType;
pub use plan::{Arg, BufferSpec, Launch, ModuleImage, Plan, Role};
pub use tensor_map::{L2Promotion, MapElem, MapError, Swizzle, TensorMap};
pub use validate::PlanError;
