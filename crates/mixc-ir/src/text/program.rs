//! Parsing programs.

use super::index::index;
use super::parse::{number, term};
use super::tokens::{Parsed, Tokens};
use crate::{
    Carry, Constraint, Ix, Kind, Let, Name, Output, Program, Relation, Scalar, Scan, Split, Stmt,
    Tensor,
};
use mixc_text::{Diagnostic, Source, TokenKind, lex};

/// Words that start an item of a program; after a mistake the parser goes on at the next one.
const ITEMS: &[&str] = &[
    "dims", "tensor", "scalar", "require", "axes", "split", "let", "scan", "carry", "output",
    "program",
];

/// Parses the text form of a program. It checks the grammar alone; see [`crate::verify`] for the rest.
///
/// # Errors
/// All mistakes found, one at most for each item.
pub fn parse_program(source: &Source) -> Result<Program, Vec<Diagnostic>> {
    let (tokens, mut errors) = lex(&source.text);
    let mut tokens = Tokens::new(tokens);
    let mut program = Program::default();
    if let Err(error) = header(&mut program, &mut tokens) {
        errors.push(error);
        return Err(errors);
    }
    while !tokens.at_punct("}") {
        if *tokens.peek() == TokenKind::End {
            errors.push(tokens.unexpected("`}`"));
            break;
        }
        if let Err(error) = item(&mut program, &mut tokens) {
            errors.push(error);
            skip_to_item(&mut tokens);
        }
    }
    tokens.eat("}");
    if *tokens.peek() != TokenKind::End && errors.is_empty() {
        errors.push(tokens.unexpected("the end of the text"));
    }
    if errors.is_empty() {
        Ok(program)
    } else {
        Err(errors)
    }
}

fn header(program: &mut Program, tokens: &mut Tokens) -> Parsed<()> {
    let mut lines = vec![];
    while let TokenKind::Doc(line) = tokens.peek() {
        lines.push(line.clone());
        tokens.next();
    }
    program.doc = lines.join("\n");
    tokens.expect_word("program")?;
    program.name = tokens.name("the name of the program")?.to_string();
    tokens.expect("{")
}

fn skip_to_item(tokens: &mut Tokens) {
    loop {
        let at_item = ITEMS.iter().any(|word| tokens.at_word(word));
        let starts_item = tokens.starts_line() && (at_item || tokens.at_punct("}"));
        if starts_item || *tokens.peek() == TokenKind::End {
            return;
        }
        tokens.next();
    }
}

fn item(program: &mut Program, tokens: &mut Tokens) -> Parsed<()> {
    let span = tokens.span();
    let TokenKind::Ident(word) = tokens.peek().clone() else {
        return Err(tokens
            .unexpected("an item of the program")
            .help(format!("one of {}", ITEMS.join(", "))));
    };
    // The word is consumed before anything can fail, so that the caller always gets further.
    tokens.next();
    match word.as_str() {
        "dims" => program
            .dims
            .extend(comma_list(tokens, |t| t.name("a size"))?),
        "tensor" => program.tensors.push(tensor(tokens)?),
        "scalar" => program.scalars.push(scalar(tokens)?),
        "require" => program.constraints.push(constraint(tokens)?),
        "axes" => {
            for (name, size) in comma_list(tokens, |t| {
                let name = t.name("an axis")?;
                t.expect("=")?;
                Ok((name, index(t)?))
            })? {
                program.axes.insert(name, size);
            }
        }
        "split" => program.splits.push(split(tokens)?),
        "let" => program.body.push(Stmt::Let(let_item(tokens)?)),
        "scan" => program.body.push(Stmt::Scan(scan(tokens)?)),
        "output" => program.outputs.push(output(tokens)?),
        _ => {
            let error = Diagnostic::error(
                "unknown-item",
                span,
                format!("`{word}` starts no item of a program"),
            );
            return Err(error.help(format!("one of {}", ITEMS.join(", "))));
        }
    }
    Ok(())
}

fn comma_list<V>(
    tokens: &mut Tokens,
    mut item: impl FnMut(&mut Tokens) -> Parsed<V>,
) -> Parsed<Vec<V>> {
    let mut items = vec![item(tokens)?];
    while tokens.eat(",") {
        items.push(item(tokens)?);
    }
    Ok(items)
}

/// `name: kind[B, T = 2 * $T] in [0, 1] = 0`.
fn tensor(tokens: &mut Tokens) -> Parsed<Tensor> {
    let name = tokens.name("the name of a tensor")?;
    tokens.expect(":")?;
    let kind = kind(tokens)?;
    let axes = tokens.bracketed(|t| {
        let name = t.name("an axis")?;
        let size = if t.eat("=") {
            index(t)?
        } else {
            Ix::Dim(name.clone())
        };
        Ok((name, size))
    })?;
    let range = range(tokens)?;
    let default = if tokens.eat("=") {
        Some(signed(tokens)?)
    } else {
        None
    };
    let (axis_names, shape) = axes.into_iter().unzip();
    Ok(Tensor {
        name,
        kind,
        shape,
        axis_names,
        range,
        default,
    })
}

fn scalar(tokens: &mut Tokens) -> Parsed<Scalar> {
    let name = tokens.name("the name of a scalar")?;
    tokens.expect(":")?;
    let kind = kind(tokens)?;
    let range = range(tokens)?;
    let default = if tokens.eat("=") {
        Some(term(tokens)?)
    } else {
        None
    };
    Ok(Scalar {
        name,
        kind,
        default,
        range,
    })
}

fn kind(tokens: &mut Tokens) -> Parsed<Kind> {
    for (word, kind) in [
        ("real", Kind::Real),
        ("int", Kind::Int),
        ("bool", Kind::Bool),
    ] {
        if tokens.eat_word(word) {
            return Ok(kind);
        }
    }
    Err(tokens.unexpected("`real`, `int` or `bool`"))
}

fn range(tokens: &mut Tokens) -> Parsed<(f64, f64)> {
    if !tokens.eat_word("in") {
        return Ok((f64::NEG_INFINITY, f64::INFINITY));
    }
    tokens.expect("[")?;
    let low = signed(tokens)?;
    tokens.expect(",")?;
    let high = signed(tokens)?;
    tokens.expect("]")?;
    Ok((low, high))
}

fn signed(tokens: &mut Tokens) -> Parsed<f64> {
    let negative = tokens.eat("-");
    match number(tokens) {
        Some(value) => Ok(if negative { -value } else { value }),
        None => Err(tokens.unexpected("a number")),
    }
}

fn constraint(tokens: &mut Tokens) -> Parsed<Constraint> {
    let left = index(tokens)?;
    for (symbol, relation) in [
        ("==", Relation::Eq),
        ("<=", Relation::Le),
        ("<", Relation::Lt),
    ] {
        if tokens.eat(symbol) {
            return Ok(Constraint {
                left,
                relation,
                right: index(tokens)?,
            });
        }
    }
    Err(tokens.unexpected("`==`, `<=` or `<`"))
}

/// `t = t0, t1 by $C`.
fn split(tokens: &mut Tokens) -> Parsed<Split> {
    let axis = tokens.name("an axis")?;
    tokens.expect("=")?;
    let outer = tokens.name("the outer axis")?;
    tokens.expect(",")?;
    let inner = tokens.name("the inner axis")?;
    tokens.expect_word("by")?;
    Ok(Split {
        axis,
        outer,
        inner,
        size: index(tokens)?,
    })
}

fn axis_list(tokens: &mut Tokens) -> Parsed<Vec<Name>> {
    tokens.bracketed(|t| t.name("an axis"))
}

/// `name[axes] = term`.
fn let_item(tokens: &mut Tokens) -> Parsed<Let> {
    let name = tokens.name("the name of a let")?;
    let axes = axis_list(tokens)?;
    tokens.expect("=")?;
    Ok(Let {
        name,
        axes,
        value: term(tokens)?,
    })
}

/// `axis reverse { carry .. let .. }`.
fn scan(tokens: &mut Tokens) -> Parsed<Scan> {
    let axis = tokens.name("the axis of the scan")?;
    let reverse = tokens.eat_word("reverse");
    let mut scan = Scan {
        axis,
        reverse,
        carries: vec![],
        body: vec![],
    };
    tokens.expect("{")?;
    while !tokens.eat("}") {
        if tokens.eat_word("carry") {
            scan.carries.push(carry(tokens)?);
        } else if tokens.eat_word("let") {
            scan.body.push(let_item(tokens)?);
        } else {
            return Err(tokens.unexpected("`carry`, `let` or `}`"));
        }
    }
    Ok(scan)
}

/// `name[axes] = init next name last name`.
fn carry(tokens: &mut Tokens) -> Parsed<Carry> {
    let name = tokens.name("the name of a state")?;
    let axes = axis_list(tokens)?;
    tokens.expect("=")?;
    let init = term(tokens)?;
    tokens.expect_word("next")?;
    let next = tokens.name("the let that is the next state")?;
    tokens.expect_word("last")?;
    let last = tokens.name("a name for the last state")?;
    Ok(Carry {
        name,
        axes,
        init,
        next,
        last,
    })
}

/// `name[axes] as [B, T]`.
fn output(tokens: &mut Tokens) -> Parsed<Output> {
    let name = tokens.name("the name of an output")?;
    let axes = axis_list(tokens)?;
    tokens.expect_word("as")?;
    Ok(Output {
        name,
        axes,
        axis_names: axis_list(tokens)?,
    })
}
