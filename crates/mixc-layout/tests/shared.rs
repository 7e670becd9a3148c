//! Swizzles against the documented patterns and a direct count of bank conflicts.

use mixc_layout::fragment::{blocked, ldmatrix_addresses, mma_accumulator};
use mixc_layout::shared::*;
use mixc_layout::{LANE, Layout, OFFSET};
use proptest::prelude::*;

/// Wavefronts for lanes that access `bytes` each, counted bank by bank.
fn wavefronts(offsets: &[u32], bytes: u32) -> usize {
    let group = match bytes {
        16 => 8,
        8 => 16,
        _ => 32,
    };
    let mut total = 0;
    for lanes in offsets.chunks(group) {
        let busiest = (0..32).map(|bank| {
            let mut words = std::collections::HashSet::new();
            for at in lanes {
                words.extend((*at..at + bytes).map(|b| b / 4).filter(|w| w % 32 == bank));
            }
            words.len()
        });
        total += busiest.max().unwrap();
    }
    total
}

#[test]
fn modes_have_the_documented_patterns() {
    // PTX ISA, "Swizzling Modes": the chunk found at each place of 128-byte lines.
    let pattern = [
        "01234567", "10325476", "23016745", "32107654", "45670123", "54761032", "67452301",
        "76543210",
    ];
    let modes = [
        (HardwareSwizzle::None, 1),
        (HardwareSwizzle::Bytes32, 2),
        (HardwareSwizzle::Bytes64, 4),
        (HardwareSwizzle::Bytes128, 8),
    ];
    for (mode, lines) in modes {
        assert_eq!(mode.repeat(), lines * 128);
        for line in 0..16 {
            let mut found = [b'?'; 8];
            for chunk in 0..8 {
                let at = mode.address(line * 128 + chunk * 16 + 5);
                assert_eq!((at / 128, at % 16), (line, 5));
                found[(at % 128 / 16) as usize] = b'0' + chunk as u8;
            }
            let documented = pattern[(line % lines) as usize];
            assert_eq!(std::str::from_utf8(&found).unwrap(), documented);
        }
    }
}

#[test]
fn long_rows_are_panels_in_the_modes_of_the_hardware() {
    let tile = SharedLayout::hardware(HardwareSwizzle::Bytes128, 2, 64, 128).unwrap();
    assert_eq!((tile.panels(), tile.bytes()), (2, 64 * 256));
    assert_eq!(tile.offset(0, 64), 64 * 128);
    // Row 3: chunk 1 of the second panel goes to place 2.
    assert_eq!(tile.offset(3, 64 + 8), 64 * 128 + 3 * 128 + 2 * 16);
    let layout = tile.layout().unwrap();
    // All but the second byte of each element.
    assert!(layout.is_injective() && layout.rank() + 1 == layout.total_out_bits());
    for (row, col) in [(0, 0), (5, 77), (63, 127)] {
        let at = [("row", row), ("col", col)];
        assert_eq!(layout.apply_to(OFFSET, &at), tile.offset(row, col));
    }
}

/// Where the matrices of `ldmatrix.x4` lie in a tile: as in the A operand.
fn matrices(rows: u32, cols: u32) -> Layout {
    let mut place = Layout::new(&[("row", rows), ("col", cols)]);
    for out in ["row", "col"] {
        for bit in 0..3 {
            place = place.with_bit(out, &[(out, 1 << bit)]);
        }
    }
    let place = place.with_bit("matrix", &[("row", 8)]);
    place.with_bit("matrix", &[("col", 8)])
}

#[test]
fn ldmatrix_and_the_copy_before_it_have_no_conflicts() {
    for cols in [16, 32, 64, 128, 256] {
        let tile = SharedLayout::for_rows(2, 64, cols).unwrap();
        let address = tile.layout().unwrap();
        let load = ldmatrix_addresses(4).unwrap();
        let load = load.compose(&matrices(6, cols.ilog2())).unwrap();
        let load = load.compose(&address).unwrap();
        assert_eq!(bank_conflicts(&load, 16).unwrap(), 0, "{cols} columns");
        let copy = blocked(&[("row", 64), ("col", cols)], &["col", "row"], 8, 4).unwrap();
        let copy = copy.compose(&address).unwrap();
        assert_eq!(bank_conflicts(&copy, 16).unwrap(), 0, "{cols} columns");
    }
    // Without a swizzle, eight rows of 128 bytes share four banks.
    let plain = SharedLayout {
        swizzle: Swizzle::plain(128),
        ..SharedLayout::for_rows(2, 64, 64).unwrap()
    };
    let load = ldmatrix_addresses(4)
        .unwrap()
        .compose(&matrices(6, 6))
        .unwrap();
    let load = load.compose(&plain.layout().unwrap()).unwrap();
    assert_eq!(bank_conflicts(&load, 16).unwrap(), 4 * 7);
}

#[test]
fn the_model_counts_lanes_that_share_words_once() {
    let lanes = |step: u32, bits: u32| {
        (0..5).fold(Layout::new(&[(OFFSET, bits)]), |l, bit| {
            l.with_bit(LANE, &[(OFFSET, step << bit)])
        })
    };
    assert_eq!(bank_conflicts(&lanes(0, 5), 4).unwrap(), 0);
    assert_eq!(bank_conflicts(&lanes(2, 6), 2).unwrap(), 0);
    assert_eq!(bank_conflicts(&lanes(4, 7), 4).unwrap(), 0);
    assert_eq!(bank_conflicts(&lanes(8, 8), 4).unwrap(), 1);
    assert_eq!(bank_conflicts(&lanes(8, 8), 8).unwrap(), 0);
    assert_eq!(bank_conflicts(&lanes(16, 9), 16).unwrap(), 0);
    assert_eq!(bank_conflicts(&lanes(128, 12), 4).unwrap(), 31);
    assert!(bank_conflicts(&lanes(4, 7), 3).is_err());
}

#[test]
fn the_choice_serves_all_accesses() {
    // Accumulators are written as pairs, read by rows; the usual swizzle has conflicts for the pairs.
    let rows = blocked(&[("row", 64), ("col", 64)], &["col", "row"], 4, 4).unwrap();
    let pairs = mma_accumulator()
        .rename_out("m", "row")
        .rename_out("n", "col");
    let pairs = pairs.product(&Layout::identity("register", "col", 3));
    let pairs = pairs.product(&Layout::identity("warp", "row", 2));
    let tile = choose_swizzle(4, 64, 64, &[rows.clone(), pairs.clone()]).unwrap();
    let address = tile.layout().unwrap();
    for (access, bytes) in [(&rows, 16), (&pairs, 8)] {
        let access = access.compose(&address).unwrap();
        assert_eq!(bank_conflicts(&access, bytes).unwrap(), 0, "{tile:?}");
    }
    let usual = SharedLayout::for_rows(4, 64, 64).unwrap();
    let usual = pairs.compose(&usual.layout().unwrap()).unwrap();
    assert_eq!(bank_conflicts(&usual, 8).unwrap(), 2);
    let wide = Layout::identity(LANE, "row", 5).product(&Layout::new(&[("col", 0)]));
    assert!(choose_swizzle(4, 16, 16, &[wide]).is_err());
    assert!(choose_swizzle(3, 16, 16, &[]).is_err());
}

/// An access that no swizzle after the usual one serves: lanes on every eighth row.
#[test]
fn the_choice_moves_the_xor_to_the_rows_that_are_accessed() {
    let mut strided = Layout::new(&[("row", 6), ("col", 5)]);
    for bit in 0..2 {
        strided = strided.with_bit("register", &[("col", 1 << bit)]);
    }
    for bit in 3..6 {
        strided = strided.with_bit(LANE, &[("row", 1 << bit)]);
    }
    let tile = choose_swizzle(4, 64, 32, std::slice::from_ref(&strided)).unwrap();
    assert_eq!((tile.swizzle.shift, tile.swizzle.mask), (3, 7));
}

proptest! {
    #[test]
    fn swizzles_are_bijections(elem in 0u32..5, rows in 1u32..40, cols in 1u32..200) {
        let tile = SharedLayout::for_rows(1 << elem, rows, cols).unwrap();
        let mut taken = vec![false; tile.bytes() as usize];
        for row in 0..rows {
            for col in 0..cols {
                let at = tile.offset(row, col);
                for byte in at..at + tile.elem_bytes {
                    prop_assert!(!std::mem::replace(&mut taken[byte as usize], true));
                }
            }
        }
        prop_assert!(tile.swizzle.pitch < cols * tile.elem_bytes + 16);
    }

    /// Any row length, a power of two or not.
    #[test]
    fn rows_and_columns_have_no_conflicts(chunks in 1u32..64, first in 0u32..8, at in 0u32..64) {
        let tile = SharedLayout::for_rows(16, 64, chunks).unwrap();
        let down: Vec<u32> = (0..8).map(|r| tile.offset(first * 8 + r, at % chunks)).collect();
        prop_assert_eq!(wavefronts(&down, 16), 1);
        let along = (0..8).map(|i| (first * 8 + at * 8 + i) % (64 * chunks));
        let along: Vec<u32> = along.map(|n| tile.offset(n / chunks, n % chunks)).collect();
        prop_assert_eq!(wavefronts(&along, 16), 1);
    }

    #[test]
    fn the_model_agrees_with_a_count(offsets in prop::collection::vec(0u32..512, 5), size in 0u32..5) {
        let bytes = 1 << size;
        let layout = offsets.iter().fold(Layout::new(&[(OFFSET, 9)]), |l, o| {
            l.with_bit(LANE, &[(OFFSET, o / bytes * bytes)])
        });
        let at: Vec<u32> = (0..32).map(|l| layout.apply_to(OFFSET, &[(LANE, l)])).collect();
        let least = 32usize.div_ceil((128 / bytes.max(4)) as usize);
        let found = bank_conflicts(&layout, bytes).unwrap() as usize;
        prop_assert_eq!(found + least, wavefronts(&at, bytes));
    }

    /// The layout and the formula agree wherever the layout exists.
    #[test]
    fn the_layout_is_the_formula(
        elem in 0u32..5, rows in 0u32..7, cols in 0u32..8, mode in 0usize..5,
    ) {
        let (elem, rows, cols) = (1 << elem, 1 << rows, 1 << cols);
        let tile = match HardwareSwizzle::ALL.get(mode) {
            Some(mode) => SharedLayout::hardware(*mode, elem, rows, cols),
            None => SharedLayout::for_rows(elem, rows, cols),
        };
        let tile = tile.unwrap();
        let layout = tile.layout().unwrap();
        prop_assert!(layout.is_injective());
        for row in 0..rows {
            for col in 0..cols {
                let at = layout.apply_to(OFFSET, &[("row", row), ("col", col)]);
                prop_assert_eq!(at, tile.offset(row, col));
                prop_assert!(at + elem <= tile.bytes());
            }
        }
    }
}
