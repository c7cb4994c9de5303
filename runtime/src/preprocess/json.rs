//! The form of [`Preprocessing`] in a model's metadata.

use super::{Filter, Fit, Preprocessing};
use crate::{Error, Result};
use serde_json::{Map, Value, json};

const KEYS: &[&str] =
    &["scale", "mean", "std", "channels", "invert", "resize", "antialias", "fit", "fill", "shorter", "source"];

impl Preprocessing {
    /// From `meta["preprocessing"]`; absent fields stay open.
    ///
    /// # Errors
    /// `Format` when it is no object, a field is not known, or has a value of another kind; the message names the field.
    pub fn from_json(v: &Value) -> Result<Self> {
        let object = v.as_object().ok_or_else(|| bad("the whole", "an object", v))?;
        if let Some((key, value)) = object.iter().find(|(k, _)| !KEYS.contains(&k.as_str())) {
            return Err(bad(key, &format!("one of {KEYS:?}"), value));
        }
        let get = |key: &str| object.get(key).filter(|v| !v.is_null());
        let number = |key: &str| get(key).map(|v| v.as_f64().ok_or_else(|| bad(key, "a number", v))).transpose();
        let yes = |key: &str| get(key).map(|v| v.as_bool().ok_or_else(|| bad(key, "true or false", v))).transpose();
        let text = |key: &str| get(key).map(|v| v.as_str().ok_or_else(|| bad(key, "a text", v))).transpose();
        let bgr = match text("channels")? {
            None => None,
            Some("rgb" | "gray") => Some(false),
            Some("bgr") => Some(true),
            Some(other) => return Err(bad("channels", "rgb, bgr or gray", &Value::from(other))),
        };
        let filter = match text("resize")? {
            None => None,
            Some(name) => Some(
                Filter::named(name).ok_or_else(|| bad("resize", "nearest, bilinear or bicubic", &Value::from(name)))?,
            ),
        };
        let shorter = match get("shorter") {
            None => 0,
            Some(v) => v
                .as_u64()
                .and_then(|n| usize::try_from(n).ok())
                .ok_or_else(|| bad("shorter", "a number of pixels", v))?,
        };
        let fit = match text("fit")? {
            None => None,
            Some("stretch") => Some(Fit::Stretch),
            Some("crop") => Some(Fit::Crop),
            Some("letterbox") => Some(Fit::Letterbox { fill: number("fill")?.unwrap_or(0.0) as f32 }),
            Some("center") => Some(Fit::Center { shorter }),
            Some(other) => return Err(bad("fit", "stretch, crop, letterbox or center", &Value::from(other))),
        };
        Ok(Self {
            scale: number("scale")?.map(|x| x as f32),
            mean: numbers(get("mean"), "mean")?,
            std: numbers(get("std"), "std")?,
            bgr,
            invert: yes("invert")?,
            filter,
            antialias: yes("antialias")?,
            fit,
            source: text("source")?.map(str::to_string),
        })
    }

    /// As [`Preprocessing::from_json`] reads it.
    pub fn to_json(&self) -> Value {
        let mut out = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(v) = value {
                out.insert(key.to_string(), v);
            }
        };
        // The shortest decimals that give the same f32 back.
        let decimal = |x: f32| x.to_string().parse::<f64>().map_or(Value::Null, Value::from);
        let list = |x: &[f32]| (!x.is_empty()).then(|| x.iter().map(|&v| decimal(v)).collect());
        put("scale", self.scale.map(decimal));
        put("mean", list(&self.mean));
        put("std", list(&self.std));
        put("channels", self.bgr.map(|b| json!(if b { "bgr" } else { "rgb" })));
        put("invert", self.invert.map(Value::from));
        put("resize", self.filter.map(|f| json!(f.name())));
        put("antialias", self.antialias.map(Value::from));
        let (fit, fill, shorter) = match self.fit {
            None => (None, None, None),
            Some(Fit::Stretch) => (Some("stretch"), None, None),
            Some(Fit::Crop) => (Some("crop"), None, None),
            Some(Fit::Letterbox { fill }) => (Some("letterbox"), Some(decimal(fill)), None),
            Some(Fit::Center { shorter }) => (Some("center"), None, Some(json!(shorter))),
        };
        put("fit", fit.map(Value::from));
        put("fill", fill);
        put("shorter", shorter);
        put("source", self.source.as_deref().map(Value::from));
        Value::Object(out)
    }
}

impl Filter {
    /// The name in a file.
    pub fn name(self) -> &'static str {
        match self {
            Filter::Nearest => "nearest",
            Filter::Bilinear => "bilinear",
            Filter::Bicubic => "bicubic",
        }
    }
    /// The filter of a name.
    pub fn named(name: &str) -> Option<Self> {
        [Filter::Nearest, Filter::Bilinear, Filter::Bicubic].into_iter().find(|f| f.name() == name)
    }
}

fn numbers(value: Option<&Value>, key: &str) -> Result<Vec<f32>> {
    let one = |v: &Value| v.as_f64().map(|x| x as f32).ok_or_else(|| bad(key, "a number, or one for each channel", v));
    match value {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(one).collect(),
        Some(v) => Ok(vec![one(v)?]),
    }
}

fn bad(key: &str, expected: &str, found: &Value) -> Error {
    Error::format(format!("the model's preprocessing: `{key}`: expected {expected}, found {found}"))
}
