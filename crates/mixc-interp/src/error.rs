//! What can go wrong before a value is computed.

use mixc_ir::Name;

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EvalError {
    #[error("tensor `{tensor}` is missing: expected shape [{expected}]")]
    MissingTensor { tensor: Name, expected: String },
    #[error("there is no tensor `{name}`; the program takes {expected}")]
    UnknownTensor { name: Name, expected: String },
    #[error("scalar `{scalar}` is missing and has no default")]
    MissingScalar { scalar: Name },
    #[error("there is no scalar `{name}`; the program takes {expected}")]
    UnknownScalar { name: Name, expected: String },
    #[error("scalar `{scalar}`: expected {expected}, found {found}")]
    ScalarValue {
        scalar: Name,
        expected: String,
        found: f64,
    },
    #[error("tensor `{tensor}`: expected {expected} axes [{axes}], found {found}")]
    Rank {
        tensor: Name,
        axes: String,
        expected: usize,
        found: usize,
    },
    #[error("tensor `{tensor}`, axis {axis} ({name}): expected size {expected}, found {found}")]
    Shape {
        tensor: Name,
        axis: usize,
        name: Name,
        expected: String,
        found: usize,
    },
    #[error("tensor `{tensor}`: its shape needs {expected} elements, found {found}")]
    Length {
        tensor: Name,
        expected: usize,
        found: usize,
    },
    #[error("the size `{size}` does not follow from the shapes that are given")]
    UnknownSize { size: Name },
    #[error("the sizes must satisfy `{constraint}`: found {found}")]
    Constraint { constraint: String, found: String },
    #[error("axis `{axis}` has size `{size}`, which has no value of 0 or more with these sizes")]
    AxisSize { axis: Name, size: String },
    #[error("a tensor of shape {shape:?} is too large to interpret")]
    TooLarge { shape: Vec<usize> },
    /// The program breaks an invariant of the core IR.
    #[error("in `{place}`: {message}")]
    Malformed { place: Name, message: String },
}
