//! Whole kernels as PTX in the simulator against the tile interpreter: every statement, ragged sizes, strides, element
//! types, on several numbers of warps and stages. Any finding of the simulator is a failure.

mod common;

use common::{Case, Config, configs, few, file, permuted, values};
use mixc_ptx::{LowerError, Precision};
use mixc_tile::TensorData;

#[test]
fn attention_with_ragged_tiles() {
    for (i, j) in [(1, 1), (16, 16), (33, 50), (17, 5), (40, 40)] {
        Case::new(&file("attention"))
            .dim("B", 1)
            .dim("H", 2)
            .dim("I", i)
            .dim("J", j)
            .scalar("scale", 0.2)
            .agrees(1e-5);
    }
}

#[test]
fn linear_attention_in_chunks() {
    for t in [1, 16, 41] {
        let g = values(9, 2 * t as usize).iter().map(|v| -v.abs()).collect();
        Case::new(&file("linear_attention"))
            .dim("B", 1)
            .dim("H", 2)
            .dim("T", t)
            .tensor("g", TensorData::new(&[1, 2, t as usize], g))
            .agrees(2e-5);
    }
}

#[test]
fn matmul_stored_as_bf16() {
    for (m, n, k) in [(64, 64, 64), (65, 3, 70), (1, 129, 1)] {
        Case::new(&file("matmul"))
            .dim("M", m)
            .dim("N", n)
            .dim("K", k)
            .agrees(1e-5);
    }
}

#[test]
fn scans_in_all_variants() {
    Case::new(&file("scans")).agrees(2e-6);
}

#[test]
fn gathers_and_integer_inputs() {
    // Indices on GPUs are 32 bits wide.
    let text = file("gather").replace("i64", "i32");
    Case::new(&text).dim("N", 21).dim("R", 7).agrees(0.0);
}

#[test]
fn backward_recurrence_with_restarts() {
    Case::new(&file("backward_recurrence"))
        .dim("T", 37)
        .dim("w", 5)
        .scalar("a", 0.9)
        .agrees(1e-6);
}

#[test]
fn strides_in_any_order_and_sign() {
    let text = "kernel copy(dims: M, N) {
      in a: f32 [$M, $N]
      out c: f32 [$M, $N]
      shared t: [8, 12]
      grid m0 < ($M + 7) / 8, n0 < ($N + 11) / 12
      load [m < 8, n < 12] t[m, n] <- a[m0 * 8 + m, n0 * 12 + n]
      store [m < 8, n < 12] c[m0 * 8 + m, n0 * 12 + n] <- 2.0 * t[m, n]
    }";
    let data = values(3, 16 * 25);
    let turned = permuted(&[16, 25], &[1, 0], data.clone());
    Case::new(text)
        .dim("M", 16)
        .dim("N", 25)
        .tensor("a", turned.clone())
        .agrees_in(&few(), 0.0);
    let out = permuted(&[16, 25], &[1, 0], vec![f32::NAN; 400]);
    Case::new(text)
        .dim("M", 16)
        .dim("N", 25)
        .tensor("a", turned)
        .tensor("c", out)
        .agrees_in(&few(), 0.0);
    let backward = TensorData {
        shape: vec![16, 25],
        strides: vec![25, -1],
        data,
    };
    Case::new(text)
        .dim("M", 16)
        .dim("N", 25)
        .tensor("a", backward)
        .agrees_in(&few(), 0.0);
}

#[test]
fn every_element_type_in_and_out() {
    for (from, to) in [
        ("f32", "f32"),
        ("f16", "f16"),
        ("bf16", "bf16"),
        ("i32", "f32"),
        ("bool", "f32"),
        ("f32", "bf16"),
        ("f16", "bf16"),
    ] {
        for n in [5, 16, 40] {
            Case::new(&conversion(from, to))
                .dim("N", n)
                .agrees_in(&few(), 0.0);
        }
    }
}

fn conversion(from: &str, to: &str) -> String {
    format!(
        "kernel convert(dims: N) {{
          in a: {from} [3, $N] unit
          out c: {to} [3, $N] unit
          out d: f32 [$N, 3] unit
          shared t: [3, 16]
          grid n0 < ($N + 15) / 16
          load [m < 3, n < 16] t[m, n] <- a[m, n0 * 16 + n]
          store [m < 3, n < 16] c[m, n0 * 16 + n] <- t[m, n]
          store [m < 3, n < 16] d[n0 * 16 + n, m] <- t[m, n]
        }}"
    )
}

#[test]
fn element_types_that_kernels_for_gpus_do_not_move_are_refused() {
    for (from, to, tensor) in [
        ("f32", "f64", "'c'"),
        ("f32", "i32", "'c'"),
        ("f32", "i64", "'c'"),
        ("f32", "bool", "'c'"),
        ("f64", "f32", "'a'"),
        ("i64", "f32", "'a'"),
    ] {
        let case = Case::new(&conversion(from, to)).dim("N", 8).filled();
        let refused = mixc_ptx::lower(&case.kernel, &case.options(&configs()[0])).unwrap_err();
        assert!(
            matches!(&refused, LowerError::Unsupported { kernel, what } if kernel == "convert" && what.contains(tensor)),
            "{refused}"
        );
    }
}

/// Sums of a tile in registers go to a vector in shared memory, which a barrier for the sums across warps must not forget.
#[test]
fn sums_across_warps_into_shared_memory() {
    let case = Case::new(
        "kernel sums() {
          in a: f32 [16, 128] unit
          in w: f32 [128] unit
          in x: f32 [16] unit
          out o: f32 [16, 40] unit
          shared ta: [16, 128]
          shared tw: [128]
          shared tx: [16]
          shared c: [16, 128]
          shared d: [16, 128]
          shared s: [16]
          load [t < 16, n < 128] ta[t, n] <- a[t, n]
          load [n < 128] tw[n] <- w[n]
          load [t < 16] tx[t] <- x[t]
          map [t < 16] s[t] = 2.0 * tx[t]
          scan sum [t < 16, n < 128] along t c[t, n] = 0.1 * ta[t, n]
          map [t < 16, n < 128] d[t, n] = c[t, n] * tw[n]
          contract [t < 16, n < 128] s[t] (+)= d[t, n] * tw[n]
          store [t < 16, e < 40] o[t, e] <- s[t] * int(e)
        }",
    )
    .filled();
    case.agrees_in(&configs(), 1e-5);
}

/// What neither shared memory nor registers hold is refused before it is spread over threads.
#[test]
fn tiles_that_nothing_holds_are_refused() {
    let case = Case::new(
        "kernel cube() {
          in a: f32 [128] unit
          out c: f32 [128] unit
          shared ta: [128]
          shared cube: [128, 128, 128]
          shared s: [128]
          load [n < 128] ta[n] <- a[n]
          map [x < 128, y < 128, n < 128] cube[x, y, n] = ta[x] * ta[y] * ta[n]
          reduce sum [x < 128, y < 128, n < 128] s[n] = cube[x, y, n]
          store [n < 128] c[n] <- s[n]
        }",
    )
    .filled();
    let refused = mixc_ptx::lower(&case.kernel, &case.options(&configs()[0])).unwrap_err();
    let needed = 2 * 128 * 128 * 128;
    assert!(matches!(&refused, LowerError::SharedMemory { needed: n, .. } if *n == needed));
}

#[test]
fn sixteen_bit_floats_round_to_nearest_even_and_keep_specials() {
    let mut data: Vec<f32> = vec![
        0.0,
        -0.0,
        1.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        65504.0,
        65519.0,
        65520.0,
        65536.0,
        1e38,
        -1e38,
        5.96e-8,
        2.98e-8,
        2.981e-8,
        6.1e-5,
        6.0e-5,
        1e-40,
        3.3895314e38,
        f32::MAX,
        1.003_906_3,
        1.011_718_8,
    ];
    data.extend(values(5, 200).iter().map(|v| v * 1e-5));
    data.extend(values(6, 200).iter().map(|v| v * 1e3));
    data.extend((0..90).map(|i| f32::from_bits(0x3f80_0000 + i * 0x800)));
    for dtype in ["f16", "bf16"] {
        let text = format!(
            "kernel narrow(dims: N) {{
              in a: f32 [$N] unit
              out c: {dtype} [$N] unit
              out d: f32 [$N] unit
              shared t: [8]
              grid n0 < ($N + 7) / 8
              load [n < 8] t[n] <- a[n0 * 8 + n]
              store [n < 8] c[n0 * 8 + n] <- t[n]
            }}"
        );
        let case = Case::new(&text)
            .dim("N", data.len() as i64)
            .tensor("a", TensorData::new(&[data.len()], data.clone()))
            .filled();
        let built = case.build(&configs()[0]);
        let ran = case.simulate(&built.lowered, &built.ptx).unwrap();
        assert!(ran.findings.is_empty(), "{}", ran.findings[0]);
        for (x, y) in data.iter().zip(&ran.tensors["c"].data) {
            let want = if dtype == "f16" {
                half::f16::from_f32(*x).to_f32()
            } else {
                half::bf16::from_f32(*x).to_f32()
            };
            assert!(
                want.to_bits() == y.to_bits() || (want.is_nan() && y.is_nan()),
                "{x} as {dtype}: {want}, got {y}"
            );
        }
    }
}

#[test]
fn reductions_of_all_kinds_along_both_axes() {
    for (kind, m, n) in [
        ("sum", 5, 7),
        ("max", 6, 16),
        ("min", 3, 33),
        ("prod", 9, 2),
        ("max", 1, 1),
        ("sum", 17, 64),
    ] {
        let text = format!(
            "kernel reduce() {{
              in a: f32 [{m}, {n}] unit
              out r: f32 [{m}] unit
              out c: f32 [{n}] unit
              out all: f32 [] 
              shared t: [{m}, {n}]
              shared tr: [{m}]
              shared tc: [{n}]
              shared ta: []
              load [m < {m}, n < {n}] t[m, n] <- a[m, n]
              map [m < {m}] tr[m] = 0.25
              reduce {kind} [m < {m}, n < {n}] tr[m] (+)= t[m, n]
              reduce {kind} [m < {m}, n < {n}] tc[n] = 2.0 * t[m, n]
              reduce {kind} [m < {m}, n < {n}] ta[] = t[m, n]
              store [m < {m}] r[m] <- tr[m]
              store [n < {n}] c[n] <- tc[n]
              store [] all[] <- ta[]
            }}"
        );
        Case::new(&text).agrees_in(&few(), 2e-6);
        let mut data = values(2, m * n);
        data[m * n / 2] = f32::NAN;
        Case::new(&text)
            .tensor("a", TensorData::new(&[m, n], data))
            .agrees_in(&few(), 2e-6);
    }
}

/// Two of the ways to lower a kernel, one with multiply-adds and one with the matrix unit.
fn chosen(n: usize) -> Vec<Config> {
    let one = configs()[n % 9];
    let other = match one.precision {
        Precision::Fma => Precision::Tf32x3,
        _ => Precision::Fma,
    };
    vec![
        one,
        Config {
            precision: other,
            ..one
        },
    ]
}

#[test]
fn contractions_of_every_shape_and_orientation() {
    for (m, n, k) in [
        (1, 1, 1),
        (4, 8, 3),
        (5, 7, 9),
        (16, 20, 64),
        (1, 33, 17),
        (33, 1, 6),
        (3, 2, 130),
        (13, 64, 5),
    ] {
        for (turn, (a, b)) in [
            ("m, k", "k, n"),
            ("m, k", "n, k"),
            ("k, m", "k, n"),
            ("k, m", "n, k"),
        ]
        .into_iter()
        .enumerate()
        {
            let size = |axes: &str| {
                axes.split(", ")
                    .map(|x| {
                        match x {
                            "m" => m,
                            "n" => n,
                            _ => k,
                        }
                        .to_string()
                    })
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            let (sa, sb) = (size(a), size(b));
            let over = |axes: &str| {
                axes.split(", ")
                    .zip(size(axes).split(", "))
                    .map(|(x, s)| format!("{x} < {s}"))
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            let (oa, ob) = (over(a), over(b));
            let text = format!(
                "kernel product() {{
                  in a: f32 [{sa}] unit
                  in b: f32 [{sb}] unit
                  out c: f32 [{m}, {n}] unit
                  out d: f32 [{n}, {m}] unit
                  shared ta: [{sa}]
                  shared tb: [{sb}]
                  shared tc: [{m}, {n}]
                  load [{oa}] ta[{a}] <- a[{a}]
                  load [{ob}] tb[{b}] <- b[{b}]
                  contract [m < {m}, n < {n}, k < {k}] tc[m, n] = ta[{a}] * tb[{b}]
                  store [m < {m}, n < {n}] c[m, n] <- tc[m, n]
                  contract [m < {m}, n < {n}, k < {k}] tc[m, n] (+)= tb[{b}] * ta[{a}]
                  store [m < {m}, n < {n}] d[n, m] <- tc[m, n]
                }}"
            );
            Case::new(&text).agrees_in(&chosen(m + turn), 2e-5);
        }
    }
}

#[test]
fn batched_contractions_and_several_summed_axes() {
    let text = "kernel batched() {
      in a: f32 [3, 5, 2, 6] unit
      in b: f32 [3, 2, 6, 9] unit
      out c: f32 [3, 5, 9] unit
      shared ta: [3, 5, 2, 6]
      shared tb: [3, 2, 6, 9]
      shared tc: [3, 5, 9]
      shared td: [5, 3]
      load [h < 3, m < 5, r < 2, k < 6] ta[h, m, r, k] <- a[h, m, r, k]
      load [h < 3, r < 2, k < 6, n < 9] tb[h, r, k, n] <- b[h, r, k, n]
      contract [h < 3, m < 5, n < 9, r < 2, k < 6] tc[h, m, n] = ta[h, m, r, k] * tb[h, r, k, n]
      contract [m < 5, h < 3, r < 2, k < 6] td[m, h] = ta[h, m, r, k] * tb[h, r, k, 4]
      map [h < 3, m < 5, n < 9] tc[h, m, n] = tc[h, m, n] + td[m, h]
      store [h < 3, m < 5, n < 9] c[h, m, n] <- tc[h, m, n]
    }";
    Case::new(text).agrees(1e-5);
}

#[test]
fn maps_with_indices_predicates_and_parts_of_buffers() {
    let text = "kernel maps(dims: T; scalars: x) {
      in a: f32 [$T, 10] unit
      out c: f32 [$T, 10] unit
      shared t: [4, 12]
      shared row: [10]
      grid t0 < $T / 4
      map [m < 4, n < 12] t[m, n] = int(n * 3 - m) + 0.5
      load [m < 4, n < 10] t[m, n] <- a[t0 * 4 + m, n]
      map [n < 10] row[n] = t[3, n] - t[2, n] * x
      map [n < 10] t[1, n] = row[n] + t[1, n]
      map [m < 3, n < 10] t[m, n] = select(or(int(n % 3) == int(m), not(t[m, n] < 0.0)), t[m, n] * (int(n) <= 4.0), row[n] - int(n / 4 + t0))
      store [m < 4, n < 10] c[t0 * 4 + m, n] <- t[m, n] + t[m, 11] * 0.001
    }";
    Case::new(text).dim("T", 12).scalar("x", 1.5).agrees(1e-6);
}

#[test]
fn fused_statements_keep_their_order() {
    let text = "kernel fused() {
      in a: f32 [20, 24] unit
      out c: f32 [20, 24] unit
      out r: f32 [24] unit
      out q: f32 [24] unit
      shared s: [20, 24]
      shared u: [20, 24]
      shared m: [24]
      shared l: [24]
      shared z: [24]
      load [j < 20, i < 24] s[j, i] <- a[j, i]
      reduce max [i < 24, j < 20] m[i] = s[j, i]
      map [i < 24] l[i] = 1.0
      map [j < 20, i < 24] u[j, i] = s[j, i] * 0.5
      map [j < 20, i < 24] s[j, i] = exp(s[j, i] - m[i]) + u[j, i]
      reduce sum [j < 20, i < 24] l[i] (+)= s[j, i]
      reduce max [j < 20, i < 24] z[i] = s[j, i] * u[j, i]
      map [j < 20, i < 24] u[j, i] = s[j, i] + l[i]
      store [j < 20, i < 24] c[j, i] <- u[j, i]
      store [i < 24] r[i] <- l[i]
      store [i < 24] q[i] <- z[i]
    }";
    Case::new(text).agrees(1e-5);
}

#[test]
fn empty_grids_and_empty_loops_do_nothing() {
    let text = "kernel none(dims: T) {
      out c: f32 [$T, 4] unit
      out d: f32 [4] unit
      register t: [4]
      grid g < max($T, 1)
      map [n < 4] t[n] = 3.0
      for i in 0 .. $T {
        store [n < 4] c[i, n] <- t[n]
      }
      store [n < 4] d[n] <- t[n]
    }";
    Case::new(text).dim("T", 0).agrees(0.0);
}

#[test]
fn division_and_remainder_of_indices_round_down() {
    let text = "kernel indices(dims: a, b, T) {
      out c: f32 [$T, 8] unit
      register t: [8]
      for i in 0 .. $T {
        map [n < 8] t[n] = int((i - $a) / $b) * 1000.0 + int((i - n - $a) % $b) + int((n - 5) / 4) * 0.25
        store [n < 8] c[i, n] <- t[n] + int(min(i, $b) * max(n, 3))
      }
    }";
    for b in [1, 3, 4] {
        Case::new(text)
            .dim("a", 7)
            .dim("b", b)
            .dim("T", 15)
            .agrees_in(&few(), 0.0);
    }
}

#[test]
fn statements_moved_together_keep_their_dependences() {
    // A running maximum as an online softmax writes it: the saved value lies between the scores and
    // their maximum, the rescaling between the exponentials and their sum.
    let text = "kernel online(dims: N) {
      in a: f32 [$N, 20, 24] unit
      out c: f32 [24] unit
      out d: f32 [24] unit
      out h: f32 [$N, 24] unit
      shared s: [20, 24]
      shared u: [20, 24]
      shared m: [24]
      shared before: [24]
      shared l: [24]
      shared hist: [24]
      map [i < 24] m[i] = -inf
      map [i < 24] l[i] = 0.0
      map [i < 24] hist[i] = 0.0
      for n in 0 .. $N {
        load [j < 20, i < 24] s[j, i] <- a[n, j, i]
        map [j < 20, i < 24] u[j, i] = 3.0 * s[j, i]
        map [i < 24] before[i] = m[i]
        reduce max [j < 20, i < 24] m[i] (+)= u[j, i]
        map [i < 24] before[i] = exp(before[i] - m[i])
        map [j < 20, i < 24] u[j, i] = exp(u[j, i] - m[i])
        map [i < 24] l[i] = l[i] * before[i]
        reduce sum [j < 20, i < 24] l[i] (+)= u[j, i]
        reduce sum [j < 20, i < 24] before[i] = u[j, i] * s[j, i]
        map [i < 24] hist[i] = 0.5 * hist[i] + before[i]
        map [j < 20, i < 24] u[j, i] = u[j, i] + before[i]
        store [i < 24] h[n, i] <- u[7, i]
      }
      store [i < 24] c[i] <- l[i]
      store [i < 24] d[i] <- hist[i] + m[i]
    }";
    for n in [0, 1, 5] {
        Case::new(text).dim("N", n).agrees(2e-5);
    }
}

#[test]
fn buffers_that_merge_keep_values_that_are_still_needed() {
    // y and z can take x's place; w cannot, because x is read again, and s carries over rounds.
    let text = "kernel merge(dims: N) {
      in a: f32 [$N, 8, 12] unit
      out c: f32 [$N, 8, 12] unit
      out d: f32 [8, 12] unit
      shared x: [8, 12]
      shared y: [8, 12]
      shared z: [8, 12]
      shared w: [8, 12]
      shared s: [8, 12]
      shared t: [8, 12]
      map [i < 8, j < 12] s[i, j] = 1.0
      for n in 0 .. $N {
        load [i < 8, j < 12] x[i, j] <- a[n, i, j]
        map [i < 8, j < 12] w[i, j] = x[i, j] * 2.0
        map [i < 8, j < 12] y[i, j] = x[i, j] + w[i, j]
        map [i < 8, j < 12] z[i, j] = y[i, j] * y[i, j] + s[i, j]
        map [i < 8, j < 12] t[i, j] = s[i, j] * 0.5
        store [i < 8, j < 12] c[n, i, j] <- z[i, j] - t[i, j]
        map [i < 8, j < 12] s[i, j] = z[i, j] + 0.25 * t[i, j]
      }
      store [i < 8, j < 12] d[i, j] <- s[i, j]
    }";
    for n in [0, 1, 4] {
        Case::new(text).dim("N", n).agrees(1e-5);
    }
}

/// What is moved in pieces of 16 bytes may begin before a row and end behind it.
#[test]
fn rows_that_are_read_shifted() {
    for dtype in ["f32", "bf16"] {
        let text = "kernel shifted(dims: T) {
          in a: DTYPE [$T, 64] unit
          out c: f32 [$T, 64] unit
          shared before: [64, 16]
          shared behind: [64, 16]
          for i in 0 .. ($T + 16 - 1) / 16 {
            load [d < 64, r < 16] before[d, r] <- a[i * 16 + r, d - 32]
            load [d < 64, r < 16] behind[d, r] <- a[i * 16 + r, d + 24]
            store [r < 16, d < 64] c[i * 16 + r, d] <- before[d, r] - 2.0 * behind[d, r]
          }
        }";
        for t in [1, 16, 37] {
            let text = text.replace("DTYPE", dtype);
            Case::new(&text).dim("T", t).agrees(0.0);
        }
    }
}

#[test]
fn one_buffer_read_through_two_axes() {
    let text = "kernel pairs() {
      in a: f32 [16, 8, 2]
      out c: f32 [16, 16] unit
      out d: f32 [16, 16] unit
      out e: f32 [16, 16] unit
      shared t: [16, 8, 2]
      shared row: [16]
      shared p: [16, 16]
      load [i < 16, k < 8, r < 2] t[i, k, r] <- a[i, k, r]
      map [i < 16] row[i] = t[i, 3, 0]
      map [i < 16, j < 16] p[i, j] = row[i] - 2.0 * row[j]
      store [i < 16, j < 16] c[i, j] <- p[i, j]
      contract [i < 16, j < 16, k < 8, r < 2] p[i, j] = t[i, k, r] * t[j, k, r]
      store [i < 16, j < 16] d[i, j] <- p[i, j]
      contract [i < 16, j < 16, k < 8] p[i, j] = t[i, k, 0] * t[j, k, 1]
      store [i < 16, j < 16] e[i, j] <- p[i, j]
    }";
    Case::new(text).agrees(1e-5);
}

/// Both factors of `p * v` and `q * k` are 16 bits wide in the matrix unit. Loaded ones are already; `p` is computed and
/// rounded, by at most 2^-8 of itself even where the fraction is cut, and so is each output by as much: a
/// weighted mean of values of size 1 is off by 2^-8 and 2^-8 of it. The fast exponential is far more exact.
#[test]
fn attention_in_sixteen_bits() {
    for dtype in ["bf16", "f16"] {
        let text = file("attention")
            .replace("in q: f32", &format!("in q: {dtype}"))
            .replace("in k: f32", &format!("in k: {dtype}"))
            .replace("in v: f32", &format!("in v: {dtype}"));
        for (i, j) in [(16, 16), (33, 50), (17, 5)] {
            Case::new(&text)
                .dim("B", 1)
                .dim("H", 2)
                .dim("I", i)
                .dim("J", j)
                .scalar("scale", 0.2)
                .agrees(2f32.powi(-8));
        }
    }
}

/// Products of 16-bit tensors are exact in the matrix unit and summed in f32: no rounding of factors at all.
#[test]
fn products_of_sixteen_bit_tensors_on_the_matrix_unit() {
    for (turn, (dtype, m, n, k)) in [
        ("bf16", 16, 8, 16),
        ("f16", 64, 64, 32),
        ("bf16", 33, 24, 40),
        ("f16", 5, 7, 9),
        ("bf16", 32, 16, 129),
        ("bf16", 128, 64, 64),
    ]
    .into_iter()
    .enumerate()
    {
        for (b, sb, ob) in [
            ("k, n", format!("{k}, {n}"), format!("k < {k}, n < {n}")),
            ("n, k", format!("{n}, {k}"), format!("n < {n}, k < {k}")),
        ] {
            let text = format!(
                "kernel product() {{
                  in a: {dtype} [{m}, {k}] unit
                  in b: {dtype} [{sb}] unit
                  out c: f32 [{m}, {n}] unit
                  out d: f32 [{n}, {m}] unit
                  shared ta: [{m}, {k}]
                  shared tb: [{sb}]
                  shared tc: [{m}, {n}]
                  load [m < {m}, k < {k}] ta[m, k] <- a[m, k]
                  load [{ob}] tb[{b}] <- b[{b}]
                  contract [m < {m}, n < {n}, k < {k}] tc[m, n] = ta[m, k] * tb[{b}]
                  store [m < {m}, n < {n}] c[m, n] <- tc[m, n]
                  contract [m < {m}, n < {n}, k < {k}] tc[m, n] (+)= tb[{b}] * ta[m, k]
                  store [m < {m}, n < {n}] d[n, m] <- tc[m, n]
                }}"
            );
            let configs = [configs()[turn], configs()[turn + 3]];
            Case::new(&text).agrees_in(&configs, 2e-6 * k as f32);
        }
    }
}

#[test]
fn loops_in_a_chain_with_prefetched_loads() {
    let text = "kernel chain(dims: N, M) {
      in a: f32 [$N, 16, 16] unit
      in b: f32 [$M, 16, 16] unit
      out c: f32 [16, 16] unit
      shared ta: [16, 16]
      shared tb: [16, 16]
      register acc: [16, 16]
      map [m < 16, n < 16] acc[m, n] = 0.5
      for i in 0 .. $N {
        load [m < 16, k < 16] ta[m, k] <- a[i, m, k]
        load [k < 16, n < 16] tb[k, n] <- b[0, k, n]
        contract [m < 16, n < 16, k < 16] acc[m, n] (+)= ta[m, k] * tb[k, n]
      }
      for j in reverse 0 .. $M {
        load [m < 16, k < 16] ta[m, k] <- a[0, m, k]
        load [k < 16, n < 16] tb[k, n] <- b[j, k, n]
        map [m < 16, n < 16] acc[m, n] = acc[m, n] * 0.5
        contract [m < 16, n < 16, k < 16] acc[m, n] (+)= ta[m, k] * tb[k, n]
      }
      for i in 0 .. $N {
        load [m < 16, k < 16] ta[m, k] <- a[i, m, k]
        if i % 2 == 0 {
          map [m < 16, n < 16] acc[m, n] = acc[m, n] + ta[m, n]
        } else {
          map [m < 16, n < 16] acc[m, n] = acc[m, n] - ta[n, m]
        }
      }
      store [m < 16, n < 16] c[m, n] <- acc[m, n]
    }";
    for (n, m) in [(0, 1), (1, 0), (1, 1), (2, 3), (5, 4)] {
        let case = Case::new(text).dim("N", n).dim("M", m);
        // Tiles that a loop which does not turn would have loaded do not exist.
        case.agrees(2e-5);
    }
}
