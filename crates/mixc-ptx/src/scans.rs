//! Which way a running sum or product is computed.
//!
//! A scan combines values that lie along one axis, so that axis should not run over the warps. Decays inside a chunk are
//! products over segments, c[i, j] = product of f[m] over j < m <= i: written as a scan along i of the values with
//! j < i, they are as well a scan against j of those with j <= i. Whichever axis a warp has for itself will do.

use crate::spread;
use crate::visit;
use mixc_ir::{Affine, Func, Ix, Name};
use mixc_layout::{LANE, Layout, REGISTER, WARP};
use mixc_tile::{Access, Expr, Place, ScanKind, Stmt};
use std::collections::BTreeMap;

/// A scan as it is computed: along which axis, and of what.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Form {
    pub along: Name,
    pub every: Option<usize>,
    pub exclusive: bool,
    pub reverse: bool,
    pub expr: Expr,
}

impl Form {
    /// The form of a scan that a layout admits: as it is written, or turned around.
    pub fn of(stmt: &Stmt, layout: &Layout) -> Option<Form> {
        [written(stmt), turned(stmt)]
            .into_iter()
            .flatten()
            .find(|form| fits(layout, &form.along))
    }

    pub fn reads(&self) -> Vec<&Access> {
        let mut found = vec![];
        visit::elements(&self.expr, &mut found);
        found
    }
}

/// Whether no two warps hold parts of a line, and every bit of registers and lanes moves along the line or beside it.
fn fits(layout: &Layout, along: &str) -> bool {
    let Some(n) = spread::out_index(layout, along) else {
        return false;
    };
    let moves = |input: &str| -> Vec<Vec<u32>> {
        (0..layout.in_bits(input))
            .map(|bit| layout.basis(input, bit))
            .filter(|basis| basis[n] != 0)
            .collect()
    };
    let alone = |basis: &Vec<u32>| basis.iter().filter(|v| **v != 0).count() == 1;
    moves(WARP).is_empty()
        && moves(spread::LOOP).is_empty()
        && [REGISTER, LANE]
            .iter()
            .flat_map(|input| moves(input))
            .all(|basis| basis[n].is_power_of_two() && alone(&basis))
}

fn written(stmt: &Stmt) -> Option<Form> {
    let Stmt::Scan {
        along,
        every,
        exclusive,
        reverse,
        expr,
        ..
    } = stmt
    else {
        return None;
    };
    Some(Form {
        along: along.clone(),
        every: *every,
        exclusive: *exclusive,
        reverse: *reverse,
        expr: expr.clone(),
    })
}

/// The product over a segment from its other end: of select(other < along and ..., f[along], neutral) along `along`.
/// Whether the end at `other` belongs to the segment is in the comparison, and whether that at `along` does in
/// `exclusive`; turned around they change places.
fn turned(stmt: &Stmt) -> Option<Form> {
    let Stmt::Scan {
        axes,
        along,
        kind,
        every: None,
        exclusive,
        reverse,
        expr: Expr::Call(Func::Select, args),
        ..
    } = stmt
    else {
        return None;
    };
    let [condition, value, otherwise] = args.as_slice() else {
        return None;
    };
    let neutral = match kind {
        ScanKind::Sum => 0.0,
        ScanKind::Prod => 1.0,
    };
    if *otherwise != Expr::Const(neutral) {
        return None;
    }
    let mut conditions = vec![];
    conjuncts(condition, &mut conditions);
    let (at, func, sides, other) = conditions.iter().enumerate().find_map(|(at, c)| {
        let (func, sides, other) = segment(c, along, *reverse)?;
        Some((at, func, sides, other))
    })?;
    let extent = |name: &Name| axes.iter().find(|a| a.name == *name).map(|a| a.extent);
    conditions.remove(at);
    if extent(along) != extent(&other)
        || mentions(value, &other)
        || conditions.iter().any(|c| mentions(c, &other))
    {
        return None;
    }
    let inside = if *exclusive { Func::Lt } else { Func::Le };
    let mut all = Expr::Call(inside, sides.to_vec());
    for c in conditions {
        all = Expr::Call(Func::And, vec![all, renamed(c, along, &other)]);
    }
    let value = renamed(value, along, &other);
    Some(Form {
        along: other,
        every: None,
        exclusive: func == Func::Lt,
        reverse: !reverse,
        expr: Expr::Call(Func::Select, vec![all, value, otherwise.clone()]),
    })
}

fn conjuncts<'e>(condition: &'e Expr, found: &mut Vec<&'e Expr>) {
    match condition {
        Expr::Call(Func::And, args) => args.iter().for_each(|a| conjuncts(a, found)),
        one => found.push(one),
    }
}

/// If a condition says that the scan has passed another axis: the comparison, its two sides and that axis.
fn segment<'e>(
    condition: &'e Expr,
    along: &Name,
    reverse: bool,
) -> Option<(Func, &'e [Expr], Name)> {
    let Expr::Call(func @ (Func::Lt | Func::Le), sides) = condition else {
        return None;
    };
    let [Expr::Index(small), Expr::Index(large)] = sides.as_slice() else {
        return None;
    };
    let (small, large) = (small.affine()?, large.affine()?);
    let (own, others) = if reverse {
        (&small, &large)
    } else {
        (&large, &small)
    };
    let other = others
        .terms
        .keys()
        .find(|n| others.terms.len() == 1 && *n != along)?;
    let is_along =
        |a: &Affine, name: &Name| a.terms.len() == 1 && a.coefficient(name) == Ix::Const(1);
    let aligned = is_along(own, along) && is_along(others, other) && own.rest == others.rest;
    aligned.then(|| (*func, sides.as_slice(), other.clone()))
}

fn mentions(expr: &Expr, axis: &Name) -> bool {
    match expr {
        Expr::Const(_) | Expr::Scalar(_) => false,
        Expr::Index(ix) => ix.axes().contains(axis),
        Expr::Elem(access) => access.places.iter().any(|p| match p {
            Place::Axis(name) => name == axis,
            Place::At(ix) => ix.axes().contains(axis),
        }),
        Expr::Add(a, b) | Expr::Mul(a, b) => mentions(a, axis) || mentions(b, axis),
        Expr::Call(_, args) => args.iter().any(|a| mentions(a, axis)),
    }
}

fn renamed(expr: &Expr, from: &Name, to: &Name) -> Expr {
    let again = |e: &Expr| renamed(e, from, to);
    let index = |ix: &Ix| ix.substitute(&BTreeMap::from([(from.clone(), Ix::Axis(to.clone()))]));
    match expr {
        Expr::Const(_) | Expr::Scalar(_) => expr.clone(),
        Expr::Index(ix) => Expr::Index(index(ix)),
        Expr::Elem(access) => {
            let place = |p: &Place| match p {
                Place::Axis(name) if name == from => Place::Axis(to.clone()),
                Place::Axis(name) => Place::Axis(name.clone()),
                Place::At(ix) => Place::At(index(ix)),
            };
            Expr::Elem(Access {
                buf: access.buf,
                places: access.places.iter().map(place).collect(),
            })
        }
        Expr::Add(a, b) => Expr::Add(Box::new(again(a)), Box::new(again(b))),
        Expr::Mul(a, b) => Expr::Mul(Box::new(again(a)), Box::new(again(b))),
        Expr::Call(func, args) => Expr::Call(*func, args.iter().map(again).collect()),
    }
}
