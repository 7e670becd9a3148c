//! From lets to a kernel: which axes are grid, tile and loop; then the template's actions.

use crate::ScheduleError;
use crate::builder::{Binding, Builder};
use crate::group::{Out, features, is_by_position, role, sequence_axis};
use crate::knobs::Knobs;
use crate::roles::{Role, Roles, fitted};
use crate::steps::Run;
use crate::template::{Condition, select};
use mixc_ir::{Ix, Name, Program, T, Term};
use mixc_tile::{GridAxis, Kernel};
use std::collections::BTreeSet;

/// The kernel of some lets, and the name of the template that it follows.
pub fn lower_lets(
    program: &Program,
    name: &str,
    outs: &[Out],
    roles: &Roles,
    knobs: &Knobs,
) -> Result<(Kernel, &'static str), ScheduleError> {
    let is_stream = |axis: &Name| roles.is_stream(program, axis);
    let mut b = Builder::new(program, name, &is_stream);
    b.matrix_units = roles.matrix_units;
    let rows = rows(program, outs, roles, knobs["rows"] as usize);
    b.stream_block = knobs["stream"] as usize;
    let sequence = outs.iter().find_map(|o| {
        let axis = sequence_axis(o)?;
        o.axes.contains(&axis).then_some(axis)
    });
    let sequence = sequence.or_else(|| outs.iter().find_map(sequence_axis));
    let cols = knobs.get("cols").copied().unwrap_or(i64::MAX) as usize;
    let packed = knobs.get("pack").copied().unwrap_or(0) as usize;
    let sides = Sides { rows, cols, packed };
    bind_outputs(&mut b, outs, sequence.as_ref(), roles, sides);
    let terms: Vec<T> = outs.iter().map(|o| o.term.clone()).collect();
    bind_sums(&mut b, &terms, 0)?;
    fit_stream_block(&mut b, &terms, roles);
    let parts = |axis: &Name| program.splits.iter().any(|s| s.outer == *axis);
    let template = select(|condition| match condition {
        Condition::Steps => sequence.is_some(),
        Condition::Parts => sequence.as_ref().is_some_and(parts),
        Condition::Streams => terms.iter().any(|t| has_stream(&b, t)),
        Condition::Scan => false,
    });
    let template =
        template.ok_or_else(|| ScheduleError::internal(format!("no template fits {name}")))?;
    b.blocks = template.blocks.clone();
    if sequence.is_none() {
        bind_chunks(&mut b, &terms, 0, true)?;
    }
    let mut run = Run {
        outs,
        axis: sequence,
        states: vec![],
        uses: vec![],
    };
    run.perform(&mut b, &template.body)?;
    b.kernel.body = b.levels.swap_remove(0).stmts;
    Ok((b.kernel, template.name.as_str()))
}

/// Elements of a tile that is computed position by position: no element is used twice, so larger ones only take room.
const BY_POSITION: i64 = 4096;

fn rows(program: &Program, outs: &[Out], roles: &Roles, most: usize) -> usize {
    if !outs.iter().all(|o| is_by_position(program, roles, o)) {
        return most;
    }
    let each = outs.iter().map(|o| features(program, roles, o)).max();
    let rows = (BY_POSITION / each.unwrap_or(1)).max(1) as usize;
    most.min(rows.next_power_of_two())
}

fn has_stream(b: &Builder, term: &T) -> bool {
    let mut found = false;
    term.visit(&mut |t| found |= crate::stream::is_streamed(b, t));
    found
}

/// Lengths of a tile.
#[derive(Clone, Copy)]
struct Sides {
    rows: usize,
    cols: usize,
    /// The least number of packed rows.
    packed: usize,
}

impl Sides {
    fn packed_rows(self, size: i64) -> usize {
        fitted(self.rows, size).max(self.packed.min(self.rows))
    }
}

fn bind_outputs(
    b: &mut Builder,
    outs: &[Out],
    sequence: Option<&Name>,
    roles: &Roles,
    sides: Sides,
) {
    let Sides { rows, cols, .. } = sides;
    let columns = sequence.map_or(vec![], |s| independent_columns(b.program, outs, s, roles));
    let mut seen: BTreeSet<Name> = BTreeSet::new();
    for out in outs {
        for axis in &out.axes {
            if Some(axis) == sequence || !seen.insert(axis.clone()) {
                continue;
            }
            let size = b.program.axes[axis].clone();
            if size == Ix::Const(0) && outs.iter().all(|o| o.axes.contains(axis)) {
                // Nothing to compute: an empty grid.
                b.kernel.grid.push(GridAxis {
                    name: format!("{axis}_none").into(),
                    extent: size.clone(),
                });
            }
            match role(b.program, roles, out, axis) {
                Role::Batch => {
                    b.kernel.grid.push(GridAxis {
                        name: axis.clone(),
                        extent: size,
                    });
                    b.bind(axis, Binding::At(Ix::Axis(axis.clone())), 0);
                }
                // Chunks are bound where the position of the chunk is known.
                Role::Whole(_) if b.program.splits.iter().any(|s| s.inner == *axis) => {}
                Role::Whole(extent) if columns.contains(axis) && extent > cols => {
                    bind_blocks(b, axis, cols, extent);
                }
                Role::Whole(extent) => b.bind(
                    axis,
                    Binding::Tile {
                        base: Ix::Const(0),
                        extent,
                        end: None,
                    },
                    0,
                ),
                Role::Block(default) => {
                    // Wide tiles of other axes are as narrow as those of independent columns.
                    let extent = if roles.is_packed(axis) {
                        b.packed.insert(axis.clone());
                        sides.packed_rows(roles.value(&size))
                    } else if roles.is_sequence(&size) {
                        roles.rows(rows, &size)
                    } else {
                        default.min(cols)
                    };
                    let var: Name = format!("{axis}_blk").into();
                    let extent_ix = Ix::Const(extent as i64);
                    b.kernel.grid.push(GridAxis {
                        name: var.clone(),
                        extent: size.clone().ceil_div(extent_ix),
                    });
                    let base = Ix::Axis(var) * extent as i64;
                    b.bind(
                        axis,
                        Binding::Tile {
                            base,
                            extent,
                            end: Some(size),
                        },
                        0,
                    );
                }
            }
        }
    }
}

/// The axes that all outputs of a recurrence have besides the sequence: states are independent along them, so parts
/// can be computed side by side.
fn independent_columns(
    program: &Program,
    outs: &[Out],
    sequence: &Name,
    roles: &Roles,
) -> Vec<Name> {
    let Some(first) = outs.first() else {
        return vec![];
    };
    let shared = |axis: &Name| outs.iter().all(|o| o.axes.contains(axis));
    let part = |axis: &Name| program.splits.iter().any(|s| s.inner == *axis);
    let whole = |axis: &Name| matches!(role(program, roles, first, axis), Role::Whole(_));
    let axes = first.axes.iter();
    axes.filter(|a| *a != sequence && shared(a) && !part(a) && whole(a))
        .cloned()
        .collect()
}

/// Tiles of `block` positions of an axis whose size is known, one grid coordinate for each.
fn bind_blocks(b: &mut Builder, axis: &Name, block: usize, size: usize) {
    let var: Name = format!("{axis}_blk").into();
    b.kernel.grid.push(GridAxis {
        name: var.clone(),
        extent: Ix::Const(size.div_ceil(block) as i64),
    });
    let ragged = !size.is_multiple_of(block);
    let tile = Binding::Tile {
        base: Ix::Axis(var) * block as i64,
        extent: block,
        end: ragged.then_some(Ix::Const(size as i64)),
    };
    b.bind(axis, tile, 0);
}

/// Binds the axes that are summed whole (not streamed, not parts of chunks).
pub fn bind_sums(b: &mut Builder, terms: &[T], level: usize) -> Result<(), ScheduleError> {
    for term in terms {
        let mut axes: Vec<Name> = vec![];
        term.visit(&mut |t| {
            if let Term::Sum { axes: own, .. }
            | Term::Reduce { axes: own, .. }
            | Term::Online { axes: own, .. } = &**t
            {
                axes.extend(own.iter().cloned());
            }
        });
        for axis in axes {
            let chunk = b.program.splits.iter().any(|s| s.inner == axis);
            if b.axes.contains_key(&axis) || (b.is_stream)(&axis) || chunk {
                continue;
            }
            let Some(Ix::Const(size)) = b.program.axes.get(&axis) else {
                return Err(ScheduleError::unsupported(format!(
                    "a sum over axis {axis} of unknown size"
                )));
            };
            let extent = (*size).max(1) as usize;
            let end = (*size == 0).then_some(Ix::Const(0));
            b.bind(
                &axis,
                Binding::Tile {
                    base: Ix::Const(0),
                    extent,
                    end,
                },
                level,
            );
        }
    }
    Ok(())
}

/// Binds the inner parts of chunks, at the chunk whose position is known now. `ragged` chunks may end
/// before their full length.
pub fn bind_chunks(
    b: &mut Builder,
    terms: &[T],
    level: usize,
    ragged: bool,
) -> Result<(), ScheduleError> {
    let mut axes: BTreeSet<Name> = BTreeSet::new();
    for term in terms {
        axes.extend(term.free_axes());
        term.visit(&mut |t| axes.extend(t.bound_axes()));
    }
    for axis in axes {
        let Some(split) = b.program.splits.iter().find(|s| s.inner == axis) else {
            continue;
        };
        let stepped = b
            .axes
            .get(&axis)
            .is_some_and(|a| matches!(a.binding, Binding::At(_)));
        if stepped || (b.is_stream)(&axis) {
            continue;
        }
        let Ix::Const(extent) = split.size else {
            return Err(ScheduleError::internal(format!(
                "the part {axis} has no constant size"
            )));
        };
        let Some(rest) = b.rest_of_split(&axis) else {
            continue;
        };
        // A whole chunk is the same tile at every step.
        let (end, level) = if ragged {
            (Some(rest), level)
        } else {
            (None, 0)
        };
        b.bind(
            &axis,
            Binding::Tile {
                base: Ix::Const(0),
                extent: extent as usize,
                end,
            },
            level,
        );
    }
    Ok(())
}

/// A decay between blocks needs rows and streamed positions in blocks of one size; short axes need
/// no longer block than they have positions.
fn fit_stream_block(b: &mut Builder, terms: &[T], roles: &Roles) {
    let (mut longest, mut row, mut beside) = (0, None, 1);
    for term in terms {
        term.visit(&mut |t| {
            let reduced: Option<(&[Name], &[T])> = match &**t {
                Term::Sum { axes, factors } => Some((axes, factors)),
                Term::Reduce { axes, .. } | Term::Online { axes, .. } => Some((axes, &[])),
                _ => None,
            };
            if let Some((axes, factors)) = reduced {
                let size = |axis: &Name| b.program.axes.get(axis).map_or(0, |n| roles.value(n));
                let streamed = axes.iter().filter(|a| (b.is_stream)(a));
                if let Some(own) = streamed.map(size).max() {
                    longest = longest.max(own);
                    beside = beside.max(positions_beside(b, axes, factors));
                }
            }
            if let Term::Ss { i, j, decay, .. } = &**t
                && !decay.is_const(1.0)
                && (b.is_stream)(j)
            {
                row = row.or(b.tile(i));
            }
        });
    }
    let block = (b.stream_block / beside).max(1);
    b.stream_block = row.unwrap_or(fitted(block, longest));
}

/// Positions that every position of a streamed axis has along the axes that are reduced with it: a block of keys that
/// is named by one number, say. Of a product those that all factors over the streamed axis have: no axis of an inner
/// product.
fn positions_beside(b: &Builder, axes: &[Name], factors: &[T]) -> usize {
    let streamed = |f: &T| {
        f.free_axes()
            .iter()
            .any(|a| axes.contains(a) && (b.is_stream)(a))
    };
    let everywhere = |a: &Name| {
        let mut over = factors.iter().filter(|f| streamed(f));
        over.all(|f| f.free_axes().contains(a))
    };
    let whole = axes.iter().filter(|a| !(b.is_stream)(a) && everywhere(a));
    let size = |a: &Name| match b.program.axes.get(a) {
        Some(Ix::Const(n)) => (*n).max(1) as usize,
        _ => 1,
    };
    whole.map(size).product()
}
