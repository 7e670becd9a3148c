//! Walks over the statements of a kernel.

use crate::{Access, Axis, BufId, Expr, Kernel, LoadIx, Place, Stmt};

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

/// Whether a statement reads or writes a buffer; not what is in a loop.
pub fn touches(stmt: &Stmt, buf: BufId) -> bool {
    let mut all = written(stmt).into_iter().chain(reads(stmt));
    all.any(|access| access.buf == buf)
}

/// Whether an access goes over the whole buffer, each dimension along an axis of its own.
pub fn covers(kernel: &Kernel, stmt: &Stmt, access: &Access) -> bool {
    let Some(buf) = kernel.bufs.get(access.buf.0 as usize) else {
        return false;
    };
    let (axes, mut seen) = (axes_of(stmt), Vec::new());
    buf.shape.len() == access.places.len()
        && access.places.iter().zip(&buf.shape).all(|(place, extent)| {
            let Place::Axis(name) = place else {
                return false;
            };
            let fresh = !seen.contains(&name);
            seen.push(name);
            fresh && axes.iter().any(|a| a.name == *name && a.extent == *extent)
        })
}

/// The local axes of a statement; none of loops and conditions.
pub fn axes_of(stmt: &Stmt) -> &[Axis] {
    match stmt {
        Stmt::For { .. } | Stmt::If { .. } => &[],
        Stmt::Load { axes, .. }
        | Stmt::Store { axes, .. }
        | Stmt::Map { axes, .. }
        | Stmt::Reduce { axes, .. }
        | Stmt::Contract { axes, .. }
        | Stmt::Scan { axes, .. } => axes,
    }
}

/// Calls `f` on every access and whether it is only written there. What a statement reads of its own
/// destination does not keep the destination alive.
pub fn each_access(body: &mut [Stmt], f: &mut dyn FnMut(&mut Access, bool)) {
    for stmt in body {
        match stmt {
            Stmt::For { body, .. } => each_access(body, f),
            Stmt::If {
                then, otherwise, ..
            } => {
                each_access(then, f);
                each_access(otherwise, f);
            }
            Stmt::Load { dst, index, .. } => {
                f(dst, true);
                for ix in index {
                    if let LoadIx::Gather(access) = ix {
                        f(access, false);
                    }
                }
            }
            Stmt::Store { src, .. } => each_element(src, None, f),
            Stmt::Map { dst, expr, .. }
            | Stmt::Reduce { dst, expr, .. }
            | Stmt::Scan { dst, expr, .. } => {
                f(dst, true);
                each_element(expr, Some(dst.buf), f);
            }
            Stmt::Contract { dst, a, b, .. } => {
                f(dst, true);
                f(a, false);
                f(b, false);
            }
        }
    }
}

fn each_element(expr: &mut Expr, own: Option<BufId>, f: &mut dyn FnMut(&mut Access, bool)) {
    match expr {
        Expr::Const(_) | Expr::Scalar(_) | Expr::Index(_) => {}
        Expr::Elem(access) => {
            let is_own = own == Some(access.buf);
            f(access, is_own);
        }
        Expr::Add(a, b) | Expr::Mul(a, b) => {
            each_element(a, own, f);
            each_element(b, own, f);
        }
        Expr::Call(_, args) => args.iter_mut().for_each(|a| each_element(a, own, f)),
    }
}
