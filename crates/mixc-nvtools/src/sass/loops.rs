//! Natural loops: a jump back to an instruction that every way to the jump has passed. Code that was
//! moved out of line and jumps back into the middle of something is none.

use super::flow::Graph;
use super::{Counts, Instruction};
use std::collections::BTreeMap;

/// One loop of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loop {
    /// The index of the instruction at which each turn begins.
    pub head: usize,
    /// How many other loops contain it.
    pub depth: usize,
    pub kind: LoopKind,
    /// Whether it contains no loop of the kind [`LoopKind::Work`]. Waits inside do not matter.
    pub innermost: bool,
    /// The instructions of one turn on all of its ways, those of loops inside counted once.
    pub counts: Counts,
    /// Their indices, ascending.
    pub body: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoopKind {
    /// Does something in every turn.
    Work,
    /// Turns until something else happens: a barrier's phase, registers given back by other warps.
    Wait,
    /// Picks one lane of the warp at a time, for an instruction that one lane issues.
    Elect,
}

pub(super) fn find(code: &[Instruction]) -> Vec<Loop> {
    let graph = Graph::of(code);
    let mut bodies: Vec<(usize, Vec<usize>)> = back_jumps(&graph)
        .into_iter()
        .map(|(head, jumps)| (head, body(&graph, head, &jumps)))
        .collect();
    // Two natural loops with different heads are apart or one contains the other.
    bodies.sort_by_key(|(head, body)| (std::cmp::Reverse(body.len()), *head));
    let kinds: Vec<LoopKind> = bodies.iter().map(|(_, body)| kind(code, body)).collect();
    let inside = |inner: usize, outer: usize| {
        inner != outer
            && bodies[outer].1.binary_search(&bodies[inner].0).is_ok()
            && bodies[inner].1.len() < bodies[outer].1.len()
    };
    let all = 0..bodies.len();
    let described = all.clone().map(|this| Loop {
        head: bodies[this].0,
        depth: all.clone().filter(|outer| inside(this, *outer)).count(),
        kind: kinds[this],
        innermost: !all
            .clone()
            .any(|inner| inside(inner, this) && kinds[inner] == LoopKind::Work),
        counts: Counts::of(bodies[this].1.iter().map(|i| &code[*i])),
        body: bodies[this].1.clone(),
    });
    described.collect()
}

/// The jumps that close a loop, by its head.
fn back_jumps(graph: &Graph) -> BTreeMap<usize, Vec<usize>> {
    let reached = graph.reached();
    let mut jumps: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let backward = (0..graph.len()).filter(|i| reached[*i]).flat_map(|from| {
        let targets = graph.after(from).iter().filter(move |to| **to <= from);
        targets.map(move |to| (from, *to))
    });
    for (from, head) in backward {
        jumps.entry(head).or_default().push(from);
    }
    // A head dominates its jumps: without it they cannot be reached.
    jumps.retain(|head, jumps| {
        let around = graph.reached_without(Some(*head));
        jumps.retain(|from| from == head || !around[*from]);
        !jumps.is_empty()
    });
    jumps
}

/// The head, and all from which a jump is reached without passing the head again.
fn body(graph: &Graph, head: usize, jumps: &[usize]) -> Vec<usize> {
    let mut before = vec![vec![]; graph.len()];
    for from in 0..graph.len() {
        for &to in graph.after(from) {
            before[to].push(from);
        }
    }
    let reached = graph.reached();
    let mut inside = vec![false; graph.len()];
    inside[head] = true;
    let mut open: Vec<usize> = jumps.to_vec();
    while let Some(index) = open.pop() {
        if !inside[index] && reached[index] {
            inside[index] = true;
            open.extend(&before[index]);
        }
    }
    (0..graph.len()).filter(|i| inside[*i]).collect()
}

/// What a loop may contain beside waiting: arithmetic on integers and predicates, moves, branches.
const IDLE: &[&str] = &[
    "BAR", "BRA", "BSSY", "BSYNC", "CS2R", "DEPBAR", "IADD3", "IMAD", "ISETP", "LDC", "LEA",
    "LOP3", "MOV", "NOP", "PLOP3", "R2UR", "S2R", "S2UR", "SEL", "SHF", "UIADD3", "UISETP", "ULDC",
    "ULEA", "ULOP3", "UMOV", "UPLOP3", "USEL", "USHF", "VIADD", "WARPSYNC", "YIELD",
];
/// What it waits with: a pause, a barrier in shared memory, registers, tensor memory.
const WAITS: &[&str] = &["NANOSLEEP", "SYNCS", "USETMAXREG", "UTCATOMSWS"];

fn kind(code: &[Instruction], body: &[usize]) -> LoopKind {
    let all = |names: &[&[&str]]| {
        let known = |i: &usize| names.iter().any(|n| n.contains(&code[*i].mnemonic()));
        body.iter().all(known)
    };
    let any = |mnemonic: &str| body.iter().any(|i| code[*i].mnemonic() == mnemonic);
    if all(&[IDLE, WAITS]) && WAITS.iter().any(|w| any(w)) {
        return LoopKind::Wait;
    }
    let is_closed_by_vote = body
        .iter()
        .any(|i| code[*i].opcode.starts_with("BRA.U.ANY"));
    if any("ELECT") && is_closed_by_vote && body.len() < 16 {
        return LoopKind::Elect;
    }
    LoopKind::Work
}

#[cfg(test)]
mod tests {
    use super::super::tests::code;
    use super::*;

    /// Head, depth, kind and length of each loop.
    fn loops(text: &str) -> Vec<(usize, usize, LoopKind, usize)> {
        let found = find(&code(text));
        found
            .iter()
            .map(|l| (l.head, l.depth, l.kind, l.body.len()))
            .collect()
    }

    #[test]
    fn loops_nest() {
        let text = "
            MOV R0,RZ
            LDG.E R1,[R2]
            FFMA R3,R1,R1,R3
            @P0 BRA >2
            FADD R4,R3,R4
            @P1 BRA >1
            EXIT";
        assert_eq!(
            loops(text),
            [(1, 0, LoopKind::Work, 5), (2, 1, LoopKind::Work, 2)]
        );
        let found = find(&code(text));
        assert_eq!([found[0].innermost, found[1].innermost], [false, true]);
        assert_eq!(found[1].counts.to_string(), "BRA 1, FFMA 1");
    }

    #[test]
    fn a_loop_with_only_waits_inside_is_innermost() {
        let text = "
            SYNCS.PHASECHK.TRANS64.TRYWAIT P0,[R5],R3
            @!P0 BRA >0
            HGMMA.64x128x16.F32.BF16 R24,gdesc[UR4],R24
            @P1 BRA >0
            EXIT";
        let waits_at_its_head = find(&code(&format!("NOP{}", text.replace(">0", ">1"))));
        // One head, so one natural loop: the wait is part of it.
        assert_eq!(waits_at_its_head.len(), 1);
        let behind = "
            MOV R3,RZ
            SYNCS.PHASECHK.TRANS64.TRYWAIT P0,[R5],R3
            @!P0 BRA >1
            HGMMA.64x128x16.F32.BF16 R24,gdesc[UR4],R24
            @P1 BRA >0
            EXIT";
        assert_eq!(
            loops(behind),
            [(0, 0, LoopKind::Work, 5), (1, 1, LoopKind::Wait, 2)]
        );
        assert!(find(&code(behind))[0].innermost);
    }

    #[test]
    fn code_out_of_line_is_no_loop() {
        // The slow way lies behind the end and jumps back to where the fast way goes on.
        let text = "
            @P0 BRA >3
            FADD R0,R1,R2
            EXIT
            MUFU.RCP R1,R1
            BRA >1";
        assert_eq!(loops(text), []);
    }

    #[test]
    fn out_of_line_parts_belong_to_their_loop() {
        let text = "
            @P0 BRA >4
            FADD R0,R1,R2
            @P1 BRA >0
            EXIT
            MUFU.RCP R1,R1
            BRA >1";
        let found = find(&code(text));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].body, [0, 1, 2, 4, 5]);
    }

    #[test]
    fn a_loop_that_elects_lanes_is_told_from_work() {
        let text = "
            @P0 ELECT P1,URZ,PT
            UTMALDG.2D [UR8],[UR20]
            @P1 PLOP3.LUT P0,PT,P1,PT,PT,0x8,0x0
            @P0 BRA.U.ANY >0
            EXIT";
        assert_eq!(loops(text), [(0, 0, LoopKind::Elect, 4)]);
    }
}
