//! Layers-models of TensorFlow.js: `oracle/files/tfjs.py` made `fixtures/tfjs.zip`.

use super::oracle::Recorded;
use super::{largest_difference, on_ndarray, unpacked};
use crate::hostile::{WORK, in_a_child};
use keras_core::saving::{Load, inspect, load_model, load_model_with};
use keras_core::training::{Data, Predict};
use std::path::Path;

#[test]
fn models_of_every_quantization_predict_as_tf_keras_does_from_them() {
    let folder = unpacked("tfjs.zip");
    for model in ["images", "words", "nested"] {
        for kind in ["plain", "float16", "uint16", "uint8", "mixed"] {
            let name = format!("{model}_{kind}");
            let recorded = Recorded::read(&folder.path().join(format!("{name}.npz")));
            let path = folder.path().join(&name).join("model.json");
            let loaded = on_ndarray(load_model(&path).unwrap_or_else(|error| panic!("{name}: {error}")));
            let x: Data = recorded.all("x").into();
            let outputs = loaded.predict_all(x, &Predict::new()).unwrap();
            assert_eq!(outputs.len(), recorded.all("out").len());
            for (ours, keras) in outputs.iter().zip(recorded.all("out")) {
                let difference = largest_difference(ours, &keras);
                assert!(difference < 1e-6, "{name}: {difference:e}");
            }
            assert_eq!(loaded.optimizer().is_ok(), model == "images", "{name}");
            assert!(load_model_with(&path, &Load::new().compile(false)).unwrap().optimizer().is_err());
            let found = inspect(&path).unwrap();
            assert_eq!(found.format, "TF.js layers-model");
            assert_eq!(found.weights.len(), loaded.weights().len(), "{name}");
        }
    }
    let shards = std::fs::read_dir(folder.path().join("images_plain")).unwrap().count();
    assert!(shards > 5, "arrays that begin in one shard and end in another");
}

/// The error of a changed `model.json`.
fn error(folder: &Path, change: impl Fn(&str) -> String) -> String {
    let text = std::fs::read_to_string(folder.join("model.json")).unwrap();
    std::fs::write(folder.join("changed.json"), change(&text)).unwrap();
    load_model(folder.join("changed.json")).unwrap_err().to_string()
}

#[test]
fn damaged_and_hostile_manifests_are_errors() {
    if std::env::var(WORK).is_err() {
        return in_a_child("files::tfjs::damaged_and_hostile_manifests_are_errors", "all");
    }
    let unpacked = unpacked("tfjs.zip");
    let folder = unpacked.path().join("nested_uint8");
    std::fs::write(unpacked.path().join("outside.bin"), [0; 4096]).unwrap();
    let outside = unpacked.path().join("outside.bin");
    for path in ["../outside.bin", outside.to_str().unwrap(), "./../outside.bin", ""] {
        let message = error(&folder, |text| text.replace("group1-shard1of1.bin", path));
        assert!(message.contains("inside the folder"), "{message}");
    }
    let message = error(&folder, |text| text.replace("group1-shard1of1", "group1-shard2of2"));
    assert!(message.contains("group1-shard2of2.bin"), "{message}");
    for (from, to, expected) in [
        ("\"shape\": [4, 4]", "\"shape\": [4, 1152921504606846976]", "bytes or more"),
        (
            "\"shape\": [4, 4]",
            "\"shape\": [18446744073709551615, 18446744073709551615]",
            "a shape that a file can hold",
        ),
        ("\"shape\": [4, 4]", "\"shape\": [2, 8]", "[2, 8]"),
        ("\"dtype\": \"float32\"", "\"dtype\": \"string\"", "string"),
        ("\"dtype\": \"uint8\"", "\"dtype\": \"uint4\"", "uint4"),
        ("\"scale\"", "\"scales\"", "scale and min"),
        ("shared/kernel", "spared/kernel", "shared/kernel"),
        ("\"weightsManifest\"", "\"weights\"", "weightsManifest"),
        ("\"class_name\": \"Functional\"", "\"node\": []", "graph-model"),
        (
            "[\"group1-shard1of1.bin\"]",
            "[\"group1-shard1of1.bin\", \"group1-shard1of1.bin\"]",
            "each file once",
        ),
        ("\"units\": 4", "\"units\": 400000000", "no larger than the weights"),
    ] {
        let message = error(&folder, |text| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        assert!(message.contains(expected), "{from} to {to}: {message}");
    }
    // A shard that ends too early, and one that is no file.
    let shard = folder.join("group1-shard1of1.bin");
    let bytes = std::fs::read(&shard).unwrap();
    std::fs::write(&shard, &bytes[..bytes.len() - 1]).unwrap();
    assert!(error(&folder, str::to_owned).contains("bytes or more"));
    std::fs::remove_file(&shard).unwrap();
    std::fs::create_dir(&shard).unwrap();
    assert!(error(&folder, str::to_owned).contains("a file"));
}
