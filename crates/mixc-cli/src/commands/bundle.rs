//! `mixc bundle`: kernels for another machine, and what it measured.

use super::{choices, settings};
use crate::Outcome;
use crate::args::{BundleArgs, Format};
use crate::output::{error_text, print_json, print_table};
use indicatif::ProgressBar;
use mixc::gpu::bundle::{BundleOptions, Forms, add_cases};
use mixc::{Error, Mixer};
use mixc_launch::{Bundle, BundleError, Case, Results, Row, Status};
use serde::Serialize;
use std::path::{Path, PathBuf};

pub fn run(args: &BundleArgs, format: Format) -> Result<Outcome, Error> {
    match (&args.results, &args.output) {
        (Some(results), _) => show(results, format),
        (None, Some(output)) => make(args, output, format),
        (None, None) => Err(Error::usage("-o is missing: where the bundle is written")),
    }
}

/// What was written.
#[derive(Serialize)]
struct Report<'a> {
    path: &'a Path,
    bytes: u64,
    cases: Vec<Listed>,
    notes: Vec<String>,
    /// What to run on the machine with the GPU.
    command: String,
}

#[derive(Serialize)]
struct Listed {
    label: String,
    /// Whether the case carries the outputs that it must give.
    expected: bool,
    /// The case that must be right before this one is timed.
    verified_by: Option<usize>,
    flops: u64,
    bytes: u64,
}

fn make(args: &BundleArgs, output: &PathBuf, format: Format) -> Result<Outcome, Error> {
    let mut bundle = match args.append && output.exists() {
        true => Bundle::read(output).map_err(|e| failed(output, e))?,
        false => Bundle::default(),
    };
    let options = BundleOptions {
        targets: args.target.clone(),
        dtypes: args.dtype.clone(),
        shapes: args.shape.iter().map(|s| s.0.clone()).collect(),
        draws: args.draws,
        forms: match &args.form {
            Some(name) => Forms::Named(name.clone()),
            None if args.all_forms => Forms::All,
            None => Forms::Best,
        },
        sets: settings(&args.sets),
        choices: choices(&args.choices),
        seed: args.seed,
    };
    let mut notes = vec![];
    let spinner = ProgressBar::new_spinner();
    for mixer in &args.mixers {
        let mixer = Mixer::load(mixer)?;
        let added = add_cases(&mut bundle, &mixer, &options, &mut |label| {
            spinner.set_message(label.to_string());
            spinner.tick();
        });
        notes.extend(added?);
    }
    spinner.finish_and_clear();
    bundle.write(output).map_err(|e| failed(output, e))?;
    let size = std::fs::metadata(output).map_err(|source| Error::Read {
        path: output.clone(),
        source,
    })?;
    let report = Report {
        path: output,
        bytes: size.len(),
        cases: bundle.cases.iter().map(listed).collect(),
        notes,
        command: format!("mixc-runner {} --out results.json", output.display()),
    };
    match format {
        Format::Json => print_json(&report),
        Format::Text => print_text(&report),
    }
    Ok(Outcome::Done)
}

fn failed(path: &Path, error: BundleError) -> Error {
    match error {
        BundleError::Write { path, reason } => Error::Write { path, reason },
        BundleError::Read { path, source } => Error::Read { path, source },
        other => Error::usage(match other.to_string() {
            text if text.contains(&*path.to_string_lossy()) => text,
            text => format!("{}: {text}", path.display()),
        }),
    }
}

fn listed(case: &Case) -> Listed {
    Listed {
        label: case.label.to_string(),
        expected: !case.expected.is_empty(),
        verified_by: case.verified_by,
        flops: case.counts.flops,
        bytes: case.counts.bytes,
    }
}

fn print_text(report: &Report) {
    let row = |(at, case): (usize, &Listed)| {
        let by = match (case.expected, case.verified_by) {
            (true, _) => "its outputs".to_owned(),
            (false, Some(by)) => format!("case {by}"),
            (false, None) => "nothing".to_owned(),
        };
        vec![at.to_string(), case.label.clone(), by]
    };
    let rows = report.cases.iter().enumerate().map(row).collect();
    print_table(&["case", "", "verified by"], &[0], rows);
    println!(
        "{}: {} cases, {}",
        report.path.display(),
        report.cases.len(),
        bytes_text(report.bytes)
    );
    println!("on a machine with a GPU: {}", report.command);
    println!("then here: mixc bundle --results results.json");
    super::print_notes(&report.notes);
}

fn bytes_text(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// The table of a run; the outcome is a failure if a case is not right.
fn show(path: &Path, format: Format) -> Result<Outcome, Error> {
    let results = Results::read(path).map_err(|e| Error::usage(e.to_string()))?;
    match format {
        Format::Json => print_json(&results),
        Format::Text => print_results(&results),
    }
    Ok(match results.rows.iter().all(|row| row.ok) {
        true => Outcome::Done,
        false => Outcome::Failed,
    })
}

fn print_results(results: &Results) {
    let device = &results.device;
    let driver = device.driver.as_deref().unwrap_or("unknown");
    println!(
        "{}, compute capability {}, driver {driver}, {}",
        device.name, device.cc, results.date
    );
    let number = |x: Option<f64>, digits: usize| {
        x.map_or_else(|| "-".to_owned(), |x| format!("{x:.digits$}"))
    };
    let row = |r: &Row| {
        let shape: Vec<String> = (r.label.shape.iter())
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        vec![
            r.label.mixer.clone(),
            r.label.form.clone(),
            r.label.target.clone(),
            r.label.dtype.clone(),
            shape.join(","),
            number(r.timing.map(|t| t.median_us), 2),
            number(r.timing.map(|t| t.mad_us), 2),
            number(r.tflops, 1),
            number(r.gbps, 0),
            error_text(r.rel_err),
            status_text(r.status).to_owned(),
        ]
    };
    let header = [
        "mixer",
        "form",
        "target",
        "dtype",
        "shape",
        "median us",
        "+-",
        "TFLOP/s",
        "GB/s",
        "rel err",
        "",
    ];
    let rows = results.rows.iter().map(row).collect();
    print_table(&header, &[5, 6, 7, 8, 9], rows);
    for row in &results.rows {
        if let Some(error) = &row.error {
            println!("{}: {error}", row.label);
        }
    }
    for missing in &results.missing {
        eprintln!(
            "note: {} was not measured: {}",
            missing.name, missing.reason
        );
    }
}

fn status_text(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Wrong => "WRONG",
        Status::Failed => "FAILED",
        Status::Unsupported => "not possible there",
        Status::Unverified => "not verified",
    }
}
