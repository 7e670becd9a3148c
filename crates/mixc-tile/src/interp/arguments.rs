//! Arguments against declarations.

use super::resolve::Resolver;
use super::{RunError, TensorData};
use mixc_ir::{Ix, Name};

impl Resolver<'_, '_> {
    pub(super) fn check_arguments(&self) -> Result<(), RunError> {
        let kernel = self.kernel;
        if let Some(buf) = kernel.bufs.iter().find(|b| buffer_len(&b.shape).is_none()) {
            return Err(RunError::IllFormed {
                statement: format!("{} {}: {:?}", buf.space.name(), buf.name, buf.shape),
                what: format!("the buffer has more than {MAX_BUFFER} elements"),
            });
        }
        let missing = |what, name: &Name| RunError::Missing {
            kernel: kernel.name.clone(),
            what,
            name: name.clone(),
        };
        if let Some(dim) = kernel
            .dims
            .iter()
            .find(|d| !self.args.dims.contains_key(*d))
        {
            return Err(missing("size", dim));
        }
        if let Some(scalar) = kernel
            .scalars
            .iter()
            .find(|s| !self.args.scalars.contains_key(*s))
        {
            return Err(missing("scalar", scalar));
        }
        for (n, t) in kernel.tensors.iter().enumerate() {
            if kernel.tensors[..n].iter().any(|other| other.name == t.name) {
                return Err(RunError::Tensor {
                    tensor: t.name.clone(),
                    what: "declared twice".to_string(),
                });
            }
            let data = self
                .args
                .tensors
                .get(&t.name)
                .ok_or_else(|| missing("tensor", &t.name))?;
            let mut shape = vec![];
            for ix in &t.shape {
                shape.push(self.size(ix, || format!("{} {}", t.usage.name(), t.name))?);
            }
            let wrong = |what: String| {
                Err(RunError::Tensor {
                    tensor: t.name.clone(),
                    what,
                })
            };
            if !shape
                .iter()
                .copied()
                .eq(data.shape.iter().map(|n| *n as i64))
            {
                return wrong(format!("expected shape {shape:?}, found {:?}", data.shape));
            }
            if data.strides.len() != shape.len() {
                return wrong(format!(
                    "{} dimensions have {} strides",
                    shape.len(),
                    data.strides.len()
                ));
            }
            if data.data.len() < data.span() {
                return wrong(format!(
                    "the view spans {} values, found {}",
                    data.span(),
                    data.data.len()
                ));
            }
            if t.unit_inner && !is_unit_inner(data) {
                return wrong(format!(
                    "the last stride must be 1, found {:?}",
                    data.strides
                ));
            }
        }
        Ok(())
    }

    /// The value of an expression over sizes.
    pub(super) fn size(&self, ix: &Ix, place: impl Fn() -> String) -> Result<i64, RunError> {
        let ill_formed = |what| RunError::IllFormed {
            statement: place(),
            what,
        };
        let index = self.index(ix).map_err(ill_formed)?;
        let vars = vec![0; self.slots];
        let value = index
            .eval(&vars)
            .ok_or_else(|| ill_formed(format!("`{ix}` has no value")))?;
        if value < 0 {
            Err(ill_formed(format!(
                "`{ix}` is {value}, a size must not be negative"
            )))
        } else {
            Ok(value)
        }
    }
}

fn is_unit_inner(data: &TensorData) -> bool {
    data.strides.last() == Some(&1) || data.shape.last().is_none_or(|n| *n <= 1)
}

/// Largest buffer that the interpreter makes, in elements: a slip in a shape shall not exhaust memory.
const MAX_BUFFER: usize = 1 << 28;

/// Number of elements, None if there are too many.
fn buffer_len(shape: &[usize]) -> Option<usize> {
    let product = shape
        .iter()
        .try_fold(1usize, |product, n| product.checked_mul(*n));
    product.filter(|n| *n <= MAX_BUFFER)
}
