//! Canonical names of bound axes, so that equal reductions written with different index letters
//! become the same term.

use crate::terms::{AxisSizes, rename_bound_to};
use mixc_ir::{Ix, Name, T, Term};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Axes met so far, by size. A binder takes the first one that is not free below it.
#[derive(Debug, Default)]
pub struct Canonical {
    by_size: BTreeMap<Ix, Vec<Name>>,
    /// Axes that no binder may take: positions in time of the results.
    reserved: BTreeSet<Name>,
}

impl Canonical {
    pub fn reserve(&mut self, axis: &Name) {
        self.reserved.insert(axis.clone());
    }

    /// Makes an axis available to the binders of other terms.
    pub fn offer(&mut self, axis: &Name, sizes: &AxisSizes) {
        let list = self.by_size.entry(size(axis, sizes)).or_default();
        if !list.contains(axis) {
            list.push(axis.clone());
        }
    }

    /// The term with canonical bound axes; none of them in `taken`.
    pub fn rename(&mut self, term: &T, taken: &BTreeSet<Name>, sizes: &mut AxisSizes) -> T {
        let children: Vec<T> = term
            .children()
            .into_iter()
            .map(|c| self.rename(c, taken, sizes))
            .collect();
        let term: T = Arc::new(term.with_children(children));
        let bound = term.bound_axes();
        if bound.is_empty() || matches!(*term, Term::Merge { .. }) {
            return term;
        }
        let below: BTreeSet<Name> = term
            .children()
            .into_iter()
            .flat_map(|c| c.free_axes())
            .collect();
        let mut map = BTreeMap::new();
        let mut used: BTreeSet<Name> = term.free_axes().into_iter().collect();
        for axis in &bound {
            self.offer(axis, sizes);
            let candidates = &self.by_size[&size(axis, sizes)];
            let fits = |c: &&Name| {
                let own = **c == *axis;
                own || !(taken.contains(*c) || self.reserved.contains(*c) || below.contains(*c))
            };
            let free = |c: &&Name| !used.contains(*c) && (**c == *axis || !bound.contains(*c));
            let chosen = candidates
                .iter()
                .filter(fits)
                .find(free)
                .unwrap_or(axis)
                .clone();
            used.insert(chosen.clone());
            if chosen != *axis {
                map.insert(axis.clone(), chosen);
            }
        }
        if map.is_empty() {
            return term;
        }
        rename_bound_to(&term, &map, sizes).unwrap_or(term)
    }
}

fn size(axis: &Name, sizes: &AxisSizes) -> Ix {
    sizes
        .get(axis)
        .cloned()
        .unwrap_or_else(|| Ix::Dim(axis.clone()))
}
