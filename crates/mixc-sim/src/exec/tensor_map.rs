//! Tensor maps: what a bulk tensor copy knows about a tensor in global memory
//! (PTX ISA, "Tensors"; CUDA Driver API, `cuTensorMapEncodeTiled`).

use crate::memory::BufferId;
use crate::syntax::ast::Ty;

/// How 16-byte pieces of a box are exchanged in shared memory (PTX ISA, "Swizzling Modes").
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Swizzle {
    None,
    B32,
    B64,
    B128,
}

impl Swizzle {
    /// Address bits 4.. are exchanged with bits 7..: one, two or three of them.
    pub fn apply(self, address: u64) -> u64 {
        let bits = match self {
            Swizzle::None => return address,
            Swizzle::B32 => 1,
            Swizzle::B64 => 3,
            Swizzle::B128 => 7,
        };
        address ^ ((address >> 7 & bits) << 4)
    }

    fn span(self) -> u32 {
        match self {
            Swizzle::None => 256 * 16,
            Swizzle::B32 => 32,
            Swizzle::B64 => 64,
            Swizzle::B128 => 128,
        }
    }
}

/// The element type, for reductions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum TensorElem {
    U8,
    F16,
    Bf16,
    F32,
    U32,
    F64,
}

impl TensorElem {
    pub(crate) fn ty(self) -> Ty {
        match self {
            TensorElem::U8 => Ty::U8,
            TensorElem::F16 => Ty::F16,
            TensorElem::Bf16 => Ty::Bf16,
            TensorElem::F32 => Ty::F32,
            TensorElem::U32 => Ty::U32,
            TensorElem::F64 => Ty::F64,
        }
    }

    pub fn bytes(self) -> u32 {
        match self {
            TensorElem::U8 => 1,
            TensorElem::F16 | TensorElem::Bf16 => 2,
            TensorElem::F32 | TensorElem::U32 => 4,
            TensorElem::F64 => 8,
        }
    }
}

/// A tiled tensor map. Dimensions go from the innermost on; elements outside the tensor read as zero
/// and are not written.
#[derive(Clone, Debug)]
pub struct TensorMap {
    pub buffer: BufferId,
    /// Bytes from the buffer's start to the tensor's first element; a multiple of 16.
    pub offset: u64,
    pub elem: TensorElem,
    pub dims: Vec<u64>,
    /// Bytes between neighbours along dimensions 1, 2, ..; multiples of 16.
    pub strides: Vec<u64>,
    pub box_dims: Vec<u32>,
    pub swizzle: Swizzle,
}

impl TensorMap {
    pub fn box_bytes(&self) -> u64 {
        self.box_dims.iter().map(|&n| u64::from(n)).product::<u64>() * u64::from(self.elem.bytes())
    }

    /// The rules of `cuTensorMapEncodeTiled`.
    pub(crate) fn check(&self) -> Result<(), String> {
        let rank = self.dims.len();
        if !(1..=5).contains(&rank) || self.box_dims.len() != rank || self.strides.len() + 1 != rank
        {
            return Err(
                "a tensor map has 1 to 5 dimensions, as many box sizes, and one stride less"
                    .to_string(),
            );
        }
        if [self.offset]
            .iter()
            .chain(&self.strides)
            .any(|s| !s.is_multiple_of(16))
        {
            return Err("a tensor map's address and strides are multiples of 16 bytes".to_string());
        }
        if self.box_dims.iter().any(|&b| b == 0 || b > 256) {
            return Err(format!("box sizes are 1 to 256, not {:?}", self.box_dims));
        }
        let inner = self.box_dims[0] * self.elem.bytes();
        if !inner.is_multiple_of(16) || inner > self.swizzle.span() {
            return Err(format!(
                "the box's inner dimension has {inner} bytes; a multiple of 16 within the swizzle's span is needed"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pattern of the 128-byte mode: in row r (of 128 bytes) piece c goes to place c xor (r mod 8).
    #[test]
    fn swizzles_permute_the_pieces_of_a_row() {
        for row in 0..16u64 {
            for piece in 0..8u64 {
                let at = row * 128 + piece * 16;
                assert_eq!(
                    Swizzle::B128.apply(at),
                    row * 128 + (piece ^ (row % 8)) * 16
                );
                // 64 bytes: rows of 128 bytes hold two spans; the row's low two bits move pieces.
                assert_eq!(Swizzle::B64.apply(at), row * 128 + (piece ^ (row % 4)) * 16);
                assert_eq!(Swizzle::B32.apply(at), row * 128 + (piece ^ (row % 2)) * 16);
            }
        }
    }
}
