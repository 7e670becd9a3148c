//! A file of named tensors: safetensors, npz or a single npy.

use crate::{Tensor, npz};
use mixc_ir::DType;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot read {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot write {path}: {reason}")]
    Write { path: PathBuf, reason: String },
    #[error("{path} is not a valid {format} file: {reason}")]
    Format {
        path: PathBuf,
        format: &'static str,
        reason: String,
    },
    #[error("tensor '{tensor}' in {path} has element type {dtype}, which is not supported")]
    DType {
        path: PathBuf,
        tensor: String,
        dtype: String,
    },
    #[error("{path} has an unknown extension; expected .safetensors, .npz or .npy")]
    Extension { path: PathBuf },
}

/// What a tensor of a file is to a mixer; the prefix of its name, if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `in.q`
    Input,
    /// `out.o`
    Output,
    /// `cot.o`: the cotangent of the output `o`.
    Cotangent,
    /// `grad.q`: the expected gradient of the input `q`.
    Gradient,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Input, Role::Output, Role::Cotangent, Role::Gradient];

    pub fn prefix(self) -> &'static str {
        match self {
            Role::Input => "in.",
            Role::Output => "out.",
            Role::Cotangent => "cot.",
            Role::Gradient => "grad.",
        }
    }
}

/// Tensors by name, and the file's string metadata.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    pub tensors: BTreeMap<String, Tensor>,
    pub metadata: BTreeMap<String, String>,
}

impl Bundle {
    /// Reads a file by its extension.
    pub fn read(path: &Path) -> Result<Bundle, FileError> {
        let bytes = || {
            std::fs::read(path).map_err(|source| FileError::Read {
                path: path.into(),
                source,
            })
        };
        match path.extension().and_then(|e| e.to_str()) {
            Some("safetensors") => parse_safetensors(path, &bytes()?),
            Some("npz") => npz::parse_npz(path, bytes()?),
            Some("npy") => npz::parse_npy(path, bytes()?),
            _ => Err(FileError::Extension { path: path.into() }),
        }
    }

    /// Writes safetensors, replacing the file in one step.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        let failed = |reason: String| FileError::Write {
            path: path.into(),
            reason,
        };
        let tensors: Vec<(&String, Tensor)> = self
            .tensors
            .iter()
            .map(|(n, t)| (n, t.contiguous()))
            .collect();
        let mut views = Vec::new();
        for (name, tensor) in &tensors {
            let bytes = &tensor.bytes()[..tensor.len() * tensor.dtype().size_bytes()];
            let view = TensorView::new(to_file(tensor.dtype()), tensor.shape().to_vec(), bytes);
            views.push((name.as_str(), view.map_err(|e| failed(e.to_string()))?));
        }
        let metadata: HashMap<String, String> = self.metadata.clone().into_iter().collect();
        let bytes =
            safetensors::serialize(views, Some(metadata)).map_err(|e| failed(e.to_string()))?;
        let part = path.with_extension(format!("part{}", std::process::id()));
        std::fs::write(&part, bytes)
            .and_then(|()| std::fs::rename(&part, path))
            .map_err(|e| {
                // The half-written file is of no use to anyone.
                let _ = std::fs::remove_file(&part);
                failed(e.to_string())
            })
    }

    /// The tensor called `name` in this role: with the role's prefix, else with no prefix.
    pub fn find(&self, role: Role, name: &str) -> Option<&Tensor> {
        self.tensors
            .get(&format!("{}{name}", role.prefix()))
            .or_else(|| self.tensors.get(name))
    }

    /// Names in this role, prefixes removed. A name without a known prefix has every role.
    pub fn names(&self, role: Role) -> Vec<&str> {
        let own = |name: &'_ str| {
            Role::ALL
                .iter()
                .find(|r| name.starts_with(r.prefix()))
                .copied()
        };
        self.tensors
            .keys()
            .filter_map(|name| match own(name) {
                None => Some(name.as_str()),
                Some(r) if r == role => name.strip_prefix(r.prefix()),
                Some(_) => None,
            })
            .collect()
    }

    /// The scalar `param.NAME` of the metadata, if it is a JSON number or boolean.
    pub fn param(&self, name: &str) -> Option<f64> {
        match serde_json::from_str(self.metadata.get(&format!("param.{name}"))?).ok()? {
            serde_json::Value::Number(n) => n.as_f64(),
            serde_json::Value::Bool(b) => Some(f64::from(b)),
            _ => None,
        }
    }

    /// The axis letters of a tensor from the metadata `layout.PREFIX.NAME` or `layout.NAME`.
    pub fn layout(&self, role: Role, name: &str) -> Option<Vec<String>> {
        let text = self
            .metadata
            .get(&format!("layout.{}{name}", role.prefix()))
            .or_else(|| self.metadata.get(&format!("layout.{name}")))?;
        let text = text.trim().trim_start_matches('[').trim_end_matches(']');
        Some(
            text.split(',')
                .map(|axis| axis.trim().to_owned())
                .filter(|axis| !axis.is_empty())
                .collect(),
        )
    }
}

fn parse_safetensors(path: &Path, bytes: &[u8]) -> Result<Bundle, FileError> {
    let failed = |e: String| FileError::Format {
        path: path.into(),
        format: "safetensors",
        reason: e,
    };
    let file = SafeTensors::deserialize(bytes).map_err(|e| failed(e.to_string()))?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| failed(e.to_string()))?;
    let mut bundle = Bundle::default();
    if let Some(metadata) = header.metadata() {
        bundle.metadata = metadata.clone().into_iter().collect();
    }
    for (name, view) in file.iter() {
        let tensor = from_view(&view).map_err(|dtype| FileError::DType {
            path: path.into(),
            tensor: name.to_owned(),
            dtype,
        })?;
        bundle
            .tensors
            .insert(name.to_owned(), tensor.map_err(|e| failed(e.to_string()))?);
    }
    Ok(bundle)
}

/// A tensor of a file; small integers are widened. The outer error is an unsupported type's name.
fn from_view(view: &TensorView<'_>) -> Result<Result<Tensor, crate::TensorError>, String> {
    let bytes = view.data();
    let dtype = match view.dtype() {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::Bf16,
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
        Dtype::BOOL => DType::Bool,
        Dtype::U8 => return Ok(widened(view, bytes.iter().map(|&b| f64::from(b)))),
        Dtype::I8 => return Ok(widened(view, bytes.iter().map(|&b| f64::from(b as i8)))),
        Dtype::I16 => {
            let pairs = bytes
                .chunks_exact(2)
                .map(|b| f64::from(i16::from_le_bytes([b[0], b[1]])));
            return Ok(widened(view, pairs));
        }
        other => return Err(format!("{other:?}")),
    };
    Ok(Tensor::from_bytes(dtype, view.shape(), bytes))
}

fn widened(
    view: &TensorView<'_>,
    values: impl Iterator<Item = f64>,
) -> Result<Tensor, crate::TensorError> {
    Tensor::from_f64(DType::I32, view.shape(), &values.collect::<Vec<_>>())
}

fn to_file(dtype: DType) -> Dtype {
    match dtype {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::Bf16 => Dtype::BF16,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::Bool => Dtype::BOOL,
    }
}
