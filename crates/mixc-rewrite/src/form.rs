//! From chosen terms back to a program: intermediate results that must exist as tensors become
//! lets, bound axes get names of their own, axes and splits are declared.

use crate::axes::{Axes, Cut, Origin};
use crate::closed::{Closed, Item};
use crate::share::share_subterms;
use crate::terms::{AxisSizes, rename_bound_to};
use mixc_ir::{Func, Ix, Let, Name, Output, Program, ReduceOp, Split, Stmt, T, Term};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a recurrence over chunks leaves in memory for passes over all chunks at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Chunks {
    /// Nothing: one pass goes from chunk to chunk.
    InOrder,
    /// The state that every chunk begins with.
    Starts,
    /// That, and what every chunk adds to the state: only the scan itself goes from chunk to chunk.
    StartsAndStates,
}

/// The program that computes the roots of `closed` by `terms`.
pub fn program(
    original: &Program,
    closed: &Closed,
    axes: &Axes,
    terms: &[T],
    chunks: Chunks,
) -> Program {
    let mut names = Names::new(original, closed);
    let mut stored = Stored::of(axes, terms);
    stored.chunks = stored.chunks.max(chunks);
    let mut builder = Builder {
        axes,
        stored,
        root_axes: vec![],
        lets: vec![],
        names: &mut names,
    };
    let mut terms = terms.iter();
    let mut body = vec![];
    for item in &closed.items {
        match item {
            Item::Kept(scan) => body.push(Stmt::Scan(scan.clone())),
            Item::Root(root) => {
                builder.root_axes = root.axes.clone();
                let value = builder.materialise(terms.next().expect("bug: a term for every root"));
                body.extend(builder.lets.drain(..).map(Stmt::Let));
                body.push(Stmt::Let(Let {
                    name: root.name.clone(),
                    axes: root.axes.clone(),
                    value,
                }));
            }
        }
    }
    let mut form = Program {
        body,
        splits: vec![],
        ..original.clone()
    };
    form.outputs = original.outputs.iter().map(|o| output(o, closed)).collect();
    declare_axes(&mut form, closed, axes);
    share_subterms(&mut form);
    form
}

/// An output with the axis names of the let that now computes it.
fn output(output: &Output, closed: &Closed) -> Output {
    let mut output = output.clone();
    let Some(root) = closed.roots().find(|r| r.name == output.name) else {
        return output;
    };
    if let Some(renamed) = &root.renamed_from {
        let new = |a: &Name| {
            renamed
                .iter()
                .position(|old| old == a)
                .map_or(a.clone(), |n| root.axes[n].clone())
        };
        output.axes = output.axes.iter().map(new).collect();
    }
    output
}

/// Which subterms are materialised.
struct Stored {
    /// Chunk products, chunk states and the scan over them, as far as passes over all chunks read them.
    chunks: Chunks,
    /// The maxima of two-pass softmax.
    maxima: bool,
    done: Vec<(T, Name, Vec<Name>)>,
}

impl Stored {
    fn of(axes: &Axes, terms: &[T]) -> Stored {
        let (mut chunks, mut maxima) = (Chunks::InOrder, false);
        for term in terms {
            term.visit(&mut |t| match &**t {
                Term::Scan { j, .. } if origin(axes, j) == Some(Origin::Inner(Cut::Chunk)) => {
                    chunks = Chunks::StartsAndStates;
                }
                Term::Map { f: Func::Exp, args } => {
                    if let Term::Map { f: Func::Sub, args } = &*args[0] {
                        maxima |= has_maximum(&args[1])
                            && !args[0].free_axes().is_subset(&args[1].free_axes());
                    }
                }
                _ => {}
            });
        }
        Stored {
            chunks,
            maxima,
            done: vec![],
        }
    }

    /// Whether a term goes from chunk to chunk, over what every chunk adds to the state.
    fn is_over_chunks(&self, axes: &Axes, term: &Term) -> bool {
        let (Term::Scan { j, .. } | Term::Last { j, .. }) = term else {
            return false;
        };
        self.chunks == Chunks::StartsAndStates && origin(axes, j) == Some(Origin::Outer(Cut::Chunk))
    }

    /// What to call the tensor of a subterm, if it is one.
    fn wanted(&self, axes: &Axes, term: &T) -> Option<&'static str> {
        let over =
            |names: &[Name], wanted: Origin| names.iter().any(|a| origin(axes, a) == Some(wanted));
        let inner = Origin::Inner(Cut::Chunk);
        let states = self.chunks == Chunks::StartsAndStates;
        match &**term {
            Term::Online { axes: a, .. } if over(a, Origin::Inner(Cut::Key)) => Some("part_sum"),
            Term::Reduce {
                op: ReduceOp::Max,
                axes: a,
                ..
            } if over(a, Origin::Inner(Cut::Key)) => Some("part_max"),
            Term::Reduce {
                op: ReduceOp::Max,
                axes: a,
                ..
            } if self.maxima && over(a, Origin::Whole) => Some("row_max"),
            Term::Reduce {
                op: ReduceOp::Prod,
                axes: a,
                ..
            } if states && over(a, inner) => Some("chunk_decay"),
            Term::Last { j, .. } if states && origin(axes, j) == Some(inner) => Some("chunk_state"),
            Term::Scan { j, .. }
                if self.chunks > Chunks::InOrder
                    && origin(axes, j) == Some(Origin::Outer(Cut::Chunk)) =>
            {
                Some("chunk_start")
            }
            _ => None,
        }
    }
}

fn origin(axes: &Axes, name: &Name) -> Option<Origin> {
    axes.get(name).map(|a| axes.origin(a))
}

fn has_maximum(term: &T) -> bool {
    match &**term {
        Term::Reduce {
            op: ReduceOp::Max, ..
        } => true,
        Term::Map { f: Func::Max, args } => args.iter().any(has_maximum),
        _ => false,
    }
}

struct Builder<'a> {
    axes: &'a Axes,
    stored: Stored,
    /// Axes of the result that is being built.
    root_axes: Vec<Name>,
    lets: Vec<Let>,
    names: &'a mut Names,
}

impl Builder<'_> {
    /// The term with stored subterms replaced by reads; their lets are added, inner ones first.
    fn materialise(&mut self, term: &T) -> T {
        let kind = self.stored.wanted(self.axes, term);
        self.materialise_as(term, kind)
    }

    /// As [`Builder::materialise`], where the term itself is stored if it has a `kind`.
    fn materialise_as(&mut self, term: &T, kind: Option<&'static str>) -> T {
        if let Some((_, name, over)) = self.stored.done.iter().find(|(t, _, _)| t == term) {
            return read(name, over);
        }
        let over_chunks = self.stored.is_over_chunks(self.axes, term);
        let child = |(n, c): (usize, &T)| match n {
            // The input of the scan.
            1 if over_chunks => self.materialise_as(c, Some("chunk_state")),
            _ => self.materialise(c),
        };
        let children: Vec<T> = term.children().into_iter().enumerate().map(child).collect();
        let unchanged = children
            .iter()
            .zip(term.children())
            .all(|(a, b)| Arc::ptr_eq(a, b));
        let value = if unchanged {
            term.clone()
        } else {
            Arc::new(term.with_children(children))
        };
        let Some(kind) = kind else {
            return value;
        };
        let over = self.storage_order(&self.dependencies(term));
        let name = self.names.fresh(kind);
        self.lets.push(Let {
            name: name.clone(),
            axes: over.clone(),
            value,
        });
        self.stored
            .done
            .push((term.clone(), name.clone(), over.clone()));
        read(&name, &over)
    }
}

impl Builder<'_> {
    /// Free axes, and outer parts whose last one makes a reduction over an inner part shorter.
    fn dependencies(&self, term: &T) -> BTreeSet<Name> {
        let mut all: BTreeSet<Name> = term
            .children()
            .into_iter()
            .flat_map(|c| self.dependencies(c))
            .collect();
        let bound = term.bound_axes();
        let over = match &**term {
            Term::Sum { .. } | Term::Reduce { .. } | Term::Online { .. } | Term::Last { .. } => {
                bound.clone()
            }
            Term::SufProd { axis, .. } => vec![axis.clone()],
            _ => vec![],
        };
        let outer = |a: &Name| {
            self.axes
                .outer_of(self.axes.get(a)?)
                .map(|o| self.axes.name(o).clone())
        };
        all.extend(over.iter().filter_map(outer));
        bound.iter().for_each(|a| {
            all.remove(a);
        });
        all.extend(term.free_axes());
        all
    }

    /// Batch axes as in the result, then positions in time, then features.
    fn storage_order(&self, free: &BTreeSet<Name>) -> Vec<Name> {
        let is_time = |a: &Name| self.axes.get(a).is_some_and(|a| self.axes.is_sequence(a));
        let first_time = self
            .root_axes
            .iter()
            .position(is_time)
            .unwrap_or(self.root_axes.len());
        let rank = |a: &Name| match self.root_axes.iter().position(|r| r == a) {
            Some(n) if n < first_time => (0, n),
            None if is_time(a) => (1, 0),
            Some(n) if is_time(a) => (2, n),
            None => (3, 0),
            Some(n) => (4, n),
        };
        let mut order: Vec<Name> = free.iter().cloned().collect();
        order.sort_by_key(rank);
        order
    }
}

fn read(name: &Name, over: &[Name]) -> T {
    Term::read(name, over.iter().map(|a| Ix::Axis(a.clone())).collect())
}

struct Names(BTreeSet<Name>);

impl Names {
    fn new(program: &Program, closed: &Closed) -> Names {
        let mut all: BTreeSet<Name> = program.tensors.iter().map(|t| t.name.clone()).collect();
        all.extend(program.scalars.iter().map(|s| s.name.clone()));
        all.extend(program.lets().map(|l| l.name.clone()));
        all.extend(closed.roots().map(|r| r.name.clone()));
        Names(all)
    }

    fn fresh(&mut self, kind: &str) -> Name {
        let mut name: Name = kind.into();
        let mut n = 2;
        while self.0.contains(&name) {
            name = format!("{kind}_{n}").into();
            n += 1;
        }
        self.0.insert(name.clone());
        name
    }
}

/// Gives nested binders of one name different names, and declares all axes and splits.
fn declare_axes(form: &mut Program, closed: &Closed, axes: &Axes) {
    let mut sizes: AxisSizes = closed.sizes.clone();
    for a in axes.all() {
        sizes.insert(axes.name(a).clone(), axes.size(a).clone());
    }
    let mut renamed: BTreeMap<Name, Name> = BTreeMap::new();
    for stmt in &mut form.body {
        if let Stmt::Let(l) = stmt {
            let scope = l.axes.iter().cloned().collect();
            l.value = unshadow(&l.value, &scope, &mut sizes, &mut renamed);
        }
    }
    let used = used_axes(form);
    let all = axes.splits_among(&|_| true);
    let copies = renamed.iter().flat_map(|(new, old)| {
        all.iter()
            .filter(|s| s.inner == *old)
            .map(|s| Split {
                inner: new.clone(),
                ..s.clone()
            })
            .collect::<Vec<_>>()
    });
    let splits: Vec<Split> = all.iter().cloned().chain(copies).collect();
    form.splits = splits
        .into_iter()
        .filter(|s| used.contains(&s.outer) && used.contains(&s.inner))
        .collect();
    let of_splits = form.splits.iter().map(|s| s.axis.clone());
    let names: BTreeSet<Name> = used.into_iter().chain(of_splits).collect();
    form.axes = names
        .into_iter()
        .filter_map(|a| sizes.get(&a).map(|size| (a.clone(), size.clone())))
        .collect();
}

fn unshadow(
    term: &T,
    scope: &BTreeSet<Name>,
    sizes: &mut AxisSizes,
    renamed: &mut BTreeMap<Name, Name>,
) -> T {
    let bound = term.bound_axes();
    let clashes: Vec<&Name> = bound.iter().filter(|a| scope.contains(*a)).collect();
    if !clashes.is_empty() {
        let mut map = BTreeMap::new();
        for a in clashes {
            let new = crate::terms::fresh_axis(sizes, a, "n");
            renamed.insert(new.clone(), a.clone());
            map.insert(a.clone(), new);
        }
        if let Some(apart) = rename_bound_to(term, &map, sizes) {
            return unshadow(&apart, scope, sizes, renamed);
        }
    }
    let mut inside = scope.clone();
    inside.extend(bound);
    let children: Vec<T> = term
        .children()
        .into_iter()
        .map(|c| unshadow(c, &inside, sizes, renamed))
        .collect();
    let unchanged = children
        .iter()
        .zip(term.children())
        .all(|(a, b)| Arc::ptr_eq(a, b));
    if unchanged {
        term.clone()
    } else {
        Arc::new(term.with_children(children))
    }
}

fn used_axes(form: &Program) -> BTreeSet<Name> {
    let mut used = BTreeSet::new();
    let of_term = |term: &T, used: &mut BTreeSet<Name>| {
        term.visit(&mut |t| {
            used.extend(t.bound_axes());
            match &**t {
                Term::Index(ix) => used.extend(ix.axes()),
                Term::Read { index, .. } => used.extend(index.iter().flat_map(Ix::axes)),
                Term::Softmax { axes, .. } => used.extend(axes.iter().cloned()),
                Term::Ss { j, i, .. } => used.extend([j.clone(), i.clone()]),
                Term::Scan { i, .. } => {
                    used.insert(i.clone());
                }
                Term::CumProd { axis, .. }
                | Term::SufProd { axis, .. }
                | Term::CumSum { axis, .. }
                | Term::Merge { axis, .. } => {
                    used.insert(axis.clone());
                }
                _ => {}
            }
        });
    };
    for stmt in &form.body {
        match stmt {
            Stmt::Let(l) => {
                used.extend(l.axes.iter().cloned());
                of_term(&l.value, &mut used);
            }
            Stmt::Scan(s) => {
                used.insert(s.axis.clone());
                for c in &s.carries {
                    used.extend(c.axes.iter().cloned());
                    of_term(&c.init, &mut used);
                }
                for l in &s.body {
                    used.extend(l.axes.iter().cloned());
                    of_term(&l.value, &mut used);
                }
            }
        }
    }
    used
}
