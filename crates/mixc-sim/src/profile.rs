//! Where in the PTX text a launch spent its instructions.

use crate::counts::{Counts, Tally};
use crate::exec::Launch;
use crate::program::Class;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Counts by line and by loop.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Lines that were executed, in order.
    pub lines: Vec<LineCounts>,
    /// All loops, outer ones before inner ones.
    pub loops: Vec<LoopCounts>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LineCounts {
    /// 1-based line of the PTX text, and the instruction that stands there.
    pub line: u32,
    pub text: String,
    pub class: Class,
    /// Index into [`Profile::loops`] of the innermost loop around the line.
    pub in_loop: Option<usize>,
    pub tally: Tally,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoopCounts {
    /// Lines of the loop's first and last instruction in the text.
    pub first_line: u32,
    pub last_line: u32,
    /// 1 for a loop that is in no other.
    pub depth: u32,
    /// Times that a warp executed the loop's first instruction.
    pub iterations: u64,
    /// Sums over the instructions that are in no inner loop.
    pub counts: Counts,
}

impl Profile {
    pub(crate) fn of(launch: &Launch, tallies: &[Tally]) -> Profile {
        let program = launch.program;
        let mut loop_of = HashMap::new();
        for (n, l) in program.loops.iter().enumerate() {
            loop_of.extend(l.body.iter().map(|pc| (*pc, n)));
        }
        let mut lines: Vec<LineCounts> = vec![];
        for (pc, tally) in tallies.iter().enumerate().filter(|(_, t)| t.issued > 0) {
            let inst = &program.code[pc];
            let (line, text) = launch.line_text(pc as u32);
            let mut tally = *tally;
            if inst.part {
                (tally.issued, tally.threads) = (0, 0);
            }
            match lines.last_mut() {
                Some(last) if last.line == line && last.text == text => {
                    last.tally.add(&tally);
                    last.class = inst.class;
                }
                _ => lines.push(LineCounts {
                    line,
                    text,
                    class: inst.class,
                    in_loop: loop_of.get(&(pc as u32)).copied(),
                    tally,
                }),
            }
        }
        let loops = program.loops.iter().map(|l| {
            let line = |pc: &u32| program.code[*pc as usize].place.line;
            LoopCounts {
                first_line: l.body.iter().map(line).min().unwrap_or(0),
                last_line: l.body.iter().map(line).max().unwrap_or(0),
                depth: l.depth,
                iterations: tallies[l.header as usize].issued,
                counts: Counts::over(program, tallies, l.body.iter().map(|pc| *pc as usize)),
            }
        });
        let loops = loops.collect();
        Profile { lines, loops }
    }

    /// The loop that executed the most thread instructions.
    pub fn hottest_loop(&self) -> Option<&LoopCounts> {
        self.loops.iter().max_by_key(|l| l.counts.tally.threads)
    }
}
