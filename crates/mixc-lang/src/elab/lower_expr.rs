//! Expressions to terms, with the kinds of their values.

use super::complex::{self, Pair};
use super::hir::*;
use super::kinds::{Type, tensor_type};
use super::lower::{CoreName, Lower};
use super::value::*;
use mixc_ir::{Func, Ix, Name, T, Term};
use mixc_text::{Diagnostic, Span};
use std::collections::HashMap;
use std::sync::Arc;

/// Terms share their parts, but whoever walks one walks the whole tree.
const MAX_WEIGHT: usize = 50_000;

/// Sizes of terms as trees, by address; the terms are kept alive so that addresses stay theirs.
#[derive(Default)]
pub struct Weights(HashMap<usize, (T, usize)>);

impl Weights {
    fn of(&mut self, t: &T) -> usize {
        let key = Arc::as_ptr(t) as usize;
        if let Some((_, weight)) = self.0.get(&key) {
            return *weight;
        }
        let weight = t
            .children()
            .into_iter()
            .fold(1usize, |w, c| w.saturating_add(self.of(c)));
        self.0.insert(key, (t.clone(), weight));
        weight
    }
}

impl Lower<'_> {
    pub(super) fn fail(&mut self, error: Diagnostic) -> Value {
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
        Value::Poison
    }

    pub(super) fn expr(&mut self, h: &H) -> Value {
        let value = self.expr_unweighed(h);
        let parts: &[&T] = match &value {
            Value::Poison => &[],
            Value::Int(i) => &[&i.term],
            Value::Real(t) | Value::Bool(t) => &[t],
            Value::Complex(re, im) => &[re, im],
        };
        if parts.iter().any(|t| self.weights.of(t) > MAX_WEIGHT) {
            let error = Diagnostic::error("too-large", h.span, "this expression becomes too large")
                .help("name parts of it as local tensors: `x[i, j] = ...`");
            return self.fail(error);
        }
        value
    }

    pub(super) fn expr_unweighed(&mut self, h: &H) -> Value {
        let span = h.span;
        match &h.kind {
            HirKind::Poison => Value::Poison,
            HirKind::Int(value) => Value::Int(Int::index(Ix::Const(*value))),
            HirKind::Real(value) => Value::Real(Term::constant(*value)),
            HirKind::Bool(value) => Value::Bool(Term::constant(f64::from(*value))),
            HirKind::Var(var) => match self.axis_of.get(var) {
                Some(axis) => Value::Int(Int::index(Ix::Axis(axis.clone()))),
                None => Value::Poison,
            },
            HirKind::Batch(size) => match self.batch_index(size) {
                Some(ix) => Value::Int(Int::index(ix)),
                None => Value::Poison,
            },
            HirKind::Size(name) => Value::Int(Int::index(Ix::Dim(name.clone()))),
            HirKind::RealScalar(name) => Value::Real(Arc::new(Term::Scalar(name.clone()))),
            HirKind::BoolScalar(name) => Value::Bool(nonzero(Arc::new(Term::Scalar(name.clone())))),
            HirKind::Tensor { tensor, index } => self.input(*tensor, index),
            HirKind::Local {
                sym,
                index,
                captured,
            } => self.local(*sym, index, captured),
            HirKind::Neg(a) => self.negate(a),
            HirKind::Not(a) => match self.condition(a) {
                Some(c) => Value::Bool(map1(Func::Not, c)),
                None => Value::Poison,
            },
            HirKind::Bin(op, a, b) => self.binary(*op, a, b, span),
            HirKind::Cmp(op, a, b) => self.compare(*op, a, b),
            HirKind::If { then, cond, other } => self.choice(then, cond, other),
            HirKind::Call(fun, args) => self.call(*fun, args, span),
            HirKind::Reduce(r, vars, args) => self.reduce(*r, vars, args, span),
        }
    }

    // ---- conversions ----

    pub(super) fn real(&mut self, value: Value, span: Span) -> T {
        match value {
            Value::Poison => Term::zero(),
            Value::Int(i) => {
                if let Some(place) = i.divided {
                    let error = Diagnostic::error("integer-division", place, "the quotient of two integers is rounded down, and a real number is needed here")
                        .at("this is an integer")
                        .help("write `real(a) / b` for the exact quotient, or `floor(a / b)` if rounding down is meant");
                    self.fail(error);
                }
                i.real()
            }
            Value::Real(t) | Value::Bool(t) => t,
            Value::Complex(..) => {
                let error = expected(span, "a real number", &value)
                    .help("take `re(...)`, `im(...)` or `abs(...)`");
                self.fail(error);
                Term::zero()
            }
        }
    }

    pub(super) fn complex(&mut self, value: Value, span: Span) -> Pair {
        match value {
            Value::Complex(re, im) => (re, im),
            other => complex::real(self.real(other, span)),
        }
    }

    pub(super) fn real_expr(&mut self, h: &H) -> T {
        let value = self.expr(h);
        self.real(value, h.span)
    }

    pub(super) fn condition(&mut self, h: &H) -> Option<T> {
        match self.expr(h) {
            Value::Bool(t) => Some(t),
            Value::Poison => None,
            other => {
                let error = expected(h.span, "a condition", &other)
                    .help("compare it with something, for example `!= 0`");
                self.fail(error);
                None
            }
        }
    }

    /// An index expression.
    pub(super) fn position(&mut self, h: &H) -> Option<Ix> {
        match self.expr(h) {
            Value::Int(Int { ix: Some(ix), .. }) => Some(ix),
            Value::Poison => None,
            Value::Int(_) => {
                let error = Diagnostic::error("computed-index", h.span, "this integer cannot be used as an index directly")
                    .note("indices are made of index variables, sizes, integer parameters, integer tensors and `+ - * / % min max`")
                    .help("give it a name first: `at[i] = ...`, then index by `at[i]`");
                self.fail(error);
                None
            }
            other => {
                let error = expected(h.span, "an integer index", &other).help(
                    "indices are integers: round with `floor(...)` into a local tensor first",
                );
                self.fail(error);
                None
            }
        }
    }

    pub(super) fn positions(&mut self, index: &[H]) -> Option<Vec<Ix>> {
        let all: Vec<Option<Ix>> = index.iter().map(|h| self.position(h)).collect();
        all.into_iter().collect()
    }

    // ---- reads ----

    pub(super) fn input(&mut self, tensor: usize, index: &[H]) -> Value {
        let name = self.header.tensors[tensor].tensor.name.clone();
        let Some(ix) = self.positions(index) else {
            return Value::Poison;
        };
        element(tensor_type(self.header, tensor), &name, ix)
    }

    pub(super) fn local(&mut self, sym: SymId, index: &[H], captured: &[(Name, VarId)]) -> Value {
        let mut ix = vec![];
        for size in self.batch_of(sym) {
            let Some(position) = self
                .captured_index(&size, captured)
                .or_else(|| self.batch_index(&size))
            else {
                return Value::Poison;
            };
            ix.push(position);
        }
        let Some(own) = self.positions(index) else {
            return Value::Poison;
        };
        ix.extend(own);
        let read = |name: &Name| Term::read(name, ix.clone());
        match self.core_name(sym) {
            CoreName::Pair(re, im) => Value::Complex(read(&re), read(&im)),
            CoreName::One(name) => element(self.facts.types[sym.0], &name, ix),
        }
    }

    pub(super) fn captured_index(&self, size: &Name, captured: &[(Name, VarId)]) -> Option<Ix> {
        let axis = |name: &Name| {
            let (_, var) = captured.iter().rev().find(|(n, _)| n == name)?;
            self.axis_of.get(var).map(|a| Ix::Axis(a.clone()))
        };
        if let Some(found) = axis(size) {
            return Some(found);
        }
        let (outer, _) = self.header.groups.iter().find(|(_, g)| g == size)?;
        Some(axis(outer)? / (Ix::Dim(outer.clone()) / Ix::Dim(size.clone())))
    }
}

/// An element of a stored tensor.
fn element(ty: Type, name: &Name, ix: Vec<Ix>) -> Value {
    let read = |ix: Vec<Ix>| Term::read(name, ix);
    match ty {
        Type::Complex => {
            let part = |n: i64| read(ix.iter().cloned().chain([Ix::Const(n)]).collect());
            Value::Complex(part(0), part(1))
        }
        Type::Int => {
            let term = read(ix.clone());
            Value::Int(Int {
                ix: Some(Ix::Elem(name.clone(), ix)),
                term,
                divided: None,
            })
        }
        Type::Bool => Value::Bool(nonzero(read(ix))),
        Type::Real | Type::Unknown => Value::Real(read(ix)),
    }
}

/// Stored truth values count as predicates, so that they guard products.
pub(super) fn nonzero(t: T) -> T {
    map2(Func::Ne, t, Term::zero())
}
