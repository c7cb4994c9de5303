//! Narrow element types: floats of at most 8 bits and integers of less than 8, one code a byte.
//!
//! Formats and rounding are those of the OCP Microscaling and 8-bit floating point specifications: sign, exponent, mantissa, from
//! the top; an exponent of 0 is subnormal; conversions round to nearest, ties to even.

use crate::ops::attrs::attr_enum;
use crate::{DType, Error, Result, Tensor};

attr_enum! {
    /// How a number between two powers of two becomes a [`DType::F8E8M0`].
    pub enum Rounding {
        /// To the nearest one, halves up.
        #[default] Nearest = "nearest",
        /// To the larger one.
        Up = "up",
        /// To the smaller one.
        Down = "down",
    }
}

/// What the largest codes of a small float mean.
#[derive(Clone, Copy, PartialEq)]
enum Top {
    /// Infinity and NaN, as in IEEE 754.
    Ieee,
    /// All ones are NaN.
    Nan,
    /// The code of negative zero is NaN; there is no negative zero.
    NegativeZero,
    /// Numbers.
    Finite,
}

/// A float of a sign, `exponent` bits and `mantissa` bits.
#[derive(Clone, Copy)]
struct Small {
    exponent: u32,
    mantissa: u32,
    bias: i32,
    top: Top,
}

impl Small {
    fn of(dtype: DType) -> Option<Self> {
        let (exponent, mantissa, bias, top) = match dtype {
            DType::F8E4M3 => (4, 3, 7, Top::Nan),
            DType::F8E4M3Fnuz => (4, 3, 8, Top::NegativeZero),
            DType::F8E5M2 => (5, 2, 15, Top::Ieee),
            DType::F8E5M2Fnuz => (5, 2, 16, Top::NegativeZero),
            DType::F6E2M3 => (2, 3, 1, Top::Finite),
            DType::F6E3M2 => (3, 2, 3, Top::Finite),
            DType::F4E2M1 => (2, 1, 1, Top::Finite),
            _ => return None,
        };
        Some(Self { exponent, mantissa, bias, top })
    }

    fn sign(self) -> u32 {
        1 << (self.exponent + self.mantissa)
    }

    /// The code of the largest number.
    fn largest(self) -> u32 {
        match self.top {
            Top::Ieee => self.sign() - 1 - (1 << self.mantissa),
            Top::Nan => self.sign() - 2,
            Top::NegativeZero | Top::Finite => self.sign() - 1,
        }
    }

    /// The code of NaN; -0 where there is none.
    fn nan(self) -> u32 {
        match self.top {
            Top::Ieee | Top::Nan => self.sign() - 1,
            Top::NegativeZero | Top::Finite => self.sign(),
        }
    }

    fn decode(self, code: u32) -> f64 {
        let negative = code & self.sign() != 0;
        let magnitude = code & (self.sign() - 1);
        if (self.top == Top::NegativeZero && code == self.sign())
            || (magnitude > self.largest() && magnitude != self.infinity())
        {
            return f64::NAN;
        }
        let fraction = f64::from(magnitude & ((1 << self.mantissa) - 1)) / f64::from(1u32 << self.mantissa);
        let value = match magnitude >> self.mantissa {
            _ if magnitude == self.infinity() => f64::INFINITY,
            0 => fraction * 2f64.powi(1 - self.bias),
            e => (1.0 + fraction) * 2f64.powi(e as i32 - self.bias),
        };
        if negative { -value } else { value }
    }

    /// The code of infinity; a code beyond all where there is none.
    fn infinity(self) -> u32 {
        if self.top == Top::Ieee { self.largest() + 1 } else { u32::MAX }
    }

    fn encode(self, x: f64, saturate: bool) -> u32 {
        if x.is_nan() {
            return self.nan();
        }
        let sign = if x.is_sign_negative() { self.sign() } else { 0 };
        let least = 1 - self.bias;
        // The exponent of an f64 that is not subnormal; smaller ones round to 0 in every format.
        let exponent = ((x.to_bits() >> 52) & 0x7ff) as i32 - 1023;
        let exponent = exponent.max(least);
        let steps = (x.abs() / 2f64.powi(exponent - self.mantissa as i32)).round_ties_even();
        let code = f64::from(((exponent - least) as u32) << self.mantissa) + steps;
        let code = if code <= f64::from(self.largest()) { code as u32 } else { return self.beyond(sign, saturate) };
        if code == 0 && self.top == Top::NegativeZero { 0 } else { sign | code }
    }

    /// What stands for a number beyond the largest.
    fn beyond(self, sign: u32, saturate: bool) -> u32 {
        match self.top {
            _ if saturate => sign | self.largest(),
            Top::Ieee => sign | self.infinity(),
            Top::Nan => sign | self.nan(),
            Top::NegativeZero => self.nan(),
            Top::Finite => sign | self.largest(),
        }
    }
}

/// Bits of an integer type, and whether it has a sign.
fn integer(dtype: DType) -> Option<(u32, bool)> {
    match dtype {
        DType::I4 => Some((4, true)),
        DType::U4 => Some((4, false)),
        DType::I2 => Some((2, true)),
        DType::U2 => Some((2, false)),
        _ => None,
    }
}

/// Bits of one element where elements are stored one after the other.
pub fn bits(dtype: DType) -> usize {
    match dtype {
        DType::F6E2M3 | DType::F6E3M2 => 6,
        DType::F4E2M1 | DType::I4 | DType::U4 => 4,
        DType::I2 | DType::U2 => 2,
        other => other.size() * 8,
    }
}

/// The number that a byte of a narrow type stands for; other types count the byte itself.
pub fn decode(dtype: DType, code: u8) -> f64 {
    if let Some(small) = Small::of(dtype) {
        return small.decode(u32::from(code));
    }
    match (dtype, code) {
        (DType::F8E8M0, 255) => f64::NAN,
        (DType::F8E8M0, e) => 2f64.powi(i32::from(e) - 127),
        (DType::I4 | DType::I2, code) => f64::from(code as i8),
        (_, code) => f64::from(code),
    }
}

/// The byte of a narrow type that is nearest to a number. Beyond the largest number floats saturate, or become infinity or NaN;
/// integers drop their fraction and the bits above.
pub fn encode(dtype: DType, x: f64, saturate: bool, rounding: Rounding) -> u8 {
    if let Some(small) = Small::of(dtype) {
        return small.encode(x, saturate) as u8;
    }
    if let Some((bits, signed)) = integer(dtype) {
        let low = (x as i64 as u8) & ((1 << bits) - 1);
        let negative = signed && low >> (bits - 1) == 1;
        return if negative { low | (u8::MAX << bits) } else { low };
    }
    scale(x, saturate, rounding)
}

/// A power of two from the bits of an f32: its exponent, moved up by what stands behind it. The sign is dropped.
fn scale(x: f64, saturate: bool, rounding: Rounding) -> u8 {
    let pattern = (x as f32).to_bits();
    let exponent = (pattern >> 23) & 0xff;
    if exponent == 255 {
        return 255;
    }
    let fraction = pattern & 0x7f_ffff;
    let up = match rounding {
        Rounding::Down => false,
        Rounding::Up => fraction > 0,
        // A half between two subnormal powers has no even neighbour above it.
        Rounding::Nearest => fraction > 0x40_0000 || (fraction == 0x40_0000 && exponent > 0),
    };
    let full = saturate && exponent == 254;
    (exponent + u32::from(up && !full)) as u8
}

/// Elements as numbers of a narrow type.
///
/// # Errors
/// When `to` is not narrow or the tensor holds no numbers.
pub fn convert(t: &Tensor, to: DType, saturate: bool, rounding: Rounding) -> Result<Tensor> {
    if !to.is_narrow() || t.dtype().size() == 0 {
        return Err(Error::graph(format!("expected numbers and a narrow type, found {} and {to}", t.dtype())));
    }
    let codes: Vec<u8> = match t.to_i64() {
        // Integers keep their low bits, whatever their size.
        Ok(all) if integer(to).is_some() => {
            let low = |x: i64| encode(to, (x & 15) as f64, saturate, rounding);
            all.into_iter().map(low).collect()
        }
        _ => t.to_f64().into_iter().map(|x| encode(to, x, saturate, rounding)).collect(),
    };
    Tensor::from_bytes(to, t.shape(), &codes)
}

/// Elements of less than 8 bits one after the other, the first in the lowest bits of a byte; other types as they are.
pub fn pack(t: &Tensor) -> Vec<u8> {
    let bits = bits(t.dtype());
    if bits % 8 == 0 {
        return t.bytes().to_vec();
    }
    let mut out = vec![0u8; (t.len() * bits).div_ceil(8)];
    for (i, &code) in t.bytes().iter().enumerate() {
        let (at, shift) = (i * bits / 8, i * bits % 8);
        let code = u16::from(code & ((1 << bits) - 1)) << shift;
        out[at] |= code as u8;
        if let Some(next) = out.get_mut(at + 1) {
            *next |= (code >> 8) as u8;
        }
    }
    out
}

/// The inverse of [`pack`].
///
/// # Errors
/// When the number of bytes does not fit the shape.
pub fn unpack(dtype: DType, shape: &[usize], packed: &[u8]) -> Result<Tensor> {
    let bits = bits(dtype);
    if bits % 8 == 0 {
        return Tensor::from_bytes(dtype, shape, packed);
    }
    let n = crate::checked_len(shape)?;
    let expected = n.checked_mul(bits).map(|b| b.div_ceil(8));
    if expected != Some(packed.len()) {
        let found = packed.len();
        return Err(Error::argument(format!("a {dtype} tensor of shape {shape:?} does not take {found} bytes")));
    }
    let signed = integer(dtype).is_some_and(|i| i.1);
    let element = |i: usize| {
        let (at, shift) = (i * bits / 8, i * bits % 8);
        let pair = u16::from(packed[at]) | u16::from(packed.get(at + 1).copied().unwrap_or(0)) << 8;
        let code = (pair >> shift) as u8 & ((1 << bits) - 1);
        if signed && code >> (bits - 1) == 1 { code | (u8::MAX << bits) } else { code }
    };
    let codes: Vec<u8> = (0..n).map(element).collect();
    Tensor::from_bytes(dtype, shape, &codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOATS: [DType; 7] = [
        DType::F8E4M3,
        DType::F8E4M3Fnuz,
        DType::F8E5M2,
        DType::F8E5M2Fnuz,
        DType::F6E2M3,
        DType::F6E3M2,
        DType::F4E2M1,
    ];

    #[test]
    fn every_number_is_its_own_nearest_and_halves_go_to_the_even_code() {
        for t in FLOATS {
            let small = Small::of(t).unwrap();
            for code in 0..2 * small.sign() {
                let x = small.decode(code);
                if x.is_nan() || (x == 0.0 && code != 0) {
                    continue;
                }
                assert_eq!(small.encode(x, false), code, "{t} {x}");
                let magnitude = code & (small.sign() - 1);
                if magnitude < small.largest() {
                    let half = x.midpoint(small.decode(code + 1));
                    assert_eq!(small.encode(half, false), code + (code & 1), "{t} {half}");
                }
            }
        }
    }

    #[test]
    fn numbers_beyond_the_largest_saturate_or_leave_the_numbers() {
        for (t, largest) in
            [(DType::F8E4M3, 448.0), (DType::F8E4M3Fnuz, 240.0), (DType::F8E5M2, 57344.0), (DType::F8E5M2Fnuz, 57344.0)]
        {
            for x in [1e9, f64::INFINITY] {
                assert_eq!(decode(t, encode(t, x, true, Rounding::Nearest)), largest);
                assert!(!decode(t, encode(t, -x, false, Rounding::Nearest)).is_finite());
            }
        }
        assert_eq!(decode(DType::F4E2M1, encode(DType::F4E2M1, -99.0, false, Rounding::Nearest)), -6.0);
    }

    #[test]
    fn integers_keep_their_low_bits() {
        let all: Vec<f64> = [7.9, -8.0, 8.0, -1.0]
            .iter()
            .map(|&x| decode(DType::I4, encode(DType::I4, x, true, Rounding::Nearest)))
            .collect();
        assert_eq!(all, [7.0, -8.0, -8.0, -1.0]);
    }

    #[test]
    fn packing_is_undone_by_unpacking() {
        for t in [DType::U4, DType::I4, DType::U2, DType::I2, DType::F4E2M1, DType::F6E2M3, DType::F8E5M2] {
            for n in 0..9usize {
                let codes: Vec<f64> = (0..n).map(|i| i as f64 % 3.0 - 1.0).collect();
                let t = convert(&Tensor::new(&[n], codes).unwrap(), t, true, Rounding::Nearest).unwrap();
                assert_eq!(unpack(t.dtype(), &[n], &pack(&t)).unwrap(), t);
            }
        }
        assert!(unpack(DType::U4, &[3], &[1]).is_err());
    }

    #[test]
    fn scales_round_as_asked() {
        let code = |x, r| encode(DType::F8E8M0, x, true, r);
        assert_eq!([Rounding::Down, Rounding::Nearest, Rounding::Up].map(|r| code(2.5, r)), [128, 128, 129]);
        assert_eq!(code(f64::NAN, Rounding::Up), 255);
        assert_eq!(decode(DType::F8E8M0, 128), 2.0);
    }
}
