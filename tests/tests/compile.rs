//! What `compile` refuses, and what waits for the first data.

use keras_core::backend::Engine;
use keras_core::backend::reference::Reference;
use keras_core::layers::Dense;
use keras_core::losses::{BinaryCrossentropy, Huber, LossSpec};
use keras_core::metrics::{
    AUC, BinaryAccuracy, MeanIoU, MetricSpec, Precision, SensitivityAtSpecificity, SpecificityAtSensitivity,
};
use keras_core::models::Sequential;
use keras_core::optimizers::{Adadelta, Adagrad, Adam, Adamax, Nadam, OptimizerSpec, RMSprop, SGD};
use keras_core::training::{ClassWeight, Compile, Fit, SampleWeight};
use keras_core::{Array, Result};
use serde_json::json;

fn line(input: Option<usize>) -> Sequential {
    let mut model = Sequential::new();
    let dense = Dense::new(1).name("line");
    model.add(if let Some(length) = input { dense.input_shape([length]) } else { dense }).unwrap();
    model.on(&Engine::new(Reference).unwrap());
    model
}

fn said(result: Result<()>, what: &str) -> String {
    result.expect_err(what).to_string()
}

#[test]
fn numbers_that_are_none_are_errors() {
    let optimizer = |optimizer: OptimizerSpec| Compile::new(optimizer, "mse");
    let loss = |loss: LossSpec| Compile::new("sgd", loss);
    let metric = |metric: MetricSpec| Compile::new("sgd", "mse").metrics([metric]);
    for number in [f64::NAN, f64::INFINITY] {
        for (name, options) in [
            ("learning_rate", optimizer(SGD::new().learning_rate(number).into())),
            ("momentum", optimizer(SGD::new().momentum(number).into())),
            ("clipnorm", optimizer(SGD::new().clipnorm(number).into())),
            ("clipvalue", optimizer(SGD::new().clipvalue(number).into())),
            ("rho", optimizer(RMSprop::new().rho(number).into())),
            ("epsilon", optimizer(RMSprop::new().epsilon(number).into())),
            ("epsilon", optimizer(Adagrad::new().epsilon(number).into())),
            ("rho", optimizer(Adadelta::new().rho(number).into())),
            ("epsilon", optimizer(Adadelta::new().epsilon(number).into())),
            ("beta_1", optimizer(Adam::new().beta_1(number).into())),
            ("beta_2", optimizer(Adam::new().beta_2(number).into())),
            ("decay", optimizer(Adam::new().decay(number).into())),
            ("epsilon", optimizer(Adam::new().epsilon(number).into())),
            ("epsilon", optimizer(Adamax::new().epsilon(number).into())),
            ("epsilon", optimizer(Nadam::new().epsilon(number).into())),
            ("schedule_decay", optimizer(Nadam::new().schedule_decay(number).into())),
            ("delta", loss(Huber::new().delta(number).into())),
            ("label_smoothing", loss(BinaryCrossentropy::new().label_smoothing(number).into())),
            ("threshold", metric(BinaryAccuracy::new().threshold(number).into())),
            ("specificity", metric(SensitivityAtSpecificity::new(number).into())),
            ("sensitivity", metric(SpecificityAtSensitivity::new(number).into())),
            ("loss_weights", Compile::new("sgd", "mse").loss_weights([number])),
        ] {
            let message = said(line(Some(2)).compile(options), name);
            let told = if number.is_nan() { "NaN" } else { "inf" };
            assert!(message.contains(name) && message.contains("finite"), "{name} {told}: {message}");
        }
    }
}

#[test]
fn metrics_that_memory_cannot_hold_are_errors() {
    for (metric, expected) in [
        (MetricSpec::from(MeanIoU::new(9_000_000_000_000_000)), "fits into memory"),
        (AUC::new().num_thresholds(1 << 60).into(), "fits into memory"),
        (SensitivityAtSpecificity::new(0.5).num_thresholds(1 << 60).into(), "fits into memory"),
        ((&json!({"class_name": "AUC", "config": {"num_thresholds": 4_000_000_000_u64}})).into(), "16777216"),
    ] {
        let message = said(line(Some(2)).compile(Compile::new("sgd", "mse").metrics([metric])), expected);
        assert!(message.contains(expected), "{message}");
    }
    // Half a gigabyte that nobody touches yet.
    let large = MetricSpec::from(MeanIoU::new(10_000));
    line(Some(2)).compile(Compile::new("sgd", "mse").metrics([large])).unwrap();
}

#[test]
fn a_metric_of_several_numbers_is_an_error_that_names_it() {
    let several = Precision::new().thresholds([0.2, 0.8]);
    let message = said(line(Some(2)).compile(Compile::new("sgd", "mse").metrics([several])), "several");
    assert!(message.contains("precision") && message.contains("(2,)"), "{message}");
    assert!(message.contains("each threshold"), "{message}");
    let one = Precision::new().thresholds([0.2]);
    line(Some(2)).compile(Compile::new("sgd", "mse").metrics([one])).unwrap();
}

#[test]
fn weights_of_an_output_that_is_not_there_are_errors() {
    let model = line(Some(2));
    model.compile(Compile::new("sgd", "mse")).unwrap();
    let (x, y) = (Array::full(&[4, 2], 1.0_f32).unwrap(), Array::full(&[4, 1], 1.0_f32).unwrap());
    let fit = |options: Fit<'_>| model.fit(&x, &y, options.verbose(0)).map(|_| ());
    let ones = || Array::full(&[4], 1.0_f32).unwrap();
    for options in [
        Fit::new().sample_weight(SampleWeight::from([("lime", ones())])),
        Fit::new().class_weight(ClassWeight::named([("lime".to_owned(), vec![(1, 2.0)])])),
    ] {
        let message = said(fit(options), "lime");
        assert!(message.contains("lime") && message.contains("line"), "{message}");
    }
    fit(Fit::new().sample_weight(SampleWeight::from([("line", ones())]))).unwrap();
}

#[test]
fn evaluation_builds_a_model_that_waits_for_data() {
    let model = line(None);
    model.compile(Compile::new("sgd", "mse").metrics(["mae"])).unwrap();
    let (x, y) = (Array::full(&[4, 2], 0.0_f32).unwrap(), Array::full(&[4, 1], 2.0_f32).unwrap());
    assert_eq!(model.evaluate(&x, &y).unwrap(), [4.0, 2.0]);
}
