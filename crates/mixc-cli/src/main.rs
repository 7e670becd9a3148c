//! The `mixc` command line: options in, calls of the `mixc` library, text or JSON out.
//!
//! Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 a check
//! or comparison failed, 2 bad usage or bad input, 3 something that this machine or version lacks.

mod args;
mod commands;
mod kernel_args;
mod output;
mod sizes;

use args::{Cli, Command};
use clap::Parser;
use std::process::ExitCode;

/// How a command ended when nothing went wrong on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// A check or comparison failed.
    Failed,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    init_logging(cli.verbose);
    match run(&cli) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::from(1),
        Err(error) => {
            eprintln!("{}", error.to_string().trim_end());
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: &Cli) -> Result<Outcome, mixc::Error> {
    let format = cli.format;
    match &cli.command {
        Command::List => commands::list::run(format),
        Command::Check(args) => commands::check::run(args, format),
        Command::Explain(args) => commands::explain::run(args, format),
        Command::Run(args) => commands::run::run(args, format),
        Command::Verify(args) => commands::verify::run(args, format),
        Command::Simulate(args) => commands::simulate::run(args, format),
        Command::Bench(args) => commands::bench::run(args, format),
        Command::Bundle(args) => commands::bundle::run(args, format),
        Command::Devices => commands::devices::run(format),
        Command::Completions { shell } => commands::completions::run(*shell),
        Command::Tune(_) => Err(not_yet("tune", "the tuner")),
        Command::Db(_) => Err(not_yet("db", "the tuning database")),
        Command::Build(_) => Err(not_yet("build", "emitting libraries")),
    }
}

fn not_yet(command: &str, what: &str) -> mixc::Error {
    mixc::Error::Unavailable(format!(
        "`mixc {command}` is not available in this version: {what} does not exist yet"
    ))
}

/// Logs go to standard error; `MIXC_LOG` takes the filters of `tracing_subscriber`.
fn init_logging(verbose: u8) {
    let level = ["warn", "info", "debug", "trace"][usize::from(verbose.min(3))];
    let filter = tracing_subscriber::EnvFilter::try_from_env("MIXC_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .init();
}
