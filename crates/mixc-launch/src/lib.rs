//! Launches of GPU kernels as plain data.
//!
//! In: PTX texts, buffers, and launches with their grids and arguments. Out: a checked [`Plan`] that any runner
//! can follow (a driver, a simulator, a printer); a [`Bundle`] file that carries plans with their inputs and
//! expected outputs to another machine; and [`Results`] that come back. This crate knows neither a compiler nor a
//! driver.

mod arch;
mod bundle;
mod case;
mod generator;
mod place;
mod plan;
mod ptx;
mod results;
mod tensor_map;
mod validate;
mod verify;

pub use arch::{Arch, ArchError, Scope};
pub use bundle::{Bundle, BundleError, BundleReader, VERSION};
pub use case::{Case, CaseError, Counts, Expected, Input, Label, Source, Values};
pub use generator::{Generator, ValueKind};
pub use mixc_ir::DType;
pub use mixc_tensor::Pattern;
pub use plan::{Arg, BufferSpec, Launch, ModuleImage, Plan, Role};
pub use ptx::entry_params;
pub use results::{
    DeviceInfo, Missing, RESULTS_VERSION, Results, ResultsError, Row, Status, Timing,
};
pub use tensor_map::{L2Promotion, MapElem, MapError, Swizzle, TensorMap};
pub use validate::PlanError;
pub use verify::OutputCheck;
