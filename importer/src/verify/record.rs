//! What a verification found, and how it is kept in a file.

use std::collections::BTreeMap;
use std::fmt;

use pocketnn::{DType, Tensor};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::{ImportError, Result};

/// Elements of an output that are stored.
const SAMPLE: usize = 64;

/// Smallest magnitude that differences are measured against.
const FLOOR: f64 = 1e-6;

/// What a verification found.
#[derive(Clone, Debug, PartialEq)]
pub struct Verification {
    /// Seed of the inputs.
    pub seed: u64,
    /// Sizes of the symbolic dimensions.
    pub dims: BTreeMap<String, usize>,
    /// Largest difference allowed, relative to the largest element.
    pub tolerance: f64,
    /// Every output stayed within the tolerance.
    pub passed: bool,
    /// Multiply-accumulates of the source graph.
    pub macs: u64,
    /// Number of values that were compared, outputs not counted.
    pub compared: usize,
    /// Figures of each output.
    pub outputs: Vec<OutputRecord>,
    /// The first value beyond the tolerance, in the order of the source. Where the outputs are within it, later ops made up for it.
    pub first_divergence: Option<Divergence>,
    /// What was left out or chosen.
    pub notes: Vec<String>,
}

/// A value that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    /// Name of the value.
    pub name: String,
    /// The source's op that computes it.
    pub op: String,
    /// Largest difference.
    pub max_abs: f64,
    /// Relative to the largest element.
    pub max_relative: f64,
}

/// An output as the converted model computed it.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputRecord {
    /// Its name.
    pub name: String,
    /// Element type.
    pub dtype: String,
    /// Extents.
    pub shape: Vec<usize>,
    /// SHA-256 of its little-endian elements, in hexadecimal.
    pub sha256: String,
    /// Up to 64 elements, evenly spread.
    pub sample: Vec<f64>,
    /// Largest magnitude.
    pub largest: f64,
    /// Largest difference from the source.
    pub max_abs: f64,
    /// Relative to the largest element.
    pub max_relative: f64,
}

/// The largest difference, absolute and relative to the largest finite element. What is not finite must be so in both, alike.
pub(super) fn difference(want: &Tensor, found: &Tensor) -> (f64, f64) {
    if want.dtype() != found.dtype() || want.shape() != found.shape() {
        return (f64::INFINITY, f64::INFINITY);
    }
    if let (Ok(a), Ok(b)) = (want.as_list(), found.as_list()) {
        let each = a.iter().zip(b).map(|(a, b)| difference(a, b));
        return each.fold((0.0, 0.0), |(m, r), (a, b)| (f64::max(m, a), f64::max(r, b)));
    }
    if want.dtype() == DType::Text {
        return if want == found { (0.0, 0.0) } else { (f64::INFINITY, f64::INFINITY) };
    }
    distance(&want.to_f64(), &found.to_f64())
}

/// Adds the elements of a tensor to a digest: bytes, or strings and tensors one by one.
fn digest(t: &Tensor, sum: &mut Sha256) {
    sum.update(t.bytes());
    for s in t.as_texts().into_iter().flatten() {
        sum.update(u64::try_from(s.len()).unwrap_or(u64::MAX).to_le_bytes());
        sum.update(s.as_bytes());
    }
    t.as_list().into_iter().flatten().for_each(|t| digest(t, sum));
}

fn distance(want: &[f64], found: &[f64]) -> (f64, f64) {
    let largest = want.iter().filter(|x| x.is_finite()).fold(FLOOR, |m, x| m.max(x.abs()));
    let each = want.iter().zip(found).map(|(a, b)| match (a.is_finite(), b.is_finite()) {
        (true, true) => (a - b).abs(),
        (false, false) if a == b || (a.is_nan() && b.is_nan()) => 0.0,
        _ => f64::INFINITY,
    });
    let worst = each.fold(0.0, f64::max);
    (worst, worst / largest)
}

impl OutputRecord {
    /// Of an output, without differences.
    pub(super) fn of(name: &str, y: &Tensor) -> Self {
        let values = if y.dtype().size() == 0 { Vec::new() } else { y.to_f64() };
        let mut sum = Sha256::new();
        digest(y, &mut sum);
        let step = values.len().div_ceil(SAMPLE).max(1);
        Self {
            name: name.to_owned(),
            dtype: y.dtype().name().to_owned(),
            shape: y.shape().to_vec(),
            sha256: crate::import::hexadecimal(sum),
            sample: values.iter().step_by(step).copied().collect(),
            largest: values.iter().filter(|x| x.is_finite()).fold(0.0, |m, x| m.max(x.abs())),
            max_abs: 0.0,
            max_relative: 0.0,
        }
    }
    /// Largest difference of the stored elements, relative to the largest; `None` when type or shape differ.
    pub(super) fn difference(&self, now: &Self) -> Option<f64> {
        if self.dtype != now.dtype || self.shape != now.shape || self.sample.len() != now.sample.len() {
            return None;
        }
        if self.sha256 == now.sha256 {
            return Some(0.0);
        }
        Some(distance(&self.sample, &now.sample).0 / self.largest.max(FLOOR))
    }
    pub(super) fn to_json(&self) -> Value {
        // JSON has no infinities; a text stands for them.
        let number = |x: &f64| if x.is_finite() { json!(x) } else { json!(x.to_string()) };
        json!({
            "name": self.name, "dtype": self.dtype, "shape": self.shape, "sha256": self.sha256,
            "sample": self.sample.iter().map(number).collect::<Vec<_>>(), "largest": self.largest,
            "max_abs": number(&self.max_abs), "max_relative": number(&self.max_relative),
        })
    }
    pub(super) fn from_json(v: &Value) -> Result<Self> {
        let list = |name: &str| v.get(name).and_then(Value::as_array).ok_or_else(|| missing(name, "a list"));
        let shape = list("shape")?.iter().map(|d| d.as_u64().and_then(|d| usize::try_from(d).ok()));
        Ok(Self {
            name: text(v, "name")?,
            dtype: text(v, "dtype")?,
            shape: shape.collect::<Option<_>>().ok_or_else(|| missing("shape", "extents"))?,
            sha256: text(v, "sha256")?,
            sample: list("sample")?
                .iter()
                .map(real)
                .collect::<Option<_>>()
                .ok_or_else(|| missing("sample", "numbers"))?,
            largest: number(v, "largest")?,
            max_abs: number(v, "max_abs")?,
            max_relative: number(v, "max_relative")?,
        })
    }
}

impl Verification {
    /// The largest relative difference of an output.
    pub fn max_relative(&self) -> f64 {
        self.outputs.iter().map(|o| o.max_relative).fold(0.0, f64::max)
    }
    /// As it is kept in `Graph.meta["verification"]`.
    pub fn to_json(&self) -> Value {
        json!({
            "version": 1, "seed": self.seed, "dims": self.dims, "tolerance": self.tolerance, "passed": self.passed,
            "macs": self.macs, "compared": self.compared,
            "outputs": self.outputs.iter().map(OutputRecord::to_json).collect::<Vec<_>>(),
            "first_divergence": self.first_divergence.as_ref().map(|d| json!({
                "name": d.name, "op": d.op, "max_abs": d.max_abs.to_string(), "max_relative": d.max_relative.to_string(),
            })),
            "notes": self.notes,
        })
    }
    /// Reads what [`Verification::to_json`] wrote.
    ///
    /// # Errors
    /// When a field is missing or has the wrong type, or a newer version wrote it.
    pub fn from_json(v: &Value) -> Result<Self> {
        if whole(v, "version")? != 1 {
            return Err(missing("version", "1; a newer pocketnn wrote this file"));
        }
        let dims = v.get("dims").and_then(Value::as_object).ok_or_else(|| missing("dims", "an object"))?;
        let size = |(k, d): (&String, &Value)| Some((k.clone(), usize::try_from(d.as_u64()?).ok()?));
        let outputs = v.get("outputs").and_then(Value::as_array).ok_or_else(|| missing("outputs", "a list"))?;
        let first = v.get("first_divergence").filter(|d| !d.is_null());
        let divergence = |d: &Value| -> Result<Divergence> {
            Ok(Divergence {
                name: text(d, "name")?,
                op: text(d, "op")?,
                max_abs: number(d, "max_abs")?,
                max_relative: number(d, "max_relative")?,
            })
        };
        let notes = v.get("notes").and_then(Value::as_array).into_iter().flatten();
        Ok(Self {
            seed: whole(v, "seed")?,
            dims: dims.iter().map(size).collect::<Option<_>>().ok_or_else(|| missing("dims", "sizes"))?,
            tolerance: number(v, "tolerance")?,
            passed: v.get("passed").and_then(Value::as_bool).ok_or_else(|| missing("passed", "true or false"))?,
            macs: whole(v, "macs")?,
            compared: usize::try_from(whole(v, "compared")?).unwrap_or(usize::MAX),
            outputs: outputs.iter().map(OutputRecord::from_json).collect::<Result<_>>()?,
            first_divergence: first.map(divergence).transpose()?,
            notes: notes.filter_map(|n| n.as_str().map(str::to_owned)).collect(),
        })
    }
}

fn missing(field: &str, expected: &str) -> ImportError {
    ImportError::format("the stored verification is not readable").at_attribute(field).expected(expected)
}

fn text(v: &Value, name: &str) -> Result<String> {
    v.get(name).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| missing(name, "a text"))
}

fn whole(v: &Value, name: &str) -> Result<u64> {
    v.get(name).and_then(Value::as_u64).ok_or_else(|| missing(name, "a number"))
}

fn real(v: &Value) -> Option<f64> {
    v.as_f64().or_else(|| v.as_str()?.parse().ok())
}

fn number(v: &Value, name: &str) -> Result<f64> {
    v.get(name).and_then(real).ok_or_else(|| missing(name, "a number"))
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed { "agrees" } else { "DIFFERS" };
        writeln!(f, "{verdict}: {} values and {} outputs compared", self.compared, self.outputs.len())?;
        for o in &self.outputs {
            writeln!(
                f,
                "  {} {}{:?}: largest difference {:.2e}, relative {:.2e}",
                o.name, o.dtype, o.shape, o.max_abs, o.max_relative
            )?;
        }
        if let Some(d) = &self.first_divergence {
            writeln!(
                f,
                "  first beyond {:.0e}: {} `{}`, relative {:.2e}",
                self.tolerance, d.op, d.name, d.max_relative
            )?;
        }
        self.notes.iter().try_for_each(|n| writeln!(f, "  {n}"))
    }
}
