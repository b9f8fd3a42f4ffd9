//! Losses and metrics by every name we know, in the files of every Keras: `oracle/aliases.py` is the other half.

use super::on_ndarray;
use super::oracle::python;
use keras_core::layers::{Dense, Input};
use keras_core::losses::{self, LossSpec};
use keras_core::metrics::MetricSpec;
use keras_core::models::Model;
use keras_core::saving::{Dialect, Save, load_model};
use keras_core::semantics::Semantics;
use keras_core::training::{Compile, Data, PerOutput};
use keras_core::{Array, npy};
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

const LOSSES: [&str; 29] = [
    "mean_squared_error",
    "mse",
    "MSE",
    "mean_absolute_error",
    "mae",
    "MAE",
    "mean_absolute_percentage_error",
    "mape",
    "MAPE",
    "mean_squared_logarithmic_error",
    "msle",
    "MSLE",
    "squared_hinge",
    "hinge",
    "categorical_hinge",
    "logcosh",
    "log_cosh",
    "huber_loss",
    "huber",
    "categorical_crossentropy",
    "binary_crossentropy",
    "bce",
    "kullback_leibler_divergence",
    "kl_divergence",
    "kld",
    "poisson",
    "cosine_proximity",
    "cosine",
    "cosine_similarity",
];
/// Metrics that are no losses.
const METRICS: [&str; 7] = [
    "accuracy",
    "acc",
    "crossentropy",
    "ce",
    "binary_accuracy",
    "categorical_accuracy",
    "top_k_categorical_accuracy",
];
/// Of targets that are numbers of classes.
const SPARSE: [&str; 3] =
    ["sparse_categorical_accuracy", "sparse_top_k_categorical_accuracy", "sparse_categorical_crossentropy"];

/// An output for each loss, whose metric has its name, and one for each metric that is none; targets for them.
fn model(metrics_without: &[&str]) -> (Model, Vec<Array>) {
    let input = Input::new([3]).name("x").tensor().unwrap();
    let (mut outputs, mut losses, mut metrics, mut targets) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let dense = LOSSES.map(|loss| (loss, if loss.starts_with("huber") { "mse" } else { loss }));
    let others = METRICS.into_iter().filter(|metric| !metrics_without.contains(metric));
    let others = others.map(|metric| ("mse", metric));
    let sparse = SPARSE.map(|metric| ("sparse_categorical_crossentropy", metric));
    for (i, (loss, metric)) in dense.into_iter().chain(others).chain(sparse).enumerate() {
        let layer = Dense::new(6).activation("softmax").name(format!("o{i:02}"));
        outputs.push(layer.call(&input).unwrap());
        losses.push(Some(LossSpec::from(loss)));
        metrics.push(Some(vec![MetricSpec::from(metric)]));
        let shape = [4, if loss.starts_with("sparse") { 1 } else { 6 }];
        let values =
            (0..4 * shape[1]).map(|j| if shape[1] == 1 { j as f32 } else { (j * 7 % 5 + 1) as f32 / 15.0 });
        targets.push(Array::from_vec(&shape, values.collect()).unwrap());
    }
    let model = on_ndarray(Model::new(&input, &outputs).unwrap());
    let options = Compile::new("sgd", losses).metrics_per_output(PerOutput::List(metrics));
    model.compile(options).unwrap();
    (model, targets)
}

/// A value of an output: its loss, or its metric.
fn key(name: &str) -> (String, bool) {
    (name.split('_').next().unwrap().to_owned(), name == "loss" || name[3..] == *"_loss")
}

fn named(names: Vec<String>, values: Vec<f64>) -> HashMap<(String, bool), f64> {
    names.iter().map(|name| key(name)).zip(values).collect()
}

/// The Keras of an environment evaluates our files to our numbers, and we read them again.
fn evaluated(environment: &str, semantics: Semantics, metrics_without: &[&str], files: &[(&str, Save)]) {
    let folder = tempfile::tempdir().unwrap();
    let (model, targets) = model(metrics_without);
    model.set_semantics(semantics);
    let x = super::wave(&[4, 3]);
    npy::write_npy(folder.path().join("x.npy"), &x).unwrap();
    for (i, target) in targets.iter().enumerate() {
        npy::write_npy(folder.path().join(format!("y_{i}.npy")), target).unwrap();
    }
    let y: Data = targets.into();
    let ours = model.evaluate(x.clone(), y.clone()).unwrap();
    let expected = named(model.metrics_names().unwrap(), ours.clone());
    let metrics = METRICS.len() - metrics_without.len();
    assert_eq!(expected.len(), 1 + 2 * (LOSSES.len() + metrics + SPARSE.len()));
    for (name, options) in files {
        model.save_with(folder.path().join(name), *options).unwrap();
        let again = on_ndarray(load_model(folder.path().join(name)).unwrap());
        let values = again.evaluate(x.clone(), y.clone()).unwrap();
        assert!(values.iter().zip(&ours).all(|(a, b)| (a - b).abs() <= 1e-5 * b.abs().max(1.0)), "{name}");
    }
    let output = Command::new(python(environment))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle/aliases.py"))
        .arg(folder.path())
        .args(files.iter().map(|(name, _)| name))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (name, _) in files {
        let text = std::fs::read(folder.path().join(format!("{name}.json"))).unwrap();
        let theirs: HashMap<String, f64> = serde_json::from_slice(&text).unwrap();
        assert_eq!(theirs.len(), expected.len(), "{name}: {:?}", theirs.keys());
        for (key, value) in named(theirs.keys().cloned().collect(), theirs.values().copied().collect()) {
            let ours = expected[&key];
            assert!(
                (ours - value).abs() <= 1e-4 * ours.abs().max(1.0),
                "{name}, {key:?}: {ours} and {value}"
            );
        }
    }
}

#[test]
#[ignore = "needs Keras 2.3.1: cargo xtask test --all"]
fn keras_2_3_1_knows_the_names_of_losses_and_metrics() {
    evaluated("keras-2.3.1", Semantics::keras_2_3(), &[], &[("model.h5", Save::new())]);
}

#[test]
#[ignore = "needs tf.keras 2.15: cargo xtask test --all"]
fn tf_keras_2_15_knows_the_names_of_losses_and_metrics() {
    let save = Save::new().dialect(Dialect::TfKeras);
    evaluated("tf-2.15", Semantics::tf_keras(), &[], &[("model.h5", save), ("model.keras", save)]);
}

#[test]
#[ignore = "needs Keras 3: cargo xtask test --all"]
fn keras_3_knows_the_names_of_losses_and_metrics() {
    evaluated("keras-3", Semantics::keras_3(), &["crossentropy", "ce"], &[("model.keras", Save::new())]);
}

#[test]
fn metrics_that_a_keras_has_not_are_errors_that_say_so() {
    let mut model = keras_core::models::Sequential::new();
    model.add(Dense::new(2).input_shape([3])).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (metric, name) in [("huber", "model.h5"), ("huber", "model.keras"), ("ce", "model.keras")] {
        model.compile(Compile::new("sgd", "huber").metrics([metric])).unwrap();
        let error = model.save(folder.path().join(name)).unwrap_err().to_string();
        assert!(
            error.contains(&format!("metric {metric:?}")) && error.contains("without the optimizer"),
            "{error}"
        );
        model.save_with(folder.path().join(name), Save::new().include_optimizer(false)).unwrap();
    }
    // A user's own one has its own name.
    let own = |y: &keras_core::Tensor, p: &keras_core::Tensor| y - p;
    keras_core::metrics::register("kld", move |_| Ok(keras_core::metrics::custom("kld", own)));
    model.compile(Compile::new("sgd", "huber").metrics(["kld"])).unwrap();
    for name in ["model.h5", "model.keras"] {
        model.save(folder.path().join(name)).unwrap();
        let again = load_model(folder.path().join(name)).unwrap();
        assert_eq!(again.metrics_names().unwrap(), ["loss", "kld"]);
    }
    assert_eq!(losses::get("huber").unwrap().name(), losses::get("huber_loss").unwrap().name());
}
