//! Judging what a plan computed.

use crate::{Case, DType, Expected, place};
use mixc_tensor::{Comparison, Tensor, compare};
use std::collections::BTreeMap;

/// How far one output is from what it must be.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputCheck {
    pub name: String,
    pub rel_err: f64,
    pub max_abs_err: f64,
    /// Row-major position of the largest difference in the output.
    pub worst: Option<u64>,
    pub ok: bool,
}

impl Case {
    /// Compares the memory of output buffers, by buffer, with the expected values. An output that is missing or
    /// shorter than its buffer is wrong.
    pub fn check(&self, outputs: &BTreeMap<usize, Vec<u8>>) -> Vec<OutputCheck> {
        let memory = |e: &Expected| outputs.get(&e.buffer).map_or(&[][..], Vec::as_slice);
        self.expected
            .iter()
            .map(|e| self.check_one(e, memory(e)))
            .collect()
    }

    fn check_one(&self, expected: &Expected, memory: &[u8]) -> OutputCheck {
        let spec = &self.plan.buffers[expected.buffer];
        let wrong = Comparison {
            rel_err: f64::INFINITY,
            max_abs_err: f64::INFINITY,
            worst: None,
        };
        let found = if (memory.len() as u64) < spec.size_bytes().unwrap_or(0) {
            wrong
        } else {
            distance(spec.dtype, &place::gather(spec, memory), expected).unwrap_or(wrong)
        };
        let position = |at: usize| expected.positions.as_ref().map_or(at as u64, |p| p[at]);
        let absolute = expected.abs_tol.is_none_or(|tol| found.max_abs_err <= tol);
        OutputCheck {
            name: spec.name.clone(),
            rel_err: found.rel_err,
            max_abs_err: found.max_abs_err,
            worst: found.worst.map(position),
            ok: found.within(expected.rel_tol) && absolute,
        }
    }
}

/// None if the values do not fit the output, which a valid case rules out.
fn distance(dtype: DType, elements: &[u8], expected: &Expected) -> Option<Comparison> {
    let size = dtype.size_bytes();
    let picked = match &expected.positions {
        None => elements.to_vec(),
        Some(positions) => {
            let mut picked = Vec::with_capacity(positions.len() * size);
            for &at in positions {
                picked.extend_from_slice(elements.get(at as usize * size..)?.get(..size)?);
            }
            picked
        }
    };
    let reference = expected.values.to_f64();
    let out = Tensor::from_bytes(dtype, &[reference.len()], &picked).ok()?;
    let reference = Tensor::from_f64(DType::F64, &[reference.len()], &reference).ok()?;
    compare(&out, &reference)
}
