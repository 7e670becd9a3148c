//! `bundle.json`.

use crate::{BufferSpec, Counts, Generator, Label, Launch};
use serde::{Deserialize, Serialize};

/// What is read first, of whatever version.
#[derive(Deserialize)]
pub(super) struct Header {
    pub format: String,
    pub version: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Manifest {
    pub format: String,
    pub version: u32,
    pub modules: Vec<ModuleEntry>,
    pub cases: Vec<CaseEntry>,
}

/// The code is in `module/N.ptx` and `module/N.cubin`.
#[derive(Serialize, Deserialize)]
pub(super) struct ModuleEntry {
    pub target: String,
    pub cubin: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct CaseEntry {
    pub label: Label,
    pub counts: Counts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_by: Option<usize>,
    pub buffers: Vec<BufferSpec>,
    /// Indices into the bundle's modules, in the order of the plan's.
    pub modules: Vec<usize>,
    pub launches: Vec<Launch>,
    pub inputs: Vec<InputEntry>,
    pub expected: Vec<ExpectedEntry>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct InputEntry {
    pub buffer: usize,
    pub source: SourceEntry,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SourceEntry {
    Random(Generator),
    /// Number of the data file.
    Data(usize),
}

#[derive(Serialize, Deserialize)]
pub(super) struct ExpectedEntry {
    pub buffer: usize,
    pub precision: Precision,
    /// Number of the data file with the values.
    pub values: usize,
    pub count: u64,
    /// Number of the data file with the positions, u64 each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positions: Option<usize>,
    pub rel_tol: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abs_tol: Option<f64>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Precision {
    F32,
    F64,
}

impl Precision {
    pub fn size_bytes(self) -> u64 {
        match self {
            Precision::F32 => 4,
            Precision::F64 => 8,
        }
    }
}

pub(super) fn ptx_file(module: usize) -> String {
    format!("module/{module}.ptx")
}

pub(super) fn cubin_file(module: usize) -> String {
    format!("module/{module}.cubin")
}

pub(super) fn data_file(number: usize) -> String {
    format!("data/{number}.bin")
}
