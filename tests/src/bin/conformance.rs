//! Runs the public corpora: `conformance onnx LIST` reads one case a line and prints one verdict a line; `conformance serve` answers
//! requests on its standard input.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["onnx", list] => pocketnn_tests::onnx_batch::run(Path::new(list), &mut |line| println!("{line}")),
        ["serve", rest @ ..] => {
            let naive = rest.contains(&"--naive");
            pocketnn_tests::serve::run(std::io::stdin().lock(), std::io::stdout().lock(), naive)
        }
        _ => {
            eprintln!("usage: conformance onnx LIST | conformance serve [--naive]");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
