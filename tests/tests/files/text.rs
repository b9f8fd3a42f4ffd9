//! Architectures as JSON and YAML.

use super::{on_ndarray, path, wave};
use crate::hostile::{WORK, in_a_child};
use keras_core::Array;
use keras_core::layers::{Dense, Dropout, Embedding, Input, LSTM};
use keras_core::models::{Model, Sequential};
use keras_core::saving::{CustomObjects, load_model, model_from_json, model_from_yaml};
use keras_core::semantics::Semantics;
use serde_json::{Value, json};

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
fn texts_without_a_version_are_told_by_their_keys() {
    let bare = |text: &str| {
        let mut json: Value = serde_json::from_str(text).unwrap();
        let fields = json.as_object_mut().unwrap();
        assert!(fields.remove("keras_version").is_some() && fields.remove("backend").is_some());
        model_from_json(&json.to_string()).unwrap().semantics()
    };
    assert_eq!(bare(&read("k231/seq_2.3.1.json")), Semantics::keras_2_3());
    assert_eq!(bare(&read("k231tf2/fun_tfk2.1.4.json")), Semantics::tf_keras());
    assert_eq!(model_from_json(&words_of_keras_1()).unwrap().semantics(), Semantics::keras_2_2());
    let mut model = Sequential::new();
    model.add(Dense::new(2).input_shape([3])).unwrap();
    let policy = r#""dtype": {"class_name": "DTypePolicy", "config": {"name": "float32"}}"#;
    let mut json: Value = serde_json::from_str(&model.to_json().unwrap()).unwrap();
    json.as_object_mut().unwrap().remove("keras_version");
    let text = json.to_string().replace(r#""dtype":"float32""#, policy);
    assert_eq!(model_from_json(&text).unwrap().semantics(), Semantics::keras_3());
}

/// As Keras 1.2.2 writes a stack that begins with words.
fn words_of_keras_1() -> String {
    json!({"class_name": "Sequential", "config": [
        {"class_name": "Embedding", "config": {"name": "embedding_1", "trainable": true, "batch_input_shape": [null, 4],
            "input_dtype": "int32", "input_dim": 9, "output_dim": 3, "input_length": 4, "init": "uniform", "mask_zero": true,
            "activity_regularizer": null, "W_regularizer": null, "W_constraint": null, "dropout": 0.0}},
        {"class_name": "LSTM", "config": {"name": "lstm_1", "trainable": true, "output_dim": 2, "init": "glorot_uniform",
            "inner_init": "orthogonal", "forget_bias_init": "one", "activation": "tanh", "inner_activation": "hard_sigmoid",
            "W_regularizer": null, "U_regularizer": null, "b_regularizer": null, "dropout_W": 0.0, "dropout_U": 0.0,
            "return_sequences": false, "go_backwards": false, "stateful": false, "unroll": false, "consume_less": "cpu",
            "input_dim": 3, "input_length": null}},
        {"class_name": "Dense", "config": {"name": "dense_1", "trainable": true, "output_dim": 1, "init": "glorot_uniform",
            "activation": "sigmoid", "W_regularizer": null, "b_regularizer": null, "activity_regularizer": null,
            "W_constraint": null, "b_constraint": null, "bias": true, "input_dim": 2}}]})
    .to_string()
}

#[test]
fn words_of_keras_1_have_a_table_of_floats() {
    let old = on_ndarray(model_from_json(&words_of_keras_1()).unwrap());
    let mut new = Sequential::new();
    new.add(Embedding::new(9, 3).mask_zero(true).input_length(4)).unwrap();
    new.add(LSTM::new(2).recurrent_activation("hard_sigmoid")).unwrap();
    new.add(Dense::new(1).activation("sigmoid")).unwrap();
    let new = on_ndarray(new.model().clone());
    old.set_weights(&new.get_weights().unwrap()).unwrap();
    assert_eq!(old.get_weights().unwrap(), new.get_weights().unwrap());
    let x = Array::from([[1_i32, 2, 8, 0], [4, 0, 0, 0]]);
    assert_eq!(old.predict(x.clone()).unwrap(), new.predict(x).unwrap());
}

/// tf.keras to 2.1 does not say what a stack without an input shape was built for: its first kernel does.
#[test]
fn a_stack_without_an_input_shape_takes_that_of_its_first_kernel() {
    let x = wave(&[2, 3]);
    let mut model = Sequential::new();
    model.add(Dense::new(4).activation("tanh")).unwrap();
    model.add(Dense::new(1)).unwrap();
    let model = on_ndarray(model.model().clone());
    let expected = model.predict(x.clone()).unwrap();
    let target = super::file("built.h5");
    model.save(&target).unwrap();
    let said = r#", "build_input_shape": [null, 3]"#.as_bytes();
    let mut bytes = std::fs::read(&target).unwrap();
    let at = bytes.windows(said.len()).position(|window| window == said).unwrap();
    assert_eq!(load_model(&target).unwrap().predict(x.clone()).unwrap(), expected);
    bytes[at..at + said.len()].fill(b' ');
    std::fs::write(&target, bytes).unwrap();
    let again = load_model(&target).unwrap();
    assert_eq!(again.layers()[0].weights()[0].variable.shape(), [3, 4]);
    assert_eq!(again.predict(x).unwrap(), expected);
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
    if std::env::var(WORK).is_err() {
        return in_a_child("files::text::hostile_texts_are_errors", "all");
    }
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
