//! MLIR to PTX.

use super::{Fitted, Lowered};
use crate::Error;
use mixc_nvtools::Translator;
use mixc_ptx::PtxKernel;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

/// A kernel with its PTX.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuKernel {
    pub lowered: PtxKernel,
    /// Tiles in flight.
    pub stages: u32,
    pub ptx: Arc<str>,
}

impl GpuKernel {
    /// Warps that compute.
    pub fn warps(&self) -> u32 {
        self.lowered.warps
    }
}

/// PTX for every kernel.
///
/// # Errors
/// [`Error::Unavailable`] if MLIR is not installed; [`Error::Translate`] if a kernel has no PTX.
pub fn compile(fitted: &Fitted) -> Result<Vec<GpuKernel>, Error> {
    let kernels = fitted.kernels.iter();
    kernels
        .map(|Lowered { kernel, options }| {
            Ok(GpuKernel {
                lowered: kernel.clone(),
                stages: options.stages,
                ptx: ptx(kernel)?,
            })
        })
        .collect()
}

/// What was translated before in this process, by architecture and MLIR.
type Known = HashMap<(&'static str, String), Arc<str>>;

/// Known texts are forgotten when there are more bytes of them.
const MOST_KNOWN: usize = 256 << 20;

/// The PTX of a kernel; the same text is translated once.
pub(super) fn ptx(kernel: &PtxKernel) -> Result<Arc<str>, Error> {
    static KNOWN: Mutex<(usize, Option<Known>)> = Mutex::new((0, None));
    let lock = || KNOWN.lock().unwrap_or_else(|e| e.into_inner());
    let key = (kernel.target.chip(), kernel.mlir.clone());
    let known = lock().1.as_ref().and_then(|k| k.get(&key).cloned());
    if let Some(known) = known {
        return Ok(known);
    }
    // Not under the lock: others translate at the same time.
    let translated = translator()?.ptx(kernel.target.chip(), &kernel.mlir);
    let ptx: Arc<str> = translated
        .map_err(|e| Error::Translate {
            kernel: kernel.entry.clone(),
            reason: e.to_string(),
        })?
        .into();
    let mut known = lock();
    known.0 += key.1.len() + ptx.len();
    if known.0 > MOST_KNOWN {
        *known = (key.1.len() + ptx.len(), None);
    }
    let texts = known.1.get_or_insert_with(HashMap::new);
    texts.insert(key, ptx.clone());
    Ok(ptx)
}

/// What turns MLIR into PTX, or what is missing.
pub(crate) fn translator() -> Result<&'static Translator, Error> {
    static FOUND: OnceLock<Result<Translator, String>> = OnceLock::new();
    FOUND
        .get_or_init(|| Translator::find().map_err(|e| e.to_string()))
        .as_ref()
        .map_err(|e| Error::Unavailable(e.clone()))
}
