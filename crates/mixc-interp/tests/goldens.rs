//! Programs in core text against reference vectors of published implementations, in f64.

use mixc_interp::{Array, Inputs, eval};
use mixc_ir::{Program, parse_program, verify};
use mixc_text::Source;
use safetensors::{Dtype, SafeTensors};
use std::path::Path;

fn program(name: &str) -> Program {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/core")
        .join(format!("{name}.core"));
    let source = Source::new(name, std::fs::read_to_string(path).unwrap());
    let program =
        parse_program(&source).unwrap_or_else(|errors| panic!("{}", source.render(&errors)));
    verify(&program).unwrap_or_else(|errors| panic!("{name}: {errors:#?}"));
    program
}

/// The tensors of a file whose name starts with `prefix`, without it.
fn load(file: &str, prefix: &str) -> Vec<(String, Array)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/goldens")
        .join(format!("{file}.safetensors"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let wanted = tensors
        .iter()
        .filter_map(|(name, view)| Some((name.strip_prefix(prefix)?.to_string(), view)));
    wanted
        .map(|(name, view)| {
            let data = match view.dtype() {
                Dtype::F32 => view
                    .data()
                    .as_chunks()
                    .0
                    .iter()
                    .map(|b| f64::from(f32::from_le_bytes(*b)))
                    .collect(),
                Dtype::F64 => view
                    .data()
                    .as_chunks()
                    .0
                    .iter()
                    .map(|b| f64::from_le_bytes(*b))
                    .collect(),
                other => panic!("{name} is {other:?}"),
            };
            (name, Array::new(view.shape().to_vec(), data))
        })
        .collect()
}

/// Runs `name` on the inputs of a file and compares every output that the file has.
fn check(name: &str, file: &str, scalars: &[(&str, f64)], sizes: &[(&str, i64)]) {
    let program = program(name);
    let mut inputs = Inputs::default();
    inputs.tensors.extend(
        load(file, "in.")
            .into_iter()
            .map(|(n, array)| (n.as_str().into(), array)),
    );
    inputs
        .scalars
        .extend(scalars.iter().map(|(n, v)| ((*n).into(), *v)));
    inputs
        .sizes
        .extend(sizes.iter().map(|(n, v)| ((*n).into(), *v)));
    let found = eval(&program, &inputs).unwrap_or_else(|error| panic!("{name} on {file}: {error}"));
    let expected = load(file, "out.");
    assert_eq!(expected.len(), found.len(), "{name} on {file}: all outputs");
    for (output, expected) in expected {
        let found = &found[output.as_str()];
        assert_eq!(
            found.shape, expected.shape,
            "{name} on {file}: shape of {output}"
        );
        let pairs = || {
            found
                .data
                .iter()
                .zip(&expected.data)
                .filter(|(a, b)| !(a.is_infinite() && a == b))
        };
        let error = pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        let norm = pairs().map(|(_, b)| b.powi(2)).sum::<f64>().sqrt();
        assert!(
            error <= 1e-12 * norm,
            "{name} on {file}: {output} is off by {error:e} of {norm:e}"
        );
        assert!(
            norm > 0.0 && norm.is_finite(),
            "{name} on {file}: {output} says something"
        );
    }
}

#[test]
fn softmax_attention() {
    for form in ["attention", "attention_online"] {
        check(form, "attn_causal_gqa_awkward", &[], &[]);
        check(form, "attn_causal_masked_rows", &[("scale", 0.25)], &[]);
        check(form, "attn_causal_large_logits", &[], &[]);
    }
}

#[test]
fn gated_delta_rule() {
    check("gated_delta_rule", "gated_delta_rule_awkward", &[], &[]);
}

#[test]
fn gated_linear_attention_in_all_forms() {
    for form in ["gla_steps", "gla_recurrent", "gla_quadratic"] {
        check(form, "gla_awkward", &[], &[]);
    }
    // 197 steps: chunks that divide nothing, chunks of 1, one chunk longer than the sequence.
    for chunk in [1, 16, 64, 197, 256] {
        check("gla_chunkwise", "gla_awkward", &[], &[("C", chunk)]);
    }
    check("gla_chunkwise", "gla_strong_decay", &[], &[("C", 16)]);
}

#[test]
fn selective_scan() {
    check("selective_scan", "selective_scan_regular", &[], &[]);
}

#[test]
fn long_convolution() {
    check("long_conv", "fftconv_regular", &[], &[]);
}

#[test]
fn core_files_print_as_they_are_written() {
    for entry in
        std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/core")).unwrap()
    {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let first = program(name).to_string();
        let again = parse_program(&Source::new(name, &first)).unwrap();
        assert_eq!(again.to_string(), first);
        assert_eq!(again, program(name));
    }
}
