//! Which axes of a product's result are its rows.
//!
//! Rows that are computed can stay in the registers they are computed in; columns are read from shared memory by all
//! warps. And tiles that meet in an elementwise statement must agree.

use super::products::{is_computed, split};
use super::{Product, contiguous_axis};
use crate::Options;
use crate::visit::{self, Key};
use mixc_ir::Name;
use mixc_tile::{Access, BufId, Kernel, LoadIx, Place, Stmt};
use std::collections::{BTreeSet, HashMap};

/// A dimension of a buffer.
type Dim = (u32, usize);
/// Classes of dimensions.
type Set = BTreeSet<Dim>;

/// Swaps rows and columns where that is better.
pub(super) fn orient(kernel: &Kernel, options: &Options, products: &mut [(Key, Product)]) {
    let classes = Classes::of(kernel);
    for (_, product) in products.iter_mut() {
        let computed = |access: &Access| is_computed(kernel, access);
        let (a, b) = (computed(&product.rows), computed(&product.columns));
        let better = if a != b && stands_alone(kernel, product.dst.buf) {
            b
        } else {
            classes.score(&product.dst, &product.n) > classes.score(&product.dst, &product.m)
        };
        if better {
            product.swap();
        }
    }
    keep_factors_in_place(kernel, options, &classes, products);
}

/// Results that have the same classes of axes are turned together if fewer elements have to be moved to shared memory
/// then or, with as many, if stores find neighbours in one thread.
fn keep_factors_in_place(
    kernel: &Kernel,
    options: &Options,
    classes: &Classes,
    products: &mut [(Key, Product)],
) {
    let sides = |p: &Product| (classes.of_axes(&p.dst, &p.m), classes.of_axes(&p.dst, &p.n));
    let before: Vec<(Set, Set)> = products.iter().map(|(_, p)| sides(p)).collect();
    let stored = stored_along(kernel, classes);
    let size = |axes: &[(Name, usize)]| axes.iter().map(|(_, n)| n).product::<usize>();
    let mut turned = vec![];
    for (n, (rows, columns)) in before.iter().enumerate() {
        let alike =
            |s: &(Set, Set)| (&s.0, &s.1) == (rows, columns) || (&s.1, &s.0) == (rows, columns);
        let group: Vec<&Product> = products
            .iter()
            .zip(&before)
            .filter(|(_, s)| alike(s))
            .map(|((_, p), _)| p)
            .collect();
        let cost = |rows: &Set| {
            let moved = group.iter().map(|p| {
                let (own, outer, other) = match sides(p).0 == *rows {
                    true => (&p.rows, &p.m, &p.columns),
                    false => (&p.columns, &p.n, &p.rows),
                };
                let stays = !is_computed(kernel, own)
                    || in_place(kernel, classes, &before, own, &classes.of_axes(own, outer));
                let size = |moves: bool, factor: &Access| match moves {
                    true => kernel.bufs[visit::index(factor.buf)].shape.iter().product(),
                    false => 0usize,
                };
                size(!stays, own) + size(is_computed(kernel, other), other)
            });
            let scattered = rows.intersection(&stored).count();
            (moved.sum::<usize>(), scattered)
        };
        // Sixteen rows for each warp, or as many as there would be otherwise.
        let enough = |p: &&Product| size(&p.n) >= size(&p.m).min(16 * options.warps as usize);
        if group.iter().all(enough) && cost(columns) < cost(rows) {
            turned.push(n);
        }
    }
    for n in turned {
        products[n].1.swap();
    }
}

/// The classes of the axes that are contiguous in a tensor to which they are stored.
fn stored_along(kernel: &Kernel, classes: &Classes) -> Set {
    let mut found = Set::new();
    visit::each(&kernel.body, &mut |stmt| {
        let Stmt::Store { tensor, index, .. } = stmt else {
            return;
        };
        let index: Vec<LoadIx> = index.iter().map(|ix| LoadIx::Ix(ix.clone())).collect();
        if let Some(axis) = contiguous_axis(kernel, &visit::axes(stmt), tensor, &index) {
            for access in visit::reads(stmt)
                .into_iter()
                .filter(|a| a.places.len() >= 2)
            {
                found.extend(classes.of_axes(access, &[(axis.clone(), 1)]));
            }
        }
    });
    found
}

/// Whether a computed factor lies in registers with these classes as its rows, or may.
fn in_place(
    kernel: &Kernel,
    classes: &Classes,
    results: &[(Set, Set)],
    factor: &Access,
    outer: &Set,
) -> bool {
    let all: Set = (0..factor.places.len())
        .map(|d| classes.root((factor.buf.0, d)))
        .collect();
    let mut alike = results
        .iter()
        .filter(|(rows, columns)| rows.union(columns).cloned().collect::<Set>() == all);
    match alike.next() {
        Some((rows, _)) => rows == outer,
        None => is_elementwise(kernel, factor.buf),
    }
}

fn is_elementwise(kernel: &Kernel, buf: BufId) -> bool {
    let mut all = true;
    visit::each(&kernel.body, &mut |stmt| {
        if visit::written(stmt).is_some_and(|dst| dst.buf == buf) {
            all &= matches!(stmt, Stmt::Map { .. });
        }
    });
    all
}

/// Whether the result of a product meets no other product's result in an elementwise statement. Then its rows are
/// its own to choose, and a factor that was computed is best as the rows: it stays in registers, and
/// can be split without a second copy.
fn stands_alone(kernel: &Kernel, buf: BufId) -> bool {
    let mut results = vec![];
    visit::each(&kernel.body, &mut |stmt| {
        if let Stmt::Contract { dst, .. } = stmt {
            results.push(dst.buf);
        }
    });
    let mut alone = true;
    visit::each(&kernel.body, &mut |stmt| {
        let mut accesses = visit::reads(stmt);
        accesses.extend(visit::written(stmt));
        let touches = accesses.iter().any(|a| a.buf == buf);
        if !matches!(stmt, Stmt::Contract { .. }) && touches {
            alone &= accesses
                .iter()
                .all(|a| a.buf == buf || a.places.len() < 2 || !results.contains(&a.buf));
        }
    });
    alone
}

/// Dimensions of buffers that go together: two tiles used in one elementwise statement have the same axes.
struct Classes {
    parent: HashMap<Dim, Dim>,
    /// How often a class is a row or column of a result, less twice the times it is summed over.
    scores: HashMap<Dim, i32>,
}

impl Classes {
    fn of(kernel: &Kernel) -> Classes {
        let mut classes = Classes {
            parent: HashMap::new(),
            scores: HashMap::new(),
        };
        visit::each(&kernel.body, &mut |stmt| {
            let mut seen: HashMap<Name, Dim> = HashMap::new();
            let mut accesses = visit::reads(stmt);
            accesses.extend(visit::written(stmt));
            // Vectors are read by tiles of any orientation, so they join nothing.
            for access in accesses.into_iter().filter(|a| a.places.len() >= 2) {
                for (d, place) in access.places.iter().enumerate() {
                    if let Place::Axis(name) = place {
                        let here = (access.buf.0, d);
                        match seen.get(name) {
                            Some(other) => classes.join(here, *other),
                            None => {
                                seen.insert(name.clone(), here);
                            }
                        }
                    }
                }
            }
        });
        visit::each(&kernel.body, &mut |stmt| {
            if let Some(p) = split(stmt) {
                for (access, weight) in [(&p.dst, 1), (&p.rows, -2), (&p.columns, -2)] {
                    for (d, place) in access.places.iter().enumerate() {
                        let Place::Axis(name) = place else {
                            continue;
                        };
                        if weight < 0 && !p.k.iter().any(|(k, _)| k == name) {
                            continue;
                        }
                        let class = classes.root((access.buf.0, d));
                        *classes.scores.entry(class).or_default() += weight;
                    }
                }
            }
        });
        classes
    }

    fn root(&self, mut at: Dim) -> Dim {
        while let Some(up) = self.parent.get(&at) {
            at = *up;
        }
        at
    }

    fn join(&mut self, a: Dim, b: Dim) {
        let (a, b) = (self.root(a), self.root(b));
        if a != b {
            self.parent.insert(a.max(b), a.min(b));
        }
    }

    /// The classes of the dimensions that these axes index.
    fn of_axes(&self, access: &Access, axes: &[(Name, usize)]) -> Set {
        let indexed = |p: &Place| axes.iter().any(|(n, _)| *p == Place::Axis(n.clone()));
        let places = access.places.iter().enumerate();
        places
            .filter(|(_, p)| indexed(p))
            .map(|(d, _)| self.root((access.buf.0, d)))
            .collect()
    }

    /// How well these axes of a result serve as rows.
    fn score(&self, dst: &Access, axes: &[(Name, usize)]) -> (i32, usize) {
        let classes = self.of_axes(dst, axes).into_iter();
        let score = classes
            .map(|c| self.scores.get(&c).copied().unwrap_or(0))
            .sum();
        (score, axes.iter().map(|(_, n)| n).product())
    }
}
