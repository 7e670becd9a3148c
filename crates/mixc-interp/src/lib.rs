//! The f64 interpreter of core programs: the definition of meaning that every kernel, form and
//! rewrite law is compared with.
//!
//! In: a [`Program`](mixc_ir::Program) (or a single term) with its inputs. Out: its outputs, in f64.
//! It knows no forms, kernels, element types or memory layouts.
//!
//! It is naive on purpose: a let is a loop over its axes that evaluates the term at each point,
//! by the formulas in [`mixc_ir::Term`]. There are two concessions to speed, neither of which
//! changes a value: names are resolved once for each let, and a subterm that does not depend on
//! all the loops around it is evaluated once over its own axes and stored (see `compile`).
//!
//! # What the numerics of `mixc_ir` leave open
//! - An index expression without a value (division by zero, overflow) reads 0, and is NaN as a number.
//! - A position of a split axis at or past the end of the axis does not exist: loops skip it
//!   wherever both the outer and the inner part are in scope, and lets over both hold 0 there.
//! - The decay of a scan is a factor of a product: a guard of 0 forgets even an infinite state.

mod array;
mod compile;
mod error;
mod node;
mod run;
mod sizes;
mod stored;

pub use array::{Array, Inputs};
pub use error::EvalError;
pub use run::{Env, eval, eval_rounded, eval_term};
pub use sizes::{bind_sizes, scalar_values};
