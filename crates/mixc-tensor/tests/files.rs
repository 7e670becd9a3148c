//! Files written by others and by us read back as the same tensors.

use mixc_ir::DType;
use mixc_tensor::{Bundle, FileError, Role, Tensor};
use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/goldens")
        .join(name)
}

#[test]
fn a_reference_file_gives_tensors_params_and_layouts() {
    let file = Bundle::read(&golden("attn_causal_masked_rows.safetensors")).unwrap();
    let q = file.find(Role::Input, "q").unwrap();
    assert_eq!((q.dtype(), q.shape()), (DType::F32, &[2, 41, 2, 16][..]));
    assert_eq!(file.find(Role::Output, "o").unwrap().dtype(), DType::F64);
    assert_eq!(file.param("scale"), Some(0.25));
    assert_eq!(file.param("causal"), Some(1.0));
    assert_eq!(file.names(Role::Input), ["k", "q", "v"]);
    assert!(
        file.find(Role::Output, "lse")
            .unwrap()
            .to_f64()
            .contains(&f64::NEG_INFINITY)
    );
    assert_eq!(file.layout(Role::Input, "q").unwrap().len(), 4);
}

#[test]
fn every_element_type_survives_a_round_trip() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.safetensors");
    let mut bundle = Bundle::default();
    bundle.metadata.insert("param.scale".into(), "0.5".into());
    for dtype in [
        DType::F32,
        DType::F16,
        DType::Bf16,
        DType::F64,
        DType::I32,
        DType::I64,
        DType::Bool,
    ] {
        let tensor = Tensor::from_f64(dtype, &[2, 2], &[0.0, 1.0, 1.0, 0.0]).unwrap();
        bundle.tensors.insert(
            format!("in.{}", dtype.name()),
            tensor.permuted(&[1, 0]).unwrap(),
        );
    }
    bundle
        .tensors
        .insert("empty".into(), Tensor::zeros(DType::F32, &[0, 3]));
    bundle.write(&path).unwrap();
    let back = Bundle::read(&path).unwrap();
    assert_eq!(back.metadata, bundle.metadata);
    for (name, tensor) in &bundle.tensors {
        let read = &back.tensors[name];
        assert_eq!(
            (read.dtype(), read.shape(), read.to_f64()),
            (tensor.dtype(), tensor.shape(), tensor.to_f64())
        );
    }
    // A tensor without a prefix can be an input as well as an output.
    assert!(
        back.find(Role::Input, "empty").is_some() && back.find(Role::Output, "empty").is_some()
    );
    assert!(back.find(Role::Output, "f32").is_none());
}

#[test]
fn numpy_archives_are_read_in_both_orders() {
    use npyz::WriterBuilder;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.npz");
    let mut writer = npyz::npz::NpzWriter::create(&path).unwrap();
    for (name, order) in [("c", npyz::Order::C), ("f", npyz::Order::Fortran)] {
        let builder = writer
            .array(name, Default::default())
            .unwrap()
            .default_dtype()
            .order(order)
            .shape(&[2, 3]);
        let mut array = builder.begin_nd().unwrap();
        array.extend([0f32, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        array.finish().unwrap();
    }
    drop(writer);
    let file = Bundle::read(&path).unwrap();
    assert_eq!(file.tensors["c"].to_f64(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(file.tensors["f"].to_f64(), [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
    assert_eq!(file.tensors["f"].shape(), [2, 3]);
}

#[test]
fn bad_files_are_errors_that_name_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("broken.safetensors");
    std::fs::write(&broken, b"\x10\0\0\0\0\0\0\0{\"x\": nonsense").unwrap();
    assert!(matches!(Bundle::read(&broken), Err(FileError::Format { path, .. }) if path == broken));
    assert!(matches!(
        Bundle::read(&dir.path().join("no.npz")),
        Err(FileError::Read { .. })
    ));
    assert!(matches!(
        Bundle::read(&dir.path().join("x.csv")),
        Err(FileError::Extension { .. })
    ));
}
