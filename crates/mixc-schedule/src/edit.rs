//! Edits of whole programs.

use mixc_ir::{Ix, Program, Stmt, T, Term};
use std::sync::Arc;

/// Applies `f` to every term of a program.
pub fn map_terms(program: &mut Program, f: &mut dyn FnMut(&T) -> T) {
    for stmt in &mut program.body {
        match stmt {
            Stmt::Let(l) => l.value = f(&l.value),
            Stmt::Scan(s) => {
                s.carries.iter_mut().for_each(|c| c.init = f(&c.init));
                s.body.iter_mut().for_each(|l| l.value = f(&l.value));
            }
        }
    }
}

/// Replaces leaves of every integer expression of a program.
pub fn map_indices(program: &mut Program, leaf: &dyn Fn(&Ix) -> Option<Ix>) {
    map_terms(program, &mut |t| {
        t.rebuild(&mut |t| match &*t {
            Term::Index(ix) => Arc::new(Term::Index(ix.replace(leaf))),
            Term::Read { tensor, index } => {
                Term::read(tensor, index.iter().map(|ix| ix.replace(leaf)).collect())
            }
            _ => t,
        })
    });
    program
        .axes
        .values_mut()
        .for_each(|ix| *ix = ix.replace(leaf));
    program
        .splits
        .iter_mut()
        .for_each(|s| s.size = s.size.replace(leaf));
    for tensor in &mut program.tensors {
        tensor
            .shape
            .iter_mut()
            .for_each(|ix| *ix = ix.replace(leaf));
    }
}
