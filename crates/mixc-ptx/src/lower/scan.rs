//! Running sums and products: in order within a thread, then over the lanes that share a line.

use super::Lower;
use super::expr::Cache;
use super::sync::Tensors;
use crate::LowerError;
use crate::emit::{Cmp, Ty, Val};
use crate::spread;
use crate::visit::{self, Key};
use mixc_layout::{LANE, Layout, REGISTER};
use mixc_tile::{ReduceKind, ScanKind, Stmt};
use std::collections::BTreeMap;

impl<'k> Lower<'k> {
    pub(super) fn scan(&mut self, stmt: &'k Stmt) -> Result<(), LowerError> {
        let Stmt::Scan {
            along,
            kind,
            exclusive,
            reverse,
            dst,
            expr,
            ..
        } = stmt
        else {
            return Ok(());
        };
        let kind = match kind {
            ScanKind::Sum => ReduceKind::Sum,
            ScanKind::Prod => ReduceKind::Prod,
        };
        let layout = self.placement.layouts[&(stmt as Key)].clone();
        let axes = visit::axes(stmt);
        self.ready(&visit::reads(stmt), &layout, Some(dst), Tensors::default())?;
        let points = self.points(&layout, &axes, None);
        let identity = self.e.f32(super::reduce::identity(kind));
        let mut cache = Cache::new();
        let mut values = vec![identity; points.registers() as usize];
        for r in 0..points.registers() {
            if let Some(at) = points.at(r) {
                let value = self.number(expr, &points, r, &at, &mut cache)?;
                let inside = self.inside(&points, &at, &|name| name == along);
                values[r as usize] = self.e.select(inside, value, identity);
            }
        }
        for line in lines(&layout, along, *reverse) {
            self.scan_line(
                &layout,
                along,
                kind,
                *exclusive,
                *reverse,
                &line,
                &mut values,
            );
        }
        self.write_result(&points, dst, &values)
    }

    /// `line` lists the registers of one line in the order of the scan.
    #[allow(clippy::too_many_arguments)]
    fn scan_line(
        &mut self,
        layout: &Layout,
        along: &str,
        kind: ReduceKind,
        exclusive: bool,
        reverse: bool,
        line: &[u32],
        values: &mut [Val],
    ) {
        let identity = self.e.f32(super::reduce::identity(kind));
        let mut running = identity;
        let mut before = vec![];
        for r in line {
            before.push(running);
            let value = values[*r as usize];
            running = if running == identity {
                value
            } else {
                self.combine(kind, running, value)
            };
        }
        let carried = self.before_lane(layout, along, kind, reverse, running);
        for (n, r) in line.iter().enumerate() {
            let own = if exclusive {
                before[n]
            } else {
                let last = values[*r as usize];
                if before[n] == identity {
                    last
                } else {
                    self.combine(kind, before[n], last)
                }
            };
            values[*r as usize] = match carried {
                Some(c) if own == identity => c,
                Some(c) => self.combine(kind, c, own),
                None => own,
            };
        }
    }

    /// What the lanes before this one on its line sum up to; None if a line is within one thread.
    fn before_lane(
        &mut self,
        layout: &Layout,
        along: &str,
        kind: ReduceKind,
        reverse: bool,
        total: Val,
    ) -> Option<Val> {
        let n = spread::out_index(layout, along)?;
        // Lane bits along the line, from the one that moves least.
        let mut bits: Vec<(u32, u32)> = (0..layout.in_bits(LANE))
            .map(|bit| (layout.basis(LANE, bit)[n], bit))
            .filter(|(step, _)| *step != 0)
            .collect();
        bits.sort_unstable();
        if bits.is_empty() {
            return None;
        }
        let identity = self.e.f32(super::reduce::identity(kind));
        // `sum` covers the group of lanes that agree above the bits done so far, `before` those of it that come first.
        let (mut sum, mut before) = (total, identity);
        for (_, bit) in bits {
            let other = self.exchange(sum, 1 << bit);
            let mask = self.e.i32(1 << bit);
            let set = self.e.bit_and(self.lane, mask);
            let zero = self.e.i32(0);
            let later = self
                .e
                .icmp(if reverse { Cmp::Eq } else { Cmp::Ne }, set, zero);
            let with = self.combine(kind, other, before);
            before = self.e.select(later, with, before);
            sum = self.combine(kind, sum, other);
        }
        debug_assert_eq!(before.ty, Ty::F32);
        Some(before)
    }
}

/// The registers of each line, in the order of the scan.
fn lines(layout: &Layout, along: &str, reverse: bool) -> Vec<Vec<u32>> {
    let Some(n) = spread::out_index(layout, along) else {
        return vec![];
    };
    let mut found: BTreeMap<Vec<u32>, Vec<(u32, u32)>> = BTreeMap::new();
    for r in 0..1u32 << layout.in_bits(REGISTER) {
        let mut at = spread::register_part(layout, r);
        let place = std::mem::take(&mut at[n]);
        found.entry(at).or_default().push((place, r));
    }
    found
        .into_values()
        .map(|mut line| {
            line.sort_unstable();
            if reverse {
                line.reverse();
            }
            line.into_iter().map(|(_, r)| r).collect()
        })
        .collect()
}
