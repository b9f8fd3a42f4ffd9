//! Model configs: the JSON that Keras 2 writes and reads.

use super::nesting::{Nesting, by_key};
use super::network::{Kind, Network};
use super::{Model, Sequential};
use crate::error::{Error, Result};
use crate::layers::{self, Arguments, CONSTANT, Input, LayerNode, LayerRef, automatic_name, read_shape};
use crate::registry::Config;
use crate::tensor::Tensor;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

impl Model {
    /// `{"class_name", "config"}` of the model: its layers and how they are connected.
    pub fn get_config(&self) -> Result<Config> {
        self.with_network(network_config_checked)?
    }
}

/// The config of a network; where an operation has no layer, its place stays empty (see the checked form).
pub(super) fn network_config(network: &Network) -> Config {
    network_config_checked(network).unwrap_or_else(|_| Config::new(class_name(network.kind)))
}

fn class_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Functional => "Model",
        Kind::Sequential => "Sequential",
    }
}

fn network_config_checked(network: &Network) -> Result<Config> {
    let config = Config::new(class_name(network.kind)).with("name", network.name());
    match network.kind {
        Kind::Sequential => {
            let layers: Vec<&LayerRef> =
                network.layers.iter().filter(|layer| layer.downcast::<Input>().is_none()).collect();
            let sized = layers.first().is_some_and(|first| {
                first.base().input_shape.is_some() || first.downcast::<Network>().is_some()
            });
            let described: Vec<Value> = layers.into_iter().map(LayerRef::config_value).collect();
            let config = config.with("layers", described);
            Ok(match network.inputs.first() {
                Some(input) if !sized => config.with("build_input_shape", json!(input.spec()?.shape)),
                _ => config,
            })
        }
        Kind::Functional => functional_config(network, config),
    }
}

fn functional_config(network: &Network, config: Config) -> Result<Config> {
    // Calls are numbered anew over those that belong to this network.
    let mut numbers: HashMap<(u64, usize), usize> = HashMap::new();
    for layer in &network.layers {
        for (i, call) in calls_of(network, layer).into_iter().enumerate() {
            numbers.insert((layer.id(), call.index), i + layer.first_index());
        }
    }
    let reference = |tensor: &Tensor| -> Result<(String, usize, usize)> {
        let (node, output) = tensor.layer_node().ok_or_else(|| {
            Error::state(
                format!("config of model {}", network.name()),
                "layers alone",
                format!("the operation {tensor:?} between them"),
            )
            .advice("wrap the operation in a Lambda layer")
        })?;
        let number = numbers.get(&(node.layer.id(), node.index)).copied().unwrap_or(0);
        Ok((node.layer.name().to_owned(), number, output))
    };
    let mut layers = Vec::with_capacity(network.layers.len());
    for layer in &network.layers {
        let mut inbound = Vec::new();
        for call in calls_of(network, layer).into_iter().filter(|call| !call.inputs.is_empty()) {
            inbound.push(write_call(call, reference)?);
        }
        let own = layer.config();
        layers.push(json!({
            "name": layer.name(),
            "class_name": own.class_name,
            "config": own.config,
            "inbound_nodes": inbound,
        }));
    }
    let ends = |tensors: &[Tensor]| -> Result<Vec<Value>> {
        tensors
            .iter()
            .map(|tensor| reference(tensor).map(|(name, node, output)| json!([name, node, output])))
            .collect()
    };
    let (inputs, outputs) = (ends(&network.inputs)?, ends(&network.outputs)?);
    let [nested_inputs, nested_outputs] = &network.nesting;
    let (inputs, outputs) = (nested_inputs.write(inputs), nested_outputs.write(outputs));
    Ok(config.with("layers", layers).with("input_layers", inputs).with("output_layers", outputs))
}

/// A call as files have it: `[[name, node, tensor, arguments], ..]`; inputs that are arguments stand among those.
fn write_call(
    call: &LayerNode,
    reference: impl Fn(&Tensor) -> Result<(String, usize, usize)>,
) -> Result<Value> {
    let mut named = Vec::new();
    let mut arguments = call.arguments.clone();
    let constant = arguments.remove(CONSTANT);
    for value in arguments.values_mut() {
        write_references(value, &mut |i| {
            let input =
                call.inputs.get(i).ok_or_else(|| malformed("call", "an argument that is an input"))?;
            named.push(i);
            reference(input)
        })?;
    }
    let mut sources = Vec::with_capacity(call.inputs.len());
    if let Some(constant) = constant {
        sources.push(json!([CONSTANT, -1, constant, arguments]));
    }
    for (_, input) in call.inputs.iter().enumerate().filter(|(i, _)| !named.contains(i)) {
        let (name, node, tensor) = reference(input)?;
        sources.push(json!([name, node, tensor, arguments]));
    }
    Ok(match call.layer.downcast::<Network>() {
        Some(Network { nesting: [inputs, _], .. }) => inputs.write(sources),
        None => sources.into(),
    })
}

fn calls_of<'a>(network: &'a Network, layer: &LayerRef) -> Vec<&'a LayerNode> {
    let mut calls: Vec<&LayerNode> = network
        .nodes
        .iter()
        .filter_map(super::network::NetworkNode::call)
        .filter(|call| call.layer == *layer)
        .collect();
    calls.sort_by_key(|call| call.index);
    calls
}

/// The model of a config that Keras 2 or [`Model::get_config`] made; its weights are fresh.
pub fn model_from_config(config: &Config) -> Result<Model> {
    match config.class_name.as_str() {
        "Sequential" => match branches_of(config) {
            Some((name, branches, layers)) => merged_from(name, branches, layers),
            None => Ok(sequential_from(config)?.model().clone()),
        },
        "Model" | "Functional" => functional_from(config),
        other => Err(Error::name("model from config", "the class Sequential or Model", format!("{other:?}"))
            .advice("read a single layer with layers::deserialize")
            .suggest(other, ["Sequential", "Model", "Functional"])),
    }
}

/// The model of a config, as a layer.
pub(crate) fn layer_from_config(config: &Config) -> Result<LayerRef> {
    model_from_config(config)?.as_layer()
}

/// A layer of a config; a model is one too.
fn layer_from(value: &Value) -> Result<LayerRef> {
    let config = Config::from_value(value).ok_or_else(|| {
        Error::file("layer from config", "an object with class_name and config", value.to_string())
    })?;
    layers::deserialize(&config)
}

/// A layer of a functional model. An old `Sequential` inside one has its name beside its config, which is a list.
fn named_layer_from(name: &str, value: &Value) -> Result<LayerRef> {
    match Config::from_value(value) {
        Some(mut config) if config.class_name == "Sequential" && !config.config.contains_key("name") => {
            config.config.insert("name".into(), name.into());
            model_from_config(&config)?.as_layer()
        }
        _ => layer_from(value),
    }
}

fn malformed(what: &str, expected: &str) -> Error {
    Error::file(what.to_owned(), expected.to_owned(), "something else")
}

/// Of a `Sequential` of Keras 1 that begins by merging branches: its name, the branches, and its layers, the first of which
/// merges.
fn branches_of(config: &Config) -> Option<(Option<&str>, &[Value], &[Value])> {
    let layers = config.config.get("layers")?.as_array()?;
    let first = layers.first().filter(|first| first.get("class_name") == Some(&json!("Merge")))?;
    let branches = first.get("config")?.get("layers")?.as_array()?;
    Some((config.config.get("name").and_then(Value::as_str), branches, layers))
}

/// Such a model, as a functional one.
fn merged_from(name: Option<&str>, branches: &[Value], layers: &[Value]) -> Result<Model> {
    let (mut inputs, mut tensors) = (Vec::new(), Vec::new());
    for branch in branches {
        let config =
            Config::from_value(branch).ok_or_else(|| malformed("Merge config", "models to merge"))?;
        let model = model_from_config(&config)?;
        inputs.extend(model.inputs()?);
        tensors.extend(model.outputs()?);
    }
    for (i, layer) in layers.iter().enumerate() {
        let mut layer = layer.clone();
        if let (0, Some(merge)) = (i, layer.get_mut("config").and_then(Value::as_object_mut)) {
            merge.shift_remove("layers");
        }
        tensors = layer_from(&layer)?.call_with(tensors, Arguments::new())?;
    }
    match name {
        Some(name) => Model::named(name, inputs, tensors),
        None => Model::new(inputs, tensors),
    }
}

fn sequential_from(config: &Config) -> Result<Sequential> {
    let mut reader = config.reader();
    let name = reader.text_or_none("name")?;
    let layers = reader
        .value("layers")
        .and_then(Value::as_array)
        .ok_or_else(|| malformed("Sequential config", "a list of layers"))?;
    let shape = reader.value("build_input_shape").and_then(read_shape);
    let trainable = later_keys(&mut reader)?;
    reader.finish()?;
    let mut model = name.map_or_else(Sequential::new, |name| Sequential::named(&name));
    for layer in layers {
        model.add(layer_from(layer)?)?;
    }
    if let (Some(shape), Err(_)) = (shape, model.as_layer()) {
        model.build(shape)?;
    }
    if !trainable {
        model.set_trainable(false);
    }
    Ok(model)
}

/// What tf.keras and Keras 3 say of models besides: whether they learn.
fn later_keys(reader: &mut crate::registry::Reader<'_>) -> Result<bool> {
    reader.ignore(&["dtype"]);
    reader.boolean("trainable", true)
}

/// A call that waits for what it reads.
struct Pending<'a> {
    layer: &'a str,
    sources: Vec<(&'a str, usize, usize)>,
    arguments: Arguments,
}

fn functional_from(config: &Config) -> Result<Model> {
    let mut reader = config.reader();
    let name = reader.text_or_none("name")?;
    let described = reader.value("layers").and_then(Value::as_array);
    let described = described.cloned().ok_or_else(|| malformed("Model config", "a list of layers"))?;
    let mut ends = |key: &str| reader.value(key).cloned().unwrap_or_default();
    let (inputs, outputs) = (ends("input_layers"), ends("output_layers"));
    let trainable = later_keys(&mut reader)?;
    reader.finish()?;
    let mut made: HashMap<&str, LayerRef> = HashMap::new();
    let mut tensors: HashMap<(&str, usize), Vec<Tensor>> = HashMap::new();
    let mut calls: HashMap<&str, usize> = HashMap::new();
    let mut pending: Vec<Pending<'_>> = Vec::new();
    for value in &described {
        let name = value
            .get("name")
            .and_then(Value::as_str)
            .ok_or_else(|| malformed("Model config", "a name for every layer"))?;
        let layer = named_layer_from(name, value)?;
        if layer.downcast::<Input>().is_some() {
            tensors.insert((name, 0), vec![layer.call_input()?]);
        }
        calls.insert(name, layer.first_index());
        if made.insert(name, layer).is_some() {
            return Err(Error::name(
                "Model config",
                "layer names that are unique",
                format!("{name:?} twice"),
            ));
        }
        let inbound = value.get("inbound_nodes").and_then(Value::as_array);
        for node in inbound.into_iter().flatten() {
            pending.push(read_call(name, node).ok_or_else(|| {
                malformed(&format!("layer {name:?}"), "inbound nodes [name, node, tensor, {}]")
            })?);
        }
    }
    // Calls whose inputs are there, round after round, each layer's in their own order.
    while !pending.is_empty() {
        let before = pending.len();
        let mut waiting = Vec::new();
        let mut blocked: Vec<&str> = Vec::new();
        for call in pending {
            let ready: Option<Vec<Tensor>> = call
                .sources
                .iter()
                .map(|(name, node, output)| tensors.get(&(*name, *node))?.get(*output).cloned())
                .collect();
            match ready {
                Some(inputs) if !blocked.contains(&call.layer) => {
                    let Some(layer) = made.get(call.layer) else { continue };
                    let results = layer.call_with(inputs, call.arguments)?;
                    let count = calls.entry(call.layer).or_default();
                    tensors.insert((call.layer, *count), results);
                    *count += 1;
                }
                _ => {
                    blocked.push(call.layer);
                    waiting.push(call);
                }
            }
        }
        if waiting.len() == before {
            let names: Vec<&str> = waiting.iter().map(|call| call.layer).collect();
            return Err(Error::file(
                "Model config",
                "layers connected without gaps or cycles",
                format!("inputs that never appear for {}", names.join(", ")),
            ));
        }
        pending = waiting;
    }
    let find = |ends: &Value| -> Result<(Nesting, Vec<Tensor>)> {
        let missing = || malformed("Model config", "input and output layers that exist");
        let (nesting, references) = Nesting::read(ends).ok_or_else(missing)?;
        let found = references.into_iter().map(|end| {
            let (name, node, output) = read_reference(end)?;
            tensors.get(&(name, node))?.get(output).cloned()
        });
        Ok((nesting, found.collect::<Option<Vec<Tensor>>>().ok_or_else(missing)?))
    };
    let ((nested_inputs, inputs), (nested_outputs, outputs)) = (find(&inputs)?, find(&outputs)?);
    let name = name.unwrap_or_else(|| automatic_name("model"));
    let model = Model::nested(&name, inputs, outputs, [nested_inputs, nested_outputs])?;
    if !trainable {
        model.set_trainable(false);
    }
    Ok(model)
}

/// A call in the file of a model: what it reads, then what its arguments refer to.
fn read_call<'a>(layer: &'a str, node: &'a Value) -> Option<Pending<'a>> {
    let mut sources = Vec::new();
    flatten(node, &mut sources)?;
    let mut call = Pending { layer, sources: Vec::new(), arguments: Arguments::new() };
    let mut given: Option<&'a Arguments> = None;
    for source in sources {
        given = source.get(3).and_then(Value::as_object).or(given);
        match source {
            [Value::String(name), _, constant, ..] if name == CONSTANT => {
                call.arguments.insert(CONSTANT.into(), constant.clone());
            }
            source => call.sources.push(reference_of(source)?),
        }
    }
    for (name, value) in given.into_iter().flatten() {
        let value = read_references(value, &mut call.sources)?;
        call.arguments.insert(name.clone(), value);
    }
    Some(call)
}

/// What a call reads: tf.keras writes one tensor without a list around it, the states of stacked cells as lists in lists, and
/// dictionaries of what a model is called on.
fn flatten<'a>(node: &'a Value, sources: &mut Vec<&'a [Value]>) -> Option<()> {
    if let Value::Object(fields) = node {
        return by_key(fields).into_iter().try_for_each(|(_, part)| flatten(part, sources));
    }
    let parts = node.as_array()?;
    if parts.first().is_some_and(Value::is_string) {
        sources.push(parts);
        return Some(());
    }
    parts.iter().try_for_each(|part| flatten(part, sources))
}

/// An argument whose references to tensors, `[name, node, tensor]` at any depth, refer to what the call reads instead.
fn read_references<'a>(value: &'a Value, sources: &mut Vec<(&'a str, usize, usize)>) -> Option<Value> {
    match value {
        Value::Array(parts) if parts.len() == 3 && parts.first().is_some_and(Value::is_string) => {
            sources.push(reference_of(parts)?);
            Some(layers::input_argument(sources.len() - 1))
        }
        Value::Array(items) => items
            .iter()
            .map(|item| read_references(item, sources))
            .collect::<Option<Vec<_>>>()
            .map(Value::Array),
        Value::Object(fields) => {
            let read = fields.iter().map(|(key, item)| Some((key.clone(), read_references(item, sources)?)));
            read.collect::<Option<Map<_, _>>>().map(Value::Object)
        }
        value => Some(value.clone()),
    }
}

/// The way back.
fn write_references(
    value: &mut Value,
    reference: &mut impl FnMut(usize) -> Result<(String, usize, usize)>,
) -> Result<()> {
    if let Some(i) = layers::input_index(value) {
        *value = json!(reference(i)?);
        return Ok(());
    }
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|item| write_references(item, reference)),
        Value::Object(fields) => fields.values_mut().try_for_each(|item| write_references(item, reference)),
        _ => Ok(()),
    }
}

fn read_reference(value: &Value) -> Option<(&str, usize, usize)> {
    reference_of(value.as_array()?)
}

fn reference_of(parts: &[Value]) -> Option<(&str, usize, usize)> {
    let index = |i: usize| parts.get(i)?.as_u64().and_then(|n| usize::try_from(n).ok());
    Some((parts.first()?.as_str()?, index(1)?, index(2)?))
}
