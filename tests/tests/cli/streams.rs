//! "Streams", "Exit", and the options of every command.

use super::files::floats;
use super::{Place, ran};
use std::process::Stdio;

const PREDICT: [&str; 8] =
    ["predict", "model.json", "--weights", "weights.npz", "--input", "x.npy", "--output", "y.npy"];

fn line() -> Place {
    let place = Place::new();
    place.put_line();
    place.put("x.npy", floats(&[2, 3], &[1.0, 0.0, 0.0, 0.0, 1.0, 1.0]));
    place.put("y_true.npy", floats(&[2, 2], &[1.5, 9.5, 5.5, 49.5]));
    place
}

#[test]
fn results_are_on_stdout_and_everything_else_on_stderr() {
    let place = line();
    assert!(place.result(&["summary", "model.json"]).starts_with("Model: \"stack\"\n"));
    let evaluate = [
        "evaluate",
        "model.json",
        "--weights",
        "weights.npz",
        "--x",
        "x.npy",
        "--y",
        "y_true.npy",
        "--loss",
        "mse",
    ];
    assert_eq!(place.result(&evaluate), "{\"loss\":0.0}\n");
    let fit = place.run(&[
        "fit",
        "model.json",
        "--x",
        "x.npy",
        "--y",
        "y_true.npy",
        "--loss",
        "mse",
        "--verbose",
        "2",
    ]);
    assert_eq!((fit.code, fit.stdout.as_str()), (Some(0), ""));
    assert!(fit.stderr.contains("Epoch 1/1") && fit.stderr.contains("nothing was saved"), "{fit:?}");
}

#[test]
fn an_error_is_one_line_and_output_files_stay_as_they_were() {
    let place = line();
    place.put("y.npy", "what was there before");
    place.put("bad.npy", floats(&[2, 5], &[0.0; 10]));
    let before = place.names();
    place.fails(
        1,
        &["predict", "model.json", "--weights", "weights.npz", "--input", "bad.npy", "--output", "y.npy"],
        &["bad.npy", "(samples, 3)", "(2, 5)"],
    );
    assert_eq!(place.get("y.npy"), b"what was there before");
    assert_eq!(place.names(), before, "no temporary file is left");

    place.fails(1, &["summary", "new\nline.json"], &["new\\nline.json"]);
}

#[cfg(unix)]
#[test]
fn output_files_stay_as_they_were_where_their_folder_takes_none() {
    let place = line();
    place.fails(1, &[&PREDICT[..7], &["missing/y.npy"]].concat(), &["missing/y.npy", "missing"]);
    std::fs::create_dir(place.path("folder.npy")).unwrap();
    place.fails(1, &[&PREDICT[..7], &["folder.npy"]].concat(), &["folder.npy", "a directory"]);
    let fit = ["fit", "model.json", "--x", "x.npy", "--y", "y_true.npy", "--loss", "mse", "--epochs", "3"];
    for option in ["--history", "--save"] {
        place.fails(1, &[&fit[..], &[option, "missing/out.npz"]].concat(), &[option, "missing"]);
    }
}

#[test]
fn a_closed_stdout_is_no_panic() {
    let place = line();
    let lines = [
        &["backends"][..],
        &["backends", "--json"],
        &["summary", "model.json"],
        &["summary", "model.json", "--json"],
        &["inspect", "model.json"],
        &["config"],
        &["fit", "--help"],
        &["--help"],
        &["--version"],
    ];
    for arguments in lines {
        let mut child =
            place.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_stdout_that_takes_nothing_is_an_error() {
    let full = std::fs::File::create("/dev/full").unwrap();
    let place = line();
    let ran = ran(place.command(&["summary", "model.json"]).stdout(full));
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.starts_with("error: writing to stdout: expected "), "{ran:?}");
}

#[test]
fn exit_codes_are_0_done_1_failed_2_wrong_usage() {
    let place = line();
    place.result(&PREDICT);
    place.fails(1, &["summary", "missing.json"], &["missing.json", "no such file"]);
    place.fails(
        2,
        &[],
        &["summary, predict, evaluate, fit, convert, inspect, plot, config, backends, compare"],
    );
    place.fails(2, &["train"], &["`train`"]);
    place.fails(2, &["sumary", "model.json"], &["did you mean summary"]);
    place.fails(2, &["summary"], &["<MODEL>", "keras summary"]);
    place.fails(2, &["summary", "model.json", "--speed"], &["`--speed`"]);
    place.fails(2, &["predict", "model.json", "--inputs", "x.npy"], &["did you mean --input"]);
    place.fails(
        2,
        &[&PREDICT[..], &["--batch-size", "0"]].concat(),
        &["`keras predict`: ", "a whole number from 1", "`0`"],
    );
    place.fails(2, &[&PREDICT[..], &["--batch-size", "2", "--batch-size", "3"]].concat(), &["once"]);
    place.fails(2, &[&PREDICT[..], &["--batch-size"]].concat(), &["a value after"]);
    place.fails(2, &["backends", "model.json"], &["`model.json`"]);
    let help = place.result(&["--help"]);
    let commands = [
        "predict", "evaluate", "fit", "convert", "inspect", "plot", "config", "backends", "compare",
        "summary",
    ];
    for command in commands {
        assert!(help.contains(command), "{help}");
        assert!(place.result(&[command, "--help"]).contains("--backend"), "{command}");
    }
    assert_eq!(place.result(&["--version"]), format!("keras {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn settings_stand_before_or_after_the_command() {
    let place = line();
    let settings =
        ["--backend", "ndarray", "--device", "cpu", "--floatx", "float64", "--threads", "3", "--quiet"];
    let before = place.result(&[&settings[..], &["config", "--json"]].concat());
    let after = place.result(&[&["config", "--json"], &settings[..]].concat());
    assert_eq!(before, after);
    let config: serde_json::Value = serde_json::from_str(&before).unwrap();
    for (name, value) in [("backend", "ndarray"), ("device", "cpu"), ("floatx", "float64")] {
        assert_eq!(config[name]["value"], value);
        assert_eq!(config[name]["origin"], "command line");
    }
    assert_eq!(config["threads"]["value"], 3);
    place.result(&[&settings[..], &PREDICT].concat());
    place.result(&[&PREDICT[..], &settings].concat());
}

#[test]
fn settings_that_do_not_exist_are_errors() {
    let place = line();
    place.fails(2, &["config", "--backend", "abacus"], &["ndarray", "abacus"]);
    place.fails(2, &["config", "--backend", "tensorflow"], &["tensorflow", "keras backends"]);
    place.fails(2, &["config", "--floatx", "float16"], &["float32, float64", "`float16`"]);
    place.fails(2, &["config", "--threads", "0"], &["a whole number from 1"]);
    place.fails(1, &[&PREDICT[..], &["--device", "cuda:9"]].concat(), &["cpu", "cuda:9"]);
    place.fails(1, &[&PREDICT[..], &["--device", "cuda:9", "--threads", "2"]].concat(), &["cpu", "cuda:9"]);
    let mut command = place.command(&PREDICT);
    let ran = ran(command.env("KERAS_NUM_THREADS", "many"));
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("KERAS_NUM_THREADS"), "{ran:?}");
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let place = line();
    let mut results = Vec::new();
    for threads in ["1", "2", "7"] {
        place.result(&[&PREDICT[..], &["--threads", threads]].concat());
        results.push(place.get("y.npy"));
    }
    assert!(results.iter().all(|bytes| *bytes == results[0]));
}

#[test]
fn quiet_leaves_warnings_and_errors_alone_on_stderr() {
    let place = line();
    let fit = [
        "fit",
        "model.json",
        "--x",
        "x.npy",
        "--y",
        "y_true.npy",
        "--loss",
        "mse",
        "--verbose",
        "2",
        "--quiet",
    ];
    assert_eq!(place.result(&fit), "");
    place.fails(1, &["summary", "missing.json", "--quiet"], &["missing.json"]);
}

#[test]
fn a_malformed_settings_file_is_an_error_that_names_its_place() {
    let place = line();
    std::fs::create_dir(place.path("settings")).unwrap();
    place.put("settings/keras.json", "{\n  \"floatx\": \"float32\",\n");
    place.fails(1, &["summary", "model.json"], &["keras.json", "line 3"]);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_read_once() {
    let place = line();
    let arguments = PREDICT.map(|word| match word {
        "model.json" => "<(cat model.json)",
        "x.npy" => "<(cat x.npy)",
        other => other,
    });
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", &format!("{} {}", super::program().display(), arguments.join(" "))]);
    let ran = ran(shell.current_dir(place.path(".")).env("KERAS_HOME", place.path("settings")));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!(super::files::read_floats(&place.get("y.npy")).1, [1.5, 9.5, 5.5, 49.5]);
}
