//! Algorithmic forms of a mixer by equality saturation.
//!
//! In: a core program. Out: programs that compute the same by other algorithms, each with the laws
//! that lead to it. It knows no mixer, no kernel and no tile; rewriting proposes, measuring decides.
//!
//! The pipeline (`derive`): inline lets and turn scans into structured recurrences (`closed`,
//! `scan`); bring the terms into normal form in one e-graph; find algorithms in a second one
//! (`laws`, `saturate`); read off the cheapest term for every different set of traits (`extract`,
//! `traits`); write it down as a program (`form`).
//!
//! # What holds for every form
//! - It computes the definition; the tests compare all forms of all shipped mixers with it.
//! - Decays occur in products only, never in quotients or as differences of large sums: with decays
//!   in [0, 1] no form overflows where the definition does not. Decays that the declared ranges do
//!   not bound are allowed, and the form is [`NumericClass::Conditioned`].
//! - Axes of chunks and key parts are declared in `Program::splits`, with the sizes `C` (chunk),
//!   `C2` (chunk within a chunk) and `S` (key part), or these with underscores where the program
//!   has such a size itself. Ends may be ragged.
//! - A reduction over an inner part depends on its outer part (the last one is shorter), even where
//!   the reduced term does not.
//! - Conditions of a softmax are predicates in `mask` children; causal masks of sums are
//!   semiseparable masks ([`mixc_ir::Term::Ss`]).
//!
//! # Not derived
//! - Low-rank state feedback (the delta rule and its relatives) keeps its sequential form: the WY
//!   form needs a triangular solve, which terms do not have.
//! - States that are maxima, products of states, and states that depend on each other within a step
//!   (a complex state as two real ones) stay sequential; `Report::notes` says why.
//! - Convolutions by FFT, and recurrences from Toeplitz kernels.
//! - Sliding windows of linear attention have the quadratic form only.

mod alpha;
mod axes;
mod closed;
mod cost;
mod derive;
mod explain;
mod extract;
mod form;
mod graph;
mod laws;
mod node;
mod prefix;
mod range;
mod saturate;
mod scan;
mod share;
mod subst;
mod terms;
mod traits;
mod work;

pub use axes::Cut;
pub use cost::{Cost, CostModel};
pub use derive::{Derivation, Form, Options, Report, derive};
pub use laws::{Law, NumericClass, Phase, all as laws};
