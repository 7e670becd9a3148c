//! Values of lowered expressions.

use mixc_ir::{Func, Ix, T, Term};
use mixc_text::{Diagnostic, Span};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub enum Value {
    /// Stands for a mistake that was reported.
    Poison,
    Int(Int),
    Real(T),
    /// A term that is 0 or 1.
    Bool(T),
    Complex(T, T),
}

/// An integer: as an index expression where it is one, and as a term.
#[derive(Clone, Debug)]
pub struct Int {
    pub ix: Option<Ix>,
    pub term: T,
    /// Where the value comes from an integer division, which is surprising in real arithmetic.
    pub divided: Option<Span>,
}

impl Int {
    pub fn index(ix: Ix) -> Int {
        Int {
            term: index(ix.clone()),
            ix: Some(ix),
            divided: None,
        }
    }

    pub fn term(term: T) -> Int {
        Int {
            ix: None,
            term,
            divided: None,
        }
    }

    /// As a real number; constants as such.
    pub fn real(&self) -> T {
        match &self.ix {
            Some(Ix::Const(value)) => Term::constant(*value as f64),
            _ => self.term.clone(),
        }
    }
}

pub fn index(ix: Ix) -> T {
    Arc::new(Term::Index(ix))
}

pub fn map1(f: Func, a: T) -> T {
    Term::map(f, vec![a])
}

pub fn map2(f: Func, a: T, b: T) -> T {
    Term::map(f, vec![a, b])
}

/// `a + b`, flat.
pub fn add(a: T, b: T) -> T {
    let mut terms = match &*a {
        Term::Add(terms) => terms.clone(),
        _ => vec![a],
    };
    match &*b {
        Term::Add(more) => terms.extend(more.iter().cloned()),
        _ => terms.push(b),
    }
    Arc::new(Term::Add(terms))
}

/// `a * b`, flat.
pub fn mul(a: T, b: T) -> T {
    let mut factors = factors(a);
    factors.extend(self::factors(b));
    Term::product(factors)
}

/// The factors of a product.
pub fn factors(t: T) -> Vec<T> {
    match &*t {
        Term::Sum { axes, factors } if axes.is_empty() => factors.clone(),
        _ => vec![t],
    }
}

/// A value that is not what is needed here.
pub fn expected(span: Span, what: &str, value: &Value) -> Diagnostic {
    let found = match value {
        Value::Poison => "nothing",
        Value::Int(_) => "an integer",
        Value::Real(_) => "a real number",
        Value::Bool(_) => "a condition",
        Value::Complex(..) => "a complex number",
    };
    Diagnostic::error(
        "wrong-kind",
        span,
        format!("expected {what}, found {found}"),
    )
    .at(format!("this is {found}"))
}
