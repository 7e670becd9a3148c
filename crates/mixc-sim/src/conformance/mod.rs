//! Small kernels for every instruction that the simulator knows, with the results that it predicts.
//!
//! Where there is a GPU, a runner launches each [`Case`] and gives the bytes of the output to
//! [`Case::compare`]. What differs is a mistake of the simulator (or a choice of the hardware that PTX
//! leaves open). Without a GPU the suite can be assembled, which shows that the forms exist.

mod atomics;
mod cases;
mod forms;
mod hopper;
mod lanes;
mod matrix;
mod memory;
mod pattern;
mod text;
mod values;
mod warp;
mod wgmma;

pub use cases::{Case, CaseArg, Check, Mismatch, Tolerance};

use cases::Draft;

/// The instructions, by their first word, that the simulator knows at least one form of.
pub fn instructions() -> impl Iterator<Item = &'static str> {
    crate::compile::families().flat_map(|(_, names)| names.iter().copied())
}

/// All cases. Operands are drawn from `seed`; expected outputs come from running each case here.
///
/// # Panics
/// If a case does not run clean in the simulator: that is a mistake in this crate.
pub fn suite(seed: u64) -> Vec<Case> {
    let mut drafts: Vec<Draft> = vec![];
    drafts.extend(lanes::drafts(seed));
    drafts.extend(memory::drafts(seed));
    drafts.extend(warp::drafts(seed));
    drafts.extend(matrix::drafts(seed));
    drafts.extend(hopper::drafts(seed));
    drafts.extend(wgmma::drafts(seed));
    drafts.into_iter().map(Draft::run).collect()
}
