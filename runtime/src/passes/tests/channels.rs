//! Concatenations that grow, and channels in another order.

use super::support::*;

/// `x` with its channels in `groups` groups shuffled, as exporters write it.
fn shuffled(b: &mut GraphBuilder, x: ValueId, c: usize, groups: usize, last: bool) -> ValueId {
    let (g, per) = (groups as i64, (c / groups) as i64);
    let reshape = movement::Reshape::default;
    let (split, perm, joined): (&[i64], &[usize], &[i64]) = if last {
        (&[0, 7, 6, g, per], &[0, 1, 2, 4, 3], &[0, 7, 6, c as i64])
    } else {
        (&[0, g, per, 7, 6], &[0, 2, 1, 3, 4], &[0, c as i64, 7, 6])
    };
    let y = b.with_integers(reshape(), x, &[split], "split");
    let y = b.transpose(y, perm, "swapped").unwrap();
    b.with_integers(reshape(), y, &[joined], "shuffled")
}

#[test]
fn shuffles_become_one_op_whatever_the_order_of_axes() {
    for groups in [2, 3] {
        let first = vec![Dim::symbol("N"), Dim::from(12), Dim::from(7), Dim::from(6)];
        assert_eq!(left(&graph(&first, |b, x| shuffled(b, x, 12, groups, false))), ["Pick"]);
        let last = vec![Dim::symbol("N"), Dim::from(7), Dim::from(6), Dim::from(12)];
        let g = graph(&last, |b, x| {
            let x = b.first(x);
            let x = b.conv_of(x, [12, 12, 1, 1], Conv::default(), 1);
            let x = b.last(x);
            let y = shuffled(b, x, 12, groups, true);
            let y = b.first(y);
            let y = b.conv_of(y, [12, 12, 1, 1], Conv::default(), 2);
            b.last(y)
        });
        let (o, _) = optimized(&g);
        assert_eq!((count(&o, "Pick"), count(&o, "Reshape"), count(&o, "Transpose")), (1, 0, 2), "{o:?}");
    }
    // Three axes that move are no shuffle.
    let first = vec![Dim::symbol("N"), Dim::from(12), Dim::from(7), Dim::from(6)];
    let g = graph(&first, |b, x| {
        let y = b.with_integers(movement::Reshape::default(), x, &[&[0, 3, 4, 7, 6]], "split");
        let y = b.transpose(y, &[0, 2, 3, 1, 4], "moved").unwrap();
        b.with_integers(movement::Reshape::default(), y, &[&[0, 12, 7, 6]], "joined")
    });
    assert_eq!(count(&optimized(&g).0, "Pick"), 0);
}

#[test]
fn a_channel_is_moved_once() {
    // Two units of a shuffle network: half of the channels pass by, are joined, shuffled and cut again.
    let shape = vec![Dim::symbol("N"), Dim::from(10), Dim::from(7), Dim::from(6)];
    let g = graph(&shape, |b, x| {
        let mut x = b.conv_of(x, [10, 10, 1, 1], Conv::default(), 1);
        for i in 0..2 {
            let halves = b.node(movement::Split { axis: 1 }, &[Some(x)], 2, "halves").unwrap();
            let y = b.conv_of(halves[1], [5, 5, 3, 3], same(), 2 + i);
            let y = b.op(movement::Concat { axis: 1 }, &[halves[0], y], "joined").unwrap();
            x = shuffled(b, y, 10, 2, false);
        }
        x
    });
    let (o, _) = optimized(&g);
    assert_eq!((count(&o, "Pick"), count(&o, "Concat"), count(&o, "Reshape"), count(&o, "Transpose")), (2, 0, 0, 0));
    // The first unit's cut is of a convolution; the list of the last node speaks of all that is left of the second.
    let last = o.nodes().last().unwrap();
    assert!(matches!(&last.op, Op::Pick(p) if p.pick.len() == 10) && last.inputs.len() == 3, "{last:?}");
    // Where the shuffled whole is read, too, it stays.
    let g = graph(&shape, |b, x| {
        let y = shuffled(b, x, 10, 2, false);
        let halves = b.node(movement::Split { axis: 1 }, &[Some(y)], 2, "halves").unwrap();
        let z = b.op(movement::Concat { axis: 1 }, &[halves[1], y], "joined").unwrap();
        b.relu(z, "relu").unwrap()
    });
    assert_eq!(count(&optimized(&g).0, "Split"), 1);
}

#[test]
fn growing_concatenations_are_a_chain() {
    let g = graph(&n_c_h_w(4), |b, x| {
        let mut all = vec![x];
        for i in 0..3 {
            let joined = if i == 0 { x } else { b.op(movement::Concat { axis: 1 }, &all, "joined").unwrap() };
            all.push(b.conv_of(joined, [4, 4 * (i + 1), 3, 3], same(), i as u64));
        }
        b.op(movement::Concat { axis: 1 }, &all, "all").unwrap()
    });
    let (o, _) = optimized(&g);
    let wide: Vec<usize> = o.nodes().iter().filter(|n| matches!(n.op, Op::Concat(_))).map(|n| n.inputs.len()).collect();
    assert_eq!(wide, [2, 2, 2]);
}

/// A head as detectors have it: boxes of `bins` times 4 channels and classes, joined for each scale, then all scales, then cut again.
fn head(bins: usize, classes: usize, channels: usize) -> Graph {
    let mut b = GraphBuilder::new("head");
    let x = b.input("x", DType::F32, vec![Dim::symbol("N"), Dim::from(channels), Dim::from(7), Dim::from(6)]);
    let wide = 4 * bins;
    let mut scales = Vec::new();
    for (i, size) in [42i64, 12].into_iter().enumerate() {
        let step = Conv { strides: vec![i + 1, i + 1], ..Conv::default() };
        let boxes = b.conv_of(x, [wide, channels, 1, 1], step.clone(), 1 + i as u64);
        let kinds = b.conv_of(x, [classes, channels, 1, 1], step, 11 + i as u64);
        let all = b.op(movement::Concat { axis: 1 }, &[boxes, kinds], "scale").unwrap();
        scales.push(b.with_integers(movement::Reshape::default(), all, &[&[0, (wide + classes) as i64, size]], "flat"));
    }
    let all = b.op(movement::Concat { axis: 2 }, &scales, "scales").unwrap();
    let sizes = b.integers(&[wide as i64, classes as i64]);
    let parts = b.node(movement::Split { axis: 1 }, &[Some(all), Some(sizes)], 2, "parts").unwrap();
    let y = b.with_integers(movement::Reshape::default(), parts[0], &[&[0, 4, bins as i64, 54]], "bins");
    let y = b.transpose(y, &[0, 2, 1, 3], "bins first").unwrap();
    let y = b.softmax(y, 1, "softmax").unwrap();
    let w = b.constant("w", Tensor::new(&[1, bins, 1, 1], (0..bins).map(|i| i as f32).collect()).unwrap());
    let y = b.conv(y, w, None, Conv::default(), "distance").unwrap();
    let y = b.with_integers(movement::Reshape::default(), y, &[&[0, 4, 54]], "boxes");
    let kinds = b.activate(Activation::Sigmoid, parts[1], "kinds").unwrap();
    let y = b.op(movement::Concat { axis: 1 }, &[y, kinds], "y").unwrap();
    b.output(y);
    b.finish().unwrap()
}

#[test]
fn heads_keep_boxes_and_classes_apart_and_transpose_nothing() {
    let (o, reports) = optimized(&head(8, 5, 6));
    let left = |op| count(&o, op);
    assert_eq!((left("Split"), left("Transpose"), left("MatMul"), left("Conv")), (0, 0, 1, 4), "{reports:?}");
    // One for the boxes of all scales, one for the classes, one for the result.
    assert_eq!(left("Concat"), 3);
}

#[test]
fn cuts_stay_where_the_pieces_do_not_fit() {
    let g = graph(&n_c_h_w(8), |b, x| {
        let y = b.conv_of(x, [8, 8, 1, 1], Conv::default(), 1);
        let all = b.op(movement::Concat { axis: 1 }, &[x, y], "all").unwrap();
        let sizes = b.integers(&[6, 10]);
        let parts = b.node(movement::Split { axis: 1 }, &[Some(all), Some(sizes)], 2, "parts").unwrap();
        let first = b.conv_of(parts[0], [4, 6, 1, 1], Conv::default(), 2);
        let second = b.conv_of(parts[1], [4, 10, 1, 1], Conv::default(), 3);
        b.binary(BinaryKind::Mul, first, second, "product").unwrap()
    });
    assert_eq!(count(&optimized(&g).0, "Split"), 1);
}
