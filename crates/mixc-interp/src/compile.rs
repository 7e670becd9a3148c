//! Resolves the names of one let: `Term` to `Node`.
//!
//! A reduction that does not depend on every loop around it, and every operator that produces an
//! axis, becomes a [`Stored`] subterm. The order of the stored list is an order of evaluation.

use crate::EvalError;
use crate::array::{strides, volume};
use crate::node::{Access, Dim, Domain, Exists, IxNode, Node, Product, Recurrence};
use crate::stored::{Cumulative, Line, Stored};
use mixc_ir::{Func, Ix, Name, T, Term};
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

/// Sum of coefficient * axis.
type Position = Vec<(Name, i64)>;

/// A position that must be before `end` to exist.
struct Condition {
    terms: Position,
    end: i64,
}

impl Condition {
    fn touches(&self, axes: impl Fn(&Name) -> bool) -> bool {
        self.terms.iter().any(|(name, _)| axes(name))
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

    /// A reduction, evaluated where it stands.
    fn reduction(&mut self, term: &T, place: &Place) -> Result<Node, EvalError> {
        match &**term {
            Term::Sum { axes, factors } => {
                let place = place.inside(axes);
                let domain = self.domain(axes, &place.scope)?;
                Ok(Node::Sum {
                    domain,
                    factors: self.product(factors, &place)?,
                })
            }
            Term::Reduce {
                op,
                axes,
                mask,
                body,
            } => {
                let place = place.inside(axes);
                let domain = self.domain(axes, &place.scope)?;
                let (mask, body) = (self.boxed(mask, &place)?, self.boxed(body, &place)?);
                Ok(Node::Reduce {
                    op: *op,
                    domain,
                    mask,
                    body,
                })
            }
            Term::Online {
                axes,
                score,
                mask,
                value,
            } => {
                let place = place.inside(axes);
                let domain = self.domain(axes, &place.scope)?;
                let (score, mask) = (self.boxed(score, &place)?, self.boxed(mask, &place)?);
                Ok(Node::Online {
                    domain,
                    score,
                    mask,
                    value: self.boxed(value, &place)?,
                })
            }
            Term::Last {
                j,
                decay,
                input,
                init,
            } => Ok(Node::Last(Box::new(
                self.recurrence(j, decay, input, init, place)?,
            ))),
            _ => self.node(term, place),
        }
    }

    fn recurrence(
        &mut self,
        j: &Name,
        decay: &T,
        input: &T,
        init: &T,
        place: &Place,
    ) -> Result<Recurrence, EvalError> {
        let inside = place.inside([j]);
        Ok(Recurrence {
            domain: self.domain(std::slice::from_ref(j), &inside.scope)?,
            slot: self.axis(j)?.0,
            decay: self.node(decay, &inside)?,
            decay_is_guard: decay.is_guard(),
            input: self.node(input, &inside)?,
            init: self.node(init, place)?,
        })
    }

    fn merge(
        &mut self,
        axis: &Name,
        outer: &Name,
        inner: &Name,
        body: &T,
        place: &Place,
    ) -> Result<Node, EvalError> {
        let (slot, end) = self.axis(axis)?;
        let ((outer_slot, outer_size), (inner_slot, inner_size)) =
            (self.axis(outer)?, self.axis(inner)?);
        let split = self
            .names
            .splits
            .iter()
            .find(|s| s.outer == *outer && s.inner == *inner);
        let Some(size) = split.map(|s| s.size) else {
            return Err(
                self.malformed(format!("`{outer}`, `{inner}` are not the parts of a split"))
            );
        };
        let covered = (outer_size as i64)
            .checked_mul(size)
            .is_some_and(|all| all >= end as i64);
        if !covered || (inner_size as i64) < size.min(end as i64) {
            let parts = format!("{outer_size} x {size} (inner axis of {inner_size})");
            return Err(self.malformed(format!(
                "a split into {parts} does not cover axis `{axis}` of {end}"
            )));
        }
        let body = self.boxed(body, &place.inside([outer, inner]))?;
        Ok(Node::Merge {
            axis: slot,
            outer: outer_slot,
            inner: inner_slot,
            size,
            body,
        })
    }

    /// Compiles `term` as a tensor of its own over the axes in `needs` that no scan holds.
    fn store(&mut self, term: &T, needs: Axes, place: &Place) -> Result<Node, EvalError> {
        // An operator along an axis runs over all of it, even if the scan around holds one position.
        let line_axes = match &**term {
            Term::Softmax { axes, .. } => axes.clone(),
            Term::Ss { j, i, .. } => vec![j.clone(), i.clone()],
            Term::Scan { i, .. } => vec![i.clone()],
            Term::CumProd { axis, .. } | Term::SufProd { axis, .. } | Term::CumSum { axis, .. } => {
                vec![axis.clone()]
            }
            _ => vec![],
        };
        let kept = |a: &&Name| !place.fixed.contains(*a) || line_axes.contains(a);
        let axes: Vec<Name> = needs.iter().filter(kept).cloned().collect();
        let shape = self.shape(axes.iter())?;
        let slots: Vec<usize> = axes
            .iter()
            .map(|a| self.axis(a).map(|(slot, _)| slot))
            .collect::<Result<_, _>>()?;
        let strides: Vec<(usize, usize)> = slots.into_iter().zip(strides(&shape)).collect();
        let key = (std::sync::Arc::as_ptr(term), axes.clone(), needs);
        if let Some(id) = self.known.get(&key) {
            return Ok(Node::Stored { id: *id, strides });
        }

        let around: Vec<Name> = axes
            .iter()
            .filter(|a| !line_axes.contains(a))
            .cloned()
            .collect();
        let mut outside = place.clone();
        outside.loops = around.iter().cloned().collect();
        let lines = self.domain(&around, &place.scope)?;
        let line = self.line(term, &outside)?;
        let id = self.stored.len();
        self.stored.push(Stored {
            strides: strides.clone(),
            len: volume(&shape)?,
            lines,
            line,
        });
        self.known.insert(key, id);
        Ok(Node::Stored { id, strides })
    }

    fn line(&mut self, term: &T, place: &Place) -> Result<Line, EvalError> {
        match &**term {
            Term::Softmax { axes, score, mask } => {
                let inside = place.inside(axes);
                let domain = self.domain(axes, &inside.scope)?;
                Ok(Line::Softmax {
                    domain,
                    score: self.node(score, &inside)?,
                    mask: self.node(mask, &inside)?,
                })
            }
            Term::Ss {
                j,
                i,
                strict,
                decay,
            } => {
                self.same_size(j, i)?;
                self.free_of(decay, i)?;
                let inside = place.inside([j]);
                let domain = self.domain(std::slice::from_ref(j), &inside.scope)?;
                let decay = self.node(decay, &inside)?;
                let (j, i) = (self.axis(j)?.0, self.axis(i)?.0);
                Ok(Line::Semiseparable {
                    j,
                    i,
                    domain,
                    strict: *strict,
                    decay,
                })
            }
            Term::Scan {
                j,
                i,
                strict,
                decay,
                input,
                init,
            } => {
                self.same_size(j, i)?;
                for part in [decay, input, init] {
                    self.free_of(part, i)?;
                }
                let recurrence = self.recurrence(j, decay, input, init, place)?;
                Ok(Line::Scan {
                    i: self.axis(i)?.0,
                    strict: *strict,
                    recurrence,
                })
            }
            Term::CumProd {
                axis,
                exclusive,
                body,
            } => {
                let kind = if *exclusive {
                    Cumulative::ProductBefore
                } else {
                    Cumulative::Product
                };
                self.cumulative(axis, kind, body, place)
            }
            Term::SufProd { axis, body } => {
                self.cumulative(axis, Cumulative::ProductAfter, body, place)
            }
            Term::CumSum { axis, body } => self.cumulative(axis, Cumulative::Sum, body, place),
            _ => self.reduction(term, place).map(Line::Value),
        }
    }

    fn cumulative(
        &mut self,
        axis: &Name,
        kind: Cumulative,
        body: &T,
        place: &Place,
    ) -> Result<Line, EvalError> {
        let inside = place.inside([axis]);
        let domain = self.domain(std::slice::from_ref(axis), &inside.scope)?;
        Ok(Line::Cumulative {
            slot: self.axis(axis)?.0,
            domain,
            kind,
            body: self.node(body, &inside)?,
        })
    }

    /// Axes that the value depends on: the free ones, and the other part of a split wherever a loop
    /// over one part has it in scope, because it decides which positions exist.
    fn dependencies(&self, term: &T, scope: &Axes) -> Axes {
        let with = |axes: &[&Name]| -> Axes {
            scope.iter().chain(axes.iter().copied()).cloned().collect()
        };
        let all = |terms: &[&T], scope: &Axes| -> Axes {
            terms
                .iter()
                .flat_map(|t| self.dependencies(t, scope))
                .collect()
        };
        match &**term {
            Term::Const(_) | Term::Scalar(_) => Axes::new(),
            Term::Index(ix) => ix.axes(),
            Term::Read { index, .. } => index.iter().flat_map(Ix::axes).collect(),
            Term::Map { .. } | Term::Add(_) => all(&term.children(), scope),
            Term::Sum { axes, .. } | Term::Reduce { axes, .. } | Term::Online { axes, .. } => {
                let own: Vec<&Name> = axes.iter().collect();
                let inside = with(&own);
                let mut needs = all(&term.children(), &inside);
                needs.extend(self.counterparts(&own, &inside));
                needs.retain(|a| !axes.contains(a));
                needs
            }
            Term::Softmax { axes, .. } => {
                let own: Vec<&Name> = axes.iter().collect();
                let inside = with(&own);
                let mut needs = all(&term.children(), &inside);
                needs.extend(self.counterparts(&own, &inside));
                needs.extend(axes.iter().cloned());
                needs
            }
            Term::Ss { j, i, decay, .. } => {
                let inside = with(&[j]);
                let mut needs = self.dependencies(decay, &inside);
                needs.extend(self.counterparts(&[j], &inside));
                needs.extend([j.clone(), i.clone()]);
                needs
            }
            Term::Scan {
                j,
                decay,
                input,
                init,
                ..
            }
            | Term::Last {
                j,
                decay,
                input,
                init,
            } => {
                let inside = with(&[j]);
                let mut needs = all(&[decay, input], &inside);
                needs.extend(self.counterparts(&[j], &inside));
                needs.remove(j);
                needs.extend(self.dependencies(init, scope));
                if let Term::Scan { i, .. } = &**term {
                    needs.insert(i.clone());
                }
                needs
            }
            Term::CumProd { axis, body, .. }
            | Term::SufProd { axis, body }
            | Term::CumSum { axis, body } => {
                let inside = with(&[axis]);
                let mut needs = self.dependencies(body, &inside);
                needs.extend(self.counterparts(&[axis], &inside));
                needs.insert(axis.clone());
                needs
            }
            Term::Merge {
                axis,
                outer,
                inner,
                body,
            } => {
                let mut needs = self.dependencies(body, &with(&[outer, inner]));
                needs.remove(outer);
                needs.remove(inner);
                needs.insert(axis.clone());
                needs
            }
        }
    }

    /// What else decides, within `scope`, which positions on `axes` exist.
    fn counterparts(&self, axes: &[&Name], scope: &Axes) -> Axes {
        let conditions = self
            .conditions(scope)
            .into_iter()
            .filter(|c| c.touches(|a| axes.contains(&a)));
        conditions
            .flat_map(|c| c.terms.into_iter().map(|(name, _)| name))
            .filter(|a| !axes.contains(&a))
            .collect()
    }

    /// For every split whose parts are in scope: the position is before the end of the axis.
    fn conditions(&self, scope: &Axes) -> Vec<Condition> {
        let splits = self.names.splits.iter();
        splits
            .flat_map(|split| {
                let positions = self.split_positions(split, scope, 0);
                positions.into_iter().map(|terms| Condition {
                    terms,
                    end: split.end,
                })
            })
            .collect()
    }

    /// The position on a split axis in terms of axes in scope: every way to say it, for a part may
    /// itself be split, and several inner parts may lie in the same outer part.
    fn split_positions(&self, split: &SplitSizes, scope: &Axes, depth: usize) -> Vec<Position> {
        let inner = self.positions(&split.inner, scope, depth);
        let mut all = vec![];
        for outer in self.positions(&split.outer, scope, depth) {
            let scaled = outer
                .iter()
                .map(|(name, c)| (name.clone(), c.saturating_mul(split.size)));
            for inner in &inner {
                all.push(scaled.clone().chain(inner.iter().cloned()).collect());
            }
        }
        all
    }

    fn positions(&self, axis: &Name, scope: &Axes, depth: usize) -> Vec<Position> {
        let mut all = vec![];
        if scope.contains(axis) {
            all.push(vec![(axis.clone(), 1)]);
        }
        // Chunks of chunks of chunks; the limit is for splits that form a ring.
        if depth < 4 {
            for split in self.names.splits.iter().filter(|s| s.axis == *axis) {
                all.extend(self.split_positions(split, scope, depth + 1));
            }
        }
        all
    }

    /// The points of a loop nest over `axes` within `scope`.
    fn domain(&self, axes: &[Name], scope: &Axes) -> Result<Domain, EvalError> {
        let mut domain = Domain::default();
        for axis in axes {
            domain.axes.push(self.axis(axis)?);
        }
        let inside: Axes = scope.iter().chain(axes).cloned().collect();
        for condition in self
            .conditions(&inside)
            .into_iter()
            .filter(|c| c.touches(|a| axes.contains(a)))
        {
            let terms = condition
                .terms
                .iter()
                .map(|(name, c)| self.axis(name).map(|(slot, _)| (slot, *c)));
            domain.exists.push(Exists {
                terms: terms.collect::<Result<_, _>>()?,
                end: condition.end,
            });
        }
        Ok(domain)
    }

    fn access(&self, tensor: &Name, index: &[Ix]) -> Result<Access, EvalError> {
        let Some((id, shape)) = self.names.tensors.get(tensor) else {
            return Err(self.malformed(format!("`{tensor}` is read before it is defined")));
        };
        if index.len() != shape.len() {
            let message = format!(
                "`{tensor}` has {} axes and is read with {}",
                shape.len(),
                index.len()
            );
            return Err(self.malformed(message));
        }
        let mut dims = vec![];
        for ((ix, extent), stride) in index.iter().zip(shape).zip(strides(shape)) {
            dims.push(Dim {
                index: self.index(ix)?,
                extent: *extent,
                stride,
            });
        }
        Ok(Access { tensor: *id, dims })
    }

    fn index(&self, ix: &Ix) -> Result<IxNode, EvalError> {
        // Coefficients that stay small keep sums of products with positions far from overflow.
        const SMALL: i64 = 1 << 24;
        let constant = |value: i64| IxNode::Affine {
            rest: value,
            terms: vec![],
        };
        Ok(match ix {
            Ix::Const(value) => constant(*value),
            Ix::Axis(name) => IxNode::Affine {
                rest: 0,
                terms: vec![(self.axis(name)?.0, 1)],
            },
            Ix::Dim(name) => match self.names.sizes.get(name) {
                Some(value) => constant(*value),
                None => return Err(self.malformed(format!("the size `{name}` is not known"))),
            },
            Ix::Elem(tensor, index) => IxNode::Elem(self.access(tensor, index)?),
            _ => {
                let Some((a, b)) = ix.operands() else {
                    return Err(self.malformed(format!("bad index `{ix}`")));
                };
                let (a, b) = (self.index(a)?, self.index(b)?);
                match combine(ix, &a, &b, SMALL) {
                    Some(node) => node,
                    None => IxNode::Binary {
                        op: ix.clone(),
                        a: Box::new(a),
                        b: Box::new(b),
                    },
                }
            }
        })
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

/// The affine form of one operator on affine operands, if there is one with small numbers.
fn combine(op: &Ix, a: &IxNode, b: &IxNode, small: i64) -> Option<IxNode> {
    let (
        IxNode::Affine {
            rest: ra,
            terms: ta,
        },
        IxNode::Affine {
            rest: rb,
            terms: tb,
        },
    ) = (a, b)
    else {
        return None;
    };
    let scaled = |terms: &[(usize, i64)], by: i64| -> Option<Vec<(usize, i64)>> {
        terms
            .iter()
            .map(|(slot, c)| c.checked_mul(by).map(|c| (*slot, c)))
            .collect()
    };
    let (rest, terms) = match op {
        Ix::Add(..) => (ra.checked_add(*rb)?, [ta.clone(), tb.clone()].concat()),
        Ix::Sub(..) => (ra.checked_sub(*rb)?, [ta.clone(), scaled(tb, -1)?].concat()),
        Ix::Mul(..) if tb.is_empty() => (ra.checked_mul(*rb)?, scaled(ta, *rb)?),
        Ix::Mul(..) if ta.is_empty() => (ra.checked_mul(*rb)?, scaled(tb, *ra)?),
        _ if ta.is_empty() && tb.is_empty() => (Ix::apply(op, *ra, *rb)?, vec![]),
        _ => return None,
    };
    let fits = rest.unsigned_abs() < 1 << 60
        && terms.iter().all(|(_, c)| c.abs() < small)
        && terms.len() < 64;
    fits.then_some(IxNode::Affine { rest, terms })
}
