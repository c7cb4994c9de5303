//! Tables of text.

use crate::output::Paint;
use std::fmt::Write;

/// Where the text of a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table with a header line.
#[derive(Clone, Debug)]
pub struct Table {
    header: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table of these columns.
    pub fn new(header: &[(&str, Align)]) -> Self {
        Self { header: header.iter().map(|(h, a)| ((*h).to_string(), *a)).collect(), rows: Vec::new() }
    }
    /// Adds a row; missing cells stay empty.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
    /// The lines, each at most as wide as its cells need; trailing spaces are cut.
    pub fn render(&self, paint: Paint) -> String {
        let widths: Vec<usize> = self
            .header
            .iter()
            .enumerate()
            .map(|(i, (h, _))| {
                self.rows.iter().filter_map(|r| r.get(i)).map(|c| width(c)).max().unwrap_or(0).max(width(h))
            })
            .collect();
        let mut out = String::new();
        let names: Vec<String> = self.header.iter().map(|h| h.0.clone()).collect();
        let _ = writeln!(out, "{}", paint.bold(&self.line(&names, &widths)));
        for row in &self.rows {
            let _ = writeln!(out, "{}", self.line(row, &widths));
        }
        out
    }
    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (i, (_, align)) in self.header.iter().enumerate() {
            let cell = cells.get(i).map_or("", String::as_str);
            let pad = " ".repeat(widths[i].saturating_sub(width(cell)));
            let gap = if i == 0 { "" } else { "  " };
            match align {
                Align::Left => line.extend([gap, cell, &pad]),
                Align::Right => line.extend([gap, &pad, cell]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Characters, which is what a terminal shows of names and numbers.
fn width(text: &str) -> usize {
    text.chars().count()
}

/// At most `n` characters of a name; a longer one keeps its end, which tells layers apart.
pub fn short(name: &str, n: usize) -> String {
    let length = width(name);
    if length <= n { name.to_string() } else { format!("…{}", name.chars().skip(length - n + 1).collect::<String>()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align() {
        let mut t = Table::new(&[("name", Align::Left), ("n", Align::Right)]);
        t.row(vec!["a".into(), "10".into()]);
        t.row(vec!["long".into()]);
        assert_eq!(t.render(Paint::plain()), "name   n\na     10\nlong\n");
        assert_eq!(short("block_1/conv", 6), "…/conv");
    }
}
