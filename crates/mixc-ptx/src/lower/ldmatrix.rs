//! Operands of matrix products through `ldmatrix` (PTX ISA, "Warp-level matrix load instruction: ldmatrix").

use super::matrix::{Fragment, Operand};
use super::{Lower, unsupported};
use crate::LowerError;
use crate::emit::Ty;
use crate::place::{Elem, Storage, Unit};
use crate::spread::{self, Bit, Builder};
use mixc_ir::Name;
use mixc_layout::{Layout, WARP};
use mixc_tile::Place;
use std::collections::BTreeMap;

/// How `ldmatrix` reads an operand.
pub(super) struct MatrixLoads {
    /// Lanes to the rows of 8 elements whose addresses they give, registers to the loads.
    layout: Layout,
    transposed: bool,
    /// Matrices of one load: 2 or 4.
    count: u32,
    /// The bit that tells the two fragments of one load of four apart, if it loads two.
    second: Option<Bit>,
}

impl<'k> Lower<'k> {
    /// Whether 8 x 8 matrices of an operand lie in shared memory as `ldmatrix` reads them.
    pub(super) fn matrix_loads(
        &self,
        operand: &Operand,
        unit: Unit,
        storage: &Storage,
    ) -> Option<MatrixLoads> {
        let right = match unit {
            Unit::Bf16 => storage.elem == Elem::Bf16,
            Unit::F16 => storage.elem == Elem::F16,
            _ => false,
        };
        let Some(Place::Axis(inner)) = operand.access.places.get(storage.inner) else {
            return None;
        };
        if !right
            || !storage.pitch.is_multiple_of(16)
            || operand.k.len() < 4
            || operand.outer.len() < 3
        {
            return None;
        }
        // Nothing ragged: rows are read whole.
        let full = |bits: &[Bit], granule: usize| {
            let mut names: Vec<&Name> = bits.iter().map(|(n, _)| n).collect();
            names.dedup();
            names.iter().enumerate().all(|(n, name)| {
                let extent = operand
                    .axes
                    .iter()
                    .find(|(a, _)| a == *name)
                    .map_or(1, |(_, e)| *e);
                extent.is_power_of_two() || (n == 0 && names.len() == 1 && extent % granule == 0)
            })
        };
        let outer_granule = if operand.is_rows { 16 } else { 8 };
        if !full(&operand.k, 16) || !full(&operand.outer, outer_granule) {
            return None;
        }
        let eight = |bits: &[Bit]| (0..3).all(|b| bits[b] == (inner.clone(), b as u32));
        let transposed = if eight(&operand.k) {
            false
        } else if eight(&operand.outer) {
            true
        } else {
            return None;
        };
        let get = |list: &[Bit], at: usize| list.get(at).cloned();
        let along = if transposed {
            &operand.k
        } else {
            &operand.outer
        };
        let mut lanes = vec![get(along, 0), get(along, 1), get(along, 2)];
        let warps: Vec<Option<Bit>> = (0..operand.layout.in_bits(WARP))
            .map(|bit| {
                let basis = operand.layout.basis(WARP, bit);
                let moved = operand.layout.outs().zip(basis).find(|(_, v)| *v != 0);
                moved.map(|((name, _), v)| (Name::from(name), v.trailing_zeros()))
            })
            .collect();
        // Warps past the end of an axis would read past the tile.
        let extent = |name: &Name| operand.axes.iter().find(|(a, _)| a == name);
        let ends = |bit: &Bit| extent(&bit.0).is_some_and(|(_, n)| n.is_power_of_two());
        if !warps.iter().flatten().all(ends) {
            return None;
        }
        let in_warps = |bit: &Bit| warps.iter().any(|w| w.as_ref() == Some(bit));
        let fourth = get(&operand.outer, 3);
        let (count, second) = if operand.is_rows {
            lanes.push(fourth.clone());
            lanes.push(get(&operand.k, 3));
            (4, None)
        } else {
            lanes.push(get(&operand.k, 3));
            // An odd number of column tiles would read past the end.
            let even = fourth.as_ref().is_some_and(|(name, _)| {
                operand
                    .axes
                    .iter()
                    .any(|(a, e)| a == name && (e.is_power_of_two() || e % 16 == 0))
            });
            match fourth.clone().filter(|b| even && !in_warps(b)) {
                Some(bit) => {
                    lanes.push(Some(bit.clone()));
                    (4, Some(bit))
                }
                None => (2, None),
            }
        };
        let used = |bit: &Bit| lanes.iter().flatten().any(|l| l == bit) || in_warps(bit);
        let registers: Vec<Option<Bit>> = operand
            .outer
            .iter()
            .skip(3)
            .chain(operand.k.iter().skip(4))
            .filter(|b| !used(b))
            .cloned()
            .map(Some)
            .collect();
        let layout = Builder {
            registers,
            lanes,
            warps,
        }
        .build(&operand.axes, self.placement.warp_bits);
        Some(MatrixLoads {
            layout,
            transposed,
            count,
            second,
        })
    }

    pub(super) fn load_matrices(
        &mut self,
        operand: &Operand,
        storage: &Storage,
        plan: MatrixLoads,
        step: &[u32],
    ) -> Result<BTreeMap<Vec<u32>, Fragment>, LowerError> {
        let points = self.points(&plan.layout, &operand.axes, None);
        let shape = if plan.transposed { ".trans" } else { "" };
        let name = format!(
            "llvm.nvvm.ldmatrix.sync.aligned.m8n8.x{}{shape}.b16",
            plan.count
        );
        let mut found = BTreeMap::new();
        for r in 0..points.registers() {
            let mut key = spread::register_part(&plan.layout, r);
            if key.split_off(key.len() - step.len()) != step {
                continue;
            }
            let Some(at) = points.at(r) else { continue };
            let address = self.element(&points, &at, operand.access, storage, false)?;
            let types = vec![Ty::I32; plan.count as usize];
            let words = self.e.call_many(&name, &[address], &types);
            let rest = storage.split.then(|| {
                let second = self.second_part(storage, address);
                self.e.call_many(&name, &[second], &types)
            });
            if operand.is_rows || plan.second.is_none() {
                found.insert(key, Fragment { words, rest });
                continue;
            }
            let mut next = key.clone();
            if let Some((axis, bit)) = &plan.second {
                let n = spread::out_index(&plan.layout, axis)
                    .ok_or_else(|| unsupported("bug: a fragment has no axis".to_owned()))?;
                next[n] |= 1 << bit;
            }
            found.insert(
                key,
                Fragment {
                    words: words[..2].to_vec(),
                    rest: rest.as_ref().map(|r| r[..2].to_vec()),
                },
            );
            found.insert(
                next,
                Fragment {
                    words: words[2..].to_vec(),
                    rest: rest.as_ref().map(|r| r[2..].to_vec()),
                },
            );
        }
        Ok(found)
    }
}
