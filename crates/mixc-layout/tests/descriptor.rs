//! Descriptors against a reading of them as the PTX ISA describes it.

use mixc_layout::descriptor::{Descriptor, Major};
use mixc_layout::shared::{HardwareSwizzle, SharedLayout, Swizzle};

/// The byte address of an element of an operand, from the bits of its descriptor: "Strides" and
/// "Swizzling Modes". Core matrices are 8 rows of 16 bytes; in the modes that swizzle, rows of the
/// span's length, with the exchange of chunks by address.
fn address(bits: u64, start: u64, mn: u64, k: u64, elem: u64, major: Major) -> u64 {
    let (leading, stride) = ((bits >> 16 & 0x3fff) * 16, (bits >> 32 & 0x3fff) * 16);
    let (span, exchanged) = match bits >> 62 {
        0 => (16, 0),
        1 => (128, 0b111),
        2 => (64, 0b11),
        _ => (32, 0b1),
    };
    let (row, along) = match major {
        Major::K => (mn, k * elem),
        Major::MN => (k, mn * elem),
    };
    let (row, group, within, panel) = (row % 8, row / 8, along % span, along / span);
    let (group_step, panel_step) = match (span, major) {
        (16, Major::MN) => (leading, stride),
        _ => (stride, leading),
    };
    if major == Major::K && span != 16 {
        assert_eq!(panel, 0, "a K-major slice lies in one panel");
    }
    let at = start + row * span + within + group * group_step + panel * panel_step;
    at ^ (at >> 7 & exchanged) << 4
}

#[test]
fn descriptors_find_every_element_of_a_slice() {
    for mode in HardwareSwizzle::ALL {
        for major in [Major::K, Major::MN] {
            for (elem, rows, cols) in [(2, 64, 128), (2, 32, 64), (4, 64, 64)] {
                let tile = SharedLayout::hardware(mode, elem, rows, cols).unwrap();
                let descriptor = Descriptor::new(&tile, major).unwrap();
                // A slice of one instruction: 32 bytes of k, or 16 values of it.
                let (slice_rows, slice_cols) = match major {
                    Major::K => (rows, 32 / elem),
                    Major::MN => (16, cols),
                };
                for (row0, col0) in slices([rows, cols], [slice_rows, slice_cols]) {
                    let start = 4096 + tile.offset(row0, col0);
                    assert_eq!(start % 16, 0);
                    for row in 0..slice_rows {
                        for col in 0..slice_cols {
                            let (mn, k) = match major {
                                Major::K => (row, col),
                                Major::MN => (col, row),
                            };
                            let (bits, start) = (descriptor.bits(), u64::from(start));
                            let at = address(bits, start, mn.into(), k.into(), elem.into(), major);
                            let expected = 4096 + tile.offset(row0 + row, col0 + col);
                            assert_eq!(at, u64::from(expected), "{mode:?} {major:?} {row} {col}");
                        }
                    }
                }
            }
        }
    }
}

fn slices(size: [u32; 2], slice: [u32; 2]) -> Vec<(u32, u32)> {
    let rows = (0..size[0]).step_by(slice[0] as usize);
    let at = rows.flat_map(|r| (0..size[1]).step_by(slice[1] as usize).map(move |c| (r, c)));
    at.collect()
}

#[test]
fn other_tiles_have_no_descriptor() {
    let wide = SharedLayout::for_rows(2, 64, 128).unwrap();
    assert!(Descriptor::new(&wide, Major::K).is_err());
    let plain = SharedLayout {
        swizzle: Swizzle::plain(128),
        ..SharedLayout::for_rows(2, 64, 64).unwrap()
    };
    assert!(Descriptor::new(&plain, Major::K).is_err());
    let ragged = SharedLayout::hardware(HardwareSwizzle::Bytes128, 2, 12, 64).unwrap();
    assert!(Descriptor::new(&ragged, Major::MN).is_err());
}
