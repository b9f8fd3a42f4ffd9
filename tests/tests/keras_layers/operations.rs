//! Operations between layers as tf.keras 2.15 saves them: models of their JSON, values and gradients.

use super::case::{close, traced};
use crate::everywhere::runtimes;
use crate::fixtures::Fixture;
use keras_core::backend::Runtime;
use keras_core::graph::optimize::Passes;
use keras_core::layers::{Arguments, Input, Operation};
use keras_core::models::model_from_json;
use keras_core::tensor::TraceOptions;
use keras_core::{Array, Tensor, k};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Names that other versions of tf.keras write, and what 2.15 writes for the same operation.
const ALIASES: [(&str, &str); 8] = [
    ("gather", "compat.v1.gather"),
    ("norm", "compat.v1.norm"),
    ("pad", "compat.v1.pad"),
    ("shape", "compat.v1.shape"),
    ("squeeze", "compat.v1.squeeze"),
    ("transpose", "compat.v1.transpose"),
    ("math.divide", "math.truediv"),
    ("math.floordiv", "compat.v1.floor_div"),
];

/// What a case's model gives on every backend, with gradients.
fn agrees(
    runtimes: &[Arc<dyn Runtime>],
    fixture: &Fixture,
    case: &Value,
    model: &Value,
) -> Result<(), String> {
    let name = case["name"].as_str().unwrap();
    let said = |error: keras_core::Error| error.to_string();
    let model = model_from_json(&model.to_string()).map_err(said)?;
    // What is read is written again, and read.
    let model = model_from_json(&model.to_json().map_err(said)?).map_err(said)?;
    let array = |key: &str, i: usize| fixture.array(&format!("{name}/{key}_{i}"));
    let layer = model.as_layer().map_err(said)?;
    let values: Vec<&Array> =
        (0..case["inputs"].as_u64().unwrap() as usize).map(|i| array("input", i)).collect();
    let traced = traced(
        &layer,
        &values,
        &vec![None; values.len()],
        &Arguments::new(),
        TraceOptions { semantics: model.semantics(), ..TraceOptions::default() },
    );
    let outputs: Vec<&Tensor> = traced.outputs.iter().map(|(y, _)| y).collect();
    if outputs.len() as u64 != case["outputs"] {
        return Err(format!("{} results", outputs.len()));
    }
    let part =
        |(i, y): (usize, &&Tensor)| k::sum(&(*y * &Tensor::constant(array("r", i).clone())), &[], false);
    let objective = outputs.iter().enumerate().map(part).reduce(|a, b| a + b).unwrap();
    let mut fetches: Vec<(String, &Array, Tensor)> = Vec::new();
    for (i, y) in outputs.iter().enumerate() {
        fetches.push((format!("output {i}"), array("output", i), (*y).clone()));
    }
    let wanted: Vec<usize> = (0..traced.inputs.len())
        .filter(|i| fixture.find(&format!("{name}/grad_input_{i}")).is_some())
        .collect();
    let sources: Vec<&Tensor> = wanted.iter().map(|&i| &traced.inputs[i]).collect();
    for (i, gradient) in wanted.iter().zip(k::gradients(&objective, &sources).map_err(said)?) {
        let gradient = gradient.ok_or_else(|| format!("no gradient {i}"))?;
        fetches.push((format!("gradient {i}"), array("grad_input", *i), gradient));
    }
    let lifted: Vec<_> = fetches
        .iter()
        .map(|(_, _, tensor)| traced.trace.lift(tensor).map_err(said))
        .collect::<Result<_, _>>()?;
    traced.trace.with_graph_mut(|graph| graph.set_outputs(lifted));
    for runtime in runtimes {
        let program =
            traced.trace.with_graph(|graph| runtime.compile(graph, Passes::default())).map_err(said)?;
        for (found, (what, expected, _)) in program.run(&traced.feeds).map_err(said)?.iter().zip(&fetches) {
            close(&format!("{what} on {}", runtime.name()), found, expected)?;
        }
    }
    Ok(())
}

/// The operations in a model.
fn operations<'a>(model: &'a Value, found: &mut BTreeSet<&'a str>) {
    match model {
        Value::Array(items) => items.iter().for_each(|item| operations(item, found)),
        Value::Object(fields) => {
            found.extend(fields.get("function").and_then(Value::as_str));
            fields.values().for_each(|field| operations(field, found));
        }
        _ => {}
    }
}

/// A model with one operation under another name.
fn renamed(model: &Value, from: &str, to: &str) -> Value {
    match model {
        Value::Array(items) => items.iter().map(|item| renamed(item, from, to)).collect(),
        Value::Object(fields) => {
            let named = |(key, value): (&String, &Value)| match key.as_str() {
                "function" if value == from => (key.clone(), to.into()),
                _ => (key.clone(), renamed(value, from, to)),
            };
            Value::Object(fields.iter().map(named).collect())
        }
        other => other.clone(),
    }
}

#[test]
fn operations_of_tf_keras_are_read_and_computed() {
    let fixture = Fixture::load("operations_2_15");
    let runtimes = runtimes();
    let mut failures = Vec::new();
    let mut seen = BTreeSet::new();
    for case in fixture.cases() {
        let name = case["name"].as_str().unwrap();
        let model = &case["model"];
        let mut own = BTreeSet::new();
        operations(model, &mut own);
        let mut check = |model: &Value| {
            let outcome = agrees(&runtimes, &fixture, case, model);
            failures.extend(outcome.err().map(|error| format!("{name}: {error}")));
        };
        check(model);
        for (other, written) in ALIASES.into_iter().filter(|(_, written)| own.contains(written)) {
            check(&renamed(model, written, other));
            seen.insert(other);
        }
        seen.extend(own);
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    let error = Operation::new("nothing").call(Input::new([3]).tensor().unwrap()).unwrap_err();
    let known = error.report().expected.strip_prefix("one of ").unwrap();
    let missing: Vec<&str> = known.split(", ").filter(|name| !seen.contains(name)).collect();
    assert!(missing.is_empty(), "no case has {}", missing.join(", "));
    assert!(known.split(", ").count() >= 100 && fixture.cases().len() >= 130);
}
