//! Which statements share a loop nest, and in which order.
//!
//! Statements that could be fused are often separated by small ones (a running maximum is saved between
//! the scores and their maximum). What lies between moves in front of the group, or stays behind it,
//! if no dependence is broken: `score; save m; max` becomes `save m; [score, max]`.

use crate::elementwise::fits;
use crate::lower::Lower;
use mixc_ir::Ix;
use mixc_tile::{Access, BufId, Expr, LoadIx, Place, Stmt};

/// Statements to lower together; more than one only if all are elementwise.
pub(crate) type Group<'k> = Vec<&'k Stmt>;

/// How far ahead a partner is looked for.
const REACH: usize = 8;

impl Lower<'_, '_> {
    /// The statements of a body in an order that fuses more, in groups.
    pub fn group<'k>(&self, body: &'k [Stmt]) -> Vec<Group<'k>> {
        let mut rest: Vec<&Stmt> = body.iter().collect();
        let mut groups = Vec::new();
        while !rest.is_empty() {
            let mut group = vec![rest.remove(0)];
            let mut before: Vec<&Stmt> = Vec::new();
            if self.is_elementwise(group[0]) {
                self.extend(&mut group, &mut rest, &mut before);
            }
            groups.extend(self.group_moved(before));
            groups.push(group);
        }
        groups
    }

    /// Takes partners from `rest` into the group; what has to run first goes to `before`.
    fn extend<'k>(
        &self,
        group: &mut Group<'k>,
        rest: &mut Vec<&'k Stmt>,
        before: &mut Vec<&'k Stmt>,
    ) {
        let mut at = 0;
        while at < rest.len().min(REACH) {
            let next = rest[at];
            if !self.is_elementwise(next) || !group.iter().all(|g| fits(g, next)) {
                at += 1;
                continue;
            }
            let between = &rest[..at];
            let movable = between.iter().all(|x| group.iter().all(|g| commute(g, x)));
            if movable {
                before.extend(rest.drain(..at));
                group.push(rest.remove(0));
                at = 0;
            } else if between.iter().all(|x| commute(x, next)) {
                group.push(rest.remove(at));
            } else {
                at += 1;
            }
        }
    }

    /// Groups of statements that were moved, in their order.
    fn group_moved<'k>(&self, moved: Vec<&'k Stmt>) -> Vec<Group<'k>> {
        let mut groups: Vec<Group<'k>> = Vec::new();
        for stmt in moved {
            match groups.last_mut() {
                Some(last)
                    if self.is_elementwise(stmt)
                        && last.iter().all(|g| self.is_elementwise(g) && fits(g, stmt)) =>
                {
                    last.push(stmt);
                }
                _ => groups.push(vec![stmt]),
            }
        }
        groups
    }

    /// Whether the statement becomes a plain loop nest.
    fn is_elementwise(&self, stmt: &Stmt) -> bool {
        match stmt {
            Stmt::Contract {
                axes, dst, a, b, ..
            } => self.is_thin(axes, dst, a, b),
            Stmt::Map { .. } | Stmt::Reduce { .. } => true,
            _ => false,
        }
    }
}

/// Whether two statements give the same in either order. Control flow is never moved across.
fn commute(a: &Stmt, b: &Stmt) -> bool {
    let (Some(a), Some(b)) = (Effects::of(a), Effects::of(b)) else {
        return false;
    };
    let apart = |x: &Effects, y: &Effects| {
        x.writes
            .iter()
            .all(|w| !y.writes.contains(w) && !y.reads.contains(w))
            && x.stores
                .iter()
                .all(|s| !y.stores.contains(s) && !y.loads.iter().any(|l| l == s))
    };
    apart(&a, &b) && apart(&b, &a)
}

/// Buffers and tensors that a statement touches.
#[derive(Default)]
struct Effects<'s> {
    writes: Vec<BufId>,
    reads: Vec<BufId>,
    stores: Vec<&'s str>,
    loads: Vec<String>,
}

impl<'s> Effects<'s> {
    fn of(stmt: &'s Stmt) -> Option<Effects<'s>> {
        let mut all = Effects::default();
        match stmt {
            Stmt::For { .. } | Stmt::If { .. } => return None,
            Stmt::Load {
                dst, tensor, index, ..
            } => {
                all.writes.push(dst.buf);
                all.places(dst);
                all.loads.push(tensor.to_string());
                for ix in index {
                    match ix {
                        LoadIx::Gather(access) => {
                            all.reads.push(access.buf);
                            all.places(access);
                        }
                        LoadIx::Ix(ix) => all.index(ix),
                    }
                }
            }
            Stmt::Store {
                tensor, index, src, ..
            } => {
                index.iter().for_each(|ix| all.index(ix));
                all.stores.push(tensor);
                all.read(src);
            }
            Stmt::Map { dst, expr, .. }
            | Stmt::Reduce { dst, expr, .. }
            | Stmt::Scan { dst, expr, .. } => {
                all.writes.push(dst.buf);
                all.places(dst);
                all.read(expr);
            }
            Stmt::Contract { dst, a, b, .. } => {
                all.writes.push(dst.buf);
                all.reads.extend([a.buf, b.buf]);
                [dst, a, b].into_iter().for_each(|x| all.places(x));
            }
        }
        Some(all)
    }

    fn read(&mut self, expr: &Expr) {
        match expr {
            Expr::Elem(access) => {
                self.reads.push(access.buf);
                self.places(access);
            }
            Expr::Index(ix) => self.index(ix),
            Expr::Add(a, b) | Expr::Mul(a, b) => {
                self.read(a);
                self.read(b);
            }
            Expr::Call(_, args) => args.iter().for_each(|a| self.read(a)),
            Expr::Const(_) | Expr::Scalar(_) => {}
        }
    }

    fn places(&mut self, access: &Access) {
        for place in &access.places {
            if let Place::At(ix) = place {
                self.index(ix);
            }
        }
    }

    /// An index expression may read an integer tensor.
    fn index(&mut self, ix: &Ix) {
        ix.visit_leaves(&mut |leaf| {
            if let Ix::Elem(tensor, _) = leaf {
                self.loads.push(tensor.to_string());
            }
        });
    }
}
