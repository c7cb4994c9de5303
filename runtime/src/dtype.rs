//! Element types.

use half::{bf16, f16};

macro_rules! dtypes {
    ($($variant:ident $name:literal $size:literal $numpy:literal $doc:literal;)*) => {
        /// Type of a tensor's elements.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        pub enum DType { $(#[doc = $doc] $variant),* }

        impl DType {
            /// Every type.
            pub const ALL: &[DType] = &[$(DType::$variant),*];
            /// Short name: `f32`, `u8`, ...
            pub fn name(self) -> &'static str { match self { $(DType::$variant => $name),* } }
            /// Bytes of one element in memory; 0 for text and lists, whose elements are not bytes.
            pub fn size(self) -> usize { match self { $(DType::$variant => $size),* } }
            /// Kind and size as numpy writes them: `f4`, `i8`, ...; what numpy does not know is `V` and its size.
            pub fn numpy(self) -> &'static str { match self { $(DType::$variant => $numpy),* } }
        }
    };
}

dtypes! {
    F32 "f32" 4 "f4" "32-bit float.";
    F16 "f16" 2 "f2" "IEEE half float.";
    BF16 "bf16" 2 "V2" "bfloat16.";
    F64 "f64" 8 "f8" "64-bit float.";
    I8 "i8" 1 "i1" "8-bit signed integer.";
    I16 "i16" 2 "i2" "16-bit signed integer.";
    I32 "i32" 4 "i4" "32-bit signed integer.";
    I64 "i64" 8 "i8" "64-bit signed integer.";
    U8 "u8" 1 "u1" "8-bit unsigned integer.";
    U16 "u16" 2 "u2" "16-bit unsigned integer.";
    U32 "u32" 4 "u4" "32-bit unsigned integer.";
    U64 "u64" 8 "u8" "64-bit unsigned integer.";
    Bool "bool" 1 "b1" "Truth value: a byte, 0 or 1.";
    F8E4M3 "f8_e4m3" 1 "V1" "8-bit float of 4 exponent bits, without infinities.";
    F8E4M3Fnuz "f8_e4m3fnuz" 1 "V1" "8-bit float of 4 exponent bits, without infinities and negative zero.";
    F8E5M2 "f8_e5m2" 1 "V1" "8-bit float of 5 exponent bits.";
    F8E5M2Fnuz "f8_e5m2fnuz" 1 "V1" "8-bit float of 5 exponent bits, without infinities and negative zero.";
    F8E8M0 "f8_e8m0" 1 "V1" "Power of two of 8 exponent bits: a scale.";
    F6E2M3 "f6_e2m3" 1 "V1" "6-bit float of 2 exponent bits; a byte in memory.";
    F6E3M2 "f6_e3m2" 1 "V1" "6-bit float of 3 exponent bits; a byte in memory.";
    F4E2M1 "f4_e2m1" 1 "V1" "4-bit float of 2 exponent bits; a byte in memory.";
    I4 "i4" 1 "V1" "4-bit signed integer; a byte in memory, sign-extended.";
    U4 "u4" 1 "V1" "4-bit unsigned integer; a byte in memory.";
    I2 "i2" 1 "V1" "2-bit signed integer; a byte in memory, sign-extended.";
    U2 "u2" 1 "V1" "2-bit unsigned integer; a byte in memory.";
    Text "text" 0 "O" "A string (UTF-8).";
    List "list" 0 "O" "A tensor: a sequence is a vector of them, an optional such a vector of at most one.";
}

impl DType {
    /// The type of this short name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|d| d.name() == name)
    }
    /// f16, bf16, f32 or f64.
    pub fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F16 | DType::BF16 | DType::F64)
    }
    /// Any integer type that is computed with; not `Bool`.
    pub fn is_integer(self) -> bool {
        use DType as D;
        matches!(self, D::I8 | D::I16 | D::I32 | D::I64 | D::U8 | D::U16 | D::U32 | D::U64)
    }
    /// A type that ops compute with: [`Self::is_float`], [`Self::is_integer`] or `Bool`.
    pub fn is_plain(self) -> bool {
        self.is_float() || self.is_integer() || self == DType::Bool
    }
    /// A type that is only stored, moved and converted: floats of at most 8 bits, integers of less than 8.
    pub fn is_narrow(self) -> bool {
        !self.is_plain() && self.size() == 1
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A Rust type that is the element of a tensor. Implemented for the types of [`DType`]; `bool` stands for [`DType::Bool`].
pub trait Element:
    Copy + Default + PartialEq + PartialOrd + std::fmt::Debug + Send + Sync + 'static + private::Sealed
{
    /// The matching type.
    const DTYPE: DType;
}

mod private {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($ty:ty: $variant:ident),*) => {
        $(impl private::Sealed for $ty {}
        impl Element for $ty { const DTYPE: DType = DType::$variant; })*
    };
}

elements!(f32: F32, f16: F16, bf16: BF16, f64: F64, i8: I8, i16: I16, i32: I32, i64: I64, u8: U8, u16: U16, u32: U32, u64: U64, bool: Bool);

/// Runs a block with `$t` bound to the Rust type of a [`DType`]. Types that no Rust type stands for bind `u8`, the byte that holds
/// a narrow one; typed access to such a tensor as `u8` is an error.
///
/// ```
/// use pocketnn::{DType, with_dtype};
/// assert_eq!(with_dtype!(DType::I16, T => size_of::<T>()), 2);
/// ```
#[macro_export]
macro_rules! with_dtype {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            $crate::DType::F32 => {
                type $t = f32;
                $body
            }
            $crate::DType::F16 => {
                type $t = $crate::half::f16;
                $body
            }
            $crate::DType::BF16 => {
                type $t = $crate::half::bf16;
                $body
            }
            $crate::DType::F64 => {
                type $t = f64;
                $body
            }
            $crate::DType::I8 => {
                type $t = i8;
                $body
            }
            $crate::DType::I16 => {
                type $t = i16;
                $body
            }
            $crate::DType::I32 => {
                type $t = i32;
                $body
            }
            $crate::DType::I64 => {
                type $t = i64;
                $body
            }
            $crate::DType::U16 => {
                type $t = u16;
                $body
            }
            $crate::DType::U32 => {
                type $t = u32;
                $body
            }
            $crate::DType::U64 => {
                type $t = u64;
                $body
            }
            $crate::DType::Bool => {
                type $t = bool;
                $body
            }
            _ => {
                type $t = u8;
                $body
            }
        }
    };
}
