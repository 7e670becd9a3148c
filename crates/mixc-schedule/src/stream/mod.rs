//! Reductions over a streamed axis: one loop over its blocks for all that can share it.
//!
//! Blocks outside the masks' bounds are never visited, and blocks inside them are visited without
//! evaluating the masks (see [`crate::bounds`]). Reductions that need the result of others come in
//! later loops; reductions inside a block's own terms become loops in the loop.

mod diagonal;
mod reach;
mod softmax;

use crate::ScheduleError;
use crate::builder::{Binding, Builder};
use crate::contract::accumulate_sum;
use crate::lower::{emit_reduce, identity, reduce_kind};
use crate::template::Blocks;
use diagonal::{decays, emit_from_diagonal};
use mixc_ir::{Ix, Name, ReduceOp, T, Term};
use mixc_tile::{Access, Expr, Stmt};
use reach::reach;
use softmax::emit_softmax;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Whether a term is a reduction that needs a loop here.
pub fn is_streamed(b: &Builder, term: &T) -> bool {
    axes_of(term).is_some_and(|axes| {
        axes.iter()
            .any(|a| !b.axes.contains_key(a) && (b.is_stream)(a))
    })
}

fn axes_of(term: &T) -> Option<&[Name]> {
    match &**term {
        Term::Sum { axes, .. } | Term::Reduce { axes, .. } | Term::Online { axes, .. } => {
            Some(axes)
        }
        _ => None,
    }
}

/// Emits loops until every streamed reduction in the terms that can be computed here is.
pub fn prepare_streams(b: &mut Builder, terms: &[T]) -> Result<(), ScheduleError> {
    loop {
        let mut ready = vec![];
        for term in terms {
            collect_ready(b, term, &mut ready);
        }
        let Some(first) = ready.first() else {
            return Ok(());
        };
        let size = stream_axis(b, first)?.1;
        let mut shared = vec![];
        for node in ready {
            if stream_axis(b, &node)?.1 == size {
                shared.push(node);
            }
        }
        emit_loops(b, &shared, &size)?;
    }
}

/// Streamed reductions whose axes are all bound and that hold no other such reduction.
fn collect_ready(b: &Builder, term: &T, ready: &mut Vec<T>) -> bool {
    if b.known_expr(term).is_some() || b.known.contains(term) {
        return false;
    }
    let mut inside = false;
    for child in term.children() {
        inside |= collect_ready(b, child, ready);
    }
    let bound = term.free_axes().iter().all(|a| b.axes.contains_key(a));
    if !inside && bound && is_streamed(b, term) {
        if !ready.contains(term) {
            ready.push(term.clone());
        }
        return true;
    }
    inside
}

/// The one axis of the reduction that is streamed, and its size.
fn stream_axis(b: &Builder, node: &T) -> Result<(Name, Ix), ScheduleError> {
    let free: Vec<&Name> = axes_of(node)
        .unwrap_or(&[])
        .iter()
        .filter(|a| !b.axes.contains_key(*a))
        .collect();
    match free[..] {
        [axis] => Ok((axis.clone(), b.size_of(axis)?)),
        _ => Err(ScheduleError::unsupported(format!(
            "a reduction over several long axes at once ({free:?})"
        ))),
    }
}

/// One reduction of the loop: its node as written, and with the loop's axis in place of its own.
struct Node {
    original: T,
    term: T,
    acc: Access,
}

/// Online reductions with equal scores and masks share the maximum and the rescaling.
struct Softmax {
    score: T,
    mask: T,
    over: Vec<Name>,
    max: Access,
    old: Access,
    shift: Access,
    alpha: Access,
}

struct Loop {
    j: Name,
    size: Ix,
    nodes: Vec<Node>,
    softmaxes: Vec<Softmax>,
}

fn emit_loops(b: &mut Builder, ready: &[T], size: &Ix) -> Result<(), ScheduleError> {
    let plan = plan_loop(b, ready, size)?;
    let decays = decays(b, &plan);
    let var = b.fresh(&format!("{}_blk", plan.j));
    if decays.is_empty() {
        emit_forward(b, &plan, &var)?;
    } else {
        emit_from_diagonal(b, &plan, &var, &decays)?;
    }
    let level = b.top();
    for node in &plan.nodes {
        b.remember_expr(level, &node.original, Expr::Elem(node.acc.clone()));
        b.remember_expr(level, &node.term, Expr::Elem(node.acc.clone()));
    }
    Ok(())
}

/// Allocates and initialises the accumulators in front of the loop.
fn plan_loop(b: &mut Builder, ready: &[T], size: &Ix) -> Result<Loop, ScheduleError> {
    let level = b.top();
    let j = stream_axis(b, &ready[0])?.0;
    let (mut nodes, mut softmaxes): (Vec<Node>, Vec<Softmax>) = (vec![], vec![]);
    for original in ready {
        let own = stream_axis(b, original)?.0;
        let term = rename_bound(original, &own, &j);
        let acc = add_node(b, level, &mut nodes, &mut softmaxes, term.clone());
        nodes.push(Node {
            original: original.clone(),
            term,
            acc,
        });
    }
    Ok(Loop {
        j,
        size: size.clone(),
        nodes,
        softmaxes,
    })
}

/// The accumulator of a node (already in the loop's axis), shared with equal nodes.
fn add_node(
    b: &mut Builder,
    level: usize,
    nodes: &mut Vec<Node>,
    softmaxes: &mut Vec<Softmax>,
    term: T,
) -> Access {
    if let Some(known) = nodes.iter().find(|n| n.term == term) {
        return known.acc.clone();
    }
    let acc = match &*term {
        Term::Online {
            axes, score, mask, ..
        } => {
            softmax_of(b, level, softmaxes, axes, score, mask);
            new_accumulator(b, level, &term, 0.0)
        }
        Term::Reduce {
            op: ReduceOp::Max,
            axes,
            mask,
            body,
        } => {
            match softmaxes
                .iter()
                .position(|s| s.score == *body && s.mask == *mask)
            {
                Some(n) => softmaxes[n].max.clone(),
                None => {
                    // The maximum of a softmax may be asked for before the softmax itself is met.
                    let n = softmax_of(b, level, softmaxes, axes, body, mask);
                    softmaxes[n].max.clone()
                }
            }
        }
        Term::Reduce { op, .. } => new_accumulator(b, level, &term, identity(reduce_kind(*op))),
        _ => new_accumulator(b, level, &term, 0.0),
    };
    nodes.push(Node {
        original: term.clone(),
        term,
        acc: acc.clone(),
    });
    acc
}

fn softmax_of(
    b: &mut Builder,
    level: usize,
    softmaxes: &mut Vec<Softmax>,
    over: &[Name],
    score: &T,
    mask: &T,
) -> usize {
    if let Some(n) = softmaxes
        .iter()
        .position(|s| s.score == *score && s.mask == *mask)
    {
        return n;
    }
    let both = Term::product(vec![score.clone(), mask.clone()]);
    let axes: Vec<Name> = b
        .tile_axes(&both)
        .into_iter()
        .filter(|a| !over.contains(a))
        .collect();
    let max = b.buffer("m", &axes);
    b.emit_map(level, max.clone(), Expr::Const(f32::NEG_INFINITY));
    let [old, shift, alpha] = ["m_old", "m_shift", "alpha"].map(|stem| b.buffer(stem, &axes));
    softmaxes.push(Softmax {
        score: score.clone(),
        mask: mask.clone(),
        over: over.to_vec(),
        max,
        old,
        shift,
        alpha,
    });
    softmaxes.len() - 1
}

fn new_accumulator(b: &mut Builder, level: usize, term: &T, start: f32) -> Access {
    let axes = b.tile_axes(term);
    let acc = b.buffer("acc", &axes);
    b.emit_map(level, acc.clone(), Expr::Const(start));
    acc
}

fn rename_bound(term: &T, from: &Name, to: &Name) -> T {
    if from == to {
        return term.clone();
    }
    let map = BTreeMap::from([(from.clone(), Ix::Axis(to.clone()))]);
    let children = term
        .children()
        .into_iter()
        .map(|c| c.substitute(&map))
        .collect();
    let mut new = term.with_children(children);
    if let Term::Sum { axes, .. } | Term::Reduce { axes, .. } | Term::Online { axes, .. } = &mut new
    {
        axes.iter_mut()
            .filter(|a| *a == from)
            .for_each(|a| *a = to.clone());
    }
    Arc::new(new)
}

/// Blocks in ascending order: those before a gap, masked ones at the lower bound, full ones, masked ones at the upper.
fn emit_forward(b: &mut Builder, plan: &Loop, var: &Name) -> Result<(), ScheduleError> {
    let reach = reach(b, plan)?;
    let block = b.stream_block as i64;
    let block_of = |lo: &Ix| lo.clone().max(Ix::Const(0)).min(plan.size.clone()) / block;
    let mut first = reach.lo.as_ref().map_or(Ix::Const(0), block_of);
    let end = reach.hi.ceil_div(Ix::Const(block)).max(first.clone());
    // The number of a block, how many were skipped, and the value of the variable at the first.
    let (mut number, mut skipped) = (Ix::Axis(var.clone()), Ix::Const(0));
    let mut start = first.clone();
    if let Some(gap) = &reach.gap {
        let before = gap.from.clone().ceil_div(Ix::Const(block));
        let before = before.max(first.clone()).min(end.clone());
        let after = block_of(&gap.to).max(before.clone()).min(end.clone());
        skipped = after.clone() - before.clone();
        // One chain of loops, whose loads run ahead over the gap: the number of a block jumps.
        let behind = (number.clone() - before.clone() + 1)
            .max(Ix::Const(0))
            .min(Ix::Const(1));
        number = number + behind * skipped.clone();
        emit_body(b, plan, (var, &number), start, before.clone(), None)?;
        (start, first) = (before, after);
    }
    let full_first = if reach.full_lo == Ix::Const(0) {
        first.clone()
    } else {
        reach.full_lo.ceil_div(Ix::Const(block))
    };
    let full_first = full_first.max(first.clone()).min(end.clone());
    let full_end = (reach.full_hi / block)
        .max(full_first.clone())
        .min(end.clone());
    let [full_first, full_end, end] = [full_first, full_end, end].map(|n| n - skipped.clone());
    let at = (var, &number);
    for part in b.blocks.clone() {
        match part {
            Blocks::CutBelow => emit_body(b, plan, at, start.clone(), full_first.clone(), None)?,
            Blocks::Inside => emit_body(
                b,
                plan,
                at,
                full_first.clone(),
                full_end.clone(),
                Some(&reach.settled),
            )?,
            Blocks::CutAbove => emit_body(b, plan, at, full_end.clone(), end.clone(), None)?,
        }
    }
    Ok(())
}

/// One loop of a variable, which gives the number of a block, over lo..hi; `settled` predicates hold in all of them, and
/// then no block is ragged.
fn emit_body(
    b: &mut Builder,
    plan: &Loop,
    (var, number): (&Name, &Ix),
    lo: Ix,
    hi: Ix,
    settled: Option<&[T]>,
) -> Result<(), ScheduleError> {
    if lo == hi {
        return Ok(());
    }
    let level = b.open();
    let base = number.clone() * b.stream_block as i64;
    let end = settled.is_none().then(|| plan.size.clone());
    let before = b.known.len();
    b.known.extend(settled.unwrap_or(&[]).iter().cloned());
    b.bind(
        &plan.j,
        Binding::Tile {
            base,
            extent: b.stream_block,
            end,
        },
        level,
    );
    let result = emit_updates(b, plan, level);
    b.axes.remove(&plan.j);
    b.known.truncate(before);
    let body = b.close();
    result?;
    let level = b.top();
    b.emit(
        level,
        Stmt::For {
            var: var.clone(),
            lo,
            hi,
            reverse: false,
            body,
        },
    );
    Ok(())
}

fn emit_updates(b: &mut Builder, plan: &Loop, level: usize) -> Result<(), ScheduleError> {
    let operands: Vec<T> = plan
        .nodes
        .iter()
        .flat_map(|n| n.term.children().into_iter().cloned())
        .collect();
    prepare_streams(b, &operands)?;
    for softmax in &plan.softmaxes {
        emit_softmax(b, plan, softmax, level)?;
    }
    let mut done: Vec<&Access> = vec![];
    for node in &plan.nodes {
        if done.contains(&&node.acc) {
            continue;
        }
        done.push(&node.acc);
        match &*node.term {
            Term::Sum { axes, factors } => {
                let factors: Vec<T> = factors
                    .iter()
                    .filter(|f| !b.known.contains(f))
                    .cloned()
                    .collect();
                accumulate_sum(b, axes, &factors, &node.acc, level)?;
            }
            Term::Reduce {
                op: ReduceOp::Max,
                mask,
                body,
                ..
            } if plan
                .softmaxes
                .iter()
                .any(|s| s.score == *body && s.mask == *mask) => {}
            Term::Reduce {
                op,
                axes,
                mask,
                body,
            } => {
                emit_reduce(
                    b,
                    level,
                    reduce_kind(*op),
                    true,
                    node.acc.clone(),
                    axes,
                    mask,
                    body,
                )?;
            }
            _ => {}
        }
    }
    Ok(())
}
