//! The core IR: a small functional tensor language over named axes.
//!
//! In: programs built by the mixer front end or by rewriting. Out: the same programs, printed,
//! parsed, checked and traversed. It knows nothing of kernels, tiles or devices.
//!
//! # Numerics, stated once and held everywhere
//! - The meaning of a program is its value in f64; every kernel is compared with that.
//! - Elementwise functions and `*` follow IEEE 754: NaN and infinities propagate.
//! - **A guard is a select.** A factor of a product that is a predicate (see [`Func::is_predicate`])
//!   or a semiseparable mask ([`Term::Ss`]) and is 0 makes the product 0, whatever the other factors
//!   are, NaN and infinity included. The untaken branch of a `select` is never looked at.
//! - An empty sum is 0, an empty product 1, an empty maximum -inf, an empty log-sum-exp -inf.
//! - softmax over no unmasked key (or over keys that are all -inf) is 0, not NaN; its log-sum-exp is -inf.
//! - Reading a tensor outside its bounds gives 0.
//! - Index arithmetic is on integers; division rounds down and `%` has the sign of the divisor.

mod func;
mod index;
mod program;
mod term;
mod text;
mod verify;

pub use func::Func;
pub use index::{Affine, Ix};
pub use program::{
    Carry, Constraint, DType, Kind, Let, Output, Program, Relation, Scalar, Scan, Split, Stmt,
    Tensor,
};
pub use term::{ReduceOp, T, Term};
pub use text::{parse_program, parse_term};
pub use verify::{VerifyError, verify};

/// A name of a tensor, axis, size or scalar.
pub type Name = std::sync::Arc<str>;
