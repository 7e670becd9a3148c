//! The tools behind the NVIDIA target, as functions.
//!
//! In: MLIR text. Out: PTX text, through a worker process (`mixc-mlir`) in which an LLVM abort is an
//! error message and not the end of the caller. It links no LLVM and no CUDA; a tool that is not
//! installed is the error [`Missing`], which says how to get it. It does not know kernels.

mod find;
pub mod protocol;
mod translator;
mod worker;

pub use find::Missing;
pub use translator::{TranslateError, Translator};
