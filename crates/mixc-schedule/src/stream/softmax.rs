//! Softmax-weighted sums in a loop: a running maximum, and accumulators rescaled when it grows
//! (Milakov & Gimelshein 2018, arXiv 1805.02867).

use super::{Loop, Node, Softmax};
use crate::ScheduleError;
use crate::bounds::conjuncts;
use crate::builder::{Builder, places};
use crate::contract::{accumulate_sum, scale_in_place};
use crate::lower::{guarded, lower};
use mixc_ir::{Func, T, Term};
use mixc_tile::{Access, Expr, Place, ReduceKind};

/// The running maximum, the rescaling of what was accumulated, and this block's share.
pub fn emit_softmax(
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
    let expr = Expr::Elem(score.clone());
    let max = (ReduceKind::Max, true);
    b.emit_reduce(level, &s.over, max, s.max.clone(), expr.clone());
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
    if let Term::Read { tensor, .. } = &*weights_term {
        // The scores are -inf there.
        b.zero_past_ends.insert(tensor.clone());
    }
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
        let value = guarded_value(b, s, value);
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

/// The values, 0 where a predicate on the streamed position alone leaves them out: what is there may
/// be anything (the rest of a cache), and 0 times that need not be 0.
fn guarded_value(b: &Builder, s: &Softmax, value: &T) -> T {
    let unsettled = conjuncts(&s.mask)
        .into_iter()
        .filter(|p| !b.known.contains(p));
    let guards: Vec<T> = unsettled
        .filter(|p| {
            let axes = b.tile_axes(p);
            !axes.is_empty() && axes.iter().all(|a| s.over.contains(a))
        })
        .collect();
    if guards.is_empty() || b.tile_axes(value).is_empty() {
        return value.clone();
    }
    Term::map(
        Func::Select,
        vec![Term::product(guards), value.clone(), Term::zero()],
    )
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
