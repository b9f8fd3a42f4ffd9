//! What the command line understands: the commands, the options that all of them take, and the types of values.

use super::{
    Failure, Outcome, backends, compare, config, convert, evaluate, fit, inspect, output, predict, summary,
};
use clap::{Args, Parser, Subcommand};
use keras::backend::registry;
use keras::config::{self as settings, Origin};
use keras::training::Output;
use keras::{Error, Result};
use std::num::NonZeroUsize;

/// Keras 2 in Rust: run, train and look at Keras models.
///
/// Results go to stdout, progress and messages to stderr. Exit status: 0 done, 1 failed, 2 wrong usage, 3 `compare`
/// above its tolerance.
#[derive(Debug, Parser)]
#[command(name = "keras", version, arg_required_else_help = false, infer_subcommands = false)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[command(subcommand_value_name = "COMMAND")]
enum Command {
    Summary(summary::Summary),
    Predict(predict::Predict),
    Evaluate(Box<evaluate::Evaluate>),
    Fit(Box<fit::Fit>),
    Convert(convert::Convert),
    Inspect(inspect::Inspect),
    #[cfg(feature = "plot")]
    Plot(super::plot::Plot),
    Config(config::Config),
    Backends(backends::Backends),
    Compare(Box<compare::Compare>),
}

/// Before or after the command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// The backend that computes; `keras backends` lists them
    #[arg(long, global = true, value_name = "NAME")]
    backend: Option<String>,
    /// The device it computes on, such as cpu or cuda:0
    #[arg(long, global = true, value_name = "NAME")]
    device: Option<String>,
    /// The element type of weights and activations that say none
    #[arg(long, global = true, value_name = "TYPE", value_parser = ["float32", "float64"])]
    floatx: Option<String>,
    /// How many threads compute (default: as many as there are cores)
    #[arg(long, global = true, value_name = "N", value_parser = from_one)]
    threads: Option<NonZeroUsize>,
    /// No progress and no notices: only warnings and errors
    #[arg(long, global = true)]
    quiet: bool,
}

impl CommandLine {
    pub(crate) fn run(self) -> Outcome {
        self.global.apply()?;
        match self.command {
            Command::Summary(command) => command.run(),
            Command::Predict(command) => command.run(&self.global),
            Command::Evaluate(command) => command.run(&self.global),
            Command::Fit(command) => command.run(&self.global),
            Command::Convert(command) => command.run(&self.global),
            Command::Inspect(command) => command.run(),
            #[cfg(feature = "plot")]
            Command::Plot(command) => command.run(),
            Command::Config(command) => command.run(&self.global),
            Command::Backends(command) => command.run(),
            Command::Compare(command) => command.run(&self.global),
        }
    }
}

impl Global {
    /// Makes the options settings of the process, and reads the other settings.
    fn apply(&self) -> Outcome {
        Output::Stderr.set();
        if self.quiet {
            settings::suppress_notices();
        }
        if let Some(name) = &self.backend {
            let known = registry::names().iter().any(|known| known == name);
            settings::set_backend_name(name, &Origin::CommandLine).map_err(Failure::Usage)?;
            if !known {
                registry::open(name, "").map_err(Failure::Usage)?;
            }
        }
        if let Some(name) = &self.device {
            settings::set_device_name(name, &Origin::CommandLine).map_err(Failure::Usage)?;
        }
        if let Some(name) = &self.floatx {
            settings::set_floatx_name(name, &Origin::CommandLine).map_err(Failure::Usage)?;
        }
        if let Some(threads) = self.threads {
            use_threads(threads);
        }
        let settings = settings::settings()?;
        self.check_threads(registry::chosen(&settings).as_slice())
    }

    /// An error if `--threads` is given and one of these backends takes no number of threads.
    pub(crate) fn check_threads(&self, backends: &[String]) -> Outcome {
        if self.threads.is_some() && backends.iter().any(|name| name == "candle") {
            let error = Error::value("--threads", "a backend that takes a number of threads", "candle");
            return Err(Failure::Usage(
                error.advice("leave it out: candle takes it from the variable RAYON_NUM_THREADS"),
            ));
        }
        Ok(())
    }

    /// The backend that it names.
    pub(crate) fn backend(&self) -> Option<&str> {
        self.backend.as_deref()
    }

    /// How verbose progress is: 1 draws on a terminal alone.
    pub(crate) fn verbose(&self) -> u8 {
        u8::from(!self.quiet)
    }

    /// Says something that the user may want to know, unless that was not wanted.
    pub(crate) fn notice(&self, text: &str) {
        if !self.quiet {
            output::notice(text);
        }
    }

    /// The number of threads that a backend computes with, and who said it.
    pub(crate) fn threads(&self, backend: &str) -> Result<(usize, Origin)> {
        if let Some(threads) = self.threads {
            return Ok((threads.get(), Origin::CommandLine));
        }
        let variable = if backend == "candle" { CANDLE_THREADS } else { THREADS };
        let Some(text) = std::env::var_os(variable) else {
            let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
            return Ok((cores, Origin::Default));
        };
        let text = text.to_string_lossy();
        match text.trim().parse::<NonZeroUsize>() {
            Ok(threads) => Ok((threads.get(), Origin::Environment(variable))),
            Err(_) => Err(Error::value(variable, "a number of threads from 1", format!("{text:?}"))
                .advice("set it to the number of cores to use")),
        }
    }
}

/// The environment variable that says the number of threads.
const THREADS: &str = "KERAS_NUM_THREADS";
/// That of candle, which reads no other.
const CANDLE_THREADS: &str = "RAYON_NUM_THREADS";

/// Opens the backend with that many threads, whatever the environment says.
fn use_threads(threads: NonZeroUsize) {
    #[cfg(feature = "ndarray")]
    keras::register("ndarray", move |device| {
        registry::choose_device("ndarray", device, &["cpu".to_owned()])?;
        keras::DefaultBackend::with_threads(threads.get())
    });
    #[cfg(feature = "torch")]
    keras::register("torch", move |device| backend_torch::Torch::with_threads(device, threads));
    let _ = threads;
}

/// A whole number from 1.
pub(crate) fn from_one(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "a whole number from 1".to_owned())
}

/// A whole number from 0.
pub(crate) fn from_zero(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "a whole number from 0".to_owned())
}

/// What `np.random.seed` takes.
pub(crate) fn seed(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("a whole number from 0 to {}", u32::MAX))
}

/// A part of the data: at least 0, less than 1.
pub(crate) fn fraction(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(part) if (0.0..1.0).contains(&part) => Ok(part),
        _ => Err("a number of at least 0 and less than 1".to_owned()),
    }
}
