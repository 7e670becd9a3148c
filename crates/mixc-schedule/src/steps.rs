//! A template's actions: states that step through time or chunks, and results stored on the way.

use crate::ScheduleError;
use crate::builder::{Binding, Builder};
use crate::contract::accumulate_sum;
use crate::group::Out;
use crate::kernel::{bind_chunks, bind_sums};
use crate::lower::lower;
use crate::stream::prepare_streams;
use crate::template::{Action, Range};
use crate::unify::{Renaming, unify};
use mixc_ir::{Ix, Name, T, Term};
use mixc_tile::{Access, Expr, Place, Stmt};
use std::collections::BTreeMap;

/// One recurrence, stepped once per turn of the loop.
pub struct State {
    decay: T,
    input: T,
    init: T,
    strict: bool,
    buffer: Access,
    axes: Vec<Name>,
}

/// A template's actions, on the terms of one kernel.
pub struct Run<'a> {
    pub outs: &'a [Out],
    /// The axis that is stepped along.
    pub axis: Option<Name>,
    pub states: Vec<State>,
    /// Where recurrences occur: the node, its state, and the state's axes as named there.
    pub uses: Vec<(T, usize, Renaming)>,
}

impl Run<'_> {
    pub fn perform(&mut self, b: &mut Builder, actions: &[Action]) -> Result<(), ScheduleError> {
        let level = b.top();
        for action in actions {
            match action {
                Action::Init => self.init(b)?,
                Action::Stream => {
                    let mut terms = self.terms_here(level);
                    if level > 0 {
                        terms.extend(
                            self.states
                                .iter()
                                .flat_map(|s| [s.decay.clone(), s.input.clone()]),
                        );
                    }
                    prepare_streams(b, &terms)?;
                }
                Action::Store => {
                    for out in self.outs.iter().filter(|o| self.is_here(o, level)) {
                        store(b, out, level)?;
                    }
                }
                Action::AdvanceInclusive => {
                    for state in self.states.iter().filter(|s| !s.strict) {
                        advance(b, state, level)?;
                    }
                }
                // A state that feeds another is read before it moves on.
                Action::AdvanceStrict => {
                    for state in self.states.iter().rev().filter(|s| s.strict) {
                        advance(b, state, level)?;
                    }
                }
                Action::For(range, body) => self.steps(b, *range, body)?,
                Action::Finish => self.finish(b)?,
                Action::Compute | Action::Carry => {
                    return Err(ScheduleError::internal(
                        "a let has no steps as written".into(),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Results that are known at every step are stored in the loop, the others outside.
    fn is_here(&self, out: &Out, level: usize) -> bool {
        self.axis
            .as_ref()
            .is_none_or(|axis| out.axes.contains(axis) == (level > 0))
    }

    fn terms_here(&self, level: usize) -> Vec<T> {
        self.outs
            .iter()
            .filter(|o| self.is_here(o, level))
            .map(|o| o.term.clone())
            .collect()
    }

    fn init(&mut self, b: &mut Builder) -> Result<(), ScheduleError> {
        let Some(axis) = self.axis.clone() else {
            return Ok(());
        };
        for out in self.outs {
            collect_states(b, &out.term, &axis, &mut self.states, &mut self.uses)?;
        }
        for state in &mut self.states {
            let all = Term::product(vec![
                state.decay.clone(),
                state.input.clone(),
                state.init.clone(),
            ]);
            state.axes = b
                .tile_axes(&all)
                .into_iter()
                .filter(|a| *a != axis)
                .collect();
            state.buffer = b.buffer("state", &state.axes);
            bind_sums(b, &[state.decay.clone(), state.input.clone()], 0)?;
            let init = lower(b, &state.init)?;
            b.emit_map(0, state.buffer.clone(), init);
        }
        Ok(())
    }

    fn steps(
        &mut self,
        b: &mut Builder,
        range: Range,
        body: &[Action],
    ) -> Result<(), ScheduleError> {
        let Some(axis) = self.axis.clone() else {
            return Ok(());
        };
        let size = b.size_of(&axis)?;
        let whole_parts = match b.program.splits.iter().find(|s| s.outer == axis) {
            None => size.clone(),
            Some(split) => b.program.axes[&split.axis].clone() / split.size.clone(),
        };
        let (lo, hi, ragged) = match range {
            Range::Steps => (Ix::Const(0), size, true),
            Range::WholeParts => (Ix::Const(0), whole_parts, false),
            Range::LastPart => (whole_parts, size, true),
        };
        let var = b.fresh(&axis);
        let level = b.open();
        b.bind(&axis, Binding::At(Ix::Axis(var.clone())), level);
        let mut terms = self.terms_here(level);
        terms.extend(
            self.states
                .iter()
                .flat_map(|s| [s.decay.clone(), s.input.clone()]),
        );
        bind_chunks(b, &terms, level, ragged)?;
        for (node, state, renaming) in &self.uses {
            if matches!(&**node, Term::Scan { .. }) {
                b.remember_expr(level, node, state_value(&self.states[*state], renaming));
            }
        }
        self.perform(b, body)?;
        let body = b.close();
        b.emit(
            level - 1,
            Stmt::For {
                var,
                lo,
                hi,
                reverse: false,
                body,
            },
        );
        Ok(())
    }

    fn finish(&self, b: &mut Builder) -> Result<(), ScheduleError> {
        for (node, state, renaming) in &self.uses {
            if matches!(&**node, Term::Last { .. }) {
                b.remember_expr(0, node, state_value(&self.states[*state], renaming));
            }
        }
        for out in self.outs.iter().filter(|o| self.is_here(o, 0)) {
            store(b, out, 0)?;
        }
        Ok(())
    }
}

fn state_value(state: &State, renaming: &Renaming) -> Expr {
    let place = |a: &Name| Place::Axis(renaming.get(a).unwrap_or(a).clone());
    Expr::Elem(Access {
        buf: state.buffer.buf,
        places: state.axes.iter().map(place).collect(),
    })
}

/// state = decay * state + input.
fn advance(b: &mut Builder, state: &State, level: usize) -> Result<(), ScheduleError> {
    let decay = lower(b, &state.decay)?;
    let old = Expr::Elem(state.buffer.clone());
    let decayed = if decay == Expr::Const(1.0) {
        old.clone()
    } else {
        Expr::Mul(Box::new(decay), Box::new(old.clone()))
    };
    match &*state.input {
        Term::Sum { axes, factors }
            if !axes.is_empty() && b.tile_axes(&state.input) == state.axes =>
        {
            if decayed != old {
                b.emit_map(level, state.buffer.clone(), decayed);
            }
            accumulate_sum(b, axes, factors, &state.buffer, level)
        }
        _ => {
            let input = lower(b, &state.input)?;
            let next = Expr::Add(Box::new(decayed), Box::new(input));
            b.emit_map(level, state.buffer.clone(), next);
            Ok(())
        }
    }
}

/// The recurrences of a term along `axis`, those that feed others first, and where each is used.
fn collect_states(
    b: &mut Builder,
    term: &T,
    axis: &Name,
    states: &mut Vec<State>,
    uses: &mut Vec<(T, usize, Renaming)>,
) -> Result<(), ScheduleError> {
    let (j, strict, children) = match &**term {
        Term::Scan {
            j,
            i,
            strict,
            decay,
            input,
            init,
        } if i == axis => (j, *strict, [decay, input, init]),
        Term::Last {
            j,
            decay,
            input,
            init,
        } => (j, false, [decay, input, init]),
        Term::Scan { i, .. } => {
            return Err(ScheduleError::unsupported(format!(
                "recurrences along {axis} and {i} in one kernel"
            )));
        }
        _ => {
            for child in term.children() {
                collect_states(b, child, axis, states, uses)?;
            }
            return Ok(());
        }
    };
    let map = BTreeMap::from([(j.clone(), Ix::Axis(axis.clone()))]);
    let [decay, input, init] = children.map(|c| {
        if j == axis {
            c.clone()
        } else {
            c.substitute(&map)
        }
    });
    collect_states(b, &decay, axis, states, uses)?;
    collect_states(b, &input, axis, states, uses)?;
    let is_last = matches!(&**term, Term::Last { .. });
    for (n, state) in states.iter().enumerate() {
        let mut renaming = Renaming::from([(axis.clone(), axis.clone())]);
        // Grid coordinates stand for themselves.
        renaming.extend(
            b.kernel
                .grid
                .iter()
                .map(|g| (g.name.clone(), g.name.clone())),
        );
        let same = unify(&state.decay, &decay, &mut renaming)
            && unify(&state.input, &input, &mut renaming)
            && unify(&state.init, &init, &mut renaming);
        if same && (is_last || state.strict == strict) {
            uses.push((term.clone(), n, renaming));
            return Ok(());
        }
    }
    let buffer = Access {
        buf: mixc_tile::BufId(u32::MAX),
        places: vec![],
    };
    states.push(State {
        decay,
        input,
        init,
        strict,
        buffer,
        axes: vec![],
    });
    uses.push((term.clone(), states.len() - 1, Renaming::new()));
    Ok(())
}

fn store(b: &mut Builder, out: &Out, level: usize) -> Result<(), ScheduleError> {
    let src = lower(b, &out.term)?;
    let names: Vec<Name> = out
        .axes
        .iter()
        .filter(|a| b.tile(a).is_some())
        .cloned()
        .collect();
    let index: Result<Vec<Ix>, _> = out.index.iter().map(|ix| b.index(ix)).collect();
    let axes = b.local_axes(&names);
    b.emit(
        level,
        Stmt::Store {
            axes,
            tensor: out.name.clone(),
            index: index?,
            src,
        },
    );
    Ok(())
}
