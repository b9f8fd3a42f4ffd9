//! Every backend agrees with the reference on every operation.

use backend_ndarray::NdArray;
use keras_core::backend::Backend;
use keras_core::backend::contrary::Contrary;
use keras_core::backend::reference::Reference;

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
