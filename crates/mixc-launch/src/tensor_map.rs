//! Tensor maps: what a bulk tensor copy knows of the memory it moves.

use serde::{Deserialize, Serialize};

/// The arguments of `cuTensorMapEncodeTiled`, without interleaving and with zeros outside of the tensor
/// (CUDA driver API, "Tensor Map Object Management").
///
/// A dimension of size 0 makes the tensor empty: every element of every box reads as 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TensorMap {
    pub buffer: usize,
    /// Where the tensor starts in the buffer; a multiple of 16.
    pub byte_offset: u64,
    pub elem: MapElem,
    /// Sizes in elements, the innermost first; 1 to 5 of them.
    pub dims: Vec<u64>,
    /// Strides of `dims[1..]` in bytes; that of the innermost is the size of an element.
    pub strides_bytes: Vec<u64>,
    /// What one copy moves, in elements per dimension.
    #[serde(rename = "box")]
    pub box_: Vec<u32>,
    /// Steps between the elements that a box takes, per dimension; all 1 for dense boxes.
    pub elem_strides: Vec<u32>,
    pub swizzle: Swizzle,
    pub l2_promotion: L2Promotion,
}

impl TensorMap {
    /// A map with dense boxes, no swizzle, and 128-byte L2 promotion.
    pub fn dense(
        buffer: usize,
        elem: MapElem,
        dims: &[u64],
        strides_bytes: &[u64],
        box_: &[u32],
    ) -> TensorMap {
        TensorMap {
            buffer,
            byte_offset: 0,
            elem,
            dims: dims.to_vec(),
            strides_bytes: strides_bytes.to_vec(),
            box_: box_.to_vec(),
            elem_strides: vec![1; dims.len()],
            swizzle: Swizzle::None,
            l2_promotion: L2Promotion::B128,
        }
    }

    /// Whether the tensor has no elements.
    pub fn is_empty(&self) -> bool {
        self.dims.contains(&0)
    }

    /// Bytes from the start of the tensor to past its last element; None on overflow.
    pub fn span_bytes(&self) -> Option<u64> {
        if self.is_empty() {
            return Some(0);
        }
        let innermost = self.elem.size_bytes();
        let strides = std::iter::once(innermost).chain(self.strides_bytes.iter().copied());
        let mut span = innermost;
        for (size, stride) in self.dims.iter().zip(strides) {
            span = span.checked_add((size - 1).checked_mul(stride)?)?;
        }
        Some(span)
    }

    /// Checks the rules that the driver states for its arguments; its own answer to a violation is a bare
    /// "invalid value". The address itself is a multiple of 256, so its alignment is that of the offset.
    pub fn check(&self) -> Result<(), MapError> {
        let rank = self.dims.len();
        if rank == 0 || rank > 5 {
            return Err(MapError::Rank { rank });
        }
        for (what, found, expected) in [
            ("strides", self.strides_bytes.len(), rank - 1),
            ("box sizes", self.box_.len(), rank),
            ("element strides", self.elem_strides.len(), rank),
        ] {
            if found != expected {
                return Err(MapError::Count {
                    what,
                    found,
                    expected,
                    rank,
                });
            }
        }
        if !self.byte_offset.is_multiple_of(16) {
            return Err(MapError::Offset {
                bytes: self.byte_offset,
            });
        }
        for (dim, &size) in self.dims.iter().enumerate() {
            if size > 1 << 32 {
                return Err(MapError::Size { dim, size });
            }
        }
        for (at, &bytes) in self.strides_bytes.iter().enumerate() {
            if !bytes.is_multiple_of(16) || bytes >= 1 << 40 {
                return Err(MapError::Stride { dim: at + 1, bytes });
            }
        }
        self.check_box()
    }

    fn check_box(&self) -> Result<(), MapError> {
        for (dim, &size) in self.box_.iter().enumerate() {
            if size == 0 || size > 256 {
                return Err(MapError::Box { dim, size });
            }
        }
        for (dim, &step) in self.elem_strides.iter().enumerate() {
            if step == 0 || step > 8 {
                return Err(MapError::ElemStride { dim, step });
            }
        }
        let row = u64::from(self.box_[0]) * self.elem.size_bytes();
        if !row.is_multiple_of(16) {
            return Err(MapError::Row { bytes: row });
        }
        match self.swizzle.span_bytes() {
            Some(span) if row > span => Err(MapError::Swizzle { bytes: row, span }),
            _ => Ok(()),
        }
    }
}

/// Why a tensor map cannot be encoded. Dimensions count from the innermost, which is 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    #[error("a tensor map has 1 to 5 dimensions, not {rank}")]
    Rank { rank: usize },
    #[error("{found} {what} for {rank} dimensions; expected {expected}")]
    Count {
        what: &'static str,
        found: usize,
        expected: usize,
        rank: usize,
    },
    #[error("the tensor starts at byte {bytes} of its buffer, which is not a multiple of 16")]
    Offset { bytes: u64 },
    #[error("dimension {dim} has {size} elements, more than 2^32")]
    Size { dim: usize, size: u64 },
    #[error(
        "the stride of dimension {dim} is {bytes} bytes; it must be a multiple of 16 below 2^40"
    )]
    Stride { dim: usize, bytes: u64 },
    #[error("the box has {size} elements along dimension {dim}; it may have 1 to 256")]
    Box { dim: usize, size: u32 },
    #[error("the element stride of dimension {dim} is {step}; it may be 1 to 8")]
    ElemStride { dim: usize, step: u32 },
    #[error("a row of the box has {bytes} bytes, which is not a multiple of 16")]
    Row { bytes: u64 },
    #[error("a row of the box has {bytes} bytes, more than the {span} that the swizzle permutes")]
    Swizzle { bytes: u64, span: u64 },
    #[error("the tensor ends at byte {end} of a buffer of {size} bytes")]
    Outside { end: u64, size: u64 },
}

/// Elements of a tensor map. The two f32 types without subnormals and tf32 differ from f32 in how a copy treats
/// the bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapElem {
    U8,
    U16,
    U32,
    I32,
    U64,
    I64,
    F16,
    F32,
    F64,
    Bf16,
    F32Ftz,
    Tf32,
    Tf32Ftz,
}

impl MapElem {
    pub fn size_bytes(self) -> u64 {
        use MapElem::*;
        match self {
            U8 => 1,
            U16 | F16 | Bf16 => 2,
            U32 | I32 | F32 | F32Ftz | Tf32 | Tf32Ftz => 4,
            U64 | I64 | F64 => 8,
        }
    }
}

impl From<crate::DType> for MapElem {
    fn from(dtype: crate::DType) -> MapElem {
        use crate::DType;
        match dtype {
            DType::F32 => MapElem::F32,
            DType::F16 => MapElem::F16,
            DType::Bf16 => MapElem::Bf16,
            DType::F64 => MapElem::F64,
            DType::I32 => MapElem::I32,
            DType::I64 => MapElem::I64,
            DType::Bool => MapElem::U8,
        }
    }
}

/// How 16-byte pieces change places in shared memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Swizzle {
    #[default]
    None,
    B32,
    B64,
    B128,
}

impl Swizzle {
    /// Bytes of a row that the swizzle permutes; None without a swizzle.
    pub fn span_bytes(self) -> Option<u64> {
        match self {
            Swizzle::None => None,
            Swizzle::B32 => Some(32),
            Swizzle::B64 => Some(64),
            Swizzle::B128 => Some(128),
        }
    }
}

/// How many bytes around a miss the L2 cache fetches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum L2Promotion {
    None,
    B64,
    #[default]
    B128,
    B256,
}
