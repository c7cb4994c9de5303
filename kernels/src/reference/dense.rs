//! Fully connected layers and matrix products, row-major.

/// `x` `[M, K]` times the transpose of `w` `[N, K]` plus `bias` `[N]`: `[M, N]`. `K` comes from the weights: `w.len() / n`.
///
/// # Panics
/// When shapes and slices do not fit.
pub fn dense(x: &[f32], m: usize, w: &[f32], n: usize, bias: Option<&[f32]>) -> Vec<f32> {
    let k = w.len().checked_div(n).unwrap_or(0);
    assert_eq!((x.len(), w.len()), (m * k, n * k));
    let mut y = Vec::with_capacity(m * n);
    for row in 0..m {
        let x = &x[row * k..][..k];
        for col in 0..n {
            let start = bias.map_or(0.0, |b| f64::from(b[col]));
            y.push(w[col * k..][..k].iter().zip(x).fold(start, |a, (&w, &x)| a + f64::from(w) * f64::from(x)) as f32);
        }
    }
    y
}

/// `a` `[.., M, K]` times `b` `[.., K, N]`: `[.., M, N]`, leading axes broadcast as in NumPy. A one-axis `a` is a row and a
/// one-axis `b` a column, and the axis is dropped from the result.
///
/// # Panics
/// When shapes and slices do not fit.
pub fn matmul(a: &[f32], a_shape: &[usize], b: &[f32], b_shape: &[usize]) -> (Vec<f32>, Vec<usize>) {
    let row: Vec<usize> = if let [k] = a_shape { vec![1, *k] } else { a_shape.to_vec() };
    let column: Vec<usize> = if let [k] = b_shape { vec![*k, 1] } else { b_shape.to_vec() };
    let (a_lead, [m, k]) = split_matrix(&row);
    let (b_lead, [kb, n]) = split_matrix(&column);
    assert_eq!(k, kb, "columns of a and rows of b: {a_shape:?} x {b_shape:?}");
    let rank = a_lead.len().max(b_lead.len());
    let (a_lead, b_lead) = (pad_shape(a_lead, rank), pad_shape(b_lead, rank));
    let lead: Vec<usize> = a_lead.iter().zip(&b_lead).map(|(&p, &q)| if p == 1 { q } else { p }).collect();
    let mut y = Vec::with_capacity(lead.iter().product::<usize>() * m * n);
    for batch in 0..lead.iter().product() {
        let a = &a[pick(batch, &lead, &a_lead) * m * k..][..m * k];
        let b = &b[pick(batch, &lead, &b_lead) * k * n..][..k * n];
        product(a, b, m, k, n, &mut y);
    }
    let mut shape = lead;
    shape.extend((a_shape.len() > 1).then_some(m));
    shape.extend((b_shape.len() > 1).then_some(n));
    (y, shape)
}

/// Appends `a` `[M, K]` times `b` `[K, N]` to `y`.
fn product(a: &[f32], b: &[f32], m: usize, k: usize, n: usize, y: &mut Vec<f32>) {
    let mut acc = vec![0.0_f64; n];
    for row in 0..m {
        acc.fill(0.0);
        for i in 0..k {
            let scale = f64::from(a[row * k + i]);
            for (s, &v) in acc.iter_mut().zip(&b[i * n..][..n]) {
                *s += scale * f64::from(v);
            }
        }
        y.extend(acc.iter().map(|&v| v as f32));
    }
}

fn split_matrix(shape: &[usize]) -> (&[usize], [usize; 2]) {
    let (lead, tail) = shape.split_at(shape.len() - 2);
    (lead, [tail[0], tail[1]])
}

fn pad_shape(shape: &[usize], rank: usize) -> Vec<usize> {
    std::iter::repeat_n(1, rank - shape.len()).chain(shape.iter().copied()).collect()
}

/// Index, in an array of shape `own` broadcast to `all`, of element `index` of `all`.
fn pick(mut index: usize, all: &[usize], own: &[usize]) -> usize {
    let (mut at, mut stride) = (0, 1);
    for (&extent, &have) in all.iter().zip(own).rev() {
        at += if have == 1 { 0 } else { index % extent * stride };
        index /= extent;
        stride *= have;
    }
    at
}
