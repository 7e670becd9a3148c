//! Loads that are prefetched: those at the top level of a loop that depend on nothing computed in it.

use super::{Home, is_word, pieces};
use crate::Options;
use crate::visit::{self, Key};
use mixc_ir::{Ix, Name};
use mixc_tile::{Kernel, LoadIx, Stmt, Usage};
use std::collections::{BTreeMap, HashMap};

/// Loops that follow each other over one range, and their loads, prefetched across the boundaries.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pipeline {
    /// How many loops.
    pub length: usize,
    /// The variable of the first loop, whose loads stand for those of all.
    pub var: Name,
    pub stages: u32,
    /// The prefetched loads of each loop, in order.
    pub loads: Vec<Vec<Key>>,
    /// For each load the buffers that it fills, one for each loop.
    pub groups: Vec<Vec<usize>>,
}

pub(crate) fn find(kernel: &Kernel, options: &Options, homes: &[Home]) -> HashMap<Key, Pipeline> {
    let mut found = HashMap::new();
    if options.stages >= 2 {
        in_body(kernel, options, homes, &kernel.body, &mut found);
    }
    found
}

/// Keeps the loads that are in `wanted`, and the pipelines that have any.
pub(crate) fn keep<V>(pipelines: &mut HashMap<Key, Pipeline>, wanted: &HashMap<Key, V>) {
    for pipeline in pipelines.values_mut() {
        let stays: Vec<bool> = pipeline.loads[0]
            .iter()
            .map(|key| wanted.contains_key(key))
            .collect();
        let mut keep = stays.iter();
        pipeline.groups.retain(|_| *keep.next().unwrap_or(&false));
        for loads in &mut pipeline.loads {
            let mut keep = stays.iter();
            loads.retain(|_| *keep.next().unwrap_or(&false));
        }
    }
    pipelines.retain(|_, pipeline| !pipeline.groups.is_empty());
}

fn in_body(
    kernel: &Kernel,
    options: &Options,
    homes: &[Home],
    body: &[Stmt],
    found: &mut HashMap<Key, Pipeline>,
) {
    let mut n = 0;
    while n < body.len() {
        match &body[n] {
            Stmt::For { var, .. } => {
                let loads = candidates(kernel, options, homes, &body[n]);
                let mut length = 1;
                let mut all = vec![loads];
                while let Some(next) = body.get(n + length)
                    && !all[0].is_empty()
                    && follows(&body[n + length - 1], next)
                {
                    let loads = candidates(kernel, options, homes, next);
                    if !same_loads(&body[n], &all[0], next, &loads) {
                        break;
                    }
                    all.push(loads);
                    length += 1;
                }
                if !all[0].is_empty() {
                    let buffer = |stmt: &&Stmt| visit::written(stmt).map(|d| visit::index(d.buf));
                    let groups = (0..all[0].len())
                        .map(|l| all.iter().filter_map(|loads| buffer(&loads[l])).collect())
                        .collect();
                    let keys = |loads: &Vec<&Stmt>| loads.iter().map(|s| *s as Key).collect();
                    found.insert(
                        &body[n] as Key,
                        Pipeline {
                            length,
                            var: var.clone(),
                            stages: options.stages,
                            loads: all.iter().map(keys).collect(),
                            groups,
                        },
                    );
                }
                for k in 0..length {
                    if let Stmt::For { body: inner, .. } = &body[n + k] {
                        in_body(kernel, options, homes, inner, found);
                    }
                }
                n += length;
            }
            Stmt::If {
                then, otherwise, ..
            } => {
                in_body(kernel, options, homes, then, found);
                in_body(kernel, options, homes, otherwise, found);
                n += 1;
            }
            _ => n += 1,
        }
    }
}

/// The loads of a loop that can run ahead: whole tiles of tensors that this kernel only reads, in 16-byte pieces, and
/// single words.
fn candidates<'k>(
    kernel: &Kernel,
    options: &Options,
    homes: &[Home],
    stmt: &'k Stmt,
) -> Vec<&'k Stmt> {
    let Stmt::For { body, .. } = stmt else {
        return vec![];
    };
    let fits = |load: &&Stmt| {
        let Stmt::Load {
            dst, tensor, index, ..
        } = load
        else {
            return false;
        };
        let Some(declared) = kernel.tensors.iter().find(|t| t.name == *tensor) else {
            return false;
        };
        let axes = visit::axes(load);
        let moves = pieces(kernel, options, &axes, tensor, index).is_some()
            || is_word(kernel, &axes, tensor);
        let writers = count(&kernel.body, &|s| {
            visit::written(s).is_some_and(|d| d.buf == dst.buf)
        });
        let inside = count(body, &|s| visit::touches(s, dst.buf));
        let everywhere = count(&kernel.body, &|s| visit::touches(s, dst.buf));
        moves
            && declared.usage != Usage::Out
            && visit::only_read(kernel, tensor)
            && index.iter().all(|ix| matches!(ix, LoadIx::Ix(_)))
            && visit::plain(dst).is_some()
            && homes[visit::index(dst.buf)] == Home::Shared
            && writers == 1
            && inside == everywhere
    };
    body.iter().filter(fits).collect()
}

fn count(body: &[Stmt], wanted: &dyn Fn(&Stmt) -> bool) -> usize {
    let mut n = 0;
    visit::each(body, &mut |stmt| n += usize::from(wanted(stmt)));
    n
}

/// Whether a loop goes on where the one before ends.
fn follows(first: &Stmt, next: &Stmt) -> bool {
    match (first, next) {
        (
            Stmt::For {
                hi, reverse: false, ..
            },
            Stmt::For {
                lo, reverse: false, ..
            },
        ) => hi == lo,
        _ => false,
    }
}

fn same_loads(first: &Stmt, loads: &[&Stmt], next: &Stmt, others: &[&Stmt]) -> bool {
    let (Stmt::For { var: a, .. }, Stmt::For { var: b, .. }) = (first, next) else {
        return false;
    };
    loads.len() == others.len() && loads.iter().zip(others).all(|(x, y)| same_load(x, a, y, b))
}

/// Whether two loads move the same tile when the loop variables `a` and `b` are equal.
pub(crate) fn same_load(x: &Stmt, a: &Name, y: &Stmt, b: &Name) -> bool {
    let (
        Stmt::Load {
            axes: axes_x,
            dst: dst_x,
            tensor: tensor_x,
            index: index_x,
        },
        Stmt::Load {
            axes: axes_y,
            dst: dst_y,
            tensor: tensor_y,
            index: index_y,
        },
    ) = (x, y)
    else {
        return false;
    };
    let mut names: BTreeMap<Name, Ix> = BTreeMap::new();
    names.insert(b.clone(), Ix::Axis(a.clone()));
    for (ax, ay) in axes_x.iter().zip(axes_y) {
        names.insert(ay.name.clone(), Ix::Axis(ax.name.clone()));
    }
    let renamed = |ix: &LoadIx| match ix {
        LoadIx::Ix(ix) => Some(ix.substitute(&names)),
        LoadIx::Gather(_) => None,
    };
    let own = |ix: &LoadIx| match ix {
        LoadIx::Ix(ix) => Some(ix.clone()),
        LoadIx::Gather(_) => None,
    };
    let place = |p: &mixc_tile::Place| match p {
        mixc_tile::Place::Axis(n) => names.get(n).cloned().unwrap_or(Ix::Axis(n.clone())),
        mixc_tile::Place::At(ix) => ix.substitute(&names),
    };
    let own_place = |p: &mixc_tile::Place| match p {
        mixc_tile::Place::Axis(n) => Ix::Axis(n.clone()),
        mixc_tile::Place::At(ix) => ix.clone(),
    };
    tensor_x == tensor_y
        && axes_x.len() == axes_y.len()
        && axes_x.iter().zip(axes_y).all(|(p, q)| p.extent == q.extent)
        && index_x.len() == index_y.len()
        && index_x
            .iter()
            .zip(index_y)
            .all(|(p, q)| own(p).is_some() && own(p) == renamed(q))
        && dst_x.places.len() == dst_y.places.len()
        && dst_x
            .places
            .iter()
            .zip(&dst_y.places)
            .all(|(p, q)| own_place(p) == place(q))
}
