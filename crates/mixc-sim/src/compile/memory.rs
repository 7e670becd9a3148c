//! Loads, stores, atomics, address conversions and matrix moves through shared memory.

use super::{Built, Compiler};
use crate::program::*;
use crate::syntax::ast::{Instr, Operand, Space, Ty};

impl Compiler<'_> {
    pub fn memory(&mut self, i: &Instr) -> Built<()> {
        match i.name.as_str() {
            "ld" | "ldu" => self.load(i),
            "st" => self.store(i),
            "atom" | "red" => self.atomic(i),
            "cvta" => self.cvta(i),
            "isspacep" => {
                let space = self.space(i)?;
                let (d, _) = self.target(i, 0)?;
                let a = self.source(i, 1, Ty::U64)?;
                self.emit(i, Class::Integer, Op::IsSpace { space, d, a }, vec![a])
            }
            "ldmatrix" | "stmatrix" => self.matrix(i),
            "movmatrix" => {
                let (d, _) = self.target(i, 0)?;
                let a = self.source(i, 1, Ty::B32)?;
                self.emit(i, Class::WarpSync, Op::MovMatrix { d, a }, vec![a])
            }
            // A cache policy is an opaque number that only hints take.
            "createpolicy" => {
                let (d, _) = self.target(i, 0)?;
                let a = self.constant(0);
                self.emit(i, Class::Other, Op::Mov { d, a }, vec![])
            }
            // Hints without effect on results.
            "prefetch" | "prefetchu" | "discard" | "applypriority" => {
                self.emit(i, Class::Other, Op::Nop, vec![])
            }
            _ => Err(self.unsupported(i)),
        }
    }

    /// The state space among the modifiers; generic without one.
    pub fn space(&self, i: &Instr) -> Built<Space> {
        for m in &i.mods {
            return Ok(match m.as_str() {
                "global" => Space::Global,
                "shared" | "shared::cta" => Space::Shared,
                // A launch is one block per cluster, whose window is its own shared memory.
                "shared::cluster" => Space::Shared,
                "local" => Space::Local,
                "const" => Space::Const,
                "param" | "param::entry" => Space::Param,
                _ => continue,
            });
        }
        Ok(Space::Generic)
    }

    /// Checks keep records as fine as the finest access to shared memory.
    pub fn shared_access(&mut self, space: Space, bytes: u32) {
        if matches!(space, Space::Shared | Space::Generic) {
            self.granule = self.granule.min(bytes.max(1));
        }
    }

    fn strong(i: &Instr) -> bool {
        ["volatile", "relaxed", "acquire", "release", "mmio"]
            .iter()
            .any(|m| i.has(m))
    }

    fn load(&mut self, i: &Instr) -> Built<()> {
        let space = self.space(i)?;
        let ty = *i
            .types()
            .last()
            .ok_or_else(|| self.wrong(i, "expected a type"))?;
        if ty == Ty::B128 {
            return Err(self.unsupported(i));
        }
        let mut width = ty.bits();
        let to = match self.operand(i, 0)? {
            Operand::Vector(items) => items
                .iter()
                .map(|o| match o {
                    Operand::Sink => Ok(None),
                    o => {
                        let (slot, reg) = self.register(i, o)?;
                        width = width.max(reg.bits());
                        Ok(Some(slot))
                    }
                })
                .collect::<Built<Vec<_>>>()?,
            o => {
                let (slot, reg) = self.register(i, o)?;
                width = width.max(reg.bits());
                vec![Some(slot)]
            }
        };
        let (addr, declared) = self.address_at(i, 1)?;
        let space = if space == Space::Generic {
            declared.unwrap_or(space)
        } else {
            space
        };
        self.shared_access(space, ty.bytes());
        let class = match space {
            Space::Shared => Class::LoadShared,
            Space::Local => Class::Local,
            Space::Param | Space::Const => Class::Param,
            _ => Class::LoadGlobal,
        };
        let op = Op::Load {
            space,
            ty,
            to: to.into(),
            width,
            addr,
            strong: Self::strong(i),
        };
        self.emit(i, class, op, vec![addr.base])
    }

    fn store(&mut self, i: &Instr) -> Built<()> {
        if i.has("async") || i.has("bulk") {
            return Err(self.unsupported(i));
        }
        let space = self.space(i)?;
        let ty = *i
            .types()
            .last()
            .ok_or_else(|| self.wrong(i, "expected a type"))?;
        if ty == Ty::B128 {
            return Err(self.unsupported(i));
        }
        // Parameters are written for calls only.
        if space == Space::Param {
            return Err(self.unsupported(i));
        }
        let (addr, declared) = self.address_at(i, 0)?;
        let space = if space == Space::Generic {
            declared.unwrap_or(space)
        } else {
            space
        };
        let from = self.source_vector(i, 1, ty)?;
        self.shared_access(space, ty.bytes());
        let class = match space {
            Space::Shared => Class::StoreShared,
            Space::Local => Class::Local,
            _ => Class::StoreGlobal,
        };
        let mut uses = from.clone();
        uses.push(addr.base);
        self.emit(
            i,
            class,
            Op::Store {
                space,
                ty,
                from: from.into(),
                addr,
                strong: Self::strong(i),
                release: i.has("release"),
            },
            uses,
        )
    }

    fn atomic(&mut self, i: &Instr) -> Built<()> {
        let space = self.space(i)?;
        let ty = *i
            .types()
            .last()
            .ok_or_else(|| self.wrong(i, "expected a type"))?;
        if i.has("async") || ty == Ty::B128 {
            return Err(self.unsupported(i));
        }
        let op = i.mods.iter().find_map(|m| atomic_op(m));
        let op = op.ok_or_else(|| self.unsupported(i))?;
        let arithmetic = matches!(op, AtomOp::Min | AtomOp::Max) && ty.float();
        if arithmetic && !matches!(ty, Ty::F16 | Ty::Bf16 | Ty::F16x2 | Ty::Bf16x2) {
            return Err(self.unsupported(i));
        }
        let first = usize::from(i.name == "atom");
        let (addr, _) = self.address_at(i, first)?;
        self.shared_access(space, ty.bytes());
        let values = self.source_vector(i, first + 1, ty)?;
        let targets = match i.operands.first() {
            Some(Operand::Vector(items)) if first == 1 => items
                .iter()
                .map(|o| Ok(Some(self.register(i, o)?.0)))
                .collect::<Built<Vec<_>>>()?,
            Some(o) if first == 1 && *o != Operand::Sink => vec![Some(self.target(i, 0)?.0)],
            _ => vec![None; values.len()],
        };
        if targets.len() != values.len() {
            return Err(self.wrong(i, "the vectors have different lengths"));
        }
        let c = if op == AtomOp::Cas {
            Some(self.source(i, first + 2, ty)?)
        } else {
            None
        };
        let release = i.has("release") || i.has("acq_rel");
        // A vector is atomic by element only (PTX ISA, "atom", "red").
        for (n, (&b, &d)) in values.iter().zip(&targets).enumerate() {
            let offset = addr.offset.wrapping_add(n as i64 * i64::from(ty.bytes()));
            let addr = Addr { offset, ..addr };
            let mut uses = vec![addr.base, b];
            uses.extend(c);
            let op = Op::Atomic {
                space,
                op,
                ty,
                d,
                addr,
                b,
                c,
                release,
            };
            self.emit(i, Class::Atomic, op, uses)?;
        }
        Ok(())
    }

    fn cvta(&mut self, i: &Instr) -> Built<()> {
        let space = self.space(i)?;
        let (d, _) = self.target(i, 0)?;
        let a = match self.operand(i, 1)? {
            Operand::Address { .. } => {
                let (addr, _) = self.address_at(i, 1)?;
                if addr.offset != 0 {
                    return Err(self.unsupported(i));
                }
                addr.base
            }
            _ => self.source(i, 1, Ty::U64)?,
        };
        let op = if i.has("to") {
            Op::FromGeneric { space, d, a }
        } else {
            Op::ToGeneric { space, d, a }
        };
        self.emit(i, Class::Integer, op, vec![a])
    }

    /// `ldmatrix` / `stmatrix` of 8x8 matrices of 16-bit elements
    /// (PTX ISA, "Warp-level matrix load instruction: ldmatrix", "... store instruction: stmatrix").
    fn matrix(&mut self, i: &Instr) -> Built<()> {
        let count = i.mods.iter().find_map(|m| match m.as_str() {
            "x1" => Some(1),
            "x2" => Some(2),
            "x4" => Some(4),
            _ => None,
        });
        let (Some(count), true, true) = (count, i.has("m8n8"), i.has("b16")) else {
            return Err(self.unsupported(i));
        };
        let (trans, space) = (i.has("trans"), self.space(i)?);
        self.shared_access(space, 16);
        let loads = i.name == "ldmatrix";
        let regs = if loads {
            self.vector(i, 0)?
        } else {
            self.source_vector(i, 1, Ty::B32)?
        };
        if regs.len() != count {
            return Err(self.wrong(
                i,
                format!("expected {count} registers, found {}", regs.len()),
            ));
        }
        let (addr, _) = self.address_at(i, usize::from(loads))?;
        if loads {
            let op = Op::LdMatrix {
                to: regs.into(),
                trans,
                addr,
                space,
            };
            return self.emit(i, Class::LoadShared, op, vec![]);
        }
        let uses = regs.clone();
        self.emit(
            i,
            Class::StoreShared,
            Op::StMatrix {
                from: regs.into(),
                trans,
                addr,
                space,
            },
            uses,
        )
    }
}

/// The operation of `atom`, `red` and `cp.reduce.async.bulk` that a modifier names.
pub fn atomic_op(modifier: &str) -> Option<AtomOp> {
    Some(match modifier {
        "add" => AtomOp::Add,
        "min" => AtomOp::Min,
        "max" => AtomOp::Max,
        "and" => AtomOp::And,
        "or" => AtomOp::Or,
        "xor" => AtomOp::Xor,
        "exch" => AtomOp::Exch,
        "cas" => AtomOp::Cas,
        "inc" => AtomOp::Inc,
        "dec" => AtomOp::Dec,
        _ => return None,
    })
}
