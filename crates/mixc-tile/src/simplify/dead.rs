//! Removes what has no effect: writes that nothing reads, empty loops and branches, unused buffers.

use crate::{Access, BufId, Expr, Kernel, LoadIx, Stmt};
use std::collections::BTreeSet;

pub(super) fn remove(kernel: &mut Kernel) {
    let mut read = BTreeSet::new();
    visit(&mut kernel.body, &mut |access, written| {
        if !written {
            read.insert(access.buf);
        }
    });
    drop_writes(&mut kernel.body, &read);

    drop_unused(kernel);
}

/// Removes the buffers that no statement touches.
pub(crate) fn drop_unused(kernel: &mut Kernel) {
    let mut used = BTreeSet::new();
    visit(&mut kernel.body, &mut |access, _| {
        used.insert(access.buf);
    });
    let number = |buf: BufId| BufId(used.range(..buf).count() as u32);
    visit(&mut kernel.body, &mut |access, _| {
        access.buf = number(access.buf)
    });
    let mut n = 0;
    kernel.bufs.retain(|_| {
        n += 1;
        used.contains(&BufId(n - 1))
    });
}

/// Drops statements that write other buffers than `read` only, and what is empty then.
fn drop_writes(body: &mut Vec<Stmt>, read: &BTreeSet<BufId>) {
    body.retain_mut(|stmt| match stmt {
        Stmt::For { body, .. } => {
            drop_writes(body, read);
            !body.is_empty()
        }
        Stmt::If {
            then, otherwise, ..
        } => {
            drop_writes(then, read);
            drop_writes(otherwise, read);
            !(then.is_empty() && otherwise.is_empty())
        }
        Stmt::Store { .. } => true,
        Stmt::Load { dst, .. }
        | Stmt::Map { dst, .. }
        | Stmt::Reduce { dst, .. }
        | Stmt::Contract { dst, .. }
        | Stmt::Scan { dst, .. } => read.contains(&dst.buf),
    });
}

/// Calls `f` on every access and whether it is only written there. What a statement reads of its own
/// destination does not keep the destination alive.
pub(crate) fn visit(body: &mut [Stmt], f: &mut dyn FnMut(&mut Access, bool)) {
    for stmt in body {
        match stmt {
            Stmt::For { body, .. } => visit(body, f),
            Stmt::If {
                then, otherwise, ..
            } => {
                visit(then, f);
                visit(otherwise, f);
            }
            Stmt::Load { dst, index, .. } => {
                f(dst, true);
                for ix in index {
                    if let LoadIx::Gather(access) = ix {
                        f(access, false);
                    }
                }
            }
            Stmt::Store { src, .. } => in_expr(src, None, f),
            Stmt::Map { dst, expr, .. }
            | Stmt::Reduce { dst, expr, .. }
            | Stmt::Scan { dst, expr, .. } => {
                f(dst, true);
                in_expr(expr, Some(dst.buf), f);
            }
            Stmt::Contract { dst, a, b, .. } => {
                f(dst, true);
                f(a, false);
                f(b, false);
            }
        }
    }
}

fn in_expr(expr: &mut Expr, own: Option<BufId>, f: &mut dyn FnMut(&mut Access, bool)) {
    match expr {
        Expr::Const(_) | Expr::Scalar(_) | Expr::Index(_) => {}
        Expr::Elem(access) => {
            let is_own = own == Some(access.buf);
            f(access, is_own);
        }
        Expr::Add(a, b) | Expr::Mul(a, b) => {
            in_expr(a, own, f);
            in_expr(b, own, f);
        }
        Expr::Call(_, args) => args.iter_mut().for_each(|a| in_expr(a, own, f)),
    }
}
