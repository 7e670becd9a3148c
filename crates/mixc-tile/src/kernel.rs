//! The types of the tile IR.

use mixc_ir::{DType, Func, Ix, Name};

/// One kernel.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Kernel {
    pub name: String,
    /// Run-time integers: sizes (`T`) and integer scalar parameters. [`Ix::Dim`] refers to them.
    pub dims: Vec<Name>,
    /// Run-time real scalar parameters, f32.
    pub scalars: Vec<Name>,
    /// Tensors in global memory, in the order in which the caller passes them.
    pub tensors: Vec<TensorArg>,
    pub bufs: Vec<Buf>,
    /// Parallel axes; the point's coordinates are [`Ix::Axis`] in the body.
    pub grid: Vec<GridAxis>,
    pub body: Vec<Stmt>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Usage {
    In,
    Out,
    /// Written and read within one launch sequence: scratch that outlives a kernel.
    Work,
}

/// A tensor argument. Its strides are run-time values (in elements, any sign of order), one for each
/// dimension; `unit_inner` promises that the last one is 1.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorArg {
    pub name: Name,
    pub dtype: DType,
    pub usage: Usage,
    /// Size of each dimension over `dims` and constants: the bounds of loads and stores.
    pub shape: Vec<Ix>,
    pub unit_inner: bool,
}

/// Where a buffer lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// Shared by the threads that work on one grid point (a CPU: the thread's scratch memory).
    Shared,
    /// Spread over the registers of those threads (a CPU: scratch memory as well).
    Register,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufId(pub u32);

/// A buffer of f32 with constant extents. Its contents are undefined until written.
#[derive(Clone, Debug, PartialEq)]
pub struct Buf {
    pub name: Name,
    pub shape: Vec<usize>,
    pub space: Space,
}

#[derive(Clone, Debug, PartialEq)]
pub struct GridAxis {
    pub name: Name,
    pub extent: Ix,
}

/// A local axis of a statement: a name and how many values it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    pub name: Name,
    pub extent: usize,
}

/// What indexes one dimension of a buffer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A local axis, whose extent is at most the dimension's.
    Axis(Name),
    /// A position known at run time from loop variables, grid axes and dims (not local axes).
    At(Ix),
}

/// An element of a buffer for each value of the local axes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    pub buf: BufId,
    pub places: Vec<Place>,
}

/// One index of a load from a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum LoadIx {
    /// Over local axes, loop variables, grid axes and dims.
    Ix(Ix),
    /// A value in a buffer, rounded to the nearest integer: a gather.
    Gather(Access),
}

/// A scalar expression for each value of the local axes.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    Const(f32),
    Scalar(Name),
    Elem(Access),
    /// An integer expression over local axes, loop variables, grid axes and dims, as f32.
    Index(Ix),
    Add(Box<Expr>, Box<Expr>),
    Mul(Box<Expr>, Box<Expr>),
    Call(Func, Vec<Expr>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceKind {
    Sum,
    Max,
    Min,
    Prod,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScanKind {
    Sum,
    Prod,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compare {
    Lt,
    Le,
    Eq,
}

/// A condition on integers: the same for all local axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Cond {
    pub left: Ix,
    pub compare: Compare,
    pub right: Ix,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Stmt {
    /// Sequential: `var` takes lo, lo + 1, ... below hi (from the top down if `reverse`).
    For {
        var: Name,
        lo: Ix,
        hi: Ix,
        reverse: bool,
        body: Vec<Stmt>,
    },
    If {
        cond: Cond,
        then: Vec<Stmt>,
        otherwise: Vec<Stmt>,
    },
    /// `dst = tensor[index]` over the local axes; 0 outside the tensor's bounds.
    Load {
        axes: Vec<Axis>,
        dst: Access,
        tensor: Name,
        index: Vec<LoadIx>,
    },
    /// `tensor[index] = src` over the local axes; elements outside the bounds are dropped.
    Store {
        axes: Vec<Axis>,
        tensor: Name,
        index: Vec<Ix>,
        src: Expr,
    },
    /// dst = expr, elementwise over the local axes. `dst` may be read in `expr` at the same place only.
    Map {
        axes: Vec<Axis>,
        dst: Access,
        expr: Expr,
    },
    /// dst = reduction of expr over the axes that `dst` lacks; with `accumulate`, of dst and those.
    Reduce {
        axes: Vec<Axis>,
        kind: ReduceKind,
        accumulate: bool,
        dst: Access,
        expr: Expr,
    },
    /// dst (+)= sum of a * b over the axes that `dst` lacks: a matrix product. Each local axis occurs
    /// in exactly two of the three, or in all (a batch axis).
    Contract {
        axes: Vec<Axis>,
        accumulate: bool,
        dst: Access,
        a: Access,
        b: Access,
    },
    /// dst = running sum or product of expr along `along`, up to and with each position; without it
    /// if `exclusive`; from the end if `reverse`. It starts anew in every segment of `every` positions (a power
    /// of 2), counted from position 0.
    Scan {
        axes: Vec<Axis>,
        along: Name,
        kind: ScanKind,
        every: Option<usize>,
        exclusive: bool,
        reverse: bool,
        dst: Access,
        expr: Expr,
    },
}
