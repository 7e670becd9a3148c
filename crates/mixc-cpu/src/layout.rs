//! Where each buffer lies in a thread's scratch memory, and which dimension is innermost.
//!
//! The order of dimensions decides what is fast: a contraction needs an innermost axis that its result
//! and one operand share, elementwise statements want one axis innermost everywhere. Every dimension
//! that the same axis indexes in some statement belongs to one *class*; putting one class innermost
//! wherever it occurs is a starting point, changing one buffer at a time the refinement. The cost of a
//! choice is an estimate in cycles, with run-time loops counted as several rounds.

use crate::contract::{blocking, stride};
use crate::elementwise::best_lane;
use crate::functions;
use crate::transfer::local_affine;
use mixc_ir::{Func, Ix};
use mixc_tile::visit::{reads, written};
use mixc_tile::{Access, Axis, BufId, Expr, Kernel, LoadIx, Place, Stmt};

/// A buffer in scratch memory. The innermost dimension is padded to whole vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Bytes per step of each logical dimension.
    pub strides: Vec<i64>,
    /// Bytes from the start of the scratch memory, a multiple of 64.
    pub offset: i64,
    /// The contiguous dimension.
    pub inner: Option<usize>,
    pub bytes: i64,
}

impl Layout {
    /// Dimensions in logical order, but `inner` innermost.
    pub fn with_inner(shape: &[usize], inner: Option<usize>) -> Layout {
        let mut strides = vec![0; shape.len()];
        let mut step = 4;
        let mut place = |d: usize, extent: usize| {
            strides[d] = step;
            step *= extent as i64;
        };
        if let Some(d) = inner {
            place(d, shape[d].next_multiple_of(4));
        }
        for d in (0..shape.len()).rev().filter(|d| Some(*d) != inner) {
            place(d, shape[d]);
        }
        Layout {
            strides,
            offset: 0,
            inner,
            bytes: (step + 63) / 64 * 64,
        }
    }
}

/// Lays out all buffers; also the size of the scratch memory in bytes.
pub(crate) fn assign(kernel: &Kernel) -> (Vec<Layout>, i64) {
    let mut layouts = search(kernel);
    let mut used = vec![false; kernel.bufs.len()];
    let mut work = Vec::new();
    collect(&kernel.body, 1.0, &mut work);
    for b in work.iter().flat_map(|w| &w.bufs) {
        if let Some(used) = used.get_mut(b.0 as usize) {
            *used = true;
        }
    }
    let mut at = 0;
    for (layout, used) in layouts.iter_mut().zip(used) {
        layout.offset = at;
        // Merging leaves buffers that nothing touches.
        at += if used { layout.bytes } else { 0 };
    }
    // Reading whole vectors at the end of the last row stays inside.
    (layouts, at + 64)
}

/// A statement that touches buffers, and how often it runs.
struct Work<'k> {
    stmt: &'k Stmt,
    rounds: f64,
    bufs: Vec<BufId>,
}

fn search(kernel: &Kernel) -> Vec<Layout> {
    let mut work = Vec::new();
    collect(&kernel.body, 1.0, &mut work);
    let classes = classes(kernel, &work);
    let shapes: Vec<&[usize]> = kernel.bufs.iter().map(|b| b.shape.as_slice()).collect();
    let natural = |shape: &[usize]| (0..shape.len()).next_back();
    // Innermost is the dimension of the first class that occurs; else the last one.
    let by_classes = |order: &[usize]| -> Vec<Layout> {
        let pick = |b: usize| {
            let shape = shapes[b];
            let of = |class: &usize| {
                (0..shape.len())
                    .rev()
                    .find(|d| classes.of(b, *d) == *class && shape[*d] > 1)
            };
            order.iter().find_map(of).or(natural(shape))
        };
        (0..shapes.len())
            .map(|b| Layout::with_inner(shapes[b], pick(b)))
            .collect()
    };
    let total = |layouts: &[Layout]| work.iter().map(|w| cost(w, layouts)).sum::<f64>();
    let names = classes.all();
    let mut seeds: Vec<(f64, Vec<Layout>)> = vec![(0.0, by_classes(&[]))];
    for first in &names {
        for second in &names {
            let layouts = by_classes(&[*first, *second]);
            if seeds.iter().all(|(_, known)| *known != layouts) {
                seeds.push((0.0, layouts));
            }
        }
    }
    seeds
        .iter_mut()
        .for_each(|(cost, layouts)| *cost = total(layouts));
    seeds.sort_by(|a, b| a.0.total_cmp(&b.0));
    seeds.truncate(REFINED);
    let refined = seeds
        .into_iter()
        .map(|(_, layouts)| refine(layouts, &shapes, &work));
    refined
        .min_by(|a, b| total(a).total_cmp(&total(b)))
        .unwrap_or_else(|| by_classes(&[]))
}

/// How many starting points are refined.
const REFINED: usize = 5;

/// Changes one buffer at a time while that helps.
fn refine(mut best: Vec<Layout>, shapes: &[&[usize]], work: &[Work]) -> Vec<Layout> {
    let mut costs: Vec<f64> = work.iter().map(|w| cost(w, &best)).collect();
    for _ in 0..3 {
        let mut changed = false;
        for b in 0..shapes.len() {
            if shapes[b].len() < 2 {
                continue;
            }
            let touched: Vec<usize> = (0..work.len())
                .filter(|w| work[*w].bufs.contains(&BufId(b as u32)))
                .collect();
            for d in 0..shapes[b].len() {
                let old = best[b].clone();
                if old.inner == Some(d) {
                    continue;
                }
                best[b] = Layout::with_inner(shapes[b], Some(d));
                let before: f64 = touched.iter().map(|w| costs[*w]).sum();
                let after: Vec<f64> = touched.iter().map(|w| cost(&work[*w], &best)).collect();
                if after.iter().sum::<f64>() < 0.999 * before {
                    touched.iter().zip(after).for_each(|(w, c)| costs[*w] = c);
                    changed = true;
                } else {
                    best[b] = old;
                }
            }
        }
        if !changed {
            break;
        }
    }
    best
}

/// Every statement that touches buffers. A run-time loop counts as eight rounds.
fn collect<'k>(body: &'k [Stmt], rounds: f64, into: &mut Vec<Work<'k>>) {
    for stmt in body {
        match stmt {
            Stmt::For { lo, hi, body, .. } => {
                let count = match (lo, hi) {
                    (Ix::Const(a), Ix::Const(b)) => (b - a).max(0) as f64,
                    _ => 8.0,
                };
                collect(body, rounds * count, into);
            }
            Stmt::If {
                then, otherwise, ..
            } => {
                collect(then, rounds * 0.5, into);
                collect(otherwise, rounds * 0.5, into);
            }
            _ => {
                let bufs = touched(stmt).iter().map(|a| a.buf).collect();
                into.push(Work { stmt, rounds, bufs });
            }
        }
    }
}

fn parts(stmt: &Stmt) -> Option<(&[Axis], Option<&Access>, Option<&Expr>)> {
    Some(match stmt {
        Stmt::Load { axes, dst, .. } => (axes, Some(dst), None),
        Stmt::Store { axes, src, .. } => (axes, None, Some(src)),
        Stmt::Map { axes, dst, expr }
        | Stmt::Reduce {
            axes, dst, expr, ..
        }
        | Stmt::Scan {
            axes, dst, expr, ..
        } => (axes, Some(dst), Some(expr)),
        Stmt::Contract { axes, dst, .. } => (axes, Some(dst), None),
        Stmt::For { .. } | Stmt::If { .. } => return None,
    })
}

/// Every access of a statement, the destination first.
fn touched(stmt: &Stmt) -> Vec<&Access> {
    written(stmt).into_iter().chain(reads(stmt)).collect()
}

/// Dimensions that are indexed by the same axis somewhere.
struct Classes {
    /// First member of each buffer's dimensions in the flat list.
    first: Vec<usize>,
    parent: Vec<usize>,
}

impl Classes {
    fn root(&self, mut x: usize) -> usize {
        while self.parent[x] != x {
            x = self.parent[x];
        }
        x
    }

    fn of(&self, buf: usize, dim: usize) -> usize {
        self.root(self.first[buf] + dim)
    }

    fn all(&self) -> Vec<usize> {
        (0..self.parent.len())
            .filter(|x| self.parent[*x] == *x)
            .take(8)
            .collect()
    }
}

fn classes(kernel: &Kernel, work: &[Work]) -> Classes {
    let mut first = Vec::new();
    let mut count = 0;
    for buf in &kernel.bufs {
        first.push(count);
        count += buf.shape.len();
    }
    let mut classes = Classes {
        first,
        parent: (0..count).collect(),
    };
    for w in work {
        let Some((axes, ..)) = parts(w.stmt) else {
            continue;
        };
        for axis in axes {
            let mut members = Vec::new();
            for access in touched(w.stmt) {
                let Some(first) = classes.first.get(access.buf.0 as usize) else {
                    continue;
                };
                let dims = kernel.bufs[access.buf.0 as usize].shape.len();
                for (d, place) in access.places.iter().enumerate().take(dims) {
                    if matches!(place, Place::Axis(n) if *n == axis.name) {
                        members.push(first + d);
                    }
                }
            }
            for pair in members.windows(2) {
                let (a, b) = (classes.root(pair[0]), classes.root(pair[1]));
                classes.parent[a.max(b)] = a.min(b);
            }
        }
    }
    classes
}

/// Cycles of a statement under these layouts, all its rounds together.
fn cost(work: &Work, layouts: &[Layout]) -> f64 {
    let Some((axes, dst, expr)) = parts(work.stmt) else {
        return 0.0;
    };
    let points: f64 = axes.iter().map(|a| a.extent as f64).product();
    let strides = |access: &Access| -> Vec<i64> {
        axes.iter()
            .map(|x| {
                layouts
                    .get(access.buf.0 as usize)
                    .map_or(0, |l| stride(x, access, l))
            })
            .collect()
    };
    let row = |index: &[Ix]| -> Option<usize> {
        let (coefficients, _) = local_affine(index.last()?, axes)?;
        (0..axes.len()).find(|a| {
            coefficients[*a] == 1
                && index[..index.len() - 1]
                    .iter()
                    .all(|ix| !ix.axes().contains(&axes[*a].name))
        })
    };
    // Transposing costs about twice a copy, single elements eight times.
    let moved = |row: Option<usize>, strides: &[i64]| match row {
        Some(r) if strides[r] == 4 => 1.0,
        Some(r)
            if axes[r].extent >= 4
                && axes
                    .iter()
                    .zip(strides)
                    .any(|(x, s)| *s == 4 && x.extent >= 4) =>
        {
            2.5
        }
        _ => 8.0,
    };
    let cycles = match work.stmt {
        Stmt::Contract { a, b, dst, .. } => match blocking(axes, dst, a, b, layouts) {
            Some(blocking) => blocking.cycles(axes),
            None => {
                elementwise(
                    axes,
                    &[
                        (strides(dst), true),
                        (strides(a), false),
                        (strides(b), false),
                    ],
                    1.0,
                ) * points
                    / 4.0
            }
        },
        Stmt::Load { index, dst, .. } => {
            let linear: Option<Vec<Ix>> = index
                .iter()
                .map(|ix| match ix {
                    LoadIx::Ix(ix) => Some(ix.clone()),
                    LoadIx::Gather(_) => None,
                })
                .collect();
            let row = match linear {
                Some(index) => row(&index),
                None => index.last().and_then(|ix| match ix {
                    LoadIx::Ix(ix) => row(std::slice::from_ref(ix)),
                    LoadIx::Gather(_) => None,
                }),
            };
            moved(row, &strides(dst)) * points / 4.0
        }
        Stmt::Store { index, .. } => {
            let sources = reads(work.stmt);
            let total: f64 = sources.iter().map(|r| moved(row(index), &strides(r))).sum();
            (total + 1.0) * points / 4.0
        }
        Stmt::Scan { along, .. } => {
            let accs: Vec<(Vec<i64>, bool)> = touched(work.stmt)
                .iter()
                .enumerate()
                .map(|(n, a)| (strides(a), n == 0))
                .collect();
            let lanes = axes
                .iter()
                .enumerate()
                .any(|(a, x)| x.name != *along && accs[0].0[a] == 4 && x.extent >= 4);
            let each = if lanes { 1.0 } else { 4.0 };
            each * (accs.len() as f64 + 1.0) * points / 4.0
        }
        _ => {
            let accs: Vec<(Vec<i64>, bool)> = touched(work.stmt)
                .iter()
                .enumerate()
                .map(|(n, a)| (strides(a), n == 0 && dst.is_some()))
                .collect();
            elementwise(axes, &accs, expr.map_or(1.0, instructions)) * points / 4.0
        }
    };
    cycles * work.rounds
}

fn elementwise(axes: &[Axis], accs: &[(Vec<i64>, bool)], work: f64) -> f64 {
    let reduced: Vec<bool> = (0..axes.len()).map(|a| accs[0].0[a] == 0).collect();
    0.5 * best_lane(axes, accs, &reduced, work).1
}

fn instructions(expr: &Expr) -> f64 {
    match expr {
        Expr::Const(_) | Expr::Scalar(_) | Expr::Index(_) | Expr::Elem(_) => 0.0,
        Expr::Add(a, b) | Expr::Mul(a, b) => 1.0 + instructions(a) + instructions(b),
        Expr::Call(f, args) => {
            let own = match f {
                Func::Select => 2.0,
                f if functions::is_heavy(*f) => 12.0,
                _ => 1.0,
            };
            own + args.iter().map(instructions).sum::<f64>()
        }
    }
}
