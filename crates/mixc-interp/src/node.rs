//! Resolved terms and their value at one point.
//!
//! The point is `slots`: the current value of every axis of the program. Loops set the slots of
//! their axes and put the old values back.

use mixc_ir::{Func, Ix, ReduceOp};

/// A term whose names are resolved.
#[derive(Debug)]
pub(crate) enum Node {
    Const(f64),
    Index(IxNode),
    Read(Access),
    /// A subterm that was evaluated beforehand, over its own axes.
    Stored {
        id: usize,
        strides: Vec<(usize, usize)>,
    },
    Map {
        f: Func,
        args: Vec<Node>,
    },
    Select(Box<[Node; 3]>),
    Add(Vec<Node>),
    Sum {
        domain: Domain,
        factors: Product,
    },
    Reduce {
        op: ReduceOp,
        domain: Domain,
        mask: Box<Node>,
        body: Box<Node>,
    },
    Online {
        domain: Domain,
        score: Box<Node>,
        mask: Box<Node>,
        value: Box<Node>,
    },
    Last(Box<Recurrence>),
    /// Evaluates the body at outer = axis / size, inner = axis % size.
    Merge {
        axis: usize,
        outer: usize,
        inner: usize,
        size: i64,
        body: Box<Node>,
    },
}

/// A product: guards first, because a guard of 0 decides alone.
#[derive(Debug)]
pub(crate) struct Product {
    pub guards: Vec<Node>,
    pub others: Vec<Node>,
}

/// S = decay * S + input along the (only) axis of `domain`.
#[derive(Debug)]
pub(crate) struct Recurrence {
    pub domain: Domain,
    pub slot: usize,
    pub decay: Node,
    pub decay_is_guard: bool,
    pub input: Node,
    pub init: Node,
}

/// The points of a loop nest, those that do not exist left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Domain {
    /// Slot and size of each axis.
    pub axes: Vec<(usize, usize)>,
    pub exists: Vec<Exists>,
}

/// Sum of coefficient * slot < end: a position of a split axis that exists.
#[derive(Clone, Debug)]
pub(crate) struct Exists {
    pub terms: Vec<(usize, i64)>,
    pub end: i64,
}

/// An index expression whose names are resolved.
#[derive(Debug)]
pub(crate) enum IxNode {
    /// rest + sum of coefficient * slot; small enough not to overflow.
    Affine {
        rest: i64,
        terms: Vec<(usize, i64)>,
    },
    /// `op` only tells which operator.
    Binary {
        op: Ix,
        a: Box<IxNode>,
        b: Box<IxNode>,
    },
    Elem(Access),
}

/// An element of a tensor.
#[derive(Debug)]
pub(crate) struct Access {
    pub tensor: usize,
    pub dims: Vec<Dim>,
}

#[derive(Debug)]
pub(crate) struct Dim {
    pub index: IxNode,
    pub extent: usize,
    pub stride: usize,
}

/// Everything that can be read.
pub(crate) struct Memory<'a> {
    pub tensors: &'a [Vec<f64>],
    pub stored: &'a [Vec<f64>],
    /// What the result of every operation becomes; nothing else in the meaning of a program.
    pub round: fn(f64) -> f64,
}

impl Node {
    pub fn value(&self, slots: &mut [i64], memory: &Memory) -> f64 {
        (memory.round)(self.unrounded(slots, memory))
    }

    fn unrounded(&self, slots: &mut [i64], memory: &Memory) -> f64 {
        match self {
            Node::Const(value) => *value,
            Node::Index(ix) => ix.value(slots, memory).map_or(f64::NAN, |v| v as f64),
            Node::Read(access) => access.value(slots, memory),
            Node::Stored { id, strides } => {
                let offset: usize = strides
                    .iter()
                    .map(|(slot, stride)| slots[*slot] as usize * stride)
                    .sum();
                memory.stored[*id].get(offset).copied().unwrap_or(0.0)
            }
            Node::Map { f, args } => {
                let mut values = [0.0; 3];
                for (value, arg) in values.iter_mut().zip(args) {
                    *value = arg.value(slots, memory);
                }
                f.eval(&values[..args.len()])
            }
            Node::Select(parts) => {
                let [condition, yes, no] = &**parts;
                let taken = if condition.value(slots, memory) != 0.0 {
                    yes
                } else {
                    no
                };
                taken.value(slots, memory)
            }
            Node::Add(terms) => terms
                .iter()
                .fold(0.0, |sum, t| (memory.round)(sum + t.value(slots, memory))),
            Node::Sum { domain, factors } => {
                let mut sum = 0.0;
                domain.for_each(slots, &mut |slots| {
                    sum = (memory.round)(sum + factors.value(slots, memory));
                });
                sum
            }
            Node::Reduce {
                op,
                domain,
                mask,
                body,
            } => {
                let mut values = vec![];
                domain.for_each(slots, &mut |slots| {
                    if mask.value(slots, memory) != 0.0 {
                        values.push(body.value(slots, memory));
                    }
                });
                reduce(*op, &values)
            }
            Node::Online {
                domain,
                score,
                mask,
                value,
            } => {
                let mut pairs = vec![];
                domain.for_each(slots, &mut |slots| {
                    if mask.value(slots, memory) != 0.0 {
                        pairs.push((score.value(slots, memory), value.value(slots, memory)));
                    }
                });
                let max = maximum(pairs.iter().map(|(score, _)| *score));
                if max == f64::NEG_INFINITY {
                    return 0.0;
                }
                pairs
                    .iter()
                    .fold(0.0, |sum, (score, value)| sum + (score - max).exp() * value)
            }
            Node::Last(recurrence) => {
                let mut state = recurrence.init.value(slots, memory);
                recurrence.domain.for_each(slots, &mut |slots| {
                    state = recurrence.step(state, slots, memory)
                });
                state
            }
            Node::Merge {
                axis,
                outer,
                inner,
                size,
                body,
            } => {
                let saved = (slots[*outer], slots[*inner]);
                slots[*outer] = slots[*axis] / size;
                slots[*inner] = slots[*axis] % size;
                let value = body.value(slots, memory);
                (slots[*outer], slots[*inner]) = saved;
                value
            }
        }
    }
}

impl Product {
    pub fn value(&self, slots: &mut [i64], memory: &Memory) -> f64 {
        let mut product = 1.0;
        for guard in &self.guards {
            let value = guard.value(slots, memory);
            if value == 0.0 {
                return 0.0;
            }
            product *= value;
        }
        for factor in &self.others {
            product = (memory.round)(product * factor.value(slots, memory));
        }
        product
    }
}

impl Recurrence {
    /// The state after the step at the current point.
    pub fn step(&self, state: f64, slots: &mut [i64], memory: &Memory) -> f64 {
        let decay = self.decay.value(slots, memory);
        let kept = if self.decay_is_guard && decay == 0.0 {
            0.0
        } else {
            (memory.round)(decay * state)
        };
        (memory.round)(kept + self.input.value(slots, memory))
    }
}

impl Domain {
    /// Calls `f` at every point, the last axis fastest.
    pub fn for_each(&self, slots: &mut [i64], f: &mut impl FnMut(&mut [i64])) {
        nest(&self.axes, &self.exists, slots, f);
    }

    /// Whether the current point exists.
    pub fn holds(&self, slots: &[i64]) -> bool {
        self.exists.iter().all(|e| e.holds(slots))
    }
}

fn nest(
    axes: &[(usize, usize)],
    exists: &[Exists],
    slots: &mut [i64],
    f: &mut impl FnMut(&mut [i64]),
) {
    match axes.split_first() {
        None => {
            if exists.iter().all(|e| e.holds(slots)) {
                f(slots);
            }
        }
        Some(((slot, size), rest)) => {
            let saved = slots[*slot];
            for at in 0..*size {
                slots[*slot] = at as i64;
                nest(rest, exists, slots, f);
            }
            slots[*slot] = saved;
        }
    }
}

impl Exists {
    fn holds(&self, slots: &[i64]) -> bool {
        let part = |(slot, coefficient): &(usize, i64)| slots[*slot].saturating_mul(*coefficient);
        self.terms
            .iter()
            .fold(0i64, |sum, term| sum.saturating_add(part(term)))
            < self.end
    }
}

impl IxNode {
    pub fn value(&self, slots: &[i64], memory: &Memory) -> Option<i64> {
        match self {
            IxNode::Affine { rest, terms } => {
                Some(terms.iter().fold(*rest, |sum, (slot, coefficient)| {
                    sum + coefficient * slots[*slot]
                }))
            }
            IxNode::Binary { op, a, b } => {
                Ix::apply(op, a.value(slots, memory)?, b.value(slots, memory)?)
            }
            // A cast of NaN gives 0 and infinities saturate, as reads of nonsense should.
            IxNode::Elem(access) => Some(access.value(slots, memory) as i64),
        }
    }
}

impl Access {
    /// The element, 0 outside the bounds.
    pub fn value(&self, slots: &[i64], memory: &Memory) -> f64 {
        let mut offset = 0;
        for dim in &self.dims {
            match dim.index.value(slots, memory) {
                Some(at) if at >= 0 && (at as u64) < dim.extent as u64 => {
                    offset += at as usize * dim.stride
                }
                _ => return 0.0,
            }
        }
        memory.tensors[self.tensor]
            .get(offset)
            .copied()
            .unwrap_or(0.0)
    }
}

/// The largest value, NaN if there is one, -inf over nothing.
pub(crate) fn maximum(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::NEG_INFINITY, |a, b| Func::Max.eval(&[a, b]))
}

fn reduce(op: ReduceOp, values: &[f64]) -> f64 {
    match op {
        ReduceOp::Max => maximum(values.iter().copied()),
        ReduceOp::Min => values
            .iter()
            .fold(f64::INFINITY, |a, b| Func::Min.eval(&[a, *b])),
        ReduceOp::Prod => values.iter().product(),
        ReduceOp::Lse => {
            let max = maximum(values.iter().copied());
            // All -inf, or a +inf among them: the sum of exp is 0 or infinite whatever the rest is.
            if max.is_infinite() {
                return max;
            }
            max + values.iter().map(|v| (v - max).exp()).sum::<f64>().ln()
        }
    }
}
