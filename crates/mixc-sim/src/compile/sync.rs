//! Barriers, fences, exchanges between lanes, and mbarriers.

use super::{Built, Compiler};
use crate::program::*;
use crate::syntax::ast::{Instr, Operand, Ty};

impl Compiler<'_> {
    pub fn sync(&mut self, i: &Instr) -> Built<()> {
        match i.name.as_str() {
            "bar" | "barrier" => self.barrier(i),
            // Within a block, the records of shared memory know barriers only.
            "membar" | "fence" if i.has("cta") => self.emit(i, Class::Barrier, Op::Nop, vec![]),
            "membar" => self.emit(i, Class::Barrier, Op::Fence, vec![]),
            "fence" => match i.mods.first().map(String::as_str) {
                // PTX ISA, "membar / fence": `.proxy.async` orders the generic and the async proxy.
                Some("proxy") if i.has("async") => {
                    self.emit(i, Class::Barrier, Op::ProxyFence, vec![])
                }
                Some("proxy" | "proxy::async") => Err(self.unsupported(i)),
                _ => self.emit(i, Class::Barrier, Op::Fence, vec![]),
            },
            "shfl" => self.shuffle(i),
            "vote" => self.vote(i),
            "match" => self.matching(i),
            "redux" => self.redux(i),
            "activemask" => {
                let (d, _) = self.target(i, 0)?;
                self.emit(i, Class::WarpSync, Op::ActiveMask { d }, vec![])
            }
            "elect" => self.elect(i),
            "mbarrier" => self.mbarrier(i),
            "setmaxnreg" => self.set_registers(i),
            // Hints change speed, not results.
            "griddepcontrol" | "nanosleep" => self.emit(i, Class::Other, Op::Nop, vec![]),
            _ => Err(self.unsupported(i)),
        }
    }

    fn barrier(&mut self, i: &Instr) -> Built<()> {
        if i.has("cluster") {
            return Err(self.unsupported(i));
        }
        if i.has("warp") {
            let mask = self.source(i, 0, Ty::B32)?;
            return self.emit(i, Class::WarpSync, Op::WarpSync { mask }, vec![mask]);
        }
        // `bar` is `barrier` with `.aligned` (PTX ISA, "bar, barrier").
        let aligned = i.name == "bar" || i.has("aligned");
        let (kind, first) = match () {
            _ if i.has("arrive") => (BarKind::Arrive, 0),
            _ if i.has("red") && i.has("popc") => (BarKind::Popc, 1),
            _ if i.has("red") && i.has("and") => (BarKind::And, 1),
            _ if i.has("red") && i.has("or") => (BarKind::Or, 1),
            _ if i.has("sync") => (BarKind::Sync, 0),
            _ => return Err(self.unsupported(i)),
        };
        let d = if first == 1 {
            Some(self.target(i, 0)?.0)
        } else {
            None
        };
        let id = self.source(i, first, Ty::U32)?;
        let last = i.operands.len();
        let with_count = last > first + 1 + usize::from(first == 1);
        let count = if with_count {
            Some(self.source(i, first + 1, Ty::U32)?)
        } else {
            None
        };
        let (p, negate) = if first == 1 {
            let (slot, negated) = self.predicate(i, &i.operands[last - 1].clone())?;
            (Some(slot), negated)
        } else {
            (None, false)
        };
        if kind == BarKind::Arrive && count.is_none() {
            return Err(self.wrong(i, "`arrive` needs the number of threads"));
        }
        let mut uses = vec![id];
        uses.extend(count);
        uses.extend(p);
        self.emit(
            i,
            Class::Barrier,
            Op::Barrier {
                kind,
                id,
                count,
                d,
                p,
                negate,
                aligned,
            },
            uses,
        )
    }

    /// PTX ISA, "setmaxnreg".
    fn set_registers(&mut self, i: &Instr) -> Built<()> {
        self.must_sync(i)?;
        let count = match self.operand(i, 0)? {
            Operand::Int(n @ 24..=256) if n % 8 == 0 => *n as u32,
            _ => return Err(self.wrong(i, "expected a multiple of 8 between 24 and 256")),
        };
        let more = i.has("inc");
        if more == i.has("dec") {
            return Err(self.wrong(i, "expected `.inc` or `.dec`"));
        }
        self.emit(i, Class::Other, Op::SetRegisters { count, more }, vec![])
    }

    fn must_sync(&self, i: &Instr) -> Built<()> {
        if i.has("sync") {
            Ok(())
        } else {
            Err(self.unsupported(i))
        }
    }

    /// `d` or `d|p`.
    fn pair(&mut self, i: &Instr) -> Built<(Slot, Option<Slot>)> {
        match self.operand(i, 0)?.clone() {
            Operand::Pair(d, p) => {
                let d = self.register(i, &d)?.0;
                let p = if *p == Operand::Sink {
                    None
                } else {
                    Some(self.register(i, &p)?.0)
                };
                Ok((d, p))
            }
            d => Ok((self.register(i, &d)?.0, None)),
        }
    }

    fn shuffle(&mut self, i: &Instr) -> Built<()> {
        self.must_sync(i)?;
        self.at_least(i, 5)?;
        let mode = match () {
            _ if i.has("up") => ShflMode::Up,
            _ if i.has("down") => ShflMode::Down,
            _ if i.has("bfly") => ShflMode::Bfly,
            _ => ShflMode::Idx,
        };
        let (d, p) = self.pair(i)?;
        let a = self.source(i, 1, Ty::B32)?;
        let (b, c, mask) = (
            self.source(i, 2, Ty::B32)?,
            self.source(i, 3, Ty::B32)?,
            self.source(i, 4, Ty::B32)?,
        );
        self.emit(
            i,
            Class::WarpSync,
            Op::Shuffle {
                mode,
                d,
                p,
                a,
                b,
                c,
                mask,
            },
            vec![b, c, mask],
        )
    }

    fn vote(&mut self, i: &Instr) -> Built<()> {
        self.must_sync(i)?;
        self.at_least(i, 3)?;
        let mode = match () {
            _ if i.has("all") => VoteMode::All,
            _ if i.has("any") => VoteMode::Any,
            _ if i.has("uni") => VoteMode::Uni,
            _ => VoteMode::Ballot,
        };
        let (d, _) = self.target(i, 0)?;
        let (p, negate) = self.predicate(i, &i.operands[1].clone())?;
        let mask = self.source(i, 2, Ty::B32)?;
        self.emit(
            i,
            Class::WarpSync,
            Op::Vote {
                mode,
                d,
                p,
                negate,
                mask,
            },
            vec![p, mask],
        )
    }

    fn matching(&mut self, i: &Instr) -> Built<()> {
        self.must_sync(i)?;
        self.at_least(i, 3)?;
        let ty = self.one_type(i)?;
        let (d, p) = self.pair(i)?;
        let (a, mask) = (self.source(i, 1, ty)?, self.source(i, 2, Ty::B32)?);
        self.emit(
            i,
            Class::WarpSync,
            Op::Match {
                all: i.has("all"),
                ty,
                d,
                p,
                a,
                mask,
            },
            vec![a, mask],
        )
    }

    fn redux(&mut self, i: &Instr) -> Built<()> {
        self.must_sync(i)?;
        self.at_least(i, 3)?;
        let ty = self.one_type(i)?;
        let op = match () {
            _ if i.has("add") => AtomOp::Add,
            _ if i.has("min") => AtomOp::Min,
            _ if i.has("max") => AtomOp::Max,
            _ if i.has("and") => AtomOp::And,
            _ if i.has("or") => AtomOp::Or,
            _ if i.has("xor") => AtomOp::Xor,
            _ => return Err(self.unsupported(i)),
        };
        if ty.float() {
            return Err(self.unsupported(i));
        }
        let (d, _) = self.target(i, 0)?;
        let (a, mask) = (self.source(i, 1, ty)?, self.source(i, 2, Ty::B32)?);
        self.emit(
            i,
            Class::WarpSync,
            Op::Redux { op, ty, d, a, mask },
            vec![a, mask],
        )
    }

    fn elect(&mut self, i: &Instr) -> Built<()> {
        let Operand::Pair(d, p) = self.operand(i, 0)?.clone() else {
            return Err(self.wrong(i, "expected `d|p`"));
        };
        let d = if *d == Operand::Sink {
            None
        } else {
            Some(self.register(i, &d)?.0)
        };
        let p = self.register(i, &p)?.0;
        let mask = self.source(i, 1, Ty::B32)?;
        self.emit(i, Class::WarpSync, Op::Elect { d, p, mask }, vec![mask])
    }

    /// PTX ISA, "Parallel Synchronization and Communication Instructions: mbarrier".
    fn mbarrier(&mut self, i: &Instr) -> Built<()> {
        let space = self.space(i)?;
        self.granule = self.granule.min(8);
        let kind = i.mods.first().cloned().unwrap_or_default();
        let (at, op) = match kind.as_str() {
            "init" => (
                0,
                MbarOp::Init {
                    count: self.source(i, 1, Ty::U32)?,
                },
            ),
            "inval" => (0, MbarOp::Inval),
            "expect_tx" => (
                0,
                MbarOp::ExpectTx {
                    bytes: self.source(i, 1, Ty::U32)?,
                },
            ),
            "complete_tx" => (
                0,
                MbarOp::CompleteTx {
                    bytes: self.source(i, 1, Ty::U32)?,
                },
            ),
            "arrive" | "arrive_drop" if !i.has("noComplete") => {
                // The state is left out for barriers in the cluster's memory.
                let with_state = !matches!(i.operands.first(), Some(Operand::Address { .. }));
                let at = usize::from(with_state);
                let state = match i.operands.first() {
                    Some(Operand::Sink) | Some(Operand::Address { .. }) | None => None,
                    _ => Some(self.target(i, 0)?.0),
                };
                let extra = if i.operands.len() > at + 1 {
                    Some(self.source(i, at + 1, Ty::U32)?)
                } else {
                    None
                };
                let (count, expect) = if i.has("expect_tx") {
                    (None, extra)
                } else {
                    (extra, None)
                };
                (
                    at,
                    MbarOp::Arrive {
                        state,
                        count,
                        expect,
                        drop: kind == "arrive_drop",
                    },
                )
            }
            "test_wait" | "try_wait" => {
                let (done, _) = self.target(i, 0)?;
                let parity = i.has("parity");
                let token = self.source(i, 2, if parity { Ty::U32 } else { Ty::B64 })?;
                (
                    1,
                    MbarOp::Wait {
                        done,
                        token,
                        parity,
                        may_fail: kind == "try_wait",
                    },
                )
            }
            _ => return Err(self.unsupported(i)),
        };
        let (bar, _) = self.address_at(i, at)?;
        let mut uses = vec![bar.base];
        match &op {
            MbarOp::Init { count } => uses.push(*count),
            MbarOp::ExpectTx { bytes } | MbarOp::CompleteTx { bytes } => uses.push(*bytes),
            MbarOp::Arrive { count, expect, .. } => uses.extend(count.iter().chain(expect)),
            MbarOp::Wait { token, .. } => uses.push(*token),
            MbarOp::Inval => {}
        }
        self.emit(i, Class::Barrier, Op::Mbarrier { op, bar, space }, uses)
    }
}
