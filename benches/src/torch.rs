//! PyTorch's C++ interface by hand: its functions, its automatic differentiation, weights updated in place.
//!
//! `peer-torch cnn|resnet18` prints one JSON line; `examples/bench_train.rs` measures the same of this project.

use std::time::Instant;
use tch::{Device, Kind, Tensor, no_grad};

const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);

fn main() {
    if let Some(threads) = std::env::var("KERAS_NUM_THREADS").ok().and_then(|text| text.parse().ok()) {
        tch::set_num_threads(threads);
    }
    tch::manual_seed(0);
    let workload = std::env::args().nth(1).unwrap_or_default();
    let speed = match workload.as_str() {
        "cnn" => cnn(),
        "resnet18" => no_grad(resnet),
        other => panic!("expected cnn or resnet18, received {other:?}"),
    };
    println!("{{\"name\":\"{workload}\",\"samples_per_second\":{speed:.5}}}");
}

/// Uniform within Glorot's bounds, `[outputs, inputs, window…]`; biases are zeros.
fn weight(shape: &[i64]) -> Tensor {
    let inputs: i64 = shape[1..].iter().product();
    let bound = if shape.len() == 1 { 0.0 } else { (6.0 / (inputs + shape[0]) as f64).sqrt() };
    Tensor::empty(shape, FLOAT).uniform_(-bound, bound)
}

/// A weight with Adadelta's two means of squares.
struct Trained {
    weight: Tensor,
    squares: Tensor,
    changes: Tensor,
}

impl Trained {
    fn new(shape: &[i64]) -> Self {
        let zeros = || Tensor::zeros(shape, FLOAT);
        Self { weight: weight(shape).set_requires_grad(true), squares: zeros(), changes: zeros() }
    }

    fn update(&mut self) {
        const RHO: f64 = 0.95;
        const EPSILON: f64 = 1e-7;
        let gradient = self.weight.grad();
        let _ = self.squares.lerp_(&gradient.square(), 1.0 - RHO);
        let mean = (&self.squares + EPSILON).sqrt_();
        let change = (&self.changes + EPSILON).sqrt_().divide_(&mean).multiply_(&gradient);
        let _ = self.weight.subtract_(&change);
        let _ = self.changes.lerp_(&change.square(), 1.0 - RHO);
        self.weight.zero_grad();
    }
}

/// Samples per second of training Keras's `mnist_cnn` with Adadelta on batches of 128, loss and accuracy read in each step:
/// one epoch of 640 to warm up, then one of 6,400.
fn cnn() -> f64 {
    let shapes: [&[i64]; 8] =
        [&[32, 1, 3, 3], &[32], &[64, 32, 3, 3], &[64], &[128, 9216], &[128], &[10, 128], &[10]];
    let mut weights = shapes.map(Trained::new);
    let x = Tensor::rand([6400, 1, 28, 28], FLOAT);
    let y = Tensor::arange(6400, (Kind::Int64, Device::Cpu)).remainder(10);
    let mut epoch = |samples: i64| {
        let order = Tensor::randperm(samples, (Kind::Int64, Device::Cpu));
        let (mut losses, mut correct) = (0.0, 0.0);
        for start in (0..samples).step_by(128) {
            let rows = order.narrow(0, start, 128.min(samples - start));
            let (x, y) = (x.index_select(0, &rows), y.index_select(0, &rows));
            let w = |i: usize| &weights[i].weight;
            let h = x.conv2d(w(0), Some(w(1)), 1, 0, 1, 1).relu();
            let h = h.conv2d(w(2), Some(w(3)), 1, 0, 1, 1).relu();
            let h = h.max_pool2d(2, 2, 0, 1, false).dropout(0.25, true).flatten(1, -1);
            let h = h.linear(w(4), Some(w(5))).relu().dropout(0.5, true);
            let logits = h.linear(w(6), Some(w(7)));
            let loss = logits.cross_entropy_for_logits(&y);
            loss.backward();
            no_grad(|| weights.iter_mut().for_each(Trained::update));
            losses += loss.double_value(&[]);
            correct += logits.argmax(-1, false).eq_tensor(&y).sum(Kind::Float).double_value(&[]);
        }
        assert!(losses.is_finite() && correct >= 0.0);
    };
    epoch(640);
    let start = Instant::now();
    epoch(6400);
    6400.0 / start.elapsed().as_secs_f64()
}

/// A convolution without bias and a batch normalization.
struct Normalized {
    kernel: Tensor,
    stride: i64,
    pad: i64,
    scale: [Tensor; 4],
}

impl Normalized {
    fn new(inputs: i64, outputs: i64, window: i64, stride: i64) -> Self {
        let (zeros, ones) = (|| Tensor::zeros([outputs], FLOAT), || Tensor::ones([outputs], FLOAT));
        Self {
            kernel: weight(&[outputs, inputs, window, window]),
            stride,
            pad: window / 2,
            scale: [ones(), zeros(), zeros(), ones()],
        }
    }

    fn call(&self, x: &Tensor) -> Tensor {
        let [gamma, beta, mean, variance] = &self.scale;
        let y = x.conv2d(&self.kernel, None::<Tensor>, self.stride, self.pad, 1, 1);
        y.batch_norm(Some(gamma), Some(beta), Some(mean), Some(variance), false, 0.99, 1e-3, false)
    }
}

/// Two convolutions or one beside them.
struct Block {
    first: Normalized,
    second: Normalized,
    beside: Option<Normalized>,
}

impl Block {
    fn call(&self, x: &Tensor) -> Tensor {
        let beside = self.beside.as_ref().map(|beside| beside.call(x));
        let y = self.second.call(&self.first.call(x).relu_());
        (y + beside.as_ref().unwrap_or(x)).relu_()
    }
}

/// Samples per second of a ResNet-18 on 224 × 224 × 3 in batches of 8: two batches to warm up, then ten.
fn resnet() -> f64 {
    let stem = Normalized::new(3, 64, 7, 2);
    let (mut blocks, mut inputs) = (Vec::new(), 64);
    for (stage, outputs) in [64, 128, 256, 512].into_iter().enumerate() {
        for block in 0..2 {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            blocks.push(Block {
                first: Normalized::new(inputs, outputs, 3, stride),
                second: Normalized::new(outputs, outputs, 3, 1),
                beside: (stride == 2).then(|| Normalized::new(inputs, outputs, 1, stride)),
            });
            inputs = outputs;
        }
    }
    let (kernel, bias) = (weight(&[1000, 512]), weight(&[1000]));
    let x = Tensor::rand([80, 3, 224, 224], FLOAT);
    let predict = |samples: i64| {
        for start in (0..samples).step_by(8) {
            let h = stem.call(&x.narrow(0, start, 8)).relu_().max_pool2d(3, 2, 1, 1, false);
            let h = blocks.iter().fold(h, |h, block| block.call(&h));
            let h = h.mean_dim([2_i64, 3].as_slice(), false, Kind::Float);
            let y = h.linear(&kernel, Some(&bias)).softmax(-1, Kind::Float);
            assert!(y.double_value(&[0, 0]) >= 0.0);
        }
    };
    predict(16);
    let start = Instant::now();
    predict(80);
    80.0 / start.elapsed().as_secs_f64()
}
