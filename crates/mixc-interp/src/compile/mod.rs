//! Resolves the names of one let: `Term` to `Node`.
//!
//! A reduction that does not depend on every loop around it, and every operator that produces an
//! axis, becomes a [`Stored`] subterm. The order of the stored list is an order of evaluation.

mod index;
mod operators;
mod scope;

use crate::EvalError;
use crate::array::volume;
use crate::node::{Domain, Node, Product};
use crate::stored::Stored;
use mixc_ir::{Func, Name, T, Term};
use std::collections::{BTreeMap, BTreeSet, HashMap};

type Axes = BTreeSet<Name>;

/// A reduction over more points than this is evaluated in place instead of stored.
const MAX_STORED: usize = 1 << 24;

/// What names mean, for every let of a program.
#[derive(Default)]
pub(crate) struct Names {
    /// Slot and size of each axis.
    pub axes: BTreeMap<Name, (usize, usize)>,
    pub splits: Vec<SplitSizes>,
    /// Position in memory and shape of each tensor.
    pub tensors: BTreeMap<Name, (usize, Vec<usize>)>,
    pub scalars: BTreeMap<Name, f64>,
    pub sizes: BTreeMap<Name, i64>,
}

pub(crate) struct SplitSizes {
    pub axis: Name,
    pub outer: Name,
    pub inner: Name,
    pub size: i64,
    /// The size of the axis that is split.
    pub end: i64,
}

/// A term as a tensor: evaluate `stored` in order, then `root` at every point of `domain`.
pub(crate) struct Compiled {
    pub stored: Vec<Stored>,
    pub root: Node,
    pub domain: Domain,
}

/// Compiles the value of `name[axes]`, of which `fixed` are held by an enclosing scan.
pub(crate) fn compile(
    names: &Names,
    name: &Name,
    axes: &[Name],
    fixed: &Axes,
    term: &T,
) -> Result<Compiled, EvalError> {
    let scope: Axes = axes.iter().chain(fixed).cloned().collect();
    let loops: Axes = scope.difference(fixed).cloned().collect();
    let mut compiler = Compiler {
        names,
        name,
        stored: vec![],
        known: HashMap::new(),
    };
    let own: Vec<Name> = axes
        .iter()
        .filter(|a| !fixed.contains(*a))
        .cloned()
        .collect();
    let domain = compiler.domain(&own, &scope)?;
    let free = compiler.dependencies(term, &scope);
    if let Some(axis) = free.difference(&scope).next() {
        return Err(compiler.malformed(format!("axis `{axis}` is used but not in scope")));
    }
    let place = Place {
        scope,
        fixed: fixed.clone(),
        loops,
    };
    let root = compiler.node(term, &place)?;
    Ok(Compiled {
        stored: compiler.stored,
        root,
        domain,
    })
}

/// Where a subterm stands.
#[derive(Clone)]
struct Place {
    /// Axes with a value here.
    scope: Axes,
    /// Those held by the scan around the let.
    fixed: Axes,
    /// Those that the loops around this subterm run over.
    loops: Axes,
}

impl Place {
    /// The place inside a loop over `axes`.
    fn inside<'n>(&self, axes: impl IntoIterator<Item = &'n Name>) -> Place {
        let mut place = self.clone();
        for axis in axes {
            place.scope.insert(axis.clone());
            place.loops.insert(axis.clone());
            place.fixed.remove(axis);
        }
        place
    }
}

struct Compiler<'a> {
    names: &'a Names,
    /// The let, for messages.
    name: &'a Name,
    stored: Vec<Stored>,
    /// Stored subterms by address, the axes stored and the axes depended on.
    known: HashMap<(*const Term, Vec<Name>, Axes), usize>,
}

impl Compiler<'_> {
    fn node(&mut self, term: &T, place: &Place) -> Result<Node, EvalError> {
        match &**term {
            Term::Const(value) => Ok(Node::Const(*value)),
            Term::Scalar(name) => match self.names.scalars.get(name) {
                Some(value) => Ok(Node::Const(*value)),
                None => Err(self.malformed(format!("there is no scalar `{name}`"))),
            },
            Term::Index(ix) => Ok(Node::Index(self.index(ix)?)),
            Term::Read { tensor, index } => Ok(Node::Read(self.access(tensor, index)?)),
            Term::Map { f, args } => self.map(*f, args, place),
            Term::Add(args) => Ok(Node::Add(self.nodes(args, place)?)),
            Term::Sum { axes, factors } if axes.is_empty() => Ok(Node::Sum {
                domain: Domain::default(),
                factors: self.product(factors, place)?,
            }),
            Term::Sum { .. } | Term::Reduce { .. } | Term::Online { .. } | Term::Last { .. } => {
                let needs = self.dependencies(term, &place.scope);
                let axes: Axes = needs.difference(&place.fixed).cloned().collect();
                let fewer = axes.is_subset(&place.loops) && axes != place.loops;
                let small = volume(&self.shape(axes.iter())?).is_ok_and(|n| n <= MAX_STORED);
                if fewer && small {
                    self.store(term, needs, place)
                } else {
                    self.reduction(term, place)
                }
            }
            Term::Softmax { .. }
            | Term::Ss { .. }
            | Term::Scan { .. }
            | Term::CumProd { .. }
            | Term::SufProd { .. }
            | Term::CumSum { .. } => {
                let needs = self.dependencies(term, &place.scope);
                self.store(term, needs, place)
            }
            Term::Merge {
                axis,
                outer,
                inner,
                body,
            } => self.merge(axis, outer, inner, body, place),
        }
    }

    fn nodes(&mut self, terms: &[T], place: &Place) -> Result<Vec<Node>, EvalError> {
        terms.iter().map(|t| self.node(t, place)).collect()
    }

    fn boxed(&mut self, term: &T, place: &Place) -> Result<Box<Node>, EvalError> {
        self.node(term, place).map(Box::new)
    }

    fn map(&mut self, f: Func, args: &[T], place: &Place) -> Result<Node, EvalError> {
        if args.len() != f.arity() {
            let message = format!(
                "`{}` takes {} arguments, found {}",
                f.name(),
                f.arity(),
                args.len()
            );
            return Err(self.malformed(message));
        }
        let mut args = self.nodes(args, place)?;
        if f == Func::Select
            && let (Some(no), Some(yes), Some(condition)) = (args.pop(), args.pop(), args.pop())
        {
            return Ok(Node::Select(Box::new([condition, yes, no])));
        }
        Ok(Node::Map { f, args })
    }

    fn product(&mut self, factors: &[T], place: &Place) -> Result<Product, EvalError> {
        let mut product = Product {
            guards: vec![],
            others: vec![],
        };
        for factor in factors {
            let node = self.node(factor, place)?;
            if factor.is_guard() {
                product.guards.push(node)
            } else {
                product.others.push(node)
            }
        }
        Ok(product)
    }

    fn axis(&self, name: &Name) -> Result<(usize, usize), EvalError> {
        match self.names.axes.get(name) {
            Some(axis) => Ok(*axis),
            None => Err(self.malformed(format!("axis `{name}` has no size"))),
        }
    }

    fn shape<'n>(&self, axes: impl Iterator<Item = &'n Name>) -> Result<Vec<usize>, EvalError> {
        axes.map(|a| self.axis(a).map(|(_, size)| size)).collect()
    }

    fn same_size(&self, j: &Name, i: &Name) -> Result<(), EvalError> {
        let (a, b) = (self.axis(j)?.1, self.axis(i)?.1);
        if a == b {
            return Ok(());
        }
        Err(self.malformed(format!(
            "axes `{j}` of size {a} and `{i}` of size {b} must be equally long"
        )))
    }

    fn free_of(&self, term: &T, axis: &Name) -> Result<(), EvalError> {
        if !term.free_axes().contains(axis) {
            return Ok(());
        }
        Err(self.malformed(format!("a scan that produces axis `{axis}` depends on it")))
    }

    fn malformed(&self, message: String) -> EvalError {
        EvalError::Malformed {
            place: self.name.clone(),
            message,
        }
    }
}
