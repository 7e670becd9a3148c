//! Random inputs as recipes.

use crate::DType;
use mixc_ir::Kind;
use mixc_tensor::{Pattern, Tensor, random_tensor};
use serde::{Deserialize, Serialize};

/// Seeded values, the same on every machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// Inputs of different names get different values from one seed.
    pub name: String,
    pub kind: ValueKind,
    /// Bounds of the values; None is unbounded.
    #[serde(default)]
    pub min: Option<f64>,
    #[serde(default)]
    pub max: Option<f64>,
    pub pattern: Pattern,
    /// The largest value of an integer without bounds.
    #[serde(default)]
    pub int_limit: i64,
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueKind {
    Real,
    Int,
    Bool,
}

impl Generator {
    /// A generator for a declared input, as [`random_tensor`] would fill it.
    pub fn of(input: &mixc_ir::Tensor, pattern: Pattern, int_limit: i64, seed: u64) -> Generator {
        let bound = |x: f64| x.is_finite().then_some(x);
        Generator {
            name: input.name.to_string(),
            kind: match input.kind {
                Kind::Real => ValueKind::Real,
                Kind::Int => ValueKind::Int,
                Kind::Bool => ValueKind::Bool,
            },
            min: bound(input.range.0),
            max: bound(input.range.1),
            pattern,
            int_limit,
            seed,
        }
    }

    /// The values, rounded to `dtype`.
    pub fn tensor(&self, dtype: DType, shape: &[usize]) -> Tensor {
        let declaration = mixc_ir::Tensor {
            name: self.name.as_str().into(),
            kind: match self.kind {
                ValueKind::Real => Kind::Real,
                ValueKind::Int => Kind::Int,
                ValueKind::Bool => Kind::Bool,
            },
            shape: vec![],
            axis_names: vec![],
            range: (
                self.min.unwrap_or(f64::NEG_INFINITY),
                self.max.unwrap_or(f64::INFINITY),
            ),
            default: None,
        };
        random_tensor(
            &declaration,
            shape,
            dtype,
            self.pattern,
            self.int_limit,
            self.seed,
        )
    }
}
