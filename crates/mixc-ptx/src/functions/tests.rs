//! The error of every function over dense samples and special values, against f64.

mod harness;
mod limits;

use super::Accuracy;
use harness::{Kernels, name, off_by_the_most, run};
use mixc_ir::Func;
use mixc_sim::Module;
use std::sync::LazyLock;

static ALL: LazyLock<Kernels> = LazyLock::new(|| Kernels::of_all("sm_80"));

/// The kernels as they are, and with the hardware's errors at their most: those of exponentials and of
/// what takes their results, in either direction each.
static MODULES: LazyLock<[Module; 5]> = LazyLock::new(|| {
    let off = |exponentials, others| {
        ALL.changed(|line| off_by_the_most(line, exponentials, others))
            .ready()
    };
    [
        ALL.ready(),
        off(1.0, 1.0),
        off(1.0, -1.0),
        off(-1.0, 1.0),
        off(-1.0, -1.0),
    ]
});

/// What an error may be: `ulps` units in the last place of the larger of the exact value and `least`. Where
/// the exact value is below `zero_below`, the result may be 0.
#[derive(Clone, Copy)]
struct Bound {
    ulps: f64,
    least: f64,
    zero_below: f64,
}

const SMALLEST: f64 = f32::MIN_POSITIVE as f64;

const fn ulps(ulps: f64) -> Bound {
    Bound {
        ulps,
        least: SMALLEST,
        zero_below: 0.0,
    }
}

impl Bound {
    /// Results below 2^-126 may be 0.
    const fn flushed(self) -> Bound {
        self.zero_below(2.0 * SMALLEST)
    }

    const fn zero_below(self, zero_below: f64) -> Bound {
        Bound { zero_below, ..self }
    }

    const fn least(self, least: f64) -> Bound {
        Bound { least, ..self }
    }

    /// The error in units in the last place.
    fn error(&self, got: f32, exact: f64) -> f64 {
        let nearest = exact as f32;
        if got == nearest || (got.is_nan() && nearest.is_nan()) {
            return 0.0;
        }
        if exact.abs() < self.zero_below && f64::from(got.abs()) <= self.zero_below {
            return 0.0;
        }
        let got = f64::from(got);
        // What rounds to infinity and what nearly does are neighbours.
        let end = 2f64.powi(128);
        let (got, exact) = (got.clamp(-end, end), exact.clamp(-end, end));
        let ulp = 2f64.powi(exact.abs().max(self.least).min(end / 2.0).log2().floor() as i32 - 23);
        let error = (got - exact).abs() / ulp;
        if error.is_nan() { f64::INFINITY } else { error }
    }
}

/// The largest error over the samples and where, with the hardware's errors and without.
fn worst(f: Func, accuracy: Accuracy, bound: Bound, args: &[[f32; 3]]) -> (f64, [f32; 3]) {
    let mut worst = (0.0, [0.0; 3]);
    for module in MODULES.iter() {
        for (args, got) in args.iter().zip(run(module, &name(f, accuracy), args)) {
            let mut error = bound.error(got, exact(f, args));
            if accuracy == Accuracy::Fast {
                // Subnormal arguments may count as 0.
                let flushed = args.map(|x| if x.is_subnormal() { 0.0 * x } else { x });
                error = error.min(bound.error(got, exact(f, &flushed)));
            }
            if error > worst.0 {
                worst = (error, *args);
            }
        }
    }
    worst
}

fn exact(f: Func, args: &[f32; 3]) -> f64 {
    f.eval(&args.map(f64::from)[..f.arity()])
}

/// Uniform in [lo, hi], and every power of two times a few factors inside it.
fn samples(lo: f32, hi: f32) -> Vec<[f32; 3]> {
    let uniform = (0..4000).map(|i| lo + (hi - lo) * (i as f32 / 4000.0));
    let scaled = (-140..128).flat_map(|n| {
        [1.0f32, 1.1, 1.37, 1.414, 1.5, 1.7, 1.999]
            .into_iter()
            .flat_map(move |m| [m * (n as f32).exp2(), -m * (n as f32).exp2()])
    });
    let inside = move |x: &f32| *x >= lo && *x <= hi;
    uniform
        .chain(scaled.filter(inside))
        .map(|x| [x, 0.0, 0.0])
        .collect()
}

/// Function, range, bounds in full and fast.
type Row = (Func, f32, f32, Bound, Bound);

const EXACT: Bound = ulps(0.0);

/// Results at the end of the range of silu, x / (1 + exp(-x)), where the exponential's inverse is already 0.
const SILU_END: f64 = 128.0 * SMALLEST;

#[rustfmt::skip]
const TABLE: &[Row] = &[
    (Func::Neg, -70.0, 70.0, EXACT, EXACT),
    (Func::Abs, -70.0, 70.0, EXACT, EXACT),
    (Func::Sign, -70.0, 70.0, EXACT, EXACT),
    (Func::Floor, -70.0, 70.0, EXACT, EXACT),
    (Func::Ceil, -70.0, 70.0, EXACT, EXACT),
    (Func::Round, -70.0, 70.0, EXACT, EXACT),
    (Func::Relu, -70.0, 70.0, EXACT, EXACT),
    (Func::Recip, -1e6, 1e6, ulps(2.0), ulps(2.0).flushed()),
    (Func::RecipOrZero, -1e6, 1e6, ulps(2.0), ulps(2.0).flushed()),
    (Func::Sqrt, 0.0, 1e6, ulps(1.0), ulps(3.0)),
    (Func::Rsqrt, 0.0, 1e6, ulps(3.0), ulps(3.0)),
    (Func::Exp, -110.0, 100.0, ulps(5.0).flushed(), ulps(64.0).flushed()),
    (Func::Exp, -1.0, 1.0, ulps(5.0), ulps(5.0)),
    (Func::Exp2, -140.0, 140.0, ulps(5.0).flushed(), ulps(5.0).flushed()),
    (Func::Expm1, -30.0, 100.0, ulps(2.0), ulps(64.0)),
    (Func::Expm1, -1.0, 1.0, ulps(2.0), ulps(64.0)),
    (Func::Elu, -30.0, 10.0, ulps(2.0), ulps(64.0)),
    (Func::Log, 0.0, 10.0, ulps(2.0), ulps(6.0).least(0.5)),
    (Func::Log, 0.5, 2.0, ulps(2.0), ulps(6.0).least(0.5)),
    (Func::Log, 0.0, 3e38, ulps(2.0), ulps(6.0).least(0.5)),
    (Func::Log2, 0.0, 10.0, ulps(2.0), ulps(6.0).least(1.0)),
    (Func::Log2, 0.5, 2.0, ulps(2.0), ulps(6.0).least(1.0)),
    (Func::Log2, 0.0, 3e38, ulps(2.0), ulps(6.0).least(1.0)),
    (Func::Log1p, -0.999, 10.0, ulps(4.0), ulps(192.0)),
    (Func::Log1p, -0.01, 0.01, ulps(4.0), ulps(192.0)),
    (Func::Log1p, 0.0, 3e38, ulps(4.0), ulps(192.0)),
    (Func::Sin, -4.0, 4.0, ulps(2.0), ulps(768.0)),
    (Func::Sin, -1e3, 1e3, ulps(2.0), ulps(768.0)),
    (Func::Sin, -1048576.0, 1048576.0, ulps(2.0), ulps(768.0)),
    (Func::Cos, -4.0, 4.0, ulps(2.0), ulps(768.0)),
    (Func::Cos, -1e3, 1e3, ulps(2.0), ulps(768.0)),
    (Func::Cos, -1048576.0, 1048576.0, ulps(2.0), ulps(768.0)),
    (Func::Tanh, -12.0, 12.0, ulps(4.0), ulps(64.0)),
    (Func::Tanh, -1.0, 1.0, ulps(4.0), ulps(64.0)),
    (Func::Sigmoid, -100.0, 40.0, ulps(8.0).flushed(), ulps(64.0).flushed()),
    (Func::Silu, -100.0, 40.0, ulps(8.0).zero_below(SILU_END), ulps(64.0).zero_below(SILU_END)),
    (Func::Softplus, -100.0, 40.0, ulps(5.0).flushed(), ulps(192.0).flushed()),
    (Func::LogSigmoid, -40.0, 100.0, ulps(5.0).flushed(), ulps(192.0).flushed()),
    (Func::Erf, -6.0, 6.0, ulps(4.0), ulps(24.0)),
    (Func::Erf, -1.2, 1.2, ulps(4.0), ulps(24.0)),
];

#[test]
fn errors_stay_within_the_stated_bounds() {
    let mut failures = vec![];
    for (f, lo, hi, full, fast) in TABLE {
        for (accuracy, bound) in [(Accuracy::Full, full), (Accuracy::Fast, fast)] {
            let (error, at) = worst(*f, accuracy, *bound, &samples(*lo, *hi));
            let name = f.name();
            let line = format!(
                "{name} {accuracy:?} on [{lo}, {hi}]: {error:.2} ulp at {:e}",
                at[0]
            );
            println!("{line}");
            if error > bound.ulps {
                failures.push(line);
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// 1 + erf(x) cancels for negative x, so the error is one of the argument.
#[test]
fn gelu_is_accurate_relative_to_its_argument() {
    for (accuracy, bound) in [(Accuracy::Full, 1.25e-7), (Accuracy::Fast, 6e-7)] {
        let samples = samples(-10.0, 10.0);
        let mut worst = 0f64;
        for module in MODULES.iter() {
            let results = run(module, &name(Func::Gelu, accuracy), &samples);
            for (x, got) in samples.iter().zip(results) {
                let size = f64::from(x[0].abs()).max(2.0 * SMALLEST);
                worst = worst.max((f64::from(got) - exact(Func::Gelu, x)).abs() / size);
            }
        }
        println!("gelu {accuracy:?}: {worst:e}");
        assert!(worst <= bound, "{accuracy:?}: {worst:e}");
    }
}

/// Pairs of numbers with magnitudes around 2^-scale to 2^scale.
fn pairs(count: usize, scale: f32) -> Vec<[f32; 3]> {
    let mut state = 1u32;
    let mut draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut one = || draw().signum() * (scale * draw()).exp2();
    (0..count).map(|_| [one(), one(), 0.0]).collect()
}

#[test]
fn quotients_differences_and_extremes_are_correctly_rounded() {
    let mut samples = pairs(20_000, 40.0);
    // Quotients that are integers.
    samples.extend((1..2000).map(|n| [(n * (n % 13 + 1)) as f32, (n % 13 + 1) as f32, 0.0]));
    for f in [Func::Div, Func::Sub, Func::Max, Func::Min] {
        for accuracy in [Accuracy::Full, Accuracy::Fast] {
            let (error, at) = worst(f, accuracy, EXACT, &samples);
            assert_eq!(error, 0.0, "{f:?} {accuracy:?} at {at:?}");
        }
    }
}

/// Two remainders of one division are the same where they differ by the divisor.
#[test]
fn a_remainder_is_that_of_an_exact_division_or_off_by_a_whole_divisor() {
    let mut samples = pairs(20_000, 8.0);
    samples.extend((1..400).map(|n| [n as f32, (n % 7 + 1) as f32, 0.0]));
    for accuracy in [Accuracy::Full, Accuracy::Fast] {
        for module in MODULES.iter() {
            for (args, got) in samples
                .iter()
                .zip(run(module, &name(Func::Mod, accuracy), &samples))
            {
                let exact = exact(Func::Mod, args);
                let off = (f64::from(got) - exact).abs();
                let divisor = f64::from(args[1].abs());
                let off = off.min((off - divisor).abs());
                assert!(
                    off <= divisor * 2f64.powi(-24),
                    "mod({args:?}) = {got}, not {exact}"
                );
                let whole = args[0].fract() == 0.0 && args[1].fract() == 0.0;
                assert!(
                    !whole || f64::from(got) == exact,
                    "mod({args:?}) = {got}, not {exact}"
                );
            }
        }
    }
}

#[test]
fn powers_stay_within_their_bounds() {
    let mut state = 7u32;
    let mut draw = |lo: f32, hi: f32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        lo + (hi - lo) * ((state >> 8) as f32 / (1 << 24) as f32)
    };
    let mut samples = vec![];
    for _ in 0..8000 {
        samples.push([draw(0.0, 4.0), draw(-30.0, 30.0), 0.0]);
        samples.push([draw(-20.0, 20.0).exp2(), draw(-6.0, 6.0), 0.0]);
        samples.push([draw(-9.0, 9.0), draw(-12.0, 12.0).round(), 0.0]);
        samples.push([draw(0.98, 1.02), draw(-4000.0, 4000.0), 0.0]);
    }
    let (error, at) = worst(Func::Pow, Accuracy::Full, ulps(5.0).flushed(), &samples);
    println!("pow Full: {error:.2} ulp at {at:?}");
    assert!(error <= 5.0, "{error} at {at:?}");
    // The exponent y log2(x) is off by 2^-21 of the larger of itself and y.
    for module in MODULES.iter() {
        for (args, got) in
            samples
                .iter()
                .zip(run(module, &name(Func::Pow, Accuracy::Fast), &samples))
        {
            let exact = exact(Func::Pow, args);
            let exponent =
                f64::from(args[0].abs()).log2().abs().max(1.0) * f64::from(args[1].abs());
            let relative = (exponent * 2f64.powi(-21) + 2f64.powi(-21)) * 0.7;
            let bound = ulps(2f64.powi(24) * relative).flushed();
            let error = bound.error(got, exact);
            assert!(error <= bound.ulps, "pow({args:?}) = {got}, not {exact}");
        }
    }
}
