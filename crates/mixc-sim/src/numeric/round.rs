//! One rounding of an exact value to any binary format, in any direction.

/// Rounding directions as const parameters (PTX `.rn .rz .rm .rp`, and `.rna`).
pub type Mode = u8;
/// To nearest, ties to even.
pub const RN: Mode = 0;
/// Towards zero.
pub const RZ: Mode = 1;
/// Towards minus infinity.
pub const RM: Mode = 2;
/// Towards plus infinity.
pub const RP: Mode = 3;
/// To nearest, ties away from zero.
pub const RNA: Mode = 4;

/// The exact value `hi + lo`, where `hi` is the sum rounded to nearest.
#[derive(Clone, Copy, Debug)]
pub struct Exact {
    pub hi: f64,
    pub lo: f64,
}

impl Exact {
    pub fn of(hi: f64) -> Exact {
        Exact { hi, lo: 0.0 }
    }

    /// `a + b` without error (Knuth, The Art of Computer Programming, vol. 2, 4.2.2, theorem B).
    pub fn sum(a: f64, b: f64) -> Exact {
        let hi = a + b;
        if !hi.is_finite() {
            return Exact { hi, lo: 0.0 };
        }
        let bb = hi - a;
        let lo = (a - (hi - bb)) + (b - bb);
        Exact { hi, lo }
    }

    pub fn of_int(v: i128) -> Exact {
        let hi = v as f64;
        Exact {
            hi,
            lo: (v - hi as i128) as f64,
        }
    }
}

/// A binary interchange format: sign, `exponent` bits, `mantissa` bits.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    pub exponent: u32,
    pub mantissa: u32,
}

pub const F16: Format = Format {
    exponent: 5,
    mantissa: 10,
};
pub const BF16: Format = Format {
    exponent: 8,
    mantissa: 7,
};
pub const F32: Format = Format {
    exponent: 8,
    mantissa: 23,
};
/// tf32 kept in its 19 bits; the caller shifts it into the 32-bit container.
pub const TF32: Format = Format {
    exponent: 8,
    mantissa: 10,
};

impl Format {
    pub const fn nan(self) -> u64 {
        (1 << (self.exponent + self.mantissa)) - 1
    }

    pub const fn infinity(self) -> u64 {
        ((1 << self.exponent) - 1) << self.mantissa
    }

    pub const fn sign(self) -> u64 {
        1 << (self.exponent + self.mantissa)
    }

    /// The bits of `x` rounded once. Overflow gives infinity or the largest finite number as the
    /// direction asks (IEEE 754, 7.4); zero keeps the sign of `hi`.
    pub fn round(self, x: Exact, mode: Mode) -> u64 {
        let Exact { hi, lo } = x;
        if hi.is_nan() {
            return self.nan();
        }
        let sign = if hi.is_sign_negative() {
            self.sign()
        } else {
            0
        };
        if hi.is_infinite() {
            return sign | self.infinity();
        }
        if hi == 0.0 {
            return sign;
        }
        let (mut m, e) = decompose(hi);
        // Two more bits hold which side of `hi` the exact value is on.
        m <<= 2;
        if lo != 0.0 {
            m = if (lo < 0.0) == (hi < 0.0) {
                m | 1
            } else {
                m - 1
            };
        }
        let e = e - 2;
        sign | self.round_magnitude(m, e, sign != 0, mode)
    }

    /// `m * 2^e`, `m > 0`, rounded to this format's magnitude bits.
    fn round_magnitude(self, m: u64, e: i32, negative: bool, mode: Mode) -> u64 {
        let bias = (1i32 << (self.exponent - 1)) - 1;
        let min_e = 1 - bias - self.mantissa as i32;
        let top = 63 - m.leading_zeros() as i32;
        // The exponent of the result's last place.
        let last = (e + top - self.mantissa as i32).max(min_e);
        let shift = last - e;
        let rounded = if shift <= 0 {
            m << (-shift).min(63)
        } else if shift > 63 {
            directed(0, true, false, true, negative, mode)
        } else {
            let kept = m >> shift;
            let rest = m & ((1 << shift) - 1);
            let half = 1u64 << (shift - 1);
            directed(kept, rest != 0, rest == half, rest < half, negative, mode)
        };
        if rounded == 0 {
            return 0;
        }
        // A carry into the next binade only adds one to the exponent field.
        let biased = (last - min_e) as u64;
        let magnitude = if rounded < (1 << self.mantissa) {
            rounded
        } else {
            (biased << self.mantissa) + rounded
        };
        if magnitude >= self.infinity() {
            let away = match mode {
                RZ => false,
                RM => negative,
                RP => !negative,
                _ => true,
            };
            return if away {
                self.infinity()
            } else {
                self.infinity() - 1
            };
        }
        magnitude
    }

    /// The value of the bits as a double (exact for all formats here).
    pub fn value(self, bits: u64) -> f64 {
        let magnitude = bits & (self.sign() - 1);
        let sign = if bits & self.sign() != 0 { -1.0 } else { 1.0 };
        let bias = (1i32 << (self.exponent - 1)) - 1;
        let field = (magnitude >> self.mantissa) as i32;
        let fraction = (magnitude & ((1 << self.mantissa) - 1)) as f64;
        if magnitude > self.infinity() {
            f64::NAN
        } else if magnitude == self.infinity() {
            sign * f64::INFINITY
        } else if field == 0 {
            sign * fraction * exp2i(1 - bias - self.mantissa as i32)
        } else {
            let one = (1u64 << self.mantissa) as f64;
            sign * (one + fraction) * exp2i(field - bias - self.mantissa as i32)
        }
    }
}

fn exp2i(e: i32) -> f64 {
    f64::from_bits(((e + 1023) as u64) << 52)
}

/// `kept`, or the next larger, by the part that was cut off.
fn directed(
    kept: u64,
    inexact: bool,
    tie: bool,
    below_half: bool,
    negative: bool,
    mode: Mode,
) -> u64 {
    let up = match mode {
        RN => !below_half && (!tie || kept & 1 == 1),
        RNA => !below_half,
        RM => inexact && negative,
        RP => inexact && !negative,
        _ => false,
    };
    kept + u64::from(up && inexact)
}

/// |x| = m * 2^e with m < 2^53, x finite and not zero.
fn decompose(x: f64) -> (u64, i32) {
    let bits = x.to_bits() & !(1 << 63);
    let (field, fraction) = ((bits >> 52) as i32, bits & ((1 << 52) - 1));
    if field == 0 {
        (fraction, -1074)
    } else {
        (fraction | (1 << 52), field - 1075)
    }
}

/// An exact sum rounded to f64 in a direction.
pub fn round_f64(x: Exact, mode: Mode) -> f64 {
    let Exact { hi, lo } = x;
    if lo == 0.0 || !hi.is_finite() {
        return hi;
    }
    match mode {
        RM if lo < 0.0 => hi.next_down(),
        RP if lo > 0.0 => hi.next_up(),
        RZ if lo < 0.0 && hi > 0.0 => hi.next_down(),
        RZ if lo > 0.0 && hi < 0.0 => hi.next_up(),
        _ => hi,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_agrees_with_the_machine_on_f32() {
        let mut state = 1u64;
        for _ in 0..200_000 {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            // Exponents near the f32 range, so that subnormals and overflow occur.
            let e = 1023 - 155 + (state >> 33) % 300;
            let x = f64::from_bits((state << 63) | (e << 52) | (state >> 12));
            assert_eq!(
                F32.round(Exact::of(x), RN),
                u64::from((x as f32).to_bits()),
                "{x:e}"
            );
        }
    }

    #[test]
    fn sixteen_bit_values_survive() {
        for bits in 0..=0xffffu64 {
            for format in [F16, BF16] {
                let v = format.value(bits);
                if !v.is_nan() {
                    for mode in [RN, RZ, RM, RP, RNA] {
                        assert_eq!(format.round(Exact::of(v), mode), bits);
                    }
                }
            }
        }
    }

    #[test]
    fn directions_bracket_the_value() {
        let third = Exact::of(1.0 / 3.0);
        let down = F16.value(F16.round(third, RM));
        let up = F16.value(F16.round(third, RP));
        assert!(down < 1.0 / 3.0 && 1.0 / 3.0 < up);
        assert_eq!(F16.round(third, RZ), F16.round(third, RM));
        let minus = Exact::of(-1.0 / 3.0);
        assert_eq!(F16.round(minus, RZ), F16.round(minus, RP));
    }

    #[test]
    fn the_low_part_breaks_ties() {
        // 1 + 2^-11 is halfway between two f16 numbers; the low part decides.
        let half_way = 1.0 + 2f64.powi(-11);
        let round = |lo| F16.round(Exact { hi: half_way, lo }, RN);
        assert_eq!(
            (round(0.0), round(1e-40), round(-1e-40)),
            (0x3c00, 0x3c01, 0x3c00)
        );
    }

    #[test]
    fn overflow_follows_the_direction() {
        let big = Exact::of(1e10);
        assert_eq!(F16.round(big, RN), 0x7c00);
        assert_eq!(F16.round(big, RZ), 0x7bff);
        assert_eq!(F16.round(Exact::of(-1e10), RP), 0x8000 | 0x7bff);
    }
}
