//! The real driver, through its library.

mod api;
mod encode;
mod find;
mod image;
mod table;

pub use find::{devices, is_present};

use crate::{Address, Card, CudaError, Failure};
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use std::cell::RefCell;
use std::collections::BTreeMap;
use table::Table;

/// A card's primary context and a stream of its own. It belongs to the thread that opened it.
pub struct Cuda {
    card: Card,
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    /// Length of every live allocation by its start.
    allocations: RefCell<BTreeMap<u64, u64>>,
    modules: RefCell<Table<sys::CUmodule>>,
    functions: RefCell<Table<sys::CUfunction>>,
    graphs: RefCell<Table<(sys::CUgraph, sys::CUgraphExec)>>,
    events: RefCell<Table<sys::CUevent>>,
}

impl Cuda {
    /// Opens the card `index`.
    pub fn open(index: usize) -> Result<Cuda, CudaError> {
        let (device, card) = find::find(index)?;
        let failed = |e| CudaError::Init {
            failure: failure(e),
        };
        // SAFETY: the device came from the driver.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(failed)?;
        // From here on the context is given back by drop.
        let mut cuda = Cuda {
            card,
            device,
            context,
            stream: std::ptr::null_mut(),
            allocations: RefCell::default(),
            modules: RefCell::default(),
            functions: RefCell::default(),
            graphs: RefCell::default(),
            events: RefCell::default(),
        };
        let enter = cuda.enter();
        enter.map_err(|failure| CudaError::Init { failure })?;
        cuda.stream =
            result::stream::create(result::stream::StreamKind::NonBlocking).map_err(failed)?;
        Ok(cuda)
    }

    /// Makes the context the thread's current one. Another session on this thread may have changed that.
    fn enter(&self) -> Result<(), Failure> {
        // SAFETY: the context is retained until drop.
        unsafe { result::ctx::set_current(self.context) }.map_err(failure)
    }

    /// An error unless the bytes lie in one allocation.
    fn check(&self, at: Address, bytes: u64) -> Result<(), Failure> {
        let allocations = self.allocations.borrow();
        let inside = allocations
            .range(..=at.0)
            .next_back()
            .is_some_and(|(&start, &len)| {
                at.0.checked_add(bytes)
                    .is_some_and(|end| end <= start + len)
            });
        match inside {
            true => Ok(()),
            false => Err(Failure {
                code: crate::driver::codes::INVALID_VALUE,
                text: format!("{bytes} bytes at {:#x} are not allocated here", at.0),
                log: String::new(),
            }),
        }
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        // Errors have no one to go to here; a broken context gives everything back with the process.
        let _ = self.enter();
        // SAFETY: every handle below was made by this context, is in the tables until it is destroyed, and is not
        // used again. Destroying waits for what is queued where the driver needs that.
        unsafe {
            let _ = result::stream::synchronize(self.stream);
            for (graph, exec) in self.graphs.get_mut().drain() {
                let _ = result::graph::exec_destroy(exec);
                let _ = result::graph::destroy(graph);
            }
            for event in self.events.get_mut().drain() {
                let _ = result::event::destroy(event);
            }
            for module in self.modules.get_mut().drain() {
                let _ = result::module::unload(module);
            }
            for (&at, _) in self.allocations.get_mut().iter() {
                let _ = result::free_sync(at);
            }
            if !self.stream.is_null() {
                let _ = result::stream::destroy(self.stream);
            }
            let _ = result::primary_ctx::release(self.device);
        }
    }
}

/// The driver's answer in words.
fn failure(error: DriverError) -> Failure {
    let text = |words: Result<&std::ffi::CStr, DriverError>| {
        words.map_or_else(|_| "?".to_owned(), |w| w.to_string_lossy().into_owned())
    };
    Failure {
        code: error.0 as u32,
        text: format!(
            "{} ({})",
            text(error.error_string()),
            text(error.error_name())
        ),
        log: String::new(),
    }
}
