//! Why a command ended without doing what it was asked, and how that is told.

use crate::output;
use pocketnn_importer::{ImportError, Report};
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

/// Who is to blame, which decides the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something failed: 1.
    Failed,
    /// The command line does not fit the model: 2.
    Usage,
    /// The reader of the output went away: not an error, 0.
    BrokenPipe,
}

/// An error of the command.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Who is to blame.
    pub kind: Kind,
    /// One line.
    pub message: String,
    /// More lines, such as the list of everything that is not supported.
    pub details: Box<[String]>,
    /// What to do, where known.
    pub help: Option<String>,
    /// The error as a library tells it.
    pub json: Box<Value>,
    /// Everything in a model that is not supported, if that is the reason.
    pub report: Option<Box<Report>>,
}

impl Failure {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), details: Box::default(), help: None, json: Box::default(), report: None }
    }
    /// Something failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }
    /// The command line does not fit.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }
    /// What the operating system says about a file.
    pub fn file(path: &Path, error: &std::io::Error) -> Self {
        Self::failed(format!("{}: {error}", path.display()))
    }
    /// The same with what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
    /// The same with the place in front of the message.
    #[must_use]
    pub fn at(mut self, place: impl std::fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// Tells it on standard error (and, for `json`, as an object on standard output) and gives the exit status.
    pub fn report(&self, json: bool) -> ExitCode {
        if self.kind == Kind::BrokenPipe {
            return ExitCode::SUCCESS;
        }
        let paint = output::Paint::stderr();
        eprintln!("{} {}", paint.red("error:"), self.message);
        self.details.iter().for_each(|line| eprintln!("  {line}"));
        if let Some(help) = &self.help {
            eprintln!("{} {help}", paint.bold("help:"));
        }
        if json {
            // The exit status says the rest when standard output is gone.
            let _ = output::print_json(&self.to_json());
        }
        ExitCode::from(if self.kind == Kind::Usage { 2 } else { 1 })
    }
    /// `{"error": {"message", "help", "detail"}}`.
    pub fn to_json(&self) -> Value {
        json!({ "error": { "message": self.message, "help": self.help, "detail": self.json } })
    }
}

impl From<pocketnn::Error> for Failure {
    fn from(e: pocketnn::Error) -> Self {
        let json =
            json!({ "kind": format!("{:?}", e.kind()).to_lowercase(), "place": e.place(), "message": e.message() });
        Self { json: Box::new(json), ..Self::failed(e.to_string()) }
    }
}

impl From<ImportError> for Failure {
    fn from(e: ImportError) -> Self {
        let text = e.to_string();
        let mut lines = text.lines();
        let message = lines.next().unwrap_or_default().to_string();
        let report = e.report().cloned().map(Box::new);
        Self {
            details: lines.map(str::to_string).collect(),
            json: Box::new(e.to_json()),
            report,
            ..Self::failed(message)
        }
    }
}
