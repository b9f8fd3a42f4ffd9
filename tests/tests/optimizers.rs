//! Every optimizer against 20 steps of Keras 2.2.4, and its config and state against 2.3.1's.

use crate::everywhere::runtimes;
use crate::fixtures::Fixture;
use keras_core::backend::reference::Reference;
use keras_core::backend::{Engine, Runtime, Variable};
use keras_core::graph::{Type, optimize::Passes};
use keras_core::optimizers::{Adam, OptimizerSpec, OptimizerState};
use keras_core::tensor::{Trace, TraceOptions};
use keras_core::{Array, DType, Tensor, k, losses};
use serde_json::{Value, json};
use std::sync::Arc;

fn assert_close(got: &Array, want: &Array, name: &str) {
    assert_eq!(got.shape(), want.shape(), "{name}: shapes");
    let tolerance = if want.dtype() == DType::F64 { 1e-9 } else { 1e-4 };
    let (got, want) = (got.to_vec::<f64>(), want.to_vec::<f64>());
    let largest = want.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    for (i, (g, w)) in got.iter().zip(&want).enumerate() {
        let scale = w.abs().max(largest * 1e-2);
        assert!((g - w).abs() <= tolerance * scale, "{name}, element {i}: expected {w}, received {g}");
    }
}

/// The fixture's model: a tanh layer, a linear layer, mean squared error.
fn train(
    fixture: &Fixture,
    case: &Value,
    dtype: DType,
    runtime: &Arc<dyn Runtime>,
) -> (OptimizerState, Vec<Variable>, Vec<f64>) {
    let weights: Vec<Variable> = (0..4)
        .map(|i| Variable::new(format!("w{i}"), fixture.array(&format!("initial/weight_{i}")).cast(dtype)))
        .collect();
    let state = OptimizerSpec::from(&case["optimizer"]).build(&weights).unwrap();
    let trace = Trace::new(TraceOptions::default());
    let w: Vec<Tensor> =
        weights.iter().map(|weight| trace.tensor(trace.lift(&Tensor::variable(weight)).unwrap())).collect();
    let (x, y) = (trace.input(Type::new([16, 6], dtype)), trace.input(Type::new([16, 3], dtype)));
    let hidden = k::tanh(&(k::dot(&x, &w[0]) + &w[1]));
    let prediction = k::dot(&hidden, &w[2]) + &w[3];
    let loss = k::mean(&losses::mean_squared_error(&y, &prediction), &[], false);
    let gradients = k::gradients(&loss, &w.iter().collect::<Vec<_>>()).unwrap();
    let gradients: Vec<Tensor> = gradients.into_iter().map(Option::unwrap).collect();
    let updates = state.updates(&weights, &gradients, &[]).unwrap();
    let updates: Vec<_> =
        updates.into_iter().map(|(variable, value)| (variable, trace.lift(&value).unwrap())).collect();
    let loss = trace.lift(&loss).unwrap();
    trace.with_graph_mut(|graph| {
        graph.set_outputs(vec![loss]);
        graph.set_updates(updates);
    });
    let step = trace.with_graph(|graph| runtime.compile(graph, Passes::default())).unwrap();
    let (x, y) = (fixture.array("data/x"), fixture.array("data/y"));
    let losses = (0..20)
        .map(|i| {
            let start = 16 * i % 80;
            let rows = |array: &Array| array.rows(start, start + 16).unwrap();
            step.run(&[rows(x).cast(dtype), rows(y).cast(dtype)]).unwrap()[0].item().unwrap()
        })
        .collect();
    (state, weights, losses)
}

#[test]
fn twenty_steps_are_keras_s() {
    twenty_steps_on(&(Arc::new(Engine::new(Reference).unwrap()) as Arc<dyn Runtime>));
}

#[test]
fn twenty_steps_are_keras_s_on_every_backend() {
    runtimes().iter().for_each(twenty_steps_on);
}

fn twenty_steps_on(runtime: &Arc<dyn Runtime>) {
    let fixture = Fixture::load("optimizers_2_2_4");
    assert!(fixture.cases().len() >= 70, "{} cases", fixture.cases().len());
    for case in fixture.cases() {
        let name = case["name"].as_str().unwrap();
        let place = format!("{name} on {}", runtime.name());
        let dtype = DType::from_name(case["floatx"].as_str().unwrap()).unwrap();
        let (state, weights, losses) = train(&fixture, case, dtype, runtime);
        assert_close(&Array::from(losses).cast(dtype), fixture.array(&format!("{name}/loss")), &place);
        for (i, weight) in weights.iter().enumerate() {
            let want = fixture.array(&format!("{name}/weight_{i}"));
            assert_close(&weight.value().unwrap(), want, &format!("{place}, weight {i}"));
        }
        assert_eq!(state.iterations().unwrap(), 20);
        // The recorded state, read by a fresh optimizer, is the state that was reached, as far as 2.2.4 saves it.
        let recorded: Vec<Array> = (0..case["optimizer_weights"].as_array().unwrap().len())
            .map(|i| fixture.array(&format!("{name}/optimizer_weight_{i}")).clone())
            .collect();
        let loaded = OptimizerSpec::from(&case["optimizer"]).build(&weights).unwrap();
        loaded.set_weights(&recorded).unwrap();
        for (reached, loaded) in state.weights().iter().zip(loaded.weights()) {
            let saved = match reached.name() {
                "iterations" => {
                    recorded.len() == state.weights().len() || loaded.value().unwrap().item().unwrap() != 0.0
                }
                "m_schedule" => false,
                _ => true,
            };
            if saved {
                let want = loaded.value().unwrap();
                let want = if want.dtype() == DType::I64 { want.cast(DType::F64) } else { want };
                assert_close(
                    &reached.value().unwrap().cast(want.dtype()),
                    &want,
                    &format!("{place}, {}", reached.name()),
                );
            }
        }
    }
}

#[test]
fn configs_are_keras_2_3_s() {
    let w = [Variable::new("w", Array::zeros(DType::F32, &[2]).unwrap())];
    for (name, config) in [
        (
            "SGD",
            json!({"learning_rate": 0.009_999_999_776_482_582, "momentum": 0.0, "decay": 0.0, "nesterov": false}),
        ),
        (
            "RMSprop",
            json!({"learning_rate": 0.001_000_000_047_497_451_3, "rho": 0.899_999_976_158_142_1, "decay": 0.0, "epsilon": 1e-7}),
        ),
        ("Adagrad", json!({"learning_rate": 0.009_999_999_776_482_582, "decay": 0.0, "epsilon": 1e-7})),
        ("Adadelta", json!({"learning_rate": 1.0, "rho": 0.95, "decay": 0.0, "epsilon": 1e-7})),
        (
            "Adam",
            json!({"learning_rate": 0.001_000_000_047_497_451_3, "beta_1": 0.899_999_976_158_142_1, "beta_2": 0.999_000_012_874_603_3,
            "decay": 0.0, "epsilon": 1e-7, "amsgrad": false}),
        ),
        (
            "Adamax",
            json!({"learning_rate": 0.002_000_000_094_994_902_6, "beta_1": 0.899_999_976_158_142_1, "beta_2": 0.999_000_012_874_603_3,
            "decay": 0.0, "epsilon": 1e-7}),
        ),
        (
            "Nadam",
            json!({"learning_rate": 0.002_000_000_094_994_902_6, "beta_1": 0.899_999_976_158_142_1, "beta_2": 0.999_000_012_874_603_3,
            "epsilon": 1e-7, "schedule_decay": 0.004}),
        ),
    ] {
        let state = OptimizerSpec::from(name.to_lowercase()).build(&w).unwrap();
        let found = state.config().unwrap().to_value();
        // As text: the order of the keys counts.
        assert_eq!(found.to_string(), json!({"class_name": name, "config": config}).to_string());
        let again = OptimizerSpec::from(&found).resolve().unwrap();
        assert_eq!(again.config(&|_| None).to_value(), found);
    }
    let clipped = Adam::new().clipnorm(1.0).clipvalue(0.5);
    let config = OptimizerSpec::from(clipped).to_value();
    assert_eq!(
        config["config"].as_object().unwrap().keys().take(3).collect::<Vec<_>>(),
        ["clipnorm", "clipvalue", "learning_rate"]
    );
}

#[test]
fn states_have_keras_2_3_s_order_and_names() {
    let w = [
        Variable::new("a", Array::zeros(DType::F32, &[3, 2]).unwrap()),
        Variable::new("b", Array::zeros(DType::F32, &[2]).unwrap()),
    ];
    let names = |name: &str| OptimizerSpec::from(name).build(&w).unwrap().weight_names();
    assert_eq!(names("sgd"), ["SGD/iterations:0", "training/SGD/moment_0_1:0", "training/SGD/moment_1_1:0"]);
    assert_eq!(
        names("adadelta"),
        [
            "Adadelta/iterations:0",
            "training/Adadelta/accumulator_0_1:0",
            "training/Adadelta/accumulator_1_1:0",
            "training/Adadelta/delta_accumulator_0_1:0",
            "training/Adadelta/delta_accumulator_1_1:0",
        ]
    );
    assert_eq!(
        names("adam"),
        [
            "Adam/iterations:0",
            "training/Adam/m_0_1:0",
            "training/Adam/m_1_1:0",
            "training/Adam/v_0_1:0",
            "training/Adam/v_1_1:0",
            "training/Adam/vhat_0_1:0",
            "training/Adam/vhat_1_1:0",
        ]
    );
    assert_eq!(
        names("nadam"),
        [
            "Nadam/iterations:0",
            "Nadam/m_schedule:0",
            "training/Nadam/m_0_1:0",
            "training/Nadam/m_1_1:0",
            "training/Nadam/v_0_1:0",
            "training/Nadam/v_1_1:0",
        ]
    );
    let shapes = |spec: OptimizerSpec| -> Vec<Vec<usize>> {
        spec.build(&w).unwrap().weights().iter().map(|weight| weight.shape().to_vec()).collect()
    };
    assert_eq!(shapes("adam".into())[5..], [vec![1], vec![1]]);
    assert_eq!(shapes(Adam::new().amsgrad(true).into())[5..], [vec![3, 2], vec![2]]);
}

#[test]
fn hyperparameters_change_between_steps_and_are_reported() {
    let w = Variable::new("w", Array::from([1.0_f32]));
    let state = OptimizerSpec::from("sgd").build(std::slice::from_ref(&w)).unwrap();
    let runtime: Arc<dyn Runtime> = Arc::new(Engine::new(Reference).unwrap());
    let one = Tensor::constant(Array::from([1.0_f32]));
    let step = k::function([], [&one])
        .unwrap()
        .updates(state.updates(std::slice::from_ref(&w), std::slice::from_ref(&one), &[]).unwrap())
        .on(&runtime);
    step.run([]).unwrap();
    state.set("lr", 0.5).unwrap();
    step.run([]).unwrap();
    assert!((w.value().unwrap().item().unwrap() - (1.0 - 0.01 - 0.5)).abs() < 1e-6);
    assert_eq!(state.learning_rate().unwrap(), 0.5);
    assert_eq!(state.config().unwrap().config["learning_rate"], json!(0.5));
    assert!(state.set("rho", 1.0).unwrap_err().to_string().contains("momentum"));
    assert!(state.set("lr", f64::NAN).is_err());
    // A state that does not fit leaves everything as it is.
    assert!(state.set_weights(&[Array::from(7_i64), Array::from([1.0_f32, 2.0])]).is_err());
    assert_eq!(state.iterations().unwrap(), 2);
}
