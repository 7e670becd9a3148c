//! How many blocks of a kernel run on one multiprocessor at a time.
//!
//! The limits are those of the CUDA C++ Programming Guide, "Compute Capabilities", table "Technical
//! Specifications per Compute Capability". Registers are given to warps in units of 256, each warp
//! in one of four quarters of the register file; shared memory in units of 128 bytes, and 1 KiB of
//! each block's is the system's from capability 8.0 on (the guides "NVIDIA Ampere GPU Architecture
//! Tuning" and later; the CUDA occupancy calculator).

/// What one multiprocessor holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The compute capability times ten: 90 is 9.0.
    pub capability: u32,
    pub threads: u32,
    pub blocks: u32,
    /// 32-bit registers.
    pub registers: u32,
    /// Bytes of shared memory, the system's part of each block included.
    pub shared: u32,
    /// Bytes of shared memory that one block can have, where the launch asks for more than 48 KiB.
    pub shared_of_block: u32,
    /// Bytes of each block's shared memory that the system keeps.
    pub shared_reserved: u32,
}

const fn limits(capability: u32, threads: u32, blocks: u32, shared_kib: u32) -> Limits {
    let reserved = if capability < 80 { 0 } else { 1024 };
    Limits {
        capability,
        threads,
        blocks,
        registers: 64 << 10,
        shared: shared_kib << 10,
        shared_of_block: (shared_kib << 10) - reserved,
        shared_reserved: reserved,
    }
}

const LIMITS: &[Limits] = &[
    limits(75, 1024, 16, 64),
    limits(80, 2048, 32, 164),
    limits(86, 1536, 16, 100),
    limits(87, 1536, 16, 164),
    limits(89, 1536, 24, 100),
    limits(90, 2048, 32, 228),
    limits(100, 2048, 32, 228),
    limits(103, 2048, 32, 228),
    limits(120, 1536, 24, 100),
    limits(121, 1536, 24, 100),
];

const WARP: u32 = 32;
const THREADS_OF_BLOCK: u32 = 1024;
const REGISTERS_OF_THREAD: u32 = 255;
const REGISTER_UNIT: u32 = 256;
const QUARTERS: u32 = 4;
const SHARED_UNIT: u32 = 128;

impl Limits {
    /// Those of an architecture such as `sm_90a`; `None` for one that is not in the table.
    pub fn of(arch: &str) -> Option<&'static Limits> {
        let number = arch.strip_prefix("sm_")?.trim_end_matches(['a', 'f']);
        let capability: u32 = number.parse().ok()?;
        LIMITS.iter().find(|l| l.capability == capability)
    }
}

/// What one block needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    pub threads: u32,
    /// Registers of a thread at its launch.
    pub registers: u32,
    /// Bytes of shared memory, declared and given at launch together.
    pub shared: u32,
}

/// What runs at a time, and what keeps more from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// Blocks on one multiprocessor; 0 where not even one fits.
    pub blocks: u32,
    /// Warps of those blocks.
    pub warps: u32,
    pub bound: Bound,
}

/// The scarcest resource; of equally scarce ones, the first in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    Threads,
    Blocks,
    Registers,
    Shared,
}

/// A block without threads needs nothing and is bound by the number of blocks.
pub fn occupancy(limits: &Limits, block: &Footprint) -> Occupancy {
    let warps = block.threads.div_ceil(WARP);
    let candidates = [
        (by_threads(limits, block, warps), Bound::Threads),
        (limits.blocks, Bound::Blocks),
        (by_registers(limits, block, warps), Bound::Registers),
        (by_shared(limits, block), Bound::Shared),
    ];
    // `min_by_key` keeps the first of equals.
    let least = candidates.into_iter().min_by_key(|(blocks, _)| *blocks);
    let (blocks, bound) = least.unwrap_or((0, Bound::Blocks));
    Occupancy {
        blocks,
        warps: blocks * warps,
        bound,
    }
}

fn by_threads(limits: &Limits, block: &Footprint, warps: u32) -> u32 {
    if block.threads > THREADS_OF_BLOCK {
        return 0;
    }
    (limits.threads / WARP)
        .checked_div(warps)
        .unwrap_or(u32::MAX)
}

fn by_registers(limits: &Limits, block: &Footprint, warps: u32) -> u32 {
    if block.registers > REGISTERS_OF_THREAD {
        return 0;
    }
    let of_warp = (block.registers * WARP).next_multiple_of(REGISTER_UNIT);
    let quarter = limits.registers / QUARTERS;
    let warps_that_fit = quarter.checked_div(of_warp).map(|w| w * QUARTERS);
    let blocks = warps_that_fit.and_then(|w| w.checked_div(warps));
    blocks.unwrap_or(u32::MAX)
}

fn by_shared(limits: &Limits, block: &Footprint) -> u32 {
    if block.shared > limits.shared_of_block {
        return 0;
    }
    let of_block = (block.shared + limits.shared_reserved).next_multiple_of(SHARED_UNIT);
    limits.shared.checked_div(of_block).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arch: &str, threads: u32, registers: u32, shared: u32) -> (u32, u32, Bound) {
        let block = Footprint {
            threads,
            registers,
            shared,
        };
        let found = occupancy(Limits::of(arch).unwrap(), &block);
        (found.blocks, found.warps, found.bound)
    }

    // By hand: 164 KiB = 167936 bytes, 228 KiB = 233472, 100 KiB = 102400.
    #[test]
    fn each_resource_can_be_the_scarce_one() {
        // 32 registers of 256 threads: 8 warps of 1024 registers, 64 warps fill the file.
        assert_eq!(of("sm_80", 256, 32, 0), (8, 64, Bound::Threads));
        assert_eq!(of("sm_80", 32, 32, 0), (32, 32, Bound::Blocks));
        assert_eq!(of("sm_86", 32, 32, 0), (16, 16, Bound::Blocks));
        // 168 registers: 5376 of a warp, 3 warps in a quarter of 16384, 12 in all.
        assert_eq!(of("sm_90a", 128, 168, 0), (3, 12, Bound::Registers));
        // 49152 + 1024 bytes: 4 times 50176 is 200704, 5 times is above 233472.
        assert_eq!(of("sm_90a", 128, 32, 49152), (4, 16, Bound::Shared));
    }

    #[test]
    fn registers_are_split_into_quarters_and_units() {
        // 40 registers: 1280 of a warp, 12 warps in a quarter, not 51 in the whole file.
        assert_eq!(of("sm_80", 32, 40, 0).0, 32);
        assert_eq!(of("sm_80", 64, 40, 0), (24, 48, Bound::Registers));
        // 33 registers count as 40: 1056 rounds up to 1280.
        assert_eq!(of("sm_80", 64, 33, 0), (24, 48, Bound::Registers));
        // 200 registers: 6400 of a warp, 2 in a quarter, although 10 would fit the whole.
        assert_eq!(of("sm_89", 64, 200, 0), (4, 8, Bound::Registers));
    }

    #[test]
    fn the_systems_shared_memory_counts() {
        // 50176 bytes twice would be 98 KiB of 100; with 1 KiB more each it is exactly 100.
        assert_eq!(of("sm_89", 128, 32, 50176), (2, 8, Bound::Shared));
        assert_eq!(of("sm_89", 128, 32, 50177), (1, 4, Bound::Shared));
        assert_eq!(of("sm_90", 128, 32, 227 << 10), (1, 4, Bound::Shared));
    }

    #[test]
    fn what_does_not_fit_at_all_has_no_blocks() {
        assert_eq!(of("sm_90", 128, 32, (227 << 10) + 1), (0, 0, Bound::Shared));
        assert_eq!(of("sm_90", 1025, 32, 0), (0, 0, Bound::Threads));
        assert_eq!(of("sm_90", 1024, 72, 0), (0, 0, Bound::Registers));
        assert!(Limits::of("sm_10").is_none() && Limits::of("90").is_none());
    }
}
