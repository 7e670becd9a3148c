//! Products with multiply-adds: every thread holds a small tile of the result and goes along the sum.

use super::Lower;
use super::expr::Cache;
use super::points::{Coordinate, Points};
use super::sync::Tensors;
use crate::LowerError;
use crate::emit::{Ty, Val};
use crate::place::{Product, Storage};
use crate::visit::Key;
use mixc_ir::Name;
use mixc_tile::{Access, Place, Stmt};
use std::collections::HashMap;

impl<'k> Lower<'k> {
    pub(super) fn outer_products(
        &mut self,
        stmt: &'k Stmt,
        product: &Product,
    ) -> Result<(), LowerError> {
        let layout = self.placement.layouts[&(stmt as Key)].clone();
        let axes: Vec<(Name, usize)> = [product.m.as_slice(), &product.n].concat();
        // The factors are read element by element, so both come from shared memory.
        let (rows, columns) = (
            self.storage(&product.rows)?,
            self.storage(&product.columns)?,
        );
        self.shared_ready(stmt, product)?;
        let points = self.points(&layout, &axes, None);
        let zero = self.e.f32(0.0);
        let sums: Vec<Val> = (0..points.registers())
            .map(|_| {
                let slot = self.e.slot(Ty::F32);
                self.e.store(zero, slot);
                slot
            })
            .collect();
        let mut steps: HashMap<Name, Val> = HashMap::new();
        for (name, extent) in &product.k {
            let (lo, hi) = (self.e.i32(0), self.e.i32(*extent as i32));
            steps.insert(name.clone(), self.e.open_for(lo, hi));
        }
        let mut cache = Cache::new();
        for r in 0..points.registers() {
            let Some(at) = points.at(r) else { continue };
            let a = self.factor(&product.rows, &rows, &points, &at, &steps, &mut cache)?;
            let b = self.factor(&product.columns, &columns, &points, &at, &steps, &mut cache)?;
            let slot = sums[r as usize];
            let old = self.e.load(slot, Ty::F32);
            let new = self.e.fma(a, b, old);
            self.e.store(new, slot);
        }
        for _ in &product.k {
            self.e.close();
        }
        let mut values: Vec<Val> = sums.iter().map(|s| self.e.load(*s, Ty::F32)).collect();
        self.finish_product(product, &points, &mut values, product.accumulate)
    }

    /// Writes a product, added to what the destination holds if `add`.
    pub(super) fn finish_product(
        &mut self,
        product: &Product,
        points: &Points,
        values: &mut [Val],
        add: bool,
    ) -> Result<(), LowerError> {
        if !add {
            return self.write_result(points, &product.dst, values);
        }
        if self.placement.homes[crate::visit::index(product.dst.buf)] != crate::place::Home::Shared
        {
            self.add_old(product, points, values)?;
            return self.write_result(points, &product.dst, values);
        }
        let writer = self.writer(&points.layout);
        let guarded = self.e.constant(writer).is_none();
        if guarded {
            self.e.open_if(writer);
        }
        self.update_shared(points, &product.dst, |own, r, old| {
            own.e.fadd(old, values[r as usize])
        })?;
        if guarded {
            self.e.close();
        }
        Ok(())
    }

    /// Makes both factors readable in shared memory.
    fn shared_ready(&mut self, stmt: &'k Stmt, product: &Product) -> Result<(), LowerError> {
        let dst = &product.dst;
        let mut slots = self.old_result(stmt, product)?;
        for access in [&product.rows, &product.columns] {
            let buf = crate::visit::index(access.buf);
            if self.dirty.contains(&buf) {
                self.flush(buf);
            }
            slots.push(self.storage(access)?.slot);
        }
        let shared =
            self.placement.homes[crate::visit::index(dst.buf)] == crate::place::Home::Shared;
        let writes = if shared {
            vec![self.storage(dst)?.slot]
        } else {
            vec![]
        };
        self.touch(&slots, &writes, Tensors::default());
        Ok(())
    }

    /// Adds what the destination held in registers.
    fn add_old(
        &mut self,
        product: &Product,
        points: &Points,
        values: &mut [Val],
    ) -> Result<(), LowerError> {
        let mut cache = Cache::new();
        for r in 0..points.registers() {
            let Some(at) = points.at(r) else { continue };
            let old = self.operand(&product.dst, points, r, &at, &mut cache)?;
            values[r as usize] = self.e.fadd(old, values[r as usize]);
        }
        Ok(())
    }

    fn factor(
        &mut self,
        access: &Access,
        storage: &Storage,
        points: &Points,
        at: &[Coordinate],
        steps: &HashMap<Name, Val>,
        cache: &mut Cache,
    ) -> Result<Val, LowerError> {
        let mut key = vec![];
        let mut coordinates = vec![];
        for place in &access.places {
            coordinates.push(match place {
                Place::Axis(name) => match (steps.get(name), points.coordinate_of(at, name)) {
                    (Some(step), _) => Coordinate::of(*step),
                    (None, Some((n, c))) => {
                        key.push(c.fixed);
                        self.kept_within(points, at, n)
                    }
                    (None, None) => {
                        return Err(super::unsupported(format!(
                            "bug: the axis {name} has no coordinate"
                        )));
                    }
                },
                Place::At(ix) => Coordinate::of(self.uniform(ix)?),
            });
        }
        let key = (access.clone(), key);
        if let Some(v) = cache.get(&key) {
            return Ok(*v);
        }
        let address = self.address(storage, &coordinates);
        let value = self.read_element(storage, address);
        cache.insert(key, value);
        Ok(value)
    }
}
