//! Configs between Keras 3 and Keras 2: calls as objects of arguments become lists of references, and the way back.

use crate::layers::is_builtin;
use crate::models::by_key;
use crate::registry::bare_name;
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// The version that its files name.
pub(super) const VERSION: &str = "3.0.0";

/// Rewrites every functional model inside.
pub(super) fn plain(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(plain),
        Value::Object(fields) => {
            fields.values_mut().for_each(plain);
            if fields.contains_key("input_layers") {
                functional(fields);
            }
            // A number of numpy.
            let numpy = fields.get("class_name").is_some_and(|class| class == "__numpy__");
            if let Some(number) =
                fields.get_mut("config").and_then(|config| config.get_mut("value")).filter(|_| numpy)
            {
                *value = number.take();
            }
        }
        _ => {}
    }
}

fn functional(config: &mut Map<String, Value>) {
    let Some(layers) = config.get_mut("layers").and_then(Value::as_array_mut) else { return };
    let models = models_of(layers);
    let operations: HashSet<String> =
        layers.iter().filter(|layer| is_operation(layer)).filter_map(name_of).map(str::to_owned).collect();
    let mut later = false;
    for layer in layers.iter_mut() {
        let recurrent = is_recurrent(layer);
        let Some(nodes) = layer.get_mut("inbound_nodes").and_then(Value::as_array_mut) else { continue };
        for node in nodes.iter_mut().filter(|node| node.get("args").is_some()) {
            later = true;
            without_mask(node, &operations);
            *node = call(node, recurrent, &models);
        }
    }
    if later {
        let ends = config.get("output_layers").cloned().unwrap_or_default();
        if let Some(layers) = config.get_mut("layers").and_then(Value::as_array_mut) {
            without_masks(layers, &ends);
        }
        for key in ["input_layers", "output_layers"] {
            if let Some(ends) = config.get_mut(key) {
                numbered(ends, &models);
            }
        }
    }
}

/// Whether the tensors that a layer is called on besides its input are its initial states.
fn is_recurrent(layer: &Value) -> bool {
    matches!(
        layer.get("class_name").and_then(Value::as_str),
        Some("RNN" | "LSTM" | "GRU" | "SimpleRNN" | "ConvLSTM2D" | "Bidirectional")
    )
}

/// The names of the models among layers.
fn models_of(layers: &[Value]) -> HashSet<String> {
    let is_model = |layer: &Value| {
        matches!(layer.get("class_name").and_then(Value::as_str), Some("Functional" | "Sequential" | "Model"))
    };
    layers.iter().filter(|layer| is_model(layer)).filter_map(name_of).map(str::to_owned).collect()
}

fn name_of(layer: &Value) -> Option<&str> {
    layer.get("name").and_then(Value::as_str)
}

/// HDF5 names no modules: an operation is told by having no type, which every layer has.
fn is_operation(layer: &Value) -> bool {
    layer.get("config").is_some_and(|config| config.get("name").is_some() && config.get("dtype").is_none())
}

/// Drops the mask of a call where operations have made it of what masked layers say: here it follows from those. A mask
/// that is an input, or comes from a layer, stays.
fn without_mask(node: &mut Value, operations: &HashSet<String>) {
    let Some(arguments) = node.get_mut("kwargs").and_then(Value::as_object_mut) else { return };
    let mut makers = HashSet::new();
    if let Some(mask) = arguments.get("mask") {
        histories(mask, &mut makers);
    }
    if makers.is_subset(operations) {
        arguments.shift_remove("mask");
    }
}

/// The names of what made the tensors inside.
fn histories(value: &Value, found: &mut HashSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| histories(item, found)),
        Value::Object(fields) => match fields.get("keras_history").and_then(|history| history.get(0)) {
            Some(Value::String(name)) => {
                found.insert(name.clone());
            }
            _ => fields.values().for_each(|item| histories(item, found)),
        },
        _ => {}
    }
}

/// Drops the operations that only computed masks: nothing else reads them.
fn without_masks(layers: &mut Vec<Value>, ends: &Value) {
    loop {
        let mut read = HashSet::new();
        texts(ends, &mut read);
        for nodes in layers.iter().filter_map(|layer| layer.get("inbound_nodes")) {
            texts(nodes, &mut read);
        }
        let idle =
            |layer: &Value| is_operation(layer) && name_of(layer).is_some_and(|name| !read.contains(name));
        let before = layers.len();
        let kept: Vec<Value> = layers.iter().filter(|layer| !idle(layer)).cloned().collect();
        *layers = kept;
        if layers.len() == before {
            return;
        }
    }
}

fn texts(value: &Value, found: &mut HashSet<String>) {
    match value {
        Value::String(text) => {
            found.insert(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(fields) => fields.values().for_each(|item| texts(item, found)),
        _ => {}
    }
}

/// The way back: calls as objects of arguments, those of models counted from 0.
pub(super) fn calls(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(calls),
        Value::Object(fields) => {
            fields.values_mut().for_each(calls);
            let Some(layers) = fields.get_mut("layers").and_then(Value::as_array_mut) else { return };
            let models = models_of(layers);
            for layer in layers.iter_mut() {
                called(layer, &models);
            }
            let input = layers.first_mut().and_then(sized);
            for layer in layers.iter_mut() {
                sized(layer);
            }
            // The first layer of a `Sequential` says the shape of the input.
            if let Some(input) = input.filter(|_| !fields.contains_key("input_layers"))
                && let Some(layers) = fields.get_mut("layers").and_then(Value::as_array_mut)
            {
                layers.insert(0, input);
            }
            for key in ["input_layers", "output_layers"] {
                if let Some(ends) = fields.get_mut(key) {
                    counted(ends, &models, &|node| node.saturating_sub(1));
                }
            }
        }
        _ => {}
    }
}

/// Says of every layer where its class is found; `functional` has that of functional models.
pub(super) fn modules(value: &mut Value, functional: &str) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| modules(item, functional)),
        Value::Object(fields) => {
            fields.values_mut().for_each(|item| modules(item, functional));
            let named = fields.get("config").is_some_and(|config| config.get("name").is_some());
            let (Some(class), true) = (fields.get("class_name").and_then(Value::as_str), named) else {
                return;
            };
            let (module, registered) = match class {
                "Functional" => (json!(functional), json!("Functional")),
                "Sequential" => (json!("keras"), Value::Null),
                class if is_builtin(class) => (json!("keras.layers"), Value::Null),
                // One of the user's: Python finds it under its whole name.
                class => (Value::Null, json!(class)),
            };
            let bare = bare_name(class).to_owned();
            let spatial = class.starts_with("SpatialDropout");
            if let Some(config) = fields.get_mut("config").and_then(Value::as_object_mut).filter(|_| spatial)
            {
                // Keras 3 takes neither for these: a layer without weights, whose class says the shape.
                config.retain(|key, _| !matches!(key.as_str(), "noise_shape" | "trainable"));
            }
            fields.insert("class_name".into(), json!(bare));
            fields.insert("module".into(), module);
            fields.insert("registered_name".into(), registered);
        }
        _ => {}
    }
}

/// Takes the shape of its inputs out of a layer's config, where Keras 3 has none; the input of that shape.
fn sized(layer: &mut Value) -> Option<Value> {
    if layer.get("class_name") == Some(&json!("InputLayer")) {
        return None;
    }
    let config = layer.get_mut("config").and_then(Value::as_object_mut)?;
    let shape = config.shift_remove("batch_input_shape")?;
    let name = config.get("name").and_then(Value::as_str).unwrap_or_default();
    let dtype = config.get("dtype").cloned().unwrap_or_else(|| json!("float32"));
    let input =
        json!({"batch_shape": shape, "dtype": dtype, "sparse": false, "name": format!("{name}_input")});
    Some(json!({"class_name": "InputLayer", "config": input}))
}

/// Rewrites the calls of a layer: inputs that are arguments by their names, several others as one list.
fn called(layer: &mut Value, models: &HashSet<String>) {
    let recurrent = is_recurrent(layer);
    let attends = layer.get("class_name") == Some(&json!("MultiHeadAttention"));
    if let Some(config) = layer.get_mut("config").and_then(Value::as_object_mut).filter(|_| attends) {
        // It builds the layer from its inputs.
        config.retain(|key, _| !matches!(key.as_str(), "query_shape" | "key_shape" | "value_shape"));
    }
    let nodes = layer.get_mut("inbound_nodes").and_then(Value::as_array_mut);
    for node in nodes.into_iter().flatten() {
        counted(node, models, &|node| node.saturating_sub(1));
        let Some(sources) = node.as_array() else {
            // What a model is called on, in a dictionary.
            *node = json!({"args": [tensor(node)], "kwargs": {}});
            continue;
        };
        let mut tensors: Vec<Value> = sources.iter().filter_map(tensor).collect();
        let mut arguments =
            sources.first().and_then(|source| source.get(3)).cloned().unwrap_or_else(|| json!({}));
        tensors_in(&mut arguments);
        if recurrent && tensors.len() > 1 {
            arguments["initial_state"] = tensors.split_off(1).into();
        } else if tensors.len() > 1 {
            tensors = vec![tensors.into()];
        }
        *node = json!({"args": tensors, "kwargs": arguments});
    }
}

/// `{"class_name": "__keras_tensor__", …}` of `[name, node, tensor, …]`, or a list or dictionary of them; its shape is not looked at.
fn tensor(source: &Value) -> Option<Value> {
    if let Value::Object(fields) = source {
        return fields.iter().map(|(key, item)| Some((key.clone(), tensor(item)?))).collect();
    }
    let parts = source.as_array()?;
    if parts.first().is_some_and(Value::is_array) {
        return parts.iter().map(tensor).collect();
    }
    let history = parts.get(..3)?;
    let config = json!({"shape": [Value::Null], "dtype": "float32", "keras_history": history});
    Some(json!({"class_name": "__keras_tensor__", "config": config}))
}

/// Every `[name, node, tensor]` inside as that.
fn tensors_in(value: &mut Value) {
    match value {
        Value::Array(parts)
            if matches!(parts.as_slice(), [Value::String(_), Value::Number(_), Value::Number(_)]) =>
        {
            if let Some(made) = tensor(value) {
                *value = made;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(tensors_in),
        Value::Object(fields) => fields.values_mut().for_each(tensors_in),
        _ => {}
    }
}

/// `[[name, node, tensor, arguments], …]` of `{"args": […], "kwargs": {…}}`; a recurrent layer's initial states are inputs.
fn call(node: &Value, recurrent: bool, models: &HashSet<String>) -> Value {
    let mut arguments = node.get("kwargs").and_then(Value::as_object).cloned().unwrap_or_default();
    // Whether it is training is what the whole model is asked to do.
    arguments.retain(|name, value| !value.is_null() && name != "training");
    let states = if recurrent { arguments.shift_remove("initial_state") } else { None };
    arguments.values_mut().for_each(|value| references(value, models));
    let mut sources = Vec::new();
    let given = node.get("args").and_then(Value::as_array).into_iter().flatten();
    for argument in given.chain(&states) {
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
        Value::Object(fields) if !fields.contains_key("class_name") => {
            by_key(fields).into_iter().for_each(|(_, item)| collect(item, models, sources));
        }
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
    counted(value, models, &|node| node + 1);
}

/// Changes the number of every call of a model that `[name, node, tensor]` or `[name, node, tensor, arguments]` names.
fn counted(value: &mut Value, models: &HashSet<String>, change: &dyn Fn(u64) -> u64) {
    match value {
        Value::Array(parts) => match parts.as_mut_slice() {
            [Value::String(name), node, _, rest @ ..] if rest.len() < 2 => {
                if let (true, Some(index)) = (models.contains(name.as_str()), node.as_u64()) {
                    *node = json!(change(index));
                }
                rest.iter_mut().for_each(|item| counted(item, models, change));
            }
            items => items.iter_mut().for_each(|item| counted(item, models, change)),
        },
        Value::Object(fields) => fields.values_mut().for_each(|item| counted(item, models, change)),
        _ => {}
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
                {"class_name": "NotEqual", "config": {"name": "not_equal"}, "name": "not_equal", "inbound_nodes": [{"args": [tensor("x"), 0], "kwargs": {}}]},
                {"class_name": "Add", "name": "add", "inbound_nodes": [{"args": [[tensor("x"), tensor("inner")]], "kwargs": {"mask": tensor("not_equal")}}]},
            ],
            "input_layers": [["x", 0, 0]], "output_layers": ["inner", 0, 0]}});
        plain(&mut value);
        let layers = &value["config"]["layers"];
        assert_eq!(layers[1]["inbound_nodes"], json!([[["x", 0, 0, {}]]]));
        // What only a mask needed is gone.
        assert_eq!(layers[2]["inbound_nodes"], json!([[["x", 0, 0, {}], ["inner", 1, 0, {}]]]));
        assert_eq!(value["config"]["output_layers"], json!(["inner", 1, 0]));
        calls(&mut value);
        let args = &value["config"]["layers"][2]["inbound_nodes"][0]["args"];
        assert_eq!(args[0][1]["config"]["keras_history"], json!(["inner", 0, 0]));
        assert_eq!(value["config"]["output_layers"], json!(["inner", 0, 0]));
    }
}
