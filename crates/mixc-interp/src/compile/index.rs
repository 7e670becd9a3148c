//! Index expressions and elements of tensors.

use super::Compiler;
use crate::EvalError;
use crate::array::strides;
use crate::node::{Access, Dim, IxNode};
use mixc_ir::{Ix, Name};

impl Compiler<'_> {
    pub(super) fn access(&self, tensor: &Name, index: &[Ix]) -> Result<Access, EvalError> {
        let Some((id, shape)) = self.names.tensors.get(tensor) else {
            return Err(self.malformed(format!("`{tensor}` is read before it is defined")));
        };
        if index.len() != shape.len() {
            let message = format!(
                "`{tensor}` has {} axes and is read with {}",
                shape.len(),
                index.len()
            );
            return Err(self.malformed(message));
        }
        let mut dims = vec![];
        for ((ix, extent), stride) in index.iter().zip(shape).zip(strides(shape)) {
            dims.push(Dim {
                index: self.index(ix)?,
                extent: *extent,
                stride,
            });
        }
        Ok(Access { tensor: *id, dims })
    }

    pub(super) fn index(&self, ix: &Ix) -> Result<IxNode, EvalError> {
        // Coefficients that stay small keep sums of products with positions far from overflow.
        const SMALL: i64 = 1 << 24;
        let constant = |value: i64| IxNode::Affine {
            rest: value,
            terms: vec![],
        };
        Ok(match ix {
            Ix::Const(value) => constant(*value),
            Ix::Axis(name) => IxNode::Affine {
                rest: 0,
                terms: vec![(self.axis(name)?.0, 1)],
            },
            Ix::Dim(name) => match self.names.sizes.get(name) {
                Some(value) => constant(*value),
                None => return Err(self.malformed(format!("the size `{name}` is not known"))),
            },
            Ix::Elem(tensor, index) => IxNode::Elem(self.access(tensor, index)?),
            _ => {
                let Some((a, b)) = ix.operands() else {
                    return Err(self.malformed(format!("bad index `{ix}`")));
                };
                let (a, b) = (self.index(a)?, self.index(b)?);
                match combine(ix, &a, &b, SMALL) {
                    Some(node) => node,
                    None => IxNode::Binary {
                        op: ix.clone(),
                        a: Box::new(a),
                        b: Box::new(b),
                    },
                }
            }
        })
    }
}

/// The affine form of one operator on affine operands, if there is one with small numbers.
fn combine(op: &Ix, a: &IxNode, b: &IxNode, small: i64) -> Option<IxNode> {
    let (
        IxNode::Affine {
            rest: ra,
            terms: ta,
        },
        IxNode::Affine {
            rest: rb,
            terms: tb,
        },
    ) = (a, b)
    else {
        return None;
    };
    let scaled = |terms: &[(usize, i64)], by: i64| -> Option<Vec<(usize, i64)>> {
        terms
            .iter()
            .map(|(slot, c)| c.checked_mul(by).map(|c| (*slot, c)))
            .collect()
    };
    let (rest, terms) = match op {
        Ix::Add(..) => (ra.checked_add(*rb)?, [ta.clone(), tb.clone()].concat()),
        Ix::Sub(..) => (ra.checked_sub(*rb)?, [ta.clone(), scaled(tb, -1)?].concat()),
        Ix::Mul(..) if tb.is_empty() => (ra.checked_mul(*rb)?, scaled(ta, *rb)?),
        Ix::Mul(..) if ta.is_empty() => (ra.checked_mul(*rb)?, scaled(tb, *ra)?),
        _ if ta.is_empty() && tb.is_empty() => (Ix::apply(op, *ra, *rb)?, vec![]),
        _ => return None,
    };
    let fits = rest.unsigned_abs() < 1 << 60
        && terms.iter().all(|(_, c)| c.abs() < small)
        && terms.len() < 64;
    fits.then_some(IxNode::Affine { rest, terms })
}
