//! Reductions, running sums, positions of extrema, softmax.

use super::{check, check_terms, random};
use keras_core::graph::{ArgReduce, Cumulative, Op, Reduce};
use keras_core::{Array, DType};
use proptest::prelude::*;

const NUMBERS: [DType; 5] = [DType::F32, DType::F64, DType::I32, DType::I64, DType::U8];

/// Factors near 1, so that long products neither vanish nor overflow.
fn factors(x: &Array) -> Array {
    if !x.dtype().is_float() {
        return x.clone();
    }
    let values = x.to_vec::<f64>().iter().map(|x| 1.0 + x / 100.0).collect();
    Array::from_vec(x.shape(), values).unwrap().cast(x.dtype())
}

fn check_reductions(x: &Array, axes: &[usize]) {
    let terms: usize = axes.iter().map(|&axis| x.shape()[axis]).product();
    for &op in Reduce::ALL {
        let x = if op == Reduce::Prod { factors(x) } else { x.clone() };
        check_terms(&Op::Reduce(op, axes.to_vec()), &[x], terms.max(1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_axes(shape in prop::collection::vec(1_usize..9, 1..6), reduced in prop::collection::vec(any::<bool>(), 6), dtype in 0_usize..5) {
        let axes: Vec<usize> = (0..shape.len()).filter(|&axis| reduced[axis]).collect();
        check_reductions(&random(NUMBERS[dtype], &shape, 1), &axes);
    }

    #[test]
    fn along_axes(shape in prop::collection::vec(1_usize..9, 1..5), axis in 0_usize..5, dtype in 0_usize..5) {
        let axis = axis % shape.len();
        let x = random(NUMBERS[dtype], &shape, 2);
        for op in [ArgReduce::Max, ArgReduce::Min] {
            check(&Op::ArgReduce(op, axis), std::slice::from_ref(&x));
        }
        check_terms(&Op::Cumulative(Cumulative::Sum, axis), std::slice::from_ref(&x), shape[axis]);
        check_terms(&Op::Cumulative(Cumulative::Prod, axis), &[factors(&x)], shape[axis]);
        for k in 1..=shape[shape.len() - 1] {
            check(&Op::TopK(k), std::slice::from_ref(&x));
        }
    }
}

#[test]
fn large_reductions() {
    for (shape, axes) in [
        (vec![1_000_003], vec![0]),
        (vec![300, 2500], vec![1]),
        (vec![2500, 300], vec![0]),
        (vec![5000, 7], vec![0]),
        (vec![5000, 7], vec![1]),
        (vec![3, 5000], vec![0]),
        (vec![4, 700, 1500], vec![1]),
        (vec![20, 30, 40, 8], vec![0, 1, 2]),
        (vec![20, 30, 40, 8], vec![0, 2]),
        (vec![20, 30, 40, 8], vec![1, 3]),
        (vec![8, 1024], vec![1]),
        (vec![8, 1025], vec![1]),
        (vec![65, 1023], vec![0]),
    ] {
        check_reductions(&random(DType::F32, &shape, 1), &axes);
        check_reductions(&random(DType::F64, &shape, 1), &axes);
    }
}

#[test]
fn nan_propagates_and_infinities_stay() {
    for len in [5, 40, 3000] {
        let mut values = vec![1.0_f32; len];
        values[len / 2] = f32::NAN;
        values[len / 3] = f32::INFINITY;
        let rows = Array::from_vec(&[1, len], values.clone()).unwrap();
        for &op in Reduce::ALL {
            check(&Op::Reduce(op, vec![1]), std::slice::from_ref(&rows));
            check(
                &Op::Reduce(op, vec![0]),
                &[Array::from_vec(&[len / 5, 5], values[..len / 5 * 5].to_vec()).unwrap()],
            );
        }
        check(&Op::ArgReduce(ArgReduce::Max, 1), std::slice::from_ref(&rows));
        check(&Op::ArgReduce(ArgReduce::Min, 0), std::slice::from_ref(&rows));
        check(&Op::TopK(3), &[rows]);
    }
    check(&Op::Reduce(Reduce::Max, vec![0]), &[Array::from([f32::NEG_INFINITY; 3])]);
}

#[test]
fn softmax_of_every_width() {
    for dtype in [DType::F32, DType::F64] {
        for shape in
            [vec![1], vec![10], vec![128, 10], vec![3, 4, 33], vec![2000, 7], vec![5, 1024], vec![3, 5000]]
        {
            let x = random(dtype, &shape, 1);
            check(&Op::Softmax, std::slice::from_ref(&x));
            check(&Op::LogSoftmax, &[x]);
        }
    }
    let x = Array::from([[1000.0_f32, 0.0, -1000.0], [f32::NAN, 1.0, 2.0], [f32::NEG_INFINITY, 0.0, 1.0]]);
    check(&Op::Softmax, std::slice::from_ref(&x));
    check(&Op::LogSoftmax, &[x]);
}
