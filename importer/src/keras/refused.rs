//! Layers of Keras that are not imported: why, and what to do instead.

const STRINGS: &str =
    "look the words up in the program and feed the model integers: cut the model behind this layer and save that part";
const SPECTRUM: &str =
    "compute the spectrum in the program and feed it: cut the model behind this layer and save that part";
const WRAPPED: &str = "export the wrapped network itself, for PyTorch as .onnx";

/// Class, reason, what to do; in alphabetical order.
pub const REFUSED: &[(&str, &str, &str)] = &[
    (
        "ContrastLimitedAdaptiveHistogramEqualization",
        "it counts pixels of equal values while running",
        "equalise pictures in the program before they are fed",
    ),
    (
        "Equalization",
        "it counts pixels of equal values while running",
        "equalise pictures in the program before they are fed",
    ),
    ("FlaxLayer", "it holds a network of another framework", WRAPPED),
    ("HashedCrossing", "it hashes text", STRINGS),
    ("Hashing", "it hashes the text of its input", STRINGS),
    ("JaxLayer", "it holds a network of another framework", WRAPPED),
    (
        "Lambda",
        "a Lambda layer holds Python code",
        "replace it by the layers or keras.ops calls it stands for and save the model again, or register a lowering for `Lambda`",
    ),
    ("MaxNumBoundingBoxes", "it pads lists of boxes for training", "leave it out of the model that is saved"),
    ("MelSpectrogram", "it computes a Fourier transform", SPECTRUM),
    ("STFTSpectrogram", "it computes a Fourier transform", SPECTRUM),
    ("StringLookup", "strings are no tensors here", STRINGS),
    ("TFSMLayer", "it holds a SavedModel", "import the SavedModel itself"),
    ("TextVectorization", "strings are no tensors here", STRINGS),
    ("TorchModuleWrapper", "it holds a network of another framework", WRAPPED),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_layers_are_in_order_and_have_no_row() {
        assert!(REFUSED.is_sorted_by_key(|r| r.0));
        assert!(REFUSED.iter().all(|r| super::super::rows::row(r.0).is_none() && !r.1.is_empty() && !r.2.is_empty()));
    }
}
