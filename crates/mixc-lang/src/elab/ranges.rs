//! Ranges of index variables, inferred by unification.

use mixc_ir::{Ix, Name};
use mixc_text::{Diagnostic, Span};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeId(usize);

/// Why a range is what it is.
#[derive(Clone, Debug)]
struct Fact {
    size: Ix,
    span: Span,
    why: String,
}

#[derive(Clone, Debug, Default)]
pub struct Ranges {
    parent: Vec<usize>,
    facts: Vec<Option<Fact>>,
    /// Sizes that a constraint makes equal, by the one that stands for both.
    pub equal: BTreeMap<Name, Name>,
}

impl Ranges {
    pub fn fresh(&mut self) -> RangeId {
        self.parent.push(self.parent.len());
        self.facts.push(None);
        RangeId(self.parent.len() - 1)
    }

    fn find(&self, RangeId(mut at): RangeId) -> usize {
        while self.parent[at] != at {
            at = self.parent[at];
        }
        at
    }

    pub fn size(&self, range: RangeId) -> Option<&Ix> {
        self.facts[self.find(range)].as_ref().map(|f| &f.size)
    }

    /// States that `range` has this size. `what` names the variable in the message.
    pub fn bind(
        &mut self,
        range: RangeId,
        size: Ix,
        span: Span,
        why: String,
        what: &str,
    ) -> Result<(), Diagnostic> {
        let root = self.find(range);
        let new = Fact { size, span, why };
        match &self.facts[root] {
            Some(old) => self.agree(old, &new, what),
            None => {
                self.facts[root] = Some(new);
                Ok(())
            }
        }
    }

    /// States that two ranges are the same.
    pub fn union(
        &mut self,
        a: RangeId,
        b: RangeId,
        span: Span,
        what: &str,
    ) -> Result<(), Diagnostic> {
        let (a, b) = (self.find(a), self.find(b));
        if a == b {
            return Ok(());
        }
        let result = match (&self.facts[a], &self.facts[b]) {
            (Some(x), Some(y)) => {
                let here = Fact { span, ..x.clone() };
                self.agree(y, &here, what)
            }
            _ => Ok(()),
        };
        // The one that knows its size stays.
        let (child, root) = if self.facts[a].is_some() {
            (b, a)
        } else {
            (a, b)
        };
        self.parent[child] = root;
        result
    }

    fn agree(&self, old: &Fact, new: &Fact, what: &str) -> Result<(), Diagnostic> {
        if self.canonical(&old.size) == self.canonical(&new.size) {
            return Ok(());
        }
        let (a, b) = (show(&old.size), show(&new.size));
        let mut error = Diagnostic::error(
            "range-conflict",
            new.span,
            format!("`{what}` runs over `{a}` and over `{b}`"),
        )
        .at(new.why.clone())
        .note(format!(
            "expected a position from 0 to {a} - 1, found one from 0 to {b} - 1"
        ));
        if old.span != new.span {
            error = error.label(old.span, old.why.clone());
        }
        Err(error.help(format!(
            "use another index variable, give the range where it is introduced (`{what} in {a}`), or state `where {a} == {b}`"
        )))
    }

    fn canonical(&self, ix: &Ix) -> Ix {
        ix.replace(&|leaf| match leaf {
            Ix::Dim(name) => self.equal.get(name).map(|n| Ix::Dim(n.clone())),
            _ => None,
        })
    }
}

/// A size as the user writes it.
pub fn show(ix: &Ix) -> String {
    ix.to_string().replace('$', "")
}
