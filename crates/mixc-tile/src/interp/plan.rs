//! Names resolved to slots, once for each call.
//!
//! Sizes and scalars become constants, axes and loop variables become slots of a vector of integers,
//! buffers and tensors become numbers. A buffer access becomes a base plus one stride per local axis.

use crate::{Compare, ReduceKind, ScanKind, Stmt};
use mixc_ir::{DType, Func, Ix};

/// An index expression over slots.
pub enum Index {
    Const(i64),
    Slot(usize),
    /// The node says which operator it is.
    Apply(Ix, Box<Index>, Box<Index>),
}

impl Index {
    pub fn eval(&self, vars: &[i64]) -> Option<i64> {
        match self {
            Index::Const(v) => Some(*v),
            Index::Slot(n) => Some(vars[*n]),
            Index::Apply(op, a, b) => Ix::apply(op, a.eval(vars)?, b.eval(vars)?),
        }
    }
}

/// A run-time position in one dimension of a buffer.
pub struct At {
    pub index: Index,
    pub extent: usize,
    pub stride: usize,
}

/// Offset = sum of `at` positions + sum of stride * value over the statement's local axes.
pub struct Placed {
    pub buf: usize,
    pub at: Vec<At>,
    pub strides: Vec<usize>,
}

pub enum Value {
    Const(f32),
    /// Number of the access in the statement's table.
    Elem(usize),
    Index(Index),
    Add(Box<Value>, Box<Value>),
    Mul(Box<Value>, Box<Value>),
    Select(Box<[Value; 3]>),
    Call(Func, Vec<Value>),
}

pub enum Source {
    Index(Index),
    /// Number of the access in the statement's table.
    Gather(usize),
}

pub enum Kind {
    Load {
        tensor: usize,
        index: Vec<Source>,
    },
    Store {
        tensor: usize,
        dtype: DType,
        index: Vec<Index>,
        src: Value,
    },
    Map {
        expr: Value,
    },
    Reduce {
        kind: ReduceKind,
        accumulate: bool,
        expr: Value,
    },
    /// `dst`, `a`, `b` are accesses 0, 1, 2.
    Contract {
        accumulate: bool,
    },
    Scan {
        along: usize,
        kind: ScanKind,
        every: Option<usize>,
        exclusive: bool,
        reverse: bool,
        expr: Value,
    },
}

/// A statement over local axes. Access 0 is the destination, except in a store.
pub struct Tile<'k> {
    pub stmt: &'k Stmt,
    pub kind: Kind,
    pub extents: Vec<usize>,
    /// Slots of the local axes.
    pub slots: Vec<usize>,
    pub accesses: Vec<Placed>,
}

pub enum Op<'k> {
    For {
        stmt: &'k Stmt,
        slot: usize,
        lo: Index,
        hi: Index,
        reverse: bool,
        body: Vec<Op<'k>>,
    },
    If {
        stmt: &'k Stmt,
        left: Index,
        compare: Compare,
        right: Index,
        then: Vec<Op<'k>>,
        otherwise: Vec<Op<'k>>,
    },
    Tile(Tile<'k>),
}

/// An element of an integer tensor, for all of a grid point.
pub struct Element {
    pub slot: usize,
    pub tensor: usize,
    pub index: Vec<Index>,
}

pub struct Plan<'k> {
    /// Extents of the grid; coordinate n is in slot n.
    pub grid: Vec<i64>,
    pub slots: usize,
    pub elements: Vec<Element>,
    pub body: Vec<Op<'k>>,
}
