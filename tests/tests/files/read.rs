//! Files that real Keras wrote.

use super::{largest_difference, on_ndarray, path};
use crate::fixtures::{Fixture, array};
use keras_core::layers::{Dense, Input};
use keras_core::models::{Model, Sequential};
use keras_core::saving::{CustomObjects, Load, LoadWeights, load_model, load_model_with};
use keras_core::semantics::Semantics;
use keras_core::training::Predict;
use keras_core::{Array, DType, k, losses};

#[test]
fn every_file_predicts_what_its_writer_predicted() {
    let fixture = Fixture::load("files");
    for case in fixture.cases() {
        let name = case["file"].as_str().unwrap();
        let model = on_ndarray(load_model(path(name)).unwrap_or_else(|error| panic!("{name}: {error}")));
        let inputs: Vec<Array> =
            case["inputs"].as_array().unwrap().iter().map(|json| array(json, DType::F32)).collect();
        let outputs = model.predict_all(inputs, &Predict::new()).unwrap();
        for (ours, keras) in outputs.iter().zip(case["outputs"].as_array().unwrap()) {
            let difference = largest_difference(ours, &array(keras, DType::F32));
            assert!(difference < 1e-6, "{name}: {difference}");
        }
        assert!(model.optimizer().unwrap().iterations().unwrap() <= 1, "{name}");
    }
}

#[test]
fn a_model_computes_by_the_rules_of_its_writer() {
    for (name, semantics) in [
        ("k208/seq_2.0.8.h5", Semantics::keras_2_2()),
        ("k224/seq_2.2.4.h5", Semantics::keras_2_2()),
        ("k231/seq_2.3.1.h5", Semantics::keras_2_3()),
        ("k231tf2/seq_2.3.1.h5", Semantics::keras_2_3()),
    ] {
        assert_eq!(load_model(path(name)).unwrap().semantics(), semantics, "{name}");
    }
}

#[test]
fn a_compiled_file_is_a_compiled_model_with_the_state_of_its_optimizer() {
    let model = on_ndarray(load_model(path("k231/seq_2.3.1.h5")).unwrap());
    assert_eq!(model.metrics_names().unwrap(), ["loss", "accuracy"]);
    let optimizer = model.optimizer().unwrap();
    assert_eq!((optimizer.definition().class_name(), optimizer.iterations().unwrap()), ("Adam", 1));
    assert!(optimizer.get_weights().unwrap()[1].to_vec::<f32>().iter().any(|&m| m != 0.0));
    assert_eq!(load_model(path("k224/seq_2.2.4.h5")).unwrap().metrics_names().unwrap(), ["loss", "acc"]);
    let bare = load_model_with(path("k231/seq_2.3.1.h5"), &Load::new().compile(false)).unwrap();
    assert!(bare.optimizer().is_err());
    assert!(load_model(path("k231/c2.h5")).unwrap().optimizer().is_err());
    assert_eq!(load_model(path("k231/c1.h5")).unwrap().optimizer().unwrap().iterations().unwrap(), 0);
}

#[test]
fn a_loss_of_ones_own_is_found_by_its_name() {
    let error = load_model(path("k231/c3.h5")).unwrap_err().to_string();
    assert!(error.contains("myloss") && error.contains("register"), "{error}");
    let mine = CustomObjects::new()
        .loss("myloss", |_| Ok(losses::custom("myloss", |y, p| k::mean(&k::square(&(p - y)), &[], false))));
    let model = load_model_with(path("k231/c3.h5"), &Load::new().custom_objects(&mine)).unwrap();
    assert_eq!(model.metrics_names().unwrap(), ["loss", "myloss", "mae"]);
    assert!(load_model_with(path("k231/c3.h5"), &Load::new().compile(false)).is_ok());
    // Objects of 2.3, which Keras itself cannot load again.
    let model = load_model(path("k231/lossobj.h5")).unwrap();
    assert!(model.optimizer().is_ok());
}

#[test]
fn weights_alone_are_loaded_in_order_or_by_name() {
    let model = load_model(path("k231/seq_2.3.1.h5")).unwrap();
    let fresh = keras_core::saving::clone_model(&model).unwrap();
    assert_ne!(fresh.get_weights().unwrap(), model.get_weights().unwrap());
    let report = fresh.load_weights(path("k231/seqw_2.3.1.h5"), LoadWeights::new()).unwrap();
    assert_eq!(report.loaded, ["dense_1", "batch_normalization_1", "dense_2"]);
    assert!(report.skipped.is_empty() && report.missing.is_empty());
    assert_eq!(fresh.get_weights().unwrap(), model.get_weights().unwrap());
    let error = load_model(path("k231/seqw_2.3.1.h5")).unwrap_err().to_string();
    assert!(error.contains("weights alone") && error.contains("load_weights"), "{error}");

    // Fine-tuning: only the layers whose names agree; of a whole model's file, too.
    for file in ["k231/seqw_2.3.1.h5", "k231/seq_2.3.1.h5"] {
        let mut other = Sequential::new();
        other.add(Dense::new(4).input_shape([3]).name("dense_1")).unwrap();
        other.add(Dense::new(10).name("new_dense")).unwrap();
        let report = other.load_weights(path(file), LoadWeights::new().by_name(true)).unwrap();
        assert_eq!(report.loaded, ["dense_1"]);
        assert_eq!(report.skipped, ["batch_normalization_1", "dense_2"]);
        assert_eq!(report.missing, ["new_dense"]);
        let layer = model.get_layer("dense_1").unwrap();
        assert_eq!(other.get_layer("dense_1").unwrap().get_weights().unwrap(), layer.get_weights().unwrap());
    }
}

#[test]
fn weights_that_do_not_fit_change_nothing() {
    let make = |units: usize| {
        let mut model = Sequential::new();
        model.add(Dense::new(4).input_shape([3]).name("dense_1")).unwrap();
        model.add(Dense::new(units).name("dense_2")).unwrap();
        model
    };
    let model = make(3);
    let before = model.get_weights().unwrap();
    let file = path("k231/seqw_2.3.1.h5");
    let error = model.load_weights(&file, LoadWeights::new()).unwrap_err().to_string();
    assert!(error.contains("batch_normalization_1"), "{error}");
    let by_name = LoadWeights::new().by_name(true);
    let error = model.load_weights(&file, by_name).unwrap_err().to_string();
    assert!(error.contains("dense_2") && error.contains("[4, 3]") && error.contains("[4, 2]"), "{error}");
    assert_eq!(model.get_weights().unwrap(), before);
    let report = model.load_weights(&file, by_name.skip_mismatch(true)).unwrap();
    assert_eq!((report.loaded, report.missing), (vec!["dense_1".to_owned()], vec!["dense_2".to_owned()]));
    assert_eq!(model.get_weights().unwrap()[2..], before[2..]);
    assert!(model.load_weights(&file, LoadWeights::new().skip_mismatch(true)).is_err());
}

#[test]
fn chunked_attributes_are_read() {
    let mut model = Sequential::new();
    model.add(Dense::new(1).input_shape([2]).name("d".repeat(200))).unwrap();
    for i in 0..400 {
        model.add(Dense::new(1).name(format!("x{i}_{}", "y".repeat(196)))).unwrap();
    }
    let report = model.load_weights(path("k231/long.h5"), LoadWeights::new().by_name(true)).unwrap();
    assert_eq!((report.loaded.len(), report.skipped.len(), report.missing.len()), (401, 0, 0));
    let again = super::written::saved_weights(&model, "chunked.h5");
    let copy = keras_core::saving::clone_model(&model).unwrap();
    copy.load_weights(again, LoadWeights::new()).unwrap();
    assert_eq!(copy.get_weights().unwrap(), model.get_weights().unwrap());
}

#[test]
fn a_functional_model_of_another_shape_says_what_differs() {
    let x = Input::new([3]).tensor().unwrap();
    let model = Model::new(&x, Dense::new(2).call(&x).unwrap()).unwrap();
    let error = model.load_weights(path("k231/seqw_2.3.1.h5"), LoadWeights::new()).unwrap_err().to_string();
    assert!(error.contains("received 3 (dense_1, batch_normalization_1, dense_2)"), "{error}");
}
