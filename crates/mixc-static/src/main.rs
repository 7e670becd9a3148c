//! `mixc-static`: see `mixc-static --help`.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match mixc_static::run(&mixc_static::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("mixc-static: {failure}");
            ExitCode::FAILURE
        }
    }
}
