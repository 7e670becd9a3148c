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

use crate::simplify::dead::{drop_unused, visit};
use crate::visit::{each, elements, reads, written};
use crate::{Access, BufId, Expr, Kernel, Place, Stmt};
use mixc_ir::Name;
use std::collections::BTreeSet;

/// Applies both rules wherever they fit. The kernel stores the same values.
pub fn reuse(kernel: &mut Kernel) {
    compute_once(&mut kernel.body);
    while let Some(copy) = copies(&kernel.body).into_iter().find(|c| c.fits(kernel)) {
        copy.remove(&mut kernel.body);
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

fn compute_once(body: &mut Vec<Stmt>) {
    for n in 0..body.len() {
        blocks(&mut body[n]).into_iter().for_each(compute_once);
        let Some(r) = (0..n).find(|r| reduces_the_same(body, *r, n)) else {
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
fn reduces_the_same(body: &[Stmt], r: usize, n: usize) -> bool {
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
    let same = expr == other && reduced.len() == axes.len();
    same && reduced.iter().all(|a| axes.contains(a))
        && dst.places.len() == axes.len()
        && is_whole(dst)
        && !inputs.contains(&dst.buf)
        && !touches(&body[r..n], dst.buf)
        && !inputs.iter().any(|b| writes(&body[r..n], *b))
}

/// Whether an access goes along one axis in every dimension.
fn is_whole(access: &Access) -> bool {
    let axes: BTreeSet<&Name> = access.places.iter().filter_map(axis).collect();
    axes.len() == access.places.len()
}

fn axis(place: &Place) -> Option<&Name> {
    match place {
        Place::Axis(name) => Some(name),
        Place::At(_) => None,
    }
}

fn touches(body: &[Stmt], buf: BufId) -> bool {
    let mut found = false;
    each(body, &mut |s| {
        found |= written(s).is_some_and(|d| d.buf == buf) || reads(s).iter().any(|a| a.buf == buf);
    });
    found
}

fn writes(body: &[Stmt], buf: BufId) -> bool {
    let mut found = false;
    each(body, &mut |s| {
        found |= written(s).is_some_and(|d| d.buf == buf)
    });
    found
}

/// A statement that copies a whole buffer: its place (indices of blocks and statements from the outermost in) and what
/// it copies.
struct Copy {
    path: Vec<(usize, usize)>,
    at: usize,
    from: BufId,
    to: BufId,
}

fn copies(body: &[Stmt]) -> Vec<Copy> {
    let mut found = vec![];
    copies_in(body, &mut vec![], &mut found);
    found
}

fn copies_in(body: &[Stmt], path: &mut Vec<(usize, usize)>, found: &mut Vec<Copy>) {
    for (at, stmt) in body.iter().enumerate() {
        let inner: Vec<&Vec<Stmt>> = match stmt {
            Stmt::For { body, .. } => vec![body],
            Stmt::If {
                then, otherwise, ..
            } => vec![then, otherwise],
            _ => vec![],
        };
        for (block, inner) in inner.into_iter().enumerate() {
            path.push((at, block));
            copies_in(inner, path, found);
            path.pop();
        }
        if let Stmt::Map {
            dst,
            expr: Expr::Elem(src),
            ..
        } = stmt
            && dst.buf != src.buf
            && dst.places == src.places
            && is_whole(dst)
        {
            found.push(Copy {
                path: path.clone(),
                at,
                from: src.buf,
                to: dst.buf,
            });
        }
    }
}

impl Copy {
    fn block<'b>(&self, mut body: &'b [Stmt]) -> &'b [Stmt] {
        for (at, block) in &self.path {
            body = match &body[*at] {
                Stmt::For { body, .. } => body,
                Stmt::If { then, .. } if *block == 0 => then,
                Stmt::If { otherwise, .. } => otherwise,
                _ => body,
            };
        }
        body
    }

    /// The statement that makes all of what is copied.
    fn maker(&self, block: &[Stmt]) -> Option<usize> {
        let made = |s: &Stmt| written(s).is_some_and(|d| d.buf == self.from);
        block[..self.at].iter().position(made)
    }

    fn fits(&self, kernel: &Kernel) -> bool {
        let block = self.block(&kernel.body);
        let (from, to) = (
            &kernel.bufs[self.from.0 as usize],
            &kernel.bufs[self.to.0 as usize],
        );
        let (Some(made), Stmt::Map { axes: copied, .. }) = (self.maker(block), &block[self.at])
        else {
            return false;
        };
        let Stmt::Map { axes, dst, .. } = &block[made] else {
            return false;
        };
        let extents = |axes: &[crate::Axis]| axes.iter().map(|a| a.extent).product::<usize>();
        let all: usize = from.shape.iter().product();
        // In place, an element may depend on the one that it replaces only.
        let elementwise = reads(&block[made])
            .iter()
            .all(|a| a.buf != self.to || a.places == dst.places);
        let (mut everywhere, mut makers) = (0, 0);
        each(&kernel.body, &mut |s| {
            everywhere += usize::from(touches_itself(s, self.from));
            makers += usize::from(written(s).is_some_and(|d| d.buf == self.from));
        });
        let mut inside = 0;
        each(&block[made..=self.at], &mut |s| {
            inside += usize::from(touches_itself(s, self.from));
        });
        from.shape == to.shape
            && from.space == to.space
            && is_whole(dst)
            && extents(axes) == all
            && extents(copied) == all
            && elementwise
            && makers == 1
            && everywhere == inside
            && !touches(&block[made + 1..self.at], self.to)
    }

    fn remove(&self, body: &mut Vec<Stmt>) {
        let mut block = body;
        for (at, inner) in &self.path {
            block = blocks(&mut block[*at]).swap_remove(*inner);
        }
        block.remove(self.at);
        visit(block, &mut |access, _| {
            if access.buf == self.from {
                access.buf = self.to;
            }
        });
    }
}

fn touches_itself(stmt: &Stmt, buf: BufId) -> bool {
    written(stmt).is_some_and(|d| d.buf == buf) || reads(stmt).iter().any(|a| a.buf == buf)
}
