//! The callbacks against what Keras 2.3.1 did and printed.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::array::Array;
use crate::training::{Callback, CallbackList, Context, FakeModel, Logs, Params, TrainedModel, captured};
use serde_json::Value;

fn fixture() -> Value {
    serde_json::from_str(include_str!("../../tests/fixtures/callbacks/callbacks.json")).unwrap()
}

fn cases(name: &str) -> Vec<Value> {
    let cases = fixture()[name].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

/// Floats are recorded as text.
fn float(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}

fn size(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

fn entries(value: &Value) -> Logs {
    value.as_array().unwrap().iter().map(|entry| (entry[0].as_str().unwrap(), float(&entry[1]))).collect()
}

/// What a run showed, in the form of the fixture.
#[derive(Debug, PartialEq)]
struct Run {
    epochs: usize,
    stopped: bool,
    weights: i64,
    rates: Vec<Option<String>>,
    printed: String,
}

impl Run {
    fn recorded(value: &Value) -> Self {
        let rates = value["rates"].as_array().unwrap();
        Self {
            epochs: size(&value["epochs"]),
            stopped: value["stopped"].as_bool().unwrap(),
            weights: value["weights"].as_i64().unwrap(),
            rates: rates.iter().map(|rate| rate.as_str().map(str::to_owned)).collect(),
            printed: value["printed"].as_str().unwrap().to_owned(),
        }
    }
}

/// A run of epochs in which `monitor` has these values; the weights are the number of the epoch. Warnings are left out.
fn run(model: &FakeModel, callback: &mut dyn Callback, monitor: &str, values: &Value) -> Run {
    let params = Params::default();
    let cx = Context { model, params: &params };
    model.stop_training(false);
    let (mut epochs, mut rates) = (0, Vec::new());
    let ((), printed) = captured(|| {
        callback.on_train_begin(&cx, &mut Logs::new()).unwrap();
        for (epoch, value) in values.as_array().unwrap().iter().enumerate() {
            callback.on_epoch_begin(&cx, epoch, &mut Logs::new()).unwrap();
            model.set_weights(&[Array::from(epoch as i64)]).unwrap();
            let mut logs = Logs::new();
            if !value.is_null() {
                logs.set(monitor, float(value));
            }
            callback.on_epoch_end(&cx, epoch, &mut logs).unwrap();
            epochs += 1;
            rates.push(logs.get("lr").map(crate::training::python_repr));
            if model.is_stopped() {
                break;
            }
        }
        callback.on_train_end(&cx, &mut Logs::new()).unwrap();
    });
    let weights = model.get_weights().unwrap();
    Run {
        epochs,
        stopped: model.is_stopped(),
        weights: weights[0].item().unwrap() as i64,
        rates,
        printed: printed.split_inclusive('\n').filter(|line| !line.starts_with("warning: ")).collect(),
    }
}

#[test]
fn early_stopping_does_as_keras() {
    let mut errors = 0;
    for case in cases("early_stopping") {
        let monitor = case["monitor"].as_str().unwrap();
        let mut callback = EarlyStopping::new(monitor)
            .patience(size(&case["patience"]))
            .min_delta(case["min_delta"].as_f64().unwrap())
            .mode(case["mode"].as_str().unwrap())
            .restore_best_weights(case["restore"].as_bool().unwrap())
            .verbose(1);
        if let Some(baseline) = case["baseline"].as_f64() {
            callback = callback.baseline(baseline);
        }
        let model = FakeModel::new(0.1);
        for result in case["results"].as_array().unwrap() {
            let ours = run(&model, &mut callback, monitor, &case["values"]);
            let mut keras = Run::recorded(result);
            // The weights that Keras does not have are the one departure.
            if result["error"].as_bool().unwrap() {
                errors += 1;
                keras.rates.push(None);
                keras.printed =
                    keras.printed.replace("Restoring model weights from the end of the best epoch\n", "");
            }
            assert_eq!(ours, keras, "{case}");
            assert_eq!(callback.wait(), size(&result["wait"]), "{case}");
            assert_eq!(callback.stopped_epoch(), size(&result["stopped_epoch"]), "{case}");
            assert_eq!(callback.best().to_bits(), float(&result["best"]).to_bits(), "{case}");
        }
    }
    assert!(errors > 0);
}

#[test]
fn early_stopping_warns_where_keras_has_no_best_weights_or_no_value() {
    let values = serde_json::json!(["2.0", null]);
    let mut callback = EarlyStopping::new("val_loss").baseline(1.0).restore_best_weights(true);
    let (model, params) = (FakeModel::new(0.1), Params::default());
    assert_eq!(run(&model, &mut callback, "val_loss", &values).epochs, 1);
    let cx = Context { model: &model, params: &params };
    let ((), text) = captured(|| {
        callback.on_train_begin(&cx, &mut Logs::new()).unwrap();
        callback.on_epoch_end(&cx, 0, &mut Logs::from([("val_loss", 2.0)])).unwrap();
        callback.on_epoch_end(&cx, 1, &mut Logs::from([("loss", 2.0), ("acc", 0.5)])).unwrap();
    });
    assert_eq!(
        text,
        "warning: Early stopping found no epoch better than 1 by metric `val_loss`; the weights stay as they are.\n\
         warning: Early stopping conditioned on metric `val_loss` which is not available. \
         Available metrics are: loss,acc\n"
    );
}

#[test]
fn reduce_lr_on_plateau_does_as_keras() {
    for case in cases("plateau") {
        let monitor = case["monitor"].as_str().unwrap();
        let mut callback = ReduceLrOnPlateau::new(monitor)
            .patience(size(&case["patience"]))
            .cooldown(size(&case["cooldown"]))
            .min_delta(float(&case["min_delta"]))
            .min_lr(float(&case["min_lr"]))
            .factor(float(&case["factor"]))
            .verbose(1);
        let model = FakeModel::new(0.1);
        for result in case["results"].as_array().unwrap() {
            assert_eq!(run(&model, &mut callback, monitor, &case["values"]), Run::recorded(result), "{case}");
        }
    }
}

#[test]
fn learning_rate_scheduler_does_as_keras() {
    let result = fixture()["schedule"].clone();
    let schedule = |epoch: usize, rate: f64| if epoch.is_multiple_of(2) { rate * 1.25 } else { rate * 0.5 };
    let mut callback = LearningRateScheduler::new(schedule).verbose(1);
    let values = serde_json::json!(["1.0", "1.0", "1.0", "1.0", "1.0", "1.0"]);
    assert_eq!(run(&FakeModel::new(0.1), &mut callback, "loss", &values), Run::recorded(&result));
}

#[test]
fn csv_files_are_those_of_keras() {
    let folder = tempfile::tempdir().unwrap();
    for case in cases("csv") {
        let path = folder.path().join(case["name"].as_str().unwrap());
        if let Some(existing) = case["existing"].as_str() {
            std::fs::write(&path, existing).unwrap();
        }
        for fit in case["fits"].as_array().unwrap() {
            let (model, params) = (FakeModel::new(0.1), Params::default());
            let cx = Context { model: &model, params: &params };
            let mut callback = CsvLogger::new(&path)
                .separator(case["separator"].as_str().unwrap().chars().next().unwrap())
                .append(case["append"].as_bool().unwrap());
            callback.on_train_begin(&cx, &mut Logs::new()).unwrap();
            for (number, epoch) in fit.as_array().unwrap().iter().enumerate() {
                model.stop_training(epoch["stop"].as_bool().unwrap());
                callback.on_epoch_end(&cx, number, &mut entries(&epoch["logs"])).unwrap();
            }
            callback.on_train_end(&cx, &mut Logs::new()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), case["text"].as_str().unwrap(), "{case}");
    }
    let mut nowhere = CsvLogger::new(folder.path());
    let (model, params) = (FakeModel::new(0.1), Params::default());
    let cx = Context { model: &model, params: &params };
    let error = nowhere.on_train_begin(&cx, &mut Logs::new()).unwrap_err();
    assert!(error.to_string().starts_with("CSVLogger, writing "), "{error}");
    assert!(nowhere.on_epoch_end(&cx, 0, &mut Logs::new()).is_err());
}

#[test]
fn an_epoch_is_logged_shown_and_remembered_as_in_keras() {
    for case in cases("logging") {
        let names = |value: &Value| -> Vec<String> {
            value.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
        };
        let (stateful, validation) = (names(&case["stateful"]), case["validation"].as_bool().unwrap());
        let [samples, batch, steps] =
            ["samples", "batch", "steps"].map(|key| case[key].as_u64().map(|number| number as usize));
        let mut metrics = vec!["loss", "accuracy"];
        if validation {
            metrics.extend(["val_loss", "val_accuracy"]);
        }
        let params = Params {
            batch_size: batch,
            epochs: size(&case["epochs"]),
            steps,
            samples,
            verbose: 2,
            do_validation: validation,
            metrics: metrics.into_iter().map(str::to_owned).collect(),
        };
        let model = FakeModel::new(0.1);
        let cx = Context { model: &model, params: &params };
        let sizes = match (steps, samples, batch) {
            (Some(steps), ..) => vec![1; steps],
            (None, Some(samples), Some(batch)) => {
                (0..samples).step_by(batch).map(|start| batch.min(samples - start)).collect()
            }
            _ => Vec::new(),
        };
        let stop_at = case["stop_at"].as_array().map(|at| (size(&at[0]), size(&at[1])));
        let mut history = History::new();
        let ((), printed) = captured(|| {
            let count = if steps.is_some() { CountMode::Steps } else { CountMode::Samples };
            let mut list = CallbackList::new();
            list.extend((
                BaseLogger::new().stateful_metrics(stateful.clone()),
                ProgbarLogger::new(count).stateful_metrics(stateful.clone()),
                &mut history,
            ));
            list.on_train_begin(&cx, &mut Logs::new()).unwrap();
            for epoch in 0..params.epochs {
                list.on_epoch_begin(&cx, epoch, &mut Logs::new()).unwrap();
                for (i, &size) in sizes.iter().enumerate() {
                    let mut logs = Logs::from([("batch", i as f64), ("size", size as f64)]);
                    list.on_train_batch_begin(&cx, i, &mut logs).unwrap();
                    logs.set("loss", 1.0 / (1 + i + 3 * epoch) as f64);
                    logs.set("accuracy", 0.25 * epoch as f64 + i as f64 / 16.0);
                    list.on_train_batch_end(&cx, i, &mut logs).unwrap();
                    if stop_at == Some((epoch, i)) {
                        break;
                    }
                }
                let done = stop_at.is_none_or(|(last, _)| last != epoch);
                let mut logs = Logs::new();
                if validation && done {
                    logs.extend([("val_loss", 0.75 / (1 + epoch) as f64), ("val_accuracy", 0.5)]);
                }
                list.on_epoch_end(&cx, epoch, &mut logs).unwrap();
                if !done {
                    break;
                }
            }
            list.on_train_end(&cx, &mut Logs::new()).unwrap();
        });
        assert_eq!(printed, case["printed"].as_str().unwrap(), "{case}");
        assert_eq!(history.to_json(), case["json"].as_str().unwrap(), "{case}");
        let epochs: Vec<_> = case["epoch"].as_array().unwrap().iter().map(size).collect();
        assert_eq!(history.epoch, epochs, "{case}");
    }
}
