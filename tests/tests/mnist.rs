//! Keras's `mnist_mlp` on MNIST itself.

use crate::choosing::{child, report};
use keras::datasets::mnist;
use keras::prelude::*;
use keras::utils::to_categorical;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder that holds `datasets/mnist.npz`, which `scripts/mnist.py` makes if it is not there.
fn home() -> PathBuf {
    let cache = std::env::var("KERAS_ORACLE_DIR").expect("KERAS_ORACLE_DIR says where downloads are kept");
    let home = Path::new(&cache).join("mnist");
    let file = home.join("datasets/mnist.npz");
    if !file.is_file() {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/mnist.py");
        assert!(Command::new("python3").arg(script).arg(file).status().unwrap().success());
    }
    home
}

fn scaled(pixels: &Array) -> Array {
    let values = pixels.to_vec::<f32>().into_iter().map(|pixel| pixel / 255.0).collect();
    Array::from_vec(&[pixels.shape()[0], 784], values).unwrap()
}

/// The data is MNIST's, and one epoch of the example gets as far as Keras's does (0.96).
#[test]
#[ignore = "needs npm for the data: cargo xtask test --all"]
fn an_epoch_of_mnist_mlp_classifies_most_digits() {
    let home = home();
    let variables = [("KERAS_HOME", home.to_str().unwrap())];
    let Some(lines) = child("mnist::an_epoch_of_mnist_mlp_classifies_most_digits", "{}", &variables) else {
        let ((x, y), (x_test, y_test)) = mnist::load_data().unwrap();
        let mut counts = [0; 10];
        y.to_vec::<u8>().iter().for_each(|&digit| counts[usize::from(digit)] += 1);
        assert_eq!(counts, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);

        let mut model = Sequential::new();
        model.add(Dense::new(512).activation("relu").input_shape([784])).unwrap();
        model.add(Dropout::new(0.2)).unwrap();
        model.add(Dense::new(512).activation("relu")).unwrap();
        model.add(Dropout::new(0.2)).unwrap();
        model.add(Dense::new(10).activation("softmax")).unwrap();
        model.compile(Compile::new("rmsprop", "categorical_crossentropy").metrics(["accuracy"])).unwrap();
        let y = to_categorical(&y, 10).unwrap();
        model.fit(scaled(&x), &y, Fit::new().batch_size(128).verbose(0)).unwrap();
        let score = model.evaluate(scaled(&x_test), to_categorical(&y_test, 10).unwrap()).unwrap();
        report(&score[1].to_string());
        return;
    };
    let accuracy: f64 = lines[0].parse().unwrap();
    assert!(accuracy > 0.95, "{lines:?}");
}
