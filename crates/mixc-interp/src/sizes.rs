//! Values of sizes and scalar parameters.

use crate::EvalError;
use crate::run::{Env, eval_term};
use mixc_ir::{Ix, Kind, Name, Program, Relation, Scalar};
use std::collections::BTreeMap;

type Sizes = BTreeMap<Name, i64>;

/// Solves the program's size symbols from the shapes of the tensors given, adds the integer scalars
/// (given, or by default), and checks ranks, shapes and constraints. `shapes` may leave out tensors
/// that have a default.
///
/// # Errors
/// A tensor that is missing, unknown, of the wrong rank or in conflict with the others; a size that
/// does not follow; an integer scalar that is none or out of its range; a constraint that fails.
pub fn bind_sizes(
    program: &Program,
    shapes: &BTreeMap<Name, Vec<usize>>,
    scalars: &BTreeMap<Name, f64>,
) -> Result<Sizes, EvalError> {
    check_names(program, shapes, scalars)?;
    let mut sizes = Sizes::new();
    for scalar in &program.scalars {
        if let (Some(value), true) = (scalars.get(&scalar.name), is_integer(scalar)) {
            sizes.insert(scalar.name.clone(), integer(scalar, *value)?);
        }
    }
    // A shape may need a scalar whose default needs another size: repeat until nothing new follows.
    loop {
        let before = sizes.len();
        solve_shapes(program, shapes, &mut sizes)?;
        solve_equalities(program, &mut sizes);
        default_integers(program, scalars, &mut sizes)?;
        if sizes.len() == before {
            break;
        }
    }
    if let Some(size) = program.dims.iter().find(|d| !sizes.contains_key(*d)) {
        return Err(EvalError::UnknownSize { size: size.clone() });
    }
    check_shapes(program, shapes, &sizes)?;
    check_constraints(program, &sizes)?;
    Ok(sizes)
}

/// The value of every scalar: given, or its default over sizes and earlier scalars.
///
/// # Errors
/// A scalar that is missing or unknown, not of its kind, or outside its declared range.
pub fn scalar_values(
    program: &Program,
    sizes: &Sizes,
    given: &BTreeMap<Name, f64>,
) -> Result<BTreeMap<Name, f64>, EvalError> {
    let mut env = Env {
        sizes: sizes.clone(),
        ..Env::default()
    };
    for scalar in &program.scalars {
        let value = match (given.get(&scalar.name), &scalar.default) {
            (Some(value), _) => *value,
            (None, Some(default)) => eval_term(default, &[], &env)?.data[0],
            (None, None) => {
                return Err(EvalError::MissingScalar {
                    scalar: scalar.name.clone(),
                });
            }
        };
        check_scalar(scalar, value)?;
        env.scalars.insert(scalar.name.clone(), value);
    }
    Ok(env.scalars)
}

fn check_names(
    program: &Program,
    shapes: &BTreeMap<Name, Vec<usize>>,
    scalars: &BTreeMap<Name, f64>,
) -> Result<(), EvalError> {
    if let Some(name) = shapes.keys().find(|n| program.tensor(n).is_none()) {
        let expected = list(program.tensors.iter().map(|t| &t.name));
        return Err(EvalError::UnknownTensor {
            name: name.clone(),
            expected,
        });
    }
    if let Some(name) = scalars.keys().find(|n| program.scalar(n).is_none()) {
        let expected = list(program.scalars.iter().map(|s| &s.name));
        return Err(EvalError::UnknownScalar {
            name: name.clone(),
            expected,
        });
    }
    for tensor in &program.tensors {
        match shapes.get(&tensor.name) {
            None if tensor.default.is_none() => {
                let expected = tensor
                    .shape
                    .iter()
                    .map(Ix::to_string)
                    .collect::<Vec<_>>()
                    .join(", ");
                return Err(EvalError::MissingTensor {
                    tensor: tensor.name.clone(),
                    expected,
                });
            }
            Some(shape) if shape.len() != tensor.shape.len() => {
                return Err(EvalError::Rank {
                    tensor: tensor.name.clone(),
                    axes: tensor.axis_names.join(", "),
                    expected: tensor.shape.len(),
                    found: shape.len(),
                });
            }
            _ => {}
        }
    }
    Ok(())
}

fn list<'a>(names: impl Iterator<Item = &'a Name>) -> String {
    let names: Vec<String> = names.map(|n| format!("`{n}`")).collect();
    if names.is_empty() {
        "none".to_string()
    } else {
        names.join(", ")
    }
}

/// Adds every size that one given extent determines.
fn solve_shapes(
    program: &Program,
    shapes: &BTreeMap<Name, Vec<usize>>,
    sizes: &mut Sizes,
) -> Result<(), EvalError> {
    for tensor in &program.tensors {
        let Some(shape) = shapes.get(&tensor.name) else {
            continue;
        };
        for (axis, (expression, found)) in tensor.shape.iter().zip(shape).enumerate() {
            let target = i64::try_from(*found).ok();
            match target.and_then(|target| solve(expression, target, sizes)) {
                Some((size, value)) if value >= 0 && program.dims.contains(&size) => {
                    sizes.insert(size, value);
                }
                Some((size, value)) if value < 0 => {
                    let expected = format!("{expression} with {size} of 0 or more");
                    return Err(shape_error(tensor, axis, expected, *found));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Adds every size that an equation among the constraints determines.
fn solve_equalities(program: &Program, sizes: &mut Sizes) {
    for constraint in program
        .constraints
        .iter()
        .filter(|c| c.relation == Relation::Eq)
    {
        for (known, other) in [
            (&constraint.left, &constraint.right),
            (&constraint.right, &constraint.left),
        ] {
            if let Some(target) = known.eval_sizes(sizes)
                && let Some((size, value)) = solve(other, target, sizes)
                && program.dims.contains(&size)
            {
                sizes.insert(size, value);
            }
        }
    }
}

/// The one unknown size of `expression` such that it equals `target`, if arithmetic can be undone.
fn solve(expression: &Ix, target: i64, sizes: &Sizes) -> Option<(Name, i64)> {
    if let Ix::Dim(name) = expression {
        return (!sizes.contains_key(name)).then(|| (name.clone(), target));
    }
    let (a, b) = expression.operands()?;
    let (known_a, known_b) = (a.eval_sizes(sizes), b.eval_sizes(sizes));
    match (expression, known_a, known_b) {
        (Ix::Add(..), Some(k), None) => solve(b, target.checked_sub(k)?, sizes),
        (Ix::Add(..), None, Some(k)) => solve(a, target.checked_sub(k)?, sizes),
        (Ix::Sub(..), Some(k), None) => solve(b, k.checked_sub(target)?, sizes),
        (Ix::Sub(..), None, Some(k)) => solve(a, target.checked_add(k)?, sizes),
        (Ix::Mul(..), Some(k), None) if k != 0 && target % k == 0 => solve(b, target / k, sizes),
        (Ix::Mul(..), None, Some(k)) if k != 0 && target % k == 0 => solve(a, target / k, sizes),
        _ => None,
    }
}

fn default_integers(
    program: &Program,
    given: &BTreeMap<Name, f64>,
    sizes: &mut Sizes,
) -> Result<(), EvalError> {
    let mut env = Env {
        sizes: sizes.clone(),
        scalars: given.clone(),
        ..Env::default()
    };
    for scalar in &program.scalars {
        let Some(default) = &scalar.default else {
            continue;
        };
        if given.contains_key(&scalar.name) || sizes.contains_key(&scalar.name) {
            continue;
        }
        // A default that needs a size not known yet is tried again in the next round.
        let Ok(value) = eval_term(default, &[], &env) else {
            continue;
        };
        let value = value.data[0];
        env.scalars.insert(scalar.name.clone(), value);
        if is_integer(scalar) {
            let value = integer(scalar, value)?;
            env.sizes.insert(scalar.name.clone(), value);
            sizes.insert(scalar.name.clone(), value);
        }
    }
    Ok(())
}

fn check_shapes(
    program: &Program,
    shapes: &BTreeMap<Name, Vec<usize>>,
    sizes: &Sizes,
) -> Result<(), EvalError> {
    for tensor in &program.tensors {
        let Some(shape) = shapes.get(&tensor.name) else {
            continue;
        };
        for (axis, (expression, found)) in tensor.shape.iter().zip(shape).enumerate() {
            let value = expression.eval_sizes(sizes);
            if value != i64::try_from(*found).ok() {
                let expected = match (expression, value) {
                    (Ix::Dim(_), Some(value)) => value.to_string(),
                    (_, Some(value)) => format!("{value} ({expression})"),
                    (_, None) => expression.to_string(),
                };
                return Err(shape_error(tensor, axis, expected, *found));
            }
        }
    }
    Ok(())
}

fn shape_error(tensor: &mixc_ir::Tensor, axis: usize, expected: String, found: usize) -> EvalError {
    let name = tensor
        .axis_names
        .get(axis)
        .cloned()
        .unwrap_or_else(|| "?".into());
    EvalError::Shape {
        tensor: tensor.name.clone(),
        axis,
        name,
        expected,
        found,
    }
}

fn check_constraints(program: &Program, sizes: &Sizes) -> Result<(), EvalError> {
    for constraint in &program.constraints {
        let (left, right) = (
            constraint.left.eval_sizes(sizes),
            constraint.right.eval_sizes(sizes),
        );
        let symbol = match constraint.relation {
            Relation::Eq => "==",
            Relation::Le => "<=",
            Relation::Lt => "<",
        };
        let holds = match (left, right, constraint.relation) {
            (Some(a), Some(b), Relation::Eq) => a == b,
            (Some(a), Some(b), Relation::Le) => a <= b,
            (Some(a), Some(b), Relation::Lt) => a < b,
            _ => false,
        };
        if !holds {
            let show = |v: Option<i64>| v.map_or("no value".to_string(), |v| v.to_string());
            return Err(EvalError::Constraint {
                constraint: format!("{} {symbol} {}", constraint.left, constraint.right),
                found: format!("{} and {}", show(left), show(right)),
            });
        }
    }
    Ok(())
}

fn is_integer(scalar: &Scalar) -> bool {
    matches!(scalar.kind, Kind::Int | Kind::Bool)
}

fn integer(scalar: &Scalar, value: f64) -> Result<i64, EvalError> {
    check_scalar(scalar, value)?;
    Ok(value as i64)
}

fn check_scalar(scalar: &Scalar, value: f64) -> Result<(), EvalError> {
    let error = |expected: String| EvalError::ScalarValue {
        scalar: scalar.name.clone(),
        expected,
        found: value,
    };
    let (low, high) = scalar.range;
    if value < low || value > high {
        return Err(error(format!("a value in [{low}, {high}]")));
    }
    match scalar.kind {
        Kind::Bool if value != 0.0 && value != 1.0 => Err(error("0 or 1".to_string())),
        Kind::Int if value.fract() != 0.0 || value.abs() > 2f64.powi(53) => {
            Err(error("an integer".to_string()))
        }
        _ => Ok(()),
    }
}
