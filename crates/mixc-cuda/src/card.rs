//! What is known of a card.

/// A card and the driver in front of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// The driver's number of the card.
    pub index: usize,
    pub name: String,
    /// Compute capability, e.g. (9, 0).
    pub cc: (u32, u32),
    pub memory_bytes: u64,
    /// Newest CUDA version that the driver knows, e.g. (12, 8).
    pub cuda: (u32, u32),
    /// Version of the kernel driver, e.g. "570.86.15"; None where the system does not say.
    pub driver: Option<String>,
    /// Streaming multiprocessors.
    pub sms: u32,
    pub l2_bytes: u64,
    /// Shared memory that one block may ask for.
    pub max_shared_bytes: u32,
    /// Highest clock of the multiprocessors and of the memory, in MHz.
    pub max_clock_mhz: u32,
    pub max_memory_clock_mhz: u32,
    /// Width of the memory bus in bits.
    pub memory_bus_bits: u32,
}
