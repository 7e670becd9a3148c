//! Reductions over a streamed axis: one loop over its blocks for all that can share it.
//!
//! Blocks outside the masks' bounds are never visited, and blocks inside them are visited without
//! evaluating the masks (see [`crate::bounds`]). Reductions that need the result of others come in
//! later loops; reductions inside a block's own terms become loops in the loop.

use crate::ScheduleError;
use crate::bounds::{Bounds, bounds_of, conjuncts};
use crate::builder::{Binding, Builder, places};
use crate::contract::{accumulate_sum, scale_in_place};
use crate::lower::{emit_reduce, guarded, identity, lower, reduce_kind};
use crate::template::Blocks;
use mixc_ir::{Func, Ix, Name, ReduceOp, T, Term};
use mixc_tile::{Access, Expr, Place, ReduceKind, Stmt};
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

/// The mask predicates of a node: positions where one is 0 contribute nothing.
fn predicates(node: &T) -> Vec<T> {
    match &**node {
        Term::Online { mask, .. } | Term::Reduce { mask, .. } => conjuncts(mask),
        Term::Sum { factors, .. } => factors
            .iter()
            .filter(|f| f.is_guard())
            .flat_map(guard_predicates)
            .collect(),
        _ => vec![],
    }
}

fn guard_predicates(guard: &T) -> Vec<T> {
    match &**guard {
        Term::Ss { j, i, strict, .. } => {
            let f = if *strict { Func::Lt } else { Func::Le };
            let at = |a: &Name| Arc::new(Term::Index(Ix::Axis(a.clone())));
            vec![Term::map(f, vec![at(j), at(i)])]
        }
        _ => conjuncts(guard),
    }
}

/// Where the loop must go and where it may ignore the masks, in positions.
struct Reach {
    lo: Option<Ix>,
    hi: Ix,
    full_lo: Ix,
    full_hi: Ix,
    /// Predicates that hold in the full part.
    settled: Vec<T>,
}

fn reach(b: &Builder, plan: &Loop) -> Result<Reach, ScheduleError> {
    let range = |axis: &Name| b.range(axis);
    let (mut lo, mut hi): (Option<Ix>, Option<Ix>) = (None, None);
    let mut unbounded_below = false;
    let (mut full_lo, mut full_hi, mut settled) = (Ix::Const(0), plan.size.clone(), vec![]);
    let terms = plan.nodes.iter().map(|n| predicates(&n.term));
    for node in terms {
        let (mut own_lo, mut own_hi): (Option<Ix>, Ix) = (None, plan.size.clone());
        for predicate in node {
            let found: Option<Bounds> =
                bounds_of(&predicate, &plan.j, &plan.size, b.program, &range);
            let Some(found) = found else { continue };
            if let Some(bound) = found.lo {
                own_lo = Some(own_lo.map_or(bound.need.clone(), |x| x.max(bound.need)));
                full_lo = full_lo.max(bound.full);
            }
            if let Some(bound) = found.hi {
                own_hi = own_hi.min(bound.need);
                full_hi = full_hi.min(bound.full);
            }
            settled.push(predicate);
        }
        match own_lo {
            None => unbounded_below = true,
            Some(own) => lo = Some(lo.map_or(own.clone(), |x| x.min(own))),
        }
        hi = Some(hi.map_or(own_hi.clone(), |x| x.max(own_hi)));
    }
    if unbounded_below {
        lo = None;
    }
    Ok(Reach {
        lo,
        hi: hi.unwrap_or(plan.size.clone()),
        full_lo,
        full_hi,
        settled,
    })
}

/// Blocks in ascending order: masked ones at the lower bound, full ones, masked ones at the upper.
fn emit_forward(b: &mut Builder, plan: &Loop, var: &Name) -> Result<(), ScheduleError> {
    let reach = reach(b, plan)?;
    let block = b.stream_block as i64;
    let first = match &reach.lo {
        Some(lo) => lo.clone().max(Ix::Const(0)).min(plan.size.clone()) / block,
        None => Ix::Const(0),
    };
    let end = reach.hi.ceil_div(Ix::Const(block)).max(first.clone());
    let full_first = if reach.full_lo == Ix::Const(0) {
        first.clone()
    } else {
        reach.full_lo.ceil_div(Ix::Const(block))
    };
    let full_first = full_first.max(first.clone()).min(end.clone());
    let full_end = (reach.full_hi / block)
        .max(full_first.clone())
        .min(end.clone());
    for part in b.blocks.clone() {
        match part {
            Blocks::CutBelow => emit_body(b, plan, var, first.clone(), full_first.clone(), None)?,
            Blocks::Inside => emit_body(
                b,
                plan,
                var,
                full_first.clone(),
                full_end.clone(),
                Some(&reach.settled),
            )?,
            Blocks::CutAbove => emit_body(b, plan, var, full_end.clone(), end.clone(), None)?,
        }
    }
    Ok(())
}

/// One loop over blocks lo..hi; `settled` predicates hold in all of them, and then no block is ragged.
fn emit_body(
    b: &mut Builder,
    plan: &Loop,
    var: &Name,
    lo: Ix,
    hi: Ix,
    settled: Option<&[T]>,
) -> Result<(), ScheduleError> {
    if lo == hi {
        return Ok(());
    }
    let level = b.open();
    let base = Ix::Axis(var.clone()) * b.stream_block as i64;
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

/// The running maximum, the rescaling of what was accumulated, and this block's share.
fn emit_softmax(
    b: &mut Builder,
    plan: &Loop,
    s: &Softmax,
    level: usize,
) -> Result<(), ScheduleError> {
    let score = score_tile(b, s, level)?;
    let users: Vec<&Node> = plan
        .nodes
        .iter()
        .filter(|n| matches!(&*n.term, Term::Online { score, mask, .. } if *score == s.score && *mask == s.mask))
        .collect();
    if !users.is_empty() {
        b.emit_map(level, s.old.clone(), Expr::Elem(s.max.clone()));
    }
    let mut names = places(&s.max);
    names.extend(s.over.iter().cloned());
    let axes = b.local_axes(&names);
    let expr = Expr::Elem(score.clone());
    b.emit(
        level,
        Stmt::Reduce {
            axes,
            kind: ReduceKind::Max,
            accumulate: true,
            dst: s.max.clone(),
            expr: expr.clone(),
        },
    );
    if users.is_empty() {
        return Ok(());
    }
    // Nothing unmasked so far: every exponential is exp(-inf - 0) = 0.
    let none = Expr::Call(
        Func::Eq,
        vec![Expr::Elem(s.max.clone()), Expr::Const(f32::NEG_INFINITY)],
    );
    let shift = guarded(vec![none], Expr::Const(0.0), Expr::Elem(s.max.clone()));
    b.emit_map(level, s.shift.clone(), shift);
    let exp = |x: Expr| {
        Expr::Call(
            Func::Exp,
            vec![Expr::Call(Func::Sub, vec![x, Expr::Elem(s.shift.clone())])],
        )
    };
    b.emit_map(level, s.alpha.clone(), exp(Expr::Elem(s.old.clone())));
    let weights = b.buffer("p", &places(&score));
    b.emit_map(level, weights.clone(), exp(expr));
    let weights_term = b.as_term(&weights, &places(&weights), level);
    let alpha = b.as_term(&s.alpha, &places(&s.alpha), level);
    let mut done: Vec<&Access> = vec![];
    for node in users {
        let Term::Online { axes, value, .. } = &*node.term else {
            continue;
        };
        if done.contains(&&node.acc) {
            continue;
        }
        done.push(&node.acc);
        scale_in_place(b, &node.acc, &alpha, level)?;
        accumulate_sum(
            b,
            axes,
            &[weights_term.clone(), value.clone()],
            &node.acc,
            level,
        )?;
    }
    Ok(())
}

/// The scores of the block, -inf where masked or past the end.
fn score_tile(b: &mut Builder, s: &Softmax, level: usize) -> Result<Access, ScheduleError> {
    let mut conditions = vec![];
    for predicate in conjuncts(&s.mask) {
        conditions.push(lower(b, &predicate)?);
    }
    conditions.extend(s.over.iter().filter_map(|a| b.validity(a)));
    conditions.retain(|c| *c != Expr::Const(1.0));
    let score = lower(b, &s.score)?;
    let both = Term::product(vec![s.score.clone(), s.mask.clone()]);
    let mut axes = b.tile_axes(&both);
    for axis in &s.over {
        if !axes.contains(axis) {
            axes.push(axis.clone());
        }
    }
    if conditions.is_empty()
        && let Expr::Elem(access) = &score
        && access.places.iter().all(|p| matches!(p, Place::Axis(_)))
        && places(access).len() == axes.len()
    {
        return Ok(access.clone());
    }
    let dst = b.buffer("score", &axes);
    b.emit_map(
        level,
        dst.clone(),
        guarded(conditions, score, Expr::Const(f32::NEG_INFINITY)),
    );
    Ok(dst)
}

/// Decays between the streamed axis and a row axis (not plain masks) in the loop's terms.
fn decays(b: &Builder, plan: &Loop) -> Vec<T> {
    let mut found: Vec<T> = vec![];
    for node in &plan.nodes {
        node.term.visit(&mut |t| {
            if let Term::Ss { j, decay, .. } = &**t
                && *j == plan.j
                && !decay.is_const(1.0)
                && !found.contains(t)
                && b.known_expr(t).is_none()
            {
                found.push(t.clone());
            }
        });
    }
    found
}

/// Blocks from the diagonal downwards. A decay from j to i across blocks is the product of three
/// parts, each a product of decays and so within their range: from the start of i's block to i, over
/// the blocks between (a running product), and from j to the end of its block
/// (the block law of semiseparable matrices: Dao & Gu 2024, arXiv 2405.21060, section 6).
fn emit_from_diagonal(
    b: &mut Builder,
    plan: &Loop,
    var: &Name,
    decays: &[T],
) -> Result<(), ScheduleError> {
    let block = b.stream_block as i64;
    let row = match &*decays[0] {
        Term::Ss { i, .. } => i.clone(),
        _ => {
            return Err(ScheduleError::internal(
                "a decay is a semiseparable mask".into(),
            ));
        }
    };
    let Some(Binding::Tile { base, extent, .. }) = b.axes.get(&row).map(|a| a.binding.clone())
    else {
        return Err(ScheduleError::unsupported(format!(
            "a decay towards axis {row}, which is not in the tile"
        )));
    };
    if extent as i64 != block {
        return Err(ScheduleError::unsupported(
            "a decay between tiles of different extents".into(),
        ));
    }
    let level = b.top();
    let diagonal = base.clone() / block;
    let reach = reach(b, plan)?;
    let first = match &reach.lo {
        Some(lo) => lo.clone().max(Ix::Const(0)) / block,
        None => Ix::Const(0),
    };

    // The diagonal block.
    let inner = b.open();
    b.bind(
        &plan.j,
        Binding::Tile {
            base: base.clone(),
            extent: b.stream_block,
            end: Some(plan.size.clone()),
        },
        inner,
    );
    let result = emit_updates(b, plan, inner);
    let body = b.close();
    result?;
    let next = diagonal.clone() + 1;
    b.emit(
        level,
        Stmt::For {
            var: var.clone(),
            lo: diagonal.clone(),
            hi: next,
            reverse: false,
            body,
        },
    );

    // Running products over whole blocks, one for each decay.
    let mut between = vec![];
    for ss in decays {
        let Term::Ss { j, decay, .. } = &**ss else {
            continue;
        };
        let renamed = decay.substitute(&[(j.clone(), Ix::Axis(row.clone()))].into());
        let axes: Vec<Name> = b
            .tile_axes(&renamed)
            .into_iter()
            .filter(|a| *a != row)
            .collect();
        let product = b.buffer("between", &axes);
        b.emit_map(level, product.clone(), Expr::Const(1.0));
        between.push((ss.clone(), product, axes));
    }
    let inner = b.open();
    let base = Ix::Axis(var.clone()) * block;
    b.bind(
        &plan.j,
        Binding::Tile {
            base,
            extent: b.stream_block,
            end: None,
        },
        inner,
    );
    let mut parts = vec![];
    for (ss, product, axes) in &between {
        let Term::Ss {
            j,
            i,
            strict,
            decay,
        } = &**ss
        else {
            continue;
        };
        let on_i = decay.substitute(&[(j.clone(), Ix::Axis(i.clone()))].into());
        let to_row = Arc::new(Term::CumProd {
            axis: i.clone(),
            exclusive: *strict,
            body: on_i,
        });
        let from_key = Arc::new(Term::SufProd {
            axis: j.clone(),
            body: decay.clone(),
        });
        let running = b.as_term(product, axes, inner);
        parts.push((ss.clone(), Term::product(vec![to_row, running, from_key])));
    }
    let replaced = Loop {
        j: plan.j.clone(),
        size: plan.size.clone(),
        nodes: plan
            .nodes
            .iter()
            .map(|n| n.with_decays_replaced(&parts))
            .collect(),
        softmaxes: vec![],
    };
    let result = emit_updates(b, &replaced, inner).and_then(|()| {
        for (ss, product, _) in &between {
            let Term::Ss { j, decay, .. } = &**ss else {
                continue;
            };
            let over = [j.clone()];
            emit_reduce(
                b,
                inner,
                ReduceKind::Prod,
                true,
                product.clone(),
                &over,
                &Term::one(),
                decay,
            )?;
        }
        Ok(())
    });
    b.axes.remove(&plan.j);
    let body = b.close();
    result?;
    b.emit(
        level,
        Stmt::For {
            var: var.clone(),
            lo: first,
            hi: diagonal,
            reverse: true,
            body,
        },
    );
    if plan.softmaxes.is_empty() {
        Ok(())
    } else {
        Err(ScheduleError::unsupported(
            "a decay inside a softmax".into(),
        ))
    }
}

impl Node {
    fn with_decays_replaced(&self, parts: &[(T, T)]) -> Node {
        let mut replace = |t: T| {
            parts
                .iter()
                .find(|(ss, _)| *ss == t)
                .map_or(t, |(_, new)| new.clone())
        };
        Node {
            original: self.original.clone(),
            term: self.term.rebuild(&mut replace),
            acc: self.acc.clone(),
        }
    }
}
