//! Misspelt names of every kind: what the name stands for comes first among the suggestions.

use backend_ndarray::NdArray;
use keras_core::backend::Engine;
use keras_core::layers::{self, Dense, Input};
use keras_core::models::Model;
use keras_core::output::Output;
use keras_core::registry::Config;
use keras_core::training::{Compile, Fit};
use keras_core::{
    Array, DType, Result, activations, constraints, initializers, losses, metrics, optimizers, regularizers,
};
use std::sync::{Arc, Mutex};

fn model() -> Model {
    let x = Input::new([4]).name("numbers").tensor().unwrap();
    let hidden = Dense::new(3).name("hidden").call(&x).unwrap();
    let model = Model::new(&x, Dense::new(2).name("classes").call(&hidden).unwrap()).unwrap();
    model.on(&Engine::new(NdArray::with_threads(1).unwrap()).unwrap());
    model.compile(Compile::new("sgd", "mse").metrics(["accuracy"])).unwrap();
    model
}

fn message<T>(outcome: Result<T>) -> String {
    outcome.err().expect("the name is known").to_string()
}

#[test]
fn the_nearest_known_names_are_suggested() {
    let layer = |class: &str| message(layers::deserialize(&Config::new(class)));
    let kinds: [(&str, &[(&str, &str)], &dyn Fn(&str) -> String); 8] = [
        (
            "layer",
            &[("Desne", "Dense"), ("conv2d", "Conv2D"), ("LTSM", "LSTM"), ("Droput", "Dropout")],
            &layer,
        ),
        ("activation", &[("rulu", "relu"), ("sotfmax", "softmax"), ("sigmod", "sigmoid")], &|name| {
            message(activations::get(name))
        }),
        ("loss", &[("mes", "mse"), ("categorical_crossentopy", "categorical_crossentropy")], &|name| {
            message(losses::get(name))
        }),
        ("metric", &[("acuracy", "accuracy"), ("Precison", "Precision"), ("auc", "AUC")], &|name| {
            message(metrics::get(name))
        }),
        ("initializer", &[("glorot_unifrom", "glorot_uniform"), ("he_norml", "he_normal")], &|name| {
            message(initializers::get(name))
        }),
        ("regularizer", &[("l1l2", "l1_l2"), ("l1-l2", "l1_l2")], &|name| message(regularizers::get(name))),
        ("constraint", &[("max_nrom", "max_norm"), ("UnitNrom", "UnitNorm")], &|name| {
            message(constraints::get(name))
        }),
        (
            "optimizer",
            &[("adma", "adam"), ("Adma", "adam"), ("rmsporp", "rmsprop"), ("SDG", "sgd")],
            &|name| message(optimizers::get(name)),
        ),
    ];
    for (kind, names, ask) in kinds {
        for (wrong, meant) in names {
            let said = ask(wrong);
            assert!(said.contains(&format!("a known {kind} such as {meant}")), "{wrong}: {said}");
        }
    }
}

#[test]
fn names_of_parts_are_suggested() {
    let model = model();
    let asked =
        |said: String, meant: &str| assert!(said.contains(&format!("did you mean {meant:?}")), "{said}");
    asked(message(model.get_layer("hiden")), "hidden");
    asked(message(model.compile(Compile::new("sgd", [("clases", "mse")]))), "classes");
    asked(message(model.predict([("nubmers", Array::zeros(DType::F32, &[2, 4]).unwrap())])), "numbers");
    asked(message(model.optimizer().unwrap().get("momentun")), "momentum");
    asked(message(DType::from_name("flaot32")), "float32");
    let padding = layers::Conv2D::new(3, 3).padding("smae");
    asked(message(padding.call(Input::new([6, 6, 2]).tensor().unwrap())), "same");
    let unit = Config::new("Dense").with("units", 3).with("kernel_initialiser", "zeros");
    asked(message(layers::deserialize(&unit)), "kernel_initializer");
}

/// Of what users registered too, and of none that is unlike.
#[test]
fn registered_names_are_suggested_and_unlike_ones_are_not() {
    layers::register("Wavelets", |_| layers::LayerRef::new(Dense::new(1)));
    assert!(message(layers::deserialize(&Config::new("Wavlets"))).contains("such as Wavelets"));
    let said = message(optimizers::get("zzz"));
    assert!(!said.contains("did you mean") && said.contains("sgd"), "{said}");
}

#[test]
fn a_misspelt_quantity_to_watch_is_a_warning_with_the_one_that_was_meant() {
    use keras_core::callbacks::{EarlyStopping, ReduceLrOnPlateau};
    let model = model();
    let (x, y) = (Array::zeros(DType::F32, &[8, 4]).unwrap(), Array::zeros(DType::F32, &[8, 2]).unwrap());
    let watched = |fit: Fit<'_>| {
        let said = Arc::new(Mutex::new(Vec::new()));
        let fit = fit.validation_split(0.5).shuffle(false).verbose(0);
        Output::Writer(said.clone()).during(|| model.fit(&x, &y, fit)).unwrap();
        let said = said.lock().unwrap().clone();
        String::from_utf8(said).unwrap()
    };
    let said = [
        watched(Fit::new().callbacks(EarlyStopping::new("val_acc"))),
        watched(Fit::new().callbacks(ReduceLrOnPlateau::new("val_acc"))),
    ];
    for said in said {
        assert!(said.contains("did you mean \"val_accuracy\""), "{said}");
    }
}
