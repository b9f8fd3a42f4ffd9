//! The program `keras`: models, data and training from the command line.

fn main() -> std::process::ExitCode {
    keras::cli::run(std::env::args_os())
}
