//! The compiler as one library: what the command line, build scripts and the C interface call.
//!
//! In: mixer definitions, tensors, options. Out: results, comparisons, measurements. The stages are
//! other crates; this one puts them in order (see `pipeline`) and knows no mixer by name.

mod bench;
mod bind;
mod catalogue;
mod choices;
mod choose;
mod compare;
mod cpu;
mod devices;
mod error;
mod execute;
mod explain;
pub mod gpu;
mod job;
mod pipeline;
mod plot;
mod problem;
mod rounded;
mod run;
mod target;
mod tile;
mod verify;

pub use bench::{BenchOptions, BenchReport, BenchRow, bench, with_threads};
pub use bind::{Binding, BoundInputs, rearrange};
pub use catalogue::{Entry, Listed, catalogue, list, load_source, paper, shipped};
pub use choices::{Choices, GPU_KNOBS, knobs_of, parse_precision, precision_name};
pub use choose::{Candidate, candidates, cost};
pub use compare::{OutputReport, compare_outputs, default_tolerance};
pub use devices::{Device, Peaks, cpu_name, devices, measure_fma, measure_peaks, threads};
pub use error::Error;
pub use execute::{Executable, Outputs, interpret, open_sizes};
pub use explain::{
    ExplainReport, FormLine, GpuLine, KernelLine, Resources, Simulated, example_executable,
    example_fitted, example_job, explain,
};
pub use job::Job;
pub use mixc_ptx::{Precision, Target as GpuTarget};
pub use mixc_rewrite::Form;
pub use mixc_schedule::ScheduleError;
pub use pipeline::{Mixer, compile};
pub use plot::{Series, plot_svg};
pub use problem::{Sizes, awkward_sizes, random_job, work};
pub use rounded::eval_rounded;
pub use run::{RunOptions, RunResult, compare_run, run};
pub use target::{Direction, Target};
pub use verify::{Case, DEFAULT_DRAWS, VerifyOptions, VerifyReport, verify};
