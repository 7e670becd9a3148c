//! Where each buffer lies in a thread's scratch memory, and in which order its dimensions.

use mixc_tile::Kernel;

/// A buffer in scratch memory. The innermost dimension is padded to whole vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Bytes per step of each logical dimension.
    pub strides: Vec<i64>,
    /// Bytes from the start of the scratch memory, a multiple of 64.
    pub offset: i64,
    /// The contiguous dimension.
    pub inner: Option<usize>,
    pub bytes: i64,
}

impl Layout {
    /// Dimensions in logical order, but `inner` innermost.
    pub fn with_inner(shape: &[usize], inner: Option<usize>) -> Layout {
        let mut strides = vec![0; shape.len()];
        let mut step = 4;
        let mut place = |d: usize, extent: usize| {
            strides[d] = step;
            step *= extent as i64;
        };
        if let Some(d) = inner {
            place(d, shape[d].next_multiple_of(4));
        }
        for d in (0..shape.len()).rev().filter(|d| Some(*d) != inner) {
            place(d, shape[d]);
        }
        Layout {
            strides,
            offset: 0,
            inner,
            bytes: (step + 63) / 64 * 64,
        }
    }
}

/// Lays out all buffers; also the size of the scratch memory in bytes.
pub(crate) fn assign(kernel: &Kernel) -> (Vec<Layout>, i64) {
    let mut at = 0;
    let mut layouts = Vec::new();
    for buf in &kernel.bufs {
        let inner = (0..buf.shape.len()).next_back();
        let mut layout = Layout::with_inner(&buf.shape, inner);
        layout.offset = at;
        at += layout.bytes;
        layouts.push(layout);
    }
    // Reading whole vectors at the end of the last row stays inside.
    (layouts, at + 64)
}
