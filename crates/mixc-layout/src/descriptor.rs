//! Operands of wgmma in shared memory.

use crate::LayoutError;
use crate::shared::{CHUNK_BYTES, HardwareSwizzle, SharedLayout};

/// Which coordinate of an operand runs along the rows of its tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Major {
    /// Rows of the tile are rows of A or columns of B; `k` runs along them.
    K,
    /// Rows of the tile are values of `k`; rows of A or columns of B run along them. For 16-bit
    /// elements only, with the instruction's transpose bit set.
    MN,
}

/// A matrix descriptor of wgmma without the address.
///
/// PTX ISA, "Matrix Descriptor Format" and "Strides" of wgmma.mma_async.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Descriptor {
    pub mode: HardwareSwizzle,
    /// The leading dimension byte offset.
    pub leading: u32,
    /// The stride dimension byte offset.
    pub stride: u32,
}

impl Descriptor {
    /// The descriptor of slices of a tile. A slice starts where its first element does: at
    /// [`SharedLayout::offset`] of its row and column, of which the row is a multiple of 8 and the
    /// column a multiple of 16 bytes, from a start of the tile at a multiple of
    /// [`HardwareSwizzle::repeat`]. Along a K-major tile it stays within a panel.
    ///
    /// # Errors
    /// When the tile is not in one of the hardware's modes, or its rows are not a multiple of 8.
    pub fn new(tile: &SharedLayout, major: Major) -> Result<Descriptor, LayoutError> {
        let mode = HardwareSwizzle::ALL
            .into_iter()
            .find(|mode| mode.swizzle() == tile.swizzle);
        let pitch = tile.swizzle.pitch;
        let expected = "16, 32, 64 or 128 bytes with the hardware's swizzle";
        let mode = mode.ok_or_else(|| LayoutError::size("the pitch", pitch, expected))?;
        if !tile.rows.is_multiple_of(8) {
            let rows = tile.rows;
            return Err(LayoutError::size(
                "the number of rows",
                rows,
                "a multiple of 8",
            ));
        }
        let (rows, panels) = (8 * mode.span(), tile.panel_bytes());
        let (leading, stride) = match (mode, major) {
            // The chunks of a row are panels here.
            (HardwareSwizzle::None, Major::K) => (panels, rows),
            (HardwareSwizzle::None, Major::MN) => (rows, panels),
            // Not looked at.
            (_, Major::K) => (CHUNK_BYTES, rows),
            (_, Major::MN) => (panels, rows),
        };
        Ok(Descriptor {
            mode,
            leading,
            stride,
        })
    }

    /// The 64-bit descriptor for address zero: add the shared address of a slice, divided by 16.
    pub fn bits(&self) -> u64 {
        let mode = match self.mode {
            HardwareSwizzle::None => 0,
            HardwareSwizzle::Bytes128 => 1,
            HardwareSwizzle::Bytes64 => 2,
            HardwareSwizzle::Bytes32 => 3,
        };
        let field = |bytes: u32| u64::from((bytes / 16) & 0x3fff);
        field(self.leading) << 16 | field(self.stride) << 32 | mode << 62
    }
}
