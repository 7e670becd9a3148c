//! Tensors in the interpreter's global memory.

use mixc_ir::DType;

/// A strided view of f32 values. `data` starts at the lowest address that the view reaches, so with
/// negative strides element 0 lies further in (see [`TensorData::origin`]).
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TensorData {
    pub shape: Vec<usize>,
    /// In elements, one for each dimension.
    pub strides: Vec<isize>,
    pub data: Vec<f32>,
}

impl TensorData {
    /// A row-major tensor. `data` must hold the product of `shape` values; [`crate::interpret`]
    /// reports it if it does not.
    pub fn new(shape: &[usize], data: Vec<f32>) -> TensorData {
        let mut strides = vec![1isize; shape.len()];
        for d in (1..shape.len()).rev() {
            strides[d - 1] = strides[d] * shape[d].max(1) as isize;
        }
        TensorData {
            shape: shape.to_vec(),
            strides,
            data,
        }
    }

    /// A row-major tensor with the same value everywhere: NaN for an output shows what was not written.
    pub fn filled(shape: &[usize], value: f32) -> TensorData {
        TensorData::new(shape, vec![value; shape.iter().product()])
    }

    /// Offset of element [0, 0, ...] in `data`.
    pub fn origin(&self) -> isize {
        let back = |(n, s): (&usize, &isize)| match s.checked_neg() {
            Some(step) if step > 0 => step.saturating_mul(n.saturating_sub(1) as isize),
            _ => 0,
        };
        self.shape
            .iter()
            .zip(&self.strides)
            .map(back)
            .fold(0, isize::saturating_add)
    }

    /// Offset of an element in `data`; None outside the bounds.
    pub fn offset(&self, index: &[i64]) -> Option<usize> {
        let mut at = self.origin();
        for ((i, n), stride) in index.iter().zip(&self.shape).zip(&self.strides) {
            if *i < 0 || *i >= *n as i64 {
                return None;
            }
            at += *i as isize * stride;
        }
        usize::try_from(at).ok()
    }

    /// The element, 0 outside the bounds.
    pub fn get(&self, index: &[i64]) -> f32 {
        self.offset(index)
            .and_then(|at| self.data.get(at))
            .copied()
            .unwrap_or(0.0)
    }

    /// Number of values that `data` must hold for the view to stay inside it.
    pub fn span(&self) -> usize {
        if self.shape.contains(&0) {
            return 0;
        }
        let reach = |(n, s): (&usize, &isize)| (n - 1).saturating_mul(s.unsigned_abs());
        self.shape
            .iter()
            .zip(&self.strides)
            .map(reach)
            .fold(1, usize::saturating_add)
    }
}

/// What a value becomes in memory: the nearest value of the element type (ties to even), widened
/// back to f32. Integers saturate and NaN becomes 0; a boolean is whether the value is not 0.
pub fn round_to(dtype: DType, value: f32) -> f32 {
    match dtype {
        DType::F32 | DType::F64 => value,
        DType::F16 => half::f16::from_f32(value).to_f32(),
        DType::Bf16 => half::bf16::from_f32(value).to_f32(),
        DType::I32 => value.round_ties_even() as i32 as f32,
        DType::I64 => value.round_ties_even() as i64 as f32,
        DType::Bool => f32::from(value != 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_strides_start_inside_the_data() {
        let t = TensorData {
            shape: vec![2, 3],
            strides: vec![3, -1],
            data: (0..6).map(|v| v as f32).collect(),
        };
        assert_eq!(
            [
                t.get(&[0, 0]),
                t.get(&[0, 2]),
                t.get(&[1, 0]),
                t.get(&[1, 3])
            ],
            [2.0, 0.0, 5.0, 0.0]
        );
        assert_eq!(t.span(), 6);
    }

    #[test]
    fn storing_rounds_to_nearest_even() {
        // bf16 keeps 8 bits of precision: 257 lies between 256 and 258, 259 between 258 and 260.
        assert_eq!(
            [round_to(DType::Bf16, 257.0), round_to(DType::Bf16, 259.0)],
            [256.0, 260.0]
        );
        assert_eq!(round_to(DType::F16, 2049.0), 2048.0);
        assert_eq!(
            [round_to(DType::I32, 2.5), round_to(DType::Bool, f32::NAN)],
            [2.0, 1.0]
        );
    }
}
