//! A program computed naively in a narrow element type: what a careful but plain implementation
//! would get, and so the measure of how much error that type costs.

use crate::{Error, Job};
use mixc_interp::{Array, eval};
use mixc_ir::{DType, Ix, Kind, Name, Output, Program, Stmt, Tensor, Term};
use mixc_tensor::round_to;
use std::collections::BTreeMap;

/// The outputs of `program` with every statement's results rounded to `dtype`, each statement being
/// computed in f64 from the rounded results before it. Inside a scan nothing is rounded, so that the
/// error is, if anything, too small, unless its steps read what earlier steps have stored: then every
/// operation is rounded, because stored values are what a narrow type hands on.
pub fn eval_rounded(
    program: &Program,
    job: &Job,
    dtype: DType,
) -> Result<BTreeMap<Name, Array>, Error> {
    let mut known = job.interp_inputs(&BTreeMap::new());
    let mut tensors = program.tensors.clone();
    for stmt in &program.body {
        let results = results_of(stmt);
        let part = Program {
            body: vec![stmt.clone()],
            outputs: results.clone(),
            tensors: tensors.clone(),
            ..program.clone()
        };
        let arrays = if reads_back(stmt) {
            mixc_interp::eval_rounded(&part, &known, rounding(dtype))?
        } else {
            eval(&part, &known)?
        };
        for (name, mut array) in arrays {
            array.data.iter_mut().for_each(|x| *x = round_to(dtype, *x));
            known.tensors.insert(name, array);
        }
        tensors.retain(|t| results.iter().all(|r| r.name != t.name));
        tensors.extend(results.iter().map(|r| as_input(program, r)));
    }
    let wanted = program.outputs.iter().map(|o| &o.name);
    Ok(wanted
        .filter_map(|name| Some((name.clone(), known.tensors.remove(name)?)))
        .collect())
}

/// Whether steps of a scan read what the scan collects.
fn reads_back(stmt: &Stmt) -> bool {
    let Stmt::Scan(scan) = stmt else { return false };
    let collected: Vec<&Name> = scan
        .body
        .iter()
        .filter(|l| l.axes.contains(&scan.axis))
        .map(|l| &l.name)
        .collect();
    let mut found = false;
    for one in &scan.body {
        one.value.visit(&mut |term| {
            found |= matches!(&**term, Term::Read { tensor, .. } if collected.contains(&tensor));
        });
    }
    found
}

fn rounding(dtype: DType) -> fn(f64) -> f64 {
    match dtype {
        DType::F16 => |x| round_to(DType::F16, x),
        DType::Bf16 => |x| round_to(DType::Bf16, x),
        DType::F32 => |x| round_to(DType::F32, x),
        _ => |x| x,
    }
}

/// What later statements can read: a let, or a scan's collected lets and last states.
fn results_of(stmt: &Stmt) -> Vec<Output> {
    let output = |name: &Name, axes: &[Name]| Output {
        name: name.clone(),
        axes: axes.to_vec(),
        axis_names: axes.to_vec(),
    };
    match stmt {
        Stmt::Let(l) => vec![output(&l.name, &l.axes)],
        Stmt::Scan(scan) => {
            let collected = scan.body.iter().filter(|l| l.axes.contains(&scan.axis));
            let last = scan.carries.iter().map(|c| output(&c.last, &c.axes));
            collected
                .map(|l| output(&l.name, &l.axes))
                .chain(last)
                .collect()
        }
    }
}

/// The declaration under which the next statement reads a result.
fn as_input(program: &Program, result: &Output) -> Tensor {
    let size = |axis: &Name| program.axes.get(axis).cloned().unwrap_or(Ix::Const(0));
    Tensor {
        name: result.name.clone(),
        kind: Kind::Real,
        shape: result.axes.iter().map(size).collect(),
        axis_names: result.axis_names.clone(),
        range: (f64::NEG_INFINITY, f64::INFINITY),
        default: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BoundInputs;
    use mixc_ir::{Let, Scan, T};

    /// y[t] = x[t] + 256, z[t] = y[t] - 256.
    fn program() -> Program {
        let axes: Vec<Name> = vec!["t".into()];
        let read = |name: &str| Term::read(name, vec![Ix::axis("t")]);
        let add = |a: T, b: f64| T::new(Term::Add(vec![a, Term::constant(b)]));
        let statement = |name: &str, value: T| {
            Stmt::Let(Let {
                name: name.into(),
                axes: axes.clone(),
                value,
            })
        };
        Program {
            dims: vec!["N".into()],
            tensors: vec![Tensor {
                name: "x".into(),
                kind: Kind::Real,
                shape: vec![Ix::dim("N")],
                axis_names: vec!["N".into()],
                range: (f64::NEG_INFINITY, f64::INFINITY),
                default: None,
            }],
            axes: [("t".into(), Ix::dim("N"))].into(),
            body: vec![
                statement("y", add(read("x"), 256.0)),
                statement("z", add(read("y"), -256.0)),
            ],
            outputs: vec![Output {
                name: "z".into(),
                axes: axes.clone(),
                axis_names: axes.clone(),
            }],
            ..Program::default()
        }
    }

    #[test]
    fn every_statement_rounds() {
        let program = program();
        let x = mixc_tensor::Tensor::from_f64(DType::F64, &[2], &[1.0, 3.0]).unwrap();
        let inputs = BoundInputs {
            tensors: [("x".into(), x)].into(),
            ..BoundInputs::default()
        };
        let job = Job::new(&program, inputs, None).unwrap();
        // bf16 has 8 bits: 257 is a tie and rounds to 256, 259 rounds to 260.
        assert_eq!(
            eval_rounded(&program, &job, DType::Bf16).unwrap()["z"].data,
            [0.0, 4.0]
        );
        assert_eq!(
            eval_rounded(&program, &job, DType::F32).unwrap()["z"].data,
            [1.0, 3.0]
        );
    }

    #[test]
    fn what_a_scan_hands_on_through_memory_is_rounded() {
        // y[t] = y[t-1] + x[t]: in bf16, 256 + 1 stays 256 for ever.
        let axes: Vec<Name> = vec!["t".into()];
        let before = Term::read("y", vec![Ix::axis("t") - 1]);
        let sum = T::new(Term::Add(vec![
            before,
            Term::read("x", vec![Ix::axis("t")]),
        ]));
        let y = Let {
            name: "y".into(),
            axes: axes.clone(),
            value: sum,
        };
        let scan = Scan {
            axis: "t".into(),
            reverse: false,
            carries: vec![],
            body: vec![y],
        };
        let outputs = vec![Output {
            name: "y".into(),
            axes: axes.clone(),
            axis_names: axes,
        }];
        let program = Program {
            body: vec![Stmt::Scan(scan)],
            outputs,
            ..program()
        };
        let x = mixc_tensor::Tensor::from_f64(DType::F64, &[3], &[256.0, 1.0, 1.0]).unwrap();
        let inputs = BoundInputs {
            tensors: [("x".into(), x)].into(),
            ..BoundInputs::default()
        };
        let job = Job::new(&program, inputs, None).unwrap();
        assert_eq!(
            eval_rounded(&program, &job, DType::Bf16).unwrap()["y"].data,
            [256.0, 256.0, 256.0]
        );
        assert_eq!(
            eval_rounded(&program, &job, DType::F32).unwrap()["y"].data,
            [256.0, 257.0, 258.0]
        );
    }
}
