//! One line of the results.

use crate::{Class, Ideal, Prediction, Share};
use std::collections::BTreeMap;

/// One kernel of one form. Where a step failed, `error` says which and all that comes later is missing.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
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
    /// What the machine code was made from: see [`crate::text_hash`]. Empty if there is no MLIR.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub hash: String,
    /// The versions of what made the machine code.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub tools: String,
    /// The matrix instructions that the MLIR asks for.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub products: Vec<MatrixUnit>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub machine: Option<Machine>,
}

/// A kind of matrix instruction, by its name in PTX.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub enum MatrixUnit {
    #[serde(rename = "mma.sync")]
    Mma,
    #[serde(rename = "wgmma")]
    Wgmma,
}

impl MatrixUnit {
    /// Those that an MLIR text uses, as inline assembly or as an intrinsic.
    pub fn asked_for(mlir: &str) -> Vec<MatrixUnit> {
        let mma = mlir.contains("mma.sync.") || mlir.contains("nvvm.mma.m");
        let wgmma = mlir.contains("wgmma.mma_async.");
        let found = [(mma, MatrixUnit::Mma), (wgmma, MatrixUnit::Wgmma)];
        found
            .into_iter()
            .filter_map(|(is, u)| is.then_some(u))
            .collect()
    }

    /// The machine instruction that it becomes.
    pub fn mnemonic(self) -> &'static str {
        match self {
            MatrixUnit::Mma => "HMMA",
            MatrixUnit::Wgmma => "HGMMA",
        }
    }
}

/// What the machine code is like.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Machine {
    pub threads: u32,
    /// Tiles in flight.
    pub stages: u32,
    /// What `ptxas` was told of registers, where it spilled with what is usually said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub room: Option<String>,
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

impl Machine {
    /// Bytes a thread, stores and loads over the whole text.
    pub fn spilled(&self) -> u32 {
        self.spill_stores + self.spill_loads
    }
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

/// What makes a row unique, in the order of the results: mixer, shape, form, element type, target, place.
pub type Key<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str, usize);

impl Row {
    pub fn key(&self) -> Key<'_> {
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

    /// Bytes a thread, stores and loads over the whole text.
    pub fn spilled(&self) -> u32 {
        let machine = self.machine.as_ref();
        machine.map_or(0, Machine::spilled)
    }

    /// Matrix instructions that the MLIR asks for and the machine code does not have.
    pub fn missing_products(&self) -> Vec<MatrixUnit> {
        let Some(machine) = &self.machine else {
            return vec![];
        };
        let opcodes: Vec<&str> = machine.units.keys().map(String::as_str).collect();
        let has = |unit: &MatrixUnit| {
            let of = |opcode: &&str| opcode.split('.').next() == Some(unit.mnemonic());
            opcodes.iter().any(of)
        };
        self.products.iter().filter(|u| !has(u)).copied().collect()
    }
}

/// Two digits after the point: the results are compared as text.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Four digits after the point, for shares.
pub(crate) fn rounded_share(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

/// JSON lines in the order of [`Row::key`].
pub fn to_lines<'r>(rows: impl IntoIterator<Item = &'r Row>) -> String {
    let mut rows: Vec<&Row> = rows.into_iter().collect();
    rows.sort_by(|a, b| a.key().cmp(&b.key()));
    let line = |row: &Row| {
        serde_json::to_string(row).unwrap_or_else(|e| panic!("bug: a row is no JSON: {e}")) + "\n"
    };
    rows.into_iter().map(line).collect()
}
