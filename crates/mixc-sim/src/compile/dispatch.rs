//! Which part of the compiler takes an instruction.

use super::{Built, Compiler, UNSUPPORTED, modifiers};
use crate::syntax::ast::Instr;

/// The part of the compiler that knows an instruction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Family {
    Flow,
    Memory,
    Sync,
    Tensor,
    Alu,
}

/// All instructions that are known in at least one form, by their first word.
pub(crate) fn families() -> impl Iterator<Item = (Family, &'static [&'static str])> {
    const ALL: &[(Family, &[&str])] = &[
        (
            Family::Alu,
            &[
                "add", "addc", "sub", "subc", "mul", "mad", "madc", "mul24", "mad24", "sad", "div",
                "rem", "abs", "neg", "min", "max", "and", "or", "xor", "not", "cnot", "shl", "shr",
                "shf", "popc", "clz", "brev", "bfind", "bfe", "bfi", "bmsk", "szext", "prmt",
                "lop3", "dp4a", "dp2a", "testp", "copysign", "mov", "selp", "slct", "setp", "set",
                "cvt", "fma", "rcp", "sqrt", "rsqrt", "sin", "cos", "lg2", "ex2", "tanh",
            ],
        ),
        (
            Family::Flow,
            &["bra", "brx", "ret", "exit", "trap", "brkpt"],
        ),
        (
            Family::Memory,
            &[
                "ld",
                "ldu",
                "st",
                "atom",
                "red",
                "cvta",
                "isspacep",
                "prefetch",
                "prefetchu",
                "discard",
                "applypriority",
                "createpolicy",
                "ldmatrix",
                "stmatrix",
                "movmatrix",
            ],
        ),
        (
            Family::Sync,
            &[
                "bar",
                "barrier",
                "membar",
                "fence",
                "shfl",
                "vote",
                "match",
                "activemask",
                "redux",
                "elect",
                "mbarrier",
                "griddepcontrol",
                "setmaxnreg",
                "nanosleep",
            ],
        ),
        (Family::Tensor, &["mma", "cp", "wgmma"]),
    ];
    ALL.iter().copied()
}

impl Compiler<'_> {
    pub(super) fn instruction(&mut self, i: &Instr) -> Built<()> {
        if let Some(modifier) = modifiers::unknown_modifier(i) {
            let what = format!("`.{modifier}` in `{}`", i.opcode());
            return Err(self.unsupported_at(i.place, &what));
        }
        let known = self.known_instruction(i);
        match (&i.malformed, known) {
            // Its operands may be of a kind that only it has.
            (Some(_), Err(error)) if error.code == UNSUPPORTED => Err(error),
            (Some(error), _) => Err(error.clone()),
            (None, known) => known,
        }
    }

    fn known_instruction(&mut self, i: &Instr) -> Built<()> {
        let family = families().find(|(_, names)| names.contains(&i.name.as_str()));
        match family.map(|f| f.0) {
            Some(Family::Flow) => self.flow(i),
            Some(Family::Memory) => self.memory(i),
            Some(Family::Sync) => self.sync(i),
            Some(Family::Tensor) => self.tensor(i),
            Some(Family::Alu) => self.alu(i),
            None => Err(self.unsupported(i)),
        }
    }
}
