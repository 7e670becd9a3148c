//! Fragments against the formulas of the PTX ISA, element by element.

use mixc_layout::fragment::*;
use mixc_layout::{LANE, Layout, REGISTER, WARP};

/// Compares a layout with a function of (register, lane, warp), and checks that the fragment has
/// each element exactly once.
fn check(layout: &Layout, outs: [&str; 2], formula: impl Fn(u32, u32, u32) -> (u32, u32)) {
    assert!(layout.is_injective() && layout.is_surjective(), "{layout}");
    for warp in 0..1 << layout.in_bits(WARP) {
        for lane in 0..32 {
            for register in 0..1 << layout.in_bits(REGISTER) {
                let at = [(REGISTER, register), (LANE, lane), (WARP, warp)];
                let found = (layout.apply_to(outs[0], &at), layout.apply_to(outs[1], &at));
                assert_eq!(
                    found,
                    formula(register, lane, warp),
                    "at {at:?} of\n{layout}"
                );
            }
        }
    }
}

#[test]
fn mma_accumulator_is_that_of_the_isa() {
    check(&mma_accumulator(), ["m", "n"], |i, lane, _| {
        let row = if i < 2 { lane >> 2 } else { (lane >> 2) + 8 };
        (row, (lane % 4) * 2 + (i & 1))
    });
}

#[test]
fn operands_of_m16n8k16_are_those_of_the_isa() {
    check(&mma_a_16bit(), ["m", "k"], |i, lane, _| {
        let upper = matches!(i, 0 | 1 | 4 | 5);
        let row = if upper { lane >> 2 } else { (lane >> 2) + 8 };
        let col = (lane % 4) * 2 + (i & 1);
        (row, if i < 4 { col } else { col + 8 })
    });
    check(&mma_b_16bit(), ["k", "n"], |i, lane, _| {
        let row = (lane % 4) * 2 + (i & 1);
        (if i < 2 { row } else { row + 8 }, lane >> 2)
    });
}

#[test]
fn operands_of_m16n8k8_are_those_of_the_isa() {
    check(&mma_a_tf32(), ["m", "k"], |i, lane, _| {
        let row = if i == 0 || i == 2 {
            lane >> 2
        } else {
            (lane >> 2) + 8
        };
        (row, if i < 2 { lane % 4 } else { lane % 4 + 4 })
    });
    check(&mma_b_tf32(), ["k", "n"], |i, lane, _| {
        (if i == 0 { lane % 4 } else { lane % 4 + 4 }, lane >> 2)
    });
    check(&mma_a_16bit_k8(), ["m", "k"], |i, lane, _| {
        let row = if i < 2 { lane >> 2 } else { (lane >> 2) + 8 };
        (row, (lane % 4) * 2 + (i & 1))
    });
    check(&mma_b_16bit_k8(), ["k", "n"], |i, lane, _| {
        ((lane % 4) * 2 + i, lane >> 2)
    });
}

#[test]
fn wgmma_fragments_are_those_of_the_isa() {
    for n in [8, 64, 256] {
        check(
            &wgmma_accumulator(n).unwrap(),
            ["m", "n"],
            |i, lane, warp| {
                let row = 16 * warp + lane / 4 + 8 * ((i / 2) % 2);
                (row, 8 * (i / 4) + 2 * (lane % 4) + i % 2)
            },
        );
    }
    check(&wgmma_a_16bit(), ["m", "k"], |i, lane, warp| {
        let row = 16 * warp + lane / 4 + 8 * ((i / 2) % 2);
        (row, 2 * (lane % 4) + i % 2 + 8 * (i / 4))
    });
    check(&wgmma_a_tf32(), ["m", "k"], |i, lane, warp| {
        (16 * warp + lane / 4 + 8 * (i % 2), lane % 4 + 4 * (i / 2))
    });
}

#[test]
fn registers_of_a_ragged_wgmma_are_its_columns() {
    let layout = wgmma_accumulator(96).unwrap();
    for register in 0..1 << layout.in_bits(REGISTER) {
        for lane in 0..32 {
            let n = layout.apply_to("n", &[(REGISTER, register), (LANE, lane)]);
            assert_eq!(n < 96, register < 48);
        }
    }
    for wrong in [0, 4, 12, 264] {
        assert!(wgmma_accumulator(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn ldmatrix_gives_each_lane_a_pair_of_a_row() {
    for (count, transposed) in [(1, false), (2, true), (4, false), (4, true)] {
        let layout = ldmatrix(count, transposed).unwrap();
        assert!(layout.is_injective() && layout.is_surjective());
        for lane in 0..32 {
            for register in 0..2 * count {
                let at = [(REGISTER, register), (LANE, lane)];
                let pair = ((lane / 4), 2 * (lane % 4) + register % 2);
                let (row, col) = if transposed { (pair.1, pair.0) } else { pair };
                let found = layout.values(&at);
                assert_eq!(found, [row, col, register / 2], "{layout}");
            }
        }
        let addresses = ldmatrix_addresses(count).unwrap();
        for lane in 0..8 * count {
            for col in 0..8 {
                let at = addresses.values(&[(LANE, lane), (REGISTER, col)]);
                assert_eq!(at, [lane % 8, col, lane / 8]);
            }
        }
    }
    assert!(ldmatrix(3, false).is_err() && ldmatrix_addresses(8).is_err());
}

/// The four matrices of `ldmatrix.x4`, placed as (rows 0-7, 8-15) x (columns 0-7, 8-15) with rows
/// first, are the A operand; `.trans` on a row-major [k, n] tile gives the B operand.
#[test]
fn ldmatrix_loads_operands() {
    let place = Layout::new(&[("m", 4), ("k", 4)]);
    let place = ["row", "col"]
        .iter()
        .zip(["m", "k"])
        .fold(place, |l, (i, o)| {
            (0..3).fold(l, |l, b| l.with_bit(i, &[(o, 1 << b)]))
        });
    let place = place.with_bit("matrix", &[("m", 8)]);
    let place = place.with_bit("matrix", &[("k", 8)]);
    let loaded = ldmatrix(4, false).unwrap().compose(&place).unwrap();
    assert_eq!(loaded, mma_a_16bit());

    let place = Layout::new(&[("k", 4), ("n", 3)]);
    let place = ["row", "col"]
        .iter()
        .zip(["k", "n"])
        .fold(place, |l, (i, o)| {
            (0..3).fold(l, |l, b| l.with_bit(i, &[(o, 1 << b)]))
        });
    let place = place.with_bit("matrix", &[("k", 8)]);
    let loaded = ldmatrix(2, true).unwrap().compose(&place).unwrap();
    assert_eq!(loaded, mma_b_16bit());
}

#[test]
fn blocked_layouts_are_coalesced() {
    let layout = blocked(&[("row", 64), ("col", 128)], &["col", "row"], 8, 4).unwrap();
    assert!(layout.is_injective() && layout.is_surjective());
    assert_eq!(vector_width(&layout, "col"), 8);
    let flat = |register, lane, warp| {
        let at = layout.values(&[(REGISTER, register), (LANE, lane), (WARP, warp)]);
        at[0] * 128 + at[1]
    };
    for warp in 0..4 {
        for lane in 0..32 {
            for register in 0..64 {
                let thread = warp * 32 + lane;
                let expected = (register / 8) * 1024 + thread * 8 + register % 8;
                assert_eq!(flat(register, lane, warp), expected);
            }
        }
    }
}

#[test]
fn small_tiles_are_held_by_several_threads() {
    let layout = blocked(&[("row", 2), ("col", 16)], &["row", "col"], 2, 4).unwrap();
    assert!(layout.is_surjective());
    assert_eq!(layout.free_bits(LANE), 0b10000);
    assert_eq!(layout.free_bits(WARP), 0b11);
    assert_eq!(vector_width(&layout, "row"), 2);
}

#[test]
fn odd_sizes_are_refused() {
    assert!(blocked(&[("row", 3)], &["row"], 1, 1).is_err());
    assert!(blocked(&[("row", 4)], &["row"], 8, 1).is_err());
    assert!(blocked(&[("row", 4)], &["row"], 1, 3).is_err());
}
