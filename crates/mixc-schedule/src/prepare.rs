//! Operands of products that are computed from each position, once before the products.
//!
//! A block of keys is met by every tile of rows: rotated, normalised or mapped there, it is computed as often as there are
//! such tiles, and goes through registers on its way to the matrix unit. Computed before, it is loaded like any input.

use crate::fresh::Names;
use crate::roles::{Roles, is_part, reads_tensor};
use mixc_ir::{Func, Ix, Let, Name, Program, Stmt, T, Term};
use std::collections::BTreeSet;

/// Tiles of rows from which on it is worth two more ways through memory.
const MANY_TILES: i64 = 2;

/// Gives such operands a let each, where rows fill many tiles of `rows`.
pub fn prepare(program: &mut Program, roles: &Roles, rows: i64) {
    let mut names = Names::of(program);
    let mut body = vec![];
    for stmt in std::mem::take(&mut program.body) {
        let Stmt::Let(mut l) = stmt else {
            body.push(stmt);
            continue;
        };
        for operand in operands(program, roles, &l, rows) {
            let free = operand.free_axes();
            let (batch, own): (Vec<Name>, Vec<Name>) =
                free.into_iter().partition(|a| l.axes.contains(a));
            let (lengths, features): (Vec<Name>, Vec<Name>) =
                own.into_iter().partition(|a| roles.is_length(program, a));
            let batch = l.axes.iter().filter(|a| batch.contains(a)).cloned();
            let axes: Vec<Name> = batch.chain(lengths).chain(features).collect();
            let name = names.fresh(&l.name);
            let read = Term::read(&name, axes.iter().cloned().map(Ix::Axis).collect());
            l.value = l
                .value
                .rebuild(&mut |t| if t == operand { read.clone() } else { t });
            body.push(Stmt::Let(Let {
                name,
                axes,
                value: operand,
            }));
        }
        body.push(Stmt::Let(l));
    }
    program.body = body;
}

/// Computed factors over features of a streamed position, in sums over features beside factors of a row.
fn operands(program: &Program, roles: &Roles, l: &Let, rows: i64) -> Vec<T> {
    let is_part = |a: &Name| is_part(program, a);
    let is_length = |a: &Name| roles.is_length(program, a);
    let own: Vec<&Name> = l.axes.iter().filter(|a| is_length(a)).collect();
    let tiles = |a: &&&Name| {
        let size = program.axes.get(**a).map_or(0, |size| roles.value(size));
        size >= MANY_TILES.saturating_mul(rows)
    };
    let mut found: Vec<T> = vec![];
    if own.iter().filter(tiles).count() != 1 || l.value.free_axes().iter().any(is_part) {
        return found;
    }
    l.value.visit(&mut |t| {
        let Term::Sum { axes, factors } = &**t else {
            return;
        };
        if axes.is_empty() || axes.iter().any(|a| is_length(a) || is_part(a)) {
            return;
        }
        let meets_rows = |f: &T| f.free_axes().iter().any(|a| own.contains(&a));
        if !factors.iter().any(meets_rows) {
            return;
        }
        let mut here = vec![];
        let mut streams = false;
        for factor in factors.iter().filter(|f| is_computed(f)) {
            let free = factor.free_axes();
            let lengths: Vec<&Name> = free.iter().filter(|a| is_length(a)).collect();
            let whole = !free.iter().any(is_part) && axes.iter().all(|a| free.contains(a));
            let own_axes = |a: &&Name| is_length(a) || axes.contains(a);
            let needed: Vec<&Name> = free.iter().filter(own_axes).collect();
            if lengths.len() == 1 && whole && is_stored_alike(factor, &needed) {
                streams |= !own.contains(&lengths[0]);
                here.push(factor.clone());
            }
        }
        // Rows are computed once for each tile of theirs, anyway: alone they are not worth it.
        if streams {
            here.retain(|f| !found.contains(f));
            found.extend(here);
        }
    });
    found
}

/// Whether a factor is computed from elements of tensors, position by position.
fn is_computed(term: &T) -> bool {
    let own = match &**term {
        Term::Add(_) => true,
        Term::Map { f, .. } => !f.is_predicate() && *f != Func::Neg,
        _ => false,
    };
    let mut reduces = false;
    term.visit(&mut |t| reduces |= !t.bound_axes().is_empty());
    own && reads_tensor(term) && !reduces
}

/// Whether some tensor in a factor has all these axes, so that the factor is not larger than its inputs.
fn is_stored_alike(factor: &T, axes: &[&Name]) -> bool {
    let mut found = false;
    factor.visit(&mut |t| {
        if let Term::Read { index, .. } = &**t {
            let own: BTreeSet<Name> = index.iter().flat_map(Ix::axes).collect();
            found |= axes.iter().all(|a| own.contains(*a));
        }
    });
    found
}
