//! Forward dataflow over buffers: which ones are written on every path to a statement.

use super::Checker;
use super::stmt::reads;
use crate::{Access, BufId, LoadIx, Stmt};
use mixc_ir::Ix;
use std::collections::BTreeSet;

pub(super) fn check(checker: &mut Checker) {
    let body = &checker.kernel.body;
    block(checker, body, BTreeSet::new());
}

/// The buffers that are written behind the statements, given those before.
fn block(c: &mut Checker, body: &[Stmt], mut written: BTreeSet<BufId>) -> BTreeSet<BufId> {
    for stmt in body {
        match stmt {
            // The first iteration sees what is written before the loop, later ones at least that.
            Stmt::For { lo, hi, body, .. } => {
                let after = block(c, body, written.clone());
                if matches!((lo, hi), (Ix::Const(lo), Ix::Const(hi)) if lo < hi) {
                    written = after;
                }
            }
            Stmt::If {
                then, otherwise, ..
            } => {
                let (a, b) = (
                    block(c, then, written.clone()),
                    block(c, otherwise, written),
                );
                written = a.intersection(&b).copied().collect();
            }
            Stmt::Load { dst, index, .. } => {
                let gathers = index.iter().filter_map(|ix| match ix {
                    LoadIx::Gather(access) => Some(access),
                    LoadIx::Ix(_) => None,
                });
                read(c, stmt, &written, gathers.collect());
                written.insert(dst.buf);
            }
            Stmt::Store { src, .. } => read(c, stmt, &written, reads(src)),
            Stmt::Map { dst, expr, .. } | Stmt::Scan { dst, expr, .. } => {
                read(c, stmt, &written, reads(expr));
                written.insert(dst.buf);
            }
            Stmt::Reduce {
                accumulate,
                dst,
                expr,
                ..
            } => {
                read(c, stmt, &written, reads(expr));
                read(
                    c,
                    stmt,
                    &written,
                    accumulate.then_some(dst).into_iter().collect(),
                );
                written.insert(dst.buf);
            }
            Stmt::Contract {
                accumulate,
                dst,
                a,
                b,
                ..
            } => {
                read(c, stmt, &written, vec![a, b]);
                read(
                    c,
                    stmt,
                    &written,
                    accumulate.then_some(dst).into_iter().collect(),
                );
                written.insert(dst.buf);
            }
        }
    }
    written
}

fn read(c: &mut Checker, stmt: &Stmt, written: &BTreeSet<BufId>, accesses: Vec<&Access>) {
    let unwritten: BTreeSet<BufId> = accesses
        .iter()
        .map(|a| a.buf)
        .filter(|buf| !written.contains(buf))
        .collect();
    for buf in unwritten {
        c.enter(stmt);
        // An unknown buffer is reported elsewhere.
        if let Some(buf) = c.kernel.bufs.get(buf.0 as usize) {
            c.error(
                "unwritten",
                format!("`{}` may be read before it is written", buf.name),
            );
        }
    }
}
