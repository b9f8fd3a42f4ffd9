//! "MODEL" and `--weights`.

use super::Place;
use super::files::{dense, floats, read_floats, sequential};

const PREDICT: [&str; 6] = ["predict", "model.json", "--input", "x.npy", "--output", "y.npy"];

fn line() -> Place {
    let place = Place::new();
    place.put_line();
    place.put("x.npy", floats(&[1, 3], &[1.0, 1.0, 1.0]));
    place
}

#[test]
fn a_model_is_recognised_by_its_content() {
    let place = line();
    let json = place.get("model.json");
    place.put("model.txt", &json);
    place.put("model.h5", [b"\xEF\xBB\xBF \n", &json[..]].concat());
    let summary = place.result(&["summary", "model.json"]);
    assert_eq!(place.result(&["summary", "model.txt"]), summary);
    assert_eq!(place.result(&["summary", "model.h5"]), summary);

    place.put("real.json", b"\x89HDF\r\n\x1a\n and more");
    place.fails(1, &["summary", "real.json"], &["real.json", "HDF5 file"]);
    place.put("real.keras", b"PK\x03\x04 and more");
    place.fails(1, &["summary", "real.keras"], &["a .keras archive", "EOCD"]);
    place.put("model.yaml", "backend: tensorflow\nclass_name: Sequential\n");
    place.fails(1, &["summary", "model.yaml"], &["model.yaml", "class_name and config"]);
    place.fails(1, &["summary", "x.npy"], &["HDF5, .keras, JSON, YAML or model.json", "a .npy array"]);
}

#[test]
fn a_layers_model_of_tensorflow_js_is_one_with_its_weights() {
    let place = line();
    let weights = [1.0_f32, 10.0, 2.0, 20.0, 3.0, 30.0, 0.5, -0.5];
    let bytes: Vec<u8> = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
    // An array begins in one shard and ends in the next.
    place.put("group1-shard1of2.bin", &bytes[..10]);
    place.put("group1-shard2of2.bin", &bytes[10..]);
    let topology: serde_json::Value = serde_json::from_slice(&place.get("model.json")).unwrap();
    let model = serde_json::json!({"format": "layers-model", "modelTopology": {"model_config": topology}, "weightsManifest": [{
        "paths": ["group1-shard1of2.bin", "group1-shard2of2.bin"],
        "weights": [{"name": "line/kernel", "shape": [3, 2], "dtype": "float32"}, {"name": "line/bias", "shape": [2], "dtype": "float32"}]}]});
    place.put("tfjs.json", model.to_string());
    let summary = place.result(&["summary", "model.json"]);
    assert_eq!(place.result(&["summary", "tfjs.json"]), summary);
    place.result(&["predict", "tfjs.json", "--input", "x.npy", "--output", "y.npy"]);
    assert_eq!(read_floats(&place.get("y.npy")), (vec![1, 2], vec![6.5, 59.5]));
    place.result(&["convert", "tfjs.json", "whole.h5"]);
    place.result(&["predict", "whole.h5", "--input", "x.npy", "--output", "z.npy"]);
    assert_eq!(place.get("z.npy"), place.get("y.npy"));
    let shown = place.result(&["inspect", "tfjs.json"]);
    assert!(shown.contains("TF.js layers-model") && shown.contains("line/kernel"), "{shown}");
    place.put(
        "graph.json",
        "{\"format\": \"graph-model\", \"modelTopology\": {\"node\": []}, \"weightsManifest\": []}",
    );
    place.fails(1, &["summary", "graph.json"], &["graph.json", "graph-model"]);
}

#[test]
fn a_model_that_is_none_is_an_error_with_its_place() {
    let place = line();
    place.put("cut.json", &place.get("model.json")[..60]);
    place.fails(1, &["summary", "cut.json"], &["cut.json", "line 1, column"]);
    place.put("other.json", "{\"modelConfig\": {}, \"weights\": []}");
    place.fails(1, &["summary", "other.json"], &["other.json", "class_name"]);
    place.put("layer.json", sequential(&[serde_json::json!({"class_name": "Dance", "config": {}})]));
    place.fails(1, &["summary", "layer.json"], &["Dance"]);
}

#[test]
fn keys_that_nobody_knows_and_that_are_null_are_one_warning() {
    let place = Place::new();
    let mut layers = [dense("first", 3, 2), dense("second", 2, 2)];
    for layer in &mut layers {
        for key in ["later", "quantization"] {
            layer["config"][key] = serde_json::Value::Null;
        }
    }
    place.put("model.json", sequential(&layers));
    let ran = place.run(&["summary", "model.json"]);
    let warning =
        "warning: Dense config: unknown keys that are null change nothing: \"later\", \"quantization\"\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), warning));
    // With a value it would mean something.
    layers[1]["config"]["later"] = serde_json::json!(1);
    place.put("model.json", sequential(&layers[1..]));
    place.fails(1, &["summary", "model.json"], &["\"second\"", "\"later\": 1", "remove the key"]);
}

#[test]
fn weights_are_numbered_in_the_order_of_get_weights_or_named() {
    let place = line();
    let (kernel, bias) = ([1.0_f32, 10.0, 2.0, 20.0, 3.0, 30.0], [0.5_f32, -0.5]);
    place.put_npz::<f32>("named.npz", &[("line/bias", &[2], &bias), ("line/kernel", &[3, 2], &kernel)]);
    place.put_npz::<f32>("colons.npz", &[("line/bias:0", &[2], &bias), ("line/kernel:0", &[3, 2], &kernel)]);
    place.put_npz::<f32>("reversed.npz", &[("arr_1", &[2], &bias), ("arr_0", &[3, 2], &kernel)]);
    place.put_npz::<f64>(
        "double.npz",
        &[("arr_0", &[3, 2], &[1.0, 10.0, 2.0, 20.0, 3.0, 30.0]), ("arr_1", &[2], &[0.5, -0.5])],
    );
    for file in ["weights.npz", "named.npz", "colons.npz", "reversed.npz", "double.npz"] {
        place.result(&[&PREDICT[..], &["--weights", file]].concat());
        assert_eq!(read_floats(&place.get("y.npy")), (vec![1, 2], vec![6.5, 59.5]), "{file}");
    }
}

#[test]
fn weights_that_do_not_fit_are_errors() {
    let place = line();
    let fails = |parts: &[&str]| place.fails(1, &["summary", "model.json", "--weights", "w.npz"], parts);
    place.put_npz::<f32>("w.npz", &[("arr_0", &[3, 2], &[0.0; 6])]);
    fails(&["2 arrays, for line/kernel, line/bias", "received 1"]);
    place.put_npz::<f32>("w.npz", &[("arr_0", &[2, 3], &[0.0; 6]), ("arr_1", &[2], &[0.0; 2])]);
    fails(&["[3, 2]", "line/kernel", "[2, 3]"]);
    place.put_npz::<f32>("w.npz", &[("line/kernel", &[3, 2], &[0.0; 6]), ("line/offset", &[2], &[0.0; 2])]);
    fails(&["line/bias", "line/offset"]);
    place.put("w.npz", b"\x89HDF\r\n\x1a\n and more");
    fails(&["w.npz", "a readable HDF5 file"]);
    place.put("w.npz", floats(&[2], &[0.0; 2]));
    fails(&["an HDF5 or .npz file", "a .npy array"]);
}

#[test]
fn what_computes_needs_weights_unless_there_are_none() {
    let place = line();
    place.fails(1, &PREDICT, &["--weights"]);
    place.put("y.npy", floats(&[1, 2], &[0.0; 2]));
    place.fails(
        1,
        &["evaluate", "model.json", "--x", "x.npy", "--y", "y.npy", "--loss", "mse"],
        &["--weights"],
    );
    let flat = serde_json::json!({"class_name": "Flatten", "config": {"name": "flat", "batch_input_shape": [null, 3]}});
    place.put("model.json", sequential(&[flat]));
    place.result(&PREDICT);
    assert_eq!(read_floats(&place.get("y.npy")), (vec![1, 3], vec![1.0; 3]));
}

#[test]
fn floatx_is_the_type_of_layers_that_say_none() {
    let place = line();
    let mut layer = dense("line", 3, 2);
    for (dtype, floatx, descr) in [
        (None, "float32", "<f4"),
        (None, "float64", "<f8"),
        (Some("float64"), "float32", "<f8"),
        (Some("float32"), "float64", "<f4"),
    ] {
        if let Some(dtype) = dtype {
            layer["config"]["dtype"] = dtype.into();
        }
        place.put("model.json", sequential(std::slice::from_ref(&layer)));
        place.result(&[&PREDICT[..], &["--weights", "weights.npz", "--floatx", floatx]].concat());
        assert_eq!(super::files::parts(&place.get("y.npy")).0, descr, "{dtype:?} {floatx}");
    }
}
