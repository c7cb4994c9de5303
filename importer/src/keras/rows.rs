//! The table of layers: each family file holds its rows.

use super::call::{Cx, Val};
use super::model::Layer;
use super::weights::Slot;
use crate::error::Result;

/// How one or several classes of layers are imported.
pub struct Row {
    /// Class names of Keras 2 and 3.
    pub classes: &'static [&'static str],
    /// Arrays the layer owns, in Keras's order, for a major version.
    pub slots: fn(&Layer, u8) -> Result<Vec<Slot>>,
    /// Builds the graph of one call.
    pub lower: fn(&mut Cx<'_, '_>) -> Result<Vec<Val>>,
    /// The mask of the input is also that of the output.
    pub keeps_mask: bool,
}

impl Row {
    /// A row of layers without weights.
    pub const fn plain(classes: &'static [&'static str], lower: fn(&mut Cx<'_, '_>) -> Result<Vec<Val>>) -> Self {
        Self { classes, slots: no_slots, lower, keeps_mask: false }
    }

    /// A row of layers with weights.
    pub const fn new(
        classes: &'static [&'static str],
        slots: fn(&Layer, u8) -> Result<Vec<Slot>>,
        lower: fn(&mut Cx<'_, '_>) -> Result<Vec<Val>>,
    ) -> Self {
        Self { classes, slots, lower, keeps_mask: false }
    }

    /// The same row for layers that hand their input's mask on.
    pub const fn masked(self) -> Self {
        Self { keeps_mask: true, ..self }
    }
}

/// Slots of a layer without weights.
pub fn no_slots(_: &Layer, _: u8) -> Result<Vec<Slot>> {
    Ok(Vec::new())
}

/// Every family, in the order of the documentation.
pub const FAMILIES: &[(&str, &[Row])] = &[
    ("activation", super::activation::ROWS),
    ("attention", super::attention::ROWS),
    ("conv", super::conv::ROWS),
    ("dense", super::dense::ROWS),
    ("merge", super::merge::ROWS),
    ("norm", super::norm::ROWS),
    ("ops", super::ops::ROWS),
    ("ops", super::ops::arrays::ROWS),
    ("ops", super::ops::numpy::ROWS),
    ("pool", super::pool::ROWS),
    ("preprocess", super::preprocess::ROWS),
    ("recurrent", super::recurrent::ROWS),
    ("resize", super::resize::ROWS),
    ("shape", super::shape::ROWS),
    ("tf_ops", super::tf_ops::ROWS),
    ("wrapper", super::wrapper::ROWS),
];

/// The row of a class.
pub fn row(class: &str) -> Option<&'static Row> {
    FAMILIES.iter().flat_map(|(_, rows)| rows.iter()).find(|r| r.classes.contains(&class))
}

/// Slots of a layer: of its row, or of the layers of a nested model. Frozen layers have no trainable ones.
pub fn slots(layer: &Layer, version: u8) -> Result<Vec<Slot>> {
    if let Some(model) = &layer.model {
        let mut all = Vec::new();
        for (inner, name) in model.layers.iter().zip(super::weights::store_names(model)) {
            all.extend(super::weights::inside(&format!("layers/{name}"), slots(inner, version)?));
        }
        return Ok(all);
    }
    let mut slots = match (layer.lowering(), row(&layer.class)) {
        (Some(own), _) => own
            .weights(&layer.config)
            .into_iter()
            .map(|w| if w.trainable { Slot::new(&w.name) } else { Slot::fixed(&w.name) })
            .collect(),
        (None, Some(row)) => (row.slots)(layer, version)?,
        (None, None) => return Ok(Vec::new()),
    };
    if layer.config.get("trainable") == Some(&serde_json::Value::Bool(false)) {
        slots.iter_mut().for_each(|s| s.trainable = false);
    }
    Ok(slots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_class_has_one_row() {
        let mut seen = BTreeSet::new();
        for class in FAMILIES.iter().flat_map(|(_, rows)| rows.iter()).flat_map(|r| r.classes) {
            assert!(seen.insert(class), "{class} has two rows");
        }
        assert!(row("Conv2D").is_some());
        assert!(row("Lambda").is_none());
    }
}
