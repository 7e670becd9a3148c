//! What `ptxas` is told of registers. It spills a few of them here and there, on the way to an occupancy or to the most
//! that it may use, and after another word it does not: so there are several, to be tried where a kernel spills.

use crate::{Limits, PtxKernel};
use std::fmt;

/// For how many blocks of a multiprocessor, or for which role, registers are set aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Room {
    /// What loops and shared memory of the kernel speak for.
    #[default]
    Judged,
    /// No word: `ptxas` decides on the occupancy.
    Unsaid,
    /// So many blocks at the same time.
    Blocks(u32),
    /// The fewest that there are for the warps that load, all others for those that compute.
    LeanProducer,
}

impl Room {
    /// What else can be tried for a kernel, the more blocks the earlier.
    pub fn others(kernel: &PtxKernel) -> Vec<Room> {
        if kernel.persistent.is_some() {
            return vec![Room::LeanProducer];
        }
        let limits = kernel.target.limits();
        let by_registers = limits.registers_per_sm / (kernel.threads * FEW_REGISTERS);
        let most = held(kernel.shared_bytes, &limits).min(by_registers).max(1);
        let mut all = vec![Room::Unsaid];
        all.extend((1..=most).rev().map(Room::Blocks));
        all
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Room::Judged => f.write_str("as judged"),
            Room::Unsaid => f.write_str("occupancy left to ptxas"),
            Room::Blocks(1) => f.write_str("1 block"),
            Room::Blocks(n) => write!(f, "{n} blocks"),
            Room::LeanProducer => f.write_str("lean producer"),
        }
    }
}

/// Blocks for which a multiprocessor has the shared memory; one that does not fit is refused elsewhere.
pub(crate) fn held(shared_bytes: u32, limits: &Limits) -> u32 {
    (limits.shared_per_sm / (shared_bytes + RESERVED_SHARED)).max(1)
}

/// Shared memory that the system takes for every block (CUDA C++ Programming Guide, "Compute Capability 9.0").
const RESERVED_SHARED: u32 = 1024;
/// What a thread may use at the highest occupancy that is tried.
const FEW_REGISTERS: u32 = 64;
/// What a kernel without products may use; few need as many.
const REGISTERS_WITHOUT_PRODUCTS: u32 = 168;

/// What is said of a kernel by itself.
pub(crate) struct Traits {
    /// Blocks of a multiprocessor, where they go through several grid points.
    pub persistent: Option<u32>,
    pub threads: u32,
    pub shared_bytes: u32,
    pub loops: bool,
    pub products: bool,
    /// Whether f32 products are split, which takes many registers.
    pub split: bool,
}

/// The blocks that `ptxas` makes room for, if it is told.
pub(crate) fn blocks(room: Room, kernel: &Traits, limits: &Limits) -> Option<u32> {
    // Registers can only move between roles if ptxas knows how many there are.
    if kernel.persistent.is_some() {
        return kernel.persistent;
    }
    match room {
        Room::Unsaid => return None,
        Room::Blocks(n) => return Some(n),
        Room::Judged | Room::LeanProducer => {}
    }
    // ptxas would rather spill than give up an occupancy that the kernel does not profit from: that of split f32
    // products, or one that shared memory does not allow. In a kernel without loops it does not, and told so it moves
    // loads up until it has to spill.
    let held = held(kernel.shared_bytes, limits);
    let all_registers = held * kernel.threads * 256 <= limits.registers_per_sm && kernel.loops;
    // A kernel without products needs few, but more than the least that `ptxas` tries.
    let bare = limits.registers_per_sm / (kernel.threads * REGISTERS_WITHOUT_PRODUCTS);
    if kernel.split {
        Some(1)
    } else if all_registers {
        Some(held)
    } else {
        (!kernel.products && held < 8).then(|| held.min(bare).max(1))
    }
}
