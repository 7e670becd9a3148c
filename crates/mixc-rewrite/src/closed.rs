//! A program as closed terms: lets inlined into the results, scans as structured recurrences.

use crate::alpha::Canonical;
use crate::scan;
use crate::terms::{AxisSizes, sequence_axes, substitute};
use mixc_ir::{Ix, Let, Name, Program, Scan, Stmt, T, Term};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A value to derive: a result, or a let that others read as a whole tensor.
#[derive(Clone, Debug)]
pub struct Root {
    pub name: Name,
    pub axes: Vec<Name>,
    pub term: T,
    /// The axes under the names of the program, if they have others now.
    pub renamed_from: Option<Vec<Name>>,
}

impl Root {
    fn item(name: Name, axes: Vec<Name>, term: T) -> Item {
        Item::Root(Root {
            name,
            axes,
            term,
            renamed_from: None,
        })
    }
}

#[derive(Clone, Debug)]
pub enum Item {
    Root(Root),
    /// A scan that has no structured transition.
    Kept(Scan),
}

/// A program between inlining and the e-graph.
#[derive(Debug, Default)]
pub struct Closed {
    /// In dependency order.
    pub items: Vec<Item>,
    pub sizes: AxisSizes,
    pub sequence_sizes: BTreeSet<Ix>,
    pub notes: Vec<String>,
}

impl Closed {
    pub fn roots(&self) -> impl Iterator<Item = &Root> {
        self.items.iter().filter_map(|i| match i {
            Item::Root(root) => Some(root),
            Item::Kept(_) => None,
        })
    }
}

/// Closes a program. `hints` gives likely sizes, for programs that no operator tells the time axis of.
pub fn close(program: &Program, hints: &BTreeMap<Name, i64>) -> Closed {
    let sequence_sizes = sequence_sizes(program, hints);
    let mut closer = Closer {
        program,
        sequence_sizes,
        sizes: program.axes.clone(),
        values: BTreeMap::new(),
        needed: program.outputs.iter().map(|o| o.name.clone()).collect(),
        items: vec![],
        notes: vec![],
    };
    for stmt in &program.body {
        match stmt {
            Stmt::Let(l) => closer.let_(l),
            Stmt::Scan(s) => closer.scan(s),
        }
    }
    closer.finish()
}

struct Closer<'a> {
    program: &'a Program,
    sequence_sizes: BTreeSet<Ix>,
    sizes: AxisSizes,
    /// Values that can be inlined.
    values: BTreeMap<Name, (Vec<Name>, T)>,
    /// Names that must exist as tensors.
    needed: BTreeSet<Name>,
    items: Vec<Item>,
    notes: Vec<String>,
}

impl Closer<'_> {
    fn let_(&mut self, l: &Let) {
        let term = self.inline(&l.value);
        if self.is_projection(l, &term) {
            self.store(l.name.clone(), l.axes.clone(), term);
        } else {
            self.define(l.name.clone(), l.axes.clone(), term);
        }
    }

    /// A value that later statements read as a tensor.
    fn store(&mut self, name: Name, axes: Vec<Name>, term: T) {
        self.needed.insert(name.clone());
        self.items.push(Root::item(name, axes, term));
    }

    fn scan(&mut self, s: &Scan) {
        let mut inlined = s.clone();
        let local: BTreeSet<&Name> = s
            .body
            .iter()
            .map(|l| &l.name)
            .chain(s.carries.iter().map(|c| &c.name))
            .collect();
        // Names of the body hide those of statements before it.
        let hidden: Vec<_> = local
            .iter()
            .filter_map(|n| self.values.remove_entry(*n))
            .collect();
        for carry in &mut inlined.carries {
            carry.init = self.inline(&carry.init);
        }
        for l in &mut inlined.body {
            l.value = self.inline(&l.value);
        }
        self.values.extend(hidden);
        match scan::analyse(&inlined, &mut self.sizes) {
            Ok(closed) => {
                for (name, axes, term) in closed.collected {
                    self.collected(s, &closed.axis, name, axes, term);
                }
                for (name, axes, term) in closed.last {
                    self.define(name, axes, term);
                }
            }
            Err(reason) => {
                self.notes.push(format!(
                    "the scan over {} stays sequential: {reason}",
                    s.axis
                ));
                for l in s
                    .body
                    .iter()
                    .map(|l| &l.value)
                    .chain(s.carries.iter().map(|c| &c.init))
                {
                    l.visit(&mut |t| {
                        if let Term::Read { tensor, .. } = &**t {
                            self.needed.insert(tensor.clone());
                        }
                    });
                }
                self.items.push(Item::Kept(s.clone()));
            }
        }
    }

    /// A collected let; that of a reverse scan is computed along the mirrored axis and read back.
    fn collected(&mut self, s: &Scan, axis: &Name, name: Name, axes: Vec<Name>, term: T) {
        if !s.reverse {
            return self.define(name, axes, term);
        }
        let mirrored: Name = format!("{name}_reversed").into();
        self.items
            .push(Root::item(mirrored.clone(), axes.clone(), term));
        let size = self.sizes[axis].clone();
        let position = |a: &Name| {
            if a == axis {
                size.clone() - 1 - Ix::Axis(s.axis.clone())
            } else {
                Ix::Axis(a.clone())
            }
        };
        let index = axes.iter().map(position).collect();
        let back = axes
            .iter()
            .map(|a| if a == axis { s.axis.clone() } else { a.clone() })
            .collect();
        self.needed.insert(mirrored.clone());
        self.define(
            name,
            back,
            Arc::new(Term::Read {
                tensor: mirrored,
                index,
            }),
        );
    }

    fn define(&mut self, name: Name, axes: Vec<Name>, term: T) {
        if self.binds_time(&term) && self.is_read_apart(&name, &axes) {
            return self.store(name, axes, term);
        }
        self.items
            .push(Root::item(name.clone(), axes.clone(), term.clone()));
        self.values.insert(name, (axes, term));
    }

    /// The term with reads of known values replaced by them, where the index is plain axes of the
    /// same sizes (elsewhere bounds checks would be lost).
    fn inline(&mut self, term: &T) -> T {
        if let Term::Read { tensor, index } = &**term {
            index.iter().for_each(|ix| self.need_gathers(ix));
            if let Some((axes, value)) = self.values.get(tensor) {
                let same_size = |(axis, ix): (&Name, &Ix)| match ix {
                    Ix::Axis(a) => self.sizes.get(a) == self.sizes.get(axis),
                    _ => false,
                };
                if axes.len() == index.len() && axes.iter().zip(index).all(same_size) {
                    let map = axes.iter().cloned().zip(index.iter().cloned()).collect();
                    if let Some(value) = substitute(value, &map, &mut self.sizes) {
                        return value;
                    }
                }
            }
            self.needed.insert(tensor.clone());
            return term.clone();
        }
        if let Term::Index(ix) = &**term {
            self.need_gathers(ix);
        }
        let children = term
            .children()
            .into_iter()
            .map(|c| self.inline(c))
            .collect();
        Arc::new(term.with_children(children))
    }

    fn need_gathers(&mut self, ix: &Ix) {
        ix.visit_leaves(&mut |leaf| {
            if let Ix::Elem(tensor, _) = leaf {
                self.needed.insert(tensor.clone());
            }
        });
    }

    fn is_sequence(&self, axis: &Name) -> bool {
        self.sizes
            .get(axis)
            .is_some_and(|size| self.sequence_sizes.contains(size))
    }

    /// Whether a let prepares features position by position with sums inside (a projection, a
    /// norm). Inlining one exposes nothing and repeats its work at every use.
    fn is_projection(&self, l: &Let, term: &T) -> bool {
        let mut sums_features = false;
        term.visit(&mut |t| {
            sums_features |= matches!(**t, Term::Sum { .. }) && !t.bound_axes().is_empty();
        });
        let positions = term
            .free_axes()
            .iter()
            .filter(|a| self.is_sequence(a))
            .count();
        sums_features
            && !self.binds_time(term)
            && positions <= 1
            && !pairs_positions(term)
            && !self.summed_over_time(&l.name)
    }

    /// Whether a value takes a reduction or a recurrence over time.
    fn binds_time(&self, term: &T) -> bool {
        let mut found = false;
        term.visit(&mut |t| found |= t.bound_axes().iter().any(|a| self.is_sequence(a)));
        found
    }

    /// Whether statements read features of a value each at its own place and all of them together as well, as norms do, or
    /// products of them. Inlined, every one of these would go through time again. What has more axes than every result, like
    /// all states of a recurrence, is never worth its memory.
    fn is_read_apart(&self, name: &Name, axes: &[Name]) -> bool {
        let outputs = self.program.outputs.iter();
        if outputs.map(|o| o.axes.len()).max() < Some(axes.len()) {
            return false;
        }
        let (mut alone, mut together, mut multiplied) = (false, false, false);
        for stmt in &self.program.body {
            let Stmt::Let(l) = stmt else { continue };
            let all = reads(&l.value, name, &|_| true);
            let mut inside = 0;
            l.value.visit(&mut |t| {
                let Term::Sum { axes, factors } = &**t else {
                    return;
                };
                let features = |index: &[Ix]| {
                    let mut read = index.iter().flat_map(Ix::axes);
                    read.any(|a| axes.contains(&a) && !self.is_sequence(&a))
                };
                let summed: usize = factors.iter().map(|f| reads(f, name, &features)).sum();
                inside += summed;
                multiplied |= summed > 1;
            });
            together |= inside > 0;
            alone |= all > inside;
        }
        (alone && together) || multiplied
    }

    /// Whether a statement sums the let over time right where it reads it.
    fn summed_over_time(&self, name: &Name) -> bool {
        self.program.lets().any(|l| {
            let mut found = false;
            l.value.visit(&mut |t| {
                let bound: Vec<Name> = t
                    .bound_axes()
                    .into_iter()
                    .filter(|a| self.is_sequence(a))
                    .collect();
                if !bound.is_empty() {
                    t.visit(&mut |below| {
                        if let Term::Read { tensor, index } = &**below {
                            let over_time =
                                index.iter().flat_map(Ix::axes).any(|a| bound.contains(&a));
                            found |= tensor == name && over_time;
                        }
                    });
                }
            });
            found
        })
    }

    fn finish(mut self) -> Closed {
        // What a needed value reads is needed too; values only depend on earlier ones.
        for item in self.items.iter().rev() {
            if let Item::Root(root) = item
                && self.needed.contains(&root.name)
            {
                root.term.visit(&mut |t| {
                    if let Term::Read { tensor, .. } = &**t {
                        self.needed.insert(tensor.clone());
                    }
                });
            }
        }
        let needed = std::mem::take(&mut self.needed);
        self.items.retain(|i| {
            matches!(i, Item::Kept(_)) || matches!(i, Item::Root(r) if needed.contains(&r.name))
        });
        // A result can have the name of an input. Other results may still read that input.
        let hides = |i: &Item| matches!(i, Item::Root(r) if self.program.tensor(&r.name).is_some());
        self.items.sort_by_key(hides);
        self.canonicalise();
        Closed {
            items: self.items,
            sizes: self.sizes,
            sequence_sizes: self.sequence_sizes,
            notes: self.notes,
        }
    }

    /// One set of names for the axes of all roots, so that they can share work.
    fn canonicalise(&mut self) {
        let mut canonical = Canonical::default();
        let mut known: Vec<Name> = vec![];
        for item in &mut self.items {
            let Item::Root(root) = item else { continue };
            let mut map = BTreeMap::new();
            let mut taken: BTreeSet<Name> = root
                .axes
                .iter()
                .filter(|a| known.contains(a))
                .cloned()
                .collect();
            for axis in root.axes.iter().filter(|a| !known.contains(a)) {
                let same_size =
                    |a: &&Name| self.sizes.get(*a) == self.sizes.get(axis) && !taken.contains(*a);
                let chosen = known.iter().find(same_size).unwrap_or(axis).clone();
                taken.insert(chosen.clone());
                map.insert(axis.clone(), chosen);
            }
            let images = map
                .iter()
                .map(|(a, b)| (a.clone(), Ix::Axis(b.clone())))
                .collect();
            if let Some(term) = substitute(&root.term, &images, &mut self.sizes) {
                root.term = term;
                root.renamed_from = Some(root.axes.clone());
                root.axes
                    .iter_mut()
                    .for_each(|a| *a = map.get(a).unwrap_or(a).clone());
            }
            for axis in &root.axes {
                if !known.contains(axis) {
                    known.push(axis.clone());
                }
            }
        }
        for axis in &known {
            match self
                .sizes
                .get(axis)
                .is_some_and(|s| self.sequence_sizes.contains(s))
            {
                true => canonical.reserve(axis),
                false => canonical.offer(axis, &self.sizes),
            }
        }
        for item in &mut self.items {
            if let Item::Root(root) = item {
                let taken = root.axes.iter().cloned().collect();
                root.term = canonical.rename(&root.term, &taken, &mut self.sizes);
            }
        }
    }
}

/// Sizes of the axes along which time runs: from the operators; failing that, the largest size by
/// hint (else the first in the layouts) that two axes of one let have.
fn sequence_sizes(program: &Program, hints: &BTreeMap<Name, i64>) -> BTreeSet<Ix> {
    let mut axes = BTreeSet::new();
    program
        .lets()
        .for_each(|l| sequence_axes(&l.value, &mut axes));
    for stmt in &program.body {
        if let Stmt::Scan(s) = stmt {
            axes.insert(s.axis.clone());
        }
    }
    let size = |a: &Name| program.axes.get(a).cloned();
    let sizes: BTreeSet<Ix> = axes.iter().filter_map(size).collect();
    if !sizes.is_empty() {
        return sizes;
    }
    let layout_position = |ix: &Ix| {
        let positions = program
            .tensors
            .iter()
            .filter_map(|t| t.shape.iter().position(|s| s == ix));
        positions.min().unwrap_or(usize::MAX)
    };
    let candidates = program.lets().flat_map(|l| repeated_sizes(l, &size));
    let likeliest =
        candidates.max_by_key(|ix| (ix.eval_sizes(hints), std::cmp::Reverse(layout_position(ix))));
    likeliest.into_iter().collect()
}

/// Sizes that several axes of a let have.
fn repeated_sizes(l: &Let, size: &dyn Fn(&Name) -> Option<Ix>) -> BTreeSet<Ix> {
    let mut axes: BTreeSet<Name> = l.axes.iter().cloned().collect();
    l.value.visit(&mut |t| axes.extend(t.bound_axes()));
    let mut seen = BTreeSet::new();
    axes.iter()
        .filter_map(size)
        .filter(|ix| !seen.insert(ix.clone()))
        .collect()
}

/// Whether a sum compares two positions of one sequence of data: a product of two factors that have
/// batch axes in common and an axis each that the other lacks. Weights have no batch axes in common
/// with what they are applied to.
fn pairs_positions(term: &T) -> bool {
    let mut found = false;
    term.visit(&mut |t| {
        let Term::Sum { axes, factors } = &**t else {
            return;
        };
        let free = |f: &T| -> BTreeSet<Name> {
            let all = f.free_axes().into_iter();
            all.filter(|a| !axes.contains(a)).collect()
        };
        let free: Vec<BTreeSet<Name>> = factors.iter().map(free).collect();
        found |= free.iter().any(|a| {
            free.iter()
                .any(|b| !a.is_disjoint(b) && !a.is_subset(b) && !b.is_subset(a))
        });
    });
    found
}

/// How often a term reads a tensor at such indices.
fn reads(term: &T, name: &Name, at: &dyn Fn(&[Ix]) -> bool) -> usize {
    let mut count = 0;
    term.visit(&mut |t| {
        let counts = |tensor: &Name, index: &[Ix]| tensor == name && at(index);
        count += usize::from(matches!(&**t, Term::Read { tensor, index } if counts(tensor, index)));
    });
    count
}
