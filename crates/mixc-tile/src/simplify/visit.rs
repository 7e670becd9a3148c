//! Every index expression of a statement.

use crate::{Access, Expr, LoadIx, Place, Stmt};
use mixc_ir::Ix;

/// Calls `f` on every index expression of the statements, those in accesses included.
pub(super) fn for_each_index(body: &mut [Stmt], f: &mut dyn FnMut(&mut Ix)) {
    for stmt in body {
        match stmt {
            Stmt::For { lo, hi, body, .. } => {
                f(lo);
                f(hi);
                for_each_index(body, f);
            }
            Stmt::If {
                cond,
                then,
                otherwise,
            } => {
                f(&mut cond.left);
                f(&mut cond.right);
                for_each_index(then, f);
                for_each_index(otherwise, f);
            }
            Stmt::Load { dst, index, .. } => {
                in_access(dst, f);
                for ix in index {
                    match ix {
                        LoadIx::Ix(ix) => f(ix),
                        LoadIx::Gather(access) => in_access(access, f),
                    }
                }
            }
            Stmt::Store { index, src, .. } => {
                index.iter_mut().for_each(&mut *f);
                in_expr(src, f);
            }
            Stmt::Contract { dst, a, b, .. } => {
                [dst, a, b].into_iter().for_each(|x| in_access(x, f))
            }
            Stmt::Map { dst, expr, .. }
            | Stmt::Reduce { dst, expr, .. }
            | Stmt::Scan { dst, expr, .. } => {
                in_access(dst, f);
                in_expr(expr, f);
            }
        }
    }
}

fn in_access(access: &mut Access, f: &mut dyn FnMut(&mut Ix)) {
    for place in &mut access.places {
        if let Place::At(ix) = place {
            f(ix);
        }
    }
}

fn in_expr(expr: &mut Expr, f: &mut dyn FnMut(&mut Ix)) {
    match expr {
        Expr::Const(_) | Expr::Scalar(_) => {}
        Expr::Index(ix) => f(ix),
        Expr::Elem(access) => in_access(access, f),
        Expr::Add(a, b) | Expr::Mul(a, b) => {
            in_expr(a, f);
            in_expr(b, f);
        }
        Expr::Call(_, args) => args.iter_mut().for_each(|a| in_expr(a, f)),
    }
}
