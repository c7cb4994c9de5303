//! Resampling, axis by axis.

use crate::resize::Table;

/// Resamples the axes that have a table; where any table says so, the result is `extrapolation`.
///
/// # Panics
/// When shapes, tables and slices do not fit.
pub fn resize(x: &[f64], shape: &[usize], tables: &[Option<Table>], extrapolation: f64) -> Vec<f64> {
    assert_eq!((x.len(), tables.len()), (shape.iter().product(), shape.len()));
    let (mut y, mut shape) = (x.to_vec(), shape.to_vec());
    for (a, table) in tables.iter().enumerate() {
        let Some(table) = table else { continue };
        let (outer, inner) = (shape[..a].iter().product::<usize>(), shape[a + 1..].iter().product::<usize>());
        let output = table.outside.len();
        let mut next = Vec::with_capacity(outer * output * inner);
        for o in 0..outer {
            for row in 0..output {
                let taps = row * table.taps..(row + 1) * table.taps;
                for i in 0..inner {
                    let tap = |t: usize| table.weight[t] * y[(o * shape[a] + table.index[t]) * inner + i];
                    next.push(taps.clone().map(tap).sum());
                }
            }
        }
        (y, shape[a]) = (next, output);
    }
    for (a, table) in tables.iter().enumerate() {
        let Some(table) = table else { continue };
        let inner: usize = shape[a + 1..].iter().product();
        for (i, v) in y.iter_mut().enumerate() {
            if table.outside[i / inner % shape[a]] {
                *v = extrapolation;
            }
        }
    }
    y
}
