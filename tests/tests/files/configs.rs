//! Layers of every version from their configs alone: class, weights and shape of the result.

use super::path;
use crate::fixtures::Fixture;
use keras_core::layers::{Arguments, Input, LayerRef, deserialize};
use keras_core::registry::Config;
use keras_core::semantics::Semantics;
use keras_core::{DType, Spec, Tensor};
use serde_json::Value;
use std::collections::HashMap;

/// Of every case, by its name.
pub(super) fn input_specs() -> HashMap<String, Vec<Spec>> {
    let fixture = Fixture::load("golden_layers_2_3_1");
    let shape = |value: &Value| {
        Spec::new(
            value
                .as_array()
                .unwrap()
                .iter()
                .map(|len| len.as_u64().map(|len| len as usize))
                .collect::<Vec<_>>(),
            DType::F32,
        )
    };
    let of_case = |case: &Value| {
        let shapes: Vec<Spec> = case["input_shapes"].as_array().unwrap().iter().map(shape).collect();
        (case["name"].as_str().unwrap().to_owned(), shapes)
    };
    let mut specs: HashMap<_, _> = fixture.cases().iter().map(of_case).collect();
    for name in ["CuDNNLSTM", "CuDNNGRU"] {
        specs.insert(name.to_owned(), specs["LSTM"].clone());
    }
    specs
}

/// Numbers of numpy's, as `layers.py` wrote them, as numbers.
fn plain(value: &mut Value) {
    match value {
        Value::Object(map) => match (map.len(), map.values().next()) {
            (1, Some(inner)) if map.contains_key("ndarray") || map.contains_key("npscalar") => {
                *value = inner.clone();
            }
            _ => map.values_mut().for_each(plain),
        },
        Value::Array(items) => items.iter_mut().for_each(plain),
        _ => {}
    }
}

fn agrees(file: &str, name: &str, recorded: &Value, specs: &[Spec], semantics: Semantics) {
    let config = Config {
        class_name: recorded["class"].as_str().unwrap().to_owned(),
        config: recorded["config"].as_object().unwrap().clone(),
    };
    let layer: LayerRef = deserialize(&config).unwrap_or_else(|error| panic!("{file}, {name}: {error}"));
    let inputs = || specs.iter().map(|spec| Input::new(spec.shape[1..].to_vec()).tensor());
    let inputs: Vec<Tensor> = inputs().collect::<Result<_, _>>().unwrap();
    let _outputs = semantics.during(|| layer.call_with(inputs, Arguments::new())).unwrap();
    assert_eq!(layer.class_name(), config.class_name, "{file}, {name}");
    let shapes = |weights: &Value| -> Vec<Value> {
        weights.as_array().unwrap().iter().map(|weight| weight[1].clone()).collect()
    };
    let ours: Vec<Value> =
        layer.weights().iter().map(|weight| serde_json::json!(weight.variable.shape())).collect();
    assert_eq!(ours, shapes(&recorded["weights"]), "{file}, {name}");
    // tf.keras left the open length of Reshape open, and has the states of a cell in a list of their own.
    let flat = |shape: &str| shape.replace(['[', ']'], "").replace("(None, 2, None)", "(None, 2, 3)");
    assert_eq!(flat(&layer.output_shape_text()), flat(recorded["out"].as_str().unwrap()), "{file}, {name}");
}

/// Every layer of a file is made from its config.
pub(super) fn are_read(file: &str, specs: &HashMap<String, Vec<Spec>>) {
    let is_old = matches!(file, "k208/layers.json" | "k224/layers.json");
    let semantics = if is_old { Semantics::keras_2_2() } else { Semantics::keras_2_3() };
    let text = std::fs::read_to_string(path(file)).unwrap();
    let mut recorded: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
    recorded.values_mut().for_each(plain);
    assert_eq!(recorded.len(), 81, "{file}");
    for (name, recorded) in &recorded {
        match name.as_str() {
            // What this version did not have.
            _ if recorded.get("err").is_some() => {}
            "Lambda" | "InputLayer" => {}
            _ => agrees(file, name, recorded, &specs[name], semantics),
        }
    }
}
