//! A sample that travels in a file: inputs, and what the model made of them when it was converted.

use pocketnn::{DType, Graph, Model, Options, Tensor};
use serde_json::{Value, json};

use super::record::OutputRecord;
use crate::error::{ImportError, Result};

/// Largest sum of a sample's inputs, in bytes: the whole header of the file holds them as text.
pub const MAX_SAMPLE_BYTES: usize = 4 << 20;

/// Largest difference of a sample's outputs, relative to their largest element, on a machine that computes other bits.
const TOLERANCE: f64 = 1e-4;

/// Inputs with the digest and some elements of the outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Where the inputs came from.
    pub source: Option<String>,
    /// In the order of the model.
    pub inputs: Vec<Tensor>,
    /// What was computed.
    pub outputs: Vec<OutputRecord>,
}

/// What a repeated sample gave.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleOutcome {
    /// The outputs have the bits that were recorded.
    pub same_bits: bool,
    /// Largest difference of the recorded elements, relative to the largest.
    pub max_relative: f64,
    /// The difference is within 1e-4.
    pub passed: bool,
}

impl Sample {
    /// Runs a converted model on the inputs and records what it gives.
    ///
    /// # Errors
    /// When the inputs do not fit or are larger than [`MAX_SAMPLE_BYTES`].
    pub fn record(graph: &Graph, source: Option<String>, inputs: Vec<Tensor>) -> Result<Self> {
        let bytes: usize = inputs.iter().map(|t| t.bytes().len()).sum();
        if bytes > MAX_SAMPLE_BYTES {
            return Err(ImportError::limits("the sample is too large to travel in the file")
                .expected(format!("at most {MAX_SAMPLE_BYTES} bytes"))
                .found(bytes));
        }
        let outputs = outputs(graph, &inputs)?;
        Ok(Self { source, inputs, outputs })
    }

    /// Runs the model on the inputs again.
    ///
    /// # Errors
    /// When the model does not take them or gives other outputs.
    pub fn repeat(&self, graph: &Graph) -> Result<SampleOutcome> {
        let now = outputs(graph, &self.inputs)?;
        if now.len() != self.outputs.len() {
            return Err(ImportError::invalid("the sample is of another model")
                .expected(format!("{} outputs", self.outputs.len()))
                .found(now.len()));
        }
        let same_bits = now.iter().zip(&self.outputs).all(|(a, b)| a.sha256 == b.sha256);
        let mut max_relative = 0.0f64;
        for (then, now) in self.outputs.iter().zip(&now) {
            let difference = then.difference(now).ok_or_else(|| {
                ImportError::invalid("an output of the sample has another type or shape")
                    .expected(format!("{}{:?}", then.dtype, then.shape))
                    .found(format!("{}{:?}", now.dtype, now.shape))
                    .at_node(&then.name)
            })?;
            max_relative = max_relative.max(difference);
        }
        Ok(SampleOutcome { same_bits, max_relative, passed: max_relative <= TOLERANCE })
    }

    /// As it is kept in `Graph.meta["sample"]`.
    pub fn to_json(&self) -> Value {
        let input = |t: &Tensor| json!({ "dtype": t.dtype().name(), "shape": t.shape(), "base64": encode(t.bytes()) });
        json!({
            "version": 1, "source": self.source, "inputs": self.inputs.iter().map(input).collect::<Vec<_>>(),
            "outputs": self.outputs.iter().map(OutputRecord::to_json).collect::<Vec<_>>(),
        })
    }

    /// Reads what [`Sample::to_json`] wrote.
    ///
    /// # Errors
    /// When a field is missing or wrong, or a newer version wrote it.
    pub fn from_json(v: &Value) -> Result<Self> {
        if v.get("version").and_then(Value::as_u64) != Some(1) {
            return Err(wrong("version", "1; a newer pocketnn wrote this file"));
        }
        let list = |key: &str| v.get(key).and_then(Value::as_array).ok_or_else(|| wrong(key, "a list"));
        Ok(Self {
            source: v.get("source").and_then(Value::as_str).map(str::to_owned),
            inputs: list("inputs")?.iter().map(tensor).collect::<Result<_>>()?,
            outputs: list("outputs")?.iter().map(OutputRecord::from_json).collect::<Result<_>>()?,
        })
    }
}

fn outputs(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<OutputRecord>> {
    let computed = Model::new(graph.clone()).session(&Options::default())?.run_tensors(inputs)?;
    Ok(graph.outputs().iter().zip(&computed).map(|(&o, y)| OutputRecord::of(&graph.value(o).name, y)).collect())
}

fn tensor(v: &Value) -> Result<Tensor> {
    let dtype = v.get("dtype").and_then(Value::as_str).and_then(DType::from_name);
    let shape = v.get("shape").and_then(Value::as_array).and_then(|s| {
        s.iter().map(|d| d.as_u64().and_then(|d| usize::try_from(d).ok())).collect::<Option<Vec<usize>>>()
    });
    let bytes = v.get("base64").and_then(Value::as_str).and_then(decode);
    let dtype = dtype.ok_or_else(|| wrong("dtype", "the name of an element type"))?;
    let shape = shape.ok_or_else(|| wrong("shape", "extents"))?;
    let bytes = bytes.ok_or_else(|| wrong("base64", "bytes in base64"))?;
    Ok(Tensor::from_bytes(dtype, &shape, &bytes)?)
}

fn wrong(field: &str, expected: &str) -> ImportError {
    ImportError::format("the stored sample is not readable").at_attribute(field).expected(expected)
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648, with padding.
fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for chunk in bytes.chunks(3) {
        let at = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for (i, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let letter = usize::try_from(word >> shift & 63).ok().and_then(|n| LETTERS.get(n)).copied();
            out.push(if i > chunk.len() { '=' } else { char::from(letter.unwrap_or(b'A')) });
        }
    }
    out
}

fn decode(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let body = text.trim_end_matches('=');
    if text.len().saturating_sub(body.len()) > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    for chunk in body.as_bytes().chunks(4) {
        let mut word = 0u32;
        for &letter in chunk {
            word = word << 6 | u32::try_from(LETTERS.iter().position(|&l| l == letter)?).ok()?;
        }
        let missing = 4usize.saturating_sub(chunk.len());
        word <<= 6 * u32::try_from(missing).ok()?;
        let [_, a, b, c] = word.to_be_bytes();
        out.extend([a, b, c].iter().take(3usize.saturating_sub(missing)));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocketnn::{Dim, GraphBuilder};

    #[test]
    fn base64_is_that_of_the_standard() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).unwrap(), bytes.as_bytes());
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)).unwrap(), all);
        assert!(["Zg=", "Z===", "Zm9*", "Zg==Zg=="].iter().all(|t| decode(t).is_none()));
    }

    #[test]
    fn a_sample_is_repeated_and_another_model_is_found_out() {
        let model = |factor: f32| {
            let mut b = GraphBuilder::new("m");
            let x = b.input("x", DType::F32, vec![Dim::symbol("N"), Dim::from(2)]);
            let kind = pocketnn::ops::activation::Activation::Linear { a: factor, b: 0.0 };
            let y = b.activate(kind, x, "y").unwrap();
            b.output(y);
            b.finish().unwrap()
        };
        let x = Tensor::new(&[1, 2], vec![1.0f32, -2.0]).unwrap();
        let sample = Sample::record(&model(2.0), Some("x.npy".to_owned()), vec![x]).unwrap();
        let stored = Sample::from_json(&sample.to_json()).unwrap();
        assert_eq!(stored, sample);
        let again = stored.repeat(&model(2.0)).unwrap();
        assert!(again.same_bits && again.passed && again.max_relative == 0.0);
        assert!(!stored.repeat(&model(2.1)).unwrap().passed);
        let close = stored.repeat(&model(2.000_02)).unwrap();
        assert!(close.passed && !close.same_bits);
        let large = Tensor::zeros(DType::F32, &[1 << 20, 2]).unwrap();
        assert_eq!(Sample::record(&model(2.0), None, vec![large]).unwrap_err().kind(), crate::ErrorKind::Limits);
        let mut json = sample.to_json();
        json["inputs"][0]["base64"] = "*".into();
        assert!(Sample::from_json(&json).unwrap_err().to_string().contains("base64"));
    }
}
