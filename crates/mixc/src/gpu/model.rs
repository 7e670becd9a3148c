//! Predicted times of kernels on GPUs, from published figures of one card for each architecture.
//!
//! They order forms; nothing here was measured. A kernel takes the longest of: its arithmetic on the
//! multiprocessors that its blocks keep busy, its memory traffic, and the chain of statements of one block times
//! the number of blocks that follow each other. So a grid with fewer blocks than multiprocessors is slow whatever
//! else it does, and a form that splits the work further wins.

use super::Lowered;
use crate::choose::work;
use crate::execute::extents;
use crate::{Choices, Job};
use mixc_ir::DType;
use mixc_nvtools::{Footprint, Limits, occupancy};
use mixc_ptx::{Precision, Target};
use mixc_rewrite::{Cost, CostModel};
use mixc_tile::Kernel;

/// Peaks as published, matrix rates without sparsity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Card {
    pub name: &'static str,
    pub source: &'static str,
    pub multiprocessors: u32,
    /// Highest clock, Hz.
    pub clock: f64,
    /// bf16 and f16 matrix products with f32 sums, flop/s.
    pub half: f64,
    /// tf32 matrix products, flop/s.
    pub tf32: f64,
    /// f32 multiply-adds outside the matrix unit, flop/s.
    pub f32: f64,
    /// Memory, byte/s.
    pub bandwidth: f64,
}

/// The card that stands for an architecture.
pub fn card(target: Target) -> Card {
    let (name, source, multiprocessors, clock, half, tf32, f32, bandwidth) = match target {
        Target::Sm80 => (
            "A100 SXM 80GB",
            "NVIDIA A100 Tensor Core GPU data sheet and architecture white paper",
            108,
            1.41e9,
            312e12,
            156e12,
            19.5e12,
            2.039e12,
        ),
        Target::Sm89 => (
            "L40S",
            "NVIDIA L40S GPU data sheet",
            142,
            2.52e9,
            362e12,
            183e12,
            91.6e12,
            864e9,
        ),
        Target::Sm90a => (
            "H100 SXM",
            "NVIDIA H100 Tensor Core GPU data sheet and architecture white paper",
            132,
            1.98e9,
            989.4e12,
            494.7e12,
            66.9e12,
            3.35e12,
        ),
        Target::Sm100a => (
            "B200",
            "NVIDIA HGX B200 specifications",
            148,
            1.965e9,
            2250e12,
            1125e12,
            75e12,
            7.7e12,
        ),
    };
    Card {
        name,
        source,
        multiprocessors,
        clock,
        half,
        tf32,
        f32,
        bandwidth,
    }
}

/// Results of special functions a clock and multiprocessor (CUDA C++ Programming Guide, "Throughput of Native
/// Arithmetic Instructions").
const SPECIAL_PER_CLOCK: f64 = 16.0;
/// Bytes a clock from the second-level cache of an A100 (its white paper); taken for the others too.
const CACHE_BYTES_PER_CLOCK: f64 = 5120.0;
/// What warps by themselves (`mma.sync`) reach of the matrix unit of sm_90, which is made for warpgroups (Luo et al. 2024,
/// arXiv 2402.13499).
const WARPS_OF_HOPPER: f64 = 0.629;
/// A statement of a block that has its multiprocessor to itself: what recurrences over chunks took on an H200
/// (benches/results/gpu.md), where each statement waits for the one before.
const STATEMENT_SECONDS: f64 = 1.2e-7;
/// Assumed: one launch after another.
const LAUNCH_SECONDS: f64 = 4e-6;
/// Assumed registers of a thread, with products and without. The choice of a form must not depend on whether ptxas is
/// installed.
const REGISTERS: [u32; 2] = [128, 64];

impl Card {
    fn special_rate(&self) -> f64 {
        SPECIAL_PER_CLOCK * f64::from(self.multiprocessors) * self.clock
    }

    pub(crate) fn matrix_rate(&self, dtype: DType, precision: Precision) -> f64 {
        match (dtype, precision) {
            (DType::Bf16 | DType::F16, _) => self.half,
            (_, Precision::Fma) => self.f32,
            (_, Precision::Tf32) => self.tf32,
            (_, Precision::Tf32x3) => self.tf32 / 3.0,
        }
    }

    /// Rates for the search over forms, which knows no kernels yet.
    pub fn cost_model(&self) -> CostModel {
        CostModel {
            matmul_flops: self.half,
            vector_flops: self.f32 / 2.0,
            special_rate: self.special_rate(),
            bandwidth: self.bandwidth,
            step_latency: STATEMENT_SECONDS,
            launch: LAUNCH_SECONDS,
            parallel_units: f64::from(self.multiprocessors),
        }
    }
}

/// The predicted time of one kernel, and what it is made of, in milliseconds.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct KernelTime {
    pub blocks: u64,
    /// Blocks that a multiprocessor holds at a time, with an assumed number of registers.
    pub blocks_per_sm: u32,
    /// Rounds in which the card takes the blocks.
    pub waves: u64,
    /// The share of the multiprocessors' time in which they have a block.
    pub busy: f64,
    pub matrix_ms: f64,
    pub vector_ms: f64,
    pub special_ms: f64,
    /// Inputs and outputs once through memory.
    pub memory_ms: f64,
    /// Everything that blocks load and store, through the cache.
    pub cache_ms: f64,
    /// Statements of a block one after the other, for every wave.
    pub latency_ms: f64,
    pub launch_ms: f64,
    pub total_ms: f64,
    /// The longest of arithmetic, memory, cache and latency; `launch` if that takes longer than all of them.
    pub bound: &'static str,
}

/// The work of a kernel and its predicted time; infinite if its work does not follow from the sizes, so that such
/// a kernel is never chosen.
pub fn predict(
    kernel: &Kernel,
    lowered: &Lowered,
    job: &Job,
    choices: &Choices,
) -> (Cost, KernelTime) {
    let target = lowered.kernel.target;
    let card = card(target);
    let counts = mixc_tile::counts::counts(kernel, &job.sizes);
    let known = counts.is_ok();
    let counts = counts.unwrap_or_default();
    let blocks = counts.grid_points;
    let footprint = Footprint {
        threads: lowered.kernel.threads,
        registers: REGISTERS[usize::from(counts.contract_fmas == 0)],
        shared: lowered.kernel.shared_bytes,
    };
    let held = Limits::of(target.chip()).map_or(1, |l| occupancy(l, &footprint).blocks);
    let sms = u64::from(card.multiprocessors);
    let waves = blocks.div_ceil(sms * u64::from(held.max(1)));
    let rounds = blocks.div_ceil(sms).max(1);
    let busy = (blocks as f64 / (rounds * sms) as f64).max(1.0 / sms as f64);

    let mut cost = work(&counts);
    let precision = choices.precision.unwrap_or_default();
    let by_warps = target == Target::Sm90a && !lowered.kernel.warpgroups;
    let reached = if by_warps { WARPS_OF_HOPPER } else { 1.0 };
    let rate = reached * card.matrix_rate(job.dtype, precision);
    let matrix = cost.matmul_flops / rate / busy;
    // The peak counts two operations for each multiply-add, the kernel's operations count as one.
    let vector = cost.vector_flops / (card.f32 / 2.0) / busy;
    let special = cost.special_ops / card.special_rate() / busy;
    let memory = cost.bytes.min(tensor_bytes(kernel, job)) / card.bandwidth;
    let cache = cost.bytes / (CACHE_BYTES_PER_CLOCK * card.clock) / busy;
    let latency = waves as f64 * cost.depth * STATEMENT_SECONDS;
    let parts = [
        ("arithmetic", matrix + vector + special),
        ("memory", memory),
        ("cache", cache),
        ("latency", latency),
    ];
    let first = ("launch", LAUNCH_SECONDS);
    let (bound, _) = parts
        .iter()
        .fold(first, |a, b| if b.1 > a.1 { *b } else { a });
    let longest = parts.iter().map(|p| p.1).fold(0.0, f64::max);
    let longest = if known { longest } else { f64::INFINITY };
    cost.seconds = longest + LAUNCH_SECONDS;
    let time = KernelTime {
        blocks,
        blocks_per_sm: held,
        waves,
        busy,
        matrix_ms: matrix * 1e3,
        vector_ms: vector * 1e3,
        special_ms: special * 1e3,
        memory_ms: memory * 1e3,
        cache_ms: cache * 1e3,
        latency_ms: latency * 1e3,
        launch_ms: LAUNCH_SECONDS * 1e3,
        total_ms: cost.seconds * 1e3,
        bound,
    };
    (cost, time)
}

/// Bytes of all tensors of a kernel.
fn tensor_bytes(kernel: &Kernel, job: &Job) -> f64 {
    let bytes = |t: &mixc_tile::TensorArg| {
        let shape = extents(&t.shape, &job.sizes).unwrap_or_default();
        shape.iter().product::<usize>() as f64 * t.dtype.size_bytes() as f64
    };
    kernel.tensors.iter().map(bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_clocks_and_lanes_belong_together() {
        // Lanes of a multiprocessor for f32: the programming guide's 64 for 8.0, 128 for the later ones.
        for (target, lanes) in [
            (Target::Sm80, 64.0),
            (Target::Sm89, 128.0),
            (Target::Sm90a, 128.0),
            (Target::Sm100a, 128.0),
        ] {
            let card = card(target);
            let peak = 2.0 * lanes * f64::from(card.multiprocessors) * card.clock;
            assert!((peak / card.f32 - 1.0).abs() < 0.01, "{target}: {peak:e}");
        }
    }
}
