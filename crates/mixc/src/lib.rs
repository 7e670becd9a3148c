//! The compiler as one library: what the command line, build scripts and the C interface call.
//!
//! In: mixer definitions, tensors, options. Out: results, comparisons, measurements. The stages are
//! other crates; this one puts them in order (see `pipeline`) and knows no mixer by name.

mod bind;
mod catalogue;
mod error;
mod plot;

pub use bind::{Binding, BoundInputs, rearrange};
pub use catalogue::{Entry, catalogue, load_source, paper, shipped};
pub use error::Error;
pub use plot::{Series, plot_svg};
