//! Reads the text form of kernels; [`crate::Kernel`]'s `Display` writes it.
//!
//! In: a source text. Out: a kernel, or all mistakes with their spans. It checks the grammar, function
//! arities and that buffers are declared; [`verify`](fn@crate::verify) checks the rest. The readers of statements,
//! expressions and indices work on a [`Cursor`], so that other texts can contain them.
//!
//! ```text
//! kernel     = "kernel" name "(" ["dims:" names] [";"] ["scalars:" names] ")" "{" item* "}"
//! item       = ("in" | "out" | "work") name ":" dtype "[" indices "]" ["unit"]      tensor
//!            | ("shared" | "register") name ":" "[" extents "]"                     buffer
//!            | "grid" name "<" index ("," name "<" index)*
//!            | statement
//! statement  = "for" name "in" ["reverse"] index ".." index "{" statement* "}"
//!            | "if" index ("<" | "<=" | "==") index "{" statement* "}" ["else" "{" statement* "}"]
//!            | "load" axes access "<-" name "[" (index | "gather" access),* "]"
//!            | "store" axes name "[" indices "]" "<-" expr
//!            | "map" axes access "=" expr
//!            | "reduce" ("sum" | "max" | "min" | "prod") axes access ("=" | "(+)=") expr
//!            | "contract" axes access ("=" | "(+)=") access "*" access
//!            | "scan" ("sum" | "prod") axes "along" name ["exclusive"] ["reverse"] access "=" expr
//! axes       = "[" (name "<" extent),* "]"
//! access     = buffer "[" indices "]"             a lone name that is a local axis is that axis
//! expr       = operators == != < <= (not chained), + -, * /, unary -, calls of `mixc_ir::Func`,
//!              numbers, inf, nan, scalars, accesses, "int(" index ")"
//! index      = operators + -, * / %, unary -, min(a, b), max(a, b), ceil_div(a, b), integers, axes, $sizes
//! extent     = an index without axes and unknown sizes
//! ```
//! `(+)=` combines with what the destination holds. `///` and `//` comments are skipped.

mod cursor;
mod expr;
mod index;
mod kernel;
mod stmt;

pub use cursor::{Cursor, Parsed};
pub use expr::{parse_access, parse_expr};
pub use index::{parse_extent, parse_ix};
pub use kernel::{parse_kernel, parse_kernels};
pub use stmt::{parse_axes, parse_stmts};
