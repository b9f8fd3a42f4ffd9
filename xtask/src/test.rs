//! `cargo xtask test`.
//!
//! A test that needs more than cargo, a C linker and the crate registry carries `#[ignore = "needs …"]` and fails, never
//! returns early, when what it needs is missing. So the plain run leaves out exactly the ignored tests, and `--all` runs every one.

use std::path::PathBuf;
use std::process::Command;

use crate::stage::{Result, Stages, cargo, output, root, succeeds};
use crate::{libtorch, oracle};

/// The tests on candle, which takes long to build: plain `cargo test` leaves them out.
const CANDLE: [&str; 2] = ["--features", "conformance/candle"];

/// Those on libtorch besides.
const TORCH: [&str; 2] = ["--features", "conformance/candle,conformance/torch,backend-torch/libtorch"];

/// Runs the workspace's tests and doc tests; with `all` the ignored ones too.
pub(crate) fn run(all: bool) -> Result<()> {
    let mut stages = Stages::default();
    let oracles = if all { Some(oracle::make(&mut stages, &[])?) } else { None };
    let libtorch = if all { libtorch::make(&mut stages)? } else { Vec::new() };
    let backends = if all { TORCH } else { CANDLE };
    let prepared = |mut command: Command| {
        command.envs(libtorch.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &oracles {
            command.env("KERAS_ORACLE_DIR", folder);
        }
        command
    };

    if succeeds(cargo(&["nextest", "--version"])) {
        let mut arguments = vec!["nextest", "run", "--workspace"];
        arguments.extend(backends);
        if all {
            arguments.extend(["--run-ignored", "all"]);
        }
        stages.run("tests", prepared(cargo(&arguments)))?;
    } else {
        let mut arguments = vec!["test", "--workspace", "--lib", "--bins", "--tests", "--examples"];
        arguments.extend(backends);
        if all {
            arguments.extend(["--", "--include-ignored"]);
        }
        stages.run("tests", prepared(cargo(&arguments)))?;
    }
    if all {
        let mut digits = Command::new(example("digits", prepared, backends)?);
        digits.arg("compare").current_dir(root());
        stages.run("digits on every backend", prepared(digits))?;
    }
    let mut arguments = vec!["test", "--workspace", "--doc"];
    arguments.extend(backends);
    if all {
        arguments.extend(["--", "--include-ignored"]);
    }
    stages.run("doc tests", prepared(cargo(&arguments)))?;

    stages.report();
    if !all {
        let ignored = ignored()?;
        if ignored.is_empty() {
            println!("left out: nothing");
        } else {
            println!("left out: {} tests, which `cargo xtask test --all` runs too:", ignored.len());
            for name in &ignored {
                println!("    {name}");
            }
            println!("it needs Python 3.6 and 3.11, and downloads for them (scripts/oracle.sh --list):");
            let mut sizes = Command::new("bash");
            sizes.arg(root().join("scripts").join("oracle.sh")).arg("--list");
            print!("{}", output(sizes)?);
            println!(
                "and those on the torch backend, which need g++ and pip, and a download (scripts/libtorch.sh --list):"
            );
            print!("{}", output(libtorch::script(&["--list"])?)?);
        }
    }
    Ok(())
}

/// The program of an example as the tests' build has made it: the workspace's, so that nothing is built again.
fn example(name: &str, prepared: impl Fn(Command) -> Command, backends: [&str; 2]) -> Result<PathBuf> {
    let mut arguments = vec!["build", "--quiet", "--workspace", "--example", name, "--message-format=json"];
    arguments.extend(backends);
    let messages = output(prepared(cargo(&arguments)))?;
    let executable = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    executable.ok_or_else(|| format!("building example {name}: expected its program, cargo named none"))
}

/// The names of the tests that carry `#[ignore]`.
fn ignored() -> Result<Vec<String>> {
    let mut arguments = vec!["test", "--quiet", "--workspace"];
    arguments.extend(CANDLE);
    arguments.extend(["--", "--ignored", "--list"]);
    let listing = output(cargo(&arguments))?;
    Ok(names(&listing))
}

fn names(listing: &str) -> Vec<String> {
    listing.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn the_names_of_a_libtest_listing() {
        let listing = "layers::dense: test\n\n1 test, 0 benchmarks\nsrc/lib.rs - Dense (line 3): test\n0 tests, 0 benchmarks\n";
        assert_eq!(names(listing), ["layers::dense", "src/lib.rs - Dense (line 3)"]);
    }
}
