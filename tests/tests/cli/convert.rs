//! `convert` and `inspect`.

use super::Place;
use super::files::{dense, floats, read_floats, sequential};
use keras_core::Array;
use keras_core::optimizers::Adam;
use keras_core::saving::load_model;
use keras_core::training::Compile;
use serde_json::Value;
use std::collections::HashSet;
use std::ffi::OsString;
use std::time::Duration;

fn line() -> Place {
    let place = Place::new();
    place.put_line();
    place.put("x.npy", floats(&[1, 3], &[1.0, 1.0, 1.0]));
    place.result(&["convert", "model.json", "--weights", "weights.npz", "m.h5"]);
    place
}

#[test]
fn every_kind_of_file_goes_to_every_other() {
    let place = line();
    let predicts = |arguments: &[&str]| {
        place.result(&[&["predict"], arguments, &["--input", "x.npy", "--output", "y.npy"]].concat());
        read_floats(&place.get("y.npy")).1
    };
    let expected = predicts(&["model.json", "--weights", "weights.npz"]);
    for whole in ["a.h5", "a.hdf5", "a.keras"] {
        place.result(&["convert", "m.h5", whole]);
        assert_eq!(predicts(&[whole]), expected, "{whole}");
        for weights in ["w.npz", "w.weights.h5"] {
            place.result(&["convert", whole, weights]);
            for text in ["t.json", "t.yaml", "t.yml"] {
                place.result(&["convert", whole, text]);
                assert_eq!(predicts(&[text, "--weights", weights]), expected, "{whole} {weights} {text}");
            }
        }
    }
    place.result(&["convert", "m.h5", "tf.h5", "--dialect", "tfkeras"]);
    assert_eq!(predicts(&["tf.h5"]), expected);
    let version = |file: &str| {
        let found: Value = serde_json::from_str(&place.result(&["inspect", file, "--json"])).unwrap();
        found["keras_version"].clone()
    };
    assert_eq!((version("tf.h5"), version("m.h5")), ("2.15.0".into(), "2.3.1".into()));
    place.result(&["convert", "tf.h5", "back.h5", "--dialect", "keras2"]);
    assert_eq!((version("back.h5"), version("a.keras")), ("2.3.1".into(), "3.0.0".into()));
    place.result(&["convert", "m.h5", "tf.keras", "--dialect", "tfkeras"]);
    assert_eq!(predicts(&["tf.keras"]), expected);
    assert_eq!(version("tf.keras"), "2.15.0");
    // Texts, with weights beside them: one becomes the other, or a whole model.
    place.result(&["convert", "model.json", "a.yaml"]);
    place.result(&["convert", "a.yaml", "a.json"]);
    for (text, weights, whole) in [("a.yaml", "w.npz", "b.h5"), ("a.json", "w.weights.h5", "b.keras")] {
        place.result(&["convert", text, whole, "--weights", weights]);
        assert_eq!(predicts(&[whole]), expected, "{text}");
    }
    place.result(&["convert", "a.keras", "from_archive.h5"]);
    assert_eq!(predicts(&["from_archive.h5"]), expected);
}

/// What a model was compiled with, and the state of its optimizer, come along.
#[test]
fn a_compiled_model_stays_one_whatever_it_becomes() {
    let place = line();
    let model = load_model(place.path("m.h5")).unwrap();
    model.compile(Compile::new(Adam::new().lr(0.25), "mse").metrics(["mae"])).unwrap();
    let y = Array::zeros(keras_core::DType::F32, &[4, 2]).unwrap();
    let x = Array::full(&[4, 3], 0.5_f32).unwrap();
    model.train_on_batch(&x, &y).unwrap();
    model.save(place.path("0.h5")).unwrap();
    let next = |file: &str| {
        let model = load_model(place.path(file)).unwrap();
        model.train_on_batch(&x, &y).unwrap();
        model.get_weights().unwrap()
    };
    let steps = [
        ("1.keras", &[][..]),
        ("2.h5", &["--dialect", "tfkeras"]),
        ("3.keras", &["--dialect", "tfkeras"]),
        ("4.h5", &["--dialect", "keras2"]),
    ];
    let mut before = "0.h5";
    for (file, more) in steps {
        place.result(&[&["convert", before, file], more].concat());
        let copy = load_model(place.path(file)).unwrap();
        let config = copy.training_config().unwrap().unwrap();
        assert_eq!(
            (config["loss"].as_str(), copy.metrics_names().unwrap()),
            (Some("mse"), model.metrics_names().unwrap()),
            "{file}"
        );
        assert_eq!(copy.optimizer().unwrap().iterations().unwrap(), 1, "{file}");
        assert_eq!(next(file), next("0.h5"), "{file}");
        before = file;
    }
}

#[test]
fn what_cannot_be_converted_is_an_error() {
    let place = line();
    place.fails(2, &["convert", "m.h5", "out.txt"], &["out.txt", ".weights.h5"]);
    place.fails(2, &["convert", "m.h5", "out.npz", "--dialect", "keras2"], &["--dialect", "out.npz"]);
    for (dialect, version) in [("keras2", "2.3.1"), ("tfkeras", "2.15.0")] {
        for out in ["text.json", "text.yaml"] {
            place.result(&["convert", "m.h5", out, "--dialect", dialect]);
            let text = String::from_utf8(place.get(out)).unwrap();
            assert!(text.contains("keras_version") && text.contains(version), "{text}");
            assert_eq!(place.result(&["summary", out]), place.result(&["summary", "m.h5"]));
        }
    }
    // Each writes weights under that name in its own layout; both are read.
    place.result(&["convert", "m.h5", "w.npz"]);
    for (dialect, marker) in [("keras2", "layer_names"), ("tfkeras", "vars")] {
        place.result(&["convert", "m.h5", "x.weights.h5", "--dialect", dialect]);
        let bytes = place.get("x.weights.h5");
        assert!(bytes.windows(marker.len()).any(|window| window == marker.as_bytes()), "{dialect}");
        place.result(&["convert", "text.json", "again.npz", "--weights", "x.weights.h5"]);
        assert_eq!(place.get("again.npz"), place.get("w.npz"), "{dialect}");
    }
    // Weights in Keras 2's layout need no model; those in that of Keras 3 say no order.
    place.result(&["convert", "m.h5", "keras2.weights.h5", "--dialect", "keras2"]);
    place.result(&["convert", "keras2.weights.h5", "alone.npz"]);
    assert_eq!(place.get("alone.npz"), place.get("w.npz"));
    place.fails(1, &["convert", "x.weights.h5", "alone.npz"], &["x.weights.h5", "weights"]);
    place.fails(2, &["convert", "m.h5", "out.keras", "--dialect", "keras2"], &["--dialect", "out.keras"]);
    place.fails(2, &["convert", "m.h5", "out.h5", "--dialect", "theano"], &["keras2", "theano"]);
    place.fails(1, &["convert", "model.json", "out.h5"], &["--weights"]);
    place.fails(1, &["convert", "missing.h5", "out.h5"], &["missing.h5"]);
    assert!(!place.names().iter().any(|name| name.starts_with("out")));
}

#[test]
fn a_file_is_inspected_without_making_a_model_of_it() {
    let place = line();
    let found: Value = serde_json::from_str(&place.result(&["inspect", "m.h5", "--json"])).unwrap();
    let keys = |object: &Value| object.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(keys(&found), "format keras_version backend model_config training_config weights");
    assert_eq!(keys(&found["weights"][0]), "path shape dtype min max mean std");
    assert_eq!((&found["format"], &found["backend"]), (&"HDF5 model".into(), &"tensorflow".into()));
    assert_eq!(found["model_config"]["class_name"], "Sequential");
    let kernel = &found["weights"][0];
    assert_eq!(
        (&kernel["path"], &kernel["shape"]),
        (&"line/line/kernel:0".into(), &serde_json::json!([3, 2]))
    );
    assert_eq!(
        (kernel["min"].as_f64(), kernel["max"].as_f64(), kernel["mean"].as_f64()),
        (Some(1.0), Some(30.0), Some(11.0))
    );
    let table = place.result(&["inspect", "m.h5"]);
    assert!(table.contains("line/line/kernel:0") && table.contains("30.000000"), "{table}");
    place.result(&["convert", "m.h5", "w.weights.h5"]);
    for file in ["a.keras", "a.yaml"] {
        place.result(&["convert", "m.h5", file]);
    }
    for (file, weights) in [("w.weights.h5", 2), ("a.keras", 2), ("model.json", 0), ("a.yaml", 0)] {
        assert!(place.result(&["inspect", file]).contains("format"));
        let found: Value = serde_json::from_str(&place.result(&["inspect", file, "--json"])).unwrap();
        assert_eq!(found["weights"].as_array().unwrap().len(), weights, "{file}");
        assert_eq!(found["model_config"].is_null(), file == "w.weights.h5", "{file}");
    }
    place.fails(1, &["inspect", "x.npy"], &["x.npy", ".npz, JSON or YAML", "a .npy array"]);
    place.put_npz::<f32>(
        "w.npz",
        &[("a", &[2], &[f32::NAN, 1.0]), ("b", &[3], &[f32::INFINITY, 1.0, -2.0]), ("c", &[0], &[])],
    );
    let found: Value = serde_json::from_str(&place.result(&["inspect", "w.npz", "--json"])).unwrap();
    assert_eq!(found["format"], ".npz arrays");
    let limits = |i: usize| (found["weights"][i]["min"].clone(), found["weights"][i]["max"].clone());
    let expected: [(Value, Value); 3] =
        [("NaN".into(), "NaN".into()), ((-2.0).into(), "Infinity".into()), (0.0.into(), 0.0.into())];
    assert_eq!([0, 1, 2].map(limits), expected);
    assert!(place.result(&["inspect", "w.npz"]).contains("Infinity"));
}

#[test]
fn a_save_that_is_killed_leaves_the_old_file_or_the_new_one() {
    killed("h5");
    killed("keras");
}

fn killed(ending: &str) {
    let place = Place::new();
    let file = |name: &str| format!("{name}.{ending}");
    let (old, new, target) = (&file("old"), &file("new"), &file("target"));
    let model = |name: &str, file: &str| {
        place.put("big.json", sequential(&[dense(name, 700, 700), dense("last", 700, 2)]));
        let model =
            keras_core::saving::model_from_json(&String::from_utf8(place.get("big.json")).unwrap()).unwrap();
        model.save(place.path(file)).unwrap();
    };
    model("first", old);
    model("second", new);
    std::fs::copy(place.path(old), place.path(target)).unwrap();
    let (mut kept, mut replaced) = (0, 0);
    for i in 0..40 {
        let source = if i % 2 == 0 { new } else { old };
        let before = place.get(target);
        let mut child = place.command(&["convert", source, target]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(5 * (i / 2)));
        child.kill().unwrap();
        child.wait().unwrap();
        load_model(place.path(target)).unwrap();
        if place.get(target) == before { kept += 1 } else { replaced += 1 }
    }
    assert!(kept > 0, "every save was through before it was killed: {replaced}");

    // Killed as soon as there is something beside the target, or a little later.
    let listed = || std::fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut amid = 0;
    for i in 0..20 {
        let before: HashSet<OsString> = listed().collect();
        let mut child = place.command(&["convert", new, target]).spawn().unwrap();
        let written = || listed().any(|name| !before.contains(&name));
        while !written() && child.try_wait().unwrap().is_none() {}
        std::thread::sleep(Duration::from_micros(100 * i));
        child.kill().unwrap();
        child.wait().unwrap();
        amid += usize::from(written());
        load_model(place.path(target)).unwrap();
    }
    assert!(amid > 0, "no save was killed while it wrote");
}
