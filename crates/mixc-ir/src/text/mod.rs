//! The text form of core programs and terms: close to index notation, and exact.
//!
//! ```text
//! /// Causal attention.
//! program attention {
//!     dims T, D
//!     tensor q: real[T, D]              // short for [T = $T, D = $D]
//!     tensor k: real[T, D] in [-1, 1]
//!     scalar scale: real = rsqrt(#$D)
//!     axes i = $T, j = $T, d = $D
//!     require 1 <= $D
//!     let s[i, j] = scale * sum[d](q[i, d] * k[j, d])
//!     let p[i, j] = softmax[j](s[i, j] if #j <= #i)
//!     output p[i, j] as [T, T]
//! }
//! ```
//! - `$T` is a size, a bare name in an index an axis. `#(i - j)` is an index as a real number.
//! - `x[..]` reads a tensor, a bare name is a scalar, `f(..)` a function. The operators
//!   `+ - * / < <= == != and or` are functions, sums and products of terms; a chain of `+` or of
//!   `*` is one n-ary node, and parentheses make a node of its own.
//! - `sum[d](..)`, `max[j](x if m)`, `lse`, `prod`, `min`, `softmax[j](s if m)`,
//!   `online[j](s, v if m)`: reductions, the mask 1 if none is written.
//! - `ss[j <= i](a)`, `scan[j < i](a, b, s0)` (`<` is strict), `last[j](a, b, s0)`, `cumprod[t]`,
//!   `cumprod_before[t]`, `cumprod_after[t]`, `cumsum[t]`, `merge[t = t0, t1](x)`.
//! - A name that is no identifier, or is a word of the notation where one may stand, is quoted.

mod index;
mod operators;
mod parse;
mod print;
mod print_program;
mod program;
mod tokens;

pub use parse::parse_term;
pub use program::parse_program;

/// Words that a bare scalar, or the tensor of a read, cannot be called without quotes.
const RESERVED: &[&str] = &[
    "and",
    "or",
    "not",
    "if",
    "in",
    "inf",
    "nan",
    "sum",
    "max",
    "min",
    "prod",
    "lse",
    "softmax",
    "online",
    "ss",
    "scan",
    "last",
    "cumprod",
    "cumprod_before",
    "cumprod_after",
    "cumsum",
    "merge",
    "let",
    "output",
    "next",
    "add",
    "mul",
];

pub(crate) fn is_identifier(name: &str) -> bool {
    let stem = name.trim_end_matches('\'');
    stem.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && stem.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
