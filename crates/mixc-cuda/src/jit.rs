//! Loading modules: which image to take, and what a refusal means.

use crate::driver::{Failure, codes};
use crate::{Card, CudaError, Driver, ModuleId};
use mixc_launch::{Arch, ModuleImage};

/// Loads the machine code where it fits the card, else lets the driver compile the PTX.
pub(crate) fn load_image(
    driver: &impl Driver,
    image: &ModuleImage,
    target: Arch,
) -> Result<ModuleId, CudaError> {
    let card = driver.card();
    if !target.runs_on(card.cc) {
        return Err(CudaError::UnsupportedCard {
            target,
            card: card.name.clone(),
            cc: card.cc,
        });
    }
    let has_ptx = !image.ptx.trim().is_empty();
    match &image.cubin {
        Some(cubin) if target.cubin_runs_on(card.cc) => match driver.load_cubin(cubin) {
            // Machine code from a newer assembler than the driver's: the PTX may still do.
            Err(f)
                if has_ptx && matches!(f.code, codes::INVALID_IMAGE | codes::NO_BINARY_FOR_GPU) =>
            {
                load_ptx(driver, image, target)
            }
            loaded => loaded.map_err(|f| explain(f, image, target, card)),
        },
        Some(_) if !has_ptx => Err(CudaError::UnsupportedCard {
            target,
            card: card.name.clone(),
            cc: card.cc,
        }),
        _ => load_ptx(driver, image, target),
    }
}

fn load_ptx(
    driver: &impl Driver,
    image: &ModuleImage,
    target: Arch,
) -> Result<ModuleId, CudaError> {
    if image.ptx.contains('\0') {
        return Err(CudaError::InvalidCode {
            target,
            text: "the PTX contains a NUL character".into(),
            log: String::new(),
        });
    }
    let loaded = driver.load_ptx(&image.ptx);
    loaded.map_err(|f| explain(f, image, target, driver.card()))
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
