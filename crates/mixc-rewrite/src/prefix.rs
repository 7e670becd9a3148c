//! Prefix sums that are left after normalisation (in score biases, say) become values of their
//! own: they cost one pass over time, and every form can then index them freely.

use crate::closed::{Closed, Item, Root};
use crate::terms::substitute;
use mixc_ir::{Ix, Name, T, Term};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Moves prefix sums out of `terms`, the values of the roots of `closed`. The new roots are
/// inserted before the first user; their terms are inserted in `terms` likewise.
pub fn extract_prefix_sums(closed: &mut Closed, terms: &mut Vec<T>, taken: &BTreeSet<Name>) {
    let mut found = Found {
        roots: vec![],
        taken: taken.clone(),
        closed,
    };
    let mut rewritten = vec![];
    let mut first_user = None;
    for (n, term) in terms.iter().enumerate() {
        // A root that is a prefix sum stays one.
        let new = if matches!(**term, Term::CumSum { .. }) {
            term.clone()
        } else {
            found.replace(term)
        };
        if !found.roots.is_empty() && first_user.is_none() {
            first_user = Some(n);
        }
        rewritten.push(new);
    }
    let Some(first_user) = first_user else { return };
    let roots = found.roots;
    let at = closed
        .items
        .iter()
        .enumerate()
        .filter(|(_, i)| matches!(i, Item::Root(_)))
        .nth(first_user)
        .map_or(0, |(at, _)| at);
    let new_terms: Vec<T> = roots.iter().map(|r| r.term.clone()).collect();
    closed
        .items
        .splice(at..at, roots.into_iter().map(Item::Root));
    rewritten.splice(first_user..first_user, new_terms);
    *terms = rewritten;
}

struct Found<'a> {
    roots: Vec<Root>,
    taken: BTreeSet<Name>,
    closed: &'a mut Closed,
}

impl Found<'_> {
    fn replace(&mut self, term: &T) -> T {
        if let Term::CumSum { axis, .. } = &**term {
            return self.stored(term, axis);
        }
        let children: Vec<T> = term
            .children()
            .into_iter()
            .map(|c| self.replace(c))
            .collect();
        let unchanged = children
            .iter()
            .zip(term.children())
            .all(|(a, b)| Arc::ptr_eq(a, b));
        if unchanged {
            term.clone()
        } else {
            Arc::new(term.with_children(children))
        }
    }

    /// A read of the prefix sum; equal ones over other axes of the same size share one value.
    fn stored(&mut self, term: &T, axis: &Name) -> T {
        for root in &self.roots {
            let Term::CumSum {
                axis: stored_axis, ..
            } = &*root.term
            else {
                continue;
            };
            let map = BTreeMap::from([(axis.clone(), Ix::Axis(stored_axis.clone()))]);
            let same_size = self.closed.sizes.get(axis) == self.closed.sizes.get(stored_axis);
            if same_size
                && substitute(term, &map, &mut self.closed.sizes).as_ref() == Some(&root.term)
            {
                let index = root
                    .axes
                    .iter()
                    .map(|a| if a == stored_axis { axis } else { a });
                return Term::read(&root.name, index.map(|a| Ix::Axis(a.clone())).collect());
            }
        }
        let mut name: Name = "prefix_sum".into();
        let mut n = 2;
        while !self.taken.insert(name.clone()) {
            name = format!("prefix_sum_{n}").into();
            n += 1;
        }
        let axes: Vec<Name> = term.free_axes().into_iter().collect();
        let index = axes.iter().map(|a| Ix::Axis(a.clone())).collect();
        self.roots.push(Root {
            name: name.clone(),
            axes,
            term: term.clone(),
            renamed_from: None,
        });
        Term::read(&name, index)
    }
}
