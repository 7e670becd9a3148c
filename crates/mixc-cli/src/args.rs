//! Every command and option. Values are parsed here, so that commands get sizes and names, not text.

use crate::kernel_args::{Dim3, KernelArg};
use crate::sizes::{Knob, Layouts, Rename, Setting, Shape, Sweep};
use clap::{Args, Parser, Subcommand, ValueEnum};
use mixc::{Direction, GpuTarget, Precision, Target};
use mixc_ir::DType;
use std::path::PathBuf;

/// A kernel compiler for sequence mixers.
#[derive(Debug, Parser)]
#[command(name = "mixc", version, about, max_term_width = 100)]
pub struct Cli {
    /// How results are printed; JSON goes to standard output alone.
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub format: Format,
    /// More log output on standard error (repeat for more); MIXC_LOG sets filters.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the shipped mixers: name, family, paper, directions and targets.
    List,
    /// Parse and type-check definitions.
    Check(CheckArgs),
    /// Show the forms found for a mixer, what led to each, their costs and the kernels of the chosen one.
    Explain(ExplainArgs),
    /// Run a mixer on tensors from a file and compare with reference outputs.
    Run(RunArgs),
    /// Check every form against the f64 interpreter on random and adversarial inputs.
    Verify(VerifyArgs),
    /// Run one PTX kernel on this CPU, checking bounds, races, barriers and initialisation, and counting.
    Simulate(SimulateArgs),
    /// Search for the fastest form and parameters on this machine (not available in this version).
    Tune(OpaqueArgs),
    /// Work with the tuning database (not available in this version).
    Db(OpaqueArgs),
    /// Write libraries, headers and kernels (not available in this version).
    Build(OpaqueArgs),
    /// Measure all forms: time, FLOP/s, bytes/s and the share of the device's measured peak.
    Bench(BenchArgs),
    /// Compile kernels into a file that `mixc-runner` verifies and measures on a machine with a GPU, or show
    /// the results that come back.
    Bundle(BundleArgs),
    /// Show what can be compiled for, what can run here, and measured peaks.
    Devices,
    /// Print a shell completion script.
    Completions { shell: clap_complete::Shell },
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Paths to .mix files, or names of shipped mixers.
    #[arg(required = true, value_name = "MIXER")]
    pub mixers: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Path to a .mix file, or the name of a shipped mixer.
    pub mixer: String,
    /// Sizes, e.g. B=1,H=8,T=4096,D=64.
    #[arg(long)]
    pub shape: Option<Shape>,
    #[arg(long, default_value = "cpu")]
    pub target: Target,
    #[arg(long, default_value = "f32", value_parser = parse_dtype)]
    pub dtype: DType,
    /// Print one stage instead.
    #[arg(long, value_enum)]
    pub emit: Option<Stage>,
    /// The form whose stage is printed (default: the chosen one).
    #[arg(long)]
    pub form: Option<String>,
    /// Scalar parameters, e.g. scale=0.125.
    #[arg(long = "set", value_delimiter = ',')]
    pub sets: Vec<Setting>,
    #[command(flatten)]
    pub choices: ChoiceArgs,
    #[arg(long, default_value = "forward")]
    pub direction: Direction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// The core program of the definition.
    Core,
    /// The core programs of all forms.
    Forms,
    /// The tile kernels.
    Tile,
    /// Cranelift IR.
    Clif,
    /// Disassembly of the machine code.
    Asm,
    Mlir,
    Ptx,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Path to a .mix file, or the name of a shipped mixer.
    pub mixer: String,
    /// Tensors: .safetensors, .npz or .npy. Sizes follow from them.
    #[arg(long)]
    pub inputs: PathBuf,
    /// Write the outputs there (.safetensors).
    #[arg(long)]
    pub output: Option<PathBuf>,
    /// Reference outputs; may be the same file as --inputs.
    #[arg(long)]
    pub compare: Option<PathBuf>,
    /// Largest relative error that passes (default: by element type; f32 1e-5, bf16 2e-2, f16 3e-3).
    #[arg(long)]
    pub tol: Option<f64>,
    #[arg(long, default_value = "cpu")]
    pub target: Target,
    /// A form by name (default: the one with the lowest predicted cost).
    #[arg(long)]
    pub form: Option<String>,
    /// Element type of real inputs and of the outputs.
    #[arg(long, value_parser = parse_dtype)]
    pub dtype: Option<DType>,
    /// Order of the axes in the file, e.g. q=B,T,H,D,k=B,T,H,D; repeatable.
    #[arg(long)]
    pub layout: Vec<Layouts>,
    /// Scalar parameters, e.g. scale=0.125; repeatable.
    #[arg(long = "set", value_delimiter = ',')]
    pub sets: Vec<Setting>,
    /// Name in the file = parameter or output; repeatable.
    #[arg(long = "rename", value_delimiter = ',')]
    pub renames: Vec<Rename>,
    #[command(flatten)]
    pub choices: ChoiceArgs,
    #[arg(long, default_value = "forward")]
    pub direction: Direction,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Path to a .mix file, or the name of a shipped mixer.
    pub mixer: String,
    #[arg(long, default_value = "cpu")]
    pub target: Target,
    /// Sizes to check instead of the built-in awkward ones; sizes that are left out are chosen.
    #[arg(long)]
    pub shape: Option<Shape>,
    /// Check only this form.
    #[arg(long)]
    pub form: Option<String>,
    /// Element types to check.
    #[arg(long, value_delimiter = ',', default_value = "f32", value_parser = parse_dtype)]
    pub dtype: Vec<DType>,
    /// Scalar parameters, e.g. window=7.
    #[arg(long = "set", value_delimiter = ',')]
    pub sets: Vec<Setting>,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Combinations of sizes to draw.
    #[arg(long, default_value_t = mixc::DEFAULT_DRAWS)]
    pub draws: usize,
    #[command(flatten)]
    pub choices: ChoiceArgs,
    #[arg(long, default_value = "forward")]
    pub direction: Direction,
}

#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// PTX text.
    pub file: PathBuf,
    /// The kernel (default: the only one of the file).
    #[arg(long)]
    pub entry: Option<String>,
    /// Blocks of the grid, e.g. 4 or 4,2,1.
    #[arg(long, default_value = "1")]
    pub grid: Dim3,
    /// Threads of a block, e.g. 128 or 32,4,1 (default: what the kernel requires).
    #[arg(long)]
    pub block: Option<Dim3>,
    /// Dynamic shared memory of a block, in bytes.
    #[arg(long, default_value_t = 0)]
    pub shared: u32,
    /// An argument of the kernel, in order: memory as [NAME=]buf:DTYPE:FILL:SHAPE with FILL zero, random, out
    /// (unwritten) or work (unwritten scratch), e.g. buf:f32:out:4096; a tensor of --inputs as
    /// [NAME=]tensor:TENSOR[:DTYPE]; a pointer into an earlier one as at:NAME:BYTES; numbers as i32:5, u32:5,
    /// i64:5, u64:5, f32:0.5, f64:0.5.
    #[arg(long = "arg", value_name = "ARG")]
    pub arguments: Vec<KernelArg>,
    /// Tensors for `tensor:` arguments: .safetensors, .npz or .npy.
    #[arg(long)]
    pub inputs: Option<PathBuf>,
    /// Write what the kernel wrote there (.safetensors).
    #[arg(long)]
    pub output: Option<PathBuf>,
    /// Seed of random memory.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Warp instructions that one block may execute before it is stopped.
    #[arg(long, default_value_t = 50_000_000)]
    pub limit: u64,
}

#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Path to a .mix file, or the name of a shipped mixer.
    pub mixer: String,
    /// Sizes, e.g. B=1,H=8,T=4096,D=64.
    #[arg(long)]
    pub shape: Shape,
    #[arg(long, default_value = "cpu")]
    pub target: Target,
    #[arg(long, default_value = "f32", value_parser = parse_dtype)]
    pub dtype: DType,
    /// Measure only this form.
    #[arg(long)]
    pub form: Option<String>,
    /// One size from LO to HI by doubling, e.g. T=512..65536.
    #[arg(long)]
    pub sweep: Option<Sweep>,
    /// Draw the median times (.svg).
    #[arg(long)]
    pub plot: Option<PathBuf>,
    /// Add the rows to this file, one JSON object a line, with the machine and the date.
    #[arg(long)]
    pub append: Option<PathBuf>,
    /// Threads (default: all).
    #[arg(long)]
    pub threads: Option<usize>,
    /// Samples of each form at most; a form stops early after two seconds.
    #[arg(long, default_value_t = 20)]
    pub samples: usize,
    /// Scalar parameters, e.g. scale=0.125.
    #[arg(long = "set", value_delimiter = ',')]
    pub sets: Vec<Setting>,
    #[command(flatten)]
    pub choices: ChoiceArgs,
    #[arg(long, default_value = "forward")]
    pub direction: Direction,
}

#[derive(Debug, Args)]
pub struct BundleArgs {
    /// Paths to .mix files, or names of shipped mixers.
    #[arg(required_unless_present = "results", value_name = "MIXER")]
    pub mixers: Vec<String>,
    /// NVIDIA architectures, e.g. sm_80,sm_90a.
    #[arg(long, value_delimiter = ',', required_unless_present = "results")]
    pub target: Vec<GpuTarget>,
    #[arg(long, value_delimiter = ',', default_value = "bf16", value_parser = parse_dtype)]
    pub dtype: Vec<DType>,
    /// All sizes of a problem to time, e.g. B=1,H=8,T=4096,K=64,V=64; repeatable. A large one gets a small one
    /// that verifies the same kernels.
    #[arg(long, required_unless_present_any = ["results", "draws"])]
    pub shape: Vec<Shape>,
    /// Draw so many combinations of awkward sizes, as `mixc verify` does. A --shape then gives the sizes that stay
    /// as they are.
    #[arg(long, value_name = "N")]
    pub draws: Option<usize>,
    /// A form by name (default: the one with the shortest predicted time).
    #[arg(long, conflicts_with = "all_forms")]
    pub form: Option<String>,
    /// Every form that has kernels.
    #[arg(long)]
    pub all_forms: bool,
    /// Scalar parameters, e.g. window_left=1023.
    #[arg(long = "set", value_delimiter = ',')]
    pub sets: Vec<Setting>,
    /// Seed of the inputs.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    #[command(flatten)]
    pub choices: ChoiceArgs,
    /// The file to write (.mixb).
    #[arg(short, long, value_name = "FILE", required_unless_present = "results")]
    pub output: Option<PathBuf>,
    /// Keep the cases that the file has and add to them.
    #[arg(long)]
    pub append: bool,
    /// Show what `mixc-runner --out FILE` measured instead.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["mixers", "target", "shape", "output", "append"])]
    pub results: Option<PathBuf>,
}

/// Decisions about kernels that are otherwise made for the sizes at hand.
#[derive(Debug, Args)]
pub struct ChoiceArgs {
    /// A knob of the kernels, e.g. rows=32,stream=64,C=64 (`mixc explain` shows them); repeatable.
    #[arg(long = "knob", value_delimiter = ',', value_name = "NAME=VALUE")]
    pub knobs: Vec<Knob>,
    /// Warps of a thread block (GPU targets): 1, 2, 4 or 8.
    #[arg(long)]
    pub warps: Option<i64>,
    /// Tiles in flight (GPU targets): 1 to 4.
    #[arg(long)]
    pub stages: Option<i64>,
    /// How GPUs multiply f32 matrices: fma (no matrix unit), tf32 (about three digits), or tf32x3
    /// (three products of split factors, about as good as f32; the default).
    #[arg(long, value_parser = mixc::parse_precision)]
    pub precision: Option<Precision>,
}

/// Arguments of a command that this version does not have.
#[derive(Debug, Args)]
pub struct OpaqueArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub rest: Vec<String>,
}

fn parse_dtype(text: &str) -> Result<DType, String> {
    match DType::by_name(text) {
        Some(dtype @ (DType::F32 | DType::Bf16 | DType::F16 | DType::F64)) => Ok(dtype),
        _ => Err("expected f32, bf16, f16 or f64".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
