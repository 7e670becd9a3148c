//! Elements of integer tensors in loop bounds (the length of a sequence): read once for every grid point, by every role.

use super::{Lower, unsupported};
use crate::LowerError;
use crate::emit::{Cmp, Ty, Val};
use crate::visit;
use mixc_ir::{DType, Ix, Name};
use mixc_tile::ranges::Interval;

impl<'k> Lower<'k> {
    /// Gives the elements that indices of the kernel have their values.
    pub(super) fn read_elements(&mut self) -> Result<(), LowerError> {
        let mut found: Vec<Ix> = vec![];
        visit::each(&self.kernel.body, &mut |stmt| {
            visit::indices(stmt, &mut |ix| {
                ix.visit_leaves(&mut |leaf| {
                    if matches!(leaf, Ix::Elem(..)) && !found.contains(leaf) {
                        found.push(leaf.clone());
                    }
                });
            });
        });
        for element in found {
            if let Ix::Elem(name, index) = &element {
                let value = self.integer_element(name, index)?;
                let any = Interval::new(i64::from(i32::MIN), i64::from(i32::MAX));
                self.scope.set(element.clone(), value, any);
            }
        }
        Ok(())
    }

    /// 0 outside the tensor.
    fn integer_element(&mut self, name: &Name, index: &[Ix]) -> Result<Val, LowerError> {
        let tensor = self.tensor(name)?;
        if tensor.dtype != DType::I32 {
            let what = format!("a loop bound of {} ('{name}')", tensor.dtype.name());
            return Err(unsupported(what));
        }
        let (mut address, mut inside) = (self.pointers[name], self.e.bool(true));
        for (dim, (ix, bound)) in index.iter().zip(&tensor.shape).enumerate() {
            let at = self.uniform(ix)?;
            address = self.advance(address, tensor, dim, at);
            let own =
                |g: &mixc_tile::GridAxis| Ix::Axis(g.name.clone()) == *ix && g.extent == *bound;
            if !self.kernel.grid.iter().any(own) {
                let (zero, bound) = (self.e.i32(0), self.uniform(bound)?);
                let natural = self.e.icmp(Cmp::Le, zero, at);
                let below = self.e.icmp(Cmp::Lt, at, bound);
                let within = self.e.and(natural, below);
                inside = self.e.and(inside, within);
            }
        }
        Ok(self.guarded_load("b32", "r", Ty::I32, address, inside))
    }
}
