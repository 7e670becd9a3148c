//! Which instruction can follow which.

use super::Instruction;
use std::collections::BTreeMap;

/// The successors of each instruction, by index.
pub(super) struct Graph {
    next: Vec<Vec<usize>>,
}

impl Graph {
    pub fn of(code: &[Instruction]) -> Graph {
        // Where a reconvergence barrier leads: set by BSSY, taken by the BSYNC of the same name.
        let mut joins: BTreeMap<&str, usize> = BTreeMap::new();
        let mut next = Vec::with_capacity(code.len());
        for (index, instruction) in code.iter().enumerate() {
            let operand = instruction.operands.split(',').next().unwrap_or("");
            if let ("BSSY", Some(target)) = (instruction.mnemonic(), instruction.target()) {
                joins.insert(operand, target);
            }
            let mut after = match joins.get(operand) {
                Some(join) if instruction.mnemonic() == "BSYNC" => vec![*join],
                _ => followers(index, instruction),
            };
            after.retain(|n| *n < code.len());
            next.push(after);
        }
        Graph { next }
    }

    pub fn len(&self) -> usize {
        self.next.len()
    }

    pub fn after(&self, index: usize) -> &[usize] {
        &self.next[index]
    }

    /// Whether the start leads to each instruction.
    pub fn reached(&self) -> Vec<bool> {
        self.reached_without(None)
    }

    /// Whether the start leads to each instruction by ways that do not pass `avoided`. What is
    /// reached, but not without some instruction, that instruction dominates.
    pub fn reached_without(&self, avoided: Option<usize>) -> Vec<bool> {
        let mut reached = vec![false; self.len()];
        let mut open = vec![];
        if self.len() > 0 && avoided != Some(0) {
            reached[0] = true;
            open.push(0);
        }
        while let Some(index) = open.pop() {
            for &next in self.after(index) {
                if !reached[next] && avoided != Some(next) {
                    reached[next] = true;
                    open.push(next);
                }
            }
        }
        reached
    }
}

fn followers(index: usize, instruction: &Instruction) -> Vec<usize> {
    let guarded = instruction.predicate.is_some();
    match instruction.mnemonic() {
        // Divergent warps take both ways.
        "BRA" | "WARPSYNC" => {
            let both = guarded || instruction.mnemonic() != "BRA" || is_conditional(instruction);
            let fall = both.then_some(index + 1);
            instruction.target().into_iter().chain(fall).collect()
        }
        "EXIT" | "RET" | "KILL" if !guarded => vec![],
        _ => vec![index + 1],
    }
}

/// Branches that ask something else than their guard: `BRA.DIV UR4,0x90` whether the warp has
/// diverged, `BRA P1,0x90` a second predicate.
fn is_conditional(branch: &Instruction) -> bool {
    branch.operands.contains(',')
}

#[cfg(test)]
mod tests {
    use super::super::tests::code;
    use super::*;

    #[test]
    fn branches_lead_on_by_their_kind() {
        let graph = Graph::of(&code(
            "@P0 BRA >3
             BRA >3
             NOP
             BRA.DIV UR4,>5
             @P1 EXIT
             EXIT",
        ));
        let after: Vec<&[usize]> = (0..graph.len()).map(|i| graph.after(i)).collect();
        let expected: [&[usize]; 6] = [&[3, 1], &[3], &[3], &[5, 4], &[5], &[]];
        assert_eq!(after, expected);
        assert_eq!(graph.reached(), [true, true, false, true, true, true]);
    }

    #[test]
    fn a_reconvergence_goes_where_its_barrier_says() {
        let graph = Graph::of(&code(
            "BSSY B0,>4
             @P0 BRA >3
             BSYNC B0
             NOP
             EXIT",
        ));
        assert_eq!(graph.after(2), [4]);
    }
}
