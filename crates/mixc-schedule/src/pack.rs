//! Rows of several heads in one tile.
//!
//! Where what is streamed depends on a parallel axis h only through a quotient `h / n`, the n positions with one
//! quotient read the same blocks. Their rows are put into one tile, so that each block is read once for all of them
//! and products have more rows:
//!
//! ```text
//! before  o[b, h, i, e]                 a grid point for each (b, h, tile of i)
//! after   o[b, g * n + r % n, r / n, e] a grid point for each (b, g, tile of r), r < n * I
//! ```
//!
//! Rows of one position are neighbours, so a tile covers few positions and the bounds that masks give stay tight.
//! A row past the end has a position past the end, which no tensor has: it reads 0 and is not stored.
//!
//! In: a let with its merges undone. Out: the same values over other axes. Whether that is worth it is a knob.

use crate::Request;
use crate::group::{Out, unmerged};
use crate::knobs::Knobs;
use crate::roles::Roles;
use crate::template::TEMPLATES;
use mixc_ir::{Ix, Name, Program, Relation, Stmt, T, Term};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is packed.
#[derive(Clone, Debug, PartialEq)]
struct Shape {
    /// The axis h whose positions share what is streamed.
    head: Name,
    /// How many of them do: n.
    heads: Ix,
    /// Whether there are several quotients: else all positions of h share everything.
    grouped: bool,
    /// The axis of positions, where there is one.
    position: Option<Name>,
}

/// How the rows of a let are packed.
#[derive(Clone, Debug, PartialEq)]
pub struct Packing {
    shape: Shape,
    /// The axis of the quotients.
    group: Option<Name>,
    /// The axis that runs over heads and positions.
    rows: Name,
}

/// Packings by the name of the let.
pub type Packings = BTreeMap<Name, Packing>;

/// The packing of every let of the program that has one, by the let's name.
fn packings(program: &Program, roles: &Roles) -> Packings {
    let mut found = Packings::new();
    for stmt in &program.body {
        let Stmt::Let(l) = stmt else { continue };
        let out = unmerged(program, l);
        if let Some(shape) = shape(program, roles, &out) {
            // Lets that are packed alike have the same axes, so that they can share a kernel.
            let known = found.values().find(|p| p.shape == shape);
            let packing = known.cloned().unwrap_or_else(|| {
                let taken = |name: &str| {
                    let named = |p: &Packing| *p.rows == *name || p.group.as_deref() == Some(name);
                    program.axes.contains_key(name) || found.values().any(named)
                };
                shape.with_axes(&taken)
            });
            found.insert(out.name.clone(), packing);
        }
    }
    found
}

/// The knob that says whether rows are packed, and how many there are at least in a tile.
pub const KNOB: &str = "pack";

/// Decides whether rows are packed: as asked, else where it fills tiles. Then their axes are declared.
pub fn choose(
    program: &mut Program,
    roles: &mut Roles,
    knobs: &mut Knobs,
    request: &Request,
) -> Packings {
    let found = packings(program, roles);
    if !request.knobs.contains_key(KNOB)
        && is_useful(&found, program, roles, knobs["rows"])
        && let Some(value) = TEMPLATES
            .iter()
            .flat_map(|t| &t.knobs)
            .find_map(|k| k.shared.filter(|_| k.name == KNOB))
    {
        knobs.insert(KNOB.to_owned(), value);
    }
    if knobs.get(KNOB).is_none_or(|n| *n <= 0) {
        return Packings::new();
    }
    for packing in found.values() {
        packing.declare(program);
        roles.pack(packing.rows());
    }
    found
}

/// Whether some let of a form can have packed rows, whatever the sizes.
pub fn is_possible(program: &Program) -> bool {
    let mut program = program.clone();
    crate::spell::spell_out(&mut program);
    // Sizes that are no sequence lengths are small enough to stay whole.
    let request = Request {
        sizes: program.dims.iter().map(|d| (d.clone(), 1)).collect(),
        ..Request::default()
    };
    !packings(&program, &Roles::new(&program, &request)).is_empty()
}

/// Whether packing fills tiles that would be short without it: several heads to a row of fewer positions than a tile.
fn is_useful(packings: &Packings, program: &Program, roles: &Roles, rows: i64) -> bool {
    packings.values().map(|p| &p.shape).any(|shape| {
        let positions = shape
            .position
            .as_ref()
            .map_or(1, |i| roles.value(&program.axes[i]));
        roles.value(&shape.heads) > 1 && positions < rows
    })
}

/// An index list of a read, inside or outside of another index.
type Read = Vec<Ix>;

fn shape(program: &Program, roles: &Roles, out: &Out) -> Option<Shape> {
    if out.is_recurrence() {
        return None;
    }
    let all = reads(&out.term);
    let inner = reduced_axes(&out.term);
    let is_long =
        |a: &Name| roles.is_stream(program, a) || program.splits.iter().any(|s| s.inner == *a);
    let long: BTreeSet<Name> = inner.iter().filter(|a| is_long(a)).cloned().collect();
    let named = named_axes(&out.term);
    let is_free = |a: &Name| program.split_of(a).is_none() && !named.contains(a);
    // The innermost head comes first: its rows are the nearest in memory.
    let heads = out
        .axes
        .iter()
        .rev()
        .filter(|a| is_free(a) && !out.tiles().contains(a));
    let positions: Vec<&Name> = out.tiles().iter().filter(|a| is_free(a)).collect();
    for head in heads {
        // The reads that tell heads apart say which axis the rows of a head run along.
        let apart: Vec<&Read> = all.iter().filter(|read| tells_apart(read, head)).collect();
        if apart.is_empty() {
            continue;
        }
        let position = positions
            .iter()
            .find(|i| apart.iter().any(|read| mentions(read, i)))
            .map(|i| (*i).clone());
        // What is streamed and has a position is a row's own; the rest is to be shared.
        let shared: Vec<&Read> = all
            .iter()
            .filter(|read| mentions_any(read, &long))
            .filter(|read| position.as_ref().is_none_or(|i| !mentions(read, i)))
            .collect();
        // A vector for all rows is read once for each of them anyway; a matrix is worth sharing.
        let is_matrix = |read: &&Read| {
            let mut axes = inner.iter().chain(out.tiles());
            axes.any(|a| !long.contains(a) && mentions(read, a))
        };
        if !shared.iter().any(is_matrix) {
            continue;
        }
        let Some(quotient) = common_quotient(&shared, head) else {
            continue;
        };
        return Some(Shape {
            head: head.clone(),
            grouped: quotient.is_some(),
            heads: quotient.unwrap_or(program.axes[head].clone()),
            position,
        });
    }
    None
}

/// n, if these reads (of which there must be some) depend on the axis as `h / n`; if they do not depend on it at all,
/// Some(None).
fn common_quotient(shared: &[&Read], head: &Name) -> Option<Option<Ix>> {
    if shared.is_empty() {
        return None;
    }
    let mut divisor: Option<Ix> = None;
    for ix in shared.iter().copied().flatten() {
        visit_nodes(ix, &mut |node| {
            if let Ix::Div(h, n) = node
                && **h == Ix::Axis(head.clone())
                && n.axes().is_empty()
            {
                divisor.get_or_insert((**n).clone());
            }
        });
    }
    let quotient = divisor.clone().map(|n| Ix::Axis(head.clone()) / n);
    let without = |ix: &Ix| {
        let replaced =
            ix.replace(&|node| (Some(node) == quotient.as_ref()).then_some(Ix::Const(0)));
        !replaced.axes().contains(head)
    };
    shared
        .iter()
        .copied()
        .flatten()
        .all(without)
        .then_some(divisor)
}

impl Shape {
    fn with_axes(self, taken: &dyn Fn(&str) -> bool) -> Packing {
        let unused = |mut name: String| -> Name {
            while taken(&name) {
                name.push('_');
            }
            name.into()
        };
        let head = &self.head;
        Packing {
            group: self.grouped.then(|| unused(format!("{head}_group"))),
            rows: unused(match &self.position {
                Some(i) => format!("{head}_{i}"),
                None => format!("{head}_rows"),
            }),
            shape: self,
        }
    }
}

impl Packing {
    /// The axis that takes the place of heads and positions in tiles.
    pub fn rows(&self) -> &Name {
        &self.rows
    }

    /// Makes the sizes known that are constants of the kernels.
    pub fn bind(&mut self, sizes: &BTreeMap<Name, i64>) {
        self.shape.heads = self.shape.heads.replace(&|leaf| match leaf {
            Ix::Dim(name) => sizes.get(name).map(|n| Ix::Const(*n)),
            _ => None,
        });
    }

    pub fn declare(&self, program: &mut Program) {
        let Shape {
            head,
            heads,
            position,
            ..
        } = &self.shape;
        let rows = match position {
            Some(i) => heads.clone() * program.axes[i].clone(),
            None => heads.clone(),
        };
        if let Some(group) = &self.group {
            let groups = groups(program, &program.axes[head], heads);
            program.axes.insert(group.clone(), groups);
        }
        program.axes.insert(self.rows.clone(), rows);
    }

    /// The let over groups and rows.
    pub fn apply(&self, program: &Program, out: Out) -> Out {
        let Shape {
            head,
            heads,
            position,
            ..
        } = &self.shape;
        let row = Ix::Axis(self.rows.clone());
        let place = row.clone() / heads.clone();
        let mut at_head = row % heads.clone();
        if let Some(group) = &self.group {
            at_head = Ix::Axis(group.clone()) * heads.clone() + at_head;
        }
        let mut map = BTreeMap::new();
        match position {
            Some(i) => {
                map.insert(i.clone(), place);
            }
            // There is one position; the heads of others lie past the end.
            None => at_head = at_head + place * program.axes[head].clone(),
        }
        map.insert(head.clone(), at_head);
        let quotient = Ix::Axis(head.clone()) / heads.clone();
        let rewrite = |ix: &Ix| {
            let grouped = ix.replace(&|node| match &self.group {
                Some(group) if *node == quotient => Some(Ix::Axis(group.clone())),
                _ => None,
            });
            grouped.substitute(&map)
        };
        let term = map_term(&out.term, &rewrite);
        let index = out.index.iter().map(&rewrite).collect();
        let mut axes: Vec<Name> = vec![];
        for axis in &out.axes {
            if axis == head {
                axes.extend(self.group.clone());
                axes.extend(position.is_none().then(|| self.rows.clone()));
            } else if Some(axis) == position.as_ref() {
                axes.push(self.rows.clone());
            } else {
                axes.push(axis.clone());
            }
        }
        let tiles = out.tiles().iter().filter(|a| Some(*a) != position.as_ref());
        let tiles = tiles.cloned().chain([self.rows.clone()]).collect();
        out.over(index, axes, term, tiles)
    }
}

/// How many quotients an axis has: exact where the program requires that nothing is left over.
fn groups(program: &Program, size: &Ix, heads: &Ix) -> Ix {
    if let Ix::Div(whole, groups) = heads
        && **whole == *size
    {
        let rest = size.clone() % (**groups).clone();
        let divides = program
            .constraints
            .iter()
            .any(|c| c.relation == Relation::Eq && c.left == rest && c.right == Ix::Const(0));
        if divides {
            return (**groups).clone();
        }
    }
    size.clone().ceil_div(heads.clone())
}

fn reduced_axes(term: &T) -> BTreeSet<Name> {
    let mut reduced = BTreeSet::new();
    term.visit(&mut |t| reduced.extend(t.bound_axes()));
    reduced
}

/// Axes that operators name: an expression cannot take their place.
fn named_axes(term: &T) -> BTreeSet<Name> {
    let mut named = BTreeSet::new();
    term.visit(&mut |t| {
        named.extend(t.bound_axes());
        match &**t {
            Term::Softmax { axes, .. } => named.extend(axes.iter().cloned()),
            Term::Ss { j, i, .. } => named.extend([j.clone(), i.clone()]),
            Term::Scan { i, .. } => {
                named.insert(i.clone());
            }
            Term::CumProd { axis, .. }
            | Term::SufProd { axis, .. }
            | Term::CumSum { axis, .. }
            | Term::Merge { axis, .. } => {
                named.insert(axis.clone());
            }
            _ => {}
        }
    });
    named
}

fn reads(term: &T) -> Vec<Read> {
    let mut found = vec![];
    term.visit(&mut |t| match &**t {
        Term::Read { index, .. } => {
            found.push(index.clone());
            index.iter().for_each(|ix| gathers(ix, &mut found));
        }
        Term::Index(ix) => gathers(ix, &mut found),
        _ => {}
    });
    found
}

fn gathers(ix: &Ix, found: &mut Vec<Read>) {
    ix.visit_leaves(&mut |leaf| {
        if let Ix::Elem(_, index) = leaf {
            found.push(index.clone());
        }
    });
}

/// Whether a read depends on the axis in another way than through a quotient.
fn tells_apart(read: &Read, head: &Name) -> bool {
    let axis = Ix::Axis(head.clone());
    let is_quotient =
        |node: &Ix| matches!(node, Ix::Div(h, n) if **h == axis && n.axes().is_empty());
    read.iter().any(|ix| {
        let rest = ix.replace(&|node| is_quotient(node).then_some(Ix::Const(0)));
        rest.axes().contains(head)
    })
}

fn mentions(read: &Read, axis: &Name) -> bool {
    read.iter().any(|ix| ix.axes().contains(axis))
}

fn mentions_any(read: &Read, axes: &BTreeSet<Name>) -> bool {
    axes.iter().any(|a| mentions(read, a))
}

fn visit_nodes(ix: &Ix, f: &mut dyn FnMut(&Ix)) {
    f(ix);
    if let Ix::Elem(_, index) = ix {
        index.iter().for_each(|ix| visit_nodes(ix, f));
    }
    if let Some((a, b)) = ix.operands() {
        visit_nodes(a, f);
        visit_nodes(b, f);
    }
}

/// Rewrites every integer expression of a term.
fn map_term(term: &T, f: &dyn Fn(&Ix) -> Ix) -> T {
    term.rebuild(&mut |t| match &*t {
        Term::Index(ix) => Arc::new(Term::Index(f(ix))),
        Term::Read { tensor, index } => Term::read(tensor, index.iter().map(f).collect()),
        _ => t,
    })
}
