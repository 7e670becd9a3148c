//! Reading. Nothing in a file is trusted: sizes are known before anything is unpacked.

use super::manifest::{
    CaseEntry, ExpectedEntry, Header, Manifest, Precision, SourceEntry, cubin_file, data_file,
    ptx_file,
};
use super::{BundleError, FORMAT, MANIFEST, VERSION};
use crate::{Case, CaseError, Expected, Input, Label, ModuleImage, Plan, Source, Values};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use zip::ZipArchive;

/// Code and the manifest are text and small; whatever claims to be larger is damaged.
const MAX_TEXT_BYTES: u64 = 1 << 30;

/// An open bundle, whose cases are read one by one.
pub struct BundleReader {
    path: PathBuf,
    zip: ZipArchive<BufReader<File>>,
    manifest: Manifest,
}

impl BundleReader {
    /// Opens a bundle and reads its table of contents.
    pub fn open(path: &Path) -> Result<BundleReader, BundleError> {
        let failed = |source| BundleError::Read {
            path: path.into(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(failed(std::io::ErrorKind::IsADirectory.into()));
        }
        let zip = ZipArchive::new(BufReader::new(file)).map_err(|e| BundleError::NotABundle {
            path: path.into(),
            reason: e.to_string(),
        })?;
        let mut zip = Entries { path, zip };
        let text = zip.read(MANIFEST, None)?;
        let manifest = parse_manifest(path, &text)?;
        Ok(BundleReader {
            path: path.into(),
            zip: zip.zip,
            manifest,
        })
    }

    /// Number of cases.
    pub fn len(&self) -> usize {
        self.manifest.cases.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn labels(&self) -> impl Iterator<Item = &Label> {
        self.manifest.cases.iter().map(|case| &case.label)
    }

    /// The case that must be right before `case` is timed.
    pub fn verified_by(&self, case: usize) -> Option<usize> {
        self.manifest.cases.get(case)?.verified_by
    }

    /// Reads and checks one case.
    pub fn case(&mut self, at: usize) -> Result<Case, BundleError> {
        let count = self.len();
        let Some(entry) = self.manifest.cases.get(at) else {
            return Err(BundleError::NoCase { case: at, count });
        };
        let mut zip = Entries {
            path: &self.path,
            zip: &mut self.zip,
        };
        let mut modules = vec![];
        for &number in &entry.modules {
            modules.push(zip.module(&self.manifest, number)?);
        }
        let plan = Plan {
            buffers: entry.buffers.clone(),
            modules,
            launches: entry.launches.clone(),
        };
        let failed = |source: CaseError| BundleError::Case {
            case: at,
            label: entry.label.to_string(),
            source: Box::new(source),
        };
        // The sizes of the data follow from the plan, so the plan is checked first.
        plan.validate().map_err(|e| failed(e.into()))?;
        let case = Case {
            label: entry.label.clone(),
            inputs: zip.inputs(entry)?,
            expected: entry
                .expected
                .iter()
                .map(|e| zip.expected(e))
                .collect::<Result<_, _>>()?,
            plan,
            counts: entry.counts,
            verified_by: entry.verified_by,
        };
        case.validate(at).map_err(failed)?;
        Ok(case)
    }
}

fn parse_manifest(path: &Path, text: &[u8]) -> Result<Manifest, BundleError> {
    let corrupt = |e: serde_json::Error| BundleError::Corrupt {
        path: path.into(),
        reason: format!("{MANIFEST}: {e}"),
    };
    let header: Header = serde_json::from_slice(text).map_err(corrupt)?;
    if header.format != FORMAT {
        return Err(BundleError::NotABundle {
            path: path.into(),
            reason: format!("its format is '{}'", header.format),
        });
    }
    if header.version > VERSION.into() {
        return Err(BundleError::Newer {
            path: path.into(),
            found: header.version,
        });
    }
    serde_json::from_slice(text).map_err(corrupt)
}

/// Reads entries of an archive, naming them in errors.
struct Entries<'a, Z> {
    path: &'a Path,
    zip: Z,
}

impl<Z: std::borrow::BorrowMut<ZipArchive<BufReader<File>>>> Entries<'_, Z> {
    fn corrupt(&self, reason: String) -> BundleError {
        BundleError::Corrupt {
            path: self.path.into(),
            reason,
        }
    }

    /// A whole entry, which must have `size` bytes where that is known.
    fn read(&mut self, name: &str, size: Option<u64>) -> Result<Vec<u8>, BundleError> {
        let (path, zip) = (self.path, self.zip.borrow_mut());
        let corrupt = |reason: String| BundleError::Corrupt {
            path: path.into(),
            reason: format!("{name}: {reason}"),
        };
        let file = zip.by_name(name).map_err(|e| corrupt(e.to_string()))?;
        let limit = size.unwrap_or(MAX_TEXT_BYTES);
        let mut bytes = vec![];
        file.take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|e| corrupt(e.to_string()))?;
        let found = bytes.len() as u64;
        match size {
            Some(size) if size != found => Err(corrupt(format!("not the expected {size} bytes"))),
            None if found > limit => Err(corrupt(format!("more than {limit} bytes"))),
            _ => Ok(bytes),
        }
    }

    fn module(&mut self, manifest: &Manifest, number: usize) -> Result<ModuleImage, BundleError> {
        let Some(entry) = manifest.modules.get(number) else {
            return Err(self.corrupt(format!("there is no module {number}")));
        };
        let ptx = self.read(&ptx_file(number), None)?;
        let ptx =
            String::from_utf8(ptx).map_err(|e| self.corrupt(format!("module {number}: {e}")))?;
        let cubin = match entry.cubin {
            true => Some(self.read(&cubin_file(number), None)?),
            false => None,
        };
        Ok(ModuleImage {
            target: entry.target.clone(),
            ptx,
            cubin,
        })
    }

    fn inputs(&mut self, case: &CaseEntry) -> Result<Vec<Input>, BundleError> {
        let mut inputs = vec![];
        for input in &case.inputs {
            let source = match &input.source {
                SourceEntry::Random(generator) => Source::Random(generator.clone()),
                SourceEntry::Data(number) => {
                    let Some(spec) = case.buffers.get(input.buffer) else {
                        return Err(self.corrupt(format!("input for buffer {}", input.buffer)));
                    };
                    let size = spec
                        .elements()
                        .unwrap_or(0)
                        .saturating_mul(spec.dtype.size_bytes() as u64);
                    Source::Inline(self.read(&data_file(*number), Some(size))?)
                }
            };
            inputs.push(Input {
                buffer: input.buffer,
                source,
            });
        }
        Ok(inputs)
    }

    fn expected(&mut self, e: &ExpectedEntry) -> Result<Expected, BundleError> {
        let mut read = |number: usize, element: u64| {
            let size = e.count.checked_mul(element);
            let size = size.ok_or_else(|| self.corrupt(format!("{} expected values", e.count)))?;
            self.read(&data_file(number), Some(size))
        };
        let bytes = read(e.values, e.precision.size_bytes())?;
        let values = match e.precision {
            Precision::F32 => Values::F32(split(&bytes).map(f32::from_le_bytes).collect()),
            Precision::F64 => Values::F64(split(&bytes).map(f64::from_le_bytes).collect()),
        };
        let positions = match e.positions {
            None => None,
            Some(number) => Some(split(&read(number, 8)?).map(u64::from_le_bytes).collect()),
        };
        Ok(Expected {
            buffer: e.buffer,
            values,
            positions,
            rel_tol: e.rel_tol,
            abs_tol: e.abs_tol,
        })
    }
}

/// Pieces of `N` bytes.
fn split<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().copied()
}
