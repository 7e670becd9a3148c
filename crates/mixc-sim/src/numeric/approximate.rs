//! Functions that PTX only approximates, in double, by formulas that vectorise.
//!
//! Each is accurate to about 2^-50 relative, so that one rounding to f32 is within every documented error
//! bound (PTX ISA, "Floating Point Instructions": `ex2`, `lg2`, `tanh`, `rsqrt`, `sin`, `cos`). Multiplication and
//! addition stay separate: every machine gives the same bits.

/// `c[0] + c[1] x + c[2] x^2 + ..`
#[inline(always)]
fn polynomial<const N: usize>(x: f64, c: [f64; N]) -> f64 {
    let mut sum = 0.0;
    for c in c.iter().rev() {
        sum = sum * x + c;
    }
    sum
}

/// Adding and subtracting it rounds to an integer, which the low bits of the sum hold.
const ROUND: f64 = 6755399441055744.0;

/// 2^x for results in the range of f32: `x` is cut off at +-250.
#[inline(always)]
pub fn exp2(x: f64) -> f64 {
    let x = x.clamp(-250.0, 250.0);
    let shifted = x + ROUND;
    let rest = (x - (shifted - ROUND)) * std::f64::consts::LN_2;
    // The Taylor series of e^rest for |rest| <= ln 2 / 2: the next term is below 2^-57.
    let series = [
        1.0,
        1.0,
        1.0 / 2.0,
        1.0 / 6.0,
        1.0 / 24.0,
        1.0 / 120.0,
        1.0 / 720.0,
        1.0 / 5040.0,
        1.0 / 40320.0,
        1.0 / 362880.0,
        1.0 / 3628800.0,
        1.0 / 39916800.0,
        1.0 / 479001600.0,
    ];
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
    polynomial(rest, series) * power
}

/// log2 of an f32 value.
#[inline(always)]
pub fn log2(x: f64) -> f64 {
    // x = m 2^e with m in [sqrt(1/2), sqrt(2)): moving the field's border to sqrt(1/2) first.
    let bits = x.to_bits();
    let border = std::f64::consts::FRAC_1_SQRT_2.to_bits();
    let e = (bits.wrapping_sub(border) as i64 >> 52) as f64;
    let m = f64::from_bits((bits.wrapping_sub(border) & ((1 << 52) - 1)).wrapping_add(border));
    // log m = 2 atanh s; the series' next term is below 2^-62.
    let s = (m - 1.0) / (m + 1.0);
    let series = [
        1.0,
        1.0 / 3.0,
        1.0 / 5.0,
        1.0 / 7.0,
        1.0 / 9.0,
        1.0 / 11.0,
        1.0 / 13.0,
        1.0 / 15.0,
        1.0 / 17.0,
        1.0 / 19.0,
        1.0 / 21.0,
        1.0 / 23.0,
    ];
    let log = e + s * polynomial(s * s, series) * (2.0 * std::f64::consts::LOG2_E);
    if x > 0.0 {
        if x == f64::INFINITY { x } else { log }
    } else if x == 0.0 {
        f64::NEG_INFINITY
    } else {
        f64::NAN
    }
}

#[inline(always)]
pub fn tanh(x: f64) -> f64 {
    // Beyond 20 the result is 1 in double.
    let t = exp2(x.clamp(-20.0, 20.0) * (2.0 * std::f64::consts::LOG2_E));
    let far = (t - 1.0) / (t + 1.0);
    // Near 0 the difference would cancel; the series' next term is below 2^-55.
    let near = x * polynomial(
        x * x,
        [1.0, -1.0 / 3.0, 2.0 / 15.0, -17.0 / 315.0, 62.0 / 2835.0],
    );
    if x.abs() < 0.02 { near } else { far }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All f32 values with some low mantissa bits left out, positive and negative.
    fn sample() -> impl Iterator<Item = f32> {
        (0..=u32::MAX / 8192).map(|n| f32::from_bits(n * 8192 + 4096 * (n & 1)))
    }

    #[track_caller]
    fn agree(f: fn(f64) -> f64, want: fn(f64) -> f64) {
        for x in sample().map(f64::from) {
            let (got, want) = (f(x) as f32, want(x) as f32);
            let close = got.to_bits().abs_diff(want.to_bits()) <= 1;
            assert!(
                close || (got.is_nan() && want.is_nan()),
                "{x:e}: {got:e}, {want:e}"
            );
        }
    }

    #[test]
    fn formulas_agree_with_the_library_on_all_kinds_of_floats() {
        agree(exp2, f64::exp2);
        agree(log2, f64::log2);
        agree(tanh, f64::tanh);
    }

    #[test]
    fn formulas_are_accurate_in_double() {
        for n in 0..20_000 {
            let x = f64::from(n) * 1.0037e-3 - 10.0;
            assert!((exp2(x) / x.exp2() - 1.0).abs() < 2f64.powi(-49));
            assert!((tanh(x) - x.tanh()).abs() <= 2f64.powi(-48) * x.tanh().abs());
            let y = x.exp();
            assert!((log2(y) - y.log2()).abs() <= 2f64.powi(-49) * y.log2().abs().max(1e-3));
        }
    }
}
