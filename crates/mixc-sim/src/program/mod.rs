//! The compact form that runs: registers are slots, branch targets are indices.
//!
//! Every operand is a slot. Constants and special registers are slots too, filled when a warp
//! starts, so that an instruction reads its operands in one way only.

mod op;
mod registers;

pub use op::*;

use crate::syntax::ast::Place;

/// Index of one register (all 32 lanes) in a warp's register file.
pub type Slot = u32;
/// Index of an instruction.
pub type Pc = u32;
/// No instruction: the end of the kernel.
pub const NOWHERE: Pc = u32::MAX;

#[derive(Debug)]
pub struct Program {
    pub name: String,
    pub params: Vec<Param>,
    pub param_bytes: usize,
    pub code: Vec<Inst>,
    pub loops: Vec<Loop>,
    pub slots: usize,
    /// Slots that hold one value in every lane of every warp.
    pub constants: Vec<(Slot, u64)>,
    pub specials: Vec<(Slot, Special)>,
    /// Register names by slot, for reports.
    pub names: Vec<String>,
    pub shared: Vec<Placed>,
    /// Bytes of shared variables with a size; dynamic shared memory follows.
    pub shared_bytes: u64,
    /// Where dynamic shared memory starts.
    pub dynamic_base: u64,
    pub local_bytes: u64,
    /// Access checks keep one record for so many bytes of shared memory: the smallest access.
    pub granule: u32,
    pub required_threads: Option<[u32; 3]>,
    pub max_threads: Option<[u32; 3]>,
    /// Registers of each thread at the start, as far as directives tell.
    pub registers: Option<u32>,
    /// Whether any instruction reads or writes memory through the asynchronous proxy.
    pub async_proxy: bool,
    /// By instruction, for kernels with `wgmma`: the registers that it reads and writes.
    pub accesses: Vec<Access>,
    /// Instructions that the simulator does not know, with their lines.
    pub unsupported: Vec<(String, u32)>,
}

#[derive(Debug, Clone)]
pub struct Param {
    pub name: String,
    pub offset: usize,
    pub bytes: usize,
}

/// The registers of one instruction.
#[derive(Debug, Clone, Default)]
pub struct Access {
    pub reads: Box<[Slot]>,
    pub writes: Box<[Slot]>,
}

/// A loop of the program, outer ones before inner ones.
#[derive(Debug, Clone)]
pub struct Loop {
    pub header: Pc,
    /// 1 for a loop that is in no other.
    pub depth: u32,
    /// The instructions that are in no inner loop.
    pub body: Vec<Pc>,
}

/// A variable with its place in its memory space.
#[derive(Debug, Clone)]
pub struct Placed {
    pub name: String,
    pub offset: u64,
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Special {
    Tid(u8),
    Ntid(u8),
    Ctaid(u8),
    Nctaid(u8),
    LaneId,
    WarpId,
    NWarpId,
    SmId,
    NSmId,
    GridId,
    LaneMask(LaneMask),
    DynamicShared,
    TotalShared,
    ClusterCtaRank,
    ClusterNctaRank,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LaneMask {
    Eq,
    Lt,
    Le,
    Gt,
    Ge,
}

/// What `Report::counts` counts separately.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    Integer,
    Float32,
    Float64,
    Half,
    SpecialFunction,
    Conversion,
    Move,
    Branch,
    LoadGlobal,
    StoreGlobal,
    LoadShared,
    StoreShared,
    Local,
    Param,
    Atomic,
    Barrier,
    WarpSync,
    Async,
    Matrix,
    Other,
}

impl Class {
    /// Stable kebab-case name, for tools.
    pub fn name(self) -> String {
        crate::check::finding::kebab(&format!("{self:?}"))
    }

    pub const ALL: [Class; 20] = {
        use Class::*;
        [
            Integer,
            Float32,
            Float64,
            Half,
            SpecialFunction,
            Conversion,
            Move,
            Branch,
            LoadGlobal,
            StoreGlobal,
            LoadShared,
            StoreShared,
            Local,
            Param,
            Atomic,
            Barrier,
            WarpSync,
            Async,
            Matrix,
            Other,
        ]
    };
}

#[derive(Debug)]
pub struct Inst {
    pub op: Op,
    /// The predicate slot, and whether lanes run when it is false.
    pub guard: Option<(Slot, bool)>,
    /// Operands that must have been written before.
    pub uses: Box<[Slot]>,
    pub class: Class,
    pub place: Place,
    /// A step before the last of a statement that takes several; the last one is counted.
    pub part: bool,
    /// For a branch: where its lanes meet again.
    pub meet: Pc,
}

impl Program {
    pub fn has(&self, what: impl Fn(&Op) -> bool) -> bool {
        self.code.iter().any(|i| what(&i.op))
    }
}

/// The registers that each instruction touches.
pub fn accesses(code: &[Inst]) -> Vec<Access> {
    code.iter().map(registers::of).collect()
}
