//! `mixc verify`: every form against the f64 interpreter.

use super::{choices, settings};
use crate::Outcome;
use crate::args::{Format, VerifyArgs};
use crate::output::{error_text, ok_text, print_json, print_table};
use indicatif::{ProgressBar, ProgressStyle};
use mixc::{Case, Error, Mixer, VerifyOptions, VerifyReport};
use mixc_tensor::Pattern;
use std::collections::{BTreeMap, BTreeSet};

pub fn run(args: &VerifyArgs, format: Format) -> Result<Outcome, Error> {
    let mixer = Mixer::load(&args.mixer)?;
    let options = VerifyOptions {
        target: args.target.clone(),
        sizes: args.shape.clone().unwrap_or_default().0,
        form: args.form.clone(),
        dtypes: args.dtype.clone(),
        sets: settings(&args.sets),
        seed: args.seed,
        draws: args.draws,
        patterns: Pattern::ALL.to_vec(),
        direction: args.direction,
        choices: choices(&args.choices),
    };
    // Drawn on standard error, and only where that is a terminal.
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} problems {elapsed}") {
        bar.set_style(style);
    }
    let report = mixc::verify(&mixer, &options, &mut |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    match format {
        Format::Json => print_json(&report),
        Format::Text => print_text(&report),
    }
    Ok(if report.ok {
        Outcome::Done
    } else {
        Outcome::Failed
    })
}

/// Where it ran, one line for each form and element type, then every failure.
fn print_text(report: &VerifyReport) {
    if report.simulated {
        println!("{}", mixc::gpu::SIMULATED);
    }
    let mut groups: BTreeMap<(&str, &str), Vec<&Case>> = BTreeMap::new();
    for case in &report.cases {
        groups
            .entry((&case.form, &case.dtype))
            .or_default()
            .push(case);
    }
    let row = |((form, dtype), cases): (&(&str, &str), &Vec<&Case>)| {
        let points: BTreeSet<_> = cases.iter().map(|c| &c.params).collect();
        let share = |c: &Case| c.rel_err / c.limit;
        let worst = cases.iter().max_by(|a, b| share(a).total_cmp(&share(b)));
        vec![
            (*form).to_owned(),
            (*dtype).to_owned(),
            cases.len().to_string(),
            points.len().to_string(),
            error_text(worst.map(|c| c.rel_err)),
            error_text(worst.map(|c| c.limit)),
            ok_text(cases.iter().all(|c| c.ok)),
        ]
    };
    let header = [
        "form",
        "dtype",
        "cases",
        "params",
        "worst rel err",
        "limit",
        "",
    ];
    print_table(&header, &[2, 3, 4, 5], groups.iter().map(row).collect());
    for case in report.cases.iter().filter(|c| !c.ok) {
        let why = case.error.as_deref().unwrap_or("wrong");
        println!(
            "FAIL {} {} {} with {} inputs, params {}: {why}",
            case.form,
            case.dtype,
            sizes_text(&case.shape),
            case.inputs,
            sizes_text(&case.params)
        );
    }
    if report.undefined > 0 {
        eprintln!(
            "note: {} problems have a reference that is not a number or too large for f32; nothing was compared",
            report.undefined
        );
    }
    super::print_notes(
        &report
            .skipped
            .iter()
            .map(|s| format!("not checked: {s}"))
            .collect::<Vec<_>>(),
    );
}

fn sizes_text(sizes: &BTreeMap<String, i64>) -> String {
    if sizes.is_empty() {
        return "-".to_owned();
    }
    sizes
        .iter()
        .map(|(name, n)| format!("{name}={n}"))
        .collect::<Vec<_>>()
        .join(",")
}
