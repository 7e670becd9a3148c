//! Random legal terms: the interpreter against the plainest evaluator there is, which recomputes
//! everything at every point; the verifier accepts them; they survive printing.

use mixc_interp::{Array, Env, eval_term};
use mixc_ir::{
    Func, Ix, Kind, Let, Name, Output, Program, ReduceOp, Split, Stmt, T, Tensor, Term, parse_term,
    verify,
};
use mixc_text::Source;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Current value of every axis in scope.
type Point = BTreeMap<Name, i64>;

/// Whether the positions at this point exist, by the declared splits.
fn exists(env: &Env, point: &Point) -> bool {
    env.splits
        .iter()
        .all(|s| match (point.get(&s.outer), point.get(&s.inner)) {
            (Some(outer), Some(inner)) => {
                outer * s.size.eval_sizes(&env.sizes).unwrap() + inner < env.axes[&s.axis]
            }
            _ => true,
        })
}

/// The points of a loop over `axes`.
fn points(env: &Env, axes: &[Name], point: &Point) -> Vec<Point> {
    let Some((axis, rest)) = axes.split_first() else {
        return vec![point.clone()];
    };
    let mut all = vec![];
    for at in 0..env.axes[axis] {
        let mut inside = point.clone();
        inside.insert(axis.clone(), at);
        all.extend(points(env, rest, &inside));
    }
    all.retain(|p| exists(env, p));
    all
}

fn index(env: &Env, ix: &Ix, point: &Point) -> Option<i64> {
    ix.eval(&mut |leaf| match leaf {
        Ix::Axis(name) => Some(point[name]),
        Ix::Dim(name) => Some(env.sizes[name]),
        Ix::Elem(name, at) => Some(element(env, name, at, point) as i64),
        _ => None,
    })
}

fn element(env: &Env, tensor: &Name, at: &[Ix], point: &Point) -> f64 {
    let at: Option<Vec<usize>> = at
        .iter()
        .map(|ix| usize::try_from(index(env, ix, point)?).ok())
        .collect();
    at.and_then(|at| env.tensors[tensor].at(&at)).unwrap_or(0.0)
}

fn value(env: &Env, term: &Term, point: &Point) -> f64 {
    let here = |term: &T| value(env, term, point);
    let over = |axes: &[Name], mask: &T| -> Vec<Point> {
        let all = points(env, axes, point).into_iter();
        all.filter(|p| value(env, mask, p) != 0.0).collect()
    };
    let along = |axis: &Name| points(env, std::slice::from_ref(axis), point);
    let max = |values: &[f64]| {
        values
            .iter()
            .fold(f64::NEG_INFINITY, |a, b| Func::Max.eval(&[a, *b]))
    };
    match term {
        Term::Const(value) => *value,
        Term::Scalar(name) => env.scalars[name],
        Term::Index(ix) => index(env, ix, point).map_or(f64::NAN, |v| v as f64),
        Term::Read { tensor, index } => element(env, tensor, index, point),
        Term::Map {
            f: Func::Select,
            args,
        } => here(if here(&args[0]) != 0.0 {
            &args[1]
        } else {
            &args[2]
        }),
        Term::Map { f, args } => f.eval(&args.iter().map(here).collect::<Vec<_>>()),
        Term::Add(args) => args.iter().map(here).fold(0.0, |a, b| a + b),
        Term::Sum { axes, factors } => points(env, axes, point).iter().fold(0.0, |sum, p| {
            let values: Vec<f64> = factors.iter().map(|f| value(env, f, p)).collect();
            let off = factors
                .iter()
                .zip(&values)
                .any(|(f, v)| f.is_guard() && *v == 0.0);
            sum + if off { 0.0 } else { values.iter().product() }
        }),
        Term::Reduce {
            op,
            axes,
            mask,
            body,
        } => {
            let values: Vec<f64> = over(axes, mask)
                .iter()
                .map(|p| value(env, body, p))
                .collect();
            match op {
                ReduceOp::Max => max(&values),
                ReduceOp::Min => values
                    .iter()
                    .fold(f64::INFINITY, |a, b| Func::Min.eval(&[a, *b])),
                ReduceOp::Prod => values.iter().product(),
                ReduceOp::Lse if max(&values).is_infinite() => max(&values),
                ReduceOp::Lse => {
                    max(&values)
                        + values
                            .iter()
                            .map(|v| (v - max(&values)).exp())
                            .sum::<f64>()
                            .ln()
                }
            }
        }
        Term::Softmax { axes, score, mask } => {
            let scores: Vec<f64> = over(axes, mask)
                .iter()
                .map(|p| value(env, score, p))
                .collect();
            if here(mask) == 0.0 || max(&scores) == f64::NEG_INFINITY {
                return 0.0;
            }
            let sum: f64 = scores.iter().map(|s| (s - max(&scores)).exp()).sum();
            (here(score) - max(&scores)).exp() / sum
        }
        Term::Online {
            axes,
            score,
            mask,
            value: v,
        } => {
            let points = over(axes, mask);
            let top = max(&points
                .iter()
                .map(|p| value(env, score, p))
                .collect::<Vec<_>>());
            if top == f64::NEG_INFINITY {
                return 0.0;
            }
            points.iter().fold(0.0, |sum, p| {
                sum + (value(env, score, p) - top).exp() * value(env, v, p)
            })
        }
        Term::Ss {
            j,
            i,
            strict,
            decay,
        } => {
            let (from, to) = (point[j], point[i]);
            if from > to || (*strict && from == to) {
                return 0.0;
            }
            let before = along(j)
                .into_iter()
                .filter(|p| p[j] > from && (p[j] < to || (!strict && p[j] == to)));
            before.map(|p| value(env, decay, &p)).product()
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
            let end = match term {
                Term::Scan { i, strict, .. } => point[i] - i64::from(*strict),
                _ => i64::MAX,
            };
            let steps = along(j).into_iter().filter(|p| p[j] <= end);
            steps.fold(here(init), |state, p| {
                let a = value(env, decay, &p);
                let kept = if decay.is_guard() && a == 0.0 {
                    0.0
                } else {
                    a * state
                };
                kept + value(env, input, &p)
            })
        }
        Term::CumProd {
            axis,
            exclusive,
            body,
        } => {
            let before = along(axis)
                .into_iter()
                .filter(|p| p[axis] < point[axis] + i64::from(!exclusive));
            before.map(|p| value(env, body, &p)).product()
        }
        Term::SufProd { axis, body } => {
            let after = along(axis).into_iter().filter(|p| p[axis] > point[axis]);
            after.map(|p| value(env, body, &p)).product()
        }
        Term::CumSum { axis, body } => {
            let before = along(axis).into_iter().filter(|p| p[axis] <= point[axis]);
            before.fold(0.0, |sum, p| sum + value(env, body, &p))
        }
        Term::Merge {
            axis,
            outer,
            inner,
            body,
        } => {
            let size = env.sizes["C"];
            let mut inside = point.clone();
            inside.extend([
                (outer.clone(), point[axis] / size),
                (inner.clone(), point[axis] % size),
            ]);
            value(env, body, &inside)
        }
    }
}

/// Axes of time (size T), of chunks, within a chunk, and a feature axis.
const TIME: [&str; 4] = ["i", "j", "m", "n"];
const OUTER: [&str; 2] = ["i0", "j0"];
const INNER: [&str; 3] = ["i1", "j1", "k1"];

fn env(t: i64, c: i64, numbers: &mut Numbers) -> Env {
    let mut env = Env::default();
    let sizes = |names: &[&str], size: i64| {
        names
            .iter()
            .map(|n| (Name::from(*n), size))
            .collect::<Vec<_>>()
    };
    env.axes.extend(
        [
            sizes(&TIME, t),
            sizes(&OUTER, (t + c - 1) / c),
            sizes(&INNER, c),
            sizes(&["d"], 2),
        ]
        .concat(),
    );
    for (axis, outer, inner) in [("i", "i0", "i1"), ("j", "j0", "j1"), ("i", "i0", "k1")] {
        let (axis, outer, inner) = (axis.into(), outer.into(), inner.into());
        env.splits.push(Split {
            axis,
            outer,
            inner,
            size: Ix::dim("C"),
        });
    }
    env.sizes.extend([("T".into(), t), ("C".into(), c)]);
    let array = |shape: Vec<usize>, numbers: &mut Numbers, whole: bool| {
        let one = |numbers: &mut Numbers| match numbers.below(12) {
            _ if whole => numbers.below(5) as f64 - 1.0,
            0 => f64::INFINITY,
            1 => 0.0,
            n => (n as f64 - 6.0) / 4.0,
        };
        let data = (0..shape.iter().product()).map(|_| one(numbers)).collect();
        Array::new(shape, data)
    };
    env.tensors
        .insert("x".into(), array(vec![t as usize, 2], numbers, false));
    env.tensors
        .insert("y".into(), array(vec![t as usize], numbers, false));
    env.tensors
        .insert("block".into(), array(vec![t as usize], numbers, true));
    env
}

/// A stream of choices from a seed (the multiplier is Knuth's MMIX).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % n
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> Option<&'a str> {
        if list.is_empty() {
            None
        } else {
            Some(list[self.below(list.len())])
        }
    }
}

/// Axes that a term may use, and those that it must not bind again.
#[derive(Clone)]
struct Scope<'a> {
    usable: Vec<&'a str>,
    taken: Vec<&'a str>,
}

impl<'a> Scope<'a> {
    fn with(&self, axes: &[&'a str]) -> Scope<'a> {
        Scope {
            usable: [&self.usable[..], axes].concat(),
            taken: [&self.taken[..], axes].concat(),
        }
    }

    fn without(&self, axis: &str) -> Scope<'a> {
        Scope {
            usable: self.usable.iter().copied().filter(|a| *a != axis).collect(),
            ..self.clone()
        }
    }
}

fn some_index(n: &mut Numbers, scope: &Scope) -> Ix {
    let leaf = |n: &mut Numbers| match n.pick(&scope.usable) {
        Some(axis) if n.below(4) > 0 => Ix::axis(axis),
        _ if n.below(3) == 0 => Ix::dim("T"),
        _ => Ix::Const(n.below(4) as i64 - 1),
    };
    let (a, b) = (leaf(n), leaf(n));
    match n.below(9) {
        0 => a - b,
        1 => a + b,
        2 => a * Ix::dim("C") + b,
        3 => a / b,
        4 => a % b,
        5 => a.min(b),
        6 => Ix::Elem("block".into(), vec![a]),
        _ => a,
    }
}

/// A term over axes of `scope`, which binds none of them again.
fn some_term<'a>(n: &mut Numbers, scope: &Scope<'a>, depth: usize) -> T {
    if depth == 0 || n.below(6) == 0 {
        return match n.below(5) {
            0 => Term::constant(n.below(7) as f64 / 2.0 - 1.5),
            1 => Arc::new(Term::Index(some_index(n, scope))),
            2 => Term::read("y", vec![some_index(n, scope)]),
            _ => Term::read("x", vec![some_index(n, scope), some_index(n, scope)]),
        };
    }
    let less = depth - 1;
    // Axes that can be bound here: none that is in scope.
    let fresh = |names: &[&'a str]| -> Vec<&'a str> {
        names
            .iter()
            .copied()
            .filter(|name| !scope.taken.contains(name))
            .collect()
    };
    let (a, b) = (
        n.pick(&fresh(&[&TIME[..], &INNER, &["d"]].concat())),
        n.pick(&fresh(&OUTER)),
    );
    let mut bound: Vec<&str> = a.into_iter().collect();
    if n.below(3) == 0 {
        bound.extend(b);
    }
    let axes: Vec<Name> = bound.iter().map(|a| Name::from(*a)).collect();
    let within = scope.with(&bound);
    let mask = |n: &mut Numbers, scope: &Scope<'a>| match n.below(3) {
        0 => Term::one(),
        _ => Term::map(
            Func::Le,
            vec![some_term(n, scope, 0), some_term(n, scope, 0)],
        ),
    };
    // For a scan: a time or inner axis in scope as `i`, another of its kind as `j`.
    let produced = n.pick(
        &scope
            .usable
            .iter()
            .copied()
            .filter(|a| TIME.contains(a) || INNER.contains(a))
            .collect::<Vec<_>>(),
    );
    let kind = |i: &str| {
        if TIME.contains(&i) {
            &TIME[..]
        } else {
            &INNER[..]
        }
    };
    let partner = produced.and_then(|i| n.pick(&fresh(kind(i))));
    let beside = |i: &str| -> Vec<&'a str> {
        let usable = scope.usable.iter().copied();
        usable.filter(|j| *j != i && kind(i).contains(j)).collect()
    };
    match (n.below(13), produced, partner) {
        (0, Some(i), Some(j)) => {
            let outside = scope.without(i);
            let init = some_term(n, &outside, less);
            let inside = outside.with(&[j]);
            let (decay, input) = (some_term(n, &inside, less), some_term(n, &inside, less));
            let (strict, j, i) = (n.below(2) == 0, Name::from(j), Name::from(i));
            Arc::new(match n.below(4) {
                0 => Term::Last {
                    j,
                    decay,
                    input,
                    init,
                },
                _ => Term::Scan {
                    j,
                    i,
                    strict,
                    decay,
                    input,
                    init,
                },
            })
        }
        (1, Some(i), _) => match n.pick(&beside(i)) {
            Some(j) => {
                let decay = some_term(n, &scope.without(i), less);
                Arc::new(Term::Ss {
                    j: j.into(),
                    i: i.into(),
                    strict: n.below(2) == 0,
                    decay,
                })
            }
            None => some_term(n, scope, less),
        },
        (2, Some(i), _) => {
            let (axis, body) = (i.into(), some_term(n, scope, less));
            Arc::new(match n.below(4) {
                0 => Term::CumSum { axis, body },
                1 => Term::SufProd { axis, body },
                k => Term::CumProd {
                    axis,
                    exclusive: k == 2,
                    body,
                },
            })
        }
        (3, Some(i), _) => {
            let (score, mask) = (some_term(n, scope, less), mask(n, scope));
            Arc::new(Term::Softmax {
                axes: vec![i.into()],
                score,
                mask,
            })
        }
        (4, Some(axis), _) if TIME.contains(&axis) && fresh(&["j0", "j1"]).len() == 2 => {
            let body = some_term(n, &scope.with(&["j0", "j1"]), less);
            Arc::new(Term::Merge {
                axis: axis.into(),
                outer: "j0".into(),
                inner: "j1".into(),
                body,
            })
        }
        (5, ..) => {
            let op = [ReduceOp::Max, ReduceOp::Min, ReduceOp::Prod, ReduceOp::Lse][n.below(4)];
            let (mask, body) = (mask(n, &within), some_term(n, &within, less));
            Arc::new(Term::Reduce {
                op,
                axes,
                mask,
                body,
            })
        }
        (6, ..) => {
            let (score, mask) = (some_term(n, &within, less), mask(n, &within));
            Arc::new(Term::Online {
                axes,
                score,
                mask,
                value: some_term(n, &within, less),
            })
        }
        (7..9, ..) => {
            let count = n.below(3) + 1;
            Term::sum(
                axes,
                (0..count).map(|_| some_term(n, &within, less)).collect(),
            )
        }
        (9, ..) => Arc::new(Term::Add(vec![
            some_term(n, scope, less),
            some_term(n, scope, less),
        ])),
        (10, ..) => Term::product(vec![mask(n, scope), some_term(n, scope, less)]),
        _ => {
            let functions = [
                Func::Tanh,
                Func::Select,
                Func::Max,
                Func::Sub,
                Func::Div,
                Func::And,
                Func::Sigmoid,
            ];
            let f = functions[n.below(functions.len())];
            Term::map(
                f,
                (0..f.arity()).map(|_| some_term(n, scope, less)).collect(),
            )
        }
    }
}

fn program(env: &Env, term: &T, axes: &[Name]) -> Program {
    let tensor = |(name, kind, shape): (&str, Kind, &[&str])| Tensor {
        name: name.into(),
        kind,
        shape: shape
            .iter()
            .map(|s| if *s == "D" { Ix::Const(2) } else { Ix::dim(s) })
            .collect(),
        axis_names: shape.iter().map(|s| Name::from(*s)).collect(),
        range: (f64::NEG_INFINITY, f64::INFINITY),
        default: None,
    };
    let size = |axis: &Name| match &**axis {
        "d" => Ix::Const(2),
        a if TIME.contains(&a) => Ix::dim("T"),
        a if OUTER.contains(&a) => Ix::dim("T").ceil_div(Ix::dim("C")),
        _ => Ix::dim("C"),
    };
    let one = Let {
        name: "o".into(),
        axes: axes.to_vec(),
        value: term.clone(),
    };
    Program {
        name: "random".into(),
        dims: vec!["T".into()],
        tensors: vec![
            tensor(("x", Kind::Real, &["T", "D"])),
            tensor(("y", Kind::Real, &["T"])),
            tensor(("block", Kind::Int, &["T"])),
        ],
        axes: env.axes.keys().map(|a| (a.clone(), size(a))).collect(),
        splits: env.splits.clone(),
        body: vec![Stmt::Let(one)],
        outputs: vec![Output {
            name: "o".into(),
            axes: axes.to_vec(),
            axis_names: axes.to_vec(),
        }],
        ..Program::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_interpreter_agrees_with_recomputing_everything(seed in any::<u64>(), t in 0i64..5, c in 1i64..4) {
        let mut numbers = Numbers(seed);
        let env = env(t, c, &mut numbers);
        let scopes: [&[&str]; 5] = [&["i"], &["i", "d"], &["i0", "i1"], &["i", "j"], &[]];
        let scope = scopes[numbers.below(5)].to_vec();
        let term = some_term(&mut numbers, &Scope { usable: scope.clone(), taken: scope.clone() }, 3);
        let axes: Vec<Name> = scope.iter().map(|a| Name::from(*a)).collect();

        if let Err(errors) = verify(&program(&env, &term, &axes)) {
            prop_assert!(false, "{}\n{:?}", term, errors);
        }
        let source = Source::new("term", term.to_string());
        prop_assert_eq!(&parse_term(&source).map_err(|e| TestCaseError::fail(source.render(&e)))?, &term);

        let found = eval_term(&term, &axes, &env).map_err(|e| TestCaseError::fail(format!("{e}: {term}")))?;
        let shape: Vec<usize> = axes.iter().map(|a| env.axes[a] as usize).collect();
        prop_assert_eq!(&found.shape, &shape);
        let mut count = 0;
        for point in points(&env, &axes, &Point::new()) {
            let at: Vec<usize> = axes.iter().map(|a| point[a] as usize).collect();
            let (a, b) = (found.at(&at).unwrap(), value(&env, &term, &point));
            let same = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * b.abs().max(1e-6);
            prop_assert!(same, "{} at {:?}: found {}, expected {}", term, point, a, b);
            count += 1;
        }
        // Everything else is a position that does not exist.
        prop_assert!(found.data.iter().filter(|v| **v != 0.0).count() <= count);
    }
}
