//! The command line.

use crate::{Error, Plan, Problems, Row, Table, Tools, spilling, sweep, update};
use clap::Parser;
use mixc::Choices;
use mixc_ir::DType;
use mixc_ptx::Target;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Examines the GPU kernels of the shipped mixers without a GPU: lowers and assembles them, and writes what ptxas
/// and the machine code say, with predicted times.
#[derive(Clone, Debug, Parser)]
#[command(name = "mixc-static", version)]
pub struct Cli {
    /// Only these mixers; all if none is named.
    #[arg(long = "mixer")]
    mixers: Vec<String>,
    /// Only these forms.
    #[arg(long = "form")]
    forms: Vec<String>,
    /// Only these architectures, e.g. sm_90a.
    #[arg(long = "target")]
    targets: Vec<Target>,
    /// Only these element types: bf16, f16, f32.
    #[arg(long = "dtype", value_parser = dtype)]
    dtypes: Vec<DType>,
    /// Knobs that are not left to the compiler: NAME=VALUE. For a look at single kernels: the table has the others.
    #[arg(long = "knob", value_parser = knob, conflicts_with = "out")]
    knobs: Vec<(String, i64)>,
    /// Only the first shape of each mixer.
    #[arg(long)]
    first_shape: bool,
    /// The file with the sizes.
    #[arg(long, default_value = "benches/static.toml")]
    shapes: PathBuf,
    /// The folder with static.jsonl and static.md, which are brought up to date: kernels that are there already are
    /// not assembled again, and rows that were not asked for stay. Without it a line for each kernel is printed.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Assemble every kernel, whatever the table in the folder knows.
    #[arg(long, requires = "out")]
    fresh: bool,
    /// Only say how many kernels would have to be assembled.
    #[arg(long)]
    dry_run: bool,
}

fn dtype(text: &str) -> Result<DType, String> {
    let all = [DType::F32, DType::Bf16, DType::F16];
    let found = all.into_iter().find(|d| d.name() == text);
    found.ok_or_else(|| "expected f32, bf16 or f16".to_owned())
}

fn knob(text: &str) -> Result<(String, i64), String> {
    let parsed = text.split_once('=');
    let parsed = parsed.and_then(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
    parsed.ok_or_else(|| "expected NAME=VALUE".to_owned())
}

/// Does what the command line says.
///
/// # Errors
/// A missing tool, a wrong option, a file that cannot be written.
pub fn run(cli: &Cli) -> Result<(), Error> {
    let tools = Tools::find()?;
    let problems = Problems::read(&cli.shapes)?;
    let plan = Plan {
        mixers: cli.mixers.iter().cloned().collect(),
        forms: cli.forms.iter().cloned().collect(),
        targets: cli.targets.clone(),
        dtypes: cli.dtypes.clone(),
        first_shape: cli.first_shape,
        only_lowering: cli.dry_run,
        choices: Choices::knobs(cli.knobs.iter().cloned().collect()),
    };
    let say = |text: &str| eprintln!("{text}");
    if cli.dry_run {
        return dry_run(cli, &tools, &problems, &plan);
    }
    let (rows, timing) = match &cli.out {
        Some(folder) => update(folder, &tools, &problems, &plan, cli.fresh, &say)?,
        None => {
            let (rows, timing) = sweep(&tools, &problems, &plan, &Table::default(), &|_| ())?;
            rows.iter().for_each(|row| println!("{}", line(row)));
            (rows, timing)
        }
    };
    for row in spilling(&rows, &problems.spills) {
        say(&format!("spills and is not accepted: {}", line(row)));
    }
    let failed = rows.iter().filter(|r| r.error.is_some()).count();
    eprintln!(
        "{} rows, {failed} with errors, {} known before, {} texts assembled in {:.0?}: translation {:.0?} each, ptxas \
         {:.0?} each",
        rows.len(),
        timing.known,
        timing.texts,
        timing.wall,
        timing.translating / timing.texts.max(1),
        timing.assembling / timing.texts.max(1),
    );
    Ok(())
}

/// How much there is to do.
fn dry_run(cli: &Cli, tools: &Tools, problems: &Problems, plan: &Plan) -> Result<(), Error> {
    let known = match &cli.out {
        Some(folder) if !cli.fresh => Table::read(&folder.join("static.jsonl"))?,
        _ => Table::default(),
    };
    let (rows, _) = sweep(tools, problems, plan, &known, &|_| ())?;
    let failed = rows.iter().filter(|r| r.error.is_some());
    failed.for_each(|row| println!("{}", line(row)));
    let open = rows
        .iter()
        .filter(|r| r.machine.is_none() && r.error.is_none());
    let hashes: Vec<&String> = open.map(|r| &r.hash).collect();
    let texts: BTreeSet<&String> = hashes.iter().copied().collect();
    println!(
        "{} rows, {} kernels to assemble ({} different texts)",
        rows.len(),
        hashes.len(),
        texts.len()
    );
    Ok(())
}

fn line(row: &Row) -> String {
    let name = format!(
        "{} {} {} {} {} {} {}",
        row.mixer, row.form, row.shape, row.target, row.dtype, row.index, row.template
    );
    let Some(m) = &row.machine else {
        let error = row.error.as_deref().unwrap_or("");
        return format!("{name}: {}", error.lines().next().unwrap_or(""));
    };
    let mut text = format!(
        "{name}: {} threads, {} registers, {} bytes shared, {} stages, spills {}/{}, stack {}, {} blocks ({})",
        m.threads,
        m.registers,
        m.shared,
        m.stages,
        m.spill_stores,
        m.spill_loads,
        m.stack,
        m.blocks,
        m.bound
    );
    if let Some(hot) = &m.hot {
        let classes = hot.classes.iter().map(|(c, n)| format!("{c} {n}"));
        let classes: Vec<String> = classes.collect();
        text += &format!("\n    loop {}: {}", hot.instructions, classes.join(", "));
        if let (Some(ideal), Some(ratio)) = (hot.ideal, hot.ratio) {
            text += &format!("\n    ideal {:.0}, ratio {ratio}", ideal.total());
        }
        if let Some(p) = &hot.prediction {
            text += &format!(
                "\n    predicted cycles a turn: {} overlapped ({}), {} in turns",
                p.overlapped, p.bound, p.in_turns
            );
        }
    }
    if let Some(share) = &m.share {
        text += &format!(
            "\n    predicted share of the peak: {:.1}% overlapped, {:.1}% in turns",
            100.0 * share.overlapped,
            100.0 * share.in_turns
        );
    }
    text
}
