//! Stages: a command each, timed; the first failure ends the run.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What went wrong, in a line.
pub(crate) type Result<T> = std::result::Result<T, String>;

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// `cargo` with these arguments, in the workspace's folder.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    // Set by cargo for `cargo xtask`: the same toolchain as the caller's.
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Whether the command runs and exits with 0; it prints nothing.
pub(crate) fn succeeds(mut command: Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

/// The standard output of a command that has to succeed; its standard error goes to ours.
pub(crate) fn output(mut command: Command) -> Result<String> {
    let line = describe(&command);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("starting `{line}`: {e}"))?;
    if !output.status.success() {
        return Err(format!("running `{line}`: expected exit 0, received {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|e| format!("reading the output of `{line}`: {e}"))
}

/// The stages of a run, with the time of each.
pub(crate) struct Stages {
    begun: Instant,
    done: Vec<(String, Duration)>,
}

impl Default for Stages {
    fn default() -> Self {
        Self { begun: Instant::now(), done: Vec::new() }
    }
}

impl Stages {
    /// Runs one command, its output passing through.
    pub(crate) fn run(&mut self, name: &str, command: Command) -> Result<()> {
        let running = Running::start(name, command)?;
        self.finish(running)
    }

    /// Runs commands side by side until all are done; an error if one failed.
    pub(crate) fn run_together(
        &mut self,
        commands: impl IntoIterator<Item = (String, Command)>,
    ) -> Result<()> {
        let started = commands.into_iter().map(|(name, command)| Running::start(&name, command));
        let started: Vec<Result<Running>> = started.collect();
        let done: Vec<Result<()>> =
            started.into_iter().map(|running| running.and_then(|running| self.finish(running))).collect();
        done.into_iter().collect()
    }

    fn finish(&mut self, running: Running) -> Result<()> {
        let Running { name, line, start, mut child } = running;
        let status = child.wait().map_err(|e| format!("waiting for `{line}`: {e}"))?;
        let took = start.elapsed();
        if !status.success() {
            return Err(format!(
                "stage {name} after {:.1} s: `{line}` ended with {status}",
                took.as_secs_f64()
            ));
        }
        self.done.push((name, took));
        Ok(())
    }

    /// Prints the time of every stage.
    pub(crate) fn report(&self) {
        for (name, took) in &self.done {
            eprintln!("{:>8.1} s  {name}", took.as_secs_f64());
        }
        eprintln!("{:>8.1} s  total", self.begun.elapsed().as_secs_f64());
    }
}

/// A stage that has begun.
struct Running {
    name: String,
    line: String,
    start: Instant,
    child: Child,
}

impl Running {
    fn start(name: &str, mut command: Command) -> Result<Self> {
        let line = describe(&command);
        eprintln!("── {name}: {line}");
        let start = Instant::now();
        let child = command.stdin(Stdio::null()).spawn().map_err(|e| format!("starting `{line}`: {e}"))?;
        Ok(Self { name: name.to_owned(), line, start, child })
    }
}

fn describe(command: &Command) -> String {
    let program =
        Path::new(command.get_program()).file_name().unwrap_or(command.get_program()).to_string_lossy();
    command.get_args().fold(program.into_owned(), |line, part| line + " " + &part.to_string_lossy())
}
