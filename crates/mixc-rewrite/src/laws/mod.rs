//! The laws: one table entry each, one file per family.
//!
//! A law looks at one node and gives ids equal to it. All are directional; what bounds the growth
//! of each is said at its function.

pub mod decay;
pub mod exp_ratio;
pub mod semiseparable;
pub mod softmax;
pub mod sum_product;

use crate::graph::Graph;
use crate::node::Node;
use egg::Id;

/// What a law does to rounding errors. Ordered from harmless to delicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NumericClass {
    /// The same arithmetic.
    Exact,
    /// The same operations in another order or association.
    Reassociates,
    /// Equal in exact arithmetic; the error depends on the size of the values.
    Conditioned,
}

/// When a law runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Bringing the definition into normal form: one flat sum, one mask per pair of axes.
    Normalise,
    /// Finding algorithms for the normal form.
    Derive,
    Both,
}

pub struct Law {
    pub name: &'static str,
    /// Left side = right side, with `sum[A](f, g)` the sum over A of a product.
    pub algebra: &'static str,
    pub citation: &'static str,
    pub class: NumericClass,
    pub conditions: &'static str,
    pub phase: Phase,
    pub(crate) apply: fn(&mut Graph, &Node) -> Vec<Id>,
}

/// Every law, in the order in which they are tried.
pub fn all() -> impl Iterator<Item = &'static Law> {
    [
        sum_product::LAWS,
        decay::LAWS,
        semiseparable::LAWS,
        softmax::LAWS,
        exp_ratio::LAWS,
    ]
    .into_iter()
    .flatten()
}

pub fn by_name(name: &str) -> Option<&'static Law> {
    all().find(|law| law.name == name)
}

#[cfg(test)]
mod check;
#[cfg(test)]
mod instances;

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_unique_and_in_kebab_case() {
        let mut names: Vec<&str> = super::all().map(|l| l.name).collect();
        assert!(names.iter().all(|n| {
            n.chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        }));
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
