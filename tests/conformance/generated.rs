//! Cases with generated shapes: proptest draws geometries, and shrinks one that fails to a small one.

use crate::case::Numbers;
use crate::cases::{conv_cases, pool_cases};
use crate::check::Outcome;
use crate::{Case, Report};
use keras_core::graph::{ConvSpec, Op, PoolSpec, Reduce, SliceSpec};
use keras_core::{Array, DType};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use std::cell::RefCell;

/// Draws per kind of operation.
const DRAWS: u32 = 48;

fn dtype() -> impl Strategy<Value = DType> {
    prop_oneof![3 => Just(DType::F32), 1 => Just(DType::F64)]
}

fn shape(rank: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1..=6_usize, rank)
}

/// The cases of one draw.
type Draw = Vec<Case>;

/// One spatial axis of a convolution.
#[derive(Debug, Clone)]
struct Axis {
    kernel: usize,
    stride: usize,
    dilation: usize,
    pads: (usize, usize),
    beyond: usize,
}

impl Axis {
    /// An input just large enough for the window, and `beyond` more.
    fn input(&self) -> usize {
        let reach = (self.kernel - 1) * self.dilation + 1;
        reach.saturating_sub(self.pads.0 + self.pads.1).max(1) + self.beyond
    }
}

fn axis() -> impl Strategy<Value = Axis> {
    (1..=4_usize, 1..=3_usize, 1..=3_usize, (0..=3_usize, 0..=3_usize), 0..=6_usize)
        .prop_map(|(kernel, stride, dilation, pads, beyond)| Axis { kernel, stride, dilation, pads, beyond })
}

fn convolutions() -> impl Strategy<Value = Draw> {
    let depths = (1..=2_usize, 1..=3_usize, 1..=4_usize, 1..=4_usize);
    (dtype(), prop::collection::vec(axis(), 1..=3), depths, any::<u64>()).prop_map(
        |(dtype, axes, (batch, groups, channels, filters), seed)| {
            let spec = ConvSpec {
                strides: axes.iter().map(|a| a.stride).collect(),
                dilations: axes.iter().map(|a| a.dilation).collect(),
                pads: axes.iter().map(|a| a.pads).collect(),
                groups,
            };
            let input: Vec<usize> = axes.iter().map(Axis::input).collect();
            let window: Vec<usize> = axes.iter().map(|a| a.kernel).collect();
            let x = [&[batch], &input[..], &[channels * groups]].concat();
            let kernel = [&window[..], &[channels, filters * groups]].concat();
            conv_cases(&format!("generated {spec:?}"), dtype, &spec, &x, &kernel, seed)
        },
    )
}

fn poolings() -> impl Strategy<Value = Draw> {
    let depths = (1..=2_usize, 1..=9_usize);
    (dtype(), prop::collection::vec(axis(), 1..=3), depths, any::<bool>(), any::<u64>()).prop_map(
        |(dtype, axes, (batch, channels), ties, seed)| {
            let inside = |pad: usize, a: &Axis| pad.min(a.kernel - 1);
            let axes: Vec<Axis> = axes
                .into_iter()
                .map(|a| Axis { pads: (inside(a.pads.0, &a), inside(a.pads.1, &a)), dilation: 1, ..a })
                .collect();
            let spec = PoolSpec {
                window: axes.iter().map(|a| a.kernel).collect(),
                strides: axes.iter().map(|a| a.stride).collect(),
                pads: axes.iter().map(|a| a.pads).collect(),
            };
            let input: Vec<usize> = axes.iter().map(Axis::input).collect();
            let x = [&[batch], &input[..], &[channels]].concat();
            pool_cases(&format!("generated {spec:?}"), dtype, &spec, &x, ties, seed)
        },
    )
}

fn products() -> impl Strategy<Value = Draw> {
    let sizes = (1..=40_usize, 1..=70_usize, 1..=40_usize);
    (dtype(), sizes, prop::option::of(1..=3_usize), any::<(bool, bool)>(), any::<u64>()).prop_map(
        |(dtype, (m, k, n), stack, (trans_a, trans_b), seed)| {
            let mut numbers = Numbers::new(seed);
            let mut operand = |rows, columns, swapped: bool| {
                let pair = if swapped { [columns, rows] } else { [rows, columns] };
                let shape: Vec<usize> = stack.into_iter().chain(pair).collect();
                numbers.array(dtype, &shape)
            };
            let operands = [operand(m, k, trans_a), operand(k, n, trans_b)];
            vec![Case::new("generated", Op::MatMul { trans_a, trans_b }, operands)]
        },
    )
}

fn reductions() -> impl Strategy<Value = Draw> {
    (dtype(), shape(1..=5), prop::sample::select(Reduce::ALL), any::<(u8, u64)>()).prop_map(
        |(dtype, shape, op, (bits, seed))| {
            let axes: Vec<usize> = (0..shape.len()).filter(|axis| bits >> axis & 1 == 1).collect();
            let x = Numbers::new(seed).array_in(dtype, &shape, 0.8, 1.25);
            vec![Case::new(format!("generated, over {axes:?}"), Op::Reduce(op, axes), [x])]
        },
    )
}

fn gathers() -> impl Strategy<Value = Draw> {
    let index = prop_oneof![Just(DType::I32), Just(DType::I64)];
    (dtype(), index, shape(1..=4), shape(0..=3), any::<(usize, u64)>()).prop_map(
        |(dtype, index, shape, indices, (axis, seed))| {
            let mut numbers = Numbers::new(seed);
            let axis = axis % shape.len();
            let x = numbers.array(dtype, &shape);
            let taken = numbers.array_in(index, &indices, 0.0, shape[axis] as f64);
            let rows = numbers.array_in(index, &indices, 0.0, 4.0);
            let updates = numbers.array(dtype, &[indices, shape].concat());
            vec![
                Case::new(format!("generated, axis {axis}"), Op::Gather(axis), [x, taken]),
                Case::new("generated", Op::ScatterAdd(4), [rows, updates]),
            ]
        },
    )
}

fn boxes() -> impl Strategy<Value = Draw> {
    let side = (1..=4_usize, 0..=3_usize, 1..=3_usize, 0..=3_usize);
    let pads = prop::collection::vec((0..=2_usize, 0..=2_usize), 5);
    (prop::sample::select(&DType::ALL[..]), prop::collection::vec(side, 1..=5), pads, any::<u64>()).prop_map(
        |(dtype, sides, pads, seed)| {
            let mut numbers = Numbers::new(seed);
            let spec = SliceSpec {
                starts: sides.iter().map(|(_, before, ..)| *before).collect(),
                stops: sides.iter().map(|(len, before, step, _)| before + (len - 1) * step + 1).collect(),
                steps: sides.iter().map(|(_, _, step, _)| *step).collect(),
            };
            let shape: Vec<usize> =
                spec.stops.iter().zip(&sides).map(|(stop, (.., after))| stop + after).collect();
            let x = numbers.array(dtype, &shape);
            let update = numbers.array(dtype, &spec.shape());
            let title = format!("generated {spec:?}");
            let small = numbers.array(dtype, &spec.shape());
            vec![
                Case::new(&title, Op::Slice(spec.clone()), [x.clone()]),
                Case::new(&title, Op::SliceUpdate(spec), [x, update]),
                Case::new("generated", Op::Pad(pads[..small.rank()].to_vec()), [small]),
            ]
        },
    )
}

fn joins() -> impl Strategy<Value = Draw> {
    let lens = prop::collection::vec(1..=5_usize, 1..=5);
    (prop::sample::select(&DType::ALL[..]), shape(1..=4), lens, any::<(usize, u64)>()).prop_map(
        |(dtype, shape, lens, (axis, seed))| {
            let mut numbers = Numbers::new(seed);
            let axis = axis % shape.len();
            let part = |len: usize| {
                let mut shape = shape.clone();
                shape[axis] = len;
                numbers.array(dtype, &shape)
            };
            let parts: Vec<Array> = lens.into_iter().map(part).collect();
            vec![Case::new(format!("generated, axis {axis}"), Op::Concat(axis), parts)]
        },
    )
}

fn movements() -> impl Strategy<Value = Draw> {
    let perm = (1..=5_usize).prop_flat_map(|rank| Just((0..rank).collect::<Vec<usize>>()).prop_shuffle());
    (prop::sample::select(&DType::ALL[..]), shape(5..=5), perm, any::<(u8, u64)>()).prop_map(
        |(dtype, shape, perm, (bits, seed))| {
            let mut numbers = Numbers::new(seed);
            let shape = &shape[..perm.len()];
            let axes: Vec<usize> = (0..shape.len()).filter(|axis| bits >> axis & 1 == 1).collect();
            let narrow: Vec<usize> =
                shape.iter().enumerate().map(|(i, &len)| if axes.contains(&i) { 1 } else { len }).collect();
            let x = numbers.array(dtype, &narrow);
            let views = [Op::Broadcast(shape.to_vec()), Op::Reverse(axes), Op::Permute(perm)];
            vec![Case::new("generated", Op::Reshape(vec![shape.iter().product()]), [x]).through(views)]
        },
    )
}

/// Draws cases of one kind, and checks those whose name contains `part`; the report gets the first, shrunk, that fails.
fn draw(
    report: &mut Report,
    part: &str,
    check: &impl Fn(&Case) -> Option<Outcome>,
    kind: impl Strategy<Value = Draw>,
) {
    let config =
        Config { cases: DRAWS, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let outcomes = RefCell::new(Vec::new());
    let result = runner.run(&kind, |cases| {
        for outcome in cases.iter().filter(|case| case.name().contains(part)).filter_map(check) {
            if let Outcome::Failed(failure) = outcome {
                return Err(TestCaseError::fail(failure.to_string()));
            }
            outcomes.borrow_mut().push(outcome);
        }
        Ok(())
    });
    // What failed is run again: the report holds the failure itself, not its text.
    if let Err(TestError::Fail(_, cases)) = result {
        outcomes.borrow_mut().extend(cases.iter().filter_map(check));
    }
    for outcome in outcomes.into_inner() {
        report.add(outcome);
    }
}

/// Checks every kind of generated case; those that it does not apply to have no outcome.
pub(crate) fn run(report: &mut Report, part: &str, check: impl Fn(&Case) -> Option<Outcome>) {
    draw(report, part, &check, convolutions());
    draw(report, part, &check, poolings());
    draw(report, part, &check, products());
    draw(report, part, &check, reductions());
    draw(report, part, &check, gathers());
    draw(report, part, &check, boxes());
    draw(report, part, &check, joins());
    draw(report, part, &check, movements());
}
