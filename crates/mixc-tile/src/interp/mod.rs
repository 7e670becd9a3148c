//! Executes kernels, slowly and by the letter: the meaning of the tile IR.
//!
//! In: a kernel and its arguments. Out: the arguments with outputs written, or an error that prints
//! the statement. It knows nothing of threads, vectors or memory levels.
//!
//! Every grid point starts with buffers full of NaN, so a read of an element that was never written
//! shows in the output. A gather at NaN is outside every tensor.

mod arguments;
mod plan;
mod races;
mod resolve;
mod run;
mod tensor;
mod tiles;

pub use tensor::{TensorData, round_to};

use crate::Kernel;
use mixc_ir::Name;
use std::collections::BTreeMap;

/// What a kernel is called with. Tensors that it stores to are changed in place.
#[derive(Clone, Debug, Default)]
pub struct KernelArgs {
    pub dims: BTreeMap<Name, i64>,
    pub scalars: BTreeMap<Name, f32>,
    /// Values are already widened to f32.
    pub tensors: BTreeMap<Name, TensorData>,
}

/// The order in which grid points are executed. A correct kernel gives the same in every order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Order {
    #[default]
    Forward,
    Reverse,
    /// A permutation drawn from the seed.
    Shuffled(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RunOptions {
    pub order: Order,
    /// Reports an element of a tensor that one grid point writes and another one reads or writes.
    pub find_races: bool,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RunError {
    #[error("kernel `{kernel}` needs a value for {what} `{name}`")]
    Missing {
        kernel: String,
        what: &'static str,
        name: Name,
    },
    #[error("tensor `{tensor}`: {what}")]
    Tensor { tensor: Name, what: String },
    /// The kernel is not well formed (`verify` says more).
    #[error("{what}, in `{statement}`")]
    IllFormed { statement: String, what: String },
    /// Arithmetic without a value or an access outside a buffer.
    #[error("{what}, in `{statement}` at grid point {point:?}")]
    Fault {
        statement: String,
        what: String,
        point: Vec<i64>,
    },
    #[error("{0}")]
    Race(Box<Race>),
}

/// An element of a tensor that two grid points touch, at least one of them writing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "tensor `{tensor}`, element {element:?}: grid point {second:?} {what} what {first} touched, in `{statement}`"
)]
pub struct Race {
    pub tensor: Name,
    pub element: Vec<i64>,
    /// The grid point that came earlier, or "several".
    pub first: String,
    pub second: Vec<i64>,
    /// "reads" or "writes".
    pub what: &'static str,
    pub statement: String,
}

/// Runs the kernel on every grid point in turn.
///
/// # Errors
/// See [`RunError`]. Outputs are partly written then.
pub fn interpret(kernel: &Kernel, args: &mut KernelArgs) -> Result<(), RunError> {
    interpret_with(kernel, args, RunOptions::default())
}

/// [`interpret`] in another order of grid points, or with a check for races between them.
pub fn interpret_with(
    kernel: &Kernel,
    args: &mut KernelArgs,
    options: RunOptions,
) -> Result<(), RunError> {
    let plan = plan::Plan::new(kernel, args)?;
    run::run(&plan, kernel, args, options)
}
