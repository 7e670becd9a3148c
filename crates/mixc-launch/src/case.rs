//! A case: a plan with its inputs, the results it must give, and what it is called.

use crate::{BufferSpec, Generator, Plan, PlanError, Role, place};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Everything needed to run a plan, to judge what it computed, and to say how fast it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    pub label: Label,
    pub plan: Plan,
    /// One for each buffer of the role [`Role::In`].
    pub inputs: Vec<Input>,
    pub expected: Vec<Expected>,
    pub counts: Counts,
    /// A case of the same bundle that must be right before this one is timed: the same kernels on a problem small
    /// enough for a reference. The index of a case before this one.
    pub verified_by: Option<usize>,
}

/// What a case measures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    pub mixer: String,
    pub form: String,
    /// E.g. `sm_90a`.
    pub target: String,
    pub dtype: String,
    /// Sizes by axis letter.
    pub shape: BTreeMap<String, i64>,
    /// Tile sizes and other choices.
    #[serde(default)]
    pub params: BTreeMap<String, serde_json::Value>,
    /// Version of what made the kernels.
    #[serde(default)]
    pub version: String,
    /// Hash of the definition.
    #[serde(default)]
    pub definition: String,
}

/// `mixer/form/target/dtype/B=1,T=4096/rows=64`: the text that filters match.
impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Label {
            mixer,
            form,
            target,
            dtype,
            ..
        } = self;
        let shape: Vec<String> = self.shape.iter().map(|(k, v)| format!("{k}={v}")).collect();
        write!(f, "{mixer}/{form}/{target}/{dtype}/{}", shape.join(","))?;
        let params: Vec<String> = self
            .params
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        if params.is_empty() {
            Ok(())
        } else {
            write!(f, "/{}", params.join(","))
        }
    }
}

/// Work of one run of the plan, as the definition counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Floating-point operations; a multiply-add is two.
    pub flops: u64,
    /// Bytes that must move between memory and the chip: inputs read once, outputs written once.
    pub bytes: u64,
}

/// The contents of an input buffer.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    pub buffer: usize,
    pub source: Source,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    Random(Generator),
    /// Little-endian elements in row-major order, without gaps.
    Inline(Vec<u8>),
}

/// What an output must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    pub buffer: usize,
    pub values: Values,
    /// Row-major positions of the values; None if all elements are given.
    pub positions: Option<Vec<u64>>,
    /// Largest allowed ||out - expected|| / ||expected||.
    pub rel_tol: f64,
    /// Largest allowed difference of one element.
    pub abs_tol: Option<f64>,
}

/// Reference values, as precise as they were made.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Values {
    pub fn len(&self) -> usize {
        match self {
            Values::F32(x) => x.len(),
            Values::F64(x) => x.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Values::F32(x) => x.iter().copied().map(f64::from).collect(),
            Values::F64(x) => x.clone(),
        }
    }
}

/// Why a case cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CaseError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("{what} for buffer {buffer}, which is not an {role} of the plan")]
    Role {
        what: &'static str,
        buffer: usize,
        role: &'static str,
    },
    #[error("the input '{name}' is given {times} times; expected once")]
    Inputs { name: String, times: usize },
    #[error("{what} of '{name}': {found} given, expected {expected}")]
    Length {
        what: &'static str,
        name: String,
        found: u64,
        expected: u64,
    },
    #[error("expected value at position {position} of '{name}', which has {size} elements")]
    Position {
        name: String,
        position: u64,
        size: u64,
    },
    #[error("the values of the input '{name}' have the bounds {min} and {max}")]
    Range { name: String, min: f64, max: f64 },
    #[error("the tolerance {tolerance} for '{name}' is not a positive number")]
    Tolerance { name: String, tolerance: f64 },
    #[error("it is said to be verified by case {by}, which is not before it")]
    VerifiedBy { by: usize },
}

impl Case {
    /// Checks the plan and that inputs and expected values fit its buffers; `at` is the case's index.
    pub fn validate(&self, at: usize) -> Result<(), CaseError> {
        self.plan.validate()?;
        if let Some(by) = self.verified_by.filter(|&by| by >= at) {
            return Err(CaseError::VerifiedBy { by });
        }
        let mut given = BTreeSet::new();
        for input in &self.inputs {
            let spec = self.spec(input.buffer, Role::In, "an input")?;
            check_input(spec, &input.source)?;
            if !given.insert(input.buffer) {
                return Err(CaseError::Inputs {
                    name: spec.name.clone(),
                    times: 2,
                });
            }
        }
        for (buffer, spec) in self.plan.buffers.iter().enumerate() {
            if spec.role == Role::In && !given.contains(&buffer) {
                return Err(CaseError::Inputs {
                    name: spec.name.clone(),
                    times: 0,
                });
            }
        }
        for expected in &self.expected {
            let spec = self.spec(expected.buffer, Role::Out, "expected values")?;
            check_expected(spec, expected)?;
        }
        Ok(())
    }

    fn spec(
        &self,
        buffer: usize,
        role: Role,
        what: &'static str,
    ) -> Result<&BufferSpec, CaseError> {
        let name = if role == Role::In { "input" } else { "output" };
        let spec = self.plan.buffers.get(buffer).filter(|b| b.role == role);
        spec.ok_or(CaseError::Role {
            what,
            buffer,
            role: name,
        })
    }

    /// Whether anything says if the results are right.
    pub fn is_verifiable(&self) -> bool {
        !self.expected.is_empty() || self.verified_by.is_some()
    }

    /// The bytes of every buffer that the host fills, by buffer, made at the same time on several threads.
    /// The case must be valid.
    pub fn input_bytes(&self) -> BTreeMap<usize, Vec<u8>> {
        let buffers = &self.plan.buffers;
        std::thread::scope(|scope| {
            let spawn = |input: &'_ Input| {
                let (buffer, source) = (input.buffer, input.source.clone());
                let spec = &buffers[buffer];
                (buffer, scope.spawn(move || fill(spec, source)))
            };
            let threads: Vec<_> = self.inputs.iter().map(spawn).collect();
            let join = |(buffer, thread): (usize, std::thread::ScopedJoinHandle<'_, Vec<u8>>)| {
                let bytes = thread.join();
                (
                    buffer,
                    bytes.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                )
            };
            threads.into_iter().map(join).collect()
        })
    }
}

fn fill(spec: &BufferSpec, source: Source) -> Vec<u8> {
    match source {
        Source::Inline(bytes) => place::scatter(spec, bytes),
        Source::Random(generator) => {
            let shape: Vec<usize> = spec.shape.iter().map(|&n| n as usize).collect();
            let tensor = generator.tensor(spec.dtype, &shape);
            place::scatter(
                spec,
                tensor.bytes()[..tensor.len() * spec.dtype.size_bytes()].to_vec(),
            )
        }
    }
}

fn check_input(spec: &BufferSpec, source: &Source) -> Result<(), CaseError> {
    let expected = spec
        .elements()
        .unwrap_or(0)
        .saturating_mul(spec.dtype.size_bytes() as u64);
    match source {
        Source::Inline(bytes) if bytes.len() as u64 != expected => Err(CaseError::Length {
            what: "bytes",
            name: spec.name.clone(),
            found: bytes.len() as u64,
            expected,
        }),
        Source::Random(Generator {
            min: Some(min),
            max: Some(max),
            ..
        }) if min > max || min.is_nan() || max.is_nan() => Err(CaseError::Range {
            name: spec.name.clone(),
            min: *min,
            max: *max,
        }),
        _ => Ok(()),
    }
}

fn check_expected(spec: &BufferSpec, expected: &Expected) -> Result<(), CaseError> {
    let size = spec.elements().unwrap_or(0);
    let wanted = expected.positions.as_ref().map_or(size, |p| p.len() as u64);
    if expected.values.len() as u64 != wanted {
        return Err(CaseError::Length {
            what: "expected values",
            name: spec.name.clone(),
            found: expected.values.len() as u64,
            expected: wanted,
        });
    }
    let positions = expected.positions.iter().flatten();
    if let Some(&position) = positions
        .copied()
        .collect::<Vec<_>>()
        .iter()
        .find(|&&p| p >= size)
    {
        return Err(CaseError::Position {
            name: spec.name.clone(),
            position,
            size,
        });
    }
    for tolerance in std::iter::once(expected.rel_tol).chain(expected.abs_tol) {
        if !(tolerance >= 0.0 && tolerance.is_finite()) {
            return Err(CaseError::Tolerance {
                name: spec.name.clone(),
                tolerance,
            });
        }
    }
    Ok(())
}
