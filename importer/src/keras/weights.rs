//! Which array belongs to which layer.
//!
//! Every layer declares its [`Slot`]s: names of its arrays in Keras's own order, trainable ones first. A slot's folders
//! (`cell/kernel`, `layers/dense/kernel`) mirror Keras's object tree, so that one declaration serves both ways of storing:
//!
//! * **legacy** (`.h5` of Keras 1 to 3): one flat list a top-level layer, all trainable arrays first;
//! * **store** (`model.weights.h5`): a folder an object, arrays numbered in `vars`.

use std::collections::{BTreeMap, HashMap};

use super::hdf5::{Array, File};
use super::model::{Layer, Model};
use crate::error::{ImportError, Result};

/// One array that a layer owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Folders and name, such as `kernel` or `forward_layer/cell/bias`.
    pub path: String,
    /// False for statistics and for frozen layers.
    pub trainable: bool,
}

impl Slot {
    /// A trained array.
    pub fn new(path: &str) -> Self {
        Self { path: path.to_owned(), trainable: true }
    }

    /// A statistic.
    pub fn fixed(path: &str) -> Self {
        Self { path: path.to_owned(), trainable: false }
    }
}

/// Prefixes the paths of an inner object's slots.
pub fn inside(folder: &str, slots: Vec<Slot>) -> Vec<Slot> {
    slots.into_iter().map(|s| Slot { path: format!("{folder}/{}", s.path), ..s }).collect()
}

/// Names of the layers of a model in a store: class names in snake case, numbered where they repeat.
pub fn store_names(model: &Model) -> Vec<String> {
    numbered(&model.layers)
}

/// Names of the objects of a list in a store.
pub fn numbered(layers: &[Layer]) -> Vec<String> {
    let mut used: HashMap<String, usize> = HashMap::new();
    let name = |layer: &Layer| {
        // This class is registered under another name than its own.
        let own = if layer.original == "GroupQueryAttention" { "GroupedQueryAttention" } else { &layer.original };
        let base = snake_case(own);
        match used.get_mut(&base) {
            None => {
                used.insert(base.clone(), 0);
                base
            }
            Some(n) => {
                *n = n.saturating_add(1);
                format!("{base}_{n}")
            }
        }
    };
    layers.iter().map(name).collect()
}

/// Keras's `to_snake_case`: an underscore before each capital that starts a word.
fn snake_case(class: &str) -> String {
    let chars: Vec<char> = class.chars().filter(|c| c.is_alphanumeric() || *c == '_').collect();
    let mut first = String::new();
    for (i, &c) in chars.iter().enumerate() {
        let next_lower = chars.get(i.saturating_add(1)).is_some_and(char::is_ascii_lowercase);
        if i > 0 && c.is_ascii_uppercase() && next_lower {
            first.push('_');
        }
        first.push(c);
    }
    let mut second = String::new();
    let mut previous = ' ';
    for c in first.chars() {
        if previous.is_ascii_lowercase() && c.is_ascii_uppercase() {
            second.push('_');
        }
        second.push(c);
        previous = c;
    }
    second.to_ascii_lowercase()
}

/// Puts the vocabularies that an archive keeps as texts, one integer a line, into the configurations of their layers.
pub fn read_vocabularies(model: &mut Model, folder: &str, texts: &BTreeMap<String, String>) {
    if texts.is_empty() {
        return;
    }
    let names = store_names(model);
    for (layer, name) in model.layers.iter_mut().zip(names) {
        let place = format!("{folder}/{name}");
        if let Some(inner) = &mut layer.model {
            read_vocabularies(inner, &format!("{place}/layers"), texts);
        }
        let Some(text) = texts.get(&format!("{place}/vocabulary.txt")) else { continue };
        let words: Option<Vec<i64>> = text.lines().map(|l| l.trim().parse().ok()).collect();
        if let Some(words) = words.filter(|_| layer.config.get("vocabulary").is_none_or(serde_json::Value::is_null)) {
            layer.config.insert("vocabulary".to_owned(), words.into());
        }
    }
}

/// Where each slot of a layer lies in the file.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    paths: BTreeMap<String, String>,
}

impl Weights {
    /// The slots inside a folder, without it.
    pub fn scope(&self, folder: &str) -> Self {
        let prefix = format!("{folder}/");
        let inside = self.paths.iter().filter_map(|(k, v)| Some((k.strip_prefix(&prefix)?.to_owned(), v.clone())));
        Self { paths: inside.collect() }
    }

    /// Reads the array of a slot.
    pub fn read(&self, file: Option<&File<'_>>, slot: &str) -> Result<Array> {
        let (Some(file), Some(path)) = (file, self.paths.get(slot)) else {
            return Err(ImportError::invalid("a weight is missing").expected(format!("an array for `{slot}`")));
        };
        file.array(path)
    }
}

/// How the arrays of a file are arranged.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrangement {
    /// Lists by layer below this group, with layer names in file order.
    Legacy { root: String, layers: Vec<String> },
    /// Folders that mirror objects.
    Store,
}

impl Arrangement {
    /// Looks at the file.
    pub fn of(file: &File<'_>) -> Result<Self> {
        let root = if file.has_group("model_weights") { "model_weights" } else { "/" };
        if let Some(layers) = file.texts(root, "layer_names")? {
            return Ok(Self::Legacy { root: root.to_owned(), layers });
        }
        if LAYER_FOLDERS.iter().any(|f| file.has_group(f)) {
            return Ok(Self::Store);
        }
        Err(ImportError::format("no Keras weights in the HDF5 file")
            .expected("`layer_names` on the root or on `model_weights`, or a group `layers`")
            .found(format!("groups {:?}", file.children("/")?.0)))
    }
}

/// Names that a model's list of layers has in a store (the second by TensorFlow 2.11 and 2.12).
const LAYER_FOLDERS: &[&str] = &["layers", "_layer_checkpoint_dependencies"];

/// Finds the arrays of each top-level layer; `slots` gives a layer's declaration.
pub fn assign(model: &Model, file: &File<'_>, slots: impl Fn(&Layer) -> Result<Vec<Slot>>) -> Result<Vec<Weights>> {
    let declared: Vec<Vec<Slot>> =
        model.layers.iter().map(|l| slots(l).map_err(|e| e.at_node(&l.name).at_op(&l.class))).collect::<Result<_>>()?;
    match Arrangement::of(file)? {
        Arrangement::Legacy { root, layers } => legacy(model, file, &root, &layers, &declared),
        Arrangement::Store => {
            let names = store_names(model);
            let each = declared.iter().zip(names).zip(&model.layers);
            each.map(|((slots, name), layer)| {
                store(file, &format!("layers/{name}"), slots).map_err(|e| e.at_node(&layer.name).at_op(&layer.class))
            })
            .collect()
        }
    }
}

/// Slots resolved against folders. A slot without an array is left out; reading it is the error.
fn store(file: &File<'_>, root: &str, slots: &[Slot]) -> Result<Weights> {
    let mut counters: HashMap<&str, usize> = HashMap::new();
    let mut folders: HashMap<String, Option<String>> = HashMap::new();
    let mut weights = Weights::default();
    for slot in slots {
        let folder = slot.path.rsplit_once('/').map_or("", |(f, _)| f);
        let n = counters.entry(folder).or_insert(0);
        let wanted = if folder.is_empty() { root.to_owned() } else { format!("{root}/{folder}") };
        let found = folders.entry(wanted.clone()).or_insert_with(|| find_folder(file, &wanted));
        if let Some(found) = found {
            let path = format!("{found}/vars/{n}");
            if file.has_array(&path) {
                weights.paths.insert(slot.path.clone(), path);
            }
        }
        *n = n.saturating_add(1);
    }
    Ok(weights)
}

/// The folder as the file spells it: Keras 2 keeps the underscore of private attributes, older writers name `layers` otherwise.
fn find_folder(file: &File<'_>, wanted: &str) -> Option<String> {
    let mut path = String::new();
    for part in wanted.split('/') {
        let hidden = format!("_{part}");
        let mut options = vec![part, hidden.as_str()];
        if part == "layers" {
            options.extend(LAYER_FOLDERS);
        }
        let join = |o: &str| if path.is_empty() { o.to_owned() } else { format!("{path}/{o}") };
        path = options.into_iter().map(join).find(|p| file.has_group(p))?;
    }
    Some(path)
}

fn legacy(
    model: &Model,
    file: &File<'_>,
    root: &str,
    names: &[String],
    declared: &[Vec<Slot>],
) -> Result<Vec<Weights>> {
    let mut lists = Vec::new();
    for name in names {
        let group = if root == "/" { name.clone() } else { format!("{root}/{name}") };
        let arrays = file.texts(&group, "weight_names")?.unwrap_or_default();
        let arrays: Vec<String> = arrays.into_iter().filter(|a| !is_state(a)).map(|a| format!("{group}/{a}")).collect();
        lists.push((name.as_str(), arrays));
    }
    let by_name: HashMap<&str, &Vec<String>> = lists.iter().map(|(n, l)| (*n, l)).collect();
    let needing = |i: &usize| declared.get(*i).is_some_and(|s| !s.is_empty());
    let needed: Vec<usize> = (0..model.layers.len()).filter(needing).collect();
    let named = |i: &usize| model.layers.get(*i).and_then(|l| by_name.get(l.name.as_str()));
    let all_named = needed.iter().all(|i| named(i).is_some());
    let in_order: Vec<&Vec<String>> = lists.iter().map(|(_, l)| l).filter(|l| !l.is_empty()).collect();
    if !all_named && in_order.len() != needed.len() {
        return Err(ImportError::invalid("the weights belong to another architecture")
            .expected(format!("{} layers with weights", needed.len()))
            .found(format!("{} in the weights file", in_order.len())));
    }
    let mut all = vec![Weights::default(); model.layers.len()];
    for (k, &i) in needed.iter().enumerate() {
        let list = if all_named { named(&i).copied() } else { in_order.get(k).copied() };
        let (Some(list), Some(slots), Some(layer)) = (list, declared.get(i), model.layers.get(i)) else { continue };
        let weights = from_list(list, slots).map_err(|e| e.at_node(&layer.name).at_op(&layer.class))?;
        if let Some(place) = all.get_mut(i) {
            *place = weights;
        }
    }
    Ok(all)
}

/// Pairs a flat list with slots: trainable ones first, then the others.
fn from_list(list: &[String], slots: &[Slot]) -> Result<Weights> {
    if list.len() != slots.len() {
        let short = |p: &str| p.rsplit('/').next().unwrap_or(p).to_owned();
        return Err(ImportError::invalid("another number of weights than the layer has")
            .expected(format!("{:?}", slots.iter().map(|s| s.path.as_str()).collect::<Vec<_>>()))
            .found(format!("{:?}", list.iter().map(|p| short(p)).collect::<Vec<_>>())));
    }
    let ordered = slots.iter().filter(|s| s.trainable).chain(slots.iter().filter(|s| !s.trainable));
    Ok(Weights { paths: ordered.zip(list).map(|(s, p)| (s.path.clone(), p.clone())).collect() })
}

/// Random generators and counters that are kept beside weights and that inference does not read.
fn is_state(name: &str) -> bool {
    ["StateVar", "seed_generator", "vector_u", "/sn_u", "state_var"].iter().any(|s| name.contains(s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snake_case_is_that_of_keras() {
        for (class, name) in [
            ("Conv2D", "conv2d"),
            ("MaxPooling2D", "max_pooling2d"),
            ("LSTM", "lstm"),
            ("ReLU", "re_lu"),
            ("PReLU", "p_re_lu"),
            ("Conv2DTranspose", "conv2d_transpose"),
            ("SimpleRNN", "simple_rnn"),
            ("RMSNormalization", "rms_normalization"),
            ("ConvLSTM2D", "conv_lstm2d"),
            ("TimeDistributed", "time_distributed"),
            ("GRUCell", "gru_cell"),
            ("DepthwiseConv2D", "depthwise_conv2d"),
            ("GlobalAveragePooling1D", "global_average_pooling1d"),
        ] {
            assert_eq!(snake_case(class), name);
        }
    }

    #[test]
    fn a_flat_list_has_statistics_last() {
        let slots = [
            inside("layers/a", vec![Slot::new("gamma"), Slot::fixed("mean")]),
            inside("layers/b", vec![Slot::new("kernel")]),
        ]
        .concat();
        let list = ["g".to_owned(), "k".to_owned(), "m".to_owned()];
        let weights = from_list(&list, &slots).unwrap();
        assert_eq!(weights.paths["layers/a/mean"], "m");
        assert_eq!(weights.scope("layers/b").paths["kernel"], "k");
        assert!(from_list(&list[..2], &slots).unwrap_err().to_string().contains("layers/a/gamma"));
    }
}
