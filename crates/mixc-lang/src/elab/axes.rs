//! Names of core axes: readable, and one meaning each in the whole program.

use mixc_ir::{Ix, Name};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub struct AxisTable {
    pub sizes: BTreeMap<Name, Ix>,
    /// Axes of local tensors are shared between those that write the same name for the same size.
    shared: BTreeMap<(String, Ix), Name>,
}

impl AxisTable {
    /// The axis of a left side.
    pub fn shared(&mut self, name: &str, size: &Ix) -> Name {
        let key = (name.to_string(), size.clone());
        if let Some(axis) = self.shared.get(&key) {
            return axis.clone();
        }
        let axis = self.fresh(name, size);
        self.shared.insert(key, axis.clone());
        axis
    }

    /// A new axis, for a reduction.
    pub fn fresh(&mut self, name: &str, size: &Ix) -> Name {
        let axis = unused(name, |n| self.sizes.contains_key(n));
        self.sizes.insert(axis.clone(), size.clone());
        axis
    }
}

/// Names of lets and states.
#[derive(Default)]
pub struct NameTable {
    used: BTreeSet<Name>,
}

impl NameTable {
    pub fn reserve(&mut self, name: Name) {
        self.used.insert(name);
    }

    pub fn fresh(&mut self, name: &str) -> Name {
        let name = unused(name, |n| self.used.contains(n));
        self.used.insert(name.clone());
        name
    }
}

/// `name`, `name2`, `name3`, ... (`name'2` would not lex, so primes get more primes).
fn unused(name: &str, taken: impl Fn(&str) -> bool) -> Name {
    let mut candidate = name.to_string();
    let mut n = 1;
    while taken(&candidate) {
        n += 1;
        candidate = if name.ends_with('\'') {
            format!("{candidate}'")
        } else {
            format!("{name}{n}")
        };
    }
    candidate.as_str().into()
}
