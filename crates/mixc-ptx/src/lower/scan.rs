//! Running sums and products, in any layout that keeps a line within a warp.
//!
//! The bits of the axis are taken from the lowest up, a run of register bits or one lane bit at a time. On the way up,
//! groups of neighbours are combined to the sums of larger groups; on the way back down, every group learns what comes
//! before it. A scan that starts anew in every segment leaves out the bits above the segments.

use super::Lower;
use super::expr::Cache;
use super::sync::Tensors;
use super::unsupported;
use crate::LowerError;
use crate::emit::{Cmp, Val};
use crate::scans::Form;
use crate::spread;
use crate::visit::{self, Key};
use mixc_layout::{LANE, Layout, REGISTER};
use mixc_tile::{ReduceKind, ScanKind, Stmt};

/// Bits of the axis that are combined in one go.
enum Digit {
    /// Register bits, the lowest first.
    Registers(Vec<u32>),
    Lane(u32),
}

/// How two values combine, and in which order.
#[derive(Clone, Copy)]
struct Order {
    kind: ReduceKind,
    reverse: bool,
}

/// One value for each register; None is the neutral one.
type Values = Vec<Option<Val>>;

impl<'k> Lower<'k> {
    pub(super) fn scan(&mut self, stmt: &'k Stmt) -> Result<(), LowerError> {
        let Stmt::Scan { kind, dst, .. } = stmt else {
            return Ok(());
        };
        let layout = self.placement.layouts[&(stmt as Key)].clone();
        let form = Form::of(stmt, &layout)
            .ok_or_else(|| unsupported("bug: a scan across warps".to_owned()))?;
        let order = Order {
            kind: match kind {
                ScanKind::Sum => ReduceKind::Sum,
                ScanKind::Prod => ReduceKind::Prod,
            },
            reverse: form.reverse,
        };
        let axes = visit::axes(stmt);
        self.ready(&form.reads(), &layout, Some(dst), Tensors::default())?;
        let points = self.points(&layout, &axes, None);
        let identity = self.e.f32(super::reduce::identity(order.kind));
        let mut cache = Cache::new();
        let mut values: Values = vec![None; points.registers() as usize];
        for r in 0..points.registers() {
            if let Some(at) = points.at(r) {
                let value = self.number(&form.expr, &points, r, &at, &mut cache)?;
                let inside = self.inside(&points, &at, &|name| *name == form.along);
                values[r as usize] = Some(self.e.select(inside, value, identity));
            }
        }
        let values = self.scanned(&layout, &form, order, &values);
        let values: Vec<Val> = values.iter().map(|v| v.unwrap_or(identity)).collect();
        self.write_result(&points, dst, &values)
    }

    fn scanned(&mut self, layout: &Layout, form: &Form, order: Order, values: &Values) -> Values {
        let mut digits = digits(layout, form);
        let first = match digits.first() {
            Some(Digit::Registers(_)) => match digits.remove(0) {
                Digit::Registers(bits) => bits,
                Digit::Lane(_) => vec![],
            },
            _ => vec![],
        };
        let run = self.run_of(&first, order, values);
        let before = self.before(&digits, order, &run.total);
        let own = if form.exclusive {
            &run.before
        } else {
            &run.through
        };
        (0..values.len())
            .map(|r| self.join(order.kind, before[group(r, &first)], own[r]))
            .collect()
    }

    /// What comes before each group, by the first register of the group; `totals` has their sums likewise.
    fn before(&mut self, digits: &[Digit], order: Order, totals: &Values) -> Values {
        match digits {
            [] => vec![None; totals.len()],
            [Digit::Registers(bits), rest @ ..] => {
                let run = self.run_of(bits, order, totals);
                let above = self.before(rest, order, &run.total);
                (0..totals.len())
                    .map(|r| self.join(order.kind, above[group(r, bits)], run.before[r]))
                    .collect()
            }
            [Digit::Lane(bit), rest @ ..] => {
                let others: Values = totals
                    .iter()
                    .map(|t| t.map(|t| self.exchange(t, 1 << bit)))
                    .collect();
                let sums: Values = totals
                    .iter()
                    .zip(&others)
                    .map(|(a, b)| self.join(order.kind, *a, *b))
                    .collect();
                let above = self.before(rest, order, &sums);
                let later = self.is_later(*bit, order.reverse);
                let identity = self.e.f32(super::reduce::identity(order.kind));
                above
                    .iter()
                    .zip(&others)
                    .map(|(above, other)| {
                        let with = self.join(order.kind, *above, *other)?;
                        Some(self.e.select(later, with, above.unwrap_or(identity)))
                    })
                    .collect()
            }
        }
    }

    /// Combines the registers that differ in some bits, in order.
    fn run_of(&mut self, bits: &[u32], order: Order, values: &Values) -> Run {
        let mut run = Run {
            before: vec![None; values.len()],
            through: vec![None; values.len()],
            total: vec![None; values.len()],
        };
        for first in (0..values.len()).filter(|r| group(*r, bits) == *r) {
            let mut running = None;
            for place in 0..1usize << bits.len() {
                let place = match order.reverse {
                    true => (1 << bits.len()) - 1 - place,
                    false => place,
                };
                let r = bits
                    .iter()
                    .enumerate()
                    .fold(first, |r, (n, bit)| r | (place >> n & 1) << bit);
                run.before[r] = running;
                running = self.join(order.kind, running, values[r]);
                run.through[r] = running;
            }
            run.total[first] = running;
        }
        run
    }

    fn join(&mut self, kind: ReduceKind, a: Option<Val>, b: Option<Val>) -> Option<Val> {
        match (a, b) {
            (Some(a), Some(b)) => Some(self.combine(kind, a, b)),
            (one, other) => one.or(other),
        }
    }

    /// Whether this lane comes after the one that differs in a bit.
    fn is_later(&mut self, bit: u32, reverse: bool) -> Val {
        let mask = self.e.i32(1 << bit);
        let set = self.e.bit_and(self.lane, mask);
        let zero = self.e.i32(0);
        let compare = if reverse { Cmp::Eq } else { Cmp::Ne };
        self.e.icmp(compare, set, zero)
    }
}

/// Registers combined in order.
struct Run {
    /// What comes before each register among those it is combined with.
    before: Values,
    /// The same with the register itself.
    through: Values,
    /// By the first register of each group.
    total: Values,
}

/// The first register of the group whose members differ in these bits.
fn group(register: usize, bits: &[u32]) -> usize {
    bits.iter().fold(register, |r, bit| r & !(1 << bit))
}

/// The bits of the axis within a segment in order: neighbouring register bits together.
fn digits(layout: &Layout, form: &Form) -> Vec<Digit> {
    let Some(n) = spread::out_index(layout, &form.along) else {
        return vec![];
    };
    let mut bits: Vec<(u32, bool, u32)> = vec![];
    for (input, is_lane) in [(REGISTER, false), (LANE, true)] {
        for bit in 0..layout.in_bits(input) {
            let step = layout.basis(input, bit)[n];
            if step != 0 && form.every.is_none_or(|n| (step as usize) < n) {
                bits.push((step, is_lane, bit));
            }
        }
    }
    bits.sort_unstable();
    let mut digits: Vec<Digit> = vec![];
    for (_, is_lane, bit) in bits {
        match digits.last_mut() {
            _ if is_lane => digits.push(Digit::Lane(bit)),
            Some(Digit::Registers(run)) => run.push(bit),
            _ => digits.push(Digit::Registers(vec![bit])),
        }
    }
    digits
}
