//! Names for values that the scheduler adds.

use mixc_ir::Name;
use std::collections::BTreeSet;

/// `stem` with the first number that makes it a new name.
pub fn fresh(taken: &mut BTreeSet<Name>, stem: &str) -> Name {
    let mut names = (1..).map(|n| Name::from(format!("{stem}_{n}")));
    let name = names.find(|name| !taken.contains(name));
    let name = name.unwrap_or_else(|| unreachable!("there are more numbers than names"));
    taken.insert(name.clone());
    name
}
