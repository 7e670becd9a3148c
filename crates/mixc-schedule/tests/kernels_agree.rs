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
    check_for(definition, form, sizes, knobs, false);
}

/// Gives the kernels, too. Outputs that only the definition has are left out.
fn check_for(
    definition: &str,
    form: &str,
    sizes: &[(&str, i64)],
    knobs: &[(&str, i64)],
    matrix_units: bool,
) -> Vec<mixc_tile::Kernel> {
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
        matrix_units,
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
    let made = |name: &Name| form_program.outputs.iter().any(|o| o.name == *name);
    for (name, expected) in expected.iter().filter(|(name, _)| made(name)) {
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
    schedule.kernels
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

/// Sizes of grouped heads: (H, G, I, J), with features that fill no vector.
fn grouped(sizes: [i64; 4]) -> Vec<(&'static str, i64)> {
    let [h, g, i, j] = sizes;
    let all = [
        ("B", 2),
        ("H", h),
        ("G", g),
        ("I", i),
        ("J", j),
        ("D", 8),
        ("E", 5),
    ];
    all.to_vec()
}

/// Whether some kernel has tiles of packed rows.
fn has_packed_rows(form: &str, sizes: &[(&str, i64)]) -> bool {
    let found = kernels(form, sizes, &[("pack", 1)]);
    let names = found.kernels.iter().flat_map(|k| &k.grid).map(|g| &*g.name);
    names
        .into_iter()
        .any(|n| ["h_i_blk", "h_rows_blk"].contains(&n))
}

/// Biases, windows and sinks of a head, rows of several heads in a tile.
#[test]
fn packed_rows_equal_the_definition() {
    for form in ["grouped_plain", "grouped_online", "grouped_split"] {
        assert!(has_packed_rows(form, &grouped([6, 2, 1, 63])), "{form}");
        for heads in [[6, 2], [5, 1], [3, 3]] {
            for i in [1, 2, 5, 19] {
                for j in [0, 1, 63, 200] {
                    let sizes = grouped([heads[0], heads[1], i, j]);
                    for (pack, rows) in [(1, 16), (16, 64), (1, 4)] {
                        let knobs = [("pack", pack), ("rows", rows), ("stream", 16), ("S", 48)];
                        check("grouped_plain", form, &sizes, &knobs);
                    }
                }
            }
        }
    }
}

/// Parts that are whole tiles, and parts that are streamed.
#[test]
fn packed_rows_of_parts_of_any_length() {
    for length in [16, 64, 160] {
        for sizes in [[4, 2, 1, 200], [6, 2, 5, 63], [4, 1, 2, 129]] {
            let knobs = [("pack", 1), ("S", length), ("stream", 32)];
            check("grouped_plain", "grouped_split", &grouped(sizes), &knobs);
        }
    }
}

/// Rows of heads alone; heads that all share one group; a last group that is short.
#[test]
fn packed_rows_without_positions_or_groups() {
    for form in ["one_position", "short_group", "one_group"] {
        assert!(has_packed_rows(form, &grouped([6, 2, 3, 63])), "{form}");
    }
    for j in [0, 1, 63, 200] {
        for knobs in [
            [("pack", 1), ("stream", 32)],
            [("pack", 16), ("stream", 32)],
        ] {
            let sizes = [("B", 2), ("H", 6), ("G", 2), ("J", j), ("D", 8), ("E", 5)];
            check("one_position", "one_position", &sizes, &knobs);
            let sizes = [("B", 2), ("H", 5), ("G", 2), ("J", j), ("D", 8), ("E", 5)];
            check("short_group", "short_group", &sizes, &knobs);
            let sizes = [("B", 2), ("H", 5), ("I", 3), ("J", j), ("D", 8), ("E", 5)];
            check("one_group", "one_group", &sizes, &knobs);
        }
    }
}

fn kernels(form: &str, sizes: &[(&str, i64)], knobs: &[(&str, i64)]) -> mixc_schedule::Schedule {
    let request = Request {
        sizes: sizes
            .iter()
            .map(|(n, v)| (Name::from(*n), *v))
            .chain([("window".into(), 40), ("n".into(), 3)])
            .collect(),
        knobs: knobs.iter().map(|(k, v)| (k.to_string(), *v)).collect(),
        ..Request::default()
    };
    schedule(&program(form), &request).unwrap()
}

fn loaded(schedule: &mixc_schedule::Schedule, sizes: &[(&str, i64)]) -> u64 {
    let sizes = sizes.iter().map(|(n, v)| (Name::from(*n), *v)).collect();
    let counts = |k| mixc_tile::counts::counts(k, &sizes).unwrap().loaded_bytes;
    schedule.kernels.iter().map(counts).sum()
}

#[test]
fn short_rows_that_share_keys_are_packed_unless_asked_otherwise() {
    let decode = [
        ("B", 1),
        ("H", 8),
        ("G", 2),
        ("I", 1),
        ("J", 4096),
        ("D", 64),
        ("E", 64),
    ];
    let pack =
        |sizes: &[(&str, i64)], knobs| kernels("attention_online", sizes, knobs).knobs["pack"];
    assert_eq!(pack(&decode, &[]), 1);
    assert_eq!(pack(&decode, &[("pack", 0)]), 0);
    let mut prefill = decode;
    prefill[3] = ("I", 512);
    assert_eq!(pack(&prefill, &[]), 0);
    let mut alone = decode;
    alone[2] = ("G", 8);
    assert_eq!(pack(&alone, &[]), 0);
    // Keys and values once for a group, not once for a head.
    let [packed, apart] = [1, 0].map(|n| {
        loaded(
            &kernels("attention_online", &decode, &[("pack", n)]),
            &decode,
        )
    });
    let streamed = 2 * 2 * 4096 * 64 * 4;
    assert!(
        packed >= streamed && packed < streamed * 101 / 100,
        "{packed}"
    );
    assert!(apart >= 4 * streamed, "{apart}");
}

/// With one position every bound is as tight as for one row: a window visits only its own blocks, and a block that it
/// covers is not masked.
#[test]
fn the_bounds_of_packed_rows_are_tight() {
    let sizes = [
        ("B", 1),
        ("H", 8),
        ("G", 2),
        ("I", 1),
        ("J", 4096),
        ("D", 8),
        ("E", 8),
    ];
    let kernels = kernels("grouped_online", &sizes, &[("pack", 16), ("stream", 64)]).kernels;
    let counts = |window| {
        let sizes = sizes.into_iter().chain([("window", window)]);
        let sizes = sizes.map(|(n, v)| (Name::from(n), v)).collect();
        mixc_tile::counts::counts(&kernels[0], &sizes).unwrap()
    };
    let (whole, cut, more) = (counts(64), counts(63), counts(65));
    assert!(whole.simple_ops < cut.simple_ops, "{whole:?} {cut:?}");
    assert_eq!(whole.contract_fmas, cut.contract_fmas);
    assert_eq!(2 * whole.contract_fmas, more.contract_fmas);
}

/// Scores with a decay for every feature are products of matrices where the target multiplies them, and no tile over
/// rows, columns and features is left.
#[test]
fn feature_decays_are_matrix_products() {
    let is_cube = |kernel: &mixc_tile::Kernel| kernel.bufs.iter().any(|b| b.shape.len() > 2);
    for t in [1, 15, 16, 33, 64, 100] {
        let sizes = [("H", 2), ("T", t), ("K", 6), ("V", 5)];
        for c in [16, 32, 64] {
            let form = "feature_decay_chunkwise";
            let kernels = check_for("feature_decay", form, &sizes, &[("C", c)], true);
            assert!(!kernels.iter().any(is_cube), "{}", dump(&kernels));
            check_for("feature_decay", form, &sizes, &[("C", c)], false);
        }
        for block in [16, 32] {
            let knobs = [("rows", block), ("stream", block)];
            let kernels = check_for("feature_decay", "feature_decay", &sizes, &knobs, true);
            assert!(!kernels.iter().any(is_cube), "{}", dump(&kernels));
        }
    }
}

/// Short tiles have products that are mostly thrown away, so they stay elementwise.
#[test]
fn feature_decays_of_short_tiles_are_elementwise() {
    let sizes = [("H", 1), ("T", 30), ("K", 6), ("V", 5)];
    let form = "feature_decay_chunkwise";
    let kernels = check_for("feature_decay", form, &sizes, &[("C", 8)], true);
    assert!(
        kernels
            .iter()
            .any(|k| k.bufs.iter().any(|b| b.shape.len() > 2))
    );
}

/// A matrix that every step multiplies with is loaded before the first one, unless it is too long: then each step loads it
/// block by block.
#[test]
fn matrices_of_a_recurrence_stay_in_place() {
    let loads_inside = |whole: i64| {
        let mut deepest = 0;
        for (t, d) in [(0, 3), (1, 16), (5, 40), (3, 33)] {
            let sizes = [("B", 2), ("T", t), ("D", d)];
            let knobs = [("whole", whole), ("stream", 16)];
            let name = "recurrent_matrix";
            let kernels = check_for(name, name, &sizes, &knobs, false);
            let depth = kernels.iter().filter_map(|k| depth_of_load(&k.body, "R"));
            deepest = deepest.max(depth.max().unwrap());
        }
        deepest
    };
    assert_eq!(loads_inside(1024), 0);
    assert_eq!(loads_inside(32), 2);
}

/// A state that is summed along its own axis is in place as a whole, however long that is.
#[test]
fn states_are_not_read_block_by_block() {
    for (k, v) in [(17, 5), (40, 3), (64, 8)] {
        let sizes = [("B", 1), ("H", 2), ("T", 5), ("K", k), ("V", v)];
        let knobs = [("whole", 16), ("stream", 16)];
        check("delta_rule", "delta_rule", &sizes, &knobs);
    }
}

/// Loops around the loads of a tensor, at most; None if there is no load.
fn depth_of_load(body: &[mixc_tile::Stmt], name: &str) -> Option<usize> {
    let depth = |stmt: &mixc_tile::Stmt| match stmt {
        mixc_tile::Stmt::Load { tensor, .. } => (&**tensor == name).then_some(0),
        mixc_tile::Stmt::For { body, .. } => Some(1 + depth_of_load(body, name)?),
        _ => None,
    };
    body.iter().filter_map(depth).max()
}
