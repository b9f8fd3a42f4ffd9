//! Operations between layers as tf.keras 2.15 saves them: models of their JSON, values and gradients.

use super::case::{close, traced};
use crate::fixtures::Fixture;
use keras_core::backend::Engine;
use keras_core::backend::reference::Reference;
use keras_core::layers::Arguments;
use keras_core::models::model_from_json;
use keras_core::tensor::TraceOptions;
use keras_core::{Array, Tensor, k};

#[test]
fn operations_of_tf_keras_are_read_and_computed() {
    let fixture = Fixture::load("operations_2_15");
    let engine = Engine::new(Reference).unwrap();
    let mut failures = Vec::new();
    for case in fixture.cases() {
        let name = case["name"].as_str().unwrap();
        let check = || -> Result<(), String> {
            let said = |error: keras_core::Error| error.to_string();
            let model = model_from_json(&case["model"].to_string()).map_err(said)?;
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
            let part = |(i, y): (usize, &&Tensor)| {
                k::sum(&(*y * &Tensor::constant(array("r", i).clone())), &[], false)
            };
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
            let tensors: Vec<&Tensor> = fetches.iter().map(|(_, _, tensor)| tensor).collect();
            for (found, (what, expected, _)) in traced.run(&engine, &tensors, Vec::new()).iter().zip(&fetches)
            {
                close(what, found, expected)?;
            }
            Ok(())
        };
        failures.extend(check().err().map(|error| format!("{name}: {error}")));
    }
    assert!(fixture.cases().len() >= 98);
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}
