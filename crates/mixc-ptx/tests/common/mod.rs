//! Lowers kernels to PTX, runs them in the simulator, and compares with the tile interpreter.
#![allow(dead_code)]

use half::{bf16, f16};
use mixc_ir::DType;
use mixc_nvtools::Translator;
use mixc_ptx::{
    BulkMap, HardwareSwizzle, Options, Param, Precision, PtxKernel, Room, Target, lower,
};
use mixc_sim::{Arg, BufferId, Finding, Memory, Module, Swizzle, TensorElem, TensorMap};
use mixc_tile::{Kernel, KernelArgs, TensorArg, TensorData, Usage, interpret};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock};

/// Deterministic values in [-1, 1), different for every seed.
pub fn values(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

pub fn kernel(text: &str) -> Kernel {
    let kernel = mixc_tile::parse_kernel(&mixc_text::Source::new("test.tile", text))
        .unwrap_or_else(|e| panic!("{e:?}"));
    mixc_tile::verify(&kernel).unwrap_or_else(|e| panic!("{e:?}"));
    kernel
}

/// A kernel of the tile IR's own tests.
pub fn file(name: &str) -> String {
    let path = format!(
        "{}/../mixc-tile/tests/kernels/{name}.tile",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// A row-major tensor with the dimensions in memory in the given order.
pub fn permuted(shape: &[usize], order: &[usize], data: Vec<f32>) -> TensorData {
    let mut strides = vec![0isize; shape.len()];
    let mut step = 1;
    for d in order.iter().rev() {
        strides[*d] = step;
        step *= shape[*d] as isize;
    }
    TensorData {
        shape: shape.to_vec(),
        strides,
        data,
    }
}

/// The choices that a kernel leaves open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    pub target: Target,
    pub precision: Precision,
    pub warps: u32,
    pub stages: u32,
    /// Whether tensors that are aligned are declared to be.
    pub aligned: bool,
    /// Whether warps of their own load where they can.
    pub producer: bool,
}

/// A selection in which every value of every choice occurs, and every pair of warps and stages.
pub fn configs() -> Vec<Config> {
    let mut all = vec![];
    for (n, (warps, stages)) in [1, 4, 8]
        .into_iter()
        .flat_map(|w| [1, 2, 3].map(|s| (w, s)))
        .enumerate()
    {
        all.push(Config {
            target: [Target::Sm80, Target::Sm90a][n % 2],
            precision: [Precision::Tf32x3, Precision::Fma, Precision::Tf32x3][(n + n / 3) % 3],
            warps,
            stages,
            aligned: n % 4 != 2,
            producer: n % 3 != 0,
        });
    }
    all
}

/// A few, for kernels where little depends on the choices.
pub fn few() -> Vec<Config> {
    configs().into_iter().step_by(3).collect()
}

#[derive(Clone)]
pub struct Case {
    pub kernel: Kernel,
    pub args: KernelArgs,
}

/// What a launch gave.
pub struct Ran {
    pub tensors: BTreeMap<String, TensorData>,
    pub findings: Vec<Finding>,
}

/// A lowered kernel with its PTX.
pub struct Built {
    pub lowered: PtxKernel,
    pub ptx: Arc<str>,
}

impl Case {
    pub fn new(text: &str) -> Case {
        Case {
            kernel: kernel(text),
            args: KernelArgs::default(),
        }
    }

    pub fn dim(mut self, name: &str, value: i64) -> Case {
        self.args.dims.insert(name.into(), value);
        self
    }

    pub fn scalar(mut self, name: &str, value: f32) -> Case {
        self.args.scalars.insert(name.into(), value);
        self
    }

    pub fn tensor(mut self, name: &str, data: TensorData) -> Case {
        self.args.tensors.insert(name.into(), data);
        self
    }

    /// Random inputs and NaN outputs for every tensor that is not given yet; integers in 0..8.
    pub fn filled(mut self) -> Case {
        for (n, t) in self.kernel.tensors.iter().enumerate() {
            if self.args.tensors.contains_key(&t.name) {
                continue;
            }
            let shape: Vec<usize> = t
                .shape
                .iter()
                .map(|ix| ix.eval_sizes(&self.args.dims).unwrap() as usize)
                .collect();
            let count: usize = shape.iter().product();
            let random = values(n as u64 + 1, count).into_iter();
            let data = match (t.usage, t.dtype) {
                (Usage::In, DType::I32 | DType::I64) => {
                    random.map(|v| ((v + 1.0) * 4.0).floor()).collect()
                }
                (Usage::In, DType::Bool) => random.map(|v| f32::from(v > 0.0)).collect(),
                (Usage::In, dtype) => random.map(|v| round(dtype, v)).collect(),
                _ => vec![f32::NAN; count],
            };
            self.args
                .tensors
                .insert(t.name.clone(), TensorData::new(&shape, data));
        }
        self
    }

    fn is_aligned(&self, tensor: &TensorArg) -> bool {
        let data = &self.args.tensors[&tensor.name];
        let bytes = tensor.dtype.size_bytes() as isize;
        let outer = &data.strides[..data.strides.len().saturating_sub(1)];
        tensor.unit_inner && data.origin() == 0 && outer.iter().all(|s| s * bytes % 16 == 0)
    }

    pub fn options(&self, config: &Config) -> Options {
        let aligned = self.kernel.tensors.iter();
        let aligned = aligned.filter(|t| config.aligned && self.is_aligned(t));
        Options {
            target: config.target,
            precision: config.precision,
            warps: config.warps,
            stages: config.stages,
            aligned: aligned.map(|t| t.name.clone()).collect::<BTreeSet<_>>(),
            producer: config.producer,
            alternate: config.stages != 2,
            room: Room::default(),
        }
    }

    pub fn build(&self, config: &Config) -> Built {
        let lowered = lower(&self.kernel, &self.options(config)).unwrap_or_else(|e| panic!("{e}"));
        Built {
            ptx: translate(&lowered),
            lowered,
        }
    }

    /// Runs PTX text as the given kernel, on a copy of the arguments.
    ///
    /// # Errors
    /// What the simulator says if it cannot start.
    pub fn simulate(&self, lowered: &PtxKernel, ptx: &str) -> Result<Ran, String> {
        let module = Module::parse(ptx).map_err(|found| {
            let lines: Vec<&str> = found.iter().map(|d| d.message.as_str()).collect();
            lines.join("; ")
        })?;
        let mut memory = Memory::new();
        let mut ids = BTreeMap::new();
        for t in &self.kernel.tensors {
            let bytes = encode(t.dtype, &self.args.tensors[&t.name].data);
            let id = if t.usage == Usage::Out {
                let id = memory.alloc_uninit(&*t.name, bytes.len());
                memory.write_once(id);
                id
            } else {
                memory.alloc(&*t.name, &bytes)
            };
            ids.insert(t.name.clone(), id);
        }
        let dtype_of = |name| {
            let found = self.kernel.tensors.iter().find(|t| t.name == name);
            found.unwrap().dtype
        };
        let args: Vec<Arg> = lowered
            .params
            .iter()
            .map(|param| match param {
                Param::Pointer(name) => {
                    let bytes = dtype_of(name.clone()).size_bytes() as i64;
                    let origin = self.args.tensors[name].origin() as i64;
                    Arg::BufferAt(ids[name], origin * bytes)
                }
                Param::Stride { tensor, dim } => {
                    Arg::I64(self.args.tensors[tensor].strides[*dim] as i64)
                }
                Param::Dim(name) => Arg::I32(i32::try_from(self.args.dims[name]).unwrap()),
                Param::Scalar(name) => Arg::F32(self.args.scalars[name]),
                Param::Map(map) => Arg::TensorMap(self.tensor_map(map, ids[&map.tensor])),
            })
            .collect();
        let blocks = lowered.grid.iter();
        let blocks = blocks.map(|ix| ix.eval_sizes(&self.args.dims).unwrap().max(0) as u32);
        let points: u32 = blocks.product();
        // So few persistent blocks that each goes through several grid points.
        let blocks = if lowered.persistent.is_some() {
            points.min(2)
        } else {
            points
        };
        let mut findings = vec![];
        // No device starts an empty grid.
        if blocks > 0 {
            let report = module
                .launch(
                    &lowered.entry,
                    [blocks, 1, 1],
                    [lowered.threads, 1, 1],
                    lowered.shared_bytes,
                    &args,
                    &mut memory,
                    &mixc_sim::Options {
                        instruction_limit: 2_000_000,
                        ..Default::default()
                    },
                )
                .map_err(|e| e.to_string())?;
            findings = report.findings;
        }
        let tensors = self.kernel.tensors.iter().map(|t| {
            let mut data = self.args.tensors[&t.name].clone();
            let written = t.usage != Usage::Out || memory.fully_written(ids[&t.name]);
            // What was not written is NaN in the interpreter's outputs too; 16-bit patterns are not.
            if written || t.dtype == DType::F32 {
                data.data = decode(t.dtype, &memory.bytes(ids[&t.name]));
            }
            (t.name.to_string(), data)
        });
        Ok(Ran {
            tensors: tensors.collect(),
            findings,
        })
    }

    fn tensor_map(&self, map: &BulkMap, buffer: BufferId) -> TensorMap {
        let declared = self.kernel.tensors.iter().find(|t| t.name == map.tensor);
        let dtype = declared.unwrap().dtype;
        let data = &self.args.tensors[&map.tensor];
        let bytes = dtype.size_bytes() as u64;
        let outer = data.strides.iter().take(data.strides.len() - 1).rev();
        TensorMap {
            buffer,
            offset: 0,
            elem: match dtype {
                DType::Bf16 => TensorElem::Bf16,
                DType::F16 => TensorElem::F16,
                _ => TensorElem::F32,
            },
            dims: data.shape.iter().rev().map(|n| *n as u64).collect(),
            strides: outer.map(|s| *s as u64 * bytes).collect(),
            box_dims: map.box_.clone(),
            swizzle: match map.swizzle {
                HardwareSwizzle::None => Swizzle::None,
                HardwareSwizzle::Bytes32 => Swizzle::B32,
                HardwareSwizzle::Bytes64 => Swizzle::B64,
                HardwareSwizzle::Bytes128 => Swizzle::B128,
            },
        }
    }

    /// The tensors after the tile interpreter.
    pub fn expected(&self) -> BTreeMap<String, TensorData> {
        let mut args = self.args.clone();
        interpret(&self.kernel, &mut args).unwrap_or_else(|e| panic!("{e}"));
        let tensors = args.tensors.into_iter();
        tensors
            .map(|(name, data)| (name.to_string(), data))
            .collect()
    }

    /// The first element of an output that is wrong: |x - y| > tolerance * (1 + |y|), with what the
    /// rounding of the output may differ by; NaN and infinities exactly.
    pub fn difference(
        &self,
        got: &BTreeMap<String, TensorData>,
        expected: &BTreeMap<String, TensorData>,
        tolerance: f32,
    ) -> Option<String> {
        for t in &self.kernel.tensors {
            let (want, got) = (&expected[&*t.name].data, &got[&*t.name].data);
            // Two numbers that are nearly the same can round to neighbours, which lie this far apart.
            let rounding = match t.dtype {
                DType::Bf16 => 2f32.powi(-7),
                DType::F16 => 2f32.powi(-10),
                _ => 0.0,
            };
            for (i, (x, y)) in got.iter().zip(want).enumerate() {
                let same = x == y
                    || (x.is_nan() && y.is_nan())
                    || (x - y).abs() <= tolerance * (1.0 + y.abs()) + rounding * y.abs();
                if !same {
                    return Some(format!("'{}', element {i}: expected {y}, got {x}", t.name));
                }
            }
        }
        None
    }

    /// Lowered in every way, the kernel has no findings and computes what the interpreter does.
    pub fn agrees_in(self, configs: &[Config], tolerance: f32) {
        let case = self.filled();
        let expected = case.expected();
        for config in configs {
            let built = case.build(config);
            let what = format!("{config:?}\n{}", case.kernel);
            let ran = case
                .simulate(&built.lowered, &built.ptx)
                .unwrap_or_else(|e| panic!("{e}\n{what}"));
            if let Some(finding) = ran.findings.first() {
                panic!("{finding}\n{what}");
            }
            if let Some(difference) = case.difference(&ran.tensors, &expected, tolerance) {
                panic!("{difference}\n{what}");
            }
        }
    }

    pub fn agrees(self, tolerance: f32) {
        self.agrees_in(&configs(), tolerance);
    }
}

/// What was translated, by architecture and MLIR.
type Known = HashMap<(Target, String), Arc<str>>;

/// PTX of a lowered kernel; the same text is translated once in a process.
pub fn translate(lowered: &PtxKernel) -> Arc<str> {
    static TRANSLATOR: OnceLock<Translator> = OnceLock::new();
    static KNOWN: Mutex<Option<Known>> = Mutex::new(None);
    let lock = || KNOWN.lock().unwrap_or_else(|e| e.into_inner());
    let key = (lowered.target, lowered.mlir.clone());
    if let Some(ptx) = lock().get_or_insert_default().get(&key) {
        return ptx.clone();
    }
    let translator =
        TRANSLATOR.get_or_init(|| Translator::find().unwrap_or_else(|e| panic!("{e}")));
    let ptx: Arc<str> = translator
        .ptx(lowered.target.chip(), &lowered.mlir)
        .unwrap_or_else(|e| panic!("{}: {e}", lowered.entry))
        .into();
    lock().get_or_insert_default().insert(key, ptx.clone());
    ptx
}

fn round(dtype: DType, v: f32) -> f32 {
    match dtype {
        DType::Bf16 => bf16::from_f32(v).to_f32(),
        DType::F16 => f16::from_f32(v).to_f32(),
        _ => v,
    }
}

fn encode(dtype: DType, data: &[f32]) -> Vec<u8> {
    let mut bytes = vec![];
    for v in data {
        match dtype {
            DType::F32 => bytes.extend(v.to_le_bytes()),
            DType::F64 => bytes.extend(f64::from(*v).to_le_bytes()),
            DType::Bf16 => bytes.extend(bf16::from_f32(*v).to_le_bytes()),
            DType::F16 => bytes.extend(f16::from_f32(*v).to_le_bytes()),
            DType::I32 => bytes.extend((*v as i32).to_le_bytes()),
            DType::I64 => bytes.extend((*v as i64).to_le_bytes()),
            DType::Bool => bytes.push(u8::from(*v != 0.0)),
        }
    }
    bytes
}

fn decode(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(dtype.size_bytes())
        .map(|c| match dtype {
            DType::F32 => f32::from_le_bytes(c.try_into().unwrap()),
            DType::F64 => f64::from_le_bytes(c.try_into().unwrap()) as f32,
            DType::Bf16 => bf16::from_le_bytes(c.try_into().unwrap()).to_f32(),
            DType::F16 => f16::from_le_bytes(c.try_into().unwrap()).to_f32(),
            DType::I32 => i32::from_le_bytes(c.try_into().unwrap()) as f32,
            DType::I64 => i64::from_le_bytes(c.try_into().unwrap()) as f32,
            DType::Bool => f32::from(c[0] != 0),
        })
        .collect()
}
