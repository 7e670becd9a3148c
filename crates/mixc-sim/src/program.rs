//! The compact form that runs: registers are slots, branch targets are indices.
//!
//! Every operand is a slot. Constants and special registers are slots too, filled when a warp
//! starts, so that an instruction reads its operands in one way only.

use crate::numeric::LaneFn;
use crate::numeric::convert::Conversion;
use crate::syntax::ast::{Place, Space, Ty};

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
    /// Whether any instruction reads or writes memory through the asynchronous proxy.
    pub async_proxy: bool,
    /// Instructions that the simulator does not know, with their lines.
    pub unsupported: Vec<(String, u32)>,
}

#[derive(Debug, Clone)]
pub struct Param {
    pub name: String,
    pub offset: usize,
    pub bytes: usize,
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

#[derive(Clone, Copy, Debug)]
pub struct Addr {
    pub base: Slot,
    pub offset: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShflMode {
    Up,
    Down,
    Bfly,
    Idx,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteMode {
    All,
    Any,
    Uni,
    Ballot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtomOp {
    Add,
    Min,
    Max,
    And,
    Or,
    Xor,
    Exch,
    Cas,
    Inc,
    Dec,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarKind {
    Sync,
    Arrive,
    Popc,
    And,
    Or,
}

/// Element type of a matrix operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elem {
    F16,
    Bf16,
    Tf32,
    F32,
    F64,
    S8,
    U8,
    S32,
}

#[derive(Debug)]
pub struct Mma {
    pub m: u32,
    pub n: u32,
    pub k: u32,
    pub a: Elem,
    pub b: Elem,
    pub c: Elem,
    pub dst: Box<[Slot]>,
    pub a_regs: Box<[Slot]>,
    pub b_regs: Box<[Slot]>,
    pub c_regs: Box<[Slot]>,
}

#[derive(Debug)]
pub enum WgmmaA {
    Shared(Slot),
    Registers(Box<[Slot]>),
}

#[derive(Debug)]
pub struct Wgmma {
    pub n: u32,
    pub k: u32,
    pub elem: Elem,
    pub acc: Elem,
    pub dst: Box<[Slot]>,
    pub a: WgmmaA,
    pub b: Slot,
    /// False: the accumulator's old value is not read.
    pub scale_d: Slot,
    pub negate_a: bool,
    pub negate_b: bool,
    /// Transposed means M-major (A) or N-major (B) in shared memory.
    pub trans_a: bool,
    pub trans_b: bool,
}

#[derive(Debug)]
pub enum MbarOp {
    Init {
        count: Slot,
    },
    Inval,
    /// `expect` bytes are added before arriving `count` times.
    Arrive {
        state: Option<Slot>,
        count: Option<Slot>,
        expect: Option<Slot>,
        drop: bool,
    },
    ExpectTx {
        bytes: Slot,
    },
    CompleteTx {
        bytes: Slot,
    },
    /// `parity`: `token` is a phase parity, not a state.
    Wait {
        done: Slot,
        token: Slot,
        parity: bool,
        /// `try_wait`: may return before the phase completes.
        may_fail: bool,
    },
}

#[derive(Debug)]
pub enum Op {
    Alu {
        f: LaneFn,
        d: Slot,
        a: [Slot; 4],
    },
    Convert {
        c: Conversion,
        d: Slot,
        a: Slot,
    },
    /// Two floats to one packed register: `b` below, `a` above.
    ConvertPair {
        c: Conversion,
        d: Slot,
        a: Slot,
        b: Slot,
    },
    Mov {
        d: Slot,
        a: Slot,
    },
    Select {
        d: Slot,
        a: Slot,
        b: Slot,
        p: Slot,
    },
    /// `mov.b64 d, {a, b}`; each part has `bits` bits, the first lowest.
    Pack {
        d: Slot,
        parts: Box<[Slot]>,
        bits: u32,
    },
    Unpack {
        parts: Box<[Option<Slot>]>,
        a: Slot,
        bits: u32,
    },
    Clock {
        d: Slot,
    },
    Branch {
        to: Pc,
    },
    BranchTable {
        index: Slot,
        targets: Box<[Pc]>,
    },
    Exit,
    Trap,
    Nop,
    /// Known to PTX, but not here.
    Unsupported,
    Load {
        space: Space,
        ty: Ty,
        to: Box<[Option<Slot>]>,
        width: u32,
        addr: Addr,
        strong: bool,
    },
    Store {
        space: Space,
        ty: Ty,
        from: Box<[Slot]>,
        addr: Addr,
        strong: bool,
    },
    Atomic {
        space: Space,
        op: AtomOp,
        ty: Ty,
        d: Option<Slot>,
        addr: Addr,
        b: Slot,
        c: Option<Slot>,
    },
    ToGeneric {
        space: Space,
        d: Slot,
        a: Slot,
    },
    FromGeneric {
        space: Space,
        d: Slot,
        a: Slot,
    },
    IsSpace {
        space: Space,
        d: Slot,
        a: Slot,
    },
    Barrier {
        kind: BarKind,
        id: Slot,
        count: Option<Slot>,
        d: Option<Slot>,
        p: Option<Slot>,
        negate: bool,
        aligned: bool,
    },
    WarpSync {
        mask: Slot,
    },
    Fence,
    ProxyFence,
    Shuffle {
        mode: ShflMode,
        d: Slot,
        p: Option<Slot>,
        a: Slot,
        b: Slot,
        c: Slot,
        mask: Slot,
    },
    Vote {
        mode: VoteMode,
        d: Slot,
        p: Slot,
        negate: bool,
        mask: Slot,
    },
    Match {
        all: bool,
        ty: Ty,
        d: Slot,
        p: Option<Slot>,
        a: Slot,
        mask: Slot,
    },
    Redux {
        op: AtomOp,
        ty: Ty,
        d: Slot,
        a: Slot,
        mask: Slot,
    },
    ActiveMask {
        d: Slot,
    },
    Elect {
        d: Option<Slot>,
        p: Slot,
        mask: Slot,
    },
    Mma(Box<Mma>),
    LdMatrix {
        to: Box<[Slot]>,
        trans: bool,
        addr: Addr,
        space: Space,
    },
    StMatrix {
        from: Box<[Slot]>,
        trans: bool,
        addr: Addr,
        space: Space,
    },
    MovMatrix {
        d: Slot,
        a: Slot,
    },
    CpAsync {
        dst: Addr,
        src: Addr,
        bytes: u32,
        src_bytes: Option<Slot>,
        ignore: Option<(Slot, bool)>,
    },
    CpAsyncCommit,
    /// `None`: wait for everything, committed or not.
    CpAsyncWait {
        pending: Option<u32>,
    },
    CpAsyncArrive {
        bar: Addr,
        noinc: bool,
    },
    Mbarrier {
        op: MbarOp,
        bar: Addr,
        space: Space,
    },
    BulkLoad {
        dst: Addr,
        src: Addr,
        bytes: Slot,
        bar: Addr,
    },
    BulkStore {
        dst: Addr,
        src: Addr,
        bytes: Slot,
    },
    TensorLoad {
        dst: Addr,
        map: Addr,
        coords: Box<[Slot]>,
        bar: Addr,
    },
    TensorStore {
        src: Addr,
        map: Addr,
        coords: Box<[Slot]>,
        add: bool,
    },
    BulkCommit,
    BulkWait {
        pending: u32,
    },
    Wgmma(Box<Wgmma>),
    WgmmaFence,
    WgmmaCommit,
    WgmmaWait {
        pending: u32,
    },
}
