//! Options, and the run from beginning to end.

use crate::dump::{DumpError, dump_inputs};
use crate::{
    Collector, Ended, Job, MeasureOptions, NoCases, Request, Supervisor, select, serve, work,
};
use clap::Parser;
use mixc_cuda::{Card, CudaError};
use mixc_launch::{BundleError, BundleReader, DeviceInfo, ResultsError};
use regex_lite::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Verify and measure the kernels of a bundle on an NVIDIA GPU.
///
/// Progress goes to standard error; results go to the file of --out, or to standard output. Exit codes: 0 all cases
/// are right, 1 a case is wrong or failed, 2 bad usage or a bad bundle, 3 something that this machine lacks.
#[derive(Debug, Parser)]
#[command(name = "mixc-runner", version)]
pub struct Cli {
    /// The bundle file.
    #[arg(required_unless_present = "worker")]
    pub bundle: Option<PathBuf>,
    /// Where results are written, after every case.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Run only cases whose label matches this regular expression; --list shows the labels.
    #[arg(long, value_name = "REGEX")]
    pub filter: Option<Regex>,
    /// Run only the case with this number, counted from 0.
    #[arg(long, value_name = "N")]
    pub case: Option<usize>,
    /// Write the memory of every input to DIR/CASE/NAME.bin and stop, for other programs to compare on the same
    /// values. Needs no GPU.
    #[arg(long, value_name = "DIR")]
    pub dump_inputs: Option<PathBuf>,
    /// Samples for each case.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(5..))]
    pub samples: u32,
    /// Device time for the samples of one case.
    #[arg(long, default_value_t = 3.0, value_name = "SECONDS")]
    pub max_seconds: f64,
    /// Measure without comparing results. Rows then say nothing about being right.
    #[arg(long)]
    pub no_verify: bool,
    /// Compare results and measure nothing.
    #[arg(long, conflicts_with = "no_verify")]
    pub verify_only: bool,
    /// Print the labels of the cases and stop. Needs no GPU.
    #[arg(long)]
    pub list: bool,
    /// The card's number among those that CUDA shows.
    #[arg(long, default_value_t = 0)]
    pub device: usize,
    /// Kill a case that is silent for so long.
    #[arg(long, default_value_t = 120.0, value_name = "SECONDS")]
    pub patience: f64,
    /// Run in this process. A case that breaks the CUDA context ends the run.
    #[arg(long)]
    pub no_isolate: bool,
    /// Serve a request from standard input.
    #[arg(long, hide = true)]
    pub worker: bool,
}

/// Why there are no results.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    NoCases(#[from] NoCases),
    #[error(transparent)]
    Results(#[from] ResultsError),
    #[error("--{option} must be a positive number")]
    Option { option: &'static str },
    #[error("{0}")]
    Cuda(#[from] CudaError),
    #[error("{0}")]
    Machine(String),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Dump(#[from] DumpError),
}

impl Failure {
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Bundle(_)
            | Failure::NoCases(_)
            | Failure::Results(_)
            | Failure::Option { .. }
            | Failure::Io(_)
            | Failure::Dump(_) => 2,
            Failure::Cuda(_) | Failure::Machine(_) => 3,
        }
    }
}

/// Runs the program; the value is the exit code.
pub fn run(cli: &Cli) -> Result<u8, Failure> {
    let Some(path) = cli.bundle.as_ref().filter(|_| !cli.worker) else {
        serve()?;
        return Ok(0);
    };
    for (option, value) in [("max-seconds", cli.max_seconds), ("patience", cli.patience)] {
        if !(value > 0.0 && value < 1e9) {
            return Err(Failure::Option { option });
        }
    }
    let mut bundle = BundleReader::open(path)?;
    let verify = !cli.no_verify && !cli.list && cli.dump_inputs.is_none();
    let jobs = select(&bundle, cli.filter.as_ref(), cli.case, verify)?;
    let labels: Vec<_> = bundle.labels().cloned().collect();
    if cli.list {
        jobs.iter().for_each(|job| println!("{}", labels[job.case]));
        return Ok(0);
    }
    if let Some(folder) = &cli.dump_inputs {
        for job in jobs {
            dump_inputs(&bundle.case(job.case)?, &folder.join(job.case.to_string()))?;
        }
        return Ok(0);
    }
    let cards = mixc_cuda::devices()?;
    let count = cards.len();
    let card = cards.into_iter().nth(cli.device);
    let card = card.ok_or(CudaError::NoSuchDevice {
        index: cli.device,
        count,
    })?;
    eprintln!(
        "{}: compute capability {}.{}, CUDA {}.{}",
        card.name, card.cc.0, card.cc.1, card.cuda.0, card.cuda.1
    );

    let mut collector = Collector::new(
        describe(&card),
        labels,
        jobs.len(),
        cli.out.clone(),
        !cli.no_verify,
    );
    let request = Request {
        bundle: path.clone(),
        device: cli.device,
        options: MeasureOptions {
            verify: !cli.no_verify,
            samples: cli.samples as usize,
            max_seconds: cli.max_seconds,
        },
        jobs: jobs
            .into_iter()
            .map(|job| Job {
                timed: job.timed && !cli.verify_only,
                ..job
            })
            .collect(),
        right: BTreeSet::new(),
    };
    match cli.no_isolate {
        true => run_here(bundle, &request, &mut collector)?,
        false => run_in_children(request, cli.patience, &mut collector)?,
    }
    collector.results.device.clocks_mhz.extend(clocks());
    collector.save();
    if let Some(error) = collector.take_write_error() {
        return Err(error.into());
    }
    if cli.out.is_none() {
        println!(
            "{}",
            serde_json::to_string_pretty(&collector.results).map_err(std::io::Error::from)?
        );
    }
    Ok(collector.exit_code())
}

fn run_here(
    mut bundle: BundleReader,
    request: &Request,
    collector: &mut Collector,
) -> Result<(), Failure> {
    let session = mixc_cuda::open(request.device)?;
    let ended = work(&session, &mut bundle, request, &mut |event| {
        collector.event(event)
    });
    if ended == Ended::Broken {
        for job in &request.jobs[collector.results.rows.len()..] {
            collector.lost(
                job.case,
                "an earlier case broke the CUDA context of this process".into(),
            );
        }
    }
    Ok(())
}

fn run_in_children(
    request: Request,
    patience: f64,
    collector: &mut Collector,
) -> Result<(), Failure> {
    let program = std::env::current_exe()?;
    let supervisor = Supervisor {
        command: &|| {
            let mut command = Command::new(&program);
            command.arg("--worker");
            command
        },
        patience: Duration::from_secs_f64(patience),
    };
    // Both closures end in the collector.
    let collector = std::cell::RefCell::new(collector);
    let ended = supervisor.run(
        request,
        &mut |event| collector.borrow_mut().event(event),
        &mut |case, reason| collector.borrow_mut().lost(case, reason),
    );
    ended.map_err(Failure::Machine)
}

fn describe(card: &Card) -> DeviceInfo {
    let max = [
        ("max_sm", card.max_clock_mhz),
        ("max_memory", card.max_memory_clock_mhz),
    ];
    let known = max.into_iter().filter(|(_, mhz)| *mhz > 0);
    DeviceInfo {
        name: card.name.clone(),
        cc: format!("{}.{}", card.cc.0, card.cc.1),
        driver: card.driver.clone(),
        cuda: Some(format!("{}.{}", card.cuda.0, card.cuda.1)),
        sms: card.sms,
        memory_bytes: card.memory_bytes,
        l2_bytes: card.l2_bytes,
        clocks_mhz: known
            .map(|(name, mhz)| (name.to_owned(), f64::from(mhz)))
            .collect(),
    }
}

/// The clocks right after the measurements, where `nvidia-smi` is there and it is clear which card is meant.
fn clocks() -> BTreeMap<String, f64> {
    let asked = Command::new("nvidia-smi")
        .args([
            "--query-gpu=clocks.sm,clocks.mem",
            "--format=csv,noheader,nounits",
        ])
        .output();
    let text = asked
        .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
        .unwrap_or_default();
    let mut lines = text.lines();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return BTreeMap::new();
    };
    let numbers = line.split(',').map(|n| n.trim().parse().ok());
    ["sm", "memory"]
        .into_iter()
        .zip(numbers)
        .filter_map(|(name, n)| Some((name.to_owned(), n?)))
        .collect()
}
