//! `mixc completions SHELL`.

use crate::Outcome;
use crate::args::Cli;
use clap::CommandFactory;
use mixc::Error;

pub fn run(shell: clap_complete::Shell) -> Result<Outcome, Error> {
    clap_complete::generate(shell, &mut Cli::command(), "mixc", &mut std::io::stdout());
    Ok(Outcome::Done)
}
