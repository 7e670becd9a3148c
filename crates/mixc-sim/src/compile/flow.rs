//! Branches, and where diverged lanes meet again.
//!
//! A branch's lanes meet at its immediate post-dominator: the first instruction that every path from
//! the branch to the end passes (Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm",
//! 2001, on the reversed graph).

use super::{Built, Compiler, Meaning};
use crate::program::*;
use crate::syntax::ast::{Instr, Operand};
use mixc_text::Diagnostic;

impl Compiler<'_> {
    pub fn flow(&mut self, i: &Instr) -> Built<()> {
        match i.name.as_str() {
            "bra" => {
                let label = match self.operand(i, 0)? {
                    Operand::Name(name) => self.label(i, &name.clone())?,
                    _ => return Err(self.wrong(i, "expected a label")),
                };
                self.emit(i, Class::Branch, Op::Branch { to: label }, vec![])
            }
            "brx" => {
                self.at_least(i, 2)?;
                let index = self.source(i, 0, crate::syntax::ast::Ty::U32)?;
                let Operand::Name(table) = &i.operands[1] else {
                    return Err(self.wrong(i, "expected a list of targets"));
                };
                let names = self.branch_tables.get(table).cloned();
                let names = names
                    .ok_or_else(|| self.wrong(i, format!("`{table}` has no `.branchtargets`")))?;
                let targets = names
                    .iter()
                    .map(|n| self.label(i, n))
                    .collect::<Built<Vec<_>>>()?;
                self.emit(
                    i,
                    Class::Branch,
                    Op::BranchTable {
                        index,
                        targets: targets.into(),
                    },
                    vec![index],
                )
            }
            "ret" | "exit" => self.emit(i, Class::Branch, Op::Exit, vec![]),
            "trap" | "brkpt" => self.emit(i, Class::Branch, Op::Trap, vec![]),
            _ => Err(self.unsupported(i)),
        }
    }

    /// The label's index; [`Compiler::resolve_branches`] turns it into a place.
    fn label(&mut self, i: &Instr, name: &str) -> Built<Pc> {
        match self.lookup(name) {
            Some(Meaning::Label(index)) => Ok(index as Pc),
            _ => Err(self.wrong(i, format!("there is no label `{name}`"))),
        }
    }

    pub(super) fn resolve_branches(&mut self) {
        for (n, place) in self.labels.iter().enumerate() {
            if *place == NOWHERE {
                let (name, at) = &self.label_names[n];
                let what = format!("line {}: the label `{name}` has no place", at.line);
                self.errors
                    .push(Diagnostic::error("ptx-label", at.span, what));
            }
        }
        for inst in &mut self.code {
            match &mut inst.op {
                Op::Branch { to } => *to = self.labels[*to as usize],
                Op::BranchTable { targets, .. } => {
                    for t in targets.iter_mut() {
                        *t = self.labels[*t as usize];
                    }
                }
                _ => {}
            }
        }
    }
}

/// Basic blocks and their successors; the virtual end is the last node.
struct Graph {
    /// First instruction of each block.
    starts: Vec<usize>,
    block_of: Vec<usize>,
    successors: Vec<Vec<usize>>,
}

fn blocks(code: &[Inst]) -> Graph {
    let mut leader = vec![false; code.len()];
    leader[0] = true;
    for (pc, inst) in code.iter().enumerate() {
        let ends = matches!(
            inst.op,
            Op::Branch { .. } | Op::BranchTable { .. } | Op::Exit | Op::Trap
        );
        if ends && pc + 1 < code.len() {
            leader[pc + 1] = true;
        }
        match &inst.op {
            Op::Branch { to } => leader[*to as usize] = true,
            Op::BranchTable { targets, .. } => {
                targets.iter().for_each(|t| leader[*t as usize] = true)
            }
            _ => {}
        }
    }
    let starts: Vec<usize> = (0..code.len()).filter(|&pc| leader[pc]).collect();
    let mut block_of = vec![0; code.len()];
    let mut block = 0;
    for pc in 0..code.len() {
        if pc > 0 && leader[pc] {
            block += 1;
        }
        block_of[pc] = block;
    }
    let end = starts.len();
    let successors = (0..starts.len())
        .map(|b| {
            let last = starts.get(b + 1).copied().unwrap_or(code.len()) - 1;
            let inst = &code[last];
            let mut out = match &inst.op {
                Op::Branch { to } => vec![block_of[*to as usize]],
                Op::BranchTable { targets, .. } => {
                    targets.iter().map(|t| block_of[*t as usize]).collect()
                }
                Op::Exit | Op::Trap => vec![end],
                _ => vec![],
            };
            let falls = out.is_empty() || inst.guard.is_some();
            if falls {
                out.push(if last + 1 < code.len() { b + 1 } else { end });
            }
            out
        })
        .collect();
    Graph {
        starts,
        block_of,
        successors,
    }
}

/// Sets [`Inst::meet`] of every branch.
pub fn set_meeting_points(code: &mut [Inst]) {
    let graph = blocks(code);
    let end = graph.starts.len();
    let mut predecessors = vec![vec![]; end + 1];
    for (b, succ) in graph.successors.iter().enumerate() {
        for &s in succ {
            predecessors[s].push(b);
        }
    }
    // Order of the reversed graph, from the end.
    let mut order = vec![];
    let mut seen = vec![false; end + 1];
    let mut stack = vec![(end, 0)];
    seen[end] = true;
    while let Some((node, next)) = stack.pop() {
        if let Some(&p) = predecessors[node].get(next) {
            stack.push((node, next + 1));
            if !seen[p] {
                seen[p] = true;
                stack.push((p, 0));
            }
        } else {
            order.push(node);
        }
    }
    let mut rank = vec![usize::MAX; end + 1];
    for (r, &node) in order.iter().enumerate() {
        rank[node] = r;
    }
    let mut idom = vec![usize::MAX; end + 1];
    idom[end] = end;
    loop {
        let mut changed = false;
        for &node in order.iter().rev().filter(|&&n| n != end) {
            let mut new = usize::MAX;
            for &s in &graph.successors[node] {
                if idom[s] == usize::MAX {
                    continue;
                }
                new = if new == usize::MAX {
                    s
                } else {
                    intersect(&idom, &rank, new, s)
                };
            }
            if idom[node] != new {
                idom[node] = new;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    for (pc, inst) in code.iter_mut().enumerate() {
        if matches!(inst.op, Op::Branch { .. } | Op::BranchTable { .. }) {
            let meet = idom[graph.block_of[pc]];
            inst.meet = if meet >= end {
                NOWHERE
            } else {
                graph.starts[meet] as Pc
            };
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
