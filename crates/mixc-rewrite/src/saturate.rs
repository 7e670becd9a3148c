//! The saturation loop: every law on every node, until nothing changes or a limit is met.

use crate::graph::Graph;
use crate::laws::{Law, Phase, all};
use crate::node::{Node, Op};
use egg::Id;

/// E-nodes after which a phase stops. Derivations need a few hundred; two-level tiling 2000.
pub const MAX_NODES: usize = 4000;
/// Rounds after which a phase stops. Derivations need 8 to 20.
pub const MAX_ITERATIONS: usize = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// No law gives anything new.
    Saturated,
    NodeLimit,
    IterationLimit,
}

pub struct Outcome {
    pub iterations: usize,
    pub stop: StopReason,
}

/// Runs the laws of one phase. `observe` sees every firing: law, left and right side.
pub fn saturate(
    g: &mut Graph,
    phase: Phase,
    observe: &mut dyn FnMut(&Graph, &Law, Id, Id),
) -> Outcome {
    let laws: Vec<&Law> = all()
        .filter(|l| l.phase == phase || l.phase == Phase::Both)
        .collect();
    for iteration in 0..MAX_ITERATIONS {
        let nodes: Vec<(Id, Node)> = g
            .classes()
            .flat_map(|c| c.nodes.iter().map(|n| (c.id, n.clone())))
            .collect();
        let mut equal = vec![];
        for (class, node) in &nodes {
            let stale = is_stale(g, node);
            for law in &laws {
                if stale && law.name != "ac-normalise" {
                    continue;
                }
                for right in (law.apply)(g, node) {
                    if g.find(right) != g.find(*class) {
                        equal.push((node.clone(), right, *law));
                    }
                }
            }
            if g.total_number_of_nodes() > MAX_NODES {
                break;
            }
        }
        let mut changed = false;
        for (node, right, law) in equal {
            let left = g.add_uncanonical(node);
            if g.find(left) != g.find(right) {
                observe(g, law, left, right);
                g.union_trusted(left, right, law.name);
                changed = true;
            }
        }
        g.rebuild();
        if g.total_number_of_nodes() > MAX_NODES {
            return Outcome {
                iterations: iteration + 1,
                stop: StopReason::NodeLimit,
            };
        }
        if !changed {
            return Outcome {
                iterations: iteration + 1,
                stop: StopReason::Saturated,
            };
        }
    }
    Outcome {
        iterations: MAX_ITERATIONS,
        stop: StopReason::IterationLimit,
    }
}

/// Whether a node's operands are out of normal order, so that a copy in order stands for it.
fn is_stale(g: &Graph, node: &Node) -> bool {
    matches!(node.op, Op::Sum(_) | Op::Add) && !node.kids.is_sorted_by_key(|k| g.find(*k))
}
