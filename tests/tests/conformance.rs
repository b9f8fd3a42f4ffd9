//! Every backend agrees with the reference on every operation.

use backend_ndarray::NdArray;
use keras_core::backend::Backend;
#[cfg(any(feature = "candle", feature = "torch"))]
use keras_core::backend::Support;
use keras_core::backend::contrary::Contrary;
use keras_core::backend::reference::Reference;

fn agrees<B: Backend>(backend: &B) {
    let report = conformance::run(backend);
    println!("{report}");
    assert!(report.is_ok(), "{report}");
}

/// Everything that the backend has kernels for conforms; what it lacks is what it says it lacks, and nothing beyond those
/// bounds, each of which has its reason.
#[cfg(any(feature = "candle", feature = "torch"))]
fn agrees_but_for<B: Backend>(backend: &B, bounds: &[(Support, &str, &[&str])]) {
    let report = conformance::run(backend);
    println!("{report}");
    assert!(report.is_ok(), "{report}");
    let lacks = backend.lacks();
    for (instead, words) in [(Support::Decomposed, " is decomposed"), (Support::Host, " runs on the host")] {
        let found: Vec<&str> =
            report.skipped.keys().filter_map(|reason| reason.strip_suffix(words)).collect();
        let mut listed: Vec<&str> =
            lacks.iter().filter(|lack| lack.instead == instead).map(|lack| lack.operation).collect();
        listed.sort_unstable();
        assert_eq!(found, listed, "what {}{words}", backend.name());
    }
    for lack in &lacks {
        let bound = bounds.iter().any(|(instead, reason, operations)| {
            lack.instead == *instead && lack.reason == *reason && operations.contains(&lack.operation)
        });
        assert!(bound, "{}: {lack:?} is not among what it may lack", backend.name());
    }
}

/// Results and gradients of whole programs, with empty axes, too.
fn differentiates<B: Backend>(backend: B) {
    let report = conformance::run_differentiated(backend).unwrap();
    println!("{report}");
    assert!(report.is_ok() && report.passed > 1000, "{report}");
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
    agrees(&NdArray::new().unwrap());
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

    let composites = ["softmax", "log_softmax", "recurrent", "recurrent_grad"];
    let functions = ["expm1", "log1p", "rsqrt", "tan", "sinh", "cosh", "sigmoid", "softplus"];
    let triangle = "candle's is a product with a triangle: quadratic, and NaN reaches every element";
    let integers =
        ["neg", "abs", "add", "sub", "mul", "div", "sum", "prod", "cumsum", "cumprod", "scatter_add"];
    let bounds: [(Support, &str, &[&str]); 13] = [
        (Decomposed, CONV, &["conv", "conv_grad_input", "conv_grad_kernel"]),
        (Decomposed, POOL, &["max_pool", "max_pool_grad", "avg_pool", "avg_pool_grad"]),
        (Decomposed, LACKS, &composites),
        (Decomposed, LACKS, &functions),
        (Decomposed, LACKS, &["prod", "cumprod"]),
        (Decomposed, triangle, &["cumsum"]),
        (Decomposed, NAN, &["sign"]),
        (Decomposed, "candle's halves go away from zero", &["round"]),
        (Decomposed, INTEGERS, &["square"]),
        (Host, LACKS, &["asin", "acos", "atan", "atan2", "mod"]),
        (Host, "candle's is a rounded logarithm and an exponential", &["pow"]),
        (Host, "candle's sort has no place for NaN", &["top_k"]),
        (Host, INTEGERS, &integers),
    ];
    agrees_but_for(&backend_candle::Candle::new("cpu").unwrap(), &bounds);
}

/// What libtorch may lack; the list may only become shorter.
#[cfg(feature = "torch")]
#[test]
fn torch() {
    const PADS: &str = "libtorch pads both sides alike, by at most half the window, and pools no integers";
    const GATES: &str = "libtorch has neither Keras's masks over time nor its dropout of states";

    let bounds: [(Support, &str, &[&str]); 2] = [
        (Support::Decomposed, PADS, &["max_pool", "max_pool_grad", "avg_pool", "avg_pool_grad"]),
        (Support::Decomposed, GATES, &["recurrent", "recurrent_grad"]),
    ];
    agrees_but_for(&backend_torch::Torch::new("cpu").unwrap(), &bounds);
}
