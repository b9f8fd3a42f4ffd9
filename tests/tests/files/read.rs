//! Files that real Keras wrote.

use super::{configs, entries, largest_difference, on_ndarray, path, text};
use crate::fixtures::{Fixture, array};
use keras_core::layers::{Dense, Input};
use keras_core::models::{Model, Sequential};
use keras_core::saving::{CustomObjects, Load, LoadWeights, clone_model, load_model, load_model_with};
use keras_core::semantics::Semantics;
use keras_core::training::{Output, Predict};
use keras_core::{Array, DType, k, losses};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What an entry of `files.zip` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A whole model.
    Whole,
    /// The weights alone of the whole model that the same script saved.
    Weights,
    /// The architecture of the whole model beside it.
    Text,
    /// Configs of layers.
    Layers,
    /// Weights of 401 layers, whose names are too long for one attribute.
    Long,
    /// What Keras 2.0.8 left of such a file, which it could not write.
    Nothing,
}

pub(super) fn kind(name: &str) -> Kind {
    let (stem, ending) = name.rsplit_once('.').unwrap();
    let (folder, stem) = stem.split_once('/').unwrap();
    match (stem.split('_').next().unwrap(), ending) {
        ("seq" | "fun" | "old" | "merge" | "c1" | "c2" | "c3" | "relu" | "lossobj", "h5") => Kind::Whole,
        ("seqw" | "oldw", "h5") => Kind::Weights,
        ("seq" | "fun", "json" | "yaml") => Kind::Text,
        ("layers" | "tflayers", "json") => Kind::Layers,
        ("long", "h5") if folder == "k208" => Kind::Nothing,
        ("long", "h5") => Kind::Long,
        _ => panic!("{name}: nobody says what it holds"),
    }
}

/// The model of a file, whose loss may be one of the script's own.
pub(super) fn whole(path: &Path) -> Model {
    let mine = CustomObjects::new()
        .loss("myloss", |_| Ok(losses::custom("myloss", |y, p| k::mean(&k::square(&(p - y)), &[], false))));
    let model = load_model_with(path, &Load::new().custom_objects(&mine));
    model.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A model predicts what Keras predicted from a file.
fn assert_predicts(model: &Model, fixture: &Fixture, file: &str) {
    let case = fixture.cases().iter().find(|case| case["file"] == file);
    let case = case.unwrap_or_else(|| panic!("{file}: no predictions of Keras"));
    let arrays = |key: &str| -> Vec<Array> {
        case[key].as_array().unwrap().iter().map(|json| array(json, DType::F32)).collect()
    };
    let outputs = model.predict_all(arrays("inputs"), &Predict::new()).unwrap();
    let recorded = arrays("outputs");
    assert_eq!(outputs.len(), recorded.len(), "{file}");
    for (ours, keras) in outputs.iter().zip(&recorded) {
        let difference = largest_difference(ours, keras);
        assert!(difference < 1e-6, "{file}: {difference:e}");
    }
}

fn whole_model(name: &str, fixture: &Fixture) {
    let said = Arc::new(Mutex::new(Vec::new()));
    let model = on_ndarray(Output::Writer(said.clone()).during(|| whole(&path(name))));
    assert_predicts(&model, fixture, name);
    let said = String::from_utf8(said.lock().unwrap().clone()).unwrap();
    // Keras 1 has no state that later versions take.
    assert!(!said.contains("starts fresh") || name.starts_with("k122/"), "{name}: {said}");
    let is_bare = name.ends_with("/c2.h5") || name.ends_with("/relu.h5");
    assert_eq!(model.optimizer().is_err(), is_bare, "{name}");
    if let Ok(optimizer) = model.optimizer() {
        assert!(optimizer.iterations().unwrap() <= 1, "{name}");
        // What trained before it was saved has slots that are not zero.
        let trained = name.contains("/seq_") || name.contains("/fun_");
        let slots = optimizer.get_weights().unwrap().into_iter().skip(1);
        let moved = slots.flat_map(|slot| slot.to_vec::<f64>()).any(|value| value != 0.0);
        assert_eq!(moved, trained, "{name}");
    }
}

fn weights_alone(name: &str, fixture: &Fixture) {
    let error = load_model(path(name)).unwrap_err().to_string();
    assert!(error.contains("weights alone") && error.contains("load_weights"), "{name}: {error}");
    // seq of seqw, old of oldw.
    let of = name.replacen('w', "", 1);
    let model = on_ndarray(clone_model(&whole(&path(&of))).unwrap());
    let report = model.load_weights(path(name), LoadWeights::new()).unwrap();
    assert!(report.skipped.is_empty() && report.missing.is_empty(), "{name}");
    assert_predicts(&model, fixture, &of);
}

fn architecture(name: &str, fixture: &Fixture) {
    let (stem, ending) = name.rsplit_once('.').unwrap();
    if let Some(model) = text::beside_hdf5(stem, ending) {
        let (model, of) = (on_ndarray(model), format!("{stem}.h5"));
        model.load_weights(path(&of), LoadWeights::new()).unwrap();
        assert_predicts(&model, fixture, &of);
    }
}

/// Four of the layers, found by their names.
fn long_names(name: &str, fixture: &Fixture) {
    let mut model = Sequential::new();
    model.add(Dense::new(1).input_shape([2]).name("d".repeat(200))).unwrap();
    for i in [0, 199, 399] {
        model.add(Dense::new(1).name(format!("x{i}_{}", "y".repeat(196)))).unwrap();
    }
    let report = model.load_weights(path(name), LoadWeights::new().by_name(true)).unwrap();
    assert_eq!((report.loaded.len(), report.skipped.len(), report.missing.len()), (4, 397, 0), "{name}");
    assert_predicts(&on_ndarray(model.model().clone()), fixture, name);
}

fn nothing(name: &str) {
    let error = load_model(path(name)).unwrap_err().to_string();
    assert!(error.contains("no model_config") && error.contains(name), "{error}");
    let model = super::written::small();
    let error = model.load_weights(path(name), LoadWeights::new()).unwrap_err().to_string();
    assert!(error.contains("layer_names") && error.contains(name), "{error}");
}

#[test]
fn every_file_is_read_and_predicts_what_keras_predicted() {
    let fixture = Fixture::load("files");
    let specs = configs::input_specs();
    let names = entries("files.zip");
    for name in &names {
        match kind(name) {
            Kind::Whole => whole_model(name, &fixture),
            Kind::Weights => weights_alone(name, &fixture),
            Kind::Text => architecture(name, &fixture),
            Kind::Layers => configs::are_read(name, &specs),
            Kind::Long => long_names(name, &fixture),
            Kind::Nothing => nothing(name),
        }
    }
    for case in fixture.cases() {
        assert!(names.iter().any(|name| case["file"] == name.as_str()), "{}: no such file", case["file"]);
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
    let model = whole(&path("k231/c3.h5"));
    assert_eq!(model.metrics_names().unwrap(), ["loss", "myloss", "mae"]);
    assert!(load_model_with(path("k231/c3.h5"), &Load::new().compile(false)).is_ok());
    // Objects of 2.3, which Keras itself cannot load again.
    let model = load_model(path("k231/lossobj.h5")).unwrap();
    assert!(model.optimizer().is_ok());
}

#[test]
fn what_nobody_knows_of_a_training_config_is_named() {
    let bytes = std::fs::read(path("k231/seq_2.3.1.h5")).unwrap();
    for (known, unknown, register) in [
        ("\"Adam\"", "\"Adom\"", "optimizers::register"),
        ("\"categorical_crossentropy\"", "\"categorical_crossentrapy\"", "losses::register"),
        ("\"accuracy\"", "\"accurazy\"", "metrics::register"),
    ] {
        let at = bytes.windows(known.len()).position(|window| window == known.as_bytes()).unwrap();
        let mut changed = bytes.clone();
        changed[at..at + known.len()].copy_from_slice(unknown.as_bytes());
        let target = super::file("unknown.h5");
        std::fs::write(&target, changed).unwrap();
        let error = load_model(&target).unwrap_err().to_string();
        for part in ["unknown.h5", unknown, register, "CustomObjects"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let bare = load_model_with(&target, &Load::new().compile(false)).unwrap();
        assert!(bare.optimizer().is_err(), "{unknown}");
    }
}

#[test]
fn weights_alone_are_loaded_in_order_or_by_name() {
    let model = load_model(path("k231/seq_2.3.1.h5")).unwrap();
    let fresh = clone_model(&model).unwrap();
    assert_ne!(fresh.get_weights().unwrap(), model.get_weights().unwrap());
    let report = fresh.load_weights(path("k231/seqw_2.3.1.h5"), LoadWeights::new()).unwrap();
    assert_eq!(report.loaded, ["dense_1", "batch_normalization_1", "dense_2"]);
    assert!(report.skipped.is_empty() && report.missing.is_empty());
    assert_eq!(fresh.get_weights().unwrap(), model.get_weights().unwrap());
    let error = load_model(path("k231/seqw_2.3.1.h5")).unwrap_err().to_string();
    assert!(error.contains("weights alone") && error.contains("load_weights"), "{error}");

    // In order, whatever the names are.
    let mut renamed = Sequential::new();
    for (i, layer) in model.layers().iter().enumerate() {
        let mut config = layer.config();
        config.config.insert("name".into(), format!("other_{i}").into());
        renamed.add(keras_core::layers::deserialize(&config).unwrap()).unwrap();
    }
    let report = renamed.load_weights(path("k231/seqw_2.3.1.h5"), LoadWeights::new()).unwrap();
    assert_eq!(renamed.get_weights().unwrap(), model.get_weights().unwrap());
    assert!(report.loaded.len() == 3 && report.loaded.iter().all(|name| name.starts_with("other_")));

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
    let copy = clone_model(&model).unwrap();
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
