//! Builders for core programs, random inputs, and comparison of programs.
#![allow(dead_code)]

use mixc_interp::{Array, Inputs, eval};
use mixc_ir::{
    Carry, Func, Ix, Kind, Let, Name, Output, Program, ReduceOp, Scalar, Scan, Stmt, T, Tensor,
    Term,
};
use std::collections::BTreeMap;
use std::sync::Arc;

pub fn names(list: &str) -> Vec<Name> {
    list.split_whitespace().map(Name::from).collect()
}

/// `read("q", "i d")`: q[i, d].
pub fn read(tensor: &str, index: &str) -> T {
    Term::read(tensor, index.split_whitespace().map(Ix::axis).collect())
}

pub fn c(value: f64) -> T {
    Term::constant(value)
}

pub fn ix(index: Ix) -> T {
    Arc::new(Term::Index(index))
}

pub fn at(axis: &str) -> T {
    ix(Ix::axis(axis))
}

pub fn sum<const N: usize>(axes: &str, factors: [T; N]) -> T {
    Term::sum(names(axes), factors.to_vec())
}

pub fn mul<const N: usize>(factors: [T; N]) -> T {
    Term::product(factors.to_vec())
}

pub fn plus<const N: usize>(terms: [T; N]) -> T {
    Arc::new(Term::Add(terms.to_vec()))
}

pub fn f1(f: Func, x: T) -> T {
    Term::map(f, vec![x])
}

pub fn f2(f: Func, x: T, y: T) -> T {
    Term::map(f, vec![x, y])
}

pub fn select(cond: T, x: T, y: T) -> T {
    Term::map(Func::Select, vec![cond, x, y])
}

pub fn masked(cond: T, x: T) -> T {
    select(cond, x, c(f64::NEG_INFINITY))
}

pub fn exp(x: T) -> T {
    f1(Func::Exp, x)
}

/// [j <= i]
pub fn causal(j: &str, i: &str) -> T {
    f2(Func::Le, at(j), at(i))
}

pub fn softmax(axes: &str, score: T) -> T {
    Arc::new(Term::Softmax {
        axes: names(axes),
        score,
        mask: Term::one(),
    })
}

pub fn reduce(op: ReduceOp, axes: &str, body: T) -> T {
    Arc::new(Term::Reduce {
        op,
        axes: names(axes),
        mask: Term::one(),
        body,
    })
}

pub fn cumsum(axis: &str, body: T) -> T {
    Arc::new(Term::CumSum {
        axis: axis.into(),
        body,
    })
}

/// Builds programs. Axis sizes are declared as `axes("t i j: T", ...)`.
pub struct Mixer(Program);

impl Mixer {
    pub fn new(dims: &str) -> Mixer {
        Mixer(Program {
            name: "test".into(),
            dims: names(dims),
            ..Program::default()
        })
    }

    pub fn axes(mut self, axes: &str, size: &str) -> Mixer {
        for a in names(axes) {
            self.0.axes.insert(a, Ix::dim(size));
        }
        self
    }

    pub fn tensor(self, name: &str, shape: &str) -> Mixer {
        self.ranged(name, shape, (f64::NEG_INFINITY, f64::INFINITY))
    }

    pub fn ranged(mut self, name: &str, shape: &str, range: (f64, f64)) -> Mixer {
        self.0.tensors.push(Tensor {
            name: name.into(),
            kind: Kind::Real,
            shape: names(shape).iter().map(|n| Ix::Dim(n.clone())).collect(),
            axis_names: names(shape),
            range,
            default: None,
        });
        self
    }

    pub fn scalar(mut self, name: &str, range: (f64, f64)) -> Mixer {
        self.0.scalars.push(Scalar {
            name: name.into(),
            kind: Kind::Real,
            default: None,
            range,
        });
        self
    }

    pub fn let_(mut self, name: &str, axes: &str, value: T) -> Mixer {
        self.0.body.push(Stmt::Let(Let {
            name: name.into(),
            axes: names(axes),
            value,
        }));
        self
    }

    /// `carries`: name, axes, initial value, next let. The last state is called `<name>_last`.
    pub fn scan(
        mut self,
        axis: &str,
        reverse: bool,
        carries: &[(&str, &str, T, &str)],
        body: &[(&str, &str, T)],
    ) -> Mixer {
        let carries = carries.iter().map(|(name, axes, init, next)| Carry {
            name: (*name).into(),
            axes: names(axes),
            init: init.clone(),
            next: (*next).into(),
            last: format!("{name}_last").into(),
        });
        let body = body.iter().map(|(name, axes, value)| Let {
            name: (*name).into(),
            axes: names(axes),
            value: value.clone(),
        });
        self.0.body.push(Stmt::Scan(Scan {
            axis: axis.into(),
            reverse,
            carries: carries.collect(),
            body: body.collect(),
        }));
        self
    }

    pub fn out(mut self, name: &str, axes: &str) -> Mixer {
        self.0.outputs.push(Output {
            name: name.into(),
            axes: names(axes),
            axis_names: names(axes),
        });
        self
    }

    pub fn done(self) -> Program {
        self.0
    }
}

/// Small deterministic generator (Marsaglia's xorshift64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn below(&mut self, n: usize) -> usize {
        ((self.unit() * n as f64) as usize).min(n - 1)
    }

    /// A value in a declared range; unbounded ends lie `scale` away.
    pub fn within(&mut self, range: (f64, f64), scale: f64) -> f64 {
        let low = if range.0.is_finite() {
            range.0
        } else {
            range.1.min(scale) - 2.0 * scale
        };
        let high = if range.1.is_finite() {
            range.1
        } else {
            low + 2.0 * scale
        };
        low + (high - low) * self.unit()
    }
}

pub fn inputs(program: &Program, sizes: &[(&str, i64)], scale: f64, seed: u64) -> Inputs {
    let mut random = Random::new(seed);
    let sizes: BTreeMap<Name, i64> = sizes.iter().map(|(n, v)| ((*n).into(), *v)).collect();
    let mut inputs = Inputs::default();
    for tensor in &program.tensors {
        let shape: Vec<usize> = tensor
            .shape
            .iter()
            .map(|ix| ix.eval_sizes(&sizes).expect("size") as usize)
            .collect();
        let count = shape.iter().product();
        let data = (0..count)
            .map(|_| random.within(tensor.range, scale))
            .collect();
        inputs
            .tensors
            .insert(tensor.name.clone(), Array { shape, data });
    }
    for scalar in &program.scalars {
        inputs
            .scalars
            .insert(scalar.name.clone(), random.within(scalar.range, 1.0));
    }
    inputs.sizes = sizes;
    inputs
}

/// Largest difference between the outputs of two programs, relative to the size of the output.
pub fn difference(a: &Program, b: &Program, inputs: &Inputs) -> f64 {
    let want = eval(a, inputs).unwrap_or_else(|e| panic!("definition: {e}"));
    let got = eval(b, inputs).unwrap_or_else(|e| panic!("form: {e}"));
    let mut worst: f64 = 0.0;
    for (name, want) in &want {
        let got = &got[name];
        assert_eq!(want.shape, got.shape, "{name}");
        let size = want.data.iter().fold(1e-300, |m: f64, x| {
            m.max(if x.is_finite() { x.abs() } else { 0.0 })
        });
        for (x, y) in want.data.iter().zip(&got.data) {
            // Where the definition overflows, a form need not.
            let same = x.is_nan() || x == y || (x - y).abs() <= f64::EPSILON * size;
            worst = worst.max(if same {
                0.0
            } else if (x - y).is_finite() {
                (x - y).abs() / size
            } else {
                f64::INFINITY
            });
        }
    }
    worst
}
