//! Checks that a kernel is well formed. Every pass that makes or changes kernels is followed by it.
//!
//! In: a kernel. Out: nothing, or all violations, each with the statement in which it occurs. It does
//! not know sizes, so positions inside buffers and races between grid points are found by
//! [`crate::interpret_with`] instead.
//!
//! # Invariants
//! Names
//! - `bad-name`: names of kernel parts are identifiers, and a scalar is not called `inf` or `nan`.
//! - `duplicate-name`: no two sizes, scalars, tensors, buffers or grid axes have one name; a loop
//!   variable is not a grid axis or enclosing loop variable, a local axis none of these.
//! - `unknown-name`: tensors, buffers, scalars, sizes and index variables are declared.
//!
//! Shapes
//! - `bad-size`: shapes of tensors and extents of the grid are over sizes and constants; a buffer's
//!   element count fits a machine word.
//! - `rank`: an access, load or store indexes every dimension.
//! - `extent`: a local axis is no longer than the buffer dimension that it indexes.
//! - `element-index`: no index holds a tensor element (gathers go through a buffer).
//! - `local-index`: a position `At` and the bounds of loops and conditions do not use local axes.
//! - `arity`: a function has as many arguments as it takes.
//!
//! Axes of statements
//! - `unused-axis`: every local axis indexes something.
//! - `destination-axes`: the destination names each of its axes once; a load, map and scan name all of
//!   them there, a store all of them in its index (otherwise one place gets several values).
//! - `contract-axes`: each axis occurs in two of the three accesses or in all, in each at most once.
//! - `scan-axis`: the axis of a scan is one of its local axes.
//! - `scan-segment`: a scan starts anew after a power of 2 of positions.
//!
//! Reads and writes
//! - `alias`: `map` reads its destination's buffer at the same place only; `load` (in a gather),
//!   `reduce`, `contract` and `scan` do not read it in their operands.
//! - `usage`: `in` tensors are not stored to, `out` tensors not loaded.
//! - `unwritten`: on every path a buffer is written before it is read, where a loop may run no times
//!   unless its bounds are constants, and a write to a part counts for the whole.

mod stmt;
mod written;

use crate::print::is_identifier;
use crate::{Kernel, Stmt, Usage};
use mixc_ir::{DType, Ix, Name};
use std::collections::BTreeSet;

/// One violation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}, in `{statement}`")]
pub struct VerifyError {
    /// The invariant, as in the list of this module.
    pub code: &'static str,
    pub what: String,
    /// The statement (of a loop its head) or declaration, as text.
    pub statement: String,
}

/// Checks every invariant of this module.
///
/// # Errors
/// All violations, in the order of the text.
pub fn verify(kernel: &Kernel) -> Result<(), Vec<VerifyError>> {
    let mut checker = Checker {
        kernel,
        errors: vec![],
        scope: vec![],
        place: String::new(),
    };
    checker.declarations();
    checker.scope = kernel.grid.iter().map(|g| g.name.clone()).collect();
    checker.block(&kernel.body);
    written::check(&mut checker);
    if checker.errors.is_empty() {
        Ok(())
    } else {
        Err(checker.errors)
    }
}

struct Checker<'k> {
    kernel: &'k Kernel,
    errors: Vec<VerifyError>,
    /// Grid axes and enclosing loop variables.
    scope: Vec<Name>,
    /// The statement or declaration that is being checked, as text.
    place: String,
}

/// Where an index expression stands, which decides what it may be made of.
#[derive(Clone, Copy)]
enum Leaves<'a> {
    /// Sizes and constants.
    Sizes,
    /// Also grid axes and loop variables; the local axes are given for the message.
    Uniform(&'a [Name]),
    /// The same without local axes, and elements of integer inputs at grid axes.
    Bound,
    /// Also these local axes.
    Local(&'a [Name]),
}

impl<'k> Checker<'k> {
    fn error(&mut self, code: &'static str, what: impl Into<String>) {
        self.errors.push(VerifyError {
            code,
            what: what.into(),
            statement: self.place.clone(),
        });
    }

    fn enter(&mut self, stmt: &Stmt) {
        self.place = self.kernel.headline(stmt);
    }

    fn declarations(&mut self) {
        let kernel = self.kernel;
        self.place = format!("kernel {}", kernel.name);
        self.unique("size", &kernel.dims);
        self.unique("scalar", &kernel.scalars);
        for name in ["inf", "nan"] {
            if kernel.scalars.iter().any(|s| &**s == name) {
                self.error(
                    "bad-name",
                    format!("`{name}` is a number and cannot name a scalar"),
                );
            }
        }
        self.unique("tensor", kernel.tensors.iter().map(|t| &t.name));
        self.unique("buffer", kernel.bufs.iter().map(|b| &b.name));
        self.unique("grid axis", kernel.grid.iter().map(|g| &g.name));
        for t in &kernel.tensors {
            self.place = format!("{} {}", t.usage.name(), t.name);
            t.shape.iter().for_each(|ix| self.index(ix, Leaves::Sizes));
        }
        for b in &kernel.bufs {
            self.place = format!("{} {}: {:?}", b.space.name(), b.name, b.shape);
            // f32 elements; allocations are limited to isize::MAX bytes.
            let bytes = b
                .shape
                .iter()
                .try_fold(4usize, |n, extent| n.checked_mul(*extent));
            if bytes.is_none_or(|n| n > isize::MAX as usize) {
                self.error("bad-size", "the buffer is larger than any memory");
            }
        }
        for g in &kernel.grid {
            self.place = format!("grid {} < {}", g.name, g.extent);
            self.index(&g.extent, Leaves::Sizes);
        }
    }

    fn unique<'a>(&mut self, what: &str, names: impl IntoIterator<Item = &'a Name>) {
        let mut seen = BTreeSet::new();
        for name in names {
            if !is_identifier(name) {
                self.error(
                    "bad-name",
                    format!("the {what} name `{name}` is not an identifier"),
                );
            }
            if !seen.insert(name) {
                self.error(
                    "duplicate-name",
                    format!("two {what} declarations have the name `{name}`"),
                );
            }
        }
    }

    /// A new index variable.
    fn fresh(&mut self, what: &str, name: &Name, others: &[Name]) {
        if !is_identifier(name) {
            self.error(
                "bad-name",
                format!("the {what} name `{name}` is not an identifier"),
            );
        }
        if self.scope.contains(name) || others.contains(name) {
            self.error(
                "duplicate-name",
                format!("the {what} `{name}` hides an index variable of that name"),
            );
        }
    }

    /// An element that a loop bound or condition may have: every role of a kernel reads it once for each grid point.
    fn element(&mut self, leaf: &Ix, tensor: &Name, index: &[Ix]) {
        let kernel = self.kernel;
        let Some(declared) = kernel.tensors.iter().find(|t| t.name == *tensor) else {
            let what = format!("`{leaf}` is an element of a tensor that is not declared");
            return self.error("unknown-name", what);
        };
        let integer = matches!(declared.dtype, DType::I32 | DType::I64);
        if !integer || declared.usage != Usage::In || declared.shape.len() != index.len() {
            let what = format!("`{leaf}` is no element of an integer input");
            self.error("element-index", what);
        }
        for ix in index {
            ix.visit_leaves(&mut |leaf| {
                let known = match leaf {
                    Ix::Const(_) => true,
                    Ix::Dim(name) => kernel.dims.contains(name),
                    Ix::Axis(name) => kernel.grid.iter().any(|g| g.name == *name),
                    _ => false,
                };
                if !known {
                    let what =
                        format!("`{leaf}` in the place of an element is no size and no grid axis");
                    self.error("element-index", what);
                }
            });
        }
    }

    fn index(&mut self, ix: &Ix, leaves: Leaves) {
        let mut found = BTreeSet::new();
        ix.visit_leaves(&mut |leaf| {
            found.insert(leaf.clone());
        });
        for leaf in found {
            match (&leaf, leaves) {
                (Ix::Elem(tensor, index), Leaves::Bound) => self.element(&leaf, tensor, index),
                (Ix::Elem(..), _) => {
                    self.error(
                        "element-index",
                        format!("`{leaf}` is a tensor element, load it and gather"),
                    );
                }
                (Ix::Dim(name), _) if !self.kernel.dims.contains(name) => {
                    self.error("unknown-name", format!("unknown size `${name}`"));
                }
                (Ix::Axis(name), Leaves::Sizes) => {
                    self.error(
                        "bad-size",
                        format!("a size cannot depend on the index variable `{name}`"),
                    );
                }
                (Ix::Axis(name), Leaves::Uniform(local)) if local.contains(name) => {
                    let what = format!(
                        "the local axis `{name}` stands where all axes need the same value"
                    );
                    self.error("local-index", what);
                }
                (Ix::Axis(name), Leaves::Local(local)) if local.contains(name) => {}
                (Ix::Axis(name), _) if !self.scope.contains(name) => {
                    self.error("unknown-name", format!("unknown index variable `{name}`"));
                }
                _ => {}
            }
        }
    }
}
