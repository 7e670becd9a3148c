//! Inputs as plain files.

use mixc_launch::Case;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    #[error("cannot write {path}: {source}")]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the buffer name '{name}' cannot be a file name")]
    Name { name: String },
}

/// Writes the memory of every input buffer to `folder/NAME.bin`, little-endian, gaps of strided buffers included.
pub fn dump_inputs(case: &Case, folder: &Path) -> Result<(), DumpError> {
    let failed = |path: &Path, source| DumpError::Write {
        path: path.into(),
        source,
    };
    std::fs::create_dir_all(folder).map_err(|e| failed(folder, e))?;
    for (buffer, bytes) in case.input_bytes() {
        let name = &case.plan.buffers[buffer].name;
        // A bundle may come from anywhere; its names must not lead out of the folder.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            return Err(DumpError::Name { name: name.clone() });
        }
        let path = folder.join(format!("{name}.bin"));
        std::fs::write(&path, bytes).map_err(|e| failed(&path, e))?;
    }
    Ok(())
}
