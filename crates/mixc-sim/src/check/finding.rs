//! Findings: one for each kind of mistake and PTX line, with an example and a count.

use crate::program::Pc;
use std::collections::HashMap;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FindingKind {
    OutOfBounds,
    Misaligned,
    UninitRegister,
    UninitShared,
    UninitGlobal,
    UninitLocal,
    /// Two accesses of one block, one a write, that nothing orders.
    Race,
    /// Two accesses of different blocks to global memory, one a write, that are not both atomic.
    RaceBetweenBlocks,
    /// A barrier, or an instruction of a whole warp, that not all its lanes execute together.
    Divergent,
    Deadlock,
    /// An asynchronous result used before its wait.
    ReadBeforeWait,
    /// A generic write that no `fence.proxy.async` orders before an asynchronous read.
    MissingProxyFence,
    DoubleWrite,
    /// An operand value that PTX leaves undefined.
    InvalidOperand,
    Trap,
    InstructionLimit,
    /// An instruction was reached that the simulator does not know; the launch stopped there.
    Unsupported,
}

impl FindingKind {
    /// Stable kebab-case name, for tools.
    pub fn name(self) -> String {
        kebab(&format!("{self:?}"))
    }
}

/// `OutOfBounds` to `out-of-bounds`.
pub(crate) fn kebab(name: &str) -> String {
    let mut out = String::new();
    for (n, c) in name.chars().enumerate() {
        if c.is_ascii_uppercase() && n > 0 {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// One mistake. Occurrences on the same line are counted, the first is described.
#[derive(Clone, Debug)]
pub struct Finding {
    pub kind: FindingKind,
    pub message: String,
    /// 1-based line of the PTX text, and the instruction that stands there.
    pub line: u32,
    pub text: String,
    pub block: [u32; 3],
    /// Of a race between blocks: the first thread of the block that touched the surrounding 256 bytes with
    /// this instruction.
    pub thread: [u32; 3],
    pub address: Option<u64>,
    /// The kernel parameter or shared variable that the address belongs to, with the byte offset.
    pub object: Option<String>,
    /// The other access of a race.
    pub other: Option<Other>,
    pub occurrences: u64,
}

#[derive(Clone, Debug)]
pub struct Other {
    pub line: u32,
    pub text: String,
    pub block: [u32; 3],
    pub thread: [u32; 3],
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let name = self.kind.name();
        write!(
            f,
            "{name}: {} (line {}: `{}`",
            self.message, self.line, self.text
        )?;
        write!(f, "; block {:?}, thread {:?}", self.block, self.thread)?;
        if let Some(address) = self.address {
            write!(f, "; address {address:#x}")?;
        }
        if let Some(object) = &self.object {
            write!(f, "; {object}")?;
        }
        if let Some(other) = &self.other {
            write!(f, "; against ")?;
            if other.block != self.block {
                write!(f, "block {:?}, ", other.block)?;
            }
            let Other {
                thread, line, text, ..
            } = other;
            write!(f, "thread {thread:?} at line {line}: `{text}`")?;
        }
        write!(f, "; {} times)", self.occurrences)
    }
}

/// The findings of one block, by kind and instruction.
#[derive(Default)]
pub struct Findings {
    pub found: HashMap<(FindingKind, Pc), Finding>,
}

impl Findings {
    /// Counts an occurrence; `describe` is called for the first only.
    pub fn add(&mut self, kind: FindingKind, pc: Pc, describe: impl FnOnce() -> Finding) {
        self.found
            .entry((kind, pc))
            .and_modify(|f| f.occurrences += 1)
            .or_insert_with(describe);
    }

    /// Findings of a later block: counts are added, the earlier example stays.
    pub fn merge(&mut self, later: Findings) {
        for (key, finding) in later.found {
            let n = finding.occurrences;
            self.found
                .entry(key)
                .and_modify(|f| f.occurrences += n)
                .or_insert(finding);
        }
    }

    pub fn sorted(self) -> Vec<Finding> {
        let mut all: Vec<Finding> = self.found.into_values().collect();
        all.sort_by(|a, b| (a.line, a.kind, &a.message).cmp(&(b.line, b.kind, &b.message)));
        all
    }
}
