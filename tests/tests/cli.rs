//! The contract of docs/cli.md, line by line, on the program as it is built.

mod compare;
mod convert;
mod data;
mod evaluate;
mod files;
mod fit;
mod model;
mod plot;
mod predict;
mod streams;
mod tables;
mod wrong;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The program `keras`, built as the tests are: what `KERAS_TEST_PROGRAM` names, or by cargo, which takes a moment in each process.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(given) = std::env::var_os("KERAS_TEST_PROGRAM") {
            return given.into();
        }
        let mut build = Command::new(env!("CARGO"));
        // With an example cargo takes the features that tests ask of other crates, and builds none of them again.
        build.args(["build", "--quiet", "--workspace", "--bin", "keras", "--example", "digits"]);
        build.arg("--message-format=json");
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        for (built, feature) in
            [(cfg!(feature = "candle"), "keras/candle"), (cfg!(feature = "torch"), "keras/torch")]
        {
            if built {
                build.args(["--features", feature]);
            }
        }
        build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let output = build.stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "the program does not build");
        let messages = String::from_utf8(output.stdout).unwrap();
        let executable = messages.lines().find_map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).unwrap();
            let program = message["target"]["kind"][0] == "bin";
            message["executable"].as_str().filter(|_| program).map(PathBuf::from)
        });
        executable.expect("cargo names what it built")
    })
}

/// A folder of its own for a test, in which the program runs.
struct Place(tempfile::TempDir);

/// What came of a run.
#[derive(Debug, PartialEq)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, contents: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), contents).unwrap();
    }

    fn get(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// The names of everything in it but the settings, in order.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "settings")
            .collect();
        names.sort();
        names
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(program(), arguments)
    }

    fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.0.path())
            .env("KERAS_HOME", self.path("settings"))
            .stdin(Stdio::null());
        for variable in
            ["KERAS_BACKEND", "KERAS_DEVICE", "KERAS_FLOATX", "KERAS_NUM_THREADS", "RUST_BACKTRACE"]
        {
            command.env_remove(variable);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        ran(&mut self.command(arguments))
    }

    /// Runs, and expects success without a word on stderr; the result on stdout.
    fn result(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "keras {arguments:?}: {ran:?}");
        ran.stdout
    }

    /// Runs, and expects one line on stderr that contains each of the parts, and nothing on stdout.
    fn fails(&self, code: i32, arguments: &[&str], parts: &[&str]) -> String {
        Self::assert_fails(code, arguments, parts, &self.run(arguments))
    }

    fn assert_fails(code: i32, arguments: &[&str], parts: &[&str], ran: &Ran) -> String {
        let says = |what: &str| format!("keras {arguments:?} {what}: {ran:?}");
        assert_eq!(ran.code, Some(code), "{}", says("exits otherwise"));
        assert_eq!(ran.stdout, "", "{}", says("prints"));
        let line = ran.stderr.strip_suffix('\n').unwrap_or_default();
        assert!(!line.contains('\n'), "{}", says("says more than a line"));
        let body = line.strip_prefix("error: ").unwrap_or_else(|| panic!("{}", says("names no error")));
        let (doing, rest) =
            body.split_once(": expected ").unwrap_or_else(|| panic!("{}", says("expects nothing")));
        assert!(
            !doing.is_empty() && rest.contains(", received "),
            "{}",
            says("does not say what it received")
        );
        assert!(rest.contains("; "), "{}", says("does not say what to do"));
        for part in parts {
            assert!(line.contains(part), "{}", says(&format!("does not say {part:?}")));
        }
        line.to_owned()
    }
}

fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
