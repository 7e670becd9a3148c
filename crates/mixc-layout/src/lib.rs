//! Where each element of a tile lives on a GPU, as linear maps over bits.
//!
//! In: shapes, element sizes and the names of hardware fragments. Out: [`Layout`]s from (register,
//! lane, warp) to tile coordinates and from tile coordinates to byte offsets, and what must move to
//! get from one to another. It does not know kernels, element types or any text format.
//!
//! A layout sends bit vectors to bit vectors and commutes with XOR, so it is given by the images of
//! single bits. Register fragments of the matrix instructions, coalesced elementwise layouts,
//! broadcasts and XOR swizzles all have this form, and so do their compositions and inverses: one
//! algebra answers who holds an element, which accesses collide and how to convert. The idea is
//! published as "Linear Layouts" (Zhou et al. 2025, arXiv 2505.23819).

mod algebra;
mod banks;
pub mod convert;
mod display;
mod error;
mod exchange;
pub mod fragment;
mod gf2;
mod layout;
pub mod shared;
mod shuffle;

pub use error::LayoutError;
pub use layout::Layout;

/// The input that numbers the elements one thread holds.
pub const REGISTER: &str = "register";
/// The input that numbers the threads of a warp: 0 to 31.
pub const LANE: &str = "lane";
/// The input that numbers the warps of a block.
pub const WARP: &str = "warp";
/// The output, or input, that is a byte offset in shared memory.
pub const OFFSET: &str = "offset";
