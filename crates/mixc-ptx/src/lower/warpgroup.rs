//! Products of warpgroups: one block of `wgmma` instructions for the whole sum.
//!
//! The block is one piece of assembly with the accumulators tied from its inputs to its outputs, waits included: nothing
//! can move a use of them in between.

use super::matrix::steps;
use super::shared::Source;
use super::{Lower, unsupported};
use crate::LowerError;
use crate::emit::{Ty, Val};
use crate::place::{Product, Storage, Unit};
use crate::visit::Key;
use mixc_ir::Name;
use mixc_tile::Stmt;
use std::fmt::Write;

impl<'k> Lower<'k> {
    pub(super) fn warpgroup_product(
        &mut self,
        stmt: &'k Stmt,
        product: &Product,
    ) -> Result<(), LowerError> {
        let Some(group) = product.warpgroup.clone() else {
            return Err(unsupported("bug: a product without warpgroups".to_owned()));
        };
        let layout = self.placement.layouts[&(stmt as Key)].clone();
        let rows = self.rows(product);
        self.operands_ready(stmt, product, &rows)?;
        let axes: Vec<(Name, usize)> = [product.m.as_slice(), &product.n].concat();
        let points = self.points(&layout, &axes, None);
        let zero = self.e.f32(0.0);
        let in_place = match self.source(&product.dst, &layout)? {
            Source::Registers(map) if product.accumulate => Some(map),
            _ => None,
        };
        let n: usize = product.n.iter().map(|(_, n)| n).product();
        // Registers come in the order of the instruction's result; those past its columns do not exist.
        let mut sums = vec![zero; n / 2];
        if let Some(map) = &in_place {
            for (r, sum) in sums.iter_mut().enumerate() {
                *sum = self.read_register(&product.dst, map[r]);
            }
        }
        let columns = self.storage(&product.columns)?;
        let mut block = Block::new(product.unit, n, in_place.is_some());
        let m = product.m.len();
        for (index, step) in steps(&rows, m).iter().enumerate() {
            let index = index as u32;
            let mut rest = None;
            let a = match &group.rows {
                Some(factor) => {
                    let storage = self.storage(&product.rows)?;
                    let first = factor.tile.offset(
                        if factor.k_major { 0 } else { 16 * index },
                        if factor.k_major { 16 * index } else { 0 },
                    );
                    let next = if factor.k_major {
                        64 * factor.tile.swizzle.pitch
                    } else {
                        128 / factor.tile.swizzle.pitch * factor.tile.panel_bytes()
                    };
                    if storage.split {
                        let second = first + storage.part_bytes() as u32;
                        rest = Some(vec![self.descriptor(
                            &storage,
                            factor.descriptor,
                            second,
                            Some(next),
                        )]);
                    }
                    vec![self.descriptor(&storage, factor.descriptor, first, Some(next))]
                }
                None => {
                    let fragments = self.fragments(&rows, product.unit, step)?;
                    let fragment = fragments.into_values().next();
                    let fragment = fragment
                        .ok_or_else(|| unsupported("bug: rows without a fragment".to_owned()))?;
                    rest = fragment.rest;
                    fragment.words
                }
            };
            let factor = &group.columns;
            let first = factor.tile.offset(
                if factor.k_major { 0 } else { 16 * index },
                if factor.k_major { 16 * index } else { 0 },
            );
            let b = self.descriptor(&columns, factor.descriptor, first, None);
            let b_rest = columns.split.then(|| {
                let second = first + columns.part_bytes() as u32;
                self.descriptor(&columns, factor.descriptor, second, None)
            });
            let transposed = (group.rows.as_ref().map(|f| !f.k_major), !factor.k_major);
            block.step(a.clone(), b, transposed);
            if let Some(rest) = rest {
                block.step(rest, b, transposed);
            }
            if let Some(rest) = b_rest {
                block.step(a, rest, transposed);
            }
        }
        let sums = block.run(self, &sums);
        let mut values = vec![zero; points.registers() as usize];
        values[..sums.len()].copy_from_slice(&sums);
        let add = product.accumulate && in_place.is_none();
        self.finish_product(product, &points, &mut values, add)
    }

    /// The descriptor of a slice that begins `first` bytes into a tile, and for each warpgroup `next` bytes further.
    fn descriptor(&mut self, storage: &Storage, bits: u64, first: u32, next: Option<u32>) -> Val {
        let base = self.slot_base(storage.slot);
        let mut address = self.e.address_of(base);
        if let Some(next) = next.filter(|_| self.placement.warp_bits > 2) {
            let group = self.e.shr(self.warp, 2);
            let next = self.e.i32(next as i32);
            let by = self.e.mul(group, next);
            address = self.e.add(address, by);
        }
        let first = self.e.i32(first as i32);
        let address = self.e.add(address, first);
        let mask = self.e.i32(0x3_ffff);
        let address = self.e.bit_and(address, mask);
        let address = self.e.shr(address, 4);
        let wide = self.e.widen(address);
        let bits = self.e.i64(bits as i64);
        self.e.bit_or(wide, bits)
    }
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
    fn step(&mut self, a: Vec<Val>, b: Val, transposed: (Option<bool>, bool)) {
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
             wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0; }}",
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
