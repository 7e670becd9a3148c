//! What can go wrong, in the caller's terms.

use crate::Failure;
use mixc_launch::{Arch, PlanError};

/// Why a plan did not run on a card.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CudaError {
    #[error("this machine has no CUDA driver (libcuda.so.1 was not found)")]
    NoDriver,
    #[error("the CUDA driver knows CUDA {}.{} at most; this program needs {}.{}", .found.0, .found.1, .needed.0, .needed.1)]
    DriverTooOld {
        found: (u32, u32),
        needed: (u32, u32),
    },
    #[error("the CUDA driver does not start: {}", .failure.text)]
    Init { failure: Failure },
    #[error("this machine has no CUDA card")]
    NoDevice,
    #[error("there is no card {index}; this machine has {count}")]
    NoSuchDevice { index: usize, count: usize },
    #[error("the plan is not valid: {0}")]
    Plan(#[from] PlanError),
    #[error("code for {target} does not run on {card}, which has compute capability {}.{}", .cc.0, .cc.1)]
    UnsupportedCard {
        target: Arch,
        card: String,
        cc: (u32, u32),
    },
    #[error(
        "the driver (CUDA {}.{}) does not know PTX version {version}: update the driver, or compile for an older PTX version", .cuda.0, .cuda.1
    )]
    PtxTooNew { version: String, cuda: (u32, u32) },
    #[error("the driver cannot compile PTX: {text}")]
    NoJit { text: String },
    #[error("the driver refuses the code for {target}: {text}\n{log}")]
    InvalidCode {
        target: Arch,
        text: String,
        log: String,
    },
    #[error("the module for {target} has no kernel '{entry}'")]
    NoKernel { entry: String, target: Arch },
    #[error(
        "kernel '{entry}' gets arguments of {found:?} bytes and takes {}",
        .expected.as_ref().map_or("an unknown number".to_owned(), |e| format!("{e:?}"))
    )]
    Params {
        entry: String,
        found: Vec<usize>,
        expected: Option<Vec<usize>>,
    },
    #[error(
        "kernel '{entry}' needs {needed} bytes of shared memory a block; this card has {limit}"
    )]
    Shared {
        entry: String,
        needed: u64,
        limit: u32,
    },
    #[error(
        "kernel '{entry}' has blocks of {threads} threads, but its {registers} registers a thread allow {limit}"
    )]
    Threads {
        entry: String,
        threads: u64,
        registers: u32,
        limit: u32,
    },
    #[error("{what} needs {needed} bytes of device memory; {free} of {total} are free")]
    OutOfMemory {
        what: String,
        needed: u64,
        free: u64,
        total: u64,
    },
    #[error("the tensor map of argument {arg} of '{entry}' is refused: {}", .failure.text)]
    Map {
        entry: String,
        arg: usize,
        failure: Failure,
    },
    #[error("launch {launch}, kernel '{entry}', could not be started: {}", .failure.text)]
    Launch {
        launch: usize,
        entry: String,
        failure: Failure,
    },
    #[error("launch {launch}, kernel '{entry}', failed while it ran: {}", .failure.text)]
    Kernel {
        launch: usize,
        entry: String,
        failure: Failure,
    },
    #[error("one of the kernels {entries:?} failed while it ran: {}", .failure.text)]
    Run {
        entries: Vec<String>,
        failure: Failure,
    },
    #[error("a kernel wrote past the end of '{buffer}', {offset} bytes behind it")]
    WrotePastEnd { buffer: String, offset: u64 },
    #[error("a kernel changed the input '{buffer}' at byte {offset}")]
    ChangedInput { buffer: String, offset: u64 },
    #[error("{found} bytes for '{buffer}', which has {expected}")]
    InputSize {
        buffer: String,
        found: u64,
        expected: u64,
    },
    #[error("buffer {buffer} is not an input of the plan")]
    NotAnInput { buffer: usize },
    #[error("the plan has nothing to launch, so there is nothing to time")]
    NothingToTime,
    #[error("{what}: {}", .failure.text)]
    Driver {
        what: &'static str,
        failure: Failure,
    },
}

impl CudaError {
    /// Whether the session is of no use any more, because the context is broken.
    pub fn is_sticky(&self) -> bool {
        self.failure().is_some_and(Failure::is_sticky)
    }

    /// Whether the cause is something that this machine lacks, rather than the plan or its kernels.
    pub fn is_lack_of_machine(&self) -> bool {
        use CudaError::*;
        matches!(
            self,
            NoDriver
                | DriverTooOld { .. }
                | Init { .. }
                | NoDevice
                | NoSuchDevice { .. }
                | UnsupportedCard { .. }
                | PtxTooNew { .. }
                | NoJit { .. }
                | OutOfMemory { .. }
                | Shared { .. }
        )
    }

    fn failure(&self) -> Option<&Failure> {
        use CudaError::*;
        match self {
            Init { failure }
            | Map { failure, .. }
            | Launch { failure, .. }
            | Kernel { failure, .. }
            | Run { failure, .. }
            | Driver { failure, .. } => Some(failure),
            _ => None,
        }
    }
}

/// Names the call that failed.
pub(crate) trait During<T> {
    fn during(self, what: &'static str) -> Result<T, CudaError>;
}

impl<T> During<T> for Result<T, Failure> {
    fn during(self, what: &'static str) -> Result<T, CudaError> {
        self.map_err(|failure| CudaError::Driver { what, failure })
    }
}
