//! Matrix products and asynchronous copies.

use super::memory::atomic_op;
use super::{Built, Compiler};
use crate::exec::bulk::reduces;
use crate::program::*;
use crate::syntax::ast::{Instr, Operand, Ty};

impl Compiler<'_> {
    pub fn tensor(&mut self, i: &Instr) -> Built<()> {
        match (i.name.as_str(), i.mods.first().map(String::as_str)) {
            ("mma", Some("sync")) => self.mma(i),
            ("cp", Some("async")) if i.has("bulk") => self.bulk(i),
            ("cp", Some("async")) => self.cp_async(i),
            ("cp", Some("reduce")) => self.bulk_reduce(i),
            ("wgmma", Some("mma_async")) => self.wgmma(i),
            ("wgmma", Some("fence")) => self.emit(i, Class::Matrix, Op::WgmmaFence, vec![]),
            ("wgmma", Some("commit_group")) => self.emit(i, Class::Matrix, Op::WgmmaCommit, vec![]),
            ("wgmma", Some("wait_group")) => {
                let pending = self.immediate(i, 0)? as u32;
                self.emit(i, Class::Matrix, Op::WgmmaWait { pending }, vec![])
            }
            _ => Err(self.unsupported(i)),
        }
    }

    fn immediate(&self, i: &Instr, n: usize) -> Built<i64> {
        match self.operand(i, n)? {
            Operand::Int(v) => Ok(*v),
            _ => Err(self.wrong(i, format!("operand {} must be a constant", n + 1))),
        }
    }

    fn elem(ty: Ty) -> Option<Elem> {
        Some(match ty {
            Ty::F16 => Elem::F16,
            Ty::Bf16 => Elem::Bf16,
            Ty::Tf32 => Elem::Tf32,
            Ty::F32 => Elem::F32,
            Ty::F64 => Elem::F64,
            Ty::S8 => Elem::S8,
            Ty::U8 => Elem::U8,
            Ty::S32 => Elem::S32,
            _ => return None,
        })
    }

    /// `.m16n8k16` to its three numbers.
    fn shape(i: &Instr) -> Option<(u32, u32, u32)> {
        i.mods.iter().find_map(|m| {
            let (rows, rest) = m.strip_prefix('m')?.split_once('n')?;
            let (cols, depth) = rest.split_once('k')?;
            Some((rows.parse().ok()?, cols.parse().ok()?, depth.parse().ok()?))
        })
    }

    /// PTX ISA, "Multiply-and-Accumulate Instruction: mma", the `.row.col` shapes with m16n8.
    fn mma(&mut self, i: &Instr) -> Built<()> {
        let types = i.types();
        let (Some((16, 8, k)), [d, a, b, c], true, true) =
            (Self::shape(i), &types[..], i.has("row"), i.has("col"))
        else {
            return Err(self.unsupported(i));
        };
        let elems = [*d, *a, *b, *c].map(Self::elem);
        let [Some(ed), Some(ea), Some(eb), Some(ec)] = elems else {
            return Err(self.unsupported(i));
        };
        // Registers of 32 bits that each lane holds of A, B and C.
        let counts = match (ea, eb, ed, ec, k) {
            (Elem::F16, Elem::F16, Elem::F32, Elem::F32, 8)
            | (Elem::Bf16, Elem::Bf16, Elem::F32, Elem::F32, 8) => (2, 1, 4),
            (Elem::F16, Elem::F16, Elem::F32, Elem::F32, 16)
            | (Elem::Bf16, Elem::Bf16, Elem::F32, Elem::F32, 16) => (4, 2, 4),
            (Elem::F16, Elem::F16, Elem::F16, Elem::F16, 8) => (2, 1, 2),
            (Elem::F16, Elem::F16, Elem::F16, Elem::F16, 16) => (4, 2, 2),
            (Elem::Tf32, Elem::Tf32, Elem::F32, Elem::F32, 4) => (2, 1, 4),
            (Elem::Tf32, Elem::Tf32, Elem::F32, Elem::F32, 8) => (4, 2, 4),
            (Elem::S8 | Elem::U8, Elem::S8 | Elem::U8, Elem::S32, Elem::S32, 16)
                if !i.has("satfinite") =>
            {
                (2, 1, 4)
            }
            (Elem::S8 | Elem::U8, Elem::S8 | Elem::U8, Elem::S32, Elem::S32, 32)
                if !i.has("satfinite") =>
            {
                (4, 2, 4)
            }
            _ => return Err(self.unsupported(i)),
        };
        let dst = self.vector(i, 0)?;
        let a_regs = self.source_vector(i, 1, Ty::B32)?;
        let b_regs = self.source_vector(i, 2, Ty::B32)?;
        let c_regs = self.source_vector(i, 3, if ec == Elem::F32 { Ty::F32 } else { Ty::B32 })?;
        let found = (a_regs.len(), b_regs.len(), c_regs.len());
        if found != counts || dst.len() != counts.2 {
            let what = format!(
                "expected {counts:?} registers of A, B and C, found {found:?} and {} of D",
                dst.len()
            );
            return Err(self.wrong(i, what));
        }
        let uses = [&a_regs[..], &b_regs, &c_regs].concat();
        let mma = Mma {
            m: 16,
            n: 8,
            k,
            a: ea,
            b: eb,
            c: ec,
            dst: dst.into(),
            a_regs: a_regs.into(),
            b_regs: b_regs.into(),
            c_regs: c_regs.into(),
        };
        self.emit(i, Class::Matrix, Op::Mma(Box::new(mma)), uses)
    }

    /// PTX ISA, "Non-bulk copy: cp.async" and its completion mechanisms.
    fn cp_async(&mut self, i: &Instr) -> Built<()> {
        match i.mods.get(1).map(String::as_str) {
            Some("commit_group") => return self.emit(i, Class::Async, Op::CpAsyncCommit, vec![]),
            Some("wait_all") => {
                return self.emit(i, Class::Async, Op::CpAsyncWait { pending: None }, vec![]);
            }
            Some("wait_group") => {
                let pending = Some(self.immediate(i, 0)? as u32);
                return self.emit(i, Class::Async, Op::CpAsyncWait { pending }, vec![]);
            }
            Some("mbarrier") => {
                let (bar, _) = self.address_at(i, 0)?;
                let op = Op::CpAsyncArrive {
                    bar,
                    noinc: i.has("noinc"),
                };
                return self.emit(i, Class::Async, op, vec![bar.base]);
            }
            Some("ca" | "cg") => {}
            _ => return Err(self.unsupported(i)),
        }
        let (dst, _) = self.address_at(i, 0)?;
        let (src, _) = self.address_at(i, 1)?;
        let bytes = self.immediate(i, 2)? as u32;
        if !matches!((i.has("ca"), bytes), (true, 4 | 8 | 16) | (false, 16)) {
            return Err(self.wrong(
                i,
                format!("{bytes} bytes cannot be copied; `.ca` takes 4, 8 or 16, `.cg` takes 16"),
            ));
        }
        let mut uses = vec![dst.base, src.base];
        let (mut src_bytes, mut ignore) = (None, None);
        let hinted = i.has("L2::cache_hint");
        let rest = i.operands.len() - 3 - usize::from(hinted);
        if rest == 1 {
            let operand = i.operands[3].clone();
            match self.predicate(i, &operand) {
                Ok(p) if !matches!(operand, Operand::Int(_)) => {
                    uses.push(p.0);
                    ignore = Some(p);
                }
                _ => {
                    let slot = self.source(i, 3, Ty::U32)?;
                    uses.push(slot);
                    src_bytes = Some(slot);
                }
            }
        }
        self.granule = self.granule.min(bytes);
        self.emit(
            i,
            Class::Async,
            Op::CpAsync {
                dst,
                src,
                bytes,
                src_bytes,
                ignore,
            },
            uses,
        )
    }

    /// PTX ISA, "Bulk copy: cp.async.bulk" and "Tensor copy: cp.async.bulk.tensor".
    fn bulk(&mut self, i: &Instr) -> Built<()> {
        self.async_proxy = true;
        if i.has("commit_group") {
            return self.emit(i, Class::Async, Op::BulkCommit, vec![]);
        }
        if i.has("wait_group") {
            let pending = self.immediate(i, 0)? as u32;
            return self.emit(i, Class::Async, Op::BulkWait { pending }, vec![]);
        }
        if i.has("prefetch") {
            return self.emit(i, Class::Async, Op::Nop, vec![]);
        }
        if i.has("multicast::cluster")
            || i.mods
                .iter()
                .any(|m| m.starts_with("im2col") || m.contains("tile::"))
        {
            return Err(self.unsupported(i));
        }
        let loads = i.has("mbarrier::complete_tx::bytes");
        // The first space named is the destination.
        let to_shared = i
            .mods
            .iter()
            .find(|m| m.starts_with("shared") || *m == "global")
            .is_some_and(|m| m != "global");
        match (i.has("tensor"), loads, i.has("bulk_group")) {
            (false, true, false) if to_shared => {
                let (dst, src) = (self.address_at(i, 0)?.0, self.address_at(i, 1)?.0);
                let bytes = self.source(i, 2, Ty::U32)?;
                let (bar, _) = self.address_at(i, 3)?;
                let uses = vec![dst.base, src.base, bytes, bar.base];
                self.emit(
                    i,
                    Class::Async,
                    Op::BulkLoad {
                        dst,
                        src,
                        bytes,
                        bar,
                    },
                    uses,
                )
            }
            (false, false, true) if !to_shared => self.bulk_store(i, None),
            (true, true, false) => {
                let (dst, _) = self.address_at(i, 0)?;
                let (map, coords) = self.tensor_operand(i, 1)?;
                let (bar, _) = self.address_at(i, 2)?;
                let mut uses = vec![dst.base, map.base, bar.base];
                uses.extend(&coords);
                self.emit(
                    i,
                    Class::Async,
                    Op::TensorLoad {
                        dst,
                        map,
                        coords: coords.into(),
                        bar,
                    },
                    uses,
                )
            }
            (true, false, true) => self.tensor_store(i, None),
            _ => Err(self.unsupported(i)),
        }
    }

    /// PTX ISA, "cp.reduce.async.bulk" and "cp.reduce.async.bulk.tensor", from shared to global memory.
    fn bulk_reduce(&mut self, i: &Instr) -> Built<()> {
        self.async_proxy = true;
        let op = i.mods.iter().find_map(|m| atomic_op(m));
        let op = op.filter(|op| !matches!(op, AtomOp::Exch | AtomOp::Cas));
        let (Some(op), true) = (op, i.has("bulk_group")) else {
            return Err(self.unsupported(i));
        };
        if i.has("tensor") {
            return self.tensor_store(i, Some(op));
        }
        let ty = self.one_type(i)?;
        if !reduces(op, ty) {
            return Err(self.unsupported(i));
        }
        self.bulk_store(i, Some((op, ty)))
    }

    fn bulk_store(&mut self, i: &Instr, reduce: Option<(AtomOp, Ty)>) -> Built<()> {
        let (dst, src) = (self.address_at(i, 0)?.0, self.address_at(i, 1)?.0);
        let bytes = self.source(i, 2, Ty::U32)?;
        let uses = vec![dst.base, src.base, bytes];
        let op = Op::BulkStore {
            dst,
            src,
            bytes,
            reduce,
        };
        self.emit(i, Class::Async, op, uses)
    }

    fn tensor_store(&mut self, i: &Instr, reduce: Option<AtomOp>) -> Built<()> {
        let (map, coords) = self.tensor_operand(i, 0)?;
        let (src, _) = self.address_at(i, 1)?;
        let mut uses = vec![src.base, map.base];
        uses.extend(&coords);
        let coords = coords.into();
        let op = Op::TensorStore {
            src,
            map,
            coords,
            reduce,
        };
        self.emit(i, Class::Async, op, uses)
    }

    /// `[map, {c0, c1}]` with as many coordinates as the `.Nd` modifier says.
    fn tensor_operand(&mut self, i: &Instr, n: usize) -> Built<(Addr, Vec<Slot>)> {
        let Operand::Tensor { map, rest } = self.operand(i, n)?.clone() else {
            return Err(self.wrong(i, "expected `[map, {coordinates}]`"));
        };
        let (map, _) = self.address(i, &map)?;
        let [Operand::Vector(coords)] = &rest[..] else {
            return Err(self.wrong(i, "expected `{coordinates}`"));
        };
        let coords = coords
            .iter()
            .map(|c| self.value(i, c, Ty::S32))
            .collect::<Built<Vec<_>>>()?;
        let rank = i
            .mods
            .iter()
            .find_map(|m| m.strip_suffix('d').and_then(|n| n.parse::<usize>().ok()));
        if rank != Some(coords.len()) {
            return Err(self.wrong(
                i,
                format!(
                    "{} coordinates do not fit the dimension named",
                    coords.len()
                ),
            ));
        }
        Ok((map, coords))
    }

    /// PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions: wgmma.mma_async".
    fn wgmma(&mut self, i: &Instr) -> Built<()> {
        self.async_proxy = true;
        let types = i.types();
        let (Some((64, n, k)), [d, a, b]) = (Self::shape(i), &types[..]) else {
            return Err(self.unsupported(i));
        };
        let (Some(acc), Some(elem), Some(elem_b)) =
            (Self::elem(*d), Self::elem(*a), Self::elem(*b))
        else {
            return Err(self.unsupported(i));
        };
        let fits = match elem {
            Elem::F16 => k == 16 && matches!(acc, Elem::F32 | Elem::F16),
            Elem::Bf16 => k == 16 && acc == Elem::F32,
            Elem::Tf32 => k == 8 && acc == Elem::F32,
            _ => false,
        };
        if !fits || elem != elem_b || n % 8 != 0 || n == 0 || n > 256 {
            return Err(self.unsupported(i));
        }
        let dst = self.vector(i, 0)?;
        let want = if acc == Elem::F32 { n / 2 } else { n / 4 };
        if dst.len() != want as usize {
            return Err(self.wrong(
                i,
                format!("expected {want} accumulator registers, found {}", dst.len()),
            ));
        }
        let registers = matches!(self.operand(i, 1)?, Operand::Vector(_));
        let mut uses = vec![];
        let wa = if registers {
            let regs = self.source_vector(i, 1, Ty::B32)?;
            if regs.len() != 4 {
                return Err(self.wrong(i, "A in registers takes four of them"));
            }
            uses.extend(&regs);
            WgmmaA::Registers(regs.into())
        } else {
            let slot = self.source(i, 1, Ty::B64)?;
            uses.push(slot);
            WgmmaA::Shared(slot)
        };
        let b = self.source(i, 2, Ty::B64)?;
        let (scale_d, negated) = self.predicate(i, &self.operand(i, 3)?.clone())?;
        if negated {
            return Err(self.unsupported(i));
        }
        uses.extend([b, scale_d]);
        let sign = |v: i64| v == -1;
        let (negate_a, negate_b) = (sign(self.immediate(i, 4)?), sign(self.immediate(i, 5)?));
        let sixteen = elem != Elem::Tf32;
        let trans_a = sixteen && !registers && self.immediate(i, 6)? != 0;
        let trans_b = sixteen && self.immediate(i, if registers { 6 } else { 7 })? != 0;
        let op = Wgmma {
            n,
            k,
            elem,
            acc,
            dst: dst.into(),
            a: wa,
            b,
            scale_d,
            negate_a,
            negate_b,
            trans_a,
            trans_b,
        };
        self.emit(i, Class::Matrix, Op::Wgmma(Box::new(op)), uses)
    }
}
