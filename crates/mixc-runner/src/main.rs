//! `mixc-runner`: see `mixc-runner --help`.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match mixc_runner::run(&mixc_runner::Cli::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("mixc-runner: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
