//! Hand-written kernels against naive loops in f64, in several orders of the grid.

mod common;

use common::{args, assert_close, nan, run_every_order, tensor};
use mixc_text::Source;
use mixc_tile::{Kernel, TensorData, parse_kernel, verify};

/// Reads a kernel of `tests/kernels`, demands that it is legal and that its text form is faithful.
macro_rules! kernel {
    ($name:literal) => {
        checked($name, include_str!(concat!("kernels/", $name, ".tile")))
    };
}

fn checked(name: &str, text: &str) -> Kernel {
    let read = |text: &str| {
        let source = Source::new(name, text);
        parse_kernel(&source).unwrap_or_else(|errors| panic!("{}", source.render(&errors)))
    };
    let kernel = read(text);
    assert_eq!(verify(&kernel), Ok(()));
    assert_eq!(read(&kernel.to_string()), kernel);
    kernel
}

/// The element as f64.
fn at(t: &TensorData, index: &[usize]) -> f64 {
    let index: Vec<i64> = index.iter().map(|i| *i as i64).collect();
    f64::from(t.get(&index))
}

#[test]
fn attention_with_causal_mask_and_ragged_tiles() {
    let kernel = kernel!("attention");
    let scale = 0.3;
    for (b, h, i, j) in [
        (1, 1, 1, 1),
        (2, 1, 17, 17),
        (1, 2, 5, 40),
        (1, 1, 40, 19),
        (1, 1, 3, 0),
        (0, 1, 3, 3),
    ] {
        let (q, k, v) = (
            tensor(1, &[b, h, i, 32]),
            tensor(2, &[b, h, j, 32]),
            tensor(3, &[b, h, j, 24]),
        );
        let tensors = vec![
            ("q", q.clone()),
            ("k", k.clone()),
            ("v", v.clone()),
            ("o", nan(&[b, h, i, 24])),
            ("lse", nan(&[b, h, i])),
        ];
        let sizes = [("B", b), ("H", h), ("I", i), ("J", j)];
        let done = run_every_order(&kernel, &args(&sizes, &[("scale", scale)], tensors));

        // Queries that see no key (more queries than keys) give 0 and -inf.
        let weights = |b: usize, h: usize, row: usize| -> Vec<f64> {
            let score = |key: usize| -> f64 {
                let dot: f64 = (0..32)
                    .map(|d| at(&q, &[b, h, row, d]) * at(&k, &[b, h, key, d]))
                    .sum();
                f64::from(scale) * dot
            };
            (0..j)
                .filter(|key| key + i <= row + j)
                .map(|key| score(key).exp())
                .collect()
        };
        assert_close(&done.tensors["o"], 1e-5, |ix| {
            let w = weights(ix[0], ix[1], ix[2]);
            let total: f64 = w.iter().sum();
            let value = |(key, w): (usize, &f64)| w * at(&v, &[ix[0], ix[1], key, ix[3]]);
            if w.is_empty() {
                0.0
            } else {
                w.iter().enumerate().map(value).sum::<f64>() / total
            }
        });
        let lse = &done.tensors["lse"];
        for (n, got) in lse.data.iter().enumerate() {
            let want = weights(n / (h * i), n / i % h, n % i)
                .iter()
                .sum::<f64>()
                .ln();
            let close = (f64::from(*got) - want).abs() < 1e-5 || f64::from(*got) == want;
            assert!(close, "lse {n}: {got}, expected {want}");
        }
    }
}

#[test]
fn chunked_linear_attention_carries_its_state() {
    let kernel = kernel!("linear_attention");
    for (b, h, t) in [(1, 1, 1), (1, 2, 16), (2, 1, 37), (1, 1, 0)] {
        let (q, k, v) = (
            tensor(1, &[b, h, t, 8]),
            tensor(2, &[b, h, t, 8]),
            tensor(3, &[b, h, t, 12]),
        );
        let mut g = tensor(4, &[b, h, t]);
        g.data.iter_mut().for_each(|x| *x = 0.5 * *x - 0.5);
        let tensors = vec![
            ("q", q.clone()),
            ("k", k.clone()),
            ("v", v.clone()),
            ("g", g.clone()),
            ("o", nan(&[b, h, t, 12])),
            ("last", nan(&[b, h, 8, 12])),
        ];
        let done = run_every_order(
            &kernel,
            &args(&[("B", b), ("H", h), ("T", t)], &[], tensors),
        );

        // The recurrence, step by step.
        let mut o = vec![0.0; b * h * t * 12];
        let mut last = vec![0.0; b * h * 96];
        for bh in 0..b * h {
            let (ib, ih) = (bh / h, bh % h);
            let mut state = [[0.0; 12]; 8];
            for it in 0..t {
                let decay = at(&g, &[ib, ih, it]).exp();
                for (a, row) in state.iter_mut().enumerate() {
                    for (e, s) in row.iter_mut().enumerate() {
                        *s = *s * decay + at(&k, &[ib, ih, it, a]) * at(&v, &[ib, ih, it, e]);
                        o[(bh * t + it) * 12 + e] += at(&q, &[ib, ih, it, a]) * *s;
                    }
                }
            }
            state
                .iter()
                .flatten()
                .enumerate()
                .for_each(|(n, s)| last[bh * 96 + n] = *s);
        }
        assert_close(&done.tensors["o"], 1e-5, |ix| {
            o[((ix[0] * h + ix[1]) * t + ix[2]) * 12 + ix[3]]
        });
        assert_close(&done.tensors["last"], 1e-5, |ix| {
            last[((ix[0] * h + ix[1]) * 8 + ix[2]) * 12 + ix[3]]
        });
    }
}

#[test]
fn matmul_stores_rounded_to_the_element_type() {
    let kernel = kernel!("matmul");
    let (m, n, k) = (70, 65, 66);
    let (a, b) = (tensor(1, &[m, k]), tensor(2, &[k, n]));
    let tensors = vec![("a", a.clone()), ("b", b.clone()), ("c", nan(&[m, n]))];
    let done = run_every_order(
        &kernel,
        &args(&[("M", m), ("N", n), ("K", k)], &[], tensors),
    );
    let c = &done.tensors["c"];
    assert!(
        c.data.iter().all(|x| x.to_bits() & 0xffff == 0),
        "bf16 has 16 bits"
    );
    // 8 bits of precision: half a unit in the last place is at most 2^-8 of the value.
    assert_close(c, 1.0 / 256.0, |ix| {
        (0..k)
            .map(|l| at(&a, &[ix[0], l]) * at(&b, &[l, ix[1]]))
            .sum()
    });
}

#[test]
fn gathers_follow_the_index_and_give_zero_outside() {
    let kernel = kernel!("gather");
    let table = tensor(1, &[5, 16]);
    let rows = [4.0, 0.0, -1.0, 5.0, 2.0, 2.0, 1.0, 3.0, 4.0, 1e18];
    let tensors = vec![
        ("table", table.clone()),
        ("idx", TensorData::new(&[10], rows.to_vec())),
        ("y", nan(&[10, 16])),
    ];
    let done = run_every_order(&kernel, &args(&[("N", 10), ("R", 5)], &[], tensors));
    assert_close(&done.tensors["y"], 0.0, |ix| {
        let row = rows[ix[0]];
        if (0.0..5.0).contains(&row) {
            at(&table, &[row as usize, ix[1]])
        } else {
            0.0
        }
    });
}

#[test]
fn scans_in_all_variants() {
    let kernel = kernel!("scans");
    let x = tensor(1, &[6, 10]);
    let done = run_every_order(
        &kernel,
        &args(&[], &[], vec![("x", x.clone()), ("y", nan(&[12, 6, 10]))]),
    );
    // Along columns?, exclusive?, reverse?, product?, positions of a segment.
    let variants = [
        (true, false, false, false, 16),
        (true, true, false, false, 16),
        (true, false, true, false, 16),
        (false, true, true, false, 16),
        (true, false, false, true, 16),
        (false, true, false, true, 16),
        (false, false, true, true, 16),
        (true, true, true, true, 16),
        (true, false, false, false, 4),
        (true, true, true, true, 2),
        (false, true, false, true, 4),
        (true, false, true, false, 8),
    ];
    assert_close(&done.tensors["y"], 1e-5, |ix| {
        let (columns, exclusive, reverse, product, segment) = variants[ix[0]];
        let (here, count) = if columns { (ix[2], 10) } else { (ix[1], 6) };
        let seen = |n: &usize| {
            let before = if reverse { *n > here } else { *n < here };
            (before || (*n == here && !exclusive)) && n / segment == here / segment
        };
        let value = |n: usize| {
            if columns {
                at(&x, &[ix[1], n])
            } else {
                at(&x, &[n, ix[2]])
            }
        };
        let values = (0..count).filter(seen).map(value);
        if product {
            values.product()
        } else {
            values.sum()
        }
    });
}

#[test]
fn backward_loops_and_conditions() {
    let kernel = kernel!("backward_recurrence");
    let (t, w, a) = (11, 4, 0.5f32);
    let x = tensor(1, &[t, 4]);
    let tensors = vec![("x", x.clone()), ("y", nan(&[t, 4]))];
    let done = run_every_order(&kernel, &args(&[("T", t), ("w", w)], &[("a", a)], tensors));
    assert_close(&done.tensors["y"], 1e-6, |ix| {
        let end = (ix[0] / w * w + w).min(t);
        (ix[0]..end)
            .map(|s| f64::from(a).powi((s - ix[0]) as i32) * at(&x, &[s, ix[1]]))
            .sum()
    });
}
