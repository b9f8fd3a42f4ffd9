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

/// Which tests run together.
#[derive(Clone, Copy, PartialEq)]
enum Group {
    All,
    /// Of the command line: they start the program hundreds of times, and with libtorch in it each start takes a quarter of a second.
    Program,
    Rest,
    /// Those of the command line whose subject is libtorch as well.
    ProgramOnTorch,
}

impl Group {
    /// What nextest and what cargo's own runner are told.
    fn filter(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::All => (&[], &[]),
            Self::Program => (&["-E", "test(/^cli::/)"], &["cli::"]),
            Self::Rest => (&["-E", "not test(/^cli::/)"], &["--skip", "cli::"]),
            Self::ProgramOnTorch => {
                (&["-E", "test(/^cli::(compare|tables)::/)"], &["cli::compare::", "cli::tables::"])
            }
        }
    }
}

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

    let groups: &[_] = if all {
        &[
            ("tests of the program", CANDLE, Group::Program),
            ("tests", TORCH, Group::Rest),
            ("tests of the program with libtorch", TORCH, Group::ProgramOnTorch),
        ]
    } else {
        &[("tests", CANDLE, Group::All)]
    };
    let nextest = succeeds(cargo(&["nextest", "--version"]));
    for (name, features, group) in groups {
        let mut tests = prepared(cargo(&arguments(nextest, *features, *group, all)));
        tests.env("KERAS_TEST_PROGRAM", built(prepared, *features)?.program);
        stages.run(name, tests)?;
    }
    if all {
        let mut digits = Command::new(built(prepared, backends)?.digits);
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

/// The arguments of cargo for a group of tests.
fn arguments(nextest: bool, features: [&'static str; 2], group: Group, ignored: bool) -> Vec<&'static str> {
    let (for_nextest, for_libtest) = group.filter();
    let mut arguments = if nextest {
        vec!["nextest", "run", "--workspace"]
    } else {
        vec!["test", "--workspace", "--lib", "--bins", "--tests", "--examples"]
    };
    arguments.extend(features);
    if nextest {
        if ignored {
            arguments.extend(["--run-ignored", "all"]);
        }
        arguments.extend(for_nextest);
    } else {
        arguments.push("--");
        if ignored {
            arguments.push("--include-ignored");
        }
        arguments.extend(for_libtest);
    }
    arguments
}

/// What tests start, as their build makes it: the workspace's, so that nothing is built again.
struct Built {
    program: PathBuf,
    digits: PathBuf,
}

fn built(prepared: impl Fn(Command) -> Command, features: [&str; 2]) -> Result<Built> {
    let mut arguments = vec!["build", "--workspace", "--bin", "keras", "--example", "digits"];
    arguments.extend(["--message-format=json-render-diagnostics"]);
    arguments.extend(features);
    let messages = output(prepared(cargo(&arguments)))?;
    let find = |kind: &str| {
        let executable = messages.lines().find_map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            (message["target"]["kind"][0] == kind)
                .then(|| message["executable"].as_str().map(PathBuf::from))
                .flatten()
        });
        executable.ok_or_else(|| {
            format!("building what tests start: expected a program, cargo named none of kind {kind}")
        })
    };
    Ok(Built { program: find("bin")?, digits: find("example")? })
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
