//! Scans whose result is multiplied with a tile in registers, in the layout of that tile: every direction, ragged
//! sizes, bits of the axis in registers, lanes and warps.

mod common;

use common::{Case, Config, configs};
use mixc_ptx::{Precision, Target};

/// A product [m, n], times a scan over its axes; `scan` is the statement behind `scan `.
fn scanned(dtype: &str, m: usize, n: usize, scan: &str) -> Case {
    Case::new(&format!(
        "kernel scanned() {{
          in a: {dtype} [{m}, 16] unit
          in b: {dtype} [{n}, 16] unit
          in x: f32 [{m}] unit
          in y: f32 [{n}] unit
          out c: f32 [{m}, {n}] unit
          shared ta: [{m}, 16]
          shared tb: [{n}, 16]
          shared tx: [{m}]
          shared ty: [{n}]
          shared l: [{m}, {n}]
          shared s: [{m}, {n}]
          load [m < {m}, k < 16] ta[m, k] <- a[m, k]
          load [n < {n}, k < 16] tb[n, k] <- b[n, k]
          load [m < {m}] tx[m] <- x[m]
          load [n < {n}] ty[n] <- y[n]
          scan {scan}
          contract [m < {m}, n < {n}, k < 16] s[m, n] = ta[m, k] * tb[n, k]
          map [m < {m}, n < {n}] s[m, n] = l[m, n] * s[m, n]
          store [m < {m}, n < {n}] c[m, n] <- s[m, n]
        }}"
    ))
}

const VARIANTS: [&str; 4] = ["", " exclusive", " reverse", " exclusive reverse"];

/// Scans that start anew, in all directions.
const SEGMENTS: [&str; 6] = [
    " every 1",
    " every 1 exclusive",
    " every 2 reverse",
    " every 4 exclusive reverse",
    " every 16",
    " every 32 exclusive",
];

/// Four of the ways to lower a kernel, others for each `turn`.
fn some(turn: usize) -> Vec<Config> {
    let all = configs();
    (0..4).map(|n| all[(turn + 2 * n) % all.len()]).collect()
}

#[test]
fn scans_of_tiles_in_registers_along_both_axes() {
    let sizes = [(64, 64), (16, 8), (33, 24), (5, 7), (128, 32), (64, 40)];
    for (size, (m, n)) in sizes.into_iter().enumerate() {
        // Segments have one size whose bits are all used, and a ragged one.
        let segments = if [0, 2].contains(&size) {
            &SEGMENTS[..]
        } else {
            &[]
        };
        for (turn, variant) in VARIANTS.iter().chain(segments).enumerate() {
            for (along, kind) in [("m", "prod"), ("n", "prod"), ("m", "sum"), ("n", "sum")] {
                // Values of products lie around 1, so that none grows or vanishes.
                let value = match kind {
                    "prod" => "(1.0 + 0.02 * tx[m]) * (1.0 - 0.02 * ty[n])",
                    _ => "tx[m] + 0.5 * ty[n]",
                };
                let scan =
                    format!("{kind} [m < {m}, n < {n}] along {along}{variant} l[m, n] = {value}");
                let dtype = if turn % 2 == 0 { "bf16" } else { "f32" };
                let case = scanned(dtype, m, n, &scan);
                case.agrees_in(&some(size + turn)[..2], 3e-5);
            }
        }
    }
}

/// Products over the segment between a row and a column, which may be computed along either axis.
#[test]
fn segments_between_rows_and_columns() {
    let sizes = [64, 16, 33, 7];
    for (size, n) in sizes.into_iter().enumerate() {
        for (turn, variant) in VARIANTS.iter().enumerate() {
            for (along, other, factor) in [("m", "n", "tx[m]"), ("n", "m", "ty[n]")] {
                for compare in ["<", "<="] {
                    let passed = match variant.contains("reverse") {
                        true => format!("int({along}) {compare} int({other})"),
                        false => format!("int({other}) {compare} int({along})"),
                    };
                    let scan = format!(
                        "prod [m < {n}, n < {n}] along {along}{variant} l[m, n] = \
                         select(and({passed}, int({along}) < int({n} - 2)), 0.25 * (3.0 + {factor}), 1.0)"
                    );
                    let dtype = if turn % 2 == 0 { "bf16" } else { "f32" };
                    let case = scanned(dtype, n, n, &scan);
                    case.agrees_in(&some(size + turn)[..2], 3e-5);
                }
            }
        }
    }
}

/// Conditions that only look like segments: the other axis also in the value, a shifted comparison, a wrong neutral
/// element, and a scan that runs the other way.
#[test]
fn scans_that_are_no_segments_stay_as_they_are() {
    for (turn, scan) in [
        "prod [m < 64, n < 64] along m l[m, n] = select(int(n) < int(m), 0.25 * (3.0 + tx[m] * ty[n]), 1.0)",
        "prod [m < 64, n < 64] along m l[m, n] = select(int(n + 1) < int(m), 0.25 * (3.0 + tx[m]), 1.0)",
        "prod [m < 64, n < 64] along m l[m, n] = select(int(n) < int(m), 0.25 * (3.0 + tx[m]), 0.75)",
        "prod [m < 64, n < 64] along m l[m, n] = select(int(m) < int(n), 0.25 * (3.0 + tx[m]), 1.0)",
        "sum [m < 64, n < 64] along m l[m, n] = select(int(n) < int(m), tx[m], 1.0)",
        "prod [m < 64, n < 64] along m l[m, n] = select(and(int(n) < int(m), int(n) < int(9)), 0.25 * (3.0 + tx[m]), 1.0)",
    ]
    .into_iter()
    .enumerate()
    {
        scanned("bf16", 64, 64, scan).agrees_in(&some(turn), 3e-5);
    }
}

/// The tile [64, 64] of decays, 16 KiB, has no place in shared memory: neither along the rows, over which warps are
/// spread, nor along the columns.
#[test]
fn decays_stay_in_registers() {
    for along in ["m", "n"] {
        let passed = if along == "m" {
            "prod [m < 64, n < 64] along m l[m, n] = select(int(n) < int(m), 0.25 * (3.0 + tx[m]), 1.0)"
        } else {
            "prod [m < 64, n < 64] along n reverse l[m, n] = select(int(n) < int(m), 0.25 * (3.0 + ty[n]), 1.0)"
        };
        let case = scanned("bf16", 64, 64, passed).filled();
        for target in [Target::Sm80, Target::Sm90a] {
            let built = case.build(&Config {
                target,
                precision: Precision::Tf32x3,
                warps: 4,
                stages: 2,
                aligned: true,
                producer: false,
            });
            // The factors of the product and two vectors.
            let factors = 2 * 64 * 16 * 2;
            assert!(built.lowered.shared_bytes < factors + 1024);
        }
    }
}

/// Products of decays that are multiplied with a factor stay in the registers in which they were computed: shared memory
/// holds two tiles that are loaded, what is computed from both, and the other factor.
#[test]
fn scans_of_factors_stay_in_registers() {
    for segment in ["", " every 16", " every 4 exclusive reverse"] {
        let case = Case::new(&format!(
            "kernel factors() {{
              in k: bf16 [64, 32] unit
              in g: bf16 [64, 32] unit
              in q: bf16 [64, 32] unit
              out c: f32 [64, 64] unit
              shared tk: [64, 32]
              shared tg: [64, 32]
              shared tq: [64, 32]
              shared f: [64, 32]
              shared l: [64, 32]
              shared kl: [64, 32]
              shared s: [64, 64]
              load [t < 64, a < 32] tk[t, a] <- k[t, a]
              load [t < 64, a < 32] tg[t, a] <- g[t, a]
              load [t < 64, a < 32] tq[t, a] <- q[t, a]
              map [t < 64, a < 32] f[t, a] = 1.0 - 0.1 * abs(tg[t, a])
              scan prod [t < 64, a < 32] along t{segment} l[t, a] = f[t, a]
              map [t < 64, a < 32] kl[t, a] = l[t, a] * tk[t, a]
              contract [i < 64, t < 64, a < 32] s[i, t] = tq[i, a] * kl[t, a]
              store [i < 64, t < 64] c[i, t] <- s[i, t]
            }}"
        ))
        .filled();
        for config in some(0) {
            let built = case.build(&config);
            assert!(built.lowered.shared_bytes <= 4 * 64 * 32 * 2 + 1024);
        }
        // The computed factor is rounded to bf16.
        case.agrees_in(&some(1)[..2], 1e-2);
    }
}
