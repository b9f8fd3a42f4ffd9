//! The dialect of tf.keras 2.15, where it differs from that of Keras 2.3.1.

use super::Dialect;
use super::names::weight_names;
use super::training::{self, is_still};
use super::version::Writer;
use crate::array::{Array, DType};
use crate::backend::VariableId;
use crate::error::{Error, Result};
use crate::layers;
use crate::models::{Model, lock};
use crate::optimizers::OptimizerState;
use crate::registry::{Config, bare_name};
use crate::tensor::Spec;
use crate::training::Metered;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// The version that its files name.
pub(super) const VERSION: &str = "2.15.0";

/// A model config in its words: models are `Functional`, and what `MultiHeadAttention` attends to is an argument.
pub(super) fn model_config(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(model_config),
        Value::Object(fields) => {
            let functional = fields.get("config").is_some_and(|config| config.get("input_layers").is_some());
            if functional && fields.get("class_name") == Some(&json!("Model")) {
                fields.insert("class_name".into(), json!("Functional"));
            }
            let config = fields.get("config");
            let takes = fields.get("class_name").and_then(Value::as_str).and_then(|class| match class {
                "MultiHeadAttention" => Some(attended as fn(&mut Value)),
                "SlicingOpLambda" => Some(alone as fn(&mut Value)),
                "TFOpLambda" if !joins(config) => Some(alone as fn(&mut Value)),
                _ => None,
            });
            let cells = config.map_or_else(Vec::new, |config| stacks(config).into_iter().cloned().collect());
            let nodes = fields.get_mut("inbound_nodes").and_then(Value::as_array_mut);
            for node in nodes.into_iter().flatten() {
                if let Some(takes) = takes {
                    takes(node);
                }
                by_cell(node, &cells);
            }
            fields.values_mut().for_each(model_config);
        }
        _ => {}
    }
}

/// Whether an operation takes a list of tensors, be it of one.
fn joins(config: Option<&Value>) -> bool {
    let function = config.and_then(|config| config.get("function")).and_then(Value::as_str);
    let name = function.and_then(|function| function.rsplit('.').next());
    matches!(name, Some("concat" | "concatenate" | "stack" | "add_n"))
}

/// An operation on one tensor, which is no list there: `[name, node, tensor, arguments]`.
fn alone(node: &mut Value) {
    if let Some([_]) = node.as_array().map(Vec::as_slice) {
        *node = node[0].take();
    }
}

/// `[query, value, key]` as a call on the query alone.
fn attended(node: &mut Value) {
    let Some(sources) = node.as_array_mut() else { return };
    let others: Vec<Value> = sources.drain(1.min(sources.len())..).collect();
    let Some(arguments) = sources.first_mut().and_then(|query| query.get_mut(3)) else { return };
    for (name, source) in ["value", "key"].into_iter().zip(others) {
        arguments[name] =
            source.as_array().map(|parts| parts.iter().take(3).cloned().collect()).unwrap_or_default();
    }
}

/// The stacks of cells that a layer of that config runs: of a `Bidirectional` the forward and the backward one.
fn stacks(config: &Value) -> Vec<&Value> {
    let inner = |key: &str| config.get(key).and_then(|layer| layer.get("config"));
    match (config.get("cell"), inner("layer")) {
        (Some(cell), _) if cell.get("class_name") == Some(&json!("StackedRNNCells")) => vec![cell],
        (None, Some(forward)) => {
            [forward, inner("backward_layer").unwrap_or(forward)].into_iter().flat_map(stacks).collect()
        }
        _ => Vec::new(),
    }
}

/// The initial states of stacked cells, `[x, states…]`, with a list around those of each cell that has several.
fn by_cell(node: &mut Value, stacks: &[Value]) {
    let Some(sources) = node.as_array().filter(|sources| !stacks.is_empty() && sources.len() > 1) else {
        return;
    };
    let mut sources = sources.iter().cloned();
    let mut grouped: Vec<Value> = sources.by_ref().take(1).collect();
    for stack in stacks {
        match states_of(stack, &mut sources) {
            Some(Value::Array(states)) => grouped.extend(states),
            // Constants alone, or cells that are not known here: as it is.
            _ => return,
        }
    }
    grouped.extend(sources);
    *node = grouped.into();
}

/// The states of a cell, taken from those that are left.
fn states_of(cell: &Value, left: &mut impl Iterator<Item = Value>) -> Option<Value> {
    let config = Config::from_value(cell)?;
    if let ("StackedRNNCells", Some(cells)) = (config.class_name.as_str(), config.config.get("cells")) {
        let mut cells: Vec<&Value> = cells.as_array()?.iter().collect();
        if config.config.get("reverse_state_order") == Some(&json!(true)) {
            cells.reverse();
        }
        return cells.into_iter().map(|cell| states_of(cell, left)).collect::<Option<_>>().map(Value::Array);
    }
    let step = Spec::new([None, Some(1)], DType::F32);
    let count = layers::deserialize(&config).ok()?.definition().cell(&step).ok()??.states.len();
    let mut states: Vec<Value> = left.take(count).collect();
    match states.as_mut_slice() {
        [state] => Some(state.take()),
        _ => (states.len() == count).then(|| states.into()),
    }
}

/// The training config of an HDF5 file: it holds metrics as objects, whose names begin with those of their outputs where there
/// are several.
pub(super) fn training_config(model: &Model, config: &Value) -> Result<Value> {
    let mut config = in_its_words(model, config)?;
    let nesting = model.output_nesting()?;
    if let Some(compiled) = lock(&model.0.compiled).as_ref() {
        for (key, weighted) in [("metrics", false), ("weighted_metrics", true)] {
            let lists = compiled.outputs.iter().map(|output| {
                output.metrics.iter().filter(|metered| metered.weighted == weighted).map(as_object).collect()
            });
            let lists: Vec<Value> = lists.collect();
            if !config[key].is_null() {
                config[key] = if nesting.is_dictionary() { nesting.write(lists) } else { lists.into() };
            }
        }
    }
    Ok(config)
}

fn as_object(metered: &Metered) -> Value {
    match metered.metric.config() {
        Value::String(function) => {
            json!({"class_name": "MeanMetricWrapper",
                "config": {"name": metered.name, "dtype": "float32", "fn": function}})
        }
        mut object => {
            if let Some(config) = object.get_mut("config").and_then(Value::as_object_mut) {
                config.insert("name".into(), json!(metered.name));
            }
            object
        }
    }
}

/// A training config in its words: the optimizer last, by the arguments of its legacy optimizers, whose formulas are
/// those of Keras 2.
fn in_its_words(model: &Model, config: &Value) -> Result<Value> {
    let mut config = config.clone();
    let nesting = model.output_nesting()?;
    for key in training::PER_OUTPUT.into_iter().filter(|_| nesting.is_nested()) {
        let names = model.output_names()?;
        let items = match config.get(key) {
            // Metrics of each output, or those that all have.
            Some(Value::Array(items)) if !key.ends_with("metrics") || items.iter().any(Value::is_array) => {
                items.clone()
            }
            Some(Value::Object(named)) if !named.contains_key("class_name") => {
                names.iter().map(|name| named.get(name).cloned().unwrap_or_default()).collect()
            }
            _ => continue,
        };
        // A list for a dictionary of outputs is what tf.keras writes of metrics, and cannot train with.
        config[key] = if key.ends_with("metrics") && !nesting.is_dictionary() {
            items.into()
        } else {
            nesting.write(items)
        };
    }
    let mut written = Map::new();
    for key in ["loss", "metrics", "weighted_metrics", "loss_weights"] {
        let value = config.get(key).cloned().unwrap_or_default();
        let empty = value.as_array().is_some_and(Vec::is_empty);
        written.insert(key.into(), if empty { Value::Null } else { value });
    }
    let class = config["optimizer_config"]["class_name"].clone();
    let mut arguments = Map::from_iter([("name".to_owned(), class.clone())]);
    let own = config["optimizer_config"]["config"].as_object().cloned().unwrap_or_default();
    for (key, value) in own {
        let key = match key.as_str() {
            // Keras 2 clips all gradients together.
            "clipnorm" => "global_clipnorm",
            "schedule_decay" => "decay",
            key => key,
        };
        arguments.insert(key.to_owned(), value);
    }
    if class == json!("RMSprop") {
        arguments.extend([("momentum".to_owned(), json!(0.0)), ("centered".to_owned(), json!(false))]);
    }
    if class == json!("Adagrad") {
        // Its own default is 0.1.
        arguments.insert("initial_accumulator_value".to_owned(), json!(0.0));
    }
    written.insert("optimizer_config".into(), json!({"class_name": class, "config": arguments}));
    Ok(written.into())
}

/// The compile config of an archive: its optimizers are those that came with tf.keras 2.11.
///
/// # Errors
/// If the optimizer's rates decay as only Keras 2 has it.
pub(super) fn compile_config(model: &Model, config: &Value, writer: Writer) -> Result<Value> {
    let mut config = in_its_words(model, config)?;
    let mut optimizer = config["optimizer_config"].take();
    let nadam = optimizer["class_name"] == json!("Nadam");
    if let Some(arguments) = optimizer["config"].as_object_mut()
        && let Some(decay) = arguments.shift_remove("decay")
    {
        let (key, only, advice) = if nadam {
            ("schedule_decay", 1.0, "Nadam of tf.keras 2.11 and later has this schedule of momenta alone")
        } else {
            ("decay", 0.0, "optimizers of tf.keras 2.11 and later have none")
        };
        if decay.as_f64() != Some(only) {
            let what = format!("optimizer {} of a .keras archive, key {key:?}", optimizer["class_name"]);
            return Err(Error::value(what, format!("{only:?}"), decay.to_string())
                .advice(format!("{advice}: save to a file .h5, or without the optimizer")));
        }
    }
    if writer == Writer::TfKeras
        && let Some(arguments) = optimizer["config"].as_object_mut()
    {
        arguments.insert("is_legacy_optimizer".into(), json!(false));
    }
    if let Some(fields) = config.as_object_mut() {
        fields.shift_remove("optimizer_config");
        let metrics = ("keras.metrics", crate::metrics::is_custom as fn(&str) -> bool);
        for (key, module) in [
            ("loss", ("keras.losses", crate::losses::is_custom as fn(&str) -> bool)),
            ("metrics", metrics),
            ("weighted_metrics", metrics),
        ] {
            fields.get_mut(key).into_iter().for_each(|value| found_in(value, module));
        }
        found_in(&mut optimizer, ("keras.optimizers", crate::optimizers::is_custom));
        fields.insert("optimizer".into(), optimizer);
    }
    Ok(config)
}

/// Says of every object inside where its class is found: in a module, or under its whole name if it is one of the user's.
fn found_in(value: &mut Value, module: (&str, fn(&str) -> bool)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| found_in(item, module)),
        Value::Object(fields) if fields.contains_key("class_name") => {
            let class = fields.get("class_name").and_then(Value::as_str).unwrap_or_default().to_owned();
            let (module, is_custom) = module;
            let own = is_custom(&class);
            fields.insert("class_name".into(), json!(bare_name(&class)));
            fields.insert("module".into(), if own { Value::Null } else { json!(module) });
            fields.insert("registered_name".into(), if own { json!(class) } else { Value::Null });
        }
        Value::Object(fields) => fields.values_mut().for_each(|item| found_in(item, module)),
        _ => {}
    }
}

/// The optimizer's state under the names of its legacy optimizers: `Adam/iter:0, Adam/dense/kernel/m:0, …`.
pub(super) fn optimizer_state(model: &Model, optimizer: &OptimizerState) -> Result<Vec<(String, Array)>> {
    let definition = optimizer.definition();
    let class = definition.class_name();
    let mut paths: HashMap<VariableId, String> = HashMap::new();
    for layer in model.layers() {
        for (name, weight) in weight_names(&layer, Dialect::TfKeras) {
            let path = name.strip_suffix(":0").unwrap_or(&name).to_owned();
            paths.entry(weight.variable.id()).or_insert(path);
        }
    }
    let trained: Vec<String> = lock(&model.0.compiled).as_ref().map_or_else(Vec::new, |compiled| {
        let path = |id: VariableId, name: &str| paths.get(&id).cloned().unwrap_or_else(|| name.to_owned());
        compiled.trainable.iter().map(|weight| path(weight.variable.id(), weight.variable.name())).collect()
    });
    let mut values = optimizer.get_weights()?.into_iter();
    let mut next = || {
        values
            .next()
            .ok_or_else(|| Error::state(format!("state of {class}"), "a value for every slot", "fewer"))
    };
    let mut state = vec![(format!("{class}/iter:0"), next()?)];
    for (name, _) in definition.scalars() {
        let name = if name == "m_schedule" { "momentum_cache" } else { name };
        state.push((format!("{class}/{name}:0"), next()?));
    }
    let still = is_still(optimizer)?;
    for slot in definition.slots() {
        let name = slot_name(class, slot.name);
        for path in &trained {
            let value = next()?;
            if slot.full && !still {
                state.push((format!("{class}/{path}/{name}:0"), value));
            }
        }
    }
    Ok(state)
}

fn slot_name<'a>(class: &str, slot: &'a str) -> &'a str {
    match (class, slot) {
        ("SGD", _) => "momentum",
        ("RMSprop", _) => "rms",
        ("Adagrad", _) => "accumulator",
        ("Adadelta", "delta_accumulator") => "accum_var",
        ("Adadelta", _) => "accum_grad",
        ("Adamax", "u") => "v",
        (_, slot) => slot,
    }
}
