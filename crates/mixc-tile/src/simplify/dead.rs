//! Removes what has no effect: writes that nothing reads, empty loops and branches, unused buffers.

use crate::visit::each_access;
use crate::{BufId, Kernel, Stmt};
use std::collections::BTreeSet;

pub(super) fn remove(kernel: &mut Kernel) {
    let mut read = BTreeSet::new();
    each_access(&mut kernel.body, &mut |access, written| {
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
    each_access(&mut kernel.body, &mut |access, _| {
        used.insert(access.buf);
    });
    let number = |buf: BufId| BufId(used.range(..buf).count() as u32);
    each_access(&mut kernel.body, &mut |access, _| {
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
