//! Elements moved, repeated or left in place.

use crate::movement::{DepthOrder, Padding};

/// Calls `f` with every index tuple of a shape in row-major order.
pub(crate) fn each_index(shape: &[usize], mut f: impl FnMut(&[usize])) {
    let count: usize = shape.iter().product();
    let mut index = vec![0; shape.len()];
    for _ in 0..count {
        f(&index);
        for a in (0..shape.len()).rev() {
            index[a] += 1;
            if index[a] < shape[a] {
                break;
            }
            index[a] = 0;
        }
    }
}

/// Distance of neighbours along each axis of a row-major tensor.
pub(crate) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut s = vec![1; shape.len()];
    for a in (1..shape.len()).rev() {
        s[a - 1] = s[a] * shape[a];
    }
    s
}

/// `y[i, j, ..] = x[tables[0][i], tables[1][j], ..]`, and `fill` where any entry is `None`: slices, reversals, repetitions,
/// broadcasts and padding are all of this kind. The output's extents are the lengths of the tables.
///
/// # Panics
/// When there are not as many tables as axes, or an entry lies outside `x`.
pub fn select<T: Copy>(x: &[T], shape: &[usize], tables: &[Vec<Option<usize>>], fill: T) -> Vec<T> {
    assert_eq!((x.len(), shape.len()), (shape.iter().product(), tables.len()));
    let steps = strides(shape);
    let out: Vec<usize> = tables.iter().map(Vec::len).collect();
    let mut y = Vec::with_capacity(out.iter().product());
    each_index(&out, |at| {
        let offset = (0..shape.len()).try_fold(0, |o, a| {
            tables[a][at[a]].map(|i| {
                assert!(i < shape[a], "entry {i} of axis {a} of {shape:?}");
                o + i * steps[a]
            })
        });
        y.push(offset.map_or(fill, |o| x[o]));
    });
    y
}

/// Channels of images `[N, C, positions]` chosen in any order: output channel `i` is channel `pick[i]` of the images' channels one
/// after another. Each image comes with its channels.
///
/// # Panics
/// When there is no such channel.
pub fn pick<T: Copy>(x: &[(&[T], usize)], n: usize, positions: usize, pick: &[usize]) -> Vec<T> {
    let mut y = Vec::with_capacity(n * pick.len() * positions);
    for image in 0..n {
        let planes: Vec<&[T]> =
            x.iter().flat_map(|(x, c)| (0..*c).map(move |i| &x[(image * c + i) * positions..][..positions])).collect();
        pick.iter().for_each(|&c| y.extend_from_slice(planes[c]));
    }
    y
}

/// The table of a slice: `len` elements from `start` on, `step` apart.
pub fn slice_table(start: usize, step: isize, len: usize) -> Vec<Option<usize>> {
    (0..len).map(|i| usize::try_from(start as isize + i as isize * step).ok()).collect()
}

/// The table of an axis broadcast or repeated to `len` elements.
pub fn repeat_table(extent: usize, len: usize) -> Vec<Option<usize>> {
    (0..len).map(|i| i.checked_rem(extent)).collect()
}

/// The table of an axis that gets `before` elements in front and has `len` in all; a negative number cuts.
pub fn pad_table(padding: Padding, extent: usize, before: isize, len: usize) -> Vec<Option<usize>> {
    (0..len).map(|i| padding.source(i as isize - before, extent)).collect()
}

/// Output axis `i` is input axis `perm[i]`.
///
/// # Panics
/// When `perm` is not a permutation of the axes.
pub fn transpose<T: Copy>(x: &[T], shape: &[usize], perm: &[usize]) -> Vec<T> {
    let steps = strides(shape);
    let out: Vec<usize> = perm.iter().map(|&p| shape[p]).collect();
    assert_eq!((x.len(), perm.len()), (out.iter().product(), shape.len()));
    let mut y = Vec::with_capacity(x.len());
    each_index(&out, |at| y.push(x[at.iter().zip(perm).map(|(&i, &p)| i * steps[p]).sum::<usize>()]));
    y
}

/// Joins tensors along an axis.
///
/// # Panics
/// When the shapes differ on another axis.
pub fn concat<T: Copy>(parts: &[(&[T], &[usize])], axis: usize) -> Vec<T> {
    let outer: usize = parts[0].1[..axis].iter().product();
    let mut y = Vec::with_capacity(parts.iter().map(|p| p.0.len()).sum());
    for o in 0..outer {
        for (x, shape) in parts {
            let run: usize = shape[axis..].iter().product();
            y.extend_from_slice(&x[o * run..(o + 1) * run]);
        }
    }
    y
}

/// Channels into blocks of pixels: `[N, C b b, H, W]` to `[N, C, H b, W b]`.
///
/// # Panics
/// When the channels are not a multiple of `block * block`.
pub fn depth_to_space<T: Copy>(x: &[T], shape: &[usize; 4], block: usize, order: DepthOrder) -> Vec<T> {
    let [n, deep, h, w] = *shape;
    let c = deep / (block * block);
    assert_eq!((x.len(), deep), (n * deep * h * w, c * block * block));
    let mut y = Vec::with_capacity(x.len());
    each_index(&[n, c, h * block, w * block], |at| {
        let channel = order.deep(at[1], c, at[2] % block, at[3] % block, block);
        y.push(x[((at[0] * deep + channel) * h + at[2] / block) * w + at[3] / block]);
    });
    y
}

/// Blocks of pixels into channels: `[N, C, H b, W b]` to `[N, C b b, H, W]`, the inverse of [`depth_to_space`].
///
/// # Panics
/// When height or width are not multiples of `block`.
pub fn space_to_depth<T: Copy + Default>(x: &[T], shape: &[usize; 4], block: usize, order: DepthOrder) -> Vec<T> {
    let [n, c, rows, columns] = *shape;
    let (h, w, deep) = (rows / block, columns / block, c * block * block);
    assert_eq!((h * block, w * block, n * c * rows * columns), (rows, columns, x.len()));
    let mut y = vec![T::default(); x.len()];
    let mut from = x.iter();
    each_index(shape, |at| {
        let channel = order.deep(at[1], c, at[2] % block, at[3] % block, block);
        let to = ((at[0] * deep + channel) * h + at[2] / block) * w + at[3] / block;
        if let Some(&v) = from.next() {
            y[to] = v;
        }
    });
    y
}
