//! Which operators are known, and since which versions: one table a family, each sorted by domain and name.

use super::node::{Lowered, Node};
use crate::error::Result;

/// Adds what an operator computes to the graph and gives its outputs.
pub(super) type Lower = fn(&mut Node) -> Result<Lowered>;

/// One operator.
pub(super) struct Row {
    /// Domain; empty is `ai.onnx`.
    pub domain: &'static str,
    /// Name.
    pub name: &'static str,
    /// Opsets in which the operator's definition changed, ascending.
    pub since: &'static [i64],
    /// The lowering.
    pub lower: Lower,
}

/// A row of the default domain.
pub(super) const fn op(name: &'static str, since: &'static [i64], lower: Lower) -> Row {
    Row { domain: "", name, since, lower }
}

/// The newest version of the default domain whose definitions the tables were checked against.
pub(super) const NEWEST_OPSET: i64 = 28;

/// The tables of all families.
pub(super) const FAMILIES: &[&[Row]] = &[
    super::activation::ROWS,
    super::attention::ROWS,
    super::constant::ROWS,
    super::control::ROWS,
    super::conv::ROWS,
    super::dense::ROWS,
    super::elementwise::ROWS,
    super::gather::ROWS,
    super::integer::ROWS,
    super::list::ROWS,
    super::logic::ROWS,
    super::loss::ROWS,
    super::microsoft::ROWS,
    super::ml::ROWS,
    super::movement::ROWS,
    super::norm::ROWS,
    super::pad::ROWS,
    super::pool::ROWS,
    super::quantize::ROWS,
    super::random::ROWS,
    super::recurrent::ROWS,
    super::reduce::ROWS,
    super::resize::ROWS,
    super::sample::ROWS,
    super::scan::ROWS,
    super::signal::ROWS,
    super::softmax::ROWS,
    super::stateful::ROWS,
    super::text::ROWS,
    super::training::ROWS,
    super::window::ROWS,
];

/// The row of an operator.
pub(super) fn find(domain: &str, name: &str) -> Option<&'static Row> {
    FAMILIES.iter().find_map(|rows| {
        let at = rows.binary_search_by(|r| (r.domain, r.name).cmp(&(domain, name))).ok()?;
        rows.get(at)
    })
}

/// The operator whose name is nearest to this one.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    crate::nearest::nearest(name, FAMILIES.iter().copied().flatten().map(|r| r.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_sorted_and_no_operator_stands_in_two() {
        let mut seen = std::collections::BTreeSet::new();
        for rows in FAMILIES {
            let sorted = rows.windows(2).all(|w| (w[0].domain, w[0].name) < (w[1].domain, w[1].name));
            assert!(sorted, "table with {} is not sorted", rows[0].name);
            for row in *rows {
                assert!(seen.insert((row.domain, row.name)), "{} stands in two tables", row.name);
                assert!(!row.since.is_empty() && row.since.windows(2).all(|w| w[0] < w[1]), "{}", row.name);
                assert!(!row.domain.is_empty() || row.since.iter().all(|&v| v <= NEWEST_OPSET), "{}", row.name);
                let found = find(row.domain, row.name).unwrap();
                assert_eq!((found.domain, found.name, found.since), (row.domain, row.name, row.since));
            }
        }
    }
}
