//! Algorithms that were measured on a device, stored beside the model.
//!
//! ```text
//! digits.pnn             the model
//! digits.pnn.tune.json   {"format": "pocketnn tuning", "version": 1, "model": SHA-256 of the model's header,
//!                         "device": "...", "choices": {VALUE: ALGORITHM}}
//! ```
//!
//! A choice names the first output of a node and an algorithm as reports name it. The header holds the graph and the digest of the weights,
//! so a record serves exactly the model it was made for. Choices for what is no longer there, or that an op does not know, change nothing.

use crate::format;
use crate::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Version of the record.
const VERSION: u64 = 1;
/// Largest record that is read, in bytes.
const MOST: u64 = 16 << 20;

/// Algorithms for the nodes of one model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tuning {
    model: String,
    device: String,
    choices: BTreeMap<String, String>,
}

impl Tuning {
    /// An empty record for a model; `device` is free text.
    ///
    /// # Errors
    /// When the model cannot be read or is not a `.pnn` file.
    pub fn new(model: &Path, device: &str) -> Result<Self> {
        Ok(Self { model: format::header_digest(model)?, device: device.to_string(), choices: BTreeMap::new() })
    }
    /// Chooses an algorithm for the node that computes `value` first.
    pub fn choose(&mut self, value: &str, algorithm: &str) {
        self.choices.insert(value.to_string(), algorithm.to_string());
    }
    /// The algorithm chosen for the node that computes `value` first.
    pub fn choice(&self, value: &str) -> Option<&str> {
        self.choices.get(value).map(String::as_str)
    }
    /// All choices.
    pub fn choices(&self) -> impl Iterator<Item = (&str, &str)> {
        self.choices.iter().map(|(v, a)| (v.as_str(), a.as_str()))
    }
    /// What it was measured on.
    pub fn device(&self) -> &str {
        &self.device
    }
    /// The file that belongs to a model.
    pub fn path(model: &Path) -> PathBuf {
        let mut name = model.as_os_str().to_os_string();
        name.push(".tune.json");
        name.into()
    }
    /// The record beside a model; `None` where there is none.
    ///
    /// # Errors
    /// `Format` when the record is broken, `Argument` when it was made for another model, `Io` when a file cannot be read. A caller that
    /// goes on without it loses time, nothing else.
    pub fn load(model: &Path) -> Result<Option<Self>> {
        let path = Self::path(model);
        let read = || -> Result<Option<Self>> {
            let io = |e: std::io::Error| Error::new(ErrorKind::Io, e.to_string());
            match std::fs::metadata(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(io(e)),
                Ok(m) if m.len() > MOST => return Err(Error::limit(format!("{} bytes, the limit is {MOST}", m.len()))),
                Ok(_) => {}
            }
            let record = Self::parse(&std::fs::read_to_string(&path).map_err(io)?)?;
            if record.model != format::header_digest(model)? {
                return Err(Error::argument(
                    "it was made for another model, or for this one before it changed; tune it again",
                ));
            }
            Ok(Some(record))
        };
        read().map_err(|e| e.at(|| path.display().to_string()))
    }
    /// Writes the record beside its model.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, model: &Path) -> Result<PathBuf> {
        let path = Self::path(model);
        let text = format!("{}\n", self.to_json());
        std::fs::write(&path, text)
            .map_err(|e| Error::new(ErrorKind::Io, e.to_string()).at(|| path.display().to_string()))?;
        Ok(path)
    }
    fn to_json(&self) -> Value {
        let choices: Map<String, Value> = self.choices.iter().map(|(v, a)| (v.clone(), json!(a))).collect();
        json!({ "format": "pocketnn tuning", "version": VERSION, "model": self.model, "device": self.device, "choices": choices })
    }
    fn parse(text: &str) -> Result<Self> {
        let json: Value = serde_json::from_str(text).map_err(|e| Error::format(e.to_string()))?;
        let string = |k: &str| {
            let found = json.get(k).and_then(Value::as_str).map(str::to_string);
            found.ok_or_else(|| Error::format(format!("`{k}`: expected a string")))
        };
        if string("format")? != "pocketnn tuning" {
            return Err(Error::format("expected the format `pocketnn tuning`"));
        }
        if json.get("version").and_then(Value::as_u64) != Some(VERSION) {
            return Err(Error::unsupported(format!("this pocketnn reads version {VERSION}; tune it again")));
        }
        let choices = json.get("choices").and_then(Value::as_object);
        let choices = choices.ok_or_else(|| Error::format("`choices`: expected an object"))?;
        let choice = |(v, a): (&String, &Value)| a.as_str().map(|a| (v.clone(), a.to_string()));
        let choices: Option<BTreeMap<String, String>> = choices.iter().map(choice).collect();
        let choices = choices.ok_or_else(|| Error::format("`choices`: expected names of algorithms"))?;
        Ok(Self { model: string("model")?, device: string("device")?, choices })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, GraphBuilder};

    /// A file of its own that goes when the test ends.
    struct File(PathBuf);

    impl File {
        fn new(name: &str, scale: f32) -> Self {
            let path = std::env::temp_dir().join(format!("pocketnn-tuning-{name}-{}.pnn", std::process::id()));
            let file = Self(path);
            file.write(scale);
            file
        }
        fn write(&self, scale: f32) {
            let mut b = GraphBuilder::new("tuned");
            let x = b.input("x", DType::F32, [crate::Dim::from(1)]);
            let w = b.constant("w", crate::Tensor::vector(&[scale]));
            let y = b.binary(crate::ops::elementwise::BinaryKind::Mul, x, w, "y").unwrap();
            b.output(y);
            format::save(&b.finish().unwrap(), &self.0).unwrap();
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            std::fs::remove_file(&self.0).ok();
            std::fs::remove_file(Tuning::path(&self.0)).ok();
        }
    }

    #[test]
    fn a_record_serves_its_model_and_no_other() {
        let file = File::new("serves", 1.0);
        assert_eq!(Tuning::load(&file.0).unwrap(), None);
        let mut record = Tuning::new(&file.0, "a device").unwrap();
        record.choose("y", "direct");
        assert_eq!(record.save(&file.0).unwrap(), Tuning::path(&file.0));
        let read = Tuning::load(&file.0).unwrap().unwrap();
        assert_eq!((read.choice("y"), read.choice("z"), read.device()), (Some("direct"), None, "a device"));
        assert_eq!(read, record);
        file.write(2.0);
        let e = Tuning::load(&file.0).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Argument);
        assert!(e.to_string().contains("tune it again"), "{e}");
    }

    #[test]
    fn broken_records_are_errors_that_name_the_file() {
        let file = File::new("broken", 1.0);
        let digest = format::header_digest(&file.0).unwrap();
        let record = |version: u64, choices: &str| {
            format!(
                r#"{{"format":"pocketnn tuning","version":{version},"model":"{digest}","device":"","choices":{choices}}}"#
            )
        };
        for (text, kind) in [
            (String::new(), ErrorKind::Format),
            ("[]".into(), ErrorKind::Format),
            (r#"{"format":"other"}"#.into(), ErrorKind::Format),
            (record(2, "{}"), ErrorKind::Unsupported),
            (record(1, "[]"), ErrorKind::Format),
            (record(1, r#"{"y":1}"#), ErrorKind::Format),
        ] {
            std::fs::write(Tuning::path(&file.0), &text).unwrap();
            let e = Tuning::load(&file.0).unwrap_err();
            assert_eq!(e.kind(), kind, "{text}: {e}");
            assert!(e.place().ends_with(".tune.json"), "{e}");
        }
        std::fs::write(Tuning::path(&file.0), record(1, "{}")).unwrap();
        assert!(Tuning::load(&file.0).unwrap().is_some());
    }
}
