//! Tiles in shared memory: swizzled addresses that keep accesses free of bank conflicts.
//!
//! A tile's rows lie one after the other, and the number of each 16-byte chunk within its row is
//! XORed with bits of the row number. Lanes that walk along a row and lanes that walk down a column
//! then both spread over all banks.

use crate::banks::{Access, conflicts};
use crate::layout::fits;
use crate::{Layout, LayoutError, OFFSET};

/// The unit that a swizzle moves: the widest access of one thread.
pub const CHUNK_BYTES: u32 = 16;
/// Chunks that the banks serve at once: 32 banks of 4 bytes.
const LINE_CHUNKS: u32 = 8;

/// Where a chunk goes: `offset = row * pitch + (chunk ^ (((row >> shift) & mask) << lift)) * 16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Swizzle {
    /// Bytes from one row to the next, a multiple of 16.
    pub pitch: u32,
    pub shift: u32,
    /// `mask << lift` has only bits of one less than a power of two that divides the chunks of a row.
    pub mask: u32,
    /// Zero but for what [`choose_swizzle`] finds, where threads access pairs of chunks together.
    pub lift: u32,
}

impl Swizzle {
    /// Rows of `pitch` bytes without any XOR.
    pub fn plain(pitch: u32) -> Swizzle {
        Swizzle {
            pitch,
            shift: 0,
            mask: 0,
            lift: 0,
        }
    }

    /// The swizzle for rows of this many elements, padded to whole chunks, in which
    /// - the same chunk of 8 consecutive rows (from a multiple of 8 on) lies in 8 different groups of
    ///   four banks, so `ldmatrix` and 16-byte accesses down a column have no conflicts, and
    /// - any 8 consecutive chunks along the rows, from a multiple of 8 on, do too.
    ///
    /// A row of `p * 2^t` chunks, `p` odd, brings `8 / 2^t` rows (at least one) to different groups by
    /// itself; the XOR with the row number above that separates the rest.
    pub fn for_rows(elem_bytes: u32, row_elems: u32) -> Swizzle {
        let chunks = (row_elems * elem_bytes).div_ceil(CHUNK_BYTES).max(1);
        let apart = LINE_CHUNKS.trailing_zeros();
        let even = chunks.trailing_zeros().min(apart);
        Swizzle {
            pitch: chunks * CHUNK_BYTES,
            shift: apart - even,
            mask: (1 << even) - 1,
            lift: 0,
        }
    }

    /// The byte offset of a byte of a row.
    pub fn offset(&self, row: u32, byte: u32) -> u32 {
        let moved = ((row >> self.shift) & self.mask) << self.lift;
        let chunk = (byte / CHUNK_BYTES) ^ moved;
        row * self.pitch + chunk * CHUNK_BYTES + byte % CHUNK_BYTES
    }

    /// All swizzles that differ in where chunks of a line of banks go and that keep chunks in their
    /// row.
    fn candidates(pitch: u32, row_bits: u32) -> impl Iterator<Item = Swizzle> {
        let even = (pitch / CHUNK_BYTES).trailing_zeros();
        let even = even.min(LINE_CHUNKS.trailing_zeros());
        // To move row bits up, either the lift or the shift need not be zero: a mask does the rest.
        let moves = (0..=row_bits).map(|shift| (shift, 0));
        let moves = moves.chain((1..even).map(|lift| (0, lift)));
        moves.flat_map(move |(shift, lift)| {
            (0..1 << (even - lift)).map(move |mask| Swizzle {
                pitch,
                shift,
                mask,
                lift,
            })
        })
    }
}

/// The swizzling modes of bulk tensor copies and of wgmma matrix descriptors.
///
/// PTX ISA, "Swizzling Modes" of tensors: in every second (32B), in every group of four (64B), in
/// every group of eight (128B) lines of 128 bytes, the chunks are exchanged by the XOR of their
/// number with that of the line. The memory starts at a multiple of [`HardwareSwizzle::repeat`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HardwareSwizzle {
    None,
    Bytes32,
    Bytes64,
    Bytes128,
}

impl HardwareSwizzle {
    pub const ALL: [HardwareSwizzle; 4] = [
        HardwareSwizzle::None,
        HardwareSwizzle::Bytes32,
        HardwareSwizzle::Bytes64,
        HardwareSwizzle::Bytes128,
    ];

    /// The bytes of a row, the span within which chunks are exchanged.
    pub fn span(self) -> u32 {
        match self {
            HardwareSwizzle::None => 16,
            HardwareSwizzle::Bytes32 => 32,
            HardwareSwizzle::Bytes64 => 64,
            HardwareSwizzle::Bytes128 => 128,
        }
    }

    /// The bytes after which the pattern repeats: the alignment that the memory needs.
    pub fn repeat(self) -> u32 {
        8 * self.span()
    }

    /// The swizzle of rows as long as the span.
    pub fn swizzle(self) -> Swizzle {
        Swizzle::for_rows(1, self.span())
    }

    /// Where the byte at a linear offset goes.
    pub fn address(self, offset: u32) -> u32 {
        self.swizzle()
            .offset(offset / self.span(), offset % self.span())
    }
}

/// A tile in shared memory, given by what an emitter needs to compute addresses.
///
/// The byte offset of element (row, col) is
/// `panel * panel_bytes + row * pitch + (chunk ^ (((row >> shift) & mask) << lift)) * 16 + within`
/// where `byte = col * elem_bytes`, `panel = byte / pitch`, `chunk = byte % pitch / 16` and
/// `within = byte % 16`. Most tiles have one panel; a tile for bulk copies or wgmma whose rows are
/// longer than the span of the hardware's swizzle has several, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SharedLayout {
    pub elem_bytes: u32,
    pub rows: u32,
    pub cols: u32,
    pub swizzle: Swizzle,
}

impl SharedLayout {
    /// A tile with the swizzle of [`Swizzle::for_rows`].
    ///
    /// # Errors
    /// When the element size is not a power of two up to 16 bytes.
    pub fn for_rows(elem_bytes: u32, rows: u32, cols: u32) -> Result<SharedLayout, LayoutError> {
        check_element(elem_bytes)?;
        Ok(SharedLayout {
            elem_bytes,
            rows,
            cols,
            swizzle: Swizzle::for_rows(elem_bytes, cols),
        })
    }

    /// A tile as a bulk tensor copy with this mode leaves it: panels of as many columns as the span
    /// holds, each with all rows.
    ///
    /// # Errors
    /// When the element size is not a power of two up to 16 bytes.
    pub fn hardware(
        mode: HardwareSwizzle,
        elem_bytes: u32,
        rows: u32,
        cols: u32,
    ) -> Result<SharedLayout, LayoutError> {
        check_element(elem_bytes)?;
        Ok(SharedLayout {
            elem_bytes,
            rows,
            cols,
            swizzle: mode.swizzle(),
        })
    }

    /// Bytes from one panel to the next.
    pub fn panel_bytes(&self) -> u32 {
        self.rows * self.swizzle.pitch
    }

    /// How many panels the columns need.
    pub fn panels(&self) -> u32 {
        (self.cols * self.elem_bytes)
            .div_ceil(self.swizzle.pitch)
            .max(1)
    }

    /// The size of the tile.
    pub fn bytes(&self) -> u32 {
        self.panels() * self.panel_bytes()
    }

    /// The byte offset of an element.
    pub fn offset(&self, row: u32, col: u32) -> u32 {
        let byte = col * self.elem_bytes;
        let (panel, byte) = (byte / self.swizzle.pitch, byte % self.swizzle.pitch);
        panel * self.panel_bytes() + self.swizzle.offset(row, byte)
    }

    /// The same as a layout from `row` and `col` to [`OFFSET`], for sizes rounded up to powers of
    /// two.
    ///
    /// # Errors
    /// When the pitch is not a power of two, or there are several panels and the number of rows is
    /// not one: the offset is no linear map over bits then.
    pub fn layout(&self) -> Result<Layout, LayoutError> {
        let power = |what: &str, size: u32| {
            let error = LayoutError::size(what, size, "a power of two");
            size.is_power_of_two().then_some(()).ok_or(error)
        };
        power("the pitch", self.swizzle.pitch)?;
        if self.panels() > 1 {
            power("the number of rows of a panel", self.rows)?;
        }
        let (rows, cols) = (bits(self.rows), bits(self.cols));
        let columns = 1 << cols;
        let last = SharedLayout {
            cols: columns,
            ..*self
        };
        let size = (1 << rows) * self.swizzle.pitch * last.panels();
        let mut layout = Layout::new(&[(OFFSET, bits(size))])
            .with_input("row")
            .with_input("col");
        for bit in 0..rows {
            layout = layout.with_bit("row", &[(OFFSET, self.offset(1 << bit, 0))]);
        }
        for bit in 0..cols {
            layout = layout.with_bit("col", &[(OFFSET, self.offset(0, 1 << bit))]);
        }
        Ok(layout)
    }
}

/// The tile layout with the fewest bank conflicts over these accesses, each counted once for every
/// instruction that it takes.
///
/// An access is a layout from registers, lanes and whatever else to `row` and `col`; each thread
/// accesses as many columns at once as it has neighbours in its registers, up to 16 bytes. For
/// `ldmatrix` use [`crate::fragment::ldmatrix_addresses`] composed with the place of the matrices.
/// Rows are padded to whole chunks only. Where there is a choice it is that of
/// [`Swizzle::for_rows`], then the smallest lift, shift and mask.
///
/// # Errors
/// When the element size is not a power of two up to 16 bytes, or an access has coordinates past the
/// tile.
pub fn choose_swizzle(
    elem_bytes: u32,
    rows: u32,
    cols: u32,
    accesses: &[Layout],
) -> Result<SharedLayout, LayoutError> {
    let usual = SharedLayout::for_rows(elem_bytes, rows, cols)?;
    let pitch = usual.swizzle.pitch;
    let mut expanded = vec![];
    for access in accesses {
        check_access(access, &usual)?;
        // With a linear address all instructions of an access differ by a XOR with a constant, which
        // only renames the banks.
        expanded.push(Access::new(access, elem_bytes, pitch.is_power_of_two()));
    }
    let cost = |tile: &SharedLayout| -> u64 {
        let cost = |access: &Access| access.conflicts(|row, col| tile.offset(row, col));
        expanded.iter().map(cost).sum()
    };
    let mut best = (cost(&usual), usual);
    for swizzle in Swizzle::candidates(pitch, bits(rows)) {
        if best.0 == 0 {
            break;
        }
        let tile = SharedLayout { swizzle, ..usual };
        let cost = cost(&tile);
        if cost < best.0 {
            best = (cost, tile);
        }
    }
    Ok(best.1)
}

/// How many wavefronts one access of a warp needs beyond the minimum, where `layout` gives the byte
/// [`OFFSET`] of each [`LANE`](crate::LANE); other inputs are zero.
///
/// A wavefront serves 128 bytes, each of 32 banks one 4-byte word. Accesses of up to 4 bytes go for
/// all 32 lanes at once, of 8 bytes for half a warp, of 16 bytes for a quarter; lanes that access the
/// same word share it.
///
/// # Errors
/// When `bytes_per_lane` is not a power of two up to 16.
pub fn bank_conflicts(layout: &Layout, bytes_per_lane: u32) -> Result<u32, LayoutError> {
    check_element(bytes_per_lane)?;
    let lanes = 0..1 << layout.in_bits(crate::LANE);
    let offsets = lanes.map(|lane| layout.apply_to(OFFSET, &[(crate::LANE, lane)]));
    Ok(conflicts(&offsets.collect::<Vec<_>>(), bytes_per_lane))
}

pub(crate) fn check_element(bytes: u32) -> Result<(), LayoutError> {
    if matches!(bytes, 1 | 2 | 4 | 8 | 16) {
        Ok(())
    } else {
        let expected = "1, 2, 4, 8 or 16";
        Err(LayoutError::size(
            "the bytes of an element",
            bytes,
            expected,
        ))
    }
}

fn check_access(access: &Layout, tile: &SharedLayout) -> Result<(), LayoutError> {
    for (name, size) in [("row", tile.rows), ("col", tile.cols)] {
        let found = access.out_bits(name);
        if !fits(1 << found >> 1, bits(size)) {
            return Err(LayoutError::TooWide {
                name: name.to_string(),
                found,
                limit: bits(size),
            });
        }
    }
    Ok(())
}

/// The bits that count to `size`.
fn bits(size: u32) -> u32 {
    size.next_power_of_two().trailing_zeros()
}
