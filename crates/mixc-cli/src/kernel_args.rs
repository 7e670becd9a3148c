//! Arguments of a kernel as text, for `mixc simulate`:
//!
//! ```text
//! [NAME=]buf:DTYPE:FILL:SHAPE   memory; FILL is zero, random, out (nobody has written it) or work (the same,
//!                               and its contents do not matter afterwards); SHAPE such as 4096 or 64x64
//! [NAME=]tensor:TENSOR[:DTYPE]  a tensor of --inputs, row-major
//! at:NAME:BYTES                 a pointer into the memory of an earlier argument
//! i32:-1  u32:7  i64:1  u64:1  f32:0.5  f64:0.5
//! ```

use mixc_ir::DType;
use std::str::FromStr;

/// One `--arg`.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelArg {
    /// What the memory is called in reports and files.
    pub name: Option<String>,
    pub value: ArgValue,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ArgValue {
    Buffer {
        dtype: DType,
        fill: Fill,
        shape: Vec<usize>,
    },
    Tensor {
        tensor: String,
        dtype: Option<DType>,
    },
    Inside {
        name: String,
        bytes: i64,
    },
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    F32(f32),
    F64(f64),
}

/// What a buffer holds before the launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    Zero,
    Random,
    /// Nothing; reading it before a write is a finding.
    Out,
    /// Nothing, and it is of no interest afterwards.
    Work,
}

impl FromStr for KernelArg {
    type Err = String;

    fn from_str(text: &str) -> Result<KernelArg, String> {
        let (name, rest) = match text.split_once('=') {
            Some((name, rest)) if !name.is_empty() => (Some(name.to_owned()), rest),
            Some(_) => return Err("the name before '=' is empty".to_owned()),
            None => (None, text),
        };
        let value = value(rest)?;
        let memory = matches!(value, ArgValue::Buffer { .. } | ArgValue::Tensor { .. });
        if name.is_some() && !memory {
            return Err("only buf and tensor arguments have names".to_owned());
        }
        Ok(KernelArg { name, value })
    }
}

fn value(text: &str) -> Result<ArgValue, String> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        ["buf", dtype, fill, shape] => Ok(ArgValue::Buffer {
            dtype: parse_dtype(dtype)?,
            fill: parse_fill(fill)?,
            shape: parse_shape(shape)?,
        }),
        ["buf", ..] => Err("expected buf:DTYPE:FILL:SHAPE, e.g. buf:f32:out:4096".to_owned()),
        ["tensor", tensor] if !tensor.is_empty() => Ok(ArgValue::Tensor {
            tensor: tensor.to_owned(),
            dtype: None,
        }),
        ["tensor", tensor, dtype] if !tensor.is_empty() => Ok(ArgValue::Tensor {
            tensor: tensor.to_owned(),
            dtype: Some(parse_dtype(dtype)?),
        }),
        ["tensor", ..] => Err("expected tensor:NAME or tensor:NAME:DTYPE".to_owned()),
        ["at", name, bytes] => Ok(ArgValue::Inside {
            name: name.to_owned(),
            bytes: number(bytes, "a number of bytes")?,
        }),
        ["i32", x] => number(x, "an i32").map(ArgValue::I32),
        ["u32", x] => number(x, "a u32").map(ArgValue::U32),
        ["i64", x] => number(x, "an i64").map(ArgValue::I64),
        ["u64", x] => number(x, "a u64").map(ArgValue::U64),
        ["f32", x] => number(x, "an f32").map(ArgValue::F32),
        ["f64", x] => number(x, "an f64").map(ArgValue::F64),
        _ => Err(format!(
            "'{text}' is no argument; expected buf:f32:out:4096, tensor:q, at:NAME:BYTES, i32:5, u32:5, i64:5, \
             u64:5, f32:0.5 or f64:0.5"
        )),
    }
}

fn number<T: FromStr>(text: &str, what: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("'{text}' is not {what}"))
}

fn parse_dtype(text: &str) -> Result<DType, String> {
    DType::by_name(text).ok_or_else(|| {
        format!("'{text}' is no element type; expected f32, f16, bf16, f64, i32, i64 or bool")
    })
}

fn parse_fill(text: &str) -> Result<Fill, String> {
    match text {
        "zero" => Ok(Fill::Zero),
        "random" => Ok(Fill::Random),
        "out" => Ok(Fill::Out),
        "work" => Ok(Fill::Work),
        _ => Err(format!("'{text}' is not zero, random, out or work")),
    }
}

/// Memory of one buffer at most; more is a slip of the keyboard.
const MOST_ELEMENTS: usize = 1 << 28;

fn parse_shape(text: &str) -> Result<Vec<usize>, String> {
    let sizes: Result<Vec<usize>, String> = text
        .split('x')
        .map(|n| number(n, "a size; expected a shape such as 4096 or 64x64"))
        .collect();
    let sizes = sizes?;
    let elements = sizes.iter().try_fold(1usize, |n, s| n.checked_mul(*s));
    match elements {
        Some(n) if n <= MOST_ELEMENTS => Ok(sizes),
        _ => Err(format!("a buffer of {text} elements is too large")),
    }
}

/// `4`, `4,2` or `4,2,1`: blocks of a grid, threads of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dim3(pub [u32; 3]);

impl FromStr for Dim3 {
    type Err = String;

    fn from_str(text: &str) -> Result<Dim3, String> {
        let mut dims = [1; 3];
        let parts: Vec<&str> = text.split(',').collect();
        if parts.len() > 3 {
            return Err(format!("'{text}' has more than three sizes"));
        }
        for (dim, part) in dims.iter_mut().zip(parts) {
            *dim = number(part.trim(), "a size; expected sizes such as 4,1,1")?;
        }
        Ok(Dim3(dims))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arg(text: &str) -> KernelArg {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn memory_has_a_type_a_content_and_a_shape() {
        assert_eq!(
            arg("buf:f32:out:4096").value,
            ArgValue::Buffer {
                dtype: DType::F32,
                fill: Fill::Out,
                shape: vec![4096],
            }
        );
        let named = arg("x=buf:bf16:random:64x32");
        assert_eq!(named.name.as_deref(), Some("x"));
        assert!(matches!(named.value, ArgValue::Buffer { shape, .. } if shape == [64, 32]));
        let tensor = ArgValue::Tensor {
            tensor: "in.q".into(),
            dtype: Some(DType::F16),
        };
        assert_eq!(arg("tensor:in.q:f16").value, tensor);
        let inside = ArgValue::Inside {
            name: "x".into(),
            bytes: 128,
        };
        assert_eq!(arg("at:x:128").value, inside);
    }

    #[test]
    fn numbers_keep_their_sign_and_width() {
        assert_eq!(arg("i32:-5").value, ArgValue::I32(-5));
        assert_eq!(arg("u32:4294967295").value, ArgValue::U32(u32::MAX));
        assert_eq!(arg("i64:-9000000000").value, ArgValue::I64(-9_000_000_000));
        assert_eq!(arg("f32:1e-3").value, ArgValue::F32(1e-3));
        assert_eq!(arg("f64:-inf").value, ArgValue::F64(f64::NEG_INFINITY));
    }

    #[test]
    fn mistakes_say_what_was_expected() {
        for (text, expected) in [
            ("", "expected buf:f32:out:4096"),
            ("buf:f32:4096", "buf:DTYPE:FILL:SHAPE"),
            ("buf:f31:out:1", "no element type"),
            ("buf:f32:in:1", "zero, random, out or work"),
            ("buf:f32:out:64y64", "not a size"),
            ("buf:f32:out:-1", "not a size"),
            ("buf:f32:out:4294967296x4294967296", "too large"),
            ("tensor:", "tensor:NAME"),
            ("i32:1.5", "not an i32"),
            ("u32:-1", "not a u32"),
            ("n=i32:1", "have names"),
            ("=buf:f32:out:1", "empty"),
        ] {
            let error = text.parse::<KernelArg>().unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_that_are_left_out_are_1() {
        assert_eq!("4".parse(), Ok(Dim3([4, 1, 1])));
        assert_eq!("4, 2,3".parse(), Ok(Dim3([4, 2, 3])));
        assert!("4,2,3,1".parse::<Dim3>().is_err() && "-1".parse::<Dim3>().is_err());
    }
}
