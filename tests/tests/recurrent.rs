//! Recurrent layers and wrappers: cells of users, states over batches, and what the table in `keras_layers` cannot show.

use crate::fixtures::Fixture;
use crate::keras_layers::case::{Case, close, ramp, run, traced};
use backend_ndarray::NdArray;
use keras_core::backend::reference::Reference;
use keras_core::backend::{Backend, Engine, Variable};
use keras_core::graph::Type;
use keras_core::layers::{
    self, Arguments, Base, BatchNormalization, Bidirectional, Build, Call, Cell, ConvLSTM2D, ConvLSTM2DCell,
    Dense, Dropout, GRU, GRUCell, Input, LSTM, LSTMCell, Layer, LayerRef, RNN, SimpleRNN, SimpleRNNCell,
    StackedRNNCells, TimeDistributed,
};
use keras_core::models::{Model, Sequential};
use keras_core::registry::Config;
use keras_core::semantics::Semantics;
use keras_core::tensor::{Phase, Trace, TraceOptions};
use keras_core::training::{Compile, Evaluate, Fit, Predict};
use keras_core::{Array, DType, Error, Result, Spec, Tensor, initializers, k};
use std::sync::LazyLock;

pub(crate) static RECURRENT: LazyLock<Fixture> = LazyLock::new(|| {
    register("MinimalRNNCell", false);
    register("ConstantCell", true);
    Fixture::load("recurrent_2_3_1")
});

/// The cells of tests/oracle/recurrent_2_3_1.py.
struct UserCell {
    base: Base,
    units: usize,
    /// Two states, a result of another length, a constant.
    constant: bool,
}

/// A cell with two states that takes a constant.
pub(crate) fn cell_with_constants() -> impl layers::IntoLayer {
    UserCell { base: Base::default(), units: 2, constant: true }
}

fn register(class: &str, constant: bool) {
    layers::register(class, move |config| {
        let mut reader = config.reader();
        let (base, units) = (Base::read(&mut reader)?, reader.required_count("units")?);
        reader.finish()?;
        LayerRef::new(UserCell { base, units, constant })
    });
}

impl Layer for UserCell {
    fn config(&self) -> Config {
        let class = if self.constant { "ConstantCell" } else { "MinimalRNNCell" };
        Config::new(class).with("units", self.units)
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn cell(&self, _: &Spec) -> Result<Option<Cell>> {
        Ok(Some(if self.constant {
            Cell::new([self.units, 1]).output_size(self.units + 1).with_constants()
        } else {
            Cell::new([self.units])
        }))
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        let uniform = initializers::get("uniform")?;
        let width = |i: usize| {
            let open = || Error::shape("user's cell", "a known length", inputs[i].to_string());
            inputs[i].shape[1].ok_or_else(open)
        };
        cx.weight("kernel", [width(0)?, self.units], &uniform).add()?;
        cx.weight("recurrent_kernel", [self.units, self.units], &uniform).add()?;
        if self.constant {
            cx.weight("bias", [width(3)?, self.units], &uniform).add()?;
        }
        Ok(())
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let weight = |name: &str| cx.weight(name);
        let h = k::dot(&inputs[0], &weight("kernel")?) + k::dot(&inputs[1], &weight("recurrent_kernel")?);
        if !self.constant {
            return Ok(vec![h.clone(), h]);
        }
        let h = k::tanh(&(h + k::dot(&inputs[3], &weight("bias")?)));
        let total = &inputs[2] + &k::sum(&h, &[-1], true);
        Ok(vec![k::concatenate(&[&h, &(&total * 2.0)], -1), h, total])
    }
}

/// Runs a call's updates: its results, on an engine.
fn step<B: Backend>(
    engine: &Engine<B>,
    layer: &LayerRef,
    inputs: &[&Array],
    mask: Option<&Array>,
) -> Vec<Array> {
    let mut masks = vec![None; inputs.len()];
    masks[0] = mask;
    let traced = traced(layer, inputs, &masks, &Arguments::new(), TraceOptions::default());
    let outputs: Vec<&Tensor> = traced.outputs.iter().map(|(y, _)| y).collect();
    let updates = traced.trace.collected().updates;
    traced.run(engine, &outputs, updates)
}

fn states_of(layer: &LayerRef) -> Vec<Array> {
    layer.states().iter().map(|state| state.value().unwrap()).collect()
}

fn carries_states<B: Backend>(backend: B) {
    let engine = Engine::new(backend).unwrap();
    let mut seen = 0;
    for case in RECURRENT.cases().iter().map(|json| Case::of(&RECURRENT, json)) {
        let batches = case.json["batches"].as_u64().unwrap();
        let layer = case.layer();
        if batches == 0 {
            assert!(layer.states().is_empty() && layer.reset_states().is_err(), "{}", case.name());
            continue;
        }
        seen += 1;
        let run = |batch: u64| {
            let inputs: Vec<&Array> =
                (0..case.specs().len()).map(|i| case.array(&format!("batch_{batch}/input_{i}"))).collect();
            step(&engine, &layer, &inputs, case.find(&format!("batch_{batch}/input_mask_0")))
        };
        let agrees = |what: &str, batch: u64, found: &[Array]| {
            for (i, found) in found.iter().enumerate() {
                let expected = case.array(&format!("batch_{batch}/{what}_{i}"));
                close(&format!("{} batch {batch} {what} {i}", case.name()), found, expected).unwrap();
            }
        };
        let mut after_first = Vec::new();
        for batch in 0..batches {
            agrees("output", batch, &run(batch));
            agrees("state", batch, &states_of(&layer));
            if batch == 0 {
                after_first = states_of(&layer);
            }
        }
        assert_eq!(after_first.len() as u64, case.json["states"].as_u64().unwrap());
        layer.reset_states().unwrap();
        agrees("output", 0, &run(0));
        // Given values are where the next batch starts.
        run(2);
        layer.reset_states_to(&after_first).unwrap();
        agrees("output", 1, &run(1));
    }
    assert!(seen >= 40, "only {seen} cases carry states");
}

#[test]
fn states_are_carried_over_three_batches_and_reset() {
    carries_states(Reference);
}

#[test]
fn states_are_carried_on_ndarray_too() {
    carries_states(NdArray::new().unwrap());
}

#[cfg(feature = "candle")]
#[test]
fn states_are_carried_on_candle_too() {
    carries_states(backend_candle::Candle::new("cpu").unwrap());
}

#[cfg(feature = "torch")]
#[test]
fn states_are_carried_on_torch_too() {
    carries_states(backend_torch::Torch::new("cpu").unwrap());
}

/// The values of tests/oracle/recurrent_2_3_1.py's function of that name.
fn python_ramp(shape: &[usize], scale: f64) -> Array {
    let count: usize = shape.iter().product();
    let values = (0..count).map(|i| (((i * 37 % 101) as f64 / 101.0 - 0.5) * scale) as f32).collect();
    Array::from_vec(shape, values).unwrap()
}

/// Positive values that add up to 1 along the last axis.
fn distributions(shape: &[usize]) -> Array {
    let count: usize = shape.iter().product();
    let raw: Vec<f64> = (0..count).map(|i| ((i * 37 % 101) as f64 / 101.0 - 0.5) * 2.0 + 1.5).collect();
    let rows = raw.chunks(shape[shape.len() - 1]);
    let values = rows.flat_map(|row| {
        let sum: f64 = row.iter().sum();
        row.iter().map(|x| (x / sum) as f32).collect::<Vec<_>>()
    });
    Array::from_vec(shape, values.collect()).unwrap()
}

/// The steps `range` of (batch, time, features).
fn steps_of(x: &Array, range: std::ops::Range<usize>) -> Array {
    let &[batch, time, features] = x.shape() else { panic!("{x:?}") };
    let values = x.as_slice::<f32>().unwrap();
    let kept: Vec<f32> = (0..batch)
        .flat_map(|i| values[(i * time + range.start) * features..(i * time + range.end) * features].to_vec())
        .collect();
    Array::from_vec(&[batch, range.len(), features], kept).unwrap()
}

fn faq_model(engine: &Engine<NdArray>, batch: Option<usize>, time: usize) -> Sequential {
    let mut model = Sequential::new();
    let lstm = LSTM::new(32).input_shape([time, 16]);
    let lstm = match batch {
        Some(batch) => lstm.batch_size(batch).stateful(true),
        None => lstm,
    };
    model.add(lstm).unwrap();
    model.add(Dense::new(16).activation("softmax")).unwrap();
    model.on(engine);
    model.compile(Compile::new("rmsprop", "categorical_crossentropy")).unwrap();
    let weights: Vec<Array> = model.weights().iter().map(|w| python_ramp(w.variable.shape(), 0.5)).collect();
    model.set_weights(&weights).unwrap();
    model
}

#[test]
fn the_stateful_lstm_of_the_faq_has_keras_s_numbers() {
    let engine = Engine::new(NdArray::new().unwrap()).unwrap();
    let x = distributions(&[32, 21, 16]);
    let model = faq_model(&engine, Some(32), 10);
    let recorded = |key: &str| RECURRENT.array(&format!("faq/{key}"));
    let target = |t: usize| steps_of(&x, t..t + 1).reshape(&[32, 16]).unwrap();
    let losses = [
        model.train_on_batch(steps_of(&x, 0..10), target(10)).unwrap()[0],
        model.train_on_batch(steps_of(&x, 10..20), target(20)).unwrap()[0],
    ];
    let expected: Vec<f64> = recorded("loss").to_vec();
    for (found, expected) in losses.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-5 * expected.abs(), "{losses:?} instead of {expected:?}");
    }
    for (i, state) in states_of(&model.layers()[0]).iter().enumerate() {
        close(&format!("state {i}"), state, recorded(&format!("state_{i}"))).unwrap();
    }
    for (i, weight) in model.get_weights().unwrap().iter().enumerate() {
        close(&format!("weight {i}"), weight, recorded(&format!("trained_weight_{i}"))).unwrap();
    }
    // Both ways of the FAQ to reset.
    model.reset_states().unwrap();
    assert!(
        states_of(&model.layers()[0]).iter().all(|state| state.to_vec::<f64>().iter().all(|&x| x == 0.0))
    );
    for part in 0..2 {
        let found = model.predict(steps_of(&x, 10 * part..10 * part + 10)).unwrap();
        close("prediction", &found, recorded(&format!("prediction_{part}"))).unwrap();
    }
    model.layers()[0].reset_states().unwrap();
    close("again", &model.predict(steps_of(&x, 0..10)).unwrap(), recorded("prediction_0")).unwrap();
    // 10 + 10 steps are 20 steps.
    let whole = faq_model(&engine, None, 20);
    whole.set_weights(&model.get_weights().unwrap()).unwrap();
    close("20 steps", &whole.predict(steps_of(&x, 0..20)).unwrap(), recorded("prediction_1")).unwrap();
}

#[test]
fn evaluate_and_predict_carry_states_and_other_batch_sizes_are_errors() {
    let engine = Engine::new(NdArray::new().unwrap()).unwrap();
    let model = faq_model(&engine, Some(4), 3);
    let x = python_ramp(&[8, 3, 16], 2.0);
    let y = python_ramp(&[8, 16], 1.0);
    assert!(model.stateful());
    let version = || model.layers()[0].states()[0].version();
    for (i, verb) in ["predict", "evaluate", "fit", "test_on_batch"].into_iter().enumerate() {
        model.reset_states().unwrap();
        let before = version();
        match i {
            0 => drop(model.predict_all(&x, &Predict::new().batch_size(4)).unwrap()),
            1 => drop(model.evaluate_with(&x, &y, Evaluate::new().batch_size(4).verbose(0)).unwrap()),
            2 => drop(model.fit(&x, &y, Fit::new().batch_size(4).shuffle(false).verbose(0)).unwrap()),
            _ => drop(model.test_on_batch(x.rows(0, 4).unwrap(), y.rows(0, 4).unwrap()).unwrap()),
        }
        assert_eq!(version() - before, if i == 3 { 1 } else { 2 }, "{verb}");
        assert!(states_of(&model.layers()[0])[0].to_vec::<f64>().iter().any(|&x| x != 0.0), "{verb}");
    }
    let error = model.predict(x.rows(0, 6).unwrap()).unwrap_err().to_string();
    assert!(error.contains("batch size of 4"), "{error}");
    assert!(model.fit(&x, &y, Fit::new().batch_size(3).verbose(0)).is_err());
}

/// Nested models and wrappers hand `reset_states` on.
#[test]
fn models_reset_the_states_of_layers_inside_layers() {
    let engine = Engine::new(NdArray::new().unwrap()).unwrap();
    let mut inner = Sequential::named("inner");
    let gru = GRU::new(2).stateful(true).return_sequences(true);
    inner.add(Bidirectional::new(gru).input_shape([3, 2]).batch_size(2)).unwrap();
    let x = Input::new([3, 2]).batch_size(2).tensor().unwrap();
    let y = inner.call(&x).unwrap();
    let model = Model::new(&x, &y).unwrap();
    model.on(&engine);
    let data = ramp(&[2, 3, 2]);
    let (first, second) = (model.predict(&data).unwrap(), model.predict(&data).unwrap());
    assert!(close("states", &first, &second).is_err());
    model.reset_states().unwrap();
    assert!(first.same_bits(&model.predict(&data).unwrap()));
    assert_eq!(model.get_layer("inner").unwrap().states().len(), 2);
}

fn train() -> TraceOptions {
    TraceOptions { phase: Phase::Train, ..TraceOptions::default() }
}

/// Results in the training phase, on the reference.
fn trained(layer: &LayerRef, x: &Array, options: TraceOptions) -> Vec<f64> {
    let traced = traced(layer, &[x], &[None], &Arguments::new(), options);
    traced.run(&Engine::new(Reference).unwrap(), &[&traced.outputs[0].0], Vec::new())[0].to_vec()
}

fn with_weights(layer: impl layers::IntoLayer, x: &Array, weights: &[Array]) -> LayerRef {
    let layer = layer.into_layer().unwrap();
    let shape: Vec<Option<usize>> =
        std::iter::once(None).chain(x.shape()[1..].iter().map(|&n| Some(n))).collect();
    layer.build(&[Spec::new(shape, DType::F32)]).unwrap();
    layer.set_weights(weights).unwrap();
    layer
}

/// With an identity as kernel and nothing recurrent, the results are the inputs times the masks.
#[test]
fn input_dropout_draws_once_for_all_steps_keeps_a_fraction_and_the_mean() {
    let (samples, steps, width, rate) = (50, 3, 100, 0.3);
    let x = Array::full(&[samples, steps, width], 2.0_f32).unwrap();
    let mut identity = vec![0.0_f32; width * width];
    (0..width).for_each(|i| identity[i * width + i] = 1.0);
    let weights = [
        Array::from_vec(&[width, width], identity).unwrap(),
        Array::zeros(DType::F32, &[width, width]).unwrap(),
    ];
    for unroll in [false, true] {
        let rnn = SimpleRNN::new(width).activation("linear").use_bias(false).dropout(rate);
        let layer = with_weights(rnn.return_sequences(true).unroll(unroll), &x, &weights);
        let y = trained(&layer, &x, train());
        for sample in y.chunks(steps * width) {
            assert!(sample.chunks(width).all(|step| step == &sample[..width]));
        }
        assert!(y.chunks(steps * width).any(|sample| sample != &y[..steps * width]));
        let n = samples * width;
        let kept = y.chunks(steps * width).flat_map(|s| &s[..width]).filter(|&&y| y != 0.0).count() as f64;
        // Five deviations of a binomial distribution.
        assert!((kept / n as f64 - (1.0 - rate)).abs() < 5.0 * (rate * (1.0 - rate) / n as f64).sqrt());
        assert!(y.iter().all(|&y| y == 0.0 || (y - 2.0 / (1.0 - rate)).abs() < 1e-5));
        assert_eq!(trained(&layer, &x, TraceOptions::default()), vec![2.0; samples * steps * width]);
    }
}

/// h = h₋∘mask·U + x with U the identity: after t steps 1 + m + m² + …, the same mask m each time.
#[test]
fn recurrent_dropout_drops_the_same_elements_of_the_state_in_every_step() {
    let (samples, width, rate) = (40, 50, 0.5);
    let x = Array::full(&[samples, 3, 1], 1.0_f32).unwrap();
    let mut identity = vec![0.0_f32; width * width];
    (0..width).for_each(|i| identity[i * width + i] = 1.0);
    let weights =
        [Array::full(&[1, width], 1.0_f32).unwrap(), Array::from_vec(&[width, width], identity).unwrap()];
    let rnn = || SimpleRNN::new(width).activation("linear").use_bias(false).recurrent_dropout(rate);
    let cell = || SimpleRNNCell::new(width).activation("linear").use_bias(false).recurrent_dropout(rate);
    for layer in [
        with_weights(rnn(), &x, &weights),
        with_weights(rnn().unroll(true), &x, &weights),
        with_weights(RNN::new(cell()), &x, &weights),
        with_weights(RNN::new(cell()).unroll(true), &x, &weights),
    ] {
        let y = trained(&layer, &x, train());
        // 1, or 1 + 2 + 4.
        assert!(y.iter().all(|&y| (y - 1.0).abs() < 1e-6 || (y - 7.0).abs() < 1e-6), "{layer:?}");
        let kept = y.iter().filter(|&&y| y > 2.0).count() as f64 / y.len() as f64;
        assert!((kept - 0.5).abs() < 5.0 * (0.25 / y.len() as f64).sqrt(), "{kept}");
    }
}

/// Which of Keras's recurrences is computed by hand below.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Recurrence {
    Simple,
    Lstm,
    Gru { reset_after: bool },
}

/// A layer of Keras by its formulas, of one sample: features, units, and how gates share masks.
struct ByHand {
    recurrence: Recurrence,
    features: usize,
    units: usize,
    /// One mask for all gates, as with implementation 2; a GRU's z∘h then reads the state with its mask on.
    shared: bool,
    /// Kernel, recurrent kernel, bias.
    weights: Vec<Vec<f64>>,
}

const RATE: f64 = 0.5;

impl ByHand {
    fn gates(&self) -> usize {
        match self.recurrence {
            Recurrence::Simple => 1,
            Recurrence::Lstm => 4,
            Recurrence::Gru { .. } => 3,
        }
    }

    /// How many numbers are drawn: the masks of the input, then those of the state.
    fn draws(&self) -> usize {
        (if self.shared { 1 } else { self.gates() }) * (self.features + self.units)
    }

    /// The last result where the bits of `kept` say what is kept.
    fn last(&self, steps: &[f64], kept: u32) -> Vec<f64> {
        let (gates, units, features) = (self.gates(), self.units, self.features);
        let masks = if self.shared { 1 } else { gates };
        let factor = |draw: usize| f64::from(kept >> draw & 1) / (1.0 - RATE);
        let of = |gate: usize| if self.shared { 0 } else { gate };
        let input = |gate: usize, i: usize| factor(of(gate) * features + i);
        let state = |gate: usize, i: usize| factor(masks * features + of(gate) * units + i);
        let [kernel, recurrent, bias] = self.weights.as_slice() else { panic!("three weights") };
        let wide = gates * units;
        let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
        let (mut h, mut c) = (vec![0.0; units], vec![0.0; units]);
        for x in steps.chunks(features) {
            let projected = |gate: usize, j: usize| {
                let terms =
                    (0..features).map(|i| x[i] * input(gate, i) * kernel[i * wide + gate * units + j]);
                terms.sum::<f64>() + bias[gate * units + j]
            };
            let product = |gate: usize, j: usize, h: &dyn Fn(usize) -> f64| -> f64 {
                (0..units).map(|i| h(i) * recurrent[i * wide + gate * units + j]).sum()
            };
            let before = h.clone();
            let dropped = |gate: usize| {
                let before = &before;
                move |i: usize| before[i] * state(gate, i)
            };
            let sum = |gate: usize, j: usize| projected(gate, j) + product(gate, j, &dropped(gate));
            match self.recurrence {
                Recurrence::Simple => h = (0..units).map(|j| sum(0, j).tanh()).collect(),
                Recurrence::Lstm => {
                    for j in 0..units {
                        c[j] = sigmoid(sum(1, j)) * c[j] + sigmoid(sum(0, j)) * sum(2, j).tanh();
                        h[j] = sigmoid(sum(3, j)) * c[j].tanh();
                    }
                }
                Recurrence::Gru { reset_after } => {
                    // The second row of the bias is that of the recurrent products.
                    let own =
                        |gate: usize, j: usize| if reset_after { bias[wide + gate * units + j] } else { 0.0 };
                    let gate = |gate: usize, j: usize| sigmoid(sum(gate, j) + own(gate, j));
                    for j in 0..units {
                        let recurrent = if reset_after {
                            gate(1, j) * (product(2, j, &dropped(2)) + own(2, j))
                        } else {
                            product(2, j, &|i| gate(1, i) * dropped(2)(i))
                        };
                        let carried = if self.shared { dropped(0)(j) } else { before[j] };
                        let z = gate(0, j);
                        h[j] = z * carried + (1.0 - z) * (projected(2, j) + recurrent).tanh();
                    }
                }
            }
        }
        h
    }

    /// Whether every sample's last result is that of some masks.
    fn explains(&self, x: &[f64], found: &[f64], steps: usize) -> bool {
        x.chunks(steps * self.features).zip(found.chunks(self.units)).all(|(x, found)| {
            (0..1 << self.draws())
                .any(|kept| self.last(x, kept).iter().zip(found).all(|(a, b)| (a - b).abs() < 2e-6))
        })
    }
}

/// With implementation 1 each gate has masks of its own, with 2 they share one, the same in every step: by Keras's
/// formulas every result is explained by some masks of that kind, and where kinds differ by none of the other.
#[test]
fn results_under_dropout_are_those_of_some_masks() {
    let (samples, steps, features, units) = (6, 3, 2, 2);
    let x = ramp(&[samples, steps, features]);
    let values: Vec<f64> = x.to_vec();
    let wrapped = |cell: LayerRef| LayerRef::new(RNN::new(cell)).unwrap();
    let layer = |definition: Result<LayerRef>| definition.unwrap();
    for (recurrence, implementation) in [
        (Recurrence::Simple, 1),
        (Recurrence::Lstm, 1),
        (Recurrence::Lstm, 2),
        (Recurrence::Gru { reset_after: false }, 1),
        (Recurrence::Gru { reset_after: false }, 2),
        (Recurrence::Gru { reset_after: true }, 1),
        (Recurrence::Gru { reset_after: true }, 2),
    ] {
        macro_rules! forms {
            ($layer:ident, $cell:ident $(, $option:ident = $value:expr)*) => {{
                let whole = || $layer::new(units).dropout(RATE).recurrent_dropout(RATE)$(.$option($value))*;
                let cell = $cell::new(units).dropout(RATE).recurrent_dropout(RATE)$(.$option($value))*;
                let cell = layer(LayerRef::new(cell));
                [layer(LayerRef::new(whole())), layer(LayerRef::new(whole().unroll(true))), wrapped(cell)]
            }};
        }
        let forms = match recurrence {
            Recurrence::Simple => forms!(SimpleRNN, SimpleRNNCell),
            Recurrence::Lstm => forms!(LSTM, LSTMCell, implementation = implementation),
            Recurrence::Gru { reset_after } => {
                forms!(GRU, GRUCell, implementation = implementation, reset_after = reset_after)
            }
        };
        for form in forms {
            form.build(&[Spec::new([None, Some(steps), Some(features)], DType::F32)]).unwrap();
            let weights: Vec<Array> =
                form.weights().iter().map(|w| python_ramp(w.variable.shape(), 3.0)).collect();
            form.set_weights(&weights).unwrap();
            let weights: Vec<Vec<f64>> = weights.iter().map(Array::to_vec).collect();
            let by_hand = |shared| ByHand { recurrence, features, units, shared, weights: weights.clone() };
            let y = trained(&form, &x, train());
            assert!(
                by_hand(implementation == 2).explains(&values, &y, steps),
                "{recurrence:?}, implementation {implementation}, {form:?}: {y:?}"
            );
            // Of an LSTM, masks that gates share are also masks of each gate.
            let other = by_hand(implementation != 2);
            let both =
                recurrence == Recurrence::Simple || (recurrence, implementation) == (Recurrence::Lstm, 2);
            assert!(
                both || !other.explains(&values, &y, steps),
                "{recurrence:?}, implementation {implementation}"
            );
        }
    }
}

/// Each gate of a ConvLSTM2D has a mask of its own of the image, and one of the state, the same in every step.
#[test]
fn images_under_dropout_are_those_of_some_masks() {
    let (samples, steps, width) = (4, 3, 2);
    let x = ramp(&[samples, steps, 1, width, 1]);
    let rnn = ConvLSTM2D::new(1, (1, 2)).padding("same").dropout(RATE).recurrent_dropout(RATE);
    let layer = LayerRef::new(rnn).unwrap();
    layer.build(&[Spec::new([None, Some(steps), Some(1), Some(width), Some(1)], DType::F32)]).unwrap();
    let weights: Vec<Array> = layer.weights().iter().map(|w| python_ramp(w.variable.shape(), 3.0)).collect();
    layer.set_weights(&weights).unwrap();
    let (y, values): (Vec<f64>, Vec<f64>) = (trained(&layer, &x, train()), x.to_vec());
    let weights: Vec<Vec<f64>> = weights.iter().map(Array::to_vec).collect();
    let [kernel, recurrent, bias] = weights.as_slice() else { panic!("three weights") };
    let hard = |z: f64| (0.2 * z + 0.5).clamp(0.0, 1.0);
    let last = |steps: &[f64], kept: u32| {
        let factor = |draw: usize| f64::from(kept >> draw & 1) / (1.0 - RATE);
        let (mut h, mut c) = ([0.0; 2], [0.0; 2]);
        for x in steps.chunks(width) {
            // A window of two whose second half is behind the end for the last pixel.
            let sum = |gate: usize, at: usize| {
                let terms = (at..width).map(|i| {
                    x[i] * factor(gate * width + i) * kernel[(i - at) * 4 + gate]
                        + h[i] * factor((4 + gate) * width + i) * recurrent[(i - at) * 4 + gate]
                });
                terms.sum::<f64>() + bias[gate]
            };
            let next: Vec<(f64, f64)> = (0..width)
                .map(|at| {
                    let c = hard(sum(1, at)) * c[at] + hard(sum(0, at)) * sum(2, at).tanh();
                    (hard(sum(3, at)) * c.tanh(), c)
                })
                .collect();
            (h, c) = ([next[0].0, next[1].0], [next[0].1, next[1].1]);
        }
        h
    };
    for (x, found) in values.chunks(steps * width).zip(y.chunks(width)) {
        let some =
            (0..1 << 16).any(|kept| last(x, kept).iter().zip(found).all(|(a, b)| (a - b).abs() < 2e-6));
        assert!(some, "{found:?}");
    }
}

#[test]
fn dropout_masks_differ_between_steps_and_layers_and_repeat_with_the_seed() {
    let x = ramp(&[4, 3, 5]);
    let run = |seed: i64, step: i64| {
        let variable = |value: i64| {
            let variable = Variable::scalar("random", 0.0, DType::I64);
            variable.set(&Array::from(value)).unwrap();
            variable
        };
        let random = Some((variable(seed), variable(step)));
        let layer = LayerRef::new(GRU::new(4).dropout(0.5).recurrent_dropout(0.5).name("gru")).unwrap();
        layer.build(&[Spec::new([None, Some(3), Some(5)], DType::F32)]).unwrap();
        let weights: Vec<Array> = layer.weights().iter().map(|w| ramp(w.variable.shape())).collect();
        layer.set_weights(&weights).unwrap();
        trained(&layer, &x, TraceOptions { random, ..train() })
    };
    assert_eq!(run(1, 0), run(1, 0));
    assert_ne!(run(1, 0), run(1, 1));
    assert_ne!(run(1, 0), run(2, 0));
}

/// A layer inside a loop draws anew in every step, whether steps are written out or not.
#[test]
fn random_numbers_inside_a_loop_differ_from_step_to_step() {
    let x = Array::full(&[2, 3, 200], 1.0_f32).unwrap();
    let input = Input::new([3, 200]).batch_size(2).tensor().unwrap();
    let layer = LayerRef::new(TimeDistributed::new(Dropout::new(0.5))).unwrap();
    layer.call(&input).unwrap();
    let y = trained(&layer, &x, train());
    assert_ne!(y[..200], y[200..400]);
    let kept = y.iter().filter(|&&y| y != 0.0).count() as f64 / y.len() as f64;
    assert!((kept - 0.5).abs() < 0.1, "{kept}");
    assert_eq!(y, trained(&layer, &x, train()));
}

/// Moving averages and states move once per step where a layer is called step by step.
#[test]
fn updates_inside_a_loop_follow_one_another() {
    let engine = Engine::new(Reference).unwrap();
    let x = ramp(&[4, 3, 2]);
    let input = Input::new([3, 2]).batch_size(4).tensor().unwrap();
    let layer = LayerRef::new(TimeDistributed::new(BatchNormalization::new().momentum(0.5))).unwrap();
    layer.call(&input).unwrap();
    let traced = traced(&layer, &[&x], &[None], &Arguments::new(), train());
    traced.run(&engine, &[], traced.trace.collected().updates);
    let values: Vec<f64> = x.to_vec();
    for feature in 0..2 {
        let mut expected = 0.0;
        for step in 0..3 {
            let mean: f64 = (0..4).map(|i| values[(i * 3 + step) * 2 + feature]).sum::<f64>() / 4.0;
            expected = expected * 0.5 + mean * 0.5;
        }
        let found: Vec<f64> = layer.get_weights().unwrap()[2].to_vec();
        assert!((found[feature] - expected).abs() < 1e-6, "{} instead of {expected}", found[feature]);
    }
}

/// Keras 2.2 hands the first state out at masked steps, 2.3 the result before, tf.keras zeros if told so.
#[test]
fn what_masked_steps_give_is_a_choice() {
    let (x, h) = (ramp(&[1, 3, 2]), Array::full(&[1, 2], 7.0_f32).unwrap());
    let mask = Array::from([[false, true, false]]);
    let engine = Engine::new(Reference).unwrap();
    let run = |layer: &LayerRef, semantics: Semantics| -> Vec<f64> {
        let options = TraceOptions { semantics, ..TraceOptions::default() };
        let traced = traced(layer, &[&x, &h], &[Some(&mask), None], &Arguments::new(), options);
        traced.run(&engine, &[&traced.outputs[0].0], Vec::new())[0].to_vec()
    };
    let specs = [Spec::new([None, Some(3), Some(2)], DType::F32), Spec::new([None, Some(2)], DType::F32)];
    for unroll in [false, true] {
        for custom in [false, true] {
            let make = |zero: bool| {
                let activation = if custom { "softsign" } else { "tanh" };
                let rnn = SimpleRNN::new(2).activation(activation).return_sequences(true);
                let layer = LayerRef::new(rnn.unroll(unroll).zero_output_for_mask(zero)).unwrap();
                layer.build(&specs).unwrap();
                layer
            };
            let now = run(&make(false), Semantics::keras_2_3());
            assert_eq!((&now[..2], &now[2..4]), (&[0.0, 0.0][..], &now[4..]));
            let then = run(&make(false), Semantics::keras_2_2());
            assert_eq!(&then[..2], if unroll { &[0.0, 0.0] } else { &[7.0, 7.0] });
            assert_eq!(then[2..4], then[4..]);
            let zero = run(&make(true), Semantics::tf_keras());
            assert_eq!((&zero[..2], &zero[4..]), (&[0.0, 0.0][..], &[0.0, 0.0][..]));
            assert_ne!(zero[2..4], [0.0, 0.0]);
        }
    }
}

/// The trace of a loop is as long for 400 steps as for 10: what it costs to compile does not depend on the time.
#[test]
fn a_cell_of_a_user_is_traced_once_whatever_the_time() {
    let nodes = |time: usize| {
        let layer =
            LayerRef::new(RNN::new(UserCell { base: Base::default(), units: 8, constant: false })).unwrap();
        let trace = Trace::new(train());
        let x = trace.input(Type::new([32, time, 4], DType::F32));
        let y = layer.replay(&trace, &[x], &[None]).unwrap().remove(0).0;
        let weights: Vec<Tensor> = layer.weights().iter().map(|w| Tensor::variable(&w.variable)).collect();
        k::gradients(&k::sum(&y, &[], false), &weights.iter().collect::<Vec<_>>()).unwrap();
        trace.with_graph(|graph| graph.text().lines().count())
    };
    assert_eq!(nodes(10), nodes(400));
    assert!(nodes(400) < 200, "{}", nodes(400));
}

/// `k::rnn` and the folds against sums written out, with their gradients.
#[test]
fn functions_over_steps_are_what_they_say() {
    let runtime = Engine::new(Reference).unwrap();
    let x = k::placeholder([Some(2), Some(3), Some(2)], "x");
    let zero = k::placeholder([Some(2), Some(2)], "zero");
    let scale = k::variable(2.0_f32, "scale");
    let (last, all, states) = k::rnn(
        {
            let scale = scale.clone();
            move |x, states| {
                let sum = x * &Tensor::variable(&scale) + &states[0];
                Ok((&sum * 10.0, vec![sum]))
            }
        },
        &x,
        &[&zero],
        k::Rnn::new().go_backwards(true),
    );
    let total = k::sum(&last, &[], false);
    let gradients = k::gradients(&total, &[&x, &Tensor::variable(&scale)]).unwrap();
    let fetches = [&last, &all, &states[0], gradients[0].as_ref().unwrap(), gradients[1].as_ref().unwrap()];
    let f = k::function([&x, &zero], fetches).unwrap().on(&runtime);
    let data = Array::from_vec(&[2, 3, 2], (0..12).map(|i| i as f32).collect()).unwrap();
    let found: Vec<Vec<f64>> = f
        .run([data.clone(), Array::zeros(DType::F32, &[2, 2]).unwrap()])
        .unwrap()
        .iter()
        .map(Array::to_vec)
        .collect();
    assert_eq!(found[0], [120.0, 180.0, 480.0, 540.0]);
    // The results in the order in which they arise: the last step first.
    assert_eq!(found[1][..6], [80.0, 100.0, 120.0, 160.0, 120.0, 180.0]);
    assert_eq!(found[2], [12.0, 18.0, 48.0, 54.0]);
    assert_eq!(found[3], [20.0; 12]);
    assert_eq!(found[4], [660.0]);

    let rows = k::placeholder([Some(3), Some(2)], "rows");
    let difference = |a: &Tensor, b: &Tensor| Ok(a - b);
    let fetches = [
        k::map_fn(|row| Ok(k::sum(&k::square(row), &[], false)), &rows),
        k::foldl(difference, &rows, None),
        k::foldr(difference, &rows, None),
        k::foldl(difference, &rows, Some(&k::reshape(&k::slice_axis(&zero, 0, 0, 1), &[2]))),
    ];
    let f = k::function([&rows, &zero], &fetches).unwrap().on(&runtime);
    let data = Array::from([[1.0_f32, 2.0], [3.0, 4.0], [5.0, 6.0]]);
    let found: Vec<Vec<f64>> = f
        .run([data, Array::zeros(DType::F32, &[2, 2]).unwrap()])
        .unwrap()
        .iter()
        .map(Array::to_vec)
        .collect();
    assert_eq!(found, [vec![5.0, 25.0, 61.0], vec![-7.0, -8.0], vec![1.0, 0.0], vec![-9.0, -12.0]]);
}

/// Copies in both directions are trained, saved in the order forward, backward, and the states of the last cell come
/// first where told so.
#[test]
fn reverse_state_order_turns_the_states_of_stacked_cells_round() {
    let x = ramp(&[2, 3, 4]);
    let results = |reverse: bool| {
        let cells = [SimpleRNNCell::new(2).name("a"), SimpleRNNCell::new(3).name("b")];
        let stacked = StackedRNNCells::new(cells).reverse_state_order(reverse);
        let layer = LayerRef::new(RNN::new(stacked).return_state(true)).unwrap();
        layer.build(&[Spec::new([None, Some(3), Some(4)], DType::F32)]).unwrap();
        let weights: Vec<Array> = layer.weights().iter().map(|w| ramp(w.variable.shape())).collect();
        layer.set_weights(&weights).unwrap();
        run(&layer, &[&x], Phase::Test)
    };
    let (natural, reversed) = (results(false), results(true));
    assert!(natural[1].same_bits(&reversed[2]) && natural[2].same_bits(&reversed[1]));
}

/// What Keras's internal ConvRNN2D is for: an RNN runs cells of images, too.
#[test]
fn an_rnn_of_an_image_s_cell_is_the_layer_of_it() {
    let x = ramp(&[2, 3, 4, 5, 2]);
    let results = |layer: LayerRef| {
        layer.build(&[Spec::new([None, Some(3), Some(4), Some(5), Some(2)], DType::F32)]).unwrap();
        let weights: Vec<Array> = layer.weights().iter().map(|w| ramp(w.variable.shape())).collect();
        layer.set_weights(&weights).unwrap();
        run(&layer, &[&x], Phase::Test)
    };
    let rnn = RNN::new(ConvLSTM2DCell::new(3, 2).strides(2)).return_sequences(true).return_state(true);
    let whole = ConvLSTM2D::new(3, 2).strides(2).return_sequences(true).return_state(true);
    let found = results(LayerRef::new(rnn).unwrap());
    for (i, expected) in results(LayerRef::new(whole).unwrap()).iter().enumerate() {
        close(&format!("result {i}"), &found[i], expected).unwrap();
    }
}

/// An identity for every gate, ones for the forget gate alone.
#[test]
fn first_values_are_those_of_keras() {
    let layer =
        LayerRef::new(LSTM::new(2).recurrent_initializer("identity").bias_initializer("zeros")).unwrap();
    layer.build(&[Spec::new([None, Some(3), Some(4)], DType::F32)]).unwrap();
    let weights = layer.get_weights().unwrap();
    assert_eq!(weights[1].to_vec::<f64>()[..8], [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
    assert_eq!(weights[1].to_vec::<f64>()[8..], [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
    assert_eq!(weights[2].to_vec::<f64>(), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    let cudnn = LayerRef::new(layers::CuDNNLSTM::new(1)).unwrap();
    cudnn.build(&[Spec::new([None, Some(3), Some(4)], DType::F32)]).unwrap();
    assert_eq!(cudnn.get_weights().unwrap()[2].to_vec::<f64>(), [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
}

/// Sequences of tf.keras with the time first are those with the batch first, turned.
#[test]
fn time_major_sequences_are_turned() {
    let x = ramp(&[2, 3, 4]);
    let turned = |x: &Array| {
        let &[a, b, c] = x.shape() else { panic!("{x:?}") };
        let values = x.as_slice::<f32>().unwrap();
        let moved = (0..b).flat_map(|j| (0..a).flat_map(move |i| values[(i * b + j) * c..][..c].to_vec()));
        Array::from_vec(&[b, a, c], moved.collect()).unwrap()
    };
    let results = |major: bool, x: &Array| {
        let layer = LayerRef::new(GRU::new(2).return_sequences(true).time_major(major)).unwrap();
        layer.build(&[Spec::new([None, None, Some(4)], DType::F32)]).unwrap();
        let weights: Vec<Array> = layer.weights().iter().map(|w| ramp(w.variable.shape())).collect();
        layer.set_weights(&weights).unwrap();
        run(&layer, &[x], Phase::Test).remove(0)
    };
    close("turned", &turned(&results(true, &turned(&x))), &results(false, &x)).unwrap();
}

/// What a training step keeps doubles with the time.
#[test]
fn the_memory_of_a_cell_of_a_user_grows_linearly_in_time() {
    let bytes = |time: usize| {
        let engine = Engine::new(NdArray::new().unwrap()).unwrap();
        let x = Input::new([None, Some(8)]).tensor().unwrap();
        let cell = UserCell { base: Base::default(), units: 16, constant: false };
        let y = Dense::new(1).call(RNN::new(cell).call(&x).unwrap()).unwrap();
        let model = Model::new(&x, &y).unwrap();
        model.on(&engine);
        model.compile(Compile::new("adam", "mse")).unwrap();
        model.train_on_batch(ramp(&[32, time, 8]), ramp(&[32, 1])).unwrap();
        engine.backend().pool_bytes() as f64
    };
    let (short, long) = (bytes(100), bytes(400));
    assert!(long < 4.4 * short, "{short} bytes for 100 steps, {long} for 400");
}
