//! candle-nn by hand, with candle's automatic differentiation.
//!
//! `peer-candle mlp|cnn` prints one JSON line; `examples/bench_train.rs` measures the same of this project.

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{Conv2dConfig, Module, ModuleT, VarBuilder, VarMap, conv2d, linear, loss};
use std::time::Instant;

const CPU: Device = Device::Cpu;

fn main() -> Result<()> {
    let workload = std::env::args().nth(1).unwrap_or_default();
    let speed = match workload.as_str() {
        "mlp" => mlp()?,
        "cnn" => cnn()?,
        other => candle_core::bail!("expected mlp or cnn, received {other:?}"),
    };
    println!("{{\"name\":\"{workload}\",\"samples_per_second\":{speed:.5}}}");
    Ok(())
}

/// Samples per second of one epoch, after a first one to warm up; loss and accuracy are read in each step.
fn train(
    shape: &[usize],
    (warm_up, samples): (usize, usize),
    model: impl Fn(&Tensor) -> Result<Tensor>,
    mut update: impl FnMut(&candle_core::backprop::GradStore) -> Result<()>,
) -> Result<f64> {
    let x = Tensor::rand(0.0_f32, 1.0, [&[samples], shape].concat(), &CPU)?;
    let y = Tensor::from_iter((0..samples as u32).map(|i| i % 10), &CPU)?;
    let mut epoch = |samples: usize| -> Result<()> {
        let order = Tensor::rand(0.0_f32, 1.0, samples, &CPU)?.arg_sort_last_dim(true)?;
        for start in (0..samples).step_by(128) {
            let rows = order.narrow(0, start, 128.min(samples - start))?;
            let (x, y) = (x.index_select(&rows, 0)?, y.index_select(&rows, 0)?);
            let logits = model(&x)?;
            let loss = loss::cross_entropy(&logits, &y)?;
            update(&loss.backward()?)?;
            let right = logits.argmax(1)?.eq(&y)?.to_dtype(DType::F32)?.mean_all()?;
            assert!(loss.to_scalar::<f32>()?.is_finite() && right.to_scalar::<f32>()? >= 0.0);
        }
        Ok(())
    };
    epoch(warm_up)?;
    let start = Instant::now();
    epoch(samples)?;
    Ok(samples as f64 / start.elapsed().as_secs_f64())
}

/// The weights with as many zeros of the same shapes.
fn slots<const N: usize>(vars: &VarMap) -> Result<Vec<(Var, [Tensor; N])>> {
    let with_zeros = |var: Var| {
        let zeros = var.zeros_like()?;
        Ok((var, std::array::from_fn(|_| zeros.clone())))
    };
    vars.all_vars().into_iter().map(with_zeros).collect()
}

/// 784-512-512-10 with dropout 0.2, RMSprop.
fn mlp() -> Result<f64> {
    let vars = VarMap::new();
    let vb = VarBuilder::from_varmap(&vars, DType::F32, &CPU);
    let first = linear(784, 512, vb.pp("first"))?;
    let second = linear(512, 512, vb.pp("second"))?;
    let classes = linear(512, 10, vb.pp("classes"))?;
    let dropout = candle_nn::Dropout::new(0.2);
    let model = |x: &Tensor| {
        let h = dropout.forward_t(&first.forward(x)?.relu()?, true)?;
        let h = dropout.forward_t(&second.forward(&h)?.relu()?, true)?;
        classes.forward(&h)
    };
    let mut slots = slots::<1>(&vars)?;
    train(&[784], (6_400, 60_000), model, |gradients| {
        for (weight, [squares]) in &mut slots {
            let Some(gradient) = gradients.get(weight) else { continue };
            *squares = ((&*squares * 0.9)? + (gradient.sqr()? * 0.1)?)?.detach();
            let change = (gradient / (squares.sqrt()? + 1e-7)?)?;
            weight.set(&(weight.as_tensor() - (change * 1e-3)?)?.detach())?;
        }
        Ok(())
    })
}

/// Keras's `mnist_cnn` with Adadelta.
fn cnn() -> Result<f64> {
    const RHO: f64 = 0.95;
    let vars = VarMap::new();
    let vb = VarBuilder::from_varmap(&vars, DType::F32, &CPU);
    let narrow = conv2d(1, 32, 3, Conv2dConfig::default(), vb.pp("narrow"))?;
    let wide = conv2d(32, 64, 3, Conv2dConfig::default(), vb.pp("wide"))?;
    let dense = linear(9216, 128, vb.pp("dense"))?;
    let classes = linear(128, 10, vb.pp("classes"))?;
    let (quarter, half) = (candle_nn::Dropout::new(0.25), candle_nn::Dropout::new(0.5));
    let model = |x: &Tensor| {
        let h = wide.forward(&narrow.forward(x)?.relu()?)?.relu()?;
        let h = quarter.forward_t(&h.max_pool2d(2)?, true)?.flatten_from(1)?;
        let h = half.forward_t(&dense.forward(&h)?.relu()?, true)?;
        classes.forward(&h)
    };
    let mut slots = slots::<2>(&vars)?;
    train(&[1, 28, 28], (640, 6_400), model, |gradients| {
        for (weight, [squares, changes]) in &mut slots {
            let Some(gradient) = gradients.get(weight) else { continue };
            *squares = ((&*squares * RHO)? + (gradient.sqr()? * (1.0 - RHO))?)?.detach();
            let scale = ((&*changes + 1e-7)?.sqrt()? / (&*squares + 1e-7)?.sqrt()?)?;
            let change = (scale * gradient)?;
            *changes = ((&*changes * RHO)? + (change.sqr()? * (1.0 - RHO))?)?.detach();
            weight.set(&(weight.as_tensor() - &change)?.detach())?;
        }
        Ok(())
    })
}
