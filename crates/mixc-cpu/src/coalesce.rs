//! Fewer buffers: a map that is the last reader of one buffer and the first writer of another of the
//! same shape works in place. Scores, masked scores and probabilities then are one buffer, and the
//! working set of a block stays closer to the first-level cache.
//!
//! In: a kernel. Out: an equal kernel. Only buffers that live within one pass of one statement list
//! are merged, so that no value crosses a loop's rounds.

use mixc_tile::visit::{covers, each, each_access, elements, reads, written};
use mixc_tile::{Access, BufId, Expr, Kernel, Stmt};

/// Merges what can be merged.
pub(crate) fn coalesce(kernel: &Kernel) -> Kernel {
    let mut kernel = kernel.clone();
    // Each merge removes a buffer, so this ends.
    while let Some((from, to)) = find(&kernel, &kernel.body) {
        each_access(&mut kernel.body, &mut |access, _| {
            if access.buf == from {
                access.buf = to;
            }
        });
    }
    kernel
}

/// A buffer and the one that can take its place, in this list or a list inside it.
fn find(kernel: &Kernel, body: &[Stmt]) -> Option<(BufId, BufId)> {
    for (at, stmt) in body.iter().enumerate() {
        let inner = match stmt {
            Stmt::For { body, .. } => find(kernel, body),
            Stmt::If {
                then, otherwise, ..
            } => find(kernel, then).or_else(|| find(kernel, otherwise)),
            Stmt::Map { dst, expr, .. } => in_place(kernel, body, at, dst, expr),
            _ => None,
        };
        if inner.is_some() {
            return inner;
        }
    }
    None
}

fn in_place(
    kernel: &Kernel,
    body: &[Stmt],
    at: usize,
    dst: &Access,
    expr: &Expr,
) -> Option<(BufId, BufId)> {
    let shape = |b: BufId| kernel.bufs.get(b.0 as usize).map(|b| &b.shape);
    let mut reads = Vec::new();
    elements(expr, &mut reads);
    if reads.iter().any(|r| r.buf == dst.buf) || !covers(kernel, &body[at], dst) {
        return None;
    }
    let total = |b: BufId| count(&kernel.body, b);
    for read in &reads {
        let source = read.buf;
        let same_place = reads
            .iter()
            .all(|r| r.buf != source || r.places == dst.places);
        let (before, after) = (count(&body[..at], source), count(&body[at + 1..], dst.buf));
        let (here, there) = (
            count(&body[at..=at], source),
            count(&body[at..=at], dst.buf),
        );
        let first = body[..at]
            .iter()
            .find(|s| count(std::slice::from_ref(s), source) > 0);
        let fresh = first.is_some_and(|s| overwrites(kernel, s, source));
        // Every use of the source is up to here, every use of the destination from here on.
        if same_place
            && shape(source) == shape(dst.buf)
            && shape(source).is_some_and(|s| s.len() > 1)
            && before + here == total(source)
            && there + after == total(dst.buf)
            && fresh
        {
            return Some((dst.buf, source));
        }
    }
    None
}

/// Whether the statement gives every element of the buffer a new value and reads none.
fn overwrites(kernel: &Kernel, stmt: &Stmt, buf: BufId) -> bool {
    let dst = match stmt {
        Stmt::Load { dst, .. } | Stmt::Map { dst, .. } | Stmt::Scan { dst, .. } => dst,
        Stmt::Reduce {
            dst,
            accumulate: false,
            ..
        }
        | Stmt::Contract {
            dst,
            accumulate: false,
            ..
        } => dst,
        _ => return false,
    };
    dst.buf == buf && count(std::slice::from_ref(stmt), buf) == 1 && covers(kernel, stmt, dst)
}

/// How many accesses to a buffer there are.
fn count(body: &[Stmt], buf: BufId) -> usize {
    let mut n = 0;
    each(body, &mut |stmt| {
        let all = written(stmt).into_iter().chain(reads(stmt));
        n += all.filter(|access| access.buf == buf).count();
    });
    n
}
