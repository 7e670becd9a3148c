//! What can go wrong, sorted by whose turn it is.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Mistakes in a definition, rendered with their places.
    #[error("{0}")]
    Definition(String),
    /// A wrong option, size, tensor or parameter.
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    File(#[from] mixc_tensor::FileError),
    #[error("cannot read {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot write {path}: {reason}")]
    Write { path: PathBuf, reason: String },
    /// Inputs that do not fit the definition.
    #[error(transparent)]
    Eval(#[from] mixc_interp::EvalError),
    /// No kernels for this form, with the reason.
    #[error(transparent)]
    Schedule(#[from] mixc_schedule::ScheduleError),
    /// Kernels that the code generator refuses.
    #[error(transparent)]
    Compile(#[from] mixc_cpu::CompileError),
    /// Kernels that have no PTX.
    #[error(transparent)]
    Lower(#[from] mixc_ptx::LowerError),
    #[error("kernel {kernel} has no PTX: {reason}")]
    Translate { kernel: String, reason: String },
    /// A kernel did not run to its end.
    #[error("{0}")]
    Execution(String),
    /// Something that this machine or this version lacks.
    #[error("{0}")]
    Unavailable(String),
}

impl Error {
    pub fn usage(message: impl Into<String>) -> Error {
        Error::Usage(message.into())
    }

    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Unavailable(_)
            | Error::Schedule(_)
            | Error::Compile(_)
            | Error::Lower(_)
            | Error::Translate { .. } => 3,
            Error::Execution(_) => 1,
            Error::Definition(_)
            | Error::Usage(_)
            | Error::File(_)
            | Error::Eval(_)
            | Error::Read { .. }
            | Error::Write { .. } => 2,
        }
    }
}

/// `message`, with the candidate that was probably meant.
pub(crate) fn with_suggestion<'a>(
    message: String,
    found: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> String {
    match mixc_text::closest(found, candidates) {
        Some(name) => format!("{message}; did you mean '{name}'?"),
        None => message,
    }
}
