//! Parsing the operators that have axes in brackets.

use super::parse::{Chain, disjunction, multiplication, term};
use super::tokens::{Parsed, Tokens};
use crate::{Name, ReduceOp, T, Term};
use mixc_text::Diagnostic;

/// The operators with axes in brackets; None if `name` is not one of them. At the `[`.
pub(super) fn operator(name: &str, tokens: &mut Tokens) -> Option<Parsed<Term>> {
    Some(match name {
        "sum" => sum(tokens),
        "max" => reduce(ReduceOp::Max, tokens),
        "min" => reduce(ReduceOp::Min, tokens),
        "prod" => reduce(ReduceOp::Prod, tokens),
        "lse" => reduce(ReduceOp::Lse, tokens),
        "softmax" => softmax(tokens),
        "online" => online(tokens),
        "ss" => semiseparable(tokens),
        "scan" => scan(tokens),
        "last" => last(tokens),
        "cumprod" => along(tokens, |axis, body| Term::CumProd {
            axis,
            exclusive: false,
            body,
        }),
        "cumprod_before" => along(tokens, |axis, body| Term::CumProd {
            axis,
            exclusive: true,
            body,
        }),
        "cumprod_after" => along(tokens, |axis, body| Term::SufProd { axis, body }),
        "cumsum" => along(tokens, |axis, body| Term::CumSum { axis, body }),
        "merge" => merge(tokens),
        _ => return None,
    })
}

fn axis(tokens: &mut Tokens) -> Parsed<Name> {
    tokens.name("an axis")
}

fn axes(tokens: &mut Tokens) -> Parsed<Vec<Name>> {
    tokens.bracketed(axis)
}

fn sum(tokens: &mut Tokens) -> Parsed<Term> {
    let span = tokens.span();
    let axes = axes(tokens)?;
    if axes.is_empty() {
        return Err(Diagnostic::error("no-axes", span, "a sum needs an axis")
            .help("a product is `a * b`, or `mul(..)`"));
    }
    tokens.expect("(")?;
    if tokens.eat(")") {
        return Ok(Term::Sum {
            axes,
            factors: vec![],
        });
    }
    // A product directly inside gives the factors of the sum; any other term is the one factor.
    let factors = tokens.nested(|tokens| match multiplication(tokens)? {
        Chain::Many(factors) if tokens.at_punct(")") => Ok(factors),
        first => Ok(vec![disjunction(first.close(Term::product), tokens)?]),
    })?;
    tokens.expect(")")?;
    Ok(Term::Sum { axes, factors })
}

/// ` if mask)` or `)`.
fn mask(tokens: &mut Tokens) -> Parsed<T> {
    let mask = if tokens.eat_word("if") {
        term(tokens)?
    } else {
        Term::one()
    };
    tokens.expect(")")?;
    Ok(mask)
}

fn reduce(op: ReduceOp, tokens: &mut Tokens) -> Parsed<Term> {
    let axes = axes(tokens)?;
    tokens.expect("(")?;
    let body = term(tokens)?;
    Ok(Term::Reduce {
        op,
        axes,
        body,
        mask: mask(tokens)?,
    })
}

fn softmax(tokens: &mut Tokens) -> Parsed<Term> {
    let axes = axes(tokens)?;
    tokens.expect("(")?;
    let score = term(tokens)?;
    Ok(Term::Softmax {
        axes,
        score,
        mask: mask(tokens)?,
    })
}

fn online(tokens: &mut Tokens) -> Parsed<Term> {
    let axes = axes(tokens)?;
    tokens.expect("(")?;
    let score = term(tokens)?;
    tokens.expect(",")?;
    let value = term(tokens)?;
    Ok(Term::Online {
        axes,
        score,
        value,
        mask: mask(tokens)?,
    })
}

/// `[j <= i]` or, strict, `[j < i]`.
fn order(tokens: &mut Tokens) -> Parsed<(Name, Name, bool)> {
    tokens.expect("[")?;
    let j = axis(tokens)?;
    let strict = tokens.eat("<");
    if !strict && !tokens.eat("<=") {
        return Err(tokens.unexpected("`<=` or `<`"));
    }
    let i = axis(tokens)?;
    tokens.expect("]")?;
    Ok((j, i, strict))
}

fn semiseparable(tokens: &mut Tokens) -> Parsed<Term> {
    let (j, i, strict) = order(tokens)?;
    tokens.expect("(")?;
    let decay = term(tokens)?;
    tokens.expect(")")?;
    Ok(Term::Ss {
        j,
        i,
        strict,
        decay,
    })
}

/// `(decay, input, init)`.
fn recurrence(tokens: &mut Tokens) -> Parsed<(T, T, T)> {
    tokens.expect("(")?;
    let decay = term(tokens)?;
    tokens.expect(",")?;
    let input = term(tokens)?;
    tokens.expect(",")?;
    let init = term(tokens)?;
    tokens.expect(")")?;
    Ok((decay, input, init))
}

fn scan(tokens: &mut Tokens) -> Parsed<Term> {
    let (j, i, strict) = order(tokens)?;
    let (decay, input, init) = recurrence(tokens)?;
    Ok(Term::Scan {
        j,
        i,
        strict,
        decay,
        input,
        init,
    })
}

fn one_axis(tokens: &mut Tokens) -> Parsed<Name> {
    tokens.expect("[")?;
    let name = axis(tokens)?;
    tokens.expect("]")?;
    Ok(name)
}

fn last(tokens: &mut Tokens) -> Parsed<Term> {
    let j = one_axis(tokens)?;
    let (decay, input, init) = recurrence(tokens)?;
    Ok(Term::Last {
        j,
        decay,
        input,
        init,
    })
}

fn along(tokens: &mut Tokens, node: fn(Name, T) -> Term) -> Parsed<Term> {
    let axis = one_axis(tokens)?;
    tokens.expect("(")?;
    let body = term(tokens)?;
    tokens.expect(")")?;
    Ok(node(axis, body))
}

fn merge(tokens: &mut Tokens) -> Parsed<Term> {
    tokens.expect("[")?;
    let whole = axis(tokens)?;
    tokens.expect("=")?;
    let outer = axis(tokens)?;
    tokens.expect(",")?;
    let inner = axis(tokens)?;
    tokens.expect("]")?;
    tokens.expect("(")?;
    let body = term(tokens)?;
    tokens.expect(")")?;
    Ok(Term::Merge {
        axis: whole,
        outer,
        inner,
        body,
    })
}
