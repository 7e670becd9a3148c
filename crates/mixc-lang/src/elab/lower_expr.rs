//! Expressions to terms, with the kinds of their values.

use super::complex::{self, Pair};
use super::hir::*;
use super::kinds::{Type, tensor_type};
use super::lower::{CoreName, Lower};
use super::value::*;
use crate::ast::{BinOp, CmpOp};
use crate::builtins::Fun;
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

    fn expr_unweighed(&mut self, h: &H) -> Value {
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

    fn positions(&mut self, index: &[H]) -> Option<Vec<Ix>> {
        let all: Vec<Option<Ix>> = index.iter().map(|h| self.position(h)).collect();
        all.into_iter().collect()
    }

    // ---- reads ----

    fn input(&mut self, tensor: usize, index: &[H]) -> Value {
        let name = self.header.tensors[tensor].tensor.name.clone();
        let Some(ix) = self.positions(index) else {
            return Value::Poison;
        };
        element(tensor_type(self.header, tensor), &name, ix)
    }

    fn local(&mut self, sym: SymId, index: &[H], captured: &[(Name, VarId)]) -> Value {
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

    fn captured_index(&self, size: &Name, captured: &[(Name, VarId)]) -> Option<Ix> {
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

    // ---- operators ----

    fn negate(&mut self, a: &H) -> Value {
        match self.expr(a) {
            Value::Poison => Value::Poison,
            Value::Int(Int {
                ix: Some(ix),
                divided,
                ..
            }) => Value::Int(Int {
                divided,
                ..Int::index(Ix::Const(0) - ix)
            }),
            Value::Int(i) => Value::Int(Int::term(map1(Func::Neg, i.term))),
            Value::Complex(re, im) => Value::Complex(map1(Func::Neg, re), map1(Func::Neg, im)),
            other => match self.real(other, a.span) {
                t if matches!(*t, Term::Const(_)) => Value::Real(negated_constant(&t)),
                t => Value::Real(map1(Func::Neg, t)),
            },
        }
    }

    fn binary(&mut self, op: BinOp, a: &H, b: &H, span: Span) -> Value {
        if matches!(op, BinOp::And | BinOp::Or) {
            let (x, y) = (self.condition(a), self.condition(b));
            let f = if op == BinOp::And {
                Func::And
            } else {
                Func::Or
            };
            return match (x, y) {
                (Some(x), Some(y)) => Value::Bool(map2(f, x, y)),
                _ => Value::Poison,
            };
        }
        match (self.expr(a), self.expr(b)) {
            (Value::Poison, _) | (_, Value::Poison) => Value::Poison,
            (Value::Int(x), Value::Int(y)) if op != BinOp::Pow => {
                self.integers(op, x, y, b.span, span)
            }
            (x @ Value::Complex(..), y) | (x, y @ Value::Complex(..)) => {
                self.complexes(op, (x, a.span), (y, b.span), span)
            }
            (x, y) => {
                let (x, y) = (self.real(x, a.span), self.real(y, b.span));
                Value::Real(match op {
                    BinOp::Add => add(x, y),
                    BinOp::Sub => map2(Func::Sub, x, y),
                    BinOp::Mul => mul(x, y),
                    BinOp::Div => map2(Func::Div, x, y),
                    BinOp::Mod => map2(Func::Mod, x, y),
                    BinOp::Pow | BinOp::And | BinOp::Or => map2(Func::Pow, x, y),
                })
            }
        }
    }

    fn integers(&mut self, op: BinOp, x: Int, y: Int, divisor: Span, span: Span) -> Value {
        if matches!(op, BinOp::Div | BinOp::Mod) && y.ix == Some(Ix::Const(0)) {
            return self.fail(
                Diagnostic::error("zero-division", divisor, "division by zero")
                    .help("divide by a size or a positive number"),
            );
        }
        let divided = x
            .divided
            .or(y.divided)
            .or((op == BinOp::Div).then_some(span));
        if let (Some(a), Some(b)) = (x.ix, y.ix) {
            let ix = match op {
                BinOp::Add => a + b,
                BinOp::Sub => a - b,
                BinOp::Mul => a * b,
                BinOp::Div => a / b,
                _ => a % b,
            };
            return Value::Int(Int {
                divided,
                ..Int::index(ix)
            });
        }
        let term = match op {
            BinOp::Add => add(x.term, y.term),
            BinOp::Sub => map2(Func::Sub, x.term, y.term),
            BinOp::Mul => mul(x.term, y.term),
            BinOp::Div => map1(Func::Floor, map2(Func::Div, x.term, y.term)),
            _ => map2(Func::Mod, x.term, y.term),
        };
        Value::Int(Int {
            divided,
            ..Int::term(term)
        })
    }

    fn complexes(
        &mut self,
        op: BinOp,
        (x, at_x): (Value, Span),
        (y, at_y): (Value, Span),
        span: Span,
    ) -> Value {
        let (left_real, right_real) = (
            !matches!(x, Value::Complex(..)),
            !matches!(y, Value::Complex(..)),
        );
        let all_complex = !left_real && !right_real;
        let (x, y) = (self.complex(x, at_x), self.complex(y, at_y));
        let (re, im) = match op {
            // A real operand leaves the imaginary part alone.
            BinOp::Add if left_real => (add(x.0, y.0), y.1),
            BinOp::Add if right_real => (add(x.0, y.0), x.1),
            BinOp::Add => (add(x.0, y.0), add(x.1, y.1)),
            BinOp::Sub if left_real => (map2(Func::Sub, x.0, y.0), map1(Func::Neg, y.1)),
            BinOp::Sub if right_real => (map2(Func::Sub, x.0, y.0), x.1),
            BinOp::Sub => (map2(Func::Sub, x.0, y.0), map2(Func::Sub, x.1, y.1)),
            BinOp::Mul if all_complex => complex::times(&x, &y),
            BinOp::Mul if right_real => complex::scale(&x, &y.0),
            BinOp::Mul => complex::scale(&y, &x.0),
            BinOp::Div if right_real => complex::divide_real(&x, &y.0),
            BinOp::Div => complex::divide(&x, &y),
            BinOp::Mod | BinOp::Pow | BinOp::And | BinOp::Or => {
                let error = Diagnostic::error(
                    "complex-operator",
                    span,
                    format!("`{}` is not defined for complex numbers", op.symbol()),
                )
                .help("a power is `exp(n * z)`, with z the logarithm of the base");
                return self.fail(error);
            }
        };
        Value::Complex(re, im)
    }

    fn compare(&mut self, op: CmpOp, a: &H, b: &H) -> Value {
        let (x, y) = match (self.expr(a), self.expr(b)) {
            (Value::Poison, _) | (_, Value::Poison) => return Value::Poison,
            // Integer comparisons are masks: they stay on index expressions.
            (Value::Int(Int { ix: Some(x), .. }), Value::Int(Int { ix: Some(y), .. })) => {
                (index(x), index(y))
            }
            (Value::Int(x), Value::Int(y)) => (x.term, y.term),
            (x, y) => (self.real(x, a.span), self.real(y, b.span)),
        };
        Value::Bool(match op {
            CmpOp::Lt => map2(Func::Lt, x, y),
            CmpOp::Le => map2(Func::Le, x, y),
            CmpOp::Gt => map2(Func::Lt, y, x),
            CmpOp::Ge => map2(Func::Le, y, x),
            CmpOp::Eq => map2(Func::Eq, x, y),
            CmpOp::Ne => map2(Func::Ne, x, y),
        })
    }

    fn choice(&mut self, then: &H, cond: &H, other: &H) -> Value {
        let c = self.condition(cond);
        let (x, y) = (self.expr(then), self.expr(other));
        let Some(c) = c else { return Value::Poison };
        let select = |x: T, y: T| Term::map(Func::Select, vec![c.clone(), x, y]);
        match (x, y) {
            (Value::Poison, _) | (_, Value::Poison) => Value::Poison,
            (Value::Int(x), Value::Int(y)) => {
                let divided = x.divided.or(y.divided);
                Value::Int(Int {
                    divided,
                    ..Int::term(select(x.real(), y.real()))
                })
            }
            (Value::Bool(x), Value::Bool(y)) => Value::Bool(nonzero(select(x, y))),
            (x @ Value::Complex(..), y) | (x, y @ Value::Complex(..)) => {
                let (x, y) = (self.complex(x, then.span), self.complex(y, other.span));
                Value::Complex(select(x.0, y.0), select(x.1, y.1))
            }
            (x, y) => Value::Real(select(self.real(x, then.span), self.real(y, other.span))),
        }
    }

    // ---- functions ----

    fn call(&mut self, fun: Fun, args: &[H], span: Span) -> Value {
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

    fn elementwise(
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

    fn extremum(&mut self, fun: Fun, values: Vec<Value>, args: &[H]) -> Value {
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
fn nonzero(t: T) -> T {
    map2(Func::Ne, t, Term::zero())
}

fn negated_constant(t: &T) -> T {
    match **t {
        Term::Const(v) => Term::constant(-v),
        _ => t.clone(),
    }
}
