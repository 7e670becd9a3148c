//! The NVIDIA architectures that kernels are made for.

use std::fmt;
use std::str::FromStr;

/// An architecture, by its compute capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    Sm80,
    Sm89,
    Sm90a,
    Sm100a,
}

/// What one multiprocessor of an architecture has
/// (CUDA C++ Programming Guide, section "Compute Capabilities", table of technical specifications).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest shared memory of one block, bytes.
    pub shared_per_block: u32,
    /// Shared memory of a multiprocessor, bytes.
    pub shared_per_sm: u32,
    pub warps_per_sm: u32,
    pub blocks_per_sm: u32,
    pub registers_per_sm: u32,
}

impl Target {
    pub const ALL: [Target; 4] = [Target::Sm80, Target::Sm89, Target::Sm90a, Target::Sm100a];

    /// The name that compilers know: `sm_90a`.
    pub fn chip(self) -> &'static str {
        match self {
            Target::Sm80 => "sm_80",
            Target::Sm89 => "sm_89",
            Target::Sm90a => "sm_90a",
            Target::Sm100a => "sm_100a",
        }
    }

    /// Compute capability, e.g. 90.
    pub fn capability(self) -> u32 {
        match self {
            Target::Sm80 => 80,
            Target::Sm89 => 89,
            Target::Sm90a => 90,
            Target::Sm100a => 100,
        }
    }

    pub fn limits(self) -> Limits {
        let (shared_per_block, shared_per_sm, warps_per_sm, blocks_per_sm) = match self {
            Target::Sm80 => (163, 164, 64, 32),
            Target::Sm89 => (99, 100, 48, 24),
            Target::Sm90a | Target::Sm100a => (227, 228, 64, 32),
        };
        Limits {
            shared_per_block: shared_per_block * 1024,
            shared_per_sm: shared_per_sm * 1024,
            warps_per_sm,
            blocks_per_sm,
            registers_per_sm: 65536,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.chip())
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let found = Target::ALL.into_iter().find(|t| t.chip() == text);
        found.ok_or_else(|| {
            let names: Vec<&str> = Target::ALL.iter().map(|t| t.chip()).collect();
            format!(
                "unknown GPU architecture '{text}', expected {}",
                names.join(", ")
            )
        })
    }
}
