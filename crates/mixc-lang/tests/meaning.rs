//! Small definitions with values computed by hand.

use mixc_interp::{Array, Inputs, eval};
use mixc_ir::verify;
use mixc_text::Source;

type Given<'a> = (&'a str, &'a [usize], &'a [f64]);

/// Compiles one mixer, runs it and returns its outputs flattened, in order of declaration.
fn run(text: &str, given: &[Given<'_>], scalars: &[(&str, f64)]) -> Vec<Vec<f64>> {
    let source = Source::new("text", text);
    let programs = mixc_lang::compile(&source).unwrap_or_else(|e| panic!("{}", source.render(&e)));
    verify(&programs[0]).unwrap_or_else(|e| panic!("{}\n{e:#?}", programs[0]));
    let mut inputs = Inputs::default();
    for (name, shape, data) in given {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "{name}");
        inputs
            .tensors
            .insert((*name).into(), Array::new(shape.to_vec(), data.to_vec()));
    }
    inputs
        .scalars
        .extend(scalars.iter().map(|(n, v)| ((*n).into(), *v)));
    let found = eval(&programs[0], &inputs).unwrap_or_else(|e| panic!("{}\n{e}", programs[0]));
    programs[0]
        .outputs
        .iter()
        .map(|o| found[&o.name].data.clone())
        .collect()
}

fn close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (a, b) in found.iter().zip(expected) {
        assert!(
            (a - b).abs() < 1e-12 || a == b,
            "{found:?} is not {expected:?}"
        );
    }
}

#[test]
fn reads_outside_of_a_tensor_are_zero() {
    let text = "mixer m(x: [T], h: [W]) -> y: [T] { y[t] = sum[w](h[w] * x[t - w]) }";
    close(
        &run(
            text,
            &[("x", &[3], &[1., 2., 3.]), ("h", &[2], &[1., 10.])],
            &[],
        )[0],
        &[1., 12., 23.],
    );
}

#[test]
fn heads_share_groups_in_order() {
    let text =
        "mixer m(x: [B, H, T], k: [B, G, T]) -> (y: [B, H, T], z: [B, H, T]) where H % G == 0 {
        double[t] = 2 * k[t]
        y[t] = x[t] * k[t]
        z[t] = x[t] + double[t]
    }";
    let x = [1., 2., 3., 4.];
    let out = run(
        text,
        &[("x", &[1, 4, 1], &x), ("k", &[1, 2, 1], &[10., 100.])],
        &[],
    );
    close(&out[0], &[10., 20., 300., 400.]);
    close(&out[1], &[21., 22., 203., 204.]);
}

#[test]
fn batch_axes_can_be_named_and_summed() {
    let text = "mixer m(x: [B, H, T], w: [H]) -> (y: [B, H, T], total: [B, T]) {
        y[t] = x[t] + 10 * h + 100 * b
        total[t] = sum[h](w * x[t])
    }";
    let out = run(
        text,
        &[
            ("x", &[1, 2, 2], &[1., 2., 3., 4.]),
            ("w", &[2], &[1., 10.]),
        ],
        &[],
    );
    close(&out[0], &[1., 2., 13., 14.]);
    close(&out[1], &[31., 42.]);
}

#[test]
fn a_state_is_old_until_it_is_assigned() {
    let text = "mixer m(x: [T]) -> (before: [T], after: [T], last: []) {
        scan t in T carry s = 100 {
            before[t] = s
            s = s + x[t]
            s = 2 * s
            after[t] = s
        }
        last = s
    }";
    let out = run(text, &[("x", &[2], &[1., 2.])], &[]);
    close(&out[0], &[100., 202.]);
    close(&out[1], &[202., 408.]);
    close(&out[2], &[408.]);
}

#[test]
fn steps_before_the_first_are_zero_in_both_directions() {
    let text = "mixer m(x: [T]) -> (up: [T], down: [T]) {
        scan t in T { up[t] = 10 * up[t - 1] + x[t] }
        scan t in T reverse { down[t] = 10 * down[t + 1] + x[t] }
    }";
    let out = run(text, &[("x", &[3], &[1., 2., 3.])], &[]);
    close(&out[0], &[1., 12., 123.]);
    close(&out[1], &[321., 32., 3.]);
}

#[test]
fn states_with_the_same_variables_swapped() {
    // S is transposed in every step.
    let text = "mixer m(x: [T, K, K]) -> o: [K, K] {
        scan t in T carry S[a, e] = 0 { S[i, j] = S[j, i] + x[t, i, j] }
        o[a, e] = S[a, e]
    }";
    let x = [1., 2., 3., 4., 10., 20., 30., 40.];
    close(
        &run(text, &[("x", &[2, 2, 2], &x)], &[])[0],
        &[11., 23., 32., 44.],
    );
}

#[test]
fn ranks_count_earlier_equals_first() {
    let text =
        "mixer m(x: [T], v: [T]) -> (place: [T], best: [T], first: [], last: [], pick: [2]) {
        place[t] = rank[t](x[t])
        best[t] = 1 if topk[t](x[t], 2) else 0
        first = argmax[t](x[t])
        last = argmin[t](x[t])
        at[r in 2] = sum[t](t if rank[t](x[t]) == r else 0)
        pick[r] = v[at[r]]
    }";
    let out = run(
        text,
        &[
            ("x", &[4], &[5., 7., 7., 1.]),
            ("v", &[4], &[10., 20., 30., 40.]),
        ],
        &[],
    );
    close(&out[0], &[2., 0., 1., 3.]);
    close(&out[1], &[0., 1., 1., 0.]);
    close(&out[2], &[1.]);
    close(&out[3], &[3.]);
    close(&out[4], &[20., 30.]);
}

#[test]
fn reductions() {
    let text =
        "mixer m(x: [T]) -> (a: [], b: [], c: [], d: [], e: [], f: [], g: [T], h: [T], n: []) {
        a = mean[t](x[t])
        b = prod[t](x[t])
        c = min[t](x[t])
        d = lse[t](x[t]) - log(sum[t](exp(x[t])))
        e = 1 if any[t](x[t] > 3) else 0
        f = 1 if all[t](x[t] > 1) else 0
        g[t] = cumsum[t](x[t])
        h[t] = cumprod[t](x[t])
        n = sum[t](x[t] >= 2)
    }";
    let out = run(text, &[("x", &[3], &[1., 2., 4.])], &[]);
    for (found, expected) in out.iter().zip([
        &[7. / 3.][..],
        &[8.],
        &[1.],
        &[0.],
        &[1.],
        &[0.],
        &[1., 3., 7.],
        &[1., 2., 8.],
        &[2.],
    ]) {
        close(found, expected);
    }
}

#[test]
fn index_arithmetic_rounds_down() {
    let text =
        "mixer m(x: [T], ids: int [T], w: int = 2) -> (a: [T], b: [T], c: [T], d: [T], e: [T]) {
        half = T / 2
        a[t] = floor((t - 3) / 2)
        b[t] = (t - 3) % 2
        c[t] = real(t) / 2
        d[t] = x[ids[t] + 1 - half]
        e[t] = 1 if t / w == 1 and not t == 3 else 0
    }";
    let given: &[Given<'_>] = &[
        ("x", &[4], &[1., 2., 3., 4.]),
        ("ids", &[4], &[3., 2., 1., 9.]),
    ];
    let out = run(text, given, &[]);
    close(&out[0], &[-2., -1., -1., 0.]);
    close(&out[1], &[1., 0., 1., 0.]);
    close(&out[2], &[0., 0.5, 1., 1.5]);
    close(&out[3], &[3., 2., 1., 0.]);
    close(&out[4], &[0., 0., 1., 0.]);
}

#[test]
fn complex_arithmetic() {
    // x = 1 + 2i, y = 3 - i.
    let text = "mixer m(x: complex [], y: complex []) -> (p: complex [], q: complex [], r: complex [], s: [], u: complex []) {
        p = x * y - 1
        q = x / y
        r = exp(complex(0, pi)) + conj(x)
        s = abs(y) ** 2 + re(x) + im(y)
        u = x if re(x) > 5 else 2 * y + 1
    }";
    let out = run(
        text,
        &[("x", &[2], &[1., 2.]), ("y", &[2], &[3., -1.])],
        &[],
    );
    close(&out[0], &[4., 5.]);
    close(&out[1], &[0.1, 0.7]);
    close(&out[2], &[0., -2.]);
    close(&out[3], &[10.]);
    close(&out[4], &[7., -2.]);
}

#[test]
fn a_complex_state_rotates() {
    // Multiplying by i in every step, from 1.
    let text = "mixer m(x: [T]) -> (o: complex [T], last: complex []) {
        scan t in T carry z = complex(1, 0) {
            z = complex(0, 1) * z + x[t]
            o[t] = z
        }
        last = z
    }";
    let out = run(text, &[("x", &[3], &[0., 0., 5.])], &[]);
    close(&out[0], &[0., 1., -1., 0., 5., -1.]);
    close(&out[1], &[5., -1.]);
}

#[test]
fn defaults_functions_and_softmax() {
    let text = "mixer m(x: [B, T], bias: [T] = 1, scale: f32 = 1.0 / T, shift: f32 = 2 * scale) -> (o: [B, T], p: [B, T]) {
        double(a) = a + a
        shifted(i) = double(x[i]) + bias[i]
        o[t] = scale * shifted(t + 1) + shift
        p[t] = softmax[t](x[t] if t > 0 else -inf)
    }";
    let x = [0., 2.0_f64.ln(), 6.0_f64.ln()];
    let out = run(text, &[("x", &[1, 3], &x)], &[]);
    close(
        &out[0],
        &[
            (2. * x[1] + 1.) / 3. + 2. / 3.,
            (2. * x[2] + 1.) / 3. + 2. / 3.,
            2. / 3.,
        ],
    );
    close(&out[1], &[0., 0.25, 0.75]);
    let out = run(
        text,
        &[("x", &[1, 3], &x), ("bias", &[3], &[0., 0., 3.])],
        &[("scale", 1.0)],
    );
    close(&out[0], &[2. * x[1] + 2., 2. * x[2] + 3. + 2., 2.]);
}

#[test]
fn a_lone_mask_gives_zero_rows() {
    let text = "mixer m(q: [I], k: [J], keep: bool [J]) -> o: [I] {
        o[i] = sum[j](softmax[j](q[i] * k[j] if j <= i - 1 and keep[j] else -inf) * k[j])
    }";
    let given: &[Given<'_>] = &[
        ("q", &[3], &[0., 0., 0.]),
        ("k", &[2], &[4., 6.]),
        ("keep", &[2], &[1., 1.]),
    ];
    close(&run(text, given, &[])[0], &[0., 4., 5.]);
}

#[test]
fn axis_names_stay_short_and_unique() {
    let text = "mixer m(q: [B, T, D], k: [B, T, D]) -> o: [B, T] {
        s[i, j] = sum[d](q[i, d] * k[j, d])
        o[i] = sum[j](s[i, j]) + sum[d](q[i, d])
    }";
    let source = Source::new("text", text);
    let program = mixc_lang::compile(&source).unwrap().remove(0);
    let printed = program.to_string();
    assert!(
        printed.contains("let s[b, i, j] = sum[d](q[b, i, d] * k[b, j, d])"),
        "{printed}"
    );
    assert!(
        printed.contains("let o[b, i] = sum[j2](s[b, i, j2]) + sum[d2](q[b, i, d2])"),
        "{printed}"
    );
    let axes: Vec<&str> = program.axes.keys().map(|a| &**a).collect();
    assert_eq!(axes, ["b", "d", "d2", "i", "j", "j2"]);
}
