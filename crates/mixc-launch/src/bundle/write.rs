//! Writing.

use super::manifest::{
    CaseEntry, ExpectedEntry, InputEntry, Manifest, ModuleEntry, Precision, SourceEntry,
    cubin_file, data_file, ptx_file,
};
use super::{Bundle, BundleError, FORMAT, MANIFEST, VERSION};
use crate::{Case, Expected, ModuleImage, Source, Values};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

pub(super) fn write(bundle: &Bundle, path: &Path) -> Result<(), BundleError> {
    for (at, case) in bundle.cases.iter().enumerate() {
        case.validate(at).map_err(|source| BundleError::Case {
            case: at,
            label: case.label.to_string(),
            source: Box::new(source),
        })?;
    }
    let part = path.with_extension(format!("part{}", std::process::id()));
    let written = write_archive(bundle, &part).and_then(|()| Ok(std::fs::rename(&part, path)?));
    written.map_err(|e| {
        // The half-written file is of no use to anyone.
        let _ = std::fs::remove_file(&part);
        BundleError::Write {
            path: path.into(),
            reason: e.to_string(),
        }
    })
}

fn write_archive(bundle: &Bundle, path: &Path) -> zip::result::ZipResult<()> {
    let mut out = Archive {
        zip: ZipWriter::new(BufWriter::new(File::create(path)?)),
        modules: vec![],
        data_files: 0,
    };
    let mut cases = vec![];
    for case in &bundle.cases {
        cases.push(out.case(case)?);
    }
    let entry = |m: &&ModuleImage| ModuleEntry {
        target: m.target.clone(),
        cubin: m.cubin.is_some(),
    };
    let manifest = Manifest {
        format: FORMAT.into(),
        version: VERSION,
        modules: out.modules.iter().map(entry).collect(),
        cases,
    };
    let text = serde_json::to_vec_pretty(&manifest).map_err(std::io::Error::from)?;
    out.file(MANIFEST, &text)?;
    out.zip.finish()?.flush()?;
    Ok(())
}

struct Archive<'a> {
    zip: ZipWriter<BufWriter<File>>,
    /// Written so far, each once.
    modules: Vec<&'a ModuleImage>,
    data_files: usize,
}

impl<'a> Archive<'a> {
    fn case(&mut self, case: &'a Case) -> zip::result::ZipResult<CaseEntry> {
        let mut modules = vec![];
        for module in &case.plan.modules {
            modules.push(self.module(module)?);
        }
        let mut inputs = vec![];
        for input in &case.inputs {
            let source = match &input.source {
                Source::Random(generator) => SourceEntry::Random(generator.clone()),
                Source::Inline(bytes) => SourceEntry::Data(self.data(bytes)?),
            };
            inputs.push(InputEntry {
                buffer: input.buffer,
                source,
            });
        }
        let mut expected = vec![];
        for e in &case.expected {
            expected.push(self.expected(e)?);
        }
        Ok(CaseEntry {
            label: case.label.clone(),
            counts: case.counts,
            verified_by: case.verified_by,
            buffers: case.plan.buffers.clone(),
            modules,
            launches: case.plan.launches.clone(),
            inputs,
            expected,
        })
    }

    fn expected(&mut self, expected: &Expected) -> zip::result::ZipResult<ExpectedEntry> {
        let (precision, bytes) = match &expected.values {
            Values::F32(x) => (
                Precision::F32,
                x.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>(),
            ),
            Values::F64(x) => (
                Precision::F64,
                x.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ),
        };
        let values = self.data(&bytes)?;
        let positions = match &expected.positions {
            None => None,
            Some(p) => {
                Some(self.data(&p.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())?)
            }
        };
        Ok(ExpectedEntry {
            buffer: expected.buffer,
            precision,
            values,
            count: expected.values.len() as u64,
            positions,
            rel_tol: expected.rel_tol,
            abs_tol: expected.abs_tol,
        })
    }

    fn module(&mut self, module: &'a ModuleImage) -> zip::result::ZipResult<usize> {
        if let Some(known) = self.modules.iter().position(|m| *m == module) {
            return Ok(known);
        }
        let number = self.modules.len();
        self.file(&ptx_file(number), module.ptx.as_bytes())?;
        if let Some(cubin) = &module.cubin {
            self.file(&cubin_file(number), cubin)?;
        }
        self.modules.push(module);
        Ok(number)
    }

    fn data(&mut self, bytes: &[u8]) -> zip::result::ZipResult<usize> {
        let number = self.data_files;
        self.data_files += 1;
        self.file(&data_file(number), bytes)?;
        Ok(number)
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> zip::result::ZipResult<()> {
        // Fixed times, so that equal bundles are equal files.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(zip::DateTime::default())
            .large_file(bytes.len() >= 1 << 31);
        self.zip.start_file(name, options)?;
        Ok(self.zip.write_all(bytes)?)
    }
}
