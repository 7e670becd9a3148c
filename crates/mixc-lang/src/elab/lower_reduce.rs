//! Reductions, softmax, cumulative sums, and counting by rank.

use super::hir::*;
use super::lower::Lower;
use super::value::*;
use crate::builtins::Reduction;
use mixc_ir::{Func, Ix, Name, ReduceOp, T, Term};
use mixc_text::Span;
use std::sync::Arc;

impl Lower<'_> {
    pub(super) fn reduce(&mut self, r: Reduction, vars: &[VarId], args: &[H], span: Span) -> Value {
        if !r.binds() {
            return self.along(r, vars, args, span);
        }
        let body = &args[0];
        let outer: Vec<Option<Name>> = vars.iter().map(|v| self.axis_of.get(v).cloned()).collect();
        let axes: Vec<Name> = vars.iter().map(|v| self.bind(*v)).collect();
        let value = match r {
            Reduction::Argmax | Reduction::Argmin => self.arg_extremum(r, vars[0], body),
            _ => self.fold(r, axes, body),
        };
        // The same function may be expanded inside its own argument.
        for (var, old) in vars.iter().zip(outer) {
            match old {
                Some(axis) => self.axis_of.insert(*var, axis),
                None => self.axis_of.remove(var),
            };
        }
        value
    }

    /// A fresh axis for a variable.
    fn bind(&mut self, var: VarId) -> Name {
        let axis = self.axes.fresh(&self.vars[var.0].name, &self.sizes[var.0]);
        self.axis_of.insert(var, axis.clone());
        axis
    }

    fn fold(&mut self, r: Reduction, axes: Vec<Name>, body: &H) -> Value {
        match (r, self.expr(body)) {
            (_, Value::Poison) => Value::Poison,
            (Reduction::Sum | Reduction::Mean, Value::Complex(re, im)) => {
                let part = |t: T| self.mean_if(r, &axes, sum(&axes, t));
                let (re, im) = (part(re), part(im));
                Value::Complex(re, im)
            }
            (Reduction::Sum, Value::Int(i)) => Value::Int(Int {
                divided: i.divided,
                ..Int::term(sum(&axes, i.real()))
            }),
            (Reduction::Sum, Value::Bool(t)) => Value::Int(Int::term(sum(&axes, t))),
            (Reduction::Sum | Reduction::Mean, value) => {
                let t = self.real(value, body.span);
                Value::Real(self.mean_if(r, &axes, sum(&axes, t)))
            }
            (Reduction::Any | Reduction::All, Value::Bool(t)) => {
                let counted = if r == Reduction::Any {
                    t
                } else {
                    map1(Func::Not, t)
                };
                let count = sum(&axes, counted);
                Value::Bool(if r == Reduction::Any {
                    map2(Func::Lt, Term::zero(), count)
                } else {
                    map2(Func::Eq, count, Term::zero())
                })
            }
            (Reduction::Any | Reduction::All, other) => {
                let error = expected(body.span, "a condition", &other)
                    .help("compare it with something, for example `!= 0`");
                self.fail(error)
            }
            (Reduction::Max | Reduction::Min | Reduction::Prod, Value::Int(i)) => Value::Int(Int {
                divided: i.divided,
                ..Int::term(reduction(r, axes, i.real()))
            }),
            (Reduction::Max | Reduction::Min | Reduction::Prod, Value::Bool(t)) => {
                Value::Int(Int::term(reduction(r, axes, t)))
            }
            (_, value) => {
                let t = self.real(value, body.span);
                Value::Real(reduction(r, axes, t))
            }
        }
    }

    /// mean = sum / number of positions.
    fn mean_if(&self, r: Reduction, axes: &[Name], total: T) -> T {
        if r != Reduction::Mean {
            return total;
        }
        let count = axes
            .iter()
            .map(|a| self.axes.sizes[a].clone())
            .reduce(|a, b| a * b);
        map2(Func::Div, total, index(count.unwrap_or(Ix::Const(1))))
    }

    /// Functions of a variable that comes from outside.
    fn along(&mut self, r: Reduction, vars: &[VarId], args: &[H], span: Span) -> Value {
        let axes: Option<Vec<Name>> = vars.iter().map(|v| self.axis_of.get(v).cloned()).collect();
        let Some(axes) = axes else {
            return Value::Poison;
        };
        match r {
            Reduction::Softmax => {
                let score = self.real_expr(&args[0]);
                Value::Real(Arc::new(Term::Softmax {
                    axes,
                    score,
                    mask: Term::one(),
                }))
            }
            Reduction::Rank => Value::Int(Int::term(self.rank(vars[0], &args[0], false))),
            Reduction::Topk => {
                let rank = self.rank(vars[0], &args[0], false);
                let k = match self.expr(&args[1]) {
                    Value::Int(Int { ix: Some(ix), .. }) => index(ix),
                    other => self.real(other, args[1].span),
                };
                Value::Bool(map2(Func::Lt, rank, k))
            }
            _ => self.cumulative(r, axes[0].clone(), &args[0], span),
        }
    }

    fn cumulative(&mut self, r: Reduction, axis: Name, body: &H, span: Span) -> Value {
        let build = |body: T| -> T {
            Arc::new(match r {
                Reduction::Cumsum => Term::CumSum {
                    axis: axis.clone(),
                    body,
                },
                _ => Term::CumProd {
                    axis: axis.clone(),
                    exclusive: false,
                    body,
                },
            })
        };
        match self.expr(body) {
            Value::Poison => Value::Poison,
            Value::Int(i) => Value::Int(Int {
                divided: i.divided,
                ..Int::term(build(i.real()))
            }),
            Value::Bool(t) => Value::Int(Int::term(build(t))),
            Value::Complex(re, im) if r == Reduction::Cumsum => {
                Value::Complex(build(re), build(im))
            }
            value => Value::Real(build(self.real(value, span))),
        }
    }

    /// How many positions come before this one in descending order: those with a larger value, and
    /// earlier ones with an equal value. The body is written a second time over a copy of the axis.
    fn rank(&mut self, var: VarId, body: &H, ascending: bool) -> T {
        let here = self.real_expr(body);
        let Some(axis) = self.axis_of.get(&var).cloned() else {
            return Term::zero();
        };
        let copy = self.bind(var);
        let there = self.real_expr(body);
        self.axis_of.insert(var, axis.clone());
        let ahead = if ascending {
            map2(Func::Lt, there.clone(), here.clone())
        } else {
            map2(Func::Lt, here.clone(), there.clone())
        };
        let earlier = map2(
            Func::Lt,
            index(Ix::Axis(copy.clone())),
            index(Ix::Axis(axis)),
        );
        let tie = map2(Func::And, map2(Func::Eq, there, here), earlier);
        Term::sum(vec![copy], vec![map2(Func::Or, ahead, tie)])
    }

    /// The position of rank 0, as a sum with one term that counts.
    fn arg_extremum(&mut self, r: Reduction, var: VarId, body: &H) -> Value {
        let rank = self.rank(var, body, r == Reduction::Argmin);
        let Some(axis) = self.axis_of.get(&var).cloned() else {
            return Value::Poison;
        };
        let first = map2(Func::Eq, rank, Term::zero());
        Value::Int(Int::term(Term::sum(
            vec![axis.clone()],
            vec![first, index(Ix::Axis(axis))],
        )))
    }
}

/// Sum of the factors of a term over axes.
fn sum(axes: &[Name], t: T) -> T {
    Term::sum(axes.to_vec(), factors(t))
}

fn reduction(r: Reduction, axes: Vec<Name>, body: T) -> T {
    let op = match r {
        Reduction::Max => ReduceOp::Max,
        Reduction::Min => ReduceOp::Min,
        Reduction::Prod => ReduceOp::Prod,
        _ => ReduceOp::Lse,
    };
    Arc::new(Term::Reduce {
        op,
        axes,
        mask: Term::one(),
        body,
    })
}
