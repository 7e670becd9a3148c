//! Host tensors: typed, strided memory; files; comparison; random and adversarial inputs.
//!
//! In: safetensors and npz files, f64 values, the declarations of a `mixc_ir::Program`. Out: tensors
//! that kernels and the interpreter read, and numbers that say how far two tensors are apart.
//! It knows declarations (names, axes, ranges) but nothing of what a program computes.

mod bundle;
mod compare;
mod element;
mod memory;
mod npz;
mod random;
mod tensor;

pub use bundle::{Bundle, FileError, Role};
pub use compare::{Comparison, compare};
pub use element::{round_to, round_to_f32};
pub use memory::AlignedBytes;
pub use random::{Pattern, random_tensor};
pub use tensor::{Tensor, TensorError};
