//! The library inside another program: what comes with it, and the service of `examples/embed`.

#[cfg(target_os = "linux")]
use crate::choosing::{child, report};
#[cfg(target_os = "linux")]
use crate::everywhere::resident;
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

/// The README quotes the example.
#[test]
fn the_lines_in_the_readme_are_those_of_the_example() {
    let read = |file: &str| std::fs::read_to_string(Path::new(ROOT).join(file)).unwrap();
    let (readme, example) = (read("README.md"), read("examples/embed/src/main.rs"));
    let section = readme.split_once("\n## Embedding\n").unwrap().1;
    let (block, _) = section.split_once("```rust,ignore\n").unwrap().1.split_once("```").unwrap();
    let block: Vec<String> = block.lines().map(|line| format!("    {line}\n")).collect();
    assert!(block.concat().contains("load_model") && example.contains(&block.concat()), "{block:?}");
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
        let mut command = Command::new(program);
        // Not the settings of whoever runs the tests: they may name a backend that this program has not.
        command.env("KERAS_HOME", model.with_file_name("settings")).env_remove("KERAS_BACKEND");
        let mut child = command.arg(model).arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap();
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

/// The target folder of this test.
fn target() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    here.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file()).unwrap().to_path_buf()
}

/// The program that cargo makes of a project.
fn build(folder: &Path, target: &Path, arguments: &[&str], flags: &str) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--message-format=json"]).args(arguments);
    cargo.env("CARGO_TARGET_DIR", target).env("RUSTFLAGS", flags);
    let output = cargo.current_dir(folder).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "the project in {} does not build", folder.display());
    let messages = String::from_utf8(output.stdout).unwrap();
    let executable = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).unwrap();
        message["executable"].as_str().map(PathBuf::from)
    });
    executable.unwrap()
}

/// The program, unoptimised beside what others wrote, which the workspace has built already in this way.
pub(crate) fn build_beside_the_workspace(folder: &Path, arguments: &[&str]) -> PathBuf {
    let own = ["keras", "keras-core", "backend-candle", "backend-ndarray", "backend-torch"];
    let own = own.map(|package| format!("package.{package}.opt-level=0"));
    let settings = ["opt-level=3".to_owned(), "debug=false".to_owned()].into_iter().chain(own);
    let settings: Vec<String> = settings.map(|setting| format!("profile.dev.{setting}")).collect();
    let settings = settings.iter().flat_map(|setting| ["--config", setting]);
    build(folder, &target(), &settings.chain(arguments.iter().copied()).collect::<Vec<_>>(), "")
}

/// Eight threads get from the service what the model predicts.
fn answers_as_the_model_predicts(folder: &Path, program: &Path) {
    let mut model = Sequential::new();
    model.add(Dense::new(5).activation("tanh").input_shape([3])).unwrap();
    model.add(Dense::new(2)).unwrap();
    let path = folder.join("small.h5");
    model.save(&path).unwrap();
    let service = Service::start(program, &path);

    let body = "[[0.5, -1, 2], [0, 0.25, 1]]";
    let x = Array::from([[0.5_f32, -1.0, 2.0], [0.0, 0.25, 1.0]]);
    model.on(&crate::everywhere::runtimes()[0]);
    let expected = model.predict(&x).unwrap().to_vec::<f32>();
    let first = service.post(body);
    let (head, outputs) = first.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{first}");
    let outputs: Vec<Vec<f64>> = serde_json::from_str(outputs).unwrap();
    assert_eq!(outputs.concat().len(), expected.len());
    for (found, expected) in outputs.concat().iter().zip(&expected) {
        assert!((found - f64::from(*expected)).abs() < 1e-5, "{outputs:?} {expected:?}");
    }
    // Floats are written with all their digits: the same text is the same bits.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..20).for_each(|_| assert_eq!(service.post(body), first)));
        }
    });
    for wrong in ["[[1, 2]]", "{}", "[[1, 2, \"3\"]]", "[[1"] {
        assert!(service.post(wrong).starts_with("HTTP/1.1 400"), "{wrong}");
    }
}

/// The service with another backend than the default one.
#[cfg(any(feature = "candle", feature = "torch"))]
fn answers_on(backend: &str) {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path());
    let arguments = ["--no-default-features", "--features", backend];
    let program = build_beside_the_workspace(folder.path(), &arguments);
    answers_as_the_model_predicts(folder.path(), &program);
}

#[cfg(feature = "candle")]
#[test]
#[ignore = "needs minutes for a build of its own"]
fn the_service_on_candle_gives_the_same_answers() {
    answers_on("candle");
}

#[cfg(feature = "torch")]
#[test]
#[ignore = "needs minutes for a build of its own"]
fn the_service_on_torch_gives_the_same_answers() {
    answers_on("torch");
}

/// As it is shipped, on the default backend: without a shared library, below 10 MB, with an answer 20 ms after its start, and the
/// same for many who ask at once.
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
#[test]
#[ignore = "needs minutes for a release build of its own"]
fn the_service_is_one_small_file_that_answers_at_once() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path());
    let arguments = ["--release", "--target", "x86_64-unknown-linux-gnu"];
    let target = target().join("embed");
    let program = build(folder.path(), &target, &arguments, "-C target-feature=+crt-static");
    let bytes = std::fs::metadata(&program).unwrap().len();
    let linked = Command::new("ldd").arg(&program).output().unwrap();
    let linked = String::from_utf8([linked.stdout, linked.stderr].concat()).unwrap();
    assert!(linked.contains("statically linked") || linked.contains("not a dynamic executable"), "{linked}");
    answers_as_the_model_predicts(folder.path(), &program);

    // 784-512-512-10: 669,706 weights.
    let mut model = Sequential::new();
    model.add(Dense::new(512).activation("relu").input_shape([784])).unwrap();
    model.add(Dense::new(512).activation("relu")).unwrap();
    model.add(Dense::new(10).activation("softmax")).unwrap();
    let path = folder.path().join("model.h5");
    model.save(&path).unwrap();
    let weights = std::fs::metadata(&path).unwrap().len();
    assert!(weights > 2_670_000, "{weights}");
    let body = format!("[[{}]]", vec!["0.5"; 784].join(","));
    let mut times: Vec<f64> = (0..15)
        .map(|_| {
            let start = std::time::Instant::now();
            let service = Service::start(&program, &path);
            let answer = service.post(&body);
            let took = start.elapsed().as_secs_f64() * 1e3;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            took
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{bytes} bytes; from start to answer {:.1} ms, median of {}", times[7], times.len());
    assert!(bytes < 10_000_000, "{bytes} bytes");
    // Whatever else the machine does makes it later, never earlier.
    assert!(times[0] < 20.0, "{times:?}");
}

/// A process of its own, in which nothing else allocates: 9,000 models come and go after the first 1,000.
#[cfg(target_os = "linux")]
#[test]
fn models_that_come_and_go_leave_the_memory_flat() {
    const SLACK: u64 = 4 << 20;
    let name = "embedding::models_that_come_and_go_leave_the_memory_flat";
    let Some(lines) = child(name, "{}", &[]) else {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.h5");
        let mut model = Sequential::new();
        model.add(Dense::new(16).activation("relu").input_shape([8])).unwrap();
        model.add(Dense::new(4).activation("softmax")).unwrap();
        model.save(&path).unwrap();
        let x = Array::full(&[2, 8], 0.5_f32).unwrap();
        let expected = model.predict(&x).unwrap();
        let cycles = |count| {
            for _ in 0..count {
                let model = keras::saving::load_model(&path).unwrap();
                assert!(model.predict(&x).unwrap().same_bits(&expected));
            }
        };
        cycles(1_000);
        let before = resident();
        cycles(9_000);
        report(&resident().saturating_sub(before).to_string());
        return;
    };
    let grown: u64 = lines[0].parse().unwrap();
    assert!(grown < SLACK, "{grown} bytes");
}
