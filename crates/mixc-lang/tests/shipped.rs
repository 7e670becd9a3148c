//! Shipped definitions that no reference vector covers, against direct computations.

use mixc_interp::{Array, Inputs, eval};
use mixc_ir::{Program, verify};
use mixc_text::Source;
use std::collections::BTreeMap;
use std::path::Path;

fn definition(path: &str) -> Program {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../ir/{path}.mix"));
    let source = Source::new(path, std::fs::read_to_string(file).unwrap());
    let mut programs =
        mixc_lang::compile(&source).unwrap_or_else(|e| panic!("{}", source.render(&e)));
    verify(&programs[0]).unwrap_or_else(|e| panic!("{path}: {e:#?}"));
    programs.remove(0)
}

/// Numbers in (-1, 1) without a pattern (a linear congruential generator, Knuth's MMIX constants).
fn numbers(seed: u64, count: usize) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn run(
    path: &str,
    given: &[(&str, &[usize], Vec<f64>)],
    scalars: &[(&str, f64)],
) -> BTreeMap<String, Vec<f64>> {
    let mut inputs = Inputs::default();
    for (name, shape, data) in given {
        inputs
            .tensors
            .insert((*name).into(), Array::new(shape.to_vec(), data.clone()));
    }
    inputs
        .scalars
        .extend(scalars.iter().map(|(n, v)| ((*n).into(), *v)));
    let found = eval(&definition(path), &inputs).unwrap_or_else(|e| panic!("{path}: {e}"));
    found
        .into_iter()
        .map(|(name, array)| (name.to_string(), array.data))
        .collect()
}

fn close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!(
            (a - b).abs() < 1e-11 * (1.0 + b.abs()),
            "{found:?}\n{expected:?}"
        );
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Attention of one head over the keys that `keep` allows.
fn attention(
    q: &[f64],
    k: &[f64],
    v: &[f64],
    d: usize,
    keep: impl Fn(usize, usize) -> bool,
) -> Vec<f64> {
    let (rows, columns) = (q.len() / d, k.len() / d);
    let mut out = vec![0.0; rows * d];
    for i in 0..rows {
        let score =
            |j: usize| (0..d).map(|a| q[i * d + a] * k[j * d + a]).sum::<f64>() / (d as f64).sqrt();
        let weights: Vec<f64> = (0..columns)
            .map(|j| if keep(i, j) { score(j).exp() } else { 0.0 })
            .collect();
        let total: f64 = weights.iter().sum();
        for a in 0..d {
            let sum: f64 = (0..columns).map(|j| weights[j] * v[j * d + a]).sum();
            out[i * d + a] = if total > 0.0 { sum / total } else { 0.0 };
        }
    }
    out
}

#[test]
fn dilated_attention_sees_its_segment_at_its_stride() {
    let (t, d) = (11, 3);
    let [q, k, v] = [1, 2, 3].map(|seed| numbers(seed, t * d));
    let shape: &[usize] = &[1, 1, t, d];
    let given = [
        ("q", shape, q.clone()),
        ("k", shape, k.clone()),
        ("v", shape, v.clone()),
    ];
    let found = run(
        "attention/dilated_attention",
        &given,
        &[("w", 4.0), ("r", 2.0)],
    );
    let keep = |i: usize, j: usize| i / 4 == j / 4 && (i as i64 - j as i64) % 2 == 0 && j <= i;
    close(&found["o"], &attention(&q, &k, &v, d, keep));
}

#[test]
fn block_sparse_attention_sees_the_blocks_it_is_given() {
    // Queries 0..64 see key block 1 (which is ragged), later ones blocks 0 and 1.
    let (t, j, d) = (70, 100, 2);
    let (q, k, v) = (numbers(1, t * d), numbers(2, j * d), numbers(3, j * d));
    let given = [
        ("q", &[1, 1, t, d][..], q.clone()),
        ("k", &[1, 1, j, d], k.clone()),
        ("v", &[1, 1, j, d], v.clone()),
        ("block", &[1, 1, 2, 2], vec![1.0, -1.0, 0.0, 1.0]),
    ];
    let found = run("attention/block_sparse_attention", &given, &[]);
    close(
        &found["o"],
        &attention(&q, &k, &v, d, |i, j| i >= 64 || j >= 64),
    );
}

#[test]
fn wkv_is_a_weighted_average() {
    let t = 6;
    let (k, v, w, u) = (numbers(1, t), numbers(2, t), 0.3, 0.7);
    let shape: &[usize] = &[1, 1, t];
    let given = [
        ("k", shape, k.clone()),
        ("v", shape, v.clone()),
        ("w", &[1], vec![w]),
        ("u", &[1], vec![u]),
    ];
    let found = run("rwkv/wkv", &given, &[]);
    let expected: Vec<f64> = (0..t)
        .map(|now| {
            let weight = |s: usize| {
                if s == now {
                    (u + k[s]).exp()
                } else {
                    (k[s] - w * (now - 1 - s) as f64).exp()
                }
            };
            let total: f64 = (0..=now).map(weight).sum();
            (0..=now).map(|s| weight(s) * v[s]).sum::<f64>() / total
        })
        .collect();
    close(&found["o"], &expected);
}

#[test]
fn mlstm_is_independent_of_its_stabiliser() {
    // Without the running maximum: plain sums, divided by max(|q n|, 1).
    let (t, a) = (5, 2);
    let [q, k, v] = [1, 2, 3].map(|seed| numbers(seed, t * a));
    let f: Vec<f64> = numbers(4, t).iter().map(|x| -x.abs()).collect();
    let g = numbers(5, t);
    let (wide, narrow): (&[usize], &[usize]) = (&[1, 1, t, a], &[1, 1, t]);
    let given = [
        ("q", wide, q.clone()),
        ("k", wide, k.clone()),
        ("v", wide, v.clone()),
        ("f", narrow, f.clone()),
        ("g", narrow, g.clone()),
    ];
    let found = run("linear_attention/mlstm", &given, &[]);
    let scale = 1.0 / (a as f64).sqrt();
    let mut expected = vec![];
    for now in 0..t {
        let weight = |s: usize| {
            let score: f64 = (0..a).map(|c| q[now * a + c] * k[s * a + c]).sum();
            scale * score * (f[s + 1..=now].iter().sum::<f64>() + g[s]).exp()
        };
        let total: f64 = (0..=now).map(weight).sum();
        for e in 0..a {
            let sum: f64 = (0..=now).map(|s| weight(s) * v[s * a + e]).sum();
            expected.push(sum / total.abs().max(1.0));
        }
    }
    close(&found["o"], &expected);
}

#[test]
fn lstm_steps_through_its_gates() {
    let (t, d) = (4, 2);
    let (x, r, bias) = (
        numbers(1, t * 4 * d),
        numbers(2, 4 * d * d),
        numbers(3, 4 * d),
    );
    let given = [
        ("x", &[1, t, 4, d][..], x.clone()),
        ("R", &[4, d, d], r.clone()),
        ("bias", &[4, d], bias.clone()),
    ];
    let found = run("recurrent/lstm", &given, &[]);
    let (mut h, mut c, mut expected) = (vec![0.0; d], vec![0.0; d], vec![]);
    for now in 0..t {
        let gate = |n: usize, a: usize| {
            let recurrent: f64 = (0..d).map(|e| r[(n * d + a) * d + e] * h[e]).sum();
            x[(now * 4 + n) * d + a] + bias[n * d + a] + recurrent
        };
        let step = |a: usize| {
            let cell = sigmoid(gate(1, a)) * c[a] + sigmoid(gate(0, a)) * gate(2, a).tanh();
            (cell, sigmoid(gate(3, a)) * cell.tanh())
        };
        (c, h) = (0..d).map(step).unzip();
        expected.extend(&h);
    }
    close(&found["o"], &expected);
}

#[test]
fn lru_is_a_sum_of_powers() {
    let (t, n) = (5, 2);
    let (u, nu, angle) = (numbers(1, t), numbers(2, n), numbers(3, n));
    let (b, c) = (numbers(4, 2 * n), numbers(5, 2 * n));
    let given = [
        ("u", &[1, 1, t][..], u.clone()),
        ("nu", &[1, n], nu.clone()),
        ("angle", &[1, n], angle.clone()),
        ("b", &[1, n, 2], b.clone()),
        ("c", &[1, n, 2], c.clone()),
    ];
    let found = run("ssm/lru", &given, &[]);
    let response = |lag: usize| -> f64 {
        (0..n)
            .map(|i| {
                let size = (-(nu[i].exp()) * lag as f64).exp();
                let (re, im) = (
                    b[2 * i] * c[2 * i] - b[2 * i + 1] * c[2 * i + 1],
                    b[2 * i] * c[2 * i + 1] + b[2 * i + 1] * c[2 * i],
                );
                let turn = angle[i] * lag as f64;
                size * (re * turn.cos() - im * turn.sin())
            })
            .sum()
    };
    let expected: Vec<f64> = (0..t)
        .map(|now| (0..=now).map(|s| response(now - s) * u[s]).sum())
        .collect();
    close(&found["y"], &expected);
}

#[test]
fn rwkv7_without_corrections_is_gated_linear_attention() {
    let (t, a) = (5, 2);
    let [q, k, v] = [1, 2, 3].map(|seed| numbers(seed, t * a));
    let w: Vec<f64> = numbers(4, t * a).iter().map(|x| -x.abs()).collect();
    let shape: &[usize] = &[1, 1, t, a];
    let zero = vec![0.0; t * a];
    let given = [
        ("r", shape, q.clone()),
        ("k", shape, k.clone()),
        ("v", shape, v.clone()),
        ("w", shape, w.clone()),
        ("x", shape, k.clone()),
        ("y", shape, zero),
    ];
    let found = run("rwkv/rwkv7", &given, &[]);
    let given = [
        ("q", shape, q),
        ("k", shape, k),
        ("v", shape, v),
        ("g", shape, w),
    ];
    let expected = run("linear_attention/gla", &given, &[("scale", 1.0)]);
    close(&found["o"], &expected["o"]);
}
