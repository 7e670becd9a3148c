//! Functions of values.

use super::complex::{self};
use super::hir::*;
use super::lower::Lower;
use super::value::*;
use crate::builtins::Fun;
use mixc_ir::{Func, Ix, T, Term};
use mixc_text::{Diagnostic, Span};

impl Lower<'_> {
    pub(super) fn call(&mut self, fun: Fun, args: &[H], span: Span) -> Value {
        let values: Vec<Value> = args.iter().map(|a| self.expr(a)).collect();
        if values.iter().any(|v| matches!(v, Value::Poison)) {
            return Value::Poison;
        }
        let Some(first) = values.first().cloned() else {
            return Value::Poison;
        };
        match (fun, first) {
            (Fun::Min | Fun::Max, _) => self.extremum(fun, values, args),
            (Fun::Real, Value::Int(i)) => Value::Real(i.real()),
            (Fun::Real, value) => Value::Real(self.real(value, span)),
            (Fun::Int, Value::Bool(t)) => Value::Int(Int::term(t)),
            (Fun::Int, value @ Value::Int(_)) => value,
            (Fun::Int, value) => self.fail(
                expected(args[0].span, "a condition", &value)
                    .help("round a real number with `floor(...)`"),
            ),
            (Fun::Complex, _) => {
                let mut parts = values
                    .into_iter()
                    .zip(args)
                    .map(|(v, a)| self.real(v, a.span));
                let re = parts.next().unwrap_or_else(Term::zero);
                Value::Complex(re, parts.next().unwrap_or_else(Term::zero))
            }
            (Fun::Expi, value) => {
                let angle = self.real(value, args[0].span);
                let (re, im) = complex::expi(&angle);
                Value::Complex(re, im)
            }
            (Fun::Re | Fun::Im | Fun::Conj, value) => {
                let pair = self.complex(value, args[0].span);
                match fun {
                    Fun::Re => Value::Real(pair.0),
                    Fun::Im => Value::Real(pair.1),
                    _ => {
                        let (re, im) = complex::conj(&pair);
                        Value::Complex(re, im)
                    }
                }
            }
            (Fun::Map(f), value) => self.elementwise(f, value, values, args, span),
        }
    }

    pub(super) fn elementwise(
        &mut self,
        f: Func,
        first: Value,
        values: Vec<Value>,
        args: &[H],
        span: Span,
    ) -> Value {
        let rounds = matches!(f, Func::Floor | Func::Ceil | Func::Round);
        match (f, first) {
            (_, Value::Int(i)) if rounds => Value::Int(Int { divided: None, ..i }),
            (
                Func::Abs,
                Value::Int(Int {
                    ix: Some(ix),
                    divided,
                    ..
                }),
            ) => {
                let term = map1(Func::Abs, index(ix.clone()));
                let negative = Ix::Const(0) - ix.clone();
                Value::Int(Int {
                    ix: Some(ix.max(negative)),
                    term,
                    divided,
                })
            }
            (Func::Abs, Value::Int(i)) => Value::Int(Int::term(map1(Func::Abs, i.term))),
            (Func::Abs, Value::Complex(re, im)) => Value::Real(complex::abs(&(re, im))),
            (Func::Exp, Value::Complex(re, im)) => {
                let (re, im) = complex::exp(&(re, im));
                Value::Complex(re, im)
            }
            (_, Value::Complex(..)) => {
                let error = Diagnostic::error(
                    "complex-operator",
                    span,
                    format!("`{}` is not defined for complex numbers", f.name()),
                )
                .note("defined for them: + - * / exp abs re im conj, sums and choices")
                .help("take `re(...)`, `im(...)` or `abs(...)` first");
                self.fail(error)
            }
            _ => {
                let args = values
                    .into_iter()
                    .zip(args)
                    .map(|(v, a)| self.real(v, a.span))
                    .collect();
                let term = Term::map(f, args);
                if rounds {
                    Value::Int(Int::term(term))
                } else {
                    Value::Real(term)
                }
            }
        }
    }

    pub(super) fn extremum(&mut self, fun: Fun, values: Vec<Value>, args: &[H]) -> Value {
        let f = if fun == Fun::Min {
            Func::Min
        } else {
            Func::Max
        };
        let ints: Option<Vec<Int>> = values
            .iter()
            .map(|v| {
                if let Value::Int(i) = v {
                    Some(i.clone())
                } else {
                    None
                }
            })
            .collect();
        if let Some(ints) = ints {
            let divided = ints.iter().find_map(|i| i.divided);
            let ix: Option<Vec<Ix>> = ints.iter().map(|i| i.ix.clone()).collect();
            let value = match ix {
                Some(list) => list
                    .into_iter()
                    .reduce(|a, b| if f == Func::Min { a.min(b) } else { a.max(b) })
                    .map(Int::index),
                None => ints
                    .into_iter()
                    .map(|i| i.real())
                    .reduce(|a, b| map2(f, a, b))
                    .map(Int::term),
            };
            return value.map_or(Value::Poison, |v| Value::Int(Int { divided, ..v }));
        }
        let reals: Vec<T> = values
            .into_iter()
            .zip(args)
            .map(|(v, a)| self.real(v, a.span))
            .collect();
        reals
            .into_iter()
            .reduce(|a, b| map2(f, a, b))
            .map_or(Value::Poison, Value::Real)
    }
}
