//! The control flow graph: where diverged lanes meet again, and which instructions form loops.
//!
//! A branch's lanes meet at its immediate post-dominator: the first instruction that every path from the
//! branch to the end passes. Loops are the natural loops of back edges. Both come from dominators
//! (Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm", 2001), on the reversed graph for the
//! former.

use crate::program::*;

/// Basic blocks and their edges; the virtual end is the last node.
struct Graph {
    /// First instruction of each block.
    starts: Vec<usize>,
    block_of: Vec<usize>,
    successors: Vec<Vec<usize>>,
    predecessors: Vec<Vec<usize>>,
}

fn targets(op: &Op) -> &[Pc] {
    match op {
        Op::Branch { to } => std::slice::from_ref(to),
        Op::BranchTable { targets, .. } => targets,
        _ => &[],
    }
}

fn leaves(op: &Op) -> bool {
    matches!(op, Op::Exit | Op::Trap)
}

fn graph(code: &[Inst]) -> Graph {
    let mut leader = vec![false; code.len()];
    leader[0] = true;
    for (pc, inst) in code.iter().enumerate() {
        let to = targets(&inst.op);
        to.iter().for_each(|t| leader[*t as usize] = true);
        if (!to.is_empty() || leaves(&inst.op)) && pc + 1 < code.len() {
            leader[pc + 1] = true;
        }
    }
    let starts: Vec<usize> = (0..code.len()).filter(|&pc| leader[pc]).collect();
    let mut block_of = vec![0; code.len()];
    for pc in 1..code.len() {
        block_of[pc] = block_of[pc - 1] + usize::from(leader[pc]);
    }
    let end = starts.len();
    let mut successors = vec![vec![]; end + 1];
    let mut predecessors = vec![vec![]; end + 1];
    for (b, out) in successors.iter_mut().enumerate().take(end) {
        let last = starts.get(b + 1).copied().unwrap_or(code.len()) - 1;
        let inst = &code[last];
        let mut to: Vec<usize> = targets(&inst.op)
            .iter()
            .map(|t| block_of[*t as usize])
            .collect();
        if leaves(&inst.op) {
            to.push(end);
        }
        if to.is_empty() || inst.guard.is_some() {
            to.push(b + 1);
        }
        to.sort_unstable();
        to.dedup();
        to.iter().for_each(|&t| predecessors[t].push(b));
        *out = to;
    }
    Graph {
        starts,
        block_of,
        successors,
        predecessors,
    }
}

/// Not reached from the root.
const NONE: usize = usize::MAX;

/// The immediate dominator of every node that `root` reaches.
fn dominators(root: usize, successors: &[Vec<usize>], predecessors: &[Vec<usize>]) -> Vec<usize> {
    let n = successors.len();
    let (mut order, mut seen, mut stack) = (vec![], vec![false; n], vec![(root, 0)]);
    seen[root] = true;
    while let Some((node, next)) = stack.pop() {
        if let Some(&s) = successors[node].get(next) {
            stack.push((node, next + 1));
            if !seen[s] {
                seen[s] = true;
                stack.push((s, 0));
            }
        } else {
            order.push(node);
        }
    }
    let mut rank = vec![NONE; n];
    order
        .iter()
        .enumerate()
        .for_each(|(r, &node)| rank[node] = r);
    let mut idom = vec![NONE; n];
    idom[root] = root;
    loop {
        let mut changed = false;
        for &node in order.iter().rev().filter(|&&n| n != root) {
            let known = predecessors[node]
                .iter()
                .copied()
                .filter(|&p| idom[p] != NONE);
            let new = known
                .reduce(|a, b| intersect(&idom, &rank, a, b))
                .unwrap_or(NONE);
            changed |= idom[node] != new;
            idom[node] = new;
        }
        if !changed {
            return idom;
        }
    }
}

fn intersect(idom: &[usize], rank: &[usize], mut a: usize, mut b: usize) -> usize {
    while a != b {
        while rank[a] < rank[b] {
            a = idom[a];
        }
        while rank[b] < rank[a] {
            b = idom[b];
        }
    }
    a
}

/// Sets [`Inst::meet`] of every branch, and returns the loops of the program.
pub fn analyse(code: &mut [Inst]) -> Vec<Loop> {
    let graph = graph(code);
    let end = graph.starts.len();
    let after = dominators(end, &graph.predecessors, &graph.successors);
    for (pc, inst) in code.iter_mut().enumerate() {
        if !targets(&inst.op).is_empty() {
            let meet = after[graph.block_of[pc]];
            inst.meet = if meet >= end {
                NOWHERE
            } else {
                graph.starts[meet] as Pc
            };
        }
    }
    loops(&graph, code.len())
}

/// Natural loops, outer ones first; back edges to one header make one loop.
fn loops(graph: &Graph, instructions: usize) -> Vec<Loop> {
    let before = dominators(0, &graph.successors, &graph.predecessors);
    let dominates = |a: usize, mut b: usize| {
        while b != a && before[b] != b && before[b] != NONE {
            b = before[b];
        }
        a == b
    };
    let mut found: Vec<(usize, Vec<bool>)> = vec![];
    for (from, to) in graph.successors.iter().enumerate() {
        for &header in to
            .iter()
            .filter(|&&h| before[from] != NONE && dominates(h, from))
        {
            let at = found.iter().position(|l| l.0 == header);
            let at = at.unwrap_or_else(|| {
                found.push((header, vec![false; graph.starts.len() + 1]));
                found.len() - 1
            });
            let body = &mut found[at].1;
            body[header] = true;
            let mut stack = vec![from];
            while let Some(b) = stack.pop() {
                if !std::mem::replace(&mut body[b], true) {
                    stack.extend(&graph.predecessors[b]);
                }
            }
        }
    }
    let size = |l: &(usize, Vec<bool>)| l.1.iter().filter(|b| **b).count();
    found.sort_by_key(|l| (std::cmp::Reverse(size(l)), l.0));
    let inside = |b: usize| found.iter().rposition(|l| l.1[b]);
    (0..found.len())
        .map(|n| Loop {
            header: graph.starts[found[n].0] as Pc,
            depth: found.iter().filter(|l| l.1[found[n].0]).count() as u32,
            body: (0..instructions)
                .filter(|&pc| inside(graph.block_of[pc]) == Some(n))
                .map(|pc| pc as Pc)
                .collect(),
        })
        .collect()
}
