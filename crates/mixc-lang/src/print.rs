//! Prints a syntax tree as text that parses back to the same tree.

use crate::ast::*;
use std::fmt::{self, Display, Write};

impl Display for Mixer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        docs(f, &self.docs, "")?;
        write!(f, "mixer {}(", self.name.name)?;
        for (n, param) in self.params.iter().enumerate() {
            f.write_str(if n == 0 { "\n" } else { ",\n" })?;
            docs(f, &param.docs, "    ")?;
            write!(f, "    {param}")?;
        }
        f.write_str("\n) -> ")?;
        match self.outputs.as_slice() {
            [only] if only.docs.is_empty() => write!(f, "{only}")?,
            outputs => {
                f.write_str("(")?;
                for (n, output) in outputs.iter().enumerate() {
                    f.write_str(if n == 0 { "\n" } else { ",\n" })?;
                    docs(f, &output.docs, "    ")?;
                    write!(f, "    {output}")?;
                }
                f.write_str("\n)")?;
            }
        }
        if !self.constraints.is_empty() {
            write!(f, " where {}", list(&self.constraints))?;
        }
        f.write_str(" {\n")?;
        for stmt in &self.body {
            write_stmt(f, stmt, "    ")?;
        }
        f.write_str("}\n")
    }
}

impl Display for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name.name, self.ty)?;
        if let Some(range) = &self.range {
            let (open, close) = (
                if range.low_closed { '[' } else { '(' },
                if range.high_closed { ']' } else { ')' },
            );
            write!(f, " in {open}{}, {}{close}", range.low, range.high)?;
        }
        if let Some(default) = &self.default {
            write!(f, " = {default}")?;
        }
        Ok(())
    }
}

impl Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.kind, &self.shape) {
            (Some(kind), None) => f.write_str(&kind.name),
            (Some(kind), Some(shape)) => write!(f, "{} [{}]", kind.name, list(shape)),
            (None, shape) => write!(f, "[{}]", list(shape.as_deref().unwrap_or(&[]))),
        }
    }
}

impl Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name.name, self.ty)
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name.name)?;
        if !self.vars.is_empty() {
            write!(f, "[{}]", list(&self.vars))?;
        }
        Ok(())
    }
}

impl Display for Binder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name.name)?;
        match &self.range {
            Some(range) => write!(f, " in {range}"),
            None => Ok(()),
        }
    }
}

fn write_stmt(f: &mut fmt::Formatter<'_>, stmt: &Stmt, indent: &str) -> fmt::Result {
    docs(f, &stmt.docs, indent)?;
    match &stmt.kind {
        StmtKind::Let { target, value } => writeln!(f, "{indent}{target} = {value}"),
        StmtKind::Function { name, params, body } => {
            let params: Vec<&str> = params.iter().map(|p| p.name.as_str()).collect();
            writeln!(f, "{indent}{}({}) = {body}", name.name, params.join(", "))
        }
        StmtKind::Scan(scan) => {
            write!(f, "{indent}scan {}", scan.var)?;
            if scan.reverse {
                f.write_str(" reverse")?;
            }
            for (n, carry) in scan.carries.iter().enumerate() {
                write!(
                    f,
                    "{} {} = {}",
                    if n == 0 { " carry" } else { "," },
                    carry.target,
                    carry.init
                )?;
            }
            f.write_str(" {\n")?;
            for inner in &scan.body {
                write_stmt(f, inner, &format!("{indent}    "))?;
            }
            writeln!(f, "{indent}}}")
        }
    }
}

fn docs(f: &mut fmt::Formatter<'_>, docs: &[String], indent: &str) -> fmt::Result {
    for line in docs {
        writeln!(f, "{}", format!("{indent}/// {line}").trim_end())?;
    }
    Ok(())
}

fn list<T: Display>(items: &[T]) -> String {
    let mut out = String::new();
    for (n, item) in items.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = write!(out, "{}{item}", if n == 0 { "" } else { ", " });
    }
    out
}

/// How tightly the outermost operator binds.
fn level(kind: &ExprKind) -> u8 {
    match kind {
        ExprKind::If { .. } => 0,
        ExprKind::Binary { op: BinOp::Or, .. } => 1,
        ExprKind::Binary { op: BinOp::And, .. } => 2,
        ExprKind::Not(_) => 3,
        ExprKind::Compare { .. } => 4,
        ExprKind::Binary {
            op: BinOp::Add | BinOp::Sub,
            ..
        } => 5,
        ExprKind::Binary {
            op: BinOp::Mul | BinOp::Div | BinOp::Mod,
            ..
        } => 6,
        ExprKind::Neg(_) => 7,
        ExprKind::Binary { op: BinOp::Pow, .. } => 8,
        _ => 9,
    }
}

/// Prints in parentheses if the operator binds less tightly than `least`.
struct Tight<'a>(&'a Expr, u8);

impl Display for Tight<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if level(&self.0.kind) < self.1 {
            write!(f, "({})", self.0)
        } else {
            write!(f, "{}", self.0)
        }
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = level(&self.kind);
        match &self.kind {
            ExprKind::Error => f.write_str("<error>"),
            ExprKind::Int(value) => write!(f, "{value}"),
            ExprKind::Float(value) => write!(f, "{value:?}"),
            ExprKind::Name(name) => f.write_str(&name.name),
            ExprKind::Index { name, index } => write!(f, "{}[{}]", name.name, list(index)),
            ExprKind::Call { name, args } => write!(f, "{}({})", name.name, list(args)),
            ExprKind::Reduce { name, vars, args } => {
                write!(f, "{}[{}]({})", name.name, list(vars), list(args))
            }
            ExprKind::Neg(inner) => write!(f, "-{}", Tight(inner, own)),
            ExprKind::Not(inner) => write!(f, "not {}", Tight(inner, own)),
            ExprKind::Binary {
                op: BinOp::Pow,
                left,
                right,
            } => {
                write!(f, "{} ** {}", Tight(left, own + 1), Tight(right, own - 1))
            }
            // These group to the left, so the right operand needs a tighter operator.
            ExprKind::Binary { op, left, right } => {
                write!(
                    f,
                    "{} {} {}",
                    Tight(left, own),
                    op.symbol(),
                    Tight(right, own + 1)
                )
            }
            ExprKind::Compare { first, rest } => {
                write!(f, "{}", Tight(first, own + 1))?;
                rest.iter()
                    .try_for_each(|(op, e)| write!(f, " {} {}", op.symbol(), Tight(e, own + 1)))
            }
            ExprKind::If { then, cond, other } => {
                write!(f, "{} if {} else {other}", Tight(then, 1), Tight(cond, 1))
            }
        }
    }
}
