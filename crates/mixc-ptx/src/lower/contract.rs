//! Products: on the matrix unit, with multiply-adds, or as sums.

use super::Lower;
use crate::LowerError;
use crate::visit::Key;
use mixc_tile::Stmt;

impl<'k> Lower<'k> {
    pub(super) fn contract(&mut self, stmt: &'k Stmt) -> Result<(), LowerError> {
        let Stmt::Contract {
            accumulate,
            dst,
            a,
            b,
            ..
        } = stmt
        else {
            return Ok(());
        };
        match self.placement.products.get(&(stmt as Key)).cloned() {
            Some(product) if product.warpgroup.is_some() => self.warpgroup_product(stmt, &product),
            Some(product) if product.unit.is_matrix() => self.matrix_product(stmt, &product),
            Some(product) => self.outer_products(stmt, &product),
            None => self.sum_of_products(stmt, *accumulate, dst, a, b),
        }
    }
}
