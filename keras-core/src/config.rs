//! Settings: backend, device, floatx, epsilon and image data format, from code, command line, environment and
//! `keras.json`.
//!
//! | setting | code | environment | `keras.json` | default |
//! |---|---|---|---|---|
//! | backend | [`set_backend_name`] | `KERAS_BACKEND` | `backend` | not said |
//! | device | [`set_device_name`] | `KERAS_DEVICE` | `device` | not said |
//! | floatx | [`set_floatx`] | `KERAS_FLOATX` | `floatx` | `float32` |
//! | epsilon | [`set_epsilon`] | | `epsilon` | 1e-7 |
//! | image data format | [`set_image_data_format`] | | `image_data_format` | `channels_last` |
//!
//! Left wins; what the command line says comes between code and environment. The file is shared with Python Keras and
//! created when missing, never rewritten; keys inside its object `keras_rs` win over top-level ones and are invisible
//! to Python. Its directory is [`keras_home`].
//!
//! A setter acts on what is made after it.

mod current;
mod environment;
mod file;

pub use current::{
    epsilon, floatx, image_data_format, set_backend_name, set_device_name, set_epsilon, set_floatx,
    set_floatx_name, set_image_data_format, settings, suppress_notices,
};
pub use environment::{Environment, Platform, keras_home};
pub(crate) use file::NEW_FILE_BACKEND;

use crate::array::DType;
use crate::error::{Error, Result};
use std::fmt;
use std::path::PathBuf;

/// Who said the value of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A setter.
    Code,
    /// An option of the command line.
    CommandLine,
    /// This environment variable.
    Environment(&'static str),
    /// This `keras.json`.
    File(PathBuf),
    /// Nobody.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code => f.write_str("code"),
            Self::CommandLine => f.write_str("command line"),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The value of a setting and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value in force.
    pub value: T,
    /// Who said it.
    pub origin: Origin,
}

impl<T> Setting<T> {
    fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }
}

/// Where the channels of an image lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DataFormat {
    /// (batch, rows, columns, channels), Keras's default.
    #[default]
    ChannelsLast,
    /// (batch, channels, rows, columns).
    ChannelsFirst,
}

impl DataFormat {
    /// Keras's name: `channels_last` or `channels_first`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChannelsLast => "channels_last",
            Self::ChannelsFirst => "channels_first",
        }
    }

    /// The format of a Keras name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::ChannelsLast, Self::ChannelsFirst].into_iter().find(|format| format.name() == name)
    }
}

impl fmt::Display for DataFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Every setting, each with its origin.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The name of the backend; `None` when nobody said one.
    pub backend: Setting<Option<String>>,
    /// The name of the device (`cpu`, `cuda:0`, …); `None` when nobody said one.
    pub device: Setting<Option<String>>,
    /// The element type of weights and activations: `F32` or `F64`.
    pub floatx: Setting<DType>,
    /// The fuzz factor of losses, metrics and optimizers; above 0.
    pub epsilon: Setting<f64>,
    /// The data format of layers that do not name one.
    pub image_data_format: Setting<DataFormat>,
    /// The directory of `keras.json`, data sets and downloaded weights.
    pub home: PathBuf,
    /// The notice about backends of Python Keras that were passed over.
    foreign: Option<String>,
    /// Notices about what the file says in vain.
    ignored: Vec<String>,
}

const DEFAULT_FLOATX: DType = DType::F32;
const DEFAULT_EPSILON: f64 = 1e-7;

/// Backends of Keras itself. Python Keras needs their names in the places it reads, so there they do not mean us.
const FOREIGN_BACKENDS: [&str; 4] = ["tensorflow", "theano", "cntk", "jax"];

impl Settings {
    /// Reads environment variables and `keras.json`, which is created with [`Settings::default_file_contents`] if
    /// there is none (and if that fails, the defaults hold).
    ///
    /// The name of a backend of Python Keras (`tensorflow`, `theano`, `cntk`, `jax`) counts as not said and leaves a
    /// notice. Other names of backends and devices are taken as they are.
    ///
    /// # Errors
    /// `File`, with path, line and column, for a file that is unreadable, is no JSON, or has a value of the wrong type
    /// or outside its domain; `Value` for an environment variable outside its domain.
    pub fn load(environment: &Environment) -> Result<Self> {
        let home = keras_home(environment);
        let path = home.join("keras.json");
        let contents = file::read_or_create(&path)?.unwrap_or_default();
        let from_file = || Origin::File(path.clone());
        let ignored = contents
            .unknown
            .iter()
            .map(|key| format!("{}: `keras_rs` has no setting `{key}`; it is ignored", path.display()))
            .collect();

        let mut backend = Setting::new(None, Origin::Default);
        let said = text(environment, "KERAS_BACKEND")?
            .into_iter()
            .map(|name| Setting::new(name, Origin::Environment("KERAS_BACKEND")))
            .chain(contents.backends.into_iter().map(|name| Setting::new(name, from_file())));
        let mut passed_over = Vec::new();
        for Setting { value, origin } in said {
            if FOREIGN_BACKENDS.contains(&value.as_str()) {
                passed_over.push(format!("`{value}` ({origin})"));
            } else {
                backend = Setting::new(Some(value), origin);
                break;
            }
        }
        let foreign = (!passed_over.is_empty()).then(|| {
            let used = backend.value.as_deref().map_or_else(
                || "the default backend is used".to_owned(),
                |name| format!("`{name}` ({}) is used", backend.origin),
            );
            format!("backend {} is one of Python Keras; {used}", passed_over.join(", "))
        });

        let device = match (text(environment, "KERAS_DEVICE")?, contents.device) {
            (Some(name), _) => Setting::new(Some(name), Origin::Environment("KERAS_DEVICE")),
            (None, Some(name)) => Setting::new(Some(name), from_file()),
            (None, None) => Setting::new(None, Origin::Default),
        };
        let floatx = match (text(environment, "KERAS_FLOATX")?, contents.floatx) {
            (Some(name), _) => {
                Setting::new(parse_floatx("KERAS_FLOATX", &name)?, Origin::Environment("KERAS_FLOATX"))
            }
            (None, Some(floatx)) => Setting::new(floatx, from_file()),
            (None, None) => Setting::new(DEFAULT_FLOATX, Origin::Default),
        };
        let epsilon = contents.epsilon.map_or(Setting::new(DEFAULT_EPSILON, Origin::Default), |epsilon| {
            Setting::new(epsilon, from_file())
        });
        let image_data_format = contents
            .image_data_format
            .map_or(Setting::new(DataFormat::default(), Origin::Default), |format| {
                Setting::new(format, from_file())
            });
        Ok(Self { backend, device, floatx, epsilon, image_data_format, home, foreign, ignored })
    }

    /// What the user should know about how these came about, one line each.
    pub fn notices(&self) -> impl Iterator<Item = &str> {
        self.foreign.iter().chain(&self.ignored).map(String::as_str)
    }

    /// What a new `keras.json` contains.
    ///
    /// ```
    /// let text = keras_core::config::Settings::default_file_contents();
    /// let json: serde_json::Value = serde_json::from_str(&text)?;
    /// assert_eq!(json["floatx"], "float32");
    /// assert_eq!(json["keras_rs"]["backend"], "ndarray");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn default_file_contents() -> String {
        file::DEFAULT.to_owned()
    }
}

/// A variable that is set, as text.
fn text(environment: &Environment, variable: &str) -> Result<Option<String>> {
    environment
        .variable(variable)
        .map(|value| {
            value
                .to_str()
                .map(ToOwned::to_owned)
                .ok_or_else(|| Error::value(variable, "UTF-8 text", format!("`{}`", value.to_string_lossy())))
        })
        .transpose()
}

fn floatx_from_name(name: &str) -> Option<DType> {
    [DType::F32, DType::F64].into_iter().find(|dtype| dtype.name() == name)
}

fn parse_floatx(doing: &str, name: &str) -> Result<DType> {
    floatx_from_name(name).ok_or_else(|| Error::value(doing, "`float32` or `float64`", format!("`{name}`")))
}

fn is_epsilon(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use std::path::Path;

    /// An environment whose Keras directory is `home`.
    pub(super) fn environment(home: &Path, variables: &[(&str, &str)]) -> Environment {
        let mut environment = Environment::of_process();
        environment.variables = variables.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        environment.variables.insert("KERAS_HOME".into(), home.into());
        environment
    }

    /// Settings from a `keras.json` of this content.
    pub(super) fn load(json: &str, variables: &[(&str, &str)]) -> (PathBuf, Result<Settings>) {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("keras.json");
        std::fs::write(&path, json).unwrap();
        let settings = Settings::load(&environment(home.path(), variables));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), json, "an existing file is not touched");
        (path, settings)
    }

    #[test]
    fn the_first_use_creates_directory_and_file() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("deep/.keras");
        let settings = Settings::load(&environment(&directory, &[])).unwrap();
        let path = directory.join("keras.json");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), Settings::default_file_contents());
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1, "no temporary file is left");

        let from_file = Origin::File(path);
        assert_eq!(settings.backend, Setting::new(Some("ndarray".into()), from_file.clone()));
        assert_eq!(settings.device, Setting::new(None, Origin::Default));
        assert_eq!(settings.floatx, Setting::new(DType::F32, from_file.clone()));
        assert_eq!(settings.epsilon, Setting::new(1e-7, from_file.clone()));
        assert_eq!(settings.image_data_format, Setting::new(DataFormat::ChannelsLast, from_file));
        assert_eq!(settings.home, directory);
        assert_eq!(settings.notices().count(), 0);
        assert_eq!(Settings::load(&environment(&directory, &[])).unwrap(), settings);
    }

    #[test]
    fn the_created_file_names_no_backend_to_python() {
        let json: serde_json::Value = serde_json::from_str(&Settings::default_file_contents()).unwrap();
        let keys: Vec<_> = json.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["floatx", "epsilon", "image_data_format", "keras_rs"]);
        assert_eq!(json["keras_rs"], serde_json::json!({"backend": "ndarray"}));
        // Python Keras asserts that epsilon is a float, and JSON's 1 is an int to Python.
        assert!(json["epsilon"].is_f64());
    }

    #[test]
    fn a_place_that_takes_no_file_gives_the_defaults() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        std::fs::write(&file, "").unwrap();
        let settings = Settings::load(&environment(&file.join(".keras"), &[])).unwrap();
        assert_eq!(settings.backend, Setting::new(None, Origin::Default));
        assert_eq!(settings.floatx, Setting::new(DType::F32, Origin::Default));
        assert_eq!(settings.epsilon, Setting::new(1e-7, Origin::Default));
        assert_eq!(settings.image_data_format, Setting::new(DataFormat::ChannelsLast, Origin::Default));
    }

    #[test]
    fn many_first_uses_at_once_create_one_whole_file() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join(".keras");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let settings = Settings::load(&environment(&directory, &[])).unwrap();
                    assert_eq!(settings.backend.value.as_deref(), Some("ndarray"));
                });
            }
        });
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn every_key_is_read_and_ours_win() {
        let (path, settings) = load(
            r#"{"backend": "candle", "device": "cpu", "floatx": "float64", "epsilon": 1, "image_data_format": "channels_first",
                "image_dim_ordering": "tf"}"#,
            &[],
        );
        let settings = settings.unwrap();
        assert_eq!(settings.backend, Setting::new(Some("candle".into()), Origin::File(path)));
        assert_eq!(settings.device.value.as_deref(), Some("cpu"));
        assert_eq!(settings.floatx.value, DType::F64);
        assert_eq!(settings.epsilon.value, 1.0);
        assert_eq!(settings.image_data_format.value, DataFormat::ChannelsFirst);
        assert_eq!(settings.notices().count(), 0);

        // What ours hide may be what only Python Keras takes, before and after them.
        for json in [
            r#"{"keras_rs": {"backend": "torch", "device": "cuda:0", "floatx": "float32", "epsilon": 1e-3, "image_data_format": "channels_last"},
                "backend": "tensorflow", "device": 3, "floatx": "float16", "epsilon": 1e-4, "image_data_format": "channels_first"}"#,
            r#"{"backend": "tensorflow", "device": 3, "floatx": "float16", "epsilon": 1e-4, "image_data_format": "channels_first",
                "keras_rs": {"backend": "torch", "device": "cuda:0", "floatx": "float32", "epsilon": 1e-3, "image_data_format": "channels_last"}}"#,
        ] {
            let settings = load(json, &[]).1.unwrap();
            assert_eq!(settings.backend.value.as_deref(), Some("torch"));
            assert_eq!(settings.device.value.as_deref(), Some("cuda:0"));
            assert_eq!(settings.floatx.value, DType::F32);
            assert_eq!(settings.epsilon.value, 1e-3);
            assert_eq!(settings.image_data_format.value, DataFormat::ChannelsLast);
            assert_eq!(settings.notices().count(), 0);
        }
    }

    #[test]
    fn the_environment_wins_over_the_file_and_empty_is_unset() {
        let json = r#"{"backend": "candle", "device": "cpu", "floatx": "float64"}"#;
        let set = [("KERAS_BACKEND", "torch"), ("KERAS_DEVICE", "mps"), ("KERAS_FLOATX", "float32")];
        let settings = load(json, &set).1.unwrap();
        assert_eq!(
            settings.backend,
            Setting::new(Some("torch".into()), Origin::Environment("KERAS_BACKEND"))
        );
        assert_eq!(settings.device, Setting::new(Some("mps".into()), Origin::Environment("KERAS_DEVICE")));
        assert_eq!(settings.floatx, Setting::new(DType::F32, Origin::Environment("KERAS_FLOATX")));
        let (path, settings) =
            load(json, &[("KERAS_BACKEND", ""), ("KERAS_DEVICE", ""), ("KERAS_FLOATX", "")]);
        let settings = settings.unwrap();
        assert_eq!(settings.backend, Setting::new(Some("candle".into()), Origin::File(path.clone())));
        assert_eq!(settings.device, Setting::new(Some("cpu".into()), Origin::File(path.clone())));
        assert_eq!(settings.floatx, Setting::new(DType::F64, Origin::File(path)));
    }

    #[test]
    fn backends_of_python_keras_are_not_said_and_noticed_once() {
        for name in ["tensorflow", "theano", "cntk", "jax"] {
            let settings = load(&format!(r#"{{"backend": "{name}"}}"#), &[]).1.unwrap();
            assert_eq!(settings.backend, Setting::new(None, Origin::Default));
            let notices: Vec<_> = settings.notices().collect();
            assert_eq!(notices.len(), 1);
            assert!(notices[0].contains(&format!("`{name}`")) && !notices[0].contains('\n'), "{notices:?}");
        }
        let (path, settings) =
            load(r#"{"backend": "theano", "keras_rs": {"backend": "jax"}}"#, &[("KERAS_BACKEND", "cntk")]);
        let settings = settings.unwrap();
        assert_eq!(settings.backend, Setting::new(None, Origin::Default));
        let file = path.display();
        assert_eq!(
            settings.notices().collect::<Vec<_>>(),
            [format!(
                "backend `cntk` (environment variable KERAS_BACKEND), `jax` ({file}), `theano` ({file}) is one of \
                 Python Keras; the default backend is used"
            )]
        );
        // Passed over, not obeyed as "the default": the file still has a say.
        let (path, settings) = load(r#"{"backend": "candle"}"#, &[("KERAS_BACKEND", "tensorflow")]);
        let settings = settings.unwrap();
        assert_eq!(settings.backend, Setting::new(Some("candle".into()), Origin::File(path)));
        assert!(settings.notices().next().unwrap().contains("`candle`"));
        // Nobody asked the file.
        let settings = load(r#"{"backend": "tensorflow"}"#, &[("KERAS_BACKEND", "candle")]).1.unwrap();
        assert_eq!(settings.notices().count(), 0);
        // The registry of backends knows which names exist; this does not.
        let settings = load(r#"{"backend": "TensorFlow"}"#, &[]).1.unwrap();
        assert_eq!(settings.backend.value.as_deref(), Some("TensorFlow"));
    }

    #[test]
    fn a_misspelt_key_of_ours_is_noticed() {
        let (path, settings) = load(r#"{"keras_rs": {"backed": "candle"}}"#, &[]);
        assert_eq!(
            settings.unwrap().notices().collect::<Vec<_>>(),
            [format!("{}: `keras_rs` has no setting `backed`; it is ignored", path.display())]
        );
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let error = load("{}", &[("KERAS_FLOATX", "float16")]).1.unwrap_err();
        assert_eq!(error.to_string(), "KERAS_FLOATX: expected `float32` or `float64`, received `float16`");
    }
}
