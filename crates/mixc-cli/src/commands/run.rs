//! `mixc run`: a mixer on the tensors of a file.

use super::{choices, print_notes, settings};
use crate::Outcome;
use crate::args::{Format, RunArgs};
use crate::output::{error_text, ms_text, ok_text, print_json, print_table, shape_text};
use crate::sizes::{Layouts, Rename};
use mixc::{Binding, Error, Mixer, OutputReport, RunOptions, RunResult, compare_run};
use mixc_tensor::Bundle;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
struct Report {
    outputs: Vec<OutputReport>,
    target: String,
    form: String,
    params: BTreeMap<String, i64>,
    /// None where a simulator stood in for the target.
    time_ms: Option<f64>,
    simulated: bool,
    ok: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

pub fn run(args: &RunArgs, format: Format) -> Result<Outcome, Error> {
    let mixer = Mixer::load(&args.mixer)?;
    let file = Bundle::read(&args.inputs)?;
    let binding = binding(args);
    let options = RunOptions {
        target: args.target.clone(),
        form: args.form.clone(),
        dtype: args.dtype,
        direction: args.direction,
        binding: binding.clone(),
        choices: choices(&args.choices),
    };
    let mut result = mixc::run(&mixer, &file, &options)?;
    print_notes(&result.notes);
    if result.simulated {
        result.notes.push(mixc::gpu::SIMULATED.to_owned());
    }
    if let Some(path) = &args.output {
        write_outputs(&mixer, &result, &binding, path)?;
    }
    let outputs = match &args.compare {
        None => plain_outputs(&result),
        Some(path) => {
            let references = if *path == args.inputs {
                file
            } else {
                Bundle::read(path)?
            };
            let reports = compare_run(&mixer, &result, &references, &binding, args.tol)?;
            reports.into_iter().filter(keep).collect()
        }
    };
    let report = Report {
        ok: outputs.iter().all(|o| o.ok),
        outputs,
        target: args.target.to_string(),
        form: result.form,
        params: result.params,
        time_ms: result.outputs.time.map(|t| t.as_secs_f64() * 1e3),
        simulated: result.simulated,
        notes: result.notes,
    };
    match format {
        Format::Json => print_json(&report),
        Format::Text => print_text(&report, args.compare.is_some()),
    }
    Ok(if report.ok {
        Outcome::Done
    } else {
        Outcome::Failed
    })
}

fn binding(args: &RunArgs) -> Binding {
    Binding {
        renames: args
            .renames
            .iter()
            .map(|Rename(file, name)| (file.clone(), name.clone()))
            .collect(),
        layouts: args
            .layout
            .iter()
            .flat_map(|Layouts(all)| all.clone())
            .collect(),
        sets: settings(&args.sets),
    }
}

/// Outputs without a reference are named on standard error, not counted as compared.
fn keep(report: &OutputReport) -> bool {
    let compared = report.rel_err.is_some() || !report.ok;
    if !compared {
        eprintln!(
            "note: the output '{}' has no reference; not compared",
            report.name
        );
    }
    compared
}

fn plain_outputs(result: &RunResult) -> Vec<OutputReport> {
    let report = |(name, tensor): (&mixc_ir::Name, &mixc_tensor::Tensor)| OutputReport {
        name: name.to_string(),
        shape: tensor.shape().to_vec(),
        rel_err: None,
        max_abs_err: None,
        ok: true,
        note: None,
    };
    result.outputs.tensors.iter().map(report).collect()
}

fn write_outputs(
    mixer: &Mixer,
    result: &RunResult,
    binding: &Binding,
    path: &std::path::Path,
) -> Result<(), Error> {
    let mut bundle = Bundle::default();
    for (name, tensor) in &result.outputs.tensors {
        bundle.tensors.insert(
            name.to_string(),
            binding.to_file_order(&mixer.program, name, tensor)?,
        );
    }
    bundle
        .metadata
        .insert("mixer".to_owned(), mixer.program.name.clone());
    bundle
        .metadata
        .insert("form".to_owned(), result.form.clone());
    Ok(bundle.write(path)?)
}

fn print_text(report: &Report, compared: bool) {
    let time = report.time_ms.map(|ms| format!("{} ms", ms_text(ms)));
    let time = time.unwrap_or_else(|| mixc::gpu::SIMULATED.to_owned());
    println!("form {} on {}, {time}", report.form, report.target);
    let row = |o: &OutputReport| {
        let mut row = vec![o.name.clone(), shape_text(&o.shape)];
        if compared {
            let verdict = o.note.clone().unwrap_or_else(|| ok_text(o.ok));
            row.extend([error_text(o.rel_err), error_text(o.max_abs_err), verdict]);
        }
        row
    };
    let header: &[&str] = if compared {
        &["output", "shape", "rel err", "max abs err", ""]
    } else {
        &["output", "shape"]
    };
    print_table(header, &[2, 3], report.outputs.iter().map(row).collect());
}
