//! Prints how fast the main kernels run: `cargo run --release -p backend-ndarray --example kernels [filter]`.

use backend_ndarray::{NdArray, Tensor};
use keras_core::backend::{Arg, Backend};
use keras_core::graph::{ConvSpec, Op, PoolSpec, RecurrentCell, RecurrentSpec, Reduce, Unary};
use keras_core::{Array, Result};
use std::time::Instant;

/// Seconds of the fastest of several rounds of at least 20 ms.
fn seconds(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    work()?;
    let start = Instant::now();
    work()?;
    let repeats = (0.02 / start.elapsed().as_secs_f64()).clamp(1.0, 1e5) as usize;
    let mut best = f64::MAX;
    for _ in 0..7 {
        let start = Instant::now();
        for _ in 0..repeats {
            work()?;
        }
        best = best.min(start.elapsed().as_secs_f64() / repeats as f64);
    }
    Ok(best)
}

struct Bench {
    backend: NdArray,
    filter: String,
}

impl Bench {
    fn tensor(&self, shape: &[usize]) -> Result<Tensor> {
        let len: usize = shape.iter().product();
        let values = (0..len).map(|i| ((i * 7919) % 1009) as f32 / 504.0 - 1.0).collect::<Vec<f32>>();
        self.backend.upload(&Array::from_vec(shape, values)?)
    }

    /// Runs and prints, with a rate of `amount` per second.
    fn show(&self, name: &str, amount: f64, unit: &str, work: impl FnMut() -> Result<()>) -> Result<()> {
        if name.contains(&self.filter) {
            let time = seconds(work)?;
            println!("{name:<44} {:>10.1} µs {:>8.1} {unit}", time * 1e6, amount / time / 1e9);
        }
        Ok(())
    }

    fn matmul(&self, m: usize, k: usize, n: usize, trans_a: bool, trans_b: bool) -> Result<()> {
        let a = self.tensor(&if trans_a { [k, m] } else { [m, k] })?;
        let b = self.tensor(&if trans_b { [n, k] } else { [k, n] })?;
        let mark = |trans| if trans { "ᵀ" } else { "" };
        let name = format!("matmul {m}×{k}{} · {k}×{n}{}", mark(trans_a), mark(trans_b));
        self.show(&name, 2.0 * (m * k * n) as f64, "GFLOP/s", || {
            self.backend.matmul(&a, &b, trans_a, trans_b).map(drop)
        })
    }

    /// An LSTM from projected inputs: for inference, for training, and its gradient.
    fn lstm(&self, batch: usize, time: usize, units: usize) -> Result<()> {
        let spec = RecurrentSpec::new(RecurrentCell::Lstm);
        let state = self.tensor(&[batch, units])?;
        let kernel = self.tensor(&[units, 4 * units])?;
        let inputs = vec![self.tensor(&[batch, time, 4 * units])?, kernel, state.clone(), state.clone()];
        let flops = 8.0 * (batch * time * units * units) as f64;
        let op = Op::Recurrent(spec);
        let name = |what: &str| format!("lstm {what} of {batch}×{time}×{units}");
        let last = [false, true, false, false, false, false];
        self.show(&name("inference"), flops, "GFLOP/s", || {
            self.backend.composite(&op, &inputs, &last).map(drop)
        })?;
        self.show(&name("training"), flops, "GFLOP/s", || {
            self.backend.composite(&op, &inputs, &[true; 6]).map(drop)
        })?;
        let results = self.backend.composite(&op, &inputs, &[true; 6])?;
        let mut operands = inputs.clone();
        operands.extend(results.into_iter().flatten().skip(3));
        operands.extend([state.clone(), state]);
        let op = Op::RecurrentGrad(spec, false);
        self.show(&name("gradient"), 2.0 * flops, "GFLOP/s", || {
            self.backend.composite(&op, &operands, &[true, true, false, false]).map(drop)
        })
    }

    fn conv(
        &self,
        input: [usize; 4],
        window: usize,
        stride: usize,
        pad: usize,
        groups: usize,
        filters: usize,
    ) -> Result<()> {
        let spec =
            ConvSpec { strides: vec![stride; 2], dilations: vec![1; 2], pads: vec![(pad, pad); 2], groups };
        let kernel_shape = [window, window, input[3] / groups, filters];
        let (x, kernel) = (self.tensor(&input)?, self.tensor(&kernel_shape)?);
        let grad = self.backend.conv(&spec, &x, &kernel)?;
        let work = 2.0 * (grad.len() * window * window * input[3] / groups) as f64;
        let name = format!("{input:?} {window}×{window}/{stride} → {filters} in {groups}");
        self.show(&format!("conv {name}"), work, "GFLOP/s", || {
            self.backend.conv(&spec, &x, &kernel).map(drop)
        })?;
        self.show(&format!("  its input gradient of conv {}", input[3]), work, "GFLOP/s", || {
            self.backend.conv_grad_input(&spec, &input[1..3], &grad, &kernel).map(drop)
        })?;
        self.show(&format!("  its kernel gradient of conv {}", input[3]), work, "GFLOP/s", || {
            self.backend.conv_grad_kernel(&spec, &[window, window], &x, &grad).map(drop)
        })
    }
}

fn main() -> Result<()> {
    let bench = Bench { backend: NdArray::new()?, filter: std::env::args().nth(1).unwrap_or_default() };
    println!("{} threads", bench.backend.threads());
    for (m, k, n) in
        [(128, 784, 512), (128, 512, 512), (128, 512, 10), (1024, 1024, 1024), (1, 784, 512), (1, 4096, 4096)]
    {
        bench.matmul(m, k, n, false, false)?;
    }
    for (m, k, n) in [(784, 128, 512), (512, 128, 512), (64, 100_000, 64)] {
        bench.matmul(m, k, n, true, false)?;
    }
    for (m, k, n) in [(128, 512, 784), (128, 512, 512), (128, 10, 512)] {
        bench.matmul(m, k, n, false, true)?;
    }
    bench.conv([128, 28, 28, 1], 3, 1, 0, 1, 32)?;
    bench.conv([128, 26, 26, 32], 3, 1, 0, 1, 64)?;
    bench.conv([8, 56, 56, 64], 3, 1, 1, 1, 64)?;
    bench.conv([8, 14, 14, 256], 3, 1, 1, 1, 256)?;
    bench.conv([1, 56, 56, 64], 3, 1, 1, 1, 64)?;
    bench.conv([8, 56, 56, 64], 1, 1, 0, 1, 256)?;
    bench.conv([4, 224, 224, 3], 7, 2, 3, 1, 64)?;
    bench.conv([8, 56, 56, 128], 3, 1, 1, 128, 128)?;
    for (name, op) in [
        ("exp", Unary::Exp),
        ("log", Unary::Log),
        ("tanh", Unary::Tanh),
        ("sigmoid", Unary::Sigmoid),
        ("softplus", Unary::Softplus),
        ("erf", Unary::Erf),
        ("sin", Unary::Sin),
        ("relu", Unary::Relu),
    ] {
        for len in [1 << 16, 1 << 22] {
            let x = bench.tensor(&[len])?;
            bench.show(&format!("{name} of {len}"), 8.0 * len as f64, "GB/s", || {
                bench.backend.unary(op, Arg { tensor: x.clone(), writable: false }).map(drop)
            })?;
        }
    }
    for (shape, axes) in [
        ([1 << 22, 1], vec![0]),
        ([8192, 512], vec![0]),
        ([8192, 512], vec![1]),
        ([400_000, 10], vec![1]),
        ([100_352, 32], vec![0]),
    ] {
        let x = bench.tensor(&shape)?;
        bench.show(&format!("sum of {shape:?} over {axes:?}"), 4.0 * x.len() as f64, "GB/s", || {
            bench.backend.reduce(Reduce::Sum, &x, &axes).map(drop)
        })?;
    }
    for shape in [[128, 10], [8192, 512], [128, 10_000]] {
        let x = bench.tensor(&shape)?;
        bench.show(&format!("softmax of {shape:?}"), 8.0 * x.len() as f64, "GB/s", || {
            bench.backend.composite(&Op::Softmax, std::slice::from_ref(&x), &[true]).map(drop)
        })?;
    }
    bench.lstm(32, 80, 128)?;
    bench.lstm(1, 80, 128)?;
    bench.lstm(8, 10, 128)?;
    let x = bench.tensor(&[2048, 2048])?;
    bench.show("permute of [2048, 2048]", 8.0 * x.len() as f64, "GB/s", || {
        bench.backend.permute(&x, &[1, 0]).map(drop)
    })?;
    let x = bench.tensor(&[64, 24, 24, 64])?;
    let pool = PoolSpec { window: vec![2; 2], strides: vec![2; 2], pads: vec![(0, 0); 2] };
    bench.show("max_pool of [64, 24, 24, 64]", 4.0 * x.len() as f64, "GB/s", || {
        bench.backend.max_pool(&pool, &x, true).map(drop)
    })?;
    let (grad, positions) = bench.backend.max_pool(&pool, &x, true)?;
    let Some(positions) = positions else { return Ok(()) };
    bench.show("max_pool_grad of [64, 24, 24, 64]", 4.0 * x.len() as f64, "GB/s", || {
        bench.backend.max_pool_grad(&pool, &[24, 24], &grad, &positions).map(drop)
    })?;
    println!("{} pool misses, {} MiB", bench.backend.pool_misses(), bench.backend.pool_bytes() >> 20);
    Ok(())
}
