//! Operators on integers, reals, conditions and complex numbers.

use super::complex::{self};
use super::hir::*;
use super::lower::Lower;
use super::lower_expr::nonzero;
use super::value::*;
use crate::ast::{BinOp, CmpOp};
use mixc_ir::{Func, Ix, T, Term};
use mixc_text::{Diagnostic, Span};

impl Lower<'_> {
    pub(super) fn negate(&mut self, a: &H) -> Value {
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

    pub(super) fn binary(&mut self, op: BinOp, a: &H, b: &H, span: Span) -> Value {
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

    pub(super) fn integers(
        &mut self,
        op: BinOp,
        x: Int,
        y: Int,
        divisor: Span,
        span: Span,
    ) -> Value {
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

    pub(super) fn complexes(
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

    pub(super) fn compare(&mut self, op: CmpOp, a: &H, b: &H) -> Value {
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

    pub(super) fn choice(&mut self, then: &H, cond: &H, other: &H) -> Value {
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
}

fn negated_constant(t: &T) -> T {
    match **t {
        Term::Const(v) => Term::constant(-v),
        _ => t.clone(),
    }
}
