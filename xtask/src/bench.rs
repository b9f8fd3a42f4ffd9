//! `cargo xtask bench`: this project beside Keras 2.15 on TensorFlow, PyTorch's C++ interface, candle-nn and a loop over the
//! products of the crate gemm, on two threads each.

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
    /// Training the same MLP, beside a loop over the products of the crate gemm by hand, samples per second
    GemmMlp,
    /// What the first training step costs more than the second, milliseconds
    Compile,
    /// The same of a recurrent layer with a user's own cell, batches of 32 sequences of 100 steps, milliseconds
    Cell,
    /// What that model's first batch of 400 steps costs more than a later one, milliseconds
    LongerCell,
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
    Gemm,
    Torch,
    Candle,
}

/// The least that a workload must come to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Bound {
    /// So many times as fast as the peer, the median of the rounds.
    Ratio(f64),
    /// No more milliseconds than these, the median of the rounds.
    Milliseconds(f64),
}

impl Bound {
    fn holds(self, ratio: f64, ours: f64) -> bool {
        match self {
            Self::Ratio(least) => ratio >= least,
            Self::Milliseconds(most) => ours <= most,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ratio(least) => write!(f, "a ratio of at least {least:.3}"),
            Self::Milliseconds(most) => write!(f, "at most {most} ms"),
        }
    }
}

impl Peer {
    const ALL: [Self; 4] = [Self::Keras, Self::Gemm, Self::Torch, Self::Candle];

    /// The feature of `benches/` that builds it; none for what is no program of ours.
    fn feature(self) -> Option<&'static str> {
        match self {
            Self::Keras => None,
            Self::Gemm => Some("gemm"),
            Self::Torch => Some("torch"),
            Self::Candle => Some("candle"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Keras => "keras 2.15",
            Self::Gemm => "gemm by hand",
            Self::Torch => "pytorch",
            Self::Candle => "candle-nn",
        }
    }

    /// Our backend that is measured with it.
    fn backend(self) -> &'static str {
        match self {
            Self::Keras | Self::Gemm => "ndarray",
            Self::Torch => "torch",
            Self::Candle => "candle",
        }
    }
}

impl Workload {
    /// As both programs know it.
    fn name(self) -> &'static str {
        match self {
            Self::Mlp | Self::GemmMlp | Self::CandleMlp => "mlp",
            Self::Cnn | Self::TorchCnn | Self::CandleCnn => "cnn",
            Self::TorchResnet => "resnet18",
            Self::Lstm => "lstm",
            Self::Vgg16 => "vgg16",
            Self::Resnet50 => "resnet50",
            Self::Latency => "latency",
            Self::Startup => "startup",
            Self::Compile => "compile",
            Self::Cell => "cell",
            Self::LongerCell => "longer_cell",
            Self::Load => "load",
        }
    }

    fn peer(self) -> Peer {
        match self {
            Self::GemmMlp => Peer::Gemm,
            Self::TorchCnn | Self::TorchResnet => Peer::Torch,
            Self::CandleMlp | Self::CandleCnn => Peer::Candle,
            _ => Peer::Keras,
        }
    }

    /// What it must come to: no framework may cost more than a quarter of the loop by hand, h5py reads without making a model,
    /// and elsewhere the peer's speed is the floor.
    fn bound(self) -> Bound {
        match self {
            Self::Mlp | Self::Lstm => Bound::Ratio(1.5),
            Self::GemmMlp => Bound::Ratio(0.75),
            Self::Load => Bound::Ratio(1.0 / 1.2),
            Self::TorchCnn => Bound::Ratio(0.9),
            Self::TorchResnet => Bound::Ratio(0.95),
            Self::Latency => Bound::Milliseconds(0.05),
            Self::Startup => Bound::Milliseconds(20.0),
            Self::Compile => Bound::Milliseconds(1.0),
            Self::Cell | Self::LongerCell => Bound::Milliseconds(50.0),
            Self::Cnn | Self::Vgg16 | Self::Resnet50 | Self::CandleMlp | Self::CandleCnn => Bound::Ratio(1.0),
        }
    }

    /// Whether it counts milliseconds, not samples per second.
    fn is_time(self) -> bool {
        matches!(
            self,
            Self::Latency | Self::Startup | Self::Compile | Self::Cell | Self::LongerCell | Self::Load
        )
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
        let features = if peer.backend() == "ndarray" { "" } else { peer.backend() };
        let made = Self { features, python: oracles.join("tf-2.15").join("bin").join("python"), environment };
        stages.run("build", made.prepared(cargo(&made.ours("build"))))?;
        if let Some(feature) = peer.feature() {
            let manifest = root().join("benches").join("Cargo.toml").display().to_string();
            let arguments = ["build", "--release", "--manifest-path", &manifest, "--features", feature];
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
            Peer::Gemm => built("peer-gemm"),
            Peer::Torch => built("peer-torch"),
            Peer::Candle => built("peer-candle"),
        };
        command.arg(workload.name());
        self.prepared(command)
    }
}

/// Runs each workload `rounds` times on both sides in turn and prints every round and the medians.
///
/// # Errors
/// After all have run, if one does not keep to its bound.
pub(crate) fn run(workloads: &[Workload], rounds: u32) -> Result<()> {
    let workloads = if workloads.is_empty() { Workload::value_variants() } else { workloads };
    let mut failed = Vec::new();
    for peer in Peer::ALL {
        let mut beside = workloads.iter().filter(|workload| workload.peer() == peer).peekable();
        if beside.peek().is_some() {
            let programs = Programs::make(peer)?;
            for workload in beside {
                failed.extend(compare(*workload, &programs, rounds)?);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

/// What is wrong with the speed, if anything is.
fn compare(workload: Workload, programs: &Programs, rounds: u32) -> Result<Option<String>> {
    let (name, key, peer) = (workload.name(), workload.key(), workload.peer());
    println!("{name} on {}: {key}", peer.backend());
    println!("{:>8} {:>14} {:>14} {:>8}", "round", peer.name(), "this project", "ratio");
    let (mut ratios, mut values) = (Vec::new(), Vec::new());
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
        values.push(ours);
    }
    let (ratio, ours, bound) = (median(&mut ratios), median(&mut values), workload.bound());
    println!("{name} on {}: median ratio {ratio:.3} of {rounds} rounds; expected: {bound}", peer.backend());
    let wrong = || {
        let (backend, peer) = (peer.backend(), peer.name());
        format!(
            "{name} on {backend} beside {peer}: expected {bound}, received a ratio of {ratio:.3}, {ours:.4} {key}"
        )
    };
    Ok((!bound.holds(ratio, ours)).then(wrong))
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
    use super::{Bound, Workload, median, number};

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
    fn bounds_hold_up_to_their_edge() {
        assert!(Bound::Ratio(1.5).holds(1.5, 0.0));
        assert!(!Bound::Ratio(1.5).holds(1.49, 0.0));
        assert!(!Bound::Ratio(1.5).holds(f64::NAN, 0.0));
        assert!(Bound::Milliseconds(0.05).holds(0.0, 0.05));
        assert!(!Bound::Milliseconds(0.05).holds(100.0, 0.051));
        assert_eq!(Workload::Latency.bound(), Bound::Milliseconds(0.05));
        assert_eq!(Workload::Cell.bound(), Bound::Milliseconds(50.0));
        assert_eq!(Workload::LongerCell.bound(), Bound::Milliseconds(50.0));
        assert_eq!(Workload::Lstm.bound(), Bound::Ratio(1.5));
        assert_eq!(Workload::Cnn.bound(), Bound::Ratio(1.0));
    }

    #[test]
    fn faster_is_above_one_for_rates_and_times() {
        assert_eq!(Workload::Mlp.ratio(30.0, 20.0), 1.5);
        assert_eq!(Workload::Latency.ratio(0.5, 1.0), 2.0);
        assert_eq!(Workload::TorchResnet.ratio(19.0, 20.0), 0.95);
    }
}
