//! What can go wrong when a kernel is compiled or launched.

/// A kernel that cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The kernel breaks a rule of the tile IR, or asks for something that this target lacks.
    #[error("kernel {kernel}: {what}, in {statement}")]
    Statement {
        kernel: String,
        statement: String,
        what: String,
    },
    /// The kernel's declarations are at fault.
    #[error("kernel {kernel}: {what}")]
    Kernel { kernel: String, what: String },
    /// The machine at hand cannot be compiled for.
    #[error("this machine cannot run generated code: {0}")]
    Machine(String),
    /// The code generator refused the code (a bug of this crate, reported rather than hidden).
    #[error("kernel {kernel}: the code generator failed: {what}")]
    Codegen { kernel: String, what: String },
}

/// Arguments that a compiled kernel cannot be launched with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    #[error("kernel {kernel}: expected {expected} {what}, got {got}")]
    Count {
        kernel: String,
        what: &'static str,
        expected: usize,
        got: usize,
    },
    #[error("kernel {kernel}, tensor {tensor}: expected {expected}, got {got}")]
    Tensor {
        kernel: String,
        tensor: String,
        expected: String,
        got: String,
    },
    #[error("kernel {kernel}: {what} has no value for these sizes")]
    Size { kernel: String, what: String },
}

/// A failed lowering of one statement: the reason, before the statement is named.
pub(crate) type Lowered<T> = Result<T, String>;
