//! Index expressions as 32-bit integers.

use crate::LowerError;
use crate::emit::{Emit, Val};
use mixc_ir::{Ix, Name};
use mixc_tile::ranges::{Interval, range};
use std::collections::HashMap;

/// What names stand for at some point of the kernel.
#[derive(Clone, Default)]
pub(crate) struct Scope {
    /// Sizes, grid axes, loop variables.
    values: HashMap<Ix, Val>,
    ranges: HashMap<Ix, Interval>,
}

impl Scope {
    pub fn set(&mut self, leaf: Ix, value: Val, range: Interval) {
        self.values.insert(leaf.clone(), value);
        self.ranges.insert(leaf, range);
    }

    /// Values of an expression; local axes by their extents in `axes`.
    pub fn range(&self, ix: &Ix, axes: &HashMap<Name, i64>) -> Interval {
        range(ix, &|leaf| match leaf {
            Ix::Axis(name) if let Some(n) = axes.get(name) => Interval::new(0, (n - 1).max(0)),
            leaf => self.ranges.get(leaf).copied().unwrap_or(Interval::ALL),
        })
    }

    /// The value of an expression; `local` gives the local axes.
    pub fn value(
        &self,
        e: &mut Emit,
        ix: &Ix,
        local: &dyn Fn(&mut Emit, &Name) -> Option<Val>,
        extents: &HashMap<Name, i64>,
    ) -> Result<Val, LowerError> {
        let unknown = |what: String| LowerError::Unsupported {
            kernel: String::new(),
            what,
        };
        if let Some(known) = self.values.get(ix)
            && !matches!(ix, Ix::Axis(_))
        {
            return Ok(*known);
        }
        Ok(match ix {
            Ix::Const(n) => {
                let n = i32::try_from(*n)
                    .map_err(|_| unknown(format!("the index {n} needs more than 32 bits")))?;
                e.i32(n)
            }
            Ix::Axis(name) => match local(e, name).or_else(|| self.values.get(ix).copied()) {
                Some(v) => v,
                None => return Err(unknown(format!("the axis {name} has no value here"))),
            },
            Ix::Dim(name) => {
                return Err(unknown(format!("the size {name} is not a parameter")));
            }
            Ix::Elem(name, _) => {
                return Err(unknown(format!("an element of {name} inside an index")));
            }
            _ => {
                let Some((a, b)) = ix.operands() else {
                    return Err(unknown(format!("the index {ix}")));
                };
                let natural = |ix: &Ix| self.range(ix, extents).lo >= 0;
                let positive = natural(a) && natural(b);
                let x = self.value(e, a, local, extents)?;
                let y = self.value(e, b, local, extents)?;
                match ix {
                    Ix::Add(..) => e.add(x, y),
                    Ix::Sub(..) => e.sub(x, y),
                    Ix::Mul(..) => e.mul(x, y),
                    Ix::Div(..) if positive => e.div_natural(x, y),
                    Ix::Div(..) => e.div(x, y),
                    Ix::Mod(..) if positive => {
                        let q = e.div_natural(x, y);
                        let product = e.mul(q, y);
                        e.sub(x, product)
                    }
                    Ix::Mod(..) => e.rem(x, y),
                    Ix::Min(..) => e.min(x, y),
                    _ => e.max(x, y),
                }
            }
        })
    }
}
