//! Terms to tile statements: elementwise work stays an expression, everything else goes to buffers.

use crate::ScheduleError;
use crate::builder::{Binding, Builder, Running, places};
use crate::contract::lower_sum;
use crate::stream::{is_streamed, prepare_streams};
use mixc_ir::{Func, Ix, Kind, Name, ReduceOp, T, Term};
use mixc_tile::maxima::uniform;
use mixc_tile::simplify::folded;
use mixc_tile::{Access, Expr, LoadIx, Place, ReduceKind, ScanKind, Stmt};

/// The value of a term as an expression over its tile axes, which are named as in the term.
pub fn lower(b: &mut Builder, term: &T) -> Result<Expr, ScheduleError> {
    if b.known.contains(term) {
        return Ok(Expr::Const(1.0));
    }
    if let Some(expr) = b.known_expr(term) {
        return Ok(expr);
    }
    if is_streamed(b, term) {
        prepare_streams(b, std::slice::from_ref(term))?;
        return b.known_expr(term).ok_or_else(|| {
            ScheduleError::unsupported(format!(
                "no loop computes a reduction of `{}`",
                summary(term)
            ))
        });
    }
    let expr = lower_new(b, term)?;
    let level = b.level_of(term);
    if !matches!(**term, Term::Const(_) | Term::Index(_) | Term::Scalar(_)) {
        b.remember_expr(level, term, expr.clone());
    }
    Ok(expr)
}

fn lower_new(b: &mut Builder, term: &T) -> Result<Expr, ScheduleError> {
    Ok(match &**term {
        Term::Const(v) => Expr::Const(*v as f32),
        Term::Scalar(name) => Expr::Scalar(name.clone()),
        Term::Index(ix) => lower_index(b, ix)?,
        Term::Read { tensor, index } => lower_read(b, tensor, index)?,
        Term::Map {
            f: Func::Select,
            args,
        } if b.known.contains(&args[0]) => lower(b, &args[1])?,
        Term::Map { f, args } => {
            let args: Result<Vec<Expr>, _> = args.iter().map(|a| lower(b, a)).collect();
            let args = args?;
            if let Some(v) = folded(*f, &args) {
                return Ok(Expr::Const(v));
            }
            let value = Expr::Call(*f, args);
            // A quotient of parameters is one number, which need not be computed before what it multiplies.
            let number = matches!(f, Func::Div | Func::Recip) && uniform(&value);
            if is_costly(*f) && b.tile_axes(term).len() < 2 && !number {
                in_buffer(b, term, value)
            } else {
                value
            }
        }
        Term::Add(args) => lower_add(b, term, args)?,
        Term::Sum { axes, factors } if axes.is_empty() => lower_product(b, factors)?,
        Term::Sum { axes, factors } => {
            let access = lower_sum(b, axes, factors, None)?;
            Expr::Elem(access)
        }
        Term::Reduce {
            op: ReduceOp::Lse,
            axes,
            mask,
            body,
        } => lower(b, &lse(axes, mask, body))?,
        Term::Reduce {
            op,
            axes,
            mask,
            body,
        } => {
            let level = b.level_of(term);
            let free = b.tile_axes(term);
            let dst = b.buffer("r", &free);
            emit_reduce(
                b,
                level,
                reduce_kind(*op),
                false,
                dst.clone(),
                axes,
                mask,
                body,
            )?;
            Expr::Elem(dst)
        }
        Term::Online {
            axes,
            score,
            mask,
            value,
        } => lower(b, &online(axes, score, mask, value))?,
        Term::Ss {
            j,
            i,
            strict,
            decay,
        } => lower_ss(b, j, i, *strict, decay)?,
        Term::CumProd {
            axis,
            exclusive,
            body,
        } => lower_running(b, term, axis, ScanKind::Prod, *exclusive, false, body)?,
        Term::SufProd { axis, body } => {
            lower_running(b, term, axis, ScanKind::Prod, true, true, body)?
        }
        Term::CumSum { axis, body } => {
            lower_running(b, term, axis, ScanKind::Sum, false, false, body)?
        }
        Term::Softmax { .. } | Term::Scan { .. } | Term::Last { .. } | Term::Merge { .. } => {
            return Err(ScheduleError::unsupported(format!(
                "`{}` in the middle of a tile",
                summary(term)
            )));
        }
    })
}

/// The value of a term in a buffer over its tile axes, each of them once.
pub fn materialise(b: &mut Builder, term: &T) -> Result<Access, ScheduleError> {
    if let Some(access) = b.known_tile(term) {
        return Ok(access);
    }
    let expr = lower(b, term)?;
    let axes = b.tile_axes(term);
    if let Expr::Elem(access) = &expr
        && access.places.iter().all(|p| matches!(p, Place::Axis(_)))
        && places(access).len() == axes.len()
    {
        return Ok(access.clone());
    }
    let level = b.level_of(term);
    let dst = b.buffer("t", &axes);
    b.emit_map(level, dst.clone(), expr);
    b.remember_tile(level, term, dst.clone());
    Ok(dst)
}

/// Functions that take several instructions. A vector of their values is computed once and not in
/// every tile that uses it.
fn is_costly(f: Func) -> bool {
    use Func::*;
    !f.is_predicate()
        && !matches!(
            f,
            Neg | Sub | Abs | Max | Min | Relu | Select | Floor | Ceil | Round
        )
}

fn in_buffer(b: &mut Builder, term: &T, value: Expr) -> Expr {
    let axes = b.tile_axes(term);
    let level = b.level_of(term);
    let dst = b.buffer("f", &axes);
    b.emit_map(level, dst.clone(), value);
    Expr::Elem(dst)
}

/// An integer expression as a value; elements of integer tensors are loaded.
fn lower_index(b: &mut Builder, ix: &Ix) -> Result<Expr, ScheduleError> {
    if gathers(ix) {
        lower(b, &as_real(ix))
    } else {
        Ok(Expr::Index(b.index(ix)?))
    }
}

/// Whether the expression reads an integer tensor.
fn gathers(ix: &Ix) -> bool {
    let mut found = false;
    ix.visit_leaves(&mut |leaf| found |= matches!(leaf, Ix::Elem(..)));
    found
}

/// The expression in real arithmetic, which is exact for indices below 2^24.
fn as_real(ix: &Ix) -> T {
    let pair = |a: &Ix, b: &Ix| vec![as_real(a), as_real(b)];
    match ix {
        Ix::Elem(tensor, index) => Term::read(tensor, index.clone()),
        Ix::Add(x, y) => std::sync::Arc::new(Term::Add(pair(x, y))),
        Ix::Sub(x, y) => Term::map(Func::Sub, pair(x, y)),
        Ix::Mul(x, y) => Term::product(pair(x, y)),
        Ix::Div(x, y) => Term::map(Func::Floor, vec![Term::map(Func::Div, pair(x, y))]),
        Ix::Mod(x, y) => Term::map(Func::Mod, pair(x, y)),
        Ix::Min(x, y) => Term::map(Func::Min, pair(x, y)),
        Ix::Max(x, y) => Term::map(Func::Max, pair(x, y)),
        Ix::Const(_) | Ix::Axis(_) | Ix::Dim(_) => std::sync::Arc::new(Term::Index(ix.clone())),
    }
}

fn lower_read(b: &mut Builder, tensor: &Name, index: &[Ix]) -> Result<Expr, ScheduleError> {
    if let Some(local) = b.locals.get(tensor).cloned()
        && local
            .home
            .iter()
            .zip(index)
            .all(|(home, ix)| home.as_ref().is_none_or(|home| home == ix))
    {
        let place = |ix: &Ix| match ix {
            Ix::Axis(name) if b.tile(name).is_some() => Ok(Place::Axis(name.clone())),
            other => b.index(other).map(Place::At),
        };
        let kept = index
            .iter()
            .zip(&local.home)
            .filter(|(_, home)| home.is_none())
            .map(|(ix, _)| ix);
        let places: Result<Vec<Place>, _> = kept.map(place).collect();
        return Ok(Expr::Elem(Access {
            buf: local.buf,
            places: places?,
        }));
    }
    let term = Term::read(tensor, index.to_vec());
    let mut load_index = vec![];
    for ix in index {
        load_index.push(if gathers(ix) {
            LoadIx::Gather(materialise(b, &as_real(ix))?)
        } else {
            LoadIx::Ix(b.index(ix)?)
        });
    }
    let axes = b.tile_axes(&term);
    let level = b.level_of(&term);
    let dst = b.buffer(tensor, &axes);
    let axes = b.local_axes(&axes);
    b.emit(
        level,
        Stmt::Load {
            axes,
            dst: dst.clone(),
            tensor: tensor.clone(),
            index: load_index,
        },
    );
    if b.program
        .tensor(tensor)
        .is_some_and(|t| t.kind == Kind::Bool)
    {
        return Ok(Expr::Call(
            Func::Ne,
            vec![Expr::Elem(dst), Expr::Const(0.0)],
        ));
    }
    Ok(Expr::Elem(dst))
}

/// Sums of several reductions accumulate in one buffer.
fn lower_add(b: &mut Builder, term: &T, args: &[T]) -> Result<Expr, ScheduleError> {
    let free = b.tile_axes(term);
    let is_sum = |b: &Builder, t: &T| {
        matches!(&**t, Term::Sum { axes, .. } if !axes.is_empty())
            && !is_streamed(b, t)
            && b.known_expr(t).is_none()
            && b.tile_axes(t) == free
    };
    let (mut sums, rest): (Vec<&T>, Vec<&T>) = args.iter().partition(|a| is_sum(b, a));
    // What needs most room for itself first, while there is no total to keep (Sethi & Ullman 1970).
    sums.sort_by_key(|sum| std::cmp::Reverse(nested_sums(sum)));
    if sums.len() < 2 {
        let mut terms = vec![];
        for arg in args {
            terms.push(lower(b, arg)?);
        }
        return Ok(add_all(terms));
    }
    let mut total: Option<Access> = None;
    for sum in sums {
        let Term::Sum { axes, factors } = &**sum else {
            continue;
        };
        let level = b.level_of(term);
        total = Some(lower_sum(b, axes, factors, Some((total, level)))?);
    }
    let mut terms = vec![];
    for arg in rest {
        terms.push(lower(b, arg)?);
    }
    terms.extend(total.map(Expr::Elem));
    Ok(add_all(terms))
}

/// How many sums a term has.
fn nested_sums(term: &T) -> usize {
    let mut count = 0;
    term.visit(&mut |t| {
        count += usize::from(matches!(&**t, Term::Sum { axes, .. } if !axes.is_empty()));
    });
    count
}

fn add_all(terms: Vec<Expr>) -> Expr {
    terms
        .into_iter()
        .reduce(|a, c| Expr::Add(Box::new(a), Box::new(c)))
        .unwrap_or(Expr::Const(0.0))
}

/// A product; its guards select.
pub fn lower_product(b: &mut Builder, factors: &[T]) -> Result<Expr, ScheduleError> {
    let (mut exprs, mut conditions) = (vec![], vec![]);
    for factor in factors {
        match (lower(b, factor)?, &**factor) {
            (expr, Term::Map { f, .. }) if f.is_predicate() => conditions.push(expr),
            // [j <= i] alone, or select([j <= i], product, 0).
            (Expr::Call(Func::Select, mut parts), Term::Ss { .. }) => {
                exprs.push(parts.swap_remove(1));
                conditions.push(parts.swap_remove(0));
            }
            (expr, Term::Ss { .. }) => conditions.push(expr),
            (expr, _) => exprs.push(expr),
        }
    }
    Ok(guarded(conditions, multiply_all(exprs), Expr::Const(0.0)))
}

pub fn multiply_all(exprs: Vec<Expr>) -> Expr {
    exprs
        .into_iter()
        .filter(|e| *e != Expr::Const(1.0))
        .reduce(|a, c| Expr::Mul(Box::new(a), Box::new(c)))
        .unwrap_or(Expr::Const(1.0))
}

/// select(all conditions, value, otherwise).
pub fn guarded(conditions: Vec<Expr>, value: Expr, otherwise: Expr) -> Expr {
    let all = conditions
        .into_iter()
        .filter(|c| *c != Expr::Const(1.0))
        .reduce(|a, c| Expr::Call(Func::And, vec![a, c]));
    match all {
        None => value,
        Some(_) if value == otherwise => value,
        Some(condition) => Expr::Call(Func::Select, vec![condition, value, otherwise]),
    }
}

pub fn reduce_kind(op: ReduceOp) -> ReduceKind {
    match op {
        ReduceOp::Max => ReduceKind::Max,
        ReduceOp::Min => ReduceKind::Min,
        ReduceOp::Prod => ReduceKind::Prod,
        ReduceOp::Lse => unreachable!("bug: log-sum-exp is spelled out before it is lowered"),
    }
}

pub fn identity(kind: ReduceKind) -> f32 {
    match kind {
        ReduceKind::Sum => 0.0,
        ReduceKind::Prod => 1.0,
        ReduceKind::Max => f32::NEG_INFINITY,
        ReduceKind::Min => f32::INFINITY,
    }
}

/// dst = reduction of `body` over tile axes, where unmasked and inside the axis.
#[allow(clippy::too_many_arguments)]
pub fn emit_reduce(
    b: &mut Builder,
    level: usize,
    kind: ReduceKind,
    accumulate: bool,
    dst: Access,
    over: &[Name],
    mask: &T,
    body: &T,
) -> Result<(), ScheduleError> {
    let mut conditions = vec![];
    for predicate in crate::bounds::conjuncts(mask) {
        conditions.push(lower(b, &predicate)?);
    }
    let kept = match over {
        [axis] if conditions.is_empty() && kind == ReduceKind::Prod => decays(b, axis, body)?,
        _ => None,
    };
    let expr = match kept {
        Some(decays) => Expr::Elem(decays),
        None => {
            conditions.extend(over.iter().filter_map(|a| b.validity(a)));
            let value = lower(b, body)?;
            guarded(conditions, value, Expr::Const(identity(kind)))
        }
    };
    b.emit_reduce(level, over, (kind, accumulate), dst, expr);
    Ok(())
}

/// Running products and sums along a tile axis that is whole in the tile.
fn lower_running(
    b: &mut Builder,
    term: &T,
    axis: &Name,
    kind: ScanKind,
    exclusive: bool,
    reverse: bool,
    body: &T,
) -> Result<Expr, ScheduleError> {
    if b.tile(axis).is_none() {
        return Err(ScheduleError::unsupported(format!(
            "`{}` along an axis that is not in the tile",
            summary(term)
        )));
    }
    let kept = match kind {
        ScanKind::Prod => decays(b, axis, body)?,
        ScanKind::Sum => None,
    };
    let expr = match kept {
        Some(decays) => Expr::Elem(decays),
        None => {
            let value = lower(b, body)?;
            let neutral = Expr::Const(if kind == ScanKind::Prod { 1.0 } else { 0.0 });
            guarded(b.validity(axis).into_iter().collect(), value, neutral)
        }
    };
    let names = b.tile_axes(term);
    let level = b.level_of(term);
    let dst = b.buffer("c", &names);
    let running = Running {
        along: axis.clone(),
        kind,
        every: None,
        exclusive,
        reverse,
    };
    b.emit_scan(level, dst.clone(), expr, running);
    Ok(Expr::Elem(dst))
}

/// Computed decays along an axis, 1 past its end, in a buffer: a chunk has several products of them, and where threads hold
/// the lines of a scan in registers, all of them find it there. None where there is nothing to be saved.
fn decays(b: &mut Builder, axis: &Name, body: &T) -> Result<Option<Access>, ScheduleError> {
    let axes = b.tile_axes(body);
    let computed = matches!(&**body, Term::Map { .. }) && axes.len() == 2;
    if !computed || !b.matrix_units || !axes.contains(axis) {
        return Ok(None);
    }
    // Only its own kind of term: no program selects by this tensor.
    let inside = Term::read(&Name::from("%inside"), vec![Ix::Axis(axis.clone())]);
    let key = Term::map(Func::Select, vec![inside, body.clone(), Term::one()]);
    if let Some(known) = b.known_tile(&key) {
        return Ok(Some(known));
    }
    let (dst, level) = own_decays(b, axis, body)?;
    b.remember_tile(level, &key, dst.clone());
    Ok(Some(dst))
}

/// Decays along an axis, 1 past its end, in a buffer that has the axis even if they do not change along it; and its level.
pub fn own_decays(
    b: &mut Builder,
    axis: &Name,
    body: &T,
) -> Result<(Access, usize), ScheduleError> {
    let value = lower(b, body)?;
    let ends = b.validity(axis).into_iter().collect();
    let level = b.level_of(body).max(b.axes[axis].level);
    let mut names = b.tile_axes(body);
    if !names.contains(axis) {
        names.push(axis.clone());
    }
    let dst = b.buffer("f", &names);
    b.emit_map(level, dst.clone(), guarded(ends, value, Expr::Const(1.0)));
    Ok((dst, level))
}

/// L[i,j] = [j <= i] * prod of a[m] over j < m <= i, as a running product over i that starts after j:
/// no logarithm, no division, every value between those of the decays' products.
fn lower_ss(
    b: &mut Builder,
    j: &Name,
    i: &Name,
    strict: bool,
    decay: &T,
) -> Result<Expr, ScheduleError> {
    let at = |b: &Builder, a: &Name| b.index(&Ix::Axis(a.clone()));
    let compare = if strict { Func::Lt } else { Func::Le };
    let inside = Expr::Call(
        compare,
        vec![Expr::Index(at(b, j)?), Expr::Index(at(b, i)?)],
    );
    if decay.is_const(1.0) {
        return Ok(inside);
    }
    let same_base = match (
        b.axes.get(j).map(|a| &a.binding),
        b.axes.get(i).map(|a| &a.binding),
    ) {
        (
            Some(Binding::Tile {
                base: x, extent: m, ..
            }),
            Some(Binding::Tile {
                base: y, extent: n, ..
            }),
        ) => x == y && m == n,
        _ => false,
    };
    if !same_base {
        return Err(ScheduleError::unsupported(
            "a decay between two different tiles".into(),
        ));
    }
    let on_i = decay.substitute(&[(j.clone(), Ix::Axis(i.clone()))].into());
    // The products are over one axis more than the decays: those are computed once and not for every j.
    let value = match &*on_i {
        Term::Map { .. } => Expr::Elem(materialise(b, &on_i)?),
        _ => lower(b, &on_i)?,
    };
    let after = Expr::Call(
        Func::Lt,
        vec![Expr::Index(at(b, j)?), Expr::Index(at(b, i)?)],
    );
    let mut conditions = vec![after];
    conditions.extend(b.validity(i));
    let mut names = b.tile_axes(&on_i);
    names.retain(|n| n != i);
    // The running axis first, the streamed one last: lanes run over j or over a diagonal decay's axis.
    let mut order = vec![i.clone(), j.clone()];
    order.append(&mut names);
    let level = b.axes[i].level.max(b.axes[j].level).max(b.level_of(&on_i));
    let dst = b.buffer("L", &order);
    let expr = guarded(conditions, value, Expr::Const(1.0));
    let running = Running {
        along: i.clone(),
        kind: ScanKind::Prod,
        every: None,
        exclusive: strict,
        reverse: false,
    };
    b.emit_scan(level, dst.clone(), expr, running);
    Ok(guarded(vec![inside], Expr::Elem(dst), Expr::Const(0.0)))
}

/// max + log of the sum of exp(x - max): no overflow, -inf over nothing.
pub fn lse(axes: &[Name], mask: &T, body: &T) -> T {
    let max = reduce_max(axes, mask, body);
    let sum = online(axes, body, mask, &Term::one());
    std::sync::Arc::new(Term::Add(vec![max, Term::map(Func::Log, vec![sum])]))
}

pub fn reduce_max(axes: &[Name], mask: &T, body: &T) -> T {
    std::sync::Arc::new(Term::Reduce {
        op: ReduceOp::Max,
        axes: axes.to_vec(),
        mask: mask.clone(),
        body: body.clone(),
    })
}

/// Sum of mask * exp(score - max) * value, with the maximum spelled out as a reduction of its own.
pub fn online(axes: &[Name], score: &T, mask: &T, value: &T) -> T {
    let max = reduce_max(axes, mask, score);
    let mut factors = crate::bounds::conjuncts(mask);
    factors.push(exp_shifted(score, &max));
    factors.push(value.clone());
    Term::sum(axes.to_vec(), factors)
}

/// exp(x - m), and 0 for x = -inf also where the maximum m is -inf.
pub fn exp_shifted(score: &T, max: &T) -> T {
    let none = Term::map(
        Func::Eq,
        vec![max.clone(), Term::constant(f64::NEG_INFINITY)],
    );
    let shift = Term::map(Func::Select, vec![none, Term::zero(), max.clone()]);
    Term::map(
        Func::Exp,
        vec![Term::map(Func::Sub, vec![score.clone(), shift])],
    )
}

/// The operator of a term, for messages.
pub fn summary(term: &T) -> String {
    let text = format!("{term:?}");
    text.split([' ', '(', '{'])
        .next()
        .unwrap_or("")
        .to_lowercase()
}
