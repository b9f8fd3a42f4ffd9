//! `fit`.

use super::files::{Recorded, dense, floats, parts, sequential};
use super::{Place, Ran};
use serde_json::{Map, Value, json};

/// The line that repeats what Keras did in a recorded case; none where the command line has no words for it.
fn line(recorded: &Recorded) -> Option<Vec<String>> {
    let case = &recorded.case;
    let given = case["arguments"].as_object().unwrap();
    let mut line = recorded.compiled("fit");
    line.extend(["--optimizer".into(), case["compile"]["optimizer"].to_string()]);
    line.extend(["--seed".into(), case["seed"].to_string(), "--history".into(), "history.json".into()]);
    line.extend(["--save".into(), "saved.npz".into()]);
    line.extend(recorded.option("--x", &case["x"]));
    line.extend(recorded.option("--y", &case["y"]));
    for (name, value) in given {
        match name.as_str() {
            "epochs" | "batch_size" | "initial_epoch" | "validation_split" => {
                line.extend([format!("--{}", name.replace('_', "-")), value.to_string()]);
            }
            "shuffle" if value == false => line.push("--no-shuffle".into()),
            "validation_data" if value.as_array().unwrap().len() == 2 => {
                line.extend(recorded.option("--val-x", &value[0]));
                line.extend(recorded.option("--val-y", &value[1]));
            }
            "sample_weight" => line.extend(recorded.option("--sample-weight", value)),
            "class_weight" => {
                let map = |pairs: &Value| -> Value {
                    let pairs = pairs.as_array().unwrap().iter();
                    pairs.map(|pair| (pair[0].to_string(), pair[1].clone())).collect::<Map<_, _>>().into()
                };
                let weights = match value {
                    Value::Object(outputs) => outputs
                        .iter()
                        .map(|(name, pairs)| (name.clone(), map(pairs)))
                        .collect::<Map<_, _>>()
                        .into(),
                    pairs => map(pairs),
                };
                line.extend(["--class-weight".into(), weights.to_string()]);
            }
            _ => return None,
        }
    }
    let expressible = case["then"].is_null() && case["compile"]["weighted_metrics"].is_null();
    expressible.then_some(line)
}

/// Trains as Keras did and compares history and final weights.
fn repeat(names: &[&str]) {
    for name in names {
        for floatx in ["float32", "float64"] {
            let recorded = Recorded::new(&format!("{name}_{floatx}"));
            let line = line(&recorded).unwrap();
            recorded.place.result(&line.iter().map(String::as_str).collect::<Vec<_>>());
            let ours: Value = serde_json::from_slice(&recorded.place.get("history.json")).unwrap();
            let theirs = recorded.case["history"].as_array().unwrap();
            let keys: Vec<Value> =
                ours.as_object().unwrap().keys().map(|name| name.as_str().into()).collect();
            assert_eq!(
                keys,
                theirs.iter().map(|pair| pair[0].clone()).collect::<Vec<_>>(),
                "{name}: Keras's names and order"
            );
            for pair in theirs {
                let (key, values) = (pair[0].as_str().unwrap(), pair[1].as_array().unwrap());
                let epochs = ours[key].as_array().unwrap();
                assert_eq!(epochs.len(), values.len(), "{name}: one number of {key} per epoch");
                for (theirs, ours) in values.iter().zip(epochs) {
                    recorded.assert_close(key, theirs.as_f64().unwrap(), ours.as_f64().unwrap());
                }
            }
            for (i, key) in recorded.place.npz_names("saved.npz").iter().enumerate() {
                assert_eq!(*key, format!("arr_{i}"), "{name}: get_weights order");
                let (theirs, ours) =
                    (recorded.computed(&format!("weight_{i}")), recorded.ours("saved.npz", key));
                assert_eq!(theirs.len(), ours.len());
                for (theirs, ours) in theirs.into_iter().zip(ours) {
                    recorded.assert_close(key, theirs, ours);
                }
            }
        }
    }
}

#[test]
fn the_order_of_batches_is_that_of_numpys_seed_and_the_history_is_kerass() {
    repeat(&[
        "fit",
        "fit_default_batch",
        "fit_one_sample",
        "fit_batch_of_one",
        "fit_rmsprop",
        "fit_regularized",
        "fit_activity",
    ]);
}

#[test]
fn weights_of_classes_may_be_said_for_each_output() {
    repeat(&["fit_two_inputs_class_weights", "fit_two_inputs_one_class_weight"]);
}

#[test]
fn no_shuffle_takes_samples_as_they_come() {
    repeat(&["fit_no_shuffle"]);
}

#[test]
fn initial_epoch_is_where_training_starts() {
    repeat(&["fit_initial_epoch"]);
}

#[test]
fn validation_is_the_last_part_or_other_files() {
    repeat(&["fit_validation_data", "fit_cnn"]);
    let recorded = Recorded::new("fit_regularized_float64");
    assert!(line(&recorded).unwrap().contains(&"--validation-split".to_owned()));
}

#[test]
fn samples_and_classes_count_by_their_weights() {
    repeat(&["fit_class_weight", "fit_two_inputs_weights"]);
}

#[test]
fn several_outputs_have_losses_metrics_and_weights_by_list_or_name() {
    repeat(&["fit_two_inputs", "fit_two_inputs_one_loss"]);
}

/// 8 samples of a line with a dropout behind, and the start of a line that trains on them.
fn dropout() -> Place {
    let place = Place::new();
    let drop = json!({"class_name": "Dropout", "config": {"name": "drop", "rate": 0.5}});
    place.put("model.json", sequential(&[dense("wide", 3, 4), drop, dense("line", 4, 1)]));
    place.put("x.npy", floats(&[8, 3], &(0..24_u8).map(|i| f32::from(i % 7) * 0.3).collect::<Vec<_>>()));
    place.put("y.npy", floats(&[8, 1], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]));
    place
}

fn train(place: &Place, more: &[&str]) -> Ran {
    let line = [
        "fit",
        "model.json",
        "--x",
        "x.npy",
        "--y",
        "y.npy",
        "--loss",
        "mse",
        "--batch-size",
        "4",
        "--epochs",
        "2",
    ];
    let ran = place.run(&[&line[..], more].concat());
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{more:?}: {ran:?}");
    ran
}

#[test]
fn dropout_and_initial_weights_follow_the_seed() {
    let place = dropout();
    let mut results = Vec::new();
    for (seed, threads) in [("7", "1"), ("7", "2"), ("8", "1")] {
        let ran = train(&place, &["--seed", seed, "--threads", threads, "--save", "w.npz"]);
        assert_eq!(ran.stderr, "", "a seed that was given is not told");
        results.push(place.get("w.npz"));
    }
    assert!(results[0] == results[1] && results[0] != results[2]);
    // The same initial weights, another order and dropout.
    place.put("start.npz", &results[0]);
    train(&place, &["--weights", "start.npz", "--seed", "7", "--save", "a.npz"]);
    train(&place, &["--weights", "start.npz", "--seed", "8", "--save", "b.npz"]);
    assert_ne!(place.get("a.npz"), place.get("b.npz"));
}

#[test]
fn a_seed_that_was_drawn_is_printed_and_repeats_the_run() {
    let place = dropout();
    let mut seeds = Vec::new();
    for _ in 0..2 {
        let ran = train(&place, &["--save", "a.npz"]);
        let seed = ran.stderr.strip_prefix("seed ").unwrap().split_once(':').unwrap().0.to_owned();
        train(&place, &["--save", "b.npz", "--seed", &seed]);
        assert_eq!(place.get("a.npz"), place.get("b.npz"), "seed {seed}");
        seeds.push(seed);
    }
    assert_ne!(seeds[0], seeds[1]);
    place.fails(2, &["fit", "--seed", "4294967296"], &["a whole number from 0 to 4294967295"]);
}

#[test]
fn history_is_what_pythons_json_dump_writes() {
    let place = dropout();
    train(
        &place,
        &[
            "--history",
            "h.json",
            "--metrics",
            "mae",
            "--validation-split",
            "0.5",
            "--save",
            "w.npz",
            "--seed",
            "1",
        ],
    );
    let text = String::from_utf8(place.get("h.json")).unwrap();
    let history: Map<String, Value> = serde_json::from_str(&text).unwrap();
    let names: Vec<&str> = history.keys().map(String::as_str).collect();
    assert_eq!(names, ["val_loss", "val_mae", "loss", "mae"]);
    let items: Vec<String> = history
        .iter()
        .map(|(name, values)| {
            let values: Vec<String> = values
                .as_array()
                .unwrap()
                .iter()
                .map(|value| format!("{:?}", value.as_f64().unwrap()))
                .collect();
            format!("\"{name}\": [{}]", values.join(", "))
        })
        .collect();
    assert_eq!(text, format!("{{{}}}", items.join(", ")), "separators as in Python, no line end");

    train(&place, &["--history", "h.json", "--initial-epoch", "2", "--save", "w.npz", "--seed", "1"]);
    assert_eq!(place.get("h.json"), b"{}", "no epochs");
    place.put("y.npy", floats(&[8, 1], &[f32::NAN; 8]));
    train(&place, &["--history", "h.json", "--save", "w.npz", "--seed", "1"]);
    assert_eq!(place.get("h.json"), b"{\"loss\": [NaN, NaN]}");
}

#[test]
fn history_is_rewritten_after_every_epoch() {
    let place = dropout();
    let line = [
        "fit",
        "model.json",
        "--x",
        "x.npy",
        "--y",
        "y.npy",
        "--loss",
        "mse",
        "--epochs",
        "1000000",
        "--quiet",
        "--history",
        "h.json",
    ];
    let mut child = place.command(&line).spawn().unwrap();
    let mut lengths: Vec<usize> = Vec::new();
    let start = std::time::Instant::now();
    while lengths.len() < 5 {
        assert!(start.elapsed().as_secs() < 60 && child.try_wait().unwrap().is_none(), "{lengths:?}");
        if let Ok(text) = std::fs::read_to_string(place.path("h.json")) {
            let history: Value = serde_json::from_str(&text).expect("always whole");
            let epochs = history["loss"].as_array().unwrap().len();
            if lengths.last() != Some(&epochs) {
                lengths.push(epochs);
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(lengths.is_sorted() && lengths[4] < 1_000_000, "{lengths:?}");
}

#[test]
fn saved_weights_go_on_where_training_stopped() {
    let recorded = Recorded::new("fit_no_shuffle_float64");
    let place = &recorded.place;
    let mut line = line(&recorded).unwrap();
    let run = |line: &[String]| place.result(&line.iter().map(String::as_str).collect::<Vec<_>>());
    run(&line);
    let whole = place.get("saved.npz");
    // Plain SGD has no state: 2 + 3 epochs are 5.
    let epochs = line.iter().position(|word| word == "--epochs").unwrap() + 1;
    line[epochs] = "2".into();
    run(&line);
    assert_ne!(place.get("saved.npz"), whole);
    let weights = line.iter().position(|word| word == "weights.npz").unwrap();
    line[weights] = "saved.npz".into();
    line[epochs] = "3".into();
    run(&line);
    assert_eq!(place.get("saved.npz"), whole);
}

#[test]
fn without_save_a_line_says_that_nothing_was_saved() {
    let place = dropout();
    let before = place.names();
    let ran = train(&place, &["--seed", "1"]);
    assert_eq!(ran.stderr, "nothing was saved: --save FILE.h5 keeps the trained model\n");
    assert_eq!(place.names(), before);
    train(&place, &["--save", "w.npz"]);
    assert_eq!(place.npz_names("w.npz"), ["arr_0", "arr_1", "arr_2", "arr_3"]);
    assert_eq!(place.npz::<f32>("w.npz", "arr_0").shape(), [3, 4]);
}

#[test]
fn saving_is_by_extension() {
    let place = dropout();
    for file in ["w.txt", "w", "model.json"] {
        place.fails(
            2,
            &["fit", "model.json", "--x", "x.npy", "--y", "y.npy", "--save", file],
            &["a file .h5, .hdf5 or .keras for the model, or .weights.h5 or .npz for its weights", file],
        );
    }
    for file in ["m.h5", "m.hdf5", "m.keras"] {
        train(&place, &["--save", file]);
        assert!(keras_core::saving::load_model(place.path(file)).unwrap().optimizer().is_ok(), "{file}");
    }
    train(&place, &["--seed", "5", "--save", "w.npz"]);
    train(&place, &["--seed", "5", "--save", "w.weights.h5"]);
    for (weights, out) in [("w.npz", "a.npy"), ("w.weights.h5", "b.npy")] {
        let line = ["predict", "model.json", "--weights", weights, "--input", "x.npy", "--output", out];
        place.result(&line);
    }
    assert_eq!(place.get("a.npy"), place.get("b.npy"), "the same weights");
}

#[test]
fn a_saved_training_goes_on_bit_for_bit() {
    for (ending, optimizer) in [("h5", "rmsprop"), ("keras", "adam"), ("keras", "sgd")] {
        goes_on(ending, optimizer);
    }
}

fn goes_on(ending: &str, optimizer: &str) {
    let place = dropout();
    let file = |name: &str| format!("{name}.{ending}");
    let weights =
        |name: &str| keras_core::saving::load_model(place.path(&file(name))).unwrap().get_weights().unwrap();
    let fit = |file: &str, more: &[&str]| {
        let data = ["fit", file, "--x", "x.npy", "--y", "y.npy", "--batch-size", "3"];
        place.result(&[&data[..], more].concat());
    };
    let first = ["--loss", "mse", "--seed", "3", "--optimizer", optimizer];
    fit("model.json", &[&first[..], &["--epochs", "10", "--save", &file("whole")]].concat());
    fit("model.json", &[&first[..], &["--epochs", "5", "--save", &file("half")]].concat());
    fit(&file("half"), &["--initial-epoch", "5", "--epochs", "10", "--save", &file("rest")]);
    assert_eq!(weights("rest"), weights("whole"));
    fit(&file("half"), &["--initial-epoch", "5", "--epochs", "7", "--save", &file("most")]);
    fit(&file("most"), &["--initial-epoch", "7", "--epochs", "10", "--save", &file("all")]);
    assert_eq!(weights("all"), weights("whole"));
    assert_ne!(weights("half"), weights("whole"));
}

#[test]
fn a_compiled_file_trains_on_and_options_replace_its_parts() {
    let place = dropout();
    let fit = |file: &str, more: &[&str]| {
        let ran =
            place.run(&[&["fit", file, "--x", "x.npy", "--y", "y.npy", "--save", "m.h5"][..], more].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
    };
    let model = || keras_core::saving::load_model(place.path("m.h5")).unwrap();
    fit("model.json", &["--loss", "mse", "--optimizer", "adam", "--metrics", "mae"]);
    let line = place.result(&["evaluate", "m.h5", "--x", "x.npy", "--y", "y.npy"]);
    assert!(line.starts_with("{\"loss\":") && line.contains("\"mae\":"), "{line}");
    fit("m.h5", &["--loss", "mae"]);
    let optimizer = model().optimizer().unwrap();
    assert_eq!((optimizer.definition().class_name(), optimizer.iterations().unwrap()), ("Adam", 2));
    assert_eq!(model().training_config().unwrap().unwrap()["loss"], "mae");
    fit("m.h5", &["--optimizer", "sgd"]);
    let optimizer = model().optimizer().unwrap();
    assert_eq!((optimizer.definition().class_name(), optimizer.iterations().unwrap()), ("SGD", 1));
}

#[test]
fn an_uncompiled_model_needs_a_loss_and_trains_with_rmsprop() {
    let place = dropout();
    place.fails(1, &["fit", "model.json", "--x", "x.npy", "--y", "y.npy"], &["--loss"]);
    let mut results = Vec::new();
    for optimizer in [&[][..], &["--optimizer", "rmsprop"], &["--optimizer", "sgd"]] {
        train(&place, &[&["--seed", "3", "--save", "w.npz"], optimizer].concat());
        results.push(place.get("w.npz"));
    }
    assert!(results[0] == results[1] && results[0] != results[2]);
}

#[test]
fn options_are_names_or_kerass_json() {
    let place = dropout();
    let mut results = Vec::new();
    for (optimizer, loss, metrics) in [
        ("adam", "mse", "mae,mse"),
        (
            r#"{"class_name":"Adam","config":{"learning_rate":0.001}}"#,
            r#"{"class_name":"MeanSquaredError","config":{}}"#,
            r#"["mae","mse"]"#,
        ),
        (r#" "adam""#, r#"["mse"]"#, r#"{"line":["mae","mse"]}"#),
        ("Adam", r#"{"line":"mse"}"#, r#"[["mae","mse"]]"#),
    ] {
        let options = [
            "--optimizer",
            optimizer,
            "--metrics",
            metrics,
            "--seed",
            "3",
            "--save",
            "w.npz",
            "--history",
            "h.json",
        ];
        let line = ["fit", "model.json", "--x", "x.npy", "--y", "y.npy", "--loss", loss];
        place.result(&[&line[..], &options].concat());
        results.push((place.get("w.npz"), place.get("h.json")));
    }
    assert!(results.iter().all(|result| *result == results[0]));

    let wrong = |code, more: &[&str], parts: &[&str]| {
        place.fails(code, &[&["fit", "model.json", "--x", "x.npy", "--y", "y.npy"], more].concat(), parts);
    };
    wrong(1, &["--loss", "mee"], &["mee", "a known loss"]);
    wrong(1, &["--loss", "mse", "--optimizer", "adem"], &["adem", "a known optimizer"]);
    wrong(1, &["--loss", "mse", "--metrics", "mse,maee"], &["maee", "a known metric"]);
    wrong(1, &["--loss", r#"["mse","mse"]"#], &["1 entries", "line"]);
    wrong(1, &["--loss", r#"{"lime":"mse"}"#], &["line", "lime"]);
    wrong(1, &["--loss", "mse", "--loss-weights", r#"["half"]"#], &["--loss-weights", "numbers"]);
    wrong(1, &["--loss", "mse", "--class-weight", "[1, 2]"], &["--class-weight", "[1,2]"]);
    wrong(2, &["--loss", r#"{"class_name":"#], &["JSON", "--loss"]);
    wrong(2, &["--loss", "mse", "--class-weight", "0:1"], &["JSON", "--class-weight"]);
    wrong(1, &["--loss", "mse", "--optimizer", r#"{"class_name":"Adam","config":{"speed":1}}"#], &["speed"]);
}

#[test]
fn verbose_2_writes_a_line_per_epoch_and_0_none() {
    let place = dropout();
    let more = ["--seed", "1", "--save", "w.npz", "--verbose"];
    let ran = train(&place, &[&more[..], &["2"]].concat());
    let epochs: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("Epoch ")).collect();
    assert_eq!(epochs, ["Epoch 1/2", "Epoch 2/2"], "{ran:?}");
    assert_eq!(ran.stderr.lines().filter(|line| line.contains(" - loss: ")).count(), 2, "{ran:?}");
    for level in ["0", "1"] {
        assert_eq!(train(&place, &[&more[..], &[level]].concat()).stderr, "", "a bar is for terminals");
    }
    place.fails(2, &["fit", "--verbose", "3"], &["0, 1 or 2"]);
}

#[test]
fn options_that_exclude_or_need_each_other_are_wrong_usage() {
    let place = dropout();
    let line = ["fit", "model.json", "--x", "x.npy", "--y", "y.npy", "--loss", "mse"];
    let wrong = |more: &[&str], parts: &[&str]| place.fails(2, &[&line[..], more].concat(), parts);
    wrong(
        &["--val-x", "x.npy", "--val-y", "y.npy", "--validation-split", "0.5"],
        &["--val-x", "--validation-split", "both"],
    );
    wrong(&["--val-x", "x.npy"], &["--val-y"]);
    wrong(&["--val-y", "y.npy"], &["--val-x"]);
    for part in ["1", "1.0", "-0.1", "NaN", "half"] {
        place.fails(
            2,
            &[&line[..], &[&format!("--validation-split={part}")]].concat(),
            &["less than 1", part],
        );
    }
    place.fails(1, &[&line[..], &["--validation-split", "0.99"]].concat(), &["both sides"]);
}

#[test]
fn weights_are_saved_in_the_models_element_type() {
    let place = dropout();
    train(&place, &["--floatx", "float64", "--save", "w.npz"]);
    assert_eq!(place.npz::<f64>("w.npz", "arr_0").len(), 12);
    // What was trained is read back as it was: predictions of the saved weights have their type.
    place.result(&[
        "predict",
        "model.json",
        "--weights",
        "w.npz",
        "--floatx",
        "float64",
        "--input",
        "x.npy",
        "--output",
        "p.npy",
    ]);
    assert_eq!(parts(&place.get("p.npy")).0, "<f8");
}
