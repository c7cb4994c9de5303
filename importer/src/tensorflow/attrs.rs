//! Attributes of a node: read by name and kind, each marked when it is read.
//!
//! After a node was lowered, an attribute that nobody read is an error: it would have been ignored. Exempt are names that begin
//! with `_`, element types (they follow from the operands), and what never changes a result ([`HARMLESS`]).

use std::cell::Cell;

use serde_json::{Map, Value as Json};

use super::elem::Elem;
use super::proto::{self, Shape};
use crate::error::{ImportError, Result};
use crate::protobuf::{Field, Message, Meter};

/// Attributes that do not change what is computed.
const HARMLESS: &[&str] = &[
    "allow_negative_axis",
    "config",
    "config_proto",
    "container",
    "debug_name",
    "executor_type",
    "grad_a",
    "grad_b",
    "grad_x",
    "grad_y",
    "incompatible_shape_error",
    "message",
    "num_lower",
    "output_shapes",
    "parallel_iterations",
    "use_cudnn_on_gpu",
    "validate_indices",
    "validate_shape",
];

/// Field numbers of the kinds of `AttrValue`.
const LIST: u64 = 1;
const STRING: u64 = 2;
const INT: u64 = 3;
const FLOAT: u64 = 4;
const BOOL: u64 = 5;
const TYPE: u64 = 6;
const SHAPE: u64 = 7;
const TENSOR: u64 = 8;
const FUNCTION: u64 = 10;

/// The attributes of one node.
pub(super) struct Attrs<'a> {
    entries: Vec<Entry<'a>>,
    meter: &'a Meter,
}

struct Entry<'a> {
    name: &'a str,
    value: Message<'a>,
    read: Cell<bool>,
}

impl<'a> Attrs<'a> {
    /// The attributes of a node.
    pub fn new(list: &[(&'a str, Message<'a>)], meter: &'a Meter) -> Self {
        let entries = list.iter().map(|&(name, value)| Entry { name, value, read: Cell::new(false) }).collect();
        Self { entries, meter }
    }

    fn message(&self, name: &str) -> Option<Message<'a>> {
        let entry = self.entries.iter().find(|e| e.name == name)?;
        entry.read.set(true);
        Some(entry.value)
    }

    /// The value in the field of its kind; an empty attribute has the default value of the kind.
    fn value(&self, name: &str, kind: u64, expected: &str) -> Result<Option<Option<Field<'a>>>> {
        let Some(m) = self.message(name) else { return Ok(None) };
        let mut found = None;
        for f in m.fields() {
            let f = f?;
            if f.number != kind {
                return Err(ImportError::invalid("an attribute of the wrong kind")
                    .expected(expected)
                    .found(kind_name(f.number))
                    .at_attribute(name));
            }
            found = Some(f);
        }
        Ok(Some(found))
    }

    /// True when the attribute is given; counts as read.
    pub fn has(&self, name: &str) -> bool {
        self.message(name).is_some()
    }

    /// An integer.
    pub fn opt_int(&self, name: &str) -> Result<Option<i64>> {
        self.value(name, INT, "an integer")?.map(|f| f.map_or(Ok(0), |f| f.int())).transpose()
    }

    /// An integer, or its default.
    pub fn int(&self, name: &str, default: i64) -> Result<i64> {
        Ok(self.opt_int(name)?.unwrap_or(default))
    }

    /// A float, or its default.
    pub fn float(&self, name: &str, default: f32) -> Result<f32> {
        let f = self.value(name, FLOAT, "a float")?;
        f.map_or(Ok(default), |f| f.map_or(Ok(0.0), |f| f.float()))
    }

    /// A truth value, or its default.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool> {
        let f = self.value(name, BOOL, "a truth value")?;
        f.map_or(Ok(default), |f| f.map_or(Ok(false), |f| f.flag()))
    }

    /// Text, or its default.
    pub fn string(&self, name: &str, default: &'a str) -> Result<&'a str> {
        let f = self.value(name, STRING, "a string")?;
        f.map_or(Ok(default), |f| f.map_or(Ok(""), |f| f.text()))
    }

    /// An element type.
    pub fn elem(&self, name: &str) -> Result<Option<Elem>> {
        let f = self.value(name, TYPE, "an element type")?.flatten();
        let elem = f.map(|f| f.int32().and_then(Elem::parse)).transpose();
        elem.map_err(|e| e.at_attribute(name))
    }

    /// A shape; absent is an unknown one.
    pub fn shape(&self, name: &str) -> Result<Shape> {
        match self.value(name, SHAPE, "a shape")? {
            Some(Some(f)) => proto::shape(f.message()?, self.meter),
            Some(None) => Ok(Some(Vec::new())),
            None => Ok(None),
        }
    }

    /// A tensor.
    pub fn tensor(&self, name: &str) -> Result<Option<Message<'a>>> {
        self.value(name, TENSOR, "a tensor")?.flatten().map(|f| f.message()).transpose()
    }

    /// The name of a function.
    pub fn function(&self, name: &str) -> Result<&'a str> {
        let f = self.value(name, FUNCTION, "a function")?.flatten().ok_or_else(|| missing(name))?;
        function_name(f.message()?)
    }

    fn list(&self, name: &str) -> Result<Option<Message<'a>>> {
        self.value(name, LIST, "a list")?.map(|f| f.map_or(Ok(Message::default()), |f| f.message())).transpose()
    }

    /// A list of integers.
    pub fn ints(&self, name: &str) -> Result<Option<Vec<i64>>> {
        let Some(m) = self.list(name)? else { return Ok(None) };
        let mut list = Vec::new();
        for f in m.fields() {
            let f = f?;
            if f.number == INT {
                f.unsigneds(&mut list, self.meter)?;
            }
        }
        Ok(Some(list.into_iter().map(|x| x as i64).collect()))
    }

    /// A list of floats.
    pub fn floats(&self, name: &str) -> Result<Option<Vec<f32>>> {
        let Some(m) = self.list(name)? else { return Ok(None) };
        let mut list = Vec::new();
        for f in m.fields() {
            let f = f?;
            if f.number == FLOAT {
                f.fixed32s(&mut list, self.meter)?;
            }
        }
        Ok(Some(list.into_iter().map(f32::from_bits).collect()))
    }

    /// A list of texts.
    pub fn strings(&self, name: &str) -> Result<Vec<&'a str>> {
        let mut list = Vec::new();
        if let Some(m) = self.list(name)? {
            for f in m.fields() {
                let f = f?;
                if f.number == STRING {
                    self.meter.bytes(16)?;
                    list.push(f.text()?);
                }
            }
        }
        Ok(list)
    }

    /// A list of functions, by name.
    pub fn functions(&self, name: &str) -> Result<Vec<&'a str>> {
        let mut list = Vec::new();
        if let Some(m) = self.list(name)? {
            for f in m.fields() {
                let f = f?;
                if f.number == 9 {
                    self.meter.bytes(16)?;
                    list.push(function_name(f.message()?)?);
                }
            }
        }
        Ok(list)
    }

    /// A list of shapes.
    pub fn shapes(&self, name: &str) -> Result<Vec<Shape>> {
        let mut list = Vec::new();
        if let Some(m) = self.list(name)? {
            for f in m.fields() {
                let f = f?;
                if f.number == SHAPE {
                    list.push(proto::shape(f.message()?, self.meter)?);
                }
            }
        }
        Ok(list)
    }

    /// Non-negative integers: strides, kernel extents.
    pub fn extents(&self, name: &str) -> Result<Option<Vec<usize>>> {
        let wrong = |x: i64| {
            ImportError::invalid("a number out of range").expected("numbers from 0 on").found(x).at_attribute(name)
        };
        let list = self.ints(name)?;
        list.map(|l| l.into_iter().map(|x| usize::try_from(x).map_err(|_| wrong(x))).collect()).transpose()
    }

    /// All attributes, those of TensorFlow's own bookkeeping (`_class` and the like) excepted; element types by name.
    ///
    /// # Errors
    /// `Unsupported` for one that is a tensor.
    pub fn json(&self) -> Result<Map<String, Json>> {
        let mut all = Map::new();
        for e in self.entries.iter().filter(|e| !e.name.starts_with('_')) {
            e.read.set(true);
            let mut value = Json::Null;
            for f in e.value.fields() {
                let f = f?;
                value = match f.number {
                    LIST => {
                        let mut list = Vec::new();
                        for f in f.message()?.fields() {
                            self.elements(&f?, &mut list).map_err(|error| error.at_attribute(e.name))?;
                        }
                        list.into()
                    }
                    _ => self.element(&f).map_err(|error| error.at_attribute(e.name))?,
                };
            }
            all.insert(e.name.to_owned(), value);
        }
        Ok(all)
    }

    /// The elements of a field of a list.
    fn elements(&self, f: &Field<'a>, list: &mut Vec<Json>) -> Result<()> {
        self.meter.bytes(64)?;
        match f.number {
            INT | BOOL => {
                let mut numbers = Vec::new();
                f.unsigneds(&mut numbers, self.meter)?;
                let one = |n: u64| if f.number == BOOL { (n != 0).into() } else { n.cast_signed().into() };
                list.extend(numbers.into_iter().map(one));
            }
            TYPE => {
                let mut numbers = Vec::new();
                f.unsigneds(&mut numbers, self.meter)?;
                for n in numbers {
                    list.push(Elem::parse(i32::try_from(n).unwrap_or(0))?.name().into());
                }
            }
            FLOAT => {
                let mut bits = Vec::new();
                f.fixed32s(&mut bits, self.meter)?;
                list.extend(bits.into_iter().map(|b| Json::from(f32::from_bits(b))));
            }
            // In a list functions have the number that a placeholder has elsewhere.
            9 => list.push(function_name(f.message()?)?.into()),
            _ => list.push(self.element(f)?),
        }
        Ok(())
    }

    fn element(&self, f: &Field<'a>) -> Result<Json> {
        Ok(match f.number {
            STRING => String::from_utf8_lossy(f.bytes()?).into(),
            INT => f.int()?.into(),
            FLOAT => f.float()?.into(),
            BOOL => f.flag()?.into(),
            TYPE => Elem::parse(f.int32()?)?.name().into(),
            SHAPE => proto::shape(f.message()?, self.meter)?.into(),
            FUNCTION => function_name(f.message()?)?.into(),
            kind => {
                return Err(ImportError::unsupported("an attribute of an own operation is no number, text or shape")
                    .found(kind_name(kind)));
            }
        })
    }

    /// Reads attributes that do not change what is computed here.
    pub fn ignore(&self, names: &[&str]) {
        self.entries.iter().filter(|e| names.contains(&e.name)).for_each(|e| e.read.set(true));
    }

    /// Refuses attributes that nobody read.
    ///
    /// # Errors
    /// `Unsupported`, with the name of the first.
    pub fn finish(&self) -> Result<()> {
        for e in self.entries.iter().filter(|e| !e.read.get()) {
            let kind = e.value.fields().next().transpose()?.map(|f| f.number);
            let types = match kind {
                Some(LIST) => e
                    .value
                    .field(LIST)?
                    .map(|f| f.message())
                    .transpose()?
                    .is_some_and(|m| m.fields().all(|f| f.is_ok_and(|f| f.number == TYPE))),
                kind => kind == Some(TYPE),
            };
            if !types && !e.name.starts_with('_') && !HARMLESS.contains(&e.name) {
                return Err(ImportError::unsupported("this attribute is not known for the operation")
                    .found(kind.map_or("nothing", kind_name))
                    .at_attribute(e.name));
            }
        }
        Ok(())
    }
}

fn function_name(m: Message<'_>) -> Result<&str> {
    m.field(1)?.map_or(Ok(""), |f| f.text())
}

/// The error for an attribute that must be there.
pub(super) fn missing(name: &str) -> ImportError {
    ImportError::invalid("the attribute is missing").at_attribute(name)
}

/// The error for an attribute whose value is none of those allowed.
pub(super) fn unknown_value(name: &str, expected: &str, found: &str) -> ImportError {
    let found = found.chars().take(40).collect::<String>();
    ImportError::unsupported("a value that is not known")
        .expected(expected)
        .found(format!("`{}`", found.escape_default()))
        .at_attribute(name)
}

fn kind_name(kind: u64) -> &'static str {
    match kind {
        LIST => "a list",
        STRING => "a string",
        INT => "an integer",
        FLOAT => "a float",
        BOOL => "a truth value",
        TYPE => "an element type",
        SHAPE => "a shape",
        TENSOR => "a tensor",
        FUNCTION => "a function",
        _ => "an unknown kind",
    }
}
