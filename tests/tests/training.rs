//! Training as Keras 2.3.1 does it: steps, epochs, evaluation, from recorded initial weights and data.

use crate::everywhere::runtimes;
use crate::fixtures::Fixture;
use keras_core::backend::Runtime;
use keras_core::callbacks::{LearningRateScheduler, Records};
use keras_core::layers::Dense;
use keras_core::models::{Model, Sequential, model_from_json};
use keras_core::optimizers::OptimizerSpec;
use keras_core::training::{
    Batch, Callback, ClassWeight, Column, Compile, Context, Data, Evaluate, Fit, Generator, IntoLosses, Logs,
    PerOutput, Predict, SampleWeight, Sequence, Shuffle, Source, TestOnBatch, TrainOnBatch,
};
use keras_core::{Array, DType, Result, losses::LossSpec, metrics::MetricSpec};
use serde_json::Value;
use std::sync::{Arc, Mutex};

/// Values that are kept in the default float type, whatever the model computes in.
const SINGLE: f64 = 2e-6;

struct Case<'a> {
    fixture: &'a Fixture,
    json: &'a Value,
    model: Model,
}

impl<'a> Case<'a> {
    fn new(fixture: &'a Fixture, json: &'a Value, runtime: &Arc<dyn Runtime>) -> Self {
        let name = json["model"].as_str().unwrap();
        let mut text = fixture.json["models"][name]["json"].as_str().unwrap().to_owned();
        if json["floatx"] == "float64" {
            text = text.replace("\"dtype\": \"float32\"", "\"dtype\": \"float64\"");
        }
        let model = model_from_json(&text).unwrap();
        model.on(runtime);
        let count = model.weights().len();
        let weights: Vec<Array> =
            (0..count).map(|i| fixture.array(&format!("{name}/weight_{i}")).clone()).collect();
        model.set_weights(&weights).unwrap();
        for frozen in json["frozen"].as_array().unwrap() {
            model.get_layer(frozen.as_str().unwrap()).unwrap().set_trainable(false);
        }
        let case = Self { fixture, json, model };
        case.compile();
        case
    }

    /// The case of that name, on the first backend.
    fn named(fixture: &'a Fixture, name: &str) -> Self {
        let json = fixture.cases().iter().find(|case| case["name"] == name).unwrap();
        Self::new(fixture, json, &runtimes()[0])
    }

    fn name(&self) -> &str {
        self.json["name"].as_str().unwrap()
    }

    fn compile(&self) {
        self.compile_with(&self.json["compile"]["optimizer"]);
    }

    fn compile_with(&self, optimizer: &Value) {
        let described = &self.json["compile"];
        let losses = per_output(&described["loss"], |loss| LossSpec::from(loss));
        let mut options = Compile::new(OptimizerSpec::from(optimizer), Losses(losses))
            .metrics_per_output(metrics(&described["metrics"]))
            .weighted_metrics_per_output(metrics(&described["weighted_metrics"]));
        options = match &described["loss_weights"] {
            Value::Array(weights) => {
                options.loss_weights(weights.iter().map(|weight| weight.as_f64().unwrap()))
            }
            Value::Object(weights) => options.loss_weights_named(
                weights.iter().map(|(name, weight)| (name.as_str(), weight.as_f64().unwrap())),
            ),
            _ => options,
        };
        options = match &described["sample_weight_mode"] {
            Value::Null => options,
            Value::String(mode) => options.sample_weight_mode(mode.as_str()),
            modes => {
                let names = self.model.output_names().unwrap();
                let modes = names.iter().map(|name| modes[name].as_str().map(str::to_owned)).collect();
                options.sample_weight_mode(PerOutput::List(modes))
            }
        };
        self.model.compile(options).unwrap();
        assert_eq!(
            serde_json::json!(self.model.metrics_names().unwrap()),
            self.json["metrics_names"],
            "{}",
            self.name()
        );
    }

    fn data(&self, keys: &Value) -> Data {
        let keys = keys.as_array().unwrap();
        keys.iter().map(|key| self.array(key)).collect::<Vec<_>>().into()
    }

    fn array(&self, key: &Value) -> Array {
        let array = self.fixture.array(&format!("data/{}", key.as_str().unwrap())).clone();
        if self.json["floatx"] == "float64" && array.dtype().is_float() {
            array.cast(DType::F64)
        } else {
            array
        }
    }

    /// Weights of the outputs, by name or in order; null for one that has none.
    fn sample_weight(&self, keys: &Value) -> Option<SampleWeight> {
        self.sample_weight_of(keys, |weights| weights)
    }

    fn sample_weight_of(&self, keys: &Value, rows: impl Fn(Array) -> Array) -> Option<SampleWeight> {
        let names = self.model.output_names().unwrap();
        let keys: Vec<(String, &Value)> = match keys {
            Value::Null => return None,
            Value::Object(keys) => keys.iter().map(|(name, key)| (name.clone(), key)).collect(),
            Value::Array(keys) => names.into_iter().zip(keys).collect(),
            key => names.into_iter().zip([key]).collect(),
        };
        let given = keys.into_iter().filter(|(_, key)| !key.is_null());
        Some(SampleWeight::named(given.map(|(name, key)| (name, rows(self.array(key))))))
    }

    /// Relative bounds for losses and learning rates, and for values kept in the default float type: metrics, and the losses of
    /// single outputs.
    fn tolerance(&self, name: &str) -> f64 {
        match self.json["floatx"].as_str() {
            Some("float64") if matches!(name, "loss" | "val_loss" | "lr") => 1e-9,
            Some("float64") => SINGLE,
            _ => 1e-4,
        }
    }

    fn close(&self, what: &str, name: &str, got: f64, want: f64) {
        let bound = self.tolerance(name) * want.abs().max(1e-2);
        let same = (got - want).abs() <= bound || (got.is_nan() && want.is_nan());
        assert!(same, "{}: {what} {name} is {got}, Keras has {want}", self.name());
    }

    fn close_to_records(&self, got: &Records, want: &Value) {
        let want = want.as_array().unwrap();
        let names: Vec<&str> = want.iter().map(|entry| entry[0].as_str().unwrap()).collect();
        assert_eq!(got.keys().collect::<Vec<_>>(), names, "{}", self.name());
        for entry in want {
            let name = entry[0].as_str().unwrap();
            let values = entry[1].as_array().unwrap();
            assert_eq!(got[name].len(), values.len(), "{} {name}", self.name());
            for (epoch, (got, want)) in got[name].iter().zip(values).enumerate() {
                self.close(&format!("epoch {epoch}"), name, *got, want.as_f64().unwrap_or(f64::NAN));
            }
        }
    }

    fn close_weights(&self) {
        let bound = if self.json["floatx"] == "float64" { 1e-9 } else { 1e-4 };
        for (i, got) in self.model.get_weights().unwrap().iter().enumerate() {
            let want = self.fixture.array(&format!("{}/weight_{i}", self.name()));
            assert_eq!(got.shape(), want.shape(), "{} weight {i}", self.name());
            let scale = want.to_vec::<f64>().iter().fold(1e-2_f64, |scale, x| scale.max(x.abs()));
            for (got, want) in got.to_vec::<f64>().iter().zip(want.to_vec::<f64>()) {
                assert!(
                    (got - want).abs() <= bound * scale,
                    "{} weight {i}: {got}, Keras has {want}",
                    self.name()
                );
            }
        }
    }
}

struct Losses(PerOutput<LossSpec>);

impl IntoLosses for Losses {
    fn into_losses(self) -> PerOutput<LossSpec> {
        self.0
    }
}

fn per_output<T>(value: &Value, read: impl Fn(&Value) -> T) -> PerOutput<T> {
    match value {
        Value::Null => PerOutput::None,
        Value::Array(values) => PerOutput::List(values.iter().map(|value| Some(read(value))).collect()),
        Value::Object(values) if !values.contains_key("class_name") => {
            PerOutput::Named(values.iter().map(|(name, value)| (name.clone(), read(value))).collect())
        }
        value => PerOutput::All(read(value)),
    }
}

fn metrics(value: &Value) -> PerOutput<Vec<MetricSpec>> {
    let list = |value: &Value| match value {
        Value::Array(values) => values.iter().map(MetricSpec::from).collect(),
        value => vec![MetricSpec::from(value)],
    };
    match value {
        Value::Null => PerOutput::None,
        Value::Object(values) => {
            PerOutput::Named(values.iter().map(|(name, value)| (name.clone(), list(value))).collect())
        }
        value => PerOutput::All(list(value)),
    }
}

fn class_weight(value: &Value) -> Option<ClassWeight> {
    let pairs = |value: &Value| -> Option<Vec<(i64, f64)>> {
        let pairs = value.as_array()?.iter();
        Some(pairs.map(|pair| (pair[0].as_i64().unwrap(), pair[1].as_f64().unwrap())).collect())
    };
    match value {
        Value::Object(outputs) => {
            let named = outputs.iter().filter_map(|(name, weights)| Some((name.clone(), pairs(weights)?)));
            Some(ClassWeight::named(named))
        }
        value => pairs(value).map(ClassWeight::from),
    }
}

fn each(kind: &str, run: impl Fn(&Case)) {
    let fixture = Fixture::load("training_2_3_1");
    for runtime in runtimes() {
        let mut count = 0;
        for json in fixture.cases().iter().filter(|case| case["kind"] == kind) {
            run(&Case::new(&fixture, json, &runtime));
            count += 1;
        }
        assert!(count >= 8, "{count} cases of {kind} on {}", runtime.name());
    }
}

/// Stops training at the end of a batch.
struct Stop {
    at: (usize, usize),
    epoch: usize,
}

impl Callback for Stop {
    fn on_epoch_begin(&mut self, _: &Context, epoch: usize, _: &mut Logs) -> Result<()> {
        self.epoch = epoch;
        Ok(())
    }

    fn on_train_batch_end(&mut self, cx: &Context, batch: usize, _: &mut Logs) -> Result<()> {
        if (self.epoch, batch) == self.at {
            cx.model.stop_training(true);
        }
        Ok(())
    }
}

#[test]
fn twenty_steps_have_keras_s_losses_metrics_and_weights() {
    each("steps", |case| {
        let (x, y) = (&case.json["x"], &case.json["y"]);
        let columns =
            |keys: &Value| keys.as_array().unwrap().iter().map(|key| case.array(key)).collect::<Vec<_>>();
        let (x, y) = (columns(x), columns(y));
        let weights: Option<Vec<Array>> = match &case.json["sample_weight"] {
            Value::Null => None,
            Value::Array(keys) => Some(keys.iter().map(|key| case.array(key)).collect()),
            key => Some(vec![case.array(key)]),
        };
        let class_weight = class_weight(&case.json["class_weight"]);
        let batch = case.json["batch"].as_u64().unwrap() as usize;
        let n = x[0].shape()[0];
        let names = case.model.metrics_names().unwrap();
        let want = case.fixture.array(&format!("{}/values", case.name())).to_vec::<f64>();
        for step in 0..20 {
            let start = batch * step % n;
            let rows = |arrays: &[Array]| {
                arrays.iter().map(|array| array.rows(start, start + batch).unwrap()).collect::<Vec<_>>()
            };
            let outputs = case.model.output_names().unwrap();
            let weights =
                weights.as_ref().map(|weights| SampleWeight::named(outputs.into_iter().zip(rows(weights))));
            let mut options = TrainOnBatch::new();
            if let Some(weights) = weights {
                options = options.sample_weight(weights);
            }
            if let Some(weights) = &class_weight {
                options = options.class_weight(weights.clone());
            }
            let got = case
                .model
                .train_on_batch_with(rows(&x), rows(&y), options)
                .unwrap_or_else(|error| panic!("{}: {error}", case.name()));
            for (i, (name, got)) in names.iter().zip(got).enumerate() {
                case.close(&format!("step {step}"), name, got, want[step * names.len() + i]);
            }
        }
        case.close_weights();
    });
}

/// A learning rate for each epoch, or what multiplies it after the first.
fn schedule(value: &Value) -> impl FnMut(usize, f64) -> f64 + Send + use<> {
    let value = value.clone();
    move |epoch, rate| match value.as_f64() {
        Some(factor) if epoch > 0 => rate * factor,
        Some(_) => rate,
        None => value[epoch].as_f64().unwrap(),
    }
}

#[test]
fn single_batches_have_keras_s_values_and_weights() {
    each("batches", |case| {
        let names = case.model.metrics_names().unwrap();
        let want = case.fixture.array(&format!("{}/values", case.name())).to_vec::<f64>();
        for (i, call) in case.json["calls"].as_array().unwrap().iter().enumerate() {
            let what = call["call"].as_str().unwrap();
            if what == "reset_metrics" {
                case.model.reset_metrics().unwrap();
                continue;
            }
            let [start, stop] = [0, 1].map(|end| call["rows"][end].as_u64().unwrap() as usize);
            let rows = |keys: &Value| -> Vec<Array> {
                let keys = keys.as_array().unwrap().iter();
                keys.map(|key| case.array(key).rows(start, stop).unwrap()).collect()
            };
            let (x, y) = (rows(&case.json["x"]), rows(&case.json["y"]));
            let weights =
                case.sample_weight_of(&call["sample_weight"], |weights| weights.rows(start, stop).unwrap());
            let reset = call["reset"].as_bool().unwrap();
            let got = match what {
                "train" => {
                    let mut options = TrainOnBatch::new().reset_metrics(reset);
                    if let Some(weights) = weights {
                        options = options.sample_weight(weights);
                    }
                    if let Some(weights) = class_weight(&call["class_weight"]) {
                        options = options.class_weight(weights);
                    }
                    case.model.train_on_batch_with(x, y, options)
                }
                "test" => {
                    assert!(call["class_weight"].is_null());
                    let mut options = TestOnBatch::new().reset_metrics(reset);
                    if let Some(weights) = weights {
                        options = options.sample_weight(weights);
                    }
                    case.model.test_on_batch_with(x, y, options)
                }
                "fit" => {
                    let history = case.model.fit(x, y, Fit::new().batch_size(8).shuffle(false).verbose(0));
                    history.map(|history| names.iter().map(|name| history[name.as_str()][0]).collect())
                }
                "evaluate" => case.model.evaluate_with(x, y, Evaluate::new().batch_size(8).verbose(0)),
                other => panic!("a call that the test does not know: {other}"),
            };
            let got = got.unwrap_or_else(|error| panic!("{}: {error}", case.name()));
            assert_eq!(got.len(), names.len());
            for (at, (name, got)) in names.iter().zip(got).enumerate() {
                case.close(&format!("call {i}"), name, got, want[i * names.len() + at]);
            }
        }
        case.close_weights();
    });
}

#[test]
fn classes_and_probabilities_are_keras_s() {
    each("classes", |case| {
        let model = Sequential::try_from(case.model.clone()).unwrap();
        let batch = case.json["batch_size"].as_u64().unwrap() as usize;
        let x = case.array(&case.json["x"][0]);
        let options = Predict::new().batch_size(batch);
        let proba = model.predict_proba_with(&x, &options).unwrap();
        let classes = model.predict_classes_with(&x, &options).unwrap();
        let [want, numbers] =
            ["proba", "classes"].map(|what| case.fixture.array(&format!("{}/{what}", case.name())));
        assert_eq!((proba.shape(), classes.shape()), (want.shape(), numbers.shape()), "{}", case.name());
        assert_eq!(classes.dtype(), numbers.dtype(), "{}", case.name());
        assert_eq!(classes.to_vec::<i64>(), numbers.to_vec::<i64>(), "{}", case.name());
        for (got, want) in proba.to_vec::<f64>().iter().zip(want.to_vec::<f64>()) {
            case.close("predict_proba", "loss", *got, want);
        }
        assert_eq!(model.predict_classes(&x).unwrap(), classes, "{}", case.name());
    });
}

/// Notes which hooks are called, with what in the logs.
#[derive(Default)]
struct Hooks(Arc<Mutex<Vec<String>>>);

impl Hooks {
    fn note(&self, hook: &str, number: Option<usize>, logs: &Logs) {
        let number = number.map(|number| format!(" {number}")).unwrap_or_default();
        let keys: Vec<&str> = logs.iter().map(|(name, _)| name).collect();
        self.0.lock().unwrap().push(format!("{hook}{number}: {}", keys.join(" ")));
    }
}

macro_rules! hooks {
    ($($hook:ident$(($number:ident))?)*) => {$(
        fn $hook(&mut self, _: &Context, $($number: usize,)? logs: &mut Logs) -> Result<()> {
            #[allow(unused_mut, unused_assignments)]
            let mut at = None;
            $(at = Some($number);)?
            self.note(stringify!($hook), at, logs);
            Ok(())
        }
    )*};
}

impl Callback for Hooks {
    hooks! {
        on_train_begin on_train_end on_test_begin on_test_end on_predict_begin on_predict_end
        on_epoch_begin(epoch) on_epoch_end(epoch) on_train_batch_begin(batch) on_train_batch_end(batch)
        on_test_batch_begin(batch) on_test_batch_end(batch) on_predict_batch_begin(batch) on_predict_batch_end(batch)
    }
}

/// `hooks` of the fixture: what Keras calls in an epoch with validation, an evaluation and a prediction.
#[test]
fn hooks_are_called_as_keras_calls_them() {
    let fixture = Fixture::load("training_2_3_1");
    let case = Case::named(&fixture, "hooks");
    let json = case.json;
    let (x, y) = (case.data(&json["x"]), case.data(&json["y"]));
    let noted = |run: &dyn Fn(Hooks)| -> Value {
        let hooks = Hooks::default();
        let lines = Arc::clone(&hooks.0);
        run(hooks);
        let lines = lines.lock().unwrap();
        serde_json::json!(*lines)
    };
    let fit = noted(&|hooks| {
        let options =
            Fit::new().batch_size(40).epochs(2).validation_split(0.25).verbose(0).callbacks([hooks]);
        drop(case.model.fit(x.clone(), y.clone(), options).unwrap());
    });
    assert_eq!(fit, json["fit"]);
    let evaluate = noted(&|hooks| {
        let options = Evaluate::new().batch_size(40).verbose(0).callbacks([hooks]);
        drop(case.model.evaluate_with(x.clone(), y.clone(), options).unwrap());
    });
    assert_eq!(evaluate, json["evaluate"]);
    let predict = noted(&|hooks| {
        drop(case.model.predict_with(x.clone(), &Predict::new().batch_size(40), [hooks]).unwrap());
    });
    // Here logs are numbers: outputs are what the callback's model predicts.
    let theirs = json["predict"].as_array().unwrap().iter();
    let theirs: Vec<String> = theirs.map(|line| line.as_str().unwrap().replace(" outputs", "")).collect();
    assert_eq!(predict, serde_json::json!(theirs));
}

/// What a person reads of a fit that has a line per epoch.
#[test]
fn samples_are_counted_where_there_is_a_validation() {
    let fixture = Fixture::load("training_2_3_1");
    let case = Case::named(&fixture, "fit_float32");
    let said = |split: f64| {
        let text = Arc::new(Mutex::new(Vec::new()));
        let (x, y) = (case.data(&case.json["x"]), case.data(&case.json["y"]));
        let options = Fit::new().epochs(1).validation_split(split).verbose(2);
        keras_core::training::Output::Writer(text.clone()).during(|| case.model.fit(x, y, options)).unwrap();
        let text = String::from_utf8(text.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (with, without) = (said(0.1), said(0.0));
    assert_eq!(with[..2], ["Train on 63 samples, validate on 7 samples", "Epoch 1/1"]);
    assert!(with[2].contains("- val_loss: ") && with.len() == 3, "{with:?}");
    assert_eq!(without[0], "Epoch 1/1");
    assert!(without[1].contains("- loss: ") && without.len() == 2, "{without:?}");
}

/// Asks for the end before the beginning, which Keras forgets.
struct Early;

impl Callback for Early {
    fn on_train_begin(&mut self, cx: &Context, _: &mut Logs) -> Result<()> {
        cx.model.stop_training(true);
        Ok(())
    }
}

#[test]
fn a_stop_before_the_first_epoch_is_forgotten() {
    let fixture = Fixture::load("training_2_3_1");
    let case = Case::named(&fixture, "fit_float32");
    let (x, y) = (case.data(&case.json["x"]), case.data(&case.json["y"]));
    let history = case.model.fit(x, y, Fit::new().epochs(2).verbose(0).callbacks([Early])).unwrap();
    assert_eq!(history["loss"].len(), 2);
}

/// An array as a source.
struct Stored(Array);

impl Source for Stored {
    fn shape(&self) -> &[usize] {
        self.0.shape()
    }

    fn dtype(&self) -> DType {
        self.0.dtype()
    }

    fn read(&self, start: usize, stop: usize) -> Result<Array> {
        self.0.rows(start, stop)
    }

    fn piece(&self) -> usize {
        7
    }
}

#[test]
fn epochs_have_keras_s_history_and_weights() {
    epochs(Column::from);
}

/// What is read as it is wanted trains as arrays do, whatever the options.
#[test]
fn epochs_of_sources_have_keras_s_history_and_weights() {
    epochs(|array| Column::source(Stored(array)));
}

fn epochs(stored: fn(Array) -> Column) {
    each("fit", |case| {
        let data = |keys: &Value| -> Data {
            keys.as_array().unwrap().iter().map(|key| stored(case.array(key))).collect::<Vec<_>>().into()
        };
        let _turn = crate::seeded(u32::try_from(case.json["seed"].as_u64().unwrap()).unwrap());
        let run = |arguments: &Value| {
            let mut options = Fit::new().verbose(0);
            for (key, value) in arguments.as_object().unwrap() {
                let count = || usize::try_from(value.as_u64().unwrap()).unwrap();
                options = match key.as_str() {
                    "epochs" => options.epochs(count()),
                    "batch_size" => options.batch_size(count()),
                    "initial_epoch" => options.initial_epoch(count()),
                    "validation_freq" => options.validation_freq(count()),
                    "steps_per_epoch" => options.steps_per_epoch(count()),
                    "validation_steps" => options.validation_steps(count()),
                    "stop" => {
                        let [epoch, batch] = [0, 1].map(|i| value[i].as_u64().unwrap() as usize);
                        options.callbacks([Stop { at: (epoch, batch), epoch: 0 }])
                    }
                    "validation_split" => options.validation_split(value.as_f64().unwrap()),
                    "shuffle" => options.shuffle(match value {
                        Value::Bool(shuffle) => Shuffle::from(*shuffle),
                        _ => Shuffle::Batches,
                    }),
                    "class_weight" | "class_weight_list" => {
                        options.class_weight(class_weight(value).unwrap())
                    }
                    "schedule" => options.callbacks(LearningRateScheduler::new(schedule(value))),
                    "sample_weight" => options.sample_weight(case.sample_weight(value).unwrap()),
                    "validation_data" => {
                        let (x, y) = (data(&value[0]), data(&value[1]));
                        match case.sample_weight(&value[2]) {
                            Some(weights) => options.weighted_validation_data(x, y, weights),
                            None => options.validation_data(x, y),
                        }
                    }
                    other => panic!("an argument of fit that the test does not know: {other}"),
                };
            }
            let (x, y) = (data(&case.json["x"]), data(&case.json["y"]));
            case.model.fit(x, y, options).unwrap_or_else(|error| panic!("{}: {error}", case.name()))
        };
        case.close_to_records(&run(&case.json["arguments"]).history, &case.json["history"]);
        if !case.json["recompile"].is_null() {
            case.compile_with(&case.json["recompile"]);
        }
        if let Some(rate) = case.json["lr_between"].as_f64() {
            case.model.optimizer().unwrap().set_learning_rate(rate).unwrap();
        }
        if !case.json["then"].is_null() {
            case.close_to_records(&run(&case.json["then"]).history, &case.json["history_then"]);
        }
        case.close_weights();
    });
}

/// In Keras 2.3.1 the validation forgets that a callback wanted to stop at the last batch; it does not here.
#[test]
fn a_stop_at_the_last_batch_outlives_the_validation() {
    let fixture = Fixture::load("training_2_3_1");
    let case = Case::named(&fixture, "fit_float32");
    let (x, y) = (case.data(&case.json["x"]), case.data(&case.json["y"]));
    let options = Fit::new().batch_size(16).epochs(5).validation_data(&x, &y).verbose(0);
    let history = case.model.fit(&x, &y, options.callbacks([Stop { at: (1, 4), epoch: 0 }])).unwrap();
    assert_eq!((history["loss"].len(), history["val_loss"].len()), (2, 2));
}

#[test]
fn evaluation_and_prediction_have_keras_s_numbers() {
    each("evaluate", |case| {
        let count = |key: &str| case.json[key].as_u64().map(|count| count as usize);
        let (batch, steps) = (count("batch_size"), count("steps"));
        let (x, y) = (case.data(&case.json["x"]), case.data(&case.json["y"]));
        let mut options = Evaluate::new().verbose(0);
        let mut predict = Predict::new();
        if let Some(batch) = batch {
            (options, predict) = (options.batch_size(batch), predict.batch_size(batch));
        }
        if let Some(steps) = steps {
            (options, predict) = (options.steps(steps), predict.steps(steps));
        }
        if let Some(weights) = case.sample_weight(&case.json["sample_weight"]) {
            options = options.sample_weight(weights);
        }
        let got = case.model.evaluate_with(&x, y, options).unwrap();
        let want = case.fixture.array(&format!("{}/values", case.name())).to_vec::<f64>();
        for ((name, got), want) in case.model.metrics_names().unwrap().iter().zip(got).zip(want) {
            case.close("evaluate", name, got, want);
        }
        for (i, got) in case.model.predict_all(&x, &predict).unwrap().iter().enumerate() {
            let want = case.fixture.array(&format!("{}/prediction_{i}", case.name()));
            assert_eq!(got.shape(), want.shape());
            for (got, want) in got.to_vec::<f64>().iter().zip(want.to_vec::<f64>()) {
                case.close("predict", "loss", *got, want);
            }
        }
    });
}

/// Batches of a case: rows from there to there, counted modulo the number of samples.
struct Batches {
    arrays: [Vec<Array>; 3],
    outputs: Vec<String>,
    ends: Vec<[usize; 2]>,
    shift: usize,
    offset: usize,
}

impl Batches {
    fn new(case: &Case, given: &Value, shift: usize) -> Self {
        let arrays = |keys: &Value| {
            keys.as_array().map(|keys| keys.iter().map(|key| case.array(key)).collect()).unwrap_or_default()
        };
        let count = |value: &Value| value.as_u64().unwrap() as usize;
        let batches = given["batches"].as_array().unwrap().iter();
        Self {
            arrays: [arrays(&given["x"]), arrays(&given["y"]), arrays(&given["sample_weight"])],
            outputs: case.model.output_names().unwrap(),
            ends: batches.map(|ends| [count(&ends[0]), count(&ends[1])]).collect(),
            shift,
            offset: 0,
        }
    }

    /// As the case hands them to Keras.
    fn into_data(self, source: &Value) -> Data {
        match source.as_str() {
            Some("sequence") => self.into(),
            Some("generator") => {
                Generator::fallible((0..).map(move |i| self.get(i % self.ends.len()))).into()
            }
            other => panic!("a source of batches that the test does not know: {other:?}"),
        }
    }
}

impl Sequence for Batches {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, index: usize) -> Result<Batch> {
        let [start, stop] = self.ends[index].map(|row| row + self.offset);
        let rows = |array: &Array| {
            let count = array.shape()[0];
            array.take(&(start..stop).map(|row| row % count).collect::<Vec<_>>())
        };
        let [x, y, weights] = [0, 1, 2].map(|i| self.arrays[i].iter().map(rows).collect::<Result<Vec<_>>>());
        let weights = weights?;
        if weights.is_empty() {
            return Ok((x?, y?).into());
        }
        Ok((x?, y?, SampleWeight::named(self.outputs.iter().cloned().zip(weights))).into())
    }

    fn on_epoch_end(&mut self) {
        self.offset += self.shift;
    }
}

#[test]
fn generators_have_keras_s_history_weights_and_numbers() {
    each("generator", |case| {
        let source = &case.json["source"];
        let data = |shift| Batches::new(case, case.json, shift).into_data(source);
        let mut options = Fit::new().verbose(0).shuffle(false);
        for (key, value) in case.json["arguments"].as_object().unwrap() {
            let count = || usize::try_from(value.as_u64().unwrap()).unwrap();
            options = match key.as_str() {
                "epochs" => options.epochs(count()),
                "steps_per_epoch" => options.steps_per_epoch(count()),
                "validation_steps" => options.validation_steps(count()),
                "class_weight" => options.class_weight(class_weight(value).unwrap()),
                other => panic!("an argument of fit_generator that the test does not know: {other}"),
            };
        }
        let validation = &case.json["validation"];
        options = match validation["source"].as_str() {
            None => options,
            Some("arrays") => {
                options.validation_data(case.data(&validation["x"]), case.data(&validation["y"]))
            }
            Some(_) => options
                .validation_data(Batches::new(case, validation, 0).into_data(&validation["source"]), ()),
        };
        let shift = case.json["shift"].as_u64().unwrap() as usize;
        let history = case.model.fit_generator(data(shift), options);
        let history = history.unwrap_or_else(|error| panic!("{}: {error}", case.name()));
        case.close_to_records(&history.history, &case.json["history"]);
        case.close_weights();

        let steps = case.json["batches"].as_array().unwrap().len();
        let got = case.model.evaluate_generator(data(0), Evaluate::new().steps(steps).verbose(0)).unwrap();
        let want = case.fixture.array(&format!("{}/values", case.name())).to_vec::<f64>();
        assert_eq!(got.len(), want.len() + 1);
        for ((name, got), want) in case.model.metrics_names().unwrap().iter().zip(got).skip(1).zip(want) {
            // Keras takes the losses of single outputs from the last batch, too.
            if !name.ends_with("_loss") {
                case.close("evaluate_generator", name, got, want);
            }
        }
        let predict = Predict::new().steps(steps);
        for (i, got) in case.model.predict_generator(data(0), &predict).unwrap().iter().enumerate() {
            let want = case.fixture.array(&format!("{}/prediction_{i}", case.name()));
            assert_eq!(got.shape(), want.shape());
            for (got, want) in got.to_vec::<f64>().iter().zip(want.to_vec::<f64>()) {
                case.close("predict_generator", "loss", *got, want);
            }
        }
    });
}

/// The hooks of predictions, in Keras's order, with the number and the size of each batch.
#[test]
fn callbacks_hear_of_predictions() {
    #[derive(Default)]
    struct Told(Vec<String>);
    impl Callback for Told {
        fn on_predict_begin(&mut self, cx: &Context, _: &mut Logs) -> Result<()> {
            self.0.push(format!("begin {:?}", cx.params.samples));
            Ok(())
        }
        fn on_predict_batch_begin(&mut self, _: &Context, batch: usize, logs: &mut Logs) -> Result<()> {
            self.0.push(format!("batch {batch} of {:?}", logs.get("size")));
            Ok(())
        }
        fn on_predict_batch_end(&mut self, _: &Context, batch: usize, _: &mut Logs) -> Result<()> {
            self.0.push(format!("end of {batch}"));
            Ok(())
        }
        fn on_predict_end(&mut self, _: &Context, _: &mut Logs) -> Result<()> {
            self.0.push("end".to_owned());
            Ok(())
        }
    }
    let mut model = Sequential::new();
    model.add(Dense::new(2).input_shape([3])).unwrap();
    let x = Array::full(&[5, 3], 0.5_f32).unwrap();
    let mut told = Told::default();
    let options = Predict::new().batch_size(3);
    let outputs = model.predict_with(&x, &options, &mut told).unwrap();
    assert_eq!(outputs, model.predict_all(&x, &options).unwrap());
    let expected =
        ["begin Some(5)", "batch 0 of Some(3.0)", "end of 0", "batch 1 of Some(2.0)", "end of 1", "end"];
    assert_eq!(told.0, expected);
}
