//! Checks of terms.

use super::Verifier;
use crate::{Ix, Kind, Name, Scalar, T, Term};
use std::collections::BTreeSet;

type Scope = BTreeSet<Name>;

impl Verifier<'_> {
    /// The default of a scalar: over sizes and the scalars before it.
    pub(super) fn check_default(&mut self, term: &T, place: &Name, earlier: &[Scalar]) {
        let mut faults: Vec<(T, &str)> = vec![];
        term.visit(&mut |t| match &**t {
            Term::Read { .. } => faults.push((t.clone(), "a default cannot read a tensor")),
            Term::Scalar(name) if earlier.iter().all(|s| s.name != *name) => {
                faults.push((t.clone(), "a default can only use scalars before it"));
            }
            Term::Const(_) | Term::Scalar(_) | Term::Index(_) | Term::Map { .. } | Term::Add(_) => {
            }
            Term::Sum { axes, .. } if axes.is_empty() => {}
            _ => faults.push((t.clone(), "a default has no axes")),
        });
        for (term, message) in faults {
            self.error_at("default", place, message, &term);
        }
        self.check_arities(term, place);
        let mut indices = vec![];
        term.visit(&mut |t| {
            if let Term::Index(ix) = &**t {
                indices.push((ix.clone(), t.clone()));
            }
        });
        for (ix, term) in indices {
            self.check_index(&ix, &Scope::new(), place, &term);
        }
    }

    fn check_arities(&mut self, term: &T, place: &Name) {
        if let Term::Map { f, args } = &**term
            && args.len() != f.arity()
        {
            let message = format!(
                "`{}` takes {} arguments, found {}",
                f.name(),
                f.arity(),
                args.len()
            );
            self.error_at("arity", place, message, term);
        }
        for child in term.children() {
            self.check_arities(child, place);
        }
    }

    pub(super) fn check_term(&mut self, term: &T, scope: &Scope, place: &Name) {
        self.check_arities(term, place);
        self.check_node(term, scope, place);
    }

    fn check_node(&mut self, term: &T, scope: &Scope, place: &Name) {
        let whole = term;
        match &**term {
            Term::Const(_) | Term::Map { .. } | Term::Add(_) => {
                self.check_children(term, scope, place)
            }
            Term::Scalar(name) => {
                if self.program.scalar(name).is_none() {
                    self.error_at("read", place, format!("there is no scalar `{name}`"), term);
                }
            }
            Term::Index(ix) => self.check_index(ix, scope, place, term),
            Term::Read { tensor, index } => {
                self.check_read(tensor, index.len(), place, term);
                index
                    .iter()
                    .for_each(|ix| self.check_index(ix, scope, place, whole));
            }
            Term::Sum { axes, .. } | Term::Reduce { axes, .. } | Term::Online { axes, .. } => {
                let inside = self.bind(axes, scope, place, term);
                self.check_children(term, &inside, place);
            }
            Term::Softmax { axes, .. } => {
                self.check_distinct(axes, place, term);
                axes.iter()
                    .for_each(|a| self.check_in_scope(a, scope, place, whole));
                self.check_children(term, scope, place);
            }
            Term::Ss { j, i, decay, .. } => {
                self.check_in_scope(j, scope, place, term);
                self.check_in_scope(i, scope, place, term);
                self.check_pair(j, i, &[decay], place, term);
                self.check_node(decay, scope, place);
            }
            Term::Scan {
                j,
                i,
                decay,
                input,
                init,
                ..
            } => {
                self.check_in_scope(i, scope, place, term);
                self.check_pair(j, i, &[decay, input, init], place, term);
                let inside = self.bind(std::slice::from_ref(j), scope, place, term);
                self.check_node(decay, &inside, place);
                self.check_node(input, &inside, place);
                self.check_node(init, scope, place);
            }
            Term::Last {
                j,
                decay,
                input,
                init,
            } => {
                let inside = self.bind(std::slice::from_ref(j), scope, place, term);
                self.check_node(decay, &inside, place);
                self.check_node(input, &inside, place);
                self.check_node(init, scope, place);
            }
            Term::CumProd { axis, .. } | Term::SufProd { axis, .. } | Term::CumSum { axis, .. } => {
                self.check_in_scope(axis, scope, place, term);
                self.check_children(term, scope, place);
            }
            Term::Merge {
                axis,
                outer,
                inner,
                body,
            } => {
                self.check_in_scope(axis, scope, place, term);
                let inside = self.bind(&[outer.clone(), inner.clone()], scope, place, term);
                self.check_merge(axis, outer, inner, place, term);
                self.check_node(body, &inside, place);
            }
        }
    }

    fn check_children(&mut self, term: &T, scope: &Scope, place: &Name) {
        for child in term.children() {
            self.check_node(child, scope, place);
        }
    }

    /// The scope inside a node that binds `axes`.
    fn bind(&mut self, axes: &[Name], scope: &Scope, place: &Name, term: &T) -> Scope {
        self.check_distinct(axes, place, term);
        let mut inside = scope.clone();
        for axis in axes {
            self.check_axis(axis, place);
            if !inside.insert(axis.clone()) && scope.contains(axis) {
                let message = format!("axis `{axis}` is bound where it is in scope already");
                self.error_at("capture", place, message, term);
            }
        }
        inside
    }

    fn check_distinct(&mut self, axes: &[Name], place: &Name, term: &T) {
        let mut seen = BTreeSet::new();
        for axis in axes {
            if !seen.insert(axis) {
                self.error_at(
                    "repeated-axis",
                    place,
                    format!("axis `{axis}` occurs twice"),
                    term,
                );
            }
        }
    }

    fn check_in_scope(&mut self, axis: &Name, scope: &Scope, place: &Name, term: &T) {
        self.check_axis(axis, place);
        if !scope.contains(axis) {
            self.error_at(
                "scope",
                place,
                format!("axis `{axis}` is not in scope"),
                term,
            );
        }
    }

    /// The axes of a semiseparable operator: equally long, and nothing over `j` mentions `i`.
    fn check_pair(&mut self, j: &Name, i: &Name, parts: &[&T], place: &Name, term: &T) {
        if j == i {
            self.error_at(
                "axis-pair",
                place,
                format!("axis `{i}` is on both sides"),
                term,
            );
            return;
        }
        if let (Some(a), Some(b)) = (self.program.axes.get(j), self.program.axes.get(i))
            && !self.equal_sizes(a, b)
        {
            let message =
                format!("axes `{j}` of size `{a}` and `{i}` of size `{b}` must be equally long");
            self.error_at("axis-pair", place, message, term);
        }
        for part in parts {
            if part.free_axes().contains(i) {
                self.error_at(
                    "axis-pair",
                    place,
                    format!("what runs over `{j}` mentions `{i}`"),
                    term,
                );
            }
        }
    }

    fn check_merge(&mut self, axis: &Name, outer: &Name, inner: &Name, place: &Name, term: &T) {
        let program = self.program;
        let Some(split) = program
            .splits
            .iter()
            .find(|s| s.outer == *outer && s.inner == *inner)
        else {
            let message = format!("`{outer}` and `{inner}` are not the parts of a split");
            return self.error_at("split", place, message, term);
        };
        if let (Some(a), Some(b)) = (program.axes.get(axis), program.axes.get(&split.axis))
            && !self.equal_sizes(a, b)
        {
            let message = format!("`{outer}` and `{inner}` split an axis of size `{b}`, not `{a}`");
            self.error_at("split", place, message, term);
        }
    }

    fn check_index(&mut self, ix: &Ix, scope: &Scope, place: &Name, term: &T) {
        let mut leaves = vec![];
        ix.visit_leaves(&mut |leaf| leaves.push(leaf.clone()));
        for leaf in leaves {
            match &leaf {
                Ix::Axis(axis) => self.check_in_scope(axis, scope, place, term),
                Ix::Dim(name) if !self.sizes.contains(name) => {
                    self.error_at("size", place, format!("there is no size `{name}`"), term);
                }
                Ix::Elem(tensor, index) => {
                    self.check_read(tensor, index.len(), place, term);
                    if self
                        .program
                        .tensor(tensor)
                        .is_some_and(|t| t.kind == Kind::Real)
                    {
                        self.error_at(
                            "read",
                            place,
                            format!("an index needs integers, `{tensor}` is real"),
                            term,
                        );
                    }
                }
                _ => {}
            }
        }
    }

    fn check_read(&mut self, tensor: &Name, found: usize, place: &Name, term: &T) {
        match self.visible.get(tensor) {
            Some(expected) if *expected == found => {}
            Some(expected) => {
                let message = format!("`{tensor}` has {expected} axes and is read with {found}");
                self.error_at("read", place, message, term);
            }
            None if self.hidden.contains(tensor) => {
                let message =
                    format!("`{tensor}` names an input and an output and cannot be read any more");
                self.error_at("read", place, message, term);
            }
            None => self.error_at(
                "read",
                place,
                format!("`{tensor}` is not defined here"),
                term,
            ),
        }
    }
}
