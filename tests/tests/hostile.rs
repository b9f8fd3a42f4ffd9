//! What fuzzing found once: `tests/fixtures/fuzz/FORMAT/…`, each read within a second (of an optimised build) and in
//! little memory.

use crate::fixtures::Fixture;
use conformance::hostile::{MEMORY, READERS, start_anew};
use cpu_time::ProcessTime;
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
use std::time::Duration;

/// Set in a child process: what it does.
pub(crate) const WORK: &str = "CONFORMANCE_HOSTILE";

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

/// Of computing by all threads, since machines are busy with other things, too; so the process has to be the test's own.
pub(crate) fn in_a_second<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let start = ProcessTime::now();
    let result = run();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1), "{what} took {took:?}");
    result
}

fn in_time(what: &str, run: impl FnOnce()) {
    start_anew();
    in_a_second(what, run);
}

/// Runs a test in a process of its own, whose memory is limited where the system can do that.
pub(crate) fn in_a_child(test: &str, work: &str) {
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
    command.args(["--exact", test, "--nocapture"]);
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
        in_a_child("hostile::what_fuzzing_found_stays_mended", format);
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
            in_a_child("hostile::anything_may_stand_in_a_config", fixture);
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

/// Lengths that no tensor has, and some that a few layers in a row make too large.
fn lengths() -> [Value; 8] {
    [0, 1, 1 << 16, 1 << 31, 1 << 32, 1 << 48, 1 << 62, u64::MAX].map(|length: u64| json!(length))
}

/// Layers that join, repeat or multiply what is before them.
fn multiplying() -> Vec<Value> {
    let of = |class: &str, config: Value| json!({"class_name": class, "config": config});
    let dense = of("Dense", json!({"units": 3, "name": "inner"}));
    let flatten = of("Flatten", json!({"name": "inner"}));
    vec![
        dense,
        of("Flatten", json!({})),
        of("Reshape", json!({"target_shape": [-1]})),
        of("Reshape", json!({"target_shape": [1_u64 << 40, -1]})),
        of("RepeatVector", json!({"n": 1_u64 << 62})),
        of("Permute", json!({"dims": [2, 1]})),
        of("Embedding", json!({"input_dim": 1, "output_dim": 1_u64 << 40})),
        of("Concatenate", json!({"axis": 1})),
        of("Dot", json!({"axes": 1})),
        of("Conv1D", json!({"filters": 2, "kernel_size": 1_u64 << 62, "padding": "same"})),
        of("Conv2D", json!({"filters": 1_u64 << 40, "kernel_size": 1_u64 << 31, "padding": "same"})),
        of("DepthwiseConv2D", json!({"kernel_size": 1, "depth_multiplier": 1_u64 << 62})),
        of("SeparableConv2D", json!({"filters": 1, "kernel_size": 1, "depth_multiplier": 1_u64 << 62})),
        of("Conv2DTranspose", json!({"filters": 1, "kernel_size": 1, "strides": 1_u64 << 40})),
        of("LocallyConnected1D", json!({"filters": 1, "kernel_size": 1})),
        of("LocallyConnected2D", json!({"filters": 1, "kernel_size": 1_u64 << 31})),
        of("UpSampling1D", json!({"size": 1_u64 << 40})),
        of("UpSampling2D", json!({"size": 1_u64 << 30})),
        of("ZeroPadding1D", json!({"padding": 1_u64 << 62})),
        of("ZeroPadding2D", json!({"padding": 1_u64 << 62})),
        of("MaxPooling1D", json!({"pool_size": 1_u64 << 62, "padding": "same"})),
        of("LSTM", json!({"units": 1_u64 << 40})),
        of("BatchNormalization", json!({})),
        of("TimeDistributed", json!({"layer": flatten})),
        of(
            "Bidirectional",
            json!({"layer": of("GRU", json!({"units": 2, "name": "inner", "return_sequences": true}))}),
        ),
        of("MultiHeadAttention", json!({"num_heads": 1_u64 << 40, "key_dim": 1_u64 << 40})),
    ]
}

/// Chains of two such layers after inputs of any lengths: a model, or an error.
#[test]
fn any_lengths_may_stand_in_the_shapes_of_a_model() {
    if std::env::var(WORK).is_err() {
        return in_a_child("hostile::any_lengths_may_stand_in_the_shapes_of_a_model", "all");
    }
    let (lengths, layers) = (lengths(), multiplying());
    let mut shapes: Vec<Vec<&Value>> = vec![Vec::new()];
    shapes.extend(lengths.iter().map(|a| vec![a]));
    shapes.extend(lengths.iter().flat_map(|a| lengths.iter().map(move |b| vec![a, b])));
    shapes.extend(lengths.iter().map(|a| vec![a, a, a]));
    shapes.extend(lengths.iter().map(|a| vec![&Value::Null, a, a]));
    let (mut tried, mut failed) = (0, Vec::new());
    let mut attempt = |text: String| {
        let read = || {
            in_time(&text, || drop(model_from_json(&text).map(|model| (model.to_json(), model.summary()))));
        };
        if std::panic::catch_unwind(read).is_err() {
            failed.push(text.clone());
        }
        tried += 1;
    };
    let two = |layer: &Value, name: &str, before: &str| {
        // What joins takes the tensor twice.
        let calls =
            if ["Concatenate", "Dot", "MultiHeadAttention"].iter().any(|class| layer["class_name"] == *class)
            {
                2
            } else {
                1
            };
        let mut layer = layer.clone();
        layer["name"] = json!(name);
        layer["config"]["name"] = json!(name);
        layer["inbound_nodes"] = json!([vec![json!([before, 0, 0, {}]); calls]]);
        layer
    };
    for shape in shapes {
        let mut batch = vec![&Value::Null];
        batch.extend(shape);
        let input = json!({"class_name": "InputLayer", "name": "x", "inbound_nodes": [],
            "config": {"name": "x", "batch_input_shape": batch, "dtype": "float32"}});
        for first in &layers {
            for second in &layers {
                let layers = [input.clone(), two(first, "first", "x"), two(second, "second", "first")];
                attempt(
                    json!({"class_name": "Model", "config": {"name": "model", "layers": layers,
                    "input_layers": [["x", 0, 0]], "output_layers": [["second", 0, 0]]}})
                    .to_string(),
                );
            }
        }
    }
    // Doubled seventy times.
    let concatenate = json!({"class_name": "Concatenate", "config": {"axis": 1}});
    let mut chain = vec![json!({"class_name": "InputLayer", "name": "0", "inbound_nodes": [],
        "config": {"name": "0", "batch_input_shape": [null, 1], "dtype": "float32"}})];
    chain.extend((1..=70).map(|i| two(&concatenate, &i.to_string(), &(i - 1).to_string())));
    attempt(
        json!({"class_name": "Model", "config": {"name": "model", "layers": chain,
        "input_layers": [["0", 0, 0]], "output_layers": [["70", 0, 0]]}})
        .to_string(),
    );
    assert!(tried > 50_000, "{tried}");
    assert!(failed.is_empty(), "{} of {tried}: {:#?}", failed.len(), failed.get(..20).unwrap_or(&failed));
}

/// The same of optimizers, losses and metrics: a compiled model, or an error.
#[test]
fn anything_may_stand_in_a_training_config() {
    if std::env::var(WORK).is_err() {
        return in_a_child("hostile::anything_may_stand_in_a_training_config", "all");
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
