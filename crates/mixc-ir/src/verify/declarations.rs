//! Checks of dims, tensors, scalars, axes, splits and constraints.

use super::Verifier;
use crate::{Ix, Kind, Name, Program, Relation};
use std::collections::{BTreeMap, BTreeSet};

/// Dims, integer scalars, and the symbols of split sizes.
pub(super) fn size_symbols(program: &Program) -> BTreeSet<Name> {
    let integers = program
        .scalars
        .iter()
        .filter(|s| s.kind != Kind::Real)
        .map(|s| s.name.clone());
    let mut symbols: BTreeSet<Name> = program.dims.iter().cloned().chain(integers).collect();
    for split in &program.splits {
        symbols.extend(dims(&split.size));
    }
    symbols
}

fn dims(ix: &Ix) -> BTreeSet<Name> {
    let mut names = BTreeSet::new();
    ix.visit_leaves(&mut |leaf| {
        if let Ix::Dim(name) = leaf {
            names.insert(name.clone());
        }
    });
    names
}

impl Verifier<'_> {
    pub(super) fn check_declarations(&mut self) {
        self.check_declared_names();
        let program = self.program;
        for (axis, size) in &program.axes {
            self.check_identifier(axis);
            self.check_size(size, axis);
        }
        for tensor in &program.tensors {
            if tensor.axis_names.len() != tensor.shape.len() {
                let (expected, found) = (tensor.shape.len(), tensor.axis_names.len());
                self.error(
                    "letters",
                    &tensor.name,
                    format!("expected {expected} axis letters, found {found}"),
                );
            }
            tensor
                .shape
                .iter()
                .for_each(|size| self.check_size(size, &tensor.name));
            self.check_range(tensor.range, &tensor.name);
        }
        for (n, scalar) in program.scalars.iter().enumerate() {
            self.check_range(scalar.range, &scalar.name);
            if let Some(default) = &scalar.default {
                self.check_default(default, &scalar.name, &program.scalars[..n]);
            }
        }
        for constraint in &program.constraints {
            self.check_size(&constraint.left, "require");
            self.check_size(&constraint.right, "require");
        }
        for n in 0..program.splits.len() {
            self.check_split(n);
        }
    }

    fn check_declared_names(&mut self) {
        let program = self.program;
        let integers = program
            .scalars
            .iter()
            .filter(|s| s.kind != Kind::Real)
            .map(|s| &s.name);
        let sizes: Vec<&Name> = program.dims.iter().chain(integers).collect();
        self.check_unique(&sizes, "size");
        self.check_unique(
            &program.scalars.iter().map(|s| &s.name).collect::<Vec<_>>(),
            "scalar",
        );
        self.check_unique(
            &program.tensors.iter().map(|t| &t.name).collect::<Vec<_>>(),
            "tensor",
        );
        program.dims.iter().for_each(|d| self.check_identifier(d));
        program
            .tensors
            .iter()
            .for_each(|t| self.check_name(&t.name));
        program
            .scalars
            .iter()
            .for_each(|s| self.check_name(&s.name));
    }

    fn check_unique(&mut self, names: &[&Name], what: &str) {
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(*name) {
                self.error(
                    "repeated-name",
                    name,
                    format!("another {what} has this name"),
                );
            }
        }
    }

    pub(super) fn check_name(&mut self, name: &str) {
        if name.is_empty() || name.contains(['"', '\n', '\r']) {
            self.error(
                "bad-name",
                name,
                "a name is not empty and holds no quotes or line breaks",
            );
        }
    }

    fn check_identifier(&mut self, name: &str) {
        if !crate::text::is_identifier(name) {
            self.error("bad-name", name, "axes and sizes are identifiers");
        }
    }

    /// An expression over sizes alone.
    fn check_size(&mut self, size: &Ix, place: &str) {
        let mut faults = vec![];
        size.visit_leaves(&mut |leaf| match leaf {
            Ix::Dim(name) if self.sizes.contains(name) => {}
            Ix::Dim(name) => faults.push(format!("there is no size `{name}`")),
            other => faults.push(format!("a size cannot depend on `{other}`")),
        });
        for fault in faults {
            self.error("size", place, format!("{fault}, in `{size}`"));
        }
    }

    fn check_range(&mut self, (low, high): (f64, f64), place: &str) {
        // A bound of NaN leaves nothing either.
        if low.is_nan() || high.is_nan() || low > high {
            self.error(
                "range",
                place,
                format!("the range [{low}, {high}] is empty"),
            );
        }
    }

    fn check_split(&mut self, n: usize) {
        let program = self.program;
        let split = &program.splits[n];
        let parts = [&split.axis, &split.outer, &split.inner];
        for part in parts {
            self.check_axis(part, &split.axis);
        }
        if split.outer == split.inner || split.outer == split.axis || split.inner == split.axis {
            self.error(
                "split",
                &split.axis,
                "the parts of a split differ from it and from each other",
            );
        }
        if program.splits[..n]
            .iter()
            .any(|other| other.inner == split.inner)
        {
            let message = format!("`{}` is the inner part of two splits", split.inner);
            self.error("split", &split.axis, message);
        }
        let [axis, outer, inner] = parts.map(|part| program.axes.get(part));
        let (Some(axis), Some(outer), Some(inner)) = (axis, outer, inner) else {
            return;
        };
        self.check_size(&split.size, &split.axis);
        if !self.equal_sizes(inner, &split.size) {
            let message = format!(
                "inner part `{}` must have size `{}`, found `{inner}`",
                split.inner, split.size
            );
            self.error("split", &split.axis, message);
        }
        let expected = axis.clone().ceil_div(split.size.clone());
        if !self.equal_sizes(outer, &expected) {
            let message = format!(
                "outer part `{}` must have size `{expected}`, found `{outer}`",
                split.outer
            );
            self.error("split", &split.axis, message);
        }
    }

    /// Whether two sizes are equal for all values of the symbols, as far as samples tell, or by a
    /// constraint of the program.
    pub(super) fn equal_sizes(&self, a: &Ix, b: &Ix) -> bool {
        let constrained = self.program.constraints.iter().any(|c| {
            c.relation == Relation::Eq
                && ((c.left == *a && c.right == *b) || (c.left == *b && c.right == *a))
        });
        if a == b || constrained {
            return true;
        }
        let symbols: Vec<Name> = dims(a).union(&dims(b)).cloned().collect();
        // Sizes that share no factor, in several orders of magnitude.
        const SAMPLES: [[i64; 4]; 3] = [[7, 3, 11, 5], [101, 64, 9, 1000], [48, 16, 1, 255]];
        SAMPLES.iter().all(|sample| {
            let value = |n: usize| sample[n % 4] + (n / 4) as i64;
            let values: BTreeMap<Name, i64> = symbols
                .iter()
                .cloned()
                .enumerate()
                .map(|(n, s)| (s, value(n)))
                .collect();
            a.eval_sizes(&values).is_some() && a.eval_sizes(&values) == b.eval_sizes(&values)
        })
    }

    /// An axis that occurs somewhere must have a size.
    pub(super) fn check_axis(&mut self, axis: &Name, place: &str) {
        if !self.program.axes.contains_key(axis) {
            self.error("axis-size", place, format!("axis `{axis}` has no size"));
        }
    }
}
