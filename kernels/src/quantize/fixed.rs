//! Fixed-point arithmetic of TFLite: a real multiplier as 31 bits and a power of two.
//!
//! The rules are those of its reference kernels, which every quantized graph of that format is defined by. A product is rounded twice: the
//! high half of the doubled 64-bit product to nearest (ties upwards), then the right shift to nearest (ties away from zero). Sums of 64 bits are
//! multiplied by the upper 16 bits of the mantissa and rounded once. Fully connected layers round the whole product once, ties upwards.

/// A real number as `mantissa * 2^(shift - 31)`, the mantissa in `2^30 .. 2^31`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Multiplier {
    /// The 31 bits.
    pub mantissa: i32,
    /// Left shift; negative: right.
    pub shift: i32,
}

/// A finite number as a fraction in `[0.5, 1)` (with its sign) and a power of two.
fn parts(x: f64) -> (f64, i32) {
    if x == 0.0 || !x.is_finite() {
        return (x, 0);
    }
    let field = |x: f64| (x.to_bits() >> 52 & 0x7ff) as i32;
    // Subnormal numbers are scaled first.
    let (x, offset) = if field(x) == 0 { (x * 2f64.powi(64), -64) } else { (x, 0) };
    let exponent = field(x) - 1022;
    (f64::from_bits(x.to_bits() & !(0x7ff << 52) | 1022 << 52), exponent + offset)
}

impl Multiplier {
    /// The nearest multiplier of this form; what is smaller than `2^-31` becomes 0.
    pub fn new(real: f64) -> Self {
        let (fraction, mut shift) = parts(real);
        let mut mantissa = (fraction * 2f64.powi(31)).round() as i64;
        if mantissa == 1 << 31 {
            mantissa /= 2;
            shift += 1;
        }
        if real == 0.0 || !real.is_finite() || shift < -31 {
            return Self::default();
        }
        // Beyond 2^30 every sum but 0 leaves the range of any output.
        Self { mantissa: mantissa as i32, shift: shift.min(30) }
    }
    /// `x * self`, rounded twice.
    #[inline(always)]
    pub fn apply(self, x: i32) -> i32 {
        let (left, right) = (self.shift.max(0), (-self.shift).max(0));
        shift_right(high_product(x.wrapping_shl(left as u32), self.mantissa), right)
    }
    /// `x * self` for sums of up to 48 bits, by 16 bits of the mantissa, rounded once; saturated.
    #[inline(always)]
    pub fn apply_wide(self, x: i64) -> i32 {
        let mantissa = if self.mantissa < 0x7fff_0000 { (self.mantissa + (1 << 15)) >> 16 } else { 0x7fff };
        let total = 15 - self.shift;
        let half = if total > 0 { 1i64 << (total - 1) } else { 0 };
        let product = x.wrapping_mul(i64::from(mantissa)).wrapping_add(half);
        let y = if total >= 0 { product >> total } else { product << -total };
        y.clamp(i32::MIN.into(), i32::MAX.into()) as i32
    }
    /// `x * self`, rounded once, ties upwards; saturated.
    #[inline(always)]
    pub fn apply_once(self, x: i32) -> i32 {
        let total = 31 - self.shift;
        let product = i64::from(x) * i64::from(self.mantissa) + (1 << (total - 1));
        (product >> total).clamp(i32::MIN.into(), i32::MAX.into()) as i32
    }
    /// As [`Self::apply_once`] for wide sums.
    #[inline(always)]
    pub fn apply_once_wide(self, x: i64) -> i32 {
        let total = 31 - self.shift;
        let product = i128::from(x) * i128::from(self.mantissa) + (1 << (total - 1));
        (product >> total).clamp(i32::MIN.into(), i32::MAX.into()) as i32
    }
}

/// The high half of `2 * a * b`, to nearest, ties upwards; saturated.
#[inline(always)]
pub fn high_product(a: i32, b: i32) -> i32 {
    if a == i32::MIN && b == i32::MIN {
        return i32::MAX;
    }
    let product = i64::from(a) * i64::from(b);
    let nudge = if product >= 0 { 1 << 30 } else { 1 - (1 << 30) };
    ((product + nudge) / (1 << 31)) as i32
}

/// `x / 2^bits` to nearest, ties away from zero; `bits` up to 31.
#[inline(always)]
pub fn shift_right(x: i32, bits: i32) -> i32 {
    let mask = ((1i64 << bits) - 1) as i32;
    let threshold = (mask >> 1) + i32::from(x < 0);
    (x >> bits) + i32::from(x & mask > threshold)
}

/// As [`high_product`] for 16 bits.
pub fn high_product_16(a: i16, b: i16) -> i16 {
    if a == i16::MIN && b == i16::MIN {
        return i16::MAX;
    }
    let product = i32::from(a) * i32::from(b);
    let nudge = if product >= 0 { 1 << 14 } else { 1 - (1 << 14) };
    ((product + nudge) / (1 << 15)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multipliers_are_normalised() {
        assert_eq!(Multiplier::new(0.5), Multiplier { mantissa: 1 << 30, shift: 0 });
        assert_eq!(Multiplier::new(1.0), Multiplier { mantissa: 1 << 30, shift: 1 });
        assert_eq!(Multiplier::new(0.75), Multiplier { mantissa: 3 << 29, shift: 0 });
        assert_eq!(Multiplier::new(-0.75), Multiplier { mantissa: -(3 << 29), shift: 0 });
        assert_eq!(Multiplier::new(1.0 - 1e-12), Multiplier { mantissa: 1 << 30, shift: 1 });
        assert_eq!(Multiplier::new(2f64.powi(-33)), Multiplier::default());
        assert_eq!(Multiplier::new(f64::MIN_POSITIVE / 4.0), Multiplier::default());
        assert_eq!(Multiplier::new(0.0), Multiplier::default());
        assert_eq!(Multiplier::new(f64::NAN), Multiplier::default());
    }

    #[test]
    fn ties_go_away_from_zero() {
        for (x, bits, want) in
            [(5, 1, 3), (-5, 1, -3), (6, 2, 2), (-6, 2, -2), (7, 0, 7), (-1, 31, 0), (i32::MIN, 31, -1)]
        {
            assert_eq!(shift_right(x, bits), want, "{x} {bits}");
        }
        assert_eq!(high_product(i32::MIN, i32::MIN), i32::MAX);
        assert_eq!(high_product(1 << 30, 1), 1);
        assert_eq!(high_product(-(1 << 30), 1), 0, "ties of the product go upwards below zero");
        let half = Multiplier::new(0.5);
        assert_eq!([5, -5, 3, -3].map(|x| half.apply(x)), [3, -2, 2, -1]);
        let quarter = Multiplier::new(0.25);
        // Rounded at one half first: 1/2 of 5 is 3, half of it 2.
        assert_eq!([5, 6, -6].map(|x| quarter.apply(x)), [2, 2, -2]);
        assert_eq!([5i64, -5, 3, -3].map(|x| half.apply_wide(x)), [3, -2, 2, -1]);
        // 5/4 is nearer to 1 than what two roundings make of it.
        assert_eq!([5, 6, -6].map(|x| quarter.apply_once(x)), [1, 2, -1]);
        assert_eq!([5i64, 6, -6].map(|x| quarter.apply_once_wide(x)), [1, 2, -1]);
        assert_eq!(Multiplier::new(1e9).apply_once(i32::MIN), i32::MIN);
        assert_eq!(Multiplier::default().apply_once(7), 0);
    }
}
