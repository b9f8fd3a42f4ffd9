//! Decompositions compute what the reference computes, and the shape rules refuse what the reference refuses.

use crate::observed::Observed;
use conformance::{Case, Computation, Expected, Numbers, Outcome, cases, check, run_matching};
use keras_core::backend::Backend;
use keras_core::backend::reference::Reference;
use keras_core::graph::{
    ArgReduce, Binary, Compare, ConvSpec, Cumulative, Graph, Logical, MaskedOutput, Op, PoolSpec,
    RecurrentCell, RecurrentSpec, Reduce, SliceSpec, Type, Unary, decompose,
};
use keras_core::{Array, DType};

fn pool(window: &[usize], strides: &[usize], pads: &[(usize, usize)]) -> PoolSpec {
    PoolSpec { window: window.into(), strides: strides.into(), pads: pads.into() }
}

/// Every operation with a decomposition, by name.
const DECOMPOSED: &[&str] = &[
    "avg_pool",
    "avg_pool_grad",
    "conv",
    "conv_grad_input",
    "conv_grad_kernel",
    "cosh",
    "cumprod",
    "cumsum",
    "expm1",
    "is_nan",
    "log1p",
    "log_softmax",
    "max_pool",
    "max_pool_grad",
    "prod",
    "recip",
    "recurrent",
    "recurrent_grad",
    "relu",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "sinh",
    "softmax",
    "softplus",
    "square",
    "tan",
];

/// The conformance suite, NaN and infinities included, on a backend that runs decompositions alone.
#[test]
fn decompositions_conform_to_the_reference() {
    // The suite's max_pool_grad has positions that no pooling gives; they have a test of their own.
    for name in DECOMPOSED.iter().filter(|name| **name != "max_pool_grad") {
        let backend = Observed { decomposes: true, ..Observed::default() };
        let report = run_matching(&backend, &format!("{name} "));
        assert!(report.is_ok(), "{report}");
        assert!(backend.account.count(name) > 0, "{name} was not decomposed");
    }
}

/// Every pooling of the suite, backwards with the positions it found.
#[test]
fn max_pool_grad_by_decomposition() {
    let backend = Observed { decomposes: true, ..Observed::default() };
    let mut ran = 0;
    for case in cases() {
        let (Computation::Op(Op::MaxPool(spec)), [x]) = (&case.computation, &case.inputs[..]) else {
            continue;
        };
        let fits = case.expected == Expected::Result && case.views.is_empty() && x.dtype().is_float();
        if !fits || x.is_empty() {
            continue;
        }
        let (maxima, positions) = Reference.max_pool(spec, x, true).unwrap();
        let grad = Numbers::new(ran).array(x.dtype(), maxima.shape());
        let size = x.shape()[1..x.rank() - 1].to_vec();
        let op = Op::MaxPoolGrad(spec.clone(), size);
        let outcome = check(&backend, &Case::new(&case.title, op, [grad, positions.unwrap()]));
        assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
        ran += 1;
    }
    assert!(ran > 10 && backend.account.count("max_pool_grad") > 10, "{ran}");
}

/// The list above is complete: of all operations in the conformance suite, these decompose and no others.
#[test]
fn the_list_of_decompositions_is_complete() {
    let mut found: Vec<&str> = Vec::new();
    for case in cases().iter().filter(|case| case.views.is_empty() && case.expected == Expected::Result) {
        let Computation::Op(op) = &case.computation else { continue };
        if matches!(op, Op::Kernel(_) | Op::Epilogue(..))
            || case.inputs.iter().any(|x| !x.dtype().is_float() && x.dtype() != DType::I32)
        {
            continue;
        }
        let mut graph = Graph::new();
        let inputs: Vec<_> =
            case.inputs.iter().map(|x| graph.input(Type::new(x.shape(), x.dtype()))).collect();
        if decompose(&mut graph, op, &inputs).unwrap().is_some() {
            found.push(op.name());
        }
    }
    found.sort_unstable();
    found.dedup();
    assert_eq!(found, DECOMPOSED);
}

/// Windows over the edges where padding and elements look alike: the lowest number, NaN, ties, −0.
#[test]
fn max_pool_by_decomposition_finds_the_first_real_cell() {
    let low = f64::NEG_INFINITY;
    let rows = [
        [low, low, low, low],
        [low, 1.0, 1.0, low],
        [f64::NAN, 1.0, f64::NAN, 2.0],
        [0.0, -0.0, 0.0, -0.0],
        [f64::INFINITY, f64::NAN, low, f64::INFINITY],
    ];
    let backend = Observed { decomposes: true, ..Observed::default() };
    for dtype in [DType::F32, DType::F64, DType::I32, DType::I64, DType::U8] {
        for spec in [
            pool(&[2], &[1], &[(1, 1)]),
            pool(&[3], &[2], &[(2, 1)]),
            pool(&[3], &[1], &[(2, 2)]),
            pool(&[2], &[2], &[(0, 0)]),
        ] {
            let values: Vec<f64> = rows.iter().flatten().copied().collect();
            // The smallest integers stand for −∞.
            let x = Array::from_vec(&[5, 4, 1], values).unwrap().cast(dtype);
            let case = Case::new("edges", Op::MaxPool(spec), [x]);
            let outcome = check(&backend, &case);
            assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
        }
    }
}

/// Many geometries, with gradients of ones, which show cells that are counted twice or not at all.
#[test]
fn poolings_by_decomposition_of_many_geometries() {
    let backend = Observed { decomposes: true, ..Observed::default() };
    let mut numbers = Numbers::new(3);
    let mut ran = 0;
    for (window, stride) in [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (2, 3)] {
        for before in 0..window {
            for after in 0..window {
                for len in [1, 2, 5] {
                    if before + len + after < window {
                        continue;
                    }
                    let spec = pool(&[window, 1], &[stride, 2], &[(before, after), (0, 0)]);
                    let mut g = Graph::new();
                    let x = g.input(Type::new([2, len, 3, 2], DType::F64));
                    let y = g.add(Op::AvgPool(spec.clone()), &[x]).unwrap();
                    let shape = g.shape(y).to_vec();
                    let x = numbers.array(DType::F64, &[2, len, 3, 2]);
                    let ones = Array::full(&shape, 1.0).unwrap();
                    let positions = Reference.max_pool(&spec, &x, true).unwrap().1.unwrap();
                    let size = vec![len, 3];
                    for (op, inputs) in [
                        (Op::MaxPool(spec.clone()), vec![x.clone()]),
                        (Op::AvgPool(spec.clone()), vec![x]),
                        (Op::AvgPoolGrad(spec.clone(), size.clone()), vec![ones.clone()]),
                        (Op::MaxPoolGrad(spec, size), vec![ones, positions]),
                    ] {
                        let outcome = check(&backend, &Case::new("geometry", op, inputs));
                        assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
                        ran += 1;
                    }
                }
            }
        }
    }
    assert!(ran > 200, "{ran}");
}

/// A convolution whose only window lies in the padding, and one of whose windows some do.
#[test]
fn convolutions_by_decomposition_of_padding_alone() {
    let backend = Observed { decomposes: true, ..Observed::default() };
    for (stride, before, len) in [(20, 10, 1), (3, 7, 4), (4, 6, 2)] {
        let pads = vec![(before, 0)];
        let spec = ConvSpec { strides: vec![stride], dilations: vec![1], pads, groups: 1 };
        let mut g = Graph::new();
        let (x, kernel) = (Type::new([2, len, 2], DType::F64), Type::new([1, 2, 3], DType::F64));
        let (x, kernel) = (g.input(x), g.input(kernel));
        let y = g.add(Op::Conv(spec.clone()), &[x, kernel]).unwrap();
        let mut numbers = Numbers::new(5);
        let mut operand = |shape: &[usize]| numbers.array(DType::F64, shape);
        let (grad, x, kernel) = (operand(g.shape(y)), operand(g.shape(x)), operand(g.shape(kernel)));
        for (op, inputs) in [
            (Op::ConvGradInput(spec.clone(), vec![len]), [grad.clone(), kernel.clone()]),
            (Op::ConvGradKernel(spec.clone(), vec![1]), [x.clone(), grad]),
            (Op::Conv(spec), [x, kernel]),
        ] {
            let outcome = check(&backend, &Case::new("padding", op, inputs));
            assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
        }
    }
    assert!(backend.account.count("conv_grad_input") >= 3);
}

fn lstm(mask: Option<MaskedOutput>) -> RecurrentSpec {
    RecurrentSpec { mask, ..RecurrentSpec::new(RecurrentCell::Lstm) }
}

/// Whether the reference computes an operation on small operands of these types.
fn reference_takes(op: &Op, inputs: &[Array]) -> bool {
    let expected = Case::new("types", op.clone(), inputs);
    // `fails` passes exactly where the reference, which is checked against itself, errs.
    !matches!(check(&Reference, &expected.fails()), Outcome::Passed)
}

fn builds(op: &Op, inputs: &[Array]) -> bool {
    let mut graph = Graph::new();
    let values: Vec<_> = inputs.iter().map(|x| graph.input(Type::new(x.shape(), x.dtype()))).collect();
    graph.add(op.clone(), &values).is_ok()
}

/// Element types: what is refused is refused when it is built, and by both.
#[test]
fn shape_rules_accept_the_element_types_that_the_reference_takes() {
    let conv = || ConvSpec { strides: vec![1], dilations: vec![1], pads: vec![(0, 0)], groups: 1 };
    let pool = || pool(&[2], &[1], &[(0, 0)]);
    let slice = || SliceSpec { starts: vec![0, 0], stops: vec![1, 2], steps: vec![1, 1] };
    let mut table: Vec<(Op, Vec<Vec<usize>>)> = Vec::new();
    let square = || vec![2, 2];
    table.extend(Unary::ALL.iter().map(|&f| (Op::Unary(f), vec![square()])));
    table.extend(Binary::ALL.iter().map(|&f| (Op::Binary(f), vec![square(), square()])));
    table.extend(Compare::ALL.iter().map(|&f| (Op::Compare(f), vec![square(), square()])));
    table.extend(Logical::ALL.iter().map(|&f| (Op::Logical(f), vec![square(), square()])));
    table.extend(Reduce::ALL.iter().map(|&f| (Op::Reduce(f, vec![1]), vec![square()])));
    table.extend(ArgReduce::ALL.iter().map(|&f| (Op::ArgReduce(f, 1), vec![square()])));
    table.extend(Cumulative::ALL.iter().map(|&f| (Op::Cumulative(f, 1), vec![square()])));
    table.extend(DType::ALL.iter().map(|&to| (Op::Cast(to), vec![square()])));
    table.extend([
        (Op::Select, vec![square(), square(), square()]),
        (Op::TopK(1), vec![square()]),
        (Op::MatMul { trans_a: false, trans_b: false }, vec![square(), square()]),
        (Op::Conv(conv()), vec![vec![1, 4, 1], vec![2, 1, 1]]),
        (Op::ConvGradInput(conv(), vec![4]), vec![vec![1, 3, 1], vec![2, 1, 1]]),
        (Op::ConvGradKernel(conv(), vec![2]), vec![vec![1, 4, 1], vec![1, 3, 1]]),
        (Op::MaxPool(pool()), vec![vec![1, 4, 1]]),
        (Op::AvgPool(pool()), vec![vec![1, 4, 1]]),
        (Op::MaxPoolGrad(pool(), vec![4]), vec![vec![1, 3, 1], vec![1, 3, 1]]),
        (Op::AvgPoolGrad(pool(), vec![4]), vec![vec![1, 3, 1]]),
        (Op::Gather(0), vec![square(), vec![1]]),
        (Op::ScatterAdd(2), vec![vec![1], vec![1, 2]]),
        (Op::Reshape(vec![4]), vec![square()]),
        (Op::Permute(vec![1, 0]), vec![square()]),
        (Op::Broadcast(vec![2, 2]), vec![vec![1, 2]]),
        (Op::Slice(slice()), vec![square()]),
        (Op::SliceUpdate(slice()), vec![square(), vec![1, 2]]),
        (Op::Pad(vec![(1, 0), (0, 1)]), vec![square()]),
        (Op::Concat(0), vec![square(), square()]),
        (Op::Reverse(vec![0]), vec![square()]),
        (Op::Softmax, vec![square()]),
        (Op::LogSoftmax, vec![square()]),
    ]);
    let mut wrong = Vec::new();
    let mut accepted = 0;
    for (op, shapes) in &table {
        let mut combinations: Vec<Vec<DType>> = vec![Vec::new()];
        for _ in shapes {
            combinations = combinations
                .iter()
                .flat_map(|types| DType::ALL.iter().map(|&dtype| [&types[..], &[dtype]].concat()))
                .collect();
        }
        for types in combinations {
            let inputs: Vec<Array> = shapes
                .iter()
                .zip(&types)
                .map(|(shape, &dtype)| Array::zeros(dtype, shape).unwrap())
                .collect();
            let (built, taken) = (builds(op, &inputs), reference_takes(op, &inputs));
            accepted += usize::from(built);
            if built != taken {
                wrong.push(format!("{} of {types:?}: built {built}, taken {taken}", op.name()));
            }
        }
    }
    assert!(accepted > 200 && wrong.is_empty(), "{accepted} accepted\n{}", wrong.join("\n"));
}

/// Shapes: errors, never panics.
#[test]
fn impossible_shapes_are_refused() {
    let float = |shape: &[usize]| Type::new(shape, DType::F32);
    let conv = |strides: usize, dilations: usize, pad: usize, groups| ConvSpec {
        strides: vec![strides],
        dilations: vec![dilations],
        pads: vec![(pad, 0)],
        groups,
    };
    let huge = usize::MAX;
    let cases: Vec<(Op, Vec<Type>)> = vec![
        (Op::Reshape(vec![huge, 2]), vec![float(&[2, 3])]),
        (Op::Reshape(vec![5]), vec![float(&[2, 3])]),
        (Op::Broadcast(vec![huge, huge]), vec![float(&[1, 1])]),
        (Op::Broadcast(vec![2, 3]), vec![float(&[3])]),
        (Op::Pad(vec![(huge, 1)]), vec![float(&[2])]),
        (Op::Pad(vec![(1, 1)]), vec![float(&[2, 2])]),
        (Op::Permute(vec![0, 0]), vec![float(&[2, 2])]),
        (Op::Permute(vec![0, 2]), vec![float(&[2, 2])]),
        (Op::Reduce(Reduce::Sum, vec![1, 0]), vec![float(&[2, 2])]),
        (Op::Reduce(Reduce::Sum, vec![2]), vec![float(&[2, 2])]),
        (Op::Reverse(vec![0, 0]), vec![float(&[2, 2])]),
        (Op::ArgReduce(ArgReduce::Max, 0), vec![float(&[0, 2])]),
        (Op::TopK(3), vec![float(&[2, 2])]),
        (Op::TopK(1), vec![float(&[])]),
        (Op::MatMul { trans_a: false, trans_b: true }, vec![float(&[2, 3]), float(&[3, 2])]),
        (Op::MatMul { trans_a: false, trans_b: false }, vec![float(&[2, 2, 3]), float(&[3, 3, 2])]),
        (Op::MatMul { trans_a: false, trans_b: false }, vec![float(&[3]), float(&[3])]),
        (Op::Conv(conv(0, 1, 0, 1)), vec![float(&[1, 4, 1]), float(&[2, 1, 1])]),
        (Op::Conv(conv(1, 0, 0, 1)), vec![float(&[1, 4, 1]), float(&[2, 1, 1])]),
        (Op::Conv(conv(1, huge, 0, 1)), vec![float(&[1, 4, 1]), float(&[3, 1, 1])]),
        (Op::Conv(conv(1, 1, huge, 1)), vec![float(&[1, 4, 1]), float(&[2, 1, 1])]),
        (Op::Conv(conv(1, 1, 0, 0)), vec![float(&[1, 4, 1]), float(&[2, 1, 1])]),
        (Op::Conv(conv(1, 1, 0, 2)), vec![float(&[1, 4, 2]), float(&[2, 1, 3])]),
        (Op::Conv(conv(1, 1, 0, 1)), vec![float(&[1, 4, 1]), float(&[0, 1, 1])]),
        (Op::Conv(conv(1, 1, 0, 1)), vec![float(&[1, 4, 1]), float(&[5, 1, 1])]),
        (Op::MaxPool(pool(&[2], &[0], &[(0, 0)])), vec![float(&[1, 4, 1])]),
        (Op::MaxPool(pool(&[2], &[1], &[(2, 0)])), vec![float(&[1, 4, 1])]),
        (Op::AvgPool(pool(&[0], &[1], &[(0, 0)])), vec![float(&[1, 4, 1])]),
        (Op::Gather(2), vec![float(&[2, 2]), Type::new([1], DType::I32)]),
        (Op::Concat(0), vec![]),
        (Op::Concat(1), vec![float(&[2, 2]), float(&[3, 2])]),
        (Op::Softmax, vec![float(&[])]),
        (Op::Select, vec![float(&[2]), float(&[2])]),
        (Op::Recurrent(lstm(None)), vec![float(&[2, 3, 8]), float(&[2, 8]), float(&[2, 2])]),
        (
            Op::Recurrent(lstm(None)),
            [vec![float(&[2, 3, 9]), float(&[2, 9])], vec![float(&[2, 2]); 2]].concat(),
        ),
        (
            Op::Recurrent(lstm(None)),
            [vec![float(&[2, 0, 8]), float(&[2, 8])], vec![float(&[2, 2]); 2]].concat(),
        ),
        (
            Op::Recurrent(lstm(None)),
            [vec![float(&[2, 3, 8]), float(&[2, 8])], vec![float(&[3, 2]); 2]].concat(),
        ),
        (
            Op::Recurrent(lstm(Some(MaskedOutput::Repeat))),
            [vec![float(&[2, 3, 8]), float(&[2, 8])], vec![float(&[2, 2]); 2], vec![float(&[2, 3])]].concat(),
        ),
        (
            Op::RecurrentGrad(lstm(None), false),
            [vec![float(&[2, 3, 8]), float(&[2, 8])], vec![float(&[2, 2]); 2]].concat(),
        ),
        (Op::Unary(Unary::Exp), vec![]),
        (Op::Slice(SliceSpec { starts: vec![0], stops: vec![3], steps: vec![1] }), vec![float(&[2])]),
        (Op::Slice(SliceSpec { starts: vec![0], stops: vec![2], steps: vec![0] }), vec![float(&[2])]),
        (Op::Slice(SliceSpec { starts: vec![2], stops: vec![1], steps: vec![1] }), vec![float(&[2])]),
        (Op::Slice(SliceSpec { starts: vec![], stops: vec![], steps: vec![] }), vec![float(&[2])]),
    ];
    for (op, types) in cases {
        let mut graph = Graph::new();
        let inputs: Vec<_> = types.iter().map(|ty| graph.input(ty.clone())).collect();
        let message = match graph.add(op.clone(), &inputs) {
            Ok(value) => panic!("{op:?} of {types:?} gave {}", graph.ty(value)),
            Err(error) => error.to_string(),
        };
        assert!(message.contains(op.name()) && message.contains("expected"), "{message}");
    }
    // A broadcast of a broadcast is checked against the one before.
    let mut graph = Graph::new();
    let x = graph.input(float(&[1, 1]));
    let wide = graph.broadcast(x, &[2, 1]).unwrap();
    assert!(graph.broadcast(wide, &[5, 1]).is_err());
    assert_eq!(graph.broadcast(wide, &[2, 3]).map(|value| graph.shape(value).to_vec()).unwrap(), [2, 3]);
}
