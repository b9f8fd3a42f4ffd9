//! `cargo xtask accuracy`: Keras's `mnist_mlp` in full, on MNIST itself: what its 20 epochs come to with several seeds.

use std::process::Command;

use crate::oracle;
use crate::stage::{Result, Stages, cargo, output, root};

/// Keras's own example comes to 0.984.
const LEAST: f64 = 0.98;

/// Trains with each seed; an error if the test accuracy is too small after one of them.
pub(crate) fn run(seeds: u32) -> Result<()> {
    let mut stages = Stages::default();
    let home = oracle::folder()?.join("mnist");
    let file = home.join("datasets").join("mnist.npz");
    if !file.is_file() {
        let mut script = Command::new("python3");
        script.arg(root().join("scripts").join("mnist.py")).arg(&file);
        stages.run("mnist.npz", script)?;
    }
    stages.run("build", cargo(&["build", "--quiet", "--release", "--example", "mnist_mlp"]))?;
    let mut worst: f64 = 1.0;
    for seed in (0..seeds).map(|seed| seed.to_string()) {
        let mut example = cargo(&["run", "--quiet", "--release", "--example", "mnist_mlp", "--", &seed]);
        example.env("KERAS_HOME", &home);
        let printed = output(example)?;
        let result = |name: &str| {
            let line = printed.lines().find_map(|line| line.strip_prefix(name));
            line.ok_or_else(|| {
                format!("reading what mnist_mlp printed: expected a line {name:?}, received none")
            })
        };
        let accuracy = result("Test accuracy: ")?;
        println!("seed {seed}: test accuracy {accuracy}, trained in {}", result("Trained in ")?);
        worst = worst
            .min(accuracy.parse().map_err(|error| format!("reading the accuracy {accuracy:?}: {error}"))?);
    }
    if worst < LEAST {
        return Err(format!(
            "training mnist_mlp: expected a test accuracy of at least {LEAST}, received {worst}"
        ));
    }
    Ok(())
}
