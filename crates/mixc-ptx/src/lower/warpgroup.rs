//! Products of warpgroups: one group of `wgmma` instructions for the whole sum, started here and waited for where something
//! needs its result or overwrites what it reads ([`super::flights`]).
//!
//! The accumulators are tied from the inputs of the assembly to its outputs, and so through the wait: nothing can
//! use them in between.

use super::flights::Flight;
use super::matrix::{Operand, steps};
use super::shared::Source;
use super::{Lower, unsupported};
use crate::LowerError;
use crate::emit::{Ty, Val};
use crate::place::{Factor, Product, Storage, Unit, Warpgroup};
use crate::visit::{self, Key};
use mixc_ir::Name;
use mixc_tile::Stmt;
use std::fmt::Write;

/// The rows of one step of the sum: four words of a fragment, or a descriptor.
pub(super) type Rows = Vec<Val>;

/// Both factors at one step: the products of all parts of the rows and columns are added up.
pub(super) struct Step {
    pub rows: Rows,
    /// What rounding the rows left.
    pub rest: Option<Rows>,
    pub columns: Val,
    pub columns_rest: Option<Val>,
}

impl<'k> Lower<'k> {
    pub(super) fn warpgroup_product(
        &mut self,
        stmt: &'k Stmt,
        product: &Product,
    ) -> Result<(), LowerError> {
        let group = warpgroup(product)?;
        let layout = self.placement.layouts[&(stmt as Key)].clone();
        let rows = self.rows(product);
        self.operands_ready(stmt, product, &rows)?;
        let row_steps = self.row_steps(product, &group, &rows)?;
        let column_steps = self.column_steps(product, &group, row_steps.len())?;
        let steps: Vec<Step> = row_steps
            .into_iter()
            .zip(column_steps)
            .map(|((rows, rest), (columns, columns_rest))| Step {
                rows,
                rest,
                columns,
                columns_rest,
            })
            .collect();
        let in_place = match self.source(&product.dst, &layout)? {
            Source::Registers(map) if product.accumulate => Some(map),
            _ => None,
        };
        let old = in_place.map(|map| {
            let count = columns(product) / 2;
            (0..count)
                .map(|r| self.read_register(&product.dst, map[r]))
                .collect()
        });
        let accumulated = old.is_some();
        let sums = self.start_product(product, &group, &steps, old);
        let flight = Flight {
            stmt,
            add: product.accumulate && !accumulated,
            sums,
            reads: factors(product).to_vec(),
            releases: vec![],
        };
        self.take_off(flight)
    }

    /// The accumulators of a product whose wait is over go where its result lives.
    pub(super) fn deliver_product(
        &mut self,
        stmt: &'k Stmt,
        sums: &[Val],
        add: bool,
    ) -> Result<(), LowerError> {
        let product = self.placement.products[&(stmt as Key)].clone();
        let layout = self.placement.layouts[&(stmt as Key)].clone();
        let axes: Vec<(Name, usize)> = [product.m.as_slice(), &product.n].concat();
        let points = self.points(&layout, &axes, None);
        let zero = self.e.f32(0.0);
        // Registers come in the order of the instruction's result; those past its columns do not exist.
        let mut values = vec![zero; points.registers() as usize];
        values[..sums.len()].copy_from_slice(sums);
        self.finish_product(&product, &points, &mut values, add)
    }

    /// The rows at every step of the sum, and what rounding them left.
    pub(super) fn row_steps(
        &mut self,
        product: &Product,
        group: &Warpgroup,
        rows: &Operand,
    ) -> Result<Vec<(Rows, Option<Rows>)>, LowerError> {
        let mut found = vec![];
        let places = steps(rows, product.m.len());
        let Some(factor) = &group.rows else {
            for place in &places {
                let fragments = self.fragments(rows, product.unit, place)?;
                let fragment = fragments.into_values().next();
                let fragment = fragment
                    .ok_or_else(|| unsupported("bug: rows without a fragment".to_owned()))?;
                found.push((fragment.words, fragment.rest));
            }
            return Ok(found);
        };
        let storage = self.storage(&product.rows)?;
        let next = if factor.k_major {
            64 * factor.tile.swizzle.pitch
        } else {
            128 / factor.tile.swizzle.pitch * factor.tile.panel_bytes()
        };
        let first = self.descriptor_base(&storage, factor, Some(next));
        for index in 0..places.len() as u32 {
            let at = step_offset(factor, index);
            let whole = self.descriptor(first, factor, at);
            let rest = storage.split.then(|| {
                let second = at + storage.part_bytes() as u32;
                vec![self.descriptor(first, factor, second)]
            });
            found.push((vec![whole], rest));
        }
        Ok(found)
    }

    /// The descriptors of the columns at every step, and of what rounding them left.
    pub(super) fn column_steps(
        &mut self,
        product: &Product,
        group: &Warpgroup,
        count: usize,
    ) -> Result<Vec<(Val, Option<Val>)>, LowerError> {
        let storage = self.storage(&product.columns)?;
        let factor = &group.columns;
        let first = self.descriptor_base(&storage, factor, None);
        Ok((0..count as u32)
            .map(|index| {
                let at = step_offset(factor, index);
                let whole = self.descriptor(first, factor, at);
                let rest = storage.split.then(|| {
                    let second = at + storage.part_bytes() as u32;
                    self.descriptor(first, factor, second)
                });
                (whole, rest)
            })
            .collect())
    }

    /// The low half of the descriptor of a tile, which for each warpgroup begins `next` bytes further.
    fn descriptor_base(&mut self, storage: &Storage, factor: &Factor, next: Option<u32>) -> Val {
        let base = self.slot_base(storage.slot);
        let mut address = self.e.address_of(base);
        if let Some(next) = next.filter(|_| self.placement.warp_bits > 2) {
            let group = self.e.shr(self.warp, 2);
            let next = self.e.i32(next as i32);
            let by = self.e.mul(group, next);
            address = self.e.add(address, by);
        }
        // Shared memory ends below 2^18 bytes, so 14 bits remain.
        let units = self.e.shr(address, 4);
        let low = self.e.i32((factor.descriptor & 0xffff_ffff) as i32);
        self.e.bit_or(units, low)
    }

    /// The descriptor of what begins `bytes` into a tile: 16-byte units in the low bits, which do not overflow.
    fn descriptor(&mut self, base: Val, factor: &Factor, bytes: u32) -> Val {
        let units = self.e.i32((bytes >> 4) as i32);
        let low = self.e.add(base, units);
        let wide = self.e.zext(low);
        let high = self.e.i64((factor.descriptor & !0xffff_ffff) as i64);
        self.e.bit_or(wide, high)
    }

    /// Starts a product; returns its accumulators, which nothing may touch before the wait. `old` is added to.
    pub(super) fn start_product(
        &mut self,
        product: &Product,
        group: &Warpgroup,
        steps: &[Step],
        old: Option<Vec<Val>>,
    ) -> Vec<Val> {
        let columns = columns(product);
        let mut block = Block::new(product.unit, columns, old.is_some());
        let transposed = (
            group.rows.as_ref().map(|f| !f.k_major),
            !group.columns.k_major,
        );
        for step in steps {
            block.step(&step.rows, step.columns, transposed);
            if let Some(rest) = &step.rest {
                block.step(rest, step.columns, transposed);
            }
            if let Some(rest) = step.columns_rest {
                block.step(&step.rows, rest, transposed);
            }
        }
        let sums = old.unwrap_or_else(|| {
            let nothing = self.e.undefined(Ty::F32);
            vec![nothing; columns / 2]
        });
        block.run(self, &sums)
    }
}

pub(super) fn warpgroup(product: &Product) -> Result<Warpgroup, LowerError> {
    let found = product.warpgroup.clone();
    found.ok_or_else(|| unsupported("bug: a product without warpgroups".to_owned()))
}

fn columns(product: &Product) -> usize {
    product.n.iter().map(|(_, n)| n).product()
}

/// Bytes from the beginning of a tile to the slice of a step.
fn step_offset(factor: &Factor, step: u32) -> u32 {
    if factor.k_major {
        factor.tile.offset(0, 16 * step)
    } else {
        factor.tile.offset(16 * step, 0)
    }
}

/// The buffers that a product reads while it is under way.
fn factors(product: &Product) -> [usize; 2] {
    [
        visit::index(product.rows.buf),
        visit::index(product.columns.buf),
    ]
}

/// The text of a block, and its operands behind the accumulators.
struct Block {
    unit: Unit,
    columns: usize,
    accumulate: bool,
    text: String,
    operands: Vec<Val>,
    steps: usize,
}

impl Block {
    fn new(unit: Unit, columns: usize, accumulate: bool) -> Block {
        Block {
            unit,
            columns,
            accumulate,
            text: String::new(),
            operands: vec![],
            steps: 0,
        }
    }

    /// sums (+)= a * b for 16 positions of the sum: `a` a descriptor or four words.
    fn step(&mut self, a: &[Val], b: Val, transposed: (Option<bool>, bool)) {
        let first = self.columns;
        let place = |n: usize| format!("${}", first + n);
        let at = self.operands.len();
        let a_text = if a.len() == 1 {
            place(at)
        } else {
            let words: Vec<String> = (0..a.len()).map(|n| place(at + n)).collect();
            format!("{{{}}}", words.join(", "))
        };
        self.operands.extend(a);
        let b_text = place(self.operands.len());
        self.operands.push(b);
        let sums: Vec<String> = (0..self.columns / 2).map(|n| format!("${n}")).collect();
        let elem = if self.unit == Unit::Bf16 {
            "bf16"
        } else {
            "f16"
        };
        let predicate = if self.steps == 0 { "p" } else { "q" };
        let flags = match transposed {
            (Some(a), b) => format!("{}, {}", u8::from(a), u8::from(b)),
            (None, b) => u8::from(b).to_string(),
        };
        // Writing to a String cannot fail.
        let _ = write!(
            self.text,
            "wgmma.mma_async.sync.aligned.m64n{}k16.f32.{elem}.{elem} {{{}}}, {a_text}, {b_text}, {predicate}, 1, 1, {flags}; ",
            self.columns,
            sums.join(", "),
        );
        self.steps += 1;
    }

    fn run(self, lower: &mut Lower, sums: &[Val]) -> Vec<Val> {
        let text = format!(
            "{{ .reg .pred p, q; setp.ne.b32 p, {}, 0; setp.ne.b32 q, 1, 0; wgmma.fence.sync.aligned; {}\
             wgmma.commit_group.sync.aligned; }}",
            u8::from(self.accumulate),
            self.text
        );
        let outputs = vec!["=f"; sums.len()].join(",");
        let tied: Vec<String> = (0..sums.len()).map(|n| n.to_string()).collect();
        let operands: Vec<&str> = self
            .operands
            .iter()
            .map(|v| if v.ty == Ty::I64 { "l" } else { "r" })
            .collect();
        let constraints = format!("{outputs},{},{}", tied.join(","), operands.join(","));
        let args = [sums, &self.operands].concat();
        lower
            .e
            .asm(&text, &constraints, &args, &vec![Ty::F32; sums.len()], true)
    }
}
