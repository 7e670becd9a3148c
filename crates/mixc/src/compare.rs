//! Results against references: the limit of each element type, and the report.

use crate::{Outputs, Precision};
use mixc_ir::{DType, Name};
use mixc_tensor::{Tensor, compare};
use std::collections::BTreeMap;

/// One line of a comparison.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct OutputReport {
    pub name: String,
    pub shape: Vec<usize>,
    /// ||out - ref|| / ||ref||; None if there is no reference.
    pub rel_err: Option<f64>,
    pub max_abs_err: Option<f64>,
    pub ok: bool,
    /// What a number cannot say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The largest relative error that passes where nothing better is known.
///
/// f32: the limit of the project. bf16 and f16: about four roundings (2^-9 and 2^-12) of every
/// element in the same direction; `verify` measures the true cost of the type instead. Products in tf32
/// have the mantissa of f16.
pub fn default_tolerance(dtype: DType, precision: Option<Precision>) -> f64 {
    match dtype {
        DType::F32 if precision == Some(Precision::Tf32) => 1e-3,
        DType::Bf16 => 8e-3,
        DType::F16 => 1e-3,
        DType::F64 => 1e-10,
        _ => 1e-5,
    }
}

/// Compares every output that has a reference.
pub fn compare_outputs(
    outputs: &Outputs,
    references: &BTreeMap<Name, Tensor>,
    tolerance: f64,
) -> Vec<OutputReport> {
    let report = |(name, out): (&Name, &Tensor)| {
        let (shape, name) = (out.shape().to_vec(), name.to_string());
        let Some(reference) = references.get(&*name) else {
            let note = Some("no reference".to_owned());
            return OutputReport {
                name,
                shape,
                rel_err: None,
                max_abs_err: None,
                ok: true,
                note,
            };
        };
        match compare(out, reference) {
            Some(c) => OutputReport {
                ok: c.within(tolerance),
                rel_err: Some(c.rel_err),
                max_abs_err: Some(c.max_abs_err),
                name,
                shape,
                note: None,
            },
            None => {
                let note = Some(format!("the reference has shape {:?}", reference.shape()));
                OutputReport {
                    name,
                    shape,
                    rel_err: None,
                    max_abs_err: None,
                    ok: false,
                    note,
                }
            }
        }
    };
    outputs.tensors.iter().map(report).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_of_another_shape_fails_and_a_missing_one_does_not() {
        let tensor = |shape: &[usize]| Tensor::zeros(DType::F32, shape);
        let tensors = [("o".into(), tensor(&[2])), ("lse".into(), tensor(&[1]))].into();
        let outputs = Outputs {
            tensors,
            time: None,
        };
        let reports = compare_outputs(&outputs, &[("o".into(), tensor(&[3]))].into(), 1.0);
        assert_eq!(
            reports.iter().map(|r| (&*r.name, r.ok)).collect::<Vec<_>>(),
            [("lse", true), ("o", false)]
        );
        let reports = compare_outputs(&outputs, &[("o".into(), tensor(&[2]))].into(), 0.0);
        assert!(reports.iter().all(|r| r.ok) && reports[1].rel_err == Some(0.0));
    }
}
