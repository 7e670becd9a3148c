//! Every law alone: random instances of its left side, both sides interpreted and compared.

use super::{Law, all, instances};
use crate::axes::{Ax, Cut};
use crate::graph::{Facts, Graph, from_term, representative, to_terms};
use crate::node::{Leaf, Node};
use crate::range::Range;
use egg::{Id, Language};
use mixc_interp::{Array, Env, eval_term};
use mixc_ir::{Ix, Name, T, Term};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const INSTANCES: u64 = 60;
const TOLERANCE: f64 = 1e-12;

#[path = "../../tests/common/mod.rs"]
pub mod common;

use common::Random;

/// A graph with random inputs to build left sides in.
pub struct Gen {
    pub g: Graph,
    pub random: Random,
    pub sizes: BTreeMap<Name, i64>,
    tensors: BTreeMap<Name, Array>,
}

impl Gen {
    /// Time axes `i j u t` of one size, feature axes `d e f` of another.
    fn new(seed: u64) -> Gen {
        let mut random = Random::new(seed);
        let mut size = |low: usize, high: usize| (low + random.below(high - low + 1)) as i64;
        let sizes: BTreeMap<Name, i64> = [
            ("T".into(), size(1, 9)),
            ("D".into(), size(1, 3)),
            ("C".into(), size(1, 5)),
            ("C2".into(), size(1, 3)),
            ("S".into(), size(1, 5)),
        ]
        .into();
        let mut facts = Facts::default();
        for (names, size) in [("i j u t", "T"), ("d e f", "D")] {
            for name in common::names(names) {
                facts.sizes.insert(name, Ix::dim(size));
            }
        }
        facts.sequence_sizes = [Ix::dim("T")].into();
        let g = Graph::new(facts).with_explanations_enabled();
        Gen {
            g,
            random,
            sizes,
            tensors: BTreeMap::new(),
        }
    }

    /// An input over the given axes with values in the range.
    pub fn input(&mut self, axes: &str, range: Range) -> T {
        let index: Vec<Ix> = common::names(axes).into_iter().map(Ix::Axis).collect();
        let names = common::names(axes);
        let shape: Vec<Ix> = names.iter().map(|n| self.axis_size(n)).collect();
        self.input_at(index, shape, range)
    }

    /// An input read at index expressions.
    pub fn input_at(&mut self, index: Vec<Ix>, shape: Vec<Ix>, range: Range) -> T {
        let name: Name = format!("x{}", self.tensors.len()).into();
        let shape: Vec<usize> = shape
            .iter()
            .map(|ix| ix.eval_sizes(&self.sizes).unwrap() as usize)
            .collect();
        let count: usize = shape.iter().product();
        let data = (0..count).map(|_| self.random.within(range, 1.5)).collect();
        self.g.analysis.ranges.insert(name.clone(), range);
        self.tensors.insert(name.clone(), Array { shape, data });
        Arc::new(Term::Read {
            tensor: name,
            index,
        })
    }

    fn axis_size(&self, name: &Name) -> Ix {
        let axes = &self.g.analysis.axes;
        match axes.get(name) {
            Some(a) => axes.size(a).clone(),
            None => self.g.analysis.sizes[name].clone(),
        }
    }

    pub fn any(&mut self, axes: &str) -> T {
        self.input(axes, crate::range::ANY)
    }

    pub fn unit(&mut self, axes: &str) -> T {
        self.input(axes, crate::range::UNIT)
    }

    /// Up to two more factors, each over a random choice of the axes.
    pub fn extra(&mut self, axes: &str) -> Vec<T> {
        let count = self.random.below(3);
        (0..count)
            .map(|_| {
                let all = common::names(axes);
                let some: Vec<&str> = all
                    .iter()
                    .filter(|_| self.random.unit() < 0.5)
                    .map(|n| &**n)
                    .collect();
                self.any(&some.join(" "))
            })
            .collect()
    }

    pub fn flip(&mut self) -> bool {
        self.random.unit() < 0.5
    }

    pub fn axis(&mut self, name: &str) -> Ax {
        let id = from_term(&mut self.g, &common::at(name)).unwrap();
        assert!(!self.g[id].data.free.is_empty());
        self.g.analysis.axes.get(name).unwrap()
    }

    pub fn split(&mut self, name: &str, cut: Cut) -> (Name, Name) {
        let a = self.axis(name);
        let (outer, inner) = self.g.analysis.axes.split(a, cut).unwrap();
        (
            self.g.analysis.axes.name(outer).clone(),
            self.g.analysis.axes.name(inner).clone(),
        )
    }

    pub fn copy(&mut self, name: &str) -> Name {
        let a = self.g.analysis.axes.get(name).unwrap();
        let copy = self.g.analysis.axes.copy(a, 0).unwrap();
        self.g.analysis.axes.name(copy).clone()
    }

    /// The top node of a term.
    pub fn node(&mut self, term: &T) -> Node {
        let id = from_term(&mut self.g, term).unwrap();
        self.g.rebuild();
        self.g.id_to_node(id).clone()
    }

    fn term_of_node(&self, node: &Node) -> T {
        let expr = node.build_recexpr(|kid| self.g[kid].data.best.clone());
        to_terms(&self.g.analysis, &expr).pop().unwrap().unwrap()
    }

    fn term_of(&self, id: Id) -> T {
        to_terms(&self.g.analysis, &representative(&self.g, id))
            .pop()
            .unwrap()
            .unwrap()
    }

    fn value(&self, term: &T, axes: &[Name]) -> Vec<f64> {
        let table = &self.g.analysis.axes;
        let env = Env {
            axes: table
                .all()
                .map(|a| {
                    (
                        table.name(a).clone(),
                        table.size(a).eval_sizes(&self.sizes).unwrap(),
                    )
                })
                .collect(),
            splits: table.splits_among(&|_| true),
            tensors: self.tensors.clone(),
            scalars: BTreeMap::new(),
            sizes: self.sizes.clone(),
        };
        eval_term(term, axes, &env)
            .unwrap_or_else(|e| panic!("{e}: {term:?}"))
            .data
    }
}

/// Largest difference relative to the largest value.
fn distance(left: &[f64], right: &[f64]) -> f64 {
    let size = left
        .iter()
        .filter(|x| x.is_finite())
        .fold(1e-300, |m: f64, x| m.max(x.abs()));
    let one = |(x, y): (&f64, &f64)| {
        if x == y || (x.is_nan() && y.is_nan()) {
            0.0
        } else {
            (x - y).abs() / size
        }
    };
    left.iter().zip(right).map(one).fold(
        0.0,
        |m, d| if d.is_nan() { f64::INFINITY } else { m.max(d) },
    )
}

/// Applies a law to a random instance; the left term and what the law makes of it.
fn fire(law: &Law, generate: instances::Generate, seed: u64) -> (Gen, T, Vec<T>) {
    let mut r = Gen::new(seed);
    let node = generate(&mut r);
    let left = r.term_of_node(&node);
    let rights = (law.apply)(&mut r.g, &node);
    r.g.rebuild();
    let rights = rights.into_iter().map(|id| r.term_of(id)).collect();
    (r, left, rights)
}

#[test]
fn every_law_holds_on_random_instances() {
    let mut tested = BTreeSet::new();
    for (name, generate) in instances::ALL {
        let law = super::by_name(name).unwrap_or_else(|| panic!("no law {name}"));
        for seed in 1..=INSTANCES {
            let (r, left, rights) = fire(law, *generate, seed);
            let axes: Vec<Name> = left.free_axes().into_iter().collect();
            let value = r.value(&left, &axes);
            for right in &rights {
                let error = distance(&value, &r.value(right, &axes));
                assert!(
                    error <= TOLERANCE,
                    "{name}, seed {seed}: {error:e}\n{left:#?}\n=\n{right:#?}"
                );
                tested.insert(law.name);
            }
        }
    }
    let untested: Vec<&str> = all()
        .map(|l| l.name)
        .filter(|n| !tested.contains(n))
        .collect();
    assert!(untested.is_empty(), "no instance fired {untested:?}");
}

/// The test above has teeth: for every law some wrong variant of its right side is caught.
#[test]
fn wrong_variants_of_every_law_are_caught() {
    for (name, generate) in instances::ALL {
        let law = super::by_name(name).unwrap();
        let caught = (1..=INSTANCES).any(|seed| {
            let (r, left, rights) = fire(law, *generate, seed);
            let axes: Vec<Name> = left.free_axes().into_iter().collect();
            let value = r.value(&left, &axes);
            rights.iter().flat_map(mutations).any(|wrong| {
                wrong.free_axes().iter().all(|a| axes.contains(a))
                    && distance(&value, &r.value(&wrong, &axes)) > 1e-6
            })
        });
        assert!(caught, "no wrong variant of {name} was caught");
    }
}

/// A chunk's start state taken after the chunk instead of before it: the classic mistake.
#[test]
fn a_block_law_with_an_inclusive_chunk_state_is_caught() {
    let (_, generate) = instances::ALL
        .iter()
        .find(|(n, _)| *n == "scan-blocked")
        .unwrap();
    let law = super::by_name("scan-blocked").unwrap();
    let mut caught = false;
    for seed in 1..=INSTANCES {
        let (r, left, rights) = fire(law, *generate, seed);
        let axes: Vec<Name> = left.free_axes().into_iter().collect();
        for right in &rights {
            let outer = |name: &str| name.ends_with('0');
            let wrong = right.rebuild(&mut |t| match &*t {
                Term::Scan {
                    j,
                    i,
                    strict: true,
                    decay,
                    input,
                    init,
                } if outer(i) => Arc::new(Term::Scan {
                    j: j.clone(),
                    i: i.clone(),
                    strict: false,
                    decay: decay.clone(),
                    input: input.clone(),
                    init: init.clone(),
                }),
                _ => t,
            });
            assert_ne!(wrong, *right, "the law has a strict scan over chunks");
            caught |= distance(&r.value(&left, &axes), &r.value(&wrong, &axes)) > 1e-6;
        }
    }
    assert!(caught);
}

/// The term with one operator changed: strictness flipped, a factor or an addend left out.
fn mutations(term: &T) -> Vec<T> {
    let mut count = 0;
    term.visit(&mut |_| count += 1);
    (0..count.min(40))
        .filter_map(|wanted| {
            let mut at = 0;
            let mut changed = false;
            let new = term.rebuild(&mut |t| {
                at += 1;
                match mutated(&t) {
                    Some(wrong) if at == wanted + 1 => {
                        changed = true;
                        Arc::new(wrong)
                    }
                    _ => t,
                }
            });
            changed.then_some(new)
        })
        .collect()
}

fn mutated(term: &T) -> Option<Term> {
    let mut wrong = (**term).clone();
    match &mut wrong {
        Term::Ss { strict, .. } | Term::Scan { strict, .. } => *strict = !*strict,
        Term::CumProd { exclusive, .. } => *exclusive = !*exclusive,
        Term::Sum { factors, .. } if factors.len() > 1 => {
            factors.pop();
        }
        Term::Add(terms) if terms.len() > 1 => {
            terms.pop();
        }
        Term::Const(value) if value.is_finite() => *value += 1.0,
        Term::Map { args, .. } if args.len() == 1 => return Some((*args[0]).clone()),
        Term::Read { tensor, index } => {
            return Some(Term::Map {
                f: mixc_ir::Func::Neg,
                args: vec![Arc::new(Term::Read {
                    tensor: tensor.clone(),
                    index: index.clone(),
                })],
            });
        }
        _ => return None,
    }
    Some(wrong)
}

/// Leaves of instances are inputs, so that no law can see through them.
#[test]
fn instances_are_made_of_inputs() {
    let mut r = Gen::new(1);
    let leaf = r.any("i d");
    let id = from_term(&mut r.g, &leaf).unwrap();
    let crate::node::Op::Leaf(leaf) = r.g.id_to_node(id).op else {
        panic!("a leaf")
    };
    assert!(matches!(r.g.analysis.leaves.get(leaf), Leaf::Read(..)));
}
