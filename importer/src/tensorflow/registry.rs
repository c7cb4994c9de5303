//! Which operations are known: one table a family, each sorted by name.

use super::node::{Lowered, Node};
use crate::error::Result;

/// Adds what an operation computes to the graph and gives its outputs.
pub(super) type Lower = for<'n, 'm> fn(&mut Node<'n, 'm>) -> Result<Lowered<'m>>;

/// One operation.
pub(super) struct Row {
    /// Name.
    pub name: &'static str,
    /// Names of the outputs, where there are several that differ; a list of outputs has one name.
    pub outputs: &'static [&'static str],
    /// The lowering.
    pub lower: Lower,
}

/// A row of an operation with one output, or one list of outputs.
pub(super) const fn op(name: &'static str, lower: Lower) -> Row {
    Row { name, outputs: &[], lower }
}

/// A row of an operation with several named outputs.
pub(super) const fn multi(name: &'static str, outputs: &'static [&'static str], lower: Lower) -> Row {
    Row { name, outputs, lower }
}

/// The tables of all families.
pub(super) const FAMILIES: &[&[Row]] = &[
    super::activation::ROWS,
    super::audio::ROWS,
    super::call::ROWS,
    super::control::ROWS,
    super::conv::ROWS,
    super::dense::ROWS,
    super::elementwise::ROWS,
    super::gather::ROWS,
    super::image::ROWS,
    super::list::ROWS,
    super::movement::ROWS,
    super::norm::ROWS,
    super::phases::ROWS,
    super::pool::ROWS,
    super::quantize::ROWS,
    super::reduce::ROWS,
    super::shape::ROWS,
    super::state::ROWS,
];

/// The row of an operation.
pub(super) fn find(name: &str) -> Option<&'static Row> {
    FAMILIES.iter().find_map(|rows| {
        let at = rows.binary_search_by(|r| r.name.cmp(name)).ok()?;
        rows.get(at)
    })
}

/// The names of all operations, sorted.
pub(super) fn names() -> Vec<&'static str> {
    let mut all: Vec<&str> = FAMILIES.iter().flat_map(|rows| rows.iter().map(|r| r.name)).collect();
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_sorted_and_no_operation_stands_in_two() {
        for rows in FAMILIES {
            let at = rows.windows(2).find(|w| w[0].name >= w[1].name);
            assert!(at.is_none(), "{} stands before {}", at.unwrap()[0].name, at.unwrap()[1].name);
        }
        let all = names();
        assert!(all.windows(2).all(|w| w[0] < w[1]));
        assert!(all.iter().all(|n| find(n).is_some_and(|r| r.name == *n)));
    }
}
