//! Kernels that spill, lowered again with another word to `ptxas` about registers.

use super::{Fitted, Lowered};
use crate::Error;
use mixc_nvtools::{Ptxas, Translator};
use mixc_ptx::{Options, PtxKernel, Room};
use mixc_tile::Kernel;

/// The lowering of a kernel that spills least, `lowered` itself if none spills less. `spilled` tells the bytes of a
/// thread; None counts as spilling more than anything.
pub fn settle(
    kernel: &Kernel,
    lowered: Lowered,
    spilled: &mut dyn FnMut(&Lowered) -> Option<u32>,
) -> Lowered {
    let Some(mut least) = spilled(&lowered).filter(|n| *n > 0) else {
        return lowered;
    };
    let mut best = lowered.clone();
    for room in Room::others(&lowered.kernel) {
        let options = Options {
            room,
            ..lowered.options.clone()
        };
        let Ok(kernel) = mixc_ptx::lower(kernel, &options) else {
            continue;
        };
        let other = Lowered { kernel, options };
        let bytes = spilled(&other).unwrap_or(u32::MAX);
        if bytes < least {
            (best, least) = (other, bytes);
        }
        if least == 0 {
            break;
        }
    }
    best
}

impl Fitted {
    /// The same kernels, each settled where `ptxas` is installed.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if MLIR is not installed.
    pub fn settled(mut self) -> Result<Fitted, Error> {
        let Ok(ptxas) = Ptxas::find() else {
            return Ok(self);
        };
        let translator = super::translator()?;
        let kernels = self.schedule.kernels.iter().zip(self.kernels);
        let spilled = &mut |l: &Lowered| spilled(translator, &ptxas, &l.kernel);
        self.kernels = kernels
            .map(|(kernel, lowered)| settle(kernel, lowered, spilled))
            .collect();
        Ok(self)
    }
}

/// Bytes of a thread that `ptxas` stores and loads because registers do not do.
fn spilled(translator: &Translator, ptxas: &Ptxas, kernel: &PtxKernel) -> Option<u32> {
    let chip = kernel.target.chip();
    let ptx = translator.ptx(chip, &kernel.mlir).ok()?;
    let assembled = ptxas.assemble(&ptx, chip).ok()?;
    let entry = assembled.entry(&kernel.entry)?;
    Some(entry.spill_stores + entry.spill_loads)
}
