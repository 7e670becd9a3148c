//! Bundle files: cases with their kernels, inputs and expected results.
//!
//! A bundle is a zip archive. `bundle.json` holds the format's version, labels, plans and the recipes of random
//! inputs; `module/N.ptx` and `module/N.cubin` the code, stored once however many cases share it; `data/N.bin`
//! inline inputs and expected values, little-endian. So a bundle can be looked into with ordinary tools, every
//! entry has a checksum, and one case can be read without the others.

mod manifest;
mod read;
mod write;

use crate::{Case, CaseError};
use std::path::{Path, PathBuf};

pub use read::BundleReader;

/// The version of the format that this code writes, and the newest that it reads.
pub const VERSION: u32 = 1;
const FORMAT: &str = "mixc-bundle";
const MANIFEST: &str = "bundle.json";

/// Cases in the order in which they are to run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bundle {
    pub cases: Vec<Case>,
}

/// Why a bundle cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error("cannot read {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot write {path}: {reason}")]
    Write { path: PathBuf, reason: String },
    #[error("{path} is not a bundle, or was cut off: {reason}")]
    NotABundle { path: PathBuf, reason: String },
    #[error(
        "{path} is a bundle of version {found}; this program reads versions up to {VERSION}, so it is too old"
    )]
    Newer { path: PathBuf, found: u64 },
    #[error("{path} is damaged: {reason}")]
    Corrupt { path: PathBuf, reason: String },
    #[error("case {case} ({label}): {source}")]
    Case {
        case: usize,
        label: String,
        source: Box<CaseError>,
    },
    #[error("there is no case {case}; the bundle has {count}")]
    NoCase { case: usize, count: usize },
}

impl Bundle {
    /// Reads and checks all cases.
    pub fn read(path: &Path) -> Result<Bundle, BundleError> {
        let mut reader = BundleReader::open(path)?;
        let cases = (0..reader.len()).map(|case| reader.case(case));
        Ok(Bundle {
            cases: cases.collect::<Result<_, _>>()?,
        })
    }

    /// Checks all cases and writes them, replacing the file in one step.
    pub fn write(&self, path: &Path) -> Result<(), BundleError> {
        write::write(self, path)
    }
}
