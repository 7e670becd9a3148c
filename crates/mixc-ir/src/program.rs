//! Programs: declarations and statements around terms.

use crate::{Ix, Name, T};
use std::collections::BTreeMap;

/// Element type of a tensor in memory. Arithmetic is in f32 whatever is stored.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    F32,
    F16,
    Bf16,
    F64,
    I32,
    I64,
    Bool,
}

impl DType {
    pub fn size_bytes(self) -> usize {
        match self {
            DType::F64 | DType::I64 => 8,
            DType::F32 | DType::I32 => 4,
            DType::F16 | DType::Bf16 => 2,
            DType::Bool => 1,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::Bf16 => "bf16",
            DType::F64 => "f64",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::Bool => "bool",
        }
    }

    pub fn by_name(name: &str) -> Option<DType> {
        use DType::*;
        [F32, F16, Bf16, F64, I32, I64, Bool]
            .into_iter()
            .find(|d| d.name() == name)
    }
}

/// What the values of an input are, apart from how they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Real,
    Int,
    Bool,
}

/// An input tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub name: Name,
    pub kind: Kind,
    /// One size per axis, in the declared order.
    pub shape: Vec<Ix>,
    /// The letters that the declaration gives the axes (`B`, `H`, `T`, `K`), for layouts and messages.
    pub axis_names: Vec<Name>,
    /// Declared range of the values, [-inf, inf] if none.
    pub range: (f64, f64),
    /// Value of every element if the tensor is not given; None if it must be given.
    pub default: Option<f64>,
}

/// A scalar parameter. Integer ones can be used in sizes and indices, as [`Ix::Dim`].
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar {
    pub name: Name,
    pub kind: Kind,
    /// Over sizes and earlier scalars; None if it must be given.
    pub default: Option<T>,
    pub range: (f64, f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    Eq,
    Le,
    Lt,
}

/// A condition on sizes, checked when sizes are known.
#[derive(Clone, Debug, PartialEq)]
pub struct Constraint {
    pub left: Ix,
    pub relation: Relation,
    pub right: Ix,
}

/// `axis = outer * size + inner`, with `inner < size`. Where the size does not divide the axis,
/// positions at or past the end of the axis do not exist: reductions, scans and merges skip them.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    pub axis: Name,
    pub outer: Name,
    pub inner: Name,
    /// Usually a tunable size that is not among the program's dims, e.g. `$C`.
    pub size: Ix,
}

/// `name[axes] = value`.
#[derive(Clone, Debug, PartialEq)]
pub struct Let {
    pub name: Name,
    pub axes: Vec<Name>,
    pub value: T,
}

/// A state that a scan carries from step to step.
#[derive(Clone, Debug, PartialEq)]
pub struct Carry {
    /// Read under this name in the body: the state before the step.
    pub name: Name,
    pub axes: Vec<Name>,
    pub init: T,
    /// The body's let, over the same axes, that is the state after the step.
    pub next: Name,
    /// Name of the state after the last step, for statements behind the scan.
    pub last: Name,
}

/// Sequential steps along `axis`, from its end if `reverse`. A let of the body whose axes contain
/// `axis` is collected: statements behind the scan read it as a whole tensor, and the body reads
/// what earlier steps wrote (0 where nothing is written yet). Other lets live for one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    pub axis: Name,
    pub reverse: bool,
    pub carries: Vec<Carry>,
    pub body: Vec<Let>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Stmt {
    Let(Let),
    Scan(Scan),
}

/// A result: the value of the let, the collected let or the carry's `last` called `name`.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub name: Name,
    /// Axes in the order of storage.
    pub axes: Vec<Name>,
    pub axis_names: Vec<Name>,
}

/// A mixer, or a form of one: a function from input tensors and scalars to output tensors.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Program {
    pub name: String,
    /// The doc comment: what it is, and the paper.
    pub doc: String,
    /// Size symbols, in order of appearance. Their values follow from the inputs.
    pub dims: Vec<Name>,
    pub constraints: Vec<Constraint>,
    pub tensors: Vec<Tensor>,
    pub scalars: Vec<Scalar>,
    /// Size of every axis that occurs in the body.
    pub axes: BTreeMap<Name, Ix>,
    pub splits: Vec<Split>,
    pub body: Vec<Stmt>,
    pub outputs: Vec<Output>,
}

impl Program {
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|t| &*t.name == name)
    }

    pub fn scalar(&self, name: &str) -> Option<&Scalar> {
        self.scalars.iter().find(|s| &*s.name == name)
    }

    /// Every let, those inside scans included.
    pub fn lets(&self) -> impl Iterator<Item = &Let> {
        self.body.iter().flat_map(|s| match s {
            Stmt::Let(l) => std::slice::from_ref(l),
            Stmt::Scan(s) => s.body.as_slice(),
        })
    }

    /// The split that made `axis` its outer or inner part.
    pub fn split_of(&self, axis: &str) -> Option<&Split> {
        self.splits
            .iter()
            .find(|s| &*s.outer == axis || &*s.inner == axis)
    }
}
