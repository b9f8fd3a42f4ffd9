//! What every layer owes its users, whatever it computes: [`run_layer_test`].

use super::case::{Case, cases, classes, close, trace};
use keras_core::array::Array;
use keras_core::backend::Engine;
use keras_core::backend::reference::Reference;
use keras_core::layers::{LayerRef, deserialize};
use keras_core::models::Model;
use keras_core::optimizers::OptimizerSpec;
use keras_core::tensor::TraceOptions;
use keras_core::training::Compile;
use keras_core::{Tensor, saving};
use std::collections::HashSet;

pub(super) type Checked<T = ()> = std::result::Result<T, String>;

pub(super) fn said(error: keras_core::Error) -> String {
    error.to_string()
}

/// One of each family.
const OPTIMIZERS: [&str; 7] = ["sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamax", "nadam"];

fn outputs(case: &Case, layer: &LayerRef) -> Vec<Array> {
    let traced = trace(case, layer, TraceOptions { semantics: case.semantics, ..TraceOptions::default() });
    let outputs: Vec<&Tensor> = traced.outputs.iter().map(|(y, _)| y).collect();
    traced.run(&Engine::new(Reference).unwrap(), &outputs, Vec::new())
}

fn same(what: &str, found: &[Array], expected: &[Array]) -> Checked {
    if found.len() != expected.len() {
        return Err(format!("{what}: {} instead of {}", found.len(), expected.len()));
    }
    found.iter().zip(expected).try_for_each(|(found, expected)| close(what, found, expected))
}

/// A model of the layer alone on its recorded inputs.
pub(super) fn model_of(case: &Case, layer: &LayerRef) -> Checked<Model> {
    let inputs: Vec<Tensor> =
        case.specs().iter().map(super::case::input).collect::<Result<_, _>>().map_err(said)?;
    let outputs = layer.call_with(inputs.clone(), case.arguments()).map_err(said)?;
    let model = Model::new(inputs, outputs).map_err(said)?;
    model.set_semantics(case.semantics);
    model.on(&Engine::new(Reference).unwrap());
    Ok(model)
}

/// Takes a layer through its config and back, from what it states to what a trace gives, through the masks it
/// promises, one training step on each of `optimizers`, and a clone of a model of it.
pub(super) fn run_layer_test(case: &Case, optimizers: &[&str]) -> Checked {
    let layer = case.layer();
    let expected = outputs(case, &layer);

    // Config there and back: the same layer under the same weights.
    let again = deserialize(&layer.config()).map_err(said)?;
    again.build(&case.own_specs()).map_err(said)?;
    if again.config() != layer.config() {
        return Err(format!("{:?} comes back as {:?}", layer.config(), again.config()));
    }
    again.set_weights(&layer.get_weights().map_err(said)?).map_err(said)?;
    same("after its config", &outputs(case, &again), &expected)?;

    // What a call states is what a trace gives, masks included.
    let (_, stated) = case.call(&layer).map_err(said)?;
    let traced = trace(case, &layer, TraceOptions { semantics: case.semantics, ..TraceOptions::default() });
    for (stated, (y, mask)) in stated.iter().zip(&traced.outputs) {
        let spec = stated.spec().map_err(said)?;
        if !spec.accepts(&y.shape().unwrap()) || spec.dtype != y.dtype().unwrap() {
            return Err(format!("{spec} is stated, {:?} given", y.shape()));
        }
        if stated.is_masked() != mask.is_some() {
            return Err(format!("a mask is stated: {}, given: {}", stated.is_masked(), mask.is_some()));
        }
    }
    let inputs: Vec<Array> =
        (0..case.specs().len()).map(|i| case.array(&format!("input_{i}")).clone()).collect();
    let model = model_of(case, &layer)?;
    let predicted = model.predict_on_batch(inputs.clone()).map_err(said)?;
    if case.flags("input_masks").iter().all(|masked| !masked) {
        same("as a model", &predicted, &expected)?;
    }
    let copy = saving::clone_model(&model).map_err(said)?;
    copy.on(&Engine::new(Reference).unwrap());
    copy.set_weights(&model.get_weights().map_err(said)?).map_err(said)?;
    same("as a clone", &copy.predict_on_batch(inputs.clone()).map_err(said)?, &predicted)?;

    for name in optimizers {
        let layer = case.layer();
        let model = model_of(case, &layer)?;
        let optimizer = OptimizerSpec::from(*name);
        model.compile(Compile::new(optimizer, "mse")).map_err(|error| format!("{name}: {error}"))?;
        let targets: Vec<Array> =
            predicted.iter().map(|y| Array::full(y.shape(), 0.25_f32).unwrap()).collect();
        let loss =
            model.train_on_batch(inputs.clone(), targets).map_err(|error| format!("{name}: {error}"))?;
        if loss.iter().any(|loss| !loss.is_finite()) {
            return Err(format!("{name}: loss {loss:?}"));
        }
        let learning = layer.trainable_weights().len();
        let moved = layer
            .get_weights()
            .unwrap()
            .iter()
            .zip(case.weights())
            .take(learning)
            .any(|(a, b)| !a.same_bits(&b));
        if learning > 0 && !moved {
            return Err(format!("{name}: no weight moved"));
        }
    }
    Ok(())
}

/// Classes without a recorded case, with the reason.
const WITHOUT: [(&str, &str); 6] = [
    ("GRUCell", CELL),
    ("LSTMCell", CELL),
    ("SimpleRNNCell", CELL),
    ("ConvLSTM2DCell", CELL),
    ("StackedRNNCells", CELL),
    ("Lambda", "a function of Python"),
];
const CELL: &str = "Keras calls cells inside layers only";

#[test]
fn every_layer_keeps_the_contract() {
    // Each class trains on every family of optimizers once; each case passes the rest.
    let mut trained = HashSet::new();
    let mut failures = Vec::new();
    // Configs round their numbers to the default float type, which is not double here.
    for case in cases().chain(super::tf_keras::cases()).filter(|case| !case.is_double()) {
        let first = trained.insert(case.config().class_name);
        let optimizers: &[&str] = if first { &OPTIMIZERS } else { &[] };
        failures
            .extend(run_layer_test(&case, optimizers).err().map(|error| format!("{}: {error}", case.name())));
    }
    let missing: Vec<String> = classes()
        .into_iter()
        .filter(|class| !trained.contains(class) && !WITHOUT.iter().any(|(other, _)| other == class))
        .collect();
    assert!(missing.is_empty(), "no case of {missing:?}");
    assert!(failures.is_empty(), "{}:\n{}", failures.len(), failures.join("\n"));
}
