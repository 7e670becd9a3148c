//! Sums of several softmaxes, each in a kernel of its own.
//!
//! In one kernel they would share a loop, and each would have a part of the registers for its scores and its sum: shorter
//! blocks of keys, and no product of one that runs beside the softmax of the other. Apart they are as fast as one, and
//! what is added is small.

use crate::fresh::Names;
use crate::roles::is_part;
use mixc_ir::{Func, Ix, Let, Name, Program, Stmt, T, Term};
use std::sync::Arc;

/// Gives addends of a let that have softmaxes over long axes of their own a let each.
pub fn apart(program: &mut Program) {
    let mut names = Names::of(program);
    let mut body = vec![];
    for stmt in std::mem::take(&mut program.body) {
        let Stmt::Let(mut l) = stmt else {
            body.push(stmt);
            continue;
        };
        let is_sum = matches!(&*l.value, Term::Add(_) | Term::Map { f: Func::Sub, .. });
        let addends: Vec<T> = l.value.children().into_iter().cloned().collect();
        let kinds: Vec<Vec<T>> = addends.iter().map(|a| scores(program, a)).collect();
        let with_scores = kinds.iter().filter(|k| !k.is_empty());
        let shared = |n: usize| (0..n).any(|m| kinds[n].iter().any(|s| kinds[m].contains(s)));
        if !is_sum || with_scores.count() < 2 || (0..kinds.len()).any(shared) {
            body.push(Stmt::Let(l));
            continue;
        }
        let mut parts = vec![];
        for (addend, scores) in addends.into_iter().zip(&kinds) {
            if scores.is_empty() {
                parts.push(addend);
                continue;
            }
            let free = addend.free_axes();
            let axes: Vec<Name> = l
                .axes
                .iter()
                .filter(|a| free.contains(*a))
                .cloned()
                .collect();
            let name = names.fresh(&l.name);
            let index = axes.iter().cloned().map(Ix::Axis).collect();
            parts.push(Term::read(&name, index));
            body.push(Stmt::Let(Let {
                name,
                axes,
                value: addend,
            }));
        }
        l.value = Arc::new(l.value.with_children(parts));
        body.push(Stmt::Let(l));
    }
    program.body = body;
}

/// The scores of the softmaxes in a term that go over whole axes.
pub fn scores(program: &Program, term: &T) -> Vec<T> {
    let mut found = vec![];
    term.visit(&mut |t| {
        if let Term::Online { axes, score, .. } = &**t
            && !axes.iter().any(|a| is_part(program, a))
            && !found.contains(score)
        {
            found.push(score.clone());
        }
    });
    found
}
