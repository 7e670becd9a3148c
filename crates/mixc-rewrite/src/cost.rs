//! The cost model: work of a form for given sizes, and the time that a device needs for it.

use mixc_ir::{Func, Ix, Name};
use std::collections::BTreeMap;

/// Rates of a device. Presets are round figures for ordering forms; measuring decides.
#[derive(Clone, Debug, PartialEq)]
pub struct CostModel {
    /// Matrix-unit rate, flop/s.
    pub matmul_flops: f64,
    /// Other arithmetic, flop/s.
    pub vector_flops: f64,
    /// exp, log, tanh, ...: evaluations/s.
    pub special_rate: f64,
    /// Memory bandwidth, byte/s.
    pub bandwidth: f64,
    /// Time of one dependent step of a scan, s.
    pub step_latency: f64,
    /// Time to start one kernel, s.
    pub launch: f64,
    /// Independent units; work with less parallelism than this leaves some idle.
    pub parallel_units: f64,
}

impl CostModel {
    /// One core with 128-bit vectors: what generated kernels reach on a Zen core at 4 GHz, where matrix
    /// products and fused elementwise passes both run at about three quarters of the peak.
    pub fn cpu() -> CostModel {
        CostModel {
            matmul_flops: 5e10,
            vector_flops: 5e10,
            special_rate: 2.5e9,
            bandwidth: 1.5e10,
            step_latency: 5e-9,
            launch: 5e-6,
            parallel_units: 1.0,
        }
    }

    /// A data-centre GPU (H100 SXM, published peaks halved).
    pub fn gpu() -> CostModel {
        CostModel {
            matmul_flops: 4.5e14,
            vector_flops: 3e13,
            special_rate: 4e12,
            bandwidth: 2.5e12,
            step_latency: 4e-7,
            launch: 4e-6,
            parallel_units: 132.0,
        }
    }
}

impl Default for CostModel {
    fn default() -> CostModel {
        CostModel::cpu()
    }
}

/// Work of a term or a form.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    pub matmul_flops: f64,
    pub vector_flops: f64,
    pub special_ops: f64,
    pub bytes: f64,
    /// Longest chain of dependent steps.
    pub depth: f64,
    pub launches: f64,
    /// Independent results; 0 where it is not known.
    pub parallel: f64,
    /// Predicted time, s.
    pub seconds: f64,
}

impl Cost {
    pub fn add(&mut self, other: &Cost) {
        self.matmul_flops += other.matmul_flops;
        self.vector_flops += other.vector_flops;
        self.special_ops += other.special_ops;
        self.bytes += other.bytes;
        self.depth += other.depth;
        self.launches += other.launches;
        self.parallel = self.parallel.max(other.parallel);
        self.seconds += other.seconds;
    }

    /// With the predicted time filled in.
    pub fn timed(mut self, device: &CostModel) -> Cost {
        let compute = self.matmul_flops / device.matmul_flops
            + self.vector_flops / device.vector_flops
            + self.special_ops / device.special_rate;
        let idle = if self.parallel > 0.0 {
            (device.parallel_units / self.parallel).max(1.0)
        } else {
            1.0
        };
        self.seconds = compute * idle
            + self.bytes / device.bandwidth
            + self.depth * device.step_latency
            + self.launches * device.launch;
        self
    }
}

/// Operators by what they cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Leaf,
    Elementwise,
    /// On the special-function unit.
    Special,
    Add,
    Sum,
    Softmax,
    Online,
    Reduce,
    /// A mask without a decay.
    Predicate,
    Mask,
    Scan,
    Last,
}

/// Work of one node alone.
pub fn work<A: Clone>(kind: Kind, shape: &Shape<A>) -> Cost {
    let points = (shape.size)(&shape.free);
    let vector = |flops: f64| Cost {
        vector_flops: flops,
        ..Cost::default()
    };
    match kind {
        Kind::Leaf => Cost::default(),
        Kind::Elementwise => vector(points),
        Kind::Special => Cost {
            special_ops: points,
            ..Cost::default()
        },
        Kind::Add => vector(points * (shape.operands.len().max(2) - 1) as f64),
        Kind::Sum => shape.sum_of_products(),
        Kind::Softmax => Cost {
            special_ops: 2.0 * shape.points(),
            vector_flops: 4.0 * shape.points(),
            ..Cost::default()
        },
        Kind::Online => {
            // The weights do not depend on the value's own axes, the accumulation does.
            let scores = (shape.size)(&(shape.union)(&shape.operands[0], &shape.bound));
            let accumulated = shape.points();
            let mut cost = Cost {
                special_ops: scores,
                vector_flops: 4.0 * scores,
                ..Cost::default()
            };
            if accumulated > scores {
                cost.matmul_flops = 2.0 * accumulated;
            } else {
                cost.vector_flops += scores;
            }
            cost
        }
        Kind::Reduce => vector(shape.points()),
        Kind::Predicate => vector(0.1 * points),
        Kind::Mask => vector(2.0 * points),
        Kind::Scan => {
            // The summed and the produced axis are equally long.
            Cost {
                vector_flops: 2.0 * points,
                depth: (shape.size)(&shape.bound),
                ..Cost::default()
            }
        }
        Kind::Last => Cost {
            vector_flops: 2.0 * shape.points(),
            depth: (shape.size)(&shape.bound),
            ..Cost::default()
        },
    }
}

/// What counts for the cost of one node, with axis sets of any representation.
pub struct Shape<'a, A> {
    /// Axes of the value.
    pub free: A,
    /// Axes that the node binds.
    pub bound: A,
    /// Axes of each operand.
    pub operands: &'a [A],
    pub size: &'a dyn Fn(&A) -> f64,
    pub union: &'a dyn Fn(&A, &A) -> A,
    pub meets: &'a dyn Fn(&A, &A) -> bool,
    pub minus: &'a dyn Fn(&A, &A) -> A,
}

impl<A: Clone> Shape<'_, A> {
    pub fn points(&self) -> f64 {
        (self.size)(&(self.union)(&self.free, &self.bound))
    }

    /// Work of a sum of products: matrix-unit work if the factors that touch the summed axes form
    /// two groups that each have an axis of their own, besides common batch axes.
    pub fn sum_of_products(&self) -> Cost {
        let touching: Vec<&A> = self
            .operands
            .iter()
            .filter(|o| (self.meets)(o, &self.bound))
            .collect();
        // Factors that could be outside the sum are paid for inside it.
        let hoisted = (self.operands.len() - touching.len()) as f64 * self.points();
        let as_vectors = self.points() * touching.len().max(1) as f64;
        let mut best = Cost {
            vector_flops: as_vectors + hoisted,
            ..Cost::default()
        };
        let mut least = as_vectors;
        if !(2..=8).contains(&touching.len()) {
            return best;
        }
        for choice in 1..(1u32 << (touching.len() - 1)) {
            let group = |side: bool| {
                let members = touching
                    .iter()
                    .enumerate()
                    .filter(|(n, _)| (choice >> n & 1 == 1) == side);
                let members: Vec<&A> = members.map(|(_, a)| *a).collect();
                let axes = members[1..]
                    .iter()
                    .fold((*members[0]).clone(), |all, a| (self.union)(&all, a));
                (axes, members.len() as f64 - 1.0)
            };
            let ((left, products), (right, others)) = (group(true), group(false));
            let own = |a: &A, b: &A| (self.size)(&(self.minus)(&(self.minus)(a, b), &self.bound));
            if own(&left, &right) > 1.0 && own(&right, &left) > 1.0 {
                let elementwise = products * (self.size)(&left) + others * (self.size)(&right);
                // A matrix product counts as a fraction of vector work in this comparison only.
                let equivalent = elementwise + self.points() / 8.0;
                if equivalent < least {
                    least = equivalent;
                    best = Cost {
                        matmul_flops: 2.0 * self.points(),
                        vector_flops: elementwise + hoisted,
                        ..Cost::default()
                    };
                }
            }
        }
        best
    }
}

/// Sizes used where nothing is known about a dimension.
const UNKNOWN_FEATURE: i64 = 64;
const UNKNOWN_TIME: i64 = 2048;
/// Usual chunk, sub-chunk and key-part lengths.
const SYMBOLS: [(&str, i64); 3] = [("C", 64), ("C2", 16), ("S", 512)];

/// The value of a size expression, with defaults for what `sizes` does not know.
pub fn size_of(ix: &Ix, is_time: bool, sizes: &BTreeMap<Name, i64>) -> f64 {
    let unknown = if is_time {
        UNKNOWN_TIME
    } else {
        UNKNOWN_FEATURE
    };
    let value = ix.eval(&mut |leaf| match leaf {
        Ix::Dim(name) => {
            let usual = SYMBOLS
                .iter()
                .find(|(s, _)| *s == &**name)
                .map_or(unknown, |(_, v)| *v);
            Some(sizes.get(name).copied().unwrap_or(usual))
        }
        _ => None,
    });
    value.unwrap_or(unknown).max(1) as f64
}

/// Whether a function runs on the special-function unit (or takes as long).
pub fn is_special(f: Func) -> bool {
    matches!(
        f,
        Func::Exp
            | Func::Exp2
            | Func::Expm1
            | Func::Log
            | Func::Log2
            | Func::Log1p
            | Func::Sin
            | Func::Cos
            | Func::Tanh
            | Func::Sigmoid
            | Func::LogSigmoid
            | Func::Softplus
            | Func::Silu
            | Func::Erf
            | Func::Gelu
            | Func::Elu
            | Func::Pow
            | Func::Sqrt
            | Func::Rsqrt
            | Func::Recip
            | Func::RecipOrZero
            | Func::Div
    )
}
