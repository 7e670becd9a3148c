//! Arithmetic, comparison, selection, moves and conversions: operands to slots.

use super::arithmetic::{FloatMods, comparison, formula, product};
use super::{Built, Compiler};
use crate::numeric::convert::Conversion;
use crate::numeric::half_precision as hp;
use crate::numeric::round::{RN, RNA};
use crate::numeric::{LaneFn, lanes};
use crate::program::*;
use crate::syntax::ast::{Instr, Operand, Ty};

impl Compiler<'_> {
    pub fn alu(&mut self, i: &Instr) -> Built<()> {
        match i.name.as_str() {
            "mov" => self.mov(i),
            "selp" => self.selp(i),
            "slct" => self.slct(i),
            "setp" => self.setp(i),
            "set" => self.set(i),
            "cvt" => self.cvt(i),
            "testp" => self.testp(i),
            "mad" | "madc" if i.name == "madc" || i.has("cc") => self.carry_product(i),
            "add" | "addc" | "sub" | "subc" if i.name.ends_with('c') || i.has("cc") => {
                self.at_least(i, 3)?;
                let ty = self.one_type(i)?;
                let (a, b) = (self.source(i, 1, ty)?, self.source(i, 2, ty)?);
                self.carry(i, ty, a, b)
            }
            _ => self.plain(i),
        }
    }

    /// `op.type d, a, b, ..`: one row of the table.
    fn plain(&mut self, i: &Instr) -> Built<()> {
        let types = i.types();
        let Some(&ty) = types.last() else {
            return Err(self.unsupported(i));
        };
        // A second type is another instruction: sums of mixed precision.
        if types.len() != 1 && !matches!(i.name.as_str(), "dp4a" | "dp2a") {
            return Err(self.unsupported(i));
        }
        let Some((f, class)) = formula(i, ty) else {
            return Err(self.unsupported(i));
        };
        let arity = f.arity();
        if i.operands.len() != arity + 1 {
            return Err(self.wrong(
                i,
                format!(
                    "expected {} operands, found {}",
                    arity + 1,
                    i.operands.len()
                ),
            ));
        }
        let (d, _) = self.target(i, 0)?;
        let mut sources = vec![];
        for n in 0..arity {
            let ty = self.operand_type(i, n, ty);
            sources.push(self.source(i, n + 1, ty)?);
        }
        self.emit_alu(i, class, f, d, &sources)
    }

    /// The type of source operand `n`: shift amounts and field positions are 32-bit, the addend of a
    /// `.wide` product is twice as wide.
    fn operand_type(&self, i: &Instr, n: usize, ty: Ty) -> Ty {
        match (i.name.as_str(), n) {
            ("shl" | "shr", 1) => Ty::U32,
            ("shf", _) => Ty::B32,
            ("bfe", 1 | 2) | ("bfi", 2 | 3) => Ty::U32,
            ("mad", 2) if i.has("wide") => Ty::B64,
            _ => ty,
        }
    }

    fn emit_alu(
        &mut self,
        i: &Instr,
        class: Class,
        f: LaneFn,
        d: Slot,
        sources: &[Slot],
    ) -> Built<()> {
        let mut a = [0; 4];
        a[..sources.len()].copy_from_slice(sources);
        self.emit(i, class, Op::Alu { f, d, a }, sources.to_vec())
    }

    fn mov(&mut self, i: &Instr) -> Built<()> {
        self.at_least(i, 2)?;
        let ty = self.one_type(i)?;
        match (&i.operands[0], &i.operands[1]) {
            (Operand::Vector(parts), Operand::Vector(sources)) if parts.len() == sources.len() => {
                for (d, s) in parts.iter().zip(sources) {
                    let (d, width) = self.register(i, d)?;
                    let a = self.value(i, s, width)?;
                    self.emit(i, Class::Move, Op::Mov { d, a }, vec![])?;
                }
                Ok(())
            }
            (Operand::Vector(parts), _) => {
                let parts = parts.iter().map(|p| match p {
                    Operand::Sink => Ok(None),
                    p => Ok(Some(self.register(i, p)?.0)),
                });
                let parts: Vec<Option<Slot>> = parts.collect::<Built<_>>()?;
                let a = self.source(i, 1, ty)?;
                let bits = ty.bits() / parts.len() as u32;
                if !matches!(bits, 8 | 16 | 32) || bits * parts.len() as u32 != ty.bits() {
                    return Err(self.unsupported(i));
                }
                self.emit(
                    i,
                    Class::Move,
                    Op::Unpack {
                        parts: parts.into(),
                        a,
                        bits,
                    },
                    vec![],
                )
            }
            (_, Operand::Vector(_)) => {
                let (d, _) = self.target(i, 0)?;
                let count = if let Operand::Vector(v) = &i.operands[1] {
                    v.len() as u32
                } else {
                    1
                };
                let bits = ty.bits() / count;
                let part = match bits {
                    8 => Ty::B8,
                    16 => Ty::B16,
                    32 => Ty::B32,
                    _ => return Err(self.unsupported(i)),
                };
                let parts = self.source_vector(i, 1, part)?;
                self.emit(
                    i,
                    Class::Move,
                    Op::Pack {
                        d,
                        parts: parts.into(),
                        bits,
                    },
                    vec![],
                )
            }
            (_, Operand::Name(name))
                if matches!(
                    name.as_str(),
                    "%clock" | "%clock64" | "%clock_hi" | "%globaltimer"
                ) =>
            {
                let (d, _) = self.target(i, 0)?;
                self.emit(i, Class::Move, Op::Clock { d }, vec![])
            }
            _ => {
                let (d, _) = self.target(i, 0)?;
                let a = if ty == Ty::Pred {
                    let operand = self.operand(i, 1)?;
                    self.positive(i, &operand.clone())?
                } else {
                    self.source(i, 1, ty)?
                };
                self.emit(i, Class::Move, Op::Mov { d, a }, vec![])
            }
        }
    }

    /// A predicate operand, with a step that negates it where `!` stands.
    fn positive(&mut self, i: &Instr, operand: &Operand) -> Built<Slot> {
        let (slot, negated) = self.predicate(i, operand)?;
        if !negated {
            return Ok(slot);
        }
        let d = self.temporary();
        self.emit_alu(i, Class::Integer, lanes!(|p: bool| !p), d, &[slot])?;
        Ok(d)
    }

    fn selp(&mut self, i: &Instr) -> Built<()> {
        self.at_least(i, 4)?;
        let ty = self.one_type(i)?;
        let (d, _) = self.target(i, 0)?;
        let (a, b) = (self.source(i, 1, ty)?, self.source(i, 2, ty)?);
        let p = self.positive(i, &i.operands[3].clone())?;
        self.emit(i, Class::Integer, Op::Select { d, a, b, p }, vec![p])
    }

    fn slct(&mut self, i: &Instr) -> Built<()> {
        self.at_least(i, 4)?;
        let types = i.types();
        let [ty, sign] = types[..] else {
            return Err(self.wrong(i, "expected two types"));
        };
        let f = match sign {
            Ty::S32 => lanes!(|c: i32| c >= 0),
            // NaN selects `b`; -0 counts as zero.
            Ty::F32 => lanes!(|c: f32| c >= 0.0),
            _ => return Err(self.unsupported(i)),
        };
        let (d, _) = self.target(i, 0)?;
        let (a, b, c) = (
            self.source(i, 1, ty)?,
            self.source(i, 2, ty)?,
            self.source(i, 3, sign)?,
        );
        let p = self.temporary();
        self.emit_alu(i, Class::Integer, f, p, &[c])?;
        self.emit(i, Class::Integer, Op::Select { d, a, b, p }, vec![p])
    }

    fn comparison_of(&self, i: &Instr, ty: Ty) -> Built<(LaneFn, Option<String>)> {
        let name = i.mods.first().cloned().unwrap_or_default();
        let combine = i
            .mods
            .iter()
            .skip(1)
            .find(|m| matches!(m.as_str(), "and" | "or" | "xor"))
            .cloned();
        if i.has("ftz") && ty != Ty::F32 {
            return Err(self.unsupported(i));
        }
        comparison(&name, ty)
            .map(|f| (f, combine))
            .ok_or_else(|| self.unsupported(i))
    }

    /// Compares operands `n` and `n + 1` into a new slot, flushing first under `.ftz`.
    fn compare(&mut self, i: &Instr, n: usize, ty: Ty) -> Built<Slot> {
        let (f, _) = self.comparison_of(i, ty)?;
        let (mut a, mut b) = (self.source(i, n, ty)?, self.source(i, n + 1, ty)?);
        if i.has("ftz") {
            for s in [&mut a, &mut b] {
                let flushed = self.temporary();
                self.emit_alu(
                    i,
                    Class::Float32,
                    lanes!(|x: f32| crate::numeric::float::flush(x)),
                    flushed,
                    &[*s],
                )?;
                *s = flushed;
            }
        }
        let t = self.temporary();
        let class = if ty.float() {
            Class::Float32
        } else {
            Class::Integer
        };
        self.emit_alu(i, class, f, t, &[a, b])?;
        Ok(t)
    }

    fn combine(
        &mut self,
        i: &Instr,
        how: Option<&str>,
        d: Slot,
        t: Slot,
        c: Option<Slot>,
        negate: bool,
    ) -> Built<()> {
        macro_rules! one { ($($op:tt)+) => { if negate { lanes!(|t: bool, c: bool| !t $($op)+ c) } else { lanes!(|t: bool, c: bool| t $($op)+ c) } } }
        let f = match (how, c) {
            (None, _) if negate => lanes!(|t: bool| !t),
            (None, _) => return self.emit(i, Class::Integer, Op::Mov { d, a: t }, vec![]),
            (Some("and"), _) => one!(&),
            (Some("or"), _) => one!(|),
            _ => one!(^),
        };
        let sources: Vec<Slot> = [Some(t), c.filter(|_| how.is_some())]
            .into_iter()
            .flatten()
            .collect();
        self.emit_alu(i, Class::Integer, f, d, &sources)
    }

    fn setp(&mut self, i: &Instr) -> Built<()> {
        self.at_least(i, 3)?;
        let ty = *i
            .types()
            .last()
            .ok_or_else(|| self.wrong(i, "expected a type"))?;
        let how = self.comparison_of(i, element(ty))?.1;
        let c = match (&how, i.operands.get(3)) {
            (Some(_), Some(c)) => Some(self.positive(i, &c.clone())?),
            (Some(_), None) => return Err(self.wrong(i, "the combining predicate is missing")),
            _ => None,
        };
        let (p, q) = match &i.operands[0] {
            Operand::Pair(p, q) => (self.register(i, p)?.0, Some(self.register(i, q)?.0)),
            p => (self.register(i, p)?.0, None),
        };
        if let Ty::F16x2 | Ty::Bf16x2 = ty {
            return self.setp_pair(i, ty, how.as_deref(), c, (p, q));
        }
        // Without a combination the comparison goes straight to the predicate.
        if how.is_none() && q.is_none() && !i.has("ftz") {
            let (f, _) = self.comparison_of(i, ty)?;
            let (a, b) = (self.source(i, 1, ty)?, self.source(i, 2, ty)?);
            let class = if ty.float() {
                Class::Float32
            } else {
                Class::Integer
            };
            return self.emit_alu(i, class, f, p, &[a, b]);
        }
        let t = self.compare(i, 1, ty)?;
        self.combine(i, how.as_deref(), p, t, c, false)?;
        match q {
            Some(q) => self.combine(i, how.as_deref(), q, t, c, true),
            None => Ok(()),
        }
    }

    /// `setp` of packed halves: the lower ones decide `p`, the upper ones `q`.
    fn setp_pair(
        &mut self,
        i: &Instr,
        ty: Ty,
        how: Option<&str>,
        c: Option<Slot>,
        (p, q): (Slot, Option<Slot>),
    ) -> Built<()> {
        let (f, _) = self.comparison_of(i, element(ty))?;
        let (a, b) = (self.source(i, 1, ty)?, self.source(i, 2, ty)?);
        let low = self.temporary();
        self.emit_alu(i, Class::Half, f, low, &[a, b])?;
        let (upper_a, upper_b, high) = (self.temporary(), self.temporary(), self.temporary());
        for (from, to) in [(a, upper_a), (b, upper_b)] {
            self.emit_alu(i, Class::Half, lanes!(|v: u32| v >> 16), to, &[from])?;
        }
        self.emit_alu(i, Class::Half, f, high, &[upper_a, upper_b])?;
        self.combine(i, how, p, low, c, false)?;
        match q {
            Some(q) => self.combine(i, how, q, high, c, false),
            None => Ok(()),
        }
    }

    fn set(&mut self, i: &Instr) -> Built<()> {
        self.at_least(i, 3)?;
        let types = i.types();
        let [to, ty] = types[..] else {
            return Err(self.wrong(i, "expected two types"));
        };
        let how = self.comparison_of(i, ty)?.1;
        let c = match (&how, i.operands.get(3)) {
            (Some(_), Some(c)) => Some(self.positive(i, &c.clone())?),
            _ => None,
        };
        let (d, _) = self.target(i, 0)?;
        let t = self.compare(i, 1, ty)?;
        let p = self.temporary();
        self.combine(i, how.as_deref(), p, t, c, false)?;
        let (yes, no) = match to {
            Ty::F32 => (self.constant(u64::from(1f32.to_bits())), self.constant(0)),
            Ty::U32 | Ty::S32 => (self.constant(0xffff_ffff), self.constant(0)),
            _ => return Err(self.unsupported(i)),
        };
        self.emit(
            i,
            Class::Integer,
            Op::Select {
                d,
                a: yes,
                b: no,
                p,
            },
            vec![p],
        )
    }

    fn testp(&mut self, i: &Instr) -> Built<()> {
        let f = match (i.mods.first().map(String::as_str), self.one_type(i)?) {
            (Some("finite"), Ty::F32) => lanes!(|a: f32| a.is_finite()),
            (Some("infinite"), Ty::F32) => lanes!(|a: f32| a.is_infinite()),
            (Some("notanumber"), Ty::F32) => lanes!(|a: f32| a.is_nan()),
            (Some("number"), Ty::F32) => lanes!(|a: f32| !a.is_nan()),
            (Some("normal"), Ty::F32) => lanes!(|a: f32| a.is_normal()),
            (Some("subnormal"), Ty::F32) => lanes!(|a: f32| a.is_subnormal()),
            (Some("finite"), Ty::F64) => lanes!(|a: f64| a.is_finite()),
            (Some("infinite"), Ty::F64) => lanes!(|a: f64| a.is_infinite()),
            (Some("notanumber"), Ty::F64) => lanes!(|a: f64| a.is_nan()),
            (Some("number"), Ty::F64) => lanes!(|a: f64| !a.is_nan()),
            (Some("normal"), Ty::F64) => lanes!(|a: f64| a.is_normal()),
            (Some("subnormal"), Ty::F64) => lanes!(|a: f64| a.is_subnormal()),
            _ => return Err(self.unsupported(i)),
        };
        let (d, _) = self.target(i, 0)?;
        let a = self.source(i, 1, self.one_type(i)?)?;
        self.emit_alu(i, Class::Float32, f, d, &[a])
    }

    /// `add.cc`, `addc`, `sub.cc`, `subc`: with the condition code as one more slot.
    fn carry(&mut self, i: &Instr, ty: Ty, a: Slot, b: Slot) -> Built<()> {
        let (d, _) = self.target(i, 0)?;
        let flag = self.carry_slot();
        let reads = i.name.ends_with('c');
        let subtracts = i.name.starts_with("sub");
        let carry_in = if reads { flag } else { self.constant(0) };
        let (value, carry) = match (ty.bits(), subtracts) {
            (32, false) => (
                lanes!(|a: u32, b: u32, c: u32| a.wrapping_add(b).wrapping_add(c)),
                lanes!(|a: u32, b: u32, c: u32| (u64::from(a) + u64::from(b) + u64::from(c)) >> 32),
            ),
            (32, true) => (
                lanes!(|a: u32, b: u32, c: u32| a.wrapping_sub(b).wrapping_sub(c)),
                lanes!(|a: u32, b: u32, c: u32| u64::from(
                    u64::from(a) < u64::from(b) + u64::from(c)
                )),
            ),
            (64, false) => (
                lanes!(|a: u64, b: u64, c: u64| a.wrapping_add(b).wrapping_add(c)),
                lanes!(
                    |a: u64, b: u64, c: u64| ((u128::from(a) + u128::from(b) + u128::from(c)) >> 64)
                        as u64
                ),
            ),
            _ => (
                lanes!(|a: u64, b: u64, c: u64| a.wrapping_sub(b).wrapping_sub(c)),
                lanes!(|a: u64, b: u64, c: u64| u64::from(
                    u128::from(a) < u128::from(b) + u128::from(c)
                )),
            ),
        };
        let t = self.temporary();
        self.emit_alu(i, Class::Integer, value, t, &[a, b, carry_in])?;
        if i.has("cc") {
            self.emit_alu(i, Class::Integer, carry, flag, &[a, b, carry_in])?;
        }
        self.emit(i, Class::Integer, Op::Mov { d, a: t }, vec![])
    }

    /// `mad.cc`, `madc`: a half of the product, added with the condition code.
    fn carry_product(&mut self, i: &Instr) -> Built<()> {
        self.at_least(i, 4)?;
        let ty = self.one_type(i)?;
        let f = product(ty, i.has("hi")).ok_or_else(|| self.unsupported(i))?;
        let (a, b, c) = (
            self.source(i, 1, ty)?,
            self.source(i, 2, ty)?,
            self.source(i, 3, ty)?,
        );
        let half = self.temporary();
        self.emit_alu(i, Class::Integer, f, half, &[a, b])?;
        self.carry(i, ty, half, c)
    }

    fn cvt(&mut self, i: &Instr) -> Built<()> {
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

/// The type of one element of a packed pair.
fn element(ty: Ty) -> Ty {
    match ty {
        Ty::F16x2 => Ty::F16,
        Ty::Bf16x2 => Ty::Bf16,
        ty => ty,
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
