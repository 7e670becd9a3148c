//! Verifies and measures bundles of kernels.
//!
//! In: a [`Bundle`](mixc_launch::Bundle) file and a machine with an NVIDIA GPU. Out: [`Results`](mixc_launch::Results)
//! as JSON. A kernel is timed only after its results were right. Cases run in a child process, so that one which
//! breaks the CUDA context, hangs or crashes costs its own row only. No compiler is needed or known here.

mod cli;
mod collect;
mod dump;
mod jobs;
mod measure;
mod protocol;
mod supervise;
mod worker;

pub use cli::{Cli, Failure, run};
pub use collect::Collector;
pub use dump::{DumpError, dump_inputs};
pub use jobs::{NoCases, select};
pub use measure::{LastInputs, Measured, Task, measure};
pub use protocol::{Event, Job, MeasureOptions, Request};
pub use supervise::Supervisor;
pub use worker::{Ended, serve, work};
