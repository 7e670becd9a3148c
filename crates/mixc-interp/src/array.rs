//! Values that go in and out.

use crate::EvalError;
use mixc_ir::Name;
use std::collections::BTreeMap;

/// A dense tensor, row-major.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Array {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

/// Elements that one tensor may have; more is taken for a mistake in the sizes.
const MAX_ELEMENTS: usize = 1 << 28;

impl Array {
    pub fn new(shape: Vec<usize>, data: Vec<f64>) -> Array {
        Array { shape, data }
    }

    /// Every element `value`.
    ///
    /// # Errors
    /// If the tensor would have more than 2^28 elements.
    pub fn filled(shape: Vec<usize>, value: f64) -> Result<Array, EvalError> {
        let data = vec![value; volume(&shape)?];
        Ok(Array { shape, data })
    }

    /// The element at `index`; None outside the bounds.
    pub fn at(&self, index: &[usize]) -> Option<f64> {
        if index.len() != self.shape.len() || index.iter().zip(&self.shape).any(|(i, n)| i >= n) {
            return None;
        }
        let offset = index
            .iter()
            .zip(&self.shape)
            .fold(0, |offset, (i, n)| offset * n + i);
        self.data.get(offset).copied()
    }
}

/// What a program is applied to.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Inputs {
    pub tensors: BTreeMap<Name, Array>,
    pub scalars: BTreeMap<Name, f64>,
    /// Symbols that do not follow from the shapes: the sizes of splits, such as `C`.
    pub sizes: BTreeMap<Name, i64>,
}

/// Number of elements of a shape.
pub(crate) fn volume(shape: &[usize]) -> Result<usize, EvalError> {
    if shape.contains(&0) {
        return Ok(0);
    }
    shape
        .iter()
        .try_fold(1usize, |all, n| all.checked_mul(*n))
        .filter(|all| *all <= MAX_ELEMENTS)
        .ok_or_else(|| EvalError::TooLarge {
            shape: shape.to_vec(),
        })
}

/// Row-major strides in elements.
pub(crate) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for n in (1..shape.len()).rev() {
        strides[n - 1] = strides[n] * shape[n];
    }
    strides
}
