//! Values over the local axes of a statement (or of several that are fused): accesses with their
//! current addresses, expressions as a shared graph, and which values are already in registers.
//!
//! One axis may be the *lane* axis: a value is then up to `nv` vectors of four f32 along it. Values
//! that do not depend on the loops still to be opened are computed before them ([`Scope::hoist`]).

use crate::emit::{I, Ptr};
use crate::error::Lowered;
use crate::functions;
use crate::lower::Lower;
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::types::{F32, F32X4, I32X4};
use cranelift_codegen::ir::{InstBuilder, Value};
use mixc_ir::{Func, Ix, Name};
use mixc_tile::{Access, Axis, BufId, Expr, Place};
use std::collections::HashMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Node(usize);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Op {
    Const(u32),
    Scalar(Name),
    Elem(usize),
    Index(Ix),
    Add(Node, Node),
    Mul(Node, Node),
    Call(Func, Vec<Node>),
}

/// An access resolved against the buffers' layouts.
#[derive(Clone, Debug)]
pub(crate) struct Acc {
    pub buf: BufId,
    pub places: Vec<Place>,
    /// Bytes per step of each local axis.
    pub strides: Vec<i64>,
    /// The address at the current position.
    pub at: Ptr,
    /// Whether storing whole vectors along the lane axis stays within this access's own rows.
    pub padded: Vec<bool>,
}

pub(crate) struct Scope {
    pub axes: Vec<Axis>,
    pub accs: Vec<Acc>,
    ops: Vec<(Op, u64)>,
    known: HashMap<Op, Node>,
    /// What a statement of this scope has written to an access: later reads take the value.
    forward: HashMap<usize, Node>,
    /// Position of each bound axis: a loop variable plus a constant.
    pos: Vec<Option<(I, i64)>>,
    cache: HashMap<(Node, usize), Value>,
    pub lane: Option<usize>,
    /// Vectors along the lane axis, and how many lanes of the last one exist.
    pub nv: usize,
    pub tail: usize,
}

/// What binding an axis changes.
pub(crate) struct Saved {
    at: Vec<Ptr>,
    pos: Vec<Option<(I, i64)>>,
    cache: HashMap<(Node, usize), Value>,
}

impl Scope {
    pub fn new(axes: &[Axis]) -> Lowered<Scope> {
        if axes.len() > 60 {
            return Err(format!("{} axes; at most 60 are supported", axes.len()));
        }
        if let Some(axis) = axes.iter().find(|a| a.extent == 0) {
            return Err(format!("axis `{}` has no positions", axis.name));
        }
        Ok(Scope {
            axes: axes.to_vec(),
            accs: Vec::new(),
            ops: Vec::new(),
            known: HashMap::new(),
            forward: HashMap::new(),
            pos: vec![None; axes.len()],
            cache: HashMap::new(),
            lane: None,
            nv: 1,
            tail: 4,
        })
    }

    pub fn axis(&self, name: &str) -> Option<usize> {
        self.axes.iter().position(|a| &*a.name == name)
    }

    // ---- building ----

    /// Resolves an access; its run-time positions are computed here, outside the loops.
    pub fn access(&mut self, l: &mut Lower, access: &Access) -> Lowered<usize> {
        if let Some(known) = self
            .accs
            .iter()
            .position(|a| a.buf == access.buf && a.places == access.places)
        {
            return Ok(known);
        }
        let buf =
            l.k.bufs
                .get(access.buf.0 as usize)
                .ok_or("unknown buffer".to_string())?;
        if buf.shape.len() != access.places.len() {
            return Err(format!(
                "`{}` has {} dimensions, not {}",
                buf.name,
                buf.shape.len(),
                access.places.len()
            ));
        }
        let layout = &l.layouts[access.buf.0 as usize];
        let mut strides = vec![0; self.axes.len()];
        let mut padded = vec![false; self.axes.len()];
        let mut at = l.e.ptr(l.e.scratch).plus(layout.offset);
        for (d, place) in access.places.iter().enumerate() {
            match place {
                Place::Axis(name) => {
                    let a = self.axis(name).ok_or(format!("unknown axis `{name}`"))?;
                    if self.axes[a].extent > buf.shape[d] {
                        return Err(format!(
                            "axis `{name}` takes {} values, dimension {d} of `{}` has {}",
                            self.axes[a].extent, buf.name, buf.shape[d]
                        ));
                    }
                    strides[a] += layout.strides[d];
                    padded[a] = layout.inner == Some(d) && self.axes[a].extent == buf.shape[d];
                }
                Place::At(ix) => {
                    let mut i = l.ix(ix)?;
                    if let I::C(c) = i
                        && (c < 0 || c >= buf.shape[d] as i64)
                    {
                        return Err(format!(
                            "position {c} is outside dimension {d} of `{}`",
                            buf.name
                        ));
                    }
                    // A wrong position must not reach other memory.
                    i = l.e.max(i, I::C(0));
                    i = l.e.min(i, I::C(buf.shape[d] as i64 - 1));
                    at = l.e.step(at, i, layout.strides[d]);
                }
            }
        }
        self.accs.push(Acc {
            buf: access.buf,
            places: access.places.clone(),
            strides,
            at,
            padded,
        });
        Ok(self.accs.len() - 1)
    }

    fn node(&mut self, op: Op) -> Node {
        if let Some(n) = self.known.get(&op) {
            return *n;
        }
        let axes_of = |ix: &Ix| {
            ix.axes()
                .iter()
                .filter_map(|n| self.axis(n))
                .fold(0u64, |m, a| m | 1 << a)
        };
        let deps = match &op {
            Op::Const(_) | Op::Scalar(_) => 0,
            Op::Elem(acc) => self.accs[*acc]
                .strides
                .iter()
                .enumerate()
                .filter(|(_, s)| **s != 0)
                .fold(0, |m, (a, _)| m | 1 << a),
            Op::Index(ix) => axes_of(ix),
            Op::Add(a, b) | Op::Mul(a, b) => self.deps(*a) | self.deps(*b),
            Op::Call(_, args) => args.iter().fold(0, |m, a| m | self.deps(*a)),
        };
        self.ops.push((op.clone(), deps));
        self.known.insert(op, Node(self.ops.len() - 1));
        Node(self.ops.len() - 1)
    }

    pub fn deps(&self, n: Node) -> u64 {
        self.ops[n.0].1
    }

    pub fn expr(&mut self, l: &mut Lower, expr: &Expr) -> Lowered<Node> {
        let op = match expr {
            Expr::Const(c) => Op::Const(c.to_bits()),
            Expr::Scalar(name) => {
                if !l.k.scalars.contains(name) {
                    return Err(format!("unknown scalar `{name}`"));
                }
                Op::Scalar(name.clone())
            }
            Expr::Elem(access) => {
                let acc = self.access(l, access)?;
                if let Some(n) = self.forward.get(&acc) {
                    return Ok(*n);
                }
                Op::Elem(acc)
            }
            Expr::Index(ix) => Op::Index(ix.clone()),
            Expr::Add(a, b) => Op::Add(self.expr(l, a)?, self.expr(l, b)?),
            Expr::Mul(a, b) => Op::Mul(self.expr(l, a)?, self.expr(l, b)?),
            Expr::Call(f, args) => {
                if args.len() != f.arity() {
                    return Err(format!(
                        "`{}` takes {} arguments, not {}",
                        f.name(),
                        f.arity(),
                        args.len()
                    ));
                }
                let args: Vec<Node> = args
                    .iter()
                    .map(|a| self.expr(l, a))
                    .collect::<Lowered<_>>()?;
                match (f, args.as_slice()) {
                    // 1/sqrt(x) and x * (1/y) keep one rounding less when written out.
                    (Func::Recip, [x]) => {
                        let one = self.node(Op::Const(1f32.to_bits()));
                        Op::Call(Func::Div, vec![one, *x])
                    }
                    _ => Op::Call(*f, args),
                }
            }
        };
        Ok(self.node(op))
    }

    pub fn product(&mut self, a: Node, b: Node) -> Node {
        self.node(Op::Mul(a, b))
    }

    /// From now on, reading `acc` means this value.
    pub fn wrote(&mut self, acc: usize, value: Node) {
        self.forward.insert(acc, value);
    }

    /// Whether computing the value takes more than a few instructions.
    pub fn is_heavy(&self, n: Node) -> bool {
        matches!(self.ops[n.0].0, Op::Call(f, _) if functions::is_heavy(f))
    }

    pub fn children(&self, n: Node) -> Vec<Node> {
        match &self.ops[n.0].0 {
            Op::Add(a, b) | Op::Mul(a, b) => vec![*a, *b],
            Op::Call(_, args) => args.clone(),
            _ => vec![],
        }
    }

    // ---- position ----

    pub fn save(&self) -> Saved {
        Saved {
            at: self.accs.iter().map(|a| a.at).collect(),
            pos: self.pos.clone(),
            cache: self.cache.clone(),
        }
    }

    pub fn restore(&mut self, saved: Saved) {
        self.accs
            .iter_mut()
            .zip(saved.at)
            .for_each(|(a, at)| a.at = at);
        self.pos = saved.pos;
        self.cache = saved.cache;
    }

    /// Sets an axis to a loop variable.
    pub fn bind(&mut self, l: &mut Lower, axis: usize, var: I) {
        let mut stepped: Vec<(Ptr, i64, Ptr)> = Vec::new();
        for acc in &mut self.accs {
            let stride = acc.strides[axis];
            if stride == 0 {
                continue;
            }
            let known = stepped
                .iter()
                .find(|(p, s, _)| *s == stride && p.base == acc.at.base);
            let new = match known {
                Some((_, _, new)) => *new,
                None => {
                    let origin = Ptr {
                        base: acc.at.base,
                        off: 0,
                    };
                    let new = l.e.step(origin, var, stride);
                    stepped.push((origin, stride, new));
                    new
                }
            };
            acc.at = new.plus(acc.at.off);
        }
        self.pos[axis] = Some((var, 0));
    }

    /// Moves an axis that is bound by a constant; values that depend on it are forgotten.
    pub fn shift(&mut self, axis: usize, by: i64) {
        for acc in &mut self.accs {
            acc.at.off += by * acc.strides[axis];
        }
        if let Some((_, off)) = &mut self.pos[axis] {
            *off += by;
        }
        let ops = &self.ops;
        self.cache.retain(|(n, _), _| ops[n.0].1 & (1 << axis) == 0);
    }

    /// Where a bound axis is: a loop variable plus a constant.
    pub fn position(&self, axis: usize) -> (I, i64) {
        self.pos[axis].unwrap_or((I::C(0), 0))
    }

    fn bound(&self) -> u64 {
        self.pos
            .iter()
            .enumerate()
            .filter(|(_, p)| p.is_some())
            .fold(0, |m, (a, _)| m | 1 << a)
    }

    /// Lanes of vector `u` that exist.
    pub fn lanes(&self, u: usize) -> usize {
        if u + 1 == self.nv { self.tail } else { 4 }
    }

    // ---- values ----

    /// Computes now what the loops to come do not change.
    pub fn hoist(&mut self, l: &mut Lower, roots: &[Node]) -> Lowered<()> {
        let bound = self.bound();
        for root in roots {
            self.hoist_below(l, *root, bound)?;
        }
        Ok(())
    }

    fn hoist_below(&mut self, l: &mut Lower, n: Node, bound: u64) -> Lowered<()> {
        if matches!(self.ops[n.0].0, Op::Const(_)) {
            return Ok(());
        }
        if self.deps(n) & !bound != 0 {
            for child in self.children(n) {
                self.hoist_below(l, child, bound)?;
            }
            return Ok(());
        }
        let vectors = if self.is_vector(n) { self.nv } else { 1 };
        for u in 0..vectors {
            self.eval(l, n, u)?;
        }
        Ok(())
    }

    fn is_vector(&self, n: Node) -> bool {
        self.lane.is_some_and(|a| self.deps(n) & (1 << a) != 0)
    }

    /// The value as numbers, vector `u` along the lane axis.
    pub fn number(&mut self, l: &mut Lower, n: Node, u: usize) -> Lowered<Value> {
        let v = self.eval(l, n, u)?;
        Ok(functions::number(&mut l.e, v))
    }

    /// The value: numbers (f32x4) or, of a predicate, a mask (i32x4).
    fn eval(&mut self, l: &mut Lower, n: Node, u: usize) -> Lowered<Value> {
        let u = if self.is_vector(n) { u } else { 0 };
        if let Some(v) = self.cache.get(&(n, u)) {
            return Ok(*v);
        }
        let op = self.ops[n.0].0.clone();
        let v = match op {
            // Constants are loaded where they are used: they become memory operands.
            Op::Const(bits) => return Ok(l.e.f32c(f32::from_bits(bits))),
            Op::Scalar(name) => {
                let x = l.scalar(&name)?;
                l.e.splat(x)
            }
            Op::Elem(acc) => self.read(l, acc, u),
            Op::Index(ix) => self.index(l, &ix, u)?,
            Op::Add(a, b) => self.sum(l, a, b, u)?,
            Op::Mul(a, b) => {
                let (a, b) = (self.number(l, a, u)?, self.number(l, b, u)?);
                l.e.b.ins().fmul(a, b)
            }
            Op::Call(Func::Sub, args) => self.difference(l, args[0], args[1], u)?,
            Op::Call(Func::Select, args) => {
                let (x, y) = (self.number(l, args[1], u)?, self.number(l, args[2], u)?);
                let c = self.eval(l, args[0], u)?;
                let mask = functions::mask(&mut l.e, c);
                l.e.choose(mask, x, y)
            }
            Op::Call(f, args) => {
                let args: Vec<Value> = args
                    .iter()
                    .map(|a| self.eval(l, *a, u))
                    .collect::<Lowered<_>>()?;
                functions::call(&mut l.e, f, &args)
            }
        };
        self.cache.insert((n, u), v);
        Ok(v)
    }

    /// The factors of a product that nothing else needs.
    fn free_product(&self, n: Node, u: usize) -> Option<(Node, Node)> {
        match self.ops[n.0].0 {
            Op::Mul(a, b)
                if !self
                    .cache
                    .contains_key(&(n, if self.is_vector(n) { u } else { 0 })) =>
            {
                Some((a, b))
            }
            _ => None,
        }
    }

    fn sum(&mut self, l: &mut Lower, a: Node, b: Node, u: usize) -> Lowered<Value> {
        for (p, q) in [(a, b), (b, a)] {
            if let Some((x, y)) = self.free_product(p, u) {
                let (x, y) = (self.number(l, x, u)?, self.number(l, y, u)?);
                let z = self.number(l, q, u)?;
                return Ok(l.e.fma(x, y, z));
            }
        }
        let (a, b) = (self.number(l, a, u)?, self.number(l, b, u)?);
        Ok(l.e.b.ins().fadd(a, b))
    }

    fn difference(&mut self, l: &mut Lower, a: Node, b: Node, u: usize) -> Lowered<Value> {
        if let Some((x, y)) = self.free_product(a, u) {
            let (x, y) = (self.number(l, x, u)?, self.number(l, y, u)?);
            let z = self.number(l, b, u)?;
            let z = l.e.b.ins().fneg(z);
            return Ok(l.e.fma(x, y, z));
        }
        if let Some((x, y)) = self.free_product(b, u) {
            let (x, y) = (self.number(l, x, u)?, self.number(l, y, u)?);
            let z = self.number(l, a, u)?;
            let x = l.e.b.ins().fneg(x);
            return Ok(l.e.fma(x, y, z));
        }
        let (a, b) = (self.number(l, a, u)?, self.number(l, b, u)?);
        Ok(l.e.b.ins().fsub(a, b))
    }

    /// acc + value as one multiply-add, if the value is a product that nothing else needs.
    pub fn fused_sum(
        &mut self,
        l: &mut Lower,
        n: Node,
        u: usize,
        acc: Value,
    ) -> Lowered<Option<Value>> {
        let Some((x, y)) = self.free_product(n, u) else {
            return Ok(None);
        };
        let (x, y) = (self.number(l, x, u)?, self.number(l, y, u)?);
        Ok(Some(l.e.fma(x, y, acc)))
    }

    /// The elements of an access at the current position.
    pub fn read(&self, l: &mut Lower, acc: usize, u: usize) -> Value {
        let at = self.accs[acc].at;
        match self.lane.map_or(0, |a| self.accs[acc].strides[a]) {
            0 => l.e.load_splat(at),
            4 => l.e.load(F32X4, at.plus(16 * u as i64)),
            stride => {
                let lanes: Vec<Value> = (0..self.lanes(u))
                    .map(|i| l.e.load(F32, at.plus((4 * u + i) as i64 * stride)))
                    .collect();
                l.e.gather(&lanes)
            }
        }
    }

    /// Writes to an access at the current position, only the lanes that exist.
    pub fn write(&self, l: &mut Lower, acc: usize, u: usize, v: Value) {
        let a = &self.accs[acc];
        let lanes = self.lanes(u);
        let (stride, padded) = self
            .lane
            .map_or((0, false), |x| (a.strides[x], a.padded[x]));
        match stride {
            0 => {
                let x = l.e.lane(v, 0);
                l.e.store(x, a.at);
            }
            4 if lanes == 4 || padded => l.e.store(v, a.at.plus(16 * u as i64)),
            _ => {
                for i in 0..lanes {
                    let x = l.e.lane(v, i);
                    l.e.store(x, a.at.plus((4 * u + i) as i64 * stride));
                }
            }
        }
    }

    /// An integer expression at the current position, with lane `lane` of the lane axis.
    pub fn integer(&self, l: &mut Lower, ix: &Ix, lane: i64) -> Lowered<I> {
        let depth = l.env.len();
        for (a, axis) in self.axes.iter().enumerate() {
            if let Some((var, off)) = self.pos[a] {
                let off = if self.lane == Some(a) {
                    off + lane
                } else {
                    off
                };
                let value = l.e.add(var, I::C(off));
                l.env.push((axis.name.clone(), value));
            }
        }
        let value = l.ix(ix);
        l.env.truncate(depth);
        value
    }

    fn index(&mut self, l: &mut Lower, ix: &Ix, u: usize) -> Lowered<Value> {
        let first = 4 * u as i64;
        let Some(lane) = self
            .lane
            .filter(|a| ix.axes().contains(&self.axes[*a].name))
        else {
            let x = self.integer(l, ix, 0)?;
            return Ok(l.e.int_to_f32x4(x, 0));
        };
        let coefficient = ix.affine().map(|a| a.coefficient(&self.axes[lane].name));
        if let Some(Ix::Const(c)) = coefficient
            && let Ok(c) = i32::try_from(c)
        {
            let x = self.integer(l, ix, first)?;
            return Ok(l.e.int_to_f32x4(x, c));
        }
        let lanes: Vec<Value> = (0..self.lanes(u))
            .map(|i| {
                let x = self.integer(l, ix, first + i as i64)?;
                let x = l.e.value(x);
                Ok(l.e.b.ins().fcvt_from_sint(F32, x))
            })
            .collect::<Lowered<_>>()?;
        Ok(l.e.gather(&lanes))
    }

    /// A mask of the lanes of vector `u` that exist, None if all do.
    pub fn exists(&self, l: &mut Lower, u: usize) -> Option<Value> {
        let lanes = self.lanes(u);
        (lanes < 4).then(|| {
            let bits = [0, 1, 2, 3].map(|i| if i < lanes { u32::MAX } else { 0 });
            l.e.bits4(I32X4, bits)
        })
    }

    /// Keeps comparisons on NaN explicit.
    pub fn is_nan(&self, l: &mut Lower, v: Value) -> Value {
        l.e.fcmp(FloatCC::Unordered, v, v)
    }
}
