//! Speed of training and of one prediction, as one JSON line; the counterpart of `scripts/bench_keras.py`, which
//! `cargo xtask bench` runs in turn with it.
//!
//! `cargo run --release --example bench_train -- mlp|cnn|latency`

use keras::prelude::*;
use keras::random::{self, Stream};
use std::time::Instant;

const BATCH: usize = 128;

fn main() -> Result<()> {
    random::set_seed(0);
    match std::env::args().nth(1).as_deref() {
        Some("mlp") => report("mlp", "samples_per_second", train(&mlp()?, &[784], 60_000, 6_400)?),
        Some("cnn") => report("cnn", "samples_per_second", train(&cnn()?, &[28, 28, 1], 6_400, 640)?),
        Some("latency") => report("latency", "milliseconds", latency(&mlp()?)?),
        other => return Err(Error::value("bench_train", "mlp, cnn or latency", format!("{other:?}"))),
    }
    Ok(())
}

fn report(name: &str, unit: &str, value: f64) {
    println!("{{\"name\":\"{name}\",\"{unit}\":{value:.5}}}");
}

fn mlp() -> Result<Sequential> {
    let mut model = Sequential::new();
    model.add(Dense::new(512).activation("relu").input_shape([784]))?;
    model.add(Dropout::new(0.2))?;
    model.add(Dense::new(512).activation("relu"))?;
    model.add(Dropout::new(0.2))?;
    model.add(Dense::new(10).activation("softmax"))?;
    model.compile(Compile::new(RMSprop::new(), "categorical_crossentropy").metrics(["accuracy"]))?;
    Ok(model)
}

fn cnn() -> Result<Sequential> {
    let mut model = Sequential::new();
    model.add(Conv2D::new(32, [3, 3]).activation("relu").input_shape([28, 28, 1]))?;
    model.add(Conv2D::new(64, [3, 3]).activation("relu"))?;
    model.add(MaxPooling2D::new([2, 2]))?;
    model.add(Dropout::new(0.25))?;
    model.add(Flatten::new())?;
    model.add(Dense::new(128).activation("relu"))?;
    model.add(Dropout::new(0.5))?;
    model.add(Dense::new(10).activation("softmax"))?;
    model.compile(Compile::new(Adadelta::new(), "categorical_crossentropy").metrics(["accuracy"]))?;
    Ok(model)
}

/// Samples per second of one epoch of `fit`, after a first one to warm up.
fn train(model: &Sequential, shape: &[usize], samples: usize, warm_up: usize) -> Result<f64> {
    let full: Vec<usize> = std::iter::once(samples).chain(shape.iter().copied()).collect();
    let mut pixels = vec![0.0_f32; full.iter().product()];
    Stream::new(1, 0, 0).fill_uniform_f32(0, &mut pixels);
    let x = Array::from_vec(&full, pixels)?;
    let mut labels = vec![0.0_f32; samples * 10];
    for (i, row) in labels.chunks_mut(10).enumerate() {
        row[i * 7 % 10] = 1.0;
    }
    let y = Array::from_vec(&[samples, 10], labels)?;
    let options = || Fit::new().batch_size(BATCH).verbose(0);
    model.fit(&x.rows(0, warm_up)?, &y.rows(0, warm_up)?, options())?;
    let start = Instant::now();
    model.fit(&x, &y, options())?;
    Ok(samples as f64 / start.elapsed().as_secs_f64())
}

/// Median milliseconds of `predict_on_batch` on one sample.
fn latency(model: &Sequential) -> Result<f64> {
    let x = Array::full(&[1, 784], 0.5_f32);
    let mut times = Vec::new();
    for i in 0..2500 {
        let start = Instant::now();
        model.predict_on_batch(&x)?;
        if i >= 500 {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
