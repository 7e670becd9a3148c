//! What is known of a GPU kernel without a GPU: its launch, a predicted time, what `ptxas` says, and what the
//! simulator counts on a smaller problem.

use crate::choose::Candidate;
use crate::gpu::model::KernelTime;
use crate::gpu::{self, GpuKernel};
use crate::problem::{Sizes, random_job, work};
use crate::{Choices, Error, Executable, Job, Mixer, Target, precision_name};
use mixc_ir::{DType, Name};
use mixc_nvtools::{Footprint, Limits, Ptxas, occupancy};
use mixc_sim::Counts;
use mixc_tensor::Pattern;
use std::collections::BTreeMap;

/// One kernel on a GPU.
#[derive(Clone, Debug, serde::Serialize)]
pub struct GpuLine {
    pub threads: u32,
    pub warps: u32,
    /// Whether four of the warps only load, and blocks go through several grid points.
    pub producer: bool,
    /// Tiles in flight.
    pub stages: u32,
    /// Shared memory of a block.
    pub shared_bytes: u32,
    /// How matrices are multiplied, where the element type is f32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<&'static str>,
    pub predicted: KernelTime,
    /// None where `ptxas` or the compiler is missing; a note says which.
    pub ptxas: Option<Resources>,
    /// None where the kernel cannot be simulated; a note says why.
    pub simulated: Option<Simulated>,
}

/// What `ptxas` says, and what follows for a multiprocessor.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Resources {
    /// 32-bit registers of a thread.
    pub registers: u32,
    /// Bytes of a thread.
    pub spill_stores: u32,
    pub spill_loads: u32,
    pub stack: u32,
    pub blocks_per_sm: u32,
    pub warps_per_sm: u32,
    /// Warps over the most that a multiprocessor holds.
    pub occupancy: f64,
    /// The resource that keeps more blocks away.
    pub bound: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
}

/// Counts of the simulator, over all blocks.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Simulated {
    /// The smaller problem.
    pub shape: BTreeMap<String, i64>,
    pub warp_instructions: u64,
    /// Floating-point operations of matrix instructions.
    pub matrix_flops: u64,
    /// Further passes over the banks of shared memory.
    pub bank_conflicts: u64,
    /// Share of the global sectors' bytes that was asked for.
    pub coalescing: f64,
    /// By class of instruction, and all that was counted.
    pub counts: Counts,
    /// Mistakes, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mistakes: Option<String>,
}

/// Lines for the kernels of a candidate, in order. What is missing is named in `notes`.
pub fn lines(
    mixer: &Mixer,
    candidate: &Candidate,
    target: &Target,
    job: &Job,
    choices: &Choices,
    notes: &mut Vec<String>,
) -> Vec<GpuLine> {
    let mut lines: Vec<GpuLine> = vec![];
    for (lowered, time) in &candidate.gpu {
        let kernel = &lowered.kernel;
        lines.push(GpuLine {
            threads: kernel.threads,
            warps: kernel.threads / 32,
            producer: kernel.persistent.is_some(),
            stages: lowered.options.stages,
            shared_bytes: kernel.shared_bytes,
            precision: (job.dtype == DType::F32)
                .then(|| precision_name(choices.precision.unwrap_or_default())),
            predicted: time.clone(),
            ptxas: None,
            simulated: None,
        });
    }
    let executable = match candidate.clone().settled(target) {
        Ok(executable) => executable,
        Err(e) => {
            notes.push(format!("neither assembled nor simulated: {e}"));
            return lines;
        }
    };
    match resources(executable.gpu_kernels()) {
        Ok(found) => lines
            .iter_mut()
            .zip(found)
            .for_each(|(l, r)| l.ptxas = Some(r)),
        Err(e) => notes.push(format!("not assembled: {e}")),
    }
    // The same kernels: every side of a tile is fixed, so that only the long sizes differ.
    let fixed = choices.filled(&candidate.schedule.knobs);
    match counts(mixer, candidate, target, job, &fixed) {
        Ok(found) => lines
            .iter_mut()
            .zip(found)
            .for_each(|(l, s)| l.simulated = Some(s)),
        Err(e) => notes.push(format!("not simulated: {e}")),
    }
    lines
}

fn resources(kernels: &[GpuKernel]) -> Result<Vec<Resources>, String> {
    let ptxas = Ptxas::find().map_err(|e| e.to_string())?;
    kernels.iter().map(|k| resources_of(&ptxas, k)).collect()
}

fn resources_of(ptxas: &Ptxas, kernel: &GpuKernel) -> Result<Resources, String> {
    let lowered = &kernel.lowered;
    let chip = lowered.target.chip();
    let assembled = ptxas
        .assemble(&kernel.ptx, chip)
        .map_err(|e| e.to_string())?;
    let stats = assembled
        .entry(&lowered.entry)
        .ok_or_else(|| format!("ptxas says nothing about {}", lowered.entry))?;
    let limits = Limits::of(chip).ok_or_else(|| format!("no limits are known for {chip}"))?;
    let held = occupancy(
        limits,
        &Footprint {
            threads: lowered.threads,
            registers: stats.registers,
            shared: stats.shared_static + lowered.shared_bytes,
        },
    );
    Ok(Resources {
        registers: stats.registers,
        spill_stores: stats.spill_stores,
        spill_loads: stats.spill_loads,
        stack: stats.stack,
        blocks_per_sm: held.blocks,
        warps_per_sm: held.warps,
        occupancy: f64::from(held.warps) / f64::from(limits.threads / 32),
        bound: format!("{:?}", held.bound).to_lowercase(),
        findings: assembled.findings.iter().map(|f| f.text.clone()).collect(),
    })
}

/// Points of the problem that is simulated, and the length to which long axes are cut before short ones.
const MOST_WORK: f64 = 2e6;
const FEW_TILES: i64 = 128;

/// Sizes for the simulator: those that `keep` names stay, long ones are halved to a few tiles, then batches and heads
/// go, then the rest.
fn smaller(program: &mixc_ir::Program, sizes: &Sizes, keep: &dyn Fn(&Name) -> bool) -> Sizes {
    let mut small = sizes.clone();
    while work(program, &small) > MOST_WORK {
        let free = || small.iter().filter(|(name, n)| !keep(name) && **n > 1);
        let longest = free().max_by_key(|(_, n)| **n);
        let next = longest.filter(|(_, n)| **n > FEW_TILES);
        let Some((name, size)) = next.or_else(|| free().min_by_key(|(_, n)| **n)) else {
            break;
        };
        let (name, size) = (name.clone(), (size + 1) / 2);
        small.insert(name, size);
    }
    small
}

fn counts(
    mixer: &Mixer,
    candidate: &Candidate,
    target: &Target,
    job: &Job,
    fixed: &Choices,
) -> Result<Vec<Simulated>, Error> {
    let program = &mixer.program;
    let keep = |name: &Name| candidate.schedule.static_dims.contains_key(name);
    let sizes = smaller(program, &job.sizes, &keep);
    let sets = job
        .scalars
        .iter()
        .map(|(n, x)| (n.to_string(), *x))
        .collect();
    let small = random_job(program, &sizes, &sets, Pattern::Normal, job.dtype, 1)?;
    let executable = Executable::new(candidate.form, target, &small, fixed)?;
    let schedule = executable
        .schedule()
        .ok_or_else(|| Error::Execution("bug: a GPU kernel without a schedule".to_owned()))?;
    let (plan, contents) = gpu::plan(
        schedule,
        executable.gpu_kernels(),
        &small,
        gpu::SIMULATED_MULTIPROCESSORS,
    )?;
    let done = gpu::simulate(&plan, &contents)?;
    let mistakes = done.mistakes();
    let shape: BTreeMap<String, i64> = small
        .sizes
        .iter()
        .map(|(name, n)| (name.to_string(), *n))
        .collect();
    let line = |(_, counts): (String, Counts)| Simulated {
        shape: shape.clone(),
        warp_instructions: counts.total(),
        matrix_flops: counts.matrix_flops(),
        bank_conflicts: counts.bank_conflicts(),
        coalescing: counts.tally.coalescing(),
        counts,
        mistakes: mistakes.clone(),
    };
    Ok(done.counts.into_iter().map(line).collect())
}
