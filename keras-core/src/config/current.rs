//! The settings of the process: what code and command line say, over what was loaded.

use super::{
    DEFAULT_EPSILON, DEFAULT_FLOATX, DataFormat, Environment, FOREIGN_BACKENDS, Origin, Setting, Settings,
    is_epsilon, parse_floatx,
};
use crate::array::DType;
use crate::error::{Error, Result};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

/// What code and command line say about one setting.
struct Said<T> {
    code: Option<T>,
    command_line: Option<T>,
}

impl<T: Clone> Said<T> {
    const NOTHING: Self = Self { code: None, command_line: None };

    fn set(&mut self, doing: &str, value: T, origin: &Origin) -> Result<()> {
        match origin {
            Origin::Code => self.code = Some(value),
            Origin::CommandLine => self.command_line = Some(value),
            other => {
                return Err(Error::value(doing, "the origin code or command line", format!("{other}"))
                    .advice("environment variables and keras.json are read, not set"));
            }
        }
        Ok(())
    }

    fn value(&self) -> Option<&T> {
        self.code.as_ref().or(self.command_line.as_ref())
    }

    /// What holds when `below` is what environment, file and default say, if they could be read, else `default`.
    fn value_over(&self, below: Result<&T, &Error>, default: T) -> T {
        self.value().or(below.ok()).cloned().unwrap_or(default)
    }

    /// What holds when `below` is what environment, file and default say.
    fn over(&self, below: &Setting<T>) -> Setting<T> {
        match (&self.code, &self.command_line) {
            (Some(value), _) => Setting::new(value.clone(), Origin::Code),
            (None, Some(value)) => Setting::new(value.clone(), Origin::CommandLine),
            (None, None) => below.clone(),
        }
    }
}

/// The settings of a process.
struct Current {
    backend: Said<Option<String>>,
    device: Said<Option<String>>,
    floatx: Said<DType>,
    epsilon: Said<f64>,
    image_data_format: Said<DataFormat>,
    /// What environment, file and default say, or why they could not be read, once they have been.
    loaded: Option<Result<Settings>>,
}

impl Current {
    const fn new() -> Self {
        Self {
            backend: Said::NOTHING,
            device: Said::NOTHING,
            floatx: Said::NOTHING,
            epsilon: Said::NOTHING,
            image_data_format: Said::NOTHING,
            loaded: None,
        }
    }

    fn set_backend(&mut self, name: &str, origin: &Origin) -> Result<()> {
        if name.is_empty() || FOREIGN_BACKENDS.contains(&name) {
            let received = if name.is_empty() {
                "an empty name".to_owned()
            } else {
                format!("`{name}`, one of Python Keras")
            };
            return Err(Error::name("backend", "a backend of this program", received)
                .advice("`keras backends` lists them"));
        }
        self.backend.set("backend", Some(name.to_owned()), origin)
    }

    fn set_device(&mut self, name: &str, origin: &Origin) -> Result<()> {
        if name.is_empty() {
            return Err(Error::name("device", "a device such as `cpu` or `cuda:0`", "an empty name"));
        }
        self.device.set("device", Some(name.to_owned()), origin)
    }

    fn set_epsilon(&mut self, epsilon: f64) -> Result<()> {
        if !is_epsilon(epsilon) {
            return Err(Error::value("set_epsilon", "a finite number above 0", epsilon.to_string()));
        }
        self.epsilon.set("set_epsilon", epsilon, &Origin::Code)
    }

    fn set_image_data_format(&mut self, name: &str) -> Result<()> {
        let format = DataFormat::from_name(name).ok_or_else(|| {
            Error::value("set_image_data_format", "`channels_last` or `channels_first`", format!("`{name}`"))
        })?;
        self.image_data_format.set("set_image_data_format", format, &Origin::Code)
    }

    /// `below`, with what code and command line say over it.
    fn over(&self, below: Settings) -> Settings {
        Settings {
            backend: self.backend.over(&below.backend),
            device: self.device.over(&below.device),
            floatx: self.floatx.over(&below.floatx),
            epsilon: self.epsilon.over(&below.epsilon),
            image_data_format: self.image_data_format.over(&below.image_data_format),
            home: below.home,
            // Who has named a backend need not be told which one stands in for Python's.
            foreign: below.foreign.filter(|_| self.backend.value().is_none()),
            ignored: below.ignored,
        }
    }
}

static CURRENT: RwLock<Current> = RwLock::new(Current::new());
static NOTICES_DONE: AtomicBool = AtomicBool::new(false);

/// Gives `read` what code and command line say, and what environment and file say, which are read now if they have
/// not been, or if that failed and `retry` is set.
fn with_loaded<T>(retry: bool, read: impl FnOnce(&Current, &Result<Settings>) -> T) -> T {
    {
        let current = CURRENT.read().unwrap_or_else(PoisonError::into_inner);
        match &current.loaded {
            Some(loaded) if loaded.is_ok() || !retry => return read(&current, loaded),
            _ => {}
        }
    }
    let mut current = CURRENT.write().unwrap_or_else(PoisonError::into_inner);
    let loaded = current.loaded.take().filter(Result::is_ok);
    let loaded = loaded.unwrap_or_else(|| Settings::load(&Environment::of_process()));
    let result = read(&current, &loaded);
    current.loaded = Some(loaded);
    result
}

fn change<T>(change: impl FnOnce(&mut Current) -> T) -> T {
    change(&mut CURRENT.write().unwrap_or_else(PoisonError::into_inner))
}

/// The settings in force, each with its origin.
///
/// The first call (of this or a getter) reads the environment and `keras.json`. The first whose backend is not that
/// of the user's Python Keras says so on stderr, in one line per process (unless [`suppress_notices`] was called).
/// Everything that runs a program asks here for its backend.
///
/// # Errors
/// Those of [`Settings::load`]; the next call reads again, so a mended file needs no restart.
///
/// ```no_run
/// use keras_core::config::{self, Origin};
/// config::set_epsilon(1e-5)?;
/// let epsilon = config::settings()?.epsilon;
/// assert_eq!((epsilon.value, epsilon.origin), (1e-5, Origin::Code));
/// # Ok::<(), keras_core::Error>(())
/// ```
pub fn settings() -> Result<Settings> {
    let settings = with_loaded(true, |current, loaded| loaded.clone().map(|below| current.over(below)))?;
    if settings.notices().next().is_some() && !NOTICES_DONE.swap(true, Ordering::Relaxed) {
        let mut stderr = std::io::stderr().lock();
        for notice in settings.notices() {
            // A closed stderr is no reason to stop.
            let _ = writeln!(stderr, "{notice}");
        }
    }
    Ok(settings)
}

/// Keeps [`settings`] from writing its notices to stderr; they stay in [`Settings::notices`].
pub fn suppress_notices() {
    NOTICES_DONE.store(true, Ordering::Relaxed);
}

/// The element type of weights and activations, `F32` or `F64` (Keras's `K.floatx()`).
///
/// When the environment or `keras.json` cannot be read, this is what code or command line said, else the default.
/// The error is not lost: whatever runs a program calls [`settings`], which returns it.
pub fn floatx() -> DType {
    with_loaded(false, |current, loaded| {
        let below = loaded.as_ref().map(|below| &below.floatx.value);
        current.floatx.value_over(below, DEFAULT_FLOATX)
    })
}

/// Sets [`floatx`] from code.
///
/// # Errors
/// `Value` for anything but `float32` and `float64`.
pub fn set_floatx(name: &str) -> Result<()> {
    set_floatx_name(name, &Origin::Code)
}

/// Sets [`floatx`] as code or command line say.
///
/// # Errors
/// `Value` for anything but `float32` and `float64`, and for another origin.
pub fn set_floatx_name(name: &str, origin: &Origin) -> Result<()> {
    let dtype = parse_floatx("floatx", name)?;
    change(|current| current.floatx.set("floatx", dtype, origin))
}

/// The fuzz factor of losses, metrics and optimizers (Keras's `K.epsilon()`), 1e-7 by default. What cannot be read is
/// treated as by [`floatx`].
pub fn epsilon() -> f64 {
    with_loaded(false, |current, loaded| {
        let below = loaded.as_ref().map(|below| &below.epsilon.value);
        current.epsilon.value_over(below, DEFAULT_EPSILON)
    })
}

/// Sets [`epsilon`] from code.
///
/// # Errors
/// `Value` unless it is finite and above 0.
pub fn set_epsilon(epsilon: f64) -> Result<()> {
    change(|current| current.set_epsilon(epsilon))
}

/// The data format of layers that do not name one (Keras's `K.image_data_format()`), channels last by default. What
/// cannot be read is treated as by [`floatx`].
pub fn image_data_format() -> DataFormat {
    with_loaded(false, |current, loaded| {
        let below = loaded.as_ref().map(|below| &below.image_data_format.value);
        current.image_data_format.value_over(below, DataFormat::default())
    })
}

/// Sets [`image_data_format`] from code.
///
/// # Errors
/// `Value` for anything but `channels_last` and `channels_first`.
pub fn set_image_data_format(name: &str) -> Result<()> {
    change(|current| current.set_image_data_format(name))
}

/// Names the backend, as code or command line say. Whether it exists is for the registry of backends to say.
///
/// # Errors
/// `Name` for the backends of Python Keras; `Value` for another origin.
pub fn set_backend_name(name: &str, origin: &Origin) -> Result<()> {
    change(|current| current.set_backend(name, origin))
}

/// Names the device, as code or command line say. Whether it exists is for the backend to say.
///
/// # Errors
/// `Name` for an empty name; `Value` for another origin.
pub fn set_device_name(name: &str, origin: &Origin) -> Result<()> {
    change(|current| current.set_device(name, origin))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::tests::load;
    use super::*;

    #[test]
    fn code_wins_over_the_command_line_over_the_environment_whoever_speaks_first() {
        let below = load("{}", &[("KERAS_BACKEND", "torch"), ("KERAS_FLOATX", "float32")]).1.unwrap();
        let mut current = Current::new();
        assert_eq!(current.over(below.clone()), below);

        current.set_backend("candle", &Origin::CommandLine).unwrap();
        current.set_device("cpu", &Origin::CommandLine).unwrap();
        current.floatx.set("floatx", DType::F64, &Origin::CommandLine).unwrap();
        let settings = current.over(below.clone());
        assert_eq!(settings.backend, Setting::new(Some("candle".into()), Origin::CommandLine));
        assert_eq!(settings.device, Setting::new(Some("cpu".into()), Origin::CommandLine));
        assert_eq!(settings.floatx, Setting::new(DType::F64, Origin::CommandLine));

        current.set_backend("ndarray", &Origin::Code).unwrap();
        current.set_backend("torch", &Origin::CommandLine).unwrap();
        current.floatx.set("floatx", DType::F32, &Origin::Code).unwrap();
        current.set_epsilon(1e-3).unwrap();
        current.set_image_data_format("channels_first").unwrap();
        let settings = current.over(below);
        assert_eq!(settings.backend, Setting::new(Some("ndarray".into()), Origin::Code));
        assert_eq!(settings.floatx, Setting::new(DType::F32, Origin::Code));
        assert_eq!(settings.epsilon, Setting::new(1e-3, Origin::Code));
        assert_eq!(settings.image_data_format, Setting::new(DataFormat::ChannelsFirst, Origin::Code));

        let foreign = load(r#"{"backend": "tensorflow"}"#, &[]).1.unwrap();
        assert_eq!(current.over(foreign).notices().count(), 0, "a backend was named");
    }

    #[test]
    fn setters_refuse_what_is_outside_their_domain() {
        let mut current = Current::new();
        for name in ["tensorflow", "theano", "cntk", "jax", ""] {
            for origin in [Origin::Code, Origin::CommandLine] {
                assert!(matches!(current.set_backend(name, &origin), Err(Error::Name(_))), "{name}");
            }
        }
        assert!(matches!(current.set_device("", &Origin::Code), Err(Error::Name(_))));
        for origin in [Origin::Default, Origin::Environment("KERAS_BACKEND"), Origin::File("f".into())] {
            assert!(matches!(current.set_backend("candle", &origin), Err(Error::Value(_))));
        }
        for epsilon in [0.0, -1e-7, f64::NAN, f64::INFINITY] {
            assert!(matches!(current.set_epsilon(epsilon), Err(Error::Value(_))), "{epsilon}");
        }
        assert!(matches!(current.set_image_data_format("tf"), Err(Error::Value(_))));
        for name in ["float16", "bfloat16", "int32", "Float32", ""] {
            let error = set_floatx(name).unwrap_err().to_string();
            assert_eq!(error, format!("floatx: expected `float32` or `float64`, received `{name}`"));
        }
        let below = load("{}", &[]).1.unwrap();
        assert_eq!(current.over(below.clone()), below, "what was refused left no trace");
    }

    /// Set in the processes that [`child`] starts.
    const CHILD: &str = "KERAS_TEST_CHILD";

    /// Runs [`report_and_set`] by way of the calling `test`, in a process of its own whose Keras directory holds
    /// `json`: its output lines and its stderr. `None` in that process, after the run.
    fn child(test: &str, json: &str) -> Option<(Vec<String>, String)> {
        if std::env::var_os(CHILD).is_some() {
            report_and_set();
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("keras.json"), json).unwrap();
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args([&format!("config::current::tests::{test}"), "--exact", "--nocapture"])
            .env(CHILD, "1")
            .env("KERAS_HOME", home.path())
            .env_remove("KERAS_BACKEND")
            .env_remove("KERAS_DEVICE")
            .env_remove("KERAS_FLOATX")
            .output()
            .unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let lines = stdout.lines().filter_map(|line| line.strip_prefix("child: ")).map(ToOwned::to_owned);
        Some((lines.collect(), String::from_utf8(output.stderr).unwrap()))
    }

    /// Changes the settings of its process.
    fn report_and_set() {
        // libtest writes the name of the test without a line end.
        println!();
        println!("child: {} {} {}", floatx(), epsilon(), image_data_format());
        match settings() {
            Err(error) => {
                println!("child: {error}");
                std::fs::write(std::env::var("KERAS_HOME").unwrap() + "/keras.json", "{\"epsilon\": 0.5}")
                    .unwrap();
                println!("child: {} {}", settings().unwrap().epsilon.value, epsilon());
            }
            Ok(settings) => {
                println!("child: {:?}", settings.backend.value);
                set_floatx("float64").unwrap();
                set_epsilon(0.25).unwrap();
                set_image_data_format("channels_last").unwrap();
                set_backend_name("ndarray", &Origin::CommandLine).unwrap();
                set_device_name("cpu", &Origin::Code).unwrap();
                println!("child: {} {} {}", floatx(), epsilon(), image_data_format());
                let settings = super::settings().unwrap();
                println!("child: {:?} {:?}", settings.backend, settings.device);
            }
        }
    }

    #[test]
    fn the_process_reads_its_file_takes_its_setters_and_notices_in_one_line() {
        let test = "the_process_reads_its_file_takes_its_setters_and_notices_in_one_line";
        let json = r#"{"floatx": "float64", "epsilon": 0.125, "image_data_format": "channels_first", "backend": "jax"}"#;
        let Some((lines, stderr)) = child(test, json) else { return };
        assert_eq!(
            lines,
            [
                "float64 0.125 channels_first",
                "None",
                "float64 0.25 channels_last",
                "Setting { value: Some(\"ndarray\"), origin: CommandLine } \
                 Setting { value: Some(\"cpu\"), origin: Code }",
            ]
        );
        let notices: Vec<_> = stderr.lines().filter(|line| line.contains("Python Keras")).collect();
        assert_eq!(notices.len(), 1, "{stderr}");
        assert!(notices[0].starts_with("backend `jax` ("), "{stderr}");
    }

    #[test]
    fn a_malformed_file_fails_what_runs_programs_until_it_is_mended() {
        let test = "a_malformed_file_fails_what_runs_programs_until_it_is_mended";
        let Some((lines, _)) = child(test, "{\n\"floatx\": }") else { return };
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert_eq!(lines[0], "float32 0.0000001 channels_last");
        assert!(lines[1].contains("keras.json, line 2, column 11: expected JSON"), "{lines:?}");
        assert_eq!(lines[2], "0.5 0.5");
    }
}
