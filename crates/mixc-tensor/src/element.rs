//! One element of each type, to and from f64. Narrowing rounds once, to the nearest, ties to even.

use half::{bf16, f16};
use mixc_ir::DType;

/// Reads the element that starts at `bytes[0]`.
pub(crate) fn read(dtype: DType, bytes: &[u8]) -> f64 {
    fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(&bytes[..N]);
        out
    }
    match dtype {
        DType::F64 => f64::from_le_bytes(array(bytes)),
        DType::F32 => f32::from_le_bytes(array(bytes)).into(),
        DType::F16 => f16::from_le_bytes(array(bytes)).into(),
        DType::Bf16 => bf16::from_le_bytes(array(bytes)).into(),
        DType::I32 => i32::from_le_bytes(array(bytes)).into(),
        DType::I64 => i64::from_le_bytes(array(bytes)) as f64,
        DType::Bool => f64::from(bytes[0] != 0),
    }
}

/// Writes `value`, rounded to `dtype`. Integers round to the nearest and saturate; a boolean is
/// whether the value is not 0.
pub(crate) fn write(dtype: DType, value: f64, bytes: &mut [u8]) {
    match dtype {
        DType::F64 => bytes[..8].copy_from_slice(&value.to_le_bytes()),
        DType::F32 => bytes[..4].copy_from_slice(&(value as f32).to_le_bytes()),
        DType::F16 => bytes[..2].copy_from_slice(&f16::from_f32(to_odd_f32(value)).to_le_bytes()),
        DType::Bf16 => bytes[..2].copy_from_slice(&bf16::from_f32(to_odd_f32(value)).to_le_bytes()),
        DType::I32 => bytes[..4].copy_from_slice(&(value.round_ties_even() as i32).to_le_bytes()),
        DType::I64 => bytes[..8].copy_from_slice(&(value.round_ties_even() as i64).to_le_bytes()),
        DType::Bool => bytes[0] = u8::from(value != 0.0),
    }
}

/// The nearest value that `dtype` can hold.
pub fn round_to(dtype: DType, value: f64) -> f64 {
    let mut bytes = [0; 8];
    write(dtype, value, &mut bytes);
    read(dtype, &bytes)
}

/// The nearest f32.
pub fn round_to_f32(value: f64) -> f64 {
    f64::from(value as f32)
}

/// f64 to f32, rounded to odd: an inexact result gets an odd last bit, so that rounding it again to
/// a type of at most 22 bits of precision equals rounding once (Boldo & Melquiond 2008).
fn to_odd_f32(value: f64) -> f32 {
    let nearest = value as f32;
    if nearest.is_nan() || f64::from(nearest) == value || nearest.to_bits() & 1 == 1 {
        return nearest;
    }
    // The two neighbours of an inexact value differ in the last bit; take the odd one.
    let up = (f64::from(nearest) < value) == (value > 0.0);
    f32::from_bits(if up {
        nearest.to_bits() + 1
    } else {
        nearest.to_bits() - 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The values on both sides of `x` in a 16-bit format, by walking bit patterns.
    fn nearest_by_search(dtype: DType, x: f64) -> f64 {
        let decode = |bits: u16| read(dtype, &bits.to_le_bytes());
        let (mut best, mut best_bits) = (f64::INFINITY, 0u16);
        for bits in 0..=u16::MAX {
            let y = decode(bits);
            if !y.is_finite() {
                continue;
            }
            let distance = (y - x).abs();
            let old = (best - x).abs();
            if distance < old || (distance == old && bits & 1 == 0 && best_bits & 1 == 1) {
                (best, best_bits) = (y, bits);
            }
        }
        best
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn sixteen_bit_rounding_is_to_the_nearest_even(m in -2.0f64..2.0, e in -10i32..12) {
            let x = m * f64::from(e).exp2();
            for dtype in [DType::F16, DType::Bf16] {
                prop_assert_eq!(round_to(dtype, x), nearest_by_search(dtype, x));
            }
        }
    }

    #[test]
    fn a_tie_that_f32_would_hide_is_rounded_once() {
        // Just above the midpoint of 1 and 1 + 2^-7; rounding through f32 would make it a tie.
        let x = 1.0 + 2f64.powi(-8) + 2f64.powi(-40);
        assert_eq!(round_to(DType::Bf16, x), 1.0 + 2f64.powi(-7));
        assert_eq!(round_to(DType::Bf16, -x), -1.0 - 2f64.powi(-7));
        assert_eq!(round_to(DType::Bf16, 1.0 + 2f64.powi(-8)), 1.0);
        let y = 1.0 + 2f64.powi(-11) + 2f64.powi(-40);
        assert_eq!(round_to(DType::F16, y), 1.0 + 2f64.powi(-10));
    }

    #[test]
    fn special_values_survive() {
        for dtype in [DType::F64, DType::F32, DType::F16, DType::Bf16] {
            assert!(round_to(dtype, f64::NAN).is_nan());
            assert_eq!(round_to(dtype, f64::NEG_INFINITY), f64::NEG_INFINITY);
            assert_eq!(round_to(dtype, 0.0), 0.0);
        }
        assert_eq!(round_to(DType::F16, 1e9), f64::INFINITY);
        assert_eq!(round_to(DType::I32, 1e12), f64::from(i32::MAX));
        assert_eq!(round_to(DType::Bool, 7.0), 1.0);
    }
}
