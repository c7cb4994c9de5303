//! The `pocketnn` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    pocketnn_cli::main()
}
