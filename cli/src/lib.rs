//! The `pocketnn` command: one file a subcommand.
//!
//! Results go to standard output, as text or (`--json`) as one JSON object; errors and progress go to standard error. The exit
//! status is 0 when done, 1 when something failed, 2 when the command line is wrong.

pub mod batch;
mod bench;
mod convert;
pub mod drawing;
pub mod failure;
pub mod files;
mod inspect;
pub mod look;
mod mnist;
pub mod output;
pub mod picture;
mod plan;
pub mod report;
mod run;
pub mod source;
pub mod svg;
pub mod table;
pub mod tensors;
pub mod timing;
mod tune;
mod verify;

use clap::{Parser, Subcommand};
use failure::Failure;
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "pocketnn",
    version,
    about = "Convert, run, measure and look into neural networks",
    max_term_width = 110
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Convert(convert::Args),
    Run(run::Args),
    Bench(bench::Args),
    Inspect(inspect::Args),
    Tune(tune::Args),
    Verify(verify::Args),
    Mnist(mnist::Args),
}

impl Command {
    fn json(&self) -> bool {
        match self {
            Command::Convert(a) => a.json,
            Command::Run(a) => a.json,
            Command::Verify(a) => a.json,
            Command::Bench(a) => a.json,
            Command::Inspect(a) => a.json,
            Command::Tune(a) => a.json,
            Command::Mnist(a) => a.json,
        }
    }
    fn run(self) -> Result<(), Failure> {
        match self {
            Command::Convert(a) => convert::run(a),
            Command::Run(a) => run::run(a),
            Command::Verify(a) => verify::run(a),
            Command::Bench(a) => bench::run(a),
            Command::Inspect(a) => inspect::run(a),
            Command::Tune(a) => tune::run(a),
            Command::Mnist(a) => mnist::run(a),
        }
    }
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(e) => {
            let status = if e.use_stderr() { 2 } else { 0 };
            // Nothing is left to say when the terminal is gone.
            let _ = e.print();
            return ExitCode::from(status);
        }
    };
    let json = command.json();
    match command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}
