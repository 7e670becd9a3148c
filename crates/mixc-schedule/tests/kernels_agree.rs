//! Scheduled kernels, run by the tile interpreter, against the f64 interpreter of the definition.

use mixc_interp::{Array, Inputs};
use mixc_ir::{Kind, Name, Program, parse_program};
use mixc_schedule::{Request, schedule};
use mixc_text::Source;
use mixc_tile::{KernelArgs, TensorData, interpret};
use std::collections::BTreeMap;

fn program(name: &str) -> Program {
    let path = format!("{}/tests/programs/{name}.core", env!("CARGO_MANIFEST_DIR"));
    let source = Source::new(&path, std::fs::read_to_string(&path).unwrap());
    let program = parse_program(&source).unwrap_or_else(|e| panic!("{}", source.render(&e)));
    if let Err(errors) = mixc_ir::verify(&program) {
        panic!("{name}: {errors:?}");
    }
    program
}

/// Values in [-1, 1], or [-1, 0] for tensors declared non-positive; the same for the same name.
fn inputs(program: &Program, sizes: &BTreeMap<Name, i64>) -> Inputs {
    let mut inputs = Inputs {
        tensors: BTreeMap::new(),
        scalars: BTreeMap::new(),
        sizes: BTreeMap::new(),
    };
    for tensor in &program.tensors {
        let shape: Vec<usize> = tensor
            .shape
            .iter()
            .map(|s| s.eval_sizes(sizes).unwrap() as usize)
            .collect();
        let mut seed: u64 = tensor.name.bytes().fold(17, |s, b| s * 31 + u64::from(b));
        let mut next = || {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let unit = (seed >> 40) as f64 / (1u64 << 24) as f64;
            let value = if tensor.range.1 <= 0.0 {
                -unit
            } else {
                2.0 * unit - 1.0
            };
            f64::from(value as f32)
        };
        let data = (0..shape.iter().product()).map(|_| next()).collect();
        inputs
            .tensors
            .insert(tensor.name.clone(), Array { shape, data });
    }
    inputs
}

/// Runs the kernels of `form` and compares its outputs with those of `definition`.
fn check(definition: &str, form: &str, sizes: &[(&str, i64)], knobs: &[(&str, i64)]) {
    let (definition, form_program) = (program(definition), program(form));
    let mut sizes: BTreeMap<Name, i64> = sizes.iter().map(|(n, v)| (Name::from(*n), *v)).collect();
    let inputs = inputs(&definition, &sizes);
    let expected = mixc_interp::eval(&definition, &inputs).unwrap();
    let scalars = mixc_interp::scalar_values(&definition, &sizes, &inputs.scalars).unwrap();
    for scalar in definition.scalars.iter().filter(|s| s.kind == Kind::Int) {
        sizes.insert(scalar.name.clone(), scalars[&scalar.name] as i64);
    }
    let request = Request {
        sizes: sizes.clone(),
        knobs: knobs.iter().map(|(k, v)| (k.to_string(), *v)).collect(),
        ..Request::default()
    };
    let schedule = schedule(&form_program, &request).unwrap();
    let mut tensors: BTreeMap<Name, TensorData> = BTreeMap::new();
    for (name, array) in &inputs.tensors {
        tensors.insert(
            name.clone(),
            TensorData::new(&array.shape, array.data.iter().map(|v| *v as f32).collect()),
        );
    }
    for kernel in &schedule.kernels {
        if let Err(errors) = mixc_tile::verify(kernel) {
            panic!("{form} {sizes:?}: {errors:?}\n{kernel}");
        }
        let mut own = BTreeMap::new();
        for tensor in &kernel.tensors {
            let shape: Vec<usize> = tensor
                .shape
                .iter()
                .map(|s| s.eval_sizes(&sizes).unwrap() as usize)
                .collect();
            let data = tensors
                .remove(&tensor.name)
                .unwrap_or_else(|| TensorData::new(&shape, vec![f32::NAN; shape.iter().product()]));
            own.insert(tensor.name.clone(), data);
        }
        let mut args = KernelArgs {
            dims: kernel.dims.iter().map(|d| (d.clone(), sizes[d])).collect(),
            scalars: kernel
                .scalars
                .iter()
                .map(|s| (s.clone(), scalars[s] as f32))
                .collect(),
            tensors: own,
        };
        if let Err(error) = interpret(kernel, &mut args) {
            panic!("{form} {sizes:?}: {error}\n{kernel}");
        }
        tensors.append(&mut args.tensors);
    }
    for (name, expected) in &expected {
        let actual = &tensors[name].data;
        let close = |a: f32, e: f64| {
            (f64::from(a) - e).abs() <= 2e-5 * (1.0 + e.abs()) || f64::from(a) == e
        };
        for (n, (a, e)) in actual.iter().zip(&expected.data).enumerate() {
            assert!(
                close(*a, *e),
                "{form} {sizes:?} {knobs:?}: {name}[{n}] is {a}, expected {e}\n{}",
                dump(&schedule.kernels)
            );
        }
        assert_eq!(actual.len(), expected.data.len());
    }
}

fn dump(kernels: &[mixc_tile::Kernel]) -> String {
    kernels.iter().map(|k| k.to_string()).collect()
}

const ATTENTION: [[(&str, i64); 7]; 5] = [
    [
        ("B", 1),
        ("H", 2),
        ("G", 1),
        ("I", 128),
        ("J", 128),
        ("D", 16),
        ("E", 16),
    ],
    [
        ("B", 2),
        ("H", 4),
        ("G", 2),
        ("I", 41),
        ("J", 23),
        ("D", 5),
        ("E", 7),
    ],
    [
        ("B", 1),
        ("H", 1),
        ("G", 1),
        ("I", 19),
        ("J", 90),
        ("D", 8),
        ("E", 4),
    ],
    [
        ("B", 3),
        ("H", 2),
        ("G", 2),
        ("I", 1),
        ("J", 133),
        ("D", 8),
        ("E", 8),
    ],
    [
        ("B", 1),
        ("H", 1),
        ("G", 1),
        ("I", 70),
        ("J", 0),
        ("D", 4),
        ("E", 4),
    ],
];

#[test]
fn attention_in_every_form() {
    for form in ["attention_plain", "attention_online", "attention_split"] {
        for sizes in &ATTENTION {
            for (rows, stream) in [(64, 64), (32, 16), (16, 32)] {
                check(
                    "attention_plain",
                    form,
                    sizes,
                    &[("rows", rows), ("stream", stream), ("S", 48)],
                );
            }
        }
    }
}

const DECAY: [[(&str, i64); 5]; 4] = [
    [("B", 1), ("H", 2), ("T", 128), ("K", 8), ("V", 8)],
    [("B", 2), ("H", 1), ("T", 61), ("K", 5), ("V", 7)],
    [("B", 1), ("H", 1), ("T", 1), ("K", 4), ("V", 4)],
    [("B", 1), ("H", 1), ("T", 0), ("K", 4), ("V", 4)],
];

#[test]
fn a_decayed_recurrence_in_every_form() {
    for form in [
        "decay_definition",
        "decay_chunkwise",
        "decay_blocked_scan",
        "decay_quadratic",
    ] {
        for sizes in &DECAY {
            for (chunk, rows) in [(16, 16), (64, 32)] {
                check(
                    "decay_definition",
                    form,
                    sizes,
                    &[("C", chunk), ("rows", rows)],
                );
            }
        }
    }
}

/// The columns of a state in several tiles, the last of them short.
#[test]
fn the_columns_of_a_state_in_several_tiles() {
    for form in ["decay_definition", "decay_chunkwise", "decay_quadratic"] {
        for (columns, cols) in [(8, 4), (7, 3), (5, 16)] {
            let sizes = [("B", 1), ("H", 2), ("T", 37), ("K", 5), ("V", columns)];
            check(
                "decay_definition",
                form,
                &sizes,
                &[("C", 16), ("cols", cols)],
            );
        }
    }
}

/// What is past the end must not count, even where no factor of a sum is 0 there by itself.
#[test]
fn inputs_that_are_not_zero_past_the_end() {
    for form in ["unbounded_inputs", "unbounded_inputs_chunkwise"] {
        for sizes in &DECAY {
            check(
                "unbounded_inputs",
                form,
                sizes,
                &[("C", 16), ("stream", 16)],
            );
        }
    }
}

#[test]
fn a_scan_that_stays_as_written() {
    for sizes in &DECAY {
        check("delta_rule", "delta_rule", sizes, &[]);
    }
}
