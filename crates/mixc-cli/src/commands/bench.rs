//! `mixc bench`: all forms side by side, over one size or a sweep.

use super::{choices, settings};
use crate::Outcome;
use crate::args::{BenchArgs, Format};
use crate::output::{ms_text, print_json, print_table};
use indicatif::ProgressBar;
use mixc::{BenchOptions, BenchReport, BenchRow, Error, Mixer, Series};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

pub fn run(args: &BenchArgs, format: Format) -> Result<Outcome, Error> {
    let mixer = Mixer::load(&args.mixer)?;
    let threads = args.threads.unwrap_or_else(mixc::threads).max(1);
    let report = mixc::with_threads(threads, || measure(&mixer, args, threads))?;
    match format {
        Format::Json => print_json(&report),
        Format::Text => print_text(&report, args),
    }
    if let Some(path) = &args.append {
        append(path, &mixer, &report, threads)?;
    }
    if let Some(path) = &args.plot {
        let x = args.sweep.as_ref().map_or("", |s| s.size.as_str());
        let title = format!("{}, {}", mixer.program.name, args.dtype.name());
        mixc::plot_svg(path, &title, x, "milliseconds", &series(&report, x))?;
    }
    Ok(if report.wrong.is_empty() {
        Outcome::Done
    } else {
        Outcome::Failed
    })
}

/// A row with what one needs to know to compare it with another one.
#[derive(Serialize)]
struct Record<'a> {
    mixer: &'a str,
    #[serde(flatten)]
    row: &'a BenchRow,
    threads: usize,
    machine: &'a str,
    version: &'static str,
    date: &'a str,
}

fn append(path: &Path, mixer: &Mixer, report: &BenchReport, threads: usize) -> Result<(), Error> {
    let failed = |reason: String| Error::Write {
        path: path.into(),
        reason,
    };
    let (machine, date) = (mixc::cpu_name(), format!("{:.0}", jiff::Timestamp::now()));
    let mut lines = String::new();
    for row in &report.rows {
        let version = env!("CARGO_PKG_VERSION");
        let record = Record {
            mixer: &mixer.program.name,
            row,
            threads,
            machine: &machine,
            version,
            date: &date,
        };
        lines += &serde_json::to_string(&record).map_err(|e| failed(e.to_string()))?;
        lines.push('\n');
    }
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path);
    file.and_then(|mut f| f.write_all(lines.as_bytes()))
        .map_err(|e| failed(e.to_string()))
}

/// One report for all sizes of the sweep.
fn measure(mixer: &Mixer, args: &BenchArgs, threads: usize) -> Result<BenchReport, Error> {
    let spinner = ProgressBar::new_spinner();
    let peak = mixc::measure_fma(threads);
    let mut report = BenchReport::default();
    for sizes in shapes(args) {
        let options = BenchOptions {
            target: args.target.clone(),
            dtype: args.dtype,
            form: args.form.clone(),
            sets: settings(&args.sets),
            samples: args.samples,
            direction: args.direction,
            choices: choices(&args.choices),
            peak_gflops: Some(peak),
            sizes: sizes.clone(),
        };
        let part = mixc::bench(mixer, &options, &mut |form| {
            spinner.set_message(format!("{form} {sizes:?}"));
            spinner.tick();
        })?;
        report.rows.extend(part.rows);
        report.skipped.extend(part.skipped);
        report.wrong.extend(part.wrong);
    }
    spinner.finish_and_clear();
    report.skipped.sort();
    report.skipped.dedup();
    Ok(report)
}

fn shapes(args: &BenchArgs) -> Vec<BTreeMap<String, i64>> {
    let Some(sweep) = &args.sweep else {
        return vec![args.shape.0.clone()];
    };
    let with = |value: &i64| {
        let mut sizes = args.shape.0.clone();
        sizes.insert(sweep.size.clone(), *value);
        sizes
    };
    sweep.values.iter().map(with).collect()
}

fn print_text(report: &BenchReport, args: &BenchArgs) {
    let varied = args.sweep.as_ref().map(|s| s.size.as_str());
    let row = |r: &BenchRow| {
        let size = varied
            .and_then(|name| r.shape.get(name))
            .map_or_else(String::new, i64::to_string);
        vec![
            r.form.clone(),
            size,
            ms_text(r.median_ms),
            ms_text(r.spread_ms),
            format!("{:.2}", r.gflops),
            format!("{:.2}", r.gbps),
            r.peak_share
                .map_or_else(|| "-".to_owned(), |p| format!("{:.0}%", p * 100.0)),
        ]
    };
    let header = [
        "form",
        varied.unwrap_or(""),
        "median ms",
        "+-",
        "GFLOP/s",
        "GB/s",
        "of peak",
    ];
    print_table(
        &header,
        &[1, 2, 3, 4, 5, 6],
        report.rows.iter().map(row).collect(),
    );
    super::print_notes(
        &report
            .skipped
            .iter()
            .map(|s| format!("not measured: {s}"))
            .collect::<Vec<_>>(),
    );
}

/// Median times by form over the swept size (or over 1 without a sweep).
fn series(report: &BenchReport, x: &str) -> Vec<Series> {
    let mut all: Vec<Series> = vec![];
    for row in &report.rows {
        let point = (row.shape.get(x).map_or(1.0, |n| *n as f64), row.median_ms);
        match all.iter_mut().find(|s| s.label == row.form) {
            Some(series) => series.points.push(point),
            None => all.push(Series {
                label: row.form.clone(),
                points: vec![point],
            }),
        }
    }
    all
}
