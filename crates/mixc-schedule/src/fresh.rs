//! Names for values that the scheduler adds.

use mixc_ir::{Name, Program};
use std::collections::BTreeSet;

/// The names of values that a program has.
pub struct Names(BTreeSet<Name>);

impl Names {
    pub fn of(program: &Program) -> Names {
        let lets = program.lets().map(|l| l.name.clone());
        let tensors = program.tensors.iter().map(|t| t.name.clone());
        Names(lets.chain(tensors).collect())
    }

    /// `stem` with the first number that makes it a new name.
    pub fn fresh(&mut self, stem: &str) -> Name {
        let mut names = (1..).map(|n| Name::from(format!("{stem}_{n}")));
        let name = names.find(|name| !self.0.contains(name));
        let name = name.unwrap_or_else(|| unreachable!("there are more numbers than names"));
        self.0.insert(name.clone());
        name
    }
}
