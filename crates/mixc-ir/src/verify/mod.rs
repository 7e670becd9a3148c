//! The invariants of programs, checked.
//!
//! 1. **Names.** Values (tensors, lets, carried states, last states) have different names, so have
//!    scalars, and so have sizes (dims and integer scalars). One exception: an output may be called
//!    like an input, if nothing reads that name from its definition on. Axes and sizes are
//!    identifiers; no name holds a quote or a line break.
//! 2. **Sizes.** Every axis that occurs has a size. Sizes, shapes and constraints are over dims,
//!    integer scalars and the symbols of split sizes alone.
//! 3. **Tensors and scalars.** A tensor has one letter for each axis. A default of a scalar is over
//!    sizes and earlier scalars, without axes. Ranges are not empty.
//! 4. **Scope.** The free axes of a let are among its axes, or the axis of the scan around it.
//! 5. **Binding.** An axis is never bound where it is in scope already, so no subterm captures one.
//!    (Beside each other, two nodes may bind the same axis: equal subterms stay equal.)
//! 6. **Reads.** A read names something defined before, with one index for each axis. In a scan:
//!    states, earlier lets of the body, collected lets. Behind it: collected lets and last states.
//! 7. **Nodes.** Functions have their arity. Axes of one node differ. The two axes of a scan or a
//!    semiseparable mask are equally long, and what runs over `j` does not mention `i`.
//! 8. **Splits.** Axis, outer and inner part differ; the inner part is as long as the split, the outer
//!    part as the axis divided by it, rounded up. An axis is the inner part of one split at most. A
//!    merge undoes a declared split.
//! 9. **Scans.** A state does not have the axis of its scan; its `next` is a let of the body over the
//!    same axes.
//! 10. **Outputs.** An output is a let behind all scans' steps, a collected let or a last state, with
//!     the same axes in any order.

mod declarations;
mod terms;

use crate::{Carry, Let, Name, Program, Scan, Stmt, T};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One broken invariant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct VerifyError {
    /// Kebab-case name of the invariant.
    pub code: &'static str,
    /// The let, or other item, where it is broken.
    pub place: String,
    pub message: String,
    /// The term at fault, printed.
    pub term: Option<String>,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in `{}`: {}", self.place, self.message)?;
        match &self.term {
            Some(term) => write!(f, ", in `{term}`"),
            None => Ok(()),
        }
    }
}

/// Checks every invariant in the documentation of this module.
///
/// # Errors
/// All that are broken.
pub fn verify(program: &Program) -> Result<(), Vec<VerifyError>> {
    let mut verifier = Verifier::new(program);
    verifier.check_declarations();
    verifier.check_body();
    verifier.check_outputs();
    if verifier.errors.is_empty() {
        Ok(())
    } else {
        Err(verifier.errors)
    }
}

struct Verifier<'a> {
    program: &'a Program,
    /// Symbols that sizes and indices may use.
    sizes: BTreeSet<Name>,
    /// What a read may name at this point, with its number of axes.
    visible: BTreeMap<Name, usize>,
    /// Axes of what an output may name.
    results: BTreeMap<Name, Vec<Name>>,
    /// Names of all values so far.
    taken: BTreeSet<Name>,
    /// Inputs whose name an output has taken.
    hidden: BTreeSet<Name>,
    errors: Vec<VerifyError>,
}

impl<'a> Verifier<'a> {
    fn new(program: &'a Program) -> Verifier<'a> {
        Verifier {
            program,
            sizes: declarations::size_symbols(program),
            visible: program
                .tensors
                .iter()
                .map(|t| (t.name.clone(), t.shape.len()))
                .collect(),
            results: BTreeMap::new(),
            taken: BTreeSet::new(),
            hidden: BTreeSet::new(),
            errors: vec![],
        }
    }

    fn error(&mut self, code: &'static str, place: &str, message: impl Into<String>) {
        self.errors.push(VerifyError {
            code,
            place: place.to_string(),
            message: message.into(),
            term: None,
        });
    }

    fn error_at(&mut self, code: &'static str, place: &str, message: impl Into<String>, term: &T) {
        let term = Some(term.to_string());
        self.errors.push(VerifyError {
            code,
            place: place.to_string(),
            message: message.into(),
            term,
        });
    }

    fn check_body(&mut self) {
        let program = self.program;
        for stmt in &program.body {
            match stmt {
                Stmt::Let(one) => {
                    self.check_let(one, None);
                    self.define(&one.name, &one.axes);
                    self.results.insert(one.name.clone(), one.axes.clone());
                }
                Stmt::Scan(scan) => self.check_scan(scan),
            }
        }
    }

    fn check_let(&mut self, one: &Let, scan_axis: Option<&Name>) {
        let mut scope: BTreeSet<Name> = BTreeSet::new();
        for axis in &one.axes {
            self.check_axis(axis, &one.name);
            if !scope.insert(axis.clone()) {
                self.error(
                    "repeated-axis",
                    &one.name,
                    format!("axis `{axis}` occurs twice"),
                );
            }
        }
        scope.extend(scan_axis.cloned());
        self.check_term(&one.value, &scope, &one.name);
    }

    /// Makes `name` readable from here on.
    fn define(&mut self, name: &Name, axes: &[Name]) {
        let is_output = self.program.outputs.iter().any(|o| o.name == *name);
        if self.program.tensor(name).is_some() && is_output && !self.taken.contains(name) {
            self.hidden.insert(name.clone());
            self.visible.remove(name);
        } else if self.program.tensor(name).is_some() || self.taken.contains(name) {
            self.error("repeated-name", name, "another value has this name");
        } else {
            self.visible.insert(name.clone(), axes.len());
        }
        self.taken.insert(name.clone());
        self.check_name(name);
    }

    fn check_scan(&mut self, scan: &Scan) {
        self.check_axis(&scan.axis, &format!("scan {}", scan.axis));
        for carry in &scan.carries {
            self.check_let(&carry.init_let(), None);
        }
        for carry in &scan.carries {
            self.check_carry(carry, scan);
            self.define(&carry.name, &carry.axes);
        }
        // Collected lets are there from the first step on; what is not written yet reads as 0.
        let collected = |one: &Let| one.axes.contains(&scan.axis);
        for one in scan.body.iter().filter(|one| collected(one)) {
            self.define(&one.name, &one.axes);
            self.results.insert(one.name.clone(), one.axes.clone());
        }
        for one in &scan.body {
            self.check_let(one, Some(&scan.axis));
            if !collected(one) {
                self.define(&one.name, &one.axes);
            }
        }
        let states = scan.carries.iter().map(|c| &c.name);
        let per_step = scan
            .body
            .iter()
            .filter(|one| !collected(one))
            .map(|one| &one.name);
        for name in states.chain(per_step) {
            self.visible.remove(name);
        }
        for carry in &scan.carries {
            self.define(&carry.last, &carry.axes);
            self.results.insert(carry.last.clone(), carry.axes.clone());
        }
    }

    fn check_carry(&mut self, carry: &Carry, scan: &Scan) {
        if carry.axes.contains(&scan.axis) {
            self.error(
                "carry",
                &carry.name,
                format!("a state cannot have the axis `{}` of its scan", scan.axis),
            );
        }
        match scan.body.iter().find(|one| one.name == carry.next) {
            None => self.error(
                "carry",
                &carry.name,
                format!("the scan has no let `{}` for the next state", carry.next),
            ),
            Some(next) if next.axes != carry.axes => {
                let (expected, found) = (carry.axes.join(", "), next.axes.join(", "));
                let message = format!(
                    "the next state `{}` must be over [{expected}], found [{found}]",
                    carry.next
                );
                self.error("carry", &carry.name, message);
            }
            Some(_) => {}
        }
    }

    fn check_outputs(&mut self) {
        let mut names = BTreeSet::new();
        let program = self.program;
        for output in &program.outputs {
            if !names.insert(&output.name) {
                self.error("repeated-name", &output.name, "two outputs have this name");
            }
            let sorted = |axes: &[Name]| -> Vec<Name> {
                let mut axes = axes.to_vec();
                axes.sort();
                axes
            };
            match self.results.get(&output.name) {
                None => self.error(
                    "output",
                    &output.name,
                    "no let or last state has the name of this output",
                ),
                Some(axes) if sorted(axes) != sorted(&output.axes) => {
                    let (expected, found) = (axes.join(", "), output.axes.join(", "));
                    self.error(
                        "output",
                        &output.name,
                        format!("its axes are [{expected}], found [{found}]"),
                    );
                }
                Some(_) => {}
            }
            if output.axis_names.len() != output.axes.len() {
                let (expected, found) = (output.axes.len(), output.axis_names.len());
                self.error(
                    "output",
                    &output.name,
                    format!("expected {expected} axis letters, found {found}"),
                );
            }
        }
    }
}

impl Carry {
    /// The initial state as a let.
    fn init_let(&self) -> Let {
        Let {
            name: self.name.clone(),
            axes: self.axes.clone(),
            value: self.init.clone(),
        }
    }
}
