//! What GPU kernels of the shipped mixers are like, without a GPU.
//!
//! In: the catalogue, and sizes from `benches/static.toml`. Out: one [`Row`] for each kernel of each form on each
//! target, with what `ptxas` says about it, the instructions of its hot loop, the least number of instructions
//! that the same tile statements need, and a predicted time; as JSON lines and as a table for readers.
//!
//! Nothing here was measured. Predicted times follow from published rates ([`chip`]) and from counted
//! instructions, and say so wherever they are printed.

mod accepted;
pub mod chip;
mod classes;
mod cli;
mod examine;
mod hash;
mod ideal;
mod loops;
mod predict;
mod problems;
mod report;
mod row;
mod sweep;
mod table;
mod tools;
mod update;

pub use accepted::{Accepted, spilling, unneeded, unreached_spills, without_code};
pub use classes::{Class, classify};
pub use cli::{Cli, run};
pub use examine::Examiner;
pub use hash::text_hash;
pub use ideal::{Ideal, ideal};
pub use loops::{TileLoop, tile_loops};
pub use predict::{Prediction, Share, cycles};
pub use problems::{Problem, Problems, empty_job};
pub use report::markdown;
pub use row::{Hot, Key, Machine, MatrixUnit, Row, to_lines};
pub use sweep::{Plan, Progress, Timing, sweep};
pub use table::Table;
pub use tools::Tools;
pub use update::update;

/// Why nothing could be examined.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Missing(#[from] mixc_nvtools::Missing),
    #[error(transparent)]
    Mixer(#[from] mixc::Error),
    #[error("{file}: {what}")]
    Problems { file: String, what: String },
    #[error("there is no shipped mixer '{0}' (`mixc list` shows them)")]
    NoMixer(String),
    #[error("{file}:{line}: this is no row of the table: {what}")]
    Table {
        file: String,
        line: usize,
        what: String,
    },
    #[error("{0}")]
    File(#[from] std::io::Error),
}
