//! Whole kernels.

use super::stmt::{skip_statement, statement_or_recover};
use super::{Cursor, Parsed, parse_extent, parse_ix};
use crate::{Buf, GridAxis, Kernel, Space, TensorArg, Usage};
use mixc_ir::{DType, Name};
use mixc_text::{Diagnostic, Source, TokenKind};

const DTYPES: [DType; 7] = [
    DType::F32,
    DType::F16,
    DType::Bf16,
    DType::F64,
    DType::I32,
    DType::I64,
    DType::Bool,
];

/// Words that start a declaration. Any other line is a statement.
const DECLARATIONS: [&str; 6] = ["in", "out", "work", "shared", "register", "grid"];

/// Reads a text that is one kernel.
///
/// # Errors
/// All mistakes, in the order of the text.
pub fn parse_kernel(source: &Source) -> Result<Kernel, Vec<Diagnostic>> {
    let mut kernels = parse_kernels(source)?;
    match (kernels.pop(), kernels.len()) {
        (Some(kernel), 0) => Ok(kernel),
        (_, more) => {
            let found = if more == 0 {
                "none".to_string()
            } else {
                (more + 1).to_string()
            };
            let span = Cursor::new(source).peek().span;
            Err(vec![Diagnostic::error(
                "one-kernel",
                span,
                format!("expected one kernel, found {found}"),
            )])
        }
    }
}

/// Reads a text of any number of kernels.
///
/// # Errors
/// All mistakes, in the order of the text.
pub fn parse_kernels(source: &Source) -> Result<Vec<Kernel>, Vec<Diagnostic>> {
    let mut cursor = Cursor::new(source);
    let mut kernels = vec![];
    while !cursor.at_end() {
        match kernel(&mut cursor) {
            Ok(kernel) => kernels.push(kernel),
            Err(error) => {
                cursor.errors.push(error);
                let next = |c: &Cursor| c.at_end() || c.peek().starts_line && c.is_word("kernel");
                while !next(&cursor) {
                    cursor.advance();
                }
            }
        }
    }
    cursor.errors.sort_by_key(Diagnostic::span);
    if cursor.errors.is_empty() {
        Ok(kernels)
    } else {
        Err(cursor.errors)
    }
}

fn kernel(c: &mut Cursor) -> Parsed<Kernel> {
    c.bufs.clear();
    c.expect_word("kernel")?;
    let name = match c.peek().kind.clone() {
        TokenKind::Ident(name) | TokenKind::Str(name) => name,
        _ => return Err(c.unexpected("the kernel's name")),
    };
    c.advance();
    let mut kernel = Kernel {
        name,
        ..Kernel::default()
    };
    c.expect_punct("(")?;
    if c.eat_word("dims") {
        kernel.dims = names(c, "a size")?;
        c.eat_punct(";");
    }
    if c.eat_word("scalars") {
        kernel.scalars = names(c, "a scalar")?;
    }
    c.expect_punct(")")?;
    c.expect_punct("{")?;
    while !c.is_punct("}") && !c.at_end() {
        let is_item = DECLARATIONS.iter().any(|word| c.is_word(word));
        if !is_item {
            statement_or_recover(c, &mut kernel.body);
        } else if let Err(error) = item(c, &mut kernel) {
            c.errors.push(error);
            skip_statement(c);
        }
    }
    c.expect_punct("}")?;
    kernel.bufs = std::mem::take(&mut c.bufs);
    Ok(kernel)
}

/// `: B, H, T`
fn names(c: &mut Cursor, what: &str) -> Parsed<Vec<Name>> {
    c.expect_punct(":")?;
    let mut names = vec![c.expect_name(what)?];
    while c.eat_punct(",") {
        names.push(c.expect_name(what)?);
    }
    Ok(names)
}

/// A tensor, a buffer or the grid.
fn item(c: &mut Cursor, kernel: &mut Kernel) -> Parsed<()> {
    if c.eat_word("grid") {
        loop {
            let name = c.expect_name("a grid axis")?;
            c.expect_punct("<")?;
            kernel.grid.push(GridAxis {
                name,
                extent: parse_ix(c)?,
            });
            if !c.eat_punct(",") {
                return Ok(());
            }
        }
    }
    if let Some(space) = Space::ALL.iter().find(|s| c.is_word(s.name())) {
        c.advance();
        let span = c.peek().span;
        let name = c.expect_name("a buffer")?;
        c.expect_punct(":")?;
        c.expect_punct("[")?;
        let shape = c.list("]", parse_extent)?;
        if c.bufs.iter().any(|b| b.name == name) {
            let message = format!("the buffer `{name}` is declared twice");
            return Err(Diagnostic::error("duplicate-buffer", span, message));
        }
        c.bufs.push(Buf {
            name,
            shape,
            space: *space,
        });
        return Ok(());
    }
    let usage = c.expect_one_of("a tensor", Usage::ALL, Usage::name)?;
    let name = c.expect_name("a tensor")?;
    c.expect_punct(":")?;
    let dtype = c.expect_one_of("an element type", &DTYPES, DType::name)?;
    c.expect_punct("[")?;
    let shape = c.list("]", parse_ix)?;
    let unit_inner = c.eat_word("unit");
    kernel.tensors.push(TensorArg {
        name,
        dtype,
        usage,
        shape,
        unit_inner,
    });
    Ok(())
}
