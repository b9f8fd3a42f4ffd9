//! Archives between Keras 3 and this library: `oracle/keras_3.py` made `fixtures/keras_3.zip` and is the other half. HDF5 files with
//! the optimizers of Keras 3 and of tf.keras 2.11 and later.

use super::oracle::{Recorded, python};
use super::{largest_difference, on_ndarray, unpacked};
use keras_core::layers::{Base, Build, Call, Conv2D, Dense, Embedding, Layer, LayerRef};
use keras_core::models::{Model, Sequential};
use keras_core::registry::Config;
use keras_core::saving::{
    Dialect, Load, LoadWeights, Save, clone_model, load_model, load_model_with, model_from_json,
};
use keras_core::semantics::Semantics;
use keras_core::training::{Data, Output, Predict};
use keras_core::{Array, Spec, Tensor};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

fn differences(what: &str, ours: &[Array], theirs: &[Array], tolerance: f64) -> Vec<String> {
    if ours.len() != theirs.len() {
        return vec![format!("{what}: {} arrays instead of {}", ours.len(), theirs.len())];
    }
    let pairs = ours.iter().zip(theirs).enumerate();
    pairs
        .filter_map(|(i, (ours, theirs))| {
            if ours.shape() != theirs.shape() {
                return Some(format!("{what} {i}: {:?} instead of {:?}", ours.shape(), theirs.shape()));
            }
            let difference = largest_difference(ours, theirs);
            (difference.is_nan() || difference > tolerance)
                .then(|| format!("{what} {i} differs by {difference:e}"))
        })
        .collect()
}

/// Trains for two steps; what differs: the loss before each, where it was recorded, and the weights in the end.
fn go_on(model: &Model, recorded: &Recorded) -> keras_core::Result<Vec<String>> {
    let (x, y): (Data, Data) = (recorded.all("x").into(), recorded.all("y").into());
    let mut losses = Vec::new();
    for _ in 0..2 {
        let values = model.train_on_batch(x.clone(), y.clone())?;
        losses.push(Array::from(values[0]));
    }
    let theirs = recorded.all("l");
    let mut wrong = if theirs.is_empty() { Vec::new() } else { differences("loss", &losses, &theirs, 1e-5) };
    wrong.extend(differences("weight after two steps", &model.get_weights()?, &recorded.all("w"), 1e-4));
    Ok(wrong)
}

/// Loads a case and predicts, loads its weights alone and predicts, saves, trains for two steps, saves; what differs. Where
/// there is the same model in HDF5, loads it, predicts and trains for two steps.
fn go_through(from: &Path, to: &Path, name: &str, save: Save) -> keras_core::Result<Vec<String>> {
    let recorded = Recorded::read(&from.join(format!("{name}.npz")));
    let model: Model = on_ndarray(load_model(from.join(format!("{name}.keras")))?);
    let x: Data = recorded.all("x").into();
    let predict = |model: &Model| model.predict_all(x.clone(), &Predict::new());
    let mut wrong = differences("prediction", &predict(&model)?, &recorded.all("out"), 1e-5);
    let fresh = on_ndarray(clone_model(&model)?);
    fresh.load_weights(from.join(format!("{name}.weights.h5")), LoadWeights::new())?;
    wrong.extend(differences("prediction by weights alone", &predict(&fresh)?, &recorded.all("out"), 1e-5));
    model.save_with(to.join(format!("{name}.ours.keras")), save)?;
    if save == Save::new().dialect(Dialect::TfKeras) {
        // Weights alone are written as the model computes.
        fresh.set_semantics(Semantics::tf_keras());
    }
    fresh.save_weights(to.join(format!("{name}.ours.weights.h5")))?;
    wrong.extend(go_on(&model, &recorded)?);
    model.save_with(to.join(format!("{name}.trained.keras")), save)?;
    let again = load_model(to.join(format!("{name}.trained.keras")))?;
    wrong.extend(differences("weight in our own file", &again.get_weights()?, &model.get_weights()?, 0.0));
    let hdf5 = from.join(format!("{name}.h5"));
    if hdf5.exists() {
        let model = on_ndarray(load_model(&hdf5)?);
        let mut of_hdf5 = differences("prediction", &predict(&model)?, &recorded.all("out"), 1e-5);
        of_hdf5.extend(go_on(&model, &recorded)?);
        wrong.extend(of_hdf5.into_iter().map(|line| format!("HDF5, {line}")));
    }
    Ok(wrong)
}

fn all(fixture: &str, to: &Path, save: Save) -> usize {
    let from = unpacked(fixture);
    let files = std::fs::read_dir(from.path()).unwrap();
    let names: Vec<String> = files
        .filter_map(|file| Some(file.unwrap().file_name().to_str()?.strip_suffix(".npz")?.to_owned()))
        .collect();
    let wrong: Vec<String> = names
        .iter()
        .flat_map(|name| match go_through(from.path(), to, name, save) {
            Ok(wrong) => wrong.into_iter().map(|line| format!("{name}: {line}")).collect(),
            Err(error) => vec![format!("{name}: {error}")],
        })
        .collect();
    assert!(wrong.is_empty(), "{} differences in {} cases:\n{}", wrong.len(), names.len(), wrong.join("\n"));
    names.len()
}

/// What the other half says of a folder.
fn python_says(environment: &str, command: &str, folder: &Path) -> Vec<u8> {
    let output = Command::new(python(environment))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle/keras_3.py"))
        .arg(command)
        .arg(folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// What the packages of an environment say of files that we wrote.
fn check(environment: &str, save: Save) {
    let folder = tempfile::tempdir().unwrap();
    all("keras_3.zip", folder.path(), save);
    let report = python_says(environment, "check", folder.path());
    let report: Vec<Value> = serde_json::from_slice(&report).unwrap();
    let lines: Vec<String> = report
        .iter()
        .map(|line| format!("{}: {}", line[0].as_str().unwrap(), line[1].as_str().unwrap()))
        .collect();
    assert!(lines.is_empty(), "{}:\n{}", lines.len(), lines.join("\n"));
}

/// Its older kinds of files hold the configs of the new one.
#[test]
fn hdf5_and_json_of_keras_3_are_read() {
    let from = unpacked("keras_3.zip");
    for name in ["optimizer_Adam", "masked", "nested"] {
        let file = |ending: &str| from.path().join(format!("{name}.{ending}"));
        let archive = load_model(file("keras")).unwrap();
        let hdf5 = load_model(file("h5")).unwrap();
        let json = model_from_json(&std::fs::read_to_string(file("json")).unwrap()).unwrap();
        assert_eq!(hdf5.get_config().unwrap(), archive.get_config().unwrap(), "{name}");
        assert_eq!(json.get_config().unwrap(), archive.get_config().unwrap(), "{name}");
        assert_eq!(hdf5.get_weights().unwrap(), archive.get_weights().unwrap(), "{name}");
        assert_eq!((hdf5.semantics(), json.semantics()), (Semantics::keras_3(), Semantics::keras_3()));
        let state = |model: &Model| model.optimizer().unwrap().get_weights().unwrap();
        assert_eq!(state(&hdf5), state(&archive), "{name}");
    }
}

#[test]
fn models_of_keras_3_predict_and_train_as_there() {
    assert!(all("keras_3.zip", tempfile::tempdir().unwrap().path(), Save::new()) > 50);
}

/// `oracle/archives.py` made them: weights below `_layer_checkpoint_dependencies` and below `layers`, every optimizer; and
/// HDF5, whose state of an optimizer is listed weight by weight.
#[test]
fn files_of_tf_keras_predict_and_train_as_there() {
    for fixture in ["archives_2_12.zip", "archives_2_15.zip"] {
        assert_eq!(all(fixture, tempfile::tempdir().unwrap().path(), Save::new()), 14, "{fixture}");
    }
}

#[test]
fn optimizers_that_only_tf_keras_has_are_named() {
    for fixture in ["archives_2_12.zip", "archives_2_15.zip"] {
        let from = unpacked(fixture);
        for (name, parts) in [
            ("momentum", ["RMSprop", "\"momentum\"", "only in tf.keras"]),
            ("clipnorm", ["Adam", "\"clipnorm\"", "only in tf.keras"]),
            ("centered", ["rmsprop", "\"centered\"", "only in tf.keras"]),
            ("Ftrl", ["optimizer", "\"Ftrl\"", "optimizers::register"]),
        ] {
            let file = from.path().join(format!("refused_{name}.h5"));
            let error = load_model(&file).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
            let bare = load_model_with(&file, &Load::new().compile(false)).unwrap();
            assert!(bare.optimizer().is_err(), "{fixture}, {name}");
        }
    }
}

/// A layer that no Keras has.
struct Scaled {
    base: Base,
    class: &'static str,
    factor: f64,
}

impl Layer for Scaled {
    fn config(&self) -> Config {
        Config::new(self.class).with("factor", self.factor)
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> keras_core::Result<()> {
        let features = cx.known(self.class, &inputs[0], -1, "last axis")?;
        cx.weight("gain", [features], &keras_core::initializers::get("ones")?).add().map(drop)
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> keras_core::Result<Vec<Tensor>> {
        Ok(vec![&inputs[0] * self.factor * cx.weight("gain")?])
    }
}

/// A user's own layer in archives: the real Keras finds its class in a scope or by its registered name, and we find ours.
fn a_layer_of_ones_own(environment: &str, save: Save) {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let x = super::wave(&[4, 3]);
    keras_core::npy::write_npy(file("x.npy"), &x).unwrap();
    let mut ours = Vec::new();
    for (name, class) in [("scope", "Scaled"), ("registered", "Custom>Scaled")] {
        keras_core::layers::register(class, move |config| {
            let mut reader = config.reader();
            let layer =
                Scaled { base: Base::read(&mut reader)?, class, factor: reader.float("factor", 1.0)? };
            reader.finish()?;
            LayerRef::new(layer)
        });
        let mut model = Sequential::new();
        model.add(Dense::new(3).input_shape([3])).unwrap();
        model.add(Scaled { base: Base::default(), class, factor: 2.5 }).unwrap();
        model.add(Scaled { base: Base::default(), class, factor: 0.5 }).unwrap();
        let gains = [[0.5_f32, 2.0, -1.0], [3.0, 1.0, 0.25]];
        for (i, gain) in gains.into_iter().enumerate() {
            model.layers()[i + 1].set_weights(&[Array::from(gain)]).unwrap();
        }
        let model = on_ndarray((*model).clone());
        let path = file(&format!("{name}.keras"));
        model.save_with(&path, save).unwrap();
        ours.push(model.predict(&x).unwrap());
        let again = on_ndarray(load_model(&path).unwrap());
        assert!(again.predict(&x).unwrap().same_bits(&ours[ours.len() - 1]), "{name}");
    }
    let theirs: Vec<Vec<f32>> =
        serde_json::from_slice(&python_says(environment, "own", folder.path())).unwrap();
    for (ours, theirs) in ours.iter().zip(theirs) {
        let theirs = Array::from_vec(ours.shape(), theirs).unwrap();
        assert!(largest_difference(ours, &theirs) < 1e-5);
    }
    let back = on_ndarray(load_model(file("theirs.keras")).unwrap());
    assert!(largest_difference(&back.predict(&x).unwrap(), &ours[1]) < 1e-5);
}

#[test]
#[ignore = "needs Keras 3: cargo xtask test --all"]
fn keras_3_opens_archives_with_a_layer_of_one_s_own() {
    a_layer_of_ones_own("keras-3", Save::new());
}

#[test]
#[ignore = "needs tf.keras 2.15: cargo xtask test --all"]
fn tf_keras_2_15_opens_archives_with_a_layer_of_one_s_own() {
    a_layer_of_ones_own("tf-2.15", Save::new().dialect(Dialect::TfKeras));
}

/// As in Keras: arrays of as many numbers in another shape, or more arrays than a layer has, are an error; layers of the file that
/// the model does not have are a warning.
#[test]
fn weights_of_archives_fit_or_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it.weights.h5");
    let of = |layers: Vec<LayerRef>| {
        let mut model = Sequential::new();
        layers.iter().for_each(|layer| model.add(layer).unwrap());
        (*model).clone()
    };
    let one = |layer: LayerRef| of(vec![layer]);
    let dense = |inputs: usize, units, bias| {
        LayerRef::new(Dense::new(units).use_bias(bias).input_shape([inputs])).unwrap()
    };
    let conv = |kernel| LayerRef::new(Conv2D::new(2, kernel).input_shape([5, 5, 1])).unwrap();
    let table = |rows, columns| LayerRef::new(Embedding::new(rows, columns).input_length(3)).unwrap();
    for (saved, other, part) in [
        (one(table(10, 4)), one(table(20, 2)), "[20, 2]"),
        (one(dense(3, 4, false)), one(dense(4, 3, false)), "[4, 3]"),
        (one(conv([1, 3])), one(conv([3, 1])), "[3, 1, 1, 2]"),
        (one(dense(3, 4, true)), one(dense(3, 4, false)), "1 arrays"),
    ] {
        saved.save_weights(&path).unwrap();
        let before = other.get_weights().unwrap();
        let error = other.load_weights(&path, LoadWeights::new()).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("weights of layer"), "{error}");
        assert_eq!(other.get_weights().unwrap(), before);
    }
    of(vec![dense(3, 4, true), dense(4, 2, true)]).save_weights(&path).unwrap();
    let log = Arc::new(Mutex::new(Vec::new()));
    let load = || one(dense(3, 4, true)).load_weights(&path, LoadWeights::new());
    let report = Output::Writer(log.clone()).during(load).unwrap();
    assert_eq!(report.skipped, ["dense_1"]);
    let said = String::from_utf8(log.lock().unwrap().clone()).unwrap();
    assert!(said.contains("dense_1"), "{said}");
}

/// A file of Keras does not say where random numbers stood.
#[test]
fn a_trained_file_of_keras_warns_that_random_numbers_start_anew() {
    let from = unpacked("keras_3.zip");
    for ending in ["keras", "h5"] {
        let log = Arc::new(Mutex::new(Vec::new()));
        let load = || load_model(from.path().join(format!("optimizer_Adam.{ending}")));
        Output::Writer(log.clone()).during(load).unwrap();
        let said = String::from_utf8(log.lock().unwrap().clone()).unwrap();
        assert!(said.contains("where random numbers stood"), "{ending}: {said}");
    }
}

#[test]
#[ignore = "needs Keras 3: cargo xtask test --all"]
fn keras_3_opens_our_archives() {
    check("keras-3", Save::new());
}

#[test]
#[ignore = "needs tf.keras 2.15: cargo xtask test --all"]
fn tf_keras_2_15_opens_our_archives() {
    check("tf-2.15", Save::new().dialect(Dialect::TfKeras));
}
