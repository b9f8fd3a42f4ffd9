//! Recorded cases of layers, and layers in traces.

use crate::fixtures::Fixture;
use crate::recurrent::RECURRENT;
use keras_core::array::{Array, DType};
use keras_core::backend::reference::Reference;
use keras_core::backend::{Backend, Engine, Variable};
use keras_core::graph::Type;
use keras_core::layers::{Arguments, Input, LayerRef, Masking, deserialize};
use keras_core::registry::Config;
use keras_core::semantics::Semantics;
use keras_core::tensor::{Phase, Trace, TraceOptions};
use keras_core::{Result, Spec, Tensor, k};
use serde_json::Value;
use std::sync::LazyLock;

static KERAS: LazyLock<Fixture> = LazyLock::new(|| Fixture::load("layers_2_3_1"));

/// One recorded case.
#[derive(Clone)]
pub(crate) struct Case {
    fixture: &'static Fixture,
    /// As the generator wrote it.
    pub(crate) json: &'static Value,
    /// The rules of the Keras that wrote it.
    pub(crate) semantics: Semantics,
}

impl Case {
    /// A case of that fixture, by Keras 2.3.1's rules.
    pub(crate) fn of(fixture: &'static Fixture, json: &'static Value) -> Self {
        Self { fixture, json, semantics: Semantics::keras_2_3() }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.json["name"].as_str().unwrap()
    }

    /// Recorded in double precision: of Keras 2.3.1 where that was the default float type, to which it rounds the numbers of
    /// a config.
    pub(crate) fn is_double(&self) -> bool {
        self.name().ends_with("_f64") || self.name().contains("_float64")
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            class_name: self.json["class_name"].as_str().unwrap().to_owned(),
            config: self.json["config"].as_object().unwrap().clone(),
        }
    }

    /// Arguments of the call besides the inputs.
    pub(crate) fn arguments(&self) -> Arguments {
        self.json.get("arguments").and_then(Value::as_object).cloned().unwrap_or_default()
    }

    pub(crate) fn flags(&self, key: &str) -> Vec<bool> {
        self.json[key].as_array().unwrap().iter().map(|flag| flag.as_bool().unwrap()).collect()
    }

    /// The specs of the inputs, batch open.
    pub(crate) fn specs(&self) -> Vec<Spec> {
        let dtypes = self.json["input_dtypes"].as_array().unwrap();
        let shapes = self.json["input_shapes"].as_array().unwrap();
        let spec = |(shape, dtype): (&Value, &Value)| {
            let lens = shape.as_array().unwrap().iter().map(|len| len.as_u64().map(|len| len as usize));
            Spec::new(lens.collect::<Vec<_>>(), DType::from_name(dtype.as_str().unwrap()).unwrap())
        };
        shapes.iter().zip(dtypes).map(spec).collect()
    }

    /// The specs of the inputs that arguments of the call do not name: those that a layer is built for.
    pub(crate) fn own_specs(&self) -> Vec<Spec> {
        let named: Vec<u64> =
            self.arguments().values().filter_map(|value| value["tensor"].as_u64()).collect();
        let own = (0..).zip(self.specs()).filter(|(i, _)| !named.contains(i));
        own.map(|(_, spec)| spec).collect()
    }

    pub(crate) fn array(&self, key: &str) -> &'static Array {
        self.fixture.array(&format!("{}/{key}", self.name()))
    }

    pub(crate) fn find(&self, key: &str) -> Option<&'static Array> {
        self.fixture.find(&format!("{}/{key}", self.name()))
    }

    /// The layer with the recorded weights.
    pub(crate) fn layer(&self) -> LayerRef {
        let layer = deserialize(&self.config()).unwrap();
        layer.build(&self.own_specs()).unwrap();
        layer.set_weights(&self.weights()).unwrap();
        layer
    }

    pub(crate) fn weights(&self) -> Vec<Array> {
        let count = self.json["weights"].as_array().unwrap().len();
        (0..count).map(|i| self.array(&format!("weight_{i}")).clone()).collect()
    }

    /// The Keras tensors that the layer was called on, and the result.
    pub(crate) fn call(&self, layer: &LayerRef) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
        let mut inputs = Vec::new();
        for (spec, masked) in self.specs().into_iter().zip(self.flags("input_masks")) {
            let x = input(&spec)?;
            inputs.push(if masked { Masking::new(0.0).call(&x)? } else { x });
        }
        let outputs = self.semantics.during(|| layer.call_with(inputs.clone(), self.arguments()))?;
        Ok((inputs, outputs))
    }
}

pub(crate) fn input(spec: &Spec) -> Result<Tensor> {
    let input = Input::new(spec.shape.get(1..).unwrap_or_default().to_vec()).dtype(spec.dtype);
    match spec.shape.first().copied().flatten() {
        Some(batch) => input.batch_size(batch).tensor(),
        None => input.tensor(),
    }
}

/// The spec that an array alone fits.
pub(crate) fn spec_of(array: &Array) -> Spec {
    Spec::new(array.shape().iter().map(|&len| Some(len)).collect::<Vec<_>>(), array.dtype())
}

pub(crate) fn cases_of(fixture: &'static Fixture, semantics: Semantics) -> impl Iterator<Item = Case> {
    fixture.cases().iter().map(move |json| Case { fixture, json, semantics })
}

/// What Keras 2.3.1 recorded, of recurrent layers and wrappers, too.
pub(crate) fn cases() -> impl Iterator<Item = Case> {
    [&KERAS, &RECURRENT].into_iter().flat_map(|fixture| cases_of(fixture, Semantics::keras_2_3()))
}

/// Runs a check on cases and reports all that fail.
pub(crate) fn for_every(
    cases: impl Iterator<Item = Case>,
    check: impl Fn(&Case) -> std::result::Result<(), String>,
) {
    let mut count = 0;
    let mut failures = Vec::new();
    for case in cases {
        count += 1;
        failures.extend(check(&case).err().map(|error| format!("{}: {error}", case.name())));
    }
    assert!(count > 0, "no cases");
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n"));
}

/// Arrays whose terms, of about 1, cancel: by a case's name, or how it begins, and the array's, with the reason.
const CANCELLING: [(&str, &str, &str); 7] = [
    ("conv2d_cf_softmax", "test/grad_weight_1", BIAS_BEFORE_SOFTMAX),
    ("conv2d_transpose_cf", "test/grad_weight_1", BIAS_BEFORE_SOFTMAX),
    ("conv3d_transpose_cf", "test/grad_weight_1", BIAS_BEFORE_SOFTMAX),
    ("depthwise_conv2d_cf", "test/grad_weight_1", BIAS_BEFORE_SOFTMAX),
    ("separable_conv2d_cf", "test/grad_weight_2", BIAS_BEFORE_SOFTMAX),
    (
        "multi_head_attention",
        "test/grad_weight_3",
        "0: the bias of the keys moves all scores of a query by as much",
    ),
    (
        "batch_normalization_all_options",
        "train/grad_input_0",
        "0 but for ε: two samples become ±1 whatever they are",
    ),
];
const BIAS_BEFORE_SOFTMAX: &str = "0: a channel's bias moves all values of its softmax by as much";

/// Equal shapes, and no element further away than 1e-5 of the largest. Both sides round at 2⁻²⁴ = 6e-8 per operation; the
/// longest sums here have some 400 terms of which most are below the largest result. In f64, 1e-10.
pub(crate) fn close(what: &str, found: &Array, expected: &Array) -> std::result::Result<(), String> {
    close_from(1e-3, what, found, expected)
}

/// [`close`], where the largest counts as `least` at least: what the terms of a sum are that cancel.
fn close_from(least: f64, what: &str, found: &Array, expected: &Array) -> std::result::Result<(), String> {
    if found.shape() != expected.shape() {
        return Err(format!("{what}: shape {:?} instead of {:?}", found.shape(), expected.shape()));
    }
    let double = expected.dtype() == DType::F64;
    let (found, expected): (Vec<f64>, Vec<f64>) = (found.to_vec(), expected.to_vec());
    let tolerance = if double { 1e-10 } else { 1e-5 };
    let scale = expected.iter().fold(least, |most, x| most.max(x.abs()));
    for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
        if (a - b).abs() > tolerance * scale || a.is_nan() {
            return Err(format!("{what}: {a} instead of {b} at {i}"));
        }
    }
    Ok(())
}

/// A layer's call in a trace at the recorded lengths.
pub(crate) struct Traced {
    pub(crate) trace: Trace,
    pub(crate) feeds: Vec<Array>,
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) outputs: Vec<(Tensor, Option<Tensor>)>,
}

pub(crate) fn traced(
    layer: &LayerRef,
    values: &[&Array],
    masks: &[Option<&Array>],
    arguments: &Arguments,
    options: TraceOptions,
) -> Traced {
    let trace = Trace::new(options);
    let mut feeds = Vec::new();
    let mut feed = |array: &Array| {
        feeds.push(array.clone());
        trace.input(Type::new(array.shape(), array.dtype()))
    };
    let inputs: Vec<Tensor> = values.iter().map(|value| feed(value)).collect();
    let masks: Vec<Option<Tensor>> = masks.iter().map(|mask| mask.map(&mut feed)).collect();
    let outputs = layer.replay_with(&trace, &inputs, &masks, arguments).unwrap();
    Traced { trace, feeds, inputs, outputs }
}

pub(crate) fn trace(case: &Case, layer: &LayerRef, options: TraceOptions) -> Traced {
    let masked = case.flags("input_masks");
    let values: Vec<&Array> = (0..masked.len()).map(|i| case.array(&format!("input_{i}"))).collect();
    let masks: Vec<Option<&Array>> =
        (0..masked.len()).map(|i| masked[i].then(|| case.array(&format!("input_mask_{i}")))).collect();
    traced(layer, &values, &masks, &case.arguments(), options)
}

/// A layer's results for some inputs, on the reference.
pub(crate) fn run(layer: &LayerRef, values: &[&Array], phase: Phase) -> Vec<Array> {
    let options = TraceOptions { phase, ..TraceOptions::default() };
    let traced = traced(layer, values, &vec![None; values.len()], &Arguments::new(), options);
    let outputs: Vec<&Tensor> = traced.outputs.iter().map(|(y, _)| y).collect();
    traced.run(&Engine::new(Reference).unwrap(), &outputs, Vec::new())
}

impl Traced {
    pub(crate) fn run<B: Backend>(
        &self,
        engine: &Engine<B>,
        fetches: &[&Tensor],
        updates: Vec<(Variable, Tensor)>,
    ) -> Vec<Array> {
        let values: Vec<_> = fetches.iter().map(|tensor| self.trace.lift(tensor).unwrap()).collect();
        let updates: Vec<_> = updates.into_iter().map(|(v, x)| (v, self.trace.lift(&x).unwrap())).collect();
        self.trace.with_graph_mut(|graph| {
            graph.set_outputs(values);
            graph.set_updates(updates);
        });
        let program = self.trace.with_graph(|graph| engine.compile(graph)).unwrap();
        program.run(&self.feeds).unwrap()
    }

    /// The layer's losses: of its activity and of its weights.
    pub(crate) fn loss(&self, layer: &LayerRef) -> Option<Tensor> {
        let weights = layer.weights();
        let penalties = weights.iter().filter_map(|weight| {
            weight.regularizer.as_ref().map(|penalty| penalty.call(&Tensor::variable(&weight.variable)))
        });
        self.trace.collected().losses.into_iter().chain(penalties).reduce(|a, b| a + b)
    }
}

pub(crate) fn check_phase<B: Backend>(
    case: &Case,
    layer: &LayerRef,
    engine: &Engine<B>,
    traced: &Traced,
    phase: &str,
) -> std::result::Result<(), String> {
    let loss = traced.loss(layer);
    let mut objective = loss.clone();
    for (i, (y, _)) in traced.outputs.iter().enumerate() {
        let part = k::sum(&(y * &Tensor::constant(case.array(&format!("r_{i}")).clone())), &[], false);
        objective = Some(objective.map_or(part.clone(), |known| known + part));
    }
    let weights: Vec<Tensor> =
        layer.weights().iter().map(|weight| Tensor::variable(&weight.variable)).collect();
    let sources: Vec<(String, &Tensor)> = traced
        .inputs
        .iter()
        .enumerate()
        .map(|(i, x)| (format!("grad_input_{i}"), x))
        .chain(weights.iter().enumerate().map(|(i, w)| (format!("grad_weight_{i}"), w)))
        .filter(|(key, _)| case.find(&format!("{phase}/{key}")).is_some())
        .collect();
    let variables: Vec<&Tensor> = sources.iter().map(|(_, source)| *source).collect();
    let gradients = k::gradients(&objective.unwrap(), &variables).unwrap();

    let mut fetches: Vec<(String, &Array, Tensor)> = Vec::new();
    for (i, (y, mask)) in traced.outputs.iter().enumerate() {
        fetches.push((format!("{phase}/output_{i}"), case.array(&format!("{phase}/output_{i}")), y.clone()));
        match (mask, case.find(&format!("output_mask_{i}"))) {
            (Some(mask), Some(expected)) => fetches.push((format!("mask {i}"), expected, mask.clone())),
            (None, None) => {}
            (mask, _) => return Err(format!("mask {i} is there: {}", mask.is_some())),
        }
    }
    match (loss, case.find(&format!("{phase}/loss"))) {
        (Some(loss), Some(expected)) => fetches.push((format!("{phase} loss"), expected, loss)),
        (None, None) => {}
        (loss, _) => return Err(format!("a loss is there: {}", loss.is_some())),
    }
    for ((key, _), gradient) in sources.into_iter().zip(gradients) {
        let gradient = gradient.ok_or_else(|| format!("{phase} {key}: no gradient"))?;
        fetches.push((format!("{phase}/{key}"), case.array(&format!("{phase}/{key}")), gradient));
    }

    let tensors: Vec<&Tensor> = fetches.iter().map(|(_, _, tensor)| tensor).collect();
    let found = traced.run(engine, &tensors, Vec::new());
    for ((what, expected, _), found) in fetches.iter().zip(found) {
        let cancels =
            CANCELLING.iter().any(|(name, array, _)| case.name().starts_with(name) && array == what);
        close_from(if cancels { 0.1 } else { 1e-3 }, what, &found, expected)?;
    }
    Ok(())
}

/// The classes of layers in the registry, without aliases and models.
pub(crate) fn classes() -> Vec<String> {
    let registry = include_str!("../../../keras-core/src/layers/registry.rs");
    let entry =
        |line: &'static str| line.trim().strip_prefix("(\"")?.strip_suffix(">),")?.split_once("\", make::<");
    let classes = registry.lines().filter_map(entry).filter(|(name, kind)| name == kind);
    classes.map(|(name, _)| name.to_owned()).collect()
}

/// What a case's layer gives for its recorded inputs, in the test phase.
pub(super) fn run_case<B: Backend>(
    case: &Case,
    engine: &Engine<B>,
) -> std::result::Result<Vec<Array>, String> {
    let layer = deserialize(&case.config()).map_err(|error| error.to_string())?;
    layer.build(&case.own_specs()).map_err(|error| error.to_string())?;
    layer.set_weights(&case.weights()).map_err(|error| error.to_string())?;
    let traced = trace(case, &layer, TraceOptions { semantics: case.semantics, ..TraceOptions::default() });
    let outputs: Vec<&Tensor> = traced.outputs.iter().map(|(y, _)| y).collect();
    Ok(traced.run(engine, &outputs, Vec::new()))
}

/// Values that differ, below 1.
pub(crate) fn ramp(shape: &[usize]) -> Array {
    let count: usize = shape.iter().product();
    Array::from_vec(shape, (0..count).map(|i| (i * 37 % 101) as f32 / 101.0 - 0.5).collect()).unwrap()
}
