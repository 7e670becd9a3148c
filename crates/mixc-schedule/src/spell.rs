//! Operators that have no tile statement, in terms of those that have.

use crate::lower::{exp_shifted, reduce_max};
use mixc_ir::{Func, Ix, Let, Name, Program, ReduceOp, Stmt, T, Term};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Lets made for one statement, and how many were made before.
struct Running {
    lets: Vec<Let>,
    before: usize,
}

/// Spells out softmax and log-sum-exp as reductions. Running sums and products along an axis that is
/// not inside a chunk become recurrences, in lets of their own.
pub fn spell_out(program: &mut Program) {
    let mut lets = 0;
    for stmt in std::mem::take(&mut program.body) {
        let mut running = Running {
            lets: vec![],
            before: lets,
        };
        let stmt = match stmt {
            Stmt::Let(mut l) => {
                l.value = l.value.rebuild(&mut |t| spell(program, t, &mut running));
                Stmt::Let(l)
            }
            Stmt::Scan(mut s) => {
                for l in &mut s.body {
                    l.value = l.value.rebuild(&mut |t| spell(program, t, &mut running));
                }
                Stmt::Scan(s)
            }
        };
        lets += running.lets.len();
        program.body.extend(running.lets.into_iter().map(Stmt::Let));
        program.body.push(stmt);
    }
}

fn spell(program: &mut Program, term: T, running: &mut Running) -> T {
    match &*term {
        Term::Softmax { axes, score, mask } => softmax(program, axes, score, mask),
        Term::Reduce {
            op: ReduceOp::Lse,
            axes,
            mask,
            body,
        } => {
            let sum = Arc::new(Term::Online {
                axes: axes.clone(),
                score: body.clone(),
                mask: mask.clone(),
                value: Term::one(),
            });
            let log = Term::map(Func::Log, vec![sum]);
            Arc::new(Term::Add(vec![reduce_max(axes, mask, body), log]))
        }
        Term::CumSum { axis, body } if !in_chunk(program, axis) => {
            let scan = recurrence(
                program,
                axis,
                false,
                Term::one(),
                body.clone(),
                Term::zero(),
            );
            in_let(running, &term, scan)
        }
        Term::CumProd {
            axis,
            exclusive,
            body,
        } if !in_chunk(program, axis) => {
            let scan = recurrence(
                program,
                axis,
                *exclusive,
                body.clone(),
                Term::zero(),
                Term::one(),
            );
            in_let(running, &term, scan)
        }
        // The same from the other end: a recurrence over mirrored positions.
        Term::SufProd { axis, body } if !in_chunk(program, axis) => {
            let size = program.axes.get(axis).cloned().unwrap_or(Ix::Const(1));
            let mirrored = size - 1 - Ix::Axis(axis.clone());
            let map = BTreeMap::from([(axis.clone(), mirrored)]);
            let scan = recurrence(
                program,
                axis,
                true,
                body.substitute(&map),
                Term::zero(),
                Term::one(),
            );
            in_let(running, &term, scan).substitute(&map)
        }
        _ => term,
    }
}

/// Reads the value of a let that holds `value`, over the free axes of the term that it stands for.
fn in_let(running: &mut Running, term: &T, value: T) -> T {
    let axes: Vec<Name> = term.free_axes().into_iter().collect();
    let name: Name = match running.lets.iter().find(|l| l.value == value) {
        Some(known) => known.name.clone(),
        None => {
            let name: Name = format!("running_{}", running.before + running.lets.len()).into();
            running.lets.push(Let {
                name: name.clone(),
                axes: axes.clone(),
                value,
            });
            name
        }
    };
    Term::read(&name, axes.into_iter().map(Ix::Axis).collect())
}

fn in_chunk(program: &Program, axis: &Name) -> bool {
    program.splits.iter().any(|s| s.inner == *axis)
}

/// mask * exp(s - max) / sum; the reductions run over axes of their own.
fn softmax(program: &mut Program, axes: &[Name], score: &T, mask: &T) -> T {
    let map: BTreeMap<Name, Ix> = axes
        .iter()
        .map(|a| (a.clone(), Ix::Axis(fresh_like(program, a))))
        .collect();
    let own: Vec<Name> = map
        .values()
        .filter_map(|ix| {
            if let Ix::Axis(name) = ix {
                Some(name.clone())
            } else {
                None
            }
        })
        .collect();
    let (s, m) = (score.substitute(&map), mask.substitute(&map));
    let sum = Arc::new(Term::Online {
        axes: own.clone(),
        score: s.clone(),
        mask: m.clone(),
        value: Term::one(),
    });
    let mut factors = crate::bounds::conjuncts(mask);
    factors.push(exp_shifted(score, &reduce_max(&own, &m, &s)));
    factors.push(Term::map(Func::RecipOrZero, vec![sum]));
    Term::product(factors)
}

fn recurrence(program: &mut Program, axis: &Name, strict: bool, decay: T, input: T, init: T) -> T {
    let j = fresh_like(program, axis);
    let map = BTreeMap::from([(axis.clone(), Ix::Axis(j.clone()))]);
    let (decay, input) = (decay.substitute(&map), input.substitute(&map));
    Arc::new(Term::Scan {
        j,
        i: axis.clone(),
        strict,
        decay,
        input,
        init,
    })
}

/// A new axis of the same size.
pub fn fresh_like(program: &mut Program, axis: &Name) -> Name {
    let size = program.axes.get(axis).cloned().unwrap_or(Ix::Const(1));
    let name: Name = (1..)
        .map(|n| Name::from(format!("{axis}_{n}")))
        .find(|n| !program.axes.contains_key(n))
        .unwrap_or_else(|| axis.clone());
    program.axes.insert(name.clone(), size);
    name
}
