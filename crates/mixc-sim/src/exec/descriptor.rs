//! Matrix descriptors: where the elements of a shared operand of `wgmma` lie.

use super::tensor_map::Swizzle;

/// Where an element of a shared operand lies, by its descriptor
/// (PTX ISA, "Matrix Descriptor Format" and "Strides").
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    pub start: u64,
    pub leading: u64,
    pub stride: u64,
    pub swizzle: Swizzle,
    pub base_offset: u64,
}

impl Descriptor {
    pub fn decode(bits: u64) -> Descriptor {
        let field = |at: u32| (bits >> at & 0x3fff) << 4;
        let swizzle = match bits >> 62 {
            0 => Swizzle::None,
            1 => Swizzle::B128,
            2 => Swizzle::B64,
            _ => Swizzle::B32,
        };
        Descriptor {
            start: field(0),
            leading: field(16),
            stride: field(32),
            swizzle,
            base_offset: bits >> 49 & 7,
        }
    }

    /// The shared address of element (`mn`, `k`), of `bytes` bytes, in a K-major operand (rows along K
    /// are contiguous) or an M/N-major one. 16-byte pieces form core matrices of 8 rows; without
    /// swizzling these are 128 contiguous bytes, with it rows are as long as the swizzle's span.
    pub fn address(self, mn: u64, k: u64, bytes: u64, k_major: bool) -> u64 {
        // Elements in one 16-byte piece, pieces in one swizzled row.
        let piece = 16 / bytes;
        let span = match self.swizzle {
            Swizzle::None => 1,
            Swizzle::B32 => 2,
            Swizzle::B64 => 4,
            Swizzle::B128 => 8,
        };
        let offset = if k_major {
            let (row, group) = (mn % 8, mn / 8);
            let (within, column) = (k % piece, k / piece);
            let column_step = if span == 1 { self.leading } else { 16 };
            row * 16 * span + group * self.stride + column * column_step + within * bytes
        } else {
            let (within, column) = (mn % piece, mn / piece);
            let (row, group) = (k % 8, k / 8);
            let (mn_step, k_step) = if span == 1 {
                (self.stride, self.leading)
            } else {
                (self.leading, self.stride)
            };
            within * bytes
                + (column % span) * 16
                + (column / span) * mn_step
                + row * 16 * span
                + group * k_step
        };
        self.swizzle.apply(self.start + offset)
    }
}
