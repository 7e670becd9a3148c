//! Work and buffers that statements of one block can share.
//!
//! - A reduction of what a later statement computes as a tile reduces the tile: the weights of a softmax are summed and
//!   multiplied with the values, and computed once.
//! - What is only copied is computed where the copy goes: the next state of a recurrence takes the place of the state.
//!   What is loaded is not, for targets load to other places than they compute in.
//!
//! ```text
//! reduce sum [i, j] l[i] (+)= exp(s[i, j] - m[i])     map [i, j] p[i, j] = exp(s[i, j] - m[i])
//! map [i, j] p[i, j] = exp(s[i, j] - m[i])            reduce sum [i, j] l[i] (+)= p[i, j]
//!
//! map [a, e] next[a, e] = S[a, e] + k[a] * v[e]       map [a, e] S[a, e] = S[a, e] + k[a] * v[e]
//! contract [e, a] o[e] = next[a, e] * q[a]            contract [e, a] o[e] = S[a, e] * q[a]
//! map [a, e] S[a, e] = next[a, e]
//! ```

use crate::simplify::dead::drop_unused;
use crate::visit::{covers, each, each_access, elements, reads, touches, written};
use crate::{BufId, Expr, Kernel, Stmt};
use std::collections::BTreeSet;

/// Applies both rules wherever they fit. The kernel stores the same values.
pub fn reuse(kernel: &mut Kernel) {
    let mut body = std::mem::take(&mut kernel.body);
    compute_once(kernel, &mut body);
    kernel.body = body;
    // Each copy that goes leaves a buffer without use, so this ends.
    while let Some((from, to)) = copied(kernel, &kernel.body) {
        each_access(&mut kernel.body, &mut |access, _| {
            if access.buf == from {
                access.buf = to;
            }
        });
        drop_copies(&mut kernel.body);
    }
    drop_unused(kernel);
}

fn blocks(stmt: &mut Stmt) -> Vec<&mut Vec<Stmt>> {
    match stmt {
        Stmt::For { body, .. } => vec![body],
        Stmt::If {
            then, otherwise, ..
        } => vec![then, otherwise],
        _ => vec![],
    }
}

fn compute_once(kernel: &Kernel, body: &mut Vec<Stmt>) {
    for n in 0..body.len() {
        for inner in blocks(&mut body[n]) {
            compute_once(kernel, inner);
        }
        let Some(r) = (0..n).find(|r| reduces_the_same(kernel, body, *r, n)) else {
            continue;
        };
        let map = body.remove(n);
        if let (Stmt::Map { dst, .. }, Stmt::Reduce { expr, .. }) = (&map, &mut body[r]) {
            *expr = Expr::Elem(dst.clone());
        }
        body.insert(r, map);
    }
}

/// Whether statement `r` reduces the tile that statement `n` makes, which could be made before.
fn reduces_the_same(kernel: &Kernel, body: &[Stmt], r: usize, n: usize) -> bool {
    let Stmt::Map { axes, dst, expr } = &body[n] else {
        return false;
    };
    let Stmt::Reduce {
        axes: reduced,
        expr: other,
        ..
    } = &body[r]
    else {
        return false;
    };
    let mut inputs = vec![];
    elements(expr, &mut inputs);
    let inputs: BTreeSet<BufId> = inputs.into_iter().map(|a| a.buf).collect();
    let between = &body[r..n];
    expr == other
        && reduced.len() == axes.len()
        && reduced.iter().all(|a| axes.contains(a))
        && covers(kernel, &body[n], dst)
        && !inputs.contains(&dst.buf)
        && count(between, &|s| touches(s, dst.buf)) == 0
        && count(between, &|s| {
            written(s).is_some_and(|d| inputs.contains(&d.buf))
        }) == 0
}

fn count(body: &[Stmt], wanted: &dyn Fn(&Stmt) -> bool) -> usize {
    let mut n = 0;
    each(body, &mut |stmt| n += usize::from(wanted(stmt)));
    n
}

/// A buffer that is computed for a copy, in this list or a list inside it, and where the copy goes.
fn copied(kernel: &Kernel, body: &[Stmt]) -> Option<(BufId, BufId)> {
    body.iter().enumerate().find_map(|(at, stmt)| match stmt {
        Stmt::For { body, .. } => copied(kernel, body),
        Stmt::If {
            then, otherwise, ..
        } => copied(kernel, then).or_else(|| copied(kernel, otherwise)),
        _ => copied_by(kernel, &body[..=at]),
    })
}

/// What the last statement copies, and where to, if what it copies can be computed there.
fn copied_by(kernel: &Kernel, body: &[Stmt]) -> Option<(BufId, BufId)> {
    let copy = body.last()?;
    let Stmt::Map {
        dst,
        expr: Expr::Elem(src),
        ..
    } = copy
    else {
        return None;
    };
    let (from, to) = (src.buf, dst.buf);
    let made = body
        .iter()
        .position(|s| written(s).is_some_and(|d| d.buf == from))?;
    let maker = &body[made];
    let Stmt::Map { dst: made_in, .. } = maker else {
        return None;
    };
    // In place, an element may depend on the one that it replaces only.
    let elementwise = reads(maker)
        .iter()
        .all(|a| a.buf != to || a.places == made_in.places);
    let (old, new) = (&kernel.bufs[from.0 as usize], &kernel.bufs[to.0 as usize]);
    let all = &kernel.body;
    let fits = from != to
        && dst.places == src.places
        && (&old.shape, old.space) == (&new.shape, new.space)
        && covers(kernel, copy, dst)
        && covers(kernel, maker, made_in)
        && elementwise
        && count(all, &|s| written(s).is_some_and(|d| d.buf == from)) == 1
        && count(all, &|s| touches(s, from)) == count(&body[made..], &|s| touches(s, from))
        && count(&body[made + 1..body.len() - 1], &|s| touches(s, to)) == 0;
    fits.then_some((from, to))
}

/// Drops statements that copy a buffer to itself.
fn drop_copies(body: &mut Vec<Stmt>) {
    body.retain(|stmt| !matches!(stmt, Stmt::Map { dst, expr: Expr::Elem(src), .. } if dst == src));
    for stmt in body {
        blocks(stmt).into_iter().for_each(drop_copies);
    }
}
