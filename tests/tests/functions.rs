//! Activations, losses, metrics, regularizers, constraints and initializers against Keras 2.3.1, losses and their
//! averages also against 2.2.4.

use crate::fixtures::{Fixture, array};
use keras_core::backend::reference::Reference;
use keras_core::backend::{Engine, Runtime};
use keras_core::losses::{LossRef, align_weights, weighted_mean};
use keras_core::metrics::Metric;
use keras_core::semantics::Semantics;
use keras_core::tensor::{Phase, Trace, TraceOptions};
use keras_core::{
    Array, DType, Tensor, activations, constraints, graph::optimize::Passes, initializers, k, losses,
    metrics, regularizers,
};
use serde_json::{Value, json};
use std::sync::Arc;

fn dtype(case: &Value) -> DType {
    case["floatx"].as_str().map_or(DType::F32, |name| DType::from_name(name).unwrap())
}

/// Runs what `write` makes of inputs.
fn run(
    semantics: Semantics,
    inputs: &[Array],
    write: impl Fn(&Trace, &[Tensor]) -> Vec<Tensor>,
) -> Vec<Array> {
    let runtime: Arc<dyn Runtime> = Arc::new(Engine::new(Reference).unwrap());
    let trace = Trace::new(TraceOptions { phase: Phase::Train, semantics, ..TraceOptions::default() });
    let tensors: Vec<Tensor> = inputs
        .iter()
        .map(|input| trace.input(keras_core::graph::Type::new(input.shape(), input.dtype())))
        .collect();
    let outputs = write(&trace, &tensors);
    let values: Vec<_> = outputs.iter().map(|output| trace.lift(output).unwrap()).collect();
    trace.with_graph_mut(|graph| graph.set_outputs(values));
    let program = trace.with_graph(|graph| runtime.compile(graph, Passes::default())).unwrap();
    program.run(inputs).unwrap()
}

/// Relative to the number, or to a thousandth of the largest where it is small.
fn assert_close(got: &Array, want: &Array, name: &str) {
    assert_eq!(got.shape(), want.shape(), "{name}: shapes");
    let tolerance = if want.dtype() == DType::F64 { 1e-9 } else { 1e-4 };
    let (got, want) = (got.to_vec::<f64>(), want.to_vec::<f64>());
    let largest = want.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    for (i, (g, w)) in got.iter().zip(&want).enumerate() {
        let scale = w.abs().max(largest * 1e-3).max(1e-6);
        assert!((g - w).abs() <= tolerance * scale, "{name}, element {i}: expected {w}, received {g}");
    }
}

fn same_json(got: &Value, want: &Value, name: &str) {
    match (got, want) {
        (Value::Number(g), Value::Number(w)) => assert_eq!(g.as_f64(), w.as_f64(), "{name}"),
        (Value::Object(g), Value::Object(w)) => {
            let keys = |map: &serde_json::Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
            let (mut one, mut other) = (keys(g), keys(w));
            one.sort();
            other.sort();
            assert_eq!(one, other, "{name}");
            g.iter().for_each(|(key, value)| same_json(value, &w[key], &format!("{name}.{key}")));
        }
        (Value::Array(g), Value::Array(w)) => {
            assert_eq!(g.len(), w.len(), "{name}");
            g.iter().zip(w).for_each(|(g, w)| same_json(g, w, name));
        }
        _ => assert_eq!(got, want, "{name}"),
    }
}

/// The cases of a kind, of which there must be as many as were recorded when this was written, or more.
fn cases(fixture: &Fixture, kind: &str, at_least: usize) -> Vec<Value> {
    let found: Vec<Value> = fixture.cases().iter().filter(|case| case["kind"] == kind).cloned().collect();
    assert!(found.len() >= at_least, "{kind}: {} cases", found.len());
    found
}

fn loss_values(loss: &LossRef, case: &Value, semantics: Semantics) -> Vec<Array> {
    let inputs = [array(&case["y_true"], dtype(case)), array(&case["y_pred"], dtype(case))];
    run(semantics, &inputs, |_, tensors| {
        let (y, p) = (&tensors[0], &tensors[1]);
        let values = match case["activation"].as_str() {
            Some(activation) => loss.call(y, &activations::get(activation).unwrap().call(p)),
            None => loss.call(y, p),
        };
        let gradient = k::gradients(&k::sum(&values, &[], false), &[p]).unwrap().pop().unwrap();
        vec![values, gradient.unwrap()]
    })
}

#[test]
fn activations_are_keras_s() {
    for case in cases(&Fixture::load("functions_2_3_1"), "activation", 24) {
        let name = case["name"].as_str().unwrap();
        let activation = activations::get(case["function"].as_str().unwrap()).unwrap();
        let got = run(Semantics::default(), &[array(&case["x"], dtype(&case))], |_, x| {
            vec![activation.call(&x[0])]
        });
        assert_close(&got[0], &array(&case["y"], dtype(&case)), name);
        assert_eq!(json!(activation.name()), case["function"]);
    }
}

#[test]
fn losses_and_their_gradients_are_keras_s() {
    for case in cases(&Fixture::load("functions_2_3_1"), "loss", 150) {
        let name = case["name"].as_str().unwrap();
        let loss = losses::deserialize(&case["config"]).unwrap();
        let got = loss_values(&loss, &case, Semantics::keras_2_3());
        assert_close(&got[0], &array(&case["values"], dtype(&case)), name);
        assert_close(&got[1], &array(&case["gradient"], dtype(&case)), &format!("gradient of {name}"));
        same_json(&loss.config(), &case["config"], name);
    }
}

/// Keras's own code of these two mixes float32 into float64 and fails there: the formulas instead.
#[test]
fn logcosh_and_categorical_hinge_are_exact_in_double_precision() {
    let (rows, columns) = (5, 4);
    let p: Vec<f64> = (0..rows * columns).map(|i| 3.0 * (1.7 * i as f64).sin()).collect();
    let y: Vec<f64> =
        (0..rows * columns).map(|i| f64::from(u8::from(i % columns == i / columns % columns))).collect();
    let inputs = [&y, &p].map(|values| Array::from_vec(&[rows, columns], values.clone()).unwrap());
    let of = |name: &str| {
        let loss = losses::get(name).unwrap();
        run(Semantics::keras_2_3(), &inputs, |_, tensors| {
            let values = loss.call(&tensors[0], &tensors[1]);
            let gradient = k::gradients(&k::sum(&values, &[], false), &[&tensors[1]]).unwrap().pop().unwrap();
            vec![values, gradient.unwrap()]
        })
    };
    let close = |got: &Array, want: &[f64], name: &str| {
        assert_eq!(got.dtype(), DType::F64);
        for (got, want) in got.to_vec::<f64>().iter().zip(want) {
            assert!((got - want).abs() <= 1e-12 * want.abs().max(1e-2), "{name}: {got}, not {want}");
        }
    };
    let rows_of = |values: &[f64]| values.chunks(columns).map(<[f64]>::to_vec).collect::<Vec<_>>();
    let (ys, ps) = (rows_of(&y), rows_of(&p));
    let got = of("logcosh");
    let apart = |i: usize| ps[i].iter().zip(&ys[i]).map(|(p, y)| p - y).collect::<Vec<f64>>();
    let means: Vec<f64> =
        (0..rows).map(|i| apart(i).iter().map(|x| x.cosh().ln()).sum::<f64>() / columns as f64).collect();
    close(&got[0], &means, "logcosh");
    let slopes: Vec<f64> = (0..rows).flat_map(apart).map(|x| x.tanh() / columns as f64).collect();
    close(&got[1], &slopes, "gradient of logcosh");

    let got = of("categorical_hinge");
    let hinge = |i: usize| {
        let right: f64 = ps[i].iter().zip(&ys[i]).map(|(p, y)| p * y).sum();
        let wrong = ps[i].iter().zip(&ys[i]).map(|(p, y)| p * (1.0 - y)).fold(f64::NEG_INFINITY, f64::max);
        (wrong - right + 1.0).max(0.0)
    };
    close(&got[0], &(0..rows).map(hinge).collect::<Vec<_>>(), "categorical_hinge");
    let slopes: Vec<f64> = (0..rows * columns)
        .map(|at| {
            // By differences: the loss is made of straight pieces.
            let step = 1e-3;
            let moved = |by: f64| {
                let mut row = ps[at / columns].clone();
                row[at % columns] += by;
                let ys = &ys[at / columns];
                let right: f64 = row.iter().zip(ys).map(|(p, y)| p * y).sum();
                let wrong = row.iter().zip(ys).map(|(p, y)| p * (1.0 - y)).fold(f64::NEG_INFINITY, f64::max);
                (wrong - right + 1.0).max(0.0)
            };
            ((moved(step) - moved(-step)) / (2.0 * step)).round()
        })
        .collect();
    close(&got[1], &slopes, "gradient of categorical_hinge");
}

#[test]
fn losses_of_2_2_are_its_own() {
    for case in cases(&Fixture::load("functions_2_2_4"), "loss", 4) {
        let loss = losses::get(case["function"].as_str().unwrap()).unwrap();
        let got = loss_values(&loss, &case, Semantics::keras_2_2());
        assert_close(&got[0], &array(&case["values"], DType::F32), case["name"].as_str().unwrap());
    }
}

#[test]
fn weighted_losses_are_averaged_as_in_each_version() {
    let average = |case: &Value, loss: &LossRef, semantics: Semantics| {
        let dtype = dtype(case);
        let mut inputs = vec![array(&case["y_true"], dtype), array(&case["y_pred"], dtype)];
        for (key, dtype) in [("weights", dtype), ("mask", DType::Bool)] {
            if case[key].is_array() {
                inputs.push(array(&case[key], dtype));
            }
        }
        let got = run(semantics, &inputs, |_, tensors| {
            let (weighted, masked) = (case["weights"].is_array(), case["mask"].is_array());
            let weights = weighted.then(|| &tensors[2]);
            let mask = masked.then(|| tensors.last().unwrap());
            let values = loss.call(&tensors[0], &tensors[1]);
            let mut results = vec![weighted_mean(&values, weights, mask, loss.reduction(), semantics)];
            // What a call gives with the reduction "none"; training takes the mean.
            if case["values"].is_array() {
                results.push(align_weights(&values, weights.unwrap()) * &values);
            }
            results
        });
        let name = case["name"].as_str().unwrap();
        assert_close(&got[0], &array(&case["value"], dtype), name);
        if let Some(values) = got.get(1) {
            assert_close(values, &array(&case["values"], dtype), name);
        }
    };
    for case in cases(&Fixture::load("functions_2_3_1"), "weighted", 94) {
        let loss = losses::deserialize(&case["config"]).unwrap();
        average(&case, &loss, Semantics::keras_2_3());
        same_json(&loss.config(), &case["config"], case["name"].as_str().unwrap());
    }
    for case in cases(&Fixture::load("functions_2_2_4"), "weighted", 7) {
        average(&case, &losses::get("mse").unwrap(), Semantics::keras_2_2());
    }
}

#[test]
fn metrics_accumulate_as_keras_s() {
    for case in cases(&Fixture::load("functions_2_3_1"), "metric", 158) {
        let (name, dtype) = (case["name"].as_str().unwrap(), dtype(&case));
        let name = format!("{name} {}", case["config"]);
        let metric = metrics::deserialize(&case["config"]).unwrap();
        let mut states: Vec<Array> =
            metric.states().iter().map(|(_, shape)| Array::zeros(dtype, shape).unwrap()).collect();
        for batch in case["batches"].as_array().unwrap() {
            let mut inputs = states.clone();
            // Mean and Sum take values instead of targets and predictions.
            let of = |key: &str| array(batch.get("values").unwrap_or(&batch[key]), dtype);
            inputs.extend([of("y_true"), of("y_pred")]);
            if batch["weights"].is_array() {
                inputs.push(array(&batch["weights"], dtype));
            }
            states = run(Semantics::default(), &inputs, |_, tensors| {
                let (before, rest) = tensors.split_at(states.len());
                metric.update(before, &rest[0], &rest[1], rest.get(2)).unwrap()
            });
        }
        for (state, want) in states.iter().zip(case["states"].as_array().unwrap()) {
            assert_close(state, &array(want, dtype), &name);
        }
        let result = run(Semantics::default(), &states, |_, states| vec![metric.result(states)]);
        assert_close(&result[0], &array(&case["result"], dtype), &name);
        let mut config = metric.config();
        // The default float type of this process is float32.
        config["config"]["dtype"] = case["config"]["config"]["dtype"].clone();
        same_json(&config, &case["config"], &name);
    }
}

#[test]
fn mean_iou_is_the_mean_over_the_classes_that_occur() {
    // Classes 0, 1, 2 and an unused one. Targets [0, 0, 1, 1, 2], predictions [0, 1, 1, 1, 0]:
    // intersections 1, 2, 0; unions 3, 3, 1; mean (1/3 + 2/3 + 0)/3.
    let metric = metrics::MeanIoU::new(4);
    let inputs = [
        Array::zeros(DType::F64, &[4, 4]).unwrap(),
        Array::from([0.0, 0.0, 1.0, 1.0, 2.0]),
        Array::from([0.0, 1.0, 1.0, 1.0, 0.0]),
        Array::from([1.0, 1.0, 1.0, 1.0, 0.5]),
    ];
    let got = run(Semantics::default(), &inputs, |_, t| {
        let plain = metric.update(&t[..1], &t[1], &t[2], None).unwrap();
        let weighted = metric.update(&t[..1], &t[1], &t[2], Some(&t[3])).unwrap();
        vec![metric.result(&plain), metric.result(&weighted)]
    });
    assert!((got[0].item().unwrap() - 1.0 / 3.0).abs() < 1e-12);
    // Weighted: unions 2.5, 3, 0.5.
    assert!((got[1].item().unwrap() - (1.0 / 2.5 + 2.0 / 3.0) / 3.0).abs() < 1e-12);
}

#[test]
fn regularizers_and_constraints_are_keras_s() {
    let fixture = Fixture::load("functions_2_3_1");
    for case in cases(&fixture, "regularizer", 20) {
        let regularizer = regularizers::deserialize(&case["config"]).unwrap();
        let got = run(Semantics::default(), &[array(&case["w"], dtype(&case))], |_, w| {
            vec![regularizer.call(&w[0])]
        });
        assert_close(&got[0], &array(&case["y"], dtype(&case)), case["name"].as_str().unwrap());
        if dtype(&case) == DType::F32 {
            same_json(&regularizer.config().to_value(), &case["config"], "regularizer");
        }
    }
    for case in cases(&fixture, "constraint", 32) {
        let constraint = constraints::deserialize(&case["config"]).unwrap();
        let got = run(Semantics::default(), &[array(&case["w"], dtype(&case))], |_, w| {
            vec![constraint.call(&w[0])]
        });
        assert_close(&got[0], &array(&case["y"], dtype(&case)), case["name"].as_str().unwrap());
        same_json(&constraint.config().to_value(), &case["config"], "constraint");
    }
}

#[test]
fn initializers_are_saved_as_keras_s() {
    for case in cases(&Fixture::load("functions_2_3_1"), "initializer", 50) {
        let made = match case["given"].as_str() {
            Some(name) => initializers::get(name).unwrap(),
            None => initializers::deserialize(&case["given"]).unwrap(),
        };
        same_json(&made.config().to_value(), &case["config"], case["name"].as_str().unwrap());
        let again = initializers::deserialize(&case["config"]).unwrap();
        assert_eq!(again.config(), made.config());
    }
}

#[test]
fn names_stand_for_what_they_do_in_keras() {
    for case in cases(&Fixture::load("functions_2_3_1"), "named", 82) {
        let given = case["given"].as_str().unwrap();
        let config = match case["module"].as_str().unwrap() {
            "activations" => json!(activations::get(given).unwrap().name()),
            "losses" => losses::get(given).unwrap().config(),
            "metrics" => metrics::get(given).unwrap().config(),
            "regularizers" => regularizers::get(given).unwrap().config().to_value(),
            "constraints" => constraints::get(given).unwrap().config().to_value(),
            module => panic!("a module of Keras's, received {module}"),
        };
        same_json(&config, &case["config"], case["name"].as_str().unwrap());
    }
}
