//! Attributes of ops: plain structs that read and write themselves as JSON objects.

use crate::{DType, Error, Result, Tensor};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::rc::Rc;

/// The tensors of a file, which graphs in attributes name.
pub type Tensors = Rc<HashMap<String, Tensor>>;

/// The fields of one JSON object while an op reads them; a field that nobody took is an error.
pub struct Fields(Map<String, Value>, Tensors);

impl Fields {
    /// The fields of an object.
    pub fn new(map: Map<String, Value>) -> Self {
        Self(map, Tensors::default())
    }
    /// The fields of an object in a file with these tensors.
    pub fn with(map: Map<String, Value>, tensors: &Tensors) -> Self {
        Self(map, tensors.clone())
    }
    /// Takes a field out; absent means its default.
    ///
    /// # Errors
    /// When the field has another type than `T`.
    pub fn take<T: AttrValue>(&mut self, name: &str, default: impl FnOnce() -> T) -> Result<T> {
        match self.0.remove(name) {
            None => Ok(default()),
            Some(v) => T::from_file(&v, &self.1)
                .ok_or_else(|| Error::format(format!("attribute `{name}`: expected {}, found {v}", T::EXPECTED))),
        }
    }
    /// Refuses fields that were not taken.
    ///
    /// # Errors
    /// When there is one.
    pub fn finish(self) -> Result<()> {
        self.0.keys().next().map_or(Ok(()), |k| Err(Error::format(format!("unknown attribute `{k}`"))))
    }
}

/// A type that an attribute can have.
pub trait AttrValue: Sized {
    /// What to say was expected.
    const EXPECTED: &str;
    /// As JSON; reading it back gives the same value.
    fn to_json(&self) -> Value;
    /// From JSON, or `None` where it does not fit.
    fn from_json(v: &Value) -> Option<Self>;
    /// From JSON in a file with these tensors.
    fn from_file(v: &Value, _tensors: &Tensors) -> Option<Self> {
        Self::from_json(v)
    }
}

/// The attributes of one op.
pub trait Attributes: Sized {
    /// The fields that differ from their defaults.
    fn to_json(&self) -> Map<String, Value>;
    /// Reads all fields and refuses unknown ones.
    ///
    /// # Errors
    /// When a field is unknown or has the wrong type.
    fn from_json(fields: Fields) -> Result<Self>;
}

macro_rules! number {
    ($($ty:ty, $expected:literal, $get:ident;)*) => {
        $(impl AttrValue for $ty {
            const EXPECTED: &str = $expected;
            fn to_json(&self) -> Value { Value::from(*self) }
            fn from_json(v: &Value) -> Option<Self> { v.$get().and_then(|x| x.try_into().ok()) }
        })*
    };
}
number!(i64, "an integer", as_i64; usize, "a non-negative integer", as_u64; bool, "true or false", as_bool;);

impl AttrValue for f64 {
    const EXPECTED: &str = "a number";
    fn to_json(&self) -> Value {
        if self.is_finite() { Value::from(*self) } else { Value::from(format!("{self}")) }
    }
    fn from_json(v: &Value) -> Option<Self> {
        match v {
            Value::String(s) if matches!(s.as_str(), "inf" | "-inf" | "NaN") => s.parse().ok(),
            _ => v.as_f64(),
        }
    }
}

impl AttrValue for f32 {
    const EXPECTED: &str = "a number";
    fn to_json(&self) -> Value {
        f64::from(*self).to_json()
    }
    fn from_json(v: &Value) -> Option<Self> {
        f64::from_json(v).map(|x| x as f32)
    }
}

impl AttrValue for String {
    const EXPECTED: &str = "a string";
    fn to_json(&self) -> Value {
        Value::from(self.as_str())
    }
    fn from_json(v: &Value) -> Option<Self> {
        v.as_str().map(str::to_string)
    }
}

impl AttrValue for DType {
    const EXPECTED: &str = "the name of an element type";
    fn to_json(&self) -> Value {
        Value::from(self.name())
    }
    fn from_json(v: &Value) -> Option<Self> {
        v.as_str().and_then(DType::from_name)
    }
}

impl<T: AttrValue> AttrValue for Vec<T> {
    const EXPECTED: &str = "a list";
    fn to_json(&self) -> Value {
        self.iter().map(AttrValue::to_json).collect()
    }
    fn from_json(v: &Value) -> Option<Self> {
        v.as_array()?.iter().map(T::from_json).collect()
    }
}

impl<T: AttrValue> AttrValue for Option<T> {
    const EXPECTED: &str = T::EXPECTED;
    fn to_json(&self) -> Value {
        self.as_ref().map_or(Value::Null, AttrValue::to_json)
    }
    fn from_json(v: &Value) -> Option<Self> {
        if v.is_null() { Some(None) } else { T::from_json(v).map(Some) }
    }
}

impl AttrValue for Map<String, Value> {
    const EXPECTED: &str = "an object";
    fn to_json(&self) -> Value {
        Value::Object(self.clone())
    }
    fn from_json(v: &Value) -> Option<Self> {
        v.as_object().cloned()
    }
}

/// A small tensor as `{"dtype", "shape", "data"}`; integers beyond 2^53 are kept exactly, narrow elements are their codes.
impl AttrValue for Tensor {
    const EXPECTED: &str = "a tensor";
    fn to_json(&self) -> Value {
        let data: Value = match (self.as_texts(), self.to_i64()) {
            (Ok(t), _) => t.iter().map(|s| Value::from(&**s)).collect(),
            (_, Ok(x)) => x.to_json(),
            _ if self.dtype().is_narrow() => self.bytes().iter().map(|&b| Value::from(b)).collect(),
            _ => self.to_f64().to_json(),
        };
        serde_json::json!({ "dtype": self.dtype().to_json(), "shape": self.shape().to_vec().to_json(), "data": data })
    }
    fn from_json(v: &Value) -> Option<Self> {
        let dtype = DType::from_json(v.get("dtype")?)?;
        let shape = Vec::<usize>::from_json(v.get("shape")?)?;
        let data = v.get("data")?;
        if dtype == DType::Text {
            Tensor::texts(&shape, Vec::<String>::from_json(data)?).ok()
        } else if dtype.is_narrow() {
            let codes: Option<Vec<u8>> = Vec::<i64>::from_json(data)?.into_iter().map(|c| c.try_into().ok()).collect();
            Tensor::from_bytes(dtype, &shape, &codes?).ok()
        } else if dtype.is_float() {
            let x = Vec::<f64>::from_json(data)?;
            let t = Tensor::new(&shape, x).ok()?;
            crate::ops::elementwise::cast(&t, dtype).ok()
        } else {
            let x = Vec::<i64>::from_json(data)?;
            let t = Tensor::new(&shape, x).ok()?;
            crate::ops::elementwise::cast(&t, dtype).ok()
        }
    }
}

/// Defines attribute structs with documented fields and defaults.
///
/// `field: Type = default` is left out of the file where it has its default.
macro_rules! attributes {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* pub $field:ident: $ty:ty = $default:expr),* $(,)? })*) => {
        $($(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name { $($(#[$fmeta])* pub $field: $ty),* }

        impl Default for $name {
            fn default() -> Self { Self { $($field: $default),* } }
        }

        impl $crate::ops::attrs::Attributes for $name {
            fn to_json(&self) -> serde_json::Map<String, serde_json::Value> {
                #[allow(unused_mut)]
                let mut map = serde_json::Map::new();
                $(let default: $ty = $default;
                if self.$field != default {
                    map.insert(stringify!($field).to_string(), $crate::ops::attrs::AttrValue::to_json(&self.$field));
                })*
                map
            }
            #[allow(unused_mut)]
            fn from_json(mut fields: $crate::ops::attrs::Fields) -> $crate::Result<Self> {
                let out = Self { $($field: fields.take(stringify!($field), || $default)?),* };
                fields.finish()?;
                Ok(out)
            }
        })*
    };
}

/// Defines an enum whose variants are short names in the file.
macro_rules! attr_enum {
    ($($(#[$meta:meta])* pub enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal),* $(,)? })*) => {
        $($(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
        pub enum $name { $($(#[$vmeta])* $variant),* }

        impl $name {
            /// Every variant.
            pub const ALL: &[$name] = &[$($name::$variant),*];
            /// The name in the file.
            pub fn name(self) -> &'static str { match self { $($name::$variant => $text),* } }
            /// The variant of this name.
            pub fn from_name(name: &str) -> Option<Self> { Self::ALL.iter().copied().find(|v| v.name() == name) }
        }

        impl $crate::ops::attrs::AttrValue for $name {
            const EXPECTED: &str = concat!("one of" $(, " `", $text, "`")*);
            fn to_json(&self) -> serde_json::Value { serde_json::Value::from(self.name()) }
            fn from_json(v: &serde_json::Value) -> Option<Self> { v.as_str().and_then(Self::from_name) }
        })*
    };
}

pub(crate) use {attr_enum, attributes};
