//! The library inside another program: what comes with it, and the service of `examples/embed`.

use keras::prelude::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The names of the crates that a package needs when it runs.
fn needs(folder: &Path, arguments: &[&str]) -> Vec<String> {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--edges", "normal", "--prefix", "none", "--format", "{p}"]).args(arguments);
    let output = tree.current_dir(folder).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

/// The core knows no backend, and no backend another one.
#[test]
fn backends_need_the_core_alone() {
    let backends = ["backend-ndarray", "backend-candle", "backend-torch", "candle-core", "tch"];
    for (package, own) in [
        (&["keras-core"][..], &[][..]),
        (&["backend-ndarray"], &["backend-ndarray"]),
        (&["backend-candle"], &["backend-candle", "candle-core"]),
        (&["backend-torch", "--features", "libtorch"], &["backend-torch", "tch"]),
    ] {
        let needed = needs(Path::new(ROOT), &[&["--package"], package].concat());
        assert!(needed.iter().any(|name| name == "serde_json"), "{needed:?}");
        for backend in backends {
            assert_eq!(
                needed.iter().any(|name| name == backend),
                own.contains(&backend),
                "{package:?}: {backend}"
            );
        }
    }
}

/// A build with one backend links that one alone.
#[test]
fn a_build_with_one_backend_has_no_other() {
    for feature in ["ndarray", "candle", "torch"] {
        let arguments = ["--package", "keras", "--no-default-features", "--features", feature];
        let mut found = needs(Path::new(ROOT), &arguments);
        found.retain(|name| name.starts_with("backend-"));
        found.dedup();
        assert_eq!(found, [format!("backend-{feature}")]);
    }
}

/// The example as a project of a user, beside the crates it names by path.
fn project(folder: &Path) {
    let here = Path::new(ROOT).join("examples/embed");
    std::fs::create_dir(folder.join("src")).unwrap();
    std::fs::copy(here.join("src/main.rs"), folder.join("src/main.rs")).unwrap();
    let manifest = std::fs::read_to_string(here.join("Cargo.toml")).unwrap();
    let root = std::fs::canonicalize(ROOT).unwrap();
    let manifest = manifest.replace("path = \"../..\"", &format!("path = {:?}", root.to_str().unwrap()));
    std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    // The same versions as the workspace's.
    std::fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
}

#[test]
fn an_embedded_model_brings_no_command_line_and_no_other_backend() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path());
    let needed = needs(folder.path(), &[]);
    assert!(needed.iter().any(|name| name == "backend-ndarray"), "{needed:?}");
    for name in [
        "candle-core",
        "backend-candle",
        "tch",
        "backend-torch",
        "clap",
        "indicatif",
        "plotters",
        "tiny-skia",
        "ureq",
    ] {
        assert!(!needed.iter().any(|needed| needed == name), "{name} among {needed:?}");
    }
}

/// The service, stopped when it is dropped.
struct Service(Child, String);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Service {
    fn start(program: &Path, model: &Path) -> Self {
        let mut child =
            Command::new(program).arg(model).arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self(child, line.trim().strip_prefix("listening on ").unwrap().to_owned())
    }

    fn post(&self, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.1).unwrap();
        write!(stream, "POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

fn build(folder: &Path) -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let target = here.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file()).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--message-format=json"]);
    for setting in ["\"*\".opt-level=3", "\"*\".debug=false", "keras-core.opt-level=0", "keras.opt-level=0"] {
        cargo.args(["--config", &format!("profile.dev.package.{setting}")]);
    }
    let output =
        cargo.env("CARGO_TARGET_DIR", target).current_dir(folder).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "the example does not build");
    let messages = String::from_utf8(output.stdout).unwrap();
    let executable = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).unwrap();
        message["executable"].as_str().map(PathBuf::from)
    });
    executable.unwrap()
}

#[test]
#[ignore = "needs a minute for a build of its own"]
fn the_service_answers_many_at_once_as_the_model_predicts() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path());
    let program = build(folder.path());
    let mut model = Sequential::new();
    model.add(Dense::new(5).activation("tanh").input_shape([3])).unwrap();
    model.add(Dense::new(2)).unwrap();
    let path = folder.path().join("model.h5");
    model.save(&path).unwrap();
    let service = Service::start(&program, &path);

    let body = "[[0.5, -1, 2], [0, 0.25, 1]]";
    let x = Array::from([[0.5_f32, -1.0, 2.0], [0.0, 0.25, 1.0]]);
    let expected = model.predict(&x).unwrap().to_vec::<f32>();
    let first = service.post(body);
    let (head, outputs) = first.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{first}");
    let outputs: Vec<Vec<f64>> = serde_json::from_str(outputs).unwrap();
    for (found, expected) in outputs.concat().iter().zip(&expected) {
        assert!((found - f64::from(*expected)).abs() < 1e-6, "{outputs:?} {expected:?}");
    }
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..20).for_each(|_| assert_eq!(service.post(body), first)));
        }
    });
    for wrong in ["[[1, 2]]", "{}", "[[1, 2, \"3\"]]", "[[1"] {
        assert!(service.post(wrong).starts_with("HTTP/1.1 400"), "{wrong}");
    }
}
