//! What a subterm depends on, and which positions of split axes exist.

use super::{Axes, Compiler, SplitSizes};
use crate::EvalError;
use crate::node::{Domain, Exists};
use mixc_ir::{Ix, Name, T, Term};

/// Sum of coefficient * axis.
type Position = Vec<(Name, i64)>;

/// A position that must be before `end` to exist.
struct Condition {
    terms: Position,
    end: i64,
}

impl Condition {
    pub(super) fn touches(&self, axes: impl Fn(&Name) -> bool) -> bool {
        self.terms.iter().any(|(name, _)| axes(name))
    }
}

impl Compiler<'_> {
    /// Axes that the value depends on: the free ones, and the other part of a split wherever a loop
    /// over one part has it in scope, because it decides which positions exist.
    pub(super) fn dependencies(&self, term: &T, scope: &Axes) -> Axes {
        let with = |axes: &[&Name]| -> Axes {
            scope.iter().chain(axes.iter().copied()).cloned().collect()
        };
        let all = |terms: &[&T], scope: &Axes| -> Axes {
            terms
                .iter()
                .flat_map(|t| self.dependencies(t, scope))
                .collect()
        };
        match &**term {
            Term::Const(_) | Term::Scalar(_) => Axes::new(),
            Term::Index(ix) => ix.axes(),
            Term::Read { index, .. } => index.iter().flat_map(Ix::axes).collect(),
            Term::Map { .. } | Term::Add(_) => all(&term.children(), scope),
            Term::Sum { axes, .. } | Term::Reduce { axes, .. } | Term::Online { axes, .. } => {
                let own: Vec<&Name> = axes.iter().collect();
                let inside = with(&own);
                let mut needs = all(&term.children(), &inside);
                needs.extend(self.counterparts(&own, &inside));
                needs.retain(|a| !axes.contains(a));
                needs
            }
            Term::Softmax { axes, .. } => {
                let own: Vec<&Name> = axes.iter().collect();
                let inside = with(&own);
                let mut needs = all(&term.children(), &inside);
                needs.extend(self.counterparts(&own, &inside));
                needs.extend(axes.iter().cloned());
                needs
            }
            Term::Ss { j, i, decay, .. } => {
                let inside = with(&[j]);
                let mut needs = self.dependencies(decay, &inside);
                needs.extend(self.counterparts(&[j], &inside));
                needs.extend([j.clone(), i.clone()]);
                needs
            }
            Term::Scan {
                j,
                decay,
                input,
                init,
                ..
            }
            | Term::Last {
                j,
                decay,
                input,
                init,
            } => {
                let inside = with(&[j]);
                let mut needs = all(&[decay, input], &inside);
                needs.extend(self.counterparts(&[j], &inside));
                needs.remove(j);
                needs.extend(self.dependencies(init, scope));
                if let Term::Scan { i, .. } = &**term {
                    needs.insert(i.clone());
                }
                needs
            }
            Term::CumProd { axis, body, .. }
            | Term::SufProd { axis, body }
            | Term::CumSum { axis, body } => {
                let inside = with(&[axis]);
                let mut needs = self.dependencies(body, &inside);
                needs.extend(self.counterparts(&[axis], &inside));
                needs.insert(axis.clone());
                needs
            }
            Term::Merge {
                axis,
                outer,
                inner,
                body,
            } => {
                let mut needs = self.dependencies(body, &with(&[outer, inner]));
                needs.remove(outer);
                needs.remove(inner);
                needs.insert(axis.clone());
                needs
            }
        }
    }

    /// What else decides, within `scope`, which positions on `axes` exist.
    fn counterparts(&self, axes: &[&Name], scope: &Axes) -> Axes {
        let conditions = self
            .conditions(scope)
            .into_iter()
            .filter(|c| c.touches(|a| axes.contains(&a)));
        conditions
            .flat_map(|c| c.terms.into_iter().map(|(name, _)| name))
            .filter(|a| !axes.contains(&a))
            .collect()
    }

    /// For every split whose parts are in scope: the position is before the end of the axis.
    fn conditions(&self, scope: &Axes) -> Vec<Condition> {
        let splits = self.names.splits.iter();
        splits
            .flat_map(|split| {
                let positions = self.split_positions(split, scope, 0);
                positions.into_iter().map(|terms| Condition {
                    terms,
                    end: split.end,
                })
            })
            .collect()
    }

    /// The position on a split axis in terms of axes in scope: every way to say it, for a part may
    /// itself be split, and several inner parts may lie in the same outer part.
    fn split_positions(&self, split: &SplitSizes, scope: &Axes, depth: usize) -> Vec<Position> {
        let inner = self.positions(&split.inner, scope, depth);
        let mut all = vec![];
        for outer in self.positions(&split.outer, scope, depth) {
            let scaled = outer
                .iter()
                .map(|(name, c)| (name.clone(), c.saturating_mul(split.size)));
            for inner in &inner {
                all.push(scaled.clone().chain(inner.iter().cloned()).collect());
            }
        }
        all
    }

    fn positions(&self, axis: &Name, scope: &Axes, depth: usize) -> Vec<Position> {
        let mut all = vec![];
        if scope.contains(axis) {
            all.push(vec![(axis.clone(), 1)]);
        }
        // Chunks of chunks of chunks; the limit is for splits that form a ring.
        if depth < 4 {
            for split in self.names.splits.iter().filter(|s| s.axis == *axis) {
                all.extend(self.split_positions(split, scope, depth + 1));
            }
        }
        all
    }

    /// The points of a loop nest over `axes` within `scope`.
    pub(super) fn domain(&self, axes: &[Name], scope: &Axes) -> Result<Domain, EvalError> {
        let mut domain = Domain::default();
        for axis in axes {
            domain.axes.push(self.axis(axis)?);
        }
        let inside: Axes = scope.iter().chain(axes).cloned().collect();
        for condition in self
            .conditions(&inside)
            .into_iter()
            .filter(|c| c.touches(|a| axes.contains(a)))
        {
            let terms = condition
                .terms
                .iter()
                .map(|(name, c)| self.axis(name).map(|(slot, _)| (slot, *c)));
            domain.exists.push(Exists {
                terms: terms.collect::<Result<_, _>>()?,
                end: condition.end,
            });
        }
        Ok(domain)
    }
}
