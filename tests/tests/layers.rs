//! Layers against Keras 2.3.1 on TensorFlow 1.15, and against their definitions where Keras is random or silent.

use crate::fixtures::Fixture;
use crate::recurrent::RECURRENT;
use backend_ndarray::NdArray;
use keras_core::array::{Array, DType};
use keras_core::backend::contrary::Contrary;
use keras_core::backend::reference::Reference;
use keras_core::backend::{Backend, Engine, Variable};
use keras_core::config::DataFormat;
use keras_core::graph::Type;
use keras_core::layers::{
    Activation, ActivityRegularization, Add, BatchNormalization, Call, Concatenate, Conv1D, Conv2D, Dense,
    Dropout, Embedding, Flatten, Input, Layer, LayerRef, Masking, MaxPooling1D, MaxPooling2D, Padding,
    Permute, RepeatVector, Reshape, Subtract, ZeroPadding1D, ZeroPadding2D, deserialize,
};
use keras_core::registry::Config;
use keras_core::regularizers::l1_l2;
use keras_core::semantics::Semantics;
use keras_core::tensor::{Phase, Trace, TraceOptions};
use keras_core::{Result, Spec, Tensor, activations, k};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| Fixture::load("layers_2_3_1"));

/// One recorded case.
pub(crate) struct Case<'a>(pub(crate) &'a Value);

impl<'a> Case<'a> {
    pub(crate) fn name(&self) -> &'a str {
        self.0["name"].as_str().unwrap()
    }

    fn config(&self) -> Config {
        Config {
            class_name: self.0["class_name"].as_str().unwrap().to_owned(),
            config: self.0["config"].as_object().unwrap().clone(),
        }
    }

    pub(crate) fn flags(&self, key: &str) -> Vec<bool> {
        self.0[key].as_array().unwrap().iter().map(|flag| flag.as_bool().unwrap()).collect()
    }

    /// The specs of the inputs.
    pub(crate) fn specs(&self) -> Vec<Spec> {
        let dtypes = self.0["input_dtypes"].as_array().unwrap();
        let shapes = self.0["input_shapes"].as_array().unwrap();
        let spec = |(shape, dtype): (&Value, &Value)| {
            let lens = shape.as_array().unwrap().iter().map(|len| len.as_u64().map(|len| len as usize));
            Spec::new(lens.collect::<Vec<_>>(), DType::from_name(dtype.as_str().unwrap()).unwrap())
        };
        shapes.iter().zip(dtypes).map(spec).collect()
    }

    pub(crate) fn array(&self, key: &str) -> &'static Array {
        self.find(key).unwrap_or_else(|| panic!("{} has no array {key:?}", self.name()))
    }

    pub(crate) fn find(&self, key: &str) -> Option<&'static Array> {
        let key = format!("{}/{key}", self.name());
        FIXTURE.find(&key).or_else(|| RECURRENT.find(&key))
    }

    /// The layer with the recorded weights.
    pub(crate) fn layer(&self) -> LayerRef {
        let layer = deserialize(&self.config()).unwrap();
        layer.build(&self.specs()).unwrap();
        layer.set_weights(&self.weights()).unwrap();
        layer
    }

    pub(crate) fn weights(&self) -> Vec<Array> {
        let count = self.0["weights"].as_array().unwrap().len();
        (0..count).map(|i| self.array(&format!("weight_{i}")).clone()).collect()
    }

    /// The Keras tensors that the layer was called on, and the result.
    fn call(&self, layer: &LayerRef) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
        let mut inputs = Vec::new();
        for (spec, masked) in self.specs().into_iter().zip(self.flags("input_masks")) {
            let x = input(&spec)?;
            inputs.push(if masked { Masking::new(0.0).call(&x)? } else { x });
        }
        let outputs = layer.call_all(inputs.clone())?;
        Ok((inputs, outputs))
    }
}

fn input(spec: &Spec) -> Result<Tensor> {
    let input = Input::new(spec.shape.get(1..).unwrap_or_default().to_vec()).dtype(spec.dtype);
    match spec.shape.first() {
        Some(&Some(batch)) => input.batch_size(batch).tensor(),
        _ => input.tensor(),
    }
}

fn cases() -> impl Iterator<Item = Case<'static>> {
    // Those in double are compared elsewhere.
    let single = |case: &Case<'static>| !case.name().ends_with("_f64");
    FIXTURE.cases().iter().chain(RECURRENT.cases()).map(Case).filter(single)
}

/// Runs a check on every case and reports all that fail.
pub(crate) fn for_every_case(check: impl Fn(&Case<'static>) -> std::result::Result<(), String>) {
    let failures: Vec<String> = cases()
        .filter_map(|case| check(&case).err().map(|error| format!("{}: {error}", case.name())))
        .collect();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases().count(), failures.join("\n"));
}

/// Equal shapes, and no element further away than 1e-5 of the largest (or of 1). Both sides round at 2⁻²⁴ = 6e-8 per
/// operation; the longest sums here have some 400 terms of which most are below the largest result.
pub(crate) fn close(what: &str, found: &Array, expected: &Array) -> std::result::Result<(), String> {
    if found.shape() != expected.shape() {
        return Err(format!("{what}: shape {:?} instead of {:?}", found.shape(), expected.shape()));
    }
    let (found, expected): (Vec<f64>, Vec<f64>) = (found.to_vec(), expected.to_vec());
    let scale = expected.iter().fold(1.0_f64, |most, x| most.max(x.abs()));
    for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
        if (a - b).abs() > 1e-5 * scale || a.is_nan() {
            return Err(format!("{what}: {a} instead of {b} at {i}"));
        }
    }
    Ok(())
}

/// A layer's call in a trace at the recorded lengths.
pub(crate) struct Traced {
    pub(crate) trace: Trace,
    feeds: Vec<Array>,
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) outputs: Vec<(Tensor, Option<Tensor>)>,
}

pub(crate) fn traced(
    layer: &LayerRef,
    values: &[&Array],
    masks: &[Option<&Array>],
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
    let outputs = layer.replay(&trace, &inputs, &masks).unwrap();
    Traced { trace, feeds, inputs, outputs }
}

fn trace(case: &Case<'static>, layer: &LayerRef, options: TraceOptions) -> Traced {
    let masked = case.flags("input_masks");
    let values: Vec<&Array> = (0..masked.len()).map(|i| case.array(&format!("input_{i}"))).collect();
    let masks: Vec<Option<&Array>> =
        (0..masked.len()).map(|i| masked[i].then(|| case.array(&format!("input_mask_{i}")))).collect();
    traced(layer, &values, &masks, options)
}

/// A layer's results for some inputs, on the reference.
pub(crate) fn run(layer: &LayerRef, values: &[&Array], phase: Phase) -> Vec<Array> {
    let traced =
        traced(layer, values, &vec![None; values.len()], TraceOptions { phase, ..TraceOptions::default() });
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
    fn loss(&self, layer: &LayerRef) -> Option<Tensor> {
        let weights = layer.weights();
        let penalties = weights.iter().filter_map(|weight| {
            weight.regularizer.as_ref().map(|penalty| penalty.call(&Tensor::variable(&weight.variable)))
        });
        self.trace.collected().losses.into_iter().chain(penalties).reduce(|a, b| a + b)
    }
}

fn agrees_with_keras<B: Backend>(backend: B) {
    let engine = Engine::new(backend).unwrap();
    for_every_case(|case| {
        let layer = case.layer();
        for (name, phase) in [("test", Phase::Test), ("train", Phase::Train)] {
            if !case.0["phases"].as_array().unwrap().iter().any(|known| known == name) {
                continue;
            }
            let traced = trace(case, &layer, TraceOptions { phase, ..TraceOptions::default() });
            check_phase(case, &layer, &engine, &traced, name)?;
        }
        if case.0["updates"] == true {
            let phase = TraceOptions { phase: Phase::Train, ..TraceOptions::default() };
            let traced = trace(case, &layer, phase);
            let updates = traced.trace.collected().updates;
            traced.run(&engine, &[], updates);
            for (i, value) in layer.get_weights().unwrap().iter().enumerate() {
                close(&format!("weight {i} after"), value, case.array(&format!("train/weight_after_{i}")))?;
            }
        }
        Ok(())
    });
}

fn check_phase<B: Backend>(
    case: &Case<'static>,
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
        fetches.push((format!("{phase} output {i}"), case.array(&format!("{phase}/output_{i}")), y.clone()));
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
        fetches.push((format!("{phase} {key}"), case.array(&format!("{phase}/{key}")), gradient));
    }

    let tensors: Vec<&Tensor> = fetches.iter().map(|(_, _, tensor)| tensor).collect();
    let found = traced.run(engine, &tensors, Vec::new());
    for ((what, expected, _), found) in fetches.iter().zip(found) {
        close(what, &found, expected)?;
    }
    Ok(())
}

#[test]
fn outputs_masks_losses_gradients_and_updates_are_keras_s() {
    agrees_with_keras(Reference);
}

#[test]
fn the_same_on_a_backend_of_views_and_other_layouts() {
    agrees_with_keras(Contrary);
}

#[test]
fn the_same_on_ndarray() {
    agrees_with_keras(NdArray::new().unwrap());
}

#[test]
fn configs_come_back_as_keras_wrote_them() {
    for_every_case(|case| {
        let (written, read) =
            (case.config().to_value().to_string(), case.layer().config().to_value().to_string());
        if written == read { Ok(()) } else { Err(format!("\n{read} instead of\n{written}")) }
    });
}

#[test]
fn weights_have_keras_s_names_shapes_and_order() {
    for_every_case(|case| {
        let layer = case.layer();
        let learning = layer.trainable_weights().len();
        let found: Vec<String> = layer
            .weights()
            .iter()
            .enumerate()
            .map(|(i, w)| format!("{}:0 {:?} {}", w.variable.name(), w.variable.shape(), i < learning))
            .collect();
        let expected: Vec<String> = case.0["weights"]
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
    });
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
    for_every_case(|case| {
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

/// The setters make what `from_config` makes.
#[test]
fn setters_write_keras_s_configs() {
    let built: Vec<(&str, LayerRef)> = vec![
        ("dense_relu", LayerRef::new(Dense::new(4).activation("relu").name("dense_1")).unwrap()),
        ("dense_no_bias", LayerRef::new(Dense::new(3).use_bias(false).name("dense_1")).unwrap()),
        (
            "dense_l1_l2",
            LayerRef::new(Dense::new(3).kernel_regularizer(l1_l2(0.01, 0.02)).name("dense_1")).unwrap(),
        ),
        ("activation_tanh", LayerRef::new(Activation::new(activations::Tanh).name("activation_1")).unwrap()),
        (
            "dropout_noise_shape",
            LayerRef::new(Dropout::new(0.4).noise_shape([None, Some(1), Some(3)]).name("dropout_1")).unwrap(),
        ),
        (
            "flatten_channels_first",
            LayerRef::new(Flatten::new().data_format(DataFormat::ChannelsFirst).name("flatten_1")).unwrap(),
        ),
        ("reshape_minus_one", LayerRef::new(Reshape::new([-1, 2, 2]).name("reshape_1")).unwrap()),
        ("permute_3d", LayerRef::new(Permute::new([3, 1, 2]).name("permute_1")).unwrap()),
        ("repeat_vector", LayerRef::new(RepeatVector::new(3).name("repeat_vector_1")).unwrap()),
        (
            "activity_regularization",
            LayerRef::new(ActivityRegularization::new(0.02, 0.03).name("activity_regularization_1")).unwrap(),
        ),
        ("masking_value", LayerRef::new(Masking::new(0.5).name("masking_1")).unwrap()),
        (
            "batch_normalization_2d_momentum",
            LayerRef::new(
                BatchNormalization::new().momentum(0.6).epsilon(1e-2).name("batch_normalization_1"),
            )
            .unwrap(),
        ),
        ("conv1d_causal", LayerRef::new(Conv1D::new(3, 3).padding("causal").name("conv1d_1")).unwrap()),
        (
            "conv2d_strides_2_3",
            LayerRef::new(Conv2D::new(3, 3).strides((2, 3)).padding(Padding::Same).name("conv2d_1")).unwrap(),
        ),
        (
            "conv2d_cf_same_dilation",
            LayerRef::new(
                Conv2D::new(3, [3, 3])
                    .padding("same")
                    .dilation_rate((2, 3))
                    .data_format("channels_first")
                    .name("conv2d_1"),
            )
            .unwrap(),
        ),
        (
            "max_pooling2d_k23_s12",
            LayerRef::new(MaxPooling2D::new((2, 3)).strides((1, 2)).name("max_pooling2d_1")).unwrap(),
        ),
        (
            "max_pooling1d_k3_s2_same",
            LayerRef::new(MaxPooling1D::new(3).strides(2).padding("same").name("max_pooling1d_1")).unwrap(),
        ),
        (
            "zero_padding2d_uneven",
            LayerRef::new(ZeroPadding2D::new(((1, 2), (3, 0))).name("zero_padding2d_1")).unwrap(),
        ),
        (
            "zero_padding1d_uneven",
            LayerRef::new(ZeroPadding1D::new((1, 3)).name("zero_padding1d_1")).unwrap(),
        ),
        ("concatenate_axis1", LayerRef::new(Concatenate::new().axis(1).name("concatenate_1")).unwrap()),
        (
            "embedding_input_length",
            LayerRef::new(Embedding::new(7, 3).input_length(5).name("embedding_1")).unwrap(),
        ),
    ];
    for (name, layer) in built {
        let case = cases().find(|case| case.name() == name).unwrap();
        assert_eq!(layer.config().to_value().to_string(), case.config().to_value().to_string(), "{name}");
    }
}

fn of(shape: impl Into<Vec<Option<usize>>>) -> Tensor {
    let shape: Vec<Option<usize>> = shape.into();
    Input::new(shape).tensor().unwrap()
}

/// Every wrong use: the error names the layer, what was expected and what was received.
#[test]
fn errors_name_the_layer_the_expected_and_the_received() {
    let vector = || of([Some(4)]);
    let sequence = || of([Some(5), Some(4)]);
    let image = || of([Some(6), Some(6), Some(2)]);
    let masked = || Masking::new(0.0).call(sequence()).unwrap();
    let ints = || Input::new([4]).dtype(DType::I32).tensor().unwrap();
    let table: Vec<(Result<Tensor>, &str, &str)> = vec![
        (Dense::new(3).name("here").call(of([None])), "last axis is known", "(None, None)"),
        (Dense::new(3).name("here").call(of([])), "rank 2 or more", "(None,)"),
        (Dense::new(0).name("here").call(vector()), "at least 1", "0"),
        (Dense::new(3).name("here").call(ints()), "float32 inputs", "int32 (None, 4)"),
        (Dense::new(3).activation("rulu").name("here").call(vector()), "relu", "\"rulu\""),
        (Dense::new(3).kernel_initializer("he").name("here").call(vector()), "he_normal", "\"he\""),
        (Dense::new(3).name("here").call([&vector(), &vector()]), "one input", "2"),
        (Conv2D::new(3, 3).name("here").call(sequence()), "rank 4", "(None, 5, 4)"),
        (Conv2D::new(3, 3).padding("full").name("here").call(image()), "\"valid\", \"same\"", "\"full\""),
        (
            Conv2D::new(3, 3).padding("causal").name("here").call(image()),
            "\"valid\" or \"same\"",
            "\"causal\"",
        ),
        (Conv2D::new(3, 3).data_format("nchw").name("here").call(image()), "\"channels_last\"", "\"nchw\""),
        (
            Conv2D::new(3, 3).strides(2).dilation_rate(2).name("here").call(image()),
            "strides of 1",
            "dilation_rate [2, 2]",
        ),
        (Conv2D::new(3, 7).name("here").call(image()), "at least [7, 7]", "(6, 6)"),
        (Conv2D::new(3, 0).name("here").call(image()), "kernel_size of at least 1", "[0, 0]"),
        (Conv2D::new(0, 3).name("here").call(image()), "at least 1", "0"),
        (
            Conv2D::new(4, 3).groups(3).name("here").call(image()),
            "multiples of 3 groups",
            "2 channels and 4 filters",
        ),
        (
            Conv2D::new(3, 3).name("here").call(of([Some(6), Some(6), None])),
            "channel axis is known",
            "(None, 6, 6, None)",
        ),
        (MaxPooling2D::new(7).name("here").call(image()), "at least [7, 7]", "(6, 6)"),
        (MaxPooling2D::new(2).strides(0).name("here").call(image()), "strides of at least 1", "[0, 0]"),
        (Flatten::new().name("here").call(of([])), "rank 2 or more", "(None,)"),
        (Flatten::new().name("here").call(masked()), "without a mask", "masked input"),
        (Reshape::new([5]).name("here").call(vector()), "of 4 elements", "[5]"),
        (Reshape::new([-1, -1]).name("here").call(vector()), "at most one −1", "[-1, -1]"),
        (Permute::new([1, 1]).name("here").call(sequence()), "axes 1 to 2 once", "[1, 1]"),
        (Permute::new([2, 1]).name("here").call(vector()), "rank 3", "(None, 4)"),
        (RepeatVector::new(3).name("here").call(sequence()), "rank 2", "(None, 5, 4)"),
        (Add::new().name("here").call(vector()), "at least 2 inputs", "1"),
        (Add::new().name("here").call([&vector(), &of([Some(5)])]), "shapes fit or are 1", "(None, 5)"),
        (Add::new().name("here").call([&vector(), &ints()]), "one element type", "int32"),
        (Subtract::new().name("here").call([&vector(), &vector(), &vector()]), "exactly 2 inputs", "3"),
        (Concatenate::new().name("here").call([&vector(), &sequence()]), "matching shapes", "(None, 5, 4)"),
        (Concatenate::new().axis(3).name("here").call([&vector(), &vector()]), "an axis from -2 to 1", "3"),
        (BatchNormalization::new().axis(0).name("here").call(vector()), "behind the batch axis", "0"),
        (BatchNormalization::new().name("here").call(of([None])), "axis 1 is known", "(None, None)"),
        (BatchNormalization::new().epsilon(-1.0).name("here").call(vector()), "epsilon of at least 0", "-1"),
        (Embedding::new(3, 2).input_length(5).name("here").call(ints()), "input_length (5,)", "(None, 4)"),
        (Dropout::new(0.5).noise_shape([2, 2]).name("here").call(vector()), "broadcasts to", "(2, 2)"),
        (Dropout::new(f64::NAN).name("here").call(vector()), "a rate from 0 to 1", "NaN"),
        (Masking::new(0.0).name("here").call(of([])), "rank 2 or more", "(None,)"),
    ];
    for (i, (result, expected, received)) in table.into_iter().enumerate() {
        let Err(error) = result else { panic!("row {i} ({expected}) is no error") };
        let report = error.report();
        assert!(report.doing.starts_with("layer here at "), "{error}");
        assert!(report.doing.contains("layers.rs:"), "{error}");
        assert!(report.expected.contains(expected), "row {i}: {error}");
        assert!(report.received.contains(received), "row {i}: {error}");
    }
}

#[test]
fn configs_with_wrong_unknown_or_missing_arguments_are_errors() {
    let dense = || Config::new("Dense").with("units", 3);
    let conv = |size: Value| Config::new("Conv2D").with("filters", 3).with("kernel_size", size);
    for (config, expected) in [
        (Config::new("Densee"), "a known layer such as Dense"),
        (Config::new("Dense"), "a whole number"),
        (dense().with("unit", 3), "the keys name, "),
        (dense().with("units", -3), "a whole number of at least 0"),
        (dense().with("activation", 7), "a known activation"),
        (dense().with("activation", "rulu"), "relu"),
        (dense().with("dtype", "float33"), "float32"),
        (conv(serde_json::json!([3])), "a list of 2"),
        (conv(serde_json::json!([3, -1])), "a list of 2"),
        (Config::new("Reshape"), "a list of lengths"),
        (Config::new("Permute").with("dims", vec![-1]), "axes from 1"),
        (Config::new("Dropout"), "a number from 0 to 1"),
        (Config::new("BatchNormalization").with("axis", vec![1, 2]), "one axis"),
        (Config::new("Embedding").with("input_dim", 3), "a whole number"),
        (Config::new("ZeroPadding2D").with("padding", vec![1, 2, 3]), "2 pairs"),
    ] {
        let error = deserialize(&config).map(|_| ()).unwrap_err();
        assert!(error.report().expected.contains(expected), "{config:?}: {error}");
    }
}

#[test]
fn aliases_and_tf_keras_s_lists_are_understood() {
    for (alias, class) in
        [("Convolution2D", "Conv2D"), ("MaxPool2D", "MaxPooling2D"), ("AvgPool1D", "AveragePooling1D")]
    {
        let config = Config::new(alias).with("filters", 3).with("kernel_size", 3);
        let config = if class == "Conv2D" { config } else { Config::new(alias) };
        assert_eq!(deserialize(&config).unwrap().class_name(), class);
    }
    let layer = deserialize(&Config::new("BatchNormalization").with("axis", vec![3])).unwrap();
    assert_eq!(layer.config().config["axis"], 3);
}

#[test]
fn an_index_outside_the_table_is_an_error() {
    let layer = LayerRef::new(Embedding::new(3, 2)).unwrap();
    let engine: Arc<dyn keras_core::backend::Runtime> = Arc::new(Engine::new(Reference).unwrap());
    let x = Input::new([2]).dtype(DType::I32).tensor().unwrap();
    let f = k::function([&x], [&layer.call(&x).unwrap()]).unwrap().on(&engine);
    assert_eq!(f.run([Array::from([[0_i32, 2]])]).unwrap()[0].shape(), [1, 2, 2]);
    for wrong in [3, -1] {
        assert!(f.run([Array::from([[0_i32, wrong]])]).is_err(), "{wrong}");
    }
}

#[test]
fn a_shared_layer_takes_inputs_that_its_weights_fit() {
    let dense = LayerRef::new(Dense::new(3).name("shared")).unwrap();
    dense.call(of([Some(4)])).unwrap();
    assert_eq!(dense.call(of([Some(7), Some(4)])).unwrap().spec().unwrap().shape, [None, Some(7), Some(3)]);
    let error = dense.call(of([Some(5)])).unwrap_err().to_string();
    assert!(error.contains("shared") && error.contains("[.., 5]"), "{error}");
    let conv = LayerRef::new(Conv2D::new(3, 3)).unwrap();
    conv.call(of([Some(8), Some(8), Some(2)])).unwrap();
    conv.call(of([None, Some(5), Some(2)])).unwrap();
    assert!(conv.call(of([Some(8), Some(8), Some(3)])).is_err());
}

/// A group sees its own channels alone: two groups are two convolutions side by side.
#[test]
fn groups_are_convolutions_side_by_side() {
    let x = ramp(&[2, 5, 5, 4]);
    let grouped = LayerRef::new(Conv2D::new(6, 3).padding("same").groups(2).use_bias(false)).unwrap();
    let whole = run(&grouped, &[&x], Phase::Test).remove(0);
    let kernel = grouped.get_weights().unwrap().remove(0);
    assert_eq!(kernel.shape(), [3, 3, 2, 6]);
    let halves = [0, 1].map(|group| {
        let layer = LayerRef::new(Conv2D::new(3, 3).padding("same").use_bias(false)).unwrap();
        let x = columns(&x, 2 * group..2 * group + 2);
        layer.build(&[Spec::new([None, Some(5), Some(5), Some(2)], DType::F32)]).unwrap();
        layer.set_weights(&[columns(&kernel, 3 * group..3 * group + 3)]).unwrap();
        run(&layer, &[&x], Phase::Test).remove(0)
    });
    for (group, half) in halves.iter().enumerate() {
        close("half", &columns(&whole, 3 * group..3 * group + 3), half).unwrap();
    }
}

/// Values that differ, below 1.
pub(crate) fn ramp(shape: &[usize]) -> Array {
    let count: usize = shape.iter().product();
    Array::from_vec(shape, (0..count).map(|i| (i * 37 % 101) as f32 / 101.0 - 0.5).collect()).unwrap()
}

/// Some positions of the last axis.
fn columns(x: &Array, range: std::ops::Range<usize>) -> Array {
    let mut shape = x.shape().to_vec();
    let last = shape.pop().unwrap();
    let values = x.as_slice::<f32>().unwrap();
    let kept: Vec<f32> = values.chunks(last).flat_map(|row| row[range.clone()].to_vec()).collect();
    shape.push(range.len());
    Array::from_vec(&shape, kept).unwrap()
}

#[test]
fn dropout_keeps_a_fraction_and_the_mean() {
    let (rate, n) = (0.4, 20_000);
    let x = Array::full(&[n / 100, 100], 3.0_f32);
    let layer = LayerRef::new(Dropout::new(rate)).unwrap();
    assert!(run(&layer, &[&x], Phase::Test)[0].same_bits(&x));
    let y: Vec<f64> = run(&layer, &[&x], Phase::Train)[0].to_vec();
    let kept = y.iter().filter(|&&y| y != 0.0).count() as f64 / n as f64;
    // Five deviations of a binomial distribution.
    assert!((kept - (1.0 - rate)).abs() < 5.0 * (rate * (1.0 - rate) / n as f64).sqrt(), "{kept}");
    assert!(y.iter().all(|&y| y == 0.0 || (y - 3.0 / (1.0 - rate)).abs() < 1e-6));
}

#[test]
fn dropout_draws_by_name_or_by_seed_and_shares_draws_as_told() {
    let x = Array::full(&[8, 6, 5], 1.0_f32);
    let train = |layer: Dropout| run(&LayerRef::new(layer).unwrap(), &[&x], Phase::Train).remove(0);
    let half = || Dropout::new(0.5);
    assert!(train(half().name("a")).same_bits(&train(half().name("a"))));
    assert!(!train(half().name("a")).same_bits(&train(half().name("b"))));
    assert!(train(half().seed(3).name("a")).same_bits(&train(half().seed(3).name("b"))));
    assert!(!train(half().seed(3)).same_bits(&train(half().seed(4))));
    let shared = train(half().name("a").noise_shape([None, Some(1), Some(5)]));
    let values = shared.as_slice::<f32>().unwrap();
    for sample in values.chunks(30) {
        assert!(sample.chunks(5).all(|step| step == &sample[..5]));
    }
    assert!(values.chunks(30).any(|sample| sample != &values[..30]));
}

/// The moving statistics after training steps on `batches` (the layer called once per batch, in one step).
fn moving(layer: &LayerRef, batches: &[&Array], options: &TraceOptions) -> Vec<Vec<f64>> {
    let trace = Trace::new(options.clone());
    let mut feeds = Vec::new();
    for batch in batches {
        let x = trace.input(Type::new(batch.shape(), batch.dtype()));
        feeds.push((*batch).clone());
        layer.replay(&trace, &[x], &[None]).unwrap();
    }
    let updates: Vec<_> =
        trace.collected().updates.into_iter().map(|(v, x)| (v, trace.lift(&x).unwrap())).collect();
    trace.with_graph_mut(|graph| graph.set_updates(updates));
    trace.with_graph(|graph| Engine::new(Reference).unwrap().compile(graph)).unwrap().run(&feeds).unwrap();
    layer.get_weights().unwrap()[2..].iter().map(Array::to_vec).collect()
}

fn mean_and_variance(x: &Array, channels: usize) -> (Vec<f64>, Vec<f64>) {
    let values: Vec<f64> = x.to_vec();
    let of = |c: usize| values.iter().skip(c).step_by(channels).copied().collect::<Vec<_>>();
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let means: Vec<f64> = (0..channels).map(|c| mean(&of(c))).collect();
    let variances = (0..channels)
        .map(|c| mean(&of(c).iter().map(|x| (x - means[c]).powi(2)).collect::<Vec<_>>()))
        .collect();
    (means, variances)
}

fn train() -> TraceOptions {
    TraceOptions { phase: Phase::Train, ..TraceOptions::default() }
}

fn assert_near(found: &[f64], expected: impl IntoIterator<Item = f64>) {
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < 1e-6 * b.abs().max(1.0), "{a} instead of {b}");
    }
}

#[test]
fn moving_averages_of_a_shared_layer_move_once_per_call_in_order() {
    let layer = LayerRef::new(BatchNormalization::new().momentum(0.9)).unwrap();
    let (a, b) = (ramp(&[6, 3]), ramp(&[4, 3]));
    let found = moving(&layer, &[&a, &b], &train());
    let (first, second) = (mean_and_variance(&a, 3), mean_and_variance(&b, 3));
    let step = |old: f64, new: f64| old * 0.9 + new * 0.1;
    assert_near(&found[0], (0..3).map(|c| step(step(0.0, first.0[c]), second.0[c])));
    let unbiased = |variance: f64, n: f64| variance * n / (n - 1.001);
    assert_near(
        &found[1],
        (0..3).map(|c| step(step(1.0, unbiased(first.1[c], 6.0)), unbiased(second.1[c], 4.0))),
    );
}

#[test]
fn tf_keras_averages_the_variance_of_the_population_for_images_alone() {
    let options = TraceOptions { semantics: Semantics::tf_keras(), ..train() };
    for (shape, corrected) in [(vec![6, 3], false), (vec![2, 3, 3], false), (vec![2, 2, 2, 3], true)] {
        let layer = LayerRef::new(BatchNormalization::new().momentum(0.0)).unwrap();
        let x = ramp(&shape);
        let found = moving(&layer, &[&x], &options);
        let n = x.len() as f64 / 3.0;
        let factor = if corrected { n / (n - 1.0) } else { 1.0 };
        assert_near(&found[1], mean_and_variance(&x, 3).1.iter().map(|variance| variance * factor));
    }
}

/// Keras 2.3: the batch's statistics still, but no update. tf.keras: inference.
#[test]
fn frozen_batch_normalization_is_a_choice_of_semantics() {
    let x = ramp(&[6, 3]);
    let layer = LayerRef::new(BatchNormalization::new()).unwrap();
    let at_rest = run(&layer, &[&x], Phase::Test).remove(0);
    let learning = run(&layer, &[&x], Phase::Train).remove(0);
    assert!(close("phases", &at_rest, &learning).is_err());
    let frozen: Arc<HashSet<u64>> = Arc::new([layer.id()].into());
    for (semantics, expected) in [(Semantics::keras_2_3(), &learning), (Semantics::tf_keras(), &at_rest)] {
        let options = TraceOptions { semantics, frozen: Arc::clone(&frozen), ..train() };
        let traced = traced(&layer, &[&x], &[None], options.clone());
        assert!(traced.trace.collected().updates.is_empty());
        let y = traced.run(&Engine::new(Reference).unwrap(), &[&traced.outputs[0].0], Vec::new());
        close("frozen", &y[0], expected).unwrap();
    }
}

/// The joined mask where one input has none: it counts as true.
#[test]
fn concatenation_takes_an_input_without_mask_as_true() {
    let (a, b) = (ramp(&[1, 3, 2]), ramp(&[1, 3, 2]));
    let mask = Array::from([[true, false, true]]);
    for (axis, expected) in [(-1, vec![true, false, true]), (1, vec![true, false, true, true, true, true])] {
        let layer = LayerRef::new(Concatenate::new().axis(axis)).unwrap();
        let traced = traced(&layer, &[&a, &b], &[Some(&mask), None], TraceOptions::default());
        let mask = traced.outputs[0].1.clone().unwrap();
        let found = traced.run(&Engine::new(Reference).unwrap(), &[&mask], Vec::new()).remove(0);
        assert_eq!(found.as_slice::<bool>().unwrap(), expected);
    }
}
