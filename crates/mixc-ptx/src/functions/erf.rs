//! The error function.

use super::exponential::nearer_than;
use super::{Accuracy, ex2, polynomial, with_sign};
use crate::emit::{Emit, Val};
use std::f32::consts::FRAC_1_SQRT_2;

/// An odd polynomial up to 1, 1 - 2^-p(|x|) further out, where p approximates -log2(erfc).
pub(super) fn erf(e: &mut Emit, accuracy: Accuracy, x: Val) -> Val {
    let (near, far): (&[f32], &[f32]) = match accuracy {
        Accuracy::Full => (
            &[
                std::f32::consts::FRAC_2_SQRT_PI,
                -0.376_124_65,
                0.112_823_27,
                -0.026_811_404,
                0.005_118_593_6,
                -7.458_386e-4,
                6.171_297e-5,
            ],
            &[
                3.530_606_6e-4,
                1.626_602_5,
                0.919_742_64,
                0.149_521_44,
                -0.031_865_81,
                0.004_340_438_6,
                -2.776_182e-4,
            ],
        ),
        Accuracy::Fast => (
            &[
                1.128_377_9,
                -0.376_064_48,
                0.112_342_92,
                -0.025_449_34,
                0.003_494_738_1,
            ],
            &[
                0.011_097_514,
                1.583_679_9,
                0.987_797_1,
                0.095_378_526,
                -0.009_538_088,
            ],
        ),
    };
    let square = e.fmul(x, x);
    let p = polynomial(e, square, near);
    let near = e.fmul(p, x);
    // Beyond 4 the result is 1. NaN stays.
    let size = e.fabs(x);
    let (minus, one, four) = (e.f32(-1.0), e.f32(1.0), e.f32(4.0));
    let size = e.fmin_nan(size, four);
    let p = polynomial(e, size, far);
    let p = e.fneg(p);
    let power = ex2(e, p);
    let far = e.fma(power, minus, one);
    let far = with_sign(e, far, x);
    nearer_than(e, 1.0, x, near, far)
}

/// x (1 + erf(x / sqrt 2)) / 2.
pub(super) fn gelu(e: &mut Emit, accuracy: Accuracy, x: Val) -> Val {
    let (root, half) = (e.f32(FRAC_1_SQRT_2), e.f32(0.5));
    let scaled = e.fmul(x, root);
    let inner = erf(e, accuracy, scaled);
    let half = e.fmul(x, half);
    e.fma(half, inner, half)
}
