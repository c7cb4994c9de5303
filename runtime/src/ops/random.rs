//! Random numbers that are the same in every run: each is a function of the seed and its position.

use super::attrs::{attr_enum, attributes};
use super::elementwise::cast;
use super::infer::{Infer, ValueType};
use super::operands::{entries, extent, shape, unknown_shape, vector};
use super::{Evaluate, Operator};
use crate::{DType, Error, Result, Tensor};

attr_enum! {
    /// How numbers are distributed.
    pub enum Distribution {
        /// Evenly from `a` to `b`.
        #[default] Uniform = "uniform",
        /// Normally with mean `a` and standard deviation `b`.
        Normal = "normal",
    }
}

attributes! {
    /// A tensor of random numbers. Input: its shape (i64 vector).
    pub struct Random {
        /// How they are distributed.
        pub distribution: Distribution = Distribution::Uniform,
        /// Least number, or mean.
        pub a: f32 = 0.0,
        /// Bound of the numbers, or standard deviation.
        pub b: f32 = 1.0,
        /// Another seed gives other numbers.
        pub seed: i64 = 0,
        /// Element type: a float.
        pub dtype: DType = DType::F32,
    }
}

/// SplitMix64 of Steele, Lea and Flood, at a position: 53 bits as a number from 0 up to 1.
fn unit(seed: i64, i: u64) -> f64 {
    let mut z = seed.cast_unsigned().wrapping_add(i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

impl Random {
    fn at(&self, i: u64) -> f64 {
        let (a, b) = (f64::from(self.a), f64::from(self.b));
        match self.distribution {
            Distribution::Uniform => a + (b - a) * unit(self.seed, i),
            // Box and Muller's transform of two uniform numbers.
            Distribution::Normal => {
                let (u, v) = (unit(self.seed, 2 * i), unit(self.seed, 2 * i + 1));
                a + b * (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
            }
        }
    }
}

impl Operator for Random {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        if !self.dtype.is_float() {
            return Err(Error::graph(format!("expected a type of floats, found {}", self.dtype)));
        }
        let rank = entries(cx, 0)?;
        let shape = vector(cx, 0)?.map_or_else(|| unknown_shape(rank), Ok)?;
        let shape = shape.into_iter().map(|d| extent(d, "input 0")).collect::<Result<Vec<_>>>()?;
        Ok(vec![ValueType::new(self.dtype, shape)])
    }
}

impl Evaluate for Random {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let shape = shape(self, inputs)?;
        let n: usize = shape.iter().product();
        let all = (0..n as u64).map(|i| self.at(i)).collect::<Vec<f64>>();
        Ok(vec![cast(&Tensor::new(&shape, all)?, self.dtype)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_have_the_moments_of_their_distribution() {
        let shape = Tensor::vector(&[10_000i64]);
        for (distribution, mean, variance) in
            [(Distribution::Uniform, 3.0, 4.0 / 12.0), (Distribution::Normal, 2.0, 16.0)]
        {
            let op = Random { distribution, a: 2.0, b: 4.0, seed: 7, ..Random::default() };
            let x = op.eval(&[Some(&shape)], 1).unwrap()[0].to_f64();
            let m = x.iter().sum::<f64>() / x.len() as f64;
            let v = x.iter().map(|x| (x - m) * (x - m)).sum::<f64>() / x.len() as f64;
            assert!((m - mean).abs() < 0.1 && (v / variance - 1.0).abs() < 0.05, "{m} {v}");
            assert_eq!(op.eval(&[Some(&shape)], 1).unwrap()[0].to_f64(), x);
        }
    }
}
