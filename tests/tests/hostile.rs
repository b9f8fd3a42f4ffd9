//! What fuzzing found once: `tests/fixtures/fuzz/FORMAT/…`, each read within a second (of an optimised build) and in
//! little memory.

use crate::fixtures::Fixture;
use conformance::hostile::{MEMORY, READERS, start_anew};
use keras_core::layers::Dense;
use keras_core::losses::LossSpec;
use keras_core::metrics::MetricSpec;
use keras_core::models::{Sequential, model_from_json};
use keras_core::optimizers::OptimizerSpec;
use keras_core::training::Compile;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Set in a child process: what it does.
const WORK: &str = "CONFORMANCE_HOSTILE";

fn replay(format: &str) {
    let reader = READERS.iter().find(|(name, _)| *name == format).expect("a known format").1;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fuzz").join(format);
    let mut inputs: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "no inputs in {}", folder.display());
    for input in inputs {
        let bytes = std::fs::read(&input).unwrap();
        in_time(&input.display().to_string(), || reader(&bytes));
    }
}

fn in_time(what: &str, run: impl FnOnce()) {
    start_anew();
    let start = Instant::now();
    run();
    let took = start.elapsed();
    // A second where it is optimised.
    let limit = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });
    assert!(took < limit, "{what} took {took:?}");
}

/// Runs a test of this module in a process of its own, whose memory is limited where the system can do that.
fn in_a_child(test: &str, work: &str) {
    let own = std::env::current_exe().unwrap();
    let mut command = if cfg!(unix) {
        let mut shell = Command::new("/bin/sh");
        // Beside the readers' memory, room for the program and its threads; libraries that are mapped do not count.
        let limit = (MEMORY >> 10) + (256 << 10);
        shell.args(["-c", &format!("ulimit -d {limit}; exec \"$@\""), "sh"]).arg(own);
        shell
    } else {
        Command::new(own)
    };
    command.args(["--exact", &format!("hostile::{test}"), "--nocapture"]);
    let output = command.env(WORK, work).output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{work}: {}\n{}", output.status, said.join("\n"));
    assert!(said[0].contains("1 passed"), "{work}: {}", said[0]);
}

#[test]
fn what_fuzzing_found_stays_mended() {
    if let Ok(format) = std::env::var(WORK) {
        return replay(&format);
    }
    for (format, _) in READERS {
        in_a_child("what_fuzzing_found_stays_mended", format);
    }
}

/// A model of one layer.
fn model(class: &Value, config: &Value, shapes: &[Value]) -> String {
    let names: Vec<String> = (0..shapes.len()).map(|i| format!("in_{i}")).collect();
    let mut layers: Vec<Value> = names
        .iter()
        .zip(shapes)
        .map(|(name, shape)| {
            json!({"class_name": "InputLayer", "name": name, "inbound_nodes": [],
                "config": {"name": name, "batch_input_shape": shape, "dtype": "float32"}})
        })
        .collect();
    let inbound: Vec<Value> = names.iter().map(|name| json!([name, 0, 0, {}])).collect();
    layers.push(json!({"class_name": class, "name": "it", "inbound_nodes": [inbound], "config": config}));
    let inputs: Vec<Value> = names.iter().map(|name| json!([name, 0, 0])).collect();
    json!({"class_name": "Model", "config": {"name": "model", "layers": layers, "input_layers": inputs,
        "output_layers": [["it", 0, 0]]}})
    .to_string()
}

/// The places of all values in a config.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| places(item, &format!("{at}/{i}"), found));
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(key, item)| places(item, &format!("{at}/{key}"), found));
        }
        _ => {}
    }
}

/// What nobody expects in a config.
fn odd() -> [Value; 11] {
    [
        json!(null),
        json!(0),
        json!(-1),
        json!(1_u64 << 31),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1e300),
        json!("?"),
        json!([]),
        json!([i64::MAX, i64::MAX, i64::MAX]),
        json!({"class_name": "?"}),
    ]
}

/// Every value of every layer's config, replaced by what nobody expects there: a layer, or an error.
#[test]
fn anything_may_stand_in_a_config() {
    let fixtures = ["layers_2_3_1", "layers_2_15", "recurrent_2_3_1"];
    let Ok(fixture) = std::env::var(WORK) else {
        for fixture in fixtures {
            in_a_child("anything_may_stand_in_a_config", fixture);
        }
        return;
    };
    let fixture = Fixture::load(&fixture);
    let (mut seen, mut layers, mut failed) = (HashSet::new(), 0, Vec::new());
    for case in fixture.cases() {
        let (class, config) = (&case["class_name"], &case["config"]);
        let shapes: Vec<Value> = case["input_shapes"].as_array().cloned().unwrap_or_default();
        let mut all = Vec::new();
        places(config, "", &mut all);
        // A value of a layer is tried once, not in every case.
        for place in all.into_iter().filter(|place| seen.insert(format!("{class}{place}"))) {
            for odd in &odd() {
                let mut config = config.clone();
                if let Some(value) = config.pointer_mut(&place) {
                    *value = odd.clone();
                }
                let text = model(class, &config, &shapes);
                let read = || in_time(&text, || drop(model_from_json(&text).map(|model| model.to_json())));
                // All of them are told, not the first alone.
                if std::panic::catch_unwind(read).is_err() {
                    failed.push(text.clone());
                }
                layers += 1;
            }
        }
    }
    assert!(layers > 1000, "{layers}");
    assert!(failed.is_empty(), "{} of {layers}: {failed:#?}", failed.len());
}

/// The same of optimizers, losses and metrics: a compiled model, or an error.
#[test]
fn anything_may_stand_in_a_training_config() {
    if std::env::var(WORK).is_err() {
        return in_a_child("anything_may_stand_in_a_training_config", "all");
    }
    let (functions, optimizers) = (Fixture::load("functions_2_3_1"), Fixture::load("optimizers_2_2_4"));
    let of_kind = |kind: &'static str| {
        let cases = functions.cases().iter().filter(move |case| case["kind"] == kind);
        cases.map(move |case| (kind, case["config"].clone()))
    };
    let optimizers = optimizers.cases().iter().map(|case| ("optimizer", case["optimizer"].clone()));
    let (mut seen, mut tried) = (HashSet::new(), 0);
    for (kind, config) in of_kind("loss").chain(of_kind("metric")).chain(optimizers) {
        let mut all = Vec::new();
        places(&config, "", &mut all);
        let class = config["class_name"].clone();
        for place in all.into_iter().filter(|place| seen.insert(format!("{kind}{class}{place}"))) {
            for odd in odd() {
                let mut config = config.clone();
                if let Some(value) = config.pointer_mut(&place) {
                    *value = odd;
                }
                let mut model = Sequential::new();
                model.add(Dense::new(2).input_shape([3])).unwrap();
                let options = match kind {
                    "optimizer" => Compile::new(OptimizerSpec::from(&config), "mse"),
                    "loss" => Compile::new("sgd", LossSpec::from(&config)),
                    _ => Compile::new("sgd", "mse").metrics([MetricSpec::from(&config)]),
                };
                in_time(&config.to_string(), || {
                    drop(model.compile(options).and_then(|()| model.training_config()));
                });
                tried += 1;
            }
        }
    }
    assert!(tried > 1000, "{tried}");
}
