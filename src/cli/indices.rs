//! Which inputs of a model hold indices of an `Embedding`, and how large they may be.

use keras::models::Model;
use serde_json::Value;

/// An `Embedding` that an input feeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limit {
    /// Its name.
    pub(crate) layer: String,
    /// The rows of its table.
    pub(crate) count: usize,
}

/// Layers that hand the numbers on as they are, in other places at most.
const MOVING: [&str; 6] = ["Reshape", "Flatten", "Permute", "RepeatVector", "Concatenate", "InputLayer"];

/// For each input the embeddings that it feeds, through nested models and layers that only move numbers.
pub(crate) fn limits(model: &Model) -> Vec<Vec<Limit>> {
    if model.as_layer().is_err() {
        let layers: Vec<Value> = model.layers().iter().map(|layer| layer.config().to_value()).collect();
        return vec![of_chain(&layers)];
    }
    let Ok(config) = model.get_config() else { return Vec::new() };
    let value = config.to_value();
    (0..model.inputs().map_or(0, |inputs| inputs.len()))
        .map(|input| of_layer(&value, input).unwrap_or_default())
        .collect()
}

/// The embeddings that input number `input` of a layer or model feeds; none if the layer hands the numbers on.
fn of_layer(layer: &Value, input: usize) -> Option<Vec<Limit>> {
    let config = layer.get("config")?;
    match layer.get("class_name")?.as_str()? {
        "Embedding" => {
            let count = usize::try_from(config.get("input_dim")?.as_u64()?).ok()?;
            let name = config.get("name").and_then(Value::as_str).unwrap_or("embedding");
            Some(vec![Limit { layer: name.to_owned(), count }])
        }
        "Sequential" => Some(of_chain(config.get("layers").and_then(Value::as_array)?)),
        "Model" | "Functional" => Some(of_graph(config, input)),
        "TimeDistributed" => of_layer(config.get("layer")?, input),
        class_name if MOVING.contains(&class_name) => None,
        _ => Some(Vec::new()),
    }
}

fn of_chain(layers: &[Value]) -> Vec<Limit> {
    layers.iter().find_map(|layer| of_layer(layer, 0)).unwrap_or_default()
}

/// A tensor of a config: layer, call, output.
type Reference<'a> = (&'a str, u64, u64);

fn reference(value: &Value) -> Option<Reference<'_>> {
    Some((value.get(0)?.as_str()?, value.get(1)?.as_u64()?, value.get(2)?.as_u64()?))
}

fn of_graph(config: &Value, input: usize) -> Vec<Limit> {
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let layers = config.get("layers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let start = config.get("input_layers").and_then(|inputs| inputs.get(input)).and_then(reference);
    let mut open: Vec<Reference<'_>> = start.into_iter().collect();
    let mut limits: Vec<Limit> = Vec::new();
    let mut seen: Vec<Reference<'_>> = Vec::new();
    while let Some(tensor) = open.pop() {
        if seen.contains(&tensor) {
            continue;
        }
        seen.push(tensor);
        for layer in layers {
            let Some(name) = layer.get("name").and_then(Value::as_str) else { continue };
            let is_model = layer.get("config").is_some_and(|config| config.get("layers").is_some());
            for (call, node) in layer.get("inbound_nodes").map(list).unwrap_or_default().iter().enumerate() {
                for (position, _) in
                    list(node).iter().enumerate().filter(|(_, source)| reference(source) == Some(tensor))
                {
                    match of_layer(layer, position) {
                        Some(found) => limits.extend(found),
                        None => open.push((name, call as u64 + u64::from(is_model), 0)),
                    }
                }
            }
        }
    }
    limits.dedup();
    limits
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use keras::layers::{Concatenate, Dense, Embedding, Flatten, Input, Reshape};
    use keras::models::Sequential;

    fn limit(layer: &str, count: usize) -> Limit {
        Limit { layer: layer.into(), count }
    }

    #[test]
    fn embeddings_are_found_behind_reshapes_and_in_nested_models() {
        let mut words = Sequential::named("words");
        words.add(Embedding::new(50, 4).name("table").input_shape([6])).unwrap();
        words.add(Flatten::new()).unwrap();
        assert_eq!(limits(&words), [vec![limit("table", 50)]]);

        let (a, b) = (Input::new([6]).tensor().unwrap(), Input::new([2, 3]).tensor().unwrap());
        let flat = Reshape::new([6]).call(&b).unwrap();
        let shared = words.as_layer().unwrap();
        let joined =
            Concatenate::new().call([&shared.call(&a).unwrap(), &shared.call(&flat).unwrap()]).unwrap();
        let numbers = Input::new([1]).tensor().unwrap();
        let dense = Dense::new(2).call(&numbers).unwrap();
        let model = Model::new([&a, &b, &numbers], [&joined, &dense]).unwrap();
        assert_eq!(limits(&model), [vec![limit("table", 50)], vec![limit("table", 50)], vec![]]);
    }
}
