//! Arithmetic, selection and moves: operands to slots.

use super::arithmetic::formula;
use super::integers::product;
use super::{Built, Compiler};
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

    pub fn emit_alu(
        &mut self,
        i: &Instr,
        class: Class,
        f: LaneFn,
        d: Slot,
        sources: &[Slot],
    ) -> Built<()> {
        // Places that are not used name the first source.
        let mut a = [sources[0]; 4];
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
    pub fn positive(&mut self, i: &Instr, operand: &Operand) -> Built<Slot> {
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
}
