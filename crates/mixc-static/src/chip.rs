//! Rates of one multiprocessor, as published, and what an instruction takes of them.
//!
//! - Tensor cores: multiply-adds a clock follow from the dense peaks of the white papers "NVIDIA A100 Tensor Core
//!   GPU Architecture", "NVIDIA Ada GPU Architecture" and "NVIDIA H100 Tensor Core GPU Architecture", divided by
//!   multiprocessors and clock.
//! - Everything else: CUDA C++ Programming Guide, "Arithmetic Instructions", table "Throughput of Native Arithmetic
//!   Instructions" (results a clock and multiprocessor).
//! - Shared memory: 32 banks of 4 bytes a clock (the same guide, "Shared Memory").

use crate::Class;
use crate::classes::classify;
use mixc_ptx::Target;

/// Quarters of a multiprocessor, each with its own scheduler, which issues one instruction a clock.
pub const QUARTERS: f64 = 4.0;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    pub multiprocessors: u32,
    /// Dense multiply-adds of bf16 or f16 a clock of one multiprocessor; tf32 has half of it.
    pub half_fmas: f64,
    /// The share of that which `mma.sync` reaches. On sm_90 the peak takes `wgmma`; others measured 62.9% on average
    /// for `mma.sync` (Luo et al. 2024, arXiv 2402.13499, tensor core section).
    pub mma_sync: f64,
    /// Lanes of one quarter for f32 additions and multiplications.
    pub fma_lanes: f64,
}

/// Lanes of a quarter for integers, comparisons, minima, selections, shifts, packing: 64 a multiprocessor.
const ALU_LANES: f64 = 16.0;
/// Lanes of a quarter for special functions and the other conversions: 16 a multiprocessor.
const SPECIAL_LANES: f64 = 4.0;
/// Bytes a clock of a multiprocessor between registers and shared memory.
const SHARED_BYTES: f64 = 128.0;
const WARP: f64 = 32.0;

/// None where no rates are known well enough.
pub fn rates(target: Target) -> Option<Rates> {
    let (multiprocessors, half_fmas, mma_sync, fma_lanes) = match target {
        Target::Sm80 => (108, 1024.0, 1.0, 16.0),
        Target::Sm89 => (142, 512.0, 1.0, 32.0),
        Target::Sm90a => (132, 2048.0, 0.629, 32.0),
        Target::Sm100a => return None,
    };
    Some(Rates {
        multiprocessors,
        half_fmas,
        mma_sync,
        fma_lanes,
    })
}

/// Cycles of one warp instruction in the units that it uses. `shared` is a unit of the whole multiprocessor, the
/// others belong to a quarter.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Use {
    pub tensor: f64,
    pub fma: f64,
    pub alu: f64,
    pub special: f64,
    pub shared: f64,
}

/// Multiply-adds of one warp's share of a matrix instruction, and whether its inputs are tf32. None for opcodes
/// whose shape is not part of the name.
pub fn matrix_fmas(opcode: &str) -> Option<(f64, bool)> {
    let mut parts = opcode.split('.');
    let (mnemonic, shape) = (parts.next()?, parts.next()?);
    let tf32 = opcode.contains("TF32");
    match (mnemonic, shape) {
        ("HMMA", "16816") => Some((2048.0, tf32)),
        ("HMMA", "1688") => Some((1024.0, tf32)),
        ("HMMA", "1684") => Some((512.0, tf32)),
        // One instruction for the four warps of a warpgroup.
        ("HGMMA", shape) => {
            let sides: Option<Vec<f64>> = shape.split('x').map(|n| n.parse().ok()).collect();
            Some((sides?.iter().product::<f64>() / 4.0, tf32))
        }
        _ => None,
    }
}

/// What one instruction of a warp takes.
pub fn used(opcode: &str, rates: &Rates) -> Use {
    let none = Use::default();
    let mnemonic = opcode.split('.').next().unwrap_or("");
    let alu = Use {
        alu: WARP / ALU_LANES,
        ..none
    };
    let special = Use {
        special: WARP / SPECIAL_LANES,
        ..none
    };
    let through_shared = |bytes: f64| Use {
        shared: bytes * WARP / SHARED_BYTES,
        ..none
    };
    match classify(opcode) {
        Class::Matrix => {
            let (fmas, tf32) = matrix_fmas(opcode).unwrap_or((0.0, false));
            let share = if mnemonic == "HMMA" {
                rates.mma_sync
            } else {
                1.0
            };
            let rate = rates.half_fmas / QUARTERS * share * if tf32 { 0.5 } else { 1.0 };
            Use {
                tensor: fmas / rate,
                ..none
            }
        }
        // Each 8 x 8 matrix of 16-bit elements is 128 bytes, 4 for each lane.
        Class::Ldsm => through_shared(4.0 * last_number(opcode).unwrap_or(1.0)),
        Class::Lds | Class::Sts | Class::Ldg | Class::Stg | Class::Copy | Class::Local => {
            through_shared(lane_bytes(opcode))
        }
        // 32 lanes a clock and multiprocessor, over the same crossbar.
        Class::Shuffle => through_shared(4.0),
        Class::Mufu => special,
        Class::Fp32 => match mnemonic {
            "FADD" | "FMUL" | "FFMA" | "HADD2" | "HMUL2" | "HFMA2" => Use {
                fma: WARP / rates.fma_lanes,
                ..none
            },
            _ => alu,
        },
        Class::Convert => match mnemonic {
            "F2FP" | "I2FP" | "F2IP" => alu,
            _ => special,
        },
        Class::Int => match mnemonic {
            // Multiply-add units, of which half multiply integers where there are 32.
            "IMAD" => Use {
                fma: WARP / 16.0,
                ..none
            },
            _ => alu,
        },
        Class::Uniform | Class::Barrier | Class::Control => none,
    }
}

/// Bytes that a lane moves: 4 unless the opcode names another width in bits.
fn lane_bytes(opcode: &str) -> f64 {
    let width = |part: &str| match part {
        "128" => Some(16.0),
        "64" => Some(8.0),
        _ => None,
    };
    opcode.split('.').skip(1).find_map(width).unwrap_or(4.0)
}

fn last_number(opcode: &str) -> Option<f64> {
    opcode.rsplit('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_multiply_to_the_published_peaks() {
        // Dense bf16 peaks of the white papers at the clocks that they state for them.
        for (target, clock, peak) in [
            (Target::Sm80, 1.41e9, 312e12),
            (Target::Sm89, 2.52e9, 362.05e12),
            (Target::Sm90a, 1.83e9, 989.4e12),
        ] {
            let rates = rates(target).unwrap();
            let found = 2.0 * rates.half_fmas * f64::from(rates.multiprocessors) * clock;
            assert!((found / peak - 1.0).abs() < 0.02, "{target}: {found:e}");
        }
    }

    #[test]
    fn instructions_take_what_their_shape_says() {
        let ampere = rates(Target::Sm80).unwrap();
        let hopper = rates(Target::Sm90a).unwrap();
        assert_eq!(used("HMMA.16816.F32.BF16", &ampere).tensor, 8.0);
        assert_eq!(used("HMMA.1688.F32.TF32", &ampere).tensor, 8.0);
        assert_eq!(used("HGMMA.64x128x16.F32.BF16", &hopper).tensor, 64.0);
        assert_eq!(used("LDSM.16.M88.4", &ampere).shared, 4.0);
        assert_eq!(used("LDS.128", &ampere).shared, 4.0);
        assert_eq!(used("STS", &ampere).shared, 1.0);
        assert_eq!(used("MUFU.EX2", &ampere).special, 8.0);
        assert_eq!(used("FFMA", &ampere).fma, 2.0);
        assert_eq!(used("FFMA", &hopper).fma, 1.0);
        assert_eq!(used("FMNMX", &hopper).alu, 2.0);
    }
}
