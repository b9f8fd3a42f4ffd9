//! Every option matters: for each key of each layer's config, a change of its value changes a result, a gradient, a
//! weight, a state, a mask or an input. The base of a comparison is a recorded case of the class.

use super::case::{Case, cases, spec_of};
use super::contract::{Checked, model_of, said};
use crate::options::{Of, is_exception};
use keras_core::array::{Array, DType};
use keras_core::backend::Engine;
use keras_core::backend::reference::Reference;
use keras_core::graph::Type;
use keras_core::layers::deserialize;
use keras_core::models::Sequential;
use keras_core::registry::Config;
use keras_core::tensor::{Phase, Trace, TraceOptions};
use keras_core::training::Compile;
use keras_core::{Result, Spec, Tensor, k};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// More bases than were recorded: with a value under a key of which a change shows that of another.
fn bases(class: &str) -> Vec<(&'static str, Value)> {
    match class {
        "Cropping3D" => vec![("cropping", json!([[1, 0], [0, 0], [0, 0]]))],
        _ => Vec::new(),
    }
}

/// Another value for a key; none where nobody has said what would be one.
fn changed(class: &str, key: &str, value: &Value, case: &Case) -> Option<Value> {
    let shape = case.specs().swap_remove(0).shape;
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
        "cells" => {
            let mut cells = value.clone();
            let units = &mut cells[0]["config"]["units"];
            *units = json!(units.as_u64()? + 1);
            cells
        }
        "noise_shape" if value.is_null() => json!(vec![1; shape.len()]),
        "seed" => json!(value.as_i64().unwrap_or(0) + 3),
        "max_value" if value.is_null() => json!(0.5),
        "shared_axes" if value.is_null() => json!([1]),
        "output_padding" if value.is_null() => json!(1),
        "output_shape" if value.is_null() => json!([9]),
        "attention_axes" if value.is_null() => json!([0]),
        "input_length" | "input_dim" if value.is_null() => json!(shape.last()?),
        "output_padding" => each(-1),
        "noise_shape" | "max_value" | "shared_axes" | "output_shape" | "attention_axes" => Value::Null,
        "axis" if class == "Concatenate" => json!(0),
        "axis" if class != "Normalization" => json!(if *value == json!(1) { -1 } else { 1 }),
        "axis" => json!(if value.is_null() { json!(-1) } else { Value::Null }),
        "axes" => json!(1),
        "target_shape" => json!(if *value == json!([-1]) { json!([-1, 1]) } else { json!([-1]) }),
        "dims" => Value::Array(value.as_array()?.iter().rev().cloned().collect()),
        "mean" | "variance" => {
            json!(value.as_array()?.iter().map(|x| x.as_f64().unwrap() + 0.25).collect::<Vec<_>>())
        }
        "groups" => json!(if *value == json!(1) { 2 } else { 1 }),
        "cropping" if !value.to_string().contains('0') => each(-1),
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

/// What is seen of a layer, by name. Where one of two layers does not show something, it is not compared.
type Seen = BTreeMap<String, String>;

fn text(array: &Array) -> String {
    format!("{:?} {:?} {:?}", array.dtype(), array.shape(), array.to_vec::<f64>())
}

/// The ends of a model that starts with the layer, as it is and where told its input's shape, and the types of
/// weights for inputs of its own type.
fn see_start(config: &Config, case: &Case) -> Result<Seen> {
    let mut found = Seen::new();
    let mut told = config.clone();
    let given = told.config.entry("batch_input_shape").or_insert(Value::Null);
    if given.is_null() {
        *given = json!(case.specs()[0].shape);
    }
    for (what, config) in [("first", config), ("first, told", &told)] {
        let mut model = Sequential::new();
        if model.add(deserialize(config)?).is_ok() {
            let ends = model.inputs().and_then(|inputs| Ok((inputs, model.outputs()?)));
            let specs = ends.map(|(inputs, outputs)| {
                inputs.iter().chain(&outputs).map(|end| end.spec().unwrap().to_string()).collect::<Vec<_>>()
            });
            found.insert(what.into(), specs.map_or("not built".into(), |specs| specs.join(" to ")));
        }
    }
    let layer = deserialize(config)?;
    let typed = |spec: Spec| if spec.dtype.is_float() { Spec::new(spec.shape, layer.dtype()) } else { spec };
    if layer.build(&case.own_specs().into_iter().map(typed).collect::<Vec<_>>()).is_ok() {
        let types: Vec<DType> = layer.get_weights()?.iter().map(Array::dtype).collect();
        found.insert("types".into(), format!("{types:?}"));
    }
    Ok(found)
}

/// Adds the weights after a training step, if there can be one.
fn see_trained(config: &Config, case: &Case, found: &mut Seen) {
    let trained = || -> Checked<String> {
        let layer = deserialize(config).map_err(said)?;
        let model = model_of(case, &layer)?;
        layer.set_weights(&case.weights()).map_err(said)?;
        let inputs: Vec<Array> =
            (0..case.specs().len()).map(|i| case.array(&format!("input_{i}")).clone()).collect();
        let predicted = model.predict_on_batch(inputs.clone()).map_err(said)?;
        let targets: Vec<Array> = predicted
            .iter()
            .map(|y| Array::full(y.shape(), 0.25_f32).map(|target| target.cast(y.dtype())))
            .collect::<Result<_>>()
            .map_err(said)?;
        model.compile(Compile::new("sgd", "mse")).map_err(said)?;
        model.train_on_batch(inputs, targets).map_err(said)?;
        Ok(layer.get_weights().map_err(said)?.iter().map(text).collect())
    };
    if let Ok(trained) = trained() {
        found.insert("trained".into(), trained);
    }
}

fn see(config: &Config, case: &Case, trains: bool) -> Result<Seen> {
    let mut found = see_start(config, case)?;
    if trains {
        see_trained(config, case, &mut found);
    }
    let layer = deserialize(config)?;
    // At the recorded batch size, so that the layer may carry states.
    let arrays: Vec<&Array> = (0..case.specs().len()).map(|i| case.array(&format!("input_{i}"))).collect();
    let own = arrays.iter().take(case.own_specs().len());
    layer.build(&own.copied().map(spec_of).collect::<Vec<_>>())?;
    for (i, weight) in layer.weights().iter().enumerate() {
        found.insert(format!("initial {i}"), text(&weight.variable.value()?));
    }
    let shapes =
        |arrays: &[Array]| arrays.iter().map(|a| (a.shape().to_vec(), a.dtype())).collect::<Vec<_>>();
    let (weights, recorded) = (layer.get_weights()?, case.weights());
    found.insert("weights".into(), format!("{:?}", shapes(&weights)));
    let weights = if shapes(&weights) == shapes(&recorded) { recorded } else { weights };
    let masked = case.flags("input_masks");
    for phase in [Phase::Test, Phase::Train] {
        layer.set_weights(&weights)?;
        let frozen = if layer.trainable() { HashSet::new() } else { HashSet::from([layer.id()]) };
        let trace = Trace::new(TraceOptions {
            phase,
            semantics: case.semantics,
            frozen: Arc::new(frozen),
            ..TraceOptions::default()
        });
        let mut feeds = Vec::new();
        let mut feed = |array: &Array| {
            feeds.push(array.clone());
            trace.input(Type::new(array.shape(), array.dtype()))
        };
        let inputs: Vec<Tensor> = arrays.iter().map(|array| feed(array)).collect();
        let masks: Vec<Option<Tensor>> = (0..masked.len())
            .map(|i| masked[i].then(|| feed(case.array(&format!("input_mask_{i}")))))
            .collect();
        let results = layer.replay_with(&trace, &inputs, &masks, &case.arguments())?;
        let variables: Vec<Tensor> =
            layer.weights().iter().map(|weight| Tensor::variable(&weight.variable)).collect();
        let mut fetches: Vec<(String, Tensor)> = Vec::new();
        let mut objective = k::sum(&(k::cast(&inputs[0], DType::F32) * 0.0), &[], false);
        for (i, (y, mask)) in results.iter().enumerate() {
            objective = objective + k::cast(&k::sum(&k::sin(y), &[], false), DType::F32);
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
        for (i, weight) in layer.weights().iter().enumerate() {
            let value = Tensor::variable(&weight.variable);
            fetches.extend(
                weight
                    .constraint
                    .as_ref()
                    .map(|constraint| (format!("constrained {i}"), constraint.call(&value))),
            );
        }
        let sources: Vec<&Tensor> =
            inputs.iter().chain(&variables).filter(|x| x.dtype().is_ok_and(DType::is_float)).collect();
        for (i, gradient) in k::gradients(&objective, &sources)?.into_iter().enumerate() {
            fetches.extend(gradient.map(|gradient| (format!("gradient {i}"), gradient)));
        }
        let names: Vec<&String> = fetches.iter().map(|(name, _)| name).collect();
        found.insert(format!("{phase:?}"), format!("{names:?}"));
        let values = fetches.iter().map(|(_, tensor)| trace.lift(tensor)).collect::<Result<Vec<_>>>()?;
        let updates = collected.updates.into_iter().map(|(v, x)| Ok((v, trace.lift(&x)?)));
        let updates = updates.collect::<Result<Vec<_>>>()?;
        trace.with_graph_mut(|graph| {
            graph.set_outputs(values);
            graph.set_updates(updates);
        });
        let program = trace.with_graph(|graph| Engine::new(Reference)?.compile(graph))?;
        // What the first batch leaves behind shows in the second.
        for batch in 0..2 {
            for ((what, _), value) in fetches.iter().zip(program.run(&feeds)?) {
                found.insert(format!("{phase:?} {batch} {what}"), text(&value));
            }
        }
        let after = layer.get_weights()?;
        found.insert(format!("{phase:?} after"), after.iter().map(text).collect());
    }
    Ok(found)
}

/// What is the same at two looks at layers of one config: what differs between them is random.
fn look(config: &Config, case: &Case, trains: bool) -> Result<Seen> {
    let (mut first, second) = (see(config, case, trains)?, see(config, case, trains)?);
    for (what, value) in &mut first {
        if second.get(what) != Some(value) {
            *value = "random".into();
        }
    }
    Ok(first)
}

/// Whose arguments are looked at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Layer,
    /// Those of the cell inside it.
    Cell,
}

impl Part {
    fn of(self, config: &mut Config) -> Option<(String, &mut Map<String, Value>)> {
        match self {
            Self::Layer => Some((config.class_name.clone(), &mut config.config)),
            Self::Cell => {
                let cell = config.config.get_mut("cell")?;
                let class = cell["class_name"].as_str()?.to_owned();
                Some((class, cell["config"].as_object_mut()?))
            }
        }
    }
}

/// Classes without a recorded case, with the reason.
const WITHOUT: [(&str, &str); 2] = [
    ("Lambda", "a function of Python"),
    ("ConvLSTM2DCell", "Keras has it inside ConvLSTM2D alone; `recurrent.rs` compares the two"),
];

#[test]
fn every_option_of_every_layer_matters() {
    let mut classes: BTreeMap<(String, Part), Vec<Case>> = BTreeMap::new();
    for case in cases().chain(super::tf_keras::cases()).filter(|case| !case.is_double()) {
        for part in [Part::Layer, Part::Cell] {
            if let Some((class, _)) = part.of(&mut case.config()) {
                classes.entry((class, part)).or_default().push(case.clone());
            }
        }
    }
    let missing: Vec<String> = super::case::classes()
        .into_iter()
        .filter(|class| {
            !classes.keys().any(|(known, _)| known == class)
                && !WITHOUT.iter().any(|(other, _)| other == class)
        })
        .collect();
    assert!(missing.is_empty(), "no case of {missing:?}");
    let mut failures = Vec::new();
    let mut options = 0;
    for ((class, part), cases) in &classes {
        let mut open: BTreeSet<String> = BTreeSet::new();
        let mut bases = Vec::new();
        for case in cases {
            let mut config = deserialize(&case.config()).unwrap().config();
            let (_, keys) = part.of(&mut config).unwrap();
            open.extend(keys.keys().cloned());
            for (key, value) in self::bases(class) {
                let mut config = config.clone();
                config.config.insert(key.to_owned(), value);
                bases.push((case, config));
            }
            bases.push((case, config));
        }
        let mut of = vec![Of::Layers, Of::Class(class)];
        if cases.iter().all(|case| case.layer().trainable_weights().is_empty()) {
            of.push(Of::Untrained);
        }
        if cases.iter().all(|case| case.specs().len() > 1 && case.weights().is_empty()) {
            of.push(Of::Merges);
        }
        open.retain(|key| !is_exception(&of, key));
        options += open.len();
        for (case, config) in bases {
            if open.is_empty() {
                break;
            }
            let Ok(base) = look(&config, case, open.contains("trainable")) else { continue };
            open.retain(|key| {
                let mut other = config.clone();
                let Some((_, keys)) = part.of(&mut other) else { return true };
                let Some(value) = keys.get(key) else { return true };
                let Some(value) = changed(class, key, value, case) else { return true };
                keys.insert(key.clone(), value);
                // An error is no difference: it does not show that the value is used.
                let Ok(other) = (match key.as_str() {
                    // The recorded arrays have one type.
                    "dtype" => see_start(&other, case),
                    key => look(&other, case, key == "trainable"),
                }) else {
                    return true;
                };
                base.iter().all(|(what, seen)| other.get(what).is_none_or(|other| other == seen))
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
    assert!(options > 500, "{options} options");
}
