//! Loading modules: which image to take, and what a refusal means.

use crate::driver::{Failure, codes};
use crate::{Card, CudaError, Driver, ModuleId};
use mixc_launch::{Arch, ModuleImage};

/// A loaded module, and which image it came from.
#[derive(Clone, Copy)]
pub(crate) struct Loaded {
    pub id: ModuleId,
    pub from_ptx: bool,
}

/// From this version on a driver tells what the kernels of machine code take.
const TELLS_PARAMS: (u32, u32) = (12, 4);

/// Loads the machine code where it fits the card, else lets the driver compile the PTX. A driver that cannot tell
/// what kernels take gets PTX, which can be read, as long as there is any.
pub(crate) fn load_image(
    driver: &impl Driver,
    image: &ModuleImage,
    target: Arch,
) -> Result<Loaded, CudaError> {
    let card = driver.card();
    if !target.runs_on(card.cc) {
        return Err(CudaError::UnsupportedCard {
            target,
            card: card.name.clone(),
            cc: card.cc,
        });
    }
    let has_ptx = !image.ptx.trim().is_empty();
    let ask_ptx = has_ptx && card.cuda < TELLS_PARAMS;
    match &image.cubin {
        Some(cubin) if target.cubin_runs_on(card.cc) && !ask_ptx => {
            match driver.load_cubin(cubin) {
                // Machine code from a newer assembler than the driver's: the PTX may still do.
                Err(f)
                    if has_ptx
                        && matches!(f.code, codes::INVALID_IMAGE | codes::NO_BINARY_FOR_GPU) =>
                {
                    load_ptx(driver, image, target)
                }
                Err(f) => Err(explain(f, image, target, card)),
                Ok(id) => Ok(Loaded {
                    id,
                    from_ptx: false,
                }),
            }
        }
        Some(_) if !has_ptx => Err(CudaError::UnsupportedCard {
            target,
            card: card.name.clone(),
            cc: card.cc,
        }),
        _ => load_ptx(driver, image, target),
    }
}

fn load_ptx(driver: &impl Driver, image: &ModuleImage, target: Arch) -> Result<Loaded, CudaError> {
    if image.ptx.contains('\0') {
        return Err(CudaError::InvalidCode {
            target,
            text: "the PTX contains a NUL character".into(),
            log: String::new(),
        });
    }
    match driver.load_ptx(&image.ptx) {
        Ok(id) => Ok(Loaded { id, from_ptx: true }),
        Err(f) => Err(explain(f, image, target, driver.card())),
    }
}

fn explain(failure: Failure, image: &ModuleImage, target: Arch, card: &Card) -> CudaError {
    let Failure { code, text, log } = failure;
    // Some drivers call a version that they do not know an error in the text.
    let version_in_log = log.contains("Unsupported .version");
    match code {
        codes::UNSUPPORTED_PTX_VERSION => too_new(image, card),
        codes::INVALID_PTX if version_in_log => too_new(image, card),
        codes::NO_JIT | codes::JIT_DISABLED => CudaError::NoJit { text },
        codes::NO_BINARY_FOR_GPU => CudaError::UnsupportedCard {
            target,
            card: card.name.clone(),
            cc: card.cc,
        },
        codes::INVALID_PTX | codes::INVALID_IMAGE | codes::INVALID_SOURCE => {
            CudaError::InvalidCode { target, text, log }
        }
        codes::OUT_OF_MEMORY => CudaError::Driver {
            what: "loading a module",
            failure: Failure { code, text, log },
        },
        _ => CudaError::Driver {
            what: "loading a module",
            failure: Failure {
                code,
                text: join(text, &log),
                log,
            },
        },
    }
}

fn join(text: String, log: &str) -> String {
    if log.is_empty() {
        text
    } else {
        format!("{text}\n{log}")
    }
}

fn too_new(image: &ModuleImage, card: &Card) -> CudaError {
    CudaError::PtxTooNew {
        version: ptx_version(&image.ptx)
            .unwrap_or("of this module")
            .to_owned(),
        cuda: card.cuda,
    }
}

/// The number behind `.version`.
fn ptx_version(ptx: &str) -> Option<&str> {
    let rest = ptx
        .lines()
        .find_map(|line| line.trim().strip_prefix(".version"))?;
    rest.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_behind_comments() {
        assert_eq!(
            ptx_version("// made by\n\n.version 8.7 // x\n.target sm_90a"),
            Some("8.7")
        );
        assert_eq!(ptx_version(".target sm_80"), None);
    }
}
