//! `mixc explain`: forms, rules, costs, kernels; or one stage of the pipeline as text.

use super::{choices, print_notes, settings};
use crate::Outcome;
use crate::args::{ExplainArgs, Format, Stage};
use crate::output::{ms_text, print_json, print_table};
use mixc::{Error, ExplainReport, FormLine, GpuLine, Mixer, Target};
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
    // Measuring takes a second; only the CPU needs it.
    let peaks = (args.target == Target::Cpu).then(mixc::measure_peaks);
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
        Stage::Tile if let Ok(target) = gpu_target(&args.target) => {
            let fitted =
                mixc::example_fitted(mixer, &sizes, &sets, target, args.dtype, form, &choices)?;
            let kernels = &fitted.schedule.kernels;
            Ok(kernels.iter().map(|k| format!("{k}\n")).collect())
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
        Stage::Mlir => {
            let target = gpu_target(&args.target)?;
            let fitted =
                mixc::example_fitted(mixer, &sizes, &sets, target, args.dtype, form, &choices)?;
            Ok(fitted
                .kernels
                .iter()
                .map(|k| k.kernel.mlir.as_str())
                .collect())
        }
        Stage::Ptx => {
            gpu_target(&args.target)?;
            let executable = mixc::example_executable(
                mixer,
                &sizes,
                &sets,
                &args.target,
                args.dtype,
                form,
                &choices,
            )?;
            Ok(executable.gpu_kernels().iter().map(|k| &*k.ptx).collect())
        }
    }
}

fn gpu_target(target: &Target) -> Result<mixc::GpuTarget, Error> {
    match target {
        Target::Gpu(gpu) => Ok(*gpu),
        _ => Err(Error::Usage(format!(
            "--emit mlir and --emit ptx need a GPU target, e.g. --target sm_90a, not {target}"
        ))),
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
            "kernel {} for {}: {}, {}",
            kernel.name,
            kernel.target,
            kernel.template,
            params_text(&kernel.params)
        );
        if let Some(gpu) = &kernel.gpu {
            print_gpu(gpu);
        }
    }
    if let Some(card) = &report.card {
        println!("predictions are for {card}; nothing was measured");
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

fn print_gpu(line: &GpuLine) {
    let p = &line.predicted;
    let precision = line
        .precision
        .map_or_else(String::new, |p| format!(", products in {p}"));
    let (blocks, loads) = if line.producer {
        ("grid points in persistent blocks", ", four warps load")
    } else {
        ("blocks", "")
    };
    println!(
        "  launch: {} {blocks} of {} threads{loads}, {} bytes of shared memory, {} tiles in flight{}",
        p.blocks, line.threads, line.shared_bytes, line.stages, precision
    );
    println!(
        "  predicted: {} ms, bound by {} (matrix {}, vector {}, special {}, memory {}, cache {}, latency {} ms; \
         {} a multiprocessor, {} waves, {:.0}% busy)",
        ms_text(p.total_ms),
        p.bound,
        ms_text(p.matrix_ms),
        ms_text(p.vector_ms),
        ms_text(p.special_ms),
        ms_text(p.memory_ms),
        ms_text(p.cache_ms),
        ms_text(p.latency_ms),
        p.blocks_per_sm,
        p.waves,
        p.busy * 100.0
    );
    if let Some(r) = &line.ptxas {
        println!(
            "  ptxas: {} registers, {} bytes spilled, {} read back; {} blocks and {} warps a multiprocessor \
             ({:.0}%), bound by {}",
            r.registers,
            r.spill_stores,
            r.spill_loads,
            r.blocks_per_sm,
            r.warps_per_sm,
            r.occupancy * 100.0,
            r.bound
        );
        r.findings.iter().for_each(|f| println!("  ptxas: {f}"));
    }
    if let Some(s) = &line.simulated {
        let share = |(class, n): (&mixc_sim::Class, &mixc_sim::Issued)| {
            format!(
                "{} {:.0}%",
                class.name(),
                n.warps as f64 / s.warp_instructions.max(1) as f64 * 100.0
            )
        };
        let mut classes: Vec<_> = s.counts.classes.iter().collect();
        classes.sort_by_key(|(_, n)| std::cmp::Reverse(n.warps));
        println!(
            "  simulated with {}: {} warp instructions ({}), {} matrix flop, {} bank conflicts, {:.0}% of the bytes \
             of global sectors used",
            params_text(&s.shape),
            s.warp_instructions,
            classes
                .into_iter()
                .take(6)
                .map(share)
                .collect::<Vec<_>>()
                .join(", "),
            s.matrix_flops,
            s.bank_conflicts,
            s.coalescing * 100.0
        );
        if let Some(mistakes) = &s.mistakes {
            println!("  {mistakes}");
        }
    }
}

fn params_text(params: &BTreeMap<String, i64>) -> String {
    params
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join(", ")
}
