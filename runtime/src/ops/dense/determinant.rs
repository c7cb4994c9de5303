//! Determinants.

use crate::ops::attrs::attributes;
use crate::ops::elementwise::{cast, operand};
use crate::ops::infer::{Infer, ValueType};
use crate::ops::{Evaluate, Operator};
use crate::{Error, Result, Tensor};

attributes! {
    /// Determinants of square matrices `[..., M, M]`; output `[...]`.
    pub struct Determinant {}
}

/// Gaussian elimination with the largest pivot of each column.
fn determinant(a: &mut [f64], n: usize) -> f64 {
    let mut product = 1.0;
    for k in 0..n {
        let pivot = (k..n).max_by(|&i, &j| a[i * n + k].abs().total_cmp(&a[j * n + k].abs())).unwrap_or(k);
        if a[pivot * n + k] == 0.0 {
            return 0.0;
        }
        if pivot != k {
            (0..n).for_each(|j| a.swap(pivot * n + j, k * n + j));
            product = -product;
        }
        product *= a[k * n + k];
        for i in k + 1..n {
            let factor = a[i * n + k] / a[k * n + k];
            (k..n).for_each(|j| a[i * n + j] -= factor * a[k * n + j]);
        }
    }
    product
}

impl Operator for Determinant {
    fn infer(&self, cx: &Infer) -> Result<Vec<ValueType>> {
        let x = cx.ty(0)?;
        let rank = x.shape.len();
        if rank < 2 || !x.dtype.is_float() {
            return Err(Error::graph(format!("input 0: expected matrices of floats, found {x}")));
        }
        crate::ops::operands::unify("rows and columns", &x.shape[rank - 2], &x.shape[rank - 1])?;
        Ok(vec![ValueType::new(x.dtype, &x.shape[..rank - 2])])
    }
}

impl Evaluate for Determinant {
    fn eval(&self, inputs: &[Option<&Tensor>], _outputs: usize) -> Result<Vec<Tensor>> {
        let x = operand(inputs, 0)?;
        let (shape, n) = (&x.shape()[..x.rank() - 2], x.shape()[x.rank() - 1]);
        let mut data = x.to_f64();
        let count = shape.iter().product();
        let y: Vec<f64> = (0..count).map(|i| determinant(&mut data[i * n * n..][..n * n], n)).collect();
        Ok(vec![cast(&Tensor::new(shape, y)?, x.dtype())?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_may_have_to_be_exchanged() {
        let x = Tensor::new(&[2, 2, 2], vec![0.0f32, 2.0, 3.0, 1.0, 1.0, 2.0, 2.0, 4.0]).unwrap();
        assert_eq!(Determinant {}.eval(&[Some(&x)], 1).unwrap()[0].to_f32(), [-6.0, 0.0]);
    }
}
