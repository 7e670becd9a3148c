//! `cvt` (PTX ISA, "Data Movement and Conversion Instructions: cvt").

use super::Bits;
use super::float::flush;
use super::round::*;
use crate::syntax::ast::Ty;

/// How one `cvt` rounds and clamps. `integer` means `.rni .rzi .rmi .rpi`.
#[derive(Clone, Copy, Debug)]
pub struct Conversion {
    pub to: Ty,
    pub from: Ty,
    pub mode: Mode,
    pub integer: bool,
    pub ftz: bool,
    pub sat: bool,
    pub relu: bool,
    pub satfinite: bool,
}

impl Conversion {
    /// The result's bits, in the width of `to`.
    pub fn apply(self, bits: u64) -> u64 {
        match (self.from.float(), self.to.float()) {
            (false, false) => self.int_to_int(integer(bits, self.from)),
            (false, true) => self.finish(Exact::of_int(integer(bits, self.from))),
            (true, false) => self.float_to_int(self.float_in(bits)),
            (true, true) => {
                let x = self.float_in(bits);
                self.finish(Exact::of(if self.integer {
                    round_integral(x, self.mode)
                } else {
                    x
                }))
            }
        }
    }

    fn float_in(self, bits: u64) -> f64 {
        match self.from {
            Ty::F32 => {
                let x = f32::of(bits);
                f64::from(if self.ftz { flush(x) } else { x })
            }
            Ty::F64 => f64::of(bits),
            Ty::F16 => F16.value(bits & 0xffff),
            Ty::Bf16 => BF16.value(bits & 0xffff),
            _ => f64::from(f32::of(bits)),
        }
    }

    fn int_to_int(self, v: i128) -> u64 {
        let width = self.to.bits();
        let v = if self.sat {
            let (lo, hi) = int_range(self.to);
            v.clamp(lo, hi)
        } else {
            v
        };
        (v as u64) & mask(width)
    }

    /// Out-of-range values clamp; NaN becomes 0.
    fn float_to_int(self, x: f64) -> u64 {
        if x.is_nan() {
            return 0;
        }
        let (lo, hi) = int_range(self.to);
        let r = round_integral(x, self.mode);
        let v = if r >= hi as f64 {
            hi
        } else if r <= lo as f64 {
            lo
        } else {
            r as i128
        };
        (v as u64) & mask(self.to.bits())
    }

    fn finish(self, x: Exact) -> u64 {
        let x = if self.sat {
            // `.sat`: NaN becomes +0.
            Exact::of(if x.hi > 0.0 { x.hi.min(1.0) } else { 0.0 })
        } else {
            x
        };
        if self.relu && x.hi <= 0.0 {
            return 0;
        }
        let format = match self.to {
            Ty::F64 => {
                let v = round_f64(x, self.mode);
                return v.to_bits();
            }
            Ty::F32 => F32,
            Ty::F16 => F16,
            Ty::Bf16 => BF16,
            _ => TF32,
        };
        let mut bits = format.round(x, self.mode);
        if self.satfinite && bits & !format.sign() == format.infinity() {
            bits -= 1;
        }
        match self.to {
            Ty::F32 if self.ftz => u64::from(flush(f32::from_bits(bits as u32)).to_bits()),
            Ty::Tf32 => bits << 13,
            _ => bits,
        }
    }
}

/// To an integral value in the given direction.
fn round_integral(x: f64, mode: Mode) -> f64 {
    match mode {
        RZ => x.trunc(),
        RM => x.floor(),
        RP => x.ceil(),
        RNA => x.round(),
        _ => x.round_ties_even(),
    }
}

pub fn mask(width: u32) -> u64 {
    if width >= 64 {
        u64::MAX
    } else {
        (1 << width) - 1
    }
}

/// The integer that `bits` mean in type `ty`.
pub fn integer(bits: u64, ty: Ty) -> i128 {
    let width = ty.bits();
    if ty.signed() {
        let shift = 64 - width;
        i128::from(((bits << shift) as i64) >> shift)
    } else {
        i128::from(bits & mask(width))
    }
}

fn int_range(ty: Ty) -> (i128, i128) {
    let width = ty.bits();
    if ty.signed() {
        (-(1 << (width - 1)), (1 << (width - 1)) - 1)
    } else {
        (0, (1 << width) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cvt(to: Ty, from: Ty, mode: Mode, bits: u64) -> u64 {
        let c = Conversion {
            to,
            from,
            mode,
            integer: true,
            ftz: false,
            sat: false,
            relu: false,
            satfinite: false,
        };
        c.apply(bits)
    }

    #[test]
    fn floats_to_integers_clamp() {
        let f = |x: f32| u64::from(x.to_bits());
        assert_eq!(cvt(Ty::S32, Ty::F32, RZ, f(-2.9)) as u32 as i32, -2);
        assert_eq!(cvt(Ty::S32, Ty::F32, RN, f(2.5)), 2);
        assert_eq!(cvt(Ty::U8, Ty::F32, RP, f(300.0)), 255);
        assert_eq!(cvt(Ty::U32, Ty::F32, RM, f(-1.0)), 0);
        assert_eq!(cvt(Ty::S32, Ty::F32, RM, f(f32::NAN)), 0);
        assert_eq!(cvt(Ty::S64, Ty::F32, RM, f(1e30)) as i64, i64::MAX);
    }

    #[test]
    fn integers_to_floats_round_once() {
        let v = (1u64 << 60) + 1;
        let down = cvt(Ty::F32, Ty::U64, RM, v);
        let up = cvt(Ty::F32, Ty::U64, RP, v);
        assert_eq!(f32::of(down), 2f32.powi(60));
        assert_eq!(up, down + 1);
        assert_eq!(
            cvt(Ty::F64, Ty::U64, RP, (1 << 60) + 1),
            (2f64.powi(60)).next_up().to_bits()
        );
    }

    #[test]
    fn narrow_integers_sign_extend_and_saturate() {
        assert_eq!(cvt(Ty::S32, Ty::S8, RN, 0x80), 0xffff_ff80);
        assert_eq!(cvt(Ty::U32, Ty::U8, RN, 0x80), 0x80);
        let sat = Conversion {
            to: Ty::S8,
            from: Ty::S32,
            mode: RN,
            integer: false,
            ftz: false,
            sat: true,
            relu: false,
            satfinite: false,
        };
        assert_eq!(sat.apply(1000), 127);
        assert_eq!(sat.apply(-1000i32 as u32 as u64), 0x80);
    }
}
