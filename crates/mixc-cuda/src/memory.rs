//! Device memory with guards behind it.

use crate::driver::codes;
use crate::error::During;
use crate::{Address, CudaError, Driver};
use std::rc::Rc;

/// Bytes behind every block whose change shows that a kernel wrote past its end.
const GUARD_BYTES: u64 = 512;
const GUARD: u8 = 0xA5;
/// Every float of any width made of this byte is NaN.
const POISON: u8 = 0xFF;

/// A block of device memory, given back when dropped.
pub(crate) struct Block<D: Driver> {
    driver: Rc<D>,
    at: Address,
    bytes: u64,
}

impl<D: Driver> Block<D> {
    /// `what` is for the error message.
    pub fn new(driver: &Rc<D>, bytes: u64, what: &str) -> Result<Block<D>, CudaError> {
        let needed = bytes.saturating_add(GUARD_BYTES);
        let at = driver.alloc(needed).map_err(|failure| {
            if failure.code != codes::OUT_OF_MEMORY {
                return CudaError::Driver {
                    what: "allocating device memory",
                    failure,
                };
            }
            let memory = driver.memory();
            CudaError::OutOfMemory {
                what: what.to_owned(),
                needed,
                free: memory.as_ref().map_or(0, |m| m.free),
                total: memory
                    .as_ref()
                    .map_or(driver.card().memory_bytes, |m| m.total),
            }
        })?;
        let block = Block {
            driver: driver.clone(),
            at,
            bytes,
        };
        let behind = Address(at.0 + bytes);
        driver
            .fill(behind, GUARD, GUARD_BYTES)
            .during("setting device memory")?;
        Ok(block)
    }

    pub fn at(&self) -> Address {
        self.at
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Queues setting every byte to 0.
    pub fn zero(&self) -> Result<(), CudaError> {
        self.fill(0)
    }

    /// Queues making every element NaN, or a senseless number where there is no NaN.
    pub fn poison(&self) -> Result<(), CudaError> {
        self.fill(POISON)
    }

    fn fill(&self, byte: u8) -> Result<(), CudaError> {
        if self.bytes == 0 {
            return Ok(());
        }
        self.driver
            .fill(self.at, byte, self.bytes)
            .during("setting device memory")
    }

    pub fn write(&self, bytes: &[u8]) -> Result<(), CudaError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.driver
            .write(self.at, bytes)
            .during("copying to the device")
    }

    pub fn read(&self) -> Result<Vec<u8>, CudaError> {
        let mut bytes = vec![0; self.bytes as usize];
        if !bytes.is_empty() {
            self.driver
                .read(self.at, &mut bytes)
                .during("copying from the device")?;
        }
        Ok(bytes)
    }

    /// Queues copying a block of the same size.
    pub fn copy_from(&self, other: &Block<D>) -> Result<(), CudaError> {
        if self.bytes == 0 {
            return Ok(());
        }
        self.driver
            .copy(self.at, other.at, self.bytes)
            .during("copying on the device")
    }

    /// How far behind the end the first changed byte is; None if none is changed.
    pub fn written_past_end(&self) -> Result<Option<u64>, CudaError> {
        let mut guard = [0; GUARD_BYTES as usize];
        let behind = Address(self.at.0 + self.bytes);
        self.driver
            .read(behind, &mut guard)
            .during("copying from the device")?;
        Ok(guard.iter().position(|&b| b != GUARD).map(|at| at as u64))
    }
}

impl<D: Driver> Drop for Block<D> {
    fn drop(&mut self) {
        // The memory of a broken context goes with the context.
        let _ = self.driver.free(self.at);
    }
}
