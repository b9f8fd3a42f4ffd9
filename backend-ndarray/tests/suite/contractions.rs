//! Products, convolutions and poolings.

use super::{check, check_terms, random};
use keras_core::graph::{ConvSpec, Op, PoolSpec};
use keras_core::{Array, DType};
use proptest::prelude::*;

const FLOATS: [DType; 2] = [DType::F32, DType::F64];

fn check_matmul(dtype: DType, batch: Option<usize>, m: usize, k: usize, n: usize) {
    for (trans_a, trans_b) in [(false, false), (true, false), (false, true), (true, true)] {
        let shape = |rows: usize, columns: usize, trans: bool| {
            let last = if trans { [columns, rows] } else { [rows, columns] };
            batch.into_iter().chain(last).collect::<Vec<usize>>()
        };
        let a = random(dtype, &shape(m, k, trans_a), 1);
        let b = random(dtype, &shape(k, n, trans_b), 2);
        check_terms(&Op::MatMul { trans_a, trans_b }, &[a, b], k);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn small_products(batch in prop::option::of(1_usize..4), m in 1_usize..20, k in 1_usize..40, n in 1_usize..20, dtype in 0_usize..2) {
        check_matmul(FLOATS[dtype], batch, m, k, n);
    }

    #[test]
    fn convolutions(
        axes in prop::collection::vec((0_usize..7, 1_usize..4, 1_usize..4, 1_usize..3, (0_usize..4, 0_usize..4)), 1..4),
        batch in 1_usize..4, groups in 1_usize..4, channels in 1_usize..4, filters in 1_usize..4, dtype in 0_usize..2,
    ) {
        let spec = ConvSpec {
            strides: axes.iter().map(|axis| axis.2).collect(),
            dilations: axes.iter().map(|axis| axis.3).collect(),
            pads: axes.iter().map(|axis| axis.4).collect(),
            groups,
        };
        let kernel: Vec<usize> = axes.iter().map(|axis| axis.1).collect();
        let input: Vec<usize> = axes
            .iter()
            .map(|&(more, window, _, dilation, (before, after))| {
                (more + (window - 1) * dilation + 1).saturating_sub(before + after).max(1)
            })
            .collect();
        check_conv(FLOATS[dtype], &spec, batch, &input, &kernel, channels * groups, filters * groups);
    }

    #[test]
    fn poolings(
        axes in prop::collection::vec((0_usize..7, 1_usize..4, 1_usize..4, (0_usize..3, 0_usize..3)), 1..4),
        batch in 1_usize..4, channels in 1_usize..20, dtype in 0_usize..2,
    ) {
        let spec = PoolSpec {
            window: axes.iter().map(|axis| axis.1).collect(),
            strides: axes.iter().map(|axis| axis.2).collect(),
            pads: axes.iter().map(|&(_, window, _, (a, b))| (a.min(window - 1), b.min(window - 1))).collect(),
        };
        let input: Vec<usize> = axes.iter().map(|&(more, window, ..)| more + window).collect();
        check_pool(FLOATS[dtype], &spec, batch, &input, channels);
    }
}

fn check_conv(
    dtype: DType,
    spec: &ConvSpec,
    batch: usize,
    input: &[usize],
    kernel: &[usize],
    channels: usize,
    filters: usize,
) {
    let x = random(dtype, &[&[batch], input, &[channels]].concat(), 1);
    let each = channels / spec.groups;
    let weights = random(dtype, &[kernel, &[each, filters]].concat(), 2);
    let taps: usize = kernel.iter().product();
    let result = check_terms(&Op::Conv(spec.clone()), &[x.clone(), weights.clone()], taps * each);
    let grad = random(dtype, result[0].shape(), 3);
    let positions = grad.len() / filters;
    check_terms(&Op::ConvGradInput(spec.clone(), input.to_vec()), &[grad.clone(), weights], taps * filters);
    check_terms(&Op::ConvGradKernel(spec.clone(), kernel.to_vec()), &[x, grad], positions);
}

fn check_pool(dtype: DType, spec: &PoolSpec, batch: usize, input: &[usize], channels: usize) {
    let x = random(dtype, &[&[batch], input, &[channels]].concat(), 1);
    let taps: usize = spec.window.iter().product();
    let results = check(&Op::MaxPool(spec.clone()), std::slice::from_ref(&x));
    let grad = random(dtype, results[0].shape(), 2);
    check_terms(&Op::MaxPoolGrad(spec.clone(), input.to_vec()), &[grad.clone(), results[1].clone()], taps);
    check_terms(&Op::AvgPool(spec.clone()), &[x], taps);
    check_terms(&Op::AvgPoolGrad(spec.clone(), input.to_vec()), &[grad], taps);
}

#[test]
fn products_of_every_cut() {
    for (batch, m, k, n) in [
        (None, 128, 300, 512),
        (None, 1, 700, 600),
        (None, 2, 600, 700),
        (None, 5, 9000, 7),
        (None, 40, 2100, 33),
        (None, 300, 64, 700),
        (Some(20), 30, 40, 50),
        (Some(3), 130, 140, 150),
    ] {
        check_matmul(DType::F32, batch, m, k, n);
    }
    check_matmul(DType::F64, None, 100, 300, 200);
    check_matmul(DType::F64, None, 1, 45, 50);
}

#[test]
fn convolutions_of_every_cut() {
    let same =
        |groups| ConvSpec { strides: vec![1, 1], dilations: vec![1, 1], pads: vec![(1, 1), (1, 1)], groups };
    check_conv(DType::F32, &same(1), 4, &[28, 28], &[3, 3], 1, 32);
    check_conv(DType::F32, &same(1), 3, &[14, 15], &[3, 3], 32, 40);
    check_conv(DType::F32, &same(1), 1, &[7, 7], &[3, 3], 64, 256);
    check_conv(DType::F32, &same(1), 1, &[8, 6], &[3, 3], 160, 16);
    check_conv(DType::F32, &same(4), 2, &[9, 11], &[3, 3], 16, 32);
    check_conv(DType::F32, &same(48), 2, &[19, 17], &[3, 3], 48, 48);
    check_conv(DType::F32, &same(12), 2, &[19, 17], &[3, 3], 12, 36);
    let strided =
        ConvSpec { strides: vec![2, 2], dilations: vec![1, 1], pads: vec![(3, 2), (3, 2)], groups: 1 };
    check_conv(DType::F32, &strided, 2, &[33, 35], &[7, 7], 3, 16);
    let point =
        ConvSpec { strides: vec![1, 1], dilations: vec![1, 1], pads: vec![(0, 0), (0, 0)], groups: 1 };
    check_conv(DType::F32, &point, 2, &[20, 20], &[1, 1], 24, 30);
    let skipping =
        ConvSpec { strides: vec![3, 2], dilations: vec![1, 1], pads: vec![(0, 0), (0, 0)], groups: 1 };
    check_conv(DType::F32, &skipping, 2, &[20, 21], &[1, 1], 24, 30);
    let line = ConvSpec { strides: vec![1], dilations: vec![4], pads: vec![(8, 0)], groups: 1 };
    check_conv(DType::F32, &line, 8, &[100], &[3], 20, 24);
    let volume = ConvSpec {
        strides: vec![1, 2, 1],
        dilations: vec![1, 1, 2],
        pads: vec![(1, 1), (0, 1), (2, 2)],
        groups: 1,
    };
    check_conv(DType::F32, &volume, 2, &[6, 9, 10], &[3, 3, 3], 4, 6);
}

#[test]
fn nan_in_one_pixel_reaches_only_its_windows() {
    let spec = ConvSpec { strides: vec![1, 1], dilations: vec![1, 1], pads: vec![(1, 1), (1, 1)], groups: 1 };
    let mut x = random(DType::F32, &[1, 9, 9, 2], 1);
    x.as_slice_mut::<f32>().unwrap()[(4 * 9 + 4) * 2] = f32::NAN;
    let result = check_terms(&Op::Conv(spec), &[x, random(DType::F32, &[3, 3, 2, 4], 2)], 18);
    assert_eq!(result[0].to_vec::<f32>().iter().filter(|x| x.is_nan()).count(), 9 * 4);
}

#[test]
fn wide_convolutions_of_unit_stride() {
    let padded = |before, after| ConvSpec {
        strides: vec![1, 1],
        dilations: vec![1, 1],
        pads: vec![(before, after), (after, before)],
        groups: 1,
    };
    check_conv(DType::F32, &padded(1, 1), 1, &[25, 23], &[3, 3], 32, 48);
    check_conv(DType::F32, &padded(0, 0), 2, &[26, 30], &[3, 3], 48, 32);
    check_conv(DType::F32, &padded(2, 0), 9, &[8, 8], &[3, 3], 64, 64);
    check_conv(DType::F64, &padded(1, 1), 1, &[25, 23], &[3, 3], 32, 32);
}

#[test]
fn infinities_in_one_pixel_reach_only_its_windows() {
    let spec = ConvSpec { strides: vec![1, 1], dilations: vec![1, 1], pads: vec![(1, 1), (1, 1)], groups: 1 };
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = random(DType::F32, &[2, 24, 24, 32], 1);
        x.as_slice_mut::<f32>().unwrap()[(10 * 24 + 9) * 32 + 5] = bad;
        let weights = random(DType::F32, &[3, 3, 32, 32], 2);
        let result = check_terms(&Op::Conv(spec.clone()), &[x.clone(), weights], 288);
        assert_eq!(result[0].to_vec::<f32>().iter().filter(|x| !x.is_finite()).count(), 9 * 32);
        let mut weights = random(DType::F32, &[3, 3, 32, 32], 2);
        weights.as_slice_mut::<f32>().unwrap()[7] = bad;
        // Without padding: whether a zero of the padding times NaN counts is open.
        let inner = ConvSpec { pads: vec![(0, 0), (0, 0)], ..spec.clone() };
        check_terms(&Op::Conv(inner), &[x, weights], 288);
    }
}

#[test]
fn first_maxima_and_nan_win() {
    let spec = PoolSpec { window: vec![2, 2], strides: vec![2, 2], pads: vec![(0, 0), (0, 0)] };
    let x = Array::from_vec(
        &[1, 2, 8, 1],
        vec![
            3.0,
            3.0,
            1.0,
            f32::NAN,
            f32::NEG_INFINITY,
            f32::NEG_INFINITY,
            0.0,
            -0.0,
            3.0,
            1.0,
            9.0,
            2.0,
            f32::NEG_INFINITY,
            f32::NEG_INFINITY,
            0.0,
            0.0,
        ],
    )
    .unwrap();
    let results = check(&Op::MaxPool(spec), &[x]);
    assert_eq!(results[1].to_vec::<i32>(), [0, 3, 4, 6]);
}

#[test]
fn large_poolings() {
    let spec = PoolSpec { window: vec![3, 3], strides: vec![2, 2], pads: vec![(1, 1), (1, 1)] };
    check_pool(DType::F32, &spec, 6, &[41, 43], 33);
    let global = PoolSpec { window: vec![7, 7], strides: vec![1, 1], pads: vec![(0, 0), (0, 0)] };
    check_pool(DType::F32, &global, 4, &[7, 7], 256);
}
