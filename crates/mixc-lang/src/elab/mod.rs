//! Elaboration: one mixer's syntax tree to a core program, or its mistakes.
//!
//! Passes: declarations, name resolution (functions are expanded, ranges unified), kinds and batch
//! axes of local tensors, lowering. Every pass goes on after a mistake.

mod axes;
mod calls;
mod complex;
mod header;
mod hir;
mod kinds;
mod lower;
mod lower_calls;
mod lower_expr;
mod lower_operators;
mod lower_reduce;
mod ranges;
mod reads;
mod reductions;
mod resolve;
mod resolve_expr;
mod scans;
mod size;
mod statements;
mod value;

use crate::ast::Mixer;
use mixc_ir::{Ix, Kind, Program, Scalar, T};
use mixc_text::{Diagnostic, Severity};

/// Elaborates a mixer to the core program that transcribes it.
///
/// # Errors
/// Every mistake found in its declarations and its body.
pub fn elaborate(mixer: &Mixer) -> Result<Program, Vec<Diagnostic>> {
    let mut errors = vec![];
    let header = header::header(mixer, &mut errors);
    let mut resolver = resolve::Resolver::new(&header);
    let defaults = resolver.scalars();
    let body = resolver.body(&mixer.body);
    errors.append(&mut resolver.errors);
    let sizes = variable_sizes(&resolver, &mut errors);
    let resolve::Resolver { syms, vars, .. } = resolver;
    let facts = kinds::facts(&header, &syms, &body);

    let mut lower = lower::Lower::new(&header, &syms, &vars, sizes, facts);
    let scalars = header
        .scalars
        .iter()
        .zip(&defaults)
        .map(|(s, d)| scalar(s, d.as_ref(), &mut lower))
        .collect();
    let (stmts, outputs) = lower.program(&body);
    errors.append(&mut lower.errors);
    if errors.iter().any(|e| e.severity == Severity::Error) || contains_error(mixer) {
        errors.sort_by_key(|e| e.span().start);
        return Err(errors);
    }
    let axes = std::mem::take(&mut lower.axes.sizes);
    drop(lower);
    Ok(Program {
        name: mixer.name.name.clone(),
        doc: mixer.docs.join("\n"),
        dims: header.sizes.dims,
        constraints: header.constraints,
        tensors: header.tensors.into_iter().map(|t| t.tensor).collect(),
        scalars,
        axes,
        splits: vec![],
        body: stmts,
        outputs,
    })
}

/// The size of every index variable; reports those without one, unless an earlier mistake may be
/// the reason.
fn variable_sizes(resolver: &resolve::Resolver<'_>, errors: &mut Vec<Diagnostic>) -> Vec<Ix> {
    let clean = errors.is_empty();
    let mut sizes = vec![];
    for var in &resolver.vars {
        let size = resolver.ranges.size(var.range).cloned();
        if size.is_none() && clean && !errors.iter().any(|e| e.span() == var.span) {
            let what = format!("the range of `{}` cannot be inferred", var.name);
            let error = Diagnostic::error("unknown-range", var.span, what)
                .note("it is inferred where the variable alone indexes a tensor, as in `x[s]`, not from `x[t - s]`")
                .help(format!("write it: `{} in T`", var.name));
            errors.push(error);
        }
        sizes.push(size.unwrap_or(Ix::Const(1)));
    }
    sizes
}

fn scalar(
    decl: &header::ScalarDecl<'_>,
    default: Option<&hir::H>,
    lower: &mut lower::Lower<'_>,
) -> Scalar {
    let default: Option<T> = default.map(|h| match (lower.expr(h), decl.kind) {
        (value::Value::Int(value::Int { ix: Some(ix), .. }), Kind::Int) => value::index(ix),
        (value::Value::Bool(t), Kind::Bool) => t,
        (value, Kind::Real) => lower.real(value, h.span),
        (value::Value::Poison, _) => mixc_ir::Term::zero(),
        (value, kind) => {
            let what = if kind == Kind::Int {
                "an integer"
            } else {
                "true or false"
            };
            let error = value::expected(h.span, what, &value)
                .label(
                    decl.span,
                    format!("the parameter `{}` is declared here", decl.name),
                )
                .help(format!("give {what}, or declare `{}: f32`", decl.name));
            lower.errors.push(error);
            mixc_ir::Term::zero()
        }
    });
    Scalar {
        name: decl.name.clone(),
        kind: decl.kind,
        default,
        range: decl.range,
    }
}

/// Whether a part of the mixer did not parse; the parser reported it.
fn contains_error(mixer: &Mixer) -> bool {
    use crate::ast::{Expr, ExprKind, Stmt, StmtKind};
    let bad = |e: &Expr| matches!(e.kind, ExprKind::Error);
    fn stmts<'a>(body: &'a [Stmt], out: &mut Vec<&'a Expr>) {
        for stmt in body {
            match &stmt.kind {
                StmtKind::Let { value, .. } => out.push(value),
                StmtKind::Function { body, .. } => out.push(body),
                StmtKind::Scan(scan) => stmts(&scan.body, out),
            }
        }
    }
    let mut values = vec![];
    stmts(&mixer.body, &mut values);
    values.into_iter().any(bad)
}
