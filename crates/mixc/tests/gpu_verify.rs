//! Every shipped mixer, and definitions that are not shipped, as PTX: every form that has kernels, on random and
//! adversarial inputs and awkward sizes, in the simulator with all its checks, against the f64 interpreter.
//!
//! Translating takes most of the time. So sizes that are constants in kernels, and all knobs, are the same for all
//! problems of a mixer, and another mixer has others: architectures, element types, sizes of heads and knobs all go
//! round with periods of their own.

mod agreement;

use agreement::{Checked, assert_none, check, options};
use mixc::{
    Choices, Form, GpuTarget, Job, Mixer, Sizes, Target, VerifyOptions, catalogue, gpu, knobs_of,
    random_job,
};
use mixc_ir::{DType, Name};
use mixc_tensor::Pattern;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

const TYPES: [DType; 3] = [DType::F32, DType::Bf16, DType::F16];

/// The shipped mixers, then those of `tests/definitions`.
fn mixers() -> Vec<Mixer> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/definitions");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path());
    let files: BTreeSet<String> = files.map(|p| p.to_str().unwrap().to_owned()).collect();
    assert!(files.len() >= 10, "the definitions were not found");
    let shipped = catalogue().map(|e| e.name.to_owned());
    let names = shipped.chain(files);
    names
        .map(|name| Mixer::load(&name).unwrap_or_else(|e| panic!("{e}")))
        .collect()
}

/// Verifies a mixer, and says how long it took.
fn run(mixer: &Mixer, options: &VerifyOptions) -> Checked {
    let start = Instant::now();
    let found = check(mixer, options);
    println!(
        "{:.1?} {} on {} in {} {:?} {:?} {:?}: {} cases, {} undefined, not checked: {:?}",
        start.elapsed(),
        mixer.program.name,
        options.target,
        options.dtypes[0].name(),
        options.form,
        options.sizes,
        options.choices.knobs,
        found.cases,
        found.undefined,
        found.skipped
    );
    found
}

/// The values of `all` that a mixer has as sizes.
fn own_sizes(mixer: &Mixer, all: &[(&str, i64)]) -> BTreeMap<String, i64> {
    let own = |name: &str| mixer.program.dims.iter().any(|d| &**d == name);
    let all = all.iter().filter(|(name, _)| own(name));
    all.map(|(name, n)| ((*name).to_owned(), *n)).collect()
}

/// The sides of heads and states, on and off the edges of matrix instructions and of aligned rows, and few blocks: the
/// lengths of sequences stay open.
const HEADS: [[(&str, i64); 10]; 4] = [
    [
        ("D", 16),
        ("E", 16),
        ("K", 16),
        ("V", 32),
        ("P", 16),
        ("N", 16),
        ("B", 2),
        ("H", 2),
        ("G", 1),
        ("C", 3),
    ],
    [
        ("D", 24),
        ("E", 40),
        ("K", 40),
        ("V", 24),
        ("P", 24),
        ("N", 8),
        ("B", 1),
        ("H", 3),
        ("G", 3),
        ("C", 17),
    ],
    [
        ("D", 5),
        ("E", 7),
        ("K", 7),
        ("V", 5),
        ("P", 3),
        ("N", 5),
        ("B", 1),
        ("H", 4),
        ("G", 2),
        ("C", 8),
    ],
    [
        ("D", 64),
        ("E", 32),
        ("K", 32),
        ("V", 64),
        ("P", 32),
        ("N", 16),
        ("B", 2),
        ("H", 1),
        ("G", 1),
        ("C", 40),
    ],
];

/// One value for every knob that a form of the mixer has.
fn knobs(forms: &[Form], turn: usize) -> BTreeMap<String, i64> {
    let mut knobs: BTreeMap<String, i64> = BTreeMap::new();
    for (place, (name, values)) in forms.iter().flat_map(knobs_of).enumerate() {
        let short: Vec<i64> = values
            .iter()
            .copied()
            .filter(|v| (16..=64).contains(v))
            .collect();
        let value = short[(turn + place) % short.len()];
        knobs.entry(name).or_insert(value);
    }
    knobs.insert("warps".to_owned(), [4, 2, 8, 4, 1][turn % 5]);
    knobs.insert("stages".to_owned(), [2, 3, 1, 2, 4, 2, 3][turn % 7]);
    knobs
}

/// Why a form may be left out: its tiles, which the knobs ask for, do not fit in the shared memory of the target.
fn not_allowed(skipped: &[String]) -> Vec<String> {
    let too_large = |s: &&String| {
        s.contains("bytes of shared memory and sm_") && s.contains("use smaller tiles")
    };
    skipped.iter().filter(|s| !too_large(s)).cloned().collect()
}

/// The failures of all, with what was left out for other reasons than its size.
fn failures(all: &[Checked]) -> Vec<String> {
    let failures = all.iter().flat_map(|c| c.failures.clone());
    let left_out = all.iter().flat_map(|c| not_allowed(&c.skipped));
    failures
        .chain(left_out.map(|s| format!("left out: {s}")))
        .collect()
}

#[test]
fn every_form_of_every_mixer_agrees_on_one_architecture_and_in_one_type() {
    let mixers = mixers();
    let turns: Vec<(GpuTarget, DType)> = (0..mixers.len())
        .map(|turn| (GpuTarget::ALL[turn % 4], TYPES[turn % 3]))
        .collect();
    let different: BTreeSet<String> = turns
        .iter()
        .map(|(t, d)| format!("{t} {}", d.name()))
        .collect();
    assert_eq!(
        different.len(),
        12,
        "not every architecture meets every type: {different:?}"
    );
    let all = mixers
        .par_iter()
        .zip(&turns)
        .enumerate()
        .map(|(turn, (mixer, (target, dtype)))| {
            let target = Target::Gpu(*target);
            let forms = mixer.forms(&Sizes::new(), &target);
            let options = VerifyOptions {
                sizes: own_sizes(mixer, &HEADS[(turn % 4) ^ (turn / 4 % 4)]),
                choices: Choices::knobs(knobs(&forms, turn)),
                ..options(target, &[*dtype], 2)
            };
            run(mixer, &options)
        });
    let all: Vec<Checked> = all.collect();
    assert_none(&failures(&all));
}

/// Several blocks of keys, and of rows where a tile has 128, with ragged ends.
const LONG: [(&str, i64); 14] = [
    ("B", 1),
    ("H", 1),
    ("G", 1),
    ("I", 136),
    ("J", 150),
    ("T", 150),
    ("L", 150),
    ("D", 64),
    ("E", 64),
    ("K", 64),
    ("V", 64),
    ("P", 64),
    ("N", 64),
    ("M", 4),
];

/// Tall tiles: rows, and warps where the number is not left to the compiler.
const TALL: [(i64, Option<i64>); 4] = [(128, Some(8)), (64, Some(4)), (128, None), (64, None)];

/// The forms whose kernels for sm_90a have products of warpgroups, with the knobs that this takes: those of `TALL`, from
/// the one that it is the turn of.
fn warpgroup_forms(
    mixer: &Mixer,
    sizes: &BTreeMap<String, i64>,
    turn: usize,
) -> Vec<(Form, Choices)> {
    let job = zeros(mixer, sizes);
    let forms = mixer
        .forms(&job.sizes, &Target::Gpu(GpuTarget::Sm90a))
        .into_iter();
    let tall = |form: &Form, (rows, warps): (i64, Option<i64>)| {
        let mut knobs: BTreeMap<String, i64> = [("stages".to_owned(), [2, 3][turn % 2])].into();
        let has_rows = knobs_of(form).iter().any(|(name, _)| name == "rows");
        knobs.extend(has_rows.then(|| ("rows".to_owned(), rows)));
        knobs.extend(warps.map(|n| ("warps".to_owned(), n)));
        let fitted = gpu::fit(form, &job, GpuTarget::Sm90a, &Choices::knobs(knobs.clone())).ok()?;
        let mut texts = fitted.kernels.iter().map(|k| &k.kernel.mlir);
        let uses_warpgroups = texts.any(|t| t.contains("wgmma.mma_async"));
        knobs.extend(fitted.schedule.knobs);
        uses_warpgroups.then(|| Choices::knobs(knobs))
    };
    let fitting = |form: Form| {
        let mut all = TALL
            .into_iter()
            .cycle()
            .skip(turn % TALL.len())
            .take(TALL.len());
        let choices = all.find_map(|t| tall(&form, t))?;
        Some((form, choices))
    };
    forms.filter_map(fitting).collect()
}

/// A bf16 job of these sizes.
fn zeros(mixer: &Mixer, sizes: &BTreeMap<String, i64>) -> Job {
    let pair = |(n, v): (&String, &i64)| (Name::from(n.as_str()), *v);
    let named = sizes.iter().map(pair).collect();
    let (none, dtype) = (BTreeMap::new(), DType::Bf16);
    random_job(&mixer.program, &named, &none, Pattern::Zeros, dtype, 1).unwrap()
}

#[test]
fn products_of_warpgroups_agree_with_tall_tiles() {
    let mixers = mixers();
    let all = mixers
        .par_iter()
        .enumerate()
        .flat_map_iter(|(turn, mixer)| {
            let sizes = own_sizes(mixer, &LONG);
            let has_others = sizes.len() != mixer.program.dims.len();
            let mut forms = if has_others {
                vec![]
            } else {
                warpgroup_forms(mixer, &sizes, turn)
            };
            // One of them, another one for the next mixer of the kind.
            let chosen =
                (!forms.is_empty()).then(|| forms.swap_remove((turn + turn / 4) % forms.len()));
            let check = move |(form, choices): (Form, Choices)| {
                let options = VerifyOptions {
                    sizes: sizes.clone(),
                    form: Some(form.name.clone()),
                    choices,
                    patterns: vec![[Pattern::Large, Pattern::Edges][turn / 4 % 2]],
                    ..options(Target::Gpu(GpuTarget::Sm90a), &[DType::Bf16], 0)
                };
                (form.name, run(mixer, &options))
            };
            chosen.map(check)
        });
    let (names, all): (BTreeSet<String>, Vec<Checked>) =
        all.collect::<Vec<_>>().into_iter().unzip();
    println!("{} forms with products of warpgroups", all.len());
    assert_none(&failures(&all));
    for form in ["online", "split-key", "two-pass", "chunkwise", "quadratic"] {
        assert!(
            names.contains(form),
            "no {form} form has products of warpgroups: {names:?}"
        );
    }
}

/// Tiles of 128 rows for four warps, which are chosen for grids that are too large to simulate.
#[test]
fn warps_with_32_rows_agree() {
    let mixers = mixers();
    let all = mixers.par_iter().enumerate().filter_map(|(turn, mixer)| {
        let sizes = own_sizes(mixer, &LONG);
        let gpu = [GpuTarget::Sm80, GpuTarget::Sm100a][turn % 2];
        let dtype = [DType::Bf16, DType::F16][turn / 3 % 2];
        let knobs = [
            ("rows", 128),
            ("warps", 4),
            ("stream", [32, 64][turn / 4 % 2]),
        ];
        let choices = Choices::knobs(knobs.map(|(n, v)| (n.to_owned(), v)).into());
        let forms = mixer.forms(&Sizes::new(), &Target::Gpu(gpu));
        let name = ["online", "two-pass"][turn / 2 % 2];
        let form = forms.iter().find(|f| f.name == name)?;
        if sizes.len() != mixer.program.dims.len() || !streams(mixer, form, &sizes, gpu, &choices) {
            return None;
        }
        let options = VerifyOptions {
            sizes,
            form: Some(name.to_owned()),
            choices,
            patterns: vec![[Pattern::Large, Pattern::Edges][turn / 8 % 2]],
            ..options(Target::Gpu(gpu), &[dtype], 0)
        };
        Some(run(mixer, &options))
    });
    let all: Vec<Checked> = all.collect();
    assert!(all.len() >= 12, "only {} mixers have such tiles", all.len());
    assert_none(&failures(&all));
}

/// Whether a form follows the template that has such tiles, and they fit.
fn streams(
    mixer: &Mixer,
    form: &Form,
    sizes: &BTreeMap<String, i64>,
    gpu: GpuTarget,
    choices: &Choices,
) -> bool {
    let fitted = gpu::fit(form, &zeros(mixer, sizes), gpu, choices);
    fitted.is_ok_and(|f| f.schedule.template == "streaming")
}
