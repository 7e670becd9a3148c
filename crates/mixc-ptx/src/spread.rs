//! How the points of a tile are spread over registers, lanes and warps.
//!
//! Thin helpers over [`mixc_layout::Layout`]: its outputs are the axes of a statement or, for a buffer, the
//! numbers of its dimensions; its inputs are `register`, `lane` and `warp`, and `loop` where a statement
//! has too many points to unroll.

use mixc_ir::Name;
use mixc_layout::{LANE, Layout, REGISTER, WARP};

pub(crate) const LOOP: &str = "loop";

/// Bits that count `extent` values.
pub(crate) fn bits(extent: usize) -> u32 {
    extent.max(1).next_power_of_two().trailing_zeros()
}

/// One bit of a coordinate.
pub(crate) type Bit = (Name, u32);

/// All bits of some axes, the lowest of the first axis first.
pub(crate) fn bits_of(axes: &[(Name, usize)]) -> Vec<Bit> {
    axes.iter()
        .flat_map(|(name, n)| (0..bits(*n)).map(|b| (name.clone(), b)))
        .collect()
}

/// Collects bits for the three inputs and makes a layout of them.
#[derive(Default, Debug)]
pub(crate) struct Builder {
    pub registers: Vec<Option<Bit>>,
    pub lanes: Vec<Option<Bit>>,
    pub warps: Vec<Option<Bit>>,
}

impl Builder {
    /// Missing lane and warp bits hold copies.
    pub fn build(self, axes: &[(Name, usize)], warp_bits: u32) -> Layout {
        let outs: Vec<(&str, u32)> = axes.iter().map(|(n, e)| (&**n, bits(*e))).collect();
        let mut layout = Layout::new(&outs);
        let mut push = |input: &str, bit: &Option<Bit>| {
            let vector: Vec<(&str, u32)> = bit.iter().map(|(n, b)| (&**n, 1 << b)).collect();
            layout = layout.clone().with_bit(input, &vector);
        };
        for bit in &self.registers {
            push(REGISTER, bit);
        }
        for n in 0..5 {
            push(LANE, self.lanes.get(n).unwrap_or(&None));
        }
        for n in 0..warp_bits as usize {
            push(WARP, self.warps.get(n).unwrap_or(&None));
        }
        layout
    }
}

/// `vector` low bits of the first axis in registers, then lanes, then warps, the rest in registers.
/// `fast` lists the axes, the one that is contiguous in memory first.
pub(crate) fn blocked(
    axes: &[(Name, usize)],
    fast: &[Name],
    vector: u32,
    warp_bits: u32,
) -> Layout {
    let ordered: Vec<(Name, usize)> = fast
        .iter()
        .filter_map(|name| axes.iter().find(|(n, _)| n == name).cloned())
        .collect();
    let mut rest = bits_of(&ordered);
    let own = ordered.first().map_or(0, |(_, n)| bits(*n));
    let mut b = Builder::default();
    b.registers
        .extend(rest.drain(..vector.min(own) as usize).map(Some));
    let lanes = rest.len().min(5);
    b.lanes.extend(rest.drain(..lanes).map(Some));
    let warps = rest.len().min(warp_bits as usize);
    b.warps.extend(rest.drain(..warps).map(Some));
    b.registers.extend(rest.into_iter().map(Some));
    b.build(axes, warp_bits)
}

/// Threads over `outer` bits first, at most `lanes` bits of a warp; what is left of the lanes goes to the `inner` bits of
/// the highest order, and the others stay in registers (the low ones first). Warps never split `inner`.
pub(crate) fn lines(
    axes: &[(Name, usize)],
    outer: &[Bit],
    inner: &[Bit],
    lanes: usize,
    warp_bits: u32,
) -> Layout {
    let mut b = Builder::default();
    let mut outer = outer.to_vec();
    let lanes = outer.len().min(lanes);
    b.lanes.extend(outer.drain(..lanes).map(Some));
    let warps = outer.len().min(warp_bits as usize);
    b.warps.extend(outer.drain(..warps).map(Some));
    let across = (5 - lanes).min(inner.len());
    let (low, high) = inner.split_at(inner.len() - across);
    b.lanes.extend(high.iter().cloned().map(Some));
    b.registers.extend(low.iter().cloned().map(Some));
    b.registers.extend(outer.into_iter().map(Some));
    b.build(axes, warp_bits)
}

/// Takes `list[at]` out, or nothing where it is missing.
fn take(list: &[Bit], at: usize) -> Option<Bit> {
    list.get(at).cloned()
}

/// Warps over the rows above the 16 of a fragment, then over columns above the fragment's; what is left in registers.
fn share(b: &mut Builder, rows: &[Bit], columns: &[Bit], warp_bits: u32, split_columns: bool) {
    let mut rows: Vec<Bit> = rows.to_vec();
    let mut columns: Vec<Bit> = columns.to_vec();
    while b.warps.len() < warp_bits as usize && !rows.is_empty() {
        b.warps.push(Some(rows.remove(0)));
    }
    while split_columns && b.warps.len() < warp_bits as usize && !columns.is_empty() {
        // The highest bits, so that a warp's columns lie together.
        b.warps.push(columns.pop());
    }
    b.registers.extend(columns.into_iter().map(Some));
    b.registers.extend(rows.into_iter().map(Some));
}

fn from(list: &[Bit], at: usize) -> &[Bit] {
    list.get(at..).unwrap_or(&[])
}

/// Accumulators of `mma.m16n8` (PTX ISA, "Matrix Fragments for mma.m16n8k16": c0..c3), repeated over the tile.
/// Rows of a fragment that do not exist hold copies.
pub(crate) fn accumulator(axes: &[(Name, usize)], m: &[Bit], n: &[Bit], warp_bits: u32) -> Layout {
    let mut b = Builder {
        registers: vec![take(n, 0), take(m, 3)],
        lanes: vec![take(n, 1), take(n, 2), take(m, 0), take(m, 1), take(m, 2)],
        warps: vec![],
    };
    share(&mut b, from(m, 4), from(n, 3), warp_bits, true);
    b.build(axes, warp_bits)
}

/// The A operand of a product whose accumulators are laid out by [`accumulator`]. The 16-bit
/// fragment is the documented one; in the tf32 one (m16n8k8) the positions k and k + 4 hold neighbours, which is the same
/// product as long as B does likewise, and makes accumulators usable as they are.
pub(crate) fn a_operand(
    axes: &[(Name, usize)],
    m: &[Bit],
    k: &[Bit],
    half: bool,
    warp_bits: u32,
) -> Layout {
    let registers = if half {
        vec![take(k, 0), take(m, 3), take(k, 3)]
    } else {
        vec![take(m, 3), take(k, 0)]
    };
    let mut b = Builder {
        registers,
        lanes: vec![take(k, 1), take(k, 2), take(m, 0), take(m, 1), take(m, 2)],
        warps: vec![],
    };
    share(
        &mut b,
        from(m, 4),
        from(k, if half { 4 } else { 3 }),
        warp_bits,
        false,
    );
    b.build(axes, warp_bits)
}

/// Threads hold small tiles of a product computed with multiply-adds.
pub(crate) fn outer_product(
    axes: &[(Name, usize)],
    m: &[Bit],
    n: &[Bit],
    warp_bits: u32,
) -> Layout {
    let mut b = Builder {
        registers: vec![take(n, 0), take(n, 1)],
        lanes: vec![take(n, 2), take(n, 3), take(n, 4), take(m, 0), take(m, 1)],
        warps: vec![],
    };
    share(&mut b, from(m, 2), from(n, 5), warp_bits, true);
    b.build(axes, warp_bits)
}

/// The coordinates that a register adds, one for each output in order.
pub(crate) fn register_part(layout: &Layout, register: u32) -> Vec<u32> {
    fixed_part(layout, REGISTER, register)
}

pub(crate) fn fixed_part(layout: &Layout, input: &str, value: u32) -> Vec<u32> {
    let mut at = vec![0; layout.outs().count()];
    for bit in 0..layout.in_bits(input) {
        if value >> bit & 1 == 1 {
            for (sum, part) in at.iter_mut().zip(layout.basis(input, bit)) {
                *sum ^= part;
            }
        }
    }
    at
}

pub(crate) fn registers(layout: &Layout) -> u32 {
    1 << layout.in_bits(REGISTER)
}

/// Position of an output.
pub(crate) fn out_index(layout: &Layout, out: &str) -> Option<usize> {
    layout.outs().position(|(name, _)| name == out)
}

/// Bits of an input that hold copies: they move no coordinate.
pub(crate) fn copies(layout: &Layout, input: &str) -> u32 {
    (0..layout.in_bits(input))
        .filter(|b| layout.basis(input, *b).iter().all(|v| *v == 0))
        .fold(0, |mask, b| mask | 1 << b)
}

/// For each register of `to` (a layout over `axes` of a statement) the register of `held` (a layout over
/// dimensions, `places` naming their axes) with the same element in the same thread; None if some
/// element is held by another thread.
pub(crate) fn same_thread(held: &Layout, places: &[Name], to: &Layout) -> Option<Vec<u32>> {
    let index: Vec<usize> = places
        .iter()
        .map(|axis| out_index(to, axis))
        .collect::<Option<_>>()?;
    for input in [LANE, WARP] {
        for bit in 0..to.in_bits(input).max(held.in_bits(input)) {
            let wanted: Vec<u32> = if bit < to.in_bits(input) {
                let basis = to.basis(input, bit);
                index.iter().map(|n| basis[*n]).collect()
            } else {
                vec![0; index.len()]
            };
            let found = if bit < held.in_bits(input) {
                held.basis(input, bit)
            } else {
                vec![0; index.len()]
            };
            if wanted != found {
                return None;
            }
        }
    }
    if to.in_bits(LOOP) > 0 {
        let moves = |bit| {
            let basis = to.basis(LOOP, bit);
            index.iter().any(|n| basis[*n] != 0)
        };
        if (0..to.in_bits(LOOP)).any(moves) {
            return None;
        }
    }
    let all: Vec<Vec<u32>> = (0..registers(held))
        .map(|r| register_part(held, r))
        .collect();
    (0..registers(to))
        .map(|r| {
            let at = register_part(to, r);
            let wanted: Vec<u32> = index.iter().map(|n| at[*n]).collect();
            all.iter().position(|p| *p == wanted).map(|r| r as u32)
        })
        .collect()
}

/// The layout with its outputs called after the dimensions of a buffer: `places[d]` is the axis of dimension d.
/// Registers that hold copies are dropped.
pub(crate) fn of_buffer(layout: &Layout, places: &[Name], shape: &[usize]) -> Layout {
    let outs: Vec<(String, u32)> = shape
        .iter()
        .enumerate()
        .map(|(d, n)| (d.to_string(), bits(*n)))
        .collect();
    let outs: Vec<(&str, u32)> = outs.iter().map(|(n, b)| (n.as_str(), *b)).collect();
    let index: Vec<Option<usize>> = places.iter().map(|axis| out_index(layout, axis)).collect();
    let mut result = Layout::new(&outs);
    for input in [REGISTER, LANE, WARP] {
        for bit in 0..layout.in_bits(input) {
            let basis = layout.basis(input, bit);
            let vector: Vec<(&str, u32)> = index
                .iter()
                .zip(&outs)
                .filter_map(|(n, (out, _))| Some((*out, basis[(*n)?])))
                .filter(|(_, v)| *v != 0)
                .collect();
            if input == REGISTER && vector.is_empty() {
                continue;
            }
            result = result.with_bit(input, &vector);
        }
    }
    result
}

/// The layout of a statement that writes a buffer held as `held`: dimension d is the axis `places[d]`.
pub(crate) fn of_statement(held: &Layout, places: &[Name], axes: &[(Name, usize)]) -> Layout {
    let outs: Vec<(&str, u32)> = axes.iter().map(|(n, e)| (&**n, bits(*e))).collect();
    let mut result = Layout::new(&outs);
    for input in [REGISTER, LANE, WARP] {
        for bit in 0..held.in_bits(input) {
            let basis = held.basis(input, bit);
            let vector: Vec<(&str, u32)> = places
                .iter()
                .zip(basis)
                .filter(|(_, v)| *v != 0)
                .map(|(axis, v)| (&**axis, v))
                .collect();
            result = result.with_bit(input, &vector);
        }
    }
    result
}

/// Moves the highest register bits into the input `loop` until at most `limit` registers are left.
/// `may` says which coordinates may move.
pub(crate) fn with_loop(layout: &Layout, limit: u32, may: &dyn Fn(&str) -> bool) -> Layout {
    let total = layout.in_bits(REGISTER);
    let mut excess = total.saturating_sub(limit.trailing_zeros());
    if excess == 0 {
        return layout.clone();
    }
    let outs: Vec<(&str, u32)> = layout.outs().collect();
    let mut kept = vec![];
    let mut moved = vec![];
    for bit in (0..total).rev() {
        let basis = layout.basis(REGISTER, bit);
        let allowed = outs
            .iter()
            .zip(&basis)
            .all(|((name, _), v)| *v == 0 || may(name));
        if excess > 0 && allowed {
            moved.push(basis);
            excess -= 1;
        } else {
            kept.push(basis);
        }
    }
    kept.reverse();
    moved.reverse();
    let mut result = Layout::new(&outs);
    let named = |basis: &[u32]| -> Vec<(String, u32)> {
        outs.iter()
            .zip(basis)
            .filter(|(_, v)| **v != 0)
            .map(|((n, _), v)| ((*n).to_owned(), *v))
            .collect()
    };
    let mut push = |input: &str, basis: &[u32]| {
        let vector = named(basis);
        let vector: Vec<(&str, u32)> = vector.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        result = result.clone().with_bit(input, &vector);
    };
    for basis in &kept {
        push(REGISTER, basis);
    }
    for input in [LANE, WARP] {
        for bit in 0..layout.in_bits(input) {
            push(input, &layout.basis(input, bit));
        }
    }
    for basis in &moved {
        push(LOOP, basis);
    }
    result
}

/// The first register of a layout whose coordinates along `places` are `at`. It must have one.
pub(crate) fn register_at(layout: &Layout, places: &[Name], at: &[u32]) -> u32 {
    let index: Vec<Option<usize>> = places.iter().map(|p| out_index(layout, p)).collect();
    let matches = |r: &u32| {
        let part = register_part(layout, *r);
        index
            .iter()
            .zip(at)
            .all(|(n, at)| n.map_or(0, |n| part[n]) == *at)
    };
    (0..registers(layout))
        .find(matches)
        .unwrap_or_else(|| panic!("bug: no register holds {at:?}"))
}
