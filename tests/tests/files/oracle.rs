//! Real Keras opens what we save, and we open what it saves: `oracle/files.py` is the other half.

use super::{largest_difference, on_ndarray};
use keras_core::layers::{Dense, Input};
use keras_core::models::Model;
use keras_core::optimizers::Adam;
use keras_core::saving::{Dialect, LoadWeights, Save, clone_model, load_model, model_from_json};
use keras_core::training::{Compile, Data, Predict};
use keras_core::{Array, npy};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) fn python(environment: &str) -> PathBuf {
    let oracles =
        std::env::var("KERAS_ORACLE_DIR").expect("KERAS_ORACLE_DIR says where the environments are");
    Path::new(&oracles).join(environment).join("bin/python")
}

fn run(environment: &str, command: &str, folder: &Path) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(python(environment))
        .arg(here.join("oracle/files.py"))
        .arg(command)
        .args([&here.join("fixtures"), folder])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    print!("{}", String::from_utf8_lossy(&output.stdout));
}

/// The arrays of a case: `x_0`, `x_1`, …
pub(super) struct Recorded(HashMap<String, Array>);

impl Recorded {
    pub(super) fn read(path: &Path) -> Self {
        Self(npy::read_npz(path).unwrap().into_iter().collect())
    }

    pub(super) fn all(&self, key: &str) -> Vec<Array> {
        (0..).map_while(|i| self.0.get(&format!("{key}_{i}")).cloned()).collect()
    }
}

/// Loads a case, predicts, saves, takes its weights alone from Keras's file of them, trains for two steps, saves; what
/// differs from Keras.
fn go_through(folder: &Path, name: &str) -> Vec<String> {
    let file = |ending: &str| folder.join(format!("{name}.{ending}"));
    let recorded = Recorded::read(&file("npz"));
    let model: Model = match load_model(file("h5")) {
        Ok(model) => on_ndarray(model),
        Err(error) => return vec![format!("{name}: {error}")],
    };
    let (x, y): (Data, Data) = (recorded.all("x").into(), recorded.all("y").into());
    let mut wrong = Vec::new();
    let outputs = model.predict_all(x.clone(), &Predict::new()).unwrap();
    assert_eq!(outputs.len(), recorded.all("out").len(), "{name}");
    for (ours, keras) in outputs.iter().zip(recorded.all("out")) {
        let difference = largest_difference(ours, &keras);
        if difference.is_nan() || difference > 1e-5 {
            wrong.push(format!("{name}: predictions differ by {difference:e}"));
        }
    }
    model.save(file("ours.h5")).unwrap();
    std::fs::write(file("ours.json"), model.to_json().unwrap()).unwrap();
    if let Ok(text) = model.to_yaml() {
        std::fs::write(file("ours.yaml"), text).unwrap();
    }
    model.save_weights(file("ours_weights.h5")).unwrap();
    let fresh = clone_model(&model).unwrap();
    match fresh.load_weights(file("theirs_weights.h5"), LoadWeights::new()) {
        Ok(_) if fresh.get_weights().unwrap() == model.get_weights().unwrap() => {}
        Ok(_) => wrong.push(format!("{name}: other weights in Keras's file of weights alone")),
        Err(error) => wrong.push(format!("{name}: {error}")),
    }
    if name == "nested" {
        // Who freezes other layers than Keras had frozen finds each weight in its place.
        let text = model.to_json().unwrap().replace("\"trainable\": false", "\"trainable\": true");
        let refrozen = on_ndarray(model_from_json(&text).unwrap());
        refrozen.get_layer("shared").unwrap().set_trainable(false);
        assert_ne!(refrozen.get_config().unwrap(), model.get_config().unwrap());
        refrozen.load_weights(file("theirs_weights.h5"), LoadWeights::new()).unwrap();
        assert_eq!(refrozen.predict_all(x.clone(), &Predict::new()).unwrap(), outputs);
        refrozen.save_weights(file("refrozen.h5")).unwrap();
        fresh.load_weights(file("refrozen.h5"), LoadWeights::new().by_name(true)).unwrap();
        assert_eq!(fresh.get_weights().unwrap(), model.get_weights().unwrap());
    }
    let recorded_values = recorded.all("e");
    if !recorded_values.is_empty() {
        let values = model.test_on_batch(x.clone(), y.clone()).unwrap();
        assert_eq!(values.len(), recorded_values.len(), "{name}");
        for (i, (ours, keras)) in values.iter().zip(&recorded_values).enumerate() {
            let keras = keras.to_vec::<f64>()[0];
            if (ours - keras).abs() > 1e-5 * keras.abs().max(1.0) {
                wrong.push(format!("{name}: number {i} of an evaluation is {ours}, Keras's {keras}"));
            }
        }
    }
    for _ in 0..2 {
        model.train_on_batch(x.clone(), y.clone()).unwrap();
    }
    let weights = recorded.all("w");
    assert!(weights.is_empty() || weights.len() == model.get_weights().unwrap().len(), "{name}");
    for (i, (ours, keras)) in model.get_weights().unwrap().iter().zip(weights).enumerate() {
        let difference = largest_difference(ours, &keras);
        if difference.is_nan() || difference > 1e-4 {
            wrong.push(format!("{name}: weight {i} differs by {difference:e} after two steps"));
        }
    }
    model.save(file("trained.h5")).unwrap();
    wrong
}

/// Runs a command that writes a report, and reads it.
fn reported(environment: &str, command: &str, folder: &Path) -> Vec<String> {
    run(environment, command, folder);
    let report: Value = serde_json::from_slice(&std::fs::read(folder.join("report.json")).unwrap()).unwrap();
    let line = |line: &Value| format!("{}: {}", line[0].as_str().unwrap(), line[1].as_str().unwrap());
    report.as_array().unwrap().iter().map(line).collect()
}

/// What our file of a trained model lost in Keras, which loaded and saved it.
fn came_back(folder: &Path, name: &str) -> Option<String> {
    let values = |ending: &str| {
        let model = load_model(folder.join(format!("{name}.{ending}.h5"))).unwrap();
        (model.get_weights().unwrap(), model.optimizer().unwrap().get_weights().unwrap())
    };
    (values("trained") != values("again")).then(|| format!("{name}: other weights or state after Keras"))
}

/// At least that many cases go through.
fn matrix(environment: &str, least: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    run(environment, "make", folder.path());
    let names: Vec<String> =
        serde_json::from_slice(&std::fs::read(folder.path().join("cases.json")).unwrap()).unwrap();
    assert!(names.len() >= least, "{} cases", names.len());
    let mut wrong: Vec<String> = names.iter().flat_map(|name| go_through(folder.path(), name)).collect();
    wrong.extend(reported(environment, "check", folder.path()));
    let optimizers: Vec<&String> = names.iter().filter(|name| name.starts_with("optimizer_")).collect();
    assert!(optimizers.len() >= 7, "{optimizers:?}");
    wrong.extend(optimizers.into_iter().filter_map(|name| came_back(folder.path(), name)));
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), names.len(), wrong.join("\n"));
    folder
}

#[test]
#[ignore = "needs Keras 2.3.1 and tf.keras 2.15: cargo xtask test --all"]
fn files_go_to_keras_2_3_1_and_back_and_on_to_tf_keras() {
    let folder = matrix("keras-2.3.1", 270);
    let wrong = reported("tf-2.15", "later", folder.path());
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// 401 layers whose names are too long for one attribute, trained: the names of the optimizer's state are, too.
fn long_names(environment: &str, dialect: Dialect) {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    // Keras makes a Sequential anew for each layer that is added; a functional model once.
    let input = Input::new([2]).name("d".repeat(200)).tensor().unwrap();
    let mut output = input.clone();
    for i in 0..401 {
        // Those of the second half are shorter, which their attribute does not show.
        let name = format!("x{i}_{}", "y".repeat(if i < 200 { 196 } else { 186 }));
        output =
            Dense::new(2).use_bias(false).kernel_initializer("orthogonal").name(name).call(&output).unwrap();
    }
    let model = on_ndarray(Model::new(&input, &output).unwrap());
    // Enough to learn that the names of their states are too long, too; Keras takes long for the gradients of more.
    for layer in model.layers().iter().take(231) {
        layer.set_trainable(false);
    }
    model.compile(Compile::new(Adam::new(), "mse")).unwrap();
    let x = Array::from([[0.5_f32, -1.0], [2.0, 0.25]]);
    model.train_on_batch(&x, &x).unwrap();
    npy::write_npy(file("x.npy"), &x).unwrap();
    model.save_with(file("ours.h5"), Save::new().dialect(dialect)).unwrap();
    model.save_weights_in(file("ours_weights.h5"), dialect).unwrap();
    std::fs::write(file("ours.yaml"), model.to_yaml().unwrap()).unwrap();

    run(environment, "long", folder.path());
    let ours = model.predict(x).unwrap();
    assert!(largest_difference(&ours, &npy::read_npy(file("prediction.npy")).unwrap()) < 1e-5);
    let again = load_model(file("theirs.h5")).unwrap();
    assert_eq!(again.get_weights().unwrap(), model.get_weights().unwrap());
    let state = |model: &Model| model.optimizer().unwrap().get_weights().unwrap();
    assert_eq!(state(&again), state(&model));
    let fresh = clone_model(&model).unwrap();
    fresh.load_weights(file("theirs_weights.h5"), LoadWeights::new()).unwrap();
    assert_eq!(fresh.get_weights().unwrap(), model.get_weights().unwrap());
}

#[test]
#[ignore = "needs Keras 2.3.1: cargo xtask test --all"]
fn many_long_names_go_to_keras_2_3_1_and_back() {
    long_names("keras-2.3.1", Dialect::Keras2);
}

#[test]
#[ignore = "needs tf.keras 2.15: cargo xtask test --all"]
fn many_long_names_go_to_tf_keras_2_15_and_back() {
    long_names("tf-2.15", Dialect::TfKeras);
}

#[test]
#[ignore = "needs tf.keras 2.15: cargo xtask test --all"]
fn files_go_to_tf_keras_2_15_and_back() {
    matrix("tf-2.15", 510);
}
