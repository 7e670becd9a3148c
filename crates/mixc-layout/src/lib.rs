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
//!
//! ```
//! use mixc_layout::{LANE, Layout, REGISTER, convert, fragment, shared};
//!
//! // Who holds row 9, column 3 of an accumulator?
//! let accumulator = fragment::mma_accumulator();
//! let place = accumulator.invert()?.apply(&[("m", 9), ("n", 3)]);
//! assert_eq!(place, [(REGISTER.to_string(), 3), (LANE.to_string(), 5)]);
//!
//! // Two of them are the A operand of the next product, with nothing to move.
//! let pair = accumulator.product(&Layout::identity(REGISTER, "n", 1));
//! let plan = convert::plan(&pair.rename_out("n", "k"), &fragment::mma_a_16bit(), 2)?;
//! assert_eq!(plan, convert::Conversion::Nothing);
//!
//! // Stored to a tile of 16 x 64 halves in pairs, they meet no bank conflicts.
//! let tile = shared::SharedLayout::for_rows(2, 16, 64)?;
//! let store = pair.rename_out("m", "row").rename_out("n", "col");
//! let store = store.compose(&tile.layout()?)?;
//! assert_eq!(shared::bank_conflicts(&store, 4)?, 0);
//! # Ok::<(), mixc_layout::LayoutError>(())
//! ```

mod algebra;
mod banks;
pub mod convert;
pub mod descriptor;
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
