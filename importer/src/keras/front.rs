//! Whether a model makes its pixels ready itself: then pictures go in as they are.

use pocketnn::Preprocessing;

use super::model::{Arg, Layer, Model, Reference};

/// Layers in front of the one that scales pixels: they move, cut or keep them.
const BEFORE: &[&str] = &["CenterCrop", "Cropping2D", "Identity", "Permute", "Reshape", "Resizing", "ZeroPadding2D"];

/// Raw pixels, where the only input is an image that a `Rescaling` or `Normalization` layer reads first.
pub fn preprocessing(model: &Model) -> Option<Preprocessing> {
    let [input] = model.inputs.as_slice() else { return None };
    let layer = model.layers.get(input.layer)?;
    let shape = layer.config.get("batch_shape").or_else(|| layer.config.get("batch_input_shape"))?;
    let rank = super::config::plain(shape).as_array().map_or(0, Vec::len);
    let name = scaled_by(model, *input).filter(|_| matches!(rank, 3 | 4))?;
    let source = format!("`{name}` in the model scales pixels of 0 to 255");
    Some(Preprocessing { scale: Some(1.0), source: Some(source), ..Preprocessing::default() })
}

/// The layer behind `at`, past layers that leave values as they are, if it scales.
fn scaled_by(model: &Model, at: Reference) -> Option<String> {
    let mut at = at;
    // A chain of layers is no longer than there are layers.
    for _ in 0..model.layers.len() {
        let (i, layer) = only_reader(model, at)?;
        if let Some(inner) = &layer.model {
            let [input] = inner.inputs.as_slice() else { return None };
            return scaled_by(inner, *input).map(|n| format!("{}/{n}", layer.name));
        }
        match layer.class.as_str() {
            "Rescaling" | "Normalization" => return Some(layer.name.clone()),
            class if BEFORE.contains(&class) || class.starts_with("Random") => {}
            _ => return None,
        }
        at = Reference { layer: i, call: 0, tensor: 0 };
    }
    None
}

fn only_reader(model: &Model, at: Reference) -> Option<(usize, &Layer)> {
    let reads = |l: &Layer| l.calls.iter().any(|c| c.args.iter().any(|a| holds(a, at)));
    let mut readers = model.layers.iter().enumerate().filter(|(_, l)| reads(l));
    readers.next().filter(|_| readers.next().is_none())
}

fn holds(arg: &Arg, at: Reference) -> bool {
    match arg {
        Arg::Tensor(r) => *r == at,
        Arg::List(list) => list.iter().any(|a| holds(a, at)),
        Arg::Value(_) => false,
    }
}
