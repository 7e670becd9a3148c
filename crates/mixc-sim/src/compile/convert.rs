//! `cvt` (PTX ISA, "Data Movement and Conversion Instructions: cvt").

use super::arithmetic::FloatMods;
use super::{Built, Compiler};
use crate::numeric::convert::Conversion;
use crate::numeric::half_precision as hp;
use crate::numeric::round::{RN, RNA};
use crate::numeric::{LaneFn, lanes};
use crate::program::*;
use crate::syntax::ast::{Instr, Ty};

impl Compiler<'_> {
    pub fn cvt(&mut self, i: &Instr) -> Built<()> {
        self.at_least(i, 2)?;
        let types = i.types();
        let m = FloatMods::of(i);
        let [to, from] = types[..] else {
            return Err(self.unsupported(i));
        };
        let integer = i
            .mods
            .iter()
            .any(|m| matches!(m.as_str(), "rni" | "rzi" | "rmi" | "rpi"));
        let (d, width) = self.target(i, 0)?;
        let c = Conversion {
            to,
            from,
            mode: m.mode,
            integer,
            ftz: m.ftz,
            sat: m.sat,
            relu: m.relu,
            satfinite: i.has("satfinite"),
        };
        if let (Ty::F16x2 | Ty::Bf16x2, Ty::F32, 3) = (to, from, i.operands.len()) {
            let half = if to == Ty::F16x2 { Ty::F16 } else { Ty::Bf16 };
            let (a, b) = (self.source(i, 1, from)?, self.source(i, 2, from)?);
            if let (RN, false, false, false) = (m.mode, m.relu, m.sat, i.has("satfinite")) {
                let f = if half == Ty::F16 {
                    lanes!(
                        |a: f32, b: f32| u32::from(hp::f16_of(b)) | u32::from(hp::f16_of(a)) << 16
                    )
                } else {
                    lanes!(|a: f32, b: f32| u32::from(hp::bf16_of(b))
                        | u32::from(hp::bf16_of(a)) << 16)
                };
                return self.emit_alu(i, Class::Conversion, f, d, &[a, b]);
            }
            let op = Op::ConvertPair {
                c: Conversion { to: half, ..c },
                d,
                a,
                b,
            };
            return self.emit(i, Class::Conversion, op, vec![a, b]);
        }
        if i.operands.len() != 2
            || matches!(to, Ty::F16x2 | Ty::Bf16x2)
            || matches!(from, Ty::F16x2 | Ty::Bf16x2)
        {
            return Err(self.unsupported(i));
        }
        let a = self.source(i, 1, from)?;
        // A narrow signed result fills the wider register that it goes to (PTX ISA, "cvt").
        let c = match (to.signed(), width.bits() > to.bits()) {
            (true, true) if !from.float() && !m.sat => {
                let wide = match width.bits() {
                    16 => Ty::S16,
                    32 => Ty::S32,
                    _ => Ty::S64,
                };
                let t = self.temporary();
                self.emit(i, Class::Conversion, Op::Convert { c, d: t, a }, vec![a])?;
                let widen = Conversion {
                    to: wide,
                    from: to,
                    ..c
                };
                return self.emit(
                    i,
                    Class::Conversion,
                    Op::Convert { c: widen, d, a: t },
                    vec![t],
                );
            }
            _ => c,
        };
        match fast_conversion(c) {
            Some(f) => self.emit_alu(i, Class::Conversion, f, d, &[a]),
            None => self.emit(i, Class::Conversion, Op::Convert { c, d, a }, vec![a]),
        }
    }
}

/// To tf32, ties away from zero; `.rna` rounds the magnitude.
#[inline(always)]
fn tf32_away(x: f32) -> u32 {
    if x.is_nan() {
        return 0x7fff_e000;
    }
    x.to_bits().wrapping_add(0x1000) & 0xffff_e000
}

/// Conversions that Rust's own operators do exactly, for speed.
fn fast_conversion(c: Conversion) -> Option<LaneFn> {
    if c.ftz || c.sat || c.relu || c.satfinite || c.integer {
        return None;
    }
    Some(match (c.to, c.from) {
        (Ty::S64, Ty::S32) => lanes!(|a: i32| i64::from(a)),
        (Ty::U64, Ty::U32) => lanes!(|a: u32| u64::from(a)),
        (Ty::U32, Ty::U64) | (Ty::S32, Ty::S64) => lanes!(|a: u64| a as u32),
        (Ty::U16, Ty::U32 | Ty::U64) => lanes!(|a: u64| a as u16),
        (Ty::U32, Ty::U16) => lanes!(|a: u16| u32::from(a)),
        (Ty::F32, Ty::Bf16) => lanes!(|a: u16| u32::from(a) << 16),
        (Ty::F32, Ty::F16) => lanes!(|a: u16| hp::f16_value(a)),
        (Ty::Bf16, Ty::F32) if c.mode == RN => lanes!(|a: f32| hp::bf16_of(a)),
        (Ty::F16, Ty::F32) if c.mode == RN => lanes!(|a: f32| hp::f16_of(a)),
        (Ty::Tf32, Ty::F32) if c.mode == RNA => lanes!(|a: f32| tf32_away(a)),
        (Ty::F32, Ty::S32) if c.mode == RN => lanes!(|a: i32| a as f32),
        (Ty::F32, Ty::U32) if c.mode == RN => lanes!(|a: u32| a as f32),
        (Ty::F64, Ty::F32) => lanes!(|a: f32| f64::from(a)),
        _ => return None,
    })
}
