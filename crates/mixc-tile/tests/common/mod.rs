//! Helpers for tests that interpret kernels: numbered values, and comparison with f64 loops.
#![allow(dead_code)]

use mixc_tile::{KernelArgs, Order, RunOptions, TensorData, interpret_with};
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

pub fn tensor(seed: u64, shape: &[usize]) -> TensorData {
    TensorData::new(shape, values(seed, shape.iter().product()))
}

pub fn nan(shape: &[usize]) -> TensorData {
    TensorData::filled(shape, f32::NAN)
}

pub fn args(
    dims: &[(&str, usize)],
    scalars: &[(&str, f32)],
    tensors: Vec<(&str, TensorData)>,
) -> KernelArgs {
    KernelArgs {
        dims: dims.iter().map(|(n, v)| ((*n).into(), *v as i64)).collect(),
        scalars: scalars.iter().map(|(n, v)| ((*n).into(), *v)).collect(),
        tensors: tensors
            .into_iter()
            .map(|(n, t)| (n.into(), t))
            .collect::<BTreeMap<_, _>>(),
    }
}

/// Runs the kernel forward, backward and shuffled, looking for races, and demands the same bits.
pub fn run_every_order(kernel: &mixc_tile::Kernel, args: &KernelArgs) -> KernelArgs {
    let run = |order| {
        let mut args = args.clone();
        interpret_with(
            kernel,
            &mut args,
            RunOptions {
                order,
                find_races: true,
            },
        )
        .unwrap();
        args
    };
    let forward = run(Order::Forward);
    for order in [Order::Reverse, Order::Shuffled(7)] {
        for (name, tensor) in run(order).tensors {
            let bits = |t: &TensorData| t.data.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(
                bits(&tensor),
                bits(&forward.tensors[&name]),
                "{name} in {order:?} order"
            );
        }
    }
    forward
}

/// Panics unless every element of the tensor is within `tol` of the f64 reference.
pub fn assert_close(tensor: &TensorData, tol: f64, reference: impl Fn(&[usize]) -> f64) {
    let mut index = vec![0; tensor.shape.len()];
    let count: usize = tensor.shape.iter().product();
    for n in 0..count {
        let mut rest = n;
        for (i, size) in index.iter_mut().zip(&tensor.shape).rev() {
            *i = rest % size;
            rest /= size;
        }
        let at: Vec<i64> = index.iter().map(|i| *i as i64).collect();
        let (got, want) = (f64::from(tensor.get(&at)), reference(&index));
        assert!(
            (got - want).abs() <= tol * (1.0 + want.abs()),
            "at {index:?}: {got}, expected {want}"
        );
    }
}
