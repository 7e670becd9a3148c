//! Which lets share a kernel, and how their axes are seen there.

use crate::edit::map_indices;
use crate::pack::Packings;
use crate::roles::{MAX_CHUNK, Role, Roles, is_part, reused_axes};
use crate::{Request, apart};
use mixc_ir::{Ix, Let, Name, Program, Scan, Stmt, T, Term};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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

impl Out {
    pub fn is_recurrence(&self) -> bool {
        self.sequence.is_some()
    }

    /// Axes of the let that are tiles.
    pub fn tiles(&self) -> &[Name] {
        &self.tiles
    }

    /// The same let over other axes.
    pub fn over(self, index: Vec<Ix>, axes: Vec<Name>, term: T, tiles: Vec<Name>) -> Out {
        Out {
            index,
            axes,
            term,
            tiles,
            ..self
        }
    }
}

/// A let as a kernel computes it: its merges undone, its rows packed.
fn out_of(program: &Program, roles: &Roles, packings: &Packings, l: &Let) -> Out {
    let out = unmerged(program, roles, l);
    match packings.get(&out.name) {
        Some(packing) => packing.apply(program, out),
        None => with_rows(program, roles, out),
    }
}

/// What is computed position by position, for several positions at a time.
fn with_rows(program: &Program, roles: &Roles, mut out: Out) -> Out {
    let is_length = |a: &Name| roles.is_length(program, a);
    if let [features] = &out.tiles[..]
        && is_by_position(program, roles, &out)
        && !is_length(features)
    {
        let rows = out.axes.iter().rfind(|a| is_length(a)).cloned();
        out.tiles.extend(rows);
    }
    out
}

/// Whether a let follows from features of each position alone.
pub fn is_by_position(program: &Program, roles: &Roles, out: &Out) -> bool {
    let is_part = |a: &Name| is_part(program, a);
    let is_length = |a: &Name| roles.is_length(program, a);
    let lengths = out.axes.iter().filter(|a| is_length(a));
    let pairs = lengths.count() > 1;
    let mut over_time = pairs || out.sequence.is_some() || out.axes.iter().any(is_part);
    out.term.visit(&mut |t| {
        let bound = t.bound_axes();
        over_time |= bound
            .iter()
            .any(|a| is_part(a) || is_length(a) || roles.is_stream(program, a));
    });
    !over_time
}

/// Features of a position that a let has, or sums over if those are more: the length of a row of its tile.
pub fn features(program: &Program, roles: &Roles, out: &Out) -> i64 {
    let product = |axes: &[Name]| {
        let features = axes.iter().filter(|a| !roles.is_length(program, a));
        let sizes = features.filter_map(|a| program.axes.get(a));
        let sizes = sizes.map(|size| roles.value(size).max(1));
        sizes.fold(1, i64::saturating_mul)
    };
    let mut most = product(&out.tiles);
    out.term.visit(&mut |t| {
        let bound: Vec<Name> = t.bound_axes().into_iter().collect();
        most = most.max(product(&bound));
    });
    most
}

/// Makes the sizes of axes that are whole in tiles constants.
pub fn bind_static_dims(
    program: &mut Program,
    roles: &Roles,
    packings: &Packings,
    request: &Request,
) -> BTreeMap<Name, i64> {
    let mut whole: BTreeSet<Name> = BTreeSet::new();
    let mut states: BTreeSet<Name> = BTreeSet::new();
    for stmt in &program.body {
        let lets = match stmt {
            Stmt::Let(l) => std::slice::from_ref(l),
            Stmt::Scan(s) => {
                let batch = crate::sequential::independent_axes(s);
                let all = s
                    .carries
                    .iter()
                    .flat_map(|c| &c.axes)
                    .chain(s.body.iter().flat_map(|l| &l.axes));
                states = all
                    .filter(|a| !batch.contains(*a) && **a != s.axis)
                    .cloned()
                    .collect();
                whole.extend(states.iter().cloned());
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
                whole.extend(out_of(program, roles, packings, l).tiles);
            }
        }
    }
    let mut dims = BTreeMap::new();
    for axis in &whole {
        let Some(size) = program.axes.get(axis) else {
            continue;
        };
        let scanned = states.contains(axis);
        let long = roles.is_sequence(size) && !scanned;
        if long || roles.is_packed(axis) || roles.value(size) > 1024 {
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

/// Lets that do not read each other and have the same grid share a kernel: each joins the last one before it that suits, if
/// nothing in between computes what it reads.
pub fn group(program: &Program, roles: &Roles, packings: &Packings) -> Vec<Group> {
    let mut groups: Vec<Group> = vec![];
    for stmt in &program.body {
        let out = match stmt {
            Stmt::Scan(scan) => {
                groups.push(Group::Scan(scan.clone()));
                continue;
            }
            Stmt::Let(l) => out_of(program, roles, packings, l),
        };
        match place(program, roles, &groups, &out) {
            Some((n, aligned)) => {
                if let Group::Lets(outs) = &mut groups[n] {
                    outs.push(aligned);
                }
            }
            None => groups.push(Group::Lets(vec![out])),
        }
    }
    groups
}

/// The group that a let can join, and the let with its axes named as there.
fn place(program: &Program, roles: &Roles, groups: &[Group], out: &Out) -> Option<(usize, Out)> {
    for (n, group) in groups.iter().enumerate().rev() {
        let Group::Lets(outs) = group else {
            return None;
        };
        if outs.iter().any(|o| reads(&out.term, &o.name)) {
            return None;
        }
        if roles.matrix_units && outs.iter().all(|o| are_apart(program, o, out)) {
            continue;
        }
        if let Some(aligned) = aligned(program, roles, &outs[0], out) {
            return Some((n, aligned));
        }
    }
    None
}

/// Whether two lets have softmaxes, and none in common.
fn are_apart(program: &Program, a: &Out, b: &Out) -> bool {
    let [a, b] = [a, b].map(|out| apart::scores(program, &out.term));
    !a.is_empty() && !b.is_empty() && !a.iter().any(|score| b.contains(score))
}

fn reads(term: &T, name: &Name) -> bool {
    let mut found = false;
    term.visit(&mut |t| found |= matches!(&**t, Term::Read { tensor, .. } if tensor == name));
    found
}

/// Replaces an axis that merges produce by its parts.
pub fn unmerged(program: &Program, roles: &Roles, l: &Let) -> Out {
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
    out.tiles = tiles_of(program, roles, &out);
    out
}

pub fn storage_order(program: &Program, l: &Let) -> Vec<Name> {
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
pub fn sequence_axis(out: &Out) -> Option<Name> {
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
fn tiles_of(program: &Program, roles: &Roles, out: &Out) -> Vec<Name> {
    let sequence = sequence_axis(out);
    let reused = reused_axes(&out.term, &|a| roles.is_length(program, a));
    let is_chunk = |a: &Name| program.splits.iter().any(|s| s.inner == *a);
    let candidates = || out.axes.iter().filter(|a| Some(*a) != sequence.as_ref());
    let outer = |a: &Name| program.splits.iter().any(|s| s.outer == *a);
    let mut tiles: Vec<Name> = candidates()
        .filter(|a| (reused.contains(*a) || is_chunk(a)) && !outer(a))
        .cloned()
        .collect();
    if tiles.is_empty() {
        tiles.extend(candidates().rfind(|a| !outer(a)).cloned());
    }
    tiles
}

/// `out` with its axes named as those of `first`, if both fit one kernel.
fn aligned(program: &Program, roles: &Roles, first: &Out, out: &Out) -> Option<Out> {
    if first.sequence != out.sequence {
        return None;
    }
    let mut map: BTreeMap<Name, Ix> = BTreeMap::new();
    let mut used: BTreeSet<Name> = out
        .axes
        .iter()
        .filter(|a| first.axes.contains(*a))
        .cloned()
        .collect();
    for axis in out.axes.iter().filter(|a| !first.axes.contains(*a)) {
        let size = program.axes.get(axis);
        let target = first
            .axes
            .iter()
            .find(|a| program.axes.get(*a) == size && !used.contains(*a));
        if let Some(target) = target {
            used.insert(target.clone());
            map.insert(axis.clone(), Ix::Axis(target.clone()));
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

pub fn role(program: &Program, roles: &Roles, out: &Out, axis: &Name) -> Role {
    if !out.tiles.contains(axis) {
        return Role::Batch;
    }
    if roles.is_packed(axis) {
        return Role::Block(64);
    }
    let size = program.axes.get(axis).cloned().unwrap_or(Ix::Const(1));
    match program.splits.iter().find(|s| s.inner == *axis) {
        Some(split) if roles.value(&split.size) <= MAX_CHUNK => {
            Role::Whole(roles.value(&split.size).max(1) as usize)
        }
        _ => roles.tile_role(&size, 64),
    }
}
