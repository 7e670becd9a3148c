//! Which positions a loop must visit, and where it may ignore the masks.

use super::Loop;
use crate::ScheduleError;
use crate::bounds::{Bounds, bounds_of, conjuncts, union_of};
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
            let found: Option<Bounds> =
                bounds_of(&predicate, &plan.j, &plan.size, b.program, &range);
            let Some(found) = found.filter(|f| is_known(b, f)) else {
                let union = union_of(&predicate, &plan.j, &plan.size, b.program, &range);
                // One gap is enough: a second mask of the kind is evaluated in every block.
                if let Some(union) = union.filter(|u| gap.is_none() && is_known(b, &u.rest))
                    && let Some(lo) = union.rest.lo
                    && let Some(head) = Some(union.head).filter(|h| is_fixed(b, h))
                {
                    full_lo = full_lo.max(lo.full);
                    if let Some(bound) = union.rest.hi {
                        full_hi = full_hi.min(bound.full);
                    }
                    if let Some(end) = union.end {
                        own_hi = own_hi.min(end);
                    }
                    gap = Some(Gap {
                        from: head,
                        to: lo.need,
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

/// What no node needs: every one of them has a gap, and this is in all.
fn common(gaps: Vec<Option<Gap>>) -> Option<Gap> {
    let all: Option<Vec<Gap>> = gaps.into_iter().collect();
    all?.into_iter().reduce(|a, b| Gap {
        from: a.from.max(b.from),
        to: a.to.min(b.to),
    })
}

/// Whether bounds are known when a grid point begins.
fn is_known(b: &Builder, bounds: &Bounds) -> bool {
    let mut sides = [&bounds.lo, &bounds.hi].into_iter().flatten();
    sides.all(|side| is_fixed(b, &side.need) && is_fixed(b, &side.full))
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
