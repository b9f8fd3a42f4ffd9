//! What Keras's recordings of one call do not show: shared layers, groups, choices among versions, partial masks.

use super::case::{close, ramp, run, traced};
use keras_core::Spec;
use keras_core::array::{Array, DType};
use keras_core::backend::Engine;
use keras_core::backend::reference::Reference;
use keras_core::graph::Type;
use keras_core::layers::{
    Arguments, BatchNormalization, Concatenate, Conv2D, Dense, Embedding, Input, LayerRef, deserialize,
};
use keras_core::registry::Config;
use keras_core::semantics::Semantics;
use keras_core::tensor::{Phase, Tensor, Trace, TraceOptions};
use keras_core::{backend, k};
use std::collections::HashSet;
use std::sync::Arc;

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

/// Some positions of the last axis.
fn columns(x: &Array, range: std::ops::Range<usize>) -> Array {
    let mut shape = x.shape().to_vec();
    let last = shape.pop().unwrap();
    let values = x.as_slice::<f32>().unwrap();
    let kept: Vec<f32> = values.chunks(last).flat_map(|row| row[range.clone()].to_vec()).collect();
    shape.push(range.len());
    Array::from_vec(&shape, kept).unwrap()
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
        let traced = traced(&layer, &[&x], &[None], &Arguments::new(), options.clone());
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
        let traced =
            traced(&layer, &[&a, &b], &[Some(&mask), None], &Arguments::new(), TraceOptions::default());
        let mask = traced.outputs[0].1.clone().unwrap();
        let found = traced.run(&Engine::new(Reference).unwrap(), &[&mask], Vec::new()).remove(0);
        assert_eq!(found.as_slice::<bool>().unwrap(), expected);
    }
}

fn of(shape: impl Into<Vec<Option<usize>>>) -> Tensor {
    let shape: Vec<Option<usize>> = shape.into();
    Input::new(shape).tensor().unwrap()
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
    let engine: Arc<dyn backend::Runtime> = Arc::new(Engine::new(Reference).unwrap());
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
    let conv = LayerRef::new(Conv2D::new(3, 3)).unwrap();
    conv.call(of([Some(8), Some(8), Some(2)])).unwrap();
    conv.call(of([None, Some(5), Some(2)])).unwrap();
}
