//! Real Keras opens what we save, and we open what it saves: `oracle/files.py` is the other half.

use super::{largest_difference, on_ndarray};
use keras_core::models::Model;
use keras_core::saving::load_model;
use keras_core::training::{Data, Predict};
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

/// Loads a case, predicts, saves, trains for two steps, saves; what differs from Keras.
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
    for (ours, keras) in outputs.iter().zip(recorded.all("out")) {
        let difference = largest_difference(ours, &keras);
        if difference.is_nan() || difference > 1e-5 {
            wrong.push(format!("{name}: predictions differ by {difference:e}"));
        }
    }
    model.save(file("ours.h5")).unwrap();
    for _ in 0..2 {
        model.train_on_batch(x.clone(), y.clone()).unwrap();
    }
    for (i, (ours, keras)) in model.get_weights().unwrap().iter().zip(recorded.all("w")).enumerate() {
        let difference = largest_difference(ours, &keras);
        if difference.is_nan() || difference > 1e-4 {
            wrong.push(format!("{name}: weight {i} differs by {difference:e} after two steps"));
        }
    }
    model.save(file("trained.h5")).unwrap();
    wrong
}

fn matrix(environment: &str) {
    let folder = tempfile::tempdir().unwrap();
    run(environment, "make", folder.path());
    let names: Vec<String> =
        serde_json::from_slice(&std::fs::read(folder.path().join("cases.json")).unwrap()).unwrap();
    assert!(names.len() > 50);
    let mut wrong: Vec<String> = names.iter().flat_map(|name| go_through(folder.path(), name)).collect();
    run(environment, "check", folder.path());
    let report: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("report.json")).unwrap()).unwrap();
    wrong.extend(
        report
            .as_array()
            .unwrap()
            .iter()
            .map(|line| format!("{}: {}", line[0].as_str().unwrap(), line[1].as_str().unwrap())),
    );
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), names.len(), wrong.join("\n"));
}

#[test]
#[ignore = "needs Keras 2.3.1: cargo xtask test --all"]
fn files_go_to_keras_2_3_1_and_back() {
    matrix("keras-2.3.1");
}

#[test]
#[ignore = "needs tf.keras 2.15: cargo xtask test --all"]
fn files_go_to_tf_keras_2_15_and_back() {
    matrix("tf-2.15");
}
