//! Seeded inputs: the same bits on every machine.
//!
//! Element `i` of input `j` depends on the seed, `j` and `i` only, through splitmix64 (Steele, Lea, Flood, "Fast splittable
//! pseudorandom number generators", 2014) and exact IEEE arithmetic, never through a library function whose last bit may differ.
//!
//! - Floats of rank 3 and more with at least [`IMAGE`] elements: four triangle waves over all axes and a little noise, from 0 to 1:
//!   smooth, as pictures are.
//! - Other floats: -1 to 1.
//! - Integers: below the number of rows that they choose from ([`rows`]); `u8` and `i8` over their whole range; else 1 to 3.
//! - Truth values: three in four are true.
//! - Text: the letters a to d. Lists have no type to make elements of.

use pocketnn::ops::elementwise::cast;
use pocketnn::{DType, Graph, Op, Tensor, ValueId};

use crate::error::{ImportError, Result};

/// Number of elements from which on a float input is taken for an image.
const IMAGE: usize = 256;

/// A random number that depends on a seed and a counter only.
fn random(seed: u64, counter: u64) -> u64 {
    let z = seed.wrapping_add(counter.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// From 0 to 1, in steps of 2^-24, so that `f32` holds it exactly.
fn unit(seed: u64, counter: u64) -> f64 {
    f64::from(u32::try_from(random(seed, counter) >> 40).unwrap_or(0)) / f64::from(1u32 << 24)
}

/// One tensor an input of the graph, whose shapes are all known.
///
/// # Errors
/// When a shape is not known or too large.
pub(super) fn inputs(graph: &Graph, seed: u64) -> Result<Vec<Tensor>> {
    let each = graph.inputs().iter().zip(0u64..).map(|(&v, j)| {
        let ty = graph.ty(v);
        let shape = ty.known_shape().ok_or_else(|| {
            ImportError::invalid("an input has no known shape").at_node(&graph.value(v).name).found(ty)
        })?;
        tensor(ty.dtype, &shape, rows(graph, v), random(seed, j))
    });
    each.collect()
}

fn tensor(dtype: DType, shape: &[usize], rows: Option<u64>, seed: u64) -> Result<Tensor> {
    let n = pocketnn::checked_len(shape)?;
    match dtype {
        DType::Text => {
            let letters = ["a", "b", "c", "d"].iter().cycle();
            let start = usize::try_from(seed % 4).unwrap_or(0);
            return Ok(Tensor::texts(shape, letters.skip(start).take(n).copied())?);
        }
        DType::List => {
            return Err(ImportError::unsupported("inputs that are lists cannot be made up for verification")
                .help("convert without verification"));
        }
        _ => {}
    }
    let counters = 0..u64::try_from(n).unwrap_or(u64::MAX);
    let values: Vec<f64> = match dtype {
        _ if dtype.is_float() && shape.len() >= 3 && n >= IMAGE => waves(shape, seed),
        _ if dtype.is_float() => counters.map(|i| unit(seed, i) * 2.0 - 1.0).collect(),
        DType::Bool => counters.map(|i| if random(seed, i) % 4 == 0 { 0.0 } else { 1.0 }).collect(),
        _ => {
            let (lowest, count) = match (rows, dtype) {
                (Some(rows), _) => (0.0, rows.clamp(1, 1 << 31)),
                (None, DType::U8) => (0.0, 256),
                (None, DType::I8) => (-128.0, 256),
                _ => (1.0, 3),
            };
            counters.map(|i| lowest + f64::from(u32::try_from(random(seed, i) % count).unwrap_or(0))).collect()
        }
    };
    let wide = Tensor::new(shape, values)?;
    Ok(cast(&wide, dtype)?)
}

/// Number of waves of an image.
const WAVES: u64 = 4;

fn waves(shape: &[usize], seed: u64) -> Vec<f64> {
    // Waves per extent of each axis, from -3 to 3, and where each wave starts.
    let rank = u64::try_from(shape.len()).unwrap_or(0);
    let frequency = |k: u64, a: u64| unit(seed, k * (rank + 1) + a) * 6.0 - 3.0;
    let extents: Vec<f64> = shape.iter().map(|&d| u32::try_from(d).map_or(f64::MAX, f64::from)).collect();
    let wave: Vec<(f64, Vec<f64>)> = (0..WAVES)
        .map(|k| {
            let slopes = (0..rank).zip(&extents).map(|(a, e)| frequency(k, a) / e).collect();
            (unit(seed, k * (rank + 1) + rank), slopes)
        })
        .collect();
    let mut index = vec![0.0f64; shape.len()];
    let count = shape.iter().product::<usize>();
    let noise = WAVES * (rank + 1);
    let mut out = Vec::with_capacity(count);
    for i in (noise..).take(count) {
        let sum: f64 = wave
            .iter()
            .map(|(start, slopes)| {
                let t = index.iter().zip(slopes).fold(*start, |t, (x, s)| t + x * s);
                ((t - t.floor()) * 2.0 - 1.0).abs()
            })
            .sum();
        out.push(sum * (0.95 / 4.0) + unit(seed, i) * 0.05);
        for (x, e) in index.iter_mut().zip(&extents).rev() {
            *x += 1.0;
            if *x < *e {
                break;
            }
            *x = 0.0;
        }
    }
    out
}

/// Number of rows that an integer input chooses from: the smallest extent that any [`Op::Gather`], [`Op::OneHot`] or their
/// kin behind it index with it.
fn rows(graph: &Graph, input: ValueId) -> Option<u64> {
    let consumers = graph.consumers();
    let (mut stack, mut seen, mut least) = (vec![input], std::collections::BTreeSet::new(), None::<u64>);
    while let Some(v) = stack.pop() {
        if !seen.insert(v) {
            continue;
        }
        for n in consumers.get(v.index()).into_iter().flatten().filter_map(|&i| graph.nodes().get(i)) {
            let operand = |i: usize| n.inputs.get(i).copied().flatten();
            let extent = |axis: i64| {
                let shape = &graph.ty(operand(0)?).shape;
                let rank = i64::try_from(shape.len()).ok()?;
                let axis = usize::try_from(if axis < 0 { axis + rank } else { axis }).ok()?;
                shape.get(axis)?.known().and_then(|d| u64::try_from(d).ok())
            };
            let index = operand(1) == Some(v);
            let limit = match &n.op {
                Op::Gather(g) if index => extent(g.axis),
                Op::GatherElements(g) if index => extent(g.axis),
                Op::ScatterElements(g) if index => extent(g.axis),
                Op::OneHot(_) if operand(0) == Some(v) => {
                    let depth = operand(1).and_then(|d| graph.constant(d)).and_then(|t| t.to_i64().ok());
                    depth.and_then(|d| u64::try_from(*d.first()?).ok())
                }
                Op::Cast(_)
                | Op::Identity(_)
                | Op::Reshape(_)
                | Op::Squeeze(_)
                | Op::Unsqueeze(_)
                | Op::Slice(_)
                | Op::Transpose(_)
                | Op::Expand(_)
                | Op::Concat(_)
                | Op::Split(_)
                | Op::Gather(_)
                | Op::Reverse(_) => {
                    stack.extend(&n.outputs);
                    None
                }
                _ => None,
            };
            least = match (least, limit) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocketnn::ops::gather::Gather;
    use pocketnn::{Dim, GraphBuilder};

    #[test]
    fn numbers_depend_on_seed_and_position_only() {
        assert_eq!(random(7, 3), random(7, 3));
        assert_ne!(random(7, 3), random(8, 3));
        // The first number of splitmix64 with seed 0, as published with the algorithm.
        assert_eq!(random(0, 0), 0xe220_a839_7b1d_cdaf);
        let image = tensor(DType::F32, &[1, 3, 16, 16], None, 5).unwrap();
        assert!(image.same_bits(&tensor(DType::F32, &[1, 3, 16, 16], None, 5).unwrap()));
        let x = image.to_f64();
        assert!(x.iter().all(|v| (0.0..=1.0).contains(v)));
        let steps = x.chunks(16).flat_map(|row| row.windows(2).map(|w| (w[0] - w[1]).abs()).collect::<Vec<_>>());
        assert!(steps.fold(0.0, f64::max) < 0.5, "a picture is smooth");
        assert!(x.iter().fold(0.0, |m: f64, v| m.max(*v)) - x.iter().fold(1.0, |m: f64, v| m.min(*v)) > 0.2);
    }

    #[test]
    fn indices_stay_inside_the_table() {
        let mut b = GraphBuilder::new("g");
        let i = b.input("tokens", DType::I64, vec![Dim::from(2), Dim::from(40)]);
        let table = b.constant("table", Tensor::zeros(DType::F32, &[5, 3]).unwrap());
        let y = b.op(Gather { axis: 0 }, &[table, i], "embedding").unwrap();
        b.output(y);
        let g = b.finish().unwrap();
        let x = inputs(&g, 1).unwrap().remove(0).to_i64().unwrap();
        assert!(x.iter().all(|i| (0..5).contains(i)) && x.contains(&4) && x.contains(&0));
    }
}
