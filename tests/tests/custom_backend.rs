//! A backend that nobody registered: that of the example.

use crate::everywhere::{convolutional, digits};
use backend_ndarray::NdArray;
use keras::backend::{Engine, IntoRuntime};
use keras::prelude::*;

#[path = "../../examples/custom_backend.rs"]
mod example;

#[test]
fn the_example_conforms_in_under_a_hundred_lines() {
    let (backend, log) = example::watch(NdArray::new().unwrap());
    let report = conformance::run(&backend);
    assert!(report.is_ok(), "{report}");
    let report = conformance::run_differentiated(example::watch(NdArray::new().unwrap()).0).unwrap();
    assert!(report.is_ok(), "{report}");
    let log = log.lock().unwrap();
    for method in ["unary", "conv", "slice_update", "kernel", "composite", "random", "epilogue"] {
        assert!(log[method] > 0, "{method}");
    }
    assert!(include_str!("../../examples/custom_backend.rs").lines().count() < 100);
}

/// An engine chosen by its type and the same behind a `dyn Runtime`: the same bits as the backend that is watched.
#[test]
fn it_trains_digits_unregistered_and_the_same_however_it_is_chosen() {
    let (x, y) = digits();
    let (x, y) = (x.rows(0, 320).unwrap(), y.rows(0, 320).unwrap());
    let trained = |choose: &dyn Fn(&Model)| -> (Vec<f64>, Vec<Array>) {
        let model = convolutional("adam");
        choose(&model);
        let history = model.fit(&x, &y, Fit::new().epochs(2).shuffle(false).verbose(0)).unwrap();
        (history["loss"].to_vec(), model.get_weights().unwrap())
    };
    let (backend, log) = example::watch(NdArray::new().unwrap());
    let watched = Engine::new(backend).unwrap();
    let by_type = trained(&|model| {
        model.on(&watched);
    });
    assert!(by_type.0[1] < by_type.0[0], "{:?}", by_type.0);
    assert!(log.lock().unwrap()["conv_grad_kernel"] > 0);
    let dynamic = (&watched).into_runtime();
    let by_name = trained(&|model| {
        model.on(&dynamic);
    });
    let plain = Engine::new(NdArray::new().unwrap()).unwrap();
    let plain = trained(&|model| {
        model.on(&plain);
    });
    assert_eq!(by_type, by_name);
    assert_eq!(by_type, plain);
}
