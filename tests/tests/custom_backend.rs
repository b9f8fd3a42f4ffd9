//! A backend from outside: that of the example.

use crate::engine::perceptron;
use crate::everywhere::{convolutional, digits};
use backend_ndarray::NdArray;
use conformance::Numbers;
use keras::backend::{Engine, Program, registry};
use keras::graph::optimize::Passes;
use keras::prelude::*;

#[path = "../../examples/custom_backend.rs"]
pub(crate) mod example;

#[test]
fn the_example_conforms_in_under_a_hundred_lines() {
    let (backend, log) = example::watch(NdArray::new().unwrap());
    let report = conformance::run(&backend);
    assert!(report.is_ok(), "{report}");
    let report = conformance::run_differentiated(example::watch(NdArray::new().unwrap()).0).unwrap();
    assert!(report.is_ok(), "{report}");
    let log = log.lock().unwrap();
    for method in ["unary", "conv", "slice_update", "kernel", "composite", "random", "epilogue", "prepack"] {
        assert!(log[method] > 0, "{method}");
    }
    assert!(include_str!("../../examples/custom_backend.rs").lines().count() < 100);
}

/// A graph compiled for an engine of a type that is known, and for one that was found by its name: the same bits.
#[test]
fn static_and_dynamic_selection_give_the_same_bits() {
    const SIZES: [usize; 4] = [6, 8, 8, 3];
    registry::register("watched", |_| Ok(example::watch(NdArray::new()?).0));
    let mut numbers = Numbers::new(3);
    let feeds = [numbers.array(DType::F32, &[4, 6]), numbers.array(DType::F32, &[4, 3])];
    let steps = |run: &dyn Fn() -> Vec<Array>| (0..5).map(|_| run()).collect::<Vec<_>>();

    let (graph, weights) = perceptron(4, SIZES, true);
    let (backend, log) = example::watch(NdArray::new().unwrap());
    let program: Program<example::Logging<NdArray>> = Engine::new(backend).unwrap().compile(&graph).unwrap();
    let by_type = steps(&|| program.run(&feeds).unwrap());
    assert!(log.lock().unwrap()["matmul"] > 0);

    let (graph, others) = perceptron(4, SIZES, true);
    let runtime = registry::open("watched", "").unwrap();
    assert_eq!(runtime.name(), "logging");
    let program = runtime.compile(&graph, Passes::default()).unwrap();
    let by_name = steps(&|| program.run(&feeds).unwrap());

    assert_ne!(by_type[0], by_type[4]);
    assert_eq!(by_type, by_name);
    for (a, b) in weights.iter().zip(&others) {
        assert_eq!(a.value().unwrap(), b.value().unwrap(), "{}", a.name());
    }
}

/// Given as an engine and chosen by its name: the same bits as the backend that is watched.
#[test]
fn it_trains_digits_the_same_however_it_is_chosen() {
    let (x, y) = digits();
    let (x, y) = (x.rows(0, 320).unwrap(), y.rows(0, 320).unwrap());
    let trained = |choose: &dyn Fn(&Model)| -> (Vec<f64>, Vec<Array>) {
        let model = convolutional("adam");
        choose(&model);
        let history = model.fit(&x, &y, Fit::new().epochs(2).shuffle(false).verbose(0)).unwrap();
        model.predict(&x).unwrap();
        (history["loss"].to_vec(), model.get_weights().unwrap())
    };
    let (backend, log) = example::watch(NdArray::new().unwrap());
    let watched = Engine::new(backend).unwrap();
    let given = trained(&|model| {
        model.on(&watched);
    });
    assert!(given.0[1] < given.0[0], "{:?}", given.0);
    for method in ["conv_grad_kernel", "prepack"] {
        assert!(log.lock().unwrap()[method] > 0, "{method}");
    }
    registry::register("watched", |_| Ok(example::watch(NdArray::new()?).0));
    let by_name = trained(&|model| {
        model.to_backend("watched").unwrap();
        assert_eq!(model.runtime().unwrap().name(), "logging");
    });
    let plain = Engine::new(NdArray::new().unwrap()).unwrap();
    let plain = trained(&|model| {
        model.on(&plain);
    });
    assert_eq!(given, by_name);
    assert_eq!(given, plain);
}

/// What it runs otherwise, and where it could run, is the other's to say.
#[cfg(feature = "candle")]
#[test]
fn it_passes_on_what_the_other_lacks() {
    use keras::backend::Backend;
    let candle = backend_candle::Candle::new("cpu").unwrap();
    let (watched, _) = example::watch(candle.clone());
    assert!(!candle.lacks().is_empty());
    assert_eq!((watched.lacks(), watched.devices()), (candle.lacks(), candle.devices()));
}
