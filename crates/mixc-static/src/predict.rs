//! Predicted times of loops and kernels, from instruction counts and published rates.
//!
//! A turn of a loop takes at least as long as its instructions keep each unit busy. `overlapped` is the longest of
//! these: what a multiprocessor could do with enough warps to hide every latency. `in_turns` adds the tensor cores
//! and the longest of the others: what is left if products and everything else wait for each other, as within one
//! warp. Real kernels also wait for memory and barriers, of which neither knows.

use crate::chip::{self, QUARTERS, Rates, Use};
use crate::row::rounded;
use mixc_nvtools::sass::Counts;

/// Cycles of a multiprocessor for one turn of a block, by unit.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Prediction {
    /// Instructions through the schedulers.
    pub issue: f64,
    pub tensor: f64,
    pub fma: f64,
    pub alu: f64,
    pub special: f64,
    pub shared: f64,
    pub bound: String,
    pub overlapped: f64,
    pub in_turns: f64,
}

/// Executed products in relation to the dense peak of their unit, over all multiprocessors that have blocks.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Share {
    pub overlapped: f64,
    pub in_turns: f64,
    /// Blocks of the launch for each multiprocessor: below 1 some have none.
    pub blocks_per_multiprocessor: f64,
}

/// Cycles of one turn, of a block with `warps` warps. `turns` is how many turns of the tile loop that is.
pub fn cycles(counts: &Counts, warps: u32, turns: usize, rates: &Rates) -> Prediction {
    let mut sum = Use::default();
    for (opcode, count) in counts.opcodes() {
        let one = chip::used(opcode, rates);
        let n = count as f64;
        sum.tensor += n * one.tensor;
        sum.fma += n * one.fma;
        sum.alu += n * one.alu;
        sum.special += n * one.special;
        sum.shared += n * one.shared;
    }
    // Warps are dealt evenly to the quarters; a block with fewer warps leaves room for another block.
    let turns = turns.max(1) as f64;
    let quarter = f64::from(warps) / QUARTERS / turns;
    let issue = quarter * counts.total() as f64;
    let [tensor, fma, alu, special] =
        [sum.tensor, sum.fma, sum.alu, sum.special].map(|c| quarter * c);
    let shared = f64::from(warps) / turns * sum.shared;
    let others = [
        ("issue", issue),
        ("fma", fma),
        ("alu", alu),
        ("special", special),
        ("shared", shared),
    ];
    let longest = |first: (&'static str, f64), others: &[(&'static str, f64)]| {
        others
            .iter()
            .fold(first, |a, b| if b.1 > a.1 { *b } else { a })
    };
    let (bound, overlapped) = longest(("tensor", tensor), &others);
    let (_, rest) = longest(("", 0.0), &others);
    Prediction {
        issue: rounded(issue),
        tensor: rounded(tensor),
        fma: rounded(fma),
        alu: rounded(alu),
        special: rounded(special),
        shared: rounded(shared),
        bound: bound.to_owned(),
        overlapped: rounded(overlapped),
        in_turns: rounded(tensor + rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mixc_nvtools::sass::{Function, Instruction};
    use mixc_ptx::Target;

    fn counts(opcodes: &[(&str, usize)]) -> Counts {
        let one = |opcode: &str| Instruction {
            predicate: None,
            opcode: opcode.to_owned(),
            operands: String::new(),
        };
        let all = opcodes.iter().flat_map(|(o, n)| vec![one(o); *n]);
        let mut instructions: Vec<Instruction> = all.collect();
        // What ends a function would count as padding otherwise.
        instructions.push(one("EXIT"));
        Function {
            name: "f".into(),
            instructions,
        }
        .counts()
    }

    #[test]
    fn the_busiest_unit_bounds_a_turn() {
        let rates = chip::rates(Target::Sm80).unwrap();
        let code = counts(&[("HMMA.16816.F32.BF16", 64), ("MUFU.EX2", 32), ("FFMA", 99)]);
        let found = cycles(&code, 4, 1, &rates);
        // 64 of 8 cycles; 32 of 8; 99 of 2; 196 instructions.
        assert_eq!(
            (found.tensor, found.special, found.fma, found.issue),
            (512.0, 256.0, 198.0, 196.0)
        );
        assert_eq!((&*found.bound, found.overlapped), ("tensor", 512.0));
        assert_eq!(found.in_turns, 512.0 + 256.0);
        // Twice the warps take twice the time; a loop unrolled by two half of it.
        assert_eq!(cycles(&code, 8, 2, &rates), found);
    }
}
