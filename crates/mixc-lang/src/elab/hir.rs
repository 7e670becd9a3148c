//! Resolved definitions: functions expanded, names looked up, index variables by identity.

use crate::ast::{BinOp, CmpOp};
use crate::builtins::{Fun, Reduction};
use mixc_ir::{Ix, Name};
use mixc_text::Span;
use std::sync::Arc;

pub type H = Arc<Hir>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VarId(pub usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SymId(pub usize);

#[derive(Clone, Debug)]
pub struct Hir {
    pub kind: HirKind,
    pub span: Span,
    /// Nodes of the tree when lowered, shared parts counted each time.
    pub size: usize,
    pub depth: usize,
}

#[derive(Clone, Debug)]
pub enum HirKind {
    /// Stands for a mistake that was reported.
    Poison,
    Int(i64),
    Real(f64),
    Bool(bool),
    Var(VarId),
    /// The index of a batch axis, by its size.
    Batch(Name),
    /// A size or an integer scalar.
    Size(Name),
    RealScalar(Name),
    BoolScalar(Name),
    /// An element of an input, all axes indexed.
    Tensor {
        tensor: usize,
        index: Vec<H>,
    },
    /// An element of a local tensor. Of its batch axes, those in `captured` are indexed by
    /// variables in scope.
    Local {
        sym: SymId,
        index: Vec<H>,
        captured: Vec<(Name, VarId)>,
    },
    Neg(H),
    Not(H),
    Bin(BinOp, H, H),
    Cmp(CmpOp, H, H),
    If {
        then: H,
        cond: H,
        other: H,
    },
    Call(Fun, Vec<H>),
    Reduce(Reduction, Vec<VarId>, Vec<H>),
}

impl Hir {
    pub fn new(kind: HirKind, span: Span) -> Hir {
        let copies = if let HirKind::Reduce(r, ..) = &kind {
            r.copies()
        } else {
            1
        };
        let (mut size, mut depth) = (0usize, 0);
        for child in kind.children() {
            size = size.saturating_add(child.size);
            depth = depth.max(child.depth);
        }
        Hir {
            kind,
            span,
            size: size.saturating_mul(copies).saturating_add(1),
            depth: depth + 1,
        }
    }
}

impl HirKind {
    pub fn children(&self) -> Vec<&H> {
        match self {
            HirKind::Tensor { index: list, .. } | HirKind::Local { index: list, .. } => {
                list.iter().collect()
            }
            HirKind::Call(_, list) | HirKind::Reduce(_, _, list) => list.iter().collect(),
            HirKind::Neg(a) | HirKind::Not(a) => vec![a],
            HirKind::Bin(_, a, b) | HirKind::Cmp(_, a, b) => vec![a, b],
            HirKind::If { then, cond, other } => vec![then, cond, other],
            _ => vec![],
        }
    }
}

/// An index variable.
#[derive(Clone, Debug)]
pub struct Var {
    pub name: String,
    pub range: super::ranges::RangeId,
    /// Whether its range was written; then using it elsewhere says nothing about it.
    pub explicit: bool,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Statements behind the definition.
    Program,
    /// One step of a scan.
    Step,
    /// Written step by step and kept.
    Collected,
}

/// A local tensor, an output, or one version of a carried state.
#[derive(Clone, Debug)]
pub struct Sym {
    pub name: String,
    pub span: Span,
    /// Ranges of the axes that the user writes.
    pub axes: Vec<super::ranges::RangeId>,
    /// Variables of the first left side.
    pub vars: Vec<VarId>,
    /// The version whose axes and kind this one shares.
    pub root: SymId,
    /// Index into the outputs.
    pub output: Option<usize>,
    pub life: Life,
    /// Position of the scan variable among the axes.
    pub time: Option<usize>,
    pub defined: bool,
}

#[derive(Clone, Debug)]
pub struct HLet {
    pub sym: SymId,
    pub vars: Vec<VarId>,
    pub value: H,
}

#[derive(Clone, Debug)]
pub struct HCarry {
    /// The state before the step; `vars` are the variables of `init`.
    pub sym: SymId,
    pub vars: Vec<VarId>,
    pub init: H,
    pub next: SymId,
    pub last: SymId,
}

#[derive(Clone, Debug)]
pub enum HStmt {
    Let(HLet),
    Scan {
        var: VarId,
        reverse: bool,
        carries: Vec<HCarry>,
        body: Vec<HLet>,
    },
}

/// A declared output.
#[derive(Clone, Debug)]
pub struct OutDecl {
    pub name: Name,
    pub complex: bool,
    pub shape: Vec<Ix>,
    pub axis_names: Vec<Name>,
    pub span: Span,
}
