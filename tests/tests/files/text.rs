//! Architectures as JSON and YAML.

use super::path;
use keras_core::layers::{Dense, Dropout, Input};
use keras_core::models::{Model, Sequential};
use keras_core::saving::{CustomObjects, load_model, model_from_json, model_from_yaml};
use keras_core::semantics::Semantics;
use serde_json::json;

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

/// The model of `STEM.json` or `STEM.yaml`, which is that of `STEM.h5`. None of a text that only Python reads.
pub(super) fn beside_hdf5(stem: &str, ending: &str) -> Option<Model> {
    let name = format!("{stem}.{ending}");
    let text = read(&name);
    let model = if ending == "json" { model_from_json(&text) } else { model_from_yaml(&text) };
    // TensorFlow 2 wrote Python objects into YAML: nobody but Python should read that.
    if text.contains("!!python/object") {
        let error = model.unwrap_err().to_string();
        assert!(error.contains("ListWrapper") && error.contains("a file never runs code"), "{error}");
        return None;
    }
    let model = model.unwrap_or_else(|error| panic!("{name}: {error}"));
    let whole = load_model(path(&format!("{stem}.h5"))).unwrap();
    let (mut ours, config) = (model.get_config().unwrap(), whole.get_config().unwrap());
    // A list of layers has no name.
    ours.config["name"] = config.config["name"].clone();
    assert_eq!(ours, config, "{name}");
    assert_eq!(model.semantics(), whole.semantics(), "{name}");
    Some(model)
}

#[test]
fn what_we_write_is_what_keras_wrote_to_the_character() {
    for name in ["k231/seq_2.3.1", "k231/fun_2.3.1"] {
        let json = read(&format!("{name}.json"));
        let model = model_from_json(&json).unwrap();
        assert_eq!(model.to_json().unwrap(), json, "{name}");
        // PyYAML refers to an object that Python happens to use twice.
        let yaml = read(&format!("{name}.yaml")).replace("&id001 {}", "{}").replace("*id001", "{}");
        assert_eq!(model.to_yaml().unwrap(), yaml, "{name}");
    }
}

#[test]
fn a_text_edited_by_hand_is_read() {
    let text = read("k231/seq_2.3.1.json").replace("\"units\": 4", "\"units\": 64");
    assert_eq!(model_from_json(&text).unwrap().count_params().unwrap(), 3 * 64 + 64 + 4 * 64 + 2 * 64 + 2);
    let text = read("k231/seq_2.3.1.yaml").replace("units: 4", "units: 64");
    assert_eq!(model_from_yaml(&text).unwrap().count_params().unwrap(), 3 * 64 + 64 + 4 * 64 + 2 * 64 + 2);
}

#[test]
fn rules_of_another_version_are_kept() {
    let model = model_from_json(&read("k224/seq_2.2.4.json")).unwrap();
    assert_eq!(model.semantics(), Semantics::keras_2_2());
    assert_eq!(model_from_json(&model.to_json().unwrap()).unwrap().semantics(), Semantics::keras_2_2());
    assert_eq!(model_from_yaml(&model.to_yaml().unwrap()).unwrap().semantics(), Semantics::keras_2_2());
}

#[test]
fn unknown_things_are_named_with_their_layer() {
    let x = Input::new([3]).tensor().unwrap();
    let layer = Dense::new(2).name("head").activation("relu").kernel_regularizer("l2");
    let y = layer.kernel_constraint("max_norm").call(&x).unwrap();
    let text = Model::new(&x, &y).unwrap().to_json().unwrap();
    let error = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}: {text}");
        model_from_json(&text.replace(from, to)).unwrap_err().to_string()
    };
    for (known, unknown, register) in [
        ("\"Dense\"", "\"Danse\"", "layers::register"),
        ("\"relu\"", "\"rulu\"", "activations::register"),
        ("\"Zeros\"", "\"Zerus\"", "initializers::register"),
        ("\"L1L2\"", "\"L1L3\"", "regularizers::register"),
        ("\"MaxNorm\"", "\"MaxNurm\"", "constraints::register"),
    ] {
        let message = error(known, unknown);
        for part in ["\"head\"", unknown, register, "CustomObjects"] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
    let message = error("\"units\": 2", "\"units\": 2, \"shape\": 3");
    assert!(message.contains("\"head\"") && message.contains("\"shape\""), "{message}");
    // Null says nothing.
    assert!(model_from_json(&text.replace("\"units\": 2", "\"units\": 2, \"shape\": null")).is_ok());
    let mine = CustomObjects::new().activation("rulu", |_| keras_core::activations::get("relu"));
    assert!(mine.during(|| model_from_json(&text.replace("\"relu\"", "\"rulu\""))).is_ok());
    // Python's bytecode is not run.
    let lambda = r#"{"class_name": "Sequential", "config": {"name": "s", "layers": [{"class_name": "Lambda", "config": {"name": "lambda_7",
        "trainable": true, "batch_input_shape": [null, 3], "dtype": "float32", "function": ["4wEAAAA=\n", null, null],
        "function_type": "lambda", "output_shape": null, "output_shape_type": "raw", "arguments": {}}}]}}"#;
    let message = model_from_json(lambda).unwrap_err().to_string();
    assert!(message.contains("lambda_7") && message.contains("register_lambda"), "{message}");
}

#[test]
fn hostile_texts_are_errors() {
    let mut model = Sequential::new();
    model.add(Dense::new(2).input_shape([3])).unwrap();
    model.add(Dropout::new(0.5)).unwrap();
    let text = model.to_json().unwrap();
    for units in ["1152921504606846976", "18446744073709551615", "4611686018427387904"] {
        let message =
            model_from_json(&text.replace("\"units\": 2", &format!("\"units\": {units}"))).unwrap_err();
        assert!(message.to_string().contains("dense"), "{message}");
    }
    let deep = format!("{}{}", "{\"class_name\":\"Model\",\"config\":".repeat(10_000), "}".repeat(10_000));
    assert!(model_from_json(&deep).is_err());
    for wrong in
        ["", "null", "[]", "{}", "{\"class_name\": \"Sequential\"}", "{\"class_name\": 3, \"config\": {}}"]
    {
        assert!(model_from_json(wrong).is_err() && model_from_yaml(wrong).is_err(), "{wrong}");
    }
}

/// A `Sequential` of Keras 1 may begin with a `Merge` of models.
#[test]
fn a_sequential_that_merges_branches_is_a_functional_model() {
    let dense = |name: &str, inputs: usize, outputs: usize| {
        format!(
            r#"{{"class_name": "Dense", "config": {{"name": "{name}", "trainable": true, "batch_input_shape": [null, {inputs}], "input_dtype": "float32",
            "init": "glorot_uniform", "activation": "linear", "W_regularizer": null, "b_regularizer": null, "activity_regularizer": null,
            "W_constraint": null, "b_constraint": null, "bias": true, "input_dim": {inputs}, "output_dim": {outputs}}}}}"#
        )
    };
    let branch = |layers: &str| format!(r#"{{"class_name": "Sequential", "config": [{layers}]}}"#);
    for (mode, features) in [("concat", 7), ("sum", 4)] {
        let second = if mode == "concat" { 3 } else { 4 };
        let text = format!(
            r#"{{"class_name": "Sequential", "keras_version": "1.2.2", "config": [{{"class_name": "Merge", "config": {{"name": "merge_1", "layers": [{}, {}],
            "mode": "{mode}", "concat_axis": -1, "dot_axes": -1, "mode_type": "raw", "output_shape": null, "output_shape_type": "raw",
            "output_mask": null, "output_mask_type": "raw", "arguments": {{}}}}}}, {}]}}"#,
            branch(&format!("{}, {}", dense("a", 2, 5), dense("b", 5, 4))),
            branch(&dense("c", 3, second)),
            dense("d", features, 1),
        );
        let model = model_from_json(&text).unwrap();
        let shapes: Vec<_> =
            model.inputs().unwrap().iter().map(|input| input.spec().unwrap().shape).collect();
        assert_eq!(shapes, [[None, Some(2)], [None, Some(3)]]);
        assert_eq!(model.count_params().unwrap(), 15 + 24 + 4 * second + features + 1);
        assert_eq!(model.semantics(), Semantics::keras_2_2());
        // As Keras 2 writes it, it comes back.
        assert_eq!(
            model_from_json(&model.to_json().unwrap()).unwrap().get_config().unwrap(),
            model.get_config().unwrap()
        );
    }
}

/// What tf.keras has and nothing here computes says how to get around it.
#[test]
fn what_is_not_read_of_tf_keras_says_what_to_do() {
    let model = |class: &str, dtype: &str| {
        let input = json!({"class_name": "InputLayer", "name": "x", "inbound_nodes": [],
            "config": {"name": "x", "batch_input_shape": [null, 3], "dtype": "float32"}});
        let layer = json!({"class_name": class, "name": "y", "config": {"name": "y", "dtype": dtype, "units": 2},
            "inbound_nodes": [[["x", 0, 0, {}]]]});
        let config = json!({"name": "m", "layers": [input, layer], "input_layers": [["x", 0, 0]],
            "output_layers": [["y", 0, 0]]});
        let text =
            json!({"class_name": "Functional", "config": config, "keras_version": "2.4.0"}).to_string();
        model_from_json(&text).map(|_| ()).unwrap_err().to_string()
    };
    let operation = model("TensorFlowOpLayer", "float32");
    assert!(operation.contains("TensorFlow 2.4 or later"), "{operation}");
    for name in ["float16", "mixed_float16", "mixed_bfloat16"] {
        let half = model("Dense", name);
        assert!(half.contains("make the model with the policy float32"), "{half}");
    }
}
