//! Attributes of a node: read by name and declared kind, each marked when it is read.
//!
//! After a node was lowered, an attribute that nobody read is an error: it would have been ignored.

use std::cell::Cell;

use serde_json::{Map, Value as Json};

use super::proto::{Attribute, AttributeValue, Graph, RawTensor, SparseTensor};
use crate::error::{ImportError, Result};

/// The attributes of one node, references to the surrounding function's arguments resolved.
pub(super) struct Attrs<'a> {
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    name: &'a str,
    value: &'a AttributeValue,
    read: Cell<bool>,
}

/// The attributes of a function call, by name: what references in its body stand for.
pub(super) type Arguments<'a> = Vec<(&'a str, &'a AttributeValue)>;

macro_rules! getters {
    ($($(#[$doc:meta])* $get:ident -> $ty:ty, $expected:literal, { $($pattern:pat => $value:expr),* };)*) => {
        $($(#[$doc])*
        pub fn $get(&self, name: &str) -> Result<Option<$ty>> {
            match self.value(name)? {
                None => Ok(None),
                $(Some($pattern) => Ok(Some($value)),)*
                Some(other) => Err(mismatch(name, $expected, other)),
            }
        })*
    };
}

impl<'a> Attrs<'a> {
    /// The attributes of a node.
    ///
    /// # Errors
    /// `Invalid` when one is given twice.
    pub fn new(list: &'a [Attribute], arguments: &Arguments<'a>) -> Result<Self> {
        let mut entries: Vec<Entry<'a>> = Vec::with_capacity(list.len());
        for a in list {
            if entries.iter().any(|e| e.name == a.name) {
                return Err(ImportError::invalid("given twice").at_attribute(&a.name));
            }
            let value = match &a.value {
                AttributeValue::Reference(to) => match arguments.iter().find(|(n, _)| n == to) {
                    Some((_, value)) => value,
                    None => continue,
                },
                value => value,
            };
            entries.push(Entry { name: &a.name, value, read: Cell::new(false) });
        }
        Ok(Self { entries })
    }

    /// The names and values, for a function call.
    pub fn arguments(&self) -> Arguments<'a> {
        self.entries
            .iter()
            .map(|e| {
                e.read.set(true);
                (e.name, e.value)
            })
            .collect()
    }

    /// All attributes as JSON; each counts as read.
    ///
    /// # Errors
    /// `Unsupported` for tensors and graphs.
    pub fn json(&self) -> Result<Map<String, Json>> {
        let text = |s: &[u8]| Json::from(String::from_utf8_lossy(s));
        let each = |e: &Entry<'_>| {
            e.read.set(true);
            let value = match e.value {
                AttributeValue::Int(x) => Json::from(*x),
                AttributeValue::Float(x) => Json::from(*x),
                AttributeValue::String(x) => text(x),
                AttributeValue::Ints(x) => Json::from(x.clone()),
                AttributeValue::Floats(x) => Json::from(x.clone()),
                AttributeValue::Strings(x) => x.iter().map(|s| text(s)).collect(),
                AttributeValue::Zero => Json::Null,
                _ => {
                    return Err(ImportError::unsupported("an attribute of an own operator is no number or text")
                        .at_attribute(e.name));
                }
            };
            Ok((e.name.to_owned(), value))
        };
        self.entries.iter().map(each).collect()
    }

    fn value(&self, name: &str) -> Result<Option<&'a AttributeValue>> {
        let Some(entry) = self.entries.iter().find(|e| e.name == name) else { return Ok(None) };
        entry.read.set(true);
        match entry.value {
            AttributeValue::Missing(field) => Err(ImportError::invalid("the declared field is empty")
                .expected(format!("field `{field}`"))
                .at_attribute(name)),
            value => Ok(Some(value)),
        }
    }

    getters! {
        /// An integer.
        opt_int -> i64, "an integer", { AttributeValue::Int(x) => *x, AttributeValue::Zero => 0 };
        /// A float.
        opt_float -> f32, "a float", { AttributeValue::Float(x) => *x, AttributeValue::Zero => 0.0 };
        /// A list of integers.
        ints -> Vec<i64>, "a list of integers", { AttributeValue::Ints(x) => x.clone(), AttributeValue::Zero => Vec::new() };
        /// A list of floats.
        floats -> Vec<f32>, "a list of floats", { AttributeValue::Floats(x) => x.clone(), AttributeValue::Zero => Vec::new() };
        /// Text.
        opt_string -> String, "a string", { AttributeValue::String(x) => String::from_utf8_lossy(x).into_owned(), AttributeValue::Zero => String::new() };
        /// A list of texts.
        strings -> Vec<String>, "a list of strings", {
            AttributeValue::Strings(x) => x.iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect(),
            AttributeValue::Zero => Vec::new()
        };
        /// A tensor.
        tensor -> &'a RawTensor, "a tensor", { AttributeValue::Tensor(x) => x };
        /// A sparse tensor.
        sparse -> &'a SparseTensor, "a sparse tensor", { AttributeValue::SparseTensor(x) => x };
        /// A graph.
        opt_graph -> &'a Graph, "a graph", { AttributeValue::Graph(x) => x };
    }

    /// An integer, or its default.
    pub fn int(&self, name: &str, default: i64) -> Result<i64> {
        Ok(self.opt_int(name)?.unwrap_or(default))
    }

    /// An integer that says yes or no.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool> {
        Ok(self.opt_int(name)?.map_or(default, |x| x != 0))
    }

    /// A float, or its default.
    pub fn float(&self, name: &str, default: f32) -> Result<f32> {
        Ok(self.opt_float(name)?.unwrap_or(default))
    }

    /// Text, or its default.
    pub fn string(&self, name: &str, default: &str) -> Result<String> {
        Ok(self.opt_string(name)?.unwrap_or_else(|| default.to_owned()))
    }

    /// A graph that must be there.
    pub fn graph(&self, name: &str) -> Result<&'a Graph> {
        self.opt_graph(name)?.ok_or_else(|| missing(name))
    }

    /// Non-negative integers: strides, kernel extents.
    pub fn extents(&self, name: &str) -> Result<Option<Vec<usize>>> {
        let wrong = |x: i64| {
            ImportError::invalid("a number out of range").expected("numbers from 0 on").found(x).at_attribute(name)
        };
        let list = self.ints(name)?;
        list.map(|l| l.into_iter().map(|x| usize::try_from(x).map_err(|_| wrong(x))).collect()).transpose()
    }

    /// Reads an attribute that does not change what is computed here.
    pub fn ignore(&self, names: &[&str]) {
        self.entries.iter().filter(|e| names.contains(&e.name)).for_each(|e| e.read.set(true));
    }

    /// Refuses attributes that nobody read.
    ///
    /// # Errors
    /// `Unsupported`, with the name of the first.
    pub fn finish(&self) -> Result<()> {
        match self.entries.iter().find(|e| !e.read.get()) {
            None => Ok(()),
            Some(e) => Err(ImportError::unsupported("this attribute is not known for the operator in this opset")
                .found(describe(e.value))
                .at_attribute(e.name)),
        }
    }
}

/// The error for an attribute that must be there.
pub(super) fn missing(name: &str) -> ImportError {
    ImportError::invalid("the attribute is missing").at_attribute(name)
}

/// The error for an attribute whose value is none of those allowed.
pub(super) fn unknown_value(name: &str, expected: &str, found: &str) -> ImportError {
    let found = found.chars().take(40).collect::<String>();
    ImportError::invalid("a value that is not allowed")
        .expected(expected)
        .found(format!("`{}`", found.escape_default()))
        .at_attribute(name)
}

fn mismatch(name: &str, expected: &str, found: &AttributeValue) -> ImportError {
    ImportError::invalid("an attribute of the wrong kind").expected(expected).found(describe(found)).at_attribute(name)
}

fn describe(value: &AttributeValue) -> String {
    use AttributeValue as V;
    match value {
        V::Float(x) => format!("the float {x}"),
        V::Int(x) => format!("the integer {x}"),
        V::String(s) => {
            let text: String = String::from_utf8_lossy(s).chars().take(40).collect();
            format!("the string `{}`", text.escape_default())
        }
        V::Tensor(_) => "a tensor".to_owned(),
        V::Graph(_) => "a graph".to_owned(),
        V::SparseTensor(_) => "a sparse tensor".to_owned(),
        V::Floats(x) => format!("{} floats", x.len()),
        V::Ints(x) => format!("{} integers", x.len()),
        V::Strings(x) => format!("{} strings", x.len()),
        V::Tensors(x) => format!("{} tensors", x.len()),
        V::Graphs(n) => format!("{n} graphs"),
        V::Type => "a type".to_owned(),
        V::Zero => "nothing".to_owned(),
        V::Reference(_) => "a reference".to_owned(),
        V::Unknown(n) => format!("kind number {n}"),
        V::Missing(field) => format!("no field `{field}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn one(name: &str, value: AttributeValue) -> Vec<Attribute> {
        vec![Attribute { name: name.to_owned(), value }]
    }

    #[test]
    fn a_wrong_kind_is_told_with_both_kinds() {
        let list = one("axis", AttributeValue::Float(1.0));
        let error = Attrs::new(&list, &Vec::new()).unwrap().int("axis", 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(
            error.to_string(),
            "attribute `axis`: an attribute of the wrong kind: expected an integer, found the float 1"
        );
    }

    #[test]
    fn an_attribute_nobody_read_is_an_error_and_a_read_one_is_not() {
        let list = one("axis", AttributeValue::Int(1));
        let attrs = Attrs::new(&list, &Vec::new()).unwrap();
        assert_eq!(attrs.finish().unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(attrs.int("axis", 0).unwrap(), 1);
        assert!(attrs.finish().is_ok());
    }

    #[test]
    fn undeclared_kinds_read_as_zero_and_references_as_their_arguments() {
        let list = one("axis", AttributeValue::Zero);
        assert_eq!(Attrs::new(&list, &Vec::new()).unwrap().int("axis", 7).unwrap(), 0);
        let list = one("axis", AttributeValue::Reference("a".to_owned()));
        let argument = AttributeValue::Int(5);
        assert_eq!(Attrs::new(&list, &vec![("a", &argument)]).unwrap().int("axis", 7).unwrap(), 5);
        assert_eq!(Attrs::new(&list, &Vec::new()).unwrap().int("axis", 7).unwrap(), 7);
    }

    #[test]
    fn a_name_twice_is_refused() {
        let mut list = one("axis", AttributeValue::Int(1));
        list.extend(one("axis", AttributeValue::Int(2)));
        assert!(Attrs::new(&list, &Vec::new()).is_err());
    }
}
