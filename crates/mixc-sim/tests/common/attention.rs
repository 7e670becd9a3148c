//! Causal attention from `tests/cuda/attention.cu`, as a test and as a measure of speed.
#![allow(dead_code)]

use half::bf16;
use mixc_sim::{Arg, BufferId, Memory, Module, Options, Report};

pub const D: usize = 64;

pub struct Attention {
    pub module: Module,
    pub memory: Memory,
    pub inputs: [Vec<f32>; 3],
    ids: [BufferId; 4],
    blocks: usize,
}

impl Attention {
    /// `64 * blocks` positions with seeded inputs.
    pub fn new(blocks: usize) -> Attention {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cuda/attention.ptx");
        let text = std::fs::read_to_string(path).expect("the PTX is beside the sources");
        Attention::of_text(&text, blocks)
    }

    pub fn of_text(text: &str, blocks: usize) -> Attention {
        let module = Module::parse(text).unwrap_or_else(|e| panic!("{}", e[0].message));
        let mut memory = Memory::new();
        let mut state = 1u32;
        let inputs = [0, 1, 2].map(|_| {
            let draw = |_| {
                state = state.wrapping_mul(1664525).wrapping_add(1013904223);
                let x = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
                bf16::from_f32(2.0 * x).to_f32()
            };
            (0..64 * blocks * D).map(draw).collect::<Vec<f32>>()
        });
        let names = ["q", "k", "v"];
        let mut input = |n: usize| {
            let bits: Vec<u16> = inputs[n]
                .iter()
                .map(|x| bf16::from_f32(*x).to_bits())
                .collect();
            memory.alloc_u16(names[n], &bits)
        };
        let (q, k, v) = (input(0), input(1), input(2));
        let o = memory.alloc_uninit("o", 64 * blocks * D * 4);
        memory.write_once(o);
        Attention {
            module,
            memory,
            inputs,
            ids: [q, k, v, o],
            blocks,
        }
    }

    pub fn launch(&mut self, options: &Options) -> Report {
        let mut args: Vec<Arg> = self.ids.iter().map(|id| Arg::Buffer(*id)).collect();
        args.push(Arg::F32(scale()));
        let grid = [self.blocks as u32, 1, 1];
        self.module
            .launch(
                "attention",
                grid,
                [128, 1, 1],
                0,
                &args,
                &mut self.memory,
                options,
            )
            .expect("the arguments fit")
    }

    pub fn output(&self) -> Vec<f32> {
        self.memory.f32s(self.ids[3])
    }

    /// The same in double, row by row.
    pub fn reference(&self) -> Vec<f64> {
        let [q, k, v] = &self.inputs;
        let row = |x: &[f32], t: usize| -> Vec<f64> {
            x[t * D..][..D].iter().map(|v| f64::from(*v)).collect()
        };
        let mut out = vec![];
        for t in 0..64 * self.blocks {
            let q = row(q, t);
            let score = |s: usize| -> f64 { row(k, s).iter().zip(&q).map(|(a, b)| a * b).sum() };
            let scores: Vec<f64> = (0..=t).map(|s| score(s) * f64::from(scale())).collect();
            let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| (s - top).exp2()).collect();
            let sum: f64 = weights.iter().sum();
            let mut o = vec![0.0; D];
            for (s, w) in weights.iter().enumerate() {
                o.iter_mut()
                    .zip(row(v, s))
                    .for_each(|(o, v)| *o += w / sum * v);
            }
            out.append(&mut o);
        }
        out
    }
}

fn scale() -> f32 {
    0.125 * std::f32::consts::LOG2_E
}
