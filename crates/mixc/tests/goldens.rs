//! Reference vectors of published implementations, through every stage that can compute them.
//! Which file belongs to which definition is data: `tests/goldens/cases.toml`.

use mixc::{Binding, Choices, Direction, Mixer, RunOptions, Target, compare_run, run};
use mixc_tensor::Bundle;
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

/// Runs every case and returns what is wrong: the plain form alone, or all forms.
fn failures(target: &Target, tolerance: f64, all_forms: bool) -> Vec<String> {
    let cases = cases();
    let all = cases
        .group
        .iter()
        .flat_map(|g| g.files.iter().map(move |file| (g, file)));
    let all: Vec<(&Group, &String)> = all.collect();
    all.par_iter()
        .flat_map_iter(|(group, file)| failures_of(group, file, target, tolerance, all_forms))
        .collect()
}

fn failures_of(
    group: &Group,
    name: &str,
    target: &Target,
    tolerance: f64,
    all_forms: bool,
) -> Vec<String> {
    let mut failures = vec![];
    let mixer = Mixer::load(&group.mixer).unwrap();
    let binding = group.binding(&mixer);
    let file = Bundle::read(&folder().join(format!("{name}.safetensors"))).unwrap();
    let sizes = match sizes(&mixer, &binding, &file) {
        Ok(sizes) => sizes,
        Err(e) => return vec![format!("{name}: {e}")],
    };
    let forms = mixer.forms(&sizes, target);
    for form in if all_forms { &forms[..] } else { &forms[..1] } {
        let options = RunOptions {
            target: target.clone(),
            form: Some(form.name.clone()),
            dtype: None,
            direction: Direction::Forward,
            binding: binding.clone(),
            choices: Choices::default(),
        };
        let place = format!("{} on {name}, form {}", group.mixer, form.name);
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
        let reports = match compare_run(&mixer, &result, &file, &binding, Some(tolerance)) {
            Ok(reports) => reports,
            Err(e) => return vec![format!("{place}: {e}")],
        };
        for output in &group.outputs {
            let report = reports.iter().find(|r| r.name == *output);
            match report.and_then(|r| r.rel_err) {
                Some(error) if error <= tolerance => {}
                Some(error) => failures.push(format!("{place}: '{output}' is off by {error:.2e}")),
                None => failures.push(format!("{place}: '{output}' was not compared: {report:?}")),
            }
        }
    }
    failures
}

fn sizes(mixer: &Mixer, binding: &Binding, file: &Bundle) -> Result<mixc::Sizes, mixc::Error> {
    let inputs = binding.inputs(&mixer.program, file)?;
    Ok(mixc::Job::new(&mixer.program, inputs, None)?.sizes)
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
    assert_none(failures(&Target::Interp, 1e-10, false));
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
    assert_none(failures(&Target::Cpu, 1e-5, true));
}

#[test]
fn every_form_is_scheduled_as_tiles_that_agree() {
    assert_none(failures(&Target::Tile, 1e-5, true));
}
