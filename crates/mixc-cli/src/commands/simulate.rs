//! `mixc simulate`: one launch of any PTX kernel on this CPU, with every check on.

use crate::Outcome;
use crate::args::{Format, SimulateArgs};
use crate::kernel_args::{ArgValue, Fill};
use crate::output::{print_json, print_table, shape_text};
use mixc::Error;
use mixc_ir::{DType, Kind};
use mixc_sim::{
    Arg, BufferId, Counts, EntryInfo, Finding, FindingKind, Memory, Module, Options, SimError,
};
use mixc_tensor::{Bundle, Pattern, Tensor, random_tensor};
use mixc_text::Source;
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
struct Report {
    kernel: String,
    findings: Vec<FindingLine>,
    /// Instructions of the kernel that the simulator does not know; reaching one is a finding too.
    unsupported: Vec<UnsupportedLine>,
    counts: Counts,
    bank_conflicts: u64,
    /// Share of the global sectors' bytes that was asked for.
    coalescing: f64,
    /// What the kernel wrote.
    outputs: Vec<OutputLine>,
    ok: bool,
}

#[derive(Serialize)]
struct FindingLine {
    kind: String,
    message: String,
    /// 1-based line of the PTX text, and what stands there.
    line: u32,
    text: String,
    block: [u32; 3],
    thread: [u32; 3],
    address: Option<u64>,
    object: Option<String>,
    occurrences: u64,
    /// All of this as one line.
    summary: String,
}

#[derive(Serialize)]
struct UnsupportedLine {
    instruction: String,
    line: u32,
}

#[derive(Serialize)]
struct OutputLine {
    name: String,
    dtype: &'static str,
    shape: Vec<usize>,
    /// Whether every byte was written, by the kernel or before.
    complete: bool,
}

/// Memory of one argument.
struct Placed {
    name: String,
    id: BufferId,
    dtype: DType,
    shape: Vec<usize>,
    fill: Option<Fill>,
    before: Vec<u8>,
}

pub fn run(args: &SimulateArgs, format: Format) -> Result<Outcome, Error> {
    let text = std::fs::read_to_string(&args.file).map_err(|source| Error::Read {
        path: args.file.clone(),
        source,
    })?;
    let name = args.file.display().to_string();
    let module = Module::parse(&text)
        .map_err(|found| Error::Definition(Source::new(name, text.as_str()).render(&found)))?;
    let entry = entry(&module, args.entry.as_deref())?;
    let mut memory = Memory::new();
    let (arguments, placed) = bind(args, &mut memory)?;
    let options = Options {
        instruction_limit: args.limit,
        ..Options::default()
    };
    let block = args.block.map(|b| b.0).or(entry.required_threads);
    let block = block.ok_or_else(|| Error::usage("--block: how many threads has a block?"))?;
    let launched = module
        .launch(
            &entry.name,
            args.grid.0,
            block,
            args.shared,
            &arguments,
            &mut memory,
            &options,
        )
        .map_err(|e| misfit(&entry, &e))?;
    let outputs: Vec<&Placed> = placed.iter().filter(|p| is_output(p, &memory)).collect();
    if let Some(path) = &args.output {
        write(path, &outputs, &memory)?;
    }
    let report = Report {
        ok: launched.findings.is_empty(),
        findings: launched.findings.iter().map(finding_line).collect(),
        unsupported: unsupported(&module, &entry.name),
        bank_conflicts: launched.counts.bank_conflicts(),
        coalescing: launched.counts.tally.coalescing(),
        counts: launched.counts,
        outputs: outputs.iter().map(|p| output_line(p, &memory)).collect(),
        kernel: entry.name,
    };
    match format {
        Format::Json => print_json(&report),
        Format::Text => print_text(&report),
    }
    let reached = launched
        .findings
        .iter()
        .find(|f| f.kind == FindingKind::Unsupported);
    match reached {
        Some(f) => Err(Error::Unavailable(format!(
            "line {}: the simulator does not know `{}`",
            f.line, f.text
        ))),
        None if report.ok => Ok(Outcome::Done),
        None => Ok(Outcome::Failed),
    }
}

/// The kernel that is meant: the named one, or the only one.
fn entry(module: &Module, wanted: Option<&str>) -> Result<EntryInfo, Error> {
    let mut entries = module.entries();
    let names: Vec<String> = entries.iter().map(|e| e.name.clone()).collect();
    let found = match wanted {
        Some(name) => names.iter().position(|n| n == name),
        None => (names.len() == 1).then_some(0),
    };
    match found {
        Some(n) => Ok(entries.swap_remove(n)),
        None => Err(Error::usage(match (wanted, names.is_empty()) {
            (_, true) => "the file has no kernel (.entry)".to_owned(),
            (Some(name), _) => format!(
                "--entry: the file has no kernel '{name}', only {}",
                names.join(", ")
            ),
            (None, _) => format!("--entry: choose one of the kernels {}", names.join(", ")),
        })),
    }
}

/// A launch that the kernel cannot take, with what it takes.
fn misfit(entry: &EntryInfo, error: &SimError) -> Error {
    let params: Vec<String> = entry
        .params
        .iter()
        .map(|(name, bytes)| format!("{name} ({bytes} bytes)"))
        .collect();
    Error::usage(match error {
        SimError::ArgumentCount { .. } | SimError::ArgumentSize { .. } => {
            format!("{error}; its parameters are {}", params.join(", "))
        }
        _ => error.to_string(),
    })
}

/// Allocates what the arguments point to.
fn bind(args: &SimulateArgs, memory: &mut Memory) -> Result<(Vec<Arg>, Vec<Placed>), Error> {
    let file = args.inputs.as_deref().map(Bundle::read).transpose()?;
    let mut placed: Vec<Placed> = vec![];
    let mut arguments = vec![];
    for (n, arg) in args.arguments.iter().enumerate() {
        arguments.push(match &arg.value {
            ArgValue::Buffer { dtype, fill, shape } => {
                let name = arg.name.clone().unwrap_or_else(|| format!("arg{n}"));
                let tensor = initial(&name, *dtype, *fill, shape, args.seed);
                let place = place(name, memory, tensor, Some(*fill));
                place_in(&mut placed, place)?
            }
            ArgValue::Tensor { tensor, dtype } => {
                let found = input(file.as_ref(), tensor)?;
                let found =
                    dtype.map_or_else(|| found.contiguous(), |d| found.to_dtype(d).contiguous());
                let name = arg.name.clone().unwrap_or_else(|| tensor.clone());
                let place = place(name, memory, found, None);
                place_in(&mut placed, place)?
            }
            ArgValue::Inside { name, bytes } => {
                let found = placed.iter().find(|p| p.name == *name);
                let found = found.ok_or_else(|| {
                    Error::usage(format!(
                        "--arg at:{name}: no argument before it is called '{name}'"
                    ))
                })?;
                Arg::BufferAt(found.id, *bytes)
            }
            ArgValue::I32(x) => Arg::I32(*x),
            ArgValue::U32(x) => Arg::U32(*x),
            ArgValue::I64(x) => Arg::I64(*x),
            ArgValue::U64(x) => Arg::U64(*x),
            ArgValue::F32(x) => Arg::F32(*x),
            ArgValue::F64(x) => Arg::F64(*x),
        });
    }
    Ok((arguments, placed))
}

fn place_in(placed: &mut Vec<Placed>, new: Placed) -> Result<Arg, Error> {
    if placed.iter().any(|p| p.name == new.name) {
        return Err(Error::usage(format!(
            "--arg: two arguments are called '{}'",
            new.name
        )));
    }
    let id = new.id;
    placed.push(new);
    Ok(Arg::Buffer(id))
}

fn place(name: String, memory: &mut Memory, tensor: Tensor, fill: Option<Fill>) -> Placed {
    let bytes = tensor.bytes();
    let id = match fill {
        Some(Fill::Out | Fill::Work) => memory.alloc_uninit(&name, bytes.len()),
        _ => memory.alloc(&name, bytes),
    };
    Placed {
        name,
        id,
        dtype: tensor.dtype(),
        shape: tensor.shape().to_vec(),
        fill,
        before: memory.bytes(id),
    }
}

fn initial(name: &str, dtype: DType, fill: Fill, shape: &[usize], seed: u64) -> Tensor {
    if fill != Fill::Random {
        return Tensor::zeros(dtype, shape);
    }
    let kind = match dtype {
        DType::I32 | DType::I64 => Kind::Int,
        DType::Bool => Kind::Bool,
        _ => Kind::Real,
    };
    let declaration = mixc_ir::Tensor {
        name: name.into(),
        kind,
        shape: vec![],
        axis_names: vec![],
        range: (f64::NEG_INFINITY, f64::INFINITY),
        default: None,
    };
    random_tensor(&declaration, shape, dtype, Pattern::Normal, 100, seed)
}

fn input<'a>(file: Option<&'a Bundle>, name: &str) -> Result<&'a Tensor, Error> {
    let file = file.ok_or_else(|| Error::usage(format!("--arg tensor:{name} needs --inputs")))?;
    file.tensors.get(name).ok_or_else(|| {
        let names: Vec<&str> = file.tensors.keys().map(String::as_str).collect();
        Error::usage(format!(
            "--inputs has no tensor '{name}', only {}",
            names.join(", ")
        ))
    })
}

/// Outputs, and whatever else the kernel changed.
fn is_output(placed: &Placed, memory: &Memory) -> bool {
    match placed.fill {
        Some(Fill::Out) => true,
        Some(Fill::Work) => false,
        _ => memory.bytes(placed.id) != placed.before,
    }
}

fn write(path: &Path, outputs: &[&Placed], memory: &Memory) -> Result<(), Error> {
    let mut bundle = Bundle::default();
    for p in outputs {
        let tensor = Tensor::from_bytes(p.dtype, &p.shape, &memory.bytes(p.id));
        let tensor = tensor.map_err(|e| Error::Execution(e.to_string()))?;
        bundle.tensors.insert(p.name.clone(), tensor);
    }
    Ok(bundle.write(path)?)
}

fn unsupported(module: &Module, entry: &str) -> Vec<UnsupportedLine> {
    let all = module
        .unsupported()
        .into_iter()
        .filter(|u| u.entry == entry);
    all.map(|u| UnsupportedLine {
        instruction: u.instruction,
        line: u.line,
    })
    .collect()
}

fn finding_line(f: &Finding) -> FindingLine {
    FindingLine {
        kind: f.kind.name(),
        message: f.message.clone(),
        line: f.line,
        text: f.text.clone(),
        block: f.block,
        thread: f.thread,
        address: f.address,
        object: f.object.clone(),
        occurrences: f.occurrences,
        summary: f.to_string(),
    }
}

fn output_line(p: &Placed, memory: &Memory) -> OutputLine {
    OutputLine {
        name: p.name.clone(),
        dtype: p.dtype.name(),
        shape: p.shape.clone(),
        complete: memory.fully_written(p.id),
    }
}

fn print_text(report: &Report) {
    for finding in &report.findings {
        println!("{}", finding.summary);
    }
    match report.findings.len() {
        0 => println!("kernel {}: nothing found", report.kernel),
        1 => println!("kernel {}: 1 finding", report.kernel),
        n => println!("kernel {}: {n} findings", report.kernel),
    }
    let (counts, tally) = (&report.counts, &report.counts.tally);
    let class = |(class, n): (&mixc_sim::Class, &mixc_sim::Issued)| {
        vec![class.name(), n.warps.to_string(), n.threads.to_string()]
    };
    let rows = counts.classes.iter().map(class).collect();
    print_table(&["instructions", "warps", "threads"], &[1, 2], rows);
    println!(
        "shared memory: {} accesses, {} bank conflicts; global memory: {} accesses, {} sectors, {:.0}% of their \
         bytes used; matrix instructions: {} flop",
        tally.shared_requests,
        report.bank_conflicts,
        tally.global_requests,
        tally.global_sectors,
        report.coalescing * 100.0,
        counts.matrix_flops()
    );
    for output in &report.outputs {
        let rest = if output.complete {
            ""
        } else {
            ", not all of it written"
        };
        let shape = shape_text(&output.shape);
        println!("wrote {} {} {shape}{rest}", output.name, output.dtype);
    }
    let reached = |u: &UnsupportedLine| report.findings.iter().any(|f| f.line == u.line);
    for u in report.unsupported.iter().filter(|u| !reached(u)) {
        eprintln!(
            "note: line {}: the simulator does not know `{}`, which no thread reached",
            u.line, u.instruction
        );
    }
}
