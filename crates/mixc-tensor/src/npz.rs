//! NumPy files: `.npy` (one array, called `data`) and `.npz` (a zip of arrays).

use crate::{Bundle, FileError, Tensor, TensorError};
use mixc_ir::DType;
use npyz::{NpyFile, Order, TypeChar, npz::NpzArchive};
use std::io::{Cursor, Read};
use std::path::Path;

pub(crate) fn parse_npz(path: &Path, bytes: Vec<u8>) -> Result<Bundle, FileError> {
    let failed = |reason: std::io::Error| format_error(path, "npz", &reason);
    let mut archive = NpzArchive::new(Cursor::new(bytes)).map_err(failed)?;
    let names: Vec<String> = archive.array_names().map(str::to_owned).collect();
    let mut bundle = Bundle::default();
    for name in names {
        if let Some(file) = archive.by_name(&name).map_err(failed)? {
            let tensor = read_array(path, &name, file)?;
            bundle.tensors.insert(name, tensor);
        }
    }
    Ok(bundle)
}

pub(crate) fn parse_npy(path: &Path, bytes: Vec<u8>) -> Result<Bundle, FileError> {
    let file = NpyFile::new(Cursor::new(bytes)).map_err(|e| format_error(path, "npy", &e))?;
    let mut bundle = Bundle::default();
    bundle
        .tensors
        .insert("data".to_owned(), read_array(path, "data", file)?);
    Ok(bundle)
}

fn format_error(path: &Path, format: &'static str, reason: &dyn std::fmt::Display) -> FileError {
    FileError::Format {
        path: path.into(),
        format,
        reason: reason.to_string(),
    }
}

fn read_array<R: Read>(path: &Path, name: &str, file: NpyFile<R>) -> Result<Tensor, FileError> {
    let shape: Vec<usize> = file.shape().iter().map(|&n| n as usize).collect();
    let order = file.order();
    let (dtype, values) = read_values(path, name, file)?;
    tensor_in_order(dtype, &shape, order, &values).map_err(|e| format_error(path, "npy", &e))
}

/// The elements in the order of the file, with the type that will hold them.
fn read_values<R: Read>(
    path: &Path,
    name: &str,
    file: NpyFile<R>,
) -> Result<(DType, Vec<f64>), FileError> {
    let descr = file.dtype();
    let unsupported = || FileError::DType {
        path: path.into(),
        tensor: name.to_owned(),
        dtype: descr.descr().replace('\'', ""),
    };
    let npyz::DType::Plain(ty) = &descr else {
        return Err(unsupported());
    };
    macro_rules! values {
        ($dtype:ident, $element:ty, $convert:expr) => {{
            let values = file
                .into_vec::<$element>()
                .map_err(|e| format_error(path, "npy", &e))?;
            Ok((DType::$dtype, values.into_iter().map($convert).collect()))
        }};
    }
    match (ty.type_char(), ty.size_field()) {
        (TypeChar::Float, 8) => values!(F64, f64, |x| x),
        (TypeChar::Float, 4) => values!(F32, f32, f64::from),
        (TypeChar::Float, 2) => values!(F16, half::f16, f64::from),
        (TypeChar::Int, 8) => values!(I64, i64, |x| x as f64),
        (TypeChar::Int, 4) => values!(I32, i32, f64::from),
        (TypeChar::Int, 2) => values!(I32, i16, f64::from),
        (TypeChar::Int, 1) => values!(I32, i8, f64::from),
        (TypeChar::Uint, 4) => values!(I64, u32, f64::from),
        (TypeChar::Uint, 1) => values!(I32, u8, f64::from),
        (TypeChar::Bool, 1) => values!(Bool, bool, f64::from),
        _ => Err(unsupported()),
    }
}

/// Column-major files hold the transpose of the array with its axes reversed.
fn tensor_in_order(
    dtype: DType,
    shape: &[usize],
    order: Order,
    values: &[f64],
) -> Result<Tensor, TensorError> {
    match order {
        Order::C => Tensor::from_f64(dtype, shape, values),
        Order::Fortran => {
            let reversed: Vec<usize> = shape.iter().rev().copied().collect();
            let axes: Vec<usize> = (0..shape.len()).rev().collect();
            Ok(Tensor::from_f64(dtype, &reversed, values)?
                .permuted(&axes)?
                .contiguous())
        }
    }
}
