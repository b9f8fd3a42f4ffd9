//! What is said about a command line that is not understood: one line, in the form of every error.

use super::options::CommandLine;
use super::{Failure, Outcome};
use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use keras::Error;
use std::error::Error as _;
use std::ffi::OsString;

/// Help and version were asked for: they are results. Everything else is wrong usage.
pub(crate) fn answer(error: &clap::Error, arguments: &[OsString]) -> Outcome {
    if error.use_stderr() {
        return Err(Failure::Usage(explain(error, arguments)));
    }
    match error.print() {
        Err(failed) if failed.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::file("writing to stdout", "a stream that takes it", failed.to_string())
                .advice("check where the output goes")
                .into())
        }
        _ => Ok(()),
    }
}

fn explain(error: &clap::Error, arguments: &[OsString]) -> Error {
    let command = command(error, arguments);
    let doing = format!("command line of `{command}`");
    let argument = || text(error, ContextKind::InvalidArg);
    let (expected, received) = match error.kind() {
        ErrorKind::MissingRequiredArgument => {
            (list(error, ContextKind::InvalidArg), "a line without".to_owned())
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            (commands(), "no command".to_owned())
        }
        ErrorKind::InvalidSubcommand => (commands(), quoted(error, ContextKind::InvalidSubcommand)),
        ErrorKind::UnknownArgument => {
            (format!("the options of `{command}`"), quoted(error, ContextKind::InvalidArg))
        }
        ErrorKind::InvalidValue if text(error, ContextKind::InvalidValue).is_empty() => {
            (format!("a value after {}", argument()), "none".to_owned())
        }
        ErrorKind::InvalidValue => {
            let values = list(error, ContextKind::ValidValue);
            (format!("one of {values} for {}", argument()), quoted(error, ContextKind::InvalidValue))
        }
        ErrorKind::ValueValidation => {
            let expected = error.source().map_or_else(|| "another value".to_owned(), ToString::to_string);
            (format!("{expected} for {}", argument()), quoted(error, ContextKind::InvalidValue))
        }
        ErrorKind::ArgumentConflict => {
            let (one, other) = (argument(), list(error, ContextKind::PriorArg));
            if one == other {
                (format!("{one} once"), "it several times".to_owned())
            } else {
                (format!("{one} without {other}"), "both".to_owned())
            }
        }
        ErrorKind::InvalidUtf8 => {
            ("UTF-8 text in every argument but names of files".to_owned(), "other bytes".to_owned())
        }
        _ => ("a line as its help describes".to_owned(), error.kind().to_string()),
    };
    let near = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue]
        .into_iter()
        .map(|kind| list(error, kind))
        .find(|near| !near.is_empty());
    let help = format!("see `{command} --help`");
    let advice = near.map_or_else(|| help.clone(), |near| format!("did you mean {near}? ({help})"));
    Error::value(doing, expected, received).advice(advice)
}

/// `keras`, or `keras predict`: the words in front of the usage line's options, else the first argument that is a command.
fn command(error: &clap::Error, arguments: &[OsString]) -> String {
    let usage = text(error, ContextKind::Usage);
    let words = usage.split_whitespace().skip_while(|word| *word != "keras");
    let words: Vec<&str> = words.take_while(|word| word.chars().all(|c| c.is_ascii_lowercase())).collect();
    if words.len() > 1 {
        return words.join(" ");
    }
    let line = CommandLine::command();
    let known = |argument: &OsString| argument.to_str().and_then(|word| line.find_subcommand(word));
    match arguments.iter().skip(1).find_map(known) {
        Some(command) => format!("keras {}", command.get_name()),
        None => "keras".to_owned(),
    }
}

fn commands() -> String {
    let line = CommandLine::command();
    let names: Vec<&str> = line.get_subcommands().map(clap::Command::get_name).collect();
    format!("one of the commands {}", names.join(", "))
}

fn text(error: &clap::Error, kind: ContextKind) -> String {
    error.get(kind).map(ToString::to_string).unwrap_or_default()
}

fn quoted(error: &clap::Error, kind: ContextKind) -> String {
    format!("`{}`", text(error, kind))
}

/// Several values, joined.
fn list(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::Strings(values)) => values.join(", "),
        Some(ContextValue::StyledStrs(values)) => {
            values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
        Some(value) => value.to_string(),
        None => String::new(),
    }
}
