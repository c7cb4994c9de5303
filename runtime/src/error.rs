//! What the runtime says when something does not fit.

use std::fmt;

/// An error of the runtime: what kind, where, and what was expected and found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    place: String,
    message: String,
}

/// Who is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The operating system refused (file not found, no memory).
    Io,
    /// The bytes are not a valid `.pnn` file.
    Format,
    /// The graph is not valid: wrong types, shapes, attributes.
    Graph,
    /// The caller's argument does not fit (shape, dtype, name).
    Argument,
    /// Valid, but this runtime has no implementation of it.
    Unsupported,
    /// A limit set by the caller would be passed.
    Limit,
}

impl Error {
    /// An error of a kind; the message says expected and found.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, place: String::new(), message: message.into() }
    }
    /// A graph error.
    pub fn graph(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Graph, message)
    }
    /// An argument error.
    pub fn argument(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Argument, message)
    }
    /// Something this runtime has no implementation of.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }
    /// An error in the bytes of a file.
    pub fn format(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Format, message)
    }
    /// A budget that would be passed.
    pub fn limit(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Limit, message)
    }
    /// The same error with its place (a node, a file), unless it has one already.
    #[must_use]
    pub fn at(mut self, place: impl FnOnce() -> String) -> Self {
        if self.place.is_empty() {
            self.place = place();
        }
        self
    }
    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
    /// Where it happened: node, op and input types, or a file; empty when not known.
    pub fn place(&self) -> &str {
        &self.place
    }
    /// The message without the place.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<pocketnn_kernels::Error> for Error {
    fn from(e: pocketnn_kernels::Error) -> Self {
        Self::graph(e.to_string())
    }
}

/// Result of the runtime.
pub type Result<T> = std::result::Result<T, Error>;
