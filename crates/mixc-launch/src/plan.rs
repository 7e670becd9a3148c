//! The types of a plan.

use crate::{DType, TensorMap};
use serde::{Deserialize, Serialize};

/// Kernel launches in order, and the memory that they share. Indices in launches refer to `buffers` and `modules`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub buffers: Vec<BufferSpec>,
    pub modules: Vec<ModuleImage>,
    /// Run one after the other: each sees all that those before it wrote.
    pub launches: Vec<Launch>,
}

/// Who writes a buffer first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The host; kernels only read it.
    In,
    /// Kernels; the host reads it afterwards.
    Out,
    /// Kernels, for other kernels.
    Work,
}

/// Device memory for one tensor. It starts at a multiple of 256 bytes, as the driver's allocations do. A buffer
/// without elements has an address that kernels must not touch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BufferSpec {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<i64>,
    /// Distance between neighbours along each axis, in elements; None means row-major without gaps. No two elements
    /// may share memory: a kernel that reads an input along an axis again and again has an argument for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strides: Option<Vec<i64>>,
    pub role: Role,
    /// Whether all bytes are 0 before the first launch of every run (counters, sums by atomics).
    /// Otherwise an output or a work buffer holds anything.
    #[serde(default)]
    pub zeroed: bool,
}

impl BufferSpec {
    /// A row-major buffer.
    pub fn new(name: impl Into<String>, dtype: DType, shape: &[i64], role: Role) -> BufferSpec {
        BufferSpec {
            name: name.into(),
            dtype,
            shape: shape.to_vec(),
            strides: None,
            role,
            zeroed: false,
        }
    }

    /// Number of elements of the tensor, gaps not counted; None if it does not fit in 63 bits or a size is negative.
    pub fn elements(&self) -> Option<u64> {
        let product =
            self.shape.iter().try_fold(
                1i64,
                |n, &size| {
                    if size < 0 { None } else { n.checked_mul(size) }
                },
            );
        // A size of 0 makes the tensor empty whatever the others are.
        if self.shape.contains(&0) && self.shape.iter().all(|&s| s >= 0) {
            return Some(0);
        }
        product.map(|n| n as u64)
    }

    /// Strides in elements, the row-major ones if none are given.
    pub fn strides(&self) -> Vec<i64> {
        self.strides.clone().unwrap_or_else(|| {
            let mut strides = vec![1i64; self.shape.len()];
            for axis in (1..self.shape.len()).rev() {
                strides[axis - 1] = strides[axis].saturating_mul(self.shape[axis].max(1));
            }
            strides
        })
    }

    /// Bytes from the first to past the last element, gaps included; None on overflow.
    pub fn size_bytes(&self) -> Option<u64> {
        if self.elements()? == 0 {
            return Some(0);
        }
        let mut last = 0i64;
        for (size, stride) in self.shape.iter().zip(self.strides()) {
            last = last.checked_add((size - 1).checked_mul(stride)?)?;
        }
        let bytes = last
            .checked_add(1)?
            .checked_mul(self.dtype.size_bytes() as i64)?;
        u64::try_from(bytes).ok()
    }
}

/// Machine code for one target, as PTX and optionally assembled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModuleImage {
    /// The name that PTX gives it, e.g. `sm_90a`.
    pub target: String,
    pub ptx: String,
    /// What ptxas made of it; taken instead of the PTX where it fits the card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cubin: Option<Vec<u8>>,
}

/// One kernel launch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    pub module: usize,
    pub entry: String,
    /// Thread blocks along x, y, z. A launch with a 0 here does nothing.
    pub grid: [u32; 3],
    /// Threads of a block along x, y, z.
    pub block: [u32; 3],
    /// Dynamic shared memory of a block.
    pub shared_bytes: u32,
    pub args: Vec<Arg>,
}

impl Launch {
    /// Whether there is nothing to launch.
    pub fn is_empty(&self) -> bool {
        self.grid.contains(&0)
    }
}

/// One kernel parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arg {
    /// The 64-bit address of a buffer.
    Buffer(usize),
    /// An address inside a buffer.
    BufferAt {
        buffer: usize,
        byte_offset: u64,
    },
    I32(i32),
    I64(i64),
    F32(#[serde(with = "any_f32")] f32),
    /// A tensor map, 128 bytes by value.
    TensorMap(TensorMap),
}

impl Arg {
    /// Size of the kernel parameter and its alignment, in bytes.
    pub fn size_align(&self) -> (usize, usize) {
        match self {
            Arg::Buffer(_) | Arg::BufferAt { .. } | Arg::I64(_) => (8, 8),
            Arg::I32(_) | Arg::F32(_) => (4, 4),
            Arg::TensorMap(_) => (128, 64),
        }
    }

    /// The buffer that the argument points into.
    pub fn buffer(&self) -> Option<usize> {
        match self {
            Arg::Buffer(buffer) | Arg::BufferAt { buffer, .. } => Some(*buffer),
            Arg::TensorMap(map) => Some(map.buffer),
            Arg::I32(_) | Arg::I64(_) | Arg::F32(_) => None,
        }
    }
}

/// JSON has no infinities and no NaN, so those are words.
mod any_f32 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(f32),
        Word(String),
    }

    pub fn serialize<S: Serializer>(x: &f32, to: S) -> Result<S::Ok, S::Error> {
        if x.is_finite() {
            to.serialize_f32(*x)
        } else {
            to.serialize_str(&x.to_string())
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
        match Either::deserialize(from)? {
            Either::Number(x) => Ok(x),
            Either::Word(word) => word.parse().map_err(D::Error::custom),
        }
    }
}
