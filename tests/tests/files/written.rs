//! Files that we write.

use super::read::{Kind, kind, whole};
use super::{entries, file, on_ndarray, path, wave};
use keras_core::layers::{
    Activation, BatchNormalization, Dense, Dropout, Highway, Input, LayerNormalization,
};
use keras_core::models::{Model, Sequential};
use keras_core::optimizers::{Adam, Nadam, OptimizerSpec};
use keras_core::saving::{Dialect, LoadWeights, Save, inspect, load_model, model_from_yaml};
use keras_core::training::{Compile, Fit};
use std::path::PathBuf;

pub(super) fn saved_weights(model: &Model, name: &str) -> PathBuf {
    let path = file(name);
    model.save_weights(&path).unwrap();
    path
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
    for name in entries("files.zip").iter().filter(|name| kind(name) == Kind::Whole) {
        let model = whole(&path(name));
        let target = file(&name.replace('/', "_"));
        model.save(&target).unwrap();
        let again = whole(&target);
        assert_eq!(again.get_config().unwrap(), model.get_config().unwrap(), "{name}");
        assert_eq!(again.get_weights().unwrap(), model.get_weights().unwrap(), "{name}");
        assert_eq!(again.semantics(), model.semantics(), "{name}");
        assert_eq!(again.optimizer().is_ok(), model.optimizer().is_ok(), "{name}");
        if let Ok(theirs) = model.optimizer() {
            assert_eq!(again.metrics_names().unwrap(), model.metrics_names().unwrap(), "{name}");
            let ours = again.optimizer().unwrap();
            assert_eq!(ours.config().unwrap(), theirs.config().unwrap(), "{name}");
            assert_eq!(ours.get_weights().unwrap(), theirs.get_weights().unwrap(), "{name}");
        }
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

/// Models inside a model whose layers have the same names, one of them frozen after the file was written.
#[test]
fn towers_of_the_same_names_keep_their_weights() {
    let make = || {
        let tower = |name: &str| {
            let mut tower = Sequential::named(name);
            tower.add(Dense::new(2).input_shape([3]).name("d")).unwrap();
            tower
        };
        let (left, right) = (tower("left"), tower("right"));
        let inputs = || [Input::new([3]).tensor().unwrap(), Input::new([3]).tensor().unwrap()];
        let [a, b] = inputs();
        let ends = [&left, &right].map(|tower| tower.as_layer().unwrap());
        let outputs = [ends[0].call(&a).unwrap(), ends[1].call(&b).unwrap()];
        let encoder = Model::named("encoder", [&a, &b], [&outputs[0], &outputs[1]]).unwrap();
        let [x, z] = inputs();
        let found = encoder.as_layer().unwrap().call_all([&x, &z]).unwrap();
        (left, right, Model::new([&x, &z], [&found[0], &found[1]]).unwrap())
    };
    let weights = |tower: &Sequential| tower.get_weights().unwrap();
    for frozen in [None, Some(true), Some(false)] {
        let (left, right, model) = make();
        let target = saved_weights(&model, "towers.h5");
        let (other_left, other_right, other) = make();
        match frozen {
            Some(true) => other_left.set_trainable(false),
            Some(false) => other_right.set_trainable(false),
            None => {}
        }
        other.load_weights(&target, LoadWeights::new()).unwrap();
        assert_eq!(weights(&other_left), weights(&left), "{frozen:?}");
        assert_eq!(weights(&other_right), weights(&right), "{frozen:?}");
    }
}

#[test]
fn archives_hold_the_same_model() {
    let (x, y) = (wave(&[16, 5]), wave(&[16, 1]));
    let nadam = OptimizerSpec::from(Nadam::new().schedule_decay(1.0));
    let optimizers = ["sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamax"];
    for (name, optimizer) in optimizers.map(|name| (name, name.into())).into_iter().chain([("nadam", nadam)])
    {
        let model = small();
        model.compile(Compile::new(optimizer, "mse").metrics(["mae"])).unwrap();
        model.fit(&x, &y, Fit::new().shuffle(false).verbose(0)).unwrap();
        let target = file(&format!("{name}.keras"));
        model.save(&target).unwrap();
        let again = load_model(&target).unwrap();
        assert_eq!(again.get_weights().unwrap(), model.get_weights().unwrap(), "{name}");
        assert_eq!(again.semantics(), model.semantics(), "{name}");
        let state = |model: &Model| model.optimizer().unwrap().get_weights().unwrap();
        assert_eq!(state(&again).len(), state(&model).len());
        for (i, (ours, saved)) in state(&again).iter().zip(state(&model)).enumerate() {
            // Nadam's product of momenta is computed again; SGD's momenta, which it does not use, are left out.
            let idle = name == "sgd" && i > 0;
            assert!(idle || super::largest_difference(ours, &saved) < 1e-6, "{name}");
        }
    }
    // What only Keras 2's optimizers have.
    for optimizer in [OptimizerSpec::from("nadam"), Adam::new().decay(0.1).into()] {
        let model = small();
        model.compile(Compile::new(optimizer, "mse")).unwrap();
        let error = model.save(file("decay.keras")).unwrap_err().to_string();
        assert!(error.contains("decay") && error.contains(".h5"), "{error}");
        assert!(model.save_with(file("decay.keras"), Save::new().include_optimizer(false)).is_ok());
    }
    let error =
        small().save_with(file("old.keras"), Save::new().dialect(Dialect::Keras2)).unwrap_err().to_string();
    assert!(error.contains("Keras 2 has no archives"), "{error}");
    let model = small();
    model.save_weights(file("tree.weights.h5")).unwrap();
    let other = small();
    other.load_weights(file("tree.weights.h5"), LoadWeights::new()).unwrap();
    assert_eq!(other.get_weights().unwrap(), model.get_weights().unwrap());
}

#[test]
fn a_model_that_only_tf_keras_can_hold_is_written_in_its_dialect() {
    let mut model = Sequential::new();
    model.add(Dense::new(4).input_shape([3]).activation("gelu").name("head")).unwrap();
    model.add(LayerNormalization::new()).unwrap();
    model.save(file("later.h5")).unwrap();
    let found = inspect(file("later.h5")).unwrap();
    assert_eq!(found.keras_version.as_deref(), Some("2.15.0"));
    let again = load_model(file("later.h5")).unwrap();
    assert_eq!(
        (again.get_weights().unwrap(), again.semantics()),
        (model.get_weights().unwrap(), model.semantics())
    );
    assert!(model.to_json().unwrap().contains("2.15.0"));
    let text = model.to_yaml().unwrap();
    assert_eq!(model_from_yaml(&text).unwrap().semantics(), model.semantics());
    let error = model.save_with(file("no.h5"), Save::new().dialect(Dialect::Keras2)).unwrap_err().to_string();
    assert!(
        error.contains("\"head\"") && error.contains("gelu") && error.contains("Dialect::TfKeras"),
        "{error}"
    );
    assert!(!file("no.h5").exists());

    let mut model = Sequential::new();
    model.add(Highway::new().input_shape([3]).name("road")).unwrap();
    model.save(file("earlier.h5")).unwrap();
    assert_eq!(inspect(file("earlier.h5")).unwrap().keras_version.as_deref(), Some("2.3.1"));
    let other = model.save_with(file("no.h5"), Save::new().dialect(Dialect::TfKeras));
    for refused in [other, model.save(file("no.keras"))] {
        let error = refused.unwrap_err().to_string();
        assert!(
            error.contains("\"road\"") && error.contains("Highway") && error.contains("Dialect::Keras2"),
            "{error}"
        );
    }
    model.add(LayerNormalization::new()).unwrap();
    assert!(model.save(file("no.h5")).unwrap_err().to_string().contains("no dialect"));
    model.save_weights(file("weights_of_both.h5")).unwrap();
}
