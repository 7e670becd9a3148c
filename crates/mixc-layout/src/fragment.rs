//! The register layouts that the hardware's matrix instructions prescribe.
//!
//! Each maps ([`REGISTER`], [`LANE`]) or ([`REGISTER`], [`LANE`], [`WARP`]) to the coordinates `m`,
//! `n`, `k` of a product `D[m, n] = sum[k] A[m, k] * B[k, n] + C[m, n]`. A register here is one
//! *element*, numbered as in the PTX ISA (`a0`, `a1`, ...): 16-bit elements `2i` and `2i + 1` are the
//! low and the high half of the `i`-th 32-bit operand.

use crate::{LANE, Layout, LayoutError, REGISTER, WARP};

/// The threads of a warp.
pub const LANES: u32 = 32;

/// Bits of an input, lowest first, each moving one coordinate.
type Bits<'a> = &'a [(&'a str, u32)];

fn fragment(outs: &[(&str, u32)], registers: Bits, lanes: Bits) -> Layout {
    let mut layout = Layout::new(outs).with_input(REGISTER).with_input(LANE);
    for (input, bits) in [(REGISTER, registers), (LANE, lanes)] {
        for bit in bits {
            layout = layout.with_bit(input, &[*bit]);
        }
    }
    layout
}

/// C and D of `mma.m16n8*` with 32-bit accumulators, 16x8, 4 registers.
///
/// PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type": row `lane / 4`, from `c2`
/// on plus 8; column `2 * (lane % 4) + i % 2`.
pub fn mma_accumulator() -> Layout {
    fragment(
        &[("m", 4), ("n", 3)],
        &[("n", 1), ("m", 8)],
        &[("n", 2), ("n", 4), ("m", 1), ("m", 2), ("m", 4)],
    )
}

/// A of `mma.m16n8k16` with 16-bit elements, 16x16, 8 registers.
///
/// PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type": row `lane / 4`, plus 8 for
/// `a2, a3, a6, a7`; column `2 * (lane % 4) + i % 2`, from `a4` on plus 8.
pub fn mma_a_16bit() -> Layout {
    fragment(
        &[("m", 4), ("k", 4)],
        &[("k", 1), ("m", 8), ("k", 8)],
        &[("k", 2), ("k", 4), ("m", 1), ("m", 2), ("m", 4)],
    )
}

/// B of `mma.m16n8k16` with 16-bit elements, 16x8, 4 registers.
///
/// PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type": row
/// `2 * (lane % 4) + i % 2`, from `b2` on plus 8; column `lane / 4`.
pub fn mma_b_16bit() -> Layout {
    fragment(
        &[("k", 4), ("n", 3)],
        &[("k", 1), ("k", 8)],
        &[("k", 2), ("k", 4), ("n", 1), ("n", 2), ("n", 4)],
    )
}

/// A of `mma.m16n8k8` with 16-bit elements, 16x8, 4 registers.
///
/// PTX ISA, "Matrix Fragments for mma.m16n8k8": row `lane / 4`, from `a2` on plus 8; column
/// `2 * (lane % 4) + i % 2`.
pub fn mma_a_16bit_k8() -> Layout {
    mma_accumulator().rename_out("n", "k")
}

/// B of `mma.m16n8k8` with 16-bit elements, 8x8, 2 registers.
///
/// PTX ISA, "Matrix Fragments for mma.m16n8k8": row `2 * (lane % 4) + i`; column `lane / 4`.
pub fn mma_b_16bit_k8() -> Layout {
    fragment(
        &[("k", 3), ("n", 3)],
        &[("k", 1)],
        &[("k", 2), ("k", 4), ("n", 1), ("n", 2), ("n", 4)],
    )
}

/// A of `mma.m16n8k8` with tf32 elements, 16x8, 4 registers.
///
/// PTX ISA, "Matrix Fragments for mma.m16n8k8": row `lane / 4`, plus 8 for `a1, a3`; column
/// `lane % 4`, from `a2` on plus 4.
pub fn mma_a_tf32() -> Layout {
    fragment(
        &[("m", 4), ("k", 3)],
        &[("m", 8), ("k", 4)],
        &[("k", 1), ("k", 2), ("m", 1), ("m", 2), ("m", 4)],
    )
}

/// B of `mma.m16n8k8` with tf32 elements, 8x8, 2 registers.
///
/// PTX ISA, "Matrix Fragments for mma.m16n8k8": row `lane % 4`, plus 4 for `b1`; column `lane / 4`.
pub fn mma_b_tf32() -> Layout {
    fragment(
        &[("k", 3), ("n", 3)],
        &[("k", 4)],
        &[("k", 1), ("k", 2), ("n", 1), ("n", 2), ("n", 4)],
    )
}

/// What `ldmatrix.m8n8.xN.b16` leaves in the registers: `row`, `col` of 8x8 matrices of 16-bit
/// elements, as they are stored, and which `matrix` of the `count` (1, 2 or 4) it is. Matrix `i`
/// comes in the `i`-th 32-bit operand. With `transposed` (`.trans`) a thread gets two elements of one
/// column instead of one row.
///
/// PTX ISA, "Warp-level matrix load instruction: ldmatrix".
///
/// # Errors
/// When `count` is not 1, 2 or 4.
pub fn ldmatrix(count: u32, transposed: bool) -> Result<Layout, LayoutError> {
    let matrices = matrix_bits(count)?;
    let (along, across) = if transposed {
        ("row", "col")
    } else {
        ("col", "row")
    };
    let mut registers = vec![(along, 1)];
    registers.extend((0..matrices).map(|b| ("matrix", 1 << b)));
    Ok(fragment(
        &[("row", 3), ("col", 3), ("matrix", matrices)],
        &registers,
        &[
            (along, 2),
            (along, 4),
            (across, 1),
            (across, 2),
            (across, 4),
        ],
    ))
}

/// What each lane addresses in `ldmatrix` with `count` matrices of 16-bit elements: lanes 8i to 8i + 7
/// give the rows of matrix `i`; further lanes are not looked at. The registers are not what the lane
/// gets (that is [`ldmatrix`]) but the 8 elements, 16 bytes, at its address.
///
/// PTX ISA, "Warp-level matrix load instruction: ldmatrix".
///
/// # Errors
/// When `count` is not 1, 2 or 4.
pub fn ldmatrix_addresses(count: u32) -> Result<Layout, LayoutError> {
    let matrices = matrix_bits(count)?;
    let mut lanes = vec![("row", 1), ("row", 2), ("row", 4)];
    lanes.extend((0..matrices).map(|b| ("matrix", 1 << b)));
    let layout = fragment(
        &[("row", 3), ("col", 3), ("matrix", matrices)],
        &[("col", 1), ("col", 2), ("col", 4)],
        &lanes,
    );
    Ok((layout.in_bits(LANE)..5).fold(layout, |l, _| l.with_bit(LANE, &[])))
}

fn matrix_bits(count: u32) -> Result<u32, LayoutError> {
    if matches!(count, 1 | 2 | 4) {
        Ok(count.trailing_zeros())
    } else {
        Err(LayoutError::size(
            "the number of matrices",
            count,
            "1, 2 or 4",
        ))
    }
}

/// D of `wgmma.m64nNk*` with 32-bit accumulators, 64xN over the four warps of a warpgroup, N/2
/// registers.
///
/// PTX ISA, "Register Fragments and Shared Memory Matrix Layouts" of wgmma: row
/// `16 * warp + lane / 4`, plus 8 for every second pair of registers; column
/// `8 * (i / 4) + 2 * (lane % 4) + i % 2`.
///
/// `n` need not be a power of two: the layout is that of the next one, and registers from `n / 2` on
/// and columns from `n` on, which correspond, do not exist.
///
/// # Errors
/// When `n` is not a multiple of 8 between 8 and 256.
pub fn wgmma_accumulator(n: u32) -> Result<Layout, LayoutError> {
    if !(8..=256).contains(&n) || !n.is_multiple_of(8) {
        return Err(LayoutError::size(
            "the width of the product",
            n,
            "a multiple of 8 from 8 to 256",
        ));
    }
    let bits = n.next_power_of_two().trailing_zeros();
    let columns = Layout::identity(REGISTER, "n", bits - 3);
    Ok(mma_accumulator().product(&columns).product(&warp_rows()))
}

/// A of `wgmma.m64nNk16` with 16-bit elements from registers, 64x16, 8 registers: in each warp 16
/// rows as in [`mma_a_16bit`].
///
/// PTX ISA, "Register Fragments" of wgmma.mma_async.m64nNk16.
pub fn wgmma_a_16bit() -> Layout {
    mma_a_16bit().product(&warp_rows())
}

/// A of `wgmma.m64nNk8` with tf32 elements from registers, 64x8, 4 registers: in each warp 16 rows as
/// in [`mma_a_tf32`].
///
/// PTX ISA, "Register Fragments" of wgmma.mma_async.m64nNk8.
pub fn wgmma_a_tf32() -> Layout {
    mma_a_tf32().product(&warp_rows())
}

/// The four warps of a warpgroup, one above the other.
fn warp_rows() -> Layout {
    Layout::identity(WARP, "m", 2)
}

/// A coalesced layout for elementwise work and for copies: `vec` neighbours along the innermost
/// dimension in the registers of one thread, the next elements in the lanes, then in the `warps`, and
/// what is left in further registers. Lanes and warps that a small tile has no elements for hold
/// copies.
///
/// `shape` has name and size of each output; `order` names them from the one whose neighbours are
/// neighbours in memory outwards.
///
/// # Errors
/// When a size, `vec` or `warps` is not a power of two, or `vec` is larger than the innermost
/// dimension.
pub fn blocked(
    shape: &[(&str, u32)],
    order: &[&str],
    vec: u32,
    warps: u32,
) -> Result<Layout, LayoutError> {
    let power = |what: &str, size: u32| {
        if size.is_power_of_two() {
            Ok(size.trailing_zeros())
        } else {
            Err(LayoutError::size(what, size, "a power of two"))
        }
    };
    let mut outs = vec![];
    for (name, size) in shape {
        outs.push((*name, power(&format!("the size of `{name}`"), *size)?));
    }
    let (vec, warps) = (
        power("the vector", vec)?,
        power("the number of warps", warps)?,
    );

    let mut layout = Layout::new(&outs);
    for input in [REGISTER, LANE, WARP] {
        layout = layout.with_input(input);
    }
    let size = |name: &str| layout.out_bits(name);
    let mut elements = vec![];
    for name in order {
        elements.extend((0..size(name)).map(|bit| (*name, 1 << bit)));
    }
    assert!(
        order.len() == shape.len() && elements.len() as u32 == layout.total_out_bits(),
        "bug: the order {order:?} does not name each dimension once"
    );
    let inner = order.first().map_or(0, |name| size(name));
    if vec > inner {
        let expected = format!("at most the innermost size {}", 1 << inner);
        return Err(LayoutError::size("the vector", 1 << vec, expected));
    }

    let mut elements = elements.into_iter();
    for (input, bits) in [
        (REGISTER, vec),
        (LANE, LANES.trailing_zeros()),
        (WARP, warps),
    ] {
        for _ in 0..bits {
            let vector: Vec<_> = elements.next().into_iter().collect();
            layout = layout.with_bit(input, &vector);
        }
    }
    Ok(elements.fold(layout, |l, element| l.with_bit(REGISTER, &[element])))
}

/// How many neighbours along `out` a thread holds in consecutive registers: the widest access, in
/// elements, that the layout allows there.
pub fn vector_width(layout: &Layout, out: &str) -> u32 {
    let place = layout.outs().position(|(name, _)| name == out);
    let place = place.unwrap_or_else(|| panic!("bug: no output `{out}` in\n{layout}"));
    let alone = |bit: u32| {
        let vector = layout.basis(REGISTER, bit);
        let others = vector
            .iter()
            .enumerate()
            .all(|(p, v)| p == place || *v == 0);
        others && vector[place] == 1 << bit
    };
    let run = (0..layout.in_bits(REGISTER)).take_while(|bit| alone(*bit));
    1 << run.count()
}
