//! Files that we write.

use super::{on_ndarray, path, wave};
use crate::fixtures::Fixture;
use keras_core::layers::{Activation, BatchNormalization, Dense, Dropout, Input};
use keras_core::models::{Model, Sequential};
use keras_core::optimizers::OptimizerSpec;
use keras_core::saving::{LoadWeights, Save, load_model};
use keras_core::training::{Compile, Fit};
use std::path::PathBuf;
use std::sync::OnceLock;

pub(super) fn saved_weights(model: &Model, name: &str) -> PathBuf {
    let path = file(name);
    model.save_weights(&path).unwrap();
    path
}

/// The path of a file that a test writes.
pub(super) fn file(name: &str) -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::tempdir().unwrap()).path().join(name)
}

pub(super) fn small() -> Sequential {
    let mut model = Sequential::new();
    model.add(Dense::new(8).input_shape([5]).activation("relu")).unwrap();
    model.add(BatchNormalization::new()).unwrap();
    model.add(Dropout::new(0.25)).unwrap();
    model.add(Dense::new(1)).unwrap();
    on_ndarray(model.model().clone());
    model
}

#[test]
fn every_file_comes_back_as_it_was() {
    for case in Fixture::load("files").cases() {
        let name = case["file"].as_str().unwrap();
        let model = load_model(path(name)).unwrap();
        let target = file(&name.replace('/', "_"));
        model.save(&target).unwrap();
        let again = load_model(&target).unwrap();
        assert_eq!(again.get_config().unwrap(), model.get_config().unwrap(), "{name}");
        assert_eq!(again.get_weights().unwrap(), model.get_weights().unwrap(), "{name}");
        assert_eq!(again.semantics(), model.semantics(), "{name}");
        assert_eq!(again.metrics_names().unwrap(), model.metrics_names().unwrap(), "{name}");
        let (ours, theirs) = (again.optimizer().unwrap(), model.optimizer().unwrap());
        assert_eq!(ours.config().unwrap(), theirs.config().unwrap(), "{name}");
        assert_eq!(ours.get_weights().unwrap(), theirs.get_weights().unwrap(), "{name}");
    }
}

#[test]
fn training_goes_on_where_it_stopped_with_every_optimizer() {
    let (x, y) = (wave(&[16, 5]), wave(&[16, 1]));
    let steps = || Fit::new().epochs(3).batch_size(8).shuffle(false).verbose(0);
    for name in ["sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamax", "nadam"] {
        let model = small();
        model.compile(Compile::new(OptimizerSpec::from(name), "mse").metrics(["mae"])).unwrap();
        model.fit(&x, &y, steps()).unwrap();
        let target = file(&format!("{name}.h5"));
        model.save(&target).unwrap();
        let again = on_ndarray(load_model(&target).unwrap());
        assert_eq!(
            again.optimizer().unwrap().get_weights().unwrap(),
            model.optimizer().unwrap().get_weights().unwrap()
        );
        model.fit(&x, &y, steps()).unwrap();
        again.fit(&x, &y, steps()).unwrap();
        assert_eq!(again.get_weights().unwrap(), model.get_weights().unwrap(), "{name}");
        assert_eq!(
            again.optimizer().unwrap().get_weights().unwrap(),
            model.optimizer().unwrap().get_weights().unwrap()
        );
    }
}

#[test]
fn options_of_saving_and_compiling() {
    let model = small();
    model.compile(Compile::new("adam", "mse")).unwrap();
    model.save_with(file("bare.h5"), Save::new().include_optimizer(false)).unwrap();
    assert!(load_model(file("bare.h5")).unwrap().optimizer().is_err());
    // Several outputs, losses by name, weights of losses.
    let x = Input::new([4]).name("x").tensor().unwrap();
    let a = Dense::new(2).name("a").call(&x).unwrap();
    let b = Dense::new(1).name("b").activation("sigmoid").call(&x).unwrap();
    let model = Model::new(&x, [&a, &b]).unwrap();
    let losses = [("a", "mse"), ("b", "binary_crossentropy")];
    model.compile(Compile::new("sgd", losses).loss_weights_named([("a", 0.25)]).metrics(["mae"])).unwrap();
    model.save(file("two.h5")).unwrap();
    let again = load_model(file("two.h5")).unwrap();
    assert_eq!(again.metrics_names().unwrap(), model.metrics_names().unwrap());
    assert_eq!(again.metrics_names().unwrap(), ["loss", "a_loss", "b_loss", "a_mae", "b_mae"]);
}

#[test]
fn what_a_nested_model_froze_later_keeps_its_place() {
    let make = || {
        let mut inner = Sequential::named("inner");
        inner.add(Dense::new(2).input_shape([3]).name("a")).unwrap();
        inner.add(BatchNormalization::new().name("bn")).unwrap();
        inner.add(Dense::new(2).name("b")).unwrap();
        let x = Input::new([3]).tensor().unwrap();
        let y = inner.as_layer().unwrap().call(&x).unwrap();
        let y = Activation::new("tanh").call(&y).unwrap();
        (inner, Model::new(&x, &y).unwrap())
    };
    let (inner, model) = make();
    inner.get_layer("a").unwrap().set_trainable(false);
    let (a, b) = (inner.get_layer("a").unwrap(), inner.get_layer("b").unwrap());
    let target = saved_weights(&model, "frozen.h5");
    let (other_inner, other) = make();
    other.load_weights(&target, LoadWeights::new()).unwrap();
    assert_eq!(other_inner.get_layer("a").unwrap().get_weights().unwrap(), a.get_weights().unwrap());
    assert_eq!(other_inner.get_layer("b").unwrap().get_weights().unwrap(), b.get_weights().unwrap());
}

#[test]
fn archives_hold_the_same_model() {
    let (x, y) = (wave(&[16, 5]), wave(&[16, 1]));
    for name in ["sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamax", "nadam"] {
        let model = small();
        model.compile(Compile::new(OptimizerSpec::from(name), "mse").metrics(["mae"])).unwrap();
        model.fit(&x, &y, Fit::new().shuffle(false).verbose(0)).unwrap();
        let target = file(&format!("{name}.keras"));
        model.save(&target).unwrap();
        let again = load_model(&target).unwrap();
        assert_eq!(again.get_weights().unwrap(), model.get_weights().unwrap(), "{name}");
        assert_eq!(again.semantics(), model.semantics(), "{name}");
        let state = |model: &Model| model.optimizer().unwrap().get_weights().unwrap();
        for (ours, saved) in state(&again).iter().zip(state(&model)) {
            // Nadam's product of momenta is computed again.
            assert!(super::largest_difference(ours, &saved) < 1e-6, "{name}");
        }
    }
    let model = small();
    model.save_weights(file("tree.weights.h5")).unwrap();
    let other = small();
    other.load_weights(file("tree.weights.h5"), LoadWeights::new()).unwrap();
    assert_eq!(other.get_weights().unwrap(), model.get_weights().unwrap());
}
