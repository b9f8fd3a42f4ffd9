//! Which backend, device and floatx a model gets: every way of saying it, every precedence, and what is said in vain.

use crate::observed::{Account, Observed};
use keras::backend::Engine;
use keras::backend::reference::Reference;
use keras::backend::registry::{self, choose_device};
use keras::config::{self, Origin};
use keras::prelude::*;
use std::collections::HashMap;
use std::process::Command;
use std::sync::{Arc, Mutex};

/// Set in the processes that [`child`] starts.
const CHILD: &str = "KERAS_TEST_CHILD";

/// Ways of saying a setting, the strongest first.
const WAYS: [&str; 4] = ["code", "line", "env", "file"];

/// Runs the calling `test` again in a process of its own, with that `keras.json` and those variables: the lines that it
/// reports. `None` in that process.
pub(crate) fn child(test: &str, json: &str, variables: &[(&str, &str)]) -> Option<Vec<String>> {
    if std::env::var_os(CHILD).is_some() {
        return None;
    }
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("keras.json"), json).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--include-ignored"]).env(CHILD, "1");
    for name in ["KERAS_BACKEND", "KERAS_DEVICE", "KERAS_FLOATX"] {
        command.env_remove(name);
    }
    let output = command.env("KERAS_HOME", home.path()).envs(variables.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    Some(stdout.lines().filter_map(|line| line.strip_prefix("child: ")).map(str::to_owned).collect())
}

pub(crate) fn report(line: &str) {
    // libtest writes the name of the test without a line end.
    println!("\nchild: {line}");
}

/// The devices of the backends that [`Seen`] registers.
const DEVICES: [&str; 6] = ["gpu:0", "gpu:1", "gpu:2", "gpu:3", "gpu:4", "cpu"];

/// What the backends of a process were asked for.
#[derive(Default)]
struct Seen {
    devices: Arc<Mutex<HashMap<&'static str, String>>>,
    accounts: HashMap<&'static str, Arc<Account>>,
}

impl Seen {
    /// Registers backends that count, each with those devices.
    fn register(names: &[&'static str]) -> Self {
        let mut seen = Self::default();
        for &name in names {
            let account = Arc::<Account>::default();
            seen.accounts.insert(name, Arc::clone(&account));
            let devices = Arc::clone(&seen.devices);
            registry::register(name, move |asked| {
                let there = DEVICES.map(str::to_owned);
                let chosen = choose_device(name, asked, &there)?;
                devices.lock().unwrap().insert(name, there[chosen].clone());
                Ok(Observed { account: Arc::clone(&account), ..Observed::default() })
            });
        }
        seen
    }

    /// The backend that computed something since the last call, its device, and the weights' element type.
    fn of(&self, model: &Sequential) -> String {
        self.accounts.values().for_each(|account| account.reset());
        model
            .predict(Array::full(&[2, 3], 0.5_f32).unwrap().cast(model.weights()[0].variable.dtype()))
            .unwrap();
        let ran = self.accounts.iter().filter(|(_, account)| account.total() > 0);
        let names: Vec<&str> = ran.map(|(name, _)| *name).collect();
        let (runtime, dtype) = (model.runtime().unwrap(), model.weights()[0].variable.dtype());
        let [name] = names[..] else {
            return format!("{} {} {dtype}", runtime.name(), runtime.device());
        };
        let device = self.devices.lock().unwrap().get(name).cloned().unwrap_or_default();
        format!("{name} {device} {dtype}")
    }
}

fn small() -> Sequential {
    let mut model = Sequential::new();
    model.add(Dense::new(2).input_shape([3])).unwrap();
    model
}

/// The backend, device and floatx that a way says if it is the strongest, and if it is not.
fn says(way: &str, strongest: bool) -> (&'static str, &'static str, &'static str) {
    let floatx = if strongest { "float64" } else { "float32" };
    match way {
        "code" => ("alpha", "gpu:1", floatx),
        "line" => ("beta", "gpu:2", floatx),
        "env" => ("gamma", "gpu:3", floatx),
        _ => ("delta", "gpu:4", floatx),
    }
}

/// All sixteen sets of ways: the strongest of each set decides, and of the empty one the defaults.
#[test]
fn every_way_reaches_its_backend_and_the_strongest_wins() {
    let test = "choosing::every_way_reaches_its_backend_and_the_strongest_wins";
    if std::env::var_os(CHILD).is_some() {
        let seen = Seen::register(&["omega", "alpha", "beta", "gamma", "delta"]);
        let ways = std::env::var("KERAS_TEST_WAYS").unwrap_or_default();
        let ways: Vec<&str> = ways.split_whitespace().collect();
        for (way, origin) in [("line", Origin::CommandLine), ("code", Origin::Code)] {
            if ways.contains(&way) {
                let (backend, device, floatx) = says(way, ways[0] == way);
                config::set_backend_name(backend, &origin).unwrap();
                config::set_device_name(device, &origin).unwrap();
                config::set_floatx_name(floatx, &origin).unwrap();
            }
        }
        report(&seen.of(&small()));
        return;
    }
    for set in 0..16 {
        let ways: Vec<&str> = (0..4).filter(|i| set >> i & 1 == 1).map(|i| WAYS[i]).collect();
        let said = |way: &str| ways.contains(&way).then(|| says(way, ways[0] == way));
        let json = said("file").map_or("{}".to_owned(), |(backend, device, floatx)| {
            format!(
                r#"{{"keras_rs": {{"backend": "{backend}", "device": "{device}", "floatx": "{floatx}"}}}}"#
            )
        });
        let joined = ways.join(" ");
        let mut variables = vec![("KERAS_TEST_WAYS", joined.as_str())];
        if let Some((backend, device, floatx)) = said("env") {
            variables.extend([
                ("KERAS_BACKEND", backend),
                ("KERAS_DEVICE", device),
                ("KERAS_FLOATX", floatx),
            ]);
        }
        let lines = child(test, &json, &variables).unwrap();
        let expected = ways.first().map_or("ndarray cpu float32".to_owned(), |way| {
            let (backend, device, floatx) = says(way, true);
            format!("{backend} {device} {floatx}")
        });
        assert_eq!(lines, [expected], "{ways:?}");
    }
}

/// Each setting goes its own way: what is said of one says nothing of the others.
#[test]
fn every_setting_has_its_own_strongest_way() {
    let test = "choosing::every_setting_has_its_own_strongest_way";
    let json = r#"{"keras_rs": {"backend": "delta", "device": "gpu:4", "floatx": "float32"}}"#;
    let variables = [("KERAS_BACKEND", "gamma"), ("KERAS_FLOATX", "float32")];
    let Some(lines) = child(test, json, &variables) else {
        let seen = Seen::register(&["omega", "gamma", "delta"]);
        config::set_floatx_name("float64", &Origin::Code).unwrap();
        report(&seen.of(&small()));
        return;
    };
    assert_eq!(lines, ["gamma gpu:4 float64"]);
}

/// The options of the program itself, over the environment and keras.json: a prediction runs on the backend they name.
#[test]
fn the_options_of_the_program_reach_their_backend() {
    let test = "choosing::the_options_of_the_program_reach_their_backend";
    let json = r#"{"keras_rs": {"backend": "delta", "device": "gpu:0", "floatx": "float32"}}"#;
    let variables = [("KERAS_BACKEND", "gamma"), ("KERAS_DEVICE", "gpu:1"), ("KERAS_FLOATX", "float32")];
    let Some(lines) = child(test, json, &variables) else {
        let seen = Seen::register(&["omega", "alpha", "beta", "gamma", "delta"]);
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).into_os_string();
        // Weights that say no type of their own.
        let text = small().to_json().unwrap().replace(r#""dtype": "float32", "#, "");
        assert!(!text.contains("float32"), "{text}");
        std::fs::write(path("model.json"), text).unwrap();
        keras::npy::write_npy(path("x.npy"), &Array::full(&[2, 3], 0.5_f32).unwrap()).unwrap();
        small().save_weights(path("w.h5")).unwrap();
        for options in [vec![], vec!["--backend", "beta", "--device", "cpu", "--floatx", "float64"]] {
            seen.accounts.values().for_each(|account| account.reset());
            let mut arguments = vec!["keras".into(), "predict".into(), path("model.json")];
            arguments.extend(["--weights".into(), path("w.h5"), "--input".into(), path("x.npy")]);
            arguments.extend(["--output".into(), path("y.npy")]);
            arguments.extend(options.into_iter().map(std::ffi::OsString::from));
            let code = keras::cli::run(arguments);
            let ran = seen.accounts.iter().filter(|(_, account)| account.total() > 0);
            let names: Vec<&str> = ran.map(|(name, _)| *name).collect();
            let devices = seen.devices.lock().unwrap();
            let device = names.first().and_then(|name| devices.get(name)).cloned().unwrap_or_default();
            let dtype = keras::npy::read_npy(path("y.npy")).unwrap().dtype();
            report(&format!("{code:?} {} {device} {dtype}", names.join(" ")));
        }
        print!("\nchild: ");
        keras::cli::run(["keras", "backends", "--json"]);
        return;
    };
    let success = format!("{:?}", std::process::ExitCode::SUCCESS);
    assert_eq!(lines[..2], [format!("{success} gamma gpu:1 float32"), format!("{success} beta cpu float64")]);
    let listed: serde_json::Value = serde_json::from_str(&lines[2]).unwrap();
    let gamma =
        listed["backends"].as_array().unwrap().iter().find(|backend| backend["name"] == "gamma").unwrap();
    assert_eq!(
        (&gamma["available"], &gamma["devices"]),
        (&true.into(), &serde_json::json!(["gpu:0", "gpu:1", "cpu"]))
    );
}

/// A setter acts on models made after it; an engine given to a model wins over everything.
#[test]
fn code_chooses_for_later_models_and_an_engine_for_its_own() {
    let test = "choosing::code_chooses_for_later_models_and_an_engine_for_its_own";
    let Some(lines) = child(test, "{}", &[("KERAS_BACKEND", "alpha")]) else {
        let seen = Seen::register(&["alpha", "beta"]);
        let first = small();
        report(&seen.of(&first));
        keras::set_backend("beta").unwrap();
        keras::set_device("cpu").unwrap();
        let second = small();
        report(&seen.of(&second));
        report(&seen.of(&first));
        let account = Arc::<Account>::default();
        let engine = Engine::new(Observed { account: Arc::clone(&account), ..Observed::default() }).unwrap();
        second.on(&engine);
        second.predict(Array::full(&[2, 3], 0.5_f32).unwrap()).unwrap();
        report(&format!("own {}", account.total() > 0));
        let wrong = keras::set_backend("gamma").unwrap_err().to_string();
        report(&wrong);
        report(&seen.of(&small()));
        return;
    };
    let message = lines.get(4).unwrap();
    for part in ["\"gamma\"", "ndarray", "alpha, beta", "cargo feature"] {
        assert!(message.contains(part), "{message}");
    }
    let rest: Vec<&String> = lines.iter().filter(|line| *line != message).collect();
    assert_eq!(
        rest,
        ["alpha gpu:0 float32", "beta cpu float32", "alpha gpu:0 float32", "own true", "beta cpu float32"]
    );
}

/// A GPU that the probe reports is chosen by itself, `cpu` when asked for, and what is not there is an error that lists
/// what is.
#[test]
fn devices_that_are_not_there_are_errors_that_list_those_that_are() {
    let test = "choosing::devices_that_are_not_there_are_errors_that_list_those_that_are";
    let Some(lines) = child(test, "{}", &[("KERAS_BACKEND", "fake"), ("KERAS_DEVICE", "cuda:7")]) else {
        registry::register("fake", |asked| {
            choose_device("fake", asked, &["cuda:0".to_owned(), "cpu".to_owned()])?;
            Ok(Reference)
        });
        report(&registry::current().err().unwrap().to_string());
        report(&keras::set_backend("fake").unwrap_err().to_string());
        // From code, the name is taken as it is: whoever uses it finds out.
        keras::set_device("cuda:8").unwrap();
        report(&small().predict(Array::full(&[2, 3], 0.5_f32).unwrap()).unwrap_err().to_string());
        return;
    };
    for (message, device) in lines.iter().zip(["cuda:7", "cuda:7", "cuda:8"]) {
        for part in [device, "cuda:0, cpu", "available besides: ndarray on cpu"] {
            assert!(message.contains(part), "{message}");
        }
    }
    assert_eq!(lines.len(), 3);
}

/// A backend that opens but cannot compute is an error that lists what can, whoever asks for it.
#[test]
fn a_probe_that_fails_is_an_error_that_lists_what_is_available() {
    let test = "choosing::a_probe_that_fails_is_an_error_that_lists_what_is_available";
    let Some(lines) = child(test, "{}", &[("KERAS_BACKEND", "broken")]) else {
        registry::register("broken", |_| Ok(Observed { broken: true, ..Observed::default() }));
        report(&registry::current().err().unwrap().to_string());
        report(&keras::set_backend("broken").unwrap_err().to_string());
        print!("\nchild: ");
        keras::cli::run(["keras", "backends", "--json", "--backend", "ndarray"]);
        return;
    };
    for message in &lines[..2] {
        for part in ["no library to compute with", "available besides: ndarray on cpu"] {
            assert!(message.contains(part), "{message}");
        }
    }
    let listed: serde_json::Value = serde_json::from_str(&lines[2]).unwrap();
    let broken =
        listed["backends"].as_array().unwrap().iter().find(|backend| backend["name"] == "broken").unwrap();
    assert_eq!(broken["available"], false);
    assert!(broken["reason"].as_str().unwrap().contains("no library to compute with"), "{broken}");
}

fn compiled(layer: &LayerRef) -> Model {
    let x = Input::new([3]).tensor().unwrap();
    let y = Dense::new(1).call(layer.call(&x).unwrap()).unwrap();
    let model = Model::new(&x, &y).unwrap();
    model.compile(Compile::new(Adam::new(), "mse")).unwrap();
    model
}

fn batch(seed: f32, columns: usize) -> Array {
    let values: Vec<f32> = (0..8 * columns).map(|i| (seed + 0.9 * i as f32).sin()).collect();
    Array::from_vec(&[8, columns], values).unwrap()
}

/// A model goes on elsewhere where it was; what it shares with a model on another backend stays shared.
#[test]
fn a_live_model_moves_between_backends() {
    registry::register("elsewhere", |_| Ok(Reference));
    let losses = |moves: bool| -> Vec<f64> {
        let layer = LayerRef::new(Dense::new(4).activation("tanh").kernel_initializer("ones")).unwrap();
        let model = compiled(&layer);
        let ones: Vec<Array> =
            model.get_weights().unwrap().iter().map(|w| Array::full(w.shape(), 0.1_f32).unwrap()).collect();
        model.set_weights(&ones).unwrap();
        let steps = (0..6).map(|step| {
            if moves {
                model.to_backend(if step % 2 == 0 { "elsewhere" } else { "ndarray" }).unwrap();
            }
            model.train_on_batch(batch(0.1, 3), batch(0.2, 1)).unwrap()[0]
        });
        steps.collect()
    };
    let (moved, stayed) = (losses(true), losses(false));
    assert!(stayed[5] < stayed[0], "{stayed:?}");
    for (a, b) in moved.iter().zip(&stayed) {
        assert!((a - b).abs() < 1e-5 * b.abs(), "{moved:?} {stayed:?}");
    }
    let layer = LayerRef::new(Dense::new(4)).unwrap();
    let (here, there) = (compiled(&layer), compiled(&layer));
    there.to_backend("elsewhere").unwrap();
    let before = there.predict(batch(0.3, 3)).unwrap();
    here.train_on_batch(batch(0.1, 3), batch(0.2, 1)).unwrap();
    assert_ne!(before, there.predict(batch(0.3, 3)).unwrap());
    let error = here.to_backend("nowhere").unwrap_err().to_string();
    assert!(error.contains("nowhere") && error.contains("elsewhere"), "{error}");
    assert_eq!(here.runtime().unwrap().name(), "ndarray");
}
