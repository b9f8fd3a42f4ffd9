//! Recurrent layers and wrappers: cells of users, states over batches, and what the table in `layers` cannot show.

use crate::fixtures::Fixture;
use crate::layers::{Case, close, ramp, traced};
use backend_ndarray::NdArray;
use keras_core::backend::reference::Reference;
use keras_core::backend::{Backend, Engine};
use keras_core::layers::{
    self, Base, Bidirectional, Build, Call, Cell, Dense, GRU, Input, LSTM, Layer, LayerRef,
};
use keras_core::models::{Model, Sequential};
use keras_core::registry::Config;
use keras_core::tensor::TraceOptions;
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
    let traced = traced(layer, inputs, &masks, TraceOptions::default());
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
    for case in RECURRENT.cases().iter().map(Case) {
        let batches = case.0["batches"].as_u64().unwrap();
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
        assert_eq!(after_first.len() as u64, case.0["states"].as_u64().unwrap());
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

/// Sums and products round at 2⁻⁵³; the largest of some hundred terms is below 10.
#[test]
fn in_double_precision_values_and_gradients_are_exact() {
    let engine = Engine::new(NdArray::new().unwrap()).unwrap();
    let mut seen = 0;
    for case in RECURRENT.cases().iter().map(Case) {
        if case.0["config"]["dtype"] != "float64" {
            continue;
        }
        seen += 1;
        let layer = case.layer();
        let inputs: Vec<&Array> =
            (0..case.specs().len()).map(|i| case.array(&format!("input_{i}"))).collect();
        let mut masks = vec![None; inputs.len()];
        masks[0] = case.find("input_mask_0");
        let traced = traced(&layer, &inputs, &masks, TraceOptions::default());
        let mut fetches: Vec<(String, Tensor)> = Vec::new();
        let mut objective: Option<Tensor> = None;
        for (i, (y, _)) in traced.outputs.iter().enumerate() {
            fetches.push((format!("test/output_{i}"), y.clone()));
            let part = k::sum(&(y * &Tensor::constant(case.array(&format!("r_{i}")).clone())), &[], false);
            objective = Some(objective.map_or(part.clone(), |known| known + part));
        }
        let weights: Vec<Tensor> = layer.weights().iter().map(|w| Tensor::variable(&w.variable)).collect();
        let sources: Vec<&Tensor> = traced.inputs.iter().take(1).chain(&weights).collect();
        let gradients = k::gradients(&objective.unwrap(), &sources).unwrap();
        let names = std::iter::once("grad_input_0".to_owned())
            .chain((0..weights.len()).map(|i| format!("grad_weight_{i}")));
        for (name, gradient) in names.zip(gradients) {
            fetches.push((format!("test/{name}"), gradient.unwrap()));
        }
        let tensors: Vec<&Tensor> = fetches.iter().map(|(_, tensor)| tensor).collect();
        for ((name, _), found) in fetches.iter().zip(traced.run(&engine, &tensors, Vec::new())) {
            assert_eq!(found.dtype(), DType::F64);
            let (a, b): (Vec<f64>, Vec<f64>) = (found.to_vec(), case.array(name).to_vec());
            let far = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(far < 1e-10, "{} {name}: {far}", case.name());
        }
    }
    assert!(seen >= 10, "only {seen}");
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
