//! Typed access to a layer's configuration. A field is marked when it is read; a field that nobody read and that may
//! change the result is an error.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::error::{ImportError, Result};

/// Fields that never change what a layer computes in inference.
const HARMLESS: &[&str] = &[
    "activity_regularizer",
    "arguments",
    "autocast",
    "autotune",
    "batch_input_shape",
    "batch_shape",
    "batch_size",
    "build_input_shape",
    "consume_less",
    "device",
    "dropout",
    "fused",
    "implementation",
    "input_dim",
    "input_dtype",
    "input_length",
    "input_shape",
    "input_spec",
    "is_quantized",
    "kernel_dtype",
    "key_shape",
    "layer",
    "lora_alpha",
    "momentum",
    "name",
    "noise_shape",
    "optional",
    "query_shape",
    "rng_type",
    "recurrent_dropout",
    "renorm",
    "renorm_clipping",
    "renorm_momentum",
    "seed",
    "shared_object_id",
    "softmax_robust_masking",
    "stateful",
    "steps_per_execution",
    "supports_jit",
    "synchronized",
    "trainable",
    "unit_forget_bias",
    "unroll",
    "value_shape",
    "virtual_batch_size",
    "weights",
];

/// Endings of names of fields that matter only while training.
const HARMLESS_ENDINGS: &[&str] = &["_initializer", "_regularizer", "_constraint"];

/// The configuration of one layer, with Keras 2 and 3 names (see [`super::names`]).
#[derive(Debug)]
pub struct Config {
    map: Map<String, Value>,
    read: RefCell<BTreeSet<String>>,
}

impl Config {
    /// Wraps a configuration.
    pub fn new(map: Map<String, Value>) -> Self {
        Self { map, read: RefCell::default() }
    }

    /// The field as it stands; absent and null are the same.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.read.borrow_mut().insert(key.to_owned());
        self.map.get(key).filter(|v| !v.is_null())
    }

    /// True if the field is there and not null, without marking it.
    pub fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|v| !v.is_null())
    }

    /// Marks fields that were handled elsewhere.
    pub fn ignore(&self, keys: &[&str]) {
        self.read.borrow_mut().extend(keys.iter().map(|&k| k.to_owned()));
    }

    /// All fields.
    pub fn map(&self) -> &Map<String, Value> {
        &self.map
    }

    /// Truth value (numbers 0 and 1 too).
    pub fn bool(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Bool(b)) => Ok(*b),
            Some(Value::Number(n)) if n.as_f64() == Some(0.0) => Ok(false),
            Some(Value::Number(n)) if n.as_f64() == Some(1.0) => Ok(true),
            Some(other) => Err(wrong(key, "true or false", other)),
        }
    }

    /// Non-negative integer.
    pub fn usize(&self, key: &str) -> Result<usize> {
        let value = self.get(key).ok_or_else(|| missing(key))?;
        to_usize(key, value)
    }

    /// Non-negative integer with a default.
    pub fn usize_or(&self, key: &str, default: usize) -> Result<usize> {
        self.get(key).map_or(Ok(default), |v| to_usize(key, v))
    }

    /// Integer with a default.
    pub fn i64_or(&self, key: &str, default: i64) -> Result<i64> {
        self.get(key).map_or(Ok(default), |v| to_i64(key, v))
    }

    /// Number with a default.
    pub fn f32_or(&self, key: &str, default: f32) -> Result<f32> {
        self.get(key).map_or(Ok(default), |v| to_f32(key, v))
    }

    /// Number, if there is one.
    pub fn f32_opt(&self, key: &str) -> Result<Option<f32>> {
        self.get(key).map(|v| to_f32(key, v)).transpose()
    }

    /// Text with a default.
    pub fn text(&self, key: &str, default: &str) -> Result<String> {
        match self.get(key) {
            None => Ok(default.to_owned()),
            Some(Value::String(s)) => Ok(s.clone()),
            Some(other) => Err(wrong(key, "text", other)),
        }
    }

    /// `count` non-negative integers; one number stands for all.
    pub fn usizes(&self, key: &str, count: usize, default: usize) -> Result<Vec<usize>> {
        let Some(value) = self.get(key) else { return Ok(vec![default; count]) };
        let value = plain(value);
        match value.as_array() {
            None => Ok(vec![to_usize(key, &value)?; count]),
            Some(list) => {
                let numbers: Vec<usize> = list.iter().map(|v| to_usize(key, v)).collect::<Result<_>>()?;
                match numbers.as_slice() {
                    [one] => Ok(vec![*one; count]),
                    all if all.len() == count => Ok(numbers),
                    _ => Err(wrong(key, &format!("one or {count} integers"), &value)),
                }
            }
        }
    }

    /// Integers; one number is a list of one.
    pub fn i64s(&self, key: &str) -> Result<Option<Vec<i64>>> {
        self.get(key).map(|v| i64_list(key, v)).transpose()
    }

    /// Numbers, however nested (numpy arrays too); one number is a list of one.
    pub fn f32s(&self, key: &str) -> Result<Option<Vec<f32>>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let mut numbers = Vec::new();
        flatten_numbers(key, &plain(value), &mut numbers)?;
        Ok(Some(numbers))
    }

    /// Refuses fields that nobody read, unless they cannot matter or are off.
    pub fn finish(&self) -> Result<()> {
        let read = self.read.borrow();
        for (key, value) in &self.map {
            let off = value.is_null() || *value == Value::Bool(false);
            if off || read.contains(key) || harmless(key) {
                continue;
            }
            return Err(ImportError::unsupported("a field of the configuration is not known")
                .found(format!("{key} = {}", shorten(value)))
                .at_attribute(key));
        }
        Ok(())
    }
}

fn harmless(key: &str) -> bool {
    HARMLESS.contains(&key) || HARMLESS_ENDINGS.iter().any(|e| key.ends_with(e))
}

/// Absent field.
pub fn missing(key: &str) -> ImportError {
    ImportError::invalid("a field of the configuration is missing").at_attribute(key)
}

/// Field of another type or value than expected.
pub fn wrong(key: &str, expected: &str, found: &Value) -> ImportError {
    ImportError::invalid("wrong value in the configuration").expected(expected).found(shorten(found)).at_attribute(key)
}

/// At most 80 characters of a value, for messages.
pub fn shorten(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 80 { text } else { text.chars().take(77).chain("...".chars()).collect() }
}

fn to_usize(key: &str, value: &Value) -> Result<usize> {
    let n = to_i64(key, value)?;
    usize::try_from(n).map_err(|_| wrong(key, "a non-negative integer", value))
}

/// An integer, also where it is written as a whole float.
pub fn to_i64(key: &str, value: &Value) -> Result<i64> {
    let whole = |x: f64| (x.fract() == 0.0 && x.abs() < 9e15).then_some(x as i64);
    value.as_i64().or_else(|| value.as_f64().and_then(whole)).ok_or_else(|| wrong(key, "an integer", value))
}

/// A number; Keras writes infinities as text or as a typed object.
pub fn to_f32(key: &str, value: &Value) -> Result<f32> {
    let number = match value {
        Value::Number(n) => n.as_f64().map(|x| x as f32),
        Value::String(s) => match s.to_ascii_lowercase().as_str() {
            "inf" | "infinity" => Some(f32::INFINITY),
            "-inf" | "-infinity" => Some(f32::NEG_INFINITY),
            _ => None,
        },
        Value::Object(o) => match o.get("value").or_else(|| o.get("config").and_then(|c| c.get("value"))) {
            Some(Value::Array(a)) => match a.as_slice() {
                [one] => one.as_f64().map(|x| x as f32),
                _ => None,
            },
            Some(v) => v.as_f64().map(|x| x as f32),
            None => None,
        },
        _ => None,
    };
    number.ok_or_else(|| wrong(key, "a number", value))
}

/// Integers of a value; one number is a list of one.
pub fn i64_list(key: &str, value: &Value) -> Result<Vec<i64>> {
    let value = plain(value);
    match value.as_array() {
        None => Ok(vec![to_i64(key, &value)?]),
        Some(list) => list.iter().map(|v| to_i64(key, v)).collect(),
    }
}

fn flatten_numbers(key: &str, value: &Value, into: &mut Vec<f32>) -> Result<()> {
    match value {
        Value::Array(list) => list.iter().try_for_each(|v| flatten_numbers(key, v, into)),
        other => {
            into.push(to_f32(key, other)?);
            Ok(())
        }
    }
}

/// Python containers that Keras wraps in objects (`__tuple__`, `__numpy__`, `__tensor__`, old typed arrays), as plain JSON.
pub fn plain(value: &Value) -> Value {
    let Some(object) = value.as_object() else {
        return match value {
            Value::Array(list) => Value::Array(list.iter().map(plain).collect()),
            other => other.clone(),
        };
    };
    let class = object.get("class_name").and_then(Value::as_str);
    let inner = match class {
        Some("__tuple__") => object.get("items"),
        Some("__numpy__" | "__tensor__" | "__numpy_array__") => object.get("config").and_then(|c| c.get("value")),
        Some("TensorShape") => object.get("items"),
        _ if object.get("type").and_then(Value::as_str) == Some("ndarray") => object.get("value"),
        _ => None,
    };
    inner.map_or_else(|| value.clone(), plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use serde_json::json;

    fn config(value: Value) -> Config {
        Config::new(value.as_object().cloned().unwrap_or_default())
    }

    #[test]
    fn fields_are_typed_and_scalars_stand_for_all_axes() {
        let c = config(
            json!({"a": 3, "b": [1, 2], "c": 2.0, "d": true, "e": {"class_name": "__tuple__", "items": [4, 5]}}),
        );
        assert_eq!(c.usizes("a", 2, 1).unwrap(), [3, 3]);
        assert_eq!(c.usizes("b", 2, 1).unwrap(), [1, 2]);
        assert_eq!(c.usizes("e", 2, 1).unwrap(), [4, 5]);
        assert_eq!(c.usizes("x", 3, 7).unwrap(), [7, 7, 7]);
        assert_eq!(c.usize("c").unwrap(), 2);
        assert!(c.bool("d", false).unwrap());
        assert!(c.finish().is_ok());
    }

    #[test]
    fn wrong_types_name_the_field_with_expected_and_found() {
        let c = config(json!({"a": "x", "b": [1, 2, 3], "c": -1, "d": 1.5}));
        for error in [
            c.usize("a").unwrap_err(),
            c.usizes("b", 2, 1).unwrap_err(),
            c.usize("c").unwrap_err(),
            c.i64_or("d", 0).unwrap_err(),
            c.usize("zz").unwrap_err(),
            c.bool("a", true).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.location().attribute.is_some());
        }
    }

    #[test]
    fn a_field_nobody_read_is_an_error_unless_it_cannot_matter() {
        let c = config(json!({"name": "x", "kernel_initializer": {"a": 1}, "future_switch": false, "new": null}));
        assert!(c.finish().is_ok());
        let c = config(json!({"future_switch": 2}));
        let error = c.finish().unwrap_err();
        assert_eq!(error.location().attribute.as_deref(), Some("future_switch"));
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
