//! Which operators are known: one table a family, each sorted by name.

use super::node::{Lowered, Node};
use crate::error::Result;

/// Adds what an operator computes to the graph and gives its outputs.
pub(super) type Lower = fn(&mut Node) -> Result<Lowered>;

/// What an operator does with quantized tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Integers {
    /// It moves or compares the numbers as they are, whatever they stand for.
    AsTheyAre,
    /// Its lowering looks at the quantization itself.
    Itself,
    /// It is computed in f32, between a dequantization and a quantization.
    InFloat,
}

/// One operator.
pub(super) struct Row {
    /// Name in the schema.
    pub name: &'static str,
    /// Quantized tensors.
    pub integers: Integers,
    /// The lowering.
    pub lower: Lower,
}

/// An operator that moves elements.
pub(super) const fn moves(name: &'static str, lower: Lower) -> Row {
    Row { name, integers: Integers::AsTheyAre, lower }
}

/// An operator with an integer form of its own.
pub(super) const fn both(name: &'static str, lower: Lower) -> Row {
    Row { name, integers: Integers::Itself, lower }
}

/// An operator that is computed in f32.
pub(super) const fn float(name: &'static str, lower: Lower) -> Row {
    Row { name, integers: Integers::InFloat, lower }
}

/// The tables of all families.
pub(super) const FAMILIES: &[&[Row]] = &[
    super::activation::ROWS,
    super::control::ROWS,
    super::conv::ROWS,
    super::dense::ROWS,
    super::elementwise::ROWS,
    super::gather::ROWS,
    super::logic::ROWS,
    super::movement::ROWS,
    super::norm::ROWS,
    super::pad::ROWS,
    super::pool::ROWS,
    super::quantize::ROWS,
    super::recurrent::ROWS,
    super::reduce::ROWS,
    super::resize::ROWS,
    super::shape::ROWS,
    super::softmax::ROWS,
    super::stablehlo::ROWS,
];

/// The row of an operator.
pub(super) fn find(name: &str) -> Option<&'static Row> {
    FAMILIES.iter().find_map(|rows| rows.get(rows.binary_search_by(|r| r.name.cmp(name)).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tflite::names;

    #[test]
    fn every_table_is_sorted_and_names_operators_of_the_schema() {
        let mut seen = std::collections::BTreeSet::new();
        for rows in FAMILIES {
            assert!(rows.windows(2).all(|w| w[0].name < w[1].name), "table with {} is not sorted", rows[0].name);
            for row in *rows {
                assert!(seen.insert(row.name), "{} stands in two tables", row.name);
                assert!(names::OPERATORS.contains(&row.name), "{}", row.name);
                assert_eq!(find(row.name).unwrap().name, row.name);
            }
        }
    }
}
