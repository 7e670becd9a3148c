//! The calls.

use super::{Cuda, failure};
use crate::driver::{
    Driver, EventId, Failure, FunctionId, FunctionInfo, GraphId, MemoryInfo, ModuleId, codes,
};
use crate::{Address, Card, MapBits, RawLaunch, Value};
use cudarc::driver::result::{self, function};
use cudarc::driver::sys::{self, CUfunction_attribute_enum as Attribute};
use mixc_launch::{L2Promotion, MapElem, Swizzle, TensorMap};
use std::ffi::{CString, c_void};

/// Room for what the driver's compiler says, in bytes.
const LOG_BYTES: usize = 16 * 1024;

impl Driver for Cuda {
    fn card(&self) -> &Card {
        &self.card
    }

    fn memory(&self) -> Result<MemoryInfo, Failure> {
        self.enter()?;
        let (free, total) = result::mem_get_info().map_err(failure)?;
        Ok(MemoryInfo {
            free: free as u64,
            total: total as u64,
        })
    }

    fn load_ptx(&self, ptx: &str) -> Result<ModuleId, Failure> {
        let text = CString::new(ptx).map_err(|e| Failure {
            code: codes::INVALID_PTX,
            text: e.to_string(),
            log: String::new(),
        })?;
        self.load_image(text.as_ptr().cast())
    }

    fn load_cubin(&self, cubin: &[u8]) -> Result<ModuleId, Failure> {
        // The driver finds the end in the header of the image, so at least that must be there.
        if !is_complete_elf(cubin) {
            return Err(Failure {
                code: codes::INVALID_IMAGE,
                text: "the machine code is not a complete ELF image".into(),
                log: String::new(),
            });
        }
        self.load_image(cubin.as_ptr().cast())
    }

    fn function(&self, module: ModuleId, entry: &str) -> Result<FunctionInfo, Failure> {
        self.enter()?;
        let missing = |text: String| Failure {
            code: codes::NOT_FOUND,
            text,
            log: String::new(),
        };
        let name = CString::new(entry).map_err(|e| missing(e.to_string()))?;
        let module = self.modules.borrow().get(module.0);
        // SAFETY: modules stay loaded until drop.
        let function = unsafe { result::module::get_function(module, name) }.map_err(failure)?;
        let number = |attribute| {
            // SAFETY: the function is of a loaded module.
            let asked = unsafe { function::get_function_attribute(function, attribute) };
            asked.map(|n| n.max(0) as u32).map_err(failure)
        };
        Ok(FunctionInfo {
            static_shared: number(Attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)?,
            registers: number(Attribute::CU_FUNC_ATTRIBUTE_NUM_REGS)?,
            local_bytes: number(Attribute::CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES)?,
            max_threads: number(Attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK)?,
            params: self.params(function),
            id: FunctionId(self.functions.borrow_mut().add(function)),
        })
    }

    fn allow_shared(&self, function: FunctionId, bytes: u32) -> Result<(), Failure> {
        self.enter()?;
        let function = self.functions.borrow().get(function.0);
        let attribute = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function is of a loaded module.
        unsafe { function::set_function_attribute(function, attribute, bytes as i32) }
            .map_err(failure)
    }

    fn alloc(&self, bytes: u64) -> Result<Address, Failure> {
        self.enter()?;
        // SAFETY: the memory is untyped bytes; nothing reads it as anything else on the host.
        let at = unsafe { result::malloc_sync(bytes as usize) }.map_err(failure)?;
        self.allocations.borrow_mut().insert(at, bytes);
        Ok(Address(at))
    }

    fn free(&self, at: Address) -> Result<(), Failure> {
        self.enter()?;
        if self.allocations.borrow_mut().remove(&at.0).is_none() {
            return self.check(at, u64::MAX);
        }
        // SAFETY: the allocation was live until the line above, and the driver waits for what uses it.
        unsafe { result::free_sync(at.0) }.map_err(failure)
    }

    fn write(&self, to: Address, bytes: &[u8]) -> Result<(), Failure> {
        self.enter()?;
        self.check(to, bytes.len() as u64)?;
        // SAFETY: the target is allocated, and the source outlives the copy because the stream is waited for.
        let copied = unsafe { result::memcpy_htod_async(to.0, bytes, self.stream) };
        let done = self.synchronize();
        copied.map_err(failure).and(done)
    }

    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<(), Failure> {
        self.enter()?;
        self.check(from, bytes.len() as u64)?;
        // SAFETY: the source is allocated, and the target outlives the copy because the stream is waited for.
        let copied = unsafe { result::memcpy_dtoh_async(bytes, from.0, self.stream) };
        let done = self.synchronize();
        copied.map_err(failure).and(done)
    }

    fn copy(&self, to: Address, from: Address, bytes: u64) -> Result<(), Failure> {
        self.enter()?;
        self.check(to, bytes)?;
        self.check(from, bytes)?;
        // SAFETY: both ranges are allocated, and freeing waits for the stream.
        unsafe { result::memcpy_dtod_async(to.0, from.0, bytes as usize, self.stream) }
            .map_err(failure)
    }

    fn fill(&self, at: Address, byte: u8, bytes: u64) -> Result<(), Failure> {
        self.enter()?;
        self.check(at, bytes)?;
        // SAFETY: the range is allocated, and freeing waits for the stream.
        unsafe { result::memset_d8_async(at.0, byte, bytes as usize, self.stream) }.map_err(failure)
    }

    fn encode_map(&self, map: &TensorMap, at: Address) -> Result<MapBits, Failure> {
        self.enter()?;
        let mut encoded = sys::CUtensorMap { opaque: [0; 16] };
        // SAFETY: the lists have as many entries as the rank asks for, which TensorMap::check requires of every map
        // of a valid plan; the driver only reads them and writes the 128 bytes of the aligned local.
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

    fn launch(&self, launch: &RawLaunch) -> Result<(), Failure> {
        self.enter()?;
        let function = self.functions.borrow().get(launch.function.0);
        let mut params: Vec<*mut c_void> = launch.values.iter().map(param).collect();
        let [gx, gy, gz] = launch.grid;
        let [bx, by, bz] = launch.block;
        // SAFETY: the function is of a loaded module; the caller has compared number and sizes of the values with
        // the kernel's parameters; the driver copies them before it returns. What the kernel does with device
        // memory is its own affair: nothing of the host is mapped into this context.
        let launched = unsafe {
            let shared = launch.shared_bytes;
            result::launch_kernel(
                function,
                (gx, gy, gz),
                (bx, by, bz),
                shared,
                self.stream,
                &mut params,
            )
        };
        launched.map_err(failure)
    }

    fn synchronize(&self) -> Result<(), Failure> {
        self.enter()?;
        // SAFETY: the stream lives until drop.
        unsafe { result::stream::synchronize(self.stream) }.map_err(failure)
    }

    fn begin_capture(&self) -> Result<(), Failure> {
        self.enter()?;
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives until drop.
        unsafe { result::stream::begin_capture(self.stream, mode) }.map_err(failure)
    }

    fn end_capture(&self) -> Result<GraphId, Failure> {
        self.enter()?;
        // SAFETY: the stream lives until drop.
        let graph = unsafe { result::stream::end_capture(self.stream) }.map_err(failure)?;
        // SAFETY: the graph was just made.
        let exec = unsafe { result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0)) };
        let exec = exec.map_err(|e| {
            // SAFETY: the graph was just made and is not used again.
            let _ = unsafe { result::graph::destroy(graph) };
            failure(e)
        })?;
        Ok(GraphId(self.graphs.borrow_mut().add((graph, exec))))
    }

    fn replay(&self, graph: GraphId) -> Result<(), Failure> {
        self.enter()?;
        let (_, exec) = self.graphs.borrow().get(graph.0);
        // SAFETY: graphs in the table are not destroyed.
        unsafe { result::graph::launch(exec, self.stream) }.map_err(failure)
    }

    fn drop_graph(&self, graph: GraphId) -> Result<(), Failure> {
        self.enter()?;
        let (graph, exec) = self.graphs.borrow_mut().take(graph.0);
        // SAFETY: both were in the table until the line above; the driver keeps what a running launch needs.
        let (first, second) = unsafe {
            (
                result::graph::exec_destroy(exec),
                result::graph::destroy(graph),
            )
        };
        first.and(second).map_err(failure)
    }

    fn event(&self) -> Result<EventId, Failure> {
        self.enter()?;
        let event = result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT).map_err(failure)?;
        Ok(EventId(self.events.borrow_mut().add(event)))
    }

    fn record(&self, event: EventId) -> Result<(), Failure> {
        self.enter()?;
        let event = self.events.borrow().get(event.0);
        // SAFETY: events in the table are not destroyed, and the stream lives until drop.
        unsafe { result::event::record(event, self.stream) }.map_err(failure)
    }

    fn elapsed_us(&self, start: EventId, end: EventId) -> Result<f64, Failure> {
        self.enter()?;
        let events = self.events.borrow();
        // SAFETY: events in the table are not destroyed.
        let ms = unsafe { result::event::elapsed(events.get(start.0), events.get(end.0)) };
        ms.map(|ms| f64::from(ms) * 1000.0).map_err(failure)
    }

    fn drop_event(&self, event: EventId) -> Result<(), Failure> {
        self.enter()?;
        let event = self.events.borrow_mut().take(event.0);
        // SAFETY: the event was in the table until the line above.
        unsafe { result::event::destroy(event) }.map_err(failure)
    }
}

impl Cuda {
    /// Loads PTX that ends in NUL, or a complete ELF image.
    fn load_image(&self, image: *const c_void) -> Result<ModuleId, Failure> {
        use sys::CUjit_option_enum::{CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
        self.enter()?;
        let mut log = vec![0u8; LOG_BYTES];
        let mut options = [CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
        let mut values = [log.as_mut_ptr().cast::<c_void>(), LOG_BYTES as *mut c_void];
        let mut module = std::ptr::null_mut();
        // SAFETY: the image is as the driver wants it (see above); the two options have two values, a buffer and
        // its size, and the buffer outlives the call.
        let loaded = unsafe {
            sys::cuModuleLoadDataEx(
                &mut module,
                image,
                2,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            )
        };
        loaded.result().map_err(|e| Failure {
            log: text_until_nul(&log),
            ..failure(e)
        })?;
        Ok(ModuleId(self.modules.borrow_mut().add(module)))
    }

    /// Sizes of a kernel's parameters, where the driver can tell (from CUDA 12.4 on).
    fn params(&self, function: sys::CUfunction) -> Option<Vec<usize>> {
        if self.card.cuda < (12, 4) {
            return None;
        }
        let mut sizes = vec![];
        loop {
            let (mut offset, mut size) = (0, 0);
            // SAFETY: the function is of a loaded module, the pointers are to locals, and the driver is new enough.
            let asked =
                unsafe { sys::cuFuncGetParamInfo(function, sizes.len(), &mut offset, &mut size) };
            match asked {
                sys::CUresult::CUDA_SUCCESS => sizes.push(size),
                // Past the last parameter.
                sys::CUresult::CUDA_ERROR_INVALID_VALUE => return Some(sizes),
                _ => return None,
            }
        }
    }
}

/// Where the driver finds a value.
fn param(value: &Value) -> *mut c_void {
    let at: *const c_void = match value {
        Value::Address(x) => (&raw const x.0).cast(),
        Value::I32(x) => (&raw const *x).cast(),
        Value::I64(x) => (&raw const *x).cast(),
        Value::F32(x) => (&raw const *x).cast(),
        Value::Map(x) => (&raw const x.0).cast(),
    };
    at.cast_mut()
}

fn text_until_nul(bytes: &[u8]) -> String {
    let text = bytes.split(|&b| b == 0).next().unwrap_or(&[]);
    String::from_utf8_lossy(text).trim().to_owned()
}

/// Whether the tables that the header of a 64-bit little-endian ELF image names lie inside it.
fn is_complete_elf(image: &[u8]) -> bool {
    let number = |at: usize, size: usize| {
        let bytes = image.get(at..at + size)?;
        Some(bytes.iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b)))
    };
    let table_end = |offset: usize, size: usize, count: usize| {
        let entries = number(size, 2)?.checked_mul(number(count, 2)?)?;
        number(offset, 8)?.checked_add(entries)
    };
    image.starts_with(b"\x7fELF\x02\x01")
        // Program headers, section headers.
        && [(0x20, 0x36, 0x38), (0x28, 0x3a, 0x3c)]
            .into_iter()
            .all(|(offset, size, count)| table_end(offset, size, count).is_some_and(|end| end <= image.len() as u64))
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

#[cfg(test)]
mod tests {
    use super::is_complete_elf;

    /// A header with a program header table of 2 entries of 56 bytes at byte 64.
    fn image() -> Vec<u8> {
        let mut image = vec![0; 64 + 2 * 56];
        image[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (image[0x20], image[0x36], image[0x38]) = (64, 56, 2);
        image
    }

    #[test]
    fn machine_code_must_be_there_to_its_end() {
        assert!(is_complete_elf(&image()));
        for cut in [0, 5, 63, 64 + 56, 64 + 2 * 56 - 1] {
            assert!(!is_complete_elf(&image()[..cut]), "{cut}");
        }
        let mut far = image();
        far[0x20..0x28].fill(0xff);
        assert!(!is_complete_elf(&far));
        let mut other = image();
        other[1] = b'e';
        assert!(!is_complete_elf(&other));
    }
}
