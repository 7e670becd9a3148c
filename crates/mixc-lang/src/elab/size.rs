//! Size expressions of declarations and ranges.

use crate::ast::{BinOp, Expr, ExprKind};
use crate::parse::did_you_mean;
use mixc_ir::{Ix, Name};
use mixc_text::Diagnostic;

/// The value of `unlimited`: beyond every position, with room to add positions to it in 32 bits.
pub const UNLIMITED: i64 = 1 << 30;

/// What a size may be made of.
#[derive(Clone, Debug, Default)]
pub struct Sizes {
    /// In order of appearance.
    pub dims: Vec<Name>,
    /// Integer scalar parameters.
    pub ints: Vec<Name>,
}

impl Sizes {
    pub fn is_dim(&self, name: &str) -> bool {
        self.dims.iter().any(|d| &**d == name)
    }

    fn is_int(&self, name: &str) -> bool {
        self.ints.iter().any(|d| &**d == name)
    }

    /// The size, or the mistake in it. An `Ok(None)` was reported before.
    pub fn size(&self, expr: &Expr) -> Result<Option<Ix>, Diagnostic> {
        let both = |a: &Expr, b: &Expr| Ok::<_, Diagnostic>(self.size(a)?.zip(self.size(b)?));
        Ok(match &expr.kind {
            ExprKind::Error => None,
            ExprKind::Int(value) => Some(Ix::Const(*value as i64)),
            ExprKind::Name(name) if self.is_dim(&name.name) || self.is_int(&name.name) => {
                Some(Ix::dim(&name.name))
            }
            ExprKind::Name(name) => return Err(self.unknown(&name.name, expr)),
            ExprKind::Neg(inner) => self.size(inner)?.map(|ix| Ix::Const(0) - ix),
            ExprKind::Binary { op, left, right } => {
                let Some((a, b)) = both(left, right)? else {
                    return Ok(None);
                };
                match op {
                    BinOp::Add => Some(a + b),
                    BinOp::Sub => Some(a - b),
                    BinOp::Mul => Some(a * b),
                    BinOp::Div | BinOp::Mod if b == Ix::Const(0) => {
                        return Err(Diagnostic::error(
                            "zero-division",
                            expr.span(),
                            "division by zero in a size",
                        ));
                    }
                    BinOp::Div => Some(a / b),
                    BinOp::Mod => Some(a % b),
                    BinOp::Or | BinOp::And | BinOp::Pow => return Err(not_a_size(expr)),
                }
            }
            ExprKind::Call { name, args }
                if args.len() == 2 && (name.name == "min" || name.name == "max") =>
            {
                let Some((a, b)) = both(&args[0], &args[1])? else {
                    return Ok(None);
                };
                Some(if name.name == "min" {
                    a.min(b)
                } else {
                    a.max(b)
                })
            }
            _ => return Err(not_a_size(expr)),
        })
    }

    fn unknown(&self, name: &str, expr: &Expr) -> Diagnostic {
        let known = self.dims.iter().chain(&self.ints).map(|d| &**d);
        let mut error = Diagnostic::error(
            "unknown-size",
            expr.span(),
            format!("unknown size `{name}`"),
        )
        .at("expected a size of an input or an integer parameter");
        let upper = name.to_uppercase();
        error.help = if self.is_dim(&upper) {
            Some(format!(
                "sizes are capital letters: did you mean `{upper}`?"
            ))
        } else {
            did_you_mean(name, known.clone())
        };
        let list: Vec<&str> = known.collect();
        if list.is_empty() {
            error
        } else {
            error.note(format!("known sizes: {}", list.join(", ")))
        }
    }
}

fn not_a_size(expr: &Expr) -> Diagnostic {
    Diagnostic::error("not-a-size", expr.span(), format!("`{expr}` is not a size"))
        .at("expected an integer expression over sizes")
        .help("sizes are made of names such as `T`, integer parameters, integers, `+ - * / %`, `min` and `max`")
}

/// The value of a constant expression, for defaults and declared ranges.
pub fn constant(expr: &Expr) -> Option<f64> {
    Some(match &expr.kind {
        ExprKind::Int(value) => *value as f64,
        ExprKind::Float(value) => *value,
        ExprKind::Name(name) => match name.name.as_str() {
            "inf" => f64::INFINITY,
            "pi" => std::f64::consts::PI,
            "unlimited" => UNLIMITED as f64,
            "true" => 1.0,
            "false" => 0.0,
            _ => return None,
        },
        ExprKind::Neg(inner) => -constant(inner)?,
        ExprKind::Binary { op, left, right } => {
            let (a, b) = (constant(left)?, constant(right)?);
            match op {
                BinOp::Add => a + b,
                BinOp::Sub => a - b,
                BinOp::Mul => a * b,
                BinOp::Div => a / b,
                BinOp::Pow => a.powf(b),
                _ => return None,
            }
        }
        _ => return None,
    })
}
