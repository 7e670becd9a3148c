//! Cases, and how an output is compared.

use super::values::{bits_of, ulp};
use crate::{Arg, Memory, Module, Options, Swizzle, TensorElem, TensorMap};
use serde::{Deserialize, Serialize};

/// One kernel launch with its expected output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Unique in the suite.
    pub name: String,
    /// A PTX module with the entry `k`.
    pub ptx: String,
    /// The architecture that it asks for: `sm_80` or `sm_90a`.
    pub target: String,
    /// Blocks and threads, along the first axis.
    pub grid: u32,
    pub block: u32,
    /// Bytes of dynamic shared memory.
    pub shared_bytes: u32,
    pub args: Vec<CaseArg>,
    /// Contents of the input buffers; kernels may write to them.
    pub inputs: Vec<Vec<u8>>,
    /// Contents of the output buffer after the launch. Before it, the buffer is zero.
    pub expected: Vec<u8>,
    /// What the parts of the output are.
    pub checks: Vec<Check>,
}

/// A kernel parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CaseArg {
    /// The address of an input buffer.
    Input(usize),
    /// The address of the output buffer.
    Output,
    /// A tiled tensor map over a buffer (`None`: the output), by value; no interleave, no fill.
    TensorMap {
        input: Option<usize>,
        elem: TensorElem,
        dims: Vec<u64>,
        /// Bytes between neighbours along dimensions 1, 2, ..
        strides: Vec<u64>,
        box_dims: Vec<u32>,
        swizzle: Swizzle,
    },
}

/// A part of the output: `count` results of `bits` bits, `stride` bytes apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// The instruction that made it.
    pub label: String,
    pub offset: usize,
    pub count: usize,
    pub stride: usize,
    pub bits: u32,
    pub tolerance: Tolerance,
}

/// When a result counts as equal to the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Tolerance {
    /// The same bits.
    Exact,
    /// The same bits of a float (of 16, 32 or 64 bits; `pairs` of f16 or bf16), or both NaN.
    Float { format: FloatFormat },
    /// Floats that differ by at most `ulps` units in the last place of the expected one or by `absolute`.
    Near {
        format: FloatFormat,
        ulps: f64,
        absolute: f64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FloatFormat {
    F16,
    Bf16,
    F16x2,
    Bf16x2,
    F32,
    F64,
}

/// A result that is not what the simulator predicts.
#[derive(Clone, Debug, PartialEq)]
pub struct Mismatch {
    pub label: String,
    /// Which of the check's results.
    pub index: usize,
    pub found: u64,
    pub expected: u64,
}

impl Case {
    /// What of an output of the kernel differs from what the simulator predicts.
    pub fn compare(&self, output: &[u8]) -> Vec<Mismatch> {
        let mut out = vec![];
        for check in &self.checks {
            for index in 0..check.count {
                let at = check.offset + index * check.stride;
                let (found, expected) = (
                    bits_of(output, at, check.bits),
                    bits_of(&self.expected, at, check.bits),
                );
                if !check.tolerance.accepts(found, expected) {
                    let label = check.label.clone();
                    out.push(Mismatch {
                        label,
                        index,
                        found,
                        expected,
                    });
                }
            }
        }
        out
    }

    /// Runs the case in the simulator; the output, and what it found.
    pub fn simulate(&self) -> (Vec<u8>, crate::Report) {
        let module = Module::parse(&self.ptx)
            .unwrap_or_else(|e| panic!("bug: {}: {}\n{}", self.name, e[0].message, self.ptx));
        if let Some(u) = module.unsupported().first() {
            panic!(
                "bug: {}: line {}: `{}` is not supported",
                self.name, u.line, u.instruction
            );
        }
        let mut memory = Memory::new();
        let inputs: Vec<_> = self
            .inputs
            .iter()
            .map(|bytes| memory.alloc("input", bytes))
            .collect();
        let output = memory.alloc("output", &vec![0; self.expected.len()]);
        let arg = |a: &CaseArg| match a {
            CaseArg::Input(n) => Arg::Buffer(inputs[*n]),
            CaseArg::Output => Arg::Buffer(output),
            CaseArg::TensorMap {
                input,
                elem,
                dims,
                strides,
                box_dims,
                swizzle,
            } => Arg::TensorMap(TensorMap {
                buffer: input.map_or(output, |n| inputs[n]),
                offset: 0,
                elem: *elem,
                dims: dims.clone(),
                strides: strides.clone(),
                box_dims: box_dims.clone(),
                swizzle: *swizzle,
            }),
        };
        let args: Vec<Arg> = self.args.iter().map(arg).collect();
        let (grid, block) = ([self.grid, 1, 1], [self.block, 1, 1]);
        let report = module
            .launch(
                "k",
                grid,
                block,
                self.shared_bytes,
                &args,
                &mut memory,
                &Options::default(),
            )
            .unwrap_or_else(|e| panic!("bug: {}: {e}", self.name));
        (memory.bytes(output), report)
    }
}

impl Tolerance {
    fn accepts(self, found: u64, expected: u64) -> bool {
        let (format, ulps, absolute) = match self {
            Tolerance::Exact => return found == expected,
            Tolerance::Float { format } => (format, 0.0, 0.0),
            Tolerance::Near {
                format,
                ulps,
                absolute,
            } => (format, ulps, absolute),
        };
        if let Some(half) = format.half() {
            return [0, 16].iter().all(|s| {
                let part = |v: u64| v >> s & 0xffff;
                Tolerance::Near {
                    format: half,
                    ulps,
                    absolute,
                }
                .accepts(part(found), part(expected))
            });
        }
        let (f, e) = (format.value(found), format.value(expected));
        if f.is_nan() && e.is_nan() || found == expected {
            return true;
        }
        // Of zeros, exact forms tell the sign.
        (f - e).abs() <= (ulps * ulp(format, e)).max(absolute) && ulps + absolute > 0.0
    }
}

/// A case without its expected output.
pub struct Draft(pub Case);

impl Draft {
    pub fn run(self) -> Case {
        let Draft(mut case) = self;
        let (output, report) = case.simulate();
        if let Some(f) = report.findings.first() {
            panic!("bug: {}: {f}\n{}", case.name, case.ptx);
        }
        case.expected = output;
        case
    }
}
