//! Operations and their operands.

use super::{Pc, Slot};
use crate::numeric::LaneFn;
use crate::numeric::convert::Conversion;
use crate::syntax::ast::{Space, Ty};

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
        /// `.release`: orders what came before it.
        release: bool,
    },
    Atomic {
        space: Space,
        op: AtomOp,
        ty: Ty,
        d: Option<Slot>,
        addr: Addr,
        b: Slot,
        c: Option<Slot>,
        /// `.release`, `.acq_rel`: orders what came before it.
        release: bool,
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
        /// Combines with what is in global memory instead of replacing it.
        reduce: Option<(AtomOp, Ty)>,
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
        reduce: Option<AtomOp>,
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
    /// `setmaxnreg`: registers of each thread from now on.
    SetRegisters {
        count: u32,
        more: bool,
    },
}
