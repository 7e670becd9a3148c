//! Parsing index expressions, as `Display for Ix` prints them.

use super::tokens::{Parsed, Tokens};
use crate::Ix;
use mixc_text::{Diagnostic, TokenKind};
use std::sync::Arc;

/// Sums of products of atoms. Nodes are kept as written, without folding.
pub(super) fn index(tokens: &mut Tokens) -> Parsed<Ix> {
    tokens.nested(|tokens| {
        let mut left = product(tokens)?;
        loop {
            let make = if tokens.eat("+") {
                Ix::Add
            } else if tokens.eat("-") {
                Ix::Sub
            } else {
                return Ok(left);
            };
            left = make(Arc::new(left), Arc::new(product(tokens)?));
        }
    })
}

fn product(tokens: &mut Tokens) -> Parsed<Ix> {
    let mut left = atom(tokens)?;
    loop {
        let make = if tokens.eat("*") {
            Ix::Mul
        } else if tokens.eat("/") {
            Ix::Div
        } else if tokens.eat("%") {
            Ix::Mod
        } else {
            return Ok(left);
        };
        left = make(Arc::new(left), Arc::new(atom(tokens)?));
    }
}

/// An axis, `$size`, a number, `tensor[..]`, `min(a, b)`, `max(a, b)` or a parenthesis.
pub(super) fn atom(tokens: &mut Tokens) -> Parsed<Ix> {
    let span = tokens.span();
    let too_large =
        |_| Diagnostic::error("bad-number", span, "this number does not fit in 64 bits");
    if tokens.eat("(") {
        let inside = index(tokens)?;
        tokens.expect(")")?;
        return Ok(inside);
    }
    if tokens.eat("$") {
        // Sizes that no program can declare, such as those of splits, have `$` in their name.
        let mut prefix = String::new();
        while tokens.eat("$") {
            prefix.push('$');
        }
        let name = tokens.name("the name of a size")?;
        return Ok(Ix::Dim(format!("{prefix}{name}").into()));
    }
    let negative = tokens.eat("-");
    if let TokenKind::Int(value) = *tokens.peek() {
        tokens.next();
        let value = if negative {
            -i128::from(value)
        } else {
            i128::from(value)
        };
        return Ok(Ix::Const(i64::try_from(value).map_err(too_large)?));
    }
    if negative {
        return Err(tokens.unexpected("a number"));
    }
    let name = tokens.name("an index")?;
    if tokens.at_punct("[") {
        return Ok(Ix::Elem(name, tokens.bracketed(index)?));
    }
    if !tokens.at_punct("(") {
        return Ok(Ix::Axis(name));
    }
    let make = match &*name {
        "min" => Ix::Min,
        "max" => Ix::Max,
        _ => {
            let message = format!("`{name}` is not a function of indices");
            return Err(
                Diagnostic::error("unknown-function", span, message).help("`min` and `max` are")
            );
        }
    };
    tokens.expect("(")?;
    let a = index(tokens)?;
    tokens.expect(",")?;
    let b = index(tokens)?;
    tokens.expect(")")?;
    Ok(make(Arc::new(a), Arc::new(b)))
}
