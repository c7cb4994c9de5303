//! What the caller may decide about an import, and what the import says about its source.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use crate::detect::Format;
use crate::error::ImportError;
use crate::limits::Limits;
use crate::own::{LayerLowering, OperatorLowering, OwnLayers, OwnOperators};

/// The framework a Keras 1 model was trained with, which decides whether convolution kernels are flipped
/// (Theano convolves, TensorFlow correlates).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keras1Backend {
    /// Kernels are stored flipped in both spatial axes.
    Theano,
    /// Kernels are stored as they are applied.
    TensorFlow,
}

impl FromStr for Keras1Backend {
    type Err = ImportError;

    fn from_str(name: &str) -> Result<Self, ImportError> {
        match name.to_ascii_lowercase().as_str() {
            "theano" | "th" => Ok(Self::Theano),
            "tensorflow" | "tf" => Ok(Self::TensorFlow),
            _ => Err(ImportError::invalid("unknown Keras 1 backend").expected("theano or tensorflow").found(name)),
        }
    }
}

/// The library under a Keras 3 model. TensorFlow's adds the bias of a `channels_first` convolution along the last axis where that has
/// as many elements as the bias (Keras 3.7 and later, see `docs/conformance.md`); the others add it along the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keras3Backend {
    /// Keras's default.
    TensorFlow,
    /// JAX.
    Jax,
    /// PyTorch.
    Torch,
}

impl FromStr for Keras3Backend {
    type Err = ImportError;

    fn from_str(name: &str) -> Result<Self, ImportError> {
        match name.to_ascii_lowercase().as_str() {
            "tensorflow" | "tf" => Ok(Self::TensorFlow),
            "jax" => Ok(Self::Jax),
            "torch" | "pytorch" => Ok(Self::Torch),
            _ => Err(ImportError::invalid("unknown Keras backend").expected("tensorflow, jax or torch").found(name)),
        }
    }
}

/// The caller's choices; the default suits every model that is complete in itself.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Backend of a Keras 1 model whose file does not say it.
    pub keras1_backend: Option<Keras1Backend>,
    /// Library under a Keras 3 model whose file does not say it. Without a word `channels_first` convolutions of one and two axes, which
    /// TensorFlow does not run on a CPU, are taken as documented, and those of three as TensorFlow computes them.
    pub keras3_backend: Option<Keras3Backend>,
    /// Weights that belong to an architecture JSON.
    pub weights: Option<PathBuf>,
    /// Sizes for symbolic dimensions, by name.
    pub dims: BTreeMap<String, usize>,
    /// Inner tensors to use as inputs instead of the model's own.
    pub feed: Vec<String>,
    /// Shapes of inner tensors that are fed, by the name in `feed`, where the model does not say them; `None` is an unknown extent.
    pub feed_shapes: BTreeMap<String, Vec<Option<usize>>>,
    /// Inner tensors to return instead of the model's own outputs.
    pub fetch: Vec<String>,
    /// Leave [`Provenance::sha256`] empty: for whoever records nothing, a large file is read once less.
    pub no_digest: bool,
    /// Signature of a SavedModel; absent is `serving_default`, or the only one.
    pub signature: Option<String>,
    /// Budgets.
    pub limits: Limits,
    /// Keras layers of the program's own.
    pub layers: OwnLayers,
    /// Operators of the program's own.
    pub operators: OwnOperators,
}

impl ImportOptions {
    /// Says how layers of a class are imported that Keras does not have, or a `Lambda` layer (the class is `Lambda` then; the name
    /// tells one from another). It goes before the importer's own table.
    pub fn register_layer(&mut self, class: &str, lowering: Arc<dyn LayerLowering>) -> &mut Self {
        self.layers.insert(class, lowering);
        self
    }

    /// Says how an operator of a domain is imported. It goes before the importer's own table. The custom operators of TFLite are in the domain
    /// [`crate::own::TFLITE`], TensorFlow's operations in [`crate::own::TENSORFLOW`].
    pub fn register_operator(&mut self, domain: &str, name: &str, lowering: Arc<dyn OperatorLowering>) -> &mut Self {
        self.operators.insert(domain, name, lowering);
        self
    }
}

/// Where a graph came from; written into the converted file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Source format.
    pub format: Format,
    /// Writer of the source file as far as it says, such as `keras 3.10.0` or `pytorch 2.1`.
    pub producer: Option<String>,
    /// File name without folders.
    pub file: Option<String>,
    /// SHA-256 of the source bytes, in hexadecimal; of a SavedModel those of `saved_model.pb`, then of the files `variables/variables.*` in the
    /// order of their names. Empty with [`ImportOptions::no_digest`].
    pub sha256: String,
}
