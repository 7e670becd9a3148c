//! `mixc run`: a mixer on the tensors of a file.

use super::{print_notes, settings};
use crate::Outcome;
use crate::args::{Format, RunArgs};
use crate::output::{error_text, ms_text, ok_text, print_json, print_table, shape_text};
use crate::sizes::{Layouts, Rename};
use mixc::{Binding, Error, Mixer, OutputReport, RunOptions, RunResult, compare_run};
use mixc_tensor::Bundle;
use serde::Serialize;

#[derive(Serialize)]
struct Report {
    outputs: Vec<OutputReport>,
    target: String,
    form: String,
    time_ms: f64,
    ok: bool,
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
    };
    let result = mixc::run(&mixer, &file, &options)?;
    print_notes(&result.notes);
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
        time_ms: result.outputs.time.as_secs_f64() * 1e3,
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
    println!(
        "form {} on {}, {} ms",
        report.form,
        report.target,
        ms_text(report.time_ms)
    );
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
