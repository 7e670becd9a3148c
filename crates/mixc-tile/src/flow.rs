//! Where values of buffers end up.

use crate::visit::{accumulates, each, elements, reads, written};
use crate::{BufId, Expr, Kernel, ReduceKind, ScanKind, Stmt, TensorArg, Usage};
use mixc_ir::{DType, Func, Name};
use std::collections::BTreeSet;

/// The buffers whose values go to 16-bit outputs and nowhere else: every statement that reads one makes another such
/// buffer or stores to such an output, linearly, and no loop carries one from turn to turn.
///
/// What is rounded in such a buffer is rounded once more in front of a result, while what is rounded in a state stays
/// in everything that comes after it, and a quotient can make more of it.
pub fn passing(kernel: &Kernel) -> BTreeSet<BufId> {
    let mut lasting: BTreeSet<BufId> = BTreeSet::new();
    carried(
        &kernel.body,
        &BTreeSet::new(),
        BTreeSet::new(),
        &mut lasting,
    );
    let is_output = |name: &Name| {
        let half = |t: &TensorArg| matches!(t.dtype, DType::Bf16 | DType::F16);
        let same = |t: &&TensorArg| t.name == *name;
        let tensor = kernel.tensors.iter().find(same);
        tensor.is_some_and(|t| t.usage == Usage::Out && half(t))
    };
    loop {
        let before = lasting.len();
        each(&kernel.body, &mut |stmt| {
            let ends_well = match stmt {
                // What decides where something is read is more than a value.
                Stmt::Load { .. } => false,
                Stmt::Store { tensor, .. } => is_output(tensor),
                other => written(other).is_none_or(|dst| !lasting.contains(&dst.buf)),
            };
            if !ends_well || multiplies_up(stmt) {
                lasting.extend(reads(stmt).iter().map(|a| a.buf));
            }
            if let Stmt::Store { src: expr, .. }
            | Stmt::Map { expr, .. }
            | Stmt::Scan { expr, .. }
            | Stmt::Reduce { expr, .. } = stmt
            {
                bent(expr, &mut lasting);
            }
        });
        if lasting.len() == before {
            break;
        }
    }
    let all = (0..kernel.bufs.len()).map(|n| BufId(n as u32));
    all.filter(|buf| !lasting.contains(buf)).collect()
}

/// Finds the buffers that a turn of a loop reads before it writes them anew. `looped` are those that the loops around
/// the body write, `anew` those that the current turn has written.
fn carried(
    body: &[Stmt],
    looped: &BTreeSet<BufId>,
    mut anew: BTreeSet<BufId>,
    found: &mut BTreeSet<BufId>,
) {
    for stmt in body {
        match stmt {
            Stmt::For { body, .. } => {
                let own = written_in(body);
                let before = anew.difference(&own).copied().collect();
                carried(body, &looped.union(&own).copied().collect(), before, found);
            }
            Stmt::If {
                then, otherwise, ..
            } => {
                carried(then, looped, anew.clone(), found);
                carried(otherwise, looped, anew.clone(), found);
            }
            _ => {
                let mut read: BTreeSet<BufId> = reads(stmt).iter().map(|a| a.buf).collect();
                let dst = written(stmt).map(|dst| dst.buf);
                read.extend(dst.filter(|_| accumulates(stmt)));
                found.extend(read.difference(&anew).filter(|buf| looped.contains(*buf)));
                anew.extend(dst.filter(|dst| !read.contains(dst)));
            }
        }
    }
}

fn written_in(body: &[Stmt]) -> BTreeSet<BufId> {
    let mut found = BTreeSet::new();
    each(body, &mut |stmt| {
        found.extend(written(stmt).map(|dst| dst.buf))
    });
    found
}

/// Whether a statement multiplies what it reads with each other.
fn multiplies_up(stmt: &Stmt) -> bool {
    matches!(
        stmt,
        Stmt::Reduce {
            kind: ReduceKind::Prod,
            ..
        } | Stmt::Scan {
            kind: ScanKind::Prod,
            ..
        }
    )
}

/// Buffers that an expression does not depend on linearly.
fn bent(expr: &Expr, found: &mut BTreeSet<BufId>) {
    match expr {
        Expr::Const(_) | Expr::Scalar(_) | Expr::Index(_) | Expr::Elem(_) => {}
        Expr::Add(a, b) | Expr::Mul(a, b) => {
            bent(a, found);
            bent(b, found);
        }
        Expr::Call(Func::Neg | Func::Sub, args) => args.iter().for_each(|a| bent(a, found)),
        Expr::Call(f, args) => {
            let linear = if *f == Func::Select { 1 } else { args.len() };
            let mut inside = vec![];
            args[..linear].iter().for_each(|a| elements(a, &mut inside));
            found.extend(inside.iter().map(|a| a.buf));
            args[linear..].iter().for_each(|a| bent(a, found));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mixc_text::Source;

    #[test]
    fn a_state_lasts_and_what_is_made_of_it_passes() {
        let kernel = crate::parse_kernel(&Source::new(
            "kernel",
            "kernel k(dims: T) {
               in k: bf16 [$T, 16] unit
               in v: bf16 [$T, 16] unit
               out o: bf16 [$T, 16] unit
               work w: f32 [$T, 16] unit
               shared state: [16, 16]
               shared kc: [16, 16]
               shared vc: [16, 16]
               shared weights: [16, 16]
               shared sum: [16, 16]
               shared kept: [16, 16]
               grid one < 1
               map [a < 16, e < 16] state[a, e] = 0.0
               for t0 in 0 .. $T / 16 {
                 load [a < 16, t < 16] kc[a, t] <- k[t0 * 16 + t, a]
                 load [e < 16, t < 16] vc[e, t] <- v[t0 * 16 + t, e]
                 map [a < 16, t < 16] weights[a, t] = 2.0 * kc[a, t]
                 map [a < 16, t < 16] kept[a, t] = 3.0 * kc[a, t]
                 contract [e < 16, t < 16, a < 16] sum[e, t] = state[a, e] * weights[a, t]
                 contract [e < 16, t < 16, a < 16] sum[e, t] (+)= vc[a, e] * weights[a, t]
                 store [t < 16, e < 16] o[t0 * 16 + t, e] <- sum[e, t]
                 contract [a < 16, e < 16, t < 16] state[a, e] (+)= kept[a, t] * vc[e, t]
               }
               store [a < 16, e < 16] w[a, e] <- state[a, e]
             }",
        ))
        .unwrap();
        let passing: Vec<&str> = passing(&kernel)
            .into_iter()
            .map(|buf| &*kernel.bufs[buf.0 as usize].name)
            .collect();
        // A state is read on the way to outputs too, but it is carried.
        assert_eq!(passing, ["weights", "sum"]);
    }
}
