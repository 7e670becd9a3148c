//! Walks over the statements of a kernel, besides those that every user of the tile IR has.

use mixc_ir::Name;
use mixc_tile::{Access, BufId, Expr, LoadIx, Place, Stmt};

pub(crate) use mixc_tile::visit::{accumulates, each, elements, reads, touches, written};

/// A statement by its place in memory: the kernel is not changed while it is lowered.
pub(crate) type Key = *const Stmt;

/// Calls `f` on every list of statements, outer ones first.
pub(crate) fn bodies<'k>(body: &'k [Stmt], f: &mut dyn FnMut(&'k [Stmt])) {
    f(body);
    for stmt in body {
        match stmt {
            Stmt::For { body, .. } => bodies(body, f),
            Stmt::If {
                then, otherwise, ..
            } => {
                bodies(then, f);
                bodies(otherwise, f);
            }
            _ => {}
        }
    }
}

/// Whether no statement of a kernel writes a tensor.
pub(crate) fn only_read(kernel: &mixc_tile::Kernel, tensor: &Name) -> bool {
    let mut written = false;
    each(&kernel.body, &mut |stmt| {
        written |= matches!(stmt, Stmt::Store { tensor: t, .. } if t == tensor);
    });
    !written
}

pub(crate) fn axes(stmt: &Stmt) -> Vec<(Name, usize)> {
    match stmt {
        Stmt::Load { axes, .. }
        | Stmt::Store { axes, .. }
        | Stmt::Map { axes, .. }
        | Stmt::Scan { axes, .. }
        | Stmt::Reduce { axes, .. }
        | Stmt::Contract { axes, .. } => axes.iter().map(|a| (a.name.clone(), a.extent)).collect(),
        _ => vec![],
    }
}

/// The axes of an access, dimension by dimension, if every dimension has one.
pub(crate) fn plain(access: &Access) -> Option<Vec<Name>> {
    access
        .places
        .iter()
        .map(|p| match p {
            Place::Axis(name) => Some(name.clone()),
            Place::At(_) => None,
        })
        .collect()
}

pub(crate) fn index(buf: BufId) -> usize {
    buf.0 as usize
}

/// The axes that index an access, in the order of its dimensions.
pub(crate) fn plain_axes(access: &Access) -> Vec<Name> {
    access
        .places
        .iter()
        .filter_map(|p| match p {
            Place::Axis(name) => Some(name.clone()),
            Place::At(_) => None,
        })
        .collect()
}

/// Calls `f` on every index expression of a statement.
pub(crate) fn indices<'k>(stmt: &'k Stmt, f: &mut dyn FnMut(&'k mixc_ir::Ix)) {
    let mut accesses = reads(stmt);
    accesses.extend(written(stmt));
    for access in accesses {
        for place in &access.places {
            if let Place::At(ix) = place {
                f(ix);
            }
        }
    }
    match stmt {
        Stmt::For { lo, hi, .. } => {
            f(lo);
            f(hi);
        }
        Stmt::If { cond, .. } => {
            f(&cond.left);
            f(&cond.right);
        }
        Stmt::Load { index, .. } => index.iter().for_each(|ix| {
            if let LoadIx::Ix(ix) = ix {
                f(ix);
            }
        }),
        Stmt::Store { index, src, .. } => {
            index.iter().for_each(&mut *f);
            expr_indices(src, f);
        }
        Stmt::Map { expr, .. } | Stmt::Reduce { expr, .. } | Stmt::Scan { expr, .. } => {
            expr_indices(expr, f);
        }
        Stmt::Contract { .. } => {}
    }
}

fn expr_indices<'k>(expr: &'k Expr, f: &mut dyn FnMut(&'k mixc_ir::Ix)) {
    match expr {
        Expr::Const(_) | Expr::Scalar(_) | Expr::Elem(_) => {}
        Expr::Index(ix) => f(ix),
        Expr::Add(a, b) | Expr::Mul(a, b) => {
            expr_indices(a, f);
            expr_indices(b, f);
        }
        Expr::Call(_, args) => args.iter().for_each(|a| expr_indices(a, f)),
    }
}
