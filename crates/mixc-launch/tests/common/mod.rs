//! A bundle of two cases that share a module.

use mixc_launch::{
    Arg, BufferSpec, Bundle, Case, Counts, DType, Expected, Generator, Input, Label, Launch,
    ModuleImage, Pattern, Plan, Role, Source, ValueKind, Values,
};

pub fn generator(name: &str, pattern: Pattern) -> Generator {
    Generator {
        name: name.into(),
        kind: ValueKind::Real,
        min: None,
        max: None,
        pattern,
        int_limit: 0,
        seed: 3,
    }
}

/// `o = x + y`, for `n` elements.
pub fn add_case(n: i64, expected: Vec<Expected>, verified_by: Option<usize>) -> Case {
    let mut y = BufferSpec::new("y", DType::F32, &[n, 1], Role::In);
    y.strides = Some(vec![2, 1]);
    Case {
        label: Label {
            mixer: "sum".into(),
            form: "plain".into(),
            target: "sm_80".into(),
            dtype: "f32".into(),
            shape: [("N".to_string(), n)].into(),
            params: [("rows".to_string(), 64.into())].into(),
            version: "0.1.0".into(),
            definition: "abc".into(),
        },
        plan: Plan {
            buffers: vec![
                BufferSpec::new("x", DType::Bf16, &[n], Role::In),
                y,
                BufferSpec::new("o", DType::F32, &[n], Role::Out),
            ],
            modules: vec![ModuleImage {
                target: "sm_80".into(),
                ptx: ".version 7.8\n.target sm_80\n.visible .entry add(.param .u64 x, .param .u64 y, .param .u64 n) { ret; }\n".into(),
                cubin: Some(vec![0x7f, 0x45, 1, 2]),
            }],
            launches: vec![Launch {
                module: 0,
                entry: "add".into(),
                grid: [1, 1, 1],
                block: [32, 1, 1],
                shared_bytes: 0,
                args: vec![
                    Arg::Buffer(0),
                    Arg::BufferAt {
                        buffer: 1,
                        byte_offset: 0,
                    },
                    Arg::I64(n),
                ],
            }],
        },
        inputs: vec![
            Input {
                buffer: 0,
                source: Source::Random(generator("x", Pattern::Normal)),
            },
            Input {
                buffer: 1,
                source: Source::Inline((0..4 * n).map(|b| b as u8).collect()),
            },
        ],
        expected,
        counts: Counts {
            flops: n as u64,
            bytes: 10 * n as u64,
        },
        verified_by,
    }
}

pub fn bundle() -> Bundle {
    let all = Expected {
        buffer: 2,
        values: Values::F64(vec![1.0 / 3.0, f64::NEG_INFINITY, 1e300, -0.0]),
        positions: None,
        rel_tol: 0.1 + 0.2,
        abs_tol: Some(1e-3),
    };
    let some = Expected {
        buffer: 2,
        values: Values::F32(vec![0.1, 7.0]),
        positions: Some(vec![99, 3]),
        rel_tol: 1e-6,
        abs_tol: None,
    };
    Bundle {
        cases: vec![
            add_case(4, vec![all], None),
            add_case(100, vec![some], None),
            add_case(1000, vec![], Some(0)),
        ],
    }
}
