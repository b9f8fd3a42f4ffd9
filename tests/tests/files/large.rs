//! Large models: weights are read layer by layer.

use super::on_ndarray;
use keras_core::layers::Dense;
use keras_core::models::{Model, Sequential};
use keras_core::saving::load_model;
use keras_core::training::Compile;
use keras_core::{Array, DType, Result};
use std::path::Path;
use std::process::Command;

/// What a child process loads.
const WORK: &str = "CONFORMANCE_LARGE";

/// Twelve layers of 4 MB of weights each; if it was trained, the optimizer has twice as much.
fn model(trained: bool) -> Result<Model> {
    let mut model = Sequential::new();
    for _ in 0..12 {
        model.add(Dense::new(1024).kernel_initializer("zeros").input_shape([1024]))?;
    }
    let model = on_ndarray(Model::clone(&model));
    if trained {
        model.compile(Compile::new("adam", "mse"))?;
        let batch = Array::zeros(DType::F32, &[1, 1024])?;
        model.train_on_batch(&batch, &batch)?;
    }
    Ok(model)
}

fn memory(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

/// In processes of their own: loading and saving take little more memory than what is loaded or saved.
#[cfg(target_os = "linux")]
#[test]
fn files_take_little_more_memory_than_what_they_hold() {
    const WEIGHTS: u64 = 12 * (1024 * 1024 + 1024) * 4;
    if let Ok(work) = std::env::var(WORK) {
        let (held, path) = work.split_once(' ').unwrap();
        let held = held.parse::<u64>().unwrap() * WEIGHTS;
        let before = memory("VmRSS:");
        let loaded = load_model(Path::new(path)).unwrap();
        let peak = memory("VmHWM:") - before;
        assert!(peak >= held, "{peak} bytes for {held}: nothing was loaded");
        assert!(peak < held / 10 * 13, "a peak of {peak} bytes for {held}");
        loaded.save(Path::new(path)).unwrap();
        let peak = memory("VmHWM:") - before;
        assert!(peak < held / 10 * 23, "a peak of {peak} bytes with a copy of {held}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (trained, held) in [(false, 1), (true, 3)] {
        let model = model(trained).unwrap();
        for name in ["m.h5", "m.keras"] {
            let path = folder.path().join(name);
            model.save(&path).unwrap();
            let mut command = Command::new(std::env::current_exe().unwrap());
            let own = "files::large::files_take_little_more_memory_than_what_they_hold";
            command.args(["--exact", own, "--nocapture"]);
            let output = command.env(WORK, format!("{held} {}", path.display())).output().unwrap();
            let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
            assert!(output.status.success(), "{name}, {held}: {}", said.join("\n"));
            assert!(said[0].contains("1 passed"), "{name}: {}", said[0]);
        }
    }
}
