//! Layers against Keras 2.3.1 on TensorFlow 1.15: values, gradients, masks, losses, updates, configs, weights.

use super::case::{Case, cases, check_phase, close, for_every, input, trace};
use keras_core::backend::{Backend, Engine};
use keras_core::layers::{Call, Layer, LayerRef, deserialize};
use keras_core::registry::Config;
use keras_core::tensor::{Phase, TraceOptions};
use keras_core::{Result, Spec, Tensor};
use std::collections::HashSet;
use std::sync::Arc;

/// Runs every case in both phases, and the updates of those that have some.
pub(super) fn agrees<B: Backend>(backend: B, cases: impl Iterator<Item = Case>) {
    let engine = Engine::new(backend).unwrap();
    for_every(cases, |case| {
        let layer = case.layer();
        let frozen = if layer.trainable() { HashSet::new() } else { HashSet::from([layer.id()]) };
        let options = |phase| TraceOptions {
            phase,
            semantics: case.semantics,
            frozen: Arc::new(frozen.clone()),
            ..TraceOptions::default()
        };
        for (name, phase) in [("test", Phase::Test), ("train", Phase::Train)] {
            if !case.json["phases"].as_array().unwrap().iter().any(|known| known == name) {
                continue;
            }
            let traced = trace(case, &layer, options(phase));
            check_phase(case, &layer, &engine, &traced, name)?;
        }
        for (i, weight) in layer.weights().iter().enumerate() {
            let Some(expected) = case.find(&format!("constrained_weight_{i}")) else { continue };
            let traced = trace(case, &layer, TraceOptions::default());
            let constraint =
                weight.constraint.as_ref().ok_or_else(|| format!("weight {i} has no constraint"))?;
            let found =
                traced.run(&engine, &[&constraint.call(&Tensor::variable(&weight.variable))], Vec::new());
            close(&format!("constrained weight {i}"), &found[0], expected)?;
        }
        if case.json["updates"] == true {
            let traced = trace(case, &layer, options(Phase::Train));
            let updates = traced.trace.collected().updates;
            traced.run(&engine, &[], updates);
            for (i, value) in layer.get_weights().unwrap().iter().enumerate() {
                close(&format!("weight {i} after"), value, case.array(&format!("train/weight_after_{i}")))?;
            }
        }
        Ok(())
    });
}

/// A test of outputs, masks, losses, gradients and updates for each backend; `Contrary` is one of views and other layouts.
macro_rules! on_every_backend {
    ($cases:expr) => {
        #[test]
        fn agrees_on_the_reference() {
            agrees(keras_core::backend::reference::Reference, $cases);
        }

        #[test]
        fn agrees_on_contrary() {
            agrees(keras_core::backend::contrary::Contrary, $cases);
        }

        #[test]
        fn agrees_on_ndarray() {
            agrees(backend_ndarray::NdArray::new().unwrap(), $cases);
        }

        #[cfg(feature = "candle")]
        #[test]
        fn agrees_on_candle() {
            agrees(backend_candle::Candle::new("cpu").unwrap(), $cases);
        }

        #[cfg(feature = "torch")]
        #[test]
        fn agrees_on_torch() {
            agrees(backend_torch::Torch::new("cpu").unwrap(), $cases);
        }
    };
}
pub(super) use on_every_backend;

on_every_backend!(cases());

#[test]
fn configs_come_back_as_keras_wrote_them() {
    // Those in double were recorded where that was the default, to which Keras rounds the numbers of a config.
    let single = cases().filter(|case| !case.is_double());
    for_every(single, |case| {
        let (written, read) =
            (case.config().to_value().to_string(), case.layer().config().to_value().to_string());
        if written == read { Ok(()) } else { Err(format!("\n{read} instead of\n{written}")) }
    });
}

#[test]
fn weights_have_keras_s_names_shapes_and_order() {
    for_every(cases(), has_names_shapes_and_order);
}

pub(super) fn has_names_shapes_and_order(case: &Case) -> std::result::Result<(), String> {
    let layer = case.layer();
    let learning = layer.trainable_weights().len();
    let found: Vec<String> = layer
        .weights()
        .iter()
        .enumerate()
        .map(|(i, w)| format!("{}:0 {:?} {}", w.variable.name(), w.variable.shape(), i < learning))
        .collect();
    let expected: Vec<String> = case.json["weights"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| {
            let shape: Vec<u64> =
                w["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
            format!("{} {shape:?} {}", w["name"].as_str().unwrap(), w["trainable"])
        })
        .collect();
    if found == expected { Ok(()) } else { Err(format!("{found:?} instead of {expected:?}")) }
}

/// A layer that hides what another one states of its results, so that they are found by tracing.
struct Unstated(LayerRef);

impl Layer for Unstated {
    fn config(&self) -> Config {
        Config::new("Unstated")
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let results = cx.call_child(&self.0, inputs, &vec![None; inputs.len()])?;
        Ok(results.into_iter().map(|(value, _)| value).collect())
    }
}

fn specs(tensors: &[Tensor]) -> Vec<Spec> {
    tensors.iter().map(|tensor| tensor.spec().unwrap()).collect()
}

#[test]
fn stated_specs_are_those_of_a_probe_and_of_the_trace() {
    for_every(cases(), |case| {
        let layer = case.layer();
        let (_, outputs) = case.call(&layer).map_err(|error| error.to_string())?;
        let stated = specs(&outputs);
        let masked: Vec<bool> = outputs.iter().map(Tensor::is_masked).collect();
        if masked != case.flags("output_masks") {
            return Err(format!("masks {masked:?}"));
        }
        let inputs: Vec<Tensor> = case.specs().iter().map(|spec| input(spec).unwrap()).collect();
        let probed = specs(&LayerRef::new(Unstated(layer.clone())).unwrap().call_all(inputs).unwrap());
        if stated != probed {
            return Err(format!("{stated:?} is stated, {probed:?} probed"));
        }
        let traced = trace(case, &layer, TraceOptions::default());
        for (i, (stated, (y, _))) in stated.iter().zip(&traced.outputs).enumerate() {
            let shape = y.shape().unwrap();
            let keras = case.array(&format!("test/output_{i}")).shape();
            if !stated.accepts(&shape) || shape != keras || stated.dtype != y.dtype().unwrap() {
                return Err(format!("{stated} is stated, {shape:?} traced, {keras:?} Keras's"));
            }
        }
        Ok(())
    });
}

/// The same with each axis left open in turn, wherever the layer can be called at all.
#[test]
fn stated_specs_are_those_of_a_probe_where_lengths_are_open() {
    let mut compared = 0;
    for case in cases() {
        for (i, spec) in case.specs().iter().enumerate() {
            for axis in 1..spec.rank() {
                let mut specs_ = case.specs();
                specs_[i].shape[axis] = None;
                let inputs: Vec<Tensor> = specs_.iter().map(|spec| input(spec).unwrap()).collect();
                let layer = deserialize(&case.config()).unwrap();
                let Ok(outputs) = layer.call_all(inputs.clone()) else { continue };
                let hidden = LayerRef::new(Unstated(layer)).unwrap();
                let Ok(probed) = hidden.call_all(inputs) else { continue };
                assert_eq!(specs(&outputs), specs(&probed), "{} with {specs_:?}", case.name());
                compared += 1;
            }
        }
    }
    assert!(compared > 200, "only {compared} compared");
}

#[test]
fn weights_start_as_keras_s_do() {
    for_every(cases().filter(|case| case.json["initial"] == true), starts);
}

pub(super) fn starts(case: &Case) -> std::result::Result<(), String> {
    let layer = deserialize(&case.config()).unwrap();
    layer.build(&case.own_specs()).unwrap();
    for (i, value) in layer.get_weights().unwrap().iter().enumerate() {
        close(&format!("initial weight {i}"), value, case.array(&format!("initial_weight_{i}")))?;
    }
    Ok(())
}
