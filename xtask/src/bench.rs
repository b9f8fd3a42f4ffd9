//! `cargo xtask bench`: this project beside Keras 2.15 on TensorFlow, PyTorch's C++ interface and candle-nn, on two threads each.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use clap::ValueEnum;

use crate::stage::{Result, Stages, cargo, output, root};
use crate::{libtorch, oracle};

/// What is measured; `scripts/bench_keras.py` and `benches/src` state each workload exactly.
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
    /// `mnist_cnn` on the torch backend, beside PyTorch's C++ interface by hand, samples per second
    TorchCnn,
    /// Predictions of a ResNet-18 on the torch backend, beside PyTorch's C++ interface by hand, samples per second
    TorchResnet,
    /// The MLP on the candle backend, beside candle-nn, samples per second
    CandleMlp,
    /// `mnist_cnn` on the candle backend, beside candle-nn, samples per second
    CandleCnn,
}

/// What a workload is measured against.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    Keras,
    Torch,
    Candle,
}

impl Peer {
    fn name(self) -> &'static str {
        match self {
            Self::Keras => "keras 2.15",
            Self::Torch => "pytorch",
            Self::Candle => "candle-nn",
        }
    }

    /// Our backend that is measured with it.
    fn backend(self) -> &'static str {
        match self {
            Self::Keras => "ndarray",
            Self::Torch => "torch",
            Self::Candle => "candle",
        }
    }
}

impl Workload {
    /// As both programs know it.
    fn name(self) -> &'static str {
        match self {
            Self::Mlp | Self::CandleMlp => "mlp",
            Self::Cnn | Self::TorchCnn | Self::CandleCnn => "cnn",
            Self::TorchResnet => "resnet18",
            Self::Lstm => "lstm",
            Self::Vgg16 => "vgg16",
            Self::Resnet50 => "resnet50",
            Self::Latency => "latency",
            Self::Startup => "startup",
            Self::Compile => "compile",
            Self::Load => "load",
        }
    }

    fn peer(self) -> Peer {
        match self {
            Self::TorchCnn | Self::TorchResnet => Peer::Torch,
            Self::CandleMlp | Self::CandleCnn => Peer::Candle,
            _ => Peer::Keras,
        }
    }

    /// Whether it counts milliseconds, not samples per second.
    fn is_time(self) -> bool {
        matches!(self, Self::Latency | Self::Startup | Self::Compile | Self::Load)
    }

    fn key(self) -> &'static str {
        if self.is_time() { "milliseconds" } else { "samples_per_second" }
    }

    /// How many times as fast as the peer this project is.
    fn ratio(self, ours: f64, peer: f64) -> f64 {
        if self.is_time() { peer / ours } else { ours / peer }
    }
}

/// Our program and a peer's, built, and what they need. Ours holds no backend but the one that is measured.
struct Programs {
    /// The cargo features of ours.
    features: &'static str,
    python: PathBuf,
    environment: Vec<(&'static str, OsString)>,
}

impl Programs {
    fn make(peer: Peer) -> Result<Self> {
        let mut stages = Stages::default();
        let oracles =
            if peer == Peer::Keras { oracle::make(&mut stages, &["tf-2.15"])? } else { PathBuf::new() };
        let environment = if peer == Peer::Torch { libtorch::make(&mut stages)? } else { Vec::new() };
        let features = if peer == Peer::Keras { "" } else { peer.backend() };
        let made = Self { features, python: oracles.join("tf-2.15").join("bin").join("python"), environment };
        stages.run("build", made.prepared(cargo(&made.ours("build"))))?;
        if peer != Peer::Keras {
            let manifest = root().join("benches").join("Cargo.toml").display().to_string();
            let arguments = ["build", "--release", "--manifest-path", &manifest, "--features", features];
            let mut build = cargo(&arguments);
            build.env("CARGO_TARGET_DIR", root().join("target"));
            stages.run("build peer", made.prepared(build))?;
        }
        Ok(made)
    }

    fn prepared(&self, mut command: Command) -> Command {
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env("RAYON_NUM_THREADS", "2").env("KERAS_NUM_THREADS", "2");
        command
    }

    fn ours<'a>(&'a self, verb: &'a str) -> [&'a str; 6] {
        [verb, "--release", "--example", "bench_train", "--features", self.features]
    }

    fn our_command(&self, workload: Workload) -> Command {
        let mut command = cargo(&self.ours("run"));
        command.args(["--quiet", "--", workload.name()]);
        command.env("KERAS_BACKEND", workload.peer().backend());
        self.prepared(command)
    }

    fn peer_command(&self, workload: Workload) -> Command {
        let built = |name: &str| Command::new(root().join("target").join("release").join(name));
        let mut command = match workload.peer() {
            Peer::Keras => {
                let mut command = Command::new(&self.python);
                command.arg(root().join("scripts").join("bench_keras.py"));
                command
            }
            Peer::Torch => built("peer-torch"),
            Peer::Candle => built("peer-candle"),
        };
        command.arg(workload.name());
        self.prepared(command)
    }
}

/// Runs each workload `rounds` times on both sides in turn and prints every round and the median ratio.
pub(crate) fn run(workloads: &[Workload], rounds: u32) -> Result<()> {
    let workloads = if workloads.is_empty() { Workload::value_variants() } else { workloads };
    for peer in [Peer::Keras, Peer::Torch, Peer::Candle] {
        let mut beside = workloads.iter().filter(|workload| workload.peer() == peer).peekable();
        if beside.peek().is_some() {
            let programs = Programs::make(peer)?;
            beside.try_for_each(|workload| compare(*workload, &programs, rounds))?;
        }
    }
    Ok(())
}

fn compare(workload: Workload, programs: &Programs, rounds: u32) -> Result<()> {
    let (name, key, peer) = (workload.name(), workload.key(), workload.peer());
    println!("{name} on {}: {key}", peer.backend());
    println!("{:>8} {:>14} {:>14} {:>8}", "round", peer.name(), "this project", "ratio");
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let ours = || measure(programs.our_command(workload), workload);
        let theirs = || measure(programs.peer_command(workload), workload);
        // Who goes first alternates: a processor that warms up or slows down favours neither.
        let (ours, theirs) = if round % 2 == 0 {
            let ours = ours()?;
            (ours, theirs()?)
        } else {
            let theirs = theirs()?;
            (ours()?, theirs)
        };
        let ratio = workload.ratio(ours, theirs);
        println!("{round:>8} {theirs:>14.4} {ours:>14.4} {ratio:>8.3}");
        ratios.push(ratio);
    }
    println!("{name} on {}: median ratio {:.3} of {rounds} rounds", peer.backend(), median(&mut ratios));
    Ok(())
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
        assert_eq!(Workload::TorchResnet.ratio(19.0, 20.0), 0.95);
    }
}
