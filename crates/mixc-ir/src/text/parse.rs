//! Parsing terms.

use super::index::{atom as index_atom, index};
use super::operators::operator;
use super::tokens::{Parsed, Tokens};
use crate::{Func, Name, T, Term};
use mixc_text::{Diagnostic, Source, TokenKind, closest, lex};
use std::sync::Arc;

/// Parses one term.
///
/// # Errors
/// Every mistake that the lexer sees, or the first one in the grammar.
pub fn parse_term(source: &Source) -> Result<T, Vec<Diagnostic>> {
    let (tokens, errors) = lex(&source.text);
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut tokens = Tokens::new(tokens);
    let parsed = term(&mut tokens).and_then(|value| match tokens.peek() {
        TokenKind::End => Ok(value),
        _ => Err(tokens.unexpected("an operator or the end of the term")),
    });
    parsed.map_err(|error| vec![error])
}

/// A term: `or` binds weakest, then `and`, comparisons, `+ -`, `* /`, unary `-`.
pub(super) fn term(tokens: &mut Tokens) -> Parsed<T> {
    tokens.nested(|tokens| {
        let first = multiplication(tokens)?.close(Term::product);
        disjunction(first, tokens)
    })
}

// Each rule continues from its first product, which is parsed already: a sum has to look at the
// product inside it before it knows whether more follows.

pub(super) fn disjunction(first: T, tokens: &mut Tokens) -> Parsed<T> {
    let mut left = conjunction(first, tokens)?;
    while tokens.eat_word("or") {
        let first = multiplication(tokens)?.close(Term::product);
        left = Term::map(Func::Or, vec![left, conjunction(first, tokens)?]);
    }
    Ok(left)
}

fn conjunction(first: T, tokens: &mut Tokens) -> Parsed<T> {
    let mut left = comparison(first, tokens)?;
    while tokens.eat_word("and") {
        let first = multiplication(tokens)?.close(Term::product);
        left = Term::map(Func::And, vec![left, comparison(first, tokens)?]);
    }
    Ok(left)
}

fn comparison(first: T, tokens: &mut Tokens) -> Parsed<T> {
    let left = addition(first, tokens)?;
    let table = [
        ("<=", Func::Le),
        ("<", Func::Lt),
        ("==", Func::Eq),
        ("!=", Func::Ne),
    ];
    for (symbol, f) in table {
        if tokens.eat(symbol) {
            let first = multiplication(tokens)?.close(Term::product);
            return Ok(Term::map(f, vec![left, addition(first, tokens)?]));
        }
    }
    Ok(left)
}

/// Collects the operands of an n-ary node while its operator repeats.
pub(super) enum Chain {
    One(T),
    Many(Vec<T>),
}

impl Chain {
    fn push(self, next: T) -> Chain {
        match self {
            Chain::One(first) => Chain::Many(vec![first, next]),
            Chain::Many(mut all) => {
                all.push(next);
                Chain::Many(all)
            }
        }
    }

    pub fn close(self, node: fn(Vec<T>) -> T) -> T {
        match self {
            Chain::One(one) => one,
            Chain::Many(all) => node(all),
        }
    }
}

fn sum_node(terms: Vec<T>) -> T {
    Arc::new(Term::Add(terms))
}

fn addition(first: T, tokens: &mut Tokens) -> Parsed<T> {
    let mut left = Chain::One(first);
    loop {
        if tokens.eat("+") {
            left = left.push(multiplication(tokens)?.close(Term::product));
        } else if tokens.eat("-") {
            let right = multiplication(tokens)?.close(Term::product);
            left = Chain::One(Term::map(Func::Sub, vec![left.close(sum_node), right]));
        } else {
            return Ok(left.close(sum_node));
        }
    }
}

pub(super) fn multiplication(tokens: &mut Tokens) -> Parsed<Chain> {
    let mut left = Chain::One(unary(tokens)?);
    loop {
        if tokens.eat("*") {
            left = left.push(unary(tokens)?);
        } else if tokens.eat("/") {
            let right = unary(tokens)?;
            left = Chain::One(Term::map(Func::Div, vec![left.close(Term::product), right]));
        } else {
            return Ok(left);
        }
    }
}

fn unary(tokens: &mut Tokens) -> Parsed<T> {
    if !tokens.eat("-") {
        return atom(tokens);
    }
    // A minus before a number is its sign.
    if let Some(value) = number(tokens) {
        return Ok(Term::constant(-value));
    }
    let inside = tokens.nested(unary)?;
    Ok(Term::map(Func::Neg, vec![inside]))
}

/// An unsigned number, if one comes next. A number followed by `(` or `[` is a name after all.
pub(super) fn number(tokens: &mut Tokens) -> Option<f64> {
    let value = match tokens.peek() {
        TokenKind::Int(value) => *value as f64,
        TokenKind::Float(value) => *value,
        TokenKind::Ident(name) if name == "inf" => f64::INFINITY,
        TokenKind::Ident(name) if name == "nan" => f64::NAN,
        _ => return None,
    };
    tokens.next();
    Some(value)
}

fn atom(tokens: &mut Tokens) -> Parsed<T> {
    if let Some(value) = number(tokens) {
        return Ok(Term::constant(value));
    }
    if tokens.eat("(") {
        let inside = term(tokens)?;
        tokens.expect(")")?;
        return Ok(inside);
    }
    if tokens.eat("#") {
        return Ok(Arc::new(Term::Index(index_atom(tokens)?)));
    }
    let span = tokens.span();
    let quoted = matches!(tokens.peek(), TokenKind::Str(_));
    let name = tokens.name("a term")?;
    if quoted || !tokens.at_punct("[") {
        if tokens.at_punct("[") {
            return read(name, tokens);
        }
        if quoted || !tokens.at_punct("(") {
            return Ok(Arc::new(Term::Scalar(name)));
        }
        tokens.next();
        let args = tokens.until(")", term)?;
        return function(&name, args, span);
    }
    match operator(&name, tokens) {
        Some(node) => node.map(Arc::new),
        None => read(name, tokens),
    }
}

fn read(tensor: Name, tokens: &mut Tokens) -> Parsed<T> {
    Ok(Arc::new(Term::Read {
        tensor,
        index: tokens.bracketed(index)?,
    }))
}

fn function(name: &str, args: Vec<T>, span: mixc_text::Span) -> Parsed<T> {
    match name {
        "add" => return Ok(sum_node(args)),
        "mul" => return Ok(Term::product(args)),
        _ => {}
    }
    let Some(f) = Func::by_name(name) else {
        let error = Diagnostic::error(
            "unknown-function",
            span,
            format!("there is no function `{name}`"),
        );
        return Err(match closest(name, Func::ALL.iter().map(|f| f.name())) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error,
        });
    };
    if args.len() != f.arity() {
        let message = format!(
            "`{name}` takes {} arguments, found {}",
            f.arity(),
            args.len()
        );
        return Err(Diagnostic::error("arity", span, message));
    }
    Ok(Term::map(f, args))
}
