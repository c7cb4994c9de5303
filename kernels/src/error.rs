//! What a filter says when its descriptor or its arguments do not fit.

use std::fmt;

/// A descriptor or an argument that does not fit: which filter, which operand, what was expected and found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    filter: &'static str,
    message: String,
}

impl Error {
    /// An error of `filter`; the message says operand, expected and found.
    pub fn new(filter: &'static str, message: impl Into<String>) -> Self {
        Self { filter, message: message.into() }
    }
    /// A slice of the wrong length.
    pub fn length(filter: &'static str, operand: &str, expected: usize, found: usize) -> Self {
        Self::new(filter, format!("{operand}: expected {expected} elements, found {found}"))
    }
    /// The filter that refused.
    pub fn filter(&self) -> &'static str {
        self.filter
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.filter, self.message)
    }
}

impl std::error::Error for Error {}

/// Result of making or applying a filter.
pub type Result<T> = std::result::Result<T, Error>;

/// Checks the length of an operand.
pub(crate) fn check_len(filter: &'static str, operand: &str, expected: usize, found: usize) -> Result<()> {
    if expected == found { Ok(()) } else { Err(Error::length(filter, operand, expected, found)) }
}
