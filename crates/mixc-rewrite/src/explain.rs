//! The laws on the way from one term to another, from the e-graph's proof.

use crate::graph::Graph;
use crate::node::Node;
use egg::{FlatTerm, RecExpr};

/// Names of the laws in the order of the proof, without immediate repetitions.
pub fn laws_between(g: &mut Graph, from: &RecExpr<Node>, to: &RecExpr<Node>) -> Vec<String> {
    let mut explanation = g.explain_equivalence(from, to);
    let mut names: Vec<String> = explanation
        .make_flat_explanation()
        .iter()
        .filter_map(law)
        .collect();
    names.dedup();
    names
}

/// The law whose use is marked somewhere in a step of the proof.
fn law(term: &FlatTerm<Node>) -> Option<String> {
    let own = term
        .forward_rule
        .or(term.backward_rule)
        .map(|name| name.to_string());
    own.or_else(|| term.children.iter().find_map(law))
}
