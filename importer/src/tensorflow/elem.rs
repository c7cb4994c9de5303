//! Element types: what the file declares, and what carries it in a graph.

use pocketnn::DType;

use crate::error::{ImportError, Result};

macro_rules! elems {
    ($($name:ident $number:literal $text:literal $carrier:expr;)*) => {
        /// An element type of TensorFlow.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(super) enum Elem { $($name),* }

        impl Elem {
            /// The type of this number of `DataType`; reference types (100 more) are the types they refer to.
            fn of(number: i32) -> Option<Self> {
                let number = if number > 100 { number.saturating_sub(100) } else { number };
                match number { $($number => Some(Elem::$name),)* _ => None }
            }
            /// Its name in lower case.
            pub fn name(self) -> &'static str {
                match self { $(Elem::$name => $text),* }
            }
            /// The type whose elements carry it between the operations of a graph: half precision is computed in f32.
            fn carrier(self) -> Option<DType> {
                match self { $(Elem::$name => $carrier),* }
            }
        }
    };
}

elems! {
    F32 1 "float32" Some(DType::F32);
    F64 2 "float64" Some(DType::F64);
    I32 3 "int32" Some(DType::I32);
    U8 4 "uint8" Some(DType::U8);
    I16 5 "int16" Some(DType::I16);
    I8 6 "int8" Some(DType::I8);
    Text 7 "string" None;
    Complex64 8 "complex64" None;
    I64 9 "int64" Some(DType::I64);
    Bool 10 "bool" Some(DType::Bool);
    QI8 11 "qint8" None;
    QU8 12 "quint8" None;
    QI32 13 "qint32" None;
    Bf16 14 "bfloat16" Some(DType::F32);
    QI16 15 "qint16" None;
    QU16 16 "quint16" None;
    U16 17 "uint16" Some(DType::U16);
    Complex128 18 "complex128" None;
    F16 19 "float16" Some(DType::F32);
    Resource 20 "resource" None;
    Variant 21 "variant" None;
    U32 22 "uint32" Some(DType::U32);
    U64 23 "uint64" Some(DType::U64);
}

impl Elem {
    /// The type of this number.
    ///
    /// # Errors
    /// `Invalid` for 0, `Unsupported` for a number that is not known.
    pub fn parse(number: i32) -> Result<Self> {
        match Self::of(number) {
            Some(elem) => Ok(elem),
            None if number == 0 => Err(ImportError::invalid("the element type is not given")),
            None => {
                Err(ImportError::unsupported("an element type that is not known").found(format!("number {number}")))
            }
        }
    }

    /// The type that carries it in a graph.
    ///
    /// # Errors
    /// `Unsupported` for text, complex and quantized numbers.
    pub fn carried(self) -> Result<DType> {
        self.carrier()
            .ok_or_else(|| ImportError::unsupported(format!("elements of type {} are not supported", self.name())))
    }

    /// The type a tensor of these elements has where it is stored or crosses the border of a graph.
    ///
    /// # Errors
    /// As [`Self::carried`].
    pub fn stored(self) -> Result<DType> {
        match self {
            Self::F16 => Ok(DType::F16),
            Self::Bf16 => Ok(DType::BF16),
            other => other.carried(),
        }
    }

    /// The type whose tensors are stored with these elements.
    ///
    /// # Errors
    /// `Unsupported` for elements that TensorFlow does not have.
    pub fn of_stored(dtype: DType) -> Result<Self> {
        let known = (1..=23).filter_map(Self::of).find(|e| e.stored().is_ok_and(|d| d == dtype));
        known.ok_or_else(|| ImportError::unsupported("TensorFlow has no such elements").found(dtype))
    }

    /// A float type.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::Bf16 | Self::F64)
    }
}
