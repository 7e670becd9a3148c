//! Compares compiled kernels with the tile interpreter.
#![allow(dead_code)]

use half::{bf16, f16};
use mixc_cpu::{LaunchArgs, Options, TensorPtr, Threads, compile};
use mixc_ir::DType;
use mixc_tile::{Kernel, KernelArgs, TensorData, Usage, interpret};
use std::collections::BTreeMap;

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

pub struct Case {
    pub kernel: Kernel,
    pub args: KernelArgs,
    pub optimise: bool,
}

impl Case {
    pub fn new(text: &str) -> Case {
        Case {
            kernel: kernel(text),
            args: KernelArgs::default(),
            optimise: false,
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
            let data = match (t.usage, t.dtype) {
                (Usage::In, DType::I32 | DType::I64) => values(n as u64 + 1, count)
                    .iter()
                    .map(|v| ((v + 1.0) * 4.0).floor())
                    .collect(),
                (Usage::In, DType::Bool) => values(n as u64 + 1, count)
                    .iter()
                    .map(|v| f32::from(*v > 0.0))
                    .collect(),
                (Usage::In, dtype) => values(n as u64 + 1, count)
                    .iter()
                    .map(|v| mixc_tile_round(dtype, *v))
                    .collect(),
                _ => vec![f32::NAN; count],
            };
            self.args
                .tensors
                .insert(t.name.clone(), TensorData::new(&shape, data));
        }
        self
    }

    /// Runs the compiled kernel on a copy of the arguments.
    pub fn run(&self, threads: &Threads) -> BTreeMap<String, TensorData> {
        let compiled = compile(
            &self.kernel,
            &Options {
                optimise: self.optimise,
            },
        )
        .unwrap_or_else(|e| panic!("{e}"));
        let mut memory: Vec<Vec<u8>> = self
            .kernel
            .tensors
            .iter()
            .map(|t| encode(t.dtype, &self.args.tensors[&t.name].data))
            .collect();
        let args = LaunchArgs {
            dims: self.kernel.dims.iter().map(|d| self.args.dims[d]).collect(),
            scalars: self
                .kernel
                .scalars
                .iter()
                .map(|s| self.args.scalars[s])
                .collect(),
            tensors: self
                .kernel
                .tensors
                .iter()
                .zip(&mut memory)
                .map(|(t, m)| {
                    let data = &self.args.tensors[&t.name];
                    let origin = data.origin() as usize * t.dtype.size_bytes();
                    TensorPtr {
                        ptr: m[GUARD + origin..].as_mut_ptr(),
                        shape: data.shape.iter().map(|n| *n as i64).collect(),
                        strides: data.strides.iter().map(|n| *n as i64).collect(),
                    }
                })
                .collect(),
        };
        // SAFETY: the buffers outlive the call, have the shapes and strides given, and do not overlap.
        unsafe { compiled.launch(&args, threads) }.unwrap_or_else(|e| panic!("{e}"));
        let mut results = BTreeMap::new();
        for (t, m) in self.kernel.tensors.iter().zip(&memory) {
            let inside = m.len() - GUARD;
            assert!(
                m[..GUARD].iter().chain(&m[inside..]).all(|b| *b == POISON),
                "the kernel wrote outside `{}`",
                t.name
            );
            let mut data = self.args.tensors[&t.name].clone();
            data.data = decode(t.dtype, &m[GUARD..inside]);
            results.insert(t.name.to_string(), data);
        }
        results
    }

    /// Runs both and compares every tensor: |x - y| <= tolerance * (1 + |y|), NaN and infinities exactly.
    pub fn agrees(self, tolerance: f32) {
        let case = self.filled();
        let mut expected = case.args.clone();
        interpret(&case.kernel, &mut expected).unwrap_or_else(|e| panic!("{e}"));
        for threads in [Threads::One, Threads::All] {
            let got = case.run(&threads);
            for t in &case.kernel.tensors {
                let (want, got) = (&expected.tensors[&t.name].data, &got[&*t.name].data);
                for (i, (x, y)) in got.iter().zip(want).enumerate() {
                    let slack = match t.dtype {
                        DType::Bf16 => 8e-3,
                        DType::F16 => 1e-3,
                        _ => tolerance,
                    };
                    let same = x == y
                        || (x.is_nan() && y.is_nan())
                        || (x - y).abs() <= slack * (1.0 + y.abs());
                    assert!(same, "`{}`, element {i}: expected {y}, got {x}", t.name);
                }
            }
        }
    }
}

const GUARD: usize = 64;
const POISON: u8 = 0xa5;

fn mixc_tile_round(dtype: DType, v: f32) -> f32 {
    match dtype {
        DType::Bf16 => bf16::from_f32(v).to_f32(),
        DType::F16 => f16::from_f32(v).to_f32(),
        _ => v,
    }
}

fn encode(dtype: DType, data: &[f32]) -> Vec<u8> {
    let mut bytes = vec![POISON; GUARD];
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
    bytes.extend([POISON; GUARD]);
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
