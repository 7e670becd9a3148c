//! What the process that runs cases and the one that watches it tell each other: one JSON text on standard input,
//! one JSON line for each event on standard output.

use mixc_launch::Row;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A case to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its index in the bundle.
    pub case: usize,
    /// Whether to measure it too, or only to verify it because others depend on it.
    pub timed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasureOptions {
    /// Off: measure whatever the kernels compute.
    pub verify: bool,
    pub samples: usize,
    /// Device time of the samples of one case.
    pub max_seconds: f64,
}

/// The work of one child process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub bundle: PathBuf,
    pub device: usize,
    pub options: MeasureOptions,
    pub jobs: Vec<Job>,
    /// Cases that were right in an earlier process.
    pub right: BTreeSet<usize>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// A case begins.
    Start { case: usize },
    /// It got on: a sign of life.
    Stage { case: usize, stage: String },
    /// It is done. `bad_input`: the bundle is at fault, not the kernel.
    Row {
        case: usize,
        row: Box<Row>,
        bad_input: bool,
    },
    /// Nothing can be run here.
    Refused { reason: String },
}
