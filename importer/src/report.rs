//! Everything a model needs that is missing, collected in one pass: counts and one example each.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::error::{ImportError, Location};

/// What a conversion has to say besides the graph: unsupported things (fatal together) and warnings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    unsupported: Vec<Entry>,
    warnings: Vec<Entry>,
}

/// One kind of problem, however often it occurs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Operator or layer class.
    pub op: String,
    /// Why it can't be imported, or what was assumed.
    pub reason: String,
    /// What to do, if anything is known to help.
    pub help: Option<String>,
    /// How many nodes have this problem.
    pub count: usize,
    /// The first of them.
    pub example: Location,
    /// Types of its inputs, such as `f32[N, 28, 28, 1]`, as far as they are known.
    pub inputs: Vec<String>,
    /// The nearest thing that is supported.
    pub nearest: Option<String>,
    /// Names of all of them, at most [`MAX_NODES`].
    pub nodes: Vec<String>,
}

/// Most names of nodes that an entry lists.
pub const MAX_NODES: usize = 1000;

impl Report {
    /// Adds an error as an unsupported thing; errors of the same op and reason share an entry.
    pub fn add_unsupported(&mut self, error: &ImportError) {
        Self::add(&mut self.unsupported, error);
    }

    /// Adds a warning in the same form.
    pub fn add_warning(&mut self, warning: &ImportError) {
        Self::add(&mut self.warnings, warning);
    }

    fn add(entries: &mut Vec<Entry>, error: &ImportError) {
        let op = error.location().op.clone().unwrap_or_default();
        let reason = full_reason(error);
        if let Some(entry) = entries.iter_mut().find(|e| e.op == op && e.reason == reason) {
            entry.count = entry.count.saturating_add(1);
            if entry.nodes.len() < MAX_NODES {
                entry.nodes.extend(error.location().node.clone());
            }
            return;
        }
        entries.push(Entry {
            op,
            reason,
            help: error.help_text().map(str::to_owned),
            count: 1,
            example: error.location().clone(),
            inputs: error.shapes().to_vec(),
            nearest: error.nearest_text().map(str::to_owned),
            nodes: error.location().node.clone().into_iter().collect(),
        });
    }

    /// What keeps the model from being imported.
    pub fn unsupported(&self) -> &[Entry] {
        &self.unsupported
    }

    /// What was assumed or ignored.
    pub fn warnings(&self) -> &[Entry] {
        &self.warnings
    }

    /// `Ok` if nothing is unsupported, otherwise the error that carries this report.
    pub fn check(&self) -> Result<(), ImportError> {
        if self.unsupported.is_empty() { Ok(()) } else { Err(ImportError::from_report(self.clone())) }
    }

    /// One line that sums up the unsupported things.
    pub fn headline(&self) -> String {
        match self.unsupported.as_slice() {
            [] => "nothing is unsupported".to_owned(),
            [only] => {
                let times = if only.count > 1 { format!(" ({} times)", only.count) } else { String::new() };
                let help = only.help.as_ref().map(|h| format!(" ({h})")).unwrap_or_default();
                format!("{}{times}{help}", only.reason)
            }
            many => {
                let nodes: usize = many.iter().map(|e| e.count).sum();
                format!("{nodes} nodes use {} unsupported things", many.len())
            }
        }
    }

    /// A list with one line per problem.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (title, entries) in [("unsupported", &self.unsupported), ("warning", &self.warnings)] {
            for entry in entries {
                let help = entry.help.as_ref().map(|h| format!(" ({h})")).unwrap_or_default();
                let inputs =
                    if entry.inputs.is_empty() { String::new() } else { format!(" on {}", entry.inputs.join(", ")) };
                let nearest = entry.nearest.as_ref().map(|n| format!("; nearest supported: {n}")).unwrap_or_default();
                let (count, example, reason) = (entry.count, &entry.example, &entry.reason);
                let _ = writeln!(text, "{title}: {count}x {example}{inputs}: {reason}{nearest}{help}");
            }
        }
        text
    }

    /// `{"unsupported": [..], "warnings": [..]}`, each entry with `op`, `reason`, `help`, `count`, `example`, `inputs`, `nearest` and `nodes`.
    pub fn to_json(&self) -> Value {
        let list = |entries: &[Entry]| -> Vec<Value> {
            entries
                .iter()
                .map(|e| {
                    json!({
                        "op": e.op, "reason": e.reason, "help": e.help, "count": e.count,
                        "example": location_json(&e.example), "inputs": e.inputs, "nearest": e.nearest, "nodes": e.nodes,
                    })
                })
                .collect()
        };
        json!({ "unsupported": list(&self.unsupported), "warnings": list(&self.warnings) })
    }
}

fn full_reason(error: &ImportError) -> String {
    let mut reason = error.message().to_owned();
    if let Some(expected) = error.expected_text() {
        let _ = write!(reason, ": expected {expected}");
    }
    if let Some(found) = error.found_text() {
        let separator = if error.expected_text().is_some() { "," } else { ":" };
        let _ = write!(reason, "{separator} found {found}");
    }
    reason
}

/// A location as a JSON object; absent parts are null.
pub(crate) fn location_json(location: &Location) -> Value {
    json!({
        "file": location.file, "offset": location.offset, "node": location.node,
        "op": location.op, "attribute": location.attribute,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lambda(node: &str) -> ImportError {
        ImportError::unsupported("holds Python code").at_op("Lambda").at_node(node)
    }

    #[test]
    fn equal_problems_share_an_entry_with_the_first_example() {
        let mut report = Report::default();
        report.add_unsupported(&lambda("a"));
        report.add_unsupported(&lambda("b"));
        report.add_unsupported(&ImportError::unsupported("no lowering").at_op("Foo").at_node("c"));
        assert_eq!(report.unsupported().len(), 2);
        assert_eq!(report.unsupported()[0].count, 2);
        assert_eq!(report.unsupported()[0].example.node.as_deref(), Some("a"));
        let error = report.check().unwrap_err();
        assert_eq!(error.message(), "3 nodes use 2 unsupported things");
        assert!(error.to_string().contains("2x Lambda `a`: holds Python code"), "{error}");
        assert_eq!(error.to_json()["report"]["unsupported"][1]["op"], "Foo");
    }

    #[test]
    fn a_single_problem_is_told_in_one_line() {
        let mut report = Report::default();
        report.add_unsupported(&lambda("a"));
        assert_eq!(report.check().unwrap_err().to_string(), "Lambda `a`: holds Python code");
    }

    #[test]
    fn warnings_alone_do_not_fail() {
        let mut report = Report::default();
        report.add_warning(&lambda("a"));
        assert!(report.check().is_ok());
        assert!(report.to_text().starts_with("warning: 1x Lambda `a`"));
    }
}
