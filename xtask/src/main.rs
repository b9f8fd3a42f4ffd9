//! The project's own commands: `cargo xtask check`, `test`, `libtorch`, `fuzz`, `bench`, `accuracy`, `coverage`.

mod accuracy;
mod bench;
mod check;
mod coverage;
mod fuzz;
mod libtorch;
mod oracle;
mod stage;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Formatting, dependency policy, lints and documentation, cheapest first
    Check,
    /// All tests that need nothing but cargo, a C linker and the crate registry
    Test {
        /// Also the tests against real Keras (makes its Python environments first) and on libtorch (fetches it first);
        /// fails if anything is left out
        #[arg(long)]
        all: bool,
    },
    /// Fetches libtorch 2.13.0 for the CPU unless LIBTORCH or LIBTORCH_USE_PYTORCH names one, and prints the environment
    /// that cargo needs for the feature `torch`
    Libtorch,
    /// Arguments of Keras 2.3.1's layers that no recorded case exercises
    Coverage,
    /// What reads files of others, on inputs made to break it: each format for some time
    Fuzz {
        /// Formats: h5, json, keras, npy, yaml (default: all)
        targets: Vec<String>,
        /// Seconds for each
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
        seconds: u32,
    },
    /// Keras's mnist_mlp in full: fails if the test accuracy is below 0.98 after its 20 epochs
    Accuracy {
        /// How many seeds, from 0 on
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
        seeds: u32,
    },
    /// Speed beside Keras 2.15 on TensorFlow, PyTorch, candle-nn and a loop by hand, interleaved: medians of the rounds; fails
    /// if one does not keep to its bound
    Bench {
        /// What to measure (default: all)
        workloads: Vec<bench::Workload>,
        /// A-B rounds, at least 5
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(5..))]
        rounds: u32,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Check => check::run(),
        Command::Test { all } => test::run(all),
        Command::Libtorch => libtorch::run(),
        Command::Coverage => coverage::run(),
        Command::Fuzz { targets, seconds } => fuzz::run(&targets, seconds),
        Command::Accuracy { seeds } => accuracy::run(seeds),
        Command::Bench { workloads, rounds } => bench::run(&workloads, rounds),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
