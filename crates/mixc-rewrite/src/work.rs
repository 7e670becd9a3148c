//! Work of a whole form: every shared term counted once per let that uses it.

use crate::cost::{Cost, CostModel, Kind, Shape, is_special, size_of, work};
use crate::terms::sequence_axes;
use mixc_ir::{Func, Ix, Let, Name, Program, ReduceOp, Scan, Stmt, T, Term};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type Axes = BTreeSet<Name>;

/// Predicted cost of a program for given sizes. A let is one kernel; tensors that it reads or
/// writes pass through memory once.
pub fn program_cost(program: &Program, sizes: &BTreeMap<Name, i64>, device: &CostModel) -> Cost {
    let counter = Counter::new(program, sizes);
    let mut total = Cost::default();
    for stmt in &program.body {
        let mut cost = match stmt {
            Stmt::Let(l) => counter.let_(l),
            Stmt::Scan(s) => counter.scan(s),
        };
        cost.launches = 1.0;
        total.add(&cost.timed(device));
    }
    total
}

struct Counter {
    axis_sizes: BTreeMap<Name, f64>,
}

impl Counter {
    fn new(program: &Program, sizes: &BTreeMap<Name, i64>) -> Counter {
        let mut time = BTreeSet::new();
        program
            .lets()
            .for_each(|l| sequence_axes(&l.value, &mut time));
        time.extend(program.body.iter().filter_map(|s| match s {
            Stmt::Scan(s) => Some(s.axis.clone()),
            Stmt::Let(_) => None,
        }));
        let time_sizes: BTreeSet<&Ix> = time.iter().filter_map(|a| program.axes.get(a)).collect();
        let size = |ix: &Ix| size_of(ix, time_sizes.contains(ix), sizes);
        Counter {
            axis_sizes: program
                .axes
                .iter()
                .map(|(a, ix)| (a.clone(), size(ix)))
                .collect(),
        }
    }

    fn points(&self, axes: &Axes) -> f64 {
        axes.iter()
            .map(|a| self.axis_sizes.get(a).copied().unwrap_or(1.0))
            .product()
    }

    fn let_(&self, l: &Let) -> Cost {
        let result: Axes = l.axes.iter().cloned().collect();
        let mut cost = self.term(&l.value, &mut BTreeMap::new()).0;
        cost.bytes += 4.0 * (self.points(&result) + self.read_elements(&[&l.value]));
        // Steps of a scan follow each other, so its axis gives no parallel work.
        let mut scanned = BTreeSet::new();
        l.value.visit(&mut |t| {
            if let Term::Scan { i, .. } = &**t {
                scanned.insert(i.clone());
            }
        });
        cost.parallel = self.points(&result.difference(&scanned).cloned().collect());
        cost
    }

    /// A scan that stays sequential: every step does the work of its body.
    fn scan(&self, s: &Scan) -> Cost {
        let mut cost = Cost::default();
        let mut done = BTreeMap::new();
        for l in &s.body {
            let one = self.term(&l.value, &mut done).0;
            cost.add(&one);
        }
        let steps = self.points(&[s.axis.clone()].into());
        let values: Vec<&T> = s.body.iter().map(|l| &l.value).collect();
        let written = s.body.iter().filter(|l| l.axes.contains(&s.axis));
        let written: f64 = written
            .map(|l| self.points(&l.axes.iter().cloned().collect()))
            .sum();
        cost.bytes += 4.0 * (written + self.read_elements(&values));
        cost.depth = steps * s.body.len() as f64;
        let state = s
            .carries
            .iter()
            .map(|c| self.points(&c.axes.iter().cloned().collect()));
        cost.parallel = state.fold(1.0, f64::max);
        cost
    }

    /// Elements of the tensors that are read, each tensor once.
    fn read_elements(&self, terms: &[&T]) -> f64 {
        let mut largest: BTreeMap<Name, f64> = BTreeMap::new();
        for term in terms {
            term.visit(&mut |t| {
                if let Term::Read { tensor, .. } = &**t {
                    let elements = self.points(&t.free_axes());
                    let known = largest.entry(tensor.clone()).or_insert(0.0);
                    *known = known.max(elements);
                }
            });
        }
        largest.values().sum()
    }

    /// Work below and at a term, and its free axes; shared terms count where they are met first.
    fn term(&self, term: &T, done: &mut BTreeMap<*const Term, Axes>) -> (Cost, Axes) {
        let key = Arc::as_ptr(term);
        if let Some(axes) = done.get(&key) {
            return (Cost::default(), axes.clone());
        }
        let mut cost = Cost::default();
        let mut operands = vec![];
        for child in term.children() {
            let (below, axes) = self.term(child, done);
            cost.add(&below);
            operands.push(axes);
        }
        let value = term.free_axes();
        let size = |a: &Axes| self.points(a);
        let shape = Shape {
            free: value.clone(),
            bound: term.bound_axes().into_iter().collect(),
            operands: &operands,
            size: &size,
            union: &|a: &Axes, b: &Axes| a.union(b).cloned().collect(),
            meets: &|a: &Axes, b: &Axes| !a.is_disjoint(b),
            minus: &|a: &Axes, b: &Axes| a.difference(b).cloned().collect(),
        };
        cost.add(&work(kind(term), &shape));
        done.insert(key, value.clone());
        (cost, value)
    }
}

fn kind(term: &T) -> Kind {
    match &**term {
        Term::Const(_) | Term::Scalar(_) | Term::Index(_) | Term::Read { .. } => Kind::Leaf,
        Term::Map {
            f: Func::Select, ..
        } => Kind::Elementwise,
        Term::Map { f, .. } if is_special(*f) => Kind::Special,
        Term::Map { .. } => Kind::Elementwise,
        Term::Add(_) => Kind::Add,
        Term::Sum { .. } => Kind::Sum,
        Term::Softmax { .. } => Kind::Softmax,
        Term::Online { .. } => Kind::Online,
        Term::Reduce {
            op: ReduceOp::Lse, ..
        } => Kind::Softmax,
        Term::Reduce { .. } => Kind::Reduce,
        Term::Ss { decay, .. } if decay.is_const(1.0) => Kind::Predicate,
        Term::Ss { .. } => Kind::Mask,
        Term::Scan { .. } => Kind::Scan,
        Term::Last { .. } => Kind::Last,
        Term::CumProd { .. } | Term::SufProd { .. } | Term::CumSum { .. } | Term::Merge { .. } => {
            Kind::Elementwise
        }
    }
}
