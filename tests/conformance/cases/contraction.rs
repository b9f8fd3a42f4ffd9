//! Matrix products, convolutions with their gradients, pooling with its gradients.

use super::FLOATS;
use crate::Case;
use crate::case::{Numbers, array};
use keras_core::DType;
use keras_core::graph::{ConvSpec, Op, PoolSpec};

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

fn products(cases: &mut Vec<Case>) {
    let mut numbers = Numbers::new(20);
    let sizes =
        [(1, 1, 1), (3, 4, 5), (1, 7, 1), (7, 1, 5), (17, 1, 9), (1, 33, 8), (33, 65, 29), (5, 300, 3)];
    for dtype in FLOATS {
        for stack in [&[][..], &[1], &[3]] {
            for (m, k, n) in sizes {
                for (trans_a, trans_b) in [(false, false), (false, true), (true, false), (true, true)] {
                    let shape = |rows: usize, columns: usize, swapped: bool| {
                        let pair = if swapped { [columns, rows] } else { [rows, columns] };
                        [stack, &pair].concat()
                    };
                    let operands = [
                        numbers.array(dtype, &shape(m, k, trans_a)),
                        numbers.array(dtype, &shape(k, n, trans_b)),
                    ];
                    let title = format!(
                        "{m}×{k}×{n}, {}{}",
                        if trans_a { "aᵀ" } else { "a" },
                        if trans_b { "bᵀ" } else { "b" }
                    );
                    cases.push(Case::new(title, Op::MatMul { trans_a, trans_b }, operands));
                }
            }
        }
        let plain = Op::MatMul { trans_a: false, trans_b: false };
        let a = array(dtype, &[3, 3], vec![1.0, NAN, 2.0, INF, 0.0, 1.0, 1.0, 2.0, 3.0]);
        let b = array(dtype, &[3, 3], vec![1.0, 2.0, 0.0, 0.0, 1.0, 2.0, 1.0, 1.0, -1.0]);
        cases.push(Case::new("special", plain.clone(), [a, b]));
        let views = [Op::Broadcast(vec![4, 3, 5]), Op::Permute(vec![1, 2, 0])];
        let b = numbers.array(dtype, &[3, 4, 2]);
        cases.push(Case::new("", plain, [numbers.array(dtype, &[1, 3, 5]), b]).through(views));
    }
    let large = [numbers.array(DType::F32, &[130, 257]), numbers.array(DType::F32, &[257, 140])];
    cases.push(Case::new("large", Op::MatMul { trans_a: false, trans_b: false }, large));
}

/// Batch, input, channels, kernel, filters; strides, dilations, pads, groups.
struct Geometry {
    title: &'static str,
    batch: usize,
    input: &'static [usize],
    channels: usize,
    kernel: &'static [usize],
    filters: usize,
    strides: &'static [usize],
    dilations: &'static [usize],
    pads: &'static [(usize, usize)],
    groups: usize,
}

const ONES: &[usize] = &[1, 1, 1];
const NONE: &[(usize, usize)] = &[(0, 0), (0, 0), (0, 0)];
const SAME: &[(usize, usize)] = &[(1, 1), (1, 1), (1, 1)];

const PLAIN: Geometry = Geometry {
    title: "",
    batch: 2,
    input: &[5, 6],
    channels: 3,
    kernel: &[3, 3],
    filters: 4,
    strides: ONES,
    dilations: ONES,
    pads: NONE,
    groups: 1,
};

#[rustfmt::skip]
const GEOMETRIES: &[Geometry] = &[
    PLAIN,
    Geometry { title: "same", pads: SAME, ..PLAIN },
    Geometry { title: "one pixel", batch: 1, input: &[1, 1], channels: 1, kernel: &[1, 1], filters: 1, ..PLAIN },
    Geometry { title: "pointwise", kernel: &[1, 1], ..PLAIN },
    Geometry { title: "pointwise with stride", kernel: &[1, 1], strides: &[2, 2], ..PLAIN },
    Geometry { title: "kernel as large as the input", kernel: &[5, 6], ..PLAIN },
    Geometry { title: "even kernel, more padding after", kernel: &[2, 4], pads: &[(0, 1), (1, 2)], ..PLAIN },
    Geometry { title: "more padding than kernel", input: &[2, 3], kernel: &[2, 2], pads: &[(3, 0), (0, 4)], ..PLAIN },
    Geometry { title: "strides", input: &[9, 8], strides: &[2, 3], ..PLAIN },
    Geometry { title: "strides and padding", input: &[7, 10], strides: &[3, 2], pads: SAME, ..PLAIN },
    Geometry { title: "stride beyond the kernel", input: &[9, 9], kernel: &[2, 1], strides: &[3, 4], ..PLAIN },
    Geometry { title: "rest that no window covers", input: &[8, 9], kernel: &[3, 2], strides: &[4, 4], ..PLAIN },
    Geometry { title: "dilation", input: &[9, 8], dilations: &[2, 3], ..PLAIN },
    Geometry { title: "dilation, stride and padding", input: &[9, 8], dilations: &[3, 2], strides: &[2, 2], pads: &[(2, 3), (2, 1)], ..PLAIN },
    Geometry { title: "groups", channels: 6, filters: 4, groups: 2, ..PLAIN },
    Geometry { title: "depthwise", channels: 4, filters: 4, groups: 4, pads: SAME, ..PLAIN },
    Geometry { title: "depthwise, 19 channels", channels: 19, filters: 19, groups: 19, pads: SAME, ..PLAIN },
    Geometry { title: "depthwise with multiplier", channels: 3, filters: 6, groups: 3, ..PLAIN },
    Geometry { title: "depthwise with stride and dilation", input: &[9, 9], channels: 4, filters: 4, groups: 4, strides: &[2, 2], dilations: &[2, 1], ..PLAIN },
    Geometry { title: "one filter", filters: 1, ..PLAIN },
    Geometry { title: "one channel", channels: 1, ..PLAIN },
    Geometry { title: "16 channels, 14 pixels", batch: 3, input: &[14, 14], channels: 16, filters: 20, pads: SAME, ..PLAIN },
    Geometry { title: "32 channels, odd sizes", batch: 1, input: &[13, 19], channels: 32, filters: 33, pads: SAME, ..PLAIN },
    Geometry { title: "5×5", batch: 1, input: &[12, 11], channels: 8, kernel: &[5, 5], filters: 9, pads: &[(2, 2), (2, 2)], ..PLAIN },
    Geometry { title: "first layer", batch: 1, input: &[23, 21], channels: 3, kernel: &[7, 7], filters: 16, strides: &[2, 2], pads: &[(3, 3), (3, 3)], ..PLAIN },
    Geometry { title: "line", input: &[9], kernel: &[3], ..PLAIN },
    Geometry { title: "causal line", input: &[9], kernel: &[3], dilations: &[2], pads: &[(4, 0)], ..PLAIN },
    Geometry { title: "line with stride", input: &[11], kernel: &[4], strides: &[3], pads: &[(1, 2)], channels: 4, groups: 2, ..PLAIN },
    Geometry { title: "volume", input: &[4, 5, 3], kernel: &[2, 3, 2], ..PLAIN },
    Geometry { title: "volume with everything", batch: 1, input: &[5, 4, 6], channels: 4, kernel: &[2, 1, 3], filters: 6, strides: &[2, 1, 2], dilations: &[1, 2, 2], pads: &[(1, 0), (0, 1), (2, 2)], groups: 2 },
    Geometry { title: "one column", input: &[4, 1], kernel: &[3, 1], channels: 2, ..PLAIN },
];

/// A convolution and its two gradients at one geometry.
pub(crate) fn conv_cases(
    title: &str,
    dtype: DType,
    spec: &ConvSpec,
    x: &[usize],
    kernel: &[usize],
    seed: u64,
) -> Vec<Case> {
    let mut numbers = Numbers::new(seed);
    let spatial = spec.strides.len();
    let output = (0..spatial).map(|i| {
        let (before, after) = spec.pads[i];
        (before + x[i + 1] + after - ((kernel[i] - 1) * spec.dilations[i] + 1)) / spec.strides[i] + 1
    });
    let grad: Vec<usize> = [x[0]].into_iter().chain(output).chain([kernel[spatial + 1]]).collect();
    let (input, window) = (x[1..=spatial].to_vec(), kernel[..spatial].to_vec());
    let mut array = |shape: &[usize]| numbers.array_in(dtype, shape, -1.0, 1.0);
    vec![
        Case::new(title, Op::Conv(spec.clone()), [array(x), array(kernel)]),
        Case::new(title, Op::ConvGradInput(spec.clone(), input), [array(&grad), array(kernel)]),
        Case::new(title, Op::ConvGradKernel(spec.clone(), window), [array(x), array(&grad)]),
    ]
}

fn convolutions(cases: &mut Vec<Case>) {
    for dtype in FLOATS {
        for (seed, g) in GEOMETRIES.iter().enumerate() {
            let n = g.input.len();
            let spec = ConvSpec {
                strides: g.strides[..n].to_vec(),
                dilations: g.dilations[..n].to_vec(),
                pads: g.pads[..n].to_vec(),
                groups: g.groups,
            };
            let x = [&[g.batch], g.input, &[g.channels]].concat();
            let kernel = [g.kernel, &[g.channels / g.groups, g.filters]].concat();
            cases.extend(conv_cases(g.title, dtype, &spec, &x, &kernel, seed as u64));
        }
        let spec = ConvSpec { strides: vec![1, 1], dilations: vec![1, 1], pads: vec![(1, 1); 2], groups: 1 };
        let mut numbers = Numbers::new(21);
        let mut values: Vec<f64> = numbers.array(dtype, &[1, 6, 6, 2]).to_vec();
        values[20] = NAN;
        values[61] = INF;
        let operands = [array(dtype, &[1, 6, 6, 2], values), numbers.array(dtype, &[3, 3, 2, 3])];
        cases.push(Case::new("special", Op::Conv(spec), operands));
    }
}

/// Both poolings and their gradients at one geometry.
pub(crate) fn pool_cases(
    title: &str,
    dtype: DType,
    spec: &PoolSpec,
    x: &[usize],
    ties: bool,
    seed: u64,
) -> Vec<Case> {
    let mut numbers = Numbers::new(seed);
    let spatial = spec.window.len();
    let output = (0..spatial).map(|i| {
        let (before, after) = spec.pads[i];
        (before + x[i + 1] + after - spec.window[i]) / spec.strides[i] + 1
    });
    let output: Vec<usize> = [x[0]].into_iter().chain(output).chain([x[spatial + 1]]).collect();
    let input = x[1..=spatial].to_vec();
    let values =
        if ties { numbers.array_in(DType::I32, x, 0.0, 3.0).cast(dtype) } else { numbers.array(dtype, x) };
    let area = input.iter().product::<usize>() as f64;
    let positions = numbers.array_in(DType::I32, &output, 0.0, area);
    let grad = numbers.array(dtype, &output);
    vec![
        Case::new(title, Op::MaxPool(spec.clone()), [values.clone()]),
        Case::new(title, Op::MaxPoolGrad(spec.clone(), input.clone()), [grad.clone(), positions]),
        Case::new(title, Op::AvgPool(spec.clone()), [values]),
        Case::new(title, Op::AvgPoolGrad(spec.clone(), input), [grad]),
    ]
}

fn pooling(cases: &mut Vec<Case>) {
    #[rustfmt::skip]
    #[allow(clippy::type_complexity)]
    let table: &[(&str, &[usize], &[usize], &[usize], &[(usize, usize)])] = &[
        ("", &[2, 4, 6, 3], &[2, 2], &[2, 2], &[(0, 0), (0, 0)]),
        ("overlapping", &[2, 7, 7, 3], &[3, 3], &[2, 2], &[(0, 0), (0, 0)]),
        ("same, stride 1", &[1, 5, 4, 2], &[3, 2], &[1, 1], &[(1, 1), (0, 1)]),
        ("same, stride 2", &[1, 7, 6, 2], &[3, 3], &[2, 2], &[(1, 1), (0, 1)]),
        ("rest that no window covers", &[1, 8, 9, 1], &[3, 2], &[3, 4], &[(0, 0), (0, 0)]),
        ("stride beyond the window", &[1, 9, 7, 2], &[2, 1], &[4, 3], &[(0, 0), (0, 0)]),
        ("one cell", &[2, 3, 3, 2], &[1, 1], &[1, 1], &[(0, 0), (0, 0)]),
        ("whole input", &[2, 3, 4, 5], &[3, 4], &[1, 1], &[(0, 0), (0, 0)]),
        ("window beyond the input", &[1, 2, 2, 3], &[3, 3], &[3, 3], &[(0, 1), (1, 0)]),
        ("17 channels", &[1, 6, 6, 17], &[2, 2], &[2, 2], &[(0, 0), (0, 0)]),
        ("line", &[2, 9, 3], &[3], &[2], &[(1, 0)]),
        ("volume", &[1, 4, 5, 3, 2], &[2, 3, 2], &[2, 1, 1], &[(0, 0), (1, 1), (0, 1)]),
    ];
    for dtype in FLOATS {
        for (seed, (title, x, window, strides, pads)) in table.iter().enumerate() {
            let spec = PoolSpec { window: window.to_vec(), strides: strides.to_vec(), pads: pads.to_vec() };
            cases.extend(pool_cases(title, dtype, &spec, x, false, 100 + seed as u64));
            let ties = format!("ties {title}");
            cases.extend(pool_cases(ties.trim(), dtype, &spec, x, true, 200 + seed as u64));
        }
        let spec = PoolSpec { window: vec![2, 2], strides: vec![1, 1], pads: vec![(1, 0), (0, 1)] };
        let values =
            vec![NAN, 1.0, NAN, 2.0, -INF, -INF, -INF, -INF, INF, INF, 1.0, NAN, -0.0, 0.0, -5.0, -6.0];
        for op in [Op::MaxPool(spec.clone()), Op::AvgPool(spec.clone())] {
            cases.push(Case::new("special", op, [array(dtype, &[1, 4, 4, 1], values.clone())]));
        }
        let low = array(dtype, &[1, 3, 3, 1], vec![-INF; 9]);
        cases.push(Case::new("minus infinity alone", Op::MaxPool(spec), [low]));
    }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    products(&mut cases);
    convolutions(&mut cases);
    pooling(&mut cases);
    cases
}
