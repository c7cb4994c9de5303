//! Element types: what the file declares, and what carries it in a graph.

use pocketnn::DType;

use crate::error::{ImportError, Result};

macro_rules! elems {
    ($($name:ident $number:literal $text:literal $carrier:expr;)*) => {
        /// An element type of ONNX.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(super) enum Elem { $($name),* }

        impl Elem {
            /// The type of this number of `TensorProto.DataType`.
            pub fn of(number: i32) -> Option<Self> {
                match number { $($number => Some(Elem::$name),)* _ => None }
            }
            /// Its number.
            pub fn number(self) -> i32 {
                match self { $(Elem::$name => $number),* }
            }
            /// Its name in lower case.
            pub fn name(self) -> &'static str {
                match self { $(Elem::$name => $text),* }
            }
            /// The type whose elements carry it between the operators of a graph: half precision is computed in f32.
            fn carrier(self) -> Option<DType> {
                match self { $(Elem::$name => $carrier),* }
            }
        }
    };
}

elems! {
    F32 1 "float" Some(DType::F32);
    U8 2 "uint8" Some(DType::U8);
    I8 3 "int8" Some(DType::I8);
    U16 4 "uint16" Some(DType::U16);
    I16 5 "int16" Some(DType::I16);
    I32 6 "int32" Some(DType::I32);
    I64 7 "int64" Some(DType::I64);
    Text 8 "string" Some(DType::Text);
    Bool 9 "bool" Some(DType::Bool);
    F16 10 "float16" Some(DType::F32);
    F64 11 "double" Some(DType::F64);
    U32 12 "uint32" Some(DType::U32);
    U64 13 "uint64" Some(DType::U64);
    Complex64 14 "complex64" None;
    Complex128 15 "complex128" None;
    Bf16 16 "bfloat16" Some(DType::F32);
    F8e4m3fn 17 "float8e4m3fn" Some(DType::F8E4M3);
    F8e4m3fnuz 18 "float8e4m3fnuz" Some(DType::F8E4M3Fnuz);
    F8e5m2 19 "float8e5m2" Some(DType::F8E5M2);
    F8e5m2fnuz 20 "float8e5m2fnuz" Some(DType::F8E5M2Fnuz);
    U4 21 "uint4" Some(DType::U4);
    I4 22 "int4" Some(DType::I4);
    F4e2m1 23 "float4e2m1" Some(DType::F4E2M1);
    F8e8m0 24 "float8e8m0" Some(DType::F8E8M0);
    U2 25 "uint2" Some(DType::U2);
    I2 26 "int2" Some(DType::I2);
    F6e2m3 27 "float6e2m3" Some(DType::F6E2M3);
    F6e3m2 28 "float6e3m2" Some(DType::F6E3M2);
}

impl Elem {
    /// The type of this number.
    ///
    /// # Errors
    /// `Invalid` for 0, `Unsupported` for a number of a later version of ONNX.
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
    /// `Unsupported` for complex numbers.
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

    /// The type whose stored form is `dtype`.
    pub fn of_stored(dtype: DType) -> Self {
        match dtype {
            DType::F8E4M3 => Self::F8e4m3fn,
            DType::F8E4M3Fnuz => Self::F8e4m3fnuz,
            DType::F8E5M2 => Self::F8e5m2,
            DType::F8E5M2Fnuz => Self::F8e5m2fnuz,
            DType::F8E8M0 => Self::F8e8m0,
            DType::F6E2M3 => Self::F6e2m3,
            DType::F6E3M2 => Self::F6e3m2,
            DType::F4E2M1 => Self::F4e2m1,
            DType::I4 => Self::I4,
            DType::U4 => Self::U4,
            DType::I2 => Self::I2,
            DType::U2 => Self::U2,
            // A list has no number of its own; only its elements do.
            DType::Text | DType::List => Self::Text,
            DType::F32 => Self::F32,
            DType::F16 => Self::F16,
            DType::BF16 => Self::Bf16,
            DType::F64 => Self::F64,
            DType::I8 => Self::I8,
            DType::I16 => Self::I16,
            DType::I32 => Self::I32,
            DType::I64 => Self::I64,
            DType::U8 => Self::U8,
            DType::U16 => Self::U16,
            DType::U32 => Self::U32,
            DType::U64 => Self::U64,
            DType::Bool => Self::Bool,
        }
    }

    /// A float of at most 8 bits.
    pub fn is_narrow_float(self) -> bool {
        use Elem as E;
        let eight = matches!(self, E::F8e4m3fn | E::F8e4m3fnuz | E::F8e5m2 | E::F8e5m2fnuz | E::F8e8m0);
        eight || matches!(self, E::F6e2m3 | E::F6e3m2 | E::F4e2m1)
    }

    /// float, float16, bfloat16 or double.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::Bf16 | Self::F64)
    }
}
