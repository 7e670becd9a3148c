//! Memory for tensors: zeroed, aligned to cache lines.

/// Alignment of every tensor's memory in bytes: a cache line, and the widest vector register.
const LINE: usize = 64;

#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

/// A byte buffer whose start is aligned to 64 bytes.
#[derive(Clone)]
pub struct AlignedBytes {
    lines: Vec<Line>,
    len: usize,
}

impl AlignedBytes {
    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> AlignedBytes {
        AlignedBytes {
            lines: vec![bytemuck::Zeroable::zeroed(); len.div_ceil(LINE)],
            len,
        }
    }

    pub fn copy_of(bytes: &[u8]) -> AlignedBytes {
        let mut new = AlignedBytes::zeroed(bytes.len());
        new.as_mut_slice().copy_from_slice(bytes);
        new
    }

    pub fn as_slice(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }

    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}
