//! Kernels that spill, lowered again with another word to `ptxas` about registers.

use super::compile::ptx;
use super::{Fitted, Lowered};
use mixc_nvtools::Ptxas;
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
    pub fn settled(mut self) -> Fitted {
        let Ok(ptxas) = Ptxas::find() else {
            return self;
        };
        let kernels = self.schedule.kernels.iter().zip(self.kernels);
        let spilled = &mut |l: &Lowered| spilled(&ptxas, &l.kernel);
        self.kernels = kernels
            .map(|(kernel, lowered)| settle(kernel, lowered, spilled))
            .collect();
        self
    }
}

/// Bytes of a thread that `ptxas` stores and loads because registers do not do.
fn spilled(ptxas: &Ptxas, kernel: &PtxKernel) -> Option<u32> {
    let assembled = ptxas.assemble(&ptx(kernel).ok()?, kernel.target.chip());
    Some(assembled.ok()?.entry(&kernel.entry)?.spilled())
}
