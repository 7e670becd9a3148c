//! Operands of one instruction to slots and addresses.

use super::{Built, Compiler, Meaning};
use crate::program::*;
use crate::syntax::ast::{Instr, Operand, Space, Ty};

impl Compiler<'_> {
    pub fn operand<'i>(&self, i: &'i Instr, n: usize) -> Built<&'i Operand> {
        i.operands
            .get(n)
            .ok_or_else(|| self.wrong(i, format!("operand {} is missing", n + 1)))
    }

    pub fn at_least(&self, i: &Instr, n: usize) -> Built<()> {
        if i.operands.len() >= n {
            return Ok(());
        }
        Err(self.wrong(
            i,
            format!("expected {n} operands, found {}", i.operands.len()),
        ))
    }

    /// The slot that a source operand of type `ty` is read from.
    pub fn source(&mut self, i: &Instr, n: usize, ty: Ty) -> Built<Slot> {
        let operand = self.operand(i, n)?;
        self.value(i, operand, ty)
    }

    pub fn value(&mut self, i: &Instr, operand: &Operand, ty: Ty) -> Built<Slot> {
        let mask = crate::numeric::convert::mask(ty.bits());
        match operand {
            Operand::Name(name) => self.named_value(i, name),
            Operand::Int(v) => {
                // An integer where a float stands means its value (PTX ISA, "Constants").
                let bits = match ty {
                    Ty::F32 => u64::from((*v as f32).to_bits()),
                    Ty::F64 => (*v as f64).to_bits(),
                    _ => *v as u64 & mask,
                };
                Ok(self.constant(bits))
            }
            Operand::F32(bits) if ty == Ty::F64 => {
                Ok(self.constant(f64::from(f32::from_bits(*bits)).to_bits()))
            }
            Operand::F32(bits) => Ok(self.constant(u64::from(*bits))),
            Operand::F64(v) if ty.bits() == 64 => Ok(self.constant(v.to_bits())),
            Operand::F64(v) => Ok(self.constant(u64::from((*v as f32).to_bits()))),
            Operand::Address { base, offset } => match &**base {
                // `name+8` in `mov`: an address.
                Operand::Name(name) => match self.lookup(name) {
                    Some(Meaning::Memory(_, at)) => {
                        Ok(self.constant(at.wrapping_add(*offset as u64)))
                    }
                    _ => Err(self.wrong(i, format!("`{name}` is not a variable"))),
                },
                _ => Err(self.wrong(i, "expected a register or a constant")),
            },
            _ => Err(self.wrong(i, "expected a register or a constant")),
        }
    }

    fn named_value(&mut self, i: &Instr, name: &str) -> Built<Slot> {
        match self.lookup(name) {
            Some(Meaning::Reg(slot, _)) => return Ok(slot),
            Some(Meaning::Memory(_, at)) => return Ok(self.constant(at)),
            Some(Meaning::Label(_)) => {
                return Err(self.wrong(i, format!("the label `{name}` is not a value")));
            }
            None => {}
        }
        if let Some(special) = special_register(name) {
            return Ok(self.special(special));
        }
        if name == "WARP_SZ" {
            return Ok(self.constant(32));
        }
        // Constant special registers of a launch without clusters.
        match name {
            "%clusterid.x" => return Ok(self.special(Special::Ctaid(0))),
            "%clusterid.y" => return Ok(self.special(Special::Ctaid(1))),
            "%clusterid.z" => return Ok(self.special(Special::Ctaid(2))),
            "%nclusterid.x" => return Ok(self.special(Special::Nctaid(0))),
            "%nclusterid.y" => return Ok(self.special(Special::Nctaid(1))),
            "%nclusterid.z" => return Ok(self.special(Special::Nctaid(2))),
            "%cluster_ctaid.x" | "%cluster_ctaid.y" | "%cluster_ctaid.z" => {
                return Ok(self.constant(0));
            }
            "%cluster_nctaid.x" | "%cluster_nctaid.y" | "%cluster_nctaid.z" => {
                return Ok(self.constant(1));
            }
            _ => {}
        }
        Err(self.wrong(i, format!("`{name}` is not declared")))
    }

    /// The declared register that a result goes to; its width may be larger than the operation's.
    pub fn target(&mut self, i: &Instr, n: usize) -> Built<(Slot, Ty)> {
        let operand = self.operand(i, n)?;
        self.register(i, operand)
    }

    pub fn register(&mut self, i: &Instr, operand: &Operand) -> Built<(Slot, Ty)> {
        match operand {
            Operand::Name(name) => match self.lookup(name) {
                Some(Meaning::Reg(slot, ty)) => Ok((slot, ty)),
                _ => Err(self.wrong(i, format!("`{name}` is not a declared register"))),
            },
            Operand::Sink => Ok((self.temporary(), Ty::B64)),
            _ => Err(self.wrong(i, "expected a register for the result")),
        }
    }

    /// A predicate source with an optional `!`.
    pub fn predicate(&mut self, i: &Instr, operand: &Operand) -> Built<(Slot, bool)> {
        match operand {
            Operand::Not(inner) => Ok((self.predicate(i, inner)?.0, true)),
            Operand::Name(name) => match self.lookup(name) {
                Some(Meaning::Reg(slot, Ty::Pred)) => Ok((slot, false)),
                _ => Err(self.wrong(i, format!("`{name}` is not a predicate register"))),
            },
            Operand::Int(v) => Ok((self.constant(u64::from(*v != 0)), false)),
            _ => Err(self.wrong(i, "expected a predicate")),
        }
    }

    /// The registers of `{a, b, c}`, or the one register of a plain operand.
    pub fn vector(&mut self, i: &Instr, n: usize) -> Built<Vec<Slot>> {
        match self.operand(i, n)? {
            Operand::Vector(items) => items.iter().map(|o| Ok(self.register(i, o)?.0)).collect(),
            other => Ok(vec![self.register(i, other)?.0]),
        }
    }

    /// Like [`Compiler::vector`], for operands that are read; constants are allowed.
    pub fn source_vector(&mut self, i: &Instr, n: usize, ty: Ty) -> Built<Vec<Slot>> {
        match self.operand(i, n)? {
            Operand::Vector(items) => items.iter().map(|o| self.value(i, o, ty)).collect(),
            other => Ok(vec![self.value(i, other, ty)?]),
        }
    }

    /// An address operand, with the space that its base is declared in, if it is a variable.
    pub fn address(&mut self, i: &Instr, operand: &Operand) -> Built<(Addr, Option<Space>)> {
        match operand {
            Operand::Address { base, offset } => {
                let (addr, space) = self.address(i, base)?;
                Ok((
                    Addr {
                        base: addr.base,
                        offset: addr.offset.wrapping_add(*offset),
                    },
                    space,
                ))
            }
            Operand::Name(name) => match self.lookup(name) {
                Some(Meaning::Reg(slot, _)) => Ok((
                    Addr {
                        base: slot,
                        offset: 0,
                    },
                    None,
                )),
                Some(Meaning::Memory(space, at)) => {
                    let base = self.constant(at);
                    Ok((Addr { base, offset: 0 }, Some(space)))
                }
                _ => Err(self.wrong(i, format!("`{name}` is not declared"))),
            },
            Operand::Int(v) => {
                let base = self.constant(*v as u64);
                Ok((Addr { base, offset: 0 }, None))
            }
            _ => Err(self.wrong(i, "expected an address such as `[%rd1+16]`")),
        }
    }

    pub fn address_at(&mut self, i: &Instr, n: usize) -> Built<(Addr, Option<Space>)> {
        let operand = self.operand(i, n)?;
        self.address(i, operand)
    }

    pub fn one_type(&self, i: &Instr) -> Built<Ty> {
        i.types()
            .first()
            .copied()
            .ok_or_else(|| self.wrong(i, "expected a type such as `.b32`"))
    }
}

fn special_register(name: &str) -> Option<Special> {
    let axis = |part: &str| match part {
        "x" => Some(0),
        "y" => Some(1),
        "z" => Some(2),
        _ => None,
    };
    if let Some((base, part)) = name.split_once('.') {
        let axis = axis(part)?;
        return Some(match base {
            "%tid" => Special::Tid(axis),
            "%ntid" => Special::Ntid(axis),
            "%ctaid" => Special::Ctaid(axis),
            "%nctaid" => Special::Nctaid(axis),
            _ => return None,
        });
    }
    Some(match name {
        "%laneid" => Special::LaneId,
        "%warpid" => Special::WarpId,
        "%nwarpid" => Special::NWarpId,
        "%smid" => Special::SmId,
        "%nsmid" => Special::NSmId,
        "%gridid" => Special::GridId,
        "%lanemask_eq" => Special::LaneMask(LaneMask::Eq),
        "%lanemask_lt" => Special::LaneMask(LaneMask::Lt),
        "%lanemask_le" => Special::LaneMask(LaneMask::Le),
        "%lanemask_gt" => Special::LaneMask(LaneMask::Gt),
        "%lanemask_ge" => Special::LaneMask(LaneMask::Ge),
        "%dynamic_smem_size" => Special::DynamicShared,
        "%total_smem_size" => Special::TotalShared,
        "%cluster_ctarank" => Special::ClusterCtaRank,
        "%cluster_nctarank" => Special::ClusterNctaRank,
        _ => return None,
    })
}
