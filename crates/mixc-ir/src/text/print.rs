//! Printing terms. The parser reads back the same term, node for node.

use super::{RESERVED, is_identifier};
use crate::{Func, Ix, ReduceOp, T, Term};
use std::fmt::{self, Display, Formatter, Write};

// How tightly a term binds; an operand is put in parentheses unless it binds tightly enough.
const OR: u8 = 0;
const AND: u8 = 1;
const COMPARE: u8 = 2;
const ADD: u8 = 3;
const MUL: u8 = 4;
const UNARY: u8 = 5;
const ATOM: u8 = 6;

fn level(term: &Term) -> u8 {
    match term {
        Term::Map { f, args } if args.len() == f.arity() => match f {
            Func::Or => OR,
            Func::And => AND,
            Func::Lt | Func::Le | Func::Eq | Func::Ne => COMPARE,
            Func::Sub => ADD,
            Func::Div => MUL,
            Func::Neg if !matches!(*args[0], Term::Const(_)) => UNARY,
            _ => ATOM,
        },
        Term::Add(args) if args.len() > 1 => ADD,
        Term::Sum { axes, factors } if axes.is_empty() && factors.len() > 1 => MUL,
        _ => ATOM,
    }
}

impl Display for Term {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Term::Const(value) => number(*value, f),
            Term::Scalar(name) => word(name, f),
            Term::Index(ix) if ix.operands().is_none() => write!(f, "#{ix}"),
            Term::Index(ix @ (Ix::Min(..) | Ix::Max(..))) => write!(f, "#{ix}"),
            Term::Index(ix) => write!(f, "#({ix})"),
            Term::Read { tensor, index } => {
                word(tensor, f)?;
                write!(f, "[{}]", list(index))
            }
            Term::Map { f: func, args } => map(*func, args, f),
            Term::Add(args) => match args.len() {
                0 | 1 => call("add", args, f),
                _ => chain(" + ", args, ADD, f),
            },
            Term::Sum { axes, factors } if axes.is_empty() => match factors.len() {
                0 | 1 => call("mul", factors, f),
                _ => chain(" * ", factors, MUL, f),
            },
            Term::Sum { axes, factors } => {
                write!(f, "sum[{}](", list(axes))?;
                match factors.as_slice() {
                    [] => {}
                    // One factor that is itself a product would be read as its factors.
                    [one] if is_product(one) => write!(f, "({one})")?,
                    [one] => write!(f, "{one}")?,
                    many => chain(" * ", many, MUL, f)?,
                }
                f.write_char(')')
            }
            Term::Reduce {
                op,
                axes,
                mask,
                body,
            } => {
                write!(f, "{}[{}]({body}", reduce_name(*op), list(axes))?;
                masked(mask, f)
            }
            Term::Softmax { axes, score, mask } => {
                write!(f, "softmax[{}]({score}", list(axes))?;
                masked(mask, f)
            }
            Term::Online {
                axes,
                score,
                mask,
                value,
            } => {
                write!(f, "online[{}]({score}, {value}", list(axes))?;
                masked(mask, f)
            }
            Term::Ss {
                j,
                i,
                strict,
                decay,
            } => write!(f, "ss[{j} {} {i}]({decay})", order(*strict)),
            Term::Scan {
                j,
                i,
                strict,
                decay,
                input,
                init,
            } => {
                write!(
                    f,
                    "scan[{j} {} {i}]({decay}, {input}, {init})",
                    order(*strict)
                )
            }
            Term::Last {
                j,
                decay,
                input,
                init,
            } => write!(f, "last[{j}]({decay}, {input}, {init})"),
            Term::CumProd {
                axis,
                exclusive: false,
                body,
            } => write!(f, "cumprod[{axis}]({body})"),
            Term::CumProd {
                axis,
                exclusive: true,
                body,
            } => write!(f, "cumprod_before[{axis}]({body})"),
            Term::SufProd { axis, body } => write!(f, "cumprod_after[{axis}]({body})"),
            Term::CumSum { axis, body } => write!(f, "cumsum[{axis}]({body})"),
            Term::Merge {
                axis,
                outer,
                inner,
                body,
            } => {
                write!(f, "merge[{axis} = {outer}, {inner}]({body})")
            }
        }
    }
}

fn is_product(term: &Term) -> bool {
    matches!(term, Term::Sum { axes, factors } if axes.is_empty() && factors.len() > 1)
}

fn reduce_name(op: ReduceOp) -> &'static str {
    match op {
        ReduceOp::Max => "max",
        ReduceOp::Min => "min",
        ReduceOp::Prod => "prod",
        ReduceOp::Lse => "lse",
    }
}

fn order(strict: bool) -> &'static str {
    if strict { "<" } else { "<=" }
}

fn masked(mask: &T, f: &mut Formatter<'_>) -> fmt::Result {
    if mask.is_const(1.0) {
        f.write_char(')')
    } else {
        write!(f, " if {mask})")
    }
}

/// The shortest decimal that reads back as the same f64.
fn number(value: f64, f: &mut Formatter<'_>) -> fmt::Result {
    if value.is_nan() {
        f.write_str("nan")
    } else if value.fract() == 0.0 && value.abs() < 1e15 {
        write!(f, "{value}")
    } else {
        write!(f, "{value:?}")
    }
}

pub(super) fn word(name: &str, f: &mut Formatter<'_>) -> fmt::Result {
    if is_identifier(name) && !RESERVED.contains(&name) {
        f.write_str(name)
    } else {
        write!(f, "\"{name}\"")
    }
}

pub(super) fn list(items: &[impl Display]) -> String {
    items
        .iter()
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

fn call(name: &str, args: &[T], f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "{name}({})", list(args))
}

fn operand(term: &T, least: u8, f: &mut Formatter<'_>) -> fmt::Result {
    if level(term) < least {
        write!(f, "({term})")
    } else {
        write!(f, "{term}")
    }
}

/// An n-ary node: every operand binds tighter than the operator.
fn chain(symbol: &str, args: &[T], own: u8, f: &mut Formatter<'_>) -> fmt::Result {
    for (n, arg) in args.iter().enumerate() {
        if n > 0 {
            f.write_str(symbol)?;
        }
        operand(arg, own + 1, f)?;
    }
    Ok(())
}

fn map(func: Func, args: &[T], f: &mut Formatter<'_>) -> fmt::Result {
    let symbol = match (func, args) {
        (Func::Neg, [x]) if !matches!(**x, Term::Const(_)) => {
            f.write_char('-')?;
            return operand(x, UNARY, f);
        }
        (Func::Or, [_, _]) => "or",
        (Func::And, [_, _]) => "and",
        (Func::Lt, [_, _]) => "<",
        (Func::Le, [_, _]) => "<=",
        (Func::Eq, [_, _]) => "==",
        (Func::Ne, [_, _]) => "!=",
        (Func::Sub, [_, _]) => "-",
        (Func::Div, [_, _]) => "/",
        _ => return call(func.name(), args, f),
    };
    let own = match func {
        Func::Or => OR,
        Func::And => AND,
        Func::Sub => ADD,
        Func::Div => MUL,
        _ => COMPARE,
    };
    // The operators that are functions group to the left; comparisons do not group.
    let same = matches!(&*args[0], Term::Map { f: inner, .. } if *inner == func) && own != COMPARE;
    operand(&args[0], if same { own } else { own + 1 }, f)?;
    write!(f, " {symbol} ")?;
    operand(&args[1], own + 1, f)
}
