//! Every form of every shipped mixer computes what its definition says.

mod common;

use common::{Random, difference};
use mixc_interp::{Array, Inputs};
use mixc_ir::{Kind, Name, Program};
use mixc_rewrite::{Options, derive};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn mix_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            mix_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "mix") {
            found.push(path);
        }
    }
}

fn programs() -> Vec<Program> {
    let mut files = vec![];
    mix_files(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ir"),
        &mut files,
    );
    files.sort();
    let compile = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        mixc_lang::compile(&mixc_text::Source::new(path.display().to_string(), text))
            .unwrap_or_default()
    };
    files.into_iter().flat_map(compile).collect()
}

/// Small sizes; sequences longer than several chunks, with a ragged end.
fn sizes(program: &Program, time: &[Name]) -> BTreeMap<Name, i64> {
    let size = |d: &Name| if time.contains(d) { 11 } else { 2 };
    let mut sizes: BTreeMap<Name, i64> =
        program.dims.iter().map(|d| (d.clone(), size(d))).collect();
    for (symbol, value) in [
        ("C", 4),
        ("C2", 2),
        ("S", 3),
        ("C_", 4),
        ("C2_", 2),
        ("S_", 3),
    ] {
        sizes.entry(symbol.into()).or_insert(value);
    }
    sizes
}

fn inputs(program: &Program, sizes: BTreeMap<Name, i64>) -> Inputs {
    let mut random = Random::new(11);
    let mut inputs = Inputs {
        sizes,
        ..Inputs::default()
    };
    for scalar in &program.scalars {
        if scalar.default.is_none() {
            let value = match scalar.kind {
                Kind::Real => random.within(scalar.range, 1.0),
                _ => 2.0,
            };
            inputs.scalars.insert(scalar.name.clone(), value);
            inputs.sizes.insert(scalar.name.clone(), value as i64);
        }
    }
    for tensor in &program.tensors {
        let shape: Vec<usize> = tensor
            .shape
            .iter()
            .map(|ix| ix.eval_sizes(&inputs.sizes).unwrap_or(2) as usize)
            .collect();
        let count: usize = shape.iter().product();
        let mut value = || match tensor.kind {
            Kind::Real => random.within(tensor.range, 1.0),
            _ => random.below(2) as f64,
        };
        let data = (0..count).map(|_| value()).collect();
        inputs
            .tensors
            .insert(tensor.name.clone(), Array { shape, data });
    }
    inputs.sizes.retain(|name, _| !program.dims.contains(name));
    inputs
}

#[test]
fn every_form_of_every_shipped_mixer_equals_its_definition() {
    let (mut compared, mut skipped, mut wrong) = (0, vec![], vec![]);
    for program in programs() {
        let derived = derive(&program, &Options::default());
        let time: Vec<Name> = program
            .dims
            .iter()
            .filter(|d| {
                let is_split = |f: &mixc_rewrite::Form| {
                    f.program
                        .splits
                        .iter()
                        .any(|s| f.program.axes[&s.axis] == mixc_ir::Ix::Dim((*d).clone()))
                };
                derived.forms.iter().any(is_split)
            })
            .cloned()
            .collect();
        let inputs = inputs(&program, sizes(&program, &time));
        if let Err(e) = mixc_interp::eval(&program, &inputs) {
            skipped.push(format!("{}: {e}", program.name));
            continue;
        }
        for form in &derived.forms[1..] {
            mixc_ir::verify(&form.program)
                .unwrap_or_else(|e| panic!("{}, {}: {e:?}", program.name, form.name));
            let error = difference(&program, &form.program, &inputs);
            compared += 1;
            if error > 1e-10 || error.is_nan() {
                wrong.push(format!("{}, {}: {error:e}", program.name, form.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        compared > 100,
        "{compared}; not run:\n{}",
        skipped.join("\n")
    );
    println!("{compared} forms; not run:\n{}", skipped.join("\n"));
}
