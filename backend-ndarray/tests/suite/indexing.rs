//! Movement and indices.

use super::{BACKENDS, check, check_terms, random, run, upload};
use keras_core::graph::{Op, SliceSpec, Type};
use keras_core::{Array, DType};
use proptest::prelude::*;

const TYPES: [DType; 3] = [DType::F32, DType::I64, DType::Bool];

fn shape() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1_usize..7, 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn permutations(shape in shape(), keys in prop::collection::vec(0_u32..1000, 5), dtype in 0_usize..3) {
        let mut perm: Vec<usize> = (0..shape.len()).collect();
        perm.sort_by_key(|&axis| keys[axis]);
        check(&Op::Permute(perm), &[random(TYPES[dtype], &shape, 1)]);
    }

    #[test]
    fn broadcasts(shape in shape(), ones in prop::collection::vec(any::<bool>(), 5)) {
        let from: Vec<usize> = shape.iter().zip(ones).map(|(&len, one)| if one { 1 } else { len }).collect();
        check(&Op::Broadcast(shape), &[random(DType::F32, &from, 1)]);
    }

    #[test]
    fn boxes(axes in prop::collection::vec((1_usize..9, 0_usize..9, 1_usize..9, 1_usize..4), 1..5), dtype in 0_usize..3) {
        let shape: Vec<usize> = axes.iter().map(|axis| axis.0).collect();
        let starts: Vec<usize> = axes.iter().map(|&(len, start, ..)| start % len).collect();
        let stops = axes.iter().zip(&starts).map(|(&(len, _, more, _), start)| (start + more).min(len)).collect();
        let spec = SliceSpec { starts, stops, steps: axes.iter().map(|axis| axis.3).collect() };
        let x = random(TYPES[dtype], &shape, 1);
        check(&Op::Slice(spec.clone()), std::slice::from_ref(&x));
        let update = random(TYPES[dtype], &spec.shape(), 2);
        check(&Op::SliceUpdate(spec), &[x, update]);
    }

    #[test]
    fn pads_joins_and_reversals(shape in shape(), pads in prop::collection::vec((0_usize..3, 0_usize..3), 5), axis in 0_usize..5) {
        let axis = axis % shape.len();
        let x = random(DType::F32, &shape, 1);
        check(&Op::Pad(pads[..shape.len()].to_vec()), std::slice::from_ref(&x));
        let mut other = shape.clone();
        other[axis] += 2;
        check(&Op::Concat(axis), &[x.clone(), random(DType::F32, &other, 2), x.clone()]);
        check(&Op::Reverse(vec![axis]), std::slice::from_ref(&x));
        check(&Op::Reverse((0..shape.len()).collect()), &[x]);
    }

    #[test]
    fn gathers_and_scatters(shape in shape(), axis in 0_usize..5, indices in prop::collection::vec(0_i64..100, 1..20)) {
        let axis = axis % shape.len();
        let rows: Vec<i64> = indices.iter().map(|i| i % shape[axis] as i64).collect();
        let x = random(DType::F32, &shape, 1);
        check(&Op::Gather(axis), &[x.clone(), rows.clone().into()]);
        let narrow: Vec<i32> = rows.iter().map(|&i| i as i32).collect();
        check(&Op::Gather(axis), &[x, narrow.into()]);
        let updates = random(DType::F64, &[&[indices.len()], &shape[..]].concat(), 2);
        check_terms(&Op::ScatterAdd(100), &[indices.clone().into(), updates], indices.len());
    }
}

#[test]
fn large_movements() {
    for (shape, perm) in [
        (vec![300, 500], vec![1, 0]),
        (vec![7, 130, 257], vec![0, 2, 1]),
        (vec![33, 65, 129], vec![2, 0, 1]),
        (vec![16, 24, 20, 30], vec![0, 3, 1, 2]),
        (vec![100_000, 3], vec![1, 0]),
        (vec![20, 64, 100], vec![1, 0, 2]),
    ] {
        let x = random(DType::F32, &shape, 1);
        check(&Op::Permute(perm), std::slice::from_ref(&x));
        check(&Op::Pad(vec![(1, 2); shape.len()]), std::slice::from_ref(&x));
        check(&Op::Concat(0), &[x.clone(), x.clone()]);
        check(&Op::Reverse(vec![0]), &[x]);
    }
    check(&Op::Broadcast(vec![500, 301]), &[random(DType::F32, &[1, 301], 1)]);
    check(&Op::Broadcast(vec![500, 301]), &[random(DType::F32, &[500, 1], 1)]);
}

#[test]
fn scatter_adds_in_the_order_of_the_indices() {
    let indices: Vec<i32> = (0..5000).map(|i| (i * 7919) % 50).collect();
    for width in [1, 10, 300] {
        let updates = random(DType::F32, &[5000, width], 1);
        check_terms(&Op::ScatterAdd(60), &[indices.clone().into(), updates], 200);
    }
}

#[test]
fn indices_outside_are_errors_that_name_them() {
    let backend = &BACKENDS[0];
    for (bad, text) in [(-1_i32, "-1"), (5, "5")] {
        let x = upload(backend, &[random(DType::F32, &[5, 2], 1), Array::from([0, bad])]);
        let message = run(backend, &Op::Gather(0), &x).unwrap_err().to_string();
        assert!(message.contains(text) && message.contains('4'), "{message}");
        let x = upload(backend, &[Array::from([0, bad]), random(DType::F32, &[2, 3], 1)]);
        let message = run(backend, &Op::ScatterAdd(5), &x).unwrap_err().to_string();
        assert!(message.contains(text), "{message}");
    }
}

#[test]
fn positions_along_axes() {
    for dtype in [DType::F32, DType::I32, DType::I64, DType::U8] {
        for axis in 0..3 {
            check(&Op::Iota(Type::new([3, 4, 5], dtype), axis), &[]);
        }
    }
}
