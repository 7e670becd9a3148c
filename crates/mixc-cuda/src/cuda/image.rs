//! Code on its way into the driver, and what the driver says of it.

use super::{Cuda, failure};
use crate::{Failure, ModuleId};
use cudarc::driver::sys;
use std::ffi::c_void;

/// Room for what the driver's compiler says, in bytes.
const LOG_BYTES: usize = 16 * 1024;

impl Cuda {
    /// Loads PTX that ends in NUL, or a complete ELF image.
    pub(super) fn load_image(&self, image: *const c_void) -> Result<ModuleId, Failure> {
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
    pub(super) fn params(&self, function: sys::CUfunction) -> Option<Vec<usize>> {
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

fn text_until_nul(bytes: &[u8]) -> String {
    let text = bytes.split(|&b| b == 0).next().unwrap_or(&[]);
    String::from_utf8_lossy(text).trim().to_owned()
}

/// Whether the tables that the header of a 64-bit little-endian ELF image names lie inside it.
pub(super) fn is_complete_elf(image: &[u8]) -> bool {
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
