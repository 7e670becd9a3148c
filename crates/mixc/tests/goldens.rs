//! Reference vectors of published implementations, through every stage that can compute them.
//! Which file belongs to which definition is data: `tests/goldens/cases.toml`.

use mixc::{
    Binding, Choices, Direction, Form, Job, Mixer, RunOptions, Target, compare_run, eval_rounded,
    run, work,
};
use mixc_ir::DType;
use mixc_tensor::{Bundle, Tensor, compare};
use rayon::prelude::*;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Cases {
    group: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    mixer: String,
    files: Vec<String>,
    outputs: Vec<String>,
    #[serde(default)]
    layout: BTreeMap<String, String>,
    #[serde(default)]
    rename: BTreeMap<String, String>,
    #[serde(default)]
    set: BTreeMap<String, f64>,
}

impl Group {
    fn binding(&self, mixer: &Mixer) -> Binding {
        let program = &mixer.program;
        let letters = |text: &String| text.split(',').map(str::to_owned).collect();
        // A group names what any of its files has; definitions decide what there is.
        let known = |name: &str| {
            program.tensor(name).is_some()
                || program.scalar(name).is_some()
                || program.outputs.iter().any(|o| &*o.name == name)
        };
        for name in self.rename.values() {
            assert!(known(name), "{} has no '{name}'", self.mixer);
        }
        Binding {
            renames: self
                .rename
                .iter()
                .map(|(file, name)| (file.clone(), name.clone()))
                .collect(),
            layouts: self
                .layout
                .iter()
                .map(|(name, axes)| (name.clone(), letters(axes)))
                .collect(),
            sets: self.set.clone(),
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/goldens")
}

fn cases() -> Cases {
    let text = std::fs::read_to_string(folder().join("cases.toml")).unwrap();
    toml::from_str(&text).unwrap()
}

/// Which forms of a mixer are run.
#[derive(Clone, Copy)]
enum Forms {
    Plain,
    All,
    /// The one that is chosen.
    Chosen,
    /// Every form in some file of the mixer, and in every file some form.
    Spread,
    /// One, another one in each file.
    One,
}

/// How cases are run.
#[derive(Clone, Copy)]
struct Way<'a> {
    target: &'a Target,
    dtype: Option<DType>,
    forms: Forms,
    /// For bf16 and f16 on top of twice the error of naive arithmetic in that type.
    tolerance: f64,
}

/// Points that the simulator visits in seconds, whatever the form.
const MOST_WORK: f64 = 2e7;

/// Runs every case and returns what is wrong.
fn failures(way: Way) -> Vec<String> {
    let cases = cases();
    let all = cases
        .group
        .iter()
        .flat_map(|g| (0..g.files.len()).map(move |turn| (g, turn)));
    let all: Vec<(&Group, usize)> = all.collect();
    all.par_iter()
        .flat_map_iter(|(group, turn)| failures_of(group, *turn, way))
        .collect()
}

/// Of the file of a group that has its turn.
fn failures_of(group: &Group, turn: usize, way: Way) -> Vec<String> {
    let mut failures = vec![];
    let name = &group.files[turn];
    let mixer = Mixer::load(&group.mixer).unwrap();
    let binding = group.binding(&mixer);
    let file = Bundle::read(&folder().join(format!("{name}.safetensors"))).unwrap();
    let inputs = binding.inputs(&mixer.program, &file);
    let job = match inputs.and_then(|i| Job::new(&mixer.program, i, way.dtype)) {
        Ok(job) => job,
        Err(e) => return vec![format!("{name}: {e}")],
    };
    let naive = match way.dtype {
        Some(dtype @ (DType::Bf16 | DType::F16)) => {
            eval_rounded(&mixer.program, &job, dtype).unwrap()
        }
        _ => BTreeMap::new(),
    };
    let forms = mixer.forms(&job.sizes, way.target);
    let slow = matches!(way.target, Target::Gpu(_)) && work(&mixer.program, &job.sizes) > MOST_WORK;
    for form in wanted(&forms, way.forms, turn, group.files.len()) {
        // As written, nothing is put together, and the simulator would take minutes.
        if slow && form.as_deref() == Some("plain") {
            continue;
        }
        let options = RunOptions {
            target: way.target.clone(),
            form: form.clone(),
            dtype: way.dtype,
            direction: Direction::Forward,
            binding: binding.clone(),
            choices: Choices::default(),
        };
        let place = format!(
            "{} on {name}, form {}, {}",
            group.mixer,
            form.as_deref().unwrap_or("as chosen"),
            way.target
        );
        let result = match run(&mixer, &file, &options) {
            Ok(result) => result,
            Err(mixc::Error::Schedule(e @ mixc::ScheduleError::Unsupported { .. })) => {
                println!("{place}: not scheduled: {e}");
                continue;
            }
            Err(e) => {
                failures.push(format!("{place}: {e}"));
                continue;
            }
        };
        let limit = |name: &str| {
            let exact = binding.reference(&mixer.program, &file, name).unwrap();
            let rounded = naive
                .get(name)
                .zip(exact.as_ref())
                .and_then(|(array, exact)| {
                    let tensor = Tensor::from_f64(DType::F64, &array.shape, &array.data).unwrap();
                    compare(&tensor, exact)
                });
            way.tolerance + 2.0 * rounded.map_or(0.0, |c| c.rel_err)
        };
        let reports = match compare_run(&mixer, &result, &file, &binding, None) {
            Ok(reports) => reports,
            Err(e) => return vec![format!("{place}: {e}")],
        };
        for output in &group.outputs {
            let report = reports.iter().find(|r| r.name == *output);
            match report.and_then(|r| r.rel_err) {
                Some(error) if error <= limit(output) => {}
                Some(error) => failures.push(format!(
                    "{place}: '{output}' is off by {error:.2e}, {:.2e} is allowed",
                    limit(output)
                )),
                None => failures.push(format!("{place}: '{output}' was not compared: {report:?}")),
            }
        }
    }
    failures
}

/// Names of forms to run with one of so many files; None is the form that is chosen.
fn wanted(forms: &[Form], which: Forms, turn: usize, files: usize) -> Vec<Option<String>> {
    let name = |f: &Form| Some(f.name.clone());
    match which {
        Forms::Plain => vec![name(&forms[0])],
        Forms::All => forms.iter().map(name).collect(),
        Forms::Chosen => vec![None],
        Forms::One => vec![name(&forms[turn % forms.len()])],
        Forms::Spread => {
            let own = |n: &usize| n % files == turn || *n == turn % forms.len();
            let turns = (0..forms.len()).filter(own);
            turns.map(|n| name(&forms[n])).collect()
        }
    }
}

fn assert_none(failures: Vec<String>) {
    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn definitions_mean_what_the_references_compute() {
    assert_none(failures(Way {
        target: &Target::Interp,
        dtype: None,
        forms: Forms::Plain,
        tolerance: 1e-10,
    }));
}

#[test]
fn a_mixer_lists_a_file_once_and_the_file_exists() {
    let mut seen = BTreeSet::new();
    for (mixer, name) in cases()
        .group
        .iter()
        .flat_map(|g| g.files.iter().map(|f| (&g.mixer, f)))
    {
        assert!(
            seen.insert((mixer.clone(), name.clone())),
            "{mixer} lists {name} twice"
        );
        assert!(
            folder().join(format!("{name}.safetensors")).is_file(),
            "{name} does not exist"
        );
    }
}

#[test]
fn every_form_compiles_to_kernels_that_agree() {
    assert_none(failures(Way {
        target: &Target::Cpu,
        dtype: None,
        forms: Forms::All,
        tolerance: 1e-5,
    }));
}

#[test]
fn every_form_is_scheduled_as_tiles_that_agree() {
    assert_none(failures(Way {
        target: &Target::Tile,
        dtype: None,
        forms: Forms::All,
        tolerance: 1e-5,
    }));
}

/// PTX on a GPU if there is one, else in the simulator.
fn assert_gpu(target: &str, dtype: Option<DType>, forms: Forms) {
    assert_none(failures(Way {
        target: &target.parse().unwrap(),
        dtype,
        forms,
        tolerance: 1e-5,
    }));
}

#[test]
fn every_form_as_ptx_agrees_in_f32() {
    assert_gpu("sm_80", None, Forms::Spread);
    assert_gpu("sm_90a", None, Forms::One);
}

#[test]
fn ptx_is_as_good_as_naive_arithmetic_in_bf16() {
    assert_gpu("sm_80", Some(DType::Bf16), Forms::One);
    assert_gpu("sm_90a", Some(DType::Bf16), Forms::Chosen);
}
