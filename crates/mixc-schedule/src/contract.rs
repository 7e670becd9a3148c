//! Sums of products over tile axes: matrix products where the factors fall into two groups.

use crate::ScheduleError;
use crate::bounds::conjuncts;
use crate::builder::{Builder, places};
use crate::dyadic::Scores;
use crate::lower::{guarded, lower, lower_product, materialise};
use mixc_ir::{Name, T, Term};
use mixc_tile::{Access, Expr, ReduceKind};
use std::collections::BTreeSet;

/// Where a sum goes: a buffer to add to (or a new one), and the level of the statement.
pub type Into = (Option<Access>, usize);

/// Sum over `over` of the product of `factors`. The free tile axes fall into connected components
/// (two axes are connected if a factor has both); with two or more, the factors of the first and the
/// factors of the others are the operands of a matrix product. Otherwise it is one elementwise pass.
pub fn lower_sum(
    b: &mut Builder,
    over: &[Name],
    factors: &[T],
    into: Option<Into>,
) -> Result<Access, ScheduleError> {
    let whole = Term::sum(over.to_vec(), factors.to_vec());
    if let Some(axis) = over.iter().find(|a| b.tile(a).is_none()) {
        return Err(ScheduleError::unsupported(format!(
            "a sum over axis {axis}, which is not in the tile"
        )));
    }
    let free = b.tile_axes(&whole);
    let (dst, level) = match into {
        Some((dst, level)) => (dst, level),
        None => (None, b.level_of(&whole)),
    };
    let flat: Vec<T> = factors.iter().flat_map(flatten).collect();
    if let Some(scores) = Scores::of(b, over, &free, &flat) {
        let scores = scores.lower(b, over, level)?;
        let Some(dst) = dst else { return Ok(scores) };
        let [old, new] = [&dst, &scores].map(|a| Box::new(Expr::Elem(a.clone())));
        b.emit_map(level, dst.clone(), Expr::Add(old, new));
        return Ok(dst);
    }
    let Some((left, right)) = operands(b, over, &free, &flat) else {
        return lower_as_reduction(b, over, &free, &flat, dst, level);
    };
    let guard_ends = [&left, &right].map(|group| !(group.len() == 1 && zero_filled(&group[0])));
    let a = operand(b, &left, over, guard_ends[0])?;
    let c = operand(b, &right, over, guard_ends[1])?;
    let accumulate = dst.is_some();
    let dst = dst.unwrap_or_else(|| {
        let order = [&a, &c].map(places).concat();
        let order: Vec<Name> = order.into_iter().filter(|n| free.contains(n)).collect();
        b.buffer("s", &order)
    });
    b.emit_contract(level, over, accumulate, dst.clone(), [a, c]);
    Ok(dst)
}

/// Nested products and conjunctions, taken apart.
fn flatten(factor: &T) -> Vec<T> {
    match &**factor {
        Term::Sum { axes, factors } if axes.is_empty() => {
            factors.iter().flat_map(flatten).collect()
        }
        Term::Map {
            f: mixc_ir::Func::And,
            ..
        } => conjuncts(factor),
        Term::Const(v) if *v == 1.0 => vec![],
        _ => vec![factor.clone()],
    }
}

/// A load of a tensor: 0 outside its bounds, whatever the position.
fn zero_filled(factor: &T) -> bool {
    matches!(&**factor, Term::Read { .. })
}

/// Two groups of factors such that every summed axis is in both and no free axis is.
fn operands(b: &Builder, over: &[Name], free: &[Name], factors: &[T]) -> Option<(Vec<T>, Vec<T>)> {
    let axes_of: Vec<BTreeSet<Name>> = factors
        .iter()
        .map(|f| b.tile_axes(f).into_iter().collect())
        .collect();
    let components = components(free, &axes_of);
    // The rows of a product with one component are its free axes; the vector has only summed axes.
    let first = components.first()?;
    let mut side: Vec<Side> = factors
        .iter()
        .zip(&axes_of)
        .map(|(factor, axes)| {
            let mut own = axes.iter().filter(|a| free.contains(a)).peekable();
            if own.peek().is_some() {
                if own.any(|a| first.contains(a)) {
                    Side::Left
                } else {
                    Side::Right
                }
            } else if factor.is_guard() && !axes.is_empty() {
                // Where it is 0, neither operand may be anything but 0: both are looked at.
                Side::Both
            } else if !axes.is_empty() && components.len() == 1 {
                // A matrix times a vector over the summed axes: the vector is what has no free axis.
                Side::Right
            } else {
                Side::Open
            }
        })
        .collect();
    let groups = |side: &[Side]| {
        let pick = |want: Side| -> Vec<T> {
            let chosen = factors
                .iter()
                .zip(side)
                .filter(|(_, s)| **s == want || **s == Side::Both);
            chosen.map(|(f, _)| f.clone()).collect()
        };
        (pick(Side::Left), pick(Side::Right))
    };
    let with_axes = (0..factors.len()).filter(|n| !axes_of[*n].is_empty());
    let without = (0..factors.len()).filter(|n| axes_of[*n].is_empty());
    for n in with_axes.chain(without) {
        if side[n] == Side::Open {
            side[n] = cheaper_side(b, &groups(&side));
        }
    }
    let (left, right) = groups(&side);
    let covers = |group: &[T]| {
        let axes: BTreeSet<Name> = group.iter().flat_map(|f| b.tile_axes(f)).collect();
        over.iter().all(|a| axes.contains(a))
    };
    let product = |group: &[T]| group.iter().any(|f| !f.is_guard());
    (covers(&left) && covers(&right) && product(&left) && product(&right)).then_some((left, right))
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Left,
    Right,
    Both,
    Open,
}

/// The side that a factor without free axes should join: the one computed less often, else the one
/// that is a product already.
fn cheaper_side(b: &Builder, (left, right): &(Vec<T>, Vec<T>)) -> Side {
    let rank = |group: &[T]| {
        let product = Term::product(group.to_vec());
        let elements: usize = b
            .tile_axes(&product)
            .iter()
            .filter_map(|a| b.tile(a))
            .product();
        (
            b.level_of(&product),
            group.len() < 2 && group.iter().all(zero_filled),
            elements,
        )
    };
    if rank(right) < rank(left) {
        Side::Right
    } else {
        Side::Left
    }
}

fn components(free: &[Name], axes_of: &[BTreeSet<Name>]) -> Vec<BTreeSet<Name>> {
    let mut components: Vec<BTreeSet<Name>> =
        free.iter().map(|a| BTreeSet::from([a.clone()])).collect();
    for axes in axes_of {
        let (touched, mut rest): (Vec<_>, Vec<_>) = components
            .into_iter()
            .partition(|c| c.iter().any(|a| axes.contains(a)));
        let joined: BTreeSet<Name> = touched.into_iter().flatten().collect();
        if !joined.is_empty() {
            rest.push(joined);
        }
        components = rest;
    }
    components
}

/// One operand: a tensor or buffer as it is, or the product of its factors in a buffer. Positions
/// past the end of a summed axis are made 0 unless they are anyway.
pub fn operand(
    b: &mut Builder,
    group: &[T],
    over: &[Name],
    guard_ends: bool,
) -> Result<Access, ScheduleError> {
    let product = if let [single] = group {
        single.clone()
    } else {
        Term::product(group.to_vec())
    };
    let ends: Vec<Expr> = if guard_ends {
        over.iter().filter_map(|a| b.validity(a)).collect()
    } else {
        vec![]
    };
    if ends.is_empty() {
        return materialise(b, &product);
    }
    let expr = lower_product(b, group)?;
    let names = b.tile_axes(&product);
    let level = b.level_of(&product);
    let dst = b.buffer("t", &names);
    b.emit_map(level, dst.clone(), guarded(ends, expr, Expr::Const(0.0)));
    Ok(dst)
}

/// The sum in one elementwise pass over all axes.
fn lower_as_reduction(
    b: &mut Builder,
    over: &[Name],
    free: &[Name],
    factors: &[T],
    dst: Option<Access>,
    level: usize,
) -> Result<Access, ScheduleError> {
    let accumulate = dst.is_some();
    let value = lower_product(b, factors)?;
    let zero = matches!(factors, [only] if matches!(&**only, Term::Read { tensor, .. } if b.zero_past_ends.contains(tensor)));
    let ends: Vec<Expr> = match zero {
        true => vec![],
        false => over.iter().filter_map(|a| b.validity(a)).collect(),
    };
    let expr = guarded(ends, value, Expr::Const(0.0));
    let dst = dst.unwrap_or_else(|| b.buffer("s", free));
    let sum = (ReduceKind::Sum, accumulate);
    b.emit_reduce(level, over, sum, dst.clone(), expr);
    Ok(dst)
}

/// Adds a sum into a buffer that exists.
pub fn accumulate_sum(
    b: &mut Builder,
    over: &[Name],
    factors: &[T],
    dst: &Access,
    level: usize,
) -> Result<(), ScheduleError> {
    lower_sum(b, over, factors, Some((Some(dst.clone()), level))).map(|_| ())
}

/// Multiplies a buffer in place.
pub fn scale_in_place(
    b: &mut Builder,
    dst: &Access,
    by: &T,
    level: usize,
) -> Result<(), ScheduleError> {
    let factor = lower(b, by)?;
    b.emit_map(
        level,
        dst.clone(),
        Expr::Mul(Box::new(Expr::Elem(dst.clone())), Box::new(factor)),
    );
    Ok(())
}
