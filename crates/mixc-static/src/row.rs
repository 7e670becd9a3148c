//! One line of the results.

use crate::{Class, Ideal, Prediction, Share};
use std::collections::BTreeMap;

/// One kernel of one form. Where a step failed, `error` says which and all that comes later is missing.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Row {
    pub mixer: String,
    pub form: String,
    pub shape: String,
    pub target: String,
    pub dtype: String,
    /// Its place in the launch sequence.
    pub index: usize,
    pub kernel: String,
    pub template: String,
    pub knobs: BTreeMap<String, i64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub machine: Option<Machine>,
}

/// What the machine code is like.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Machine {
    pub threads: u32,
    /// Tiles in flight.
    pub stages: u32,
    pub registers: u32,
    /// Bytes of shared memory of a block.
    pub shared: u32,
    /// Bytes a thread.
    pub stack: u32,
    pub spill_stores: u32,
    pub spill_loads: u32,
    /// Blocks that a multiprocessor holds, their warps, and what bounds them.
    pub blocks: u32,
    pub warps: u32,
    pub bound: String,
    /// What `ptxas` warned of.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub findings: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub externs: Vec<String>,
    /// Every opcode of the matrix unit, and those that fill shared memory, with how often they occur.
    pub units: BTreeMap<String, usize>,
    /// Instructions of the whole kernel.
    pub instructions: usize,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hot: Option<Hot>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub share: Option<Share>,
}

/// The loop that does the work: of those with the products, the one without masks; else the longest innermost one.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Hot {
    /// Instructions of one turn of a warp.
    pub instructions: usize,
    pub classes: BTreeMap<Class, usize>,
    /// Where the loop was found in the tile kernel: turns of it in one turn of the machine's loop.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unrolled: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ideal: Option<Ideal>,
    /// Instructions for each one of the ideal.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub prediction: Option<Prediction>,
}

impl Row {
    /// What makes a row unique, in the order of the results.
    pub fn key(&self) -> (&str, &str, &str, &str, &str, usize) {
        let Row {
            mixer,
            form,
            shape,
            target,
            dtype,
            ..
        } = self;
        (mixer, shape, form, dtype, target, self.index)
    }
}

/// Two digits after the point: the results are compared as text.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// JSON lines in the order of [`Row::key`].
pub fn to_lines(rows: &[Row]) -> String {
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by(|a, b| a.key().cmp(&b.key()));
    let line = |row: &Row| {
        serde_json::to_string(row).unwrap_or_else(|e| panic!("bug: a row is no JSON: {e}")) + "\n"
    };
    rows.into_iter().map(line).collect()
}
