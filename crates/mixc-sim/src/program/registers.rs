//! Which registers an instruction reads and writes.

use super::{Access, Inst, MbarOp, Op, Slot, WgmmaA};

pub fn of(inst: &Inst) -> Access {
    let (mut r, mut w): (Vec<Slot>, Vec<Slot>) = (vec![], vec![]);
    r.extend(inst.guard.map(|g| g.0));
    match &inst.op {
        Op::Alu { f, d, a } => {
            w.push(*d);
            r.extend(&a[..f.arity()]);
        }
        Op::Convert { d, a, .. }
        | Op::Mov { d, a }
        | Op::MovMatrix { d, a }
        | Op::ToGeneric { d, a, .. }
        | Op::FromGeneric { d, a, .. }
        | Op::IsSpace { d, a, .. } => {
            w.push(*d);
            r.push(*a);
        }
        Op::ConvertPair { d, a, b, .. } => {
            w.push(*d);
            r.extend([a, b]);
        }
        Op::Select { d, a, b, p } => {
            w.push(*d);
            r.extend([a, b, p]);
        }
        Op::Pack { d, parts, .. } => {
            w.push(*d);
            r.extend(parts);
        }
        Op::Unpack { parts, a, .. } => {
            w.extend(parts.iter().flatten());
            r.push(*a);
        }
        Op::Clock { d } | Op::ActiveMask { d } => w.push(*d),
        Op::BranchTable { index, .. } => r.push(*index),
        Op::Load { to, addr, .. } => {
            w.extend(to.iter().flatten());
            r.push(addr.base);
        }
        Op::Store { from, addr, .. } | Op::StMatrix { from, addr, .. } => {
            r.extend(from);
            r.push(addr.base);
        }
        Op::LdMatrix { to, addr, .. } => {
            w.extend(to);
            r.push(addr.base);
        }
        Op::Atomic { d, addr, b, c, .. } => {
            w.extend(d);
            r.extend([addr.base, *b]);
            r.extend(c);
        }
        Op::Barrier {
            id, count, d, p, ..
        } => {
            w.extend(d);
            r.push(*id);
            r.extend(count.iter().chain(p));
        }
        Op::WarpSync { mask } => r.push(*mask),
        Op::Shuffle {
            d,
            p,
            a,
            b,
            c,
            mask,
            ..
        } => {
            w.push(*d);
            w.extend(p);
            r.extend([a, b, c, mask]);
        }
        Op::Vote { d, p, mask, .. } => {
            w.push(*d);
            r.extend([p, mask]);
        }
        Op::Match { d, p, a, mask, .. } => {
            w.push(*d);
            w.extend(p);
            r.extend([a, mask]);
        }
        Op::Redux { d, a, mask, .. } => {
            w.push(*d);
            r.extend([a, mask]);
        }
        Op::Elect { d, p, mask } => {
            w.extend(d);
            w.push(*p);
            r.push(*mask);
        }
        Op::Mma(m) => {
            w.extend(&m.dst);
            [&m.a_regs, &m.b_regs, &m.c_regs]
                .iter()
                .for_each(|s| r.extend(s.iter()));
        }
        Op::Wgmma(g) => {
            w.extend(&g.dst);
            if let WgmmaA::Registers(a) = &g.a {
                r.extend(a);
            }
        }
        Op::CpAsync {
            dst,
            src,
            src_bytes,
            ignore,
            ..
        } => {
            r.extend([dst.base, src.base]);
            r.extend(src_bytes);
            r.extend(ignore.map(|i| i.0));
        }
        Op::CpAsyncArrive { bar, .. } => r.push(bar.base),
        Op::Mbarrier { op, bar, .. } => {
            r.push(bar.base);
            match op {
                MbarOp::Init { count } => r.push(*count),
                MbarOp::ExpectTx { bytes } | MbarOp::CompleteTx { bytes } => r.push(*bytes),
                MbarOp::Arrive {
                    state,
                    count,
                    expect,
                    ..
                } => {
                    w.extend(state);
                    r.extend(count.iter().chain(expect));
                }
                MbarOp::Wait { done, token, .. } => {
                    w.push(*done);
                    r.push(*token);
                }
                MbarOp::Inval => {}
            }
        }
        Op::BulkLoad {
            dst,
            src,
            bytes,
            bar,
        } => r.extend([dst.base, src.base, *bytes, bar.base]),
        Op::BulkStore {
            dst, src, bytes, ..
        } => r.extend([dst.base, src.base, *bytes]),
        Op::TensorLoad {
            dst,
            map,
            coords,
            bar,
        } => {
            r.extend([dst.base, map.base, bar.base]);
            r.extend(coords);
        }
        Op::TensorStore {
            src, map, coords, ..
        } => {
            r.extend([src.base, map.base]);
            r.extend(coords);
        }
        Op::Branch { .. }
        | Op::Exit
        | Op::Trap
        | Op::Nop
        | Op::Unsupported
        | Op::Fence
        | Op::ProxyFence
        | Op::CpAsyncCommit
        | Op::CpAsyncWait { .. }
        | Op::BulkCommit
        | Op::BulkWait { .. }
        | Op::WgmmaFence
        | Op::WgmmaCommit
        | Op::WgmmaWait { .. }
        | Op::SetRegisters { .. } => {}
    }
    Access {
        reads: r.into(),
        writes: w.into(),
    }
}
