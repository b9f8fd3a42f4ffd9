//! Large models: weights are read layer by layer.

use keras_core::Result;
use keras_core::layers::Dense;
use keras_core::models::Sequential;
use keras_core::saving::load_model;
use std::path::Path;
use std::process::Command;

/// What a child process loads.
const WORK: &str = "CONFORMANCE_LARGE";

/// Twelve layers of 4 MB of weights each.
fn model() -> Result<Sequential> {
    let mut model = Sequential::new();
    for _ in 0..12 {
        model.add(Dense::new(1024).kernel_initializer("zeros").input_shape([1024]))?;
    }
    Ok(model)
}

fn memory(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

/// In processes of their own: loading takes little more memory than the weights.
#[cfg(target_os = "linux")]
#[test]
fn loading_takes_little_more_memory_than_the_weights() {
    const WEIGHTS: u64 = 12 * (1024 * 1024 + 1024) * 4;
    if let Ok(path) = std::env::var(WORK) {
        let before = memory("VmRSS:");
        let loaded = load_model(Path::new(&path)).unwrap();
        let peak = memory("VmHWM:") - before;
        assert!(peak >= WEIGHTS, "{peak} bytes for {WEIGHTS} of weights: nothing was loaded");
        assert!(peak < WEIGHTS / 10 * 13, "a peak of {peak} bytes for {WEIGHTS} of weights");
        drop(loaded);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = model().unwrap();
    for name in ["m.h5", "m.keras"] {
        let path = folder.path().join(name);
        model.save(&path).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([
            "--exact",
            "files::large::loading_takes_little_more_memory_than_the_weights",
            "--nocapture",
        ]);
        let output = command.env(WORK, &path).output().unwrap();
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success(), "{name}: {}", said.join("\n"));
        assert!(said[0].contains("1 passed"), "{name}: {}", said[0]);
    }
}
