//! Algorithmic forms of a mixer by equality saturation.
//!
//! In: a core program. Out: programs that compute the same by other algorithms, each with the laws
//! that lead to it. It knows no mixer, no kernel and no tile; rewriting proposes, measuring decides.
//!
//! The pipeline (`derive`): inline lets and turn scans into structured recurrences (`closed`,
//! `scan`); bring the terms into normal form in one e-graph; find algorithms in a second one
//! (`laws`, `saturate`); read off the cheapest term for every different set of traits (`extract`,
//! `traits`); write it down as a program (`form`).

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
mod subst;
mod terms;
mod traits;
mod work;

pub use axes::Cut;
pub use cost::{Cost, CostModel};
pub use derive::{Derivation, Form, Options, Report, derive};
pub use laws::{Law, NumericClass, Phase, all as laws};
