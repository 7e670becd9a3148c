//! How far a result is from its reference.

use crate::Tensor;

/// The distance between a result and a reference of the same shape.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Comparison {
    /// ||out - ref|| / ||ref||; the absolute norm where the reference is 0, infinite where a
    /// value that is not finite differs.
    pub rel_err: f64,
    /// The largest elementwise difference, by the same convention.
    pub max_abs_err: f64,
    /// Row-major position of the largest difference.
    pub worst: Option<usize>,
}

impl Comparison {
    pub fn within(&self, tolerance: f64) -> bool {
        self.rel_err <= tolerance
    }
}

/// Compares two tensors; None if their shapes differ.
///
/// Equal infinities (the log-sum-exp of a row without keys) count as equal and take no part in the
/// norms. NaN never equals anything.
pub fn compare(out: &Tensor, reference: &Tensor) -> Option<Comparison> {
    (out.shape() == reference.shape()).then(|| compare_values(&out.to_f64(), &reference.to_f64()))
}

fn compare_values(out: &[f64], reference: &[f64]) -> Comparison {
    let (mut difference, mut norm) = (Norm::default(), Norm::default());
    let (mut max_abs_err, mut worst) = (0.0, None);
    for (at, (&x, &r)) in out.iter().zip(reference).enumerate() {
        if x == r && x.is_infinite() {
            continue;
        }
        let error = (x - r).abs();
        let error = if error.is_nan() { f64::INFINITY } else { error };
        if error > max_abs_err {
            (max_abs_err, worst) = (error, Some(at));
        }
        difference.add(error);
        norm.add(r);
    }
    let (difference, norm) = (difference.value(), norm.value());
    let rel_err = if difference.is_infinite() || norm == 0.0 {
        difference
    } else {
        difference / norm
    };
    Comparison {
        rel_err,
        max_abs_err,
        worst,
    }
}

/// A Euclidean norm that squares cannot overflow (Blue 1978, the scaled form of BLAS `nrm2`).
#[derive(Default)]
struct Norm {
    scale: f64,
    sum: f64,
}

impl Norm {
    fn add(&mut self, x: f64) {
        let x = x.abs();
        if x == 0.0 {
            return;
        }
        if x > self.scale {
            self.sum = 1.0
                + if x.is_infinite() {
                    0.0
                } else {
                    self.sum * (self.scale / x).powi(2)
                };
            self.scale = x;
        } else if self.scale.is_finite() {
            self.sum += (x / self.scale).powi(2);
        }
    }

    fn value(&self) -> f64 {
        self.scale * self.sum.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::compare_values;

    #[test]
    fn relative_error_is_the_ratio_of_norms() {
        let c = compare_values(&[3.0, 4.5], &[3.0, 4.0]);
        assert_eq!((c.rel_err, c.max_abs_err, c.worst), (0.1, 0.5, Some(1)));
    }

    #[test]
    fn equal_infinities_are_equal_and_others_are_not() {
        let minus = f64::NEG_INFINITY;
        assert_eq!(compare_values(&[minus, 1.0], &[minus, 1.0]).rel_err, 0.0);
        assert_eq!(
            compare_values(&[0.0, 1.0], &[minus, 1.0]).rel_err,
            f64::INFINITY
        );
        assert_eq!(
            compare_values(&[minus, 1.0], &[0.0, 1.0]).rel_err,
            f64::INFINITY
        );
        assert_eq!(
            compare_values(&[-minus], &[minus]).max_abs_err,
            f64::INFINITY
        );
    }

    #[test]
    fn nan_never_equals() {
        assert_eq!(
            compare_values(&[f64::NAN], &[f64::NAN]).rel_err,
            f64::INFINITY
        );
        assert_eq!(
            compare_values(&[1.0, 0.0], &[f64::NAN, 0.0]).rel_err,
            f64::INFINITY
        );
    }

    #[test]
    fn a_zero_reference_gives_the_absolute_norm() {
        assert_eq!(compare_values(&[3.0, 4.0], &[0.0, 0.0]).rel_err, 5.0);
        assert_eq!(compare_values(&[], &[]).rel_err, 0.0);
    }

    #[test]
    fn large_values_do_not_overflow() {
        assert!(
            (compare_values(&[1e300, 2e300], &[1e300, 1e300]).rel_err - 0.5f64.sqrt()).abs()
                < 1e-15
        );
    }
}
