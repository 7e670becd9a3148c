//! `mixc explain`: forms, rules, costs, kernels; or one stage of the pipeline as text.

use super::{choices, print_notes, settings};
use crate::Outcome;
use crate::args::{ExplainArgs, Format, Stage};
use crate::output::{ms_text, print_json, print_table};
use mixc::{Error, ExplainReport, FormLine, Mixer, Target};
use std::collections::BTreeMap;

pub fn run(args: &ExplainArgs, format: Format) -> Result<Outcome, Error> {
    let mixer = Mixer::load(&args.mixer)?;
    mixer.check_direction(args.direction)?;
    if let Some(stage) = args.emit {
        print!("{}", emit(&mixer, args, stage)?);
        return Ok(Outcome::Done);
    }
    let sizes = args.shape.clone().unwrap_or_default().0;
    let (sets, form) = (settings(&args.sets), args.form.as_deref());
    let peaks = Some(mixc::measure_peaks());
    let report = mixc::explain(
        &mixer,
        &sizes,
        &sets,
        &args.target,
        args.dtype,
        form,
        &choices(&args.choices),
        peaks,
    )?;
    match format {
        Format::Json => print_json(&report),
        Format::Text => print_text(&mixer, &report),
    }
    Ok(Outcome::Done)
}

fn emit(mixer: &Mixer, args: &ExplainArgs, stage: Stage) -> Result<String, Error> {
    let sizes = args.shape.clone().unwrap_or_default().0;
    let (sets, form) = (settings(&args.sets), args.form.as_deref());
    let choices = choices(&args.choices);
    match stage {
        Stage::Core => Ok(mixer.program.to_string()),
        Stage::Forms => {
            let job = mixc::example_job(mixer, &sizes, &sets, args.dtype)?;
            let forms = mixer.forms(&job.sizes, &args.target);
            let shown = forms
                .iter()
                .filter(|f| form.is_none_or(|name| f.name == name));
            Ok(shown
                .map(|f| format!("// {}: {}\n{}\n", f.name, f.rules.join(", "), f.program))
                .collect())
        }
        Stage::Tile => {
            let executable = mixc::example_executable(
                mixer,
                &sizes,
                &sets,
                &Target::Tile,
                args.dtype,
                form,
                &choices,
            )?;
            let kernels = executable
                .schedule()
                .map(|s| s.kernels.as_slice())
                .unwrap_or_default();
            Ok(kernels.iter().map(|k| format!("{k}\n")).collect())
        }
        Stage::Clif | Stage::Asm => {
            let executable = mixc::example_executable(
                mixer,
                &sizes,
                &sets,
                &Target::Cpu,
                args.dtype,
                form,
                &choices,
            )?;
            let text = |k: &mixc_cpu::Compiled| {
                if stage == Stage::Clif {
                    k.clif()
                } else {
                    k.disassembly()
                }
            };
            Ok(executable
                .machine_code()
                .iter()
                .map(|k| format!("; {}\n{}\n", k.kernel().name, text(k)))
                .collect())
        }
        Stage::Mlir | Stage::Ptx => {
            let Target::Gpu(_) = &args.target else {
                return Err(Error::Usage(format!(
                    "--emit mlir and --emit ptx need a GPU target, e.g. --target sm_90a, not {}",
                    args.target
                )));
            };
            let tile = mixc::example_executable(
                mixer,
                &sizes,
                &sets,
                &args.target,
                args.dtype,
                form,
                &choices,
            )?;
            let text = |k: &mixc::gpu::GpuKernel| {
                if stage == Stage::Mlir {
                    k.lowered.mlir.clone()
                } else {
                    k.ptx.to_string()
                }
            };
            Ok(tile.gpu_kernels().iter().map(text).collect())
        }
    }
}

fn print_text(mixer: &Mixer, report: &ExplainReport) {
    println!("{}", mixer.program.name);
    for line in mixer.program.doc.lines() {
        println!("{}", format!("  {}", line.trim()).trim_end());
    }
    let row = |f: &FormLine| {
        vec![
            match (f.chosen, f.kernels) {
                (true, _) => "*",
                (false, true) => "",
                (false, false) => "-",
            }
            .to_owned(),
            f.name.clone(),
            format!("{:.3e}", f.flops),
            format!("{:.3e}", f.bytes),
            format!("{:.0}", f.depth),
            ms_text(f.predicted_ms),
            f.rules.join(", "),
        ]
    };
    let header = [
        "",
        "form",
        "flop",
        "bytes",
        "depth",
        "predicted ms",
        "rules",
    ];
    print_table(
        &header,
        &[2, 3, 4, 5],
        report.forms.iter().map(row).collect(),
    );
    for kernel in &report.kernels {
        println!(
            "kernel for {}: {}, {}",
            kernel.target,
            kernel.template,
            params_text(&kernel.params)
        );
    }
    if let Some(bound) = report.roofline_ms {
        println!("roofline bound: {} ms", ms_text(bound));
    }
    let search = &report.search;
    println!(
        "search: {} classes, {} nodes, {} iterations, {} ms, {}",
        search.classes,
        search.nodes,
        search.iterations,
        ms_text(search.ms),
        search.stopped
    );
    print_notes(&report.notes);
}

fn params_text(params: &BTreeMap<String, i64>) -> String {
    params
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join(", ")
}
