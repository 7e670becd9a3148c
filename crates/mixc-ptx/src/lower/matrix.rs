//! Products on the matrix unit through `mma.sync` (PTX ISA, "Warp-level matrix instructions").
//!
//! Rows come from registers where the previous statement left them in place, else from shared memory like the columns:
//! by `ldmatrix` where eight neighbours along one axis are 16-bit neighbours in memory, else element by element.

use super::Lower;
use super::expr::Cache;
use super::points::Points;
use super::shared::Source;
use super::sync::Tensors;
use crate::LowerError;
use crate::emit::{Ty, Val};
use crate::place::{Elem, Home, Product, Unit, composite, rows_operand};
use crate::spread::{self, Bit, Builder};
use crate::visit::{self, Key};
use mixc_ir::Name;
use mixc_layout::{Layout, WARP};
use mixc_tile::{Access, Stmt};
use std::collections::BTreeMap;

type Axes = Vec<(Name, usize)>;

/// An operand fragment as the instruction takes it: words, and for split f32 the words of the remainder.
#[derive(Clone)]
pub(super) struct Fragment {
    pub words: Vec<Val>,
    pub rest: Option<Vec<Val>>,
}

/// One operand of a product.
pub(super) struct Operand<'a> {
    pub access: &'a Access,
    /// Over the outer axes (m or n) and k.
    pub layout: Layout,
    pub axes: Axes,
    pub outer: Vec<Bit>,
    pub k: Vec<Bit>,
    /// Computed 16-bit rows go in as two parts.
    pub split: bool,
    /// Registers of one fragment.
    pub group: u32,
    pub is_rows: bool,
}

impl<'k> Lower<'k> {
    pub(super) fn matrix_product(
        &mut self,
        stmt: &'k Stmt,
        product: &Product,
    ) -> Result<(), LowerError> {
        let layout = self.placement.layouts[&(stmt as Key)].clone();
        let rows = self.rows(product);
        let columns = self.columns(product, &layout);
        self.operands_ready(stmt, product, &rows)?;
        let axes: Axes = [product.m.as_slice(), &product.n].concat();
        let points = self.points(&layout, &axes, None);
        let zero = self.e.f32(0.0);
        let mut values = vec![zero; points.registers() as usize];
        let in_place = match self.source(&product.dst, &layout)? {
            Source::Registers(map) if product.accumulate => Some(map),
            _ => None,
        };
        if let Some(map) = &in_place {
            for r in 0..points.registers() {
                if points.at(r).is_some() {
                    values[r as usize] = self.read_register(&product.dst, map[r as usize]);
                }
            }
        }
        let (m, n) = (product.m.len(), product.n.len());
        // Step by step along the sum, so that only the fragments of one step are in registers.
        for step in steps(&rows, m) {
            let a = self.fragments(&rows, product.unit, &step)?;
            let b = self.fragments(&columns, product.unit, &step)?;
            for tile in (0..points.registers()).step_by(4) {
                if points.at(tile).is_none() {
                    continue;
                }
                let fixed = spread::register_part(&layout, tile);
                let (Some(a), Some(b)) = (a.get(&fixed[..m]), b.get(&fixed[m..m + n])) else {
                    continue;
                };
                let c = &mut values[tile as usize..tile as usize + 4];
                self.multiply(product.unit, a, b, c);
            }
        }
        let add = product.accumulate && in_place.is_none();
        self.finish_product(product, &points, &mut values, add)
    }

    pub(super) fn rows<'p>(&self, product: &'p Product) -> Operand<'p> {
        Operand {
            access: &product.rows,
            layout: rows_operand(product, self.placement.warp_bits),
            axes: [product.m.as_slice(), &product.k].concat(),
            outer: composite(&product.m),
            k: composite(&product.k),
            split: product.split_rows,
            group: if product.unit.is_half() { 8 } else { 4 },
            is_rows: true,
        }
    }

    /// The B operand (PTX ISA, "Matrix Fragments for mma.m16n8k16": b0..b3; with neighbours for k and k + 4 in
    /// tf32), warps split as in the result.
    fn columns<'p>(&self, product: &'p Product, result: &Layout) -> Operand<'p> {
        let (n, k) = (composite(&product.n), composite(&product.k));
        let mut warps = vec![];
        for bit in 0..result.in_bits(WARP) {
            let basis = result.basis(WARP, bit);
            let found = result
                .outs()
                .zip(basis)
                .find(|((name, _), v)| *v != 0 && product.n.iter().any(|(a, _)| **a == **name));
            warps.push(found.map(|((name, _), v)| (Name::from(name), v.trailing_zeros())));
        }
        let get = |list: &[Bit], at: usize| list.get(at).cloned();
        let half = product.unit.is_half();
        let mut registers = vec![get(&k, 0)];
        if half {
            registers.push(get(&k, 3));
        }
        let in_warps = |bit: &Bit| warps.iter().any(|w| w.as_ref() == Some(bit));
        registers.extend(n.iter().skip(3).filter(|b| !in_warps(b)).cloned().map(Some));
        registers.extend(k.iter().skip(if half { 4 } else { 3 }).cloned().map(Some));
        let lanes = vec![get(&k, 1), get(&k, 2), get(&n, 0), get(&n, 1), get(&n, 2)];
        let axes: Axes = [product.n.as_slice(), &product.k].concat();
        let layout = Builder {
            registers,
            lanes,
            warps,
        }
        .build(&axes, self.placement.warp_bits);
        Operand {
            access: &product.columns,
            layout,
            axes,
            outer: n,
            k,
            split: false,
            group: if half { 4 } else { 2 },
            is_rows: false,
        }
    }

    pub(super) fn operands_ready(
        &mut self,
        stmt: &'k Stmt,
        product: &Product,
        rows: &Operand,
    ) -> Result<(), LowerError> {
        let mut slots = self.old_result(stmt, product)?;
        if let Source::Shared(storage) = self.source(&product.rows, &rows.layout)? {
            self.update(&product.rows);
            slots.push(storage.slot);
        }
        self.update(&product.columns);
        slots.push(self.storage(&product.columns)?.slot);
        let mut writes = vec![];
        if self.placement.homes[visit::index(product.dst.buf)] == Home::Shared {
            writes.push(self.storage(&product.dst)?.slot);
        }
        self.touch(&slots, &writes, Tensors::default());
        Ok(())
    }

    /// The slot that the old result is read from, if it is added to but lies in other threads' registers.
    pub(super) fn old_result(
        &mut self,
        stmt: &'k Stmt,
        product: &Product,
    ) -> Result<Vec<usize>, LowerError> {
        let layout = self.placement.layouts[&(stmt as Key)].clone();
        let in_registers = self.placement.homes[visit::index(product.dst.buf)] != Home::Shared;
        if product.accumulate
            && in_registers
            && let Source::Shared(storage) = self.source(&product.dst, &layout)?
        {
            self.update(&product.dst);
            return Ok(vec![storage.slot]);
        }
        Ok(vec![])
    }

    fn update(&mut self, access: &Access) {
        let buf = visit::index(access.buf);
        if self.dirty.contains(&buf) {
            self.flush(buf);
        }
    }

    /// The fragments of an operand at one step of the sum that lie within the tile, by the fixed coordinates of
    /// their outer axes.
    pub(super) fn fragments(
        &mut self,
        operand: &Operand,
        unit: Unit,
        step: &[u32],
    ) -> Result<BTreeMap<Vec<u32>, Fragment>, LowerError> {
        let source = if operand.is_rows {
            self.source(operand.access, &operand.layout)?
        } else {
            Source::Shared(self.storage(operand.access)?)
        };
        if let Source::Shared(storage) = &source
            && let Some(plan) = self.matrix_loads(operand, unit, storage)
        {
            return self.load_matrices(operand, storage, plan, step);
        }
        let points = self.points(&operand.layout, &operand.axes, None);
        let mut found = BTreeMap::new();
        let mut cache = Cache::new();
        for first in (0..points.registers()).step_by(operand.group as usize) {
            if points.at(first).is_none() {
                continue;
            }
            let mut key = spread::register_part(&operand.layout, first);
            if key.split_off(key.len() - step.len()) != step {
                continue;
            }
            let values = self.elements(operand, &source, &points, first, &mut cache)?;
            let exact = matches!(&source, Source::Shared(s) if s.elem != Elem::F32 && !s.split);
            let split = match &source {
                Source::Registers(_) => operand.split,
                Source::Shared(s) => s.split || (operand.split && !exact),
            };
            let fragment = self.fragment(unit, split, &values, exact);
            found.insert(key, fragment);
        }
        Ok(found)
    }

    /// The elements of one fragment in register order; 0 past the end of the sum.
    fn elements(
        &mut self,
        operand: &Operand,
        source: &Source,
        points: &Points,
        first: u32,
        cache: &mut Cache,
    ) -> Result<Vec<Val>, LowerError> {
        let zero = self.e.f32(0.0);
        let is_k = |name: &Name| operand.k.iter().any(|(k, _)| k == name);
        let missing = self.missing(operand);
        let mut values = vec![];
        for r in first..first + operand.group {
            let Some(at) = points.at(r) else {
                values.push(zero);
                continue;
            };
            // Where the sum is shorter than a fragment, positions beyond it would count elements again.
            if self.beyond(operand, r - first) {
                values.push(zero);
                continue;
            }
            let value = match source {
                Source::Registers(map) => self.read_register(operand.access, map[r as usize]),
                Source::Shared(storage) => {
                    self.shared_element(operand.access, storage, points, &at, cache)?
                }
            };
            let inside = self.inside(points, &at, &is_k);
            let inside = match missing {
                Some(own) => self.e.and(inside, own),
                None => inside,
            };
            values.push(self.e.select(inside, value, zero));
        }
        Ok(values)
    }

    /// Lanes whose k bits do not exist contribute nothing.
    fn missing(&mut self, operand: &Operand) -> Option<Val> {
        let have = operand.k.len();
        // Lane bits 0 and 1 are k bits 1 and 2.
        let mask = match have {
            0 | 1 => 3,
            2 => 2,
            _ => return None,
        };
        let mask = self.e.i32(mask);
        let bits = self.e.bit_and(self.lane, mask);
        let zero = self.e.i32(0);
        Some(self.e.icmp(crate::emit::Cmp::Eq, bits, zero))
    }

    /// Whether a register of a fragment stands for a k bit that does not exist.
    fn beyond(&self, operand: &Operand, within: u32) -> bool {
        let have = operand.k.len();
        let half = operand.group == 8 || (operand.group == 4 && !operand.is_rows);
        // Which register bits of the fragment are k bits 0 and 3.
        let (k0, k3) = match (operand.is_rows, half) {
            (true, true) => (Some(0), Some(2)),
            (true, false) => (Some(1), None),
            (false, true) => (Some(0), Some(1)),
            (false, false) => (Some(0), None),
        };
        let set = |bit: Option<u32>| bit.is_some_and(|b| within >> b & 1 == 1);
        (have == 0 && set(k0)) || (have <= 3 && set(k3))
    }

    /// Packs or splits the elements of a fragment.
    fn fragment(&mut self, unit: Unit, split: bool, values: &[Val], exact: bool) -> Fragment {
        if unit.is_half() {
            let elem = if unit == Unit::Bf16 {
                Elem::Bf16
            } else {
                Elem::F16
            };
            let words: Vec<Val> = values
                .chunks(2)
                .map(|pair| self.pack(elem, pair[0], pair[1]))
                .collect();
            let rest = split.then(|| self.pack_rest(elem, values, &words));
            return Fragment { words, rest };
        }
        // Registers (m3, k0) of rows are a0, a1 (m3), a2 (k0), a3 as they come; those of columns b0, b1.
        if unit == Unit::Tf32 {
            let words: Vec<Val> = values
                .iter()
                .map(|v| self.e.call("llvm.nvvm.f2tf32.rna", &[*v], Ty::I32))
                .collect();
            return Fragment { words, rest: None };
        }
        // The high part is cut off, not rounded: one instruction instead of five, and what it leaves is exact.
        let words: Vec<Val> = values.iter().map(|v| self.cut_tf32(*v)).collect();
        let rest = (!exact).then(|| {
            let pairs = values.iter().zip(&words);
            pairs
                .map(|(v, w)| {
                    let high = self.e.float_of(*w);
                    let rest = self.e.fsub_exact(*v, high);
                    self.cut_tf32(rest)
                })
                .collect()
        });
        Fragment { words, rest }
    }

    /// What rounding to `words` left of pairs of values, rounded likewise.
    fn pack_rest(&mut self, elem: Elem, values: &[Val], words: &[Val]) -> Vec<Val> {
        let mut rests = vec![];
        for (pair, word) in values.chunks(2).zip(words) {
            let parts = self.unpack(elem, *word);
            let low = self.e.fsub_exact(pair[0], parts[0]);
            let high = self.e.fsub_exact(pair[1], parts[1]);
            rests.push(self.pack(elem, low, high));
        }
        rests
    }

    /// The bits of an f32 without the 13 that tf32 does not have.
    fn cut_tf32(&mut self, v: Val) -> Val {
        let bits = self.e.bits(v);
        let mask = self.e.i32(!0x1fff);
        self.e.bit_and(bits, mask)
    }

    /// c += a * b.
    fn multiply(&mut self, unit: Unit, a: &Fragment, b: &Fragment, c: &mut [Val]) {
        // The small products first, so that they are not lost against the large one.
        if let Some(rest) = &a.rest {
            self.mma(unit, rest, &b.words, c);
        }
        if let Some(rest) = &b.rest {
            self.mma(unit, &a.words, rest, c);
        }
        self.mma(unit, &a.words, &b.words, c);
    }

    fn mma(&mut self, unit: Unit, a: &[Val], b: &[Val], c: &mut [Val]) {
        let args = [a, b, &*c].concat();
        let four = [Ty::F32; 4];
        let result = match unit {
            Unit::Bf16 => self
                .e
                .call_many("llvm.nvvm.mma.m16n8k16.row.col.bf16", &args, &four),
            Unit::F16 => self.e.asm(
                "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {$0,$1,$2,$3}, {$4,$5,$6,$7}, {$8,$9}, {$10,$11,$12,$13};",
                "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f",
                &args,
                &four,
                false,
            ),
            _ => self
                .e
                .call_many("llvm.nvvm.mma.m16n8k8.row.col.tf32", &args, &four),
        };
        c.copy_from_slice(&result);
    }
}

/// The steps of a sum: fixed coordinates along its axes, within the tile. `outer` is how many axes of
/// the operand come before.
pub(super) fn steps(rows: &Operand, outer: usize) -> Vec<Vec<u32>> {
    let mut found: Vec<Vec<u32>> = (0..spread::registers(&rows.layout))
        .step_by(rows.group as usize)
        .map(|r| spread::register_part(&rows.layout, r)[outer..].to_vec())
        .filter(|at| {
            let extents = rows.axes[outer..].iter().map(|(_, n)| *n);
            at.iter().zip(extents).all(|(c, n)| (*c as usize) < n)
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}
