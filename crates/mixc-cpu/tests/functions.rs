//! The error of every function over dense samples and special values, against f64.

mod common;

use common::Case;
use mixc_ir::Func;
use mixc_tile::TensorData;

/// f(x) or f(x, y) for all samples, by compiled code.
fn run(f: &str, x: &[f32], y: &[f32]) -> Vec<f32> {
    let call = match Func::by_name(f).unwrap().arity() {
        1 => format!("{f}(t[n])"),
        _ => format!("{f}(t[n], u[n])"),
    };
    let text = format!(
        "kernel f(dims: N) {{
          in x: f32 [$N] unit
          in y: f32 [$N] unit
          out z: f32 [$N] unit
          shared t: [64]
          shared u: [64]
          grid g < ($N + 63) / 64
          load [n < 64] t[n] <- x[g * 64 + n]
          load [n < 64] u[n] <- y[g * 64 + n]
          map [n < 64] t[n] = {call}
          store [n < 64] z[g * 64 + n] <- t[n]
        }}"
    );
    let y = if y.is_empty() { x } else { y };
    let case = Case::new(&text)
        .dim("N", x.len() as i64)
        .tensor("x", TensorData::new(&[x.len()], x.to_vec()))
        .tensor("y", TensorData::new(&[x.len()], y.to_vec()))
        .filled();
    case.run(&mixc_cpu::Threads::One)["z"].data.clone()
}

/// The distance in units in the last place of the exact value, at least those of the smallest normal.
fn ulps(got: f32, exact: f64) -> f64 {
    if got.is_nan() && exact.is_nan() {
        return 0.0;
    }
    let nearest = exact as f32;
    if got == nearest {
        return 0.0;
    }
    if got.is_infinite() || nearest.is_infinite() || got.is_nan() || exact.is_nan() {
        return f64::INFINITY;
    }
    let size = exact.abs().max(f64::from(f32::MIN_POSITIVE));
    let ulp = 2f64.powi(size.log2().floor() as i32 - 23);
    (f64::from(got) - exact).abs() / ulp
}

/// Dense samples: uniform in [lo, hi], and every power of two scaled by a few factors inside it.
fn samples(lo: f32, hi: f32) -> Vec<f32> {
    let mut x: Vec<f32> = (0..60_000)
        .map(|i| lo + (hi - lo) * (i as f32 / 60_000.0))
        .collect();
    for e in -140..128 {
        for m in [1.0f32, 1.1, 1.37, 1.414, 1.5, 1.7, 1.999] {
            for sign in [1.0, -1.0] {
                let v = sign * m * 2f32.powi(e);
                if v >= lo && v <= hi {
                    x.push(v);
                }
            }
        }
    }
    x
}

fn worst(f: &str, x: &[f32], accept: impl Fn(f32, f32, f64) -> bool) -> (f64, f32) {
    let func = Func::by_name(f).unwrap();
    let mut worst = (0.0, 0.0);
    for (x, got) in x.iter().zip(run(f, x, &[])) {
        let exact = func.eval(&[f64::from(*x)]);
        if accept(*x, got, exact) {
            continue;
        }
        let error = ulps(got, exact);
        if error > worst.0 {
            worst = (error, *x);
        }
    }
    worst
}

/// Results below 2^-125 may be 0.
fn flushed(_: f32, got: f32, exact: f64) -> bool {
    exact.abs() < 2f64.powi(-125) && f64::from(got).abs() <= exact.abs() * 1.001
}

fn never(_: f32, _: f32, _: f64) -> bool {
    false
}

#[test]
fn errors_stay_within_the_stated_bounds() {
    type Accept = fn(f32, f32, f64) -> bool;
    let table: &[(&str, f32, f32, f64, Accept)] = &[
        ("exp", -110.0, 100.0, 3.0, flushed),
        ("exp", -1.0, 1.0, 3.0, flushed),
        ("exp2", -140.0, 140.0, 3.0, flushed),
        ("expm1", -30.0, 100.0, 3.0, never),
        ("expm1", -1.0, 1.0, 3.0, never),
        ("log", 0.0, 10.0, 3.0, never),
        ("log", 0.5, 2.0, 3.0, never),
        ("log", 0.0, 3e38, 3.0, never),
        ("log2", 0.0, 10.0, 3.0, never),
        ("log2", 0.5, 2.0, 3.0, never),
        ("log1p", -0.999, 10.0, 4.0, never),
        ("log1p", -0.01, 0.01, 4.0, never),
        ("tanh", -12.0, 12.0, 4.0, never),
        ("tanh", -1.0, 1.0, 4.0, never),
        ("sigmoid", -100.0, 40.0, 4.0, flushed),
        ("silu", -80.0, 40.0, 4.0, flushed),
        ("softplus", -80.0, 40.0, 4.0, flushed),
        ("logsigmoid", -40.0, 80.0, 4.0, flushed),
        ("erf", -6.0, 6.0, 4.0, never),
        ("erf", -1.2, 1.2, 4.0, never),
        ("elu", -40.0, 10.0, 3.0, never),
        ("sqrt", 0.0, 1e6, 1.0, never),
        ("rsqrt", 1e-30, 1e6, 1.5, never),
        ("recip", 0.001, 1e6, 1.0, never),
        ("relu", -3.0, 3.0, 0.0, never),
        ("sign", -3.0, 3.0, 0.0, never),
        ("floor", -70.0, 70.0, 0.0, never),
        ("ceil", -70.0, 70.0, 0.0, never),
        ("round", -70.0, 70.0, 0.0, never),
        ("abs", -70.0, 70.0, 0.0, never),
        ("neg", -70.0, 70.0, 0.0, never),
    ];
    for (f, lo, hi, bound, accept) in table {
        let (error, at) = worst(f, &samples(*lo, *hi), accept);
        assert!(
            error <= *bound,
            "{f} on [{lo}, {hi}]: {error:.2} ulp at {at:e}, stated {bound}"
        );
    }
}

#[test]
fn sines_are_accurate_relative_to_the_larger_of_the_value_and_a_small_number() {
    for f in ["sin", "cos"] {
        for (lo, hi) in [(-4.0, 4.0), (-1000.0, 1000.0), (-1e6, 1e6)] {
            let x = samples(lo, hi);
            let func = Func::by_name(f).unwrap();
            for (x, got) in x.iter().zip(run(f, &x, &[])) {
                let exact = func.eval(&[f64::from(*x)]);
                let error = (f64::from(got) - exact).abs();
                assert!(
                    error <= 2.0 * 2f64.powi(-23) * exact.abs().max(2f64.powi(-12)),
                    "{f}({x:e}): {got} for {exact}"
                );
            }
        }
    }
}

#[test]
fn gelu_is_accurate_relative_to_its_argument() {
    let x = samples(-10.0, 10.0);
    for (x, got) in x.iter().zip(run("gelu", &x, &[])) {
        let exact = Func::Gelu.eval(&[f64::from(*x)]);
        assert!(
            (f64::from(got) - exact).abs() <= 3e-7 * f64::from(x.abs()) + 1e-44,
            "gelu({x:e}): {got} for {exact}"
        );
    }
}

#[test]
fn powers() {
    let (mut xs, mut ys) = (Vec::new(), Vec::new());
    for x in samples(0.0, 20.0)
        .iter()
        .step_by(23)
        .chain(&[1e-40, 1e-30, 1e30, 3e38])
    {
        for y in [-3.0, -0.5, 0.3, 0.5, 1.0, 2.0, 7.5, 13.0, 0.001, -30.0] {
            xs.push(*x);
            ys.push(y);
        }
    }
    for x in [-0.5, -2.0, -3.7] {
        for y in [-3.0, -2.0, 0.0, 1.0, 2.0, 3.0, 0.5, 9.0] {
            xs.push(x);
            ys.push(y);
        }
    }
    for ((x, y), got) in xs.iter().zip(&ys).zip(run("pow", &xs, &ys)) {
        let exact = Func::Pow.eval(&[f64::from(*x), f64::from(*y)]);
        let small =
            exact.abs() < f64::from(f32::MIN_POSITIVE) && (f64::from(got) - exact).abs() < 1e-44;
        assert!(
            small || ulps(got, exact) <= 3.0,
            "{x:e}^{y}: {got:e} for {exact:e}"
        );
    }
}

#[test]
fn special_values_have_the_values_of_the_definition() {
    let special = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::from_bits(0xffff_ffff),
        f32::from_bits(0x7fc0_0001),
        1e-45,
        -1e-45,
        f32::MIN_POSITIVE,
        f32::MAX,
        f32::MIN,
        88.0,
        88.72,
        88.73,
        89.0,
        -87.0,
        -88.0,
        -104.0,
        -200.0,
        127.9,
        128.0,
        -1e30,
        1e30,
    ];
    for f in Func::ALL.iter().filter(|f| f.arity() == 1) {
        // Trigonometry of large arguments is stated to lose digits.
        let x: Vec<f32> = special
            .iter()
            .copied()
            .filter(|x| !(matches!(f, Func::Sin | Func::Cos) && x.abs() > 1e6 && x.is_finite()))
            .collect();
        for (x, got) in x.iter().zip(run(f.name(), &x, &[])) {
            let exact = f.eval(&[f64::from(*x)]);
            let tiny = exact.abs() < 2f64.powi(-125) && f64::from(got).abs() <= 2f64.powi(-125);
            assert!(
                tiny || ulps(got, exact) <= 4.0,
                "{}({x:e}): {got:e} for {exact:e}",
                f.name()
            );
        }
    }
    let (mut xs, mut ys) = (Vec::new(), Vec::new());
    for x in [
        0.0,
        1.0,
        -1.0,
        2.5,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
    ] {
        for y in [
            0.0,
            1.0,
            -1.0,
            2.5,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
        ] {
            xs.push(x);
            ys.push(y);
        }
    }
    for f in Func::ALL.iter().filter(|f| f.arity() == 2) {
        for ((x, y), got) in xs.iter().zip(&ys).zip(run(f.name(), &xs, &ys)) {
            let exact = f.eval(&[f64::from(*x), f64::from(*y)]);
            assert!(
                ulps(got, exact) <= 1.0,
                "{}({x}, {y}): {got} for {exact}",
                f.name()
            );
        }
    }
}
