//! `summary`, `config`, `backends`.

use super::files::{dense, sequential, summaries};
use super::{Place, ran};
use serde_json::Value;

#[test]
fn summary_prints_what_keras_prints_and_nothing_else() {
    let mut compared = 0;
    for (name, json, summary) in summaries() {
        let place = Place::new();
        place.put("model.json", json);
        let ran = place.run(&["summary", "model.json"]);
        assert_eq!(
            (ran.code, ran.stdout.trim_end(), ran.stderr.as_str()),
            (Some(0), summary.trim_end(), ""),
            "{name}"
        );
        compared += 1;
    }
    assert_eq!(compared, 15);
}

#[test]
fn summary_is_one_object_with_json() {
    let place = Place::new();
    let mut frozen = dense("frozen", 3, 2);
    frozen["config"]["trainable"] = false.into();
    place.put("model.json", sequential(&[frozen, dense("line", 2, 1)]));
    let object: Value = serde_json::from_str(&place.result(&["summary", "model.json", "--json"])).unwrap();
    let layer = |name: &str, shape: &str, params: u8| serde_json::json!({"name": name, "class_name": "Dense", "output_shape": shape, "params": params});
    let expected = serde_json::json!({
        "name": "stack",
        "layers": [layer("frozen", "(None, 2)", 8), layer("line", "(None, 1)", 3)],
        "total_params": 11,
        "trainable_params": 3,
        "non_trainable_params": 8,
    });
    assert_eq!(object, expected);
}

#[test]
fn config_tells_values_and_origins() {
    let place = Place::new();
    std::fs::create_dir(place.path("settings")).unwrap();
    place.put("settings/keras.json", r#"{"floatx": "float64", "keras_rs": {"backend": "ndarray"}}"#);
    let mut command = place.command(&["config", "--json", "--threads", "2"]);
    let output = ran(command.env("KERAS_DEVICE", "cpu"));
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""));
    let config: Value = serde_json::from_str(&output.stdout).unwrap();
    let keys: Vec<&String> = config.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["backend", "device", "floatx", "epsilon", "image_data_format", "threads", "home"]);
    let file = place.path("settings/keras.json").display().to_string();
    for (name, value, origin, source) in [
        ("backend", Value::from("ndarray"), "file", Value::from(file.as_str())),
        ("device", "cpu".into(), "environment", "KERAS_DEVICE".into()),
        ("floatx", "float64".into(), "file", file.as_str().into()),
        ("epsilon", 1e-7.into(), "default", Value::Null),
        ("image_data_format", "channels_last".into(), "default", Value::Null),
        ("threads", 2.into(), "command line", Value::Null),
    ] {
        let expected = serde_json::json!({"value": value, "origin": origin, "source": source});
        assert_eq!(config[name], expected, "{name}");
    }
    assert_eq!(config["home"], place.path("settings").display().to_string());

    let table = place.result(&["config"]);
    assert!(
        table.contains("float64") && table.contains(&file) && table.contains("chosen by the backend"),
        "{table}"
    );
}

#[test]
fn backends_tells_devices_and_operations() {
    let place = Place::new();
    let object: Value = serde_json::from_str(&place.result(&["backends", "--json"])).unwrap();
    assert_eq!(object["default"], "ndarray");
    let ndarray = &object["backends"][0];
    let keys: Vec<&String> = ndarray.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["name", "available", "reason", "devices", "dtypes", "operations", "lacks"]);
    assert_eq!(ndarray["name"], "ndarray");
    assert_eq!(ndarray["available"], true);
    assert_eq!(ndarray["reason"], Value::Null);
    assert_eq!(ndarray["devices"], serde_json::json!(["cpu"]));
    assert_eq!(
        ndarray["dtypes"],
        serde_json::json!(["float32", "float64", "int32", "int64", "uint8", "bool"])
    );
    let operations = ndarray["operations"].as_object().unwrap();
    assert!(operations.len() > 60, "{}", operations.len());
    assert!(operations.values().all(|support| support == "native" || support == "decomposed"));
    for operation in ["matmul", "recurrent", "recurrent_grad"] {
        assert_eq!(operations[operation], "native");
    }

    let table = place.result(&["backends"]);
    for name in operations.keys() {
        assert!(table.lines().any(|line| line.split_whitespace().next() == Some(name)), "{name}");
    }

    let object: Value =
        serde_json::from_str(&place.result(&["backends", "--json", "--device", "cuda:7"])).unwrap();
    assert_eq!(object["backends"][0]["available"], false);
    assert!(object["backends"][0]["reason"].as_str().unwrap().contains("cuda:7"));

    let mut command = place.command(&["backends", "--json"]);
    let output = ran(command.env("KERAS_NUM_THREADS", "none"));
    let object: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(object["backends"][0]["available"], false);
    assert!(object["backends"][0]["reason"].as_str().unwrap().contains("KERAS_NUM_THREADS"));
}

/// What a backend lacks is told with the reason, one line an operation; what it does not lack is on no such line.
#[cfg(any(feature = "candle", feature = "torch"))]
#[test]
fn backends_tells_what_is_lacking_and_why() {
    let place = Place::new();
    let object: Value = serde_json::from_str(&place.result(&["backends", "--json"])).unwrap();
    let table = place.result(&["backends"]);
    let (_, told) = table.split_once("because\n").unwrap();
    let names = [(cfg!(feature = "candle"), "candle"), (cfg!(feature = "torch"), "torch")];
    for (_, name) in names.into_iter().filter(|(built, _)| *built) {
        let backend = object["backends"].as_array().unwrap().iter().find(|backend| backend["name"] == name);
        tells_what_is_lacking(backend.unwrap(), name, told);
    }
}

#[cfg(any(feature = "candle", feature = "torch"))]
fn tells_what_is_lacking(backend: &Value, name: &str, told: &str) {
    let lacks = backend["lacks"].as_array().unwrap();
    assert!(!lacks.is_empty());
    for lack in lacks {
        let [operation, instead, reason] =
            ["operation", "instead", "reason"].map(|key| lack[key].as_str().unwrap());
        assert!(!reason.is_empty(), "{operation}");
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let line = words(&format!("{operation} {name} {instead} {reason}"));
        assert!(told.lines().any(|told| words(told) == line), "{line:?} in\n{told}");
    }
    let count = told.lines().filter(|line| line.split_whitespace().nth(1) == Some(name)).count();
    assert_eq!(count, lacks.len());
    // Some lack it for some types alone; whatever is lacking for floats is told.
    for (operation, support) in backend["operations"].as_object().unwrap() {
        let told = lacks.iter().any(|lack| lack["operation"] == *operation && lack["instead"] == *support);
        assert!(support == "native" || told, "{operation}: {support}");
    }
}

#[test]
fn nothing_is_coloured_where_nobody_looks() {
    let place = Place::new();
    place.put("model.json", sequential(&[dense("line", 3, 2)]));
    for arguments in [&["--help"][..], &["summary", "model.json"], &["backends"], &["fit"], &["config"]] {
        let output = place.run(arguments);
        assert!(!output.stdout.contains('\x1b') && !output.stderr.contains('\x1b'), "{output:?}");
    }
}
