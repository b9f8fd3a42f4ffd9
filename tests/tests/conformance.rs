//! Every backend agrees with the reference on every operation.

use backend_ndarray::NdArray;
use keras_core::backend::contrary::Contrary;
use keras_core::backend::reference::Reference;
use keras_core::backend::{Backend, Lack, Support};

fn agrees<B: Backend>(backend: &B) {
    let report = conformance::run(backend);
    println!("{report}");
    assert!(report.is_ok(), "{report}");
}

/// What a backend may lack: what happens instead, for what reason, and of which operations how many cases of the suite.
type Bound<'a> = (Support, &'a str, &'a [(&'a str, usize)]);

/// Everything that the backend has kernels for conforms; what it lacks is what it says it lacks, and nothing beyond those
/// bounds, and what it declines (kernels and epilogues) so many cases. A smaller number is an improvement: it becomes the bound.
fn agrees_but_for<B: Backend>(backend: &B, bounds: &[Bound<'_>], declined: &[(&str, usize)]) {
    let report = conformance::run(backend);
    println!("{report}");
    assert!(report.is_ok(), "{report}");
    let lacks = backend.lacks();
    for (instead, words) in [(Support::Decomposed, " is decomposed"), (Support::Host, " runs on the host")] {
        let found: Vec<(&str, usize)> = report
            .skipped
            .iter()
            .filter_map(|(reason, count)| Some((reason.strip_suffix(words)?, *count)))
            .collect();
        let bounds = bounds.iter().filter(|(bound, ..)| *bound == instead);
        let mut expected: Vec<(&str, usize)> =
            bounds.flat_map(|(_, _, operations)| operations.iter().copied()).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "cases of which an operation{words} on {}", backend.name());
        let mut listed: Vec<&str> =
            lacks.iter().filter(|lack| lack.instead == instead).map(|lack| lack.operation).collect();
        listed.sort_unstable();
        assert!(found.iter().map(|(operation, _)| *operation).eq(listed), "what {}{words}", backend.name());
    }
    let rest = report
        .skipped
        .iter()
        .filter(|(reason, _)| !reason.ends_with(" is decomposed") && !reason.ends_with(" runs on the host"));
    let rest: Vec<(&str, usize)> = rest.map(|(reason, count)| (reason.as_str(), *count)).collect();
    assert_eq!(rest, declined, "what {} declines", backend.name());
    for lack in &lacks {
        let bound = bounds.iter().any(|(instead, reason, operations)| {
            let mut operations = operations.iter().map(|(operation, _)| *operation);
            lack.instead == *instead
                && lack.reason == *reason
                && operations.any(|operation| operation == lack.operation)
        });
        assert!(bound, "{}: {lack:?} is not among what it may lack", backend.name());
    }
}

/// Operations that programs reach only as gradients: the table's positions are such as no pooling gives.
const GRADIENTS_ALONE: [&str; 1] = ["max_pool_grad"];

/// Results and gradients of whole programs, with empty axes, too; all that the backend runs without a kernel is among them.
fn differentiates<B: Backend>(backend: B) {
    let lacks = backend.lacks();
    let report = conformance::run_differentiated(backend).unwrap();
    println!("{report}");
    assert!(report.is_ok() && report.passed > 1000, "{report}");
    let reached = |lack: &Lack| report.reached.contains(&(lack.operation, lack.instead.name()));
    let missed: Vec<&Lack> =
        lacks.iter().filter(|lack| !reached(lack) && !GRADIENTS_ALONE.contains(&lack.operation)).collect();
    assert!(missed.is_empty(), "not in any program: {missed:?}");
}

#[test]
fn contrary_differentiates() {
    differentiates(Contrary);
}

#[test]
fn ndarray_differentiates() {
    differentiates(NdArray::new().unwrap());
}

#[cfg(feature = "candle")]
#[test]
fn candle_differentiates() {
    differentiates(backend_candle::Candle::new("cpu").unwrap());
}

#[cfg(feature = "torch")]
#[test]
fn torch_differentiates() {
    differentiates(backend_torch::Torch::new("cpu").unwrap());
}

#[test]
fn reference() {
    agrees(&Reference);
}

#[test]
fn contrary() {
    agrees(&Contrary);
}

#[test]
fn ndarray() {
    agrees_but_for(&NdArray::new().unwrap(), &[], &[]);
}

/// What candle may lack; the list may only become shorter.
#[cfg(feature = "candle")]
#[test]
fn candle() {
    use Support::{Decomposed, Host};
    const CONV: &str =
        "candle has one stride, one padding and no volumes, and is slower than slices and a product";
    const POOL: &str = "candle pools without padding, without positions and without gradients";
    const LACKS: &str = "candle lacks it";
    const NAN: &str = "candle has another value for NaN";
    const INTEGERS: &str = "candle's integers panic on overflow and on division by zero in debug builds";

    let composites = [("softmax", 26), ("log_softmax", 26), ("recurrent", 384), ("recurrent_grad", 384)];
    let functions =
        ["expm1", "log1p", "rsqrt", "tan", "sinh", "cosh", "sigmoid", "softplus"].map(|name| (name, 20));
    let triangle = "candle's is a product with a triangle: quadratic, and NaN reaches every element";
    let integers = [
        ("neg", 19),
        ("abs", 22),
        ("add", 19),
        ("sub", 22),
        ("mul", 19),
        ("div", 19),
        ("sum", 67),
        ("prod", 67),
        ("cumsum", 21),
        ("cumprod", 21),
        ("scatter_add", 30),
    ];
    let bounds: [Bound<'_>; 13] = [
        (Decomposed, CONV, &[("conv", 112), ("conv_grad_input", 110), ("conv_grad_kernel", 110)]),
        (
            Decomposed,
            POOL,
            &[("max_pool", 100), ("max_pool_grad", 96), ("avg_pool", 98), ("avg_pool_grad", 96)],
        ),
        (Decomposed, LACKS, &composites),
        (Decomposed, LACKS, &functions),
        (Decomposed, LACKS, &[("prod", 66), ("cumprod", 16)]),
        (Decomposed, triangle, &[("cumsum", 16)]),
        (Decomposed, NAN, &[("sign", 39)]),
        (Decomposed, "candle's halves go away from zero", &[("round", 20)]),
        (Decomposed, INTEGERS, &[("square", 19)]),
        (Host, LACKS, &[("asin", 20), ("acos", 20), ("atan", 20), ("atan2", 18), ("mod", 37)]),
        (Host, "candle's is a rounded logarithm and an exponential", &[("pow", 37)]),
        (Host, "candle's sort has no place for NaN", &[("top_k", 27)]),
        (Host, INTEGERS, &integers),
    ];
    let declined = [
        ("epilogues of conv that it declines", 30),
        ("epilogues of matmul that it declines", 52),
        ("kernels that it declines", 58),
    ];
    agrees_but_for(&backend_candle::Candle::new("cpu").unwrap(), &bounds, &declined);
}

/// By way of the host goes what has no decomposition, and what would be decomposed into arithmetic on integers.
#[cfg(feature = "candle")]
#[test]
fn candle_leaves_to_the_host_only_what_cannot_be_decomposed() {
    use conformance::{Computation, Expected};
    use keras_core::graph::{Graph, Type, decompose};
    let candle = backend_candle::Candle::new("cpu").unwrap();
    let mut found = 0;
    for case in conformance::cases().iter().filter(|case| case.expected == Expected::Result) {
        let Computation::Op(op) = &case.computation else { continue };
        let types: Vec<Type> = case.inputs.iter().map(|x| Type::new(x.shape(), x.dtype())).collect();
        if candle.supports(op, &types.iter().collect::<Vec<_>>()) == Support::Host {
            let mut graph = Graph::new();
            let integers = types.iter().any(|ty| !ty.dtype.is_float());
            let inputs: Vec<_> = types.into_iter().map(|ty| graph.input(ty)).collect();
            assert!(integers || decompose(&mut graph, op, &inputs).unwrap().is_none(), "{}", case.name());
            found += 1;
        }
    }
    assert!(found > 100, "{found}");
}

/// What libtorch may lack; the list may only become shorter.
#[cfg(feature = "torch")]
#[test]
fn torch() {
    const PADS: &str = "libtorch pads both sides alike, by at most half the window, and pools no integers";
    const GATES: &str = "libtorch has neither Keras's masks over time nor its dropout of states";

    let bounds: [Bound<'_>; 2] = [
        (
            Support::Decomposed,
            PADS,
            &[("max_pool", 46), ("max_pool_grad", 42), ("avg_pool", 44), ("avg_pool_grad", 42)],
        ),
        (Support::Decomposed, GATES, &[("recurrent", 352), ("recurrent_grad", 352)]),
    ];
    let declined = [("epilogues of conv that it declines", 18), ("epilogues of matmul that it declines", 28)];
    agrees_but_for(&backend_torch::Torch::new("cpu").unwrap(), &bounds, &declined);
}
