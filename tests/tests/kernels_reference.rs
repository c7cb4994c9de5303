//! The naive twins, which everything else is held against, against numbers worked out by hand.

mod resize {
    use pocketnn_kernels::resize::*;

    fn axis(input: usize, output: usize, coordinates: Coordinates) -> Axis {
        Axis { input, output, scale: output as f64 / input as f64, coordinates }
    }

    #[test]
    fn linear_tables_of_every_coordinate_mode() {
        let row = |c, x: usize| {
            let t = Table::new(&axis(2, 4, c), Method::Linear { antialias: false }, false);
            (t.index[x * 2..x * 2 + 2].to_vec(), t.weight[x * 2..x * 2 + 2].to_vec())
        };
        assert_eq!(row(Coordinates::HalfPixel, 1), (vec![0, 1], vec![0.75, 0.25]));
        assert_eq!(row(Coordinates::HalfPixel, 0), (vec![0, 0], vec![0.25, 0.75]));
        assert_eq!(row(Coordinates::Asymmetric, 3), (vec![1, 1], vec![0.5, 0.5]));
        assert_eq!(row(Coordinates::AlignCorners, 3), (vec![0, 1], vec![0.0, 1.0]));
        assert_eq!(row(Coordinates::TfHalfPixel, 0), (vec![0, 1], vec![0.75, 0.25]));
        let crop = Table::new(
            &axis(3, 3, Coordinates::CropAndResize { start: 0.5, end: 1.5 }),
            Method::Linear { antialias: false },
            false,
        );
        assert_eq!(crop.outside, [false, false, true]);
        assert_eq!((crop.index[1], crop.weight[1]), (1, 1.0));
    }

    #[test]
    fn nearest_ties_go_where_they_are_told() {
        let pick =
            |rounding| Table::new(&axis(4, 2, Coordinates::HalfPixel), Method::Nearest(rounding), false).nearest();
        assert_eq!(pick(Rounding::PreferFloor), [Some(0), Some(2)]);
        assert_eq!(pick(Rounding::PreferCeil), [Some(1), Some(3)]);
        assert_eq!(pick(Rounding::Floor), [Some(0), Some(2)]);
        assert_eq!(pick(Rounding::Ceil), [Some(1), Some(3)]);
        let same = Table::new(&axis(3, 3, Coordinates::HalfPixel), Method::Nearest(Rounding::Floor), false);
        assert!(same.is_identity(3) && same.nearest() == [Some(0), Some(1), Some(2)]);
    }

    #[test]
    fn weights_sum_to_one() {
        for antialias in [false, true] {
            for method in [Method::Linear { antialias }, Method::Cubic { a: -0.75, antialias }] {
                for (input, output) in [(7, 3), (3, 7), (1, 4), (5, 5), (64, 3)] {
                    for exclude in [false, true] {
                        let t = Table::new(&axis(input, output, Coordinates::HalfPixel), method, exclude);
                        let sums = t.weight.chunks(t.taps).map(|w| w.iter().sum::<f64>());
                        assert!(sums.into_iter().all(|s| (s - 1.0).abs() < 1e-12), "{method:?} {input} {output}");
                        assert!(t.index.iter().all(|&i| i < input));
                    }
                }
            }
        }
        let beyond = Axis { input: 1, output: 4, scale: 4.0, coordinates: Coordinates::TfHalfPixel };
        let t = Table::new(&Axis { output: 8, ..beyond }, Method::Linear { antialias: false }, true);
        assert_eq!((t.index[14], &t.weight[14..]), (0, [1.0, 0.0].as_slice()));
        let t = Table::new(&axis(4, 4, Coordinates::HalfPixel), Method::Cubic { a: -0.5, antialias: true }, false);
        assert!(t.is_identity(4));
    }
}

mod pool {
    use pocketnn_kernels::pool::PoolKind;
    use pocketnn_kernels::reference::Window;
    use pocketnn_kernels::reference::pool::*;

    #[test]
    fn padding_counts_only_inside_itself() {
        let window = Window { stride: vec![2], pads: vec![(1, 1)], ..Window::new(&[3]) };
        let average = |count_padding| PoolKind::Average { count_padding };
        let x = [3., 6., 9., 12.];
        // Windows [pad 3 6] [6 9 12] and, with a partial one, [12 pad outside].
        assert_eq!(pool(&x, &[1, 1, 4], average(true), &window, &[3]).0, [3., 9., 6.]);
        assert_eq!(pool(&x, &[1, 1, 4], average(false), &window, &[3]).0, [4.5, 9., 12.]);
        assert_eq!((window.output(0, 4), window.output_ceil(0, 4)), (2, 3));
    }

    #[test]
    fn maximum_ignores_padding_and_norm_is_euclidean() {
        let window = Window { pads: vec![(1, 0)], ..Window::new(&[2]) };
        assert_eq!(pool(&[-3., -4.], &[1, 1, 2], PoolKind::Max, &window, &[2]).0, [-3., -3.]);
        assert_eq!(pool(&[-3., -4.], &[1, 1, 2], PoolKind::Norm { p: 2. }, &window, &[2]).0, [3., 5.]);
        assert_eq!(global(&[3., 4.], &[1, 1, 2], PoolKind::Norm { p: 2. }), (vec![5.], vec![1, 1, 1]));
    }
}

mod gather {
    use pocketnn_kernels::reference::gather::*;

    #[test]
    fn indices_count_from_the_end_and_stay_inside() {
        let x = [1, 2, 3, 4, 5, 6];
        assert_eq!(gather(&x, &[2, 3], 1, &[-1, 0]).unwrap(), [3, 1, 6, 4]);
        assert!(gather(&x, &[2, 3], 1, &[3]).unwrap_err().to_string().contains("index 3"));
        assert!(gather(&x, &[2, 3], 0, &[-3]).is_err() && gather(&x, &[2, 3], 0, &[i64::MIN]).is_err());
        assert_eq!(gather_elements(&x, &[2, 3], 0, &[1, 0, -1], &[1, 3]).unwrap(), [4, 2, 6]);
        assert_eq!(gather_nd(&x, &[2, 3], 0, &[1, 2, 0, -3], 2).unwrap(), [6, 1]);
        assert_eq!(gather_nd(&x, &[2, 3], 1, &[1, 0], 1).unwrap(), [2, 4]);
        assert_eq!(one_hot(&[1, -1, 7], 1, 3, 0, 9), [0, 9, 0, 0, 0, 9, 0, 0, 0]);
    }

    #[test]
    fn scattered_elements_combine_in_order() {
        let x = [1, 1, 1, 1];
        let y = scatter_elements(&x, &[2, 2], 0, &[1, 1, 1, 1], (&[2, 3, 4, 5], &[2, 2]), |a, b| a * 10 + b);
        assert_eq!(y.unwrap(), [1, 1, 124, 135]);
        assert_eq!(scatter_nd(&x, &[2, 2], &[-1], 1, &[8, 9], |_, b| b).unwrap(), [1, 1, 8, 9]);
    }

    #[test]
    fn order_sums_and_triangles() {
        let (v, i) = top_k(&[3., 1., f32::NAN, 3.], &[4], 0, 3, true);
        assert!(v[0].is_nan() && v[1..] == [3., 3.] && i == [2, 0, 3]);
        assert_eq!(top_k(&[3, 1, 2, 0, 5, 4], &[3, 2], 0, 1, false), (vec![2, 0], vec![1, 1]));
        assert_eq!(cumulative_sum(&[1, 2, 3], &[3], 0, true, true), [5, 3, 0]);
        assert_eq!(cumulative_sum(&[100u8, 200], &[2], 0, false, false), [100, 44]);
        assert_eq!(non_zero(&[0, 5, 6, 0], &[2, 2]), [0, 1, 1, 0]);
        assert_eq!(triangle(&[1, 2, 3, 4], 2, 2, 0, true), [1, 2, 0, 4]);
        assert_eq!(eye(2, 3, 1, 1), [0, 1, 0, 0, 0, 1]);
    }
}

mod movement {
    use pocketnn_kernels::movement::*;
    use pocketnn_kernels::reference::movement::*;

    #[test]
    fn padding_finds_its_source() {
        let line = |p: Padding, n: usize| (-4..n as isize + 4).map(|i| p.source(i, n)).collect::<Vec<_>>();
        let some = |x: &[usize]| x.iter().map(|&i| Some(i)).collect::<Vec<_>>();
        assert_eq!(line(Padding::Reflect, 3), some(&[0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]));
        assert_eq!(line(Padding::Symmetric, 3), some(&[2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0]));
        assert_eq!(line(Padding::Wrap, 3), some(&[2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0]));
        assert_eq!(line(Padding::Edge, 1), some(&[0; 9]));
        assert_eq!(line(Padding::Reflect, 1), some(&[0; 9]));
        assert_eq!(Padding::Constant.source(-1, 3), None);
        assert_eq!(Padding::Edge.source(0, 0), None);
    }

    #[test]
    fn tables_cover_slices_repeats_and_pads() {
        let x = [1, 2, 3, 4, 5, 6];
        let y = select(&x, &[2, 3], &[slice_table(1, -1, 2), pad_table(Padding::Constant, 3, 1, 3)], 0);
        assert_eq!(y, [0, 4, 5, 0, 1, 2]);
        assert_eq!(select(&x, &[2, 3], &[repeat_table(2, 3), slice_table(2, 1, 1)], 0), [3, 6, 3]);
        assert_eq!(transpose(&x, &[2, 3], &[1, 0]), [1, 4, 2, 5, 3, 6]);
        assert_eq!(concat(&[(&x[..2], &[2, 1]), (&x[2..], &[2, 2])], 1), [1, 3, 4, 2, 5, 6]);
    }

    #[test]
    fn depth_and_space_are_inverse() {
        let x: Vec<usize> = (0..2 * 12 * 2 * 3).collect();
        for order in [DepthOrder::Dcr, DepthOrder::Crd] {
            let y = depth_to_space(&x, &[2, 12, 2, 3], 2, order);
            assert_eq!(y[1], if order == DepthOrder::Dcr { 18 } else { 6 });
            assert_eq!(space_to_depth(&y, &[2, 3, 4, 6], 2, order), x);
        }
    }
}

mod conv {
    use pocketnn_kernels::reference::conv::*;

    #[test]
    fn three_taps_with_padding_on_one_side() {
        let params = ConvParams { pads: vec![(1, 0)], ..ConvParams::new(1) };
        let (y, shape) = conv(&[1., 2., 3.], &[1, 1, 3], &[10., 1., 0.1], &[1, 1, 3], Some(&[0.5]), &params);
        assert_eq!((y, shape), (vec![1.7, 12.8], vec![1, 1, 2]));
    }

    #[test]
    fn transposed_stride_two() {
        let params = ConvParams { stride: vec![2], ..ConvParams::new(1) };
        let (y, shape) = conv_transpose(&[1., 2.], &[1, 1, 2], &[1., 10., 100.], &[1, 1, 3], None, &params);
        assert_eq!((y, shape), (vec![1., 10., 102., 20., 200.], vec![1, 1, 5]));
    }

    #[test]
    fn depthwise_multiplies_each_channel() {
        let params = ConvParams { groups: 2, ..ConvParams::new(2) };
        let (y, shape) = conv(&[1., 2., 3., 4.], &[1, 2, 1, 2], &[2., 3.], &[2, 1, 1, 1], None, &params);
        assert_eq!((y, shape), (vec![2., 4., 9., 12.], vec![1, 2, 1, 2]));
    }
}

mod recurrent {
    use pocketnn_kernels::activation::Activation;
    use pocketnn_kernels::recurrent::Direction;
    use pocketnn_kernels::recurrent::{Cell, Params, Sequence, Weights};
    use pocketnn_kernels::reference::recurrent::*;

    fn params(cell: Cell, direction: Direction) -> Params {
        let activations = [Activation::Identity; 3];
        Params { cell, direction, input: 1, hidden: 1, activations, clip: None }
    }

    #[test]
    fn sums_run_in_both_directions_and_stop_at_their_length() {
        let weights = Weights { w: &[1.0], r: &[1.0], bias: None, peepholes: None };
        let go = |direction, lengths: Option<&[usize]>| {
            let seq = Sequence { steps: 3, batch: 1 };
            run(&params(Cell::Simple, direction), seq, &[1., 2., 4.], &weights, lengths, State::default())
        };
        assert_eq!(go(Direction::Forward, None).0, [1., 3., 7.]);
        assert_eq!(go(Direction::Reverse, None).0, [7., 6., 4.]);
        let (y, h, _) = go(Direction::Reverse, Some(&[2]));
        assert_eq!((y, h), (vec![3., 2., 0.], vec![3.]));
    }

    #[test]
    fn gates_of_gru_and_lstm() {
        let seq = Sequence { steps: 1, batch: 1 };
        let state = State { h: Some(&[10.0]), c: Some(&[5.0]) };
        // z = 0.5, r = 2; c = 1 + 3 * (2 * 10) or 1 + 2 * (3 * 10 + 1).
        let gru =
            Weights { w: &[0.5, 2.0, 1.0], r: &[0., 0., 3.], bias: Some(&[0., 0., 0., 0., 0., 1.]), peepholes: None };
        let new = |linear_before_reset| {
            let p = params(Cell::Gru { linear_before_reset }, Direction::Forward);
            run(&p, seq, &[1.0], &gru, None, state).1[0]
        };
        assert_eq!((new(false), new(true)), (0.5 * 62.0 + 5.0, 0.5 * 63.0 + 5.0));
        // i = 2 + 5, f = 3, c = 4: cell = 3 * 5 + 7 * 4; o = 1 + cell; the clip comes before the activation.
        let lstm = Weights { w: &[2., 1., 3., 4.], r: &[0.; 4], bias: None, peepholes: Some(&[1., 1., 0.]) };
        let p = params(Cell::Lstm { input_forget: false }, Direction::Forward);
        let (_, h, c) = run(&p, seq, &[1.0], &lstm, None, state);
        assert_eq!((c[0], h[0]), (43.0, 44.0 * 43.0));
        let (_, _, c) = run(&Params { clip: Some(2.0), ..p }, seq, &[1.0], &lstm, None, state);
        assert_eq!(c[0], 2.0 * 5.0 + 2.0 * 2.0);
    }
}

mod dense {
    use pocketnn_kernels::reference::dense::*;

    #[test]
    fn rows_of_weights_are_outputs() {
        assert_eq!(dense(&[1., 2.], 1, &[1., 0., 0., 1., 1., 1.], 3, Some(&[0., 0., 0.5])), [1., 2., 3.5]);
    }

    #[test]
    fn leading_axes_broadcast() {
        let (y, shape) = matmul(&[1., 2., 3., 4.], &[2, 1, 2], &[1., 10.], &[2, 1]);
        assert_eq!((y, shape), (vec![21., 43.], vec![2, 1, 1]));
        let (y, shape) = matmul(&[1., 2.], &[2], &[1., 10.], &[2]);
        assert_eq!((y, shape), (vec![21.], vec![]));
    }
}
