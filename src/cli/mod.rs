//! The command line `keras`: docs/cli.md is what its users are promised.
//!
//! Results go to stdout, everything else to stderr. Modules in reading order: `options` (what is understood), `usage`
//! (what is not), `output` and `files` (streams and files), `model` and `data` (what commands work on), then one
//! module per command.

mod backends;
mod compare;
mod config;
mod convert;
mod data;
mod evaluate;
mod files;
mod fit;
mod history;
mod indices;
mod inspect;
mod model;
mod operations;
mod options;
mod output;
#[cfg(feature = "plot")]
mod plot;
mod predict;
mod summary;
mod training;
mod usage;

use clap::Parser;
use keras::Error;
use std::ffi::OsString;
use std::process::ExitCode;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is wrong by itself, whatever the files hold.
    Usage(Error),
    /// A comparison found more than its tolerance.
    Above(Error),
    /// Anything else.
    Failed(Error),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Above(_) => 3,
        }
    }

    fn error(&self) -> &Error {
        match self {
            Self::Usage(error) | Self::Above(error) | Self::Failed(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The result of a command.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Does what the arguments say, the program's name first; the exit code is that of the program `keras`. A program with a backend
/// of its own registers it first, and has it in every command.
///
/// ```
/// use keras::backend::reference::Reference;
/// keras::register("mine", |_| Ok(Reference));
/// keras::cli::run(["keras", "backends", "--backend", "mine"]);
/// ```
pub fn run(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> ExitCode {
    keras::init();
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let outcome = match options::CommandLine::try_parse_from(&arguments) {
        Ok(line) => line.run(),
        Err(error) => usage::answer(&error, &arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::notice(&format!("error: {}", failure.error()));
            ExitCode::from(failure.code())
        }
    }
}
