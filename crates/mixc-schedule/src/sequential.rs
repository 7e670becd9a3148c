//! A scan as written: one step after the other, whatever its body does.

use crate::ScheduleError;
use crate::builder::{Binding, Builder, Local};
use crate::kernel::bind_sums;
use crate::knobs::{Knobs, WHOLE};
use crate::lower::lower;
use crate::roles::{Roles, fitted};
use crate::stream::prepare_streams;
use crate::template::{Action, Condition, Range, select};
use mixc_ir::{Ix, Let, Name, Program, Scan, T, Term};
use mixc_tile::{Access, Expr, GridAxis, Kernel, Stmt};
use std::collections::BTreeSet;

/// Axes along which the steps of a scan are independent: every state has them, and whatever reads a
/// state or a local of the step reads it at the same position.
pub fn independent_axes(scan: &Scan) -> BTreeSet<Name> {
    let Some(first) = scan
        .carries
        .first()
        .map(|c| &c.axes)
        .or(scan.body.first().map(|l| &l.axes))
    else {
        return BTreeSet::new();
    };
    let mut batch: BTreeSet<Name> = first.iter().filter(|a| **a != scan.axis).cloned().collect();
    for carry in &scan.carries {
        batch.retain(|a| carry.axes.contains(a));
    }
    for l in &scan.body {
        l.value.visit(&mut |t| {
            let Term::Read { tensor, index } = &**t else {
                return;
            };
            let Some(axes) = axes_of(scan, tensor) else {
                return;
            };
            for (axis, ix) in axes.iter().zip(index) {
                if *ix != Ix::Axis(axis.clone()) {
                    batch.remove(axis);
                }
            }
        });
        // A local without the axis must not depend on it through a state; one with it may.
        batch.retain(|a| l.axes.contains(a) || !l.value.free_axes().contains(a));
        for reduced in bound(&l.value) {
            batch.remove(&reduced);
        }
    }
    batch
}

/// The axes of a state or a local of the step.
fn axes_of<'s>(scan: &'s Scan, name: &Name) -> Option<&'s [Name]> {
    let carry = scan.carries.iter().find(|c| c.name == *name);
    let local = scan.body.iter().find(|l| l.name == *name);
    carry.map(|c| &*c.axes).or(local.map(|l| &*l.axes))
}

/// Axes along which a step reads states and locals, which are whole tiles in place: no loop goes over blocks of them.
fn axes_in_place(scan: &Scan) -> BTreeSet<Name> {
    let mut found = BTreeSet::new();
    for l in &scan.body {
        l.value.visit(&mut |t| {
            let Term::Read { tensor, index } = &**t else {
                return;
            };
            let Some(axes) = axes_of(scan, tensor) else {
                return;
            };
            // What earlier steps have stored is read like any tensor.
            let now =
                |(axis, ix): (&Name, &Ix)| *axis != scan.axis || *ix == Ix::Axis(axis.clone());
            if axes.iter().zip(index).all(now) {
                found.extend(index.iter().flat_map(Ix::axes));
            }
        });
    }
    found
}

/// Positions of the lane axis that one grid point works on.
const LANES: usize = 64;

/// The innermost axis of the first state, if it is independent: it fills the tile's lanes instead of
/// being a grid coordinate.
fn lanes(scan: &Scan, independent: &BTreeSet<Name>) -> Option<Name> {
    let axes = scan.carries.first().map(|c| &c.axes)?;
    axes.iter()
        .rfind(|a| **a != scan.axis)
        .filter(|a| independent.contains(*a))
        .cloned()
}

fn bound(term: &T) -> BTreeSet<Name> {
    let mut axes = BTreeSet::new();
    term.visit(&mut |t| axes.extend(t.bound_axes()));
    axes
}

/// One kernel: the grid is the batch, the steps are a loop, states and locals are buffers.
pub fn lower_scan(
    program: &Program,
    name: &str,
    scan: &Scan,
    roles: &Roles,
    knobs: &Knobs,
) -> Result<(Kernel, &'static str), ScheduleError> {
    let in_place = axes_in_place(scan);
    let is_long = |axis: &Name| {
        let size = program.axes.get(axis);
        size.is_some_and(|size| roles.value(size) > knobs[WHOLE]) && !in_place.contains(axis)
    };
    let is_stream = |axis: &Name| roles.is_stream(program, axis) || is_long(axis);
    let mut b = Builder::new(program, name, &is_stream);
    b.stream_block = knobs["stream"] as usize;
    let batch = independent_axes(scan);
    let lanes = lanes(scan, &batch);
    for axis in scan
        .carries
        .iter()
        .flat_map(|c| &c.axes)
        .chain(scan.body.iter().flat_map(|l| &l.axes))
    {
        if *axis == scan.axis || b.axes.contains_key(axis) {
            continue;
        }
        let size = program.axes[axis].clone();
        if lanes.as_ref() == Some(axis) {
            let var: Name = format!("{axis}_blk").into();
            let extent = fitted(LANES, roles.value(&size));
            b.kernel.grid.push(GridAxis {
                name: var.clone(),
                extent: size.clone().ceil_div(Ix::Const(extent as i64)),
            });
            let tile = Binding::Tile {
                base: Ix::Axis(var) * extent as i64,
                extent,
                end: Some(size),
            };
            b.bind(axis, tile, 0);
        } else if batch.contains(axis) {
            b.kernel.grid.push(GridAxis {
                name: axis.clone(),
                extent: size,
            });
            b.bind(axis, Binding::At(Ix::Axis(axis.clone())), 0);
        } else {
            let Ix::Const(extent) = size else {
                return Err(ScheduleError::unsupported(format!(
                    "a scan whose state has the long axis {axis} (size {size})"
                )));
            };
            b.bind(
                axis,
                Binding::Tile {
                    base: Ix::Const(0),
                    extent: extent.max(1) as usize,
                    end: None,
                },
                0,
            );
        }
    }
    let template = select(|c| c == Condition::Scan)
        .ok_or_else(|| ScheduleError::internal("no template for scans as written".into()))?;
    b.blocks = template.blocks.clone();
    let mut states = vec![];
    for action in &template.body {
        match action {
            Action::Init => states = init(&mut b, scan)?,
            Action::For(Range::Steps, step) => {
                let body = lower_step(&mut b, scan, &states, step)?;
                let steps = b.index(&program.axes[&scan.axis])?;
                let var = step_variable(scan);
                b.emit(
                    0,
                    Stmt::For {
                        var,
                        lo: Ix::Const(0),
                        hi: steps,
                        reverse: scan.reverse,
                        body,
                    },
                );
            }
            Action::Finish => {
                for (carry, state) in scan.carries.iter().zip(&states) {
                    if is_read(program, &carry.last) {
                        store(
                            &mut b,
                            &carry.last,
                            &carry.axes,
                            Expr::Elem(state.clone()),
                            0,
                        )?;
                    }
                }
            }
            other => {
                return Err(ScheduleError::internal(format!(
                    "a scan as written has no action {other:?}"
                )));
            }
        }
    }
    b.kernel.body = b.levels.swap_remove(0).stmts;
    Ok((b.kernel, template.name.as_str()))
}

/// Buffers of the states, with their initial values.
fn init(b: &mut Builder, scan: &Scan) -> Result<Vec<Access>, ScheduleError> {
    let mut states = vec![];
    for carry in &scan.carries {
        bind_sums(b, std::slice::from_ref(&carry.init), 0)?;
        let value = lower(b, &carry.init)?;
        let state = local_buffer(b, &carry.name, &carry.axes, 1);
        b.emit_map(0, state.clone(), value);
        states.push(state);
    }
    Ok(states)
}

fn step_variable(scan: &Scan) -> Name {
    format!("{}_step", scan.axis).into()
}

fn lower_step(
    b: &mut Builder,
    scan: &Scan,
    states: &[Access],
    actions: &[Action],
) -> Result<Vec<Stmt>, ScheduleError> {
    let level = b.open();
    b.bind(
        &scan.axis,
        Binding::At(Ix::Axis(step_variable(scan))),
        level,
    );
    for action in actions {
        match action {
            Action::Compute => compute(b, scan, level)?,
            Action::Carry => {
                for (carry, state) in scan.carries.iter().zip(states) {
                    let index = carry.axes.iter().cloned().map(Ix::Axis).collect();
                    let next = lower(b, &Term::read(&carry.next, index))?;
                    b.emit_map(level, state.clone(), next);
                }
            }
            other => {
                return Err(ScheduleError::internal(format!(
                    "a step as written has no action {other:?}"
                )));
            }
        }
    }
    Ok(b.close())
}

fn compute(b: &mut Builder, scan: &Scan, level: usize) -> Result<(), ScheduleError> {
    for l in &scan.body {
        // At the level of no loop: what is only read over summed axes is loaded once for all steps.
        bind_sums(b, std::slice::from_ref(&l.value), 0)?;
        check_reads(scan, l)?;
        prepare_streams(b, std::slice::from_ref(&l.value))?;
        let value = lower(b, &l.value)?;
        let buffer = local_buffer(b, &l.name, &l.axes, level);
        b.emit_map(level, buffer.clone(), value);
        if l.axes.contains(&scan.axis) {
            store(b, &l.name, &l.axes, Expr::Elem(buffer), level)?;
        }
    }
    Ok(())
}

/// A buffer over the tile axes of a let, read by the let's name.
fn local_buffer(b: &mut Builder, name: &Name, axes: &[Name], level: usize) -> Access {
    let home = axes
        .iter()
        .map(|a| b.tile(a).is_none().then(|| Ix::Axis(a.clone())))
        .collect();
    let tiles: Vec<Name> = axes
        .iter()
        .filter(|a| b.tile(a).is_some())
        .cloned()
        .collect();
    let access = b.buffer(name, &tiles);
    b.locals.insert(
        name.clone(),
        Local {
            buf: access.buf,
            level,
            home,
        },
    );
    access
}

/// What earlier steps have collected can be read back; what later steps will collect cannot.
fn check_reads(scan: &Scan, l: &Let) -> Result<(), ScheduleError> {
    let now = Ix::Axis(scan.axis.clone());
    let mut bad = None;
    l.value.visit(&mut |t| {
        let Term::Read { tensor, index } = &**t else { return };
        let Some(collected) = scan.body.iter().find(|c| c.name == *tensor) else { return };
        let Some(at) = collected.axes.iter().position(|a| *a == scan.axis) else { return };
        let offset = match &index[at] {
            Ix::Sub(a, c) if **a == now => if let Ix::Const(c) = **c { Some(-c) } else { None },
            Ix::Add(a, c) if **a == now => if let Ix::Const(c) = **c { Some(c) } else { None },
            ix => (*ix == now).then_some(0),
        };
        let known = offset.is_some_and(|o| if scan.reverse { o >= 0 } else { o <= 0 });
        if !known {
            bad = Some(format!(
                "`{tensor}` read at {} in a scan over {}: only steps a constant number back are known",
                index[at], scan.axis
            ));
        }
    });
    bad.map_or(Ok(()), |what| Err(ScheduleError::unsupported(what)))
}

fn is_read(program: &Program, name: &Name) -> bool {
    let mut found = program.outputs.iter().any(|o| o.name == *name);
    for l in program.lets() {
        l.value
            .visit(&mut |t| found |= matches!(&**t, Term::Read { tensor, .. } if tensor == name));
    }
    found
}

fn store(
    b: &mut Builder,
    name: &Name,
    axes: &[Name],
    src: Expr,
    level: usize,
) -> Result<(), ScheduleError> {
    let index: Result<Vec<Ix>, _> = axes.iter().map(|a| b.index(&Ix::Axis(a.clone()))).collect();
    let tiles: Vec<Name> = axes
        .iter()
        .filter(|a| b.tile(a).is_some())
        .cloned()
        .collect();
    let axes = b.local_axes(&tiles);
    b.emit(
        level,
        Stmt::Store {
            axes,
            tensor: name.clone(),
            index: index?,
            src,
        },
    );
    Ok(())
}
