//! Every backend agrees with the reference on every operation.

use backend_ndarray::NdArray;
use keras_core::backend::Backend;
use keras_core::backend::contrary::Contrary;
use keras_core::backend::reference::Reference;

/// Operations without a kernel of the backend's own, with the reason.
#[cfg(any(feature = "candle", feature = "torch"))]
type Lacking = [(&'static str, &'static str)];

/// Everything the backend has kernels for conforms; everything else is on its list, which has nothing more.
#[cfg(any(feature = "candle", feature = "torch"))]
fn agrees_but_for<B: Backend>(backend: &B, decomposed: &Lacking, host: &Lacking) {
    let report = conformance::run(backend);
    println!("{report}");
    assert!(report.is_ok(), "{report}");
    for (list, words) in [(decomposed, " is decomposed"), (host, " runs on the host")] {
        let found: Vec<&str> =
            report.skipped.keys().filter_map(|reason| reason.strip_suffix(words)).collect();
        let mut listed: Vec<&str> = list.iter().map(|(name, _)| *name).collect();
        listed.sort_unstable();
        assert_eq!(found, listed, "what {}{words}", backend.name());
    }
}

fn agrees<B: Backend>(backend: &B) {
    let report = conformance::run(backend);
    println!("{report}");
    assert!(report.is_ok(), "{report}");
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

#[cfg(feature = "candle")]
#[test]
fn candle() {
    const CONV: &str =
        "candle has one stride, one padding and no volumes, and is slower than slices and a product";
    const POOL: &str = "candle pools without padding, without positions and without gradients";
    const LACKS: &str = "candle lacks it";
    const NAN: &str = "candle has another value for NaN";
    const INTEGERS: &str = "candle's integers panic on overflow and on division by zero in debug builds";

    let decomposed = [
        ("conv", CONV),
        ("conv_grad_input", CONV),
        ("conv_grad_kernel", CONV),
        ("max_pool", POOL),
        ("max_pool_grad", POOL),
        ("avg_pool", POOL),
        ("avg_pool_grad", POOL),
        ("softmax", LACKS),
        ("log_softmax", LACKS),
        ("recurrent", LACKS),
        ("recurrent_grad", LACKS),
        ("prod", LACKS),
        ("cumprod", LACKS),
        ("cumsum", "candle's is a product with a triangle: quadratic, and NaN reaches every element"),
        ("sign", NAN),
        ("round", "candle's halves go away from zero"),
        ("expm1", LACKS),
        ("log1p", LACKS),
        ("rsqrt", LACKS),
        ("tan", LACKS),
        ("sinh", LACKS),
        ("cosh", LACKS),
        ("sigmoid", LACKS),
        ("softplus", LACKS),
        ("square", INTEGERS),
    ];
    let host = [
        ("asin", LACKS),
        ("acos", LACKS),
        ("atan", LACKS),
        ("atan2", LACKS),
        ("mod", LACKS),
        ("pow", "candle's is a rounded logarithm and an exponential"),
        ("top_k", "candle's sort has no place for NaN"),
        ("neg", INTEGERS),
        ("abs", INTEGERS),
        ("add", INTEGERS),
        ("sub", INTEGERS),
        ("mul", INTEGERS),
        ("div", INTEGERS),
        ("sum", INTEGERS),
        ("prod", INTEGERS),
        ("cumsum", INTEGERS),
        ("cumprod", INTEGERS),
        ("scatter_add", INTEGERS),
    ];
    agrees_but_for(&backend_candle::Candle::new("cpu").unwrap(), &decomposed, &host);
}

#[cfg(feature = "torch")]
#[test]
fn torch() {
    const PADS: &str = "libtorch pads both sides alike, by at most half the window, and pools no integers";
    const GATES: &str = "libtorch's cells know neither Keras's masks and dropout nor its activations";

    let decomposed = [
        ("max_pool", PADS),
        ("max_pool_grad", PADS),
        ("avg_pool", PADS),
        ("avg_pool_grad", PADS),
        ("recurrent", GATES),
        ("recurrent_grad", GATES),
    ];
    agrees_but_for(&backend_torch::Torch::new("cpu").unwrap(), &decomposed, &[]);
}
