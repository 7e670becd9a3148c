//! Machine code of NVIDIA GPUs as data: instructions, their loops, and how often each is there.

mod flow;
mod loops;

pub use loops::{Loop, LoopKind};

use std::collections::BTreeMap;
use std::fmt;

/// One kernel or function of a cubin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub instructions: Vec<Instruction>,
}

/// One instruction, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// The guard: `@P0`, `@!UP1`.
    pub predicate: Option<String>,
    /// With its modifiers: `HMMA.16816.F32.BF16`.
    pub opcode: String,
    /// Separated by commas; a place in the code is its byte offset in the function: `0x270`.
    pub operands: String,
}

/// Bytes of one instruction, on all architectures from sm_70 on.
const BYTES: u64 = 16;

impl Instruction {
    /// The opcode without modifiers: `HMMA`.
    pub fn mnemonic(&self) -> &str {
        self.opcode.split('.').next().unwrap_or("")
    }

    /// The instruction that this one names as a place in the code, by its index.
    fn target(&self) -> Option<usize> {
        let place = self.operands.rsplit(',').next()?.trim();
        let offset = u64::from_str_radix(place.strip_prefix("0x")?, 16).ok()?;
        usize::try_from(offset / BYTES).ok()
    }
}

impl Function {
    /// How often each opcode is there. What pads the end is not counted: a jump to itself and NOPs.
    pub fn counts(&self) -> Counts {
        let is_padding = |(index, i): &(usize, &Instruction)| {
            i.mnemonic() == "NOP" || i.mnemonic() == "BRA" && i.target() == Some(*index)
        };
        let padding = self
            .instructions
            .iter()
            .enumerate()
            .rev()
            .take_while(is_padding);
        let end = self.instructions.len() - padding.count();
        Counts::of(self.instructions[..end].iter())
    }

    /// All loops, the longest first. Functions called from a loop are not part of it, and indirect
    /// jumps (`BRX`) are not followed.
    pub fn loops(&self) -> Vec<Loop> {
        loops::find(&self.instructions)
    }

    /// The loops that do the work: those that are not waits and contain no other such.
    pub fn inner_loops(&self) -> Vec<Loop> {
        let mut loops = self.loops();
        loops.retain(|l| l.innermost && l.kind == LoopKind::Work);
        loops
    }
}

/// How often opcodes are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<String, usize>);

impl Counts {
    fn of<'a>(instructions: impl Iterator<Item = &'a Instruction>) -> Counts {
        let mut counts = BTreeMap::new();
        for instruction in instructions {
            *counts.entry(instruction.opcode.clone()).or_default() += 1;
        }
        Counts(counts)
    }

    /// Those whose opcode is the given one, with or without further modifiers: `HMMA` counts
    /// `HMMA.16816.F32`, and so does `HMMA.16816`.
    pub fn get(&self, opcode: &str) -> usize {
        let matching = self.0.iter().filter(|(found, _)| {
            let rest = found.strip_prefix(opcode);
            rest.is_some_and(|r| r.is_empty() || r.starts_with('.'))
        });
        matching.map(|(_, count)| count).sum()
    }

    pub fn total(&self) -> usize {
        self.0.values().sum()
    }

    /// Every opcode with its modifiers, in alphabetic order.
    pub fn opcodes(&self) -> impl Iterator<Item = (&str, usize)> {
        self.0
            .iter()
            .map(|(opcode, count)| (opcode.as_str(), *count))
    }

    /// Without modifiers, the most frequent first.
    pub fn mnemonics(&self) -> Vec<(&str, usize)> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (opcode, count) in &self.0 {
            *counts
                .entry(opcode.split('.').next().unwrap_or(""))
                .or_default() += count;
        }
        let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }
}

/// `HMMA 64, FFMA 32, BAR 2`.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.mnemonics();
        let counts: Vec<String> = counts.iter().map(|(m, n)| format!("{m} {n}")).collect();
        f.write_str(&counts.join(", "))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Code from lines `[@P] OPCODE operands`; places are written as line numbers, `>3`.
    pub(crate) fn code(text: &str) -> Vec<Instruction> {
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
        lines
            .map(|line| {
                let (predicate, rest) = match line.split_once(' ') {
                    Some((p, rest)) if p.starts_with('@') => (Some(p.to_string()), rest),
                    _ => (None, line),
                };
                let (opcode, operands) = rest.split_once(' ').unwrap_or((rest, ""));
                let operands = match operands.split_once('>') {
                    Some((before, at)) => {
                        format!("{before}0x{:x}", 16 * at.parse::<u64>().unwrap())
                    }
                    None => operands.to_string(),
                };
                Instruction {
                    predicate,
                    opcode: opcode.to_string(),
                    operands,
                }
            })
            .collect()
    }

    #[test]
    fn counts_go_by_opcode_and_leave_out_the_padding() {
        let function = Function {
            name: "f".into(),
            instructions: code(
                "HMMA.16816.F32 R0,R4,R8,R0
                 HMMA.1688.F32 R0,R4,R8,R0
                 FFMA R1,R2,R3,R1
                 HMMA.16816.F32.BF16 R0,R4,R8,R0
                 EXIT
                 NOP
                 EXIT
                 BRA >7
                 NOP",
            ),
        };
        let counts = function.counts();
        assert_eq!((counts.get("HMMA"), counts.get("HMMA.16816")), (3, 2));
        assert_eq!((counts.get("HM"), counts.get("BRA")), (0, 0));
        assert_eq!(counts.to_string(), "HMMA 3, EXIT 2, FFMA 1, NOP 1");
    }
}
