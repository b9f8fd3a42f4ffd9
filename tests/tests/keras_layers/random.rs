//! Layers that draw random numbers, against their definitions.

use super::case::{ramp, run, spec_of, traced};
use keras_core::Tensor;
use keras_core::array::{Array, DType};
use keras_core::backend::reference::Reference;
use keras_core::backend::{Engine, Variable};
use keras_core::layers::{
    AdditiveAttention, AlphaDropout, Arguments, Attention, ConvLSTM2D, Dropout, GRU, GaussianDropout,
    GaussianNoise, Input, IntoLayer, LSTM, LayerRef, MultiHeadAttention, SimpleRNN, SpatialDropout1D,
    SpatialDropout2D, SpatialDropout3D,
};
use keras_core::models::Model;
use keras_core::tensor::{Phase, TraceOptions};
use std::collections::HashSet;

fn layer(definition: impl IntoLayer) -> LayerRef {
    definition.into_layer().unwrap()
}

fn train(definition: impl IntoLayer, x: &Array) -> Vec<f64> {
    let layer = layer(definition);
    assert!(run(&layer, &[x], Phase::Test)[0].same_bits(x), "{} changes something at rest", layer.name());
    run(&layer, &[x], Phase::Train)[0].to_vec()
}

fn moments(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64)
}

/// Within five standard deviations of what an estimate from `n` draws scatters by.
fn near(what: &str, found: f64, expected: f64, deviation: f64, n: usize) {
    let bound = 5.0 * deviation / (n as f64).sqrt();
    assert!((found - expected).abs() < bound, "{what}: {found} instead of {expected} ± {bound}");
}

const N: usize = 40_000;

fn threes() -> Array {
    Array::full(&[N / 100, 100], 3.0_f32).unwrap()
}

#[test]
fn dropout_keeps_a_fraction_and_the_mean() {
    for rate in [0.1, 0.4, 0.9] {
        let y = train(Dropout::new(rate), &threes());
        let kept = y.iter().filter(|&&y| y != 0.0).count() as f64 / N as f64;
        near("kept", kept, 1.0 - rate, (rate * (1.0 - rate)).sqrt(), N);
        let scaled = 3.0 / (1.0 - rate);
        assert!(y.iter().all(|&y| y == 0.0 || (y - scaled).abs() < 1e-5));
    }
}

#[test]
fn gaussian_noise_adds_normal_numbers() {
    let (mean, variance) = moments(&train(GaussianNoise::new(0.5), &threes()));
    near("mean", mean, 3.0, 0.5, N);
    near("variance", variance, 0.25, 0.25 * 2.0_f64.sqrt(), N);
}

#[test]
fn gaussian_dropout_multiplies_by_normal_numbers() {
    for rate in [0.2, 0.5] {
        let y: Vec<f64> = train(GaussianDropout::new(rate), &threes()).iter().map(|y| y / 3.0).collect();
        let (mean, variance) = moments(&y);
        let expected = rate / (1.0 - rate);
        near("mean", mean, 1.0, expected.sqrt(), N);
        near("variance", variance, expected, expected * 2.0_f64.sqrt(), N);
    }
}

/// Of standard normal inputs, mean and variance stay; dropped elements all have one value.
#[test]
fn alpha_dropout_keeps_mean_and_variance() {
    let zeros = Array::full(&[N / 100, 100], 0.0_f32).unwrap();
    let normal =
        Array::from_vec(zeros.shape(), train(GaussianNoise::new(1.0), &zeros)).unwrap().cast(DType::F32);
    for rate in [0.1, 0.3] {
        let y = train(AlphaDropout::new(rate), &normal);
        let (mean, variance) = moments(&y);
        near("mean", mean, 0.0, 1.0, N);
        // The fourth moment of the mixture is below 12 for these rates.
        near("variance", variance, 1.0, 12.0_f64.sqrt(), N);
        let least = -1.673_263_242_354_377_2 * 1.050_700_987_355_480_5;
        let a = ((1.0 - rate) * (1.0 + rate * least * least)).powf(-0.5);
        let dropped = a * least - a * least * rate;
        let count = y.iter().filter(|&&y| (y - dropped).abs() < 1e-5).count() as f64 / N as f64;
        near("dropped", count, rate, (rate * (1.0 - rate)).sqrt() + 0.02, N);
    }
}

/// One draw per sample and channel, wherever the channels are.
#[test]
fn spatial_dropout_drops_whole_channels() {
    let (samples, steps, channels) = (200, 6, 50);
    let rate = 0.3;
    let check = |y: &[f64], of: &dyn Fn(usize, usize, usize) -> usize| {
        let mut dropped = 0;
        for sample in 0..samples {
            for channel in 0..channels {
                let cells: Vec<f64> = (0..steps).map(|step| y[of(sample, step, channel)]).collect();
                assert!(cells.iter().all(|cell| *cell == cells[0]));
                assert!(cells[0] == 0.0 || (cells[0] - 1.0 / (1.0 - rate)).abs() < 1e-6);
                dropped += usize::from(cells[0] == 0.0);
            }
        }
        let n = samples * channels;
        near("dropped", dropped as f64 / n as f64, rate, (rate * (1.0 - rate)).sqrt(), n);
    };
    let last = |sample: usize, step: usize, channel: usize| (sample * steps + step) * channels + channel;
    let first = |sample: usize, step: usize, channel: usize| (sample * channels + channel) * steps + step;
    let ones = |shape: &[usize]| Array::full(shape, 1.0_f32).unwrap();
    check(&train(SpatialDropout1D::new(rate), &ones(&[samples, steps, channels])), &last);
    check(&train(SpatialDropout2D::new(rate), &ones(&[samples, 2, 3, channels])), &last);
    check(&train(SpatialDropout3D::new(rate), &ones(&[samples, 3, 1, 2, channels])), &last);
    let cf = "channels_first";
    check(&train(SpatialDropout1D::new(rate).data_format(cf), &ones(&[samples, channels, steps])), &first);
    check(&train(SpatialDropout2D::new(rate).data_format(cf), &ones(&[samples, channels, 2, 3])), &first);
    check(&train(SpatialDropout3D::new(rate).data_format(cf), &ones(&[samples, channels, 3, 1, 2])), &first);
}

#[test]
fn dropout_draws_by_name_or_by_seed_and_shares_draws_as_told() {
    let x = Array::full(&[8, 6, 5], 1.0_f32).unwrap();
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

/// On an identity as value, an attention hands out its weights, in training those that are kept, scaled: each is drawn by
/// itself, for each head. Asked for the weights, `Attention` gives those it used, `MultiHeadAttention` all of them.
#[test]
fn attentions_drop_a_fraction_of_their_weights_and_scale_the_others() {
    let (samples, steps, others, heads, rate) = (50, 7, 12, 2, 0.3);
    let shape = |rows: usize, columns: usize| [samples, rows, columns];
    let identity = |len: usize| (0..len * len).map(move |i| if i % (len + 1) == 0 { 1.0_f32 } else { 0.0 });
    let values = (0..samples).flat_map(|_| identity(others)).collect();
    let value = Array::from_vec(&shape(others, others), values).unwrap();
    let (query, key) = (ramp(&shape(steps, 5)), ramp(&shape(others, 5)));
    let scores = Arguments::from_iter([("return_attention_scores".to_owned(), true.into())]);
    let multi = MultiHeadAttention::new(heads, 4).value_dim(others).output_shape([heads * others]);
    for (layer, heads, all) in [
        (layer(Attention::new().dropout(rate)), 1, false),
        (layer(AdditiveAttention::new().dropout(rate).use_scale(false)), 1, false),
        (layer(multi.dropout(rate).use_bias(false)), heads, true),
    ] {
        let inputs = [&query, &value, &key];
        layer.build(&inputs.map(spec_of)).unwrap();
        if let [q, k, v, out] = layer.get_weights().unwrap().as_slice() {
            let wide = heads * others;
            let each = (0..others).flat_map(|i| (0..wide).map(move |j| f32::from(u8::from(j % others == i))));
            let v = Array::from_vec(v.shape(), each.collect()).unwrap();
            let out = Array::from_vec(out.shape(), identity(wide).collect()).unwrap();
            layer.set_weights(&[q.clone(), k.clone(), v, out]).unwrap();
        }
        let run = |phase| {
            let options = TraceOptions { phase, ..TraceOptions::default() };
            let traced = traced(&layer, &inputs, &[None; 3], &scores, options);
            let outputs: Vec<&Tensor> = traced.outputs.iter().map(|(y, _)| y).collect();
            let found = traced.run(&Engine::new(Reference).unwrap(), &outputs, Vec::new());
            [found[0].to_vec::<f64>(), found[1].to_vec::<f64>()]
        };
        let ([rest, weights], [kept, told]) = (run(Phase::Test), run(Phase::Train));
        let close = |a: f64, b: f64| (a - b).abs() < 1e-6;
        let scaled = |kept: f64, rest: f64| kept == 0.0 || close(kept, rest / (1.0 - rate));
        let name = layer.name();
        assert!(kept.iter().zip(&rest).all(|(&kept, &rest)| scaled(kept, rest)), "{name}");
        let count = kept.iter().filter(|&&kept| kept != 0.0).count() as f64 / kept.len() as f64;
        near(name, count, 1.0 - rate, (rate * (1.0 - rate)).sqrt(), kept.len());
        // No two rows, samples or heads have the same draws.
        let rows: HashSet<Vec<bool>> =
            kept.chunks(others).map(|row| row.iter().map(|&kept| kept != 0.0).collect()).collect();
        assert!(rows.len() > samples * heads, "{name}: {} of {} rows", rows.len(), samples * steps * heads);
        if all {
            assert!(told.iter().zip(&weights).all(|(&told, &weight)| close(told, weight)), "{name}");
        } else {
            assert!(told.iter().zip(&kept).all(|(&told, &kept)| close(told, kept)), "{name}");
        }
    }
}

/// What a layer gives in training under a seed and at a step.
fn at(layer: &LayerRef, shapes: &[&[usize]], seed: i64, step: i64) -> Array {
    let variable = |name: &str, value: i64| Variable::new(name, Array::full(&[], value).unwrap());
    let random = Some((variable("seed", seed), variable("step", step)));
    let inputs: Vec<Array> = shapes.iter().map(|shape| ramp(shape)).collect();
    let options = TraceOptions { phase: Phase::Train, random, ..TraceOptions::default() };
    let traced = traced(
        layer,
        &inputs.iter().collect::<Vec<_>>(),
        &vec![None; inputs.len()],
        &Arguments::new(),
        options,
    );
    traced.run(&Engine::new(Reference).unwrap(), &[&traced.outputs[0].0], Vec::new()).remove(0)
}

#[test]
fn draws_differ_between_steps_and_repeat_with_the_seed() {
    let x: &[usize] = &[4, 6, 5];
    let layers: Vec<(LayerRef, Vec<&[usize]>)> = vec![
        (layer(Dropout::new(0.5)), vec![x]),
        (layer(Dropout::new(0.5).seed(7)), vec![x]),
        (layer(SpatialDropout1D::new(0.5)), vec![x]),
        (layer(SpatialDropout2D::new(0.5)), vec![&[4, 2, 3, 6]]),
        (layer(SpatialDropout3D::new(0.5)), vec![&[4, 2, 1, 3, 6]]),
        (layer(AlphaDropout::new(0.5)), vec![x]),
        (layer(AlphaDropout::new(0.5).noise_shape([None, Some(1), Some(5)])), vec![x]),
        (layer(GaussianNoise::new(0.5)), vec![x]),
        (layer(GaussianDropout::new(0.5)), vec![x]),
        (layer(Attention::new().dropout(0.5)), vec![x, x]),
        (layer(AdditiveAttention::new().dropout(0.5)), vec![x, x]),
        (layer(MultiHeadAttention::new(2, 3).dropout(0.5)), vec![x, x]),
        (layer(SimpleRNN::new(6).dropout(0.5)), vec![x]),
        (layer(SimpleRNN::new(6).recurrent_dropout(0.5)), vec![x]),
        (layer(LSTM::new(6).dropout(0.5)), vec![x]),
        (layer(LSTM::new(6).recurrent_dropout(0.5)), vec![x]),
        (layer(GRU::new(6).dropout(0.5)), vec![x]),
        (layer(GRU::new(6).recurrent_dropout(0.5)), vec![x]),
        (layer(ConvLSTM2D::new(3, 2).dropout(0.5)), vec![&[4, 3, 3, 3, 2]]),
        (layer(ConvLSTM2D::new(3, 2).recurrent_dropout(0.5)), vec![&[4, 3, 3, 3, 2]]),
    ];
    for (layer, shapes) in layers {
        let name = layer.name().to_owned();
        layer.build(&shapes.iter().map(|shape| spec_of(&ramp(shape))).collect::<Vec<_>>()).unwrap();
        let first = at(&layer, &shapes, 1, 5);
        assert!(first.same_bits(&at(&layer, &shapes, 1, 5)), "{name}: not the same again");
        assert!(!first.same_bits(&at(&layer, &shapes, 1, 6)), "{name}: the same at the next step");
        assert!(!first.same_bits(&at(&layer, &shapes, 2, 5)), "{name}: the same for another seed");
    }
}

/// Dropout that also acts at rest, for estimates of uncertainty: each prediction draws anew.
#[test]
fn predictions_with_dropout_differ_and_repeat_with_the_seed() {
    let always = serde_json::Map::from_iter([("training".to_owned(), true.into())]);
    let x = Input::new([20]).tensor().unwrap();
    let y = layer(Dropout::new(0.5)).call_with(&x, always).unwrap();
    let model = Model::new(&x, &y[0]).unwrap();
    model.on(&Engine::new(Reference).unwrap());
    let ones = Array::full(&[3, 20], 1.0_f32).unwrap();
    let thrice = || -> Vec<Array> { (0..3).map(|_| model.predict(ones.clone()).unwrap()).collect() };
    model.set_seed(7).unwrap();
    let first = thrice();
    assert!(!first[0].same_bits(&first[1]) && !first[1].same_bits(&first[2]));
    model.set_seed(7).unwrap();
    assert!(thrice().iter().zip(&first).all(|(now, then)| now.same_bits(then)));
}
