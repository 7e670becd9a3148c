//! One concrete problem: a program with its inputs, sizes and scalars.

use crate::{BoundInputs, Error};
use mixc_interp::{Array, Inputs, bind_sizes, scalar_values};
use mixc_ir::{DType, Kind, Name, Program};
use mixc_tensor::Tensor;
use std::collections::{BTreeMap, BTreeSet};

/// Inputs that fit a program. The plain program and all its forms take the same ones.
#[derive(Clone, Debug)]
pub struct Job {
    /// The inputs that are given, in the declared axis order (any strides).
    pub tensors: BTreeMap<Name, Tensor>,
    /// The inputs that take their default.
    pub absent: BTreeSet<Name>,
    /// Every scalar.
    pub scalars: BTreeMap<Name, f64>,
    /// Every size and integer scalar.
    pub sizes: BTreeMap<Name, i64>,
    /// Element type of the outputs.
    pub dtype: DType,
}

impl Job {
    /// Checks the inputs against the declarations. With `dtype`, real inputs
    /// are rounded to it; without, the outputs get the element type of the first real input.
    ///
    /// # Errors
    /// Whatever does not fit: shapes, sizes, constraints, scalars.
    pub fn new(program: &Program, inputs: BoundInputs, dtype: Option<DType>) -> Result<Job, Error> {
        let shapes = inputs
            .tensors
            .iter()
            .map(|(name, t)| (name.clone(), t.shape().to_vec()))
            .collect();
        let sizes = bind_sizes(program, &shapes, &inputs.scalars)?;
        let scalars = scalar_values(program, &sizes, &inputs.scalars)?;
        let real = |name: &Name| program.tensor(name).is_some_and(|t| t.kind == Kind::Real);
        let found = program.tensors.iter().filter(|t| t.kind == Kind::Real);
        let found = found
            .filter_map(|t| inputs.tensors.get(&t.name))
            .map(Tensor::dtype)
            .next();
        let out = dtype.or(found).unwrap_or(DType::F32);
        let mut tensors = inputs.tensors;
        for (name, tensor) in &mut tensors {
            if real(name) && dtype.is_some_and(|d| d != tensor.dtype()) {
                *tensor = converted(tensor, out);
            }
        }
        let absent = program
            .tensors
            .iter()
            .map(|t| &t.name)
            .filter(|name| !tensors.contains_key(*name));
        let absent = absent.cloned().collect();
        Ok(Job {
            tensors,
            absent,
            scalars,
            sizes,
            dtype: out,
        })
    }

    /// The same problem with integers as GPUs take them, in 32 bits.
    ///
    /// # Errors
    /// If a value needs more.
    pub(crate) fn with_small_integers(&self) -> Result<Job, Error> {
        let mut job = self.clone();
        for (name, tensor) in &mut job.tensors {
            if tensor.dtype() != DType::I64 {
                continue;
            }
            let fits = |x: &f64| *x as i32 as f64 == *x;
            if let Some(large) = tensor.to_f64().iter().find(|x| !fits(x)) {
                return Err(Error::usage(format!(
                    "'{name}' holds {large}, which does not fit in the 32 bits that kernels for GPUs count in"
                )));
            }
            *tensor = converted(tensor, DType::I32);
        }
        Ok(job)
    }

    /// The same problem for the f64 interpreter. `splits` gives sizes to the free symbols of a form.
    pub fn interp_inputs(&self, splits: &BTreeMap<Name, i64>) -> Inputs {
        let array = |t: &Tensor| Array::new(t.shape().to_vec(), t.to_f64());
        Inputs {
            tensors: self
                .tensors
                .iter()
                .map(|(name, t)| (name.clone(), array(t)))
                .collect(),
            scalars: self.scalars.clone(),
            sizes: splits.clone(),
        }
    }
}

/// The values in another element type, the axes in memory in the same order as before.
fn converted(tensor: &Tensor, dtype: DType) -> Tensor {
    let mut order: Vec<usize> = (0..tensor.rank()).collect();
    order.sort_by_key(|&axis| std::cmp::Reverse(tensor.strides()[axis]));
    let mut back = vec![0; order.len()];
    for (at, &axis) in order.iter().enumerate() {
        back[axis] = at;
    }
    let permuted = tensor
        .permuted(&order)
        .and_then(|t| t.to_dtype(dtype).permuted(&back));
    permuted.unwrap_or_else(|e| panic!("bug: {e}"))
}
