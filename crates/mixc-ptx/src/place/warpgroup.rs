//! Products that four warps compute together (`wgmma`, PTX ISA "Asynchronous warpgroup level matrix instructions").
//!
//! The result of m64nNk16 lies in registers exactly as that of sixteen rows for each warp through `mma.m16n8`, and so do
//! rows that come from registers; only where the factors are read from differs.

use super::{Elem, Home, Placement, Product, Storage, Unit, rows_operand};
use crate::spread;
use crate::visit;
use crate::{Options, Target};
use mixc_ir::Name;
use mixc_layout::descriptor::{Descriptor, Major};
use mixc_layout::shared::{HardwareSwizzle, SharedLayout};
use mixc_tile::Access;

/// A factor in shared memory as the instruction addresses it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Factor {
    /// The descriptor for address 0.
    pub descriptor: u64,
    /// Whether the sum runs along the rows of the tile.
    pub k_major: bool,
    pub tile: SharedLayout,
}

/// How warpgroups compute a product.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Warpgroup {
    /// Rows in shared memory; None where they come from registers.
    pub rows: Option<Factor>,
    pub columns: Factor,
}

/// Lets warpgroups compute the products that have the form for it: 16 rows for each warp, columns in a swizzle of the
/// hardware.
pub(super) fn choose(placement: &mut Placement, options: &Options) {
    if options.target != Target::Sm90a || placement.warp_bits < 2 {
        return;
    }
    let found: Vec<_> = placement
        .products
        .iter()
        .filter_map(|(key, product)| Some((*key, warpgroup(placement, product)?)))
        .collect();
    for (key, warpgroup) in found {
        if let Some(product) = placement.products.get_mut(&key) {
            product.warpgroup = Some(warpgroup);
        }
    }
}

fn warpgroup(placement: &Placement, product: &Product) -> Option<Warpgroup> {
    let m: usize = product.m.iter().map(|(_, n)| n).product();
    let powers = product.m.iter().all(|(_, n)| n.is_power_of_two());
    let ([(n, columns)], [(k, sum)]) = (product.n.as_slice(), product.k.as_slice()) else {
        return None;
    };
    if !product.unit.is_half()
        || m != 16 << placement.warp_bits
        || !powers
        || columns % 8 != 0
        || *columns > 256
        || sum % 16 != 0
    {
        return None;
    }
    let columns = factor(placement, product.unit, &product.columns, n, k)?;
    let rows_layout = rows_operand(product, placement.warp_bits);
    let in_registers = match &placement.homes[visit::index(product.rows.buf)] {
        Home::Registers(held) => visit::plain(&product.rows)
            .is_some_and(|places| spread::same_thread(held, &places, &rows_layout).is_some()),
        Home::Shared => false,
    };
    let rows = match product.m.as_slice() {
        [(m, _)] if !in_registers => factor(placement, product.unit, &product.rows, m, k),
        _ => None,
    };
    Some(Warpgroup { rows, columns })
}

/// A factor over the axes `outer` and `k` that lies in shared memory in a swizzle of the hardware.
fn factor(
    placement: &Placement,
    unit: Unit,
    access: &Access,
    outer: &Name,
    k: &Name,
) -> Option<Factor> {
    let storage: &Storage = placement.storage[visit::index(access.buf)].as_ref()?;
    let wanted = if unit == Unit::Bf16 {
        Elem::Bf16
    } else {
        Elem::F16
    };
    let places = visit::plain(access)?;
    if storage.elem != wanted || places.len() != 2 || !places.contains(outer) {
        return None;
    }
    let mode = HardwareSwizzle::ALL
        .into_iter()
        .find(|m| *m != HardwareSwizzle::None && m.span() as usize == storage.pitch)?;
    let (rows, cols) = (storage.rows() as u32, storage.shape[storage.inner] as u32);
    let tile = SharedLayout::hardware(mode, 2, rows, cols).ok()?;
    let k_major = places[storage.inner] == *k;
    let major = if k_major { Major::K } else { Major::MN };
    let descriptor = Descriptor::new(&tile, major).ok()?.bits();
    Some(Factor {
        descriptor,
        k_major,
        tile,
    })
}
