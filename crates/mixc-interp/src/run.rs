//! Running a program: lets in order, scans step by step.

use crate::array::{strides, volume};
use crate::compile::{Compiled, Names, SplitSizes, compile};
use crate::node::Memory;
use crate::sizes::{bind_sizes, scalar_values};
use crate::{Array, EvalError, Inputs};
use mixc_ir::{Ix, Let, Name, Output, Program, Scan, Split, Stmt, T};
use std::collections::{BTreeMap, BTreeSet};

/// What the names in a term mean.
#[derive(Clone, Debug, Default)]
pub struct Env {
    /// Size of every axis that the term mentions, bound ones included.
    pub axes: BTreeMap<Name, i64>,
    pub splits: Vec<Split>,
    pub tensors: BTreeMap<Name, Array>,
    pub scalars: BTreeMap<Name, f64>,
    /// Values of size symbols.
    pub sizes: BTreeMap<Name, i64>,
}

/// The outputs of a program.
///
/// # Errors
/// Inputs that do not fit the program (see [`bind_sizes`] and [`scalar_values`]), or a program
/// that breaks an invariant of the core IR.
pub fn eval(program: &Program, inputs: &Inputs) -> Result<BTreeMap<Name, Array>, EvalError> {
    eval_rounded(program, inputs, |x| x)
}

/// As [`eval`], with the result of every operation rounded: what the plainest program in a narrower
/// type would compute.
pub fn eval_rounded(
    program: &Program,
    inputs: &Inputs,
    round: fn(f64) -> f64,
) -> Result<BTreeMap<Name, Array>, EvalError> {
    let shapes = inputs
        .tensors
        .iter()
        .map(|(name, array)| (name.clone(), array.shape.clone()))
        .collect();
    let mut sizes = bind_sizes(program, &shapes, &inputs.scalars)?;
    for (name, value) in &inputs.sizes {
        sizes.entry(name.clone()).or_insert(*value);
    }
    let scalars = scalar_values(program, &sizes, &inputs.scalars)?;
    let axes = axis_sizes(program, &sizes)?;
    let mut machine = Machine::new(&axes, &program.splits, scalars, sizes)?;
    machine.round = round;
    for tensor in &program.tensors {
        let array = match (inputs.tensors.get(&tensor.name), tensor.default) {
            (Some(array), _) => array.clone(),
            (None, Some(value)) => {
                let shape = machine.shape_of(&tensor.name, &tensor.shape)?;
                Array::filled(shape, value)?
            }
            (None, None) => continue, // reported by bind_sizes
        };
        machine.define(&tensor.name, array)?;
    }
    for stmt in &program.body {
        match stmt {
            Stmt::Let(one) => machine.run_let(one)?,
            Stmt::Scan(scan) => machine.run_scan(scan)?,
        }
    }
    program
        .outputs
        .iter()
        .map(|output| {
            machine
                .output(output)
                .map(|array| (output.name.clone(), array))
        })
        .collect()
}

/// A term as a tensor over `axes`, which must contain its free axes.
///
/// # Errors
/// A name that `env` lacks, or a term that breaks an invariant of the core IR.
pub fn eval_term(term: &T, axes: &[Name], env: &Env) -> Result<Array, EvalError> {
    let mut machine = Machine::new(
        &env.axes,
        &env.splits,
        env.scalars.clone(),
        env.sizes.clone(),
    )?;
    for (name, array) in &env.tensors {
        machine.define(name, array.clone())?;
    }
    let compiled = compile(&machine.names, &"term".into(), axes, &BTreeSet::new(), term)?;
    machine.array(&compiled, axes, &"term".into())
}

fn axis_sizes(
    program: &Program,
    sizes: &BTreeMap<Name, i64>,
) -> Result<BTreeMap<Name, i64>, EvalError> {
    let value = |(name, size): (&Name, &Ix)| match size.eval_sizes(sizes) {
        Some(value) if value >= 0 => Ok((name.clone(), value)),
        _ => Err(EvalError::AxisSize {
            axis: name.clone(),
            size: size.to_string(),
        }),
    };
    program.axes.iter().map(value).collect()
}

fn malformed(place: &Name, message: impl Into<String>) -> EvalError {
    EvalError::Malformed {
        place: place.clone(),
        message: message.into(),
    }
}

/// Values of everything defined so far, and the current position on each axis.
struct Machine {
    names: Names,
    tensors: Vec<Vec<f64>>,
    slots: Vec<i64>,
    /// Axes of everything that an output may name.
    results: BTreeMap<Name, Vec<Name>>,
    round: fn(f64) -> f64,
}

impl Machine {
    fn new(
        axes: &BTreeMap<Name, i64>,
        splits: &[Split],
        scalars: BTreeMap<Name, f64>,
        sizes: BTreeMap<Name, i64>,
    ) -> Result<Machine, EvalError> {
        let mut names = Names {
            scalars,
            sizes,
            ..Names::default()
        };
        for (slot, (name, size)) in axes.iter().enumerate() {
            let Ok(extent) = usize::try_from(*size) else {
                return Err(EvalError::AxisSize {
                    axis: name.clone(),
                    size: size.to_string(),
                });
            };
            volume(&[extent])?;
            names.axes.insert(name.clone(), (slot, extent));
        }
        for split in splits {
            let size = split
                .size
                .eval_sizes(&names.sizes)
                .filter(|size| (1..1 << 32).contains(size));
            let Some(size) = size else {
                return Err(malformed(
                    &split.axis,
                    format!("it is split by `{}`, which is not a size", split.size),
                ));
            };
            let Some((_, end)) = names.axes.get(&split.axis) else {
                return Err(malformed(&split.axis, "an axis without a size is split"));
            };
            let Split {
                axis, outer, inner, ..
            } = split.clone();
            names.splits.push(SplitSizes {
                axis,
                outer,
                inner,
                size,
                end: *end as i64,
            });
        }
        Ok(Machine {
            names,
            tensors: vec![],
            slots: vec![0; axes.len()],
            results: BTreeMap::new(),
            round: |x| x,
        })
    }

    fn define(&mut self, name: &Name, array: Array) -> Result<(), EvalError> {
        let expected = volume(&array.shape)?;
        if expected != array.data.len() {
            return Err(EvalError::Length {
                tensor: name.clone(),
                expected,
                found: array.data.len(),
            });
        }
        self.names
            .tensors
            .insert(name.clone(), (self.tensors.len(), array.shape));
        self.tensors.push(array.data);
        Ok(())
    }

    fn shape_of(&self, name: &Name, shape: &[Ix]) -> Result<Vec<usize>, EvalError> {
        let extent = |ix: &Ix| {
            ix.eval_sizes(&self.names.sizes)
                .and_then(|n| usize::try_from(n).ok())
        };
        let shape: Option<Vec<usize>> = shape.iter().map(extent).collect();
        shape.ok_or_else(|| malformed(name, "its shape has no value with these sizes"))
    }

    fn axes_shape(&self, place: &Name, axes: &[Name]) -> Result<Vec<usize>, EvalError> {
        let size = |axis: &Name| match self.names.axes.get(axis) {
            Some((_, size)) => Ok(*size),
            None => Err(malformed(place, format!("axis `{axis}` has no size"))),
        };
        axes.iter().map(size).collect()
    }

    fn zeros(&self, place: &Name, axes: &[Name]) -> Result<Array, EvalError> {
        Array::filled(self.axes_shape(place, axes)?, 0.0)
    }

    /// Offset in a tensor over `axes` and value, at every point of the compiled domain.
    fn points(
        &mut self,
        compiled: &Compiled,
        axes: &[Name],
    ) -> Result<Vec<(usize, f64)>, EvalError> {
        let mut stored: Vec<Vec<f64>> = vec![];
        for part in &compiled.stored {
            let memory = Memory {
                tensors: &self.tensors,
                stored: &stored,
                round: self.round,
            };
            let values = part.values(&mut self.slots, &memory);
            stored.push(values);
        }
        let shape = self.axes_shape(&"term".into(), axes)?;
        let slots: Vec<usize> = axes
            .iter()
            .filter_map(|a| self.names.axes.get(a))
            .map(|(slot, _)| *slot)
            .collect();
        let places: Vec<(usize, usize)> = slots.into_iter().zip(strides(&shape)).collect();
        let memory = Memory {
            tensors: &self.tensors,
            stored: &stored,
            round: self.round,
        };
        let mut points = vec![];
        compiled.domain.for_each(&mut self.slots, &mut |slots| {
            let offset = places
                .iter()
                .map(|(slot, stride)| slots[*slot] as usize * stride)
                .sum();
            points.push((offset, compiled.root.value(slots, &memory)));
        });
        Ok(points)
    }

    fn array(
        &mut self,
        compiled: &Compiled,
        axes: &[Name],
        place: &Name,
    ) -> Result<Array, EvalError> {
        let mut array = self.zeros(place, axes)?;
        for (offset, value) in self.points(compiled, axes)? {
            array.data[offset] = value;
        }
        Ok(array)
    }

    fn run_let(&mut self, one: &Let) -> Result<(), EvalError> {
        let compiled = compile(
            &self.names,
            &one.name,
            &one.axes,
            &BTreeSet::new(),
            &one.value,
        )?;
        let array = self.array(&compiled, &one.axes, &one.name)?;
        self.results.insert(one.name.clone(), one.axes.clone());
        self.define(&one.name, array)
    }

    /// The value that an output names, its axes in the order of the output.
    fn output(&self, output: &Output) -> Result<Array, EvalError> {
        let bad = |message: &str| malformed(&output.name, message);
        let axes = self
            .results
            .get(&output.name)
            .ok_or_else(|| bad("no statement defines this output"))?;
        let (id, shape) = self
            .names
            .tensors
            .get(&output.name)
            .ok_or_else(|| bad("it has no value"))?;
        let from: Option<Vec<usize>> = output
            .axes
            .iter()
            .map(|axis| axes.iter().position(|a| a == axis))
            .collect();
        let from = from
            .filter(|from| from.len() == axes.len())
            .ok_or_else(|| bad("its axes are others"))?;
        let all_strides = strides(shape);
        let out_shape: Vec<usize> = from.iter().map(|n| shape[*n]).collect();
        let out_strides = strides(&out_shape);
        let mut out = Array::filled(out_shape, 0.0)?;
        for (at, value) in out.data.iter_mut().enumerate() {
            let steps = from.iter().zip(&out_strides).zip(&out.shape);
            let offset: usize = steps
                .map(|((n, stride), size)| at / stride % size * all_strides[*n])
                .sum();
            *value = self.tensors[*id][offset];
        }
        Ok(out)
    }

    fn run_scan(&mut self, scan: &Scan) -> Result<(), EvalError> {
        let Some((slot, steps)) = self.names.axes.get(&scan.axis).copied() else {
            return Err(malformed(&scan.axis, "the axis of this scan has no size"));
        };
        for carry in &scan.carries {
            self.run_let(&Let {
                name: carry.name.clone(),
                axes: carry.axes.clone(),
                value: carry.init.clone(),
            })?;
        }
        for one in &scan.body {
            let zeros = self.zeros(&one.name, &one.axes)?;
            self.define(&one.name, zeros)?;
            self.results.insert(one.name.clone(), one.axes.clone());
        }
        let held = BTreeSet::from([scan.axis.clone()]);
        let compiled: Vec<Compiled> = scan
            .body
            .iter()
            .map(|one| compile(&self.names, &one.name, &one.axes, &held, &one.value))
            .collect::<Result<_, _>>()?;
        for step in 0..steps {
            self.slots[slot] = if scan.reverse { steps - 1 - step } else { step } as i64;
            for (one, compiled) in scan.body.iter().zip(&compiled) {
                // All points before the first write: a collected let may read earlier steps of itself.
                let points = self.points(compiled, &one.axes)?;
                let id = self.names.tensors[&one.name].0;
                points
                    .into_iter()
                    .for_each(|(offset, value)| self.tensors[id][offset] = value);
            }
            let next: Vec<Vec<f64>> = scan
                .carries
                .iter()
                .map(|carry| self.next_state(carry))
                .collect::<Result<_, _>>()?;
            for (carry, state) in scan.carries.iter().zip(next) {
                let id = self.names.tensors[&carry.name].0;
                self.tensors[id] = state;
            }
        }
        self.slots[slot] = 0;
        for carry in &scan.carries {
            let (id, shape) = self.names.tensors[&carry.name].clone();
            let data = self.tensors[id].clone();
            self.define(&carry.last, Array { shape, data })?;
            self.results.insert(carry.last.clone(), carry.axes.clone());
        }
        Ok(())
    }

    fn next_state(&self, carry: &mixc_ir::Carry) -> Result<Vec<f64>, EvalError> {
        let shape = |name: &Name| self.names.tensors.get(name);
        match (shape(&carry.next), shape(&carry.name)) {
            (Some((id, next)), Some((_, state))) if next == state => Ok(self.tensors[*id].clone()),
            _ => Err(malformed(
                &carry.name,
                format!("`{}` is not a next state for it", carry.next),
            )),
        }
    }
}
