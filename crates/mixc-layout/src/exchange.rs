//! Conversions through shared memory.

use crate::banks::{Access, vector_bits};
use crate::convert::{same_registers, stays};
use crate::shared::{SharedLayout, check_element, choose_swizzle};
use crate::{LANE, Layout, LayoutError, REGISTER, WARP};

/// A conversion that stores a tile to shared memory and loads it back.
///
/// The threads of the block, or of each warp with [`Exchange::within_warp`], meet between the stores
/// and the loads, and before the memory is used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The tile in shared memory.
    pub tile: SharedLayout,
    /// The coordinates of the two layouts to `row` and `col` of that tile.
    pub place: Layout,
    pub store: Transfer,
    pub load: Transfer,
    /// The threads that need not store.
    pub copies: Copies,
    /// As in [`crate::convert::Shuffle`].
    pub same: Layout,
    /// Every element goes to a thread of its own warp.
    pub within_warp: bool,
}

/// The accesses of every thread on one side of an [`Exchange`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// [`REGISTER`], [`LANE`], [`WARP`] to the byte [`OFFSET`](crate::OFFSET).
    pub offset: Layout,
    /// The elements of one access.
    pub vector: u32,
    /// The registers in the order of the accesses: each `vector` of them, the first giving the
    /// offset, are one access.
    pub registers: Vec<u32>,
    /// The wavefronts that the accesses of all warps take in the model of
    /// [`crate::shared::bank_conflicts`].
    pub wavefronts: u64,
}

/// Masks of lane and warp bits: a thread with any of them set holds only copies of what other threads
/// hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Copies {
    pub lanes: u32,
    pub warps: u32,
}

impl Exchange {
    /// Plans a conversion through shared memory: which coordinate runs along the rows, and with which
    /// swizzle, so that stores and loads take the fewest wavefronts.
    ///
    /// # Errors
    /// As [`crate::convert::plan`].
    pub fn new(from: &Layout, to: &Layout, elem_bytes: u32) -> Result<Exchange, LayoutError> {
        check_element(elem_bytes)?;
        let within_warp = stays(&from.conversion(to)?, WARP);
        let plan = |inner: &str| place(from, to, inner, elem_bytes, within_warp);
        let mut best: Option<Exchange> = None;
        for (inner, _) in from.outs() {
            let found = plan(inner)?;
            let cost = |e: &Exchange| e.store.wavefronts + e.load.wavefronts;
            if best.as_ref().is_none_or(|b| cost(&found) < cost(b)) {
                best = Some(found);
            }
        }
        best.map_or_else(|| plan(""), Ok)
    }
}

/// The plan in which `inner` is the column and the other coordinates together are the row.
fn place(
    from: &Layout,
    to: &Layout,
    inner: &str,
    elem_bytes: u32,
    within_warp: bool,
) -> Result<Exchange, LayoutError> {
    let cols = from.out_bits(inner);
    let rows = from.total_out_bits() - cols;
    let mut place = Layout::new(&[("row", rows), ("col", cols)]);
    let mut row = 0;
    for (name, bits) in from.outs() {
        place = place.with_input(name);
        for bit in 0..bits {
            let out = if name == inner {
                ("col", 1 << bit)
            } else {
                row += 1;
                ("row", 1 << (row - 1))
            };
            place = place.with_bit(name, &[out]);
        }
    }
    let (store, load) = (from.compose(&place)?, to.compose(&place)?);
    let accesses = [store, load];
    let tile = choose_swizzle(elem_bytes, 1 << rows, 1 << cols, &accesses)?;
    let [store, load] = &accesses;
    Ok(Exchange {
        store: transfer(store, &tile)?,
        load: transfer(load, &tile)?,
        copies: Copies {
            lanes: from.free_bits(LANE),
            warps: from.free_bits(WARP),
        },
        same: same_registers(to),
        tile,
        place,
        within_warp,
    })
}

/// The accesses of one side, given by its layout to `row` and `col`, for the registers that do not hold
/// the same as others of their thread.
fn transfer(side: &Layout, tile: &SharedLayout) -> Result<Transfer, LayoutError> {
    let vector = vector_bits(side, tile.elem_bytes);
    let same = same_registers(side);
    let first = |r: &u32| same.apply_to(REGISTER, &[(REGISTER, *r)]) == *r;
    // The bits of the register, those of the vector first.
    let rest = (0..side.in_bits(REGISTER)).filter(|bit| !vector.contains(bit));
    let order: Vec<u32> = vector.iter().copied().chain(rest).collect();
    let register = |number: u32| {
        let bits = order.iter().enumerate();
        bits.fold(0, |r, (from, to)| r | (number >> from & 1) << to)
    };
    let registers = (0..1 << order.len()).map(register);
    let access = Access::new(side, tile.elem_bytes, true);
    Ok(Transfer {
        offset: side.compose(&tile.layout()?)?,
        vector: 1 << vector.len(),
        registers: registers.filter(first).collect(),
        wavefronts: access.wavefronts(|row, col| tile.offset(row, col))
            >> (side.in_bits(REGISTER) - same.rank()),
    })
}
