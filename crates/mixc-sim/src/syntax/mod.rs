//! PTX text to a structured module.
//!
//! In: the text of one PTX file. Out: [`ast::Module`], with every modifier of every instruction
//! kept as written. It does not know what any instruction means.

pub mod ast;
mod declarations;
mod lexer;
mod parser;
mod statements;

pub use parser::parse_module;
