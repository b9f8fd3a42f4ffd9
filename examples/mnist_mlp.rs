//! Keras's `mnist_mlp`: a simple deep network on MNIST. It gets to 98.40 % test accuracy after 20 epochs (there is *a lot* of margin
//! for parameter tuning).
//!
//! `cargo run --release --example mnist_mlp [-- SEED]`; the data is downloaded on first use, or made by `scripts/mnist.py`.

use keras::datasets::mnist;
use keras::prelude::*;
use keras::utils::to_categorical;
use std::time::Instant;

const BATCH_SIZE: usize = 128;
const NUM_CLASSES: usize = 10;
const EPOCHS: usize = 20;

fn main() -> Result<()> {
    if let Some(seed) = std::env::args().nth(1) {
        let number = seed.parse().map_err(|_| Error::value("mnist_mlp", "a seed, a whole number", seed))?;
        keras::random::set_seed(number);
    }

    // the data, split between train and test sets
    let ((x_train, y_train), (x_test, y_test)) = mnist::load_data()?;

    let x_train = scaled(&x_train.reshape(&[60_000, 784])?)?;
    let x_test = scaled(&x_test.reshape(&[10_000, 784])?)?;
    println!("{} train samples", x_train.shape()[0]);
    println!("{} test samples", x_test.shape()[0]);

    // convert class vectors to binary class matrices
    let y_train = to_categorical(&y_train, NUM_CLASSES)?;
    let y_test = to_categorical(&y_test, NUM_CLASSES)?;

    let mut model = Sequential::new();
    model.add(Dense::new(512).activation("relu").input_shape([784]))?;
    model.add(Dropout::new(0.2))?;
    model.add(Dense::new(512).activation("relu"))?;
    model.add(Dropout::new(0.2))?;
    model.add(Dense::new(NUM_CLASSES).activation("softmax"))?;

    print!("{}", model.summary()?);

    model.compile(Compile::new(RMSprop::new(), "categorical_crossentropy").metrics(["accuracy"]))?;

    let start = Instant::now();
    model.fit(
        &x_train,
        &y_train,
        Fit::new().batch_size(BATCH_SIZE).epochs(EPOCHS).verbose(1).validation_data(&x_test, &y_test),
    )?;
    let seconds = start.elapsed().as_secs_f64();
    let score = model.evaluate(&x_test, &y_test)?;
    println!("Test loss: {:.4}", score[0]);
    println!("Test accuracy: {:.4}", score[1]);
    println!("Trained in {seconds:.1} s");
    Ok(())
}

/// Bytes as floats from 0 to 1.
fn scaled(pixels: &Array) -> Result<Array> {
    let values = pixels.to_vec::<f32>().into_iter().map(|pixel| pixel / 255.0).collect();
    Array::from_vec(pixels.shape(), values)
}
