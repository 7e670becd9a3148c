//! Finding the driver and the cards.

use super::failure;
use crate::{Card, CudaError};
use cudarc::driver::result::{self, DriverError, device};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};
use std::sync::OnceLock;

/// Every function of the driver that this crate calls exists from this version on. Calling one that does not would
/// end the program.
const NEEDED: (u32, u32) = (12, 0);

/// Whether the CUDA driver library can be loaded. There may still be no card.
pub fn is_present() -> bool {
    static PRESENT: OnceLock<bool> = OnceLock::new();
    // SAFETY: loads the library by its name, which runs its initialisation; it is made for that.
    *PRESENT.get_or_init(|| unsafe { sys::is_culib_present() })
}

/// The cards of this machine, those that `CUDA_VISIBLE_DEVICES` hides left out.
pub fn devices() -> Result<Vec<Card>, CudaError> {
    let cuda = start()?;
    (0..count()?)
        .map(|index| Ok(describe(index, cuda)?.1))
        .collect()
}

/// The card `index` and the driver's handle of it.
pub(super) fn find(index: usize) -> Result<(sys::CUdevice, Card), CudaError> {
    let cuda = start()?;
    let count = count()?;
    if index >= count {
        return Err(CudaError::NoSuchDevice { index, count });
    }
    describe(index, cuda)
}

/// Initialises the driver; returns the CUDA version that it knows.
fn start() -> Result<(u32, u32), CudaError> {
    if !is_present() {
        return Err(CudaError::NoDriver);
    }
    let mut version = 0;
    // SAFETY: the library is there, the function exists in all versions, and the pointer is to a local.
    let asked = unsafe { sys::cuDriverGetVersion(&mut version) }.result();
    asked.map_err(|e| CudaError::Init {
        failure: failure(e),
    })?;
    // 12080 for 12.8.
    let found = (version as u32 / 1000, version as u32 % 1000 / 10);
    if found < NEEDED {
        return Err(CudaError::DriverTooOld {
            found,
            needed: NEEDED,
        });
    }
    match result::init() {
        Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => Err(CudaError::NoDevice),
        done => done.map(|()| found).map_err(|e| CudaError::Init {
            failure: failure(e),
        }),
    }
}

fn count() -> Result<usize, CudaError> {
    let count = device::get_count().map_err(|e| CudaError::Init {
        failure: failure(e),
    })?;
    match count {
        ..=0 => Err(CudaError::NoDevice),
        count => Ok(count as usize),
    }
}

fn describe(index: usize, cuda: (u32, u32)) -> Result<(sys::CUdevice, Card), CudaError> {
    let ask = || -> Result<(sys::CUdevice, Card), DriverError> {
        let device = device::get(index as i32)?;
        // SAFETY: the device came from the driver.
        let number =
            |a: Attribute| unsafe { device::get_attribute(device, a) }.map(|n| n.max(0) as u32);
        let card = Card {
            index,
            name: device::get_name(device)?,
            cc: (
                number(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                number(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            ),
            // SAFETY: the device came from the driver.
            memory_bytes: unsafe { device::total_mem(device) }? as u64,
            cuda,
            driver: kernel_driver(),
            sms: number(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            l2_bytes: number(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?.into(),
            max_shared_bytes: number(
                Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
            )?,
            // The driver gives kHz.
            max_clock_mhz: number(Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE)? / 1000,
            max_memory_clock_mhz: number(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE)? / 1000,
            memory_bus_bits: number(Attribute::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH)?,
        };
        Ok((device, card))
    };
    ask().map_err(|e| CudaError::Init {
        failure: failure(e),
    })
}

/// The version of the kernel driver, which the driver library does not tell.
fn kernel_driver() -> Option<String> {
    let text = std::fs::read_to_string("/sys/module/nvidia/version").ok()?;
    Some(text.trim().to_owned()).filter(|t| !t.is_empty())
}
