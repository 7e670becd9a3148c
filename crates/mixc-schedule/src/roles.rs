//! What each axis becomes in a kernel: a grid coordinate, a whole tile, a block, a loop.

use crate::Request;
use mixc_ir::{Ix, Name, Program, Stmt, T, Term};
use std::collections::{BTreeMap, BTreeSet};

/// Largest size of a summed axis that is kept whole in a tile.
const MAX_WHOLE_SUM: i64 = 1024;
/// Largest size of an output axis that is kept whole in a tile.
const MAX_WHOLE_OUTPUT: i64 = 512;

/// Rows of matrix instructions (`mma.sync`, `m16n8k16`).
const MATRIX_ROWS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One grid coordinate for each position.
    Batch,
    /// The whole axis is one tile of this extent.
    Whole(usize),
    /// Tiles of this extent, one grid coordinate for each.
    Block(usize),
}

/// Sizes that are sequence lengths: run-time values, never whole in a tile.
pub struct Roles {
    sequence: BTreeSet<Name>,
    sizes: BTreeMap<Name, i64>,
    /// Axes of packed rows: run-time sizes too.
    packed: BTreeSet<Name>,
    pub matrix_units: bool,
}

fn index_axes(term: &T) -> BTreeSet<Name> {
    match &**term {
        Term::Index(ix) => ix.axes(),
        _ => BTreeSet::new(),
    }
}

fn dims_of(ix: &Ix) -> BTreeSet<Name> {
    let mut dims = BTreeSet::new();
    ix.visit_leaves(&mut |leaf| {
        if let Ix::Dim(name) = leaf {
            dims.insert(name.clone());
        }
    });
    dims
}

impl Roles {
    /// A size is a sequence length if an axis of it is scanned, split or normalised over, compared or combined with
    /// another axis, or numbers the rows of a matrix of scores.
    pub fn new(program: &Program, request: &Request) -> Roles {
        let mut axes: BTreeSet<Name> = program.splits.iter().map(|s| s.axis.clone()).collect();
        let mut scores: Vec<(T, Vec<Name>)> = vec![];
        for stmt in &program.body {
            if let Stmt::Scan(scan) = stmt {
                axes.insert(scan.axis.clone());
            }
        }
        for l in program.lets() {
            l.value.visit(&mut |t| match &**t {
                Term::Index(ix) if ix.axes().len() > 1 => axes.extend(ix.axes()),
                Term::Map { f, args } if f.is_predicate() => {
                    let compared: BTreeSet<Name> = args.iter().flat_map(index_axes).collect();
                    if compared.len() > 1 {
                        axes.extend(compared);
                    }
                }
                Term::Softmax {
                    axes: own, score, ..
                }
                | Term::Online {
                    axes: own, score, ..
                } => {
                    axes.extend(own.iter().cloned());
                    scores.push((score.clone(), own.clone()));
                }
                Term::Reduce {
                    axes: own, body, ..
                } => scores.push((body.clone(), own.clone())),
                Term::Ss { j, i, .. } | Term::Scan { j, i, .. } => {
                    axes.extend([j.clone(), i.clone()])
                }
                Term::Last { j, .. } => {
                    axes.insert(j.clone());
                }
                Term::CumProd { axis, .. }
                | Term::SufProd { axis, .. }
                | Term::CumSum { axis, .. } => {
                    axes.insert(axis.clone());
                }
                Term::Merge { axis, .. } => {
                    axes.insert(axis.clone());
                }
                Term::Read { index, .. } => {
                    let computed = index.iter().filter(|ix| !matches!(ix, Ix::Axis(_)));
                    axes.extend(computed.filter(|ix| ix.axes().len() > 1).flat_map(Ix::axes));
                }
                _ => {}
            });
        }
        let sizes = |axes: &BTreeSet<Name>| -> BTreeSet<Name> {
            let sizes = axes.iter().filter_map(|a| program.axes.get(a));
            sizes.flat_map(dims_of).collect()
        };
        let mut sequence = sizes(&axes);
        for (score, columns) in scores {
            let is_length = |a: &Name| {
                let size = program.axes.get(a);
                size.is_some_and(|size| dims_of(size).iter().any(|d| sequence.contains(d)))
            };
            let rows = sizes(&rows_of(&score, &columns, &is_length));
            sequence.extend(rows);
        }
        // The head of a grouped read (h / (H / G)) is a computed index too, but of a single axis.
        sequence.retain(|d| program.dims.contains(d));
        Roles {
            sequence,
            sizes: request.sizes.clone(),
            packed: BTreeSet::new(),
            matrix_units: request.matrix_units,
        }
    }

    pub fn pack(&mut self, rows: &Name) {
        self.packed.insert(rows.clone());
    }

    pub fn is_packed(&self, axis: &Name) -> bool {
        self.packed.contains(axis)
    }

    pub fn is_sequence(&self, size: &Ix) -> bool {
        dims_of(size).iter().any(|d| self.sequence.contains(d))
    }

    /// Whether an axis runs over a sequence.
    pub fn is_length(&self, program: &Program, axis: &Name) -> bool {
        let size = program.axes.get(axis);
        size.is_some_and(|size| self.is_sequence(size))
    }

    pub fn value(&self, size: &Ix) -> i64 {
        size.eval_sizes(&self.sizes).unwrap_or(i64::MAX)
    }

    /// Rows of a tile of a sequence, given the most.
    pub fn rows(&self, most: usize, size: &Ix) -> usize {
        let least = if self.matrix_units { MATRIX_ROWS } else { 1 };
        fitted(most, self.value(size)).max(least.min(most))
    }

    /// Whether a summed axis needs a loop.
    pub fn is_stream(&self, program: &Program, axis: &Name) -> bool {
        let Some(size) = program.axes.get(axis) else {
            return false;
        };
        if program.splits.iter().any(|s| s.inner == *axis) {
            return self.value(size) > MAX_CHUNK;
        }
        self.is_sequence(size) || self.value(size) > MAX_WHOLE_SUM
    }

    /// The role of an output axis that keeps its place in tiles.
    pub fn tile_role(&self, size: &Ix, block: usize) -> Role {
        let value = self.value(size);
        if !self.is_sequence(size) && value <= MAX_WHOLE_OUTPUT {
            Role::Whole(value.max(1) as usize)
        } else if self.is_sequence(size) {
            Role::Block(fitted(block, value))
        } else {
            Role::Block(256)
        }
    }
}

/// Whether an axis is one of the two that a split axis has become.
pub fn is_part(program: &Program, axis: &Name) -> bool {
    let mut splits = program.splits.iter();
    splits.any(|s| s.inner == *axis || s.outer == *axis)
}

/// Longest chunk that is kept whole in a tile; a longer one is streamed.
pub const MAX_CHUNK: i64 = 128;

/// A block no larger than the power of two that holds the axis.
pub fn fitted(block: usize, size: i64) -> usize {
    let size = usize::try_from(size)
        .unwrap_or(usize::MAX)
        .clamp(1, 1 << 20);
    block.min(size.next_power_of_two())
}

/// Output axes along which operands are reused: some product has a factor with the axis and a factor that reads a tensor
/// without it. Only lengths and features count: where heads share keys, rows of several heads are packed, or not.
pub fn reused_axes(term: &T, is_sequence: &dyn Fn(&Name) -> bool) -> BTreeSet<Name> {
    let features = features(term, is_sequence);
    let side = |a: &Name| is_sequence(a) || features.contains(a);
    let mut reused = BTreeSet::new();
    term.visit(&mut |t| {
        let factors: Vec<&T> = match &**t {
            Term::Sum { factors, .. } => factors.iter().collect(),
            Term::Online { score, value, .. } => vec![score, value],
            _ => return,
        };
        // A mask is no operand: what it lacks is not read again.
        let tensors = factors.iter().filter(|f| reads_tensor(f));
        let tensors: Vec<BTreeSet<Name>> = tensors.map(|f| f.free_axes()).collect();
        let lacking = |a: &Name| tensors.iter().any(|axes| !axes.contains(a));
        let axes = factors.iter().filter(|f| reads_tensor(f) || has_mask(f));
        let axes = axes.flat_map(|f| f.free_axes());
        reused.extend(axes.filter(|a| side(a) && lacking(a)));
    });
    reused
}

/// Axes that are the last one but for lengths in a tensor, and in one with as many axes as any other that has them: the
/// h of a [b, t, h] beside a [b, t, h, d] is none.
fn features(term: &T, is_sequence: &dyn Fn(&Name) -> bool) -> BTreeSet<Name> {
    // For every axis the rank of the largest tensor that has it, and of the largest that has it last.
    let mut ranks: BTreeMap<Name, (usize, usize)> = BTreeMap::new();
    term.visit(&mut |t| {
        let Term::Read { index, .. } = &**t else {
            return;
        };
        let is_feature = |ix: &&Ix| !ix.axes().iter().any(is_sequence);
        let last = index.iter().rfind(is_feature).map(Ix::axes);
        for axis in index.iter().flat_map(Ix::axes) {
            let at_end = last.iter().flatten().any(|a| *a == axis);
            let (any, end) = ranks.entry(axis).or_default();
            *any = index.len().max(*any);
            *end = (*end).max(if at_end { index.len() } else { 0 });
        }
    });
    let found = ranks.into_iter().filter(|(_, (any, end))| any == end);
    found.map(|(axis, _)| axis).collect()
}

/// Whether a term reads a tensor with two axes and more.
pub fn reads_tensor(term: &T) -> bool {
    let mut found = false;
    term.visit(&mut |t| found |= matches!(&**t, Term::Read { index, .. } if index.len() > 1));
    found
}

fn has_mask(term: &T) -> bool {
    let mut found = false;
    term.visit(&mut |t| found |= matches!(&**t, Term::Ss { .. }));
    found
}

/// The rows of scores: the axis that one factor of a product has and the other, which has `columns`, lacks; of several, one
/// of the two innermost. None where the factor has a length already.
fn rows_of(score: &T, columns: &[Name], is_length: &dyn Fn(&Name) -> bool) -> BTreeSet<Name> {
    let mut rows = BTreeSet::new();
    score.visit(&mut |t| {
        let Term::Sum { axes, factors } = &**t else {
            return;
        };
        let has_columns = |f: &&T| f.free_axes().iter().any(|a| columns.contains(a));
        let Some(keys) = factors.iter().find(has_columns) else {
            return;
        };
        let keys = keys.free_axes();
        for queries in factors.iter().filter(|f| !has_columns(f)) {
            let free = queries.free_axes().into_iter();
            let own: Vec<Name> = free
                .filter(|a| !axes.contains(a) && !keys.contains(a))
                .collect();
            let inner = innermost(queries);
            let near: Vec<Name> = own.iter().filter(|a| inner.contains(*a)).cloned().collect();
            if axes.is_empty() || own.iter().any(is_length) {
                continue;
            }
            match (&near[..], &own[..]) {
                ([row], _) | ([], [row]) => _ = rows.insert(row.clone()),
                _ => {}
            }
        }
    });
    rows
}

fn innermost(term: &T) -> BTreeSet<Name> {
    let mut inner = BTreeSet::new();
    term.visit(&mut |t| match &**t {
        Term::Read { index, .. } if index.len() > 1 => {
            inner.extend(index.iter().rev().take(2).flat_map(Ix::axes));
        }
        Term::Ss { j, i, .. } => inner.extend([j.clone(), i.clone()]),
        _ => {}
    });
    inner
}
