//! Speed of training and of one prediction, as one JSON line; the counterpart of `scripts/bench_keras.py`, which
//! `cargo xtask bench` runs in turn with it.
//!
//! `cargo run --release --example bench_train -- mlp|cnn|lstm|vgg16|resnet18|resnet50|latency|startup|compile|cell|longer_cell|load`

use keras::initializers;
use keras::layers::{Build, Call, Cell, Layer, Lstm, RNN};
use keras::prelude::*;
use keras::random::{self, Stream};
use keras::registry::Config;
use keras::saving::load_model;
use std::process::Command;
use std::time::Instant;

fn main() -> Result<()> {
    random::set_seed(0);
    match std::env::args().nth(1).as_deref() {
        Some("mlp") => {
            report("mlp", "samples_per_second", train(&mlp()?, &pictures(&[784], 60_000)?, 6_400, 128)?);
        }
        Some("cnn") => {
            report("cnn", "samples_per_second", train(&cnn()?, &pictures(&[28, 28, 1], 6_400)?, 640, 128)?);
        }
        Some("lstm") => report("lstm", "samples_per_second", train(&lstm()?, &words(6_400)?, 640, 32)?),
        Some("vgg16") => report("vgg16", "samples_per_second", predict(&vgg16()?)?),
        Some("resnet18") => report("resnet18", "samples_per_second", predict(&resnet18()?)?),
        Some("resnet50") => report("resnet50", "samples_per_second", predict(&resnet50()?)?),
        Some("latency") => report("latency", "milliseconds", latency(&mlp()?)?),
        Some("startup") => report("startup", "milliseconds", startup()?),
        Some("compile") => report("compile", "milliseconds", compile()?),
        Some("cell") => report("cell", "milliseconds", cell()?.0),
        Some("longer_cell") => report("longer_cell", "milliseconds", cell()?.1),
        Some("load") => report("load", "milliseconds", load()?),
        Some("first") => drop(mlp()?.predict_on_batch(Array::full(&[1, 784], 0.5_f32)?)?),
        other => {
            let expected = "mlp, cnn, lstm, vgg16, resnet18, resnet50, latency, startup, compile, cell, longer_cell or load";
            return Err(Error::value("bench_train", expected, format!("{other:?}")));
        }
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

fn lstm() -> Result<Sequential> {
    let mut model = Sequential::new();
    model.add(Embedding::new(20_000, 128).input_length(80))?;
    model.add(Lstm::new(128))?;
    model.add(Dense::new(1).activation("sigmoid"))?;
    model.compile(Compile::new(Adam::new(), "binary_crossentropy").metrics(["accuracy"]))?;
    Ok(model)
}

/// `keras.applications.VGG16` with random weights.
fn vgg16() -> Result<Model> {
    let input = Input::new([224, 224, 3]).tensor()?;
    let mut x = input.clone();
    for (filters, layers) in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)] {
        for _ in 0..layers {
            x = Conv2D::new(filters, [3, 3]).padding("same").activation("relu").call(&x)?;
        }
        x = MaxPooling2D::new([2, 2]).call(&x)?;
    }
    x = Flatten::new().call(&x)?;
    for _ in 0..2 {
        x = Dense::new(4096).activation("relu").call(&x)?;
    }
    Model::new(&input, &Dense::new(1000).activation("softmax").call(&x)?)
}

/// `keras.applications.ResNet50` with random weights.
fn resnet50() -> Result<Model> {
    let normalized =
        |conv: Conv2D, x: &Tensor| BatchNormalization::new().epsilon(1.001e-5).call(&conv.call(x)?);
    let relu = |x: Tensor| Activation::new("relu").call(&x);
    let input = Input::new([224, 224, 3]).tensor()?;
    let mut x = ZeroPadding2D::new(3).call(&input)?;
    x = relu(normalized(Conv2D::new(64, [7, 7]).strides([2, 2]), &x)?)?;
    x = ZeroPadding2D::new(1).call(&x)?;
    x = MaxPooling2D::new([3, 3]).strides([2, 2]).call(&x)?;
    for (filters, blocks, stride) in [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)] {
        for block in 0..blocks {
            let strides = if block == 0 { [stride; 2] } else { [1; 2] };
            let shortcut = if block == 0 {
                normalized(Conv2D::new(4 * filters, [1, 1]).strides(strides), &x)?
            } else {
                x.clone()
            };
            x = relu(normalized(Conv2D::new(filters, [1, 1]).strides(strides), &x)?)?;
            x = relu(normalized(Conv2D::new(filters, [3, 3]).padding("same"), &x)?)?;
            x = normalized(Conv2D::new(4 * filters, [1, 1]), &x)?;
            x = relu(Add::new().call([&shortcut, &x])?)?;
        }
    }
    x = GlobalAveragePooling2D::new().call(&x)?;
    Model::new(&input, &Dense::new(1000).activation("softmax").call(&x)?)
}

/// A convolution without bias and a batch normalization.
fn normalized(x: &Tensor, filters: usize, window: usize, stride: usize) -> Result<Tensor> {
    let pad = window / 2;
    let x = ZeroPadding2D::new((pad, pad)).call(x)?;
    let conv = Conv2D::new(filters, [window, window]).strides([stride, stride]).use_bias(false);
    BatchNormalization::new().call(&conv.call(&x)?)
}

/// A ResNet-18 on 224 × 224 × 3.
fn resnet18() -> Result<Model> {
    let relu = |x: &Tensor| Activation::new("relu").call(x);
    let input = Input::new([224, 224, 3]).tensor()?;
    let x = relu(&normalized(&input, 64, 7, 2)?)?;
    let x = ZeroPadding2D::new((1, 1)).call(&x)?;
    let mut x = MaxPooling2D::new([3, 3]).strides([2, 2]).call(&x)?;
    for (stage, filters) in [64, 128, 256, 512].into_iter().enumerate() {
        for block in 0..2 {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let beside = if stride == 2 { normalized(&x, filters, 1, 2)? } else { x.clone() };
            let y = relu(&normalized(&x, filters, 3, stride)?)?;
            let y = normalized(&y, filters, 3, 1)?;
            x = relu(&Add::new().call([y, beside])?)?;
        }
    }
    let x = GlobalAveragePooling2D::new().call(&x)?;
    let y = Dense::new(1000).activation("softmax").call(&x)?;
    Model::new(&input, &y)
}

fn pictures(shape: &[usize], samples: usize) -> Result<(Array, Array)> {
    let full: Vec<usize> = std::iter::once(samples).chain(shape.iter().copied()).collect();
    let mut pixels = vec![0.0_f32; full.iter().product()];
    Stream::new(1, 0, 0).fill_uniform_f32(0, &mut pixels);
    let mut labels = vec![0.0_f32; samples * 10];
    for (i, row) in labels.chunks_mut(10).enumerate() {
        row[i * 7 % 10] = 1.0;
    }
    Ok((Array::from_vec(&full, pixels)?, Array::from_vec(&[samples, 10], labels)?))
}

fn words(samples: usize) -> Result<(Array, Array)> {
    let mut numbers = vec![0.0_f32; samples * 81];
    Stream::new(1, 0, 0).fill_uniform_f32(0, &mut numbers);
    let (labels, words) = numbers.split_at(samples);
    let words = words.iter().map(|x| (x * 20_000.0) as i32).collect::<Vec<i32>>();
    let labels = labels.iter().map(|x| x.round()).collect::<Vec<f32>>();
    Ok((Array::from_vec(&[samples, 80], words)?, Array::from_vec(&[samples, 1], labels)?))
}

/// Samples per second of one epoch of `fit`, after a first one to warm up.
fn train(model: &Sequential, (x, y): &(Array, Array), warm_up: usize, batch: usize) -> Result<f64> {
    let samples = x.shape().first().copied().unwrap_or_default();
    let options = || Fit::new().batch_size(batch).verbose(0);
    model.fit(&x.rows(0, warm_up)?, &y.rows(0, warm_up)?, options())?;
    let start = Instant::now();
    model.fit(x, y, options())?;
    Ok(samples as f64 / start.elapsed().as_secs_f64())
}

/// Samples per second of `predict_on_batch` on 8 pictures, by the median of 10 calls after 2 to warm up.
fn predict(model: &Model) -> Result<f64> {
    let (x, _) = pictures(&[224, 224, 3], 8)?;
    let mut times = Vec::new();
    for i in 0..12 {
        let start = Instant::now();
        model.predict_on_batch(&x)?;
        if i >= 2 {
            times.push(start.elapsed().as_secs_f64());
        }
    }
    Ok(8.0 / median(times))
}

/// Median milliseconds of `predict_on_batch` on one sample.
fn latency(model: &Sequential) -> Result<f64> {
    let x = Array::full(&[1, 784], 0.5_f32)?;
    let mut times = Vec::new();
    for i in 0..2500 {
        let start = Instant::now();
        model.predict_on_batch(&x)?;
        if i >= 500 {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(median(times))
}

/// Median milliseconds of `load_model` of the ResNet50 that `scripts/bench_keras.py load` writes.
fn load() -> Result<f64> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/resnet50.h5");
    let mut times = Vec::new();
    let before = memory("VmRSS:");
    for i in 0..9 {
        let start = Instant::now();
        let model = load_model(&path)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        if i == 0 {
            let weights: usize =
                model.get_weights()?.iter().map(|weight| weight.len() * weight.dtype().size()).sum();
            if let (Some(before), Some(peak)) = (before, memory("VmHWM:")) {
                let ratio = (peak - before) as f64 * 1024.0 / weights as f64;
                eprintln!("load: {} MB of weights, peak {ratio:.3} times that", weights >> 20);
                if ratio >= 1.3 {
                    return Err(Error::state(
                        "bench load",
                        "a peak below 1.3 times the weights",
                        format!("{ratio:.3}"),
                    ));
                }
            }
        }
    }
    Ok(median(times))
}

/// A figure of this process, in kB; `None` where the system has no `/proc`.
fn memory(key: &str) -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix(key))?.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Median milliseconds of a process that makes the MLP, predicts one sample and ends.
fn startup() -> Result<f64> {
    let failed =
        |error: std::io::Error| Error::file("bench_train", "a process of its own", error.to_string());
    let program = std::env::current_exe().map_err(failed)?;
    let mut times = Vec::new();
    for _ in 0..21 {
        let start = Instant::now();
        let status = Command::new(&program).arg("first").status().map_err(failed)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        if !status.success() {
            return Err(Error::state("bench_train first", "exit 0", status.to_string()));
        }
    }
    Ok(median(times))
}

/// Median milliseconds, over new models, by which the first `train_on_batch` of the hello world's MLP takes longer than the second:
/// trace, differentiate, optimize, plan.
fn compile() -> Result<f64> {
    let (x, y) = (Array::full(&[32, 100], 0.5_f32)?, Array::full(&[32, 10], 0.1_f32)?);
    let mut times = Vec::new();
    for _ in 0..100 {
        let mut model = Sequential::new();
        model.add(Dense::new(64).activation("relu").input_shape([100]))?;
        model.add(Dense::new(10).activation("softmax"))?;
        model.compile(Compile::new("sgd", "categorical_crossentropy").metrics(["accuracy"]))?;
        let step = || {
            let start = Instant::now();
            model.train_on_batch(&x, &y).map(|_| start.elapsed().as_secs_f64() * 1e3)
        };
        times.push(step()? - step()?);
    }
    Ok(median(times))
}

/// A cell of one's own, which no kernel knows: tanh(x·W + h·U)·g.
struct UserCell;

impl Layer for UserCell {
    fn config(&self) -> Config {
        Config::new("UserCell")
    }

    fn cell(&self, _: &Spec) -> Result<Option<Cell>> {
        Ok(Some(Cell::new([64])))
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        let features = inputs[0].shape[1].unwrap_or_default();
        let (uniform, ones) = (initializers::get("glorot_uniform")?, initializers::get("ones")?);
        cx.weight("kernel", [features, 64], &uniform).add()?;
        cx.weight("recurrent_kernel", [64, 64], &uniform).add()?;
        cx.weight("gain", [64], &ones).add().map(drop)
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let sum =
            k::dot(&inputs[0], &cx.weight("kernel")?) + k::dot(&inputs[1], &cx.weight("recurrent_kernel")?);
        let h = k::tanh(&sum) * cx.weight("gain")?;
        Ok(vec![h.clone(), h])
    }
}

/// Median milliseconds, over new models, by which the first `train_on_batch` of a recurrent layer with a user's cell takes longer
/// than the shortest of three later ones: of 100 steps, and then of 400. Prints how many times as long a step on 400 takes.
fn cell() -> Result<(f64, f64)> {
    let (mut extra, mut steps) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..9 {
        let mut model = Sequential::new();
        model.add(RNN::new(UserCell).input_shape([None, Some(16)]))?;
        model.add(Dense::new(1))?;
        model.compile(Compile::new("adam", "mse"))?;
        for (i, time) in [100, 400].into_iter().enumerate() {
            let (x, y) = (Array::full(&[32, time, 16], 0.5_f32)?, Array::full(&[32, 1], 0.1_f32)?);
            let step = || {
                let start = Instant::now();
                model.train_on_batch(&x, &y).map(|_| start.elapsed().as_secs_f64() * 1e3)
            };
            let first = step()?;
            let later = step()?.min(step()?).min(step()?);
            // A step that happens to be quick takes no less than nothing.
            extra[i].push((first - later).max(1e-3));
            steps[i].push(later);
        }
    }
    let [short, long] = steps.map(median);
    eprintln!("cell: {short:.2} ms for 100 steps, {long:.2} ms for 400, {:.2} times that", long / short);
    if long / short > 6.0 {
        return Err(Error::value(
            "a user's cell",
            "steps that take time in proportion to their number",
            format!("{short:.2} ms for 100 of them and {long:.2} ms for 400"),
        ));
    }
    let [first, longer] = extra.map(median);
    Ok((first, longer))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
