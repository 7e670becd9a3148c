//! Shipped definitions against reference vectors of published implementations, in f64.

use mixc_interp::{Array, Inputs, eval};
use mixc_ir::{Name, Program, verify};
use mixc_text::Source;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::HashMap;
use std::path::Path;

fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

fn definition(path: &str) -> Program {
    let text = std::fs::read_to_string(repository(&format!("ir/{path}.mix"))).unwrap();
    let source = Source::new(path, text);
    let mut programs =
        mixc_lang::compile(&source).unwrap_or_else(|e| panic!("{}", source.render(&e)));
    verify(&programs[0]).unwrap_or_else(|e| panic!("{path}: {e:#?}"));
    programs.remove(0)
}

/// How a file's tensors relate to a definition's.
#[derive(Default)]
struct Case<'a> {
    /// `name in the file = name in the definition`.
    rename: &'a [(&'a str, &'a str)],
    /// Axis letters of the file's tensors in the definition's names, by the definition's tensor.
    layout: &'a [(&'a str, &'a str)],
    set: &'a [(&'a str, f64)],
    /// Outputs of the file that the definition does not have.
    without: &'a [&'a str],
}

fn values(view: &TensorView<'_>) -> Vec<f64> {
    fn each<const N: usize>(data: &[u8], f: fn([u8; N]) -> f64) -> Vec<f64> {
        data.as_chunks().0.iter().map(|b| f(*b)).collect()
    }
    let data = view.data();
    match view.dtype() {
        Dtype::F32 => each(data, |b| f64::from(f32::from_le_bytes(b))),
        Dtype::F64 => each(data, f64::from_le_bytes),
        Dtype::I32 => each(data, |b| f64::from(i32::from_le_bytes(b))),
        Dtype::I64 => each(data, |b| i64::from_le_bytes(b) as f64),
        Dtype::BOOL => data.iter().map(|b| f64::from(*b)).collect(),
        other => panic!("{other:?}"),
    }
}

/// The tensor with the axes `to`, from one with the axes `from`; axes of size 1 may be missing.
fn arrange(array: Array, from: &str, to: &[Name]) -> Array {
    let from: Vec<&str> = from.split(',').collect();
    assert_eq!(from.len(), array.shape.len(), "letters of a tensor");
    let strides: Vec<usize> = (0..from.len())
        .map(|n| array.shape[n + 1..].iter().product())
        .collect();
    let axes: Vec<(usize, usize)> = to
        .iter()
        .map(|a| {
            from.iter()
                .position(|f| *f == &**a)
                .map_or((1, 0), |n| (array.shape[n], strides[n]))
        })
        .collect();
    let shape: Vec<usize> = axes.iter().map(|a| a.0).collect();
    let data = (0..shape.iter().product())
        .map(|flat: usize| {
            let (mut rest, mut at) = (flat, 0);
            for (size, stride) in axes.iter().rev() {
                at += rest % size * stride;
                rest /= size;
            }
            array.data[at]
        })
        .collect();
    Array::new(shape, data)
}

impl Case<'_> {
    fn name<'b>(&'b self, file: &'b str) -> &'b str {
        self.rename
            .iter()
            .find(|(f, _)| *f == file)
            .map_or(file, |(_, d)| d)
    }

    fn arranged(&self, name: &str, array: Array, axes: &[Name]) -> Array {
        match self.layout.iter().find(|(n, _)| *n == name) {
            Some((_, letters)) => arrange(array, letters, axes),
            None => array,
        }
    }
}

fn check(path: &str, file: &str, case: &Case<'_>) {
    check_program(path, &definition(path), file, case);
}

fn check_program(path: &str, program: &Program, file: &str, case: &Case<'_>) {
    let bytes = std::fs::read(repository(&format!("tests/goldens/{file}.safetensors"))).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata: HashMap<String, String> = header.metadata().clone().unwrap_or_default();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();

    let mut inputs = Inputs::default();
    let mut expected = vec![];
    for (full, view) in tensors.tensors() {
        let Some((role, name)) = full.split_once('.') else {
            continue;
        };
        let (name, array) = (
            case.name(name),
            Array::new(view.shape().to_vec(), values(&view)),
        );
        match role {
            "in" => {
                let tensor = program
                    .tensor(name)
                    .unwrap_or_else(|| panic!("{path} has no input {name}"));
                inputs
                    .tensors
                    .insert(name.into(), case.arranged(name, array, &tensor.axis_names));
            }
            "out" if !case.without.contains(&name) => expected.push((name.to_string(), array)),
            _ => {}
        }
    }
    for scalar in &program.scalars {
        let of_file = metadata
            .get(&format!("param.{}", scalar.name))
            .and_then(|text| match text.as_str() {
                "true" => Some(1.0),
                "false" => Some(0.0),
                number => number.parse().ok(),
            });
        let set = case
            .set
            .iter()
            .find(|(n, _)| *n == &*scalar.name)
            .map(|(_, v)| *v);
        inputs
            .scalars
            .extend(set.or(of_file).map(|value| (scalar.name.clone(), value)));
    }
    let found = eval(program, &inputs).unwrap_or_else(|e| panic!("{path} on {file}: {e}"));
    assert!(!expected.is_empty(), "{path} on {file}: outputs");
    for (name, expected) in expected {
        let output = program.outputs.iter().find(|o| *o.name == *name);
        let output = output.unwrap_or_else(|| panic!("{path} has no output {name}"));
        let expected = case.arranged(&name, expected, &output.axis_names);
        compare(
            &format!("{path} on {file}: {name}"),
            &found[name.as_str()],
            &expected,
        );
    }
}

fn compare(what: &str, found: &Array, expected: &Array) {
    assert_eq!(found.shape, expected.shape, "{what}");
    // Equal infinities (the log of an empty sum) agree.
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
        error <= 1e-11 * norm,
        "{what} is off by {error:e} of {norm:e}"
    );
    assert!(norm > 0.0 && norm.is_finite(), "{what} says something");
}

const ATTENTION: &[(&str, &str)] = &[
    ("q", "B,I,H,D"),
    ("k", "B,J,G,D"),
    ("v", "B,J,G,E"),
    ("o", "B,I,H,E"),
];
const NO_LSE: Case<'_> = Case {
    rename: &[],
    layout: ATTENTION,
    set: &[],
    without: &["lse"],
};

#[test]
fn softmax_attention() {
    let files = [
        "attn_bidir_window",
        "attn_causal_d128",
        "attn_causal_gqa_awkward",
        "attn_causal_large_logits",
        "attn_causal_masked_rows",
        "attn_causal_regular",
        "attn_causal_window",
        "attn_chunked_append",
        "attn_full_regular",
    ];
    for file in files {
        check("attention/softmax_attention", file, &NO_LSE);
        check(
            "attention/attention_lse",
            file,
            &Case {
                without: &[],
                ..NO_LSE
            },
        );
    }
    let decode = Case {
        rename: &[("kv_len", "length")],
        ..NO_LSE
    };
    check("attention/softmax_attention", "attn_decode", &decode);
    check(
        "attention/attention_lse",
        "attn_decode",
        &Case {
            without: &[],
            ..decode
        },
    );
    check(
        "attention/attention_padded",
        "attn_decode",
        &Case {
            rename: &[("kv_len", "length")],
            ..NO_LSE
        },
    );
}

#[test]
fn attention_of_a_real_model() {
    check(
        "attention/softmax_attention",
        "real_minilm_l0",
        &Case::default(),
    );
    check(
        "attention/attention_padded",
        "real_minilm_l0",
        &Case::default(),
    );
}

#[test]
fn attention_variants() {
    check("attention/attention_full", "attn_full_regular", &NO_LSE);
    check(
        "attention/attention_causal",
        "attn_causal_masked_rows",
        &NO_LSE,
    );
    check("attention/attention_window", "attn_bidir_window", &NO_LSE);
    check("attention/attention_window", "attn_causal_window", &NO_LSE);
    check(
        "attention/attention_softcap",
        "attn_causal_softcap",
        &NO_LSE,
    );
    check("attention/attention_alibi", "attn_full_alibi", &NO_LSE);
    check(
        "attention/attention_alibi_causal",
        "attn_causal_alibi",
        &NO_LSE,
    );
    check("attention/attention_sink", "attn_causal_sink", &NO_LSE);
    check(
        "attention/attention_window_sink",
        "attn_window_sink",
        &NO_LSE,
    );
}

/// The log of the denominator is one more line in every variant.
#[test]
fn attention_variants_with_their_denominators() {
    let cases = [
        (
            "attn_causal_softcap",
            "softcap: f32",
            "softcap * tanh(s[i, j] / softcap)",
            "z[i]",
        ),
        (
            "attn_causal_alibi",
            "slopes: [B, H]",
            "s[i, j] + slopes * (j - (J - 1))",
            "z[i]",
        ),
        (
            "attn_causal_sink",
            "sink: [H]",
            "s[i, j]",
            "max(z[i], sink) + log1p(exp(-abs(z[i] - sink)))",
        ),
    ];
    for (file, param, score, lse) in cases {
        let text = format!(
            "mixer m(q: [B, H, I, D], k: [B, G, J, D], v: [B, G, J, E], {param}, scale: f32)
             -> (o: [B, H, I, E], lse: [B, H, I]) where H % G == 0 {{
                s[i, j] = scale * sum[d](q[i, d] * k[j, d])
                x[i, j] = {score} if j <= i + J - I else -inf
                z[i] = lse[j](x[i, j])
                lse[i] = {lse}
                o[i, e] = sum[j](exp(x[i, j] - lse[i]) * v[j, e])
             }}"
        );
        let source = Source::new(file, text);
        let programs =
            mixc_lang::compile(&source).unwrap_or_else(|e| panic!("{}", source.render(&e)));
        check_program(
            file,
            &programs[0],
            file,
            &Case {
                without: &[],
                ..NO_LSE
            },
        );
    }
}

#[test]
fn longformer() {
    let layout: &[(&str, &str)] = &[
        ("q", "B,T,H,D"),
        ("k", "B,T,H,D"),
        ("v", "B,T,H,D"),
        ("qg", "B,T,H,D"),
        ("kg", "B,T,H,D"),
        ("vg", "B,T,H,D"),
        ("o", "B,T,H,D"),
    ];
    for (file, window) in [("longformer_regular", 16.0), ("longformer_awkward", 13.0)] {
        check(
            "attention/longformer",
            file,
            &Case {
                layout,
                set: &[("window", window)],
                ..Case::default()
            },
        );
    }
}

const TIME_FIRST: &[(&str, &str)] = &[
    ("q", "B,T,H,K"),
    ("k", "B,T,H,K"),
    ("v", "B,T,H,V"),
    ("g", "B,T,H"),
    ("beta", "B,T,H"),
    ("o", "B,T,H,V"),
];

#[test]
fn linear_attention() {
    let case = Case {
        layout: TIME_FIRST,
        ..Case::default()
    };
    for file in ["linear_attn_awkward", "linear_attn_regular"] {
        check("linear_attention/linear_attention_scan", file, &case);
        check(
            "linear_attention/linear_attention",
            file,
            &Case {
                layout: TIME_FIRST,
                without: &["final_state"],
                ..Case::default()
            },
        );
    }
    let layout = &[TIME_FIRST, &[("final_z", "B,1,H,K")]].concat();
    check(
        "linear_attention/linear_attention_normalized",
        "linear_attn_normalized",
        &Case {
            layout,
            ..Case::default()
        },
    );
}

#[test]
fn retention() {
    for file in ["retention_awkward", "retention_regular"] {
        check("linear_attention/retention", file, &Case::default());
        check("linear_attention/retention_scan", file, &Case::default());
    }
}

#[test]
fn gated_linear_attention() {
    let case = Case {
        layout: TIME_FIRST,
        ..Case::default()
    };
    for file in [
        "simple_gla_awkward",
        "simple_gla_d128",
        "simple_gla_regular",
    ] {
        check("linear_attention/simple_gla", file, &case);
    }
    let layout = &[&[("g", "B,T,H,K")], TIME_FIRST].concat();
    for file in [
        "gla_awkward",
        "gla_d64",
        "gla_decode",
        "gla_regular",
        "gla_strong_decay",
    ] {
        check(
            "linear_attention/gla",
            file,
            &Case {
                layout,
                ..Case::default()
            },
        );
    }
    let layout = &[("x", "B,T,D"), ("g", "B,T,D"), ("o", "B,T,D")];
    for file in ["hgrn_awkward", "hgrn_regular"] {
        check(
            "linear_attention/hgrn",
            file,
            &Case {
                layout,
                ..Case::default()
            },
        );
    }
}

#[test]
fn delta_rules_and_rwkv() {
    for file in [
        "delta_rule_awkward",
        "delta_rule_d64",
        "delta_rule_regular",
        "delta_rule_repeated_keys",
    ] {
        check("delta_rule/delta_rule", file, &Case::default());
    }
    for file in [
        "gated_delta_rule_awkward",
        "gated_delta_rule_d64",
        "gated_delta_rule_decode",
        "gated_delta_rule_regular",
    ] {
        check(
            "delta_rule/gated_delta_rule",
            file,
            &Case {
                layout: TIME_FIRST,
                ..Case::default()
            },
        );
    }
    for file in ["rwkv6_awkward", "rwkv6_regular"] {
        check("rwkv/rwkv6", file, &Case::default());
    }
}

#[test]
fn selective_scan() {
    let rename: &[(&str, &str)] = &[("B", "Bt"), ("C", "Ct"), ("D", "skip")];
    let no_groups: &[(&str, &str)] = &[("Bt", "B,N,L"), ("Ct", "B,N,L")];
    check(
        "ssm/selective_scan",
        "selective_scan_awkward",
        &Case {
            rename,
            ..Case::default()
        },
    );
    check(
        "ssm/selective_scan",
        "selective_scan_regular",
        &Case {
            rename,
            layout: no_groups,
            ..Case::default()
        },
    );
    check(
        "ssm/selective_scan_plain",
        "selective_scan_plain",
        &Case {
            rename,
            layout: no_groups,
            ..Case::default()
        },
    );
    let constant = &[("B", "Bn"), ("C", "Cn"), ("D", "skip")];
    check(
        "ssm/selective_scan_constant",
        "selective_scan_constant_BC",
        &Case {
            rename: constant,
            ..Case::default()
        },
    );
    let step = Case {
        rename: &[
            ("x", "u"),
            ("dt", "delta"),
            ("dt_bias", "delta_bias"),
            ("state", "initial_state"),
            ("B", "Bt"),
            ("C", "Ct"),
            ("D", "skip"),
            ("final_state", "last_state"),
        ],
        layout: &[
            ("u", "B,D"),
            ("delta", "B,D"),
            ("z", "B,D"),
            ("out", "B,D"),
            ("Bt", "B,N"),
            ("Ct", "B,N"),
        ],
        ..Case::default()
    };
    check("ssm/selective_scan", "selective_scan_decode", &step);
}

#[test]
fn state_space_duality() {
    let rename: &[(&str, &str)] = &[("B", "Bt"), ("C", "Ct"), ("D", "skip")];
    let layout: &[(&str, &str)] = &[
        ("x", "B,L,H,P"),
        ("z", "B,L,H,P"),
        ("out", "B,L,H,P"),
        ("dt", "B,L,H"),
        ("Bt", "B,L,G,N"),
        ("Ct", "B,L,G,N"),
    ];
    for file in ["ssd_awkward", "ssd_regular"] {
        check(
            "ssm/ssd",
            file,
            &Case {
                rename,
                layout,
                without: &[],
                ..Case::default()
            },
        );
    }
    let layout: &[(&str, &str)] = &[
        ("X", "B,L,H,P"),
        ("Y", "B,L,H,P"),
        ("A", "B,L,H"),
        ("Bt", "B,L,H,N"),
        ("Ct", "B,L,H,N"),
        ("initial_states", "B,1,H,P,N"),
    ];
    check(
        "ssm/ssd_discrete",
        "ssd_minimal_state",
        &Case {
            rename,
            layout,
            ..Case::default()
        },
    );
    let layout: &[(&str, &str)] = &[
        ("x", "B,H,P"),
        ("z", "B,H,P"),
        ("out", "B,H,P"),
        ("dt", "B,H,P"),
        ("Bt", "B,G,N"),
        ("Ct", "B,G,N"),
    ];
    check(
        "ssm/ssd_channelwise",
        "ssd_decode",
        &Case {
            rename,
            layout,
            ..Case::default()
        },
    );
}

#[test]
fn complex_recurrences() {
    let rename: &[(&str, &str)] = &[("D", "skip")];
    for file in ["s4d_awkward", "s4d_regular"] {
        check(
            "ssm/s4d",
            file,
            &Case {
                rename,
                ..Case::default()
            },
        );
    }
    let rename: &[(&str, &str)] = &[("D", "skip"), ("B", "Bn"), ("C", "Cn")];
    let case = Case {
        rename,
        layout: &[("Cn", "1,H,N,reim")],
        without: &["K", "y_step"],
        ..Case::default()
    };
    check("ssm/s4d_scan", "s4d_state_zoh", &case);
    let layout: &[(&str, &str)] = &[
        ("alpha", "D,N,1"),
        ("delta", "D,N,1"),
        ("theta", "D,1,1"),
        ("omega", "D,1"),
    ];
    for file in [
        "megalodon_cema_awkward",
        "megalodon_cema_decode",
        "megalodon_cema_regular",
        "megalodon_cema_state",
    ] {
        check(
            "ssm/megalodon_cema",
            file,
            &Case {
                layout,
                ..Case::default()
            },
        );
    }
}

#[test]
fn convolutions() {
    let rename: &[(&str, &str)] = &[("D", "skip")];
    check(
        "conv/long_conv",
        "fftconv_regular",
        &Case {
            rename,
            ..Case::default()
        },
    );
    check("conv/long_conv_gated", "fftconv_gated", &Case::default());
    check(
        "conv/long_conv_circular",
        "fftconv_circular",
        &Case::default(),
    );
    check(
        "conv/long_conv_bidirectional",
        "fftconv_awkward_bidirectional",
        &Case {
            rename,
            ..Case::default()
        },
    );
    for file in ["causal_conv1d_regular", "causal_conv1d_short"] {
        check("conv/causal_conv1d", file, &Case::default());
    }
    check(
        "conv/causal_conv1d_linear",
        "causal_conv1d_awkward",
        &Case::default(),
    );
    let step = &[
        ("conv_state", "initial_states"),
        ("final_conv_state", "final_states"),
    ];
    check(
        "conv/causal_conv1d",
        "causal_conv1d_decode",
        &Case {
            rename: step,
            ..Case::default()
        },
    );
}
