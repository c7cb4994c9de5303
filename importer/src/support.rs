//! What of each source format is imported, as `docs/support.md` lists it: generated from the tables that the importers use.

use std::fmt::Write as _;

/// What becomes of an operator or layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Imported.
    Yes,
    /// Imported with limits, or in a way worth knowing.
    Note(String),
    /// Refused, with the reason.
    No(String),
}

/// One operator or layer class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its name, with its domain where that is not the standard one.
    pub name: String,
    /// Versions or family: where its definition stands.
    pub place: String,
    /// What becomes of it.
    pub state: State,
}

/// A table of one format.
#[derive(Clone, Debug)]
pub struct Table {
    /// Heading.
    pub title: &'static str,
    /// A sentence or two above the table.
    pub text: String,
    /// Heading of [`Line::place`].
    pub place: &'static str,
    /// Lines, sorted by name.
    pub lines: Vec<Line>,
}

/// All tables, in the order of the page.
pub fn tables() -> Vec<Table> {
    vec![
        crate::keras::support::layers(),
        crate::keras::support::operations(),
        crate::onnx::support(),
        tflite(),
        tensorflow(),
    ]
}

fn tflite() -> Table {
    let line = |(i, (name, known)): (usize, (&'static str, bool))| Line {
        name: name.to_owned(),
        place: i.to_string(),
        state: if known { State::Yes } else { State::No("no lowering".to_owned()) },
    };
    let mut lines: Vec<Line> = crate::tflite::operators().enumerate().map(line).collect();
    lines.sort_by(|a, b| a.name.cmp(&b.name));
    Table {
        title: "TFLite operators",
        text: "All builtin operators of the schema, and their numbers in it. Custom operators are refused by name."
            .to_owned(),
        place: "number",
        lines,
    }
}

fn tensorflow() -> Table {
    let line = |name: &'static str| Line { name: name.to_owned(), place: "TF1, TF2".to_owned(), state: State::Yes };
    Table {
        title: "TensorFlow operations",
        text: "Operations of frozen graphs and SavedModels. Anything else is refused by name.".to_owned(),
        place: "graphs",
        lines: crate::tensorflow::operations().into_iter().map(line).collect(),
    }
}

/// The page.
pub fn page() -> String {
    let mut text = String::from(
        "# What is imported\n\nGenerated from the importers' tables by `cargo run -p pocketnn-tests --bin support`; a test holds it against \
         them. What is not listed is not known; every problem of a model is reported at once (`convert --report`).\n",
    );
    for table in tables() {
        let imported = table.lines.iter().filter(|l| !matches!(l.state, State::No(_))).count();
        let _ = write!(
            text,
            "\n## {}\n\n{}\n\n{imported} of {} imported.\n\n| name | {} | state |\n|---|---|---|\n",
            table.title,
            table.text,
            table.lines.len(),
            table.place
        );
        for line in &table.lines {
            let state = match &line.state {
                State::Yes => "yes".to_owned(),
                State::Note(note) => format!("yes: {note}"),
                State::No(reason) => format!("no: {reason}"),
            };
            let _ = writeln!(text, "| {} | {} | {} |", cell(&line.name), cell(&line.place), cell(&state));
        }
    }
    text
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_table_is_sorted_and_names_stand_once() {
        for table in tables() {
            let names: Vec<&str> = table.lines.iter().map(|l| l.name.as_str()).collect();
            assert!(names.is_sorted(), "{}: {names:?}", table.title);
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{}", table.title);
            assert!(names.len() > 50, "{}", table.title);
        }
    }
}
