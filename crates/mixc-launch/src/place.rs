//! Between row-major elements and the strided memory of a buffer.

use crate::BufferSpec;

/// The memory of a buffer from its elements in row-major order. Gaps are zero. `elements` must have the
/// buffer's length.
pub(crate) fn scatter(spec: &BufferSpec, elements: Vec<u8>) -> Vec<u8> {
    if spec.strides.is_none() {
        return elements;
    }
    let size = spec.dtype.size_bytes();
    let mut memory = vec![0; spec.size_bytes().unwrap_or(0) as usize];
    let mut from = elements.chunks_exact(size);
    for_each_offset(spec, |at| {
        if let Some(element) = from.next() {
            memory[at * size..][..size].copy_from_slice(element);
        }
    });
    memory
}

/// The elements of a buffer in row-major order from its memory.
pub(crate) fn gather(spec: &BufferSpec, memory: &[u8]) -> Vec<u8> {
    let size = spec.dtype.size_bytes();
    let bytes = spec.elements().unwrap_or(0) as usize * size;
    if spec.strides.is_none() {
        return memory[..bytes].to_vec();
    }
    let mut elements = Vec::with_capacity(bytes);
    for_each_offset(spec, |at| {
        elements.extend_from_slice(&memory[at * size..][..size])
    });
    elements
}

/// Calls `f` with the offset of every element, in elements, in row-major order.
fn for_each_offset(spec: &BufferSpec, mut f: impl FnMut(usize)) {
    if spec.elements().unwrap_or(0) == 0 {
        return;
    }
    let strides = spec.strides();
    let mut index = vec![0i64; spec.shape.len()];
    loop {
        let at: i64 = index.iter().zip(&strides).map(|(i, s)| i * s).sum();
        f(at as usize);
        // Count up, the last axis fastest.
        let Some(axis) = (0..index.len())
            .rev()
            .find(|&a| index[a] + 1 < spec.shape[a])
        else {
            return;
        };
        index[axis] += 1;
        index[axis + 1..].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Role};

    #[test]
    fn a_transposed_padded_buffer() {
        let mut spec = BufferSpec::new("x", DType::Bool, &[2, 3], Role::In);
        spec.strides = Some(vec![1, 3]);
        let memory = scatter(&spec, vec![1, 2, 3, 4, 5, 6]);
        assert_eq!(memory, [1, 4, 0, 2, 5, 0, 3, 6]);
        assert_eq!(gather(&spec, &memory), [1, 2, 3, 4, 5, 6]);
    }
}
