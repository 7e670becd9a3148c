//! The reader's toolkit: spans, diagnostics and one lexer.
//!
//! In: source text. Out: tokens, and rendered errors with carets. It does not know any of the
//! grammars (mixers, core programs, tile programs, templates) that are written with it.

mod diagnostic;
mod lexer;

pub use diagnostic::{Diagnostic, Label, Severity, Source, closest};
pub use lexer::{Token, TokenKind, lex};

/// A half-open byte range of a source text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    pub fn new(start: usize, end: usize) -> Span {
        Span { start, end }
    }

    /// The smallest span that covers both.
    pub fn to(self, other: Span) -> Span {
        Span {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }
}
