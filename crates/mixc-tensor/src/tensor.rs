//! The tensor type.

use crate::element;
use crate::memory::AlignedBytes;
use mixc_ir::DType;
use std::sync::Arc;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TensorError {
    #[error("{found} values do not fill a tensor of shape {shape:?}, which has {expected}")]
    Length {
        shape: Vec<usize>,
        expected: usize,
        found: usize,
    },
    #[error("{order:?} is not an order of the axes of shape {shape:?}")]
    Order {
        order: Vec<Option<usize>>,
        shape: Vec<usize>,
    },
}

/// A tensor in host memory: shape, strides in elements, and shared bytes. Views share memory;
/// writing to a shared tensor copies it first.
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    strides: Vec<isize>,
    bytes: Arc<AlignedBytes>,
}

impl Tensor {
    /// Zeros, the last axis contiguous.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Tensor {
        let elements: usize = shape.iter().product();
        Tensor {
            dtype,
            shape: shape.to_vec(),
            strides: row_major(shape),
            bytes: Arc::new(AlignedBytes::zeroed(elements * dtype.size_bytes())),
        }
    }

    /// From values in row-major order, each rounded to `dtype`.
    pub fn from_f64(dtype: DType, shape: &[usize], values: &[f64]) -> Result<Tensor, TensorError> {
        let mut tensor = Tensor::zeros(dtype, shape);
        check_length(shape, values.len())?;
        for (value, slot) in values
            .iter()
            .zip(tensor.bytes_mut().chunks_exact_mut(dtype.size_bytes()))
        {
            element::write(dtype, *value, slot);
        }
        Ok(tensor)
    }

    /// From little-endian elements in row-major order.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Tensor, TensorError> {
        check_length(shape, bytes.len() / dtype.size_bytes())?;
        let bytes = Arc::new(AlignedBytes::copy_of(bytes));
        Ok(Tensor {
            dtype,
            shape: shape.to_vec(),
            strides: row_major(shape),
            bytes,
        })
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Distance between neighbours along each axis, in elements.
    pub fn strides(&self) -> &[isize] {
        &self.strides
    }

    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether memory holds the elements in row-major order without gaps.
    pub fn is_contiguous(&self) -> bool {
        let wanted = row_major(&self.shape);
        let same = |axis: usize| self.shape[axis] <= 1 || self.strides[axis] == wanted[axis];
        self.is_empty() || (0..self.rank()).all(same)
    }

    /// The memory; element `index` lies at `sum(index * strides)` elements.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// The memory for writing, copied first if a view shares it.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        Arc::make_mut(&mut self.bytes).as_mut_slice()
    }

    /// The memory as elements of `E`, whose size must be the dtype's.
    ///
    /// # Panics
    /// "bug:" if the size of `E` is not that of the element type.
    pub fn elements<E: bytemuck::Pod>(&self) -> &[E] {
        assert_eq!(
            size_of::<E>(),
            self.dtype.size_bytes(),
            "bug: element type of another size"
        );
        bytemuck::cast_slice(self.bytes())
    }

    /// Like [`Tensor::elements`], for writing.
    pub fn elements_mut<E: bytemuck::Pod>(&mut self) -> &mut [E] {
        assert_eq!(
            size_of::<E>(),
            self.dtype.size_bytes(),
            "bug: element type of another size"
        );
        bytemuck::cast_slice_mut(self.bytes_mut())
    }

    /// The element at `index`, which must lie inside the shape.
    pub fn get(&self, index: &[usize]) -> f64 {
        let at: isize = index
            .iter()
            .zip(&self.strides)
            .map(|(i, s)| *i as isize * s)
            .sum();
        element::read(
            self.dtype,
            &self.bytes()[at as usize * self.dtype.size_bytes()..],
        )
    }

    /// All elements in row-major order of the shape, whatever the strides.
    pub fn to_f64(&self) -> Vec<f64> {
        let size = self.dtype.size_bytes();
        if self.is_contiguous() {
            let bytes = &self.bytes()[..self.len() * size];
            return bytes
                .chunks_exact(size)
                .map(|b| element::read(self.dtype, b))
                .collect();
        }
        let mut values = Vec::with_capacity(self.len());
        self.for_each_offset(|at| {
            values.push(element::read(self.dtype, &self.bytes()[at * size..]))
        });
        values
    }

    /// The same values with another element type, contiguous.
    pub fn to_dtype(&self, dtype: DType) -> Tensor {
        let mut new = Tensor::zeros(dtype, &self.shape);
        let size = self.dtype.size_bytes();
        let mut slots = Arc::make_mut(&mut new.bytes)
            .as_mut_slice()
            .chunks_exact_mut(dtype.size_bytes());
        self.for_each_offset(|at| {
            if let Some(slot) = slots.next() {
                element::write(
                    dtype,
                    element::read(self.dtype, &self.bytes()[at * size..]),
                    slot,
                );
            }
        });
        new
    }

    /// The same tensor with its elements in row-major order.
    pub fn contiguous(&self) -> Tensor {
        if self.is_contiguous() {
            return self.clone();
        }
        let mut new = Tensor::zeros(self.dtype, &self.shape);
        let size = self.dtype.size_bytes();
        let mut slots = Arc::make_mut(&mut new.bytes)
            .as_mut_slice()
            .chunks_exact_mut(size);
        self.for_each_offset(|at| {
            if let Some(slot) = slots.next() {
                slot.copy_from_slice(&self.bytes()[at * size..][..size]);
            }
        });
        new
    }

    /// A view with axis `order[n]` of this tensor as its axis `n`; shares memory.
    pub fn permuted(&self, order: &[usize]) -> Result<Tensor, TensorError> {
        self.rearranged(&order.iter().map(|&axis| Some(axis)).collect::<Vec<_>>())
    }

    /// A view with axis `axes[n]` of this tensor as its axis `n`, or a new axis of size 1 where that
    /// is None. Axes that are not named are dropped and must have size 1. Shares memory.
    pub fn rearranged(&self, axes: &[Option<usize>]) -> Result<Tensor, TensorError> {
        let named = |axis: usize| axes.iter().filter(|a| **a == Some(axis)).count();
        let fits = axes.iter().flatten().all(|&a| a < self.rank())
            && (0..self.rank()).all(|a| named(a) == 1 || (named(a) == 0 && self.shape[a] == 1));
        if !fits {
            return Err(TensorError::Order {
                order: axes.to_vec(),
                shape: self.shape.clone(),
            });
        }
        Ok(Tensor {
            dtype: self.dtype,
            shape: axes
                .iter()
                .map(|a| a.map_or(1, |a| self.shape[a]))
                .collect(),
            strides: axes
                .iter()
                .map(|a| a.map_or(1, |a| self.strides[a]))
                .collect(),
            bytes: self.bytes.clone(),
        })
    }

    /// The same contiguous elements under another shape.
    pub fn reshaped(&self, shape: &[usize]) -> Result<Tensor, TensorError> {
        check_length(shape, self.len())?;
        Ok(Tensor {
            shape: shape.to_vec(),
            strides: row_major(shape),
            ..self.contiguous()
        })
    }

    /// Calls `f` with the element offset of every element, in row-major order of the shape.
    fn for_each_offset(&self, mut f: impl FnMut(usize)) {
        if self.is_empty() {
            return;
        }
        let mut index = vec![0; self.rank()];
        let mut at = 0isize;
        loop {
            f(at as usize);
            let mut axis = self.rank();
            loop {
                if axis == 0 {
                    return;
                }
                axis -= 1;
                index[axis] += 1;
                at += self.strides[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                at -= self.shape[axis] as isize * self.strides[axis];
                index[axis] = 0;
            }
        }
    }
}

/// Type and shape, then the first few values.
impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{:?}", self.dtype.name(), self.shape)?;
        let shown = 8.min(self.len());
        let values = self.to_f64();
        write!(
            f,
            " {:?}{}",
            &values[..shown],
            if shown < values.len() { " ..." } else { "" }
        )
    }
}

fn row_major(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis] as isize;
    }
    strides
}

fn check_length(shape: &[usize], found: usize) -> Result<(), TensorError> {
    let expected = shape.iter().product();
    if expected == found {
        Ok(())
    } else {
        Err(TensorError::Length {
            shape: shape.to_vec(),
            expected,
            found,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permuted_view_shares_memory_and_reads_transposed() {
        let t = Tensor::from_f64(DType::F32, &[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        let v = t.permuted(&[1, 0]).unwrap();
        assert_eq!((v.shape(), v.strides()), (&[3, 2][..], &[1, 3][..]));
        assert_eq!(v.to_f64(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert!(std::ptr::eq(v.bytes(), t.bytes()));
        assert!(!v.is_contiguous());
        assert_eq!(
            v.contiguous().elements::<f32>(),
            [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]
        );
        assert_eq!(v.get(&[2, 1]), 5.0);
    }

    #[test]
    fn writing_to_a_view_leaves_the_original() {
        let t = Tensor::from_f64(DType::F64, &[2], &[1.0, 2.0]).unwrap();
        let mut v = t.clone();
        v.elements_mut::<f64>()[0] = 9.0;
        assert_eq!((t.to_f64(), v.to_f64()), (vec![1.0, 2.0], vec![9.0, 2.0]));
    }

    #[test]
    fn memory_is_aligned_and_empty_tensors_are_harmless() {
        for len in [1, 3, 1000] {
            assert_eq!(
                Tensor::zeros(DType::Bf16, &[len]).bytes().as_ptr() as usize % 64,
                0
            );
        }
        let empty = Tensor::zeros(DType::F32, &[2, 0, 3]);
        assert!(empty.is_contiguous() && empty.to_f64().is_empty());
        assert!(empty.permuted(&[2, 0, 1]).unwrap().contiguous().is_empty());
        assert_eq!(
            Tensor::from_f64(DType::F32, &[], &[4.0]).unwrap().get(&[]),
            4.0
        );
    }

    #[test]
    fn axes_of_size_1_can_be_dropped_and_added() {
        let t = Tensor::from_f64(DType::F32, &[2, 1, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        let v = t.rearranged(&[Some(2), None, Some(0)]).unwrap();
        assert_eq!(v.shape(), [3, 1, 2]);
        assert_eq!(v.to_f64(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert!(t.rearranged(&[Some(2), Some(1)]).is_err());
    }

    #[test]
    fn wrong_lengths_and_orders_are_errors() {
        assert!(Tensor::from_f64(DType::F32, &[2, 2], &[1.0]).is_err());
        let t = Tensor::zeros(DType::F32, &[2, 2]);
        assert!(
            t.permuted(&[0, 0]).is_err()
                && t.permuted(&[0]).is_err()
                && t.permuted(&[0, 2]).is_err()
        );
        assert!(t.reshaped(&[3]).is_err());
    }
}
