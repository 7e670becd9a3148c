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

mod find;

use crate::Request;
use crate::group::{Out, unmerged};
use crate::knobs::Knobs;
use crate::roles::Roles;
use crate::template::TEMPLATES;
use find::{Shape, shape};
use mixc_ir::{Ix, Name, Program, Relation, Stmt, T, Term};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The knob that says whether rows are packed, and how many there are at least in a tile.
pub const KNOB: &str = "pack";

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

/// The packing of every let of the program that has one, by the let's name.
fn packings(program: &Program, roles: &Roles) -> Packings {
    let mut found = Packings::new();
    for stmt in &program.body {
        let Stmt::Let(l) = stmt else { continue };
        let out = unmerged(program, roles, l);
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

/// Whether packing fills tiles that would be short without it: several heads to a row of fewer positions than a tile.
fn is_useful(packings: &Packings, program: &Program, roles: &Roles, rows: i64) -> bool {
    packings.values().map(|p| &p.shape).any(|shape| {
        let positions = shape
            .position
            .as_ref()
            .map_or(1, |i| roles.value(&program.axes[i]));
        // What has no value at these sizes is as good as unlimited.
        (2..i64::MAX).contains(&roles.value(&shape.heads)) && positions < rows
    })
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

/// Rewrites every integer expression of a term.
fn map_term(term: &T, f: &dyn Fn(&Ix) -> Ix) -> T {
    term.rebuild(&mut |t| match &*t {
        Term::Index(ix) => Arc::new(Term::Index(f(ix))),
        Term::Read { tensor, index } => Term::read(tensor, index.iter().map(f).collect()),
        _ => t,
    })
}
