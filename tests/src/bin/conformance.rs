//! Runs the public corpora: `conformance onnx LIST` reads one case a line and prints one verdict a line; `conformance serve` answers
//! requests on its standard input.

use std::path::Path;
use std::process::ExitCode;

use pocketnn_tests::serve::Way;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["onnx", list] => pocketnn_tests::onnx_batch::run(Path::new(list), None, &mut |line| println!("{line}")),
        ["onnx", "--transposes", log, list] => {
            pocketnn_tests::onnx_batch::run(Path::new(list), Some(Path::new(log)), &mut |line| println!("{line}"))
        }
        ["serve", rest @ ..] => {
            let transposes = rest.iter().position(|a| *a == "--transposes").and_then(|i| rest.get(i + 1));
            let way = Way { naive: rest.contains(&"--naive"), transposes: transposes.map(Into::into) };
            pocketnn_tests::serve::run(std::io::stdin().lock(), std::io::stdout().lock(), &way)
        }
        _ => {
            eprintln!(
                "usage: conformance onnx [--transposes FILE] LIST | conformance serve [--naive] [--transposes FILE]"
            );
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
