//! Problems made up from declarations: sizes that break tilings, and inputs of every pattern.

use crate::{BoundInputs, Error, Job};
use mixc_interp::scalar_values;
use mixc_ir::{Constraint, DType, Ix, Kind, Name, Program, Relation, Stmt, Tensor, Term};
use mixc_tensor::{Pattern, random_tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};

/// Sizes and integer scalars.
pub type Sizes = BTreeMap<Name, i64>;

/// Values for sizes that ought to be small.
const SMALL: &[i64] = &[1, 2, 3, 4, 5, 8];
/// Values around the edges of tiles and vectors.
const LONG: &[i64] = &[15, 16, 17, 24, 31, 33, 48, 63, 64, 65, 97, 100, 130];

/// A job with inputs made up for `sizes`, which must give every size. Scalars in `sets` win over
/// defaults; a scalar with neither is drawn.
///
/// # Errors
/// Sizes that break a constraint or leave a shape open.
pub fn random_job(
    program: &Program,
    sizes: &Sizes,
    sets: &BTreeMap<String, f64>,
    pattern: Pattern,
    dtype: DType,
    seed: u64,
) -> Result<Job, Error> {
    let limit = int_limit(program, sizes);
    let fill = |tensor: &Tensor, shape: &[usize], dtype| {
        random_tensor(tensor, shape, dtype, pattern, limit, seed)
    };
    filled_job(program, sizes, sets, dtype, seed, fill)
}

/// The same job with zeros in every input: its kernels and launches do not depend on the values, and large inputs
/// take long to draw.
pub(crate) fn shaped_job(
    program: &Program,
    sizes: &Sizes,
    sets: &BTreeMap<String, f64>,
    dtype: DType,
    seed: u64,
) -> Result<Job, Error> {
    let fill = |_: &Tensor, shape: &[usize], dtype| mixc_tensor::Tensor::zeros(dtype, shape);
    filled_job(program, sizes, sets, dtype, seed, fill)
}

/// The largest value of made up integers without bounds: the longest size.
pub(crate) fn int_limit(program: &Program, sizes: &Sizes) -> i64 {
    let dims = sizes.iter().filter(|(name, _)| program.dims.contains(name));
    dims.map(|(_, n)| *n).max().unwrap_or(1)
}

fn filled_job(
    program: &Program,
    sizes: &Sizes,
    sets: &BTreeMap<String, f64>,
    dtype: DType,
    seed: u64,
    fill: impl Fn(&Tensor, &[usize], DType) -> mixc_tensor::Tensor,
) -> Result<Job, Error> {
    let mut bound = BoundInputs::default();
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5ca1a5);
    for scalar in &program.scalars {
        let given = sets
            .get(&*scalar.name)
            .copied()
            .or_else(|| sizes.get(&scalar.name).map(|n| *n as f64));
        let value = match given {
            Some(value) => Some(value),
            None if scalar.default.is_some() => None,
            None => Some(draw_scalar(scalar.kind, scalar.range, &mut rng)),
        };
        bound
            .scalars
            .extend(value.map(|v| (scalar.name.clone(), v)));
    }
    let mut known = sizes.clone();
    if let Ok(values) = scalar_values(program, sizes, &bound.scalars) {
        let integers = program.scalars.iter().filter(|s| s.kind != Kind::Real);
        known.extend(integers.filter_map(|s| Some((s.name.clone(), *values.get(&s.name)? as i64))));
    }
    for tensor in &program.tensors {
        let extent = |ix: &Ix| ix.eval_sizes(&known).and_then(|n| usize::try_from(n).ok());
        let shape: Option<Vec<usize>> = tensor.shape.iter().map(extent).collect();
        let Some(shape) = shape else {
            let axes: Vec<String> = tensor.shape.iter().map(Ix::to_string).collect();
            return Err(Error::usage(format!(
                "the shape [{}] of '{}' needs more sizes",
                axes.join(", "),
                tensor.name
            )));
        };
        let dtype = match tensor.kind {
            Kind::Real => dtype,
            Kind::Int => DType::I32,
            Kind::Bool => DType::Bool,
        };
        let filled = fill(tensor, &shape, dtype);
        bound.tensors.insert(tensor.name.clone(), filled);
    }
    Job::new(program, bound, Some(dtype))
}

/// Sizes to verify with: all 1, mixtures of small and awkward ones, and each size of an output 0
/// in turn. `fixed` sizes stay as they are. Sizes that break a constraint are not proposed.
pub fn awkward_sizes(program: &Program, fixed: &Sizes, count: usize, seed: u64) -> Vec<Sizes> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let free: Vec<&Name> = program
        .dims
        .iter()
        .filter(|d| !fixed.contains_key(*d))
        .collect();
    let drawn_scalars: Vec<&Name> = program
        .scalars
        .iter()
        .filter(|s| s.kind == Kind::Int && s.default.is_none() && !fixed.contains_key(&s.name))
        .map(|s| &s.name)
        .collect();
    let with = |values: &mut dyn FnMut(&Name) -> i64| {
        let names = free.iter().chain(&drawn_scalars);
        let mut sizes = fixed.clone();
        sizes.extend(names.map(|name| ((*name).clone(), values(name))));
        sizes
    };
    let mut found: Vec<Sizes> = vec![with(&mut |_| 1)];
    for _ in 0..count * 60 {
        if found.len() > count {
            break;
        }
        let long: BTreeSet<usize> = (0..2).map(|_| pick_index(free.len(), &mut rng)).collect();
        let mut at = 0;
        let sizes = with(&mut |_| {
            let choices = if long.contains(&at) { LONG } else { SMALL };
            at += 1;
            choices[pick_index(choices.len(), &mut rng)]
        });
        if fits(program, &sizes) && work(program, &sizes) <= MAX_WORK && !found.contains(&sizes) {
            found.push(sizes);
        }
    }
    let typical = found.last().cloned().unwrap_or_default();
    for empty in free.iter().filter(|d| sizes_an_output(program, d)) {
        let mut sizes = typical.clone();
        sizes.insert((*empty).clone(), 0);
        found.push(sizes);
    }
    found.retain(|sizes| fits(program, sizes));
    found
}

/// Points that the interpreter may visit for one case.
const MAX_WORK: f64 = 2e6;

/// Whether all constraints that can be evaluated hold, and every shape has a value.
pub(crate) fn fits(program: &Program, sizes: &Sizes) -> bool {
    let holds = |c: &Constraint| match (c.left.eval_sizes(sizes), c.right.eval_sizes(sizes)) {
        (Some(a), Some(b)) => match c.relation {
            Relation::Eq => a == b,
            Relation::Le => a <= b,
            Relation::Lt => a < b,
        },
        _ => true,
    };
    program.constraints.iter().all(holds)
        && program
            .tensors
            .iter()
            .flat_map(|t| &t.shape)
            .all(|ix| ix.eval_sizes(sizes).is_none_or(|n| n >= 0))
}

/// `sizes` with the longest halved again and again, until the terms have at most `most` points together.
pub fn scaled_down(program: &Program, sizes: &Sizes, most: f64) -> Sizes {
    let mut small = sizes.clone();
    while work(program, &small) > most {
        let longest = small.iter().max_by_key(|(_, n)| **n);
        let Some((name, size)) = longest.map(|(name, n)| (name.clone(), *n)) else {
            break;
        };
        if size <= 1 {
            break;
        }
        small.insert(name, (size + 1) / 2);
    }
    small
}

/// About how many points the terms of a program have together.
pub fn work(program: &Program, sizes: &Sizes) -> f64 {
    let extent = |axis: &Name| {
        program
            .axes
            .get(axis)
            .and_then(|ix| ix.eval_sizes(sizes))
            .unwrap_or(1)
            .max(0) as f64
    };
    let points = |outer: &[Name], value: &mixc_ir::T| {
        let mut axes: BTreeSet<Name> = outer.iter().cloned().collect();
        value.visit(&mut |term| {
            axes.extend(term.bound_axes());
            if let Term::Softmax { axes: own, .. } = &**term {
                axes.extend(own.iter().cloned());
            }
        });
        axes.iter().map(extent).product::<f64>()
    };
    let stmt = |stmt: &Stmt| match stmt {
        Stmt::Let(l) => points(&l.axes, &l.value),
        Stmt::Scan(scan) => scan
            .body
            .iter()
            .map(|l| {
                let mut axes = l.axes.clone();
                axes.push(scan.axis.clone());
                points(&axes, &l.value)
            })
            .sum(),
    };
    program.body.iter().map(stmt).sum()
}

fn sizes_an_output(program: &Program, dim: &Name) -> bool {
    let mut found = false;
    for axis in program.outputs.iter().flat_map(|o| &o.axes) {
        if let Some(size) = program.axes.get(axis) {
            size.visit_leaves(&mut |leaf| found |= *leaf == Ix::Dim(dim.clone()));
        }
    }
    found
}

fn pick_index(len: usize, rng: &mut ChaCha8Rng) -> usize {
    if len == 0 {
        0
    } else {
        (rng.next_u64() % len as u64) as usize
    }
}

fn draw_scalar(kind: Kind, (lo, hi): (f64, f64), rng: &mut ChaCha8Rng) -> f64 {
    let unit = (rng.next_u64() >> 11) as f64 * (-53f64).exp2();
    let value = match kind {
        Kind::Real => 0.25 + unit,
        Kind::Int => (1.0 + unit * 16.0).floor(),
        Kind::Bool => f64::from(unit < 0.5),
    };
    value.clamp(lo, hi)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mixc_ir::Output;

    /// o[t] = x[t] with N % G == 0.
    fn program() -> Program {
        let axes: Vec<Name> = vec!["t".into()];
        Program {
            dims: vec!["N".into(), "G".into()],
            constraints: vec![Constraint {
                left: Ix::dim("N") % Ix::dim("G"),
                relation: Relation::Eq,
                right: Ix::Const(0),
            }],
            tensors: vec![Tensor {
                name: "x".into(),
                kind: Kind::Real,
                shape: vec![Ix::dim("N"), Ix::dim("G")],
                axis_names: vec!["N".into(), "G".into()],
                range: (0.0, 1.0),
                default: None,
            }],
            axes: [("t".into(), Ix::dim("N"))].into(),
            outputs: vec![Output {
                name: "o".into(),
                axes: axes.clone(),
                axis_names: axes,
            }],
            ..Program::default()
        }
    }

    #[test]
    fn sizes_satisfy_constraints_and_include_1_and_0() {
        let program = program();
        let all = awkward_sizes(&program, &Sizes::new(), 10, 3);
        assert!(all.len() >= 8);
        assert!(all.iter().all(|s| s["N"] % s["G"] == 0));
        assert!(all.contains(&[("N".into(), 1), ("G".into(), 1)].into()));
        assert!(all.iter().any(|s| s["N"] == 0) && all.iter().all(|s| s["G"] != 0));
        assert!(all.iter().any(|s| s["N"] > 16));
        assert_eq!(all, awkward_sizes(&program, &Sizes::new(), 10, 3));
        let fixed = awkward_sizes(&program, &[("G".into(), 7)].into(), 4, 3);
        assert!(fixed.iter().all(|s| s["G"] == 7 && s["N"] % 7 == 0));
    }

    #[test]
    fn a_job_has_inputs_of_the_declared_shape_and_range() {
        let sizes = [("N".into(), 6), ("G".into(), 3)].into();
        let job = random_job(
            &program(),
            &sizes,
            &BTreeMap::new(),
            Pattern::Edges,
            DType::Bf16,
            1,
        )
        .unwrap();
        assert_eq!(job.tensors["x"].shape(), [6, 3]);
        assert!(
            job.tensors["x"]
                .to_f64()
                .iter()
                .all(|x| (0.0..=1.0).contains(x))
        );
        let bad = [("N".into(), 5), ("G".into(), 3)].into();
        assert!(
            random_job(
                &program(),
                &bad,
                &BTreeMap::new(),
                Pattern::Normal,
                DType::F32,
                1
            )
            .is_err()
        );
    }
}
