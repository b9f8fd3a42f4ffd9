//! Functional configs of Keras 3 as Keras 2 writes them: calls as objects of arguments become lists of references.

use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// Rewrites every functional model inside.
pub(super) fn plain(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(plain),
        Value::Object(fields) => {
            fields.values_mut().for_each(plain);
            if fields.contains_key("input_layers") {
                functional(fields);
            }
        }
        _ => {}
    }
}

fn functional(config: &mut Map<String, Value>) {
    let Some(layers) = config.get_mut("layers").and_then(Value::as_array_mut) else { return };
    let is_model = |layer: &Value| {
        matches!(layer.get("class_name").and_then(Value::as_str), Some("Functional" | "Sequential" | "Model"))
    };
    let name = |layer: &Value| layer.get("name").and_then(Value::as_str).map(str::to_owned);
    let models: HashSet<String> = layers.iter().filter(|layer| is_model(layer)).filter_map(name).collect();
    let mut later = false;
    for layer in layers.iter_mut() {
        let Some(nodes) = layer.get_mut("inbound_nodes").and_then(Value::as_array_mut) else { continue };
        for node in nodes.iter_mut().filter(|node| node.is_object()) {
            later = true;
            *node = call(node, &models);
        }
    }
    if later {
        for key in ["input_layers", "output_layers"] {
            if let Some(ends) = config.get_mut(key) {
                numbered(ends, &models);
            }
        }
    }
}

/// `[[name, node, tensor, arguments], …]` of `{"args": […], "kwargs": {…}}`.
fn call(node: &Value, models: &HashSet<String>) -> Value {
    let mut arguments = node.get("kwargs").and_then(Value::as_object).cloned().unwrap_or_default();
    // What is said of masks follows from the graph.
    arguments.retain(|name, value| !value.is_null() && name != "mask");
    arguments.values_mut().for_each(|value| references(value, models));
    let mut sources = Vec::new();
    for argument in node.get("args").and_then(Value::as_array).into_iter().flatten() {
        collect(argument, models, &mut sources);
    }
    let list = sources.into_iter().map(|source| match source {
        Value::Array(mut parts) => {
            parts.push(json!(arguments));
            Value::Array(parts)
        }
        other => other,
    });
    list.collect()
}

fn collect(argument: &Value, models: &HashSet<String>, sources: &mut Vec<Value>) {
    match argument {
        Value::Array(items) => items.iter().for_each(|item| collect(item, models, sources)),
        Value::Null => {}
        argument => {
            let mut reference = argument.clone();
            references(&mut reference, models);
            sources.push(reference);
        }
    }
}

/// `{"class_name": "__keras_tensor__", …}` as `[name, node, tensor]`.
fn references(value: &mut Value, models: &HashSet<String>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| references(item, models)),
        Value::Object(fields) => {
            let history = fields.get("config").and_then(|config| config.get("keras_history"));
            if let Some(history) =
                history.filter(|_| fields.get("class_name") == Some(&json!("__keras_tensor__")))
            {
                let mut history = history.clone();
                numbered(&mut history, models);
                *value = history;
            } else {
                fields.values_mut().for_each(|item| references(item, models));
            }
        }
        _ => {}
    }
}

/// Counts the calls of models from 1, as Keras 2 does.
fn numbered(value: &mut Value, models: &HashSet<String>) {
    let Value::Array(parts) = value else { return };
    match parts.as_mut_slice() {
        [Value::String(name), node, _] => {
            if let (true, Some(index)) = (models.contains(name.as_str()), node.as_u64()) {
                *node = json!(index + 1);
            }
        }
        items => items.iter_mut().for_each(|item| numbered(item, models)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_become_lists_of_references() {
        let tensor = |name: &str| json!({"class_name": "__keras_tensor__", "config": {"shape": [null, 2], "dtype": "float32", "keras_history": [name, 0, 0]}});
        let mut value = json!({"class_name": "Functional", "config": {
            "layers": [
                {"class_name": "InputLayer", "name": "x", "inbound_nodes": []},
                {"class_name": "Sequential", "name": "inner", "inbound_nodes": [{"args": [tensor("x")], "kwargs": {"mask": null, "training": false}}]},
                {"class_name": "Add", "name": "add", "inbound_nodes": [{"args": [[tensor("x"), tensor("inner")]], "kwargs": {}}]},
            ],
            "input_layers": [["x", 0, 0]], "output_layers": ["inner", 0, 0]}});
        plain(&mut value);
        let layers = &value["config"]["layers"];
        assert_eq!(layers[1]["inbound_nodes"], json!([[["x", 0, 0, {"training": false}]]]));
        assert_eq!(layers[2]["inbound_nodes"], json!([[["x", 0, 0, {}], ["inner", 1, 0, {}]]]));
        assert_eq!(value["config"]["output_layers"], json!(["inner", 1, 0]));
    }
}
