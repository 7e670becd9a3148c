//! The kernel under construction: where axes are, which loop level a term belongs to, what is
//! already computed.
//!
//! A *level* is the body of the kernel (0) or of a loop in it (1, 2, ...). A term is computed at the
//! innermost level that any of its axes or buffers belongs to, so what does not change in a loop is
//! computed in front of it.

use crate::ScheduleError;
use crate::template::Blocks;
use crate::unify::{Renaming, unify};
use mixc_ir::{Ix, Name, Program, T, Term};
use mixc_tile::{Access, Axis, Buf, BufId, Expr, Kernel, Place, ReduceKind, ScanKind, Space, Stmt};
use std::collections::{BTreeMap, BTreeSet};

/// Where a core axis is in the kernel.
#[derive(Clone, Debug, PartialEq)]
pub enum Binding {
    /// One position, known at run time.
    At(Ix),
    /// A tile of `extent` positions from `base`. `end` is the axis' size if the tile may reach past it.
    Tile {
        base: Ix,
        extent: usize,
        end: Option<Ix>,
    },
}

#[derive(Clone, Debug)]
pub struct AxisAt {
    pub binding: Binding,
    pub level: usize,
}

/// Statements of one level, and the terms whose values hold throughout it.
#[derive(Default)]
pub struct Level {
    pub stmts: Vec<Stmt>,
    exprs: Vec<(T, Expr)>,
    tiles: Vec<(T, Access)>,
}

/// A buffer that core terms read like a tensor: `Read { tensor: name, .. }` over its axes.
#[derive(Clone, Debug)]
pub struct Local {
    pub buf: BufId,
    pub level: usize,
    /// For each of the term's indices: None if it is a dimension of the buffer, else the one position
    /// that the buffer holds.
    pub home: Vec<Option<Ix>>,
}

/// How a running sum or product goes along an axis; see [`Stmt::Scan`].
pub struct Running {
    pub along: Name,
    pub kind: ScanKind,
    pub every: Option<usize>,
    pub exclusive: bool,
    pub reverse: bool,
}

pub struct Builder<'a> {
    pub program: &'a Program,
    pub kernel: Kernel,
    pub levels: Vec<Level>,
    pub axes: BTreeMap<Name, AxisAt>,
    pub locals: BTreeMap<Name, Local>,
    /// Extent of the tile of a streamed axis.
    pub stream_block: usize,
    /// The parts of a streamed axis, in the order in which they are visited.
    pub blocks: Vec<Blocks>,
    /// Axes that are streamed, by the size that they have.
    pub is_stream: &'a dyn Fn(&Name) -> bool,
    /// The target multiplies matrices by instructions.
    pub matrix_units: bool,
    /// Axes of packed rows.
    pub packed: BTreeSet<Name>,
    /// Predicates that hold for every position at the current point of the program.
    pub known: Vec<T>,
    /// Buffers that hold 0 past the end of every axis, by the name of their term.
    pub zero_past_ends: BTreeSet<Name>,
    counter: usize,
}

impl<'a> Builder<'a> {
    pub fn new(
        program: &'a Program,
        name: &str,
        is_stream: &'a dyn Fn(&Name) -> bool,
    ) -> Builder<'a> {
        Builder {
            program,
            kernel: Kernel {
                name: name.to_string(),
                ..Kernel::default()
            },
            levels: vec![Level::default()],
            axes: BTreeMap::new(),
            locals: BTreeMap::new(),
            stream_block: 64,
            blocks: vec![],
            is_stream,
            matrix_units: false,
            packed: BTreeSet::new(),
            known: vec![],
            zero_past_ends: BTreeSet::new(),
            counter: 0,
        }
    }

    pub fn top(&self) -> usize {
        self.levels.len() - 1
    }

    pub fn emit(&mut self, level: usize, stmt: Stmt) {
        self.levels[level].stmts.push(stmt);
    }

    /// A name that nothing else has.
    pub fn fresh(&mut self, stem: &str) -> Name {
        self.counter += 1;
        format!("{stem}_{}", self.counter).into()
    }

    /// Places an axis. What was computed with the axis elsewhere is no longer known.
    pub fn bind(&mut self, axis: &Name, binding: Binding, level: usize) {
        let old = self.axes.insert(axis.clone(), AxisAt { binding, level });
        if old.is_some_and(|old| old.binding != self.axes[axis].binding) {
            for known in &mut self.levels {
                known.exprs.retain(|(t, _)| !mentions(t, axis));
                known.tiles.retain(|(t, _)| !mentions(t, axis));
            }
        }
    }

    pub fn tile(&self, axis: &Name) -> Option<usize> {
        match self.axes.get(axis)?.binding {
            Binding::Tile { extent, .. } => Some(extent),
            Binding::At(_) => None,
        }
    }

    /// The tile axes that a term's value varies over, in a fixed order.
    pub fn tile_axes(&self, term: &T) -> Vec<Name> {
        term.free_axes()
            .into_iter()
            .filter(|a| self.tile(a).is_some())
            .collect()
    }

    pub fn local_axes(&self, names: &[Name]) -> Vec<Axis> {
        names
            .iter()
            .map(|n| Axis {
                name: n.clone(),
                extent: self.tile(n).expect("bug: a local axis is a tile axis"),
            })
            .collect()
    }

    /// An index expression in terms of the kernel: tile axes become base + local axis.
    pub fn index(&self, ix: &Ix) -> Result<Ix, ScheduleError> {
        for axis in ix.axes() {
            if !self.axes.contains_key(&axis) {
                return Err(ScheduleError::internal(format!(
                    "axis {axis} is not bound in {}",
                    self.kernel.name
                )));
            }
        }
        Ok(ix.replace(&|leaf| match leaf {
            Ix::Axis(name) => match &self.axes[name].binding {
                Binding::At(ix) => Some(ix.clone()),
                Binding::Tile { base, .. } => Some(base.clone() + Ix::Axis(name.clone())),
            },
            _ => None,
        }))
    }

    /// How many positions of an axis exist here, over sizes and bound axes. The inner part of a split
    /// axis ends early in the last part.
    pub fn size_of(&self, axis: &Name) -> Result<Ix, ScheduleError> {
        let size = self
            .program
            .axes
            .get(axis)
            .cloned()
            .ok_or_else(|| ScheduleError::internal(format!("axis {axis} has no size")))?;
        Ok(match self.rest_of_split(axis) {
            Some(rest) => size.min(rest),
            None => size,
        })
    }

    /// For the inner part of a split whose outer position is known: how many positions are left from
    /// the start of this part to the end of the whole axis.
    pub fn rest_of_split(&self, axis: &Name) -> Option<Ix> {
        let split = self.program.splits.iter().find(|s| s.inner == *axis)?;
        let whole = self.program.axes.get(&split.axis)?;
        // Axes that run over the same parts stand for each other.
        let same = |s: &&mixc_ir::Split| {
            s.size == split.size
                && self.program.axes.get(&s.axis) == Some(whole)
                && self.axes.contains_key(&s.outer)
        };
        let outer = if self.axes.contains_key(&split.outer) {
            split.outer.clone()
        } else {
            self.program.splits.iter().find(same)?.outer.clone()
        };
        match &self.axes.get(&outer)?.binding {
            Binding::At(at) => Some(whole.clone() - at.clone() * split.size.clone()),
            Binding::Tile { .. } => None,
        }
    }

    /// First and last position of an axis over the tile.
    pub fn range(&self, axis: &Name) -> Option<(Ix, Ix)> {
        match &self.axes.get(axis)?.binding {
            Binding::At(ix) => Some((ix.clone(), ix.clone())),
            Binding::Tile { base, extent, end } => {
                let last = base.clone() + (*extent as i64 - 1);
                // Packed rows are few: those past the end would loosen every bound.
                let last = match end {
                    Some(end) if self.packed.contains(axis) => last.min(end.clone() - 1),
                    _ => last,
                };
                Some((base.clone(), last))
            }
        }
    }

    /// The predicate `position exists` for an axis whose tile may reach past the end.
    pub fn validity(&self, axis: &Name) -> Option<Expr> {
        match &self.axes.get(axis)?.binding {
            Binding::Tile {
                base,
                end: Some(end),
                ..
            } => Some(Expr::Call(
                mixc_ir::Func::Lt,
                vec![
                    Expr::Index(base.clone() + Ix::Axis(axis.clone())),
                    Expr::Index(end.clone()),
                ],
            )),
            _ => None,
        }
    }

    /// The level at which a term's value is known.
    pub fn level_of(&self, term: &T) -> usize {
        let mut axes = term.free_axes();
        let mut level = 0;
        term.visit(&mut |t| {
            // Where a summed axis ends may depend on a loop even if the summands do not.
            axes.extend(t.bound_axes());
            if let Term::Read { tensor, .. } = &**t
                && let Some(local) = self.locals.get(tensor)
            {
                level = level.max(local.level);
            }
        });
        let by_axis = axes
            .iter()
            .filter_map(|a| self.axes.get(a))
            .map(|a| a.level)
            .max();
        level.max(by_axis.unwrap_or(0)).min(self.top())
    }

    /// The value of a term that is computed already, under these or other names of its axes.
    pub fn known_expr(&self, term: &T) -> Option<Expr> {
        let known = self.levels.iter().rev().flat_map(|l| &l.exprs);
        known
            .into_iter()
            .find_map(|(t, expr)| Some(rename_expr(expr, &self.equivalent(t, term)?)))
    }

    /// The renaming of axes that turns a known term into another one of the same value: renamed axes
    /// are at the same place.
    fn equivalent(&self, known: &T, term: &T) -> Option<Renaming> {
        let mut map = Renaming::new();
        if !unify(known, term, &mut map) {
            return None;
        }
        let same = |x: &Name, y: &Name| match (self.axes.get(x), self.axes.get(y)) {
            (Some(a), Some(b)) => a.binding == b.binding && a.level == b.level,
            (None, None) => self.program.axes.get(x) == self.program.axes.get(y),
            _ => false,
        };
        map.retain(|x, y| x != y);
        map.iter().all(|(x, y)| same(x, y)).then_some(map)
    }

    pub fn remember_expr(&mut self, level: usize, term: &T, expr: Expr) {
        self.levels[level].exprs.push((term.clone(), expr));
    }

    /// As [`Builder::known_expr`], for terms whose value is in a buffer.
    pub fn known_tile(&self, term: &T) -> Option<Access> {
        let known = self.levels.iter().rev().flat_map(|l| &l.tiles);
        known
            .into_iter()
            .find_map(|(t, access)| Some(rename_access(access, &self.equivalent(t, term)?)))
    }

    pub fn remember_tile(&mut self, level: usize, term: &T, access: Access) {
        self.levels[level].tiles.push((term.clone(), access));
    }

    /// A new buffer over the named tile axes, and the access that reads it at its own axes.
    pub fn buffer(&mut self, stem: &str, axes: &[Name]) -> Access {
        let name = self.fresh(stem);
        let shape = self.local_axes(axes).iter().map(|a| a.extent).collect();
        let buf = BufId(self.kernel.bufs.len() as u32);
        self.kernel.bufs.push(Buf {
            name,
            shape,
            space: Space::Shared,
        });
        Access {
            buf,
            places: axes.iter().cloned().map(Place::Axis).collect(),
        }
    }

    /// Makes a buffer readable from terms, as a tensor over `axes` with a name of its own.
    pub fn as_term(&mut self, access: &Access, axes: &[Name], level: usize) -> T {
        let name: Name = format!("%{}", access.buf.0).into();
        let home = vec![None; axes.len()];
        self.locals.insert(
            name.clone(),
            Local {
                buf: access.buf,
                level,
                home,
            },
        );
        Term::read(&name, axes.iter().cloned().map(Ix::Axis).collect())
    }

    /// dst = expr over dst's axes.
    pub fn emit_map(&mut self, level: usize, dst: Access, expr: Expr) {
        let axes = self.local_axes(&places(&dst));
        self.emit(level, Stmt::Map { axes, dst, expr });
    }

    /// dst = running sum or product of expr over dst's axes.
    pub fn emit_scan(&mut self, level: usize, dst: Access, expr: Expr, running: Running) {
        let axes = self.local_axes(&places(&dst));
        let Running {
            along,
            kind,
            every,
            exclusive,
            reverse,
        } = running;
        self.emit(
            level,
            Stmt::Scan {
                axes,
                along,
                kind,
                every,
                exclusive,
                reverse,
                dst,
                expr,
            },
        );
    }

    /// dst (+)= reduction of expr over `over`.
    pub fn emit_reduce(
        &mut self,
        level: usize,
        over: &[Name],
        (kind, accumulate): (ReduceKind, bool),
        dst: Access,
        expr: Expr,
    ) {
        let axes = self.axes_over(&dst, over);
        self.emit(
            level,
            Stmt::Reduce {
                axes,
                kind,
                accumulate,
                dst,
                expr,
            },
        );
    }

    /// dst (+)= sum over `over` of a * c: a matrix product.
    pub fn emit_contract(
        &mut self,
        level: usize,
        over: &[Name],
        accumulate: bool,
        dst: Access,
        [a, c]: [Access; 2],
    ) {
        let axes = self.axes_over(&dst, over);
        self.emit(
            level,
            Stmt::Contract {
                axes,
                accumulate,
                dst,
                a,
                b: c,
            },
        );
    }

    /// The axes of a result, and those that it is summed over.
    fn axes_over(&self, dst: &Access, over: &[Name]) -> Vec<Axis> {
        let mut names = places(dst);
        names.extend(over.iter().cloned());
        self.local_axes(&names)
    }

    /// Opens a loop body.
    pub fn open(&mut self) -> usize {
        self.levels.push(Level::default());
        self.top()
    }

    /// Closes the innermost level and gives its statements.
    pub fn close(&mut self) -> Vec<Stmt> {
        let level = self.levels.pop().expect("bug: a level is open");
        let depth = self.levels.len();
        self.locals.retain(|_, l| l.level < depth);
        level.stmts
    }
}

/// The local axes of an access.
pub fn places(access: &Access) -> Vec<Name> {
    access
        .places
        .iter()
        .filter_map(|p| match p {
            Place::Axis(name) => Some(name.clone()),
            Place::At(_) => None,
        })
        .collect()
}

/// Whether an axis occurs in a term, free or bound.
fn mentions(term: &T, axis: &Name) -> bool {
    let mut found = term.free_axes().contains(axis);
    term.visit(&mut |t| found |= t.bound_axes().contains(axis));
    found
}

fn rename_access(access: &Access, map: &Renaming) -> Access {
    let place = |p: &Place| match p {
        Place::Axis(name) => Place::Axis(map.get(name).unwrap_or(name).clone()),
        Place::At(ix) => Place::At(ix.clone()),
    };
    Access {
        buf: access.buf,
        places: access.places.iter().map(place).collect(),
    }
}

fn rename_expr(expr: &Expr, map: &Renaming) -> Expr {
    let again = |e: &Expr| rename_expr(e, map);
    match expr {
        Expr::Const(_) | Expr::Scalar(_) => expr.clone(),
        Expr::Elem(access) => Expr::Elem(rename_access(access, map)),
        Expr::Index(ix) => Expr::Index(ix.replace(&|leaf| match leaf {
            Ix::Axis(name) => map.get(name).cloned().map(Ix::Axis),
            _ => None,
        })),
        Expr::Add(a, b) => Expr::Add(Box::new(again(a)), Box::new(again(b))),
        Expr::Mul(a, b) => Expr::Mul(Box::new(again(a)), Box::new(again(b))),
        Expr::Call(f, args) => Expr::Call(*f, args.iter().map(again).collect()),
    }
}
