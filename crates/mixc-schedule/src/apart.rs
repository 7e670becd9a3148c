//! Sums and choices of several softmaxes, each in a kernel of its own.
//!
//! In one kernel they would share a loop, and each would have a part of the registers for its scores and its sum: shorter
//! blocks of keys, and no product of one that runs beside the softmax of the other. Apart they are as fast as one, and
//! what is added is small.

use crate::fresh::Names;
use crate::roles::is_part;
use mixc_ir::{Func, Ix, Let, Name, Program, Stmt, T, Term};
use std::sync::Arc;

/// Gives addends and branches that have softmaxes over long axes of their own a let each.
pub fn apart(program: &mut Program) {
    let mut names = Names::of(program);
    let mut body = vec![];
    for stmt in std::mem::take(&mut program.body) {
        match stmt {
            Stmt::Let(l) => {
                let mut parts = vec![];
                let value = split(program, &l.value, &mut |part| {
                    parts.push(in_let(&l, names.fresh(&l.name), part));
                    read(&parts[parts.len() - 1])
                });
                body.extend(parts.into_iter().map(Stmt::Let));
                let value = value.unwrap_or_else(|| l.value.clone());
                body.push(Stmt::Let(Let { value, ..l }));
            }
            scan => body.push(scan),
        }
    }
    program.body = body;
}

/// The term with what `apart` gives for its parts with softmaxes, if there are several and they share no scores.
fn split(program: &Program, term: &T, apart: &mut dyn FnMut(&T) -> T) -> Option<T> {
    let joins = match &**term {
        Term::Add(_) => true,
        Term::Map { f, .. } => matches!(f, Func::Sub | Func::Select),
        Term::Sum { axes, .. } => axes.is_empty(),
        _ => false,
    };
    if !joins {
        return None;
    }
    let children: Vec<T> = term.children().into_iter().cloned().collect();
    let kinds: Vec<Vec<T>> = children.iter().map(|c| scores(program, c)).collect();
    let shared = |n: usize| (0..n).any(|m| kinds[n].iter().any(|s| kinds[m].contains(s)));
    let with_scores = kinds.iter().filter(|k| !k.is_empty()).count();
    let product = matches!(&**term, Term::Sum { .. });
    if with_scores >= 2 && (product || (0..kinds.len()).any(shared)) {
        return None;
    }
    let mut parts = vec![];
    for (child, scores) in children.iter().zip(&kinds) {
        parts.push(match scores.is_empty() {
            true => child.clone(),
            false if with_scores == 1 => split(program, child, apart)?,
            false => apart(child),
        });
    }
    (with_scores > 0).then(|| Arc::new(term.with_children(parts)))
}

/// A part of a let in a let of its own, over the axes that it has.
fn in_let(whole: &Let, name: Name, value: &T) -> Let {
    let free = value.free_axes();
    let axes = whole.axes.iter().filter(|a| free.contains(*a));
    Let {
        name,
        axes: axes.cloned().collect(),
        value: value.clone(),
    }
}

fn read(l: &Let) -> T {
    Term::read(&l.name, l.axes.iter().cloned().map(Ix::Axis).collect())
}

/// The scores of the softmaxes in a term that go over whole axes.
pub fn scores(program: &Program, term: &T) -> Vec<T> {
    let mut found: Vec<T> = vec![];
    term.visit(&mut |t| {
        let (axes, scores) = match &**t {
            Term::Online { axes, score, .. } => (axes, vec![score]),
            // Behind a maximum that is known.
            Term::Sum { axes, factors } => (axes, factors.iter().filter_map(exponent).collect()),
            _ => return,
        };
        for score in scores {
            let free = score.free_axes();
            let over = axes.iter().any(|a| free.contains(a));
            if over && !axes.iter().any(|a| is_part(program, a)) && !found.contains(score) {
                found.push(score.clone());
            }
        }
    });
    found
}

fn exponent(factor: &T) -> Option<&T> {
    match &**factor {
        Term::Map { f: Func::Exp, args } => args.first(),
        _ => None,
    }
}
