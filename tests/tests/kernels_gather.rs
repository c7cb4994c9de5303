//! Gathering kernels against their naive twins.

use pocketnn_kernels::gather::{Gather, position};
use pocketnn_kernels::reference::gather as reference;
use pocketnn_tests::support::Rng;

#[test]
fn slices_of_every_axis_and_element_size() {
    let mut rng = Rng::new(1);
    for case in 0..400 {
        let rank = rng.range(1, 4);
        let mut shape: Vec<usize> = (0..rank).map(|_| rng.range(1, 7)).collect();
        let axis = rng.below(rank);
        if case % 40 == 0 {
            shape[rng.below(rank)] = 0;
        }
        let n = shape[axis] as i64;
        let count = if n == 0 { 0 } else { rng.below(9) };
        let indices: Vec<i64> = (0..count).map(|_| rng.below(2 * n as usize) as i64 - n).collect();
        let x: Vec<u32> = (0..shape.iter().product::<usize>() as u32).collect();
        let expected = reference::gather(&x, &shape, axis, &indices).unwrap();
        let gather = Gather::new(&shape, axis, count).unwrap();
        let mut y = vec![u32::MAX; expected.len()];
        gather.apply(&x, &indices, &mut y).unwrap();
        assert_eq!(y, expected, "{shape:?} axis {axis} {indices:?}");
        let narrow: Vec<i32> = indices.iter().map(|&i| i as i32).collect();
        let bytes: Vec<u8> = x.iter().map(|&v| v as u8).collect();
        let mut y = vec![0u8; expected.len()];
        gather.apply(&bytes, &narrow, &mut y).unwrap();
        assert!(y.iter().zip(&expected).all(|(&a, &b)| a == b as u8));
    }
}

#[test]
fn indices_outside_are_errors() {
    for (index, extent) in [(3, 3), (-4, 3), (i64::MIN, 3), (i64::MAX, 3), (0, 0), (-1, 0)] {
        assert!(position(index, extent).is_err(), "{index} of {extent}");
    }
    let gather = Gather::new(&[3, 2], 0, 2).unwrap();
    let e = gather.apply(&[0u8; 6], &[0i64, 3], &mut [0; 4]).unwrap_err();
    assert!(e.to_string().contains("index 3 is outside an axis of 3"), "{e}");
    assert!(gather.apply(&[0u8; 6], &[0i64], &mut [0; 4]).is_err());
    assert!(Gather::new(&[3, 2], 2, 1).is_err());
}
