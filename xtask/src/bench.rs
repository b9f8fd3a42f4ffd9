//! `cargo xtask bench`: this project beside Keras 2.15 on TensorFlow, on two threads each.

use std::path::Path;
use std::process::Command;

use clap::ValueEnum;

use crate::oracle;
use crate::stage::{Result, Stages, cargo, output, root};

/// What is measured; `scripts/bench_keras.py` states each workload exactly.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// Training the MLP 784-512-512-10, samples per second
    Mlp,
    /// Training Keras's `mnist_cnn`, samples per second
    Cnn,
    /// Training an LSTM on sequences of words, samples per second
    Lstm,
    /// Prediction of 8 pictures by VGG16, samples per second
    Vgg16,
    /// Prediction of 8 pictures by ResNet50, samples per second
    Resnet50,
    /// One sample through the MLP by `predict_on_batch`, milliseconds
    Latency,
    /// A process that makes the MLP and predicts one sample, milliseconds
    Startup,
    /// What the first training step costs more than the second, milliseconds
    Compile,
    /// Loading a ResNet50 of 98 MB, beside h5py's reading of its arrays, milliseconds
    Load,
}

impl Workload {
    fn name(self) -> &'static str {
        match self {
            Self::Mlp => "mlp",
            Self::Cnn => "cnn",
            Self::Lstm => "lstm",
            Self::Vgg16 => "vgg16",
            Self::Resnet50 => "resnet50",
            Self::Latency => "latency",
            Self::Startup => "startup",
            Self::Compile => "compile",
            Self::Load => "load",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Mlp | Self::Cnn | Self::Lstm | Self::Vgg16 | Self::Resnet50 => "samples_per_second",
            Self::Latency | Self::Startup | Self::Compile | Self::Load => "milliseconds",
        }
    }

    /// How many times as fast as Keras this project is.
    fn ratio(self, ours: f64, keras: f64) -> f64 {
        if self.key() == "milliseconds" { keras / ours } else { ours / keras }
    }
}

/// Runs each workload `rounds` times on both sides in turn and prints every round and the median ratio.
pub(crate) fn run(workloads: &[Workload], rounds: u32) -> Result<()> {
    let mut stages = Stages::default();
    let folder = oracle::make(&mut stages, &["tf-2.15"])?;
    stages.run("build", cargo(&["build", "--release", "--example", "bench_train"]))?;
    let python = folder.join("tf-2.15").join("bin").join("python");

    let all = Workload::value_variants();
    for &workload in if workloads.is_empty() { all } else { workloads } {
        let key = workload.key();
        println!("{}: {key}", workload.name());
        println!("{:>8} {:>14} {:>14} {:>8}", "round", "keras 2.15", "this project", "ratio");
        let mut ratios = Vec::new();
        for round in 1..=rounds {
            // Who goes first alternates: a processor that warms up or slows down favours neither.
            let (ours, keras) = if round % 2 == 0 {
                let ours = measure(our_command(workload), workload)?;
                (ours, measure(keras_command(&python, workload), workload)?)
            } else {
                let keras = measure(keras_command(&python, workload), workload)?;
                (measure(our_command(workload), workload)?, keras)
            };
            let ratio = workload.ratio(ours, keras);
            println!("{round:>8} {keras:>14.4} {ours:>14.4} {ratio:>8.3}");
            ratios.push(ratio);
        }
        println!("{}: median ratio {:.3} of {rounds} rounds", workload.name(), median(&mut ratios));
    }
    Ok(())
}

fn keras_command(python: &Path, workload: Workload) -> Command {
    let mut command = Command::new(python);
    command.arg(root().join("scripts").join("bench_keras.py")).arg(workload.name());
    command
}

fn our_command(workload: Workload) -> Command {
    let mut command =
        cargo(&["run", "--quiet", "--release", "--example", "bench_train", "--", workload.name()]);
    command.env("RAYON_NUM_THREADS", "2");
    command
}

fn measure(command: Command, workload: Workload) -> Result<f64> {
    let text = output(command)?;
    number(&text, workload.name(), workload.key()).ok_or_else(|| {
        format!(
            "measuring {0}: expected a line {{\"name\":\"{0}\",\"{1}\":<a positive number>}}, received {text:?}",
            workload.name(),
            workload.key()
        )
    })
}

/// The number under `key` in the JSON line whose name is `name`.
fn number(text: &str, name: &str, key: &str) -> Option<f64> {
    let compact: Vec<String> = text.lines().map(|line| line.replace(' ', "")).collect();
    let line = compact.iter().find(|line| line.contains(&format!("\"name\":\"{name}\"")))?;
    let (_, rest) = line.split_once(&format!("\"{key}\":"))?;
    let value: f64 = rest.split([',', '}']).next()?.parse().ok()?;
    (value.is_finite() && value > 0.0).then_some(value)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get((values.len() - 1) / 2), values.get(values.len() / 2));
    f64::midpoint(low.copied().unwrap_or(f64::NAN), high.copied().unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use super::{Workload, median, number};

    #[test]
    fn the_number_of_a_json_line() {
        let text = "a notice\n{\"name\": \"mlp\", \"samples_per_second\": 19300.5, \"threads\": 2}\n";
        assert_eq!(number(text, "mlp", "samples_per_second"), Some(19300.5));
        assert_eq!(number(text, "cnn", "samples_per_second"), None);
        assert_eq!(
            number("{\"name\":\"mlp\",\"samples_per_second\":NaN}", "mlp", "samples_per_second"),
            None
        );
    }

    #[test]
    fn the_median_of_odd_and_even_counts() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn faster_is_above_one_for_rates_and_times() {
        assert_eq!(Workload::Mlp.ratio(30.0, 20.0), 1.5);
        assert_eq!(Workload::Latency.ratio(0.5, 1.0), 2.0);
    }
}
