//! `compare`.

use super::Place;
use super::files::{dense, sequential};

#[test]
fn backends_to_compare_are_two_that_exist() {
    let place = Place::new();
    place.put("model.json", sequential(&[dense("line", 3, 2)]));
    for (backends, part) in
        [("ndarray", "at least two"), ("ndarray,ndarray", "at least two"), ("ndarray,abacus", "abacus")]
    {
        place.fails(2, &["compare", "model.json", "--input", "x.npy", "--backends", backends], &[part]);
    }
    let tolerance = ["compare", "model.json", "--input", "x.npy", "--backends", "a,b", "--tolerance", "none"];
    place.fails(2, &tolerance, &["--tolerance"]);
}

/// An option that would change nothing is an error.
#[test]
fn what_is_for_training_needs_targets() {
    let place = Place::new();
    place.put("model.json", sequential(&[dense("line", 3, 2)]));
    let compare = ["compare", "model.json", "--input", "x.npy", "--backends", "ndarray,candle"];
    for option in [
        ["--loss", "mse"],
        ["--optimizer", "sgd"],
        ["--metrics", "mae"],
        ["--loss-weights", "[1.0]"],
        ["--backend", "ndarray"],
    ] {
        place.fails(2, &[compare.as_slice(), &option].concat(), &[option[0], "leave it out"]);
    }
}

#[cfg(any(feature = "candle", feature = "torch"))]
mod with_another {
    use super::*;
    use keras::prelude::*;
    use serde_json::Value;

    const BACKENDS: &str = match (cfg!(feature = "candle"), cfg!(feature = "torch")) {
        (true, true) => "ndarray,candle,torch",
        (true, false) => "ndarray,candle",
        _ => "ndarray,torch",
    };

    /// A compiled model of two layers with its data.
    fn place() -> Place {
        let place = Place::new();
        let mut model = Sequential::new();
        model.add(Conv2D::new(3, [3, 3]).activation("relu").name("conv").input_shape([6, 6, 2])).unwrap();
        model.add(MaxPooling2D::new([2, 2]).name("pool")).unwrap();
        model.add(Flatten::new().name("flat")).unwrap();
        model.add(Dense::new(4).activation("softmax").name("dense")).unwrap();
        model.compile(Compile::new(Adam::new(), "categorical_crossentropy")).unwrap();
        model.save(place.path("model.h5")).unwrap();
        let x: Vec<f32> = (0..5 * 72).map(|i| (0.7 * i as f32).sin()).collect();
        keras::npy::write_npy(place.path("x.npy"), &Array::from_vec(&[5, 6, 6, 2], x).unwrap()).unwrap();
        let y: Vec<f32> = (0..20).map(|i| if i % 5 == 0 { 1.0 } else { 0.0 }).collect();
        keras::npy::write_npy(place.path("y.npy"), &Array::from_vec(&[5, 4], y).unwrap()).unwrap();
        place
    }

    #[test]
    fn outputs_and_trained_weights_agree() {
        let place = place();
        let arguments = [
            "compare",
            "model.h5",
            "--input",
            "x.npy",
            "--train",
            "y.npy",
            "--backends",
            BACKENDS,
            "--quiet",
        ];
        let table = place.result(&arguments);
        let words = ["backend", "device", "predict", "training step", "absolute", "relative", " ms"];
        let tensors =
            ["conv", "pool", "flat", "dense", "conv/kernel", "conv/bias", "dense/kernel", "dense/bias"];
        for name in words.into_iter().chain(tensors).chain(BACKENDS.split(',')) {
            assert!(table.contains(name), "{name}: {table}");
        }
        let object = place.result(&[&arguments[..], &["--json"]].concat());
        let object: Value = serde_json::from_str(&object).unwrap();
        let count = BACKENDS.split(',').count();
        let backends = object["backends"].as_array().unwrap();
        assert!(backends.iter().map(|backend| backend["name"].as_str().unwrap()).eq(BACKENDS.split(',')));
        for backend in backends {
            assert_eq!(backend["device"], "cpu");
            assert!(["predict", "step"].iter().all(|time| backend[time].as_f64().unwrap() > 0.0), "{object}");
        }
        let expected = tensors;
        let tensors = object["tensors"].as_array().unwrap();
        assert!(tensors.iter().map(|tensor| tensor["name"].as_str().unwrap()).eq(expected), "{object}");
        let kinds = tensors.iter().map(|tensor| tensor["kind"].as_str().unwrap());
        assert!(kinds.eq([["output"; 4], ["weight"; 4]].concat()), "{object}");
        for tensor in tensors {
            let differences = tensor["differences"].as_array().unwrap();
            assert_eq!(differences.len(), count - 1);
            for found in differences {
                assert!(found["absolute"].as_f64().unwrap() < 1e-4, "{object}");
                assert!(found["relative"].as_f64().unwrap() < 1e-3, "{object}");
            }
        }
    }

    /// Without training; a model as a layer, a layer of several results, and one that another model has called before.
    #[test]
    fn layers_of_any_kind_are_compared() {
        let place = Place::new();
        let x = Input::new([4, 3]).tensor().unwrap();
        let shared = LayerRef::new(Dense::new(3).name("shared")).unwrap();
        let z = Input::new([4, 3]).tensor().unwrap();
        let inner = Model::named("inner", &z, shared.call(&z).unwrap()).unwrap();
        let h = shared.call(inner.call(&x).unwrap()).unwrap();
        let states =
            LayerRef::new(LSTM::new(2).return_state(true).name("lstm")).unwrap().call_all(&h).unwrap();
        let model = Model::new(&x, states).unwrap();
        model.save(place.path("model.h5")).unwrap();
        let x: Vec<f32> = (0..24).map(|i| (0.7 * i as f32).sin()).collect();
        keras::npy::write_npy(place.path("x.npy"), &Array::from_vec(&[2, 4, 3], x).unwrap()).unwrap();
        let arguments =
            ["compare", "model.h5", "--input", "x.npy", "--backends", BACKENDS, "--quiet", "--json"];
        let object: Value = serde_json::from_str(&place.result(&arguments)).unwrap();
        let names =
            object["tensors"].as_array().unwrap().iter().map(|tensor| tensor["name"].as_str().unwrap());
        assert!(names.eq(["inner", "shared", "lstm:0", "lstm:1", "lstm:2"]), "{object}");
        let backends = object["backends"].as_array().unwrap();
        assert!(backends.iter().all(|backend| backend["step"].is_null()), "{object}");
    }

    #[test]
    fn more_than_the_tolerance_exits_with_3() {
        let place = place();
        let ran = place.run(&[
            "compare",
            "model.h5",
            "--input",
            "x.npy",
            "--train",
            "y.npy",
            "--steps",
            "20",
            "--backends",
            BACKENDS,
            "--tolerance",
            "0",
            "--quiet",
        ]);
        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert!(ran.stdout.contains("dense") && ran.stderr.contains("--tolerance"), "{ran:?}");
        assert_eq!(ran.stderr.lines().count(), 1);
    }

    #[test]
    fn another_backend_is_chosen_in_each_way() {
        let other = BACKENDS.rsplit(',').next().unwrap();
        let place = place();
        let chosen = |command: &mut std::process::Command| {
            let ran = super::super::ran(command);
            let object: Value = serde_json::from_str(&ran.stdout).unwrap();
            object["backend"]["value"].as_str().unwrap_or("none").to_owned()
        };
        assert_eq!(chosen(&mut place.command(&["config", "--json"])), "ndarray");
        assert_eq!(chosen(&mut place.command(&["config", "--json", "--backend", other])), other);
        assert_eq!(chosen(place.command(&["config", "--json"]).env("KERAS_BACKEND", other)), other);
        place.put("settings/keras.json", format!("{{\"keras_rs\": {{\"backend\": \"{other}\"}}}}"));
        assert_eq!(chosen(&mut place.command(&["config", "--json"])), other);
        place.result(&["predict", "model.h5", "--input", "x.npy", "--output", "there.npy", "--quiet"]);
        let arguments = [
            "predict",
            "model.h5",
            "--input",
            "x.npy",
            "--output",
            "here.npy",
            "--quiet",
            "--backend",
            "ndarray",
        ];
        place.result(&arguments);
        let read = |name| keras::npy::read_npy(place.path(name)).unwrap().to_vec::<f32>();
        for (here, there) in read("here.npy").iter().zip(read("there.npy")) {
            assert!((here - there).abs() < 1e-6, "{here} {there}");
        }
    }
}
