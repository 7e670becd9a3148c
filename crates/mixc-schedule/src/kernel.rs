//! From lets to a kernel: which axes are grid, tile and loop, and the loop over time or chunks.

use crate::builder::{Binding, Builder};
use crate::contract::accumulate_sum;
use crate::lower::lower;
use crate::roles::{MAX_CHUNK, Role, Roles, fitted, reused_axes};
use crate::stream::prepare_streams;
use crate::template::{Action, Condition, Knob, Range, TEMPLATES, select};
use crate::unify::{Renaming, unify};
use crate::{Request, ScheduleError};
use mixc_ir::{DType, Ix, Kind, Let, Name, Program, Scan, Stmt, T, Term};
use mixc_tile::{
    Access, Expr, GridAxis, Kernel, LoadIx, Place, Stmt as TileStmt, TensorArg, Usage,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub type Knobs = BTreeMap<String, i64>;

/// Lets that one kernel computes, or a scan as written.
pub enum Group {
    Lets(Vec<Out>),
    Scan(Scan),
}

/// A let with its merges undone: where it is stored, and its value at the parts of split axes.
#[derive(Clone, Debug)]
pub struct Out {
    pub name: Name,
    pub index: Vec<Ix>,
    pub axes: Vec<Name>,
    pub term: T,
    /// Size of the axis along which the let's recurrences run.
    sequence: Option<Ix>,
    tiles: Vec<Name>,
}

/// Applies `f` to every term of a program.
pub fn map_terms(program: &mut Program, f: &mut dyn FnMut(&T) -> T) {
    for stmt in &mut program.body {
        match stmt {
            Stmt::Let(l) => l.value = f(&l.value),
            Stmt::Scan(s) => {
                s.carries.iter_mut().for_each(|c| c.init = f(&c.init));
                s.body.iter_mut().for_each(|l| l.value = f(&l.value));
            }
        }
    }
}

/// Replaces leaves of every integer expression of a program.
pub fn map_indices(program: &mut Program, leaf: &dyn Fn(&Ix) -> Option<Ix>) {
    map_terms(program, &mut |t| {
        t.rebuild(&mut |t| match &*t {
            Term::Index(ix) => Arc::new(Term::Index(ix.replace(leaf))),
            Term::Read { tensor, index } => {
                Term::read(tensor, index.iter().map(|ix| ix.replace(leaf)).collect())
            }
            _ => t,
        })
    });
    program
        .axes
        .values_mut()
        .for_each(|ix| *ix = ix.replace(leaf));
    program
        .splits
        .iter_mut()
        .for_each(|s| s.size = s.size.replace(leaf));
    for tensor in &mut program.tensors {
        tensor
            .shape
            .iter_mut()
            .for_each(|ix| *ix = ix.replace(leaf));
    }
}

/// The knobs that matter to a program, with the values that they may take: rows and streamed positions
/// of a tile, and one for each kind of split (its size symbol is the knob's name).
pub fn knobs_of(program: &Program) -> Vec<&'static Knob> {
    let symbols: BTreeSet<String> = program
        .splits
        .iter()
        .filter_map(|s| {
            if let Ix::Dim(symbol) = &s.size {
                Some(symbol.to_string())
            } else {
                None
            }
        })
        .chain(["rows".to_string(), "stream".to_string()])
        .collect();
    let mut knobs: Vec<&Knob> = vec![];
    for knob in TEMPLATES.iter().flat_map(|t| &t.knobs) {
        if symbols.contains(&knob.name) && knobs.iter().all(|k| k.name != knob.name) {
            knobs.push(knob);
        }
    }
    knobs
}

/// Every knob with its value: the requested one, or the default, no larger than the axis needs.
pub fn choose_knobs(program: &Program, request: &Request) -> Knobs {
    let diagonal = has_diagonal_decay(program);
    let default = |k: &Knob| {
        if diagonal {
            k.diagonal.unwrap_or(k.default)
        } else {
            k.default
        }
    };
    let mut knobs: Knobs = knobs_of(program)
        .into_iter()
        .map(|k| (k.name.clone(), default(k)))
        .collect();
    for split in &program.splits {
        if let Ix::Dim(symbol) = &split.size
            && !program.dims.contains(symbol)
        {
            let size = program
                .axes
                .get(&split.axis)
                .and_then(|ix| ix.eval_sizes(&request.sizes));
            let wanted = knobs.get(&**symbol).copied().unwrap_or(64) as usize;
            knobs.insert(
                symbol.to_string(),
                fitted(wanted, size.unwrap_or(i64::MAX)) as i64,
            );
        }
    }
    knobs.extend(request.knobs.iter().map(|(k, v)| (k.clone(), *v)));
    knobs
}

/// Whether some decay varies over an axis that is summed in products with it: then there is no matrix
/// product inside a chunk, and short chunks are cheaper.
fn has_diagonal_decay(program: &Program) -> bool {
    let mut found = false;
    for l in program.lets() {
        l.value.visit(&mut |t| {
            if let Term::Sum { axes, factors } = &**t {
                found |= factors.iter().any(|f| {
                    matches!(&**f, Term::Ss { decay, .. } if decay.free_axes().iter().any(|a| axes.contains(a)))
                        && matches!(&**f, Term::Ss { j, .. } if axes.iter().any(|a| a != j))
                });
            }
        });
    }
    found
}

pub fn bind_split_sizes(program: &mut Program, knobs: &Knobs) {
    let dims = program.dims.clone();
    map_indices(program, &|leaf| match leaf {
        Ix::Dim(name) if !dims.contains(name) => knobs.get(&**name).map(|v| Ix::Const(*v)),
        _ => None,
    });
}

/// Makes the sizes of axes that are whole in tiles constants.
pub fn bind_static_dims(
    program: &mut Program,
    roles: &Roles,
    request: &Request,
) -> BTreeMap<Name, i64> {
    let mut whole: BTreeSet<Name> = BTreeSet::new();
    for stmt in &program.body {
        let lets = match stmt {
            Stmt::Let(l) => std::slice::from_ref(l),
            Stmt::Scan(s) => {
                let batch = crate::sequential::batch_axes(s);
                let all = s
                    .carries
                    .iter()
                    .flat_map(|c| &c.axes)
                    .chain(s.body.iter().flat_map(|l| &l.axes));
                whole.extend(
                    all.filter(|a| !batch.contains(*a) && **a != s.axis)
                        .cloned(),
                );
                s.body.as_slice()
            }
        };
        for l in lets {
            l.value.visit(&mut |t| {
                if let Term::Sum { axes, .. }
                | Term::Reduce { axes, .. }
                | Term::Online { axes, .. } = &**t
                {
                    whole.extend(
                        axes.iter()
                            .filter(|a| !roles.is_stream(program, a))
                            .cloned(),
                    );
                }
            });
            if let Stmt::Let(l) = stmt {
                let out = unmerged(program, l);
                whole.extend(tiles_of(program, &out));
            }
        }
    }
    let mut dims = BTreeMap::new();
    for axis in &whole {
        let Some(size) = program.axes.get(axis) else {
            continue;
        };
        if roles.is_sequence(size) || roles.value(size) > 1024 {
            continue;
        }
        size.visit_leaves(&mut |leaf| {
            if let Ix::Dim(name) = leaf
                && let Some(value) = request.sizes.get(name)
                && program.dims.contains(name)
            {
                dims.insert(name.clone(), *value);
            }
        });
    }
    map_indices(program, &|leaf| match leaf {
        Ix::Dim(name) => dims.get(name).map(|v| Ix::Const(*v)),
        _ => None,
    });
    dims
}

/// Consecutive lets that do not read each other and have the same grid share a kernel.
pub fn group(program: &Program, roles: &Roles) -> Vec<Group> {
    let mut groups: Vec<Group> = vec![];
    for stmt in &program.body {
        let out = match stmt {
            Stmt::Scan(scan) => {
                groups.push(Group::Scan(scan.clone()));
                continue;
            }
            Stmt::Let(l) => unmerged(program, l),
        };
        if let Some(Group::Lets(outs)) = groups.last_mut()
            && let Some(aligned) = aligned(program, roles, &outs[0], &out)
            && outs.iter().all(|o| !reads(&aligned.term, &o.name))
        {
            outs.push(aligned);
        } else {
            groups.push(Group::Lets(vec![out]));
        }
    }
    groups
}

fn reads(term: &T, name: &Name) -> bool {
    let mut found = false;
    term.visit(&mut |t| found |= matches!(&**t, Term::Read { tensor, .. } if tensor == name));
    found
}

/// Replaces an axis that merges produce by its parts.
fn unmerged(program: &Program, l: &Let) -> Out {
    let mut out = Out {
        name: l.name.clone(),
        index: storage_order(program, l)
            .into_iter()
            .map(Ix::Axis)
            .collect(),
        axes: l.axes.clone(),
        term: l.value.clone(),
        sequence: None,
        tiles: vec![],
    };
    for axis in &l.axes {
        let mut parts = None;
        out.term.visit(&mut |t| {
            if let Term::Merge {
                axis: a,
                outer,
                inner,
                ..
            } = &**t
                && a == axis
                && parts.is_none()
            {
                parts = Some((outer.clone(), inner.clone()));
            }
        });
        let Some((outer, inner)) = parts else {
            continue;
        };
        let Some(split) = program
            .splits
            .iter()
            .find(|s| s.outer == outer && s.inner == inner)
        else {
            continue;
        };
        let whole = Ix::Axis(outer.clone()) * split.size.clone() + Ix::Axis(inner.clone());
        let map = BTreeMap::from([(axis.clone(), whole)]);
        out.term = strip_merges(&out.term, axis, &outer, &inner, &map);
        out.index
            .iter_mut()
            .for_each(|ix| *ix = ix.substitute(&map));
        out.axes = out
            .axes
            .iter()
            .flat_map(|a| {
                if a == axis {
                    vec![outer.clone(), inner.clone()]
                } else {
                    vec![a.clone()]
                }
            })
            .collect();
    }
    out.sequence = sequence_of(program, &out);
    out.tiles = tiles_of(program, &out);
    out
}

fn storage_order(program: &Program, l: &Let) -> Vec<Name> {
    match program.outputs.iter().find(|o| o.name == l.name) {
        Some(output) if output.axes.iter().collect::<BTreeSet<_>>() == l.axes.iter().collect() => {
            output.axes.clone()
        }
        _ => l.axes.clone(),
    }
}

fn strip_merges(term: &T, axis: &Name, outer: &Name, inner: &Name, map: &BTreeMap<Name, Ix>) -> T {
    if let Term::Merge {
        axis: a,
        outer: o,
        inner: i,
        body,
    } = &**term
        && a == axis
    {
        let parts = BTreeMap::from([
            (o.clone(), Ix::Axis(outer.clone())),
            (i.clone(), Ix::Axis(inner.clone())),
        ]);
        return body.substitute(&parts);
    }
    if term.children().is_empty() {
        return term.substitute(map);
    }
    let children = term
        .children()
        .into_iter()
        .map(|c| strip_merges(c, axis, outer, inner, map))
        .collect();
    Arc::new(term.with_children(children))
}

/// The axis along which the recurrences of a let run: an axis of the let, or that of a final state.
fn sequence_axis(out: &Out) -> Option<Name> {
    let (mut scanned, mut ended) = (None, None);
    out.term.visit(&mut |t| match &**t {
        Term::Scan { i, .. } if out.axes.contains(i) => {
            scanned.get_or_insert(i.clone());
        }
        Term::Last { j, .. } => {
            ended.get_or_insert(j.clone());
        }
        _ => {}
    });
    scanned.or(ended)
}

fn sequence_of(program: &Program, out: &Out) -> Option<Ix> {
    program.axes.get(&sequence_axis(out)?).cloned()
}

/// Axes of a let that are tiles: those along which operands are reused, the inner parts of chunks, or
/// if there is none the last axis that is not stepped through.
fn tiles_of(program: &Program, out: &Out) -> Vec<Name> {
    let sequence = sequence_axis(out);
    let reused = reused_axes(program, &out.term);
    let is_chunk = |a: &Name| program.splits.iter().any(|s| s.inner == *a);
    let candidates = || out.axes.iter().filter(|a| Some(*a) != sequence.as_ref());
    let outer = |a: &Name| program.splits.iter().any(|s| s.outer == *a);
    let mut tiles: Vec<Name> = candidates()
        .filter(|a| (reused.contains(*a) || is_chunk(a)) && !outer(a))
        .cloned()
        .collect();
    if tiles.is_empty() {
        tiles.extend(candidates().filter(|a| !outer(a)).next_back().cloned());
    }
    tiles
}

/// `out` with its axes named as those of `first`, if both fit one kernel.
fn aligned(program: &Program, roles: &Roles, first: &Out, out: &Out) -> Option<Out> {
    if first.sequence != out.sequence {
        return None;
    }
    let mut map: BTreeMap<Name, Ix> = BTreeMap::new();
    let mut used: BTreeSet<Name> = BTreeSet::new();
    for axis in &out.axes {
        let size = program.axes.get(axis);
        let mut same = first
            .axes
            .iter()
            .filter(|a| program.axes.get(*a) == size && !used.contains(*a));
        let by_name = first.axes.iter().find(|a| *a == axis && !used.contains(*a));
        if let Some(target) = by_name.or_else(|| same.next()) {
            used.insert(target.clone());
            if target != axis {
                map.insert(axis.clone(), Ix::Axis(target.clone()));
            }
        }
    }
    let rename = |a: &Name| match map.get(a) {
        Some(Ix::Axis(new)) => new.clone(),
        _ => a.clone(),
    };
    let aligned = Out {
        name: out.name.clone(),
        index: out.index.iter().map(|ix| ix.substitute(&map)).collect(),
        axes: out.axes.iter().map(rename).collect(),
        term: out.term.substitute(&map),
        sequence: out.sequence.clone(),
        tiles: out.tiles.iter().map(rename).collect(),
    };
    (grid_of(program, roles, first) == grid_of(program, roles, &aligned)).then_some(aligned)
}

/// The axes that make the grid, with what they make of it.
fn grid_of(program: &Program, roles: &Roles, out: &Out) -> BTreeSet<(Name, bool)> {
    let sequence = sequence_axis(out);
    out.axes
        .iter()
        .filter(|a| Some(*a) != sequence.as_ref())
        .filter_map(|a| match role(program, roles, out, a) {
            Role::Batch => Some((a.clone(), false)),
            Role::Block(_) => Some((a.clone(), true)),
            Role::Whole(_) => None,
        })
        .collect()
}

fn role(program: &Program, roles: &Roles, out: &Out, axis: &Name) -> Role {
    if !out.tiles.contains(axis) {
        return Role::Batch;
    }
    let size = program.axes.get(axis).cloned().unwrap_or(Ix::Const(1));
    match program.splits.iter().find(|s| s.inner == *axis) {
        Some(split) if roles.value(&split.size) <= MAX_CHUNK => {
            Role::Whole(roles.value(&split.size).max(1) as usize)
        }
        _ => roles.tile_role(&size, 64),
    }
}

/// One recurrence, stepped once per turn of the loop.
struct State {
    decay: T,
    input: T,
    init: T,
    strict: bool,
    buffer: Access,
    axes: Vec<Name>,
}

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
    let rows = knobs["rows"] as usize;
    b.stream_block = knobs["stream"] as usize;
    let sequence = outs.iter().find_map(|o| {
        let axis = sequence_axis(o)?;
        o.axes.contains(&axis).then_some(axis)
    });
    let sequence = sequence.or_else(|| outs.iter().find_map(sequence_axis));
    bind_outputs(&mut b, outs, sequence.as_ref(), roles, rows);
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

fn has_stream(b: &Builder, term: &T) -> bool {
    let mut found = false;
    term.visit(&mut |t| found |= crate::stream::is_streamed(b, t));
    found
}

fn bind_outputs(
    b: &mut Builder,
    outs: &[Out],
    sequence: Option<&Name>,
    roles: &Roles,
    rows: usize,
) {
    let mut seen: BTreeSet<Name> = BTreeSet::new();
    for out in outs {
        for axis in &out.axes {
            if Some(axis) == sequence || !seen.insert(axis.clone()) {
                continue;
            }
            let size = b.program.axes[axis].clone();
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
                    let extent = if roles.is_sequence(&size) {
                        fitted(rows, roles.value(&size))
                    } else {
                        default
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
fn bind_chunks(
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
        let fixed = b
            .axes
            .get(&axis)
            .is_some_and(|a| a.level < level || matches!(a.binding, Binding::At(_)));
        if fixed || (b.is_stream)(&axis) {
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
        let end = ragged.then_some(rest);
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
    let (mut longest, mut row) = (0, None);
    for term in terms {
        term.visit(&mut |t| {
            if let Term::Sum { axes, .. } | Term::Reduce { axes, .. } | Term::Online { axes, .. } =
                &**t
            {
                for axis in axes.iter().filter(|a| (b.is_stream)(a)) {
                    longest =
                        longest.max(b.program.axes.get(axis).map_or(0, |size| roles.value(size)));
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
    b.stream_block = row.unwrap_or(fitted(b.stream_block, longest));
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
        TileStmt::Store {
            axes,
            tensor: out.name.clone(),
            index: index?,
            src,
        },
    );
    Ok(())
}

/// A template's actions, on the terms of one kernel.
struct Run<'a> {
    outs: &'a [Out],
    /// The axis that is stepped along.
    axis: Option<Name>,
    states: Vec<State>,
    /// Where recurrences occur: the node, its state, and the state's axes as named there.
    uses: Vec<(T, usize, Renaming)>,
}

impl Run<'_> {
    fn perform(&mut self, b: &mut Builder, actions: &[Action]) -> Result<(), ScheduleError> {
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
            TileStmt::For {
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

/// Fills in dims, scalars and the tensors that the body touches.
pub fn declare_tensors(kernel: &mut Kernel, program: &Program, request: &Request) {
    kernel.dims = program.dims.clone();
    kernel.dims.extend(
        program
            .scalars
            .iter()
            .filter(|s| s.kind == Kind::Int)
            .map(|s| s.name.clone()),
    );
    kernel.scalars = program
        .scalars
        .iter()
        .filter(|s| s.kind == Kind::Real)
        .map(|s| s.name.clone())
        .collect();
    let (mut read, mut written) = (BTreeSet::new(), BTreeSet::new());
    touched(&kernel.body, &mut read, &mut written);
    for grid in &kernel.grid {
        elements(&grid.extent, &mut read);
    }
    let is_output = |name: &Name| program.outputs.iter().any(|o| o.name == *name);
    for name in read.union(&written) {
        let (shape, kind) = match program.tensor(name) {
            Some(tensor) => (tensor.shape.clone(), tensor.kind),
            None => (shape_of(program, name), Kind::Real),
        };
        let default = match kind {
            Kind::Real => DType::F32,
            Kind::Int => DType::I64,
            Kind::Bool => DType::Bool,
        };
        let usage = match (
            program.tensor(name).is_some(),
            is_output(name),
            written.contains(name),
        ) {
            (true, ..) => Usage::In,
            (_, true, true) => Usage::Out,
            (_, true, false) => Usage::In,
            _ => Usage::Work,
        };
        kernel.tensors.push(TensorArg {
            name: name.clone(),
            dtype: request.dtypes.get(name).copied().unwrap_or(default),
            usage,
            shape,
            unit_inner: !request.strided.contains(name),
        });
    }
}

/// The stored shape of a let, a collected let or a final carry.
fn shape_of(program: &Program, name: &Name) -> Vec<Ix> {
    let sizes = |axes: &[Name]| axes.iter().map(|a| program.axes[a].clone()).collect();
    if let Some(l) = program.lets().find(|l| l.name == *name) {
        return sizes(&storage_order(program, l));
    }
    let carries = program.body.iter().flat_map(|s| match s {
        Stmt::Scan(s) => s.carries.as_slice(),
        Stmt::Let(_) => &[],
    });
    carries
        .into_iter()
        .find(|c| c.last == *name)
        .map(|c| sizes(&c.axes))
        .unwrap_or_default()
}

fn touched(stmts: &[TileStmt], read: &mut BTreeSet<Name>, written: &mut BTreeSet<Name>) {
    for stmt in stmts {
        match stmt {
            TileStmt::For { lo, hi, body, .. } => {
                elements(lo, read);
                elements(hi, read);
                touched(body, read, written);
            }
            TileStmt::If {
                cond,
                then,
                otherwise,
            } => {
                elements(&cond.left, read);
                elements(&cond.right, read);
                touched(then, read, written);
                touched(otherwise, read, written);
            }
            TileStmt::Load { tensor, index, .. } => {
                read.insert(tensor.clone());
                for ix in index {
                    if let LoadIx::Ix(ix) = ix {
                        elements(ix, read);
                    }
                }
            }
            TileStmt::Store {
                tensor, index, src, ..
            } => {
                written.insert(tensor.clone());
                index.iter().for_each(|ix| elements(ix, read));
                in_expr(src, read);
            }
            TileStmt::Map { expr, .. }
            | TileStmt::Reduce { expr, .. }
            | TileStmt::Scan { expr, .. } => {
                in_expr(expr, read);
            }
            TileStmt::Contract { .. } => {}
        }
    }
}

fn in_expr(expr: &Expr, read: &mut BTreeSet<Name>) {
    match expr {
        Expr::Index(ix) => elements(ix, read),
        Expr::Add(a, b) | Expr::Mul(a, b) => {
            in_expr(a, read);
            in_expr(b, read);
        }
        Expr::Call(_, args) => args.iter().for_each(|a| in_expr(a, read)),
        Expr::Const(_) | Expr::Scalar(_) | Expr::Elem(_) => {}
    }
}

fn elements(ix: &Ix, read: &mut BTreeSet<Name>) {
    ix.visit_leaves(&mut |leaf| {
        if let Ix::Elem(tensor, _) = leaf {
            read.insert(tensor.clone());
        }
    });
}
