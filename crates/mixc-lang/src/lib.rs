//! The mixer language: `.mix` text to programs of the core IR.
//!
//! In: source text. Out: syntax trees that print back, and [`mixc_ir::Program`]s that are a direct
//! transcription of what was written; or every mistake found, with its place and a suggestion.
//! It knows nothing of algorithms: no mixer is known by name and nothing is simplified.

pub mod ast;
pub mod builtins;
mod elab;
mod parse;
mod print;

pub use elab::elaborate;
pub use parse::{KEYWORDS, parse_mixers};

use mixc_ir::Program;
use mixc_text::{Diagnostic, Severity, Source};

/// All mixers of a file as core programs.
///
/// # Errors
/// Every mistake of every mixer.
pub fn compile(source: &Source) -> Result<Vec<Program>, Vec<Diagnostic>> {
    let (mixers, mut errors) = parse_mixers(source);
    let mut programs = vec![];
    for mixer in &mixers {
        match elaborate(mixer) {
            Ok(program) => programs.push(program),
            Err(found) => errors.extend(found),
        }
    }
    if errors.iter().any(|e| e.severity == Severity::Error) {
        errors.sort_by_key(|e| e.span().start);
        return Err(errors);
    }
    Ok(programs)
}
