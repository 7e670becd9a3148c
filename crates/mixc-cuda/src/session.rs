//! A card with the modules that it has loaded.

use crate::driver::FunctionInfo;
use crate::jit::Loaded;
use crate::{Card, CudaError, Driver, MemoryInfo, ModuleId, Prepared, error::During, jit, load};
use mixc_launch::{Arch, ModuleImage, Plan};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// One card, its context and stream, and every module and kernel loaded so far, each once. A session belongs to
/// one thread; several threads open a session each.
pub struct Session<D: Driver> {
    driver: Rc<D>,
    cache: RefCell<Cache>,
}

#[derive(Default)]
struct Cache {
    /// By everything that decides the code.
    modules: HashMap<(String, String, Option<Vec<u8>>), Loaded>,
    functions: HashMap<(ModuleId, String), Kernel>,
}

/// A kernel and the dynamic shared memory that its launches may ask for.
#[derive(Clone)]
struct Kernel {
    info: FunctionInfo,
    allowed: u32,
}

/// Dynamic shared memory that a launch may ask for without further ado
/// (CUDA C++ Programming Guide, "Shared Memory" of compute capability 7.x and later).
const FREE_SHARED: u32 = 48 * 1024;

impl<D: Driver> Session<D> {
    pub fn new(driver: D) -> Session<D> {
        Session {
            driver: Rc::new(driver),
            cache: RefCell::default(),
        }
    }

    pub fn card(&self) -> &Card {
        self.driver.card()
    }

    pub fn memory(&self) -> Result<MemoryInfo, CudaError> {
        self.driver.memory().during("asking for the free memory")
    }

    /// The driver, for what is not offered here.
    pub fn driver(&self) -> &D {
        &self.driver
    }

    /// Checks a plan, loads its modules, and allocates its buffers. The contents of the buffers are undefined.
    pub fn load(&self, plan: &Plan) -> Result<Prepared<D>, CudaError> {
        plan.validate()?;
        let steps = load::steps(self, plan)?;
        Prepared::new(self.driver.clone(), plan.clone(), steps)
    }

    /// The module of an image, loaded now or before.
    pub(crate) fn module(&self, image: &ModuleImage, target: Arch) -> Result<Loaded, CudaError> {
        let key = (image.target.clone(), image.ptx.clone(), image.cubin.clone());
        if let Some(&known) = self.cache.borrow().modules.get(&key) {
            return Ok(known);
        }
        let module = jit::load_image(&*self.driver, image, target)?;
        self.cache.borrow_mut().modules.insert(key, module);
        Ok(module)
    }

    /// A kernel whose launches may ask for `shared` bytes of dynamic shared memory.
    pub(crate) fn kernel(
        &self,
        module: ModuleId,
        target: Arch,
        entry: &str,
        shared: u32,
    ) -> Result<FunctionInfo, CudaError> {
        let key = (module, entry.to_owned());
        let known = self.cache.borrow().functions.get(&key).cloned();
        let mut kernel = match known {
            Some(kernel) => kernel,
            None => Kernel {
                info: self.find(module, target, entry)?,
                allowed: 0,
            },
        };
        self.allow_shared(&mut kernel, entry, shared)?;
        let info = kernel.info.clone();
        self.cache.borrow_mut().functions.insert(key, kernel);
        Ok(info)
    }

    fn find(&self, module: ModuleId, target: Arch, entry: &str) -> Result<FunctionInfo, CudaError> {
        self.driver
            .function(module, entry)
            .map_err(|failure| match failure.code {
                crate::driver::codes::NOT_FOUND => CudaError::NoKernel {
                    entry: entry.to_owned(),
                    target,
                },
                _ => CudaError::Driver {
                    what: "looking up a kernel",
                    failure,
                },
            })
    }

    fn allow_shared(&self, kernel: &mut Kernel, entry: &str, shared: u32) -> Result<(), CudaError> {
        let needed = u64::from(shared) + u64::from(kernel.info.static_shared);
        let limit = self.card().max_shared_bytes;
        if needed > u64::from(limit) {
            return Err(CudaError::Shared {
                entry: entry.to_owned(),
                needed,
                limit,
            });
        }
        if needed > u64::from(FREE_SHARED) && shared > kernel.allowed {
            let allowed = self.driver.allow_shared(kernel.info.id, shared);
            allowed.during("raising a kernel's limit of shared memory")?;
            kernel.allowed = shared;
        }
        Ok(())
    }
}
