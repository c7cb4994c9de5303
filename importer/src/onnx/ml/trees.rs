//! Ensembles of trees: their tables as the runtime's op has them.

use std::collections::HashMap;

use pocketnn::Tensor;
use pocketnn::ops::elementwise::{BinaryKind, UnaryKind};
use pocketnn::ops::gather::Gather;
use pocketnn::ops::trees::{Aggregate, TreeEnsemble};

use super::super::attrs::{missing, unknown_value};
use super::super::constant::cast_to;
use super::super::elem::Elem;
use super::super::node::{Lowered, Node, V, one, runtime};
use super::super::tensor;
use super::{Labels, Transform, best, floats, numbers, two_columns, wide};
use crate::error::{ImportError, Result};

/// The operands of [`TreeEnsemble`] behind `x`.
#[derive(Default)]
struct Tables {
    nodes: Vec<i64>,
    values: Vec<f64>,
    missing: Vec<i64>,
    roots: Vec<i64>,
    leaves: Vec<i64>,
    targets: Vec<i64>,
    weights: Vec<f64>,
    sets: Vec<i64>,
    members: Vec<f64>,
}

impl Tables {
    fn emit(self, cx: &mut Node, x: V, targets: usize, aggregate: Aggregate) -> Result<V> {
        let rows = |list: Vec<i64>, columns: usize| {
            let n = list.len().checked_div(columns).unwrap_or(0);
            Tensor::new(&[n, columns], list).map_err(|e| runtime(&e))
        };
        let all = [
            rows(self.nodes, 4)?,
            Tensor::vector(&self.values),
            Tensor::vector(&self.roots),
            rows(self.leaves, 2)?,
            Tensor::vector(&self.targets),
            Tensor::vector(&self.weights),
            rows(self.sets, 2)?,
            Tensor::vector(&self.members),
            Tensor::vector(&self.missing),
        ];
        let mut ids = vec![x.id];
        for t in all {
            ids.push(cx.tensor(t));
        }
        cx.op(TreeEnsemble { targets, aggregate, dtype: x.elem.carried()? }, &ids, x.elem)
    }
}

fn number(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn need_ints(cx: &Node, name: &str) -> Result<Vec<i64>> {
    cx.attrs.ints(name)?.ok_or_else(|| missing(name))
}

/// Numbers of a tensor attribute.
fn numbers_of(cx: &Node, name: &str) -> Result<Option<Vec<f64>>> {
    let Some(raw) = cx.attrs.tensor(name)? else { return Ok(None) };
    Ok(Some(tensor::tensor(raw.clone(), cx.walker.folder, cx.walker.budget)?.1.to_f64()))
}

/// Numbers of a list attribute, or of the tensor attribute that stands for it since version 3.
fn either(cx: &Node, name: &str) -> Result<Option<Vec<f64>>> {
    let list = cx.attrs.floats(name)?.filter(|l| !l.is_empty()).map(|l| wide(&l));
    Ok(match numbers_of(cx, &format!("{name}_as_tensor"))? {
        Some(t) => Some(t),
        None => list,
    })
}

fn unequal(what: &str, expected: usize, found: usize) -> ImportError {
    ImportError::invalid("lists of different lengths").expected(expected).found(found).at_attribute(what)
}

/// Version 5: nodes and leaves in tables of their own.
pub(super) fn ensemble(cx: &mut Node) -> Result<Lowered> {
    let x = floats(cx, 0)?;
    let features = need_ints(cx, "nodes_featureids")?;
    let splits = numbers_of(cx, "nodes_splits")?.ok_or_else(|| missing("nodes_splits"))?;
    let modes = numbers_of(cx, "nodes_modes")?.ok_or_else(|| missing("nodes_modes"))?;
    let (yes, no) = (need_ints(cx, "nodes_truenodeids")?, need_ints(cx, "nodes_falsenodeids")?);
    let (yes_leaf, no_leaf) = (need_ints(cx, "nodes_trueleafs")?, need_ints(cx, "nodes_falseleafs")?);
    let nan = cx.attrs.ints("nodes_missing_value_tracks_true")?.filter(|l| !l.is_empty());
    let members = numbers_of(cx, "membership_values")?.unwrap_or_default();
    let (targets, roots) = (need_ints(cx, "leaf_targetids")?, need_ints(cx, "tree_roots")?);
    let weights = numbers_of(cx, "leaf_weights")?.ok_or_else(|| missing("leaf_weights"))?;
    cx.attrs.ignore(&["nodes_hitrates"]);
    let n = features.len();
    let lengths = [splits.len(), modes.len(), yes.len(), no.len(), yes_leaf.len(), no_leaf.len()];
    if let Some(&found) = lengths.iter().find(|&&l| l != n) {
        return Err(unequal("nodes_featureids", n, found));
    }
    let step = |at: i64, leaf: i64| if leaf != 0 { (-1i64).saturating_sub(at) } else { at };
    let mut t = Tables { roots, weights, missing: nan.unwrap_or_else(|| vec![0; n]), ..Tables::default() };
    let mut sets = members.split(|m| m.is_nan());
    let rows = features.iter().zip(&modes).zip(splits).zip(yes.iter().zip(&yes_leaf)).zip(no.iter().zip(&no_leaf));
    for ((((&feature, &mode), split), (&yes, &yes_leaf)), (&no, &no_leaf)) in rows {
        t.nodes.extend([feature, mode as i64, step(yes, yes_leaf), step(no, no_leaf)]);
        if mode == 6.0 {
            let set = sets.next().unwrap_or_default();
            t.values.push(number(t.sets.len() / 2) as f64);
            t.sets.extend([number(t.members.len()), number(set.len())]);
            t.members.extend(set);
        } else {
            t.values.push(split);
        }
    }
    t.leaves = (0..targets.len()).flat_map(|i| [number(i), 1]).collect();
    t.targets = targets;
    let count = cx.attrs.opt_int("n_targets")?.ok_or_else(|| missing("n_targets"))?;
    let count =
        usize::try_from(count).map_err(|_| ImportError::invalid("a negative number").at_attribute("n_targets"))?;
    let aggregate = match cx.attrs.int("aggregate_function", 1)? {
        0 => Aggregate::Mean,
        1 => Aggregate::Sum,
        2 => Aggregate::Min,
        3 => Aggregate::Max,
        other => return Err(unknown_value("aggregate_function", "0 to 3", &other.to_string())),
    };
    let transform = match cx.attrs.int("post_transform", 0)? {
        0 => Transform::None,
        1 => Transform::Softmax,
        2 => Transform::Logistic,
        3 => Transform::SoftmaxZero,
        4 => Transform::Probit,
        other => return Err(unknown_value("post_transform", "0 to 4", &other.to_string())),
    };
    let y = t.emit(cx, x, count, aggregate)?;
    one(transform.apply(cx, y)?)
}

/// Versions 1 and 3: nodes named by tree and number, leaves among them, weights in a list beside.
fn named(cx: &Node, kind: &str) -> Result<Tables> {
    let trees = need_ints(cx, "nodes_treeids")?;
    let ids = need_ints(cx, "nodes_nodeids")?;
    let features = need_ints(cx, "nodes_featureids")?;
    let (yes, no) = (need_ints(cx, "nodes_truenodeids")?, need_ints(cx, "nodes_falsenodeids")?);
    let modes = cx.attrs.strings("nodes_modes")?.ok_or_else(|| missing("nodes_modes"))?;
    let values = either(cx, "nodes_values")?.ok_or_else(|| missing("nodes_values"))?;
    let nan = cx.attrs.ints("nodes_missing_value_tracks_true")?.filter(|l| !l.is_empty());
    cx.attrs.ignore(&["nodes_hitrates", "nodes_hitrates_as_tensor"]);
    let n = ids.len();
    let nan = nan.unwrap_or_else(|| vec![0; n]);
    let lengths = [trees.len(), features.len(), yes.len(), no.len(), modes.len(), values.len(), nan.len()];
    if let Some(&found) = lengths.iter().find(|&&l| l != n) {
        return Err(unequal("nodes_nodeids", n, found));
    }
    let mut t = Tables::default();
    let entries = entries(cx, kind, &mut t)?;
    // Where each named node went: a row of the nodes, or -1 - a leaf.
    let mut place: HashMap<(i64, i64), i64> = HashMap::new();
    let mut branches = 0i64;
    for ((&tree, &id), mode) in trees.iter().zip(&ids).zip(&modes) {
        let at = if mode == "LEAF" {
            let (start, len) = entries.get(&(tree, id)).copied().unwrap_or((0, 0));
            t.leaves.extend([start, len]);
            -number(t.leaves.len() / 2)
        } else {
            branches = branches.saturating_add(1);
            branches.saturating_sub(1)
        };
        if place.insert((tree, id), at).is_some() {
            return Err(
                ImportError::invalid("two nodes of a tree have one number").found(format!("{id} of tree {tree}"))
            );
        }
    }
    let mut inner: std::collections::HashSet<(i64, i64)> = std::collections::HashSet::new();
    let rows = trees.iter().zip(&modes).zip(features.iter().zip(&values)).zip(yes.iter().zip(&no)).zip(&nan);
    for ((((&tree, mode), (&feature, &value)), (&yes, &no)), &nan) in rows {
        if mode == "LEAF" {
            continue;
        }
        let test = match mode.as_str() {
            "BRANCH_LEQ" => 0,
            "BRANCH_LT" => 1,
            "BRANCH_GTE" => 2,
            "BRANCH_GT" => 3,
            "BRANCH_EQ" => 4,
            "BRANCH_NEQ" => 5,
            other => {
                return Err(unknown_value(
                    "nodes_modes",
                    "`LEAF` or one of `BRANCH_LEQ`, `_LT`, `_GTE`, `_GT`, `_EQ`, `_NEQ`",
                    other,
                ));
            }
        };
        let mut to = |id: i64| {
            inner.insert((tree, id));
            place
                .get(&(tree, id))
                .copied()
                .ok_or_else(|| ImportError::invalid("a node that is not there").found(format!("{id} of tree {tree}")))
        };
        let (yes, no) = (to(yes)?, to(no)?);
        t.nodes.extend([feature, test, yes, no]);
        t.values.push(value);
        t.missing.push(nan);
    }
    for key in trees.iter().copied().zip(ids.iter().copied()).filter(|k| !inner.contains(k)) {
        t.roots.extend(place.get(&key));
    }
    Ok(t)
}

/// The weights, sorted by leaf: first one and number of each leaf's.
fn entries(cx: &Node, kind: &str, t: &mut Tables) -> Result<HashMap<(i64, i64), (i64, i64)>> {
    let list = |what: &str| need_ints(cx, &format!("{kind}_{what}"));
    let (trees, nodes, ids) = (list("treeids")?, list("nodeids")?, list("ids")?);
    let name = format!("{kind}_weights");
    let weights = either(cx, &name)?.ok_or_else(|| missing(&name))?;
    if let Some(&found) = [trees.len(), nodes.len(), weights.len()].iter().find(|&&l| l != ids.len()) {
        return Err(unequal(&name, ids.len(), found));
    }
    let mut all: Vec<((i64, i64), i64, f64)> =
        trees.into_iter().zip(nodes).zip(ids).zip(weights).map(|((key, id), w)| (key, id, w)).collect();
    all.sort_by_key(|e| e.0);
    let mut out: HashMap<(i64, i64), (i64, i64)> = HashMap::new();
    for (i, (key, id, w)) in all.into_iter().enumerate() {
        let range = out.entry(key).or_insert((number(i), 0));
        range.1 = range.1.saturating_add(1);
        t.targets.push(id);
        t.weights.push(w);
    }
    Ok(out)
}

/// Adds the base values, one a target or one for all.
fn based(cx: &mut Node, y: V, base: Option<Vec<f64>>) -> Result<V> {
    let Some(base) = base else { return Ok(y) };
    let base = numbers(cx, y, &[base.len()], base)?;
    cx.binary(BinaryKind::Add, y, base)
}

pub(super) fn regressor(cx: &mut Node) -> Result<Lowered> {
    let x = floats(cx, 0)?;
    let t = named(cx, "target")?;
    let count = cx.attrs.opt_int("n_targets")?.ok_or_else(|| missing("n_targets"))?;
    let count =
        usize::try_from(count).map_err(|_| ImportError::invalid("a negative number").at_attribute("n_targets"))?;
    let aggregate = match cx.attrs.string("aggregate_function", "SUM")?.as_str() {
        "SUM" => Aggregate::Sum,
        "AVERAGE" => Aggregate::Mean,
        "MIN" => Aggregate::Min,
        "MAX" => Aggregate::Max,
        other => return Err(unknown_value("aggregate_function", "`SUM`, `AVERAGE`, `MIN` or `MAX`", other)),
    };
    let base = either(cx, "base_values")?;
    let transform = Transform::read(cx)?;
    let y = t.emit(cx, x, count, aggregate)?;
    let y = based(cx, y, base)?;
    let y = transform.apply(cx, y)?;
    one(cast_to(cx, y, Elem::F32)?)
}

pub(super) fn classifier(cx: &mut Node) -> Result<Lowered> {
    let x = floats(cx, 0)?;
    let t = named(cx, "class")?;
    let labels = Labels::read(cx, "classlabels_int64s", "classlabels_strings")?;
    let labels = labels.ok_or_else(|| missing("classlabels_int64s"))?;
    let base = either(cx, "base_values")?;
    let transform = Transform::read(cx)?;
    // Weights of one class only are scores of the second of two.
    let first = t.targets.first().copied().unwrap_or(0);
    let binary = labels.len() <= 2 && t.targets.iter().all(|&c| c == first);
    let y = t.emit(cx, x, labels.len(), Aggregate::Sum)?;
    let mut y = based(cx, y, base)?;
    if binary {
        let column = cx.integers(&[first]);
        let score = cx.op(Gather { axis: 1 }, &[y.id, column], y.elem)?;
        let other = if matches!(transform, Transform::None | Transform::Probit) {
            let unit = cx.scalar_like(score, 1.0)?;
            cx.binary(BinaryKind::Sub, unit, score)?
        } else {
            cx.unary(UnaryKind::Neg, score)?
        };
        y = two_columns(cx, other, score)?;
    }
    let scores = transform.apply(cx, y)?;
    let class = best(cx, scores)?;
    let label = if labels.len() == 1 { class } else { labels.of(cx, class)? };
    let scores = cast_to(cx, scores, Elem::F32)?;
    Ok(vec![label.into(), scores.into()])
}
