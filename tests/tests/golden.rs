//! Optimizers, losses, metrics, penalties, constraints and activations on small numbers, as Keras 2.2.4 and 2.3.1 had them.

use crate::everywhere::runtimes;
use crate::fixtures::Fixture;
use keras_core::backend::reference::Reference;
use keras_core::backend::{Engine, Runtime};
use keras_core::layers::Dense;
use keras_core::models::Sequential;
use keras_core::optimizers::OptimizerSpec;
use keras_core::semantics::Semantics;
use keras_core::training::Compile;
use keras_core::{Array, DType, Tensor, activations, constraints, k, losses, metrics, regularizers};
use serde_json::Value;
use std::sync::Arc;

/// Relative to the number, or to a hundredth of the largest where it is small.
fn assert_close(got: &Array, want: &Array, name: &str) {
    assert_eq!(got.shape(), want.shape(), "{name}: shapes");
    let (got, want) = (got.to_vec::<f64>(), want.to_vec::<f64>());
    let largest = want.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    for (i, (g, w)) in got.iter().zip(&want).enumerate() {
        let scale = w.abs().max(largest * 1e-2);
        assert!((g - w).abs() <= 1e-5 * scale, "{name}, element {i}: expected {w}, received {g}");
    }
}

/// Five steps on the full batch, and the state of the optimizer after them.
fn steps(fixture: &Fixture, case: &Value, name: &str, runtime: &Arc<dyn Runtime>) {
    let mut model = Sequential::new();
    model.add(Dense::new(2).input_shape([3])).unwrap();
    model.on(runtime);
    model.compile(Compile::new(OptimizerSpec::from(&case["optimizer"]), "mean_squared_error")).unwrap();
    model.set_weights(&[0, 1].map(|i| fixture.array(&format!("initial/weight_{i}")).clone())).unwrap();
    let (x, y) = (fixture.array("data/x"), fixture.array("data/y"));
    for step in 0..5 {
        let loss = model.train_on_batch(x.clone(), y.clone()).unwrap()[0];
        let place = format!("{name} on {}, step {step}", runtime.name());
        let of_step = |key: &str| fixture.array(&format!("{name}/{key}")).rows(step, step + 1).unwrap();
        assert_close(&Array::from([loss]), &of_step("loss"), &place);
        for (i, weight) in model.get_weights().unwrap().iter().enumerate() {
            let want = of_step(&format!("weight_{i}"));
            assert_close(weight, &want.reshape(weight.shape()).unwrap(), &format!("{place}, weight {i}"));
        }
    }
    assert_eq!(model.optimizer().unwrap().iterations().unwrap(), 5, "{name}");
    // 2.2.4 does not save all of the scalars.
    let saved = (0..).map_while(|i| fixture.find(&format!("{name}/optimizer_weight_{i}")));
    let saved: Vec<&Array> = saved.filter(|saved| saved.rank() > 0).collect();
    let state = model.optimizer().unwrap().get_weights().unwrap();
    let state: Vec<&Array> = state.iter().filter(|state| state.rank() > 0).collect();
    assert_eq!(saved.len(), state.len(), "{name}");
    for (i, (got, want)) in state.iter().zip(saved).enumerate() {
        assert_close(got, want, &format!("{name}, state {i}"));
    }
}

fn value(fixture: &Fixture, case: &Value, name: &str) -> Tensor {
    let of = |key: &str| Tensor::constant(fixture.array(&format!("pairs/{key}")).clone());
    let truth = of(if name.starts_with("sparse") { "y_true_sparse" } else { "y_true" });
    match case["kind"].as_str().unwrap() {
        "loss" => losses::get(name).unwrap().call(&truth, &of("y_pred")),
        "metric" if name == "binary_accuracy" => metrics::binary_accuracy(&truth, &of("y_pred")),
        "metric" => metrics::categorical_accuracy(&truth, &of("y_pred")),
        "regularizer" => regularizers::deserialize(&case["regularizer"]).unwrap().call(&of("w")),
        "constraint" => constraints::deserialize(&case["constraint"]).unwrap().call(&of("w")),
        "activation" => activations::get(name).unwrap().call(&of("x")),
        kind => panic!("{name}: {kind}"),
    }
}

fn agrees(fixture: &str, semantics: Semantics, counts: [usize; 2]) {
    let fixture = Fixture::load(fixture);
    let (optimizers, values): (Vec<_>, Vec<_>) =
        fixture.cases().iter().partition(|case| case["kind"] == "optimizer");
    assert_eq!([optimizers.len(), values.len()], counts);
    let name = |case: &Value| case["name"].as_str().unwrap().to_owned();
    let reference: Arc<dyn Runtime> = Arc::new(Engine::new(Reference).unwrap());
    for runtime in runtimes().into_iter().chain([reference]) {
        optimizers.iter().for_each(|case| steps(&fixture, case, &name(case), &runtime));
        for case in &values {
            let run = || k::function(&[], [&value(&fixture, case, &name(case))])?.on(&runtime).run([]);
            let got = semantics.during(run).unwrap().remove(0);
            let place = format!("{} on {}", name(case), runtime.name());
            assert_close(&got.cast(DType::F32), fixture.array(&format!("{}/value", name(case))), &place);
        }
    }
}

#[test]
fn keras_2_2_s_numbers() {
    agrees("golden_train_2_2_4", Semantics::keras_2_2(), [12, 33]);
}

#[test]
fn keras_2_3_s_numbers() {
    agrees("golden_train_2_3_1", Semantics::keras_2_3(), [6, 33]);
}
