//! The calls.

use super::encode::encode;
use super::image::is_complete_elf;
use super::{Cuda, failure};
use crate::driver::{
    Driver, EventId, Failure, FunctionId, FunctionInfo, GraphId, MemoryInfo, ModuleId, codes,
};
use crate::{Address, Card, MapBits, RawLaunch, Value};
use cudarc::driver::result::{self, function};
use cudarc::driver::sys::{self, CUfunction_attribute_enum as Attribute};
use mixc_launch::TensorMap;
use std::ffi::{CString, c_void};

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
        encode(map, at)
    }

    unsafe fn launch(&self, launch: &RawLaunch) -> Result<(), Failure> {
        self.enter()?;
        let function = self.functions.borrow().get(launch.function.0);
        let mut params: Vec<*mut c_void> = launch.values.iter().map(param).collect();
        let [gx, gy, gz] = launch.grid;
        let [bx, by, bz] = launch.block;
        // SAFETY: the function is of a loaded module; the caller answers for number and sizes of the values; the driver copies them before it returns. What the kernel does with device
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
