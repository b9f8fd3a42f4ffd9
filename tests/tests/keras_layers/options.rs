//! Every option matters: for each key of each layer's config, a change of its value changes a result, a gradient, a
//! weight, a state or a mask, or is an error. The base of a comparison is a recorded case of the class.

use super::case::{Case, cases};
use keras_core::array::Array;
use keras_core::backend::Engine;
use keras_core::backend::reference::Reference;
use keras_core::graph::Type;
use keras_core::layers::deserialize;
use keras_core::registry::Config;
use keras_core::tensor::{Phase, Trace, TraceOptions};
use keras_core::{Tensor, k};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Keys that change nothing that one call shows, with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("name", "a name names"),
    ("unroll", "the same arithmetic, another graph"),
    ("implementation", "the same arithmetic, other products"),
];

/// Another value for a key; none where nobody has said what would be one.
fn changed(class: &str, key: &str, value: &Value, rank: usize) -> Option<Value> {
    let initializer = |name: &str| json!({"class_name": name, "config": {}});
    let each = |step: i64| match value {
        Value::Array(items) => {
            let deeper = |item: &Value| match item {
                Value::Array(pair) => json!([pair[0].as_i64().unwrap() + step, pair[1]]),
                item => json!(item.as_i64().unwrap() + step),
            };
            Value::Array(items.iter().map(deeper).collect())
        }
        value => json!(value.as_i64().unwrap_or(0) + step),
    };
    Some(match key {
        "dtype" => json!(if value == "float64" { "float32" } else { "float64" }),
        "batch_input_shape" => json!([7, 9]),
        "data_format" => json!(if value == "channels_first" { "channels_last" } else { "channels_first" }),
        "padding" if value.is_string() => json!(if value == "valid" { "same" } else { "valid" }),
        "interpolation" => json!(if value == "nearest" { "bilinear" } else { "nearest" }),
        "score_mode" => json!(if value == "dot" { "concat" } else { "dot" }),
        "merge_mode" => json!(if value == "sum" { "mul" } else { "sum" }),
        "activation" | "recurrent_activation" => json!(if value == "tanh" { "softsign" } else { "tanh" }),
        "layer" | "cell" => {
            let mut inner = value.clone();
            let units = inner["config"]
                .as_object_mut()?
                .iter_mut()
                .find(|(key, _)| ["units", "filters", "rate", "cells"].contains(&key.as_str()));
            let (_, units) = units?;
            *units = units
                .as_f64()
                .map_or(json!([]), |x| if x < 1.0 { json!(x / 2.0) } else { json!(x as u64 + 1) });
            inner
        }
        "noise_shape" if value.is_null() => json!(vec![1; rank]),
        "seed" => json!(value.as_i64().unwrap_or(0) + 3),
        "max_value" if value.is_null() => json!(0.5),
        "shared_axes" if value.is_null() => json!([1]),
        "output_padding" if value.is_null() => json!(1),
        "output_shape" if value.is_null() => json!([9]),
        "attention_axes" if value.is_null() => json!([0]),
        "input_length" if value.is_null() => json!(3),
        "input_dim" if value.is_null() => json!(11),
        "output_padding" => each(-1),
        "noise_shape" | "max_value" | "shared_axes" | "output_shape" | "attention_axes" => Value::Null,
        // Of an axis that every input has, and that no layer but a few takes.
        "axis" if class != "Normalization" => json!(0),
        "axis" => json!(if value.is_null() { json!(-1) } else { Value::Null }),
        "axes" => json!(0),
        "target_shape" => json!(if *value == json!([-1]) { json!([-1, 1]) } else { json!([-1]) }),
        "dims" => Value::Array(value.as_array()?.iter().rev().cloned().collect()),
        "mean" | "variance" => {
            if value.is_null() {
                json!(2.0)
            } else {
                Value::Null
            }
        }
        key if key.ends_with("_initializer") || key == "init" => {
            initializer(if value["class_name"] == "Ones" { "Zeros" } else { "Ones" })
        }
        key if key.ends_with("_regularizer") => {
            if value.is_null() {
                json!({"class_name": "L1L2", "config": {"l1": 0.1, "l2": 0.0}})
            } else {
                Value::Null
            }
        }
        key if key.ends_with("_constraint") => {
            if value.is_null() {
                initializer("NonNeg")
            } else {
                Value::Null
            }
        }
        _ if value.is_boolean() => json!(!value.as_bool()?),
        "strides" | "kernel_size" | "pool_size" | "size" | "dilation_rate" | "filters" | "units" | "n"
        | "cropping" | "padding" | "depth_multiplier" | "input_dim" | "output_dim" | "input_length"
        | "nb_feature" | "num_heads" | "key_dim" | "value_dim" => each(1),
        "rate" | "dropout" | "recurrent_dropout" => json!(if value.as_f64()? == 0.5 { 0.25 } else { 0.5 }),
        _ if value.is_f64() || value.is_i64() => json!(value.as_f64()? + 0.25),
        _ if value.is_array() => json!(3.0),
        _ => return None,
    })
}

/// What can be seen of a layer: texts and arrays by name. An error is all there is to see.
fn seen(config: &Config, case: &Case) -> BTreeMap<String, Array> {
    let mut found = BTreeMap::new();
    if let Err(error) = look(config, case, &mut found) {
        return BTreeMap::from([(format!("error {error}"), Array::full(&[], 0.0_f32).unwrap())]);
    }
    found
}

fn look(config: &Config, case: &Case, found: &mut BTreeMap<String, Array>) -> keras_core::Result<()> {
    let layer = deserialize(config)?;
    let mut text = |what: String| {
        found.insert(what, Array::full(&[], 0.0_f32).unwrap());
    };
    text(format!("input {:?} {}", layer.base().batch_input_shape(), layer.dtype()));
    text(format!("stateful {}, learns {}", layer.definition().stateful(), layer.trainable()));
    layer.build(&case.specs())?;
    text(format!("{} learn", layer.trainable_weights().len()));
    for (i, weight) in layer.weights().iter().enumerate() {
        found.insert(format!("initial {i}"), weight.variable.value()?);
    }
    let weights: Vec<Array> = layer.get_weights()?;
    let recorded = case.weights();
    let fits = weights.len() == recorded.len()
        && weights.iter().zip(&recorded).all(|(a, b)| a.shape() == b.shape() && a.dtype() == b.dtype());
    if fits {
        layer.set_weights(&recorded)?;
    }
    let (_, outputs) = case.call(&layer)?;
    for y in &outputs {
        found.insert(format!("result {} {}", y.spec()?, y.is_masked()), Array::full(&[], 0.0_f32).unwrap());
    }
    let masked = case.flags("input_masks");
    for phase in [Phase::Test, Phase::Train] {
        let trace = Trace::new(TraceOptions { phase, semantics: case.semantics, ..TraceOptions::default() });
        let mut feeds = Vec::new();
        let mut feed = |array: &Array| {
            feeds.push(array.clone());
            trace.input(Type::new(array.shape(), array.dtype()))
        };
        let inputs: Vec<Tensor> =
            (0..masked.len()).map(|i| feed(case.array(&format!("input_{i}")))).collect();
        let masks: Vec<Option<Tensor>> = (0..masked.len())
            .map(|i| masked[i].then(|| feed(case.array(&format!("input_mask_{i}")))))
            .collect();
        let results = layer.replay_with(&trace, &inputs, &masks, &case.arguments())?;
        let variables: Vec<Tensor> =
            layer.weights().iter().map(|weight| Tensor::variable(&weight.variable)).collect();
        let mut fetches: Vec<(String, Tensor)> = Vec::new();
        let mut objective = k::sum(&(k::cast(&inputs[0], keras_core::DType::F32) * 0.0), &[], false);
        for (i, (y, mask)) in results.iter().enumerate() {
            objective = objective + k::cast(&k::sum(&k::sin(y), &[], false), keras_core::DType::F32);
            fetches.push((format!("output {i}"), y.clone()));
            fetches.extend(mask.iter().map(|mask| (format!("mask {i}"), mask.clone())));
        }
        let collected = trace.collected();
        let penalties = layer.weights();
        let penalties = penalties.iter().filter_map(|weight| {
            weight.regularizer.as_ref().map(|penalty| penalty.call(&Tensor::variable(&weight.variable)))
        });
        for (i, loss) in collected.losses.iter().cloned().chain(penalties).enumerate() {
            fetches.push((format!("loss {i}"), loss));
        }
        for (i, (_, update)) in collected.updates.iter().enumerate() {
            fetches.push((format!("update {i}"), update.clone()));
        }
        for (i, weight) in layer.weights().iter().enumerate() {
            let value = Tensor::variable(&weight.variable);
            fetches.extend(
                weight
                    .constraint
                    .as_ref()
                    .map(|constraint| (format!("constrained {i}"), constraint.call(&value))),
            );
        }
        let sources: Vec<&Tensor> = inputs
            .iter()
            .chain(&variables)
            .filter(|x| x.dtype().is_ok_and(keras_core::DType::is_float))
            .collect();
        for (i, gradient) in k::gradients(&objective, &sources)?.into_iter().enumerate() {
            fetches.extend(gradient.map(|gradient| (format!("gradient {i}"), gradient)));
        }
        let values =
            fetches.iter().map(|(_, tensor)| trace.lift(tensor)).collect::<keras_core::Result<Vec<_>>>()?;
        trace.with_graph_mut(|graph| graph.set_outputs(values));
        let program = trace.with_graph(|graph| Engine::new(Reference)?.compile(graph))?;
        for ((what, _), value) in fetches.into_iter().zip(program.run(&feeds)?) {
            found.insert(format!("{phase:?} {what}"), value);
        }
    }
    Ok(())
}

/// Two looks at layers of one config: what differs between them is random.
struct Looks([BTreeMap<String, Array>; 2]);

impl Looks {
    fn new(config: &Config, case: &Case) -> Self {
        Self([seen(config, case), seen(config, case)])
    }

    /// The value under a name, if it is the same at every look.
    fn steady(&self, what: &str) -> Option<&Array> {
        let (a, b) = (self.0[0].get(what)?, self.0[1].get(what)?);
        a.same_bits(b).then_some(a)
    }

    /// Whether there is something else, or another value, or something random that was not.
    fn differs(&self, other: &Self) -> bool {
        let names: BTreeSet<&String> = self.0[0].keys().chain(other.0[0].keys()).collect();
        names.into_iter().any(|what| match (self.steady(what), other.steady(what)) {
            (Some(a), Some(b)) => !a.same_bits(b),
            (None, None) => self.0[0].contains_key(what) != other.0[0].contains_key(what),
            _ => true,
        })
    }
}

fn check(cases: impl Iterator<Item = Case>) {
    let mut classes: BTreeMap<String, Vec<Case>> = BTreeMap::new();
    for case in cases.filter(|case| !case.is_double()) {
        classes.entry(case.config().class_name).or_default().push(case);
    }
    let mut failures = Vec::new();
    let mut options = 0;
    for (class, cases) in &classes {
        let mut open: BTreeSet<String> = BTreeSet::new();
        let mut bases = Vec::new();
        for case in cases {
            let config = deserialize(&case.config()).unwrap().config();
            open.extend(config.config.keys().cloned());
            bases.push((case, config));
        }
        open.retain(|key| !EXCEPTIONS.iter().any(|(exception, _)| exception == key));
        options += open.len();
        for (case, config) in bases {
            if open.is_empty() {
                break;
            }
            let base = Looks::new(&config, case);
            let rank = case.specs()[0].rank();
            open.retain(|key| {
                let Some(value) = config.config.get(key) else { return true };
                let Some(value) = changed(class, key, value, rank) else { return true };
                let mut other = config.clone();
                other.config.insert(key.clone(), value);
                !base.differs(&Looks::new(&other, case))
            });
        }
        failures.extend(open.into_iter().map(|key| format!("{class}.{key}")));
    }
    assert!(
        failures.is_empty(),
        "{} of {options} options change nothing: {}",
        failures.len(),
        failures.join(", ")
    );
    assert!(options > 100, "{options} options");
}

#[test]
fn every_option_of_keras_s_layers_matters() {
    check(cases());
}

#[test]
fn every_option_of_tf_keras_s_layers_matters() {
    check(super::tf_keras::cases());
}
