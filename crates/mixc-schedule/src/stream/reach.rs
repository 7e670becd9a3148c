//! Which positions a loop must visit, and where it may ignore the masks.

use super::Loop;
use crate::ScheduleError;
use crate::bounds::{Bound, Bounds, Union, bounds_of, conjuncts, union_of};
use crate::builder::Builder;
use mixc_ir::{Func, Ix, Name, T, Term};
use std::sync::Arc;

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
pub struct Reach {
    pub lo: Option<Ix>,
    pub hi: Ix,
    pub full_lo: Ix,
    pub full_hi: Ix,
    /// Predicates that hold in the full part.
    pub settled: Vec<T>,
    /// What need not be visited between `lo` and `hi`.
    pub gap: Option<Gap>,
}

/// Positions between the first keys that a mask lets through and its window.
pub struct Gap {
    pub from: Ix,
    pub to: Ix,
}

pub fn reach(b: &Builder, plan: &Loop) -> Result<Reach, ScheduleError> {
    let range = |axis: &Name| b.range(axis);
    let (mut lo, mut hi): (Option<Ix>, Option<Ix>) = (None, None);
    let mut unbounded_below = false;
    let (mut full_lo, mut full_hi, mut settled) = (Ix::Const(0), plan.size.clone(), vec![]);
    let mut gaps: Vec<Option<Gap>> = vec![];
    let terms = plan.nodes.iter().map(|n| predicates(&n.term));
    for node in terms {
        let (mut own_lo, mut own_hi): (Option<Ix>, Ix) = (None, plan.size.clone());
        let mut gap = None;
        for predicate in node {
            let found = bounds_of(&predicate, &plan.j, &plan.size, b.program, &range);
            let known = |f: &Bounds| [&f.lo, &f.hi].into_iter().flatten().all(|s| is_known(b, s));
            let Some(found) = found.filter(known) else {
                // One gap is enough: a second mask of the kind is evaluated in every block.
                if let Some(union) = two_ranges(b, plan, &predicate).filter(|_| gap.is_none()) {
                    full_lo = full_lo.max(union.after.full);
                    if let Some(bound) = union.hi {
                        full_hi = full_hi.min(bound.full);
                    }
                    if let Some(end) = union.end {
                        own_hi = own_hi.min(end);
                    }
                    gap = Some(Gap {
                        from: union.head,
                        to: union.after.need,
                    });
                    settled.push(predicate);
                }
                continue;
            };
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
        gaps.push(gap);
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
        gap: common(gaps),
    })
}

/// A mask that leaves out what lies between two ranges, if both are known when a grid point begins.
fn two_ranges(b: &Builder, plan: &Loop, predicate: &T) -> Option<Union> {
    let range = |axis: &Name| b.range(axis);
    let union = union_of(predicate, &plan.j, &plan.size, b.program, &range)?;
    let fixed = is_fixed(b, &union.head) && is_known(b, &union.after);
    let known = fixed && union.hi.as_ref().is_none_or(|hi| is_known(b, hi));
    known.then_some(union)
}

/// What no node needs: every one of them has a gap, and this is in all.
fn common(gaps: Vec<Option<Gap>>) -> Option<Gap> {
    let all: Option<Vec<Gap>> = gaps.into_iter().collect();
    all?.into_iter().reduce(|a, b| Gap {
        from: a.from.max(b.from),
        to: a.to.min(b.to),
    })
}

/// Whether a bound is known when a grid point begins.
fn is_known(b: &Builder, bound: &Bound) -> bool {
    is_fixed(b, &bound.need) && is_fixed(b, &bound.full)
}

/// Whether elements of tensors in an index are at sizes and grid axes.
fn is_fixed(b: &Builder, ix: &Ix) -> bool {
    let mut known = true;
    ix.visit_leaves(&mut |leaf| {
        if let Ix::Elem(_, index) = leaf {
            let axes = index.iter().flat_map(Ix::axes);
            known &= axes
                .into_iter()
                .all(|a| b.kernel.grid.iter().any(|g| g.name == a));
        }
    });
    known
}
