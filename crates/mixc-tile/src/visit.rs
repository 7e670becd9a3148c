//! Walks over the statements of a kernel.

use crate::{Access, Expr, LoadIx, Stmt};

/// Calls `f` on every statement, loops before what is in them.
pub fn each<'k>(body: &'k [Stmt], f: &mut dyn FnMut(&'k Stmt)) {
    for stmt in body {
        f(stmt);
        match stmt {
            Stmt::For { body, .. } => each(body, f),
            Stmt::If {
                then, otherwise, ..
            } => {
                each(then, f);
                each(otherwise, f);
            }
            _ => {}
        }
    }
}

/// The accesses that a statement reads, gathers included.
pub fn reads(stmt: &Stmt) -> Vec<&Access> {
    let mut found = vec![];
    match stmt {
        Stmt::For { .. } | Stmt::If { .. } => {}
        Stmt::Load { index, .. } => found.extend(index.iter().filter_map(|ix| match ix {
            LoadIx::Gather(access) => Some(access),
            LoadIx::Ix(_) => None,
        })),
        Stmt::Store { src: expr, .. }
        | Stmt::Map { expr, .. }
        | Stmt::Scan { expr, .. }
        | Stmt::Reduce { expr, .. } => elements(expr, &mut found),
        Stmt::Contract { a, b, .. } => found.extend([a, b]),
    }
    found
}

/// What a statement writes in a buffer.
pub fn written(stmt: &Stmt) -> Option<&Access> {
    match stmt {
        Stmt::Load { dst, .. }
        | Stmt::Map { dst, .. }
        | Stmt::Scan { dst, .. }
        | Stmt::Reduce { dst, .. }
        | Stmt::Contract { dst, .. } => Some(dst),
        _ => None,
    }
}

/// Whether the statement also reads what it writes.
pub fn accumulates(stmt: &Stmt) -> bool {
    matches!(
        stmt,
        Stmt::Reduce {
            accumulate: true,
            ..
        } | Stmt::Contract {
            accumulate: true,
            ..
        }
    )
}

/// The elements of buffers in an expression.
pub fn elements<'e>(expr: &'e Expr, found: &mut Vec<&'e Access>) {
    match expr {
        Expr::Const(_) | Expr::Scalar(_) | Expr::Index(_) => {}
        Expr::Elem(access) => found.push(access),
        Expr::Add(a, b) | Expr::Mul(a, b) => {
            elements(a, found);
            elements(b, found);
        }
        Expr::Call(_, args) => args.iter().for_each(|a| elements(a, found)),
    }
}
