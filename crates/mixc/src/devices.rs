//! What this machine can do: its name, and the peaks that benchmarks are measured against.

use crate::{GpuTarget, gpu};
use mixc_nvtools::Ptxas;
use std::hint::black_box;
use std::time::Instant;

/// A target, and whether it can be compiled for and run here.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Device {
    pub target: String,
    pub description: String,
    pub compiles: bool,
    /// On this machine's own hardware.
    pub runs: bool,
    /// Whether a simulator stands in where nothing here runs it.
    pub simulates: bool,
    /// Whether machine code can be made, and with it registers, spills and occupancy be known.
    pub assembles: bool,
    pub peaks: Option<Peaks>,
    /// Why it cannot be compiled for or run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Measured, not looked up.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Peaks {
    /// f32 fused multiply-adds on 128-bit vectors, one thread; two operations each.
    pub f32_gflops_thread: f64,
    /// The same on all threads at once.
    pub f32_gflops: f64,
    /// Reading memory that no cache holds, all threads.
    pub read_gbps: f64,
    pub threads: usize,
}

/// Every target, with measured peaks for this CPU (which takes about a second), and what is missing for the others.
pub fn devices() -> Vec<Device> {
    let cpu = Device {
        target: "cpu".to_owned(),
        description: cpu_name(),
        compiles: true,
        runs: true,
        simulates: false,
        assembles: true,
        peaks: Some(measure_peaks()),
        notes: vec![],
    };
    let gpus = GpuTarget::ALL.into_iter().map(gpu);
    std::iter::once(cpu).chain(gpus).collect()
}

fn gpu(target: GpuTarget) -> Device {
    let (translator, ptxas) = (gpu::translator(), Ptxas::find());
    let card = gpu::card_for(target);
    let architecture = match target {
        GpuTarget::Sm80 => "NVIDIA Ampere",
        GpuTarget::Sm89 => "NVIDIA Ada",
        GpuTarget::Sm90a => "NVIDIA Hopper",
        GpuTarget::Sm100a => "NVIDIA Blackwell",
    };
    let missing = [
        translator.as_ref().err().map(|e| e.to_string()),
        ptxas.as_ref().err().map(|e| e.to_string()),
        card.is_none().then(|| {
            gpu::no_card().unwrap_or_else(|| "no card of this machine runs it".to_owned())
        }),
    ];
    Device {
        target: target.chip().to_owned(),
        description: card.map_or_else(
            || architecture.to_owned(),
            |c| format!("{architecture}: {}", c.name),
        ),
        compiles: translator.is_ok(),
        runs: translator.is_ok() && card.is_some(),
        simulates: translator.is_ok(),
        assembles: ptxas.is_ok(),
        peaks: None,
        notes: missing.into_iter().flatten().collect(),
    }
}

/// The processor's name, where the system tells it.
pub fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = info
        .lines()
        .find_map(|l| l.strip_prefix("model name").and_then(|l| l.split_once(':')));
    let name = field.map_or("CPU", |(_, name)| name.trim());
    format!("{name}, {} threads, {}", threads(), std::env::consts::ARCH)
}

pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

pub fn measure_peaks() -> Peaks {
    let threads = threads();
    Peaks {
        f32_gflops_thread: measure_fma(1),
        f32_gflops: measure_fma(threads),
        read_gbps: measure_read(threads),
        threads,
    }
}

/// The f32 multiply-add peak of `threads` threads on 128-bit vectors, in GFLOP/s: each thread runs
/// generated code of the kind that kernels are made of. 0 where generated code cannot run.
pub fn measure_fma(threads: usize) -> f64 {
    on_threads(threads, || {
        mixc_cpu::measure_peak(0.1).map_or(0.0, |p| p.fma_128_gflops)
    })
}

fn measure_read(threads: usize) -> f64 {
    const WORDS: usize = 1 << 23; // 64 MiB for each thread
    let data: Vec<u64> = (0..WORDS as u64).collect();
    let best = (0..3).map(|_| {
        let start = Instant::now();
        let bytes: f64 = on_threads(threads, || {
            // Eight sums, so that additions do not wait for each other.
            let sums = black_box(&data)
                .chunks_exact(8)
                .fold([0u64; 8], |mut sums, chunk| {
                    sums.iter_mut()
                        .zip(chunk)
                        .for_each(|(s, x)| *s = s.wrapping_add(*x));
                    sums
                });
            black_box(sums);
            (WORDS * 8) as f64
        });
        bytes / start.elapsed().as_secs_f64()
    });
    best.fold(0.0, f64::max) / 1e9
}

fn on_threads(threads: usize, work: impl Fn() -> f64 + Sync) -> f64 {
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        handles.into_iter().map(|h| h.join().unwrap_or(0.0)).sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_has_a_name_and_a_peak() {
        assert!(!cpu_name().is_empty());
        // No processor of the last twenty years is slower or a thousand times faster.
        assert!((0.5..5000.0).contains(&measure_fma(1)));
    }
}
