//! `evaluate`.

use super::Place;
use super::files::{Recorded, dense, floats, sequential};
use serde_json::{Map, Value};

fn evaluate(name: &str) -> (Recorded, Map<String, Value>) {
    let recorded = Recorded::new(name);
    let mut arguments = recorded.compiled("evaluate");
    arguments.extend(recorded.option("--x", &recorded.case["x"]));
    arguments.extend(recorded.option("--y", &recorded.case["y"]));
    arguments.extend(["--batch-size".into(), recorded.case["batch_size"].to_string()]);
    let line = recorded.place.result(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(line.ends_with("}\n") && line.matches('\n').count() == 1, "{line}");
    let values = serde_json::from_str(&line).unwrap();
    (recorded, values)
}

#[test]
fn losses_and_metrics_are_kerass_in_the_order_of_metrics_names() {
    let cases = [
        "evaluate",
        "evaluate_no_metrics",
        "evaluate_one_sample",
        "evaluate_regularized",
        "evaluate_activity",
        "evaluate_cnn",
        "evaluate_two_inputs",
    ];
    for case in cases {
        for floatx in ["float32", "float64"] {
            let (recorded, values) = evaluate(&format!("{case}_{floatx}"));
            let names: Vec<Value> = values.keys().map(|name| name.as_str().into()).collect();
            assert_eq!(Value::from(names), recorded.case["metrics_names"], "{case}");
            for ((name, ours), theirs) in values.iter().zip(recorded.values("values")) {
                recorded.assert_close(name, theirs, ours.as_f64().unwrap());
            }
        }
    }
}

#[test]
fn predictions_are_kerass() {
    for name in ["evaluate_two_inputs_float64", "evaluate_cnn_float32"] {
        let recorded = Recorded::new(name);
        let mut arguments =
            ["predict", "model.json", "--weights", "weights.npz", "--output", "y.npz", "--quiet"]
                .map(str::to_owned)
                .to_vec();
        arguments.extend(recorded.option("--input", &recorded.case["x"]));
        recorded.place.result(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let outputs = recorded.place.npz_names("y.npz");
        for (i, output) in outputs.iter().enumerate() {
            let (theirs, ours) =
                (recorded.computed(&format!("prediction_{i}")), recorded.ours("y.npz", output));
            assert_eq!(theirs.len(), ours.len());
            for (theirs, ours) in theirs.into_iter().zip(ours) {
                recorded.assert_close(output, theirs, ours);
            }
        }
    }
}

fn of_line(x: f32, y: f32) -> (Place, [&'static str; 11]) {
    let place = Place::new();
    place.put("model.json", sequential(&[dense("line", 1, 1)]));
    place.put_npz::<f32>("weights.npz", &[("arr_0", &[1, 1], &[1.0]), ("arr_1", &[1], &[0.0])]);
    place.put("x.npy", floats(&[1, 1], &[x]));
    place.put("y.npy", floats(&[1, 1], &[y]));
    let arguments = [
        "evaluate",
        "model.json",
        "--weights",
        "weights.npz",
        "--x",
        "x.npy",
        "--y",
        "y.npy",
        "--loss",
        "mse",
        "--metrics=mae",
    ];
    (place, arguments)
}

#[test]
fn numbers_are_the_shortest_decimals_that_read_back_equal() {
    for (x, y, line) in [
        (1.0, 0.5, "{\"loss\":0.25,\"mae\":0.5}\n"),
        (f32::NAN, 0.0, "{\"loss\":\"NaN\",\"mae\":\"NaN\"}\n"),
        // 2^80, whose square is beyond float32.
        (1.208_925_8e24, 0.0, "{\"loss\":\"Infinity\",\"mae\":1.2089258196146292e+24}\n"),
    ] {
        let (place, arguments) = of_line(x, y);
        assert_eq!(place.result(&arguments), line);
    }
    let (place, mut arguments) = of_line(0.1, 0.0);
    arguments[10] = "--metrics=mae,mse";
    let values: Map<String, Value> = serde_json::from_str(&place.result(&arguments)).unwrap();
    assert_eq!(values["mae"].as_f64(), Some(f64::from(0.1_f32)));

    // poisson: p − y·log(p + ε).
    let (place, mut arguments) = of_line(2.0, f32::INFINITY);
    arguments[9] = "poisson";
    arguments[10] = "--batch-size=1";
    assert_eq!(place.result(&arguments), "{\"loss\":\"-Infinity\"}\n");
}

#[test]
fn a_model_that_is_not_compiled_needs_a_loss() {
    let (place, arguments) = of_line(1.0, 1.0);
    place.fails(1, &arguments[..8], &["--loss"]);
    place.fails(1, &[&arguments[..9], &["mse_of_mine"]].concat(), &["mse_of_mine", "loss"]);
}

/// Of errors 1 and 2, squared 1 and 4: the second counts three times the first, then not at all.
#[test]
fn samples_count_by_their_weights() {
    let (place, arguments) = of_line(1.0, 1.0);
    place.put("x.npy", floats(&[2, 1], &[0.5, 1.0]));
    place.put("y.npy", floats(&[2, 1], &[1.5, 3.0]));
    let loss = |arguments: &[&str]| -> f64 {
        serde_json::from_str::<Value>(&place.result(arguments)).unwrap()["loss"].as_f64().unwrap()
    };
    assert_eq!(loss(&arguments), 2.5);
    for (weights, expected) in [([1.0, 3.0], 6.5), ([1.0, 0.0], 0.5)] {
        place.put("w.npy", floats(&[2], &weights));
        assert_eq!(loss(&[&arguments[..], &["--sample-weight", "w.npy"]].concat()), expected, "{weights:?}");
    }
}

/// What the options replace is what they name: the file's weights per time step stay.
#[test]
fn a_metric_of_the_command_line_leaves_the_mode_of_the_weights() {
    use keras::layers::Dense;
    use keras::models::Sequential;
    use keras::training::Compile;
    use keras::{Array, npy};
    let place = Place::new();
    let mut model = Sequential::new();
    model.add(Dense::new(1).input_shape([5, 3])).unwrap();
    model.compile(Compile::new("sgd", "mse").sample_weight_mode("temporal")).unwrap();
    model.save(place.path("model.h5")).unwrap();
    for (name, shape) in [("x.npy", &[8, 5, 3][..]), ("y.npy", &[8, 5, 1]), ("w.npy", &[8, 5])] {
        npy::write_npy(place.path(name), &Array::full(shape, 1.0_f32).unwrap()).unwrap();
    }
    let data = ["model.h5", "--x", "x.npy", "--y", "y.npy", "--sample-weight", "w.npy"];
    for options in [&[][..], &["--metrics", "mae"], &["--loss", "mae"], &["--loss-weights", "[2]"]] {
        let line = [&["evaluate"], &data[..], options].concat();
        assert!(place.result(&line).contains("\"loss\""), "{options:?}");
    }
    let line = [&["fit"], &data[..], &["--optimizer", "adam", "--quiet", "--epochs", "1"]].concat();
    place.result(&line);
}
