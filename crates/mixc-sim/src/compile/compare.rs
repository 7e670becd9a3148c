//! `setp`, `set`, `testp` (PTX ISA, "Comparison and Selection Instructions").

use super::comparison::comparison;
use super::{Built, Compiler};
use crate::numeric::{LaneFn, lanes};
use crate::program::*;
use crate::syntax::ast::{Instr, Operand, Ty};

impl Compiler<'_> {
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

    pub fn setp(&mut self, i: &Instr) -> Built<()> {
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

    pub fn set(&mut self, i: &Instr) -> Built<()> {
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

    pub fn testp(&mut self, i: &Instr) -> Built<()> {
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
}

/// The type of one element of a packed pair.
fn element(ty: Ty) -> Ty {
    match ty {
        Ty::F16x2 => Ty::F16,
        Ty::Bf16x2 => Ty::Bf16,
        ty => ty,
    }
}
