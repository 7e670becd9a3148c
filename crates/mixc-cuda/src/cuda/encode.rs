//! Tensor maps in the driver's terms.

use super::failure;
use crate::driver::codes;
use crate::{Address, Failure, MapBits};
use cudarc::driver::sys;
use mixc_launch::{L2Promotion, MapElem, Swizzle, TensorMap};
use std::ffi::c_void;

/// Encodes a map that obeys the rules of [`TensorMap::check`]. A context must be current.
pub(super) fn encode(map: &TensorMap, at: Address) -> Result<MapBits, Failure> {
    map.check().map_err(|e| Failure {
        code: codes::INVALID_VALUE,
        text: e.to_string(),
        log: String::new(),
    })?;
    let mut encoded = sys::CUtensorMap { opaque: [0; 16] };
    // SAFETY: the lists have as many entries as the rank asks for, which was checked above; the driver only reads them and writes the 128 bytes of the aligned local.
    let done = unsafe {
        sys::cuTensorMapEncodeTiled(
            &mut encoded,
            elem(map.elem),
            map.dims.len() as u32,
            at.0 as *mut c_void,
            map.dims.as_ptr(),
            map.strides_bytes.as_ptr(),
            map.box_.as_ptr(),
            map.elem_strides.as_ptr(),
            sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
            swizzle(map.swizzle),
            l2_promotion(map.l2_promotion),
            sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        )
    };
    done.result().map_err(failure)?;
    Ok(MapBits(encoded.opaque))
}

fn elem(elem: MapElem) -> sys::CUtensorMapDataType {
    use sys::CUtensorMapDataType::*;
    match elem {
        MapElem::U8 => CU_TENSOR_MAP_DATA_TYPE_UINT8,
        MapElem::U16 => CU_TENSOR_MAP_DATA_TYPE_UINT16,
        MapElem::U32 => CU_TENSOR_MAP_DATA_TYPE_UINT32,
        MapElem::I32 => CU_TENSOR_MAP_DATA_TYPE_INT32,
        MapElem::U64 => CU_TENSOR_MAP_DATA_TYPE_UINT64,
        MapElem::I64 => CU_TENSOR_MAP_DATA_TYPE_INT64,
        MapElem::F16 => CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
        MapElem::F32 => CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
        MapElem::F64 => CU_TENSOR_MAP_DATA_TYPE_FLOAT64,
        MapElem::Bf16 => CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        MapElem::F32Ftz => CU_TENSOR_MAP_DATA_TYPE_FLOAT32_FTZ,
        MapElem::Tf32 => CU_TENSOR_MAP_DATA_TYPE_TFLOAT32,
        MapElem::Tf32Ftz => CU_TENSOR_MAP_DATA_TYPE_TFLOAT32_FTZ,
    }
}

fn swizzle(swizzle: Swizzle) -> sys::CUtensorMapSwizzle {
    use sys::CUtensorMapSwizzle::*;
    match swizzle {
        Swizzle::None => CU_TENSOR_MAP_SWIZZLE_NONE,
        Swizzle::B32 => CU_TENSOR_MAP_SWIZZLE_32B,
        Swizzle::B64 => CU_TENSOR_MAP_SWIZZLE_64B,
        Swizzle::B128 => CU_TENSOR_MAP_SWIZZLE_128B,
    }
}

fn l2_promotion(promotion: L2Promotion) -> sys::CUtensorMapL2promotion {
    use sys::CUtensorMapL2promotion::*;
    match promotion {
        L2Promotion::None => CU_TENSOR_MAP_L2_PROMOTION_NONE,
        L2Promotion::B64 => CU_TENSOR_MAP_L2_PROMOTION_L2_64B,
        L2Promotion::B128 => CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
        L2Promotion::B256 => CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
    }
}
