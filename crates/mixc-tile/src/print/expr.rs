//! Expressions, with no more parentheses than they need.

use super::{Show, comma};
use crate::Expr;
use mixc_ir::Func;
use std::fmt::{self, Display, Formatter};

/// How tightly the operator at the top of an expression binds.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Level {
    Compare,
    Sum,
    Product,
    Sign,
    Primary,
}

/// `a symbol b`, if the expression is written so.
fn infix(expr: &Expr) -> Option<(&Expr, &'static str, &Expr, Level)> {
    match expr {
        Expr::Add(a, b) => Some((a, "+", b, Level::Sum)),
        Expr::Mul(a, b) => Some((a, "*", b, Level::Product)),
        Expr::Call(func, args) => {
            let [a, b] = args.as_slice() else { return None };
            let (symbol, level) = match func {
                Func::Sub => ("-", Level::Sum),
                Func::Div => ("/", Level::Product),
                Func::Lt => ("<", Level::Compare),
                Func::Le => ("<=", Level::Compare),
                Func::Eq => ("==", Level::Compare),
                Func::Ne => ("!=", Level::Compare),
                _ => return None,
            };
            Some((a, symbol, b, level))
        }
        _ => None,
    }
}

/// The operand of a leading `-`. A negated constant is written `neg(1.0)`, since `-1.0` is a constant.
fn negated(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::Call(Func::Neg, args) => match args.as_slice() {
            [Expr::Const(_)] => None,
            [arg] => Some(arg),
            _ => None,
        },
        _ => None,
    }
}

fn level(expr: &Expr) -> Level {
    match (infix(expr), negated(expr)) {
        (Some((.., level)), _) => level,
        (None, Some(_)) => Level::Sign,
        (None, None) => Level::Primary,
    }
}

impl Display for Show<'_, Expr> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let bufs = self.bufs;
        let operand = |f: &mut Formatter<'_>, node: &Expr, parenthesise: bool| {
            let show = Show {
                bufs,
                node,
                depth: 0,
            };
            if parenthesise {
                write!(f, "({show})")
            } else {
                write!(f, "{show}")
            }
        };
        if let Some((a, symbol, b, own)) = infix(self.node) {
            // Sums and products group to the left, comparisons do not chain.
            operand(
                f,
                a,
                level(a) < own || (own == Level::Compare && level(a) == own),
            )?;
            write!(f, " {symbol} ")?;
            return operand(f, b, level(b) <= own);
        }
        if let Some(arg) = negated(self.node) {
            write!(f, "-")?;
            return operand(f, arg, level(arg) < Level::Sign);
        }
        match self.node {
            Expr::Const(v) if v.is_nan() => write!(f, "nan"),
            // `{:?}` of a float is the shortest text that reads back as the same float.
            Expr::Const(v) => write!(f, "{v:?}"),
            Expr::Scalar(name) => write!(f, "{name}"),
            Expr::Elem(access) => write!(
                f,
                "{}",
                Show {
                    bufs,
                    node: access,
                    depth: 0
                }
            ),
            Expr::Index(ix) => write!(f, "int({ix})"),
            Expr::Call(func, args) => {
                write!(f, "{}(", func.name())?;
                comma(f, args, |f, node| {
                    write!(
                        f,
                        "{}",
                        Show {
                            bufs,
                            node,
                            depth: 0
                        }
                    )
                })?;
                write!(f, ")")
            }
            Expr::Add(..) | Expr::Mul(..) => unreachable!("bug: sums and products are infix"),
        }
    }
}
