//! The tools behind the NVIDIA target, as functions.
//!
//! In: MLIR text, PTX text. Out: PTX text, through a worker process (`mixc-mlir`) in which an LLVM
//! abort is an error message and not the end of the caller; machine code through `ptxas`, with its
//! registers and spills; instruction counts of loops through `nvdisasm`; and how many blocks of a
//! kernel a multiprocessor holds. It links no LLVM and no CUDA: a tool that is not installed is the
//! error [`Missing`], which says how to get it. It does not know kernels, and needs no GPU.

mod command;
mod find;
mod nvdisasm;
mod occupancy;
pub mod protocol;
mod ptxas;
pub mod sass;
mod translator;
mod worker;

pub use find::Missing;
pub use nvdisasm::{DisassembleError, Nvdisasm};
pub use occupancy::{Bound, Footprint, Limits, Occupancy, occupancy};
pub use ptxas::{AssembleError, Assembled, EntryStats, Finding, FindingKind, Ptxas};
pub use translator::{TranslateError, Translator};
