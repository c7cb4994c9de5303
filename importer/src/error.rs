//! The one error type of the importer: who is to blame, where, what was expected, what was found, what to do.
//!
//! A low layer says what is wrong; the layer that knows the file, node or attribute adds it once (`at_*` keep
//! what an inner layer already said). All unsupported things of a model travel together in [`ImportError::report`].

use std::fmt;

use crate::report::Report;

/// Result of everything that reads a source model.
pub type Result<T, E = ImportError> = std::result::Result<T, E>;

/// Who or what is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The operating system could not read something.
    Io,
    /// The bytes break the rules of their container: truncated, inconsistent, not of the stated format.
    Format,
    /// A well-formed model uses something that is not implemented.
    Unsupported,
    /// The model or the caller's options contradict themselves: wrong shape, missing weight, unknown option value.
    Invalid,
    /// A budget of [`crate::Limits`] would be exceeded.
    Limits,
}

impl ErrorKind {
    /// Lower-case name, as in the JSON reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Io => "io",
            Self::Format => "format",
            Self::Unsupported => "unsupported",
            Self::Invalid => "invalid",
            Self::Limits => "limits",
        }
    }
}

/// The place an error speaks of; every part is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// File, or entry of an archive.
    pub file: Option<String>,
    /// Byte offset in that file.
    pub offset: Option<u64>,
    /// Node, layer or tensor by its name in the source model.
    pub node: Option<String>,
    /// Operator or layer class.
    pub op: Option<String>,
    /// Attribute, configuration field or input.
    pub attribute: Option<String>,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut part = |f: &mut fmt::Formatter<'_>, label: &str, value: &dyn fmt::Display| {
            let result = write!(f, "{separator}{label}{value}");
            separator = ", ";
            result
        };
        if let Some(file) = &self.file {
            part(f, "", file)?;
        }
        if let Some(offset) = self.offset {
            part(f, "byte ", &offset)?;
        }
        match (&self.op, &self.node) {
            (Some(op), Some(node)) => part(f, "", &format_args!("{op} `{node}`"))?,
            (Some(op), None) => part(f, "", op)?,
            (None, Some(node)) => part(f, "", &format_args!("`{node}`"))?,
            (None, None) => {}
        }
        if let Some(attribute) = &self.attribute {
            part(f, "attribute ", &format_args!("`{attribute}`"))?;
        }
        Ok(())
    }
}

/// Why a model could not be imported. Made by one constructor per kind and completed by the builder methods.
#[derive(Clone, Debug)]
pub struct ImportError(Box<Detail>);

#[derive(Clone, Debug)]
struct Detail {
    kind: ErrorKind,
    message: String,
    location: Location,
    expected: Option<String>,
    found: Option<String>,
    help: Option<String>,
    nearest: Option<String>,
    shapes: Vec<String>,
    report: Option<Report>,
}

impl ImportError {
    /// An error of `kind`; `message` says which rule was broken, without location, expected and found.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Detail {
            kind,
            message: message.into(),
            location: Location::default(),
            expected: None,
            found: None,
            help: None,
            nearest: None,
            shapes: Vec::new(),
            report: None,
        }))
    }

    /// The operating system's refusal to read `file`.
    pub fn io(file: impl fmt::Display, error: &std::io::Error) -> Self {
        Self::new(ErrorKind::Io, error.to_string()).in_file(file)
    }

    /// Malformed bytes.
    pub fn format(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Format, message)
    }

    /// Something the importer has no lowering for.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// A contradiction inside the model or the options.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// A budget would be exceeded.
    pub fn limits(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Limits, message)
    }

    /// An unsupported-error that carries the complete list.
    pub fn from_report(report: Report) -> Self {
        let mut error = Self::unsupported(report.headline());
        if let [only] = report.unsupported() {
            error.0.location.clone_from(&only.example);
        }
        error.0.report = Some(report);
        error
    }

    /// Adds the file or archive entry, unless one is named already.
    #[must_use]
    pub fn in_file(mut self, file: impl fmt::Display) -> Self {
        self.0.location.file.get_or_insert_with(|| file.to_string());
        self
    }

    /// Adds the byte offset, unless there is one already.
    #[must_use]
    pub fn at_offset(mut self, offset: u64) -> Self {
        self.0.location.offset.get_or_insert(offset);
        self
    }

    /// Adds the node, layer or tensor name, unless there is one already.
    #[must_use]
    pub fn at_node(mut self, node: impl fmt::Display) -> Self {
        self.0.location.node.get_or_insert_with(|| node.to_string());
        self
    }

    /// Adds the operator or layer class, unless there is one already.
    #[must_use]
    pub fn at_op(mut self, op: impl fmt::Display) -> Self {
        self.0.location.op.get_or_insert_with(|| op.to_string());
        self
    }

    /// Adds the attribute, configuration field or input, unless there is one already.
    #[must_use]
    pub fn at_attribute(mut self, attribute: impl fmt::Display) -> Self {
        self.0.location.attribute.get_or_insert_with(|| attribute.to_string());
        self
    }

    /// Says what would have been right.
    #[must_use]
    pub fn expected(mut self, expected: impl fmt::Display) -> Self {
        self.0.expected = Some(expected.to_string());
        self
    }

    /// Says what was there instead.
    #[must_use]
    pub fn found(mut self, found: impl fmt::Display) -> Self {
        self.0.found = Some(found.to_string());
        self
    }

    /// Says what to do about it, unless an inner layer already did.
    #[must_use]
    pub fn help(mut self, help: impl fmt::Display) -> Self {
        self.0.help.get_or_insert_with(|| help.to_string());
        self
    }

    /// Names the nearest thing that is supported, if there is one and none is named.
    #[must_use]
    pub fn nearest(mut self, nearest: Option<impl fmt::Display>) -> Self {
        self.0.nearest = self.0.nearest.or(nearest.map(|n| n.to_string()));
        self
    }

    /// Adds the types of the inputs, unless they are there.
    #[must_use]
    pub fn with_shapes(mut self, shapes: Vec<String>) -> Self {
        if self.0.shapes.is_empty() {
            self.0.shapes = shapes;
        }
        self
    }

    /// Who is to blame.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Where.
    pub fn location(&self) -> &Location {
        &self.0.location
    }

    /// Which rule was broken, without location, expected and found.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What would have been right.
    pub fn expected_text(&self) -> Option<&str> {
        self.0.expected.as_deref()
    }

    /// What was there instead.
    pub fn found_text(&self) -> Option<&str> {
        self.0.found.as_deref()
    }

    /// What to do about it.
    pub fn help_text(&self) -> Option<&str> {
        self.0.help.as_deref()
    }

    /// The nearest thing that is supported.
    pub fn nearest_text(&self) -> Option<&str> {
        self.0.nearest.as_deref()
    }

    /// Types of the inputs, such as `f32[N, 28, 28, 1]`.
    pub fn shapes(&self) -> &[String] {
        &self.0.shapes
    }

    /// Everything in the model that is not supported, if that is the reason.
    pub fn report(&self) -> Option<&Report> {
        self.0.report.as_ref()
    }

    /// The error as JSON: `kind`, `message`, `location`, `expected`, `found`, `help`, `nearest`, `inputs`, `report` (absent parts are null).
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "kind": self.kind().name(),
            "message": self.message(),
            "location": crate::report::location_json(self.location()),
            "expected": self.expected_text(),
            "found": self.found_text(),
            "help": self.help_text(),
            "nearest": self.nearest_text(),
            "inputs": self.shapes(),
            "report": self.report().map(Report::to_json),
        })
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.0.location.to_string();
        if !place.is_empty() {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.0.message)?;
        match (&self.0.expected, &self.0.found) {
            (Some(expected), Some(found)) => write!(f, ": expected {expected}, found {found}")?,
            (Some(expected), None) => write!(f, ": expected {expected}")?,
            (None, Some(found)) => write!(f, ": found {found}")?,
            (None, None) => {}
        }
        if let Some(help) = &self.0.help {
            write!(f, " ({help})")?;
        }
        if let Some(report) = &self.0.report
            && report.unsupported().len() > 1
        {
            write!(f, "\n{}", report.to_text().trim_end())?;
        }
        Ok(())
    }
}

impl std::error::Error for ImportError {}

/// What the runtime says about an op while a graph is built: its shapes and types stay in the message.
impl From<pocketnn::Error> for ImportError {
    fn from(error: pocketnn::Error) -> Self {
        let kind = match error.kind() {
            pocketnn::ErrorKind::Io => ErrorKind::Io,
            pocketnn::ErrorKind::Unsupported => ErrorKind::Unsupported,
            pocketnn::ErrorKind::Limit => ErrorKind::Limits,
            _ => ErrorKind::Invalid,
        };
        Self::new(kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_names_place_expected_found_and_help() {
        let error = ImportError::invalid("wrong rank")
            .expected(4)
            .found(3)
            .help("reshape it")
            .at_attribute("kernel")
            .at_op("Conv2D")
            .at_node("conv_1")
            .in_file("a.h5");
        assert_eq!(
            error.to_string(),
            "a.h5, Conv2D `conv_1`, attribute `kernel`: wrong rank: expected 4, found 3 (reshape it)"
        );
    }

    #[test]
    fn the_inner_layer_wins() {
        let error = ImportError::format("short").in_file("inner").in_file("outer").at_offset(3).at_offset(9);
        assert_eq!(error.location().file.as_deref(), Some("inner"));
        assert_eq!(error.location().offset, Some(3));
    }

    #[test]
    fn json_has_every_part() {
        let json = ImportError::limits("too big").at_offset(7).to_json();
        assert_eq!(json["kind"], "limits");
        assert_eq!(json["location"]["offset"], 7);
        assert!(json["help"].is_null());
    }
}
