//! The program `keras`: models, data and training from the command line.

#[path = "../cli/mod.rs"]
mod cli;

fn main() -> std::process::ExitCode {
    cli::run(std::env::args_os())
}
