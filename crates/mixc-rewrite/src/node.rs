//! The e-graph's language: `mixc_ir::Term` with numbered axes and interned leaves.

use crate::axes::{Ax, AxisSet};
use egg::{Id, Language};
use mixc_ir::{Func, Ix, Name, ReduceOp};
use std::collections::HashMap;

/// A leaf of a term. Constants are bit patterns, so that leaves can be compared and hashed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Leaf {
    Const(u64),
    Scalar(Name),
    Index(Ix),
    Read(Name, Vec<Ix>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeafId(u32);

#[derive(Clone, Debug, Default)]
pub struct Leaves {
    all: Vec<(Leaf, AxisSet)>,
    ids: HashMap<Leaf, LeafId>,
}

impl Leaves {
    pub fn intern(&mut self, leaf: Leaf, free: AxisSet) -> LeafId {
        if let Some(id) = self.ids.get(&leaf) {
            return *id;
        }
        let id = LeafId(self.all.len() as u32);
        self.ids.insert(leaf.clone(), id);
        self.all.push((leaf, free));
        id
    }

    pub fn get(&self, id: LeafId) -> &Leaf {
        &self.all[id.0 as usize].0
    }

    pub fn free(&self, id: LeafId) -> AxisSet {
        self.all[id.0 as usize].1
    }
}

/// The operators of [`mixc_ir::Term`]; children in the order of `Term::children`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    Leaf(LeafId),
    Map(Func),
    Add,
    Sum(AxisSet),
    Reduce(ReduceOp, AxisSet),
    Softmax(AxisSet),
    Online(AxisSet),
    Ss {
        j: Ax,
        i: Ax,
        strict: bool,
    },
    Scan {
        j: Ax,
        i: Ax,
        strict: bool,
    },
    Last {
        j: Ax,
    },
    CumProd {
        axis: Ax,
        exclusive: bool,
    },
    SufProd {
        axis: Ax,
    },
    CumSum {
        axis: Ax,
    },
    Merge {
        axis: Ax,
        outer: Ax,
        inner: Ax,
    },
    /// All results together, so that they share one choice of algorithm.
    Roots,
}

impl Op {
    /// Axes that the node binds.
    pub fn bound(self) -> AxisSet {
        match self {
            Op::Sum(a) | Op::Reduce(_, a) | Op::Online(a) => a,
            Op::Scan { j, .. } | Op::Last { j } => AxisSet::of(&[j]),
            Op::Merge { outer, inner, .. } => AxisSet::of(&[outer, inner]),
            _ => AxisSet::EMPTY,
        }
    }

    /// Axes that the value has because of the node.
    pub fn produced(self) -> AxisSet {
        match self {
            Op::Softmax(a) => a,
            Op::Ss { j, i, .. } => AxisSet::of(&[j, i]),
            Op::Scan { i, .. } => AxisSet::of(&[i]),
            Op::CumProd { axis, .. }
            | Op::SufProd { axis }
            | Op::CumSum { axis }
            | Op::Merge { axis, .. } => AxisSet::of(&[axis]),
            _ => AxisSet::EMPTY,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    pub op: Op,
    pub kids: Vec<Id>,
}

impl Language for Node {
    type Discriminant = Op;

    fn discriminant(&self) -> Op {
        self.op
    }

    fn matches(&self, other: &Node) -> bool {
        self.op == other.op && self.kids.len() == other.kids.len()
    }

    fn children(&self) -> &[Id] {
        &self.kids
    }

    fn children_mut(&mut self) -> &mut [Id] {
        &mut self.kids
    }
}
